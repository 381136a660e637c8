//! The file gate: what destroys in a place that holds waits for a person, what a box destroys in its workspace comes back.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, process::Command};

use agentbox_tests::{
    Home, Who,
    home::{exists, is_gone},
    process::{children, finish, until},
    skip,
    tree::snapshot,
};
use nix::{sys::signal::Signal, unistd::Pid};

/// The workspace is free, but for one folder in it.
const KEPT: &str = "extends = \"default\"\n[place.kept]\npaths = [\"kept\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n";

fn home(who: Who) -> Home {
    let home = Home::of(who, KEPT);
    home.write("work/kept/a", "precious\n");
    home.write("work/kept/b", "precious too\n");
    home.write("work/free", "mine\n");
    home
}

#[test]
fn a_deletion_waits_and_a_yes_lets_it_through_once() {
    for who in Who::each() {
        let home = home(who);
        let going = home.start("rm kept/a && echo removed; rm kept/b; echo end; sleep 300");
        let card = &home.waiting(1)[0];
        let id = card["id"].as_str().expect("an id").to_owned();
        assert_eq!((card["place"].as_str(), card["operations"][0]["action"].as_str()), (Some("kept"), Some("file.unlink")), "{card}");
        let shown = home.outside(&["show", &id]).ended(0).out();
        assert!(shown.contains("kept/a") && shown.contains("rm kept/a") && shown.contains("9 bytes"), "the card tells what, who and how much:\n{shown}");
        assert!(shown.contains("possible: the vault keeps the first version") && card["undo"]["yes"].is_string(), "and whether it comes back:\n{shown}");
        assert!(exists(&home.path("work/kept/a")), "nothing is done before the yes");
        home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
        going.says("removed");
        let second = home.hold();
        assert_ne!(second, id);
        home.outside(&["deny", &second, "--because", "that one stays"]).ended(0);
        going.says("end");
        assert!(going.err().contains("Operation not permitted"), "{}", going.err());
        assert!(!exists(&home.path("work/kept/a")) && exists(&home.path("work/kept/b")));
        drop(going);
        home.outside(&["log", "--verify"]).ended(0);
        // What was permitted is kept all the same.
        home.outside(&["undo"]).ended(0);
        assert_eq!(fs::read_to_string(home.path("work/kept/a")).expect("it is back"), "precious\n");
    }
}

/// More than the vault copies of one file.
const TOO_BIG: u64 = 513 << 20;

/// Gives a file room without writing to it all.
fn grow(path: &std::path::Path) {
    let mut command = Command::new("fallocate");
    command.args(["--length", &TOO_BIG.to_string()]).arg(path);
    finish(&mut command).ended(0);
}

#[test]
fn the_card_says_whether_the_vault_will_keep_it_and_that_comes_true() {
    let home = home(Who::Me);
    let big = home.path("work/kept/big");
    grow(&big);
    let going = home.start(": > kept/big && echo done; sleep 300");
    let id = home.hold();
    let shown = home.outside(&["show", &id]).ended(0).out().split_whitespace().collect::<Vec<_>>().join(" ");
    // Where the file system shares blocks, size is no matter.
    let kept = shown.contains("undo possible: the vault keeps the first version");
    let why = "undo IMPOSSIBLE: the vault does not keep it: ";
    let too_big = format!("{why}{TOO_BIG} bytes, more than the 536870912 that are copied at most");
    // On a small disk, as in `cargo xtask vm`, the budget is smaller than that.
    assert!(kept || shown.contains(&too_big) || shown.contains(&format!("{why}the vault's budget of ")), "{shown}");
    home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
    going.says("done");
    drop(going);
    let _ = home.outside(&["undo"]);
    assert_eq!(fs::metadata(&big).expect("it is there").len() == TOO_BIG, kept);
}

#[test]
fn what_would_be_kept_when_it_was_shown_and_cannot_be_any_more_is_not_done() {
    let home = home(Who::Me);
    let going = home.start("if : > kept/a; then echo done; else echo not done; fi; sleep 300");
    let id = home.hold();
    assert!(home.outside(&["show", &id]).ended(0).out().contains("possible: the vault keeps the first version"));
    grow(&home.path("work/kept/a"));
    home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
    going.says("done");
    let refused = going.out().contains("not done");
    drop(going);
    let _ = home.outside(&["undo"]);
    assert_eq!(fs::metadata(home.path("work/kept/a")).expect("it is there").len(), TOO_BIG, "refused: {refused}");
}

#[test]
fn every_way_to_lose_a_file_is_refused_and_why_says_so() {
    for who in Who::each() {
        let home = home(who);
        let before = snapshot(&home.path("work/kept"));
        let script = "rm -rf kept; echo x > kept/a; : > kept/b; truncate -s 1 kept/a; mv free kept/a; mv kept elsewhere; ln kept/a alias && echo x > alias; \
                      python3 -c \"import os; os.open('kept/a', os.O_RDWR)\"; sed -i s/p/q/ kept/a; cd kept && dd if=/dev/zero of=b conv=notrunc bs=1 count=1; cd ..; $AGENTBOX why";
        let ended = finish(&mut home.script(&["--unattended"], script)).ended(77);
        assert_eq!(snapshot(&home.path("work/kept")), before, "{}", ended.err());
        assert!(ended.out().contains("file.") && ended.out().contains("kept"), "{}", ended.out());
        assert_eq!(fs::read_to_string(home.path("work/free")).expect("it is there"), "mine\n");
    }
}

#[test]
fn what_the_agent_made_itself_it_may_unmake_and_append_anywhere() {
    let home = home(Who::Me);
    let script =
        "echo new > kept/new && echo more >> kept/new && rm kept/new && mkdir kept/d && mv kept/d kept/e && rmdir kept/e && echo line >> kept/a && echo fine";
    let ended = finish(&mut home.script(&["--unattended"], script)).ended(0);
    assert_eq!(ended.out(), "fine\n", "{}", ended.err());
    assert_eq!(fs::read_to_string(home.path("work/kept/a")).expect("it is there"), "precious\nline\n");
    // Git writes its settings anew for each of them, in a place where the policy holds what is written.
    let script = "git init -q . && git config user.name us && git config user.email us@example.org && git add free && git commit -qm one && git commit -q --amend -m two && git log --format=%s";
    let ended = finish(&mut home.script(&["--unattended"], script)).ended(0);
    assert_eq!(ended.out(), "two\n", "{}", ended.err());
    // In the next box they are somebody's, and read-only.
    let ended = finish(&mut home.script(&["--unattended"], "git config user.name them; git config user.name")).ended(0);
    assert!(ended.err().contains("could not write config file") && ended.out() == "us\n", "{}{}", ended.out(), ended.err());
}

#[test]
fn a_name_of_before_that_leads_to_the_last_one_is_no_second_name() {
    for who in Who::each() {
        let home = home(who);
        // Two names, of which one goes; the other one's folder is renamed, and a link stands where it was.
        let script = "mkdir kept/d && ln kept/a kept/d/two && rm kept/a && mv kept/d kept/e && ln -s e kept/d && cat kept/d/two; rm -f kept/e/two; echo end";
        let ended = finish(&mut home.script(&["--unattended"], script)).ended(77);
        assert_eq!(ended.out(), "precious\nend\n", "the moves themselves lose nothing: {}", ended.err());
        assert_eq!(fs::read_to_string(home.path("work/kept/e/two")).expect("its last name stays"), "precious\n");
    }
}

#[test]
fn what_was_opened_for_appending_is_changed_in_no_other_way() {
    let home = home(Who::Me);
    // FS_IOC_ZERO_RANGE and FS_IOC_UNRESVSP64 of linux/falloc.h, for the file's first bytes; the clearing of O_APPEND; fallocate(2).
    let script = r#"python3 -c "
import ctypes, fcntl, os, struct
libc = ctypes.CDLL(None, use_errno=True)
def tried(what, call):
    try:
        call()
        print(what, 'passed')
    except OSError as error:
        print(what, os.strerror(error.errno))
room = struct.pack('hhqqiI4i', 0, 0, 0, 8, 0, 0, 0, 0, 0, 0)
file = os.open('kept/a', os.O_WRONLY | os.O_APPEND)
tried('zero', lambda: fcntl.ioctl(file, 0x40305839, room))
tried('punch', lambda: fcntl.ioctl(file, 0x4030582b, room))
tried('flags', lambda: fcntl.fcntl(file, fcntl.F_SETFL, 0))
"; echo end"#;
    let ended = finish(&mut home.script(&["--unattended"], script)).ended(77);
    let all = "zero Inappropriate ioctl for device\npunch Inappropriate ioctl for device\nflags Operation not permitted\nend\n";
    assert_eq!(ended.out(), all, "{}", ended.err());
    assert_eq!(fs::read_to_string(home.path("work/kept/a")).expect("it is there"), "precious\n");
}

#[test]
fn nobody_keeps_the_vault_or_the_file_gate_from_a_file_by_a_lease() {
    for who in Who::each() {
        let home = home(who);
        // F_SETLEASE, F_RDLCK and F_WRLCK: for reading nothing need be opened for writing, and the kernel then keeps every reader away.
        let script = r#"python3 -c "
import fcntl, os
file = os.open('free', os.O_RDONLY)
for lock in (0, 1):
    try:
        fcntl.fcntl(file, 1024, lock)
        print('leased')
    except OSError as error:
        print(os.strerror(error.errno))
if os.fork() == 0:
    os.unlink('free')
    os._exit(0)
os.wait()
""#;
        let ended = finish(&mut home.script(&["--unattended"], script)).ended(0);
        assert_eq!(ended.out(), "Operation not permitted\nOperation not permitted\n", "{}", ended.err());
        assert!(!ended.err().contains("NOT kept"), "{}", ended.err());
        home.outside(&["undo"]).ended(0);
        assert_eq!(fs::read_to_string(home.path("work/free")).expect("it is back"), "mine\n");
    }
}

#[test]
fn a_session_is_undone_whole() {
    for who in Who::each() {
        let home = home(who);
        let before = snapshot(&home.path("work"));
        let ended = home.run("chmod 600 free; touch -d @5 free; python3 -c 'import os; os.utime(\"kept/a\", (5, 5)); os.setxattr(\"kept/b\", \"user.ours\", b\"x\")'; chmod 700 kept .; rm free; mkdir made; echo x > made/x; mv kept/b kept/c; echo done").ended(0);
        assert!(ended.err().contains("agentbox undo"), "{}", ended.err());
        home.outside(&["undo", "--made"]).ended(0);
        assert_eq!(snapshot(&home.path("work")), before);
        let mut attributes = Command::new("python3");
        attributes.args(["-c", "import os, sys; print(os.listxattr(sys.argv[1]))"]).arg(home.path("work/kept/b"));
        assert_eq!(finish(&mut attributes).ended(0).out(), "[]\n");
        home.outside(&["undo", "--list"]).ended(0);
    }
}

#[test]
fn a_held_call_can_be_interrupted() {
    let home = home(Who::Me);
    let script = "python3 -c \"\nimport os, signal, threading\nthreading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\ntry:\n    os.unlink('kept/a')\nexcept (KeyboardInterrupt, InterruptedError):\n    print('interrupted')\n\"; echo end";
    let going = home.start(script);
    going.says("interrupted");
    going.says("end");
    assert!(home.holds().is_empty(), "nobody waits any more");
    drop(going);
    assert!(exists(&home.path("work/kept/a")));
}

#[test]
fn nothing_passes_when_a_process_of_ours_is_killed() {
    for victim in ["supervisor", "file gate"] {
        let home = home(Who::Me);
        let going = home.start("echo up; rm kept/a && echo passed; sleep 300");
        let _ = home.hold();
        let supervisor = *children(going.pid()).first().expect("a supervisor");
        let target: Pid = match victim {
            "supervisor" => supervisor,
            // Of the supervisor's own processes it has the thread of the vault.
            _ => *children(supervisor)
                .iter()
                .find(|pid| {
                    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
                    threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok()).any(|name| name == "vault\n")
                })
                .expect("a file gate"),
        };
        nix::sys::signal::kill(target, Signal::SIGKILL).expect("it is there");
        until("the box is over", || is_gone(going.pid()), || going.out());
        assert!(exists(&home.path("work/kept/a")), "{victim}");
        assert!(!going.out().contains("passed"), "{victim}: {}", going.out());
    }
}

#[test]
fn the_boxs_own_memory_is_the_agents_own() {
    // The test's own workspace lies below /tmp, where the box has a folder of its own.
    let home = home(Who::Me);
    let script = "echo a > /tmp/a && mv /tmp/a /tmp/b && : > /tmp/b && ln /tmp/b /tmp/c && rm /tmp/b /tmp/c && mkdir /tmp/d && mv /tmp/d /tmp/e && rmdir /tmp/e && echo x > /dev/shm/x && rm /dev/shm/x && echo fine";
    let ended = finish(&mut home.script(&["--unattended"], script)).ended(0);
    assert_eq!(ended.out(), "fine\n", "{}", ended.err());
}

#[test]
fn another_name_in_the_same_place_loses_nothing_and_one_elsewhere_waits() {
    let home = home(Who::Me);
    finish(&mut home.script(&["--unattended"], "ln kept/a kept/alias && mv kept/b kept/c")).ended(0);
    finish(&mut home.script(&["--unattended"], "ln kept/a alias")).ended(1);
    finish(&mut home.script(&["--unattended"], "echo x > kept/alias")).ended(1);
    assert_eq!(fs::read_to_string(home.path("work/kept/a")).expect("it is there"), "precious\n");
    assert!(!exists(&home.path("work/alias")));
}

#[test]
fn a_folder_above_what_a_pattern_names_is_not_moved_unasked() {
    let policy = "extends = \"default\"\n[place.kept]\npaths = [\"data/**/*.db\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n";
    let home = Home::new(policy);
    home.write("work/data/deep/a.db", "precious\n");
    home.write("work/data/other/notes", "mine\n");
    for script in ["mv data elsewhere", "mv data/deep data/x", "rm data/deep/a.db", "mkdir new && mv --exchange new data"] {
        finish(&mut home.script(&["--unattended"], &format!("{script} && rm -rf elsewhere data/x new"))).ended(1);
        assert_eq!(fs::read_to_string(home.path("work/data/deep/a.db")).expect("it is there"), "precious\n", "{script}");
    }
    finish(&mut home.script(&["--unattended"], "mv data/other data/others && rm -r data/others")).ended(0);
}

#[test]
fn a_mask_of_the_agents_does_not_close_the_vault() {
    for who in Who::each() {
        let home = home(who);
        home.run("umask 0777; echo x > made; rm free; echo done").ended(0);
        home.outside(&["undo"]).ended(0);
        assert_eq!(fs::read_to_string(home.path("work/free")).expect("it is back"), "mine\n");
    }
}

#[test]
fn a_ref_that_is_still_open_for_writing_is_not_put_in_place() {
    let home = Home::new("extends = \"default\"\n[place.history]\npaths = [\".git\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n");
    let git = "export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b;";
    let outside = |script: &str| finish(home.program("bash").args(["-c", &format!("{git} {script}")])).ended(0).out();
    outside("git init -q -b main . && echo 1 > f && git add f && git commit -qm one && echo 2 > f && git commit -qam two");
    let before = outside("git rev-parse main");
    // Git itself closes what it renames: an ordinary commit passes.
    let ordinary = finish(&mut home.script(&["--unattended"], &format!("{git} echo 3 > f && git commit -qam three && git rev-parse main"))).ended(0);
    assert_ne!(ordinary.out(), before);
    let now = outside("git rev-parse main");
    let attack = "import os, subprocess\nout = lambda *a: subprocess.run(['git', *a], capture_output=True, text=True).stdout.strip()\nnext = out('commit-tree', '-p', 'main', '-m', 'four', 'main^{tree}')\nfd = os.open('.git/refs/heads/main.lock', os.O_WRONLY | os.O_CREAT | os.O_EXCL)\nos.write(fd, (next + '\\n').encode())\ntry:\n    os.rename('.git/refs/heads/main.lock', '.git/refs/heads/main')\nexcept PermissionError:\n    print('refused')\nos.pwrite(fd, out('rev-parse', 'main~2').encode() + b'\\n', 0)\n";
    home.write("work/attack.py", attack);
    let ended = finish(&mut home.script(&["--unattended"], &format!("{git} python3 attack.py"))).ended(77);
    assert_eq!(ended.out(), "refused\n", "{}", ended.err());
    assert_eq!(outside("git rev-parse main"), now);
}

/// A file system mounted over a folder for as long as this lives.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn over(at: std::path::PathBuf, kind: &str, options: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", kind, "-o", options, "none"]).arg(&at);
        let mounted = finish(&mut mount);
        if mounted.code != 0 {
            skip::not_here(&format!("{kind} cannot be mounted: {}", mounted.err().trim()));
            return None;
        }
        Some(Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_layered_file_system_makes_nothing_old_the_agents_own() {
    let home = home(Who::Me);
    for folder in ["upper", "layers"] {
        fs::create_dir(home.path(folder)).expect("a folder");
    }
    let at = |name: &str| home.path(name).display().to_string();
    let options = format!("lowerdir={},upperdir={},workdir={}", at("work"), at("upper"), at("layers"));
    let Some(_mounted) = Mounted::over(home.path("work"), "overlay", &options) else { return };
    // Appending and a new mode copy the file up: a new inode, born now.
    let going = home.start("echo more >> kept/a; chmod 600 kept/a; rm kept/a && echo removed; sleep 300");
    let card = &home.waiting(1)[0];
    assert_eq!(card["operations"][0]["action"].as_str(), Some("file.unlink"), "{card}");
    drop(going);
    assert!(exists(&home.path("work/kept/a")));
}

#[test]
fn what_the_agent_made_on_another_disk_is_its_own_too() {
    let home = home(Who::Me);
    let Some(_mounted) = Mounted::over(home.path("work"), "tmpfs", "size=1m") else { return };
    home.write("work/kept/old", "precious");
    let ended = home.run("echo x > kept/new; rm kept/new && echo removed").ended(0);
    assert!(ended.out().contains("removed"));
    let going = home.start("rm kept/old; sleep 300");
    let _ = home.hold();
    drop(going);
    assert!(exists(&home.path("work/kept/old")));
}
