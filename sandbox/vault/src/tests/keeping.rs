//! Which way is taken to keep what, and what is not kept.

use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use super::*;
use crate::{
    error::Why,
    record::{Body, Record, Way},
    subject::Outcome,
};

fn outcome(gate: &Gate, path: &Path, loss: Loss) -> Outcome {
    gate.keep(path, loss).unwrap().outcome()
}

#[test]
fn what_goes_is_linked_and_what_is_overwritten_is_copied() {
    let scene = Scene::new();
    let (goes, stays) = (scene.write("goes", "1"), scene.write("stays", "2"));
    let gate = scene.begin("s1");
    let cheap = [Outcome::First(Some(Way::Link)), Outcome::First(Some(Way::Reflink))];
    assert!(cheap.contains(&outcome(&gate, &goes, Loss::Name)));
    let whole = [Outcome::First(Some(Way::Copy)), Outcome::First(Some(Way::Reflink))];
    assert!(whole.contains(&outcome(&gate, &stays, Loss::Content)));
    assert_eq!(outcome(&gate, &stays, Loss::Content), Outcome::Already);
}

#[test]
fn what_the_session_made_is_its_own() {
    let scene = Scene::new();
    let gate = scene.begin("s1");
    let made = scene.write("made", "1");
    assert_eq!(outcome(&gate, &made, Loss::Name), Outcome::Born);
    assert_eq!(outcome(&gate, &made, Loss::Content), Outcome::Born);
}

#[test]
fn there_is_nothing_to_keep_of_a_device_or_of_what_has_no_name() {
    let scene = Scene::new();
    let path = scene.write("f", "1");
    let held = super::object(&path).unwrap();
    let gate = scene.begin("s1");
    std::fs::remove_file(&path).unwrap();
    let nameless = Subject { object: held.as_fd(), folder: None, path: &path, loss: Loss::Content };
    assert_eq!(gate.0.keep(&nameless).unwrap().outcome(), Outcome::Nothing);
    assert_eq!(outcome(&gate, Path::new("/dev/null"), Loss::Content), Outcome::Nothing);
}

#[test]
fn no_link_while_somebody_has_it_open_for_writing_or_mapped_or_it_has_another_name() {
    let scene = Scene::new();
    let (open, named) = (scene.write("open", "1"), scene.write("named", "2"));
    std::fs::hard_link(&named, scene.path("other")).unwrap();
    let gate = scene.begin("s1");
    let writer = std::fs::OpenOptions::new().write(true).open(&open).unwrap();
    let linked = Outcome::First(Some(Way::Link));
    assert_ne!(outcome(&gate, &open, Loss::Name), linked);
    assert_ne!(outcome(&gate, &named, Loss::Name), linked);
    // And a write through that descriptor does not reach what is kept.
    std::fs::remove_file(&open).unwrap();
    writer.write_all_at(b"X", 0).unwrap();
    drop(gate);
    scene.vault.finish("s1", Duration::from_secs(9)).unwrap();
    let report = scene.undo("s1", Made::Stays);
    assert_eq!(report.refused, []);
    assert_eq!(std::fs::read(&open).unwrap(), b"1");
}

#[test]
fn a_linked_inode_is_copied_before_anybody_can_write_to_it() {
    let scene = Scene::new();
    let path = scene.write("f", "first");
    let gate = scene.begin("s1");
    // The agent has it open for reading, and could open it for writing again through /proc.
    let held = std::fs::File::open(&path).unwrap();
    gate.unlink(&path).unwrap();
    let again = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held)));
    let kept = gate.0.keep(&Subject { object: held.as_fd(), folder: None, path: &path, loss: Loss::Content }).unwrap();
    std::fs::OpenOptions::new().write(true).open(&again).unwrap().write_all_at(b"EVIL!", 0).unwrap();
    drop(kept);
    drop(gate);
    scene.vault.finish("s1", Duration::from_secs(9)).unwrap();
    assert_eq!(scene.undo("s1", Made::Stays).refused, []);
    assert_eq!(std::fs::read(&path).unwrap(), b"first");
}

#[test]
fn a_deed_that_failed_leaves_no_link_behind() {
    let scene = Scene::new();
    let path = scene.write("f", "first");
    let gate = scene.begin("s1");
    let kept = gate.keep(&path, Loss::Name).unwrap();
    kept.failed();
    assert_eq!(std::fs::metadata(&path).unwrap().nlink(), 1);
    // Two threads unlink the same name: the one that loses must not take the kept content of the other.
    let (one, other) = (gate.keep(&path, Loss::Name).unwrap(), gate.keep(&path, Loss::Name).unwrap());
    std::fs::remove_file(&path).unwrap();
    drop(one);
    other.failed();
    drop(gate);
    scene.vault.finish("s1", Duration::from_secs(9)).unwrap();
    assert_eq!(scene.undo("s1", Made::Stays).refused, []);
    assert_eq!(std::fs::read(&path).unwrap(), b"first");
}

#[test]
fn copies_have_limits_and_say_so() {
    let owner = tempfile::tempdir().unwrap();
    let settings = Settings { copy_file: 8192, copy_session: 12288, ..Settings::default() };
    let scene = Scene::at(&owner.path().canonicalize().unwrap(), settings);
    let (big, one, two) = (scene.write("big", vec![1; 20_000]), scene.write("one", vec![1; 8000]), scene.write("two", vec![2; 8000]));
    let hole = scene.write("hole", "");
    let file = std::fs::OpenOptions::new().write(true).open(&hole).unwrap();
    file.write_all_at(b"x", 1 << 30).unwrap();
    drop(file);
    let gate = scene.begin("s1");
    if outcome(&gate, &hole, Loss::Content) == Outcome::First(Some(Way::Reflink)) {
        println!("SKIPPED: this file system reflinks, so nothing is copied");
        return;
    }
    assert!(matches!(gate.keep(&big, Loss::Content).unwrap_err().why, Why::TooBig { most: 8192, .. }));
    assert_eq!(outcome(&gate, &one, Loss::Content), Outcome::First(Some(Way::Copy)));
    assert!(matches!(gate.keep(&two, Loss::Content).unwrap_err().why, Why::CopiesUsedUp { .. }));
    // Where it goes, a link has no limit.
    assert_eq!(outcome(&gate, &big, Loss::Name), Outcome::First(Some(Way::Link)));
}

#[test]
fn what_is_allowed_unkept_is_told_at_the_end() {
    let owner = tempfile::tempdir().unwrap();
    let settings = Settings { copy_file: 0, ..Settings::default() };
    let scene = Scene::at(&owner.path().canonicalize().unwrap(), settings);
    let path = scene.write("f", "1");
    let gate = scene.begin("s1");
    let (object, folder) = (object(&path).unwrap(), super::object(path.parent().unwrap()).unwrap());
    let subject = Subject { object: object.as_fd(), folder: Some(folder.as_fd()), path: &path, loss: Loss::Content };
    let Err(not_kept) = gate.0.keep(&subject) else {
        println!("SKIPPED: this file system reflinks, so nothing is copied");
        return;
    };
    gate.0.lost(&subject, &not_kept).unwrap();
    std::fs::write(&path, "2").unwrap();
    // No later version is passed off as the first.
    assert_eq!(outcome(&gate, &path, Loss::Name), Outcome::LostBefore);
    drop(gate);
    let summary = scene.vault.finish("s1", Duration::from_secs(9)).unwrap();
    assert_eq!(summary.lost.len(), 1);
    assert!(summary.lost[0].1.contains("more than the 0 that are copied"), "{summary:?}");
    let undo = Undo::of(&scene.vault, "s1", Choice::default()).unwrap();
    let plan = undo.plan();
    assert!(plan.steps.is_empty());
    assert!(plan.hopeless[0].1.contains("not kept"), "{plan:?}");
}

#[test]
fn an_unreadable_file_is_not_kept_for_an_ordinary_user() {
    if rustix::process::geteuid().is_root() {
        println!("SKIPPED: root reads everything");
        return;
    }
    let scene = Scene::new();
    let path = scene.write("f", "1");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o200)).unwrap();
    let gate = scene.begin("s1");
    assert!(matches!(gate.keep(&path, Loss::Name).unwrap_err().why, Why::Unreadable(_)));
}

#[test]
fn equal_contents_become_one() {
    let scene = Scene::new();
    let paths: Vec<_> = (0..4).map(|number| scene.write(&format!("f{number}"), vec![7; 100_000])).collect();
    let gate = scene.begin("s1");
    for path in &paths {
        gate.unlink(path).unwrap();
    }
    drop(gate);
    let summary = scene.vault.finish("s1", Duration::from_secs(9)).unwrap();
    assert_eq!((summary.kept, summary.bytes), (4, 400_000));
    let session = scene.folder.join("vault/sessions/s1");
    let inodes: std::collections::BTreeSet<u64> = (0..4).map(|number| std::fs::metadata(session.join(format!("o{number}"))).unwrap().ino()).collect();
    assert_eq!(inodes.len(), 1);
    assert_eq!(scene.undo("s1", Made::Stays).refused, []);
    for path in &paths {
        assert_eq!(std::fs::read(path).unwrap(), vec![7; 100_000]);
    }
}

#[test]
fn a_record_stands_for_every_object() {
    let scene = Scene::new();
    let paths: Vec<_> = (0..20).map(|number| scene.write(&format!("f{number}"), format!("{number}"))).collect();
    let gate = scene.begin("s1");
    for path in &paths {
        gate.unlink(path).unwrap();
    }
    gate.0.sync().unwrap();
    let told = scene.vault.told("s1").unwrap();
    assert_eq!(told.state, crate::State::Running);
    let listed: Vec<u64> = told
        .records
        .iter()
        .filter_map(|record| if let Record::Kept { body: Body::Object { number, .. }, .. } = record { Some(*number) } else { None })
        .collect();
    assert_eq!(listed, (0..20).collect::<Vec<_>>());
    assert_eq!(told.records.last(), Some(&Record::Synced));
}

#[test]
fn names_that_are_swapped_meanwhile_change_nothing_of_what_is_kept() {
    const FILES: usize = 300;
    let scene = Scene::new();
    let paths: Vec<PathBuf> = (0..FILES).map(|number| scene.write(&format!("f{number}"), format!("{number}"))).collect();
    let decoy = scene.write("decoy", "decoy");
    let gate = scene.begin("s1");
    let over = std::sync::atomic::AtomicBool::new(false);
    /// Ends the other thread, also when this one fails.
    struct Over<'a>(&'a std::sync::atomic::AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let mut linked = 0;
    let mut seen = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                number = (number + 1) % FILES;
                let _ = fs::renameat_with(fs::CWD, &paths[number], fs::CWD, &decoy, RenameFlags::EXCHANGE);
            }
        });
        let _over = Over(&over);
        for path in paths.iter().cycle().take(FILES * 4) {
            let held = super::object(path).unwrap();
            let content = std::fs::read(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held))).unwrap();
            let id = facts::identity(&held).unwrap();
            let kept = gate.0.keep(&Subject { object: held.as_fd(), folder: None, path, loss: Loss::Name }).unwrap();
            linked += u64::from(kept.outcome() == Outcome::First(Some(Way::Link)));
            drop(kept);
            seen.push((id, content));
        }
    });
    let told = scene.vault.told("s1").unwrap();
    let object = |id: Identity| {
        told.records.iter().find_map(|record| match record {
            Record::Kept { id: kept, body: Body::Object { number, .. }, .. } if *kept == id => Some(*number),
            _ => None,
        })
    };
    for (id, content) in seen {
        let path = scene.folder.join(format!("vault/sessions/s1/o{}", object(id).unwrap()));
        assert_eq!(std::fs::read(path).unwrap(), content);
    }
    println!("{linked} were linked all the same");
}

#[test]
fn many_threads_keep_each_thing_once() {
    let scene = Scene::new();
    let paths: Vec<PathBuf> = (0..100).map(|number| scene.write(&format!("f{number}"), format!("{number}"))).collect();
    let gate = scene.begin("s1");
    let firsts = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for path in &paths {
                    if let Outcome::First(_) = outcome(&gate, path, Loss::Content) {
                        firsts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
        scope.spawn(|| (0..20).for_each(|_| gate.0.sync().unwrap()));
    });
    assert_eq!(firsts.into_inner(), 100);
    gate.0.sync().unwrap();
    assert_eq!(scene.vault.told("s1").unwrap().counts().0, 100);
}

#[test]
fn what_is_foretold_comes_true_and_leaves_nothing_behind() {
    let owner = tempfile::tempdir().unwrap();
    let scene = Scene::at(&owner.path().canonicalize().unwrap(), Settings { copy_file: 8192, ..Settings::default() });
    let (big, small, empty) = (scene.write("big", vec![1; 20_000]), scene.write("small", "1"), scene.write("empty", ""));
    let gate = scene.begin("s1");
    let made = scene.write("made", vec![1; 20_000]);
    let foretold = |path: &Path, loss: Loss| {
        let object = object(path).unwrap();
        let told = gate.0.would_keep(&Subject { object: object.as_fd(), folder: None, path, loss });
        let left: Vec<_> = std::fs::read_dir(scene.folder.join("vault/sessions/s1")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["journal"], "a try is taken back");
        told
    };
    for path in [&small, &empty, &made] {
        for loss in [Loss::Name, Loss::Content] {
            assert_eq!(foretold(path, loss).unwrap(), crate::Foretold::Kept, "{}", path.display());
        }
    }
    // What goes is linked; what is written to would have to be copied.
    assert_eq!(foretold(&big, Loss::Name).unwrap(), crate::Foretold::Kept);
    let told = foretold(&big, Loss::Content);
    let kept = gate.keep(&big, Loss::Content);
    match (told, kept) {
        (Ok(crate::Foretold::Kept), Ok(kept)) => assert_eq!(kept.outcome(), Outcome::First(Some(Way::Reflink))),
        (Err(told), Err(not)) => {
            assert!(matches!(not.why, Why::TooBig { .. }), "{not:?}");
            assert_eq!(told.why, not.why);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn whoever_has_no_time_gets_no_copy_and_leaves_nothing_behind() {
    let scene = Scene::new();
    let path = scene.write("f", vec![7; 20_000]);
    let gate = scene.begin("s1");
    let (object, folder) = (object(&path).unwrap(), super::object(path.parent().unwrap()).unwrap());
    let subject = |loss| Subject { object: object.as_fd(), folder: Some(folder.as_fd()), path: &path, loss };
    match gate.0.keep_quickly(&subject(Loss::Content), 8192) {
        Ok(kept) if kept.outcome() == Outcome::First(Some(Way::Reflink)) => {
            println!("SKIPPED: this file system reflinks, so nothing is copied");
            return;
        }
        other => assert_eq!(other.unwrap_err().why, Why::TakesLong),
    }
    let in_vault =
        || std::fs::read_dir(scene.vault.path().join("sessions/s1")).unwrap().flatten().filter(|entry| entry.metadata().unwrap().len() == 20_000).count();
    assert_eq!(in_vault(), 0);
    // A link takes no time, and neither does what is small enough.
    let kept = gate.0.keep_quickly(&subject(Loss::Name), 8192).unwrap();
    assert_eq!(kept.outcome(), Outcome::First(Some(Way::Link)));
    kept.failed();
    assert_eq!(gate.0.keep_quickly(&subject(Loss::Content), 20_000).unwrap().outcome(), Outcome::First(Some(Way::Copy)));
    assert_eq!(in_vault(), 1);
}
