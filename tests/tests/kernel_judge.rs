//! Where the kernel gate judges: what a box makes is left to the kernel, and all else comes to the file gate.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use agentbox_tests::{
    Home,
    home::processes,
    process::{Going, children, status, until},
    skip,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const POLICY: &str = "extends = \"default\"\nkernel-gate = \"judge\"\n";

/// Loading the programs is most of what a test costs where a processor is emulated, and all have the same deadline: one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Whether it is here; and the turn of the test that asks.
fn turn() -> Option<MutexGuard<'static, ()>> {
    skip::needs_kernel_gate().then(|| ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What people do all day, with what they have made and with what was there before.
const LIFE: &str = r#"set -e
echo one > a; echo two >> a; echo three > a
cp a b; mv b c; ln c d; rm c; mv d a
mkdir -p x/y; touch x/y/z; chmod 600 x/y/z; rm -r x
truncate -s 1 a; ln -s a s; rm s; sed -i s/^./q/ a
echo new > kept; echo more >> grown; rm gone; rm -r folder; truncate -s 1 cut; : > empty
(set -C; ! echo over > kept) 2> /dev/null
python3 -B - <<'END'
import mmap, os, subprocess, tempfile, threading
with tempfile.TemporaryFile() as f:
    f.write(b"x" * 8192); f.flush(); f.truncate(4096)
    m = mmap.mmap(f.fileno(), 4096); m[0] = 1
with tempfile.TemporaryFile(dir=".") as f:
    f.write(b"x"); f.flush()
    open(f"/proc/self/fd/{f.fileno()}", "r+b").close()
with open("db", "w+b") as f:
    f.write(b"y" * 100); f.seek(0); f.write(b"z"); f.truncate(10)
with open("db", "r+b") as f:
    f.write(b"again")
os.replace("db", "db2"); os.utime("db2", (1, 1)); os.setxattr("db2", "user.a", b"1"); os.removexattr("db2", "user.a")
os.unlink("db2")
os.close(os.pidfd_open(os.getpid())); os.close(os.memfd_create("m"))
# By a process that shares its parent's memory, and by one that is started so.
subprocess.run(["rm", "spawned"], check=True)
os.waitpid(os.posix_spawnp("rm", ["rm", "posix"], os.environ), 0)
# By threads, each of its own.
threads = [threading.Thread(target=os.unlink, args=(f"thread{n}",)) for n in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
END
for own in /tmp /var/tmp /dev/shm; do
    cd $own; echo t > t; echo u > u; mv t u; rm u; mkdir -p d/e; rm -r d; cd "$OLDPWD"
done
# In a layer over what is kept elsewhere.
cd ~/.cache; echo one > made; echo two >> made; (set -C; echo own > only); echo over > there; rm made only there gone; ls; cd "$OLDPWD"
git init -q r && cd r && git config user.email a@b && git config user.name a && echo 1 > f && git add f && git commit -qm 1 && echo 2 > f && git commit -qam 2 && cd ..
(sleep 9 & kill -SEGV $!; wait $! || true)
sleep 0.2
ls
"#;

#[test]
fn a_days_work_is_as_anywhere() {
    let Some(_turn) = turn() else { return };
    let home = Home::new(POLICY);
    for name in ["kept", "grown", "gone", "cut", "spawned", "posix", "folder/deep/file"] {
        home.write(&format!("work/{name}"), "precious\n");
    }
    home.write("work/empty", "");
    ["there", "gone"].iter().for_each(|name| home.write(&format!("home/.cache/{name}"), "precious\n"));
    (0..8).for_each(|number| home.write(&format!("work/thread{number}"), "precious\n"));
    let ended = home.run(LIFE).ended(0);
    assert!(!ended.err().contains("ALARM"), "{}", ended.err());
    assert_eq!(ended.out().split_whitespace().collect::<Vec<_>>(), ["a", "cut", "empty", "grown", "kept", "r"], "{}", ended.err());
    assert_eq!(fs::read_to_string(home.path("work/kept")).expect("it is there"), "new\n");
    assert_eq!(fs::read_to_string(home.path("work/grown")).expect("it is there"), "precious\nmore\n");

    assert_eq!(fs::read_to_string(home.path("home/.cache/there")).expect("it is there"), "precious\n");

    // All that was there before was kept first, and comes back.
    home.outside(&["undo"]).ended(0);
    for name in ["kept", "grown", "gone", "cut", "spawned", "posix", "folder/deep/file", "thread0", "thread7"] {
        assert_eq!(fs::read_to_string(home.path(&format!("work/{name}"))).expect(name), "precious\n", "{name}");
    }
}

/// The process that takes the stopped calls.
fn file_gate(going: &Going) -> Pid {
    let listens = |pid: &Pid| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        fds.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|target| target == Path::new("anon_inode:seccomp notify"))
    };
    let supervisor = processes(going.pid()).supervisor;
    children(supervisor).into_iter().find(listens).expect("the file gate's process")
}

/// How many processes below this one are in a call that the kernel has restarted as `restart_syscall`.
fn waiting(pid: Pid) -> usize {
    let is = fs::read_to_string(format!("/proc/{pid}/syscall")).is_ok_and(|call| call.starts_with(&format!("{} ", nix::libc::SYS_restart_syscall)));
    usize::from(is) + children(pid).into_iter().map(waiting).sum::<usize>()
}

#[test]
fn the_kernel_does_what_is_done_with_own_works_and_nothing_else() {
    let Some(_turn) = turn() else { return };
    let home = Home::new(POLICY);
    home.write("work/kept", "precious\n");
    home.write("work/alias", "precious too\n");
    fs::hard_link(home.path("work/alias"), home.path("work/other")).expect("a second name");
    let script = "echo ready; until [ -e go ]; do sleep 0.1; done
        for i in 1 2 3 4 5; do echo $i > own; echo more >> own; : > own; mkdir ours; rm own; done 2> /dev/null; echo free
        for name in kept alias other; do (rm $name; echo gone $?) & done
        (echo over > kept; echo over $?) & sleep 300";
    let going = home.start(script);
    going.says("ready");
    let gate = file_gate(&going);
    kill(gate, Signal::SIGSTOP).expect("it stands still");
    home.write("work/go", "");
    going.says("free");
    // What was there before waits for the file gate, which stands still.
    let init = processes(going.pid()).init;
    until("all four wait", || waiting(init) == 4, || format!("{} do: {}", waiting(init), going.out()));
    for name in ["kept", "alias", "other"] {
        assert!(fs::read_to_string(home.path(&format!("work/{name}"))).expect(name).starts_with("precious"), "{name}");
    }
    assert!(!going.out().contains("gone") && !going.out().contains("over"), "{}", going.out());
    // Without it they fail, and nothing is lost.
    kill(gate, Signal::SIGKILL).expect("it is ended");
    let ended = going.finish();
    assert!(!ended.out().contains("gone 0") && !ended.out().contains("over 0"), "{}", ended.out());
    for name in ["kept", "alias", "other"] {
        assert!(fs::read_to_string(home.path(&format!("work/{name}"))).expect(name).starts_with("precious"), "{name}");
    }
}

/// Two processes have the programs open, so that the end of one opens nothing; and the box does not live on behind the other.
#[test]
fn a_box_ends_when_one_of_those_that_hold_the_programs_has_gone() {
    let Some(_turn) = turn() else { return };
    let home = Home::new(POLICY);
    let going = home.start("echo ready; sleep 300");
    going.says("ready");
    let supervisor = processes(going.pid()).supervisor;
    // Of the supervisor's own processes outside of the box the loader alone has a child.
    let outside = |pid: &Pid| status(*pid, "NSpid").is_some_and(|ids| ids.split_whitespace().count() == 1);
    let holders: Vec<Pid> = children(supervisor).into_iter().filter(outside).flat_map(children).collect();
    let [holder] = holders[..] else { panic!("{holders:?}") };
    kill(holder, Signal::SIGKILL).expect("it is ended");
    let ended = going.finish();
    assert!(ended.code != 0 && ended.err().contains("ALARM") && ended.err().contains("has ended before the box"), "{}", ended.err());
}
