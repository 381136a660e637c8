//! A box where namespaces are refused: what it may do, what it may not, and that nothing of it is left behind.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, io::Read as _, net::TcpListener, os::unix::net::UnixListener, path::Path};

use agentbox_tests::{
    Home, Origin, Who,
    home::exists,
    outside::{Outside, bypass_scripts, scripts},
    process::{children, finish, status, until},
    skip,
};
use nix::{sys::signal::Signal, unistd::Pid};

/// What the attacks of `without_namespaces.py` may come to.
const ATTACKS: &str = include_str!("../stand-ins/attack-without-namespaces.py");

fn found(said: &str) -> BTreeMap<String, String> {
    said.lines().filter_map(|line| line.split_once(' ')).map(|(name, result)| (name.to_owned(), result.to_owned())).collect()
}

#[test]
fn ordinary_work_goes_on() {
    if !skip::have(&["python3", "git", "gcc", "make"]) {
        return;
    }
    for home in Who::each().into_iter().flat_map(|who| Home::each_without_namespaces(who, "")) {
        let ended = home.run(
            "set -e; mkdir -p a/b; echo one > a/b/f; ln -s f a/b/l; ln a/b/f a/b/h; mv a/b/f a/g; cp a/g a/k; rm a/k; echo two >> a/g; chmod 600 a/g; touch -d 2001-01-01 a/g; \
             mkfifo p; (cat p > got &) ; echo through > p; cat a/g a/b/h > both; truncate -s 3 both; umask 027; echo x > masked; stat -c %a masked; \
             git init -q .; git config user.email a@b.c; git config user.name n; git add a; git commit -qm first; git log --oneline | wc -l; \
             echo 'int main(){return 0;}' > m.c; printf 'm: m.c\\n\\tcc -o m m.c\\n' > Makefile; make -s; ./m; for n in $(seq 50); do cp m again; ./again; rm again; done; \
             python3 -c 'import tempfile,os; f=tempfile.NamedTemporaryFile(); f.write(b\"x\"); print(os.path.dirname(f.name)==os.environ[\"TMPDIR\"])'; \
             sleep 0.1; cat got; rm -r a; ls",
        );
        let ended = ended.ended(0);
        assert!(ended.err().contains("there are no namespaces here"), "{}", ended.err());
        let out = ended.out();
        for words in ["640\n", "1\n", "True\n", "through\n", "Makefile\n"] {
            assert!(out.contains(words), "{words:?}: {out}\n{}", ended.err());
        }
        assert_eq!(fs::read_to_string(home.path("work/both")).expect("it was made"), "one");
        assert!(
            !exists(&home.path("state/agentbox/without").join("x")) && fs::read_dir(home.path("state/agentbox/without")).expect("it was made").next().is_none()
        );
        // What was lost can be brought back here as elsewhere.
        home.write("work/old", "before");
        assert!(home.run("echo after > old; rm old").ended(0).err().contains("bring them back"));
        home.outside(&["undo"]).ended(0);
        assert_eq!(fs::read_to_string(home.path("work/old")).expect("it is back"), "before");
    }
}

#[test]
fn where_there_is_too_little_both_ways_out_are_told() {
    if !skip::have(&["python3"]) {
        return;
    }
    for who in Who::each() {
        let ended = Home::with_too_little(who, "").run("echo ran").ended(125);
        assert_eq!(ended.out(), "");
        for words in ["no box without them either", "process_vm_readv", "let it through", "user-namespace: "] {
            assert!(ended.err().contains(words), "{words:?}: {}", ended.err());
        }
    }
}

#[test]
fn nothing_outside_is_changed_read_or_reached() {
    if !skip::have(&["python3"]) {
        return;
    }
    for (who, home) in Who::each().into_iter().flat_map(|who| Home::each_without_namespaces(who, "").into_iter().map(move |home| (who, home))) {
        home.write("home/.ssh/id", "the user's key");
        home.write("home/plain", "to be read");
        home.write("outside", "to stay");
        home.write("work/.git/config", "[core]\n");
        home.write("work/.git/hooks/pre-commit", "#!/bin/sh\n");
        home.write("work/attack.py", ATTACKS);
        let service = TcpListener::bind("127.0.0.1:0").expect("a port");
        let file = home.path("work/service.sock");
        let socket = UnixListener::bind(&file).expect("a socket file");
        if who == Who::Ordinary {
            std::os::unix::fs::chown(&file, Some(65_534), Some(65_534)).expect("root may give away");
        }
        service.set_nonblocking(true).expect("a flag");
        socket.set_nonblocking(true).expect("a flag");
        let mut sleeper = home.program("sleep").arg("600").spawn().expect("sleep runs");
        let port = service.local_addr().expect("a name").port();
        let ended = home.run(&format!("python3 attack.py {} {port} {} {}", home.path("").display(), sleeper.id(), file.display())).ended(0);
        let results = found(&ended.out());
        eprintln!("{who:?} {results:#?}");
        assert!(results.len() >= 45, "{results:#?}\n{}", ended.err());
        for (name, result) in &results {
            let may = name.starts_with("may-");
            assert_eq!(result == "done", may, "{who:?} {name}: {result}");
        }
        assert!(service.accept().is_err(), "a service of the machine was reached");
        assert!(socket.accept().is_err(), "a socket file of others was reached");
        assert!(sleeper.try_wait().expect("it is ours").is_none(), "a process outside was ended");
        sleeper.kill().expect("it is ours");
        let _ = sleeper.wait();
        assert_eq!(fs::read_to_string(home.path("outside")).expect("it is there"), "to stay");
        assert_eq!(fs::read_to_string(home.path("work/.git/config")).expect("it is there"), "[core]\n");
    }
}

#[test]
fn every_connection_goes_to_the_broker() {
    if !skip::have(&["curl", "git", "python3", "node"]) {
        return;
    }
    let Some(origin) = Origin::start() else { return };
    for home in Who::each().into_iter().flat_map(|who| Home::each_without_namespaces(who, &origin.policy())) {
        for base in ["http://web.example", "https://tls.example"] {
            let out = home.run(&format!("curl -sS --fail-with-body {base}/plain?a=b")).ended(0).out();
            assert!(out.contains("/plain?a=b"), "{out}");
        }
        let python = "import urllib.request; print(urllib.request.urlopen('https://tls.example/by-python').status)";
        assert_eq!(home.run(&format!("python3 -c \"{python}\"")).ended(0).out(), "200\n");
        let node = "require('https').get('https://tls.example/by-node', r => { console.log(r.statusCode); r.resume() })";
        assert_eq!(home.run(&format!("node -e \"{node}\"")).ended(0).out(), "200\n");
        let metadata = home.run("curl -sS -o /dev/null -w '%{http_code}' http://169.254.169.254/ --max-time 5").out();
        assert_ne!(metadata, "200");
        // A server of the box's own, on either end.
        let own = home.run(
            "python3 -u -m http.server 0 --bind 127.0.0.1 > served 2>&1 & for i in $(seq 100); do grep -q port served && break; sleep 0.05; done; \
             port=$(sed -n 's/.*port \\([0-9]*\\).*/\\1/p' served); curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:$port/; kill %1",
        );
        assert_eq!(own.ended(0).out(), "200");
    }
}

#[test]
fn the_drill_is_contained() {
    if !skip::have(&["bash", "curl", "grep", "sed", "gzip"]) {
        return;
    }
    for who in Who::each() {
        let home = Home::without_namespaces(who, "");
        let finished = finish(&mut home.agentbox(&["drill", "pocketos", "--json", "--patience", "4"])).ended(0);
        let result: serde_json::Value = serde_json::from_str(finished.out().trim()).expect("a result");
        assert_eq!((result["contained"].as_bool(), result["proven"].as_bool()), (Some(true), Some(true)), "{result}\n{}", finished.err());
        assert_eq!((result["mutations_received"].as_u64(), result["holds"].as_u64()), (Some(0), Some(1)), "{result}");
    }
}

/// Ten deep, in sessions of their own, deaf to what asks them to end, and forking all the time.
const STUBBORN: &str = r"import os, signal, sys, time
for n in range(10):
    if os.fork() == 0:
        os.setsid()
        for s in range(1, 32):
            if s not in (9, 17, 19):
                signal.signal(s, signal.SIG_IGN)
        open(f'up-{n}', 'w').write(str(os.getpid()))
        while True:
            pid = os.fork()
            if pid == 0:
                time.sleep(0.02)
                if os.fork(): os._exit(0)
                time.sleep(0.02); os._exit(0)
            os.waitpid(pid, 0)
while not all(os.path.exists(f'up-{n}') for n in range(10)):
    time.sleep(0.01)
print('up', flush=True)
while not sys.argv[1:]:
    time.sleep(1)
";

/// Everything on the machine whose working directory is this one.
fn at(folder: &Path) -> Vec<i32> {
    let pids = fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder)).collect()
}

#[test]
fn nothing_is_left_whoever_is_killed() {
    if !skip::have(&["python3"]) {
        return;
    }
    for who in Who::each() {
        for victim in ["init", "gate", "supervisor", "shim", "nobody"] {
            let home = Home::without_namespaces(who, "");
            home.write("work/stubborn.py", STUBBORN);
            let work = home.path("work").canonicalize().expect("it is there");
            let going = home.start(if victim == "nobody" { "python3 stubborn.py end" } else { "exec python3 stubborn.py" });
            until("they are up", || (0..10).all(|n| exists(&home.path(&format!("work/up-{n}")))), || format!("{}{}", going.out(), going.err()));
            // The launcher has become the shim. Init is the child of the file gate's process, which alone of the supervisor's has one.
            let supervisor = *children(going.pid()).first().expect("a supervisor");
            let gate = children(supervisor).into_iter().find(|pid| !children(*pid).is_empty());
            let init = gate.and_then(|gate| children(gate).first().copied());
            match victim {
                "init" => nix::sys::signal::kill(init.expect("init"), Signal::SIGKILL).expect("it is there"),
                "gate" => nix::sys::signal::kill(gate.expect("a gate"), Signal::SIGKILL).expect("it is there"),
                "supervisor" => nix::sys::signal::kill(supervisor, Signal::SIGKILL).expect("it is there"),
                "shim" => going.signal(Signal::SIGKILL),
                _ => {}
            }
            // All but the shim, whose folder it is too.
            let left =
                || at(&work).into_iter().filter(|pid| status(Pid::from_raw(*pid), "State").is_some_and(|state| !state.starts_with('Z'))).collect::<Vec<_>>();
            until(&format!("{who:?}: nothing is left after {victim} was killed"), || left().is_empty(), || format!("{:?}\n{}", left(), going.err()));
        }
    }
}

#[test]
fn what_takes_namespaces_is_refused_and_said() {
    let home = Home::without_namespaces(Who::Me, "require = [\"mount-namespace\", \"network-namespace\"]\n");
    let ended = home.run("echo ran").ended(125);
    assert!(ended.out().is_empty() && ended.err().contains("mount-namespace") && ended.err().contains("network-namespace"), "{}", ended.err());
    let home = Home::without_namespaces(Who::Me, "");
    let ended = finish(&mut home.script(&["--scratch"], "echo ran")).ended(125);
    assert!(ended.out().is_empty() && ended.err().contains("takes namespaces"), "{}", ended.err());
    let said = home.outside(&["doctor"]).ended(0).out();
    assert!(said.contains("user-namespace    missing") && said.contains("starts here, with less"), "{said}");
}

/// What the agent tries on a secret in its workspace, a line each: the name and what came of it.
const ON_A_SECRET: &str = include_str!("../stand-ins/secret-in-the-workspace.py");

#[test]
fn a_secret_in_the_workspace_stays_one() {
    if !skip::have(&["python3", "gcc"]) {
        return;
    }
    let policy = "[place.mine]\npaths = [\".env\", \"deep/keys\"]\nread = \"deny\"\nwrite = \"deny\"\ndestroy = \"deny\"\n";
    for (who, home) in Who::each().into_iter().flat_map(|who| Home::each_without_namespaces(who, policy).into_iter().map(move |home| (who, home))) {
        home.write("work/.env", "THE-SECRET\n");
        home.write("work/deep/keys/one", "THE-SECRET\n");
        home.write("work/deep/beside", "plain\n");
        home.write("work/old/tool", "#!/bin/sh\necho ran\n");
        home.write("work/try.py", ON_A_SECRET);
        let ended = home.run("python3 try.py").ended(0);
        let (out, results) = (ended.out(), found(&ended.out()));
        assert!(!out.contains("THE-SECRET"), "{who:?}: {out}");
        assert!(results.len() >= 25, "{results:#?}\n{}", ended.err());
        for (name, result) in &results {
            assert_eq!(result == "done", name.starts_with("may-"), "{who:?} {name}: {result}\n{}", ended.err());
        }
        for secret in ["work/.env", "work/deep/keys/one"] {
            assert_eq!(fs::read_to_string(home.path(secret)).expect("it is there"), "THE-SECRET\n");
        }
        // A shell's work beside it.
        let out = home
            .run("set -e; mkdir fresh; echo int main'(){return 0;}' > fresh/m.c; gcc -c -o fresh/m.o fresh/m.c; cat fresh/m.c > copy; cat copy; ls -a . deep; ls fresh; sh -c '. ./sourced' 2>/dev/null || true; cp -r deep/beside new; cat new")
            .ended(0)
            .out();
        assert!(out.contains("main") && out.contains(".env") && out.contains("m.o") && out.ends_with("plain\n"), "{out}");
    }
}

/// What is made beside a secret, and run; modes, names that are taken, and what is removed again are as anywhere.
const MADE_BESIDE: &str = "set -e; printf '#!/bin/sh\\necho ran-tool\\n' > tool; chmod +x tool; ./tool; mkdir -p fresh/bin; cp /bin/echo fresh/bin/own; fresh/bin/own ran-own; \
     (umask 027; mkdir private; : > plain; stat -c %a private plain); ! mkdir fresh 2>/dev/null; set -C; ! : > plain 2>/dev/null; set +C; echo more >> plain; cat plain; \
     ls -d fresh tool; rm -r fresh private plain; ls -A; cat .env 2>/dev/null || echo hidden";

/// The same where names cannot be moved from our state to the workspace: it can be read, and not run.
const READ_BESIDE: &str = "printf 'echo ran-tool\\n' > tool; cat tool; chmod +x tool; ./tool 2>/dev/null; echo $?; mkdir fresh; echo whole > fresh/part; cat fresh/part; ls -A; cat .env 2>/dev/null || echo hidden";

#[test]
fn what_is_made_beside_a_secret_runs() {
    if !skip::have(&["python3"]) {
        return;
    }
    let policy = "[place.mine]\npaths = [\".env\"]\nread = \"deny\"\nwrite = \"deny\"\ndestroy = \"deny\"\n";
    for who in Who::each() {
        // The folder of the state on the workspace's mount, and on another one.
        let elsewhere = tempfile::tempdir_in("/dev/shm").expect("memory");
        if who == Who::Ordinary {
            std::os::unix::fs::chown(elsewhere.path(), Some(65_534), Some(65_534)).expect("root may give away");
        }
        for state in [None, Some(elsewhere.path())] {
            let home = Home::without_namespaces(who, policy);
            home.write("work/.env", "THE-SECRET\n");
            let mut command = home.script(&[], if state.is_none() { MADE_BESIDE } else { READ_BESIDE });
            if let Some(state) = state {
                command.env("XDG_STATE_HOME", state);
            }
            let ended = finish(&mut command).ended(0);
            let wanted: &[&str] = if state.is_none() {
                &["ran-tool", "ran-own", "750", "640", "more", "fresh", "tool", ".env", "tool", "hidden"]
            } else {
                &["echo ran-tool", "126", "whole", ".env", "fresh", "tool", "hidden"]
            };
            let out = ended.out();
            assert_eq!(out.lines().collect::<Vec<_>>(), wanted, "{}", ended.err());
            assert!(!ended.err().contains("kept the first version"), "{}", ended.err());
        }
    }
}

/// Scripts that get through, and why that is known and written down in `ESCAPES.md`.
fn is_open(name: &str, who: Who) -> bool {
    let is_root = who == Who::Me && nix::unistd::geteuid().is_root();
    // A program in memory runs behind the same fences; root lists the numbers of a process's descriptors, and follows none of them.
    name == "42-memfd-exec.c" || (name == "37-proc-pid-root.c" && is_root)
}

#[test]
fn the_bypass_scripts_are_blocked_here_too() {
    let Some(bypass) = bypass_scripts() else { return skip::not_here("no bypass scripts: neither AGENTBOX_SHARED nor ../shared has them") };
    if !skip::have(&["python3", "gcc", "script", "openssl"]) {
        return;
    }
    for who in Who::each() {
        let mut outside = Outside::new(who, "", Some(&bypass));
        outside.bring(&bypass, "bypass");
        for name in ["adapter.py", "bypass.sh"] {
            fs::copy(agentbox_tests::outside::escapes().join("lib").join(name), outside.home.path("work").join(name)).expect("a copy");
        }
        outside.give_workspace();
        outside.home.lose_namespaces();
        let names = scripts(&bypass);
        let mut bad = Vec::new();
        for names in names.chunks(11) {
            let early = format!("{}export BYPASS_DIR='{}'\n", outside.environment(), outside.home.path("home/protected").display());
            outside.home.write("work/early.env", &early);
            for name in ["late.env", "results", "ports"] {
                let _ = fs::remove_file(outside.home.path("work").join(name));
            }
            let said = outside.attack(&["--unattended"], &format!("exec sh bypass.sh {}", names.join(" ")), "").finish();
            let mut written = String::new();
            fs::File::open(outside.home.path("work/results")).expect("results").read_to_string(&mut written).expect("text");
            assert!(written.ends_with("END\n"), "{written}\n{}\n{}", said.out(), said.err());
            for line in written.lines().filter(|line| *line != "END") {
                eprintln!("{who:?} {line}");
                let mut words = line.split(' ');
                let (name, code) = (words.next().expect("a name"), words.next().expect("a code"));
                if (code == "1") != is_open(name, who) {
                    bad.push(line.to_owned());
                }
            }
        }
        assert!(bad.is_empty(), "{who:?}: {bad:#?}");
        assert!(outside.is_whole("home/protected/victim"), "{who:?}: the victim was changed");
        assert_eq!(outside.touched(), "", "{who:?}: something outside was reached");
    }
}

#[test]
fn a_box_in_a_terminal_works() {
    if !skip::have(&["script"]) {
        return;
    }
    let home = Home::without_namespaces(Who::Me, "");
    let mut command = home.program("script");
    command.args(["-qec"]).arg(format!(
        "python3 {} {} run -- sh -c 'tty; echo to-tty > /dev/tty; stty size'",
        home.path("refusing.py").display(),
        agentbox_tests::binary::agentbox().display()
    ));
    command.arg("/dev/null");
    let said = finish(&mut command);
    assert!(said.out().contains("/dev/pts/") && said.out().contains("to-tty"), "{}", said.out());
}
