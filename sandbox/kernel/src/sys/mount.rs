//! The mount calls that work on descriptors (Linux 5.2 and 5.12).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

const OPEN_TREE_CLONE: libc::c_uint = 1;
const OPEN_TREE_CLOEXEC: libc::c_uint = libc::O_CLOEXEC.cast_unsigned();
const AT_RECURSIVE: libc::c_uint = 0x8000;
const AT_EMPTY_PATH: libc::c_uint = libc::AT_EMPTY_PATH.cast_unsigned();
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;

/// What is copied of a tree of mounts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Depth {
    /// With everything that is mounted below.
    Tree,
    /// The one mount.
    One,
}

/// A detached copy of the mount at the place that a descriptor holds.
pub(crate) fn open_tree(place: BorrowedFd<'_>, depth: Depth) -> Result<OwnedFd, Errno> {
    let deep = match depth {
        Depth::Tree => AT_RECURSIVE,
        Depth::One => 0,
    };
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | deep;
    // SAFETY: the path is an empty C string that the kernel only reads.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, place.as_raw_fd(), c"".as_ptr(), flags) };
    let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: a call that succeeds returns a descriptor made for us, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds mount attributes (`MOUNT_ATTR_*`) to a tree of mounts that a descriptor names.
pub(crate) fn restrict(tree: BorrowedFd<'_>, attributes: u64) -> Result<(), Errno> {
    let change = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = AT_EMPTY_PATH | AT_RECURSIVE;
    // SAFETY: the path is an empty C string, the attributes a struct of which the kernel is told the size; it only reads both.
    let done = unsafe { libc::syscall(libc::SYS_mount_setattr, tree.as_raw_fd(), c"".as_ptr(), flags, &raw const change, size_of::<libc::mount_attr>()) };
    Errno::result(done).map(drop)
}

/// Attaches a detached mount at the place that a descriptor holds.
pub(crate) fn attach(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are empty C strings that the kernel only reads.
    let done = unsafe { libc::syscall(libc::SYS_move_mount, mount.as_raw_fd(), c"".as_ptr(), place.as_raw_fd(), c"".as_ptr(), flags) };
    Errno::result(done).map(drop)
}
