//! Gates that take turns, as threads and processes of their own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    sync::atomic::{AtomicU32, Ordering},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::*;
use crate::sys::fork::{Side, exit_now, fork};

struct Ground {
    #[expect(dead_code, reason = "is removed with it")]
    keep: Option<tempfile::TempDir>,
    folder: PathBuf,
    root: PathBuf,
}

fn ground() -> Ground {
    let keep = tempfile::tempdir().unwrap();
    let root = keep.path().canonicalize().unwrap();
    for name in ["w/sub/deep", "w/other", "v"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    Ground { keep: Some(keep), folder: root.join("turns"), root }
}

impl Ground {
    fn try_join(&self, session: &str, trees: &[&str]) -> Result<Turns, NoTurns> {
        let trees: Vec<PathBuf> = trees.iter().map(|tree| self.root.join(tree)).collect();
        let proc = File::open("/proc").unwrap();
        let mut turns = Turns::join(&self.folder, proc.as_fd(), session, &trees)?;
        turns.patience = Duration::from_millis(60);
        Ok(turns)
    }

    fn join(&self, session: &str, trees: &[&str]) -> Turns {
        self.try_join(session, trees).unwrap()
    }

    /// Whether two boxes with these trees take turns with each other, where no others are: an entry of before may live on for a while, in a child
    /// that a test beside this one has made meanwhile.
    fn meet(&self, one: &[&str], other: &[&str]) -> bool {
        static MEETING: AtomicU32 = AtomicU32::new(0);
        let alone = Self { folder: self.root.join(format!("turns-{}", MEETING.fetch_add(1, Ordering::Relaxed))), root: self.root.clone(), keep: None };
        let (one, other) = (alone.join("one", one), alone.join("other", other));
        one.take().unwrap();
        let met = other.take().is_err();
        one.give();
        other.take().unwrap();
        met
    }

    /// A process that is entered, and has the turn.
    fn process(&self, session: &str) -> Pid {
        let (mut told, mut tell) = std::io::pipe().unwrap();
        match fork().unwrap() {
            Side::Child => {
                let turns = self.join(session, &["w"]);
                turns.take().unwrap();
                tell.write_all(b"x").unwrap();
                std::thread::sleep(Duration::from_secs(100));
                exit_now(0)
            }
            Side::Parent(pid) => {
                told.read_exact(&mut [0]).unwrap();
                pid
            }
        }
    }
}

#[test]
fn those_meet_whose_trees_have_something_in_common() {
    let ground = ground();
    assert!(ground.meet(&["w"], &["w"]) && ground.meet(&["w"], &["w/sub/deep"]) && ground.meet(&["v", "w/sub"], &["w"]));
    assert!(!ground.meet(&["w"], &["v"]) && !ground.meet(&["w/sub"], &["w/other"]) && !ground.meet(&["w/sub"], &["w/nothing"]));
    std::os::unix::fs::symlink("w/sub", ground.root.join("link")).unwrap();
    assert!(ground.meet(&["link"], &["w/sub/deep"]) && !ground.meet(&["link"], &["w/other"]));
}

#[test]
fn what_is_mounted_elsewhere_is_the_same() {
    use nix::{
        mount::{MsFlags, mount},
        sched::{CloneFlags, unshare},
    };
    let ground = ground();
    let flags = if nix::unistd::geteuid().is_root() { CloneFlags::CLONE_NEWNS } else { CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUSER };
    let code = match fork().unwrap() {
        Side::Child => {
            if unshare(flags).is_err() {
                exit_now(9);
            }
            let bind = |from: &str, to: &str| mount(Some(&ground.root.join(from)), &ground.root.join(to), None::<&str>, MsFlags::MS_BIND, None::<&str>);
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
            // The mounts that are made in a user namespace have not its root's number, which the folder of turns belongs to.
            bind("w/sub", "v").unwrap();
            let deep = ground.meet(&["v/deep"], &["w"]) && ground.meet(&["v"], &["w/sub/deep"]) && !ground.meet(&["v"], &["w/other"]);
            // By what is mounted in it.
            bind("w/other", "v/deep").unwrap();
            exit_now(u8::from(!(deep && ground.meet(&["v"], &["w/other"]))))
        }
        Side::Parent(pid) => waitpid(pid, None).unwrap(),
    };
    match code {
        WaitStatus::Exited(_, 9) => println!("SKIPPED: no mount namespaces here"),
        code => assert!(matches!(code, WaitStatus::Exited(_, 0)), "{code:?}"),
    }
}

#[test]
fn one_at_a_time_however_many_boxes() {
    const EACH: u32 = 3_000;
    let ground = ground();
    let (count, inside) = (AtomicU32::new(0), AtomicU32::new(0));
    // Each by the words of these two, which have no tree in common.
    let _words = (ground.join("one", &["w/sub"]), ground.join("other", &["w/other"]));
    let trees: [&[&str]; 3] = [&["w"], &["w", "v"], &["w/sub", "w/other"]];
    std::thread::scope(|scope| {
        for (index, trees) in trees.iter().enumerate() {
            let (count, inside, ground) = (&count, &inside, &ground);
            scope.spawn(move || {
                let mut turns = ground.join(&index.to_string(), trees);
                turns.patience = Duration::from_secs(60);
                for _ in 0..EACH {
                    turns.take().unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                    inside.fetch_sub(1, Ordering::Relaxed);
                    turns.give();
                }
            });
        }
    });
    assert_eq!(count.into_inner(), 3 * EACH);
}

#[test]
fn who_overlaps_with_two_waits_for_both_and_neither_of_them_for_the_other() {
    let ground = ground();
    let (one, other) = (ground.join("one", &["w/sub"]), ground.join("other", &["w/other"]));
    let both = ground.join("both", &["w"]);
    one.take().unwrap();
    other.take().unwrap();
    one.give();
    assert_eq!(both.take(), Err(Busy { session: Some("other".to_owned()) }));
    // What it could have it has let go of.
    one.take().unwrap();
    one.give();
    other.give();
    both.take().unwrap();
    assert!(one.take().is_err() && other.take().is_err());
    both.give();
    // Their words stay those of whoever still needs them.
    drop((one, other));
    let later = ground.join("later", &["w/sub/deep"]);
    both.take().unwrap();
    assert!(later.take().is_err());
}

#[test]
fn the_turn_of_a_killed_gate_passes_on_and_that_of_a_stopped_one_does_not() {
    let ground = ground();
    let me = ground.join("me", &["w"]);
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        let other = ground.process("other");
        if signal == Signal::SIGSTOP {
            kill(other, signal).unwrap();
            assert!(matches!(waitpid(other, Some(WaitPidFlag::WUNTRACED)).unwrap(), WaitStatus::Stopped(..)));
            for _ in 0..3 {
                assert_eq!(me.take(), Err(Busy { session: Some("other".to_owned()) }));
            }
            // And one that comes later meets the same.
            assert!(ground.join("later", &["w"]).take().is_err());
        }
        kill(other, Signal::SIGKILL).unwrap();
        waitpid(other, None).unwrap();
        me.take().unwrap();
        me.give();
    }
}

#[test]
fn whoever_stops_a_gate_has_its_turn_meanwhile() {
    let ground = ground();
    let gate = ground.join("gate", &["w"]);
    let above = Turns::of(&ground.folder, "gate").unwrap();
    above.take().unwrap();
    assert_eq!(gate.take(), Err(Busy { session: Some("gate".to_owned()) }));
    drop(above);
    gate.take().unwrap();
    assert!(Turns::of(&ground.folder, "nobody").is_none());
}

#[test]
fn where_not_all_entries_can_be_looked_through_no_box_starts() {
    let ground = ground();
    drop(ground.join("first", &["w"]));
    for number in 0..=4096 {
        fs::write(ground.folder.join(format!("{number:08x}")), "").unwrap();
    }
    let refused = ground.try_join("second", &["v"]).unwrap_err().to_string();
    assert!(refused.contains("looking through"), "{refused}");
    fs::remove_file(ground.folder.join("00000000")).unwrap();
    // These are nobody's, and taken away.
    drop(ground.join("third", &["v"]));
    assert!(fs::read_dir(&ground.folder).unwrap().count() <= 1);
}

#[test]
fn an_entry_that_cannot_be_read_refuses_the_start_while_its_box_lives() {
    use std::os::unix::fs::FileExt as _;
    let ground = ground();
    let other = ground.process("other");
    let entry = fs::read_dir(&ground.folder).unwrap().next().unwrap().unwrap().path();
    fs::OpenOptions::new().write(true).open(&entry).unwrap().write_all_at(b"{\"format\":9", 4096).unwrap();
    assert!(matches!(ground.try_join("two", &["v"]), Err(NoTurns::Foreign(_))));
    kill(other, Signal::SIGKILL).unwrap();
    waitpid(other, None).unwrap();
    assert!(ground.try_join("two", &["v"]).is_ok() && !entry.exists());
}
