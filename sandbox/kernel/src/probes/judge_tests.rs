//! The kernel gate that judges, on this kernel, where it lets the programs be loaded. Without a filter nobody takes what it sends to the file gate: that
//! is how it is when every fence but this one has fallen, and then nothing of before is lost either.
#![cfg(target_arch = "x86_64")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::Stdio,
};

use super::{
    Gate, NOBODYS,
    gate::{self, Guard},
    gate_tests::{self, Ground, is_here},
};

const DEEDS: &str = include_str!("judge_deeds.py");

/// What was there before: it comes to nobody here.
const SENT: &[&str] = &["write", "append", "cut", "creat", "empty", "readcut", "unlink", "unlinkat", "alias", "rmdir", "rmdirat"];

/// What comes to nobody's hands but the file gate's, and is told.
const REFUSED: &[&str] = &["rename", "over", "link"];

/// What it has made itself.
const FREE: &[&str] = &["make", "again", "shorter", "newcreat", "remove", "exclusive", "removeat"];

fn ground(name: &str) -> (Ground, Guard) {
    let ground = Ground::new(name, Path::new("."));
    fs::write(ground.folder().join("empty"), "").unwrap();
    fs::hard_link(ground.folder().join("kept"), ground.folder().join("alias")).unwrap();
    fs::write(ground.folder().join("judged.py"), DEEDS).unwrap();
    let guard = gate::load(&ground.cgroup().open().unwrap(), NOBODYS, Gate::Judges).unwrap();
    (ground, guard)
}

fn is_whole(ground: &Ground) {
    ground.is_whole();
    assert_eq!(fs::read_to_string(ground.folder().join("alias")).unwrap(), "precious");
    assert!(fs::read(ground.folder().join("empty")).unwrap().is_empty() && ground.folder().join("folder").is_dir());
}

#[test]
fn own_works_are_the_kernels_and_nothing_else_is_lost() {
    if !is_here() {
        return;
    }
    let (ground, mut guard) = ground("judge");
    let output = ground.script("timeout 50 python3 -B judged.py .").output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for (deeds, end) in [(SENT, "EINTR"), (REFUSED, "EPERM"), (FREE, "passed")] {
        for deed in deeds {
            assert!(said.contains(&format!("{deed} {end}\n")), "{deed}: {said}");
        }
    }
    is_whole(&ground);
    let told = guard.refused();
    assert_eq!(told.len(), REFUSED.len(), "{told:#?}");

    // And what comes by a ring is refused and told as ever.
    let by_ring = |line: &&str| !line.starts_with("tried(") || line.contains("by_ring");
    let rings: Vec<&str> = gate_tests::DEEDS.lines().filter(by_ring).collect();
    fs::write(ground.folder().join("deeds.py"), rings.join("\n")).unwrap();
    let said = ground.deeds();
    assert!(said.contains("ring EPERM\n") && said.contains("worker EPERM\n"), "{said}");
    assert_eq!(guard.refused().iter().filter(|line| line.contains("tried to remove `kept`")).count(), 2);
    is_whole(&ground);
}

/// An inode that was let go of in between has no mark any more: what was made in the box is then judged by the file gate.
#[test]
fn what_has_lost_its_mark_goes_to_the_file_gate() {
    if !is_here() {
        return;
    }
    let (ground, _guard) = ground("judge-lost");
    let mut going = ground.script("timeout 100 python3 -B judged.py . lost").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(going.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "ready"));
    fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    going.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let rest: Vec<String> = lines.collect();
    assert_eq!(rest, ["unmarked EINTR", "forgotten EINTR"]);
    going.wait().unwrap();
    assert_eq!(fs::read_to_string(ground.folder().join("lost")).unwrap(), "mine");
}
