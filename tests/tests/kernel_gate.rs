//! The kernel gate: programs on the kernel's security hooks behind the file gate, where this machine's kernel takes them.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{fs, process::Command};

use agentbox_tests::{
    Home, Who,
    home::processes,
    process::{Going, finish},
    skip,
};

const POLICY: &str = "extends = \"default\"\nrequire = [\"kernel-gate\"]\n";

/// What people do all day: each of these goes through the file gate, so that no hook hears of the box's processes.
const LIFE: &str = r#"set -e
echo one > a; echo two >> a; echo three > a
cp a b; mv b c; ln c d; rm c; mv d a
mkdir -p x/y; touch x/y/z; chmod 600 x/y/z; rm -r x
truncate -s 1 a; ln -s a s; rm s; sed -i s/^./q/ a
python3 -B - <<'END'
import mmap, os, tempfile
with tempfile.TemporaryFile() as f:
    f.write(b"x" * 8192); f.flush(); f.truncate(4096)
    m = mmap.mmap(f.fileno(), 4096); m[0] = 1
with open("db", "w+b") as f:
    f.write(b"y" * 100); f.seek(0); f.write(b"z"); f.truncate(10)
os.replace("db", "db2"); os.utime("db2"); os.utime("db2", (1, 1)); os.setxattr("db2", "user.a", b"1"); os.removexattr("db2", "user.a")
os.unlink("db2")
os.close(os.memfd_create("m"))
END
for own in /tmp /var/tmp /dev/shm; do
    cd $own; echo t > t; echo u > u; mv t u; rm u; mkdir -p d/e; rm -r d; cd "$OLDPWD"
done
# In a layer over what is kept elsewhere: the kernel sets attributes of its own there.
mkdir -p ~/.cache/made/deep; echo f > ~/.cache/made/deep/f; echo g >> ~/.cache/made/deep/f; echo over > ~/.cache/there; rm -r ~/.cache/made
(sleep 9 & kill -SEGV $!; wait $! || true)
cat a
"#;

#[test]
fn a_box_lives_behind_it_or_does_not_start() {
    let home = Home::new(POLICY);
    if !skip::has_kernel_gate() {
        let ended = home.run("echo started").ended(125);
        assert!(ended.out().is_empty() && ended.err().contains("kernel-gate: "), "{}", ended.err());
        return;
    }
    home.write("home/.cache/there", "precious\n");
    let ended = home.run(LIFE).ended(0);
    assert_eq!(fs::read_to_string(home.path("home/.cache/there")).expect("it is there"), "precious\n");
    assert_eq!(ended.out(), "q");
    assert!(!ended.err().contains("ALARM"), "{}", ended.err());
    // In a scratch layer nothing is judged, and so nothing can be held to it.
    let ended = finish(&mut home.script(&["--scratch"], "echo started")).ended(125);
    assert!(ended.err().contains("kernel-gate: what is done in a scratch layer"), "{}", ended.err());
}

#[test]
fn an_ordinary_user_is_told_that_it_takes_root() {
    if !skip::is_root("another user") {
        return;
    }
    let ended = Home::of(Who::Ordinary, POLICY).run("echo started").ended(125);
    assert!(ended.out().is_empty() && ended.err().contains("kernel-gate: this user may load no programs into the kernel"), "{}", ended.err());
}

#[test]
fn what_comes_past_the_file_gate_is_refused_and_ends_the_box() {
    if !skip::needs_kernel_gate() {
        return;
    }
    let home = Home::new(POLICY);
    home.write("work/kept", "precious\n");
    let going: Going = home.start("echo ready; sleep 60");
    going.says("ready");
    // A process behind none of the fences, in the box's own cgroup: as one that got past them all would be.
    let init = processes(going.pid()).init;
    let line = fs::read_to_string(format!("/proc/{init}/cgroup")).expect("its cgroup");
    let path = line.lines().find_map(|line| line.strip_prefix("0::")).expect("a cgroup v2");
    let script = format!("echo $$ > /sys/fs/cgroup{path}/cgroup.procs && exec rm -f {}", home.path("work/kept").display());
    let attack = finish(Command::new("sh").args(["-c", &script]));
    assert!(attack.code != 0 && attack.err().contains("Operation not permitted"), "{}", attack.err());
    let ended = going.finish();
    assert_eq!(ended.code, 137, "{}", ended.err());
    assert!(ended.err().contains("ALARM") && ended.err().contains("tried to remove `kept`"), "{}", ended.err());
    assert_eq!(fs::read_to_string(home.path("work/kept")).expect("it is there"), "precious\n");
    let log = home.log();
    assert!(log.contains("alarm: rm (process ") && log.contains("past the file gate"), "{log}");
    assert_eq!(home.outside(&["log", "--verify"]).code, 0);
}
