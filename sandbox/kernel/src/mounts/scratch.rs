//! A layer over a writable tree: what is written goes into it, and the tree below stays as it is.

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen};

use super::{
    list,
    place::{Copy, MountError, failed, find},
};

/// A tree that is only read, and where what would be written to it goes. Both folders of the layer are on one file system, and empty.
#[derive(Clone, Debug)]
pub struct Scratch {
    /// The tree.
    pub tree: PathBuf,
    /// What is written, in overlayfs's own form.
    pub upper: PathBuf,
    /// For overlayfs's own use.
    pub work: PathBuf,
}

/// Where something is mounted; everything is still as outside.
pub(super) fn mounted() -> Result<Vec<PathBuf>, MountError> {
    let proc = find(Path::new("/proc")).map_err(failed("opening", Path::new("/proc")))?;
    list::mounted(proc.as_fd()).map_err(failed("reading the mounts in", Path::new("/proc/self/mountinfo")))
}

/// Makes the layered tree, not attached anywhere yet. Everything is still as outside.
pub(super) fn layered(scratch: &Scratch, mounted: &[PathBuf]) -> Result<Copy, MountError> {
    is_whole(&scratch.tree, mounted)?;
    overlay(scratch, Syncs::AsAsked).map(Copy::of_folder)
}

/// A layer shows one file system.
pub(super) fn is_whole(tree: &Path, mounted: &[PathBuf]) -> Result<(), MountError> {
    match mounted.iter().find(|path| *path != tree && path.starts_with(tree)) {
        Some(inner) => Err(failed("a layer holds one file system, and another is mounted at", inner)(io::Error::from(io::ErrorKind::Unsupported))),
        None => Ok(()),
    }
}

/// Whether what is written is brought to the disk when programs ask for that, and at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syncs {
    AsAsked,
    /// The kernel writes it when it likes. It marks the work folder, and takes one that is marked for the rest of a crash.
    Never,
}

/// Mounts one, not attached anywhere yet.
pub(super) fn overlay(scratch: &Scratch, syncs: Syncs) -> Result<OwnedFd, MountError> {
    let made = || -> Result<OwnedFd, rustix::io::Errno> {
        let layers = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let open = |path: &Path| find(path).map_err(|errno| rustix::io::Errno::from_raw_os_error(errno as i32));
        // By descriptors: a path could hold what overlayfs takes for the end of it. They are open until the layers are made, since before
        // Linux 6.5 the names are looked up only then.
        let places = [("lowerdir", open(&scratch.tree)?), ("upperdir", open(&scratch.upper)?), ("workdir", open(&scratch.work)?)];
        for (key, place) in &places {
            let name = format!("/proc/self/fd/{}", place.as_raw_fd());
            fsconfig_set_string(layers.as_fd(), *key, CString::new(name).unwrap_or_default().as_c_str())?;
        }
        // What it notes of its own goes into attributes that a user may write.
        fsconfig_set_flag(layers.as_fd(), "userxattr")?;
        if syncs == Syncs::Never {
            fsconfig_set_flag(layers.as_fd(), "volatile")?;
        }
        fsconfig_create(layers.as_fd())?;
        fsmount(layers.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV)
    };
    made().map_err(|errno| failed("layering (overlayfs of a user namespace needs Linux 5.11, and a state folder on a disk)", &scratch.tree)(errno))
}
