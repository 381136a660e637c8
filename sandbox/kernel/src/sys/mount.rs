//! The mount calls that work on descriptors (Linux 5.2 and 5.12).

use std::{
    ffi::CStr,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::errno::Errno;

const OPEN_TREE_CLONE: libc::c_uint = 1;
const OPEN_TREE_CLOEXEC: libc::c_uint = libc::O_CLOEXEC.cast_unsigned();
const AT_RECURSIVE: libc::c_uint = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;

/// What is copied of a tree of mounts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Depth {
    /// With everything that is mounted below.
    Tree,
    /// The one mount.
    One,
}

/// A detached copy of the mount at `path`.
pub(crate) fn open_tree(path: &CStr, depth: Depth) -> Result<OwnedFd, Errno> {
    let deep = match depth {
        Depth::Tree => AT_RECURSIVE,
        Depth::One => 0,
    };
    // SAFETY: the path is a valid C string that the kernel only reads.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | deep) };
    let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: a call that succeeds returns a descriptor made for us, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds mount attributes (`MOUNT_ATTR_*`) to a tree of mounts that a descriptor names.
pub(crate) fn restrict(tree: BorrowedFd<'_>, attributes: u64) -> Result<(), Errno> {
    let change = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH.cast_unsigned() | AT_RECURSIVE;
    // SAFETY: the path is an empty C string, the attributes a struct of which the kernel is told the size; it only reads both.
    let done = unsafe { libc::syscall(libc::SYS_mount_setattr, tree.as_raw_fd(), c"".as_ptr(), flags, &raw const change, size_of::<libc::mount_attr>()) };
    Errno::result(done).map(drop)
}

/// Attaches a detached mount at `path`.
pub(crate) fn attach(mount: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    // SAFETY: both paths are valid C strings that the kernel only reads.
    let done = unsafe { libc::syscall(libc::SYS_move_mount, mount.as_raw_fd(), c"".as_ptr(), libc::AT_FDCWD, path.as_ptr(), MOVE_MOUNT_F_EMPTY_PATH) };
    Errno::result(done).map(drop)
}
