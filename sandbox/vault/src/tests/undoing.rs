//! What comes back, and what is asked first.

use std::os::unix::fs::{FileExt, MetadataExt, symlink};

use super::*;
use crate::{
    State,
    undo::{Choice, Deed, Standing, Undo},
};

#[test]
fn a_removed_tree_comes_back() {
    let scene = Scene::new();
    for number in 0..5 {
        scene.write(&format!("d/e{number}/f"), format!("{number}"));
    }
    scene.write("d/empty", "");
    symlink("e1/f", scene.path("d/link")).unwrap();
    let before = scene.picture();
    let gate = scene.begin("s1");
    gate.remove_all(&scene.path("d"));
    assert!(!scene.path("d").exists());
    scene.back(gate, &before);
}

#[test]
fn an_overwritten_file_comes_back() {
    let scene = Scene::new();
    let path = scene.write("f", "one");
    let before = scene.picture();
    let gate = scene.begin("s1");
    gate.overwrite(&path, b"two");
    gate.overwrite(&path, b"three");
    scene.back(gate, &before);
}

#[test]
fn every_kind_of_file_comes_back_with_its_metadata() {
    let scene = Scene::new();
    let tree = scene.path("t");
    std::fs::create_dir(&tree).unwrap();
    let file = scene.write("t/f", "content");
    fs::setxattr(&file, "user.note", b"\x00\xff", fs::XattrFlags::empty()).unwrap();
    fs::chmod(&file, Mode::from_raw_mode(0o4751)).unwrap();
    let old = fs::Timestamps { last_access: fs::Timespec { tv_sec: 5, tv_nsec: 6 }, last_modification: fs::Timespec { tv_sec: -7, tv_nsec: 123_456_789 } };
    fs::utimensat(fs::CWD, &file, &old, AtFlags::empty()).unwrap();
    symlink("nowhere/at/all", tree.join("link")).unwrap();
    fs::utimensat(fs::CWD, tree.join("link"), &old, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    fs::mknodat(fs::CWD, tree.join("fifo"), fs::FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    if rustix::process::geteuid().is_root() {
        fs::mknodat(fs::CWD, tree.join("null"), fs::FileType::CharacterDevice, Mode::from_raw_mode(0o666), fs::makedev(1, 3)).unwrap();
        std::os::unix::fs::chown(&file, Some(1000), Some(1001)).unwrap();
        std::os::unix::fs::lchown(tree.join("link"), Some(1000), Some(1001)).unwrap();
        fs::chmod(&file, Mode::from_raw_mode(0o4751)).unwrap();
    } else {
        println!("SKIPPED: devices and foreign owners need root");
    }
    // An access control list as the kernel has it: version 2, then tag, permission and id of each entry.
    let entries: [(u16, u16, u32); 5] = [(1, 6, u32::MAX), (2, 4, 1000), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)];
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, permission, id) in entries {
        list.extend(tag.to_le_bytes().into_iter().chain(permission.to_le_bytes()).chain(id.to_le_bytes()));
    }
    let listed = scene.write("t/listed", "with a list");
    for (path, name) in [(&listed, "system.posix_acl_access"), (&tree, "system.posix_acl_default")] {
        if let Err(error) = fs::setxattr(path, name, &list, fs::XattrFlags::empty()) {
            println!("SKIPPED: no access control lists here: {error}");
        }
    }
    let flags = opened(&listed, OFlags::RDONLY).unwrap();
    if let Err(error) = fs::ioctl_setflags(&flags, fs::ioctl_getflags(&flags).unwrap_or(fs::IFlags::empty()) | fs::IFlags::NODUMP) {
        println!("SKIPPED: no inode flags here: {error}");
    }
    let hole = scene.write("t/hole", "");
    std::fs::OpenOptions::new().write(true).open(&hole).unwrap().write_all_at(b"end", 40 << 20).unwrap();
    fs::chmod(&tree, Mode::from_raw_mode(0o2755)).unwrap();
    let before = scene.picture();
    for deed in ["remove", "overwrite"] {
        let gate = scene.begin(deed);
        if deed == "remove" {
            gate.remove_all(&tree);
        } else {
            gate.overwrite(&file, b"other");
            gate.overwrite(&hole, b"other");
        }
        scene.back(gate, &before);
        assert!(std::fs::metadata(&hole).unwrap().blocks() < 1000, "the hole is still one after {deed}");
    }
}

#[test]
fn changed_metadata_comes_back() {
    let scene = Scene::new();
    let (file, folder) = (scene.write("f", "1"), scene.path("d"));
    std::fs::create_dir(&folder).unwrap();
    fs::setxattr(&file, "user.a", b"1", fs::XattrFlags::empty()).unwrap();
    let before = scene.picture();
    let gate = scene.begin("s1");
    gate.change(&file, |path| fs::chmod(path, Mode::from_raw_mode(0o600)));
    gate.change(&file, |path| fs::setxattr(path, "user.a", b"2", fs::XattrFlags::empty()));
    gate.change(&file, |path| fs::setxattr(path, "user.b", b"2", fs::XattrFlags::empty()));
    gate.overwrite(&file, b"22");
    gate.change(&folder, |path| fs::chmod(path, Mode::from_raw_mode(0o700)));
    scene.back(gate, &before);
}

#[test]
fn names_of_one_inode_are_one_inode_again() {
    let scene = Scene::new();
    let (a, b) = (scene.write("a", "one"), scene.path("d/b"));
    std::fs::create_dir(scene.path("d")).unwrap();
    for name in ["d/b", "c"] {
        std::fs::hard_link(&a, scene.path(name)).unwrap();
    }
    let before = scene.picture();
    // One goes and two stay; all go; one is written through; written through and gone.
    let gate = scene.begin("one");
    gate.unlink(&a).unwrap();
    scene.back(gate, &before);
    let gate = scene.begin("all");
    for name in ["a", "c", "d/b", "d"] {
        gate.unlink(&scene.path(name)).unwrap();
    }
    scene.back(gate, &before);
    let gate = scene.begin("through");
    gate.overwrite(&b, b"two");
    scene.back(gate, &before);
    let gate = scene.begin("both");
    gate.overwrite(&b, b"two");
    gate.unlink(&a).unwrap();
    scene.back(gate, &before);
    let gate = scene.begin("last");
    gate.overwrite(&b, b"two");
    gate.unlink(&a).unwrap();
    gate.unlink(&b).unwrap();
    scene.back(gate, &before);
}

#[test]
fn a_name_that_the_session_gave_is_no_loss() {
    let scene = Scene::new();
    let a = scene.write("a", "one");
    let before = scene.picture();
    let gate = scene.begin("s1");
    gate.link(&a, &scene.path("b")).unwrap();
    gate.unlink(&a).unwrap();
    gate.rename(&scene.path("b"), &scene.path("c")).unwrap();
    gate.unlink(&scene.path("c")).unwrap();
    scene.back(gate, &before);
}

#[test]
fn renames_are_followed_back() {
    let scene = Scene::new();
    for name in ["a/1", "a/2", "a/x/3", "b/4", "e"] {
        scene.write(name, name);
    }
    let before = scene.picture();
    let gate = scene.begin("s1");
    gate.rename(&scene.path("a/1"), &scene.path("a/11")).unwrap();
    gate.rename(&scene.path("a"), &scene.path("A")).unwrap();
    gate.overwrite(&scene.path("A/2"), b"changed");
    gate.rename(&scene.path("A/x"), &scene.path("b/x")).unwrap();
    gate.rename(&scene.path("b"), &scene.path("a")).unwrap();
    gate.unlink(&scene.path("a/x/3")).unwrap();
    gate.rename(&scene.path("e"), &scene.path("a/4")).unwrap();
    gate.rename(&scene.path("A/11"), &scene.path("e")).unwrap();
    scene.back(gate, &before);
}

#[test]
fn things_that_changed_places_change_back() {
    let scene = Scene::new();
    for name in ["a/1", "b/2", "f", "g", "h"] {
        scene.write(name, name);
    }
    let before = scene.picture();
    let gate = scene.begin("s1");
    gate.exchange(&scene.path("a"), &scene.path("b")).unwrap();
    gate.exchange(&scene.path("f"), &scene.path("a")).unwrap();
    gate.unlink(&scene.path("f/2")).unwrap();
    // By a third name, in a circle.
    gate.rename(&scene.path("g"), &scene.path("t")).unwrap();
    gate.rename(&scene.path("h"), &scene.path("g")).unwrap();
    gate.rename(&scene.path("t"), &scene.path("h")).unwrap();
    scene.back(gate, &before);
}

#[test]
fn what_the_session_put_in_its_place_makes_room_and_is_kept() {
    let scene = Scene::new();
    let (file, folder) = (scene.write("f", "old"), scene.write("d/in", "old"));
    let before = scene.picture();
    let gate = scene.begin("s1");
    gate.unlink(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    std::fs::write(file.join("new"), "new").unwrap();
    gate.unlink(&folder).unwrap();
    gate.unlink(&scene.path("d")).unwrap();
    std::fs::write(scene.path("d"), "new").unwrap();
    drop(gate);
    scene.vault.finish("s1", Duration::from_secs(9)).unwrap();
    let changed = scene.picture();
    let report = scene.undo("s1", Made::Goes);
    assert_eq!(report.refused, []);
    assert_same(&before, &scene.picture());
    // And the undo can be undone.
    let report = scene.undo(&report.session.unwrap(), Made::Goes);
    assert_eq!(report.refused, [], "{report:#?}");
    assert_eq!(std::fs::read(file.join("new")).unwrap(), b"new");
    assert_eq!(changed.keys().collect::<Vec<_>>(), scene.picture().keys().collect::<Vec<_>>());
}

#[test]
fn what_was_changed_since_is_asked_about_and_never_overwritten_silently() {
    let scene = Scene::new();
    let (changed, new) = (scene.write("changed", "old"), scene.write("new", "old"));
    let gate = scene.begin("s1");
    gate.overwrite(&changed, b"agent");
    gate.unlink(&new).unwrap();
    drop(gate);
    scene.vault.finish("s1", Duration::from_secs(9)).unwrap();
    std::thread::sleep(Duration::from_millis(12));
    std::fs::write(&changed, "mine").unwrap();
    std::fs::write(&new, "mine too").unwrap();
    let undo = Undo::of(&scene.vault, "s1", Choice::default()).unwrap();
    let plan = undo.plan();
    assert!(plan.steps.iter().all(|step| step.standing == Standing::Other), "{plan:#?}");
    let report = undo.apply(&plan, LEASE, &mut |_| Ruling::Leave).unwrap();
    assert_eq!((report.done.len(), report.refused.len()), (0, 2));
    assert_eq!(std::fs::read(&changed).unwrap(), b"mine");
    let report = undo.apply(&undo.plan(), LEASE, &mut |_| Ruling::Overwrite).unwrap();
    assert_eq!(report.refused, []);
    assert_eq!(std::fs::read(&changed).unwrap(), b"old");
    // What was overwritten is kept.
    let again = Undo::of(&scene.vault, &report.session.unwrap(), Choice::default()).unwrap();
    again.apply(&again.plan(), LEASE, &mut |_| Ruling::Leave).unwrap();
    assert_eq!(std::fs::read(&changed).unwrap(), b"mine");
    assert_eq!(std::fs::read(&new).unwrap(), b"mine too");
}

#[test]
fn what_changes_between_plan_and_deed_is_left_alone() {
    let scene = Scene::new();
    let path = scene.write("f", "old");
    let gate = scene.begin("s1");
    gate.unlink(&path).unwrap();
    drop(gate);
    scene.vault.finish("s1", Duration::from_secs(9)).unwrap();
    let undo = Undo::of(&scene.vault, "s1", Choice::default()).unwrap();
    let plan = undo.plan();
    std::thread::sleep(Duration::from_millis(12));
    std::fs::write(&path, "mine").unwrap();
    let report = undo.apply(&plan, LEASE, &mut |_| Ruling::Overwrite).unwrap();
    assert_eq!((report.done.len(), report.refused.len()), (0, 1));
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

#[test]
fn a_link_on_the_way_leads_nothing_elsewhere() {
    let scene = Scene::new();
    let path = scene.write("d/authorized_keys", "workspace");
    let outside = scene.folder.join("home");
    std::fs::create_dir(&outside).unwrap();
    let gate = scene.begin("s1");
    gate.remove_all(&scene.path("d"));
    symlink(&outside, scene.path("d")).unwrap();
    drop(gate);
    scene.vault.finish("s1", Duration::from_secs(9)).unwrap();
    // The link is the session's, so the folder takes its place; and a link that is not stays, and all behind it is refused.
    let undo = Undo::of(&scene.vault, "s1", Choice::default()).unwrap();
    let plan = undo.plan();
    std::thread::sleep(Duration::from_millis(12));
    fs::utimensat(fs::CWD, scene.path("d"), &fs::Timestamps { last_access: now_spec(), last_modification: now_spec() }, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    let report = undo.apply(&undo.plan(), LEASE, &mut |_| Ruling::Leave).unwrap();
    assert_eq!((report.done.len(), report.refused.len()), (0, 2), "{report:#?}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    let report = undo.apply(&plan, LEASE, &mut |_| Ruling::Overwrite).unwrap();
    assert_eq!(report.refused, []);
    assert_eq!(std::fs::read(&path).unwrap(), b"workspace");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

fn now_spec() -> fs::Timespec {
    fs::Timespec { tv_sec: 1, tv_nsec: 0 }
}

#[test]
fn only_what_was_chosen_comes_back() {
    let scene = Scene::new();
    let (a, b) = (scene.write("d/a", "a"), scene.write("d/b", "b"));
    let gate = scene.begin("s1");
    gate.unlink(&a).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let since = crate::record::now();
    gate.unlink(&b).unwrap();
    gate.unlink(&scene.path("d")).unwrap();
    drop(gate);
    scene.vault.finish("s1", Duration::from_secs(9)).unwrap();
    let late = Undo::of(&scene.vault, "s1", Choice { since, ..Choice::default() }).unwrap().plan();
    assert_eq!(late.steps.iter().map(|step| step.path.clone()).collect::<Vec<_>>(), [scene.path("d"), b.clone()]);
    let undo = Undo::of(&scene.vault, "s1", Choice { only: vec![a.clone()], ..Choice::default() }).unwrap();
    let report = undo.apply(&undo.plan(), LEASE, &mut |_| Ruling::Leave).unwrap();
    assert_eq!(report.refused, []);
    assert!(a.exists() && !b.exists());
}

#[test]
fn a_damaged_copy_is_never_brought_back() {
    let scene = Scene::new();
    let path = scene.write("f", "precious");
    let gate = scene.begin("s1");
    gate.unlink(&path).unwrap();
    drop(gate);
    scene.vault.finish("s1", Duration::from_secs(9)).unwrap();
    let object = scene.folder.join("vault/sessions/s1/o0");
    let (time, _) = (std::fs::metadata(&object).unwrap().modified().unwrap(), std::fs::write(&object, "PRECIOUS").unwrap());
    std::fs::File::options().write(true).open(&object).unwrap().set_modified(time).unwrap();
    let report = scene.undo("s1", Made::Stays);
    assert_eq!(report.done.len(), 0);
    assert!(report.refused[0].1.contains("changed or damaged"), "{report:?}");
    assert!(!path.exists());
}

#[test]
fn an_undo_done_twice_does_nothing_more() {
    let scene = Scene::new();
    let path = scene.write("d/f", "1");
    let gate = scene.begin("s1");
    gate.remove_all(&scene.path("d"));
    drop(gate);
    scene.vault.finish("s1", Duration::from_secs(9)).unwrap();
    let report = scene.undo("s1", Made::Stays);
    // Nothing was overwritten, so there is nothing to keep.
    assert_eq!((report.done.len(), report.session), (2, None));
    assert_eq!(scene.vault.names().unwrap(), ["s1"]);
    let undo = Undo::of(&scene.vault, "s1", Choice::default()).unwrap();
    assert_eq!(undo.plan().steps, []);
    assert!(path.exists());
}

#[test]
fn a_session_that_runs_can_be_undone_where_nothing_stands() {
    let scene = Scene::new();
    let (gone, written) = (scene.write("gone", "1"), scene.write("written", "1"));
    let gate = scene.begin("s1");
    gate.unlink(&gone).unwrap();
    gate.overwrite(&written, b"2");
    let undo = Undo::of(&scene.vault, "s1", Choice::default()).unwrap();
    assert_eq!(undo.state(), State::Running);
    let plan = undo.plan();
    let told: Vec<_> = plan.steps.iter().map(|step| (step.path.clone(), step.standing)).collect();
    assert_eq!(told, [(gone.clone(), Standing::Nothing), (written.clone(), Standing::Other)]);
    assert!(matches!(plan.steps[0].deed, Deed::Restore { kind: Kind::File, .. }));
    let report = undo.apply(&plan, LEASE, &mut |_| Ruling::Leave).unwrap();
    assert_eq!((report.done.len(), report.refused.len()), (1, 1));
    assert_eq!(std::fs::read(&gone).unwrap(), b"1");
    // What came back is old for the running session? It was born after its beginning: its own, and gone for good when it goes again.
    drop(gate);
}

/// What `agentbox undo` says that it cannot bring back.
fn hopeless(scene: &Scene, session: &str) -> Vec<(std::path::PathBuf, String)> {
    Undo::of(&scene.vault, session, Choice::default()).unwrap().plan().hopeless
}

#[test]
fn two_things_that_had_one_name_one_after_the_other_are_both_told() {
    let scene = Scene::new();
    let (mine, one, other) = (scene.write("mine", "first"), scene.write("one", "second"), scene.write("other", "third"));
    let gate = scene.begin("s1");
    gate.unlink(&mine).unwrap();
    // By another program, or a second box.
    std::fs::rename(&one, &mine).unwrap();
    gate.unlink(&mine).unwrap();
    std::fs::rename(&other, &mine).unwrap();
    gate.overwrite(&mine, b"spoilt");
    drop(gate);
    scene.vault.finish("s1", std::time::Duration::from_secs(60)).unwrap();
    let told = hopeless(&scene, "s1");
    let contents: Vec<Vec<u8>> = told
        .iter()
        .map(|(path, why)| {
            assert_eq!(*path, mine, "{why}");
            std::fs::read(why.rsplit_once("kept in ").expect("where it is kept").1).unwrap()
        })
        .collect();
    assert!(contents.len() == 2 && contents.contains(&b"second".to_vec()) && contents.contains(&b"third".to_vec()), "{told:?}");
    let _ = scene.undo("s1", Made::Stays);
    assert_eq!(std::fs::read(&mine).unwrap(), b"first");
}

#[test]
fn what_stands_where_another_thing_was_gets_its_content_back() {
    let scene = Scene::new();
    let (mine, one) = (scene.write("mine", "first"), scene.write("one", "second"));
    let gate = scene.begin("s1");
    gate.rename(&mine, &scene.path("away")).unwrap();
    std::fs::rename(&one, &mine).unwrap();
    gate.overwrite(&mine, b"spoilt");
    drop(gate);
    scene.vault.finish("s1", std::time::Duration::from_secs(60)).unwrap();
    // Its place is another one's: the first one comes back there, and the second one is told.
    assert_eq!(hopeless(&scene, "s1").len(), 1);
}

#[test]
fn what_one_session_moved_and_another_one_lost_comes_back() {
    let scene = Scene::new();
    for number in 0..20 {
        scene.write(&format!("p{number}"), format!("precious {number}"));
    }
    let before = scene.picture();
    let (mover, loser) = (scene.begin("mover"), scene.begin("loser"));
    let mine = scene.path("mine");
    for number in 0..20 {
        std::fs::write(&mine, "mine").unwrap();
        mover.exchange(&mine, &scene.path(&format!("p{number}"))).unwrap();
        loser.unlink(&mine).unwrap();
    }
    drop((mover, loser));
    for session in ["mover", "loser"] {
        scene.vault.finish(session, std::time::Duration::from_secs(60)).unwrap();
    }
    // The one that lost them knows not where they belong, and says so of each but the one that it can put where it was lost.
    assert_eq!(hopeless(&scene, "loser").len(), 19);
    let report = scene.undo("mover", Made::Stays);
    assert_eq!((report.refused, report.lacking), (Vec::new(), Vec::new()));
    for (path, thing) in before.iter().filter(|(path, _)| path.is_file()) {
        assert_eq!(std::fs::read(path).unwrap(), thing.content, "{}", path.display());
    }
}
