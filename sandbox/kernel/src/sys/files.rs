//! Descriptors at large.

use std::os::fd::RawFd;

use nix::errno::Errno;

/// Marks every descriptor from `first` on close-on-exec (Linux 5.11).
pub(crate) fn close_from_on_exec(first: RawFd) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: three numbers, no memory of ours.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
    Errno::result(done).map(drop)
}

/// Closes every descriptor between these two, both included.
///
/// The caller upholds: nothing in this process owns one of them any more; it is used directly after a fork, in a child that has
/// taken what it needs and never drops the copies of its parent's owners.
pub(crate) fn close_between(first: RawFd, last: RawFd) -> Result<(), Errno> {
    if first > last {
        return Ok(());
    }
    // SAFETY: three numbers; that no owner is left is upheld by the caller.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    Errno::result(done).map(drop)
}

/// Takes ownership of a descriptor that the kernel has just installed for us (SCM_RIGHTS).
pub(crate) fn own(fd: RawFd) -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: only called with descriptors out of a control message of this process's own recvmsg, which made them for us and nobody else.
    unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) }
}
