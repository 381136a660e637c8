//! Keeping in a box's own mounts: everything is mounted anew, the vault is hidden, and only descriptors from before lead to it.

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use super::*;
use crate::{record::Way, subject::Outcome};

#[test]
fn through_descriptors_alone() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: mounting needs root");
        return;
    }
    let scene = Scene::new();
    scene.write("goes", "goes");
    scene.write("stays", "stays");
    let before = scene.picture();
    let gate = scene.begin("s1");
    let folder = scene.folder.clone();
    // A thread of its own has mounts of its own, and takes them along when it ends.
    let gate = std::thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS) {
            println!("SKIPPED: no mount namespace here: {error}");
            return None;
        }
        let none: Option<&str> = None;
        let work = folder.join("work");
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some(&work), &work, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).unwrap();
        mount(Some("tmpfs"), &folder.join("vault"), Some("tmpfs"), MsFlags::empty(), none).unwrap();
        assert_eq!(std::fs::read_dir(folder.join("vault")).unwrap().count(), 0, "the vault is hidden");
        for (name, loss, ways) in [("goes", Loss::Name, [Way::Link, Way::Reflink]), ("stays", Loss::Content, [Way::Copy, Way::Reflink])] {
            let path = work.join(name);
            let kept = gate.keep(&path, loss).unwrap();
            assert!(ways.iter().any(|way| kept.outcome() == Outcome::First(Some(*way))), "{name}: {:?}", kept.outcome());
            match loss {
                Loss::Name => std::fs::remove_file(&path).unwrap(),
                Loss::Content => std::fs::write(&path, "overwritten").unwrap(),
            }
            drop(kept);
        }
        gate.0.sync().unwrap();
        Some(gate)
    });
    if let Some(gate) = gate.join().unwrap() {
        scene.back(gate, &before);
    }
}
