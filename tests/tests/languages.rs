//! Clients of other languages and git, unchanged and unconfigured, through the box.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Command};

use agentbox_tests::{
    Home, Origin, Who,
    process::finish,
    skip::{self, PATH},
};

/// The standard library, unconfigured: it must find the box's authority by itself.
const STANDARD: &str = r#"
import json, urllib.request
for url in ("http://web.example/standard", "https://tls.example/standard"):
    with urllib.request.urlopen(url) as answer:
        assert json.load(answer)["target"] == "/standard"
request = urllib.request.Request("https://tls.example/posted", data=b"x" * 100000, headers={"Content-Type": "application/octet-stream"})
with urllib.request.urlopen(request) as answer:
    assert json.load(answer)["size"] == 100000
print("standard library")
"#;

/// Event loops: TLS of their own, many at once, and the loop goes on while one of them waits for a person.
const ASYNCIO: &str = r#"
import asyncio, ssl
context = ssl.create_default_context()
async def get(path):
    reader, writer = await asyncio.open_connection("tls.example", 443, ssl=context)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: tls.example\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.startswith(b"HTTP/1.1 200")
async def held():
    reader, writer = await asyncio.open_connection("held.example", 80)
    writer.write(b"DELETE /volumes/1 HTTP/1.1\r\nHost: held.example\r\nConnection: close\r\n\r\n")
    return (await reader.read()).split(b"\r\n")[0].decode()
async def main():
    waits = asyncio.create_task(held())
    print(sum(await asyncio.gather(*[get(f"/{number}") for number in range(50)])), "of 50", flush=True)
    print(await waits)
asyncio.run(main())
"#;

#[test]
fn python_by_its_standard_library_and_by_event_loop() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        home.write("work/standard.py", STANDARD);
        assert_eq!(home.run("python3 standard.py").ended(0).out(), "standard library\n");
        home.write("work/loop.py", ASYNCIO);
        let going = home.start("python3 loop.py");
        going.says("50 of 50\n");
        let id = home.hold();
        home.outside(&["deny", &id, "--because", "no"]).ended(0);
        assert_eq!(going.finish().ended(0).out(), "50 of 50\nHTTP/1.1 403 Forbidden\n");
    }
}

const REQUESTS: &str = r#"
import httpx, requests
assert httpx.get("https://tls.example/httpx").json()["target"] == "/httpx"
assert requests.get("https://tls.example/requests").json()["target"] == "/requests"
with requests.Session() as session:
    for number in range(20):
        assert session.post("https://tls.example/session", data={"n": number}).json()["method"] == "POST"
    answer = session.delete("http://held.example/volumes/1")
    assert answer.status_code == 403, answer.status_code
    print(answer.json()["error"])
"#;

#[test]
fn python_requests_and_httpx() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let made = finish(home.program("python3").args(["-m", "venv", "venv"]));
    let installed = (made.code == 0).then(|| {
        finish(home.program("venv/bin/pip").args(["install", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "requests", "httpx"]).envs(pip()))
    });
    if installed.is_none_or(|installed| installed.code != 0) {
        skip::skip("pip cannot install `requests` and `httpx`");
        return;
    }
    home.write("work/requests_test.py", REQUESTS);
    let ended = finish(&mut home.script(&["--unattended", "--exit-code", "agent"], "venv/bin/python requests_test.py"));
    assert_eq!(ended.ended(0).out(), "agentbox_denied\n");
}

/// Where this machine's pip gets packages from.
fn pip() -> Vec<(String, String)> {
    std::env::vars()
        .filter(|(name, _)| name.starts_with("PIP_") || name.to_lowercase().ends_with("_proxy") || name.ends_with("_CA_BUNDLE") || name == "SSL_CERT_FILE")
        .collect()
}

const FETCH: &str = r#"
const get = async (url, options) => (await fetch(url, options)).json();
if ((await get("https://tls.example/fetch")).target !== "/fetch") throw new Error("target");
if ((await get("https://tls.example/body", { method: "POST", body: "x".repeat(70000) })).size !== 70000) throw new Error("size");
const all = await Promise.all(Array.from({ length: 50 }, (_, number) => get(`https://tls.example/${number}`)));
console.log(all.length);
const refused = await fetch("http://held.example/volumes/1", { method: "DELETE" });
console.log(refused.status, refused.headers.get("x-should-retry"), (await refused.json()).error);
"#;

#[test]
fn node_fetch() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["node"]) {
        return;
    }
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        home.write("work/fetch.mjs", FETCH);
        let ended = finish(&mut home.script(&["--unattended", "--exit-code", "agent"], "node fetch.mjs"));
        assert_eq!(ended.out(), "50\n403 false agentbox_denied\n", "{}", ended.err());
    }
}

/// Both clients of Java's own library, by the virtual machine's own keystore.
const JAVA: &str = r#"
import java.net.*;
import java.net.http.*;

public class Fetch {
    public static void main(String[] arguments) throws Exception {
        var old = (HttpURLConnection) new URL("https://tls.example/old").openConnection();
        var client = HttpClient.newHttpClient();
        var answer = client.send(HttpRequest.newBuilder(URI.create("https://tls.example/new")).build(), HttpResponse.BodyHandlers.ofString());
        System.out.println(old.getResponseCode() + " " + answer.statusCode() + " " + answer.body().contains("/new"));
    }
}
"#;

#[test]
fn java_by_its_keystores() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["java", "javac", "keytool"]) {
        return;
    }
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        home.write("work/Fetch.java", JAVA);
        // Another virtual machine in the home, whose keystore is of the other format.
        let own = home.path(".jdks/own/lib/security/cacerts");
        let script = format!(
            "mkdir -p {} && keytool -importcert -noprompt -storetype PKCS12 -storepass changeit -alias own -file {} -keystore {}",
            own.parent().expect("a folder").display(),
            origin.folder().join("ca.pem").display(),
            own.display()
        );
        finish(home.program("bash").args(["-c", &script])).ended(0);
        let outside = fs::read(&own).expect("the keystore");
        let before = finish(home.program("keytool").args(["-list", "-cacerts", "-storepass", "changeit"])).ended(0).out();
        let script = format!(
            "javac -nowarn Fetch.java 2>&1; java Fetch; java -Djavax.net.ssl.trustStore={own} Fetch; \
             keytool -list -cacerts -storepass changeit 2>&1 | grep -c trustedCertEntry; keytool -list -keystore {own} -storepass changeit | grep -c agentbox",
            own = own.display()
        );
        let ended = home.run(&script).ended(0);
        // keytool checks the sum with the password.
        let roots = before.matches("trustedCertEntry").count() + 1;
        assert_eq!(ended.out(), format!("200 200 true\n200 200 true\n{roots}\n1\n"), "{}", ended.err());
        assert_eq!(fs::read(&own).expect("the keystore"), outside, "nothing changes outside");
    }
}

/// git outside, for the far side's repository.
fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@example", "-c", "init.defaultBranch=main"]).args(arguments);
    finish(command.current_dir(folder).env_clear().env("PATH", PATH).env("HOME", folder)).ended(0).out()
}

fn repository(origin: &Origin) -> std::path::PathBuf {
    let folder = origin.folder().join("git");
    git(&folder, &["init", "--quiet", "--bare", "shop.git"]);
    let bare = folder.join("shop.git");
    git(&bare, &["config", "http.receivepack", "true"]);
    git(&folder, &["init", "--quiet", "seed"]);
    let seed = folder.join("seed");
    let noise: String = (0..200_000_u32).map(|number| format!("{:x}\n", number.wrapping_mul(2_654_435_761))).collect();
    fs::write(seed.join("large"), noise).expect("a file");
    git(&seed, &["add", "large"]);
    git(&seed, &["commit", "--quiet", "-m", "first"]);
    git(&seed, &["push", "--quiet", "../shop.git", "HEAD:main", "HEAD:doomed"]);
    bare
}

const IDENTITY: &str = "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example";

#[test]
fn git_clones_and_pushes_over_https() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["git"]) {
        return;
    }
    for who in Who::each() {
        let bare = repository(&origin);
        let home = Home::of(who, &origin.policy());
        let script = format!(
            "set -e; {IDENTITY}; git clone --quiet https://tls.example/git/shop.git; cd shop; git log --format=%s; wc -l <large; \
             echo more >>large; git commit --quiet -am second; git push --quiet origin HEAD:main; git fetch --quiet; git status -sb | head -1"
        );
        let out = home.run(&script).ended(0).out();
        assert_eq!(out, "first\n200000\n## main...origin/main\n");
        assert_eq!(git(&bare, &["log", "--format=%s", "main"]), "second\nfirst\n");
        fs::remove_dir_all(origin.folder().join("git")).expect("it is there");
        fs::create_dir(origin.folder().join("git")).expect("a folder");
    }
}

#[test]
fn a_push_that_destroys_waits_and_git_says_why_it_was_refused() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["git"]) {
        return;
    }
    let bare = repository(&origin);
    let home = Home::new(&origin.policy());
    let script = format!(
        "{IDENTITY}; git clone --quiet http://held.example/git/shop.git && cd shop && git commit --quiet --allow-empty -m second && git push --quiet origin HEAD:main && echo pushed; \
         git push origin :doomed 2>&1; echo deleted:$?"
    );
    let going = home.start(&script);
    let id = home.hold();
    home.outside(&["deny", &id, "--because", "history stays"]).ended(0);
    let out = going.finish().ended(0).out();
    assert!(out.contains("pushed\n") && out.contains("history stays"), "{out}");
    assert!(!out.contains("deleted:0"), "{out}");
    assert_eq!(git(&bare, &["log", "--format=%s", "main"]), "second\nfirst\n");
    assert_eq!(git(&bare, &["log", "--format=%s", "doomed"]), "first\n");
}

#[test]
fn git_over_ssh_is_told_the_way_by_https() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["git", "ssh"]) {
        return;
    }
    repository(&origin);
    let home = Home::new(&origin.policy_with("destroy = \"deny\"", "").replacen("\"held.example\"]", "\"held.example\", \"tls.example:22\"]", 1));
    let script = "export GIT_SSH_COMMAND='ssh -F /dev/null -o BatchMode=yes'; git clone --quiet git@tls.example:git/shop.git; echo cloned:$?; $AGENTBOX why; \
        line=$($AGENTBOX why | grep -o 'git -c [^`…]*' | head -1); $line clone --quiet git@tls.example:git/shop.git && wc -l <shop/large; \
        $line clone --quiet ssh://git@tls.example/git/shop.git again && wc -l <again/large";
    let finished = home.run(script).ended(0);
    let out = finished.out();
    assert!(!out.contains("cloned:0") && out.contains("SSH connection to tls.example:22"), "{out}\n{}", finished.err());
    assert!(out.ends_with("200000\n200000\n"), "{out}\n{}", finished.err());
    assert!(home.log().contains("ssh.connection"), "{}", home.log());
}
