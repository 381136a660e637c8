//! The same on other file systems: with reflinks (btrfs, xfs) and without (ext4, tmpfs), each on a disk of its own where we may mount.

use std::process::Command;

use super::{random::many, *};
use crate::{record::Way, session::Kept, subject::Outcome};

/// A file system in a file, mounted.
struct Disk {
    _owner: tempfile::TempDir,
    top: PathBuf,
}

impl Disk {
    /// Nothing, and the reason is printed, where it cannot be made.
    fn new(make: &str, arguments: &[&str]) -> Option<Self> {
        let skipped = |why: String| {
            println!("SKIPPED: no disk with {make}: {why}");
            None
        };
        if !rustix::process::geteuid().is_root() {
            return skipped("mounting needs root".to_owned());
        }
        let owner = tempfile::tempdir().unwrap();
        let (image, top) = (owner.path().join("image"), owner.path().join("top"));
        std::fs::create_dir(&top).unwrap();
        std::fs::File::create(&image).unwrap().set_len(400 << 20).unwrap();
        let run = |program: &str, arguments: &[&std::ffi::OsStr]| match Command::new(program).args(arguments).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        };
        let mut all: Vec<&std::ffi::OsStr> = arguments.iter().map(std::ffi::OsStr::new).collect();
        all.push(image.as_os_str());
        if let Err(why) = run(make, &all) {
            return skipped(why);
        }
        if let Err(why) = run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_os_str(), top.as_os_str()]) {
            return skipped(why);
        }
        let top = top.canonicalize().unwrap();
        Some(Self { _owner: owner, top })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.top).status();
    }
}

fn way(kept: &Kept<'_>) -> Option<Way> {
    match kept.outcome() {
        Outcome::First(way) => way,
        Outcome::Born | Outcome::Already | Outcome::LostBefore | Outcome::Nothing => None,
    }
}

fn works(disk: &Disk, goes: Way, stays: Way) {
    let scene = Scene::at(&disk.top.join("scene"), Settings::default());
    let (gone, written) = (scene.write("gone", vec![1; 3_000_000]), scene.write("written", vec![2; 3_000_000]));
    let before = scene.picture();
    let gate = scene.begin("s1");
    let kept = gate.keep(&gone, Loss::Name).unwrap();
    assert_eq!(way(&kept), Some(goes));
    std::fs::remove_file(&gone).unwrap();
    drop(kept);
    let kept = gate.keep(&written, Loss::Content).unwrap();
    assert_eq!(way(&kept), Some(stays));
    drop(kept);
    std::fs::write(&written, "other").unwrap();
    scene.back(gate, &before);
    many(&disk.top, super::random::cases() / 2);
}

#[test]
fn btrfs() {
    if let Some(disk) = Disk::new("mkfs.btrfs", &["-q", "-f"]) {
        works(&disk, Way::Reflink, Way::Reflink);
    }
}

#[test]
fn xfs() {
    if let Some(disk) = Disk::new("mkfs.xfs", &["-q", "-m", "reflink=1"]) {
        works(&disk, Way::Reflink, Way::Reflink);
    }
}

#[test]
fn xfs_without_reflinks() {
    if let Some(disk) = Disk::new("mkfs.xfs", &["-q", "-m", "reflink=0"]) {
        works(&disk, Way::Link, Way::Copy);
    }
}

#[test]
fn ext4() {
    if let Some(disk) = Disk::new("mkfs.ext4", &["-q", "-F"]) {
        works(&disk, Way::Link, Way::Copy);
    }
}

#[test]
fn a_full_disk_keeps_nothing_half() {
    let Some(disk) = Disk::new("mkfs.ext4", &["-q", "-F"]) else { return };
    let settings = Settings { floor: 0, ..Settings::default() };
    let scene = Scene::at(&disk.top.join("scene"), settings);
    let path = scene.write("f", vec![7; 8 << 20]);
    let before = scene.picture();
    let gate = scene.begin("s1");
    let fill = std::fs::File::create(disk.top.join("fill")).unwrap();
    for step in [1 << 24, 1 << 20, 1 << 12] {
        while std::io::Write::write_all(&mut &fill, &vec![9; step]).is_ok() {}
    }
    let refused = gate.keep(&path, Loss::Content).unwrap_err().to_string();
    assert!(refused.contains("No space left"), "{refused}");
    assert_eq!(std::fs::read_dir(disk.top.join("scene/vault/sessions/s1")).unwrap().count(), 1, "the journal alone");
    // What only goes is linked, and takes next to nothing.
    assert_eq!(way(&gate.keep(&path, Loss::Name).unwrap()), Some(Way::Link));
    std::fs::remove_file(&path).unwrap();
    drop(fill);
    std::fs::remove_file(disk.top.join("fill")).unwrap();
    scene.back(gate, &before);
}
