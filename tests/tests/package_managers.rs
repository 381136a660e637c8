//! Package managers in a box: the same result as outside, online and by the cache alone, and no cache outside is written to.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Child,
};

use agentbox_tests::{
    Home, Who,
    origin::serve,
    process::{Finished, finish},
    skip,
    tree::{Content, Node, snapshot},
};

const REGISTRY: &str = include_str!("../stand-ins/registry.py");

/// A registry of every kind on loopback, with one package.
struct Registry {
    folder: tempfile::TempDir,
    server: Child,
    port: u16,
}

impl Registry {
    fn start() -> Option<Self> {
        if !skip::have(&["python3"]) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let (server, line) = serve(folder.path(), "python3", "registry.py", REGISTRY);
        Some(Self { folder, server, port: line.trim().parse().expect("a port") })
    }

    fn requests(&self) -> usize {
        fs::read_to_string(self.folder.path().join("requests.log")).unwrap_or_default().lines().count()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// One of them, with a project that needs the package.
struct Manager {
    /// Files of the project; `@` stands for the registry's port.
    project: &'static [(&'static str, &'static str)],
    /// Installs, builds and runs it; `$OFFLINE` is set where no registry is to be asked.
    script: &'static str,
    /// Where its cache lies below the home.
    cache: &'static str,
}

/// Each works in a project and a home that are new, in which its cache is not there yet; then again by that cache alone, outside and in a box; then in a
/// box that finds nothing at all.
fn works(manager: &Manager, whose: &[Who], programs: &[&str]) {
    works_with(manager, whose, programs, |_| ());
}

/// The same with a registry into which more was put.
fn works_with(manager: &Manager, whose: &[Who], programs: &[&str], more: impl Fn(&Registry)) {
    let Some(registry) = Registry::start() else { return };
    if !skip::have(programs) {
        return;
    }
    more(&registry);
    for who in whose {
        let home = Home::of(*who, "extends = \"default\"\n");
        let again = |home: &Home| {
            let _ = fs::remove_dir_all(home.path("work"));
            for (name, text) in manager.project {
                home.write(&format!("work/{name}"), &text.replace('@', &registry.port.to_string()));
            }
        };
        let line = |offline: &str| format!("set -e; export {offline}R=http://127.0.0.1:{}; {}", registry.port, manager.script);
        let said = |ended: Finished, how: &str| {
            assert_eq!(ended.code, 0, "{how}:\n{}\n{}", ended.out(), ended.err());
            let out = ended.out();
            assert!(out.ends_with("half of 7 is 3.5\n"), "{how}: {out}");
            assert!(!ended.err().contains("read-only"), "{how}: {}", ended.err());
            out
        };

        again(&home);
        let outside = said(finish(home.program("bash").args(["-c", &line("")])), "outside, for the first time");
        assert!(home.path("home").join(manager.cache).is_dir(), "no {}", manager.cache);
        again(&home);
        let asked = registry.requests();
        assert!(asked > 0);
        assert_eq!(said(finish(home.program("bash").args(["-c", &line("OFFLINE=1 ")])), "outside, by the cache"), outside);

        let before = snapshot(&home.path("home"));
        again(&home);
        let options = ["--unattended", "--exit-code", "agent"];
        assert_eq!(said(finish(&mut home.script(&options, &line("OFFLINE=1 "))), "in a box, by the cache"), outside);
        assert_eq!(registry.requests(), asked, "nobody was to be asked");
        same(&before, &home.path("home"));

        // Nothing is there, and everything is fetched through the broker; the second box of the project finds what the first one fetched.
        let fresh = Home::of(*who, "extends = \"default\"\n");
        again(&fresh);
        if programs.is_empty() {
            // Its caller has no such tool in its path, so that agentbox does not make the folder.
            fs::create_dir(fresh.path("home/.cargo")).expect("a folder");
        }
        let port = registry.port.to_string();
        let online = [&["--forward", &port], &options[..]].concat();
        assert_eq!(said(finish(&mut fresh.script(&online, &line(""))), "in a box, for the first time"), outside);
        assert!(registry.requests() > asked);
        again(&fresh);
        assert_eq!(said(finish(&mut fresh.script(&options, &line("OFFLINE=1 "))), "in the next box, by its layer"), outside);
        let left: Vec<_> = snapshot(&fresh.path("home")).into_iter().filter(|(_, node)| node.content != Content::Folder).map(|(path, _)| path).collect();
        assert!(left.is_empty(), "files came to be outside: {left:?}");
    }
}

#[track_caller]
fn same(before: &BTreeMap<PathBuf, Node>, folder: &Path) {
    let after = snapshot(folder);
    // The empty folders of other caches are made, as their tools would.
    let is_new_folder = |path: &Path| !before.contains_key(path) && after.get(path).is_some_and(|node| node.content == Content::Folder);
    let differs: Vec<_> = before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path) && !is_new_folder(path)).collect();
    assert!(differs.is_empty(), "changed outside: {differs:?}");
}

const PACKAGE: &str = r#"{ "name": "shop", "version": "1.0.0", "private": true, "dependencies": { "halves": "^1.0.0" } }"#;
const INDEX: &str = "console.log(`half of 7 is ${require('halves')(7)}`);\n";

#[test]
fn npm() {
    let project = &[("package.json", PACKAGE), ("index.js", INDEX)];
    let script = "npm install ${OFFLINE:+--offline} --no-audit --no-fund --silent --registry $R/npm; node index.js";
    works(&Manager { project, script, cache: ".npm/_cacache" }, &Who::each(), &["npm", "node"]);
}

#[test]
fn pnpm() {
    let project = &[("package.json", PACKAGE), ("index.js", INDEX)];
    // Where it cannot link from the home to the project, it would make a store of its own in the project.
    let script = "export CI=1 npm_config_store_dir=~/.local/share/pnpm/store; pnpm install ${OFFLINE:+--offline} --no-frozen-lockfile --reporter=silent --registry $R/npm; node index.js";
    works(&Manager { project, script, cache: ".local/share/pnpm/store" }, &Who::each(), &["pnpm", "node"]);
}

#[test]
fn yarn() {
    let project = &[("package.json", PACKAGE), ("index.js", INDEX)];
    // As root it has its cache elsewhere.
    let script = "export YARN_CACHE_FOLDER=~/.cache/yarn; yarn install ${OFFLINE:+--offline} --silent --no-progress --registry $R/npm 2>&1; node index.js";
    works(&Manager { project, script, cache: ".cache/yarn" }, &Who::each(), &["yarn", "node"]);
}

#[test]
fn cargo() {
    // The very one that runs this test, where it lies: a rustup of this user's.
    let cargo = Path::new(env!("CARGO"));
    if !cargo.is_file() {
        skip::skip("cargo is not where it was");
        return;
    }
    let script = format!("export PATH={}:$PATH; cargo run --quiet ${{OFFLINE:+--offline}}", cargo.parent().expect("its folder").display());
    let project = &[
        (
            "Cargo.toml",
            "[package]\nname = \"shop\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[dependencies]\nhalves = { version = \"1\", registry = \"stand\" }\n",
        ),
        (".cargo/config.toml", "[registries.stand]\nindex = \"sparse+http://127.0.0.1:@/index/\"\n"),
        ("src/main.rs", "fn main() { println!(\"half of 7 is {}\", halves::half(7.0)); }\n"),
    ];
    works(&Manager { project, script: script.leak(), cache: ".cargo/registry" }, &[Who::Me], &[]);
}

const PYTHON: &str = "import halves\nprint(f'half of 7 is {halves.half(7)}')\n";

#[test]
fn pip() {
    let project = &[("shop.py", PYTHON)];
    // pip cannot leave the index out, but be given the file's own address, by which its cache knows it. What comes over HTTP it keeps if it is told to trust it.
    let script = "python3 -m venv venv; if [ -n \"$OFFLINE\" ]; then what=$R/files/halves-1.0.0-py3-none-any.whl; else what=halves; fi
        venv/bin/pip install --quiet --disable-pip-version-check --no-deps --trusted-host 127.0.0.1 --index-url $R/simple/ $what 2>&1; venv/bin/python shop.py";
    // Once is enough: each of its environments is made of two thousand files.
    works(&Manager { project, script, cache: ".cache/pip" }, &[Who::Ordinary], &["python3"]);
}

#[test]
fn uv() {
    let uv = "/usr/local/lib/agentbox-tools/bin/uv";
    if !Path::new(uv).is_file() {
        skip::skip("not installed: uv");
        return;
    }
    let project = &[("shop.py", PYTHON)];
    let script = "uv=/usr/local/lib/agentbox-tools/bin/uv; $uv venv --quiet ${OFFLINE:+--offline} --python /usr/bin/python3 venv
        $uv pip install --python venv/bin/python --quiet ${OFFLINE:+--offline} --default-index $R/simple/ halves; venv/bin/python shop.py";
    works(&Manager { project, script, cache: ".cache/uv" }, &Who::each(), &["python3"]);
}

#[test]
fn go() {
    let project = &[
        ("go.mod", "module shop.example/shop\n\ngo 1.18\n\nrequire stand.example/halves v1.0.0\n"),
        ("main.go", "package main\n\nimport (\n\t\"fmt\"\n\t\"stand.example/halves\"\n)\n\nfunc main() { fmt.Println(\"half of 7 is\", halves.Half(7)) }\n"),
    ];
    let script = "if [ -n \"$OFFLINE\" ]; then export GOPROXY=off; else export GOPROXY=$R/go; fi; export GOFLAGS=-mod=mod GONOSUMDB='*' GONOSUMCHECK=1 GOTELEMETRY=off; go run .";
    works(&Manager { project, script, cache: "go/pkg/mod" }, &Who::each(), &["go"]);
}

#[test]
fn bun() {
    let project = &[("package.json", PACKAGE), ("index.js", INDEX)];
    // It asks no registry for what it has learnt a moment ago.
    let script = "bun install ${OFFLINE:+--prefer-offline} --silent --registry $R/npm/; bun index.js";
    works(&Manager { project, script, cache: ".bun/install/cache" }, &Who::each(), &["bun"]);
}

const MAIN: &str = "public class Main { public static void main(String[] arguments) { System.out.println(\"half of 7 is \" + halves.Halves.half(7)); } }\n";

/// Puts the package into a registry, as it is made for virtual machines.
fn java_package(registry: &Registry) {
    let at = registry.folder.path().join("stand/halves/1.0.0");
    fs::create_dir_all(&at).expect("a folder");
    let pom = "<project><modelVersion>4.0.0</modelVersion><groupId>stand</groupId><artifactId>halves</artifactId><version>1.0.0</version></project>";
    fs::write(at.join("halves-1.0.0.pom"), pom).expect("a file");
    fs::write(at.join("Halves.java"), "package halves; public class Halves { public static double half(double number) { return number / 2; } }\n")
        .expect("a file");
    let script = "set -e; javac --release 11 -d classes Halves.java; jar --create --file halves-1.0.0.jar -C classes .";
    finish(std::process::Command::new("bash").args(["-c", script]).current_dir(at)).ended(0);
}

const POM: &str = "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion><groupId>shop</groupId><artifactId>shop</artifactId><version>1</version>
        <properties><maven.compiler.release>11</maven.compiler.release><project.build.sourceEncoding>UTF-8</project.build.sourceEncoding></properties>
        <dependencies><dependency><groupId>stand</groupId><artifactId>halves</artifactId><version>1.0.0</version></dependency></dependencies>
        <repositories><repository><id>central</id><url>http://127.0.0.1:@/maven</url></repository></repositories>
        <pluginRepositories><pluginRepository><id>central</id><url>http://127.0.0.1:@/maven</url></pluginRepository></pluginRepositories></project>";

#[test]
fn maven() {
    if !skip::have(&["mvn", "javac", "jar"]) {
        return;
    }
    if !Path::new("/usr/share/maven-repo/org/apache/maven/plugins/maven-compiler-plugin").is_dir() {
        skip::skip("not installed: libmaven-compiler-plugin-java");
        return;
    }
    let project = &[("pom.xml", POM), ("src/main/java/Main.java", MAIN)];
    // A virtual machine takes the home from the list of users, which knows nothing of this one.
    let script = "export MAVEN_OPTS=\"-Duser.home=$HOME -XX:TieredStopAtLevel=1\"; mvn -B -q ${OFFLINE:+-o} org.apache.maven.plugins:maven-compiler-plugin:3.10.1:compile >log 2>&1 || { cat log; exit 1; }
        java -cp target/classes:$HOME/.m2/repository/stand/halves/1.0.0/halves-1.0.0.jar Main";
    works_with(&Manager { project, script, cache: ".m2/repository" }, &[Who::Ordinary], &["mvn"], java_package);
}

const BUILD: &str = "apply plugin: 'java'\napply plugin: 'application'\nrepositories { maven { url 'http://127.0.0.1:@/maven' } }\ndependencies { compile 'stand:halves:1.0.0' }\nmainClassName = 'Main'\n";

#[test]
fn gradle() {
    if !skip::have(&["gradle", "javac", "jar"]) {
        return;
    }
    let project = &[("build.gradle", BUILD), ("src/main/java/Main.java", MAIN)];
    // On a machine with several trees of control groups Java 17 falls in a box where it asks for its limits.
    let script = "export GRADLE_USER_HOME=~/.gradle GRADLE_OPTS='-XX:TieredStopAtLevel=1 -XX:-UseContainerSupport'; gradle -q --no-daemon ${OFFLINE:+--offline} classes >log 2>&1 || { cat log; exit 1; }
        java -cp build/classes/java/main:$(find ~/.gradle -name halves-1.0.0.jar) Main";
    works_with(&Manager { project, script, cache: ".gradle/caches" }, &[Who::Ordinary], &["gradle"], java_package);
}
