//! Which file systems' birth times tell what a session made.
//!
//! A layered file system gives an old file a new inode, born now, when it is first changed: by its birth it would be the session's own, and
//! could be destroyed unkept. Across a network the time is another machine's. So births count where they are known to be what they seem.

use std::{
    collections::HashMap,
    os::fd::{AsFd as _, BorrowedFd},
    sync::{LazyLock, Mutex, PoisonError},
};

use rustix::{
    fs::{self, FsWord, Mode, OFlags},
    io::Errno,
};

/// How far a file system's births are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Births {
    /// This kernel gives them, by its one clock: compared with those of any such file system.
    OurClock,
    /// Somebody else's clock: compared with those of the same file system only.
    ItsOwn,
    /// They are not of the thing that was there.
    Never,
}

/// Of `statfs(2)`: ext2 to ext4, XFS, Btrfs, tmpfs, F2FS, bcachefs.
const OUR_CLOCK: [FsWord; 6] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0xf2f5_2010, 0xca45_1a4e];

/// overlayfs, FUSE (fuse-overlayfs among them), eCryptfs, aufs.
const NEVER: [FsWord; 4] = [0x794c_7630, 0x6573_5546, 0xf15f, 0x6175_6673];

/// A process looks at the few file systems of one box; one whose number is another's later would have been unmounted meanwhile.
static SEEN: LazyLock<Mutex<HashMap<u64, Births>>> = LazyLock::new(Mutex::default);

fn seen() -> std::sync::MutexGuard<'static, HashMap<u64, Births>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of the file system with this number, which the descriptor leads to.
pub(crate) fn of(dev: u64, fd: BorrowedFd<'_>) -> Result<Births, Errno> {
    if let Some(known) = known(dev) {
        return Ok(known);
    }
    let kind = kind(fs::fstatfs(fd)?.f_type);
    seen().insert(dev, kind);
    Ok(kind)
}

/// The same for a name in a folder.
pub(crate) fn of_name(dev: u64, folder: BorrowedFd<'_>, name: &std::ffi::OsStr) -> Result<Births, Errno> {
    if let Some(known) = known(dev) {
        return Ok(known);
    }
    let thing = fs::openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    of(dev, thing.as_fd())
}

/// Of a file system that was looked at before.
pub(crate) fn known(dev: u64) -> Option<Births> {
    seen().get(&dev).copied()
}

fn kind(magic: FsWord) -> Births {
    if OUR_CLOCK.contains(&magic) {
        Births::OurClock
    } else if NEVER.contains(&magic) {
        Births::Never
    } else {
        Births::ItsOwn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_and_networks_are_told_from_disks() {
        assert_eq!(kind(0xef53), Births::OurClock);
        assert_eq!(kind(0x794c_7630), Births::Never);
        // NFS.
        assert_eq!(kind(0x6969), Births::ItsOwn);
        let here = fs::open("/dev/shm", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert_eq!(of(u64::MAX, here.as_fd()).unwrap(), Births::OurClock, "memory");
    }
}
