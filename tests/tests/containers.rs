//! Inside other people's containers: the box works there, or says exactly why not and what would help.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, process::Command};

use agentbox_tests::{
    Home, Who,
    binary::agentbox,
    process::{Finished, finish},
    skip,
};
use serde_json::{Value, json};

/// What Docker's own profile refuses to a container without more capabilities than it gives (CAP_SYS_ADMIN for most), and Podman's does not; but
/// for `pidfd_getfd`, which hangs on CAP_SYS_PTRACE.
const NOT_IN_DOCKER: &[&str] = &[
    "fanotify_init",
    "get_mempolicy",
    "kcmp",
    "lookup_dcookie",
    "mbind",
    "open_by_handle_at",
    "process_madvise",
    "quotactl_fd",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "syslog",
    "clone",
    "clone3",
    "unshare",
    "setns",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "pivot_root",
    "umount",
    "umount2",
    "sethostname",
    "setdomainname",
    "bpf",
    "perf_event_open",
    "quotactl",
];

/// CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP.
const NAMESPACES: u64 = 0x7e02_0000;

/// Whether containers run here at all.
fn have() -> bool {
    skip::is_root("a container on this machine's own files") && skip::have(&["podman", "runc"])
}

/// Runs a script in a container over this machine's own files, in an empty folder that is gone with it.
fn contained(options: &[&str], user: &str, script: &str) -> Finished {
    let mut command = Command::new("podman");
    command.args(["--runtime", "runc", "run", "--rm", "--network", "none", "--user", user, "--env", "HOME=/tmp/contained"]);
    // Podman's own defaults are more than this machine may give.
    command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4000:4000"]).args(options);
    let script = format!("mkdir -p /tmp/contained/work && cd /tmp/contained/work && {script}");
    command.args(["--rootfs", "/:O", "sh", "-c", &script.replace("agentbox", &agentbox().display().to_string())]);
    finish(&mut command)
}

const WORK: &str = "agentbox run -- sh -c 'id -u; echo x > made && rm made; cat /proc/1/comm; echo done'";

#[test]
fn in_a_container_whose_proc_is_not_masked_it_works() {
    if !have() {
        return;
    }
    for user in ["0:0", "1000:1000"] {
        let ended = contained(&["--security-opt", "unmask=ALL"], user, WORK).ended(0);
        assert!(ended.out().ends_with("done\n") && ended.out().starts_with(user.split(':').next().unwrap_or_default()), "{}", ended.out());
    }
}

/// A policy that wants what this container has not.
const REQUIRING: &str = "printf 'require = [\"pid-namespace\"]\\n' >../requiring.toml && agentbox run --policy ../requiring.toml -- echo ran";

/// A server of the box's own is reached, and what nobody allows is not.
const SOCKETS: &str = "cat >ask.py <<'END'
import http.server, threading, urllib.request
server = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
own = urllib.request.urlopen(f'http://127.0.0.1:{server.server_port}/').status
try:
    urllib.request.urlopen('http://192.0.2.1/', timeout=20)
    other = 'reached'
except OSError:
    other = 'refused'
print(own, other)
END
agentbox run --unattended --exit-code agent -- python3 ask.py 2>said || { cat said >&2; exit 1; }";

/// Works without namespaces, and says what would give them where a policy wants them.
fn works_with_less(options: &[&str], fixes: &[&str]) {
    for user in ["0:0", "1000:1000"] {
        let ended = contained(options, user, WORK).ended(0);
        assert!(ended.out().ends_with("done\n") && ended.out().starts_with(user.split(':').next().unwrap_or_default()), "{}", ended.out());
        assert!(ended.err().contains("there are no namespaces here"), "{}", ended.err());
        // It was made in the box, though on the container's layers no birth tells it.
        assert!(!ended.err().contains("kept the first version"), "{}", ended.err());
        let ended = contained(options, user, REQUIRING).ended(125);
        assert!(ended.out().is_empty(), "nothing ran: {}", ended.out());
        for words in fixes {
            assert!(ended.err().contains(words), "{words}: {}", ended.err());
        }
    }
}

#[test]
fn in_podmans_default_it_works_with_less() {
    if have() {
        works_with_less(&[], &["pid-namespace", "--security-opt unmask=ALL", "procMount: Unmasked"]);
    }
}

/// Podman's profile without what Docker's has not.
fn docker_like() -> Option<Value> {
    let mut profile: Value = serde_json::from_str(&fs::read_to_string("/usr/share/containers/seccomp.json").ok()?).expect("a profile");
    let rules = profile["syscalls"].as_array_mut().expect("rules");
    for rule in rules.iter_mut() {
        rule["names"].as_array_mut().expect("names").retain(|name| !NOT_IN_DOCKER.contains(&name.as_str().unwrap_or_default()));
    }
    rules.retain(|rule| rule["names"].as_array().is_some_and(|names| !names.is_empty()));
    rules.push(json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}));
    rules.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}));
    Some(profile)
}

#[test]
fn under_dockers_default_it_works_with_less() {
    if !have() {
        return;
    }
    let Some(profile) = docker_like() else { return skip::skip("no seccomp profile of Podman's is installed") };
    let home = Home::new("");
    home.write("docker.json", &profile.to_string());
    let profile = format!("seccomp={}", home.path("docker.json").display());
    let fixes = ["docker run --security-opt seccomp=unconfined", "podman run --security-opt seccomp=unconfined", "seccompProfile.type: Unconfined"];
    works_with_less(&["--security-opt", &profile], &fixes);
    // Docker's own refuses it without CAP_SYS_PTRACE; then the file gate makes the box's sockets itself.
    let Some(mut without) = docker_like() else { return };
    for rule in without["syscalls"].as_array_mut().expect("rules") {
        rule["names"].as_array_mut().expect("names").retain(|name| name != "pidfd_getfd");
    }
    without["syscalls"].as_array_mut().expect("rules").retain(|rule| rule["names"].as_array().is_some_and(|names| !names.is_empty()));
    home.write("docker.json", &without.to_string());
    works_with_less(&["--security-opt", &profile], &fixes);
    for user in ["0:0", "1000:1000"] {
        let ended = contained(&["--security-opt", &profile], user, SOCKETS).ended(0);
        assert_eq!(ended.out(), "200 refused\n", "{}", ended.err());
    }
}

#[test]
fn inside_bubblewrap_it_works_or_says_why_not() {
    if !skip::have(&["bwrap"]) {
        return;
    }
    let home = Home::new("");
    let work = home.path("work").display().to_string();
    let nested = |options: &[&str]| {
        let mut command = home.program("bwrap");
        command.args(["--unshare-user", "--dev-bind", "/", "/"]).args(options).args(["--chdir", &work]).arg(agentbox()).args(["run", "--", "echo", "done"]);
        finish(&mut command)
    };
    assert_eq!(nested(&[]).ended(0).out(), "done\n");
    // Its /proc covers parts of the outer one, and the kernel gives no full one below.
    let ended = nested(&["--unshare-pid", "--proc", "/proc"]);
    assert!(ended.code == 0 || ended.err().contains("/proc"), "{}", ended.err());
}

#[test]
fn where_clone3_is_refused_a_box_starts_all_the_same() {
    let home = Home::new("");
    let mut command = home.program("python3");
    command.args(["-c", include_str!("../stand-ins/without-clone3.py")]).arg(agentbox()).args(["run", "--", "echo", "done"]);
    assert_eq!(finish(&mut command).ended(0).out(), "done\n");
}

/// What a service of systemd, or of a runner of CI, may be started under: an ordinary user, and root with and without its power.
#[test]
fn where_a_filter_refuses_namespaces_what_is_required_is_refused_and_the_fix_is_said() {
    let whole = "python3 \"$REFUSING\" \"$AGENTBOX\" \"$@\"";
    let powerless = "setpriv --bounding-set -sys_admin --inh-caps -sys_admin python3 \"$REFUSING\" \"$AGENTBOX\" \"$@\"";
    for who in Who::each() {
        let home = Home::of(who, "require = [\"user-namespace\"]\n");
        home.write("refusing.py", include_str!("../stand-ins/without-namespaces.py"));
        let policy = home.path("policy.toml").display().to_string();
        let refused = |how: &str, arguments: &[&str]| {
            let mut command = home.program("sh");
            command.env("REFUSING", home.path("refusing.py")).env("AGENTBOX", agentbox()).args(["-c", how, "sh"]).args(arguments);
            finish(&mut command)
        };
        for how in [whole, powerless] {
            // An ordinary user has no power to drop.
            if how == powerless && (who == Who::Ordinary || !skip::is_root("dropping CAP_SYS_ADMIN")) {
                continue;
            }
            let ended = refused(how, &["run", "--policy", &policy, "--", "sh", "-c", "echo ran; touch made"]).ended(125);
            assert!(ended.out().is_empty() && !home.path("work/made").exists(), "nothing ran: {}", ended.out());
            for words in ["user-namespace: ", "docker run --security-opt seccomp=unconfined"] {
                assert!(ended.err().contains(words), "{words}: {}", ended.err());
            }
            let said = refused(how, &["doctor"]).ended(0);
            for words in ["user-namespace    missing", "`agentbox run` starts here, with less"] {
                assert!(said.out().contains(words), "{words}: {}", said.out());
            }
            assert_eq!(refused(how, &["run", "--", "echo", "ran"]).ended(0).out(), "ran\n");
        }
    }
}
