//! A descriptor of another process: the very open file, not a new opening of the same thing.

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// PIDFD_THREAD, Linux 6.9: for a thread that does not lead its process.
const PIDFD_THREAD: libc::c_uint = libc::O_EXCL.cast_unsigned();

/// A descriptor of a thread; before Linux 6.9 EINVAL where it does not lead its process.
pub(crate) fn open(tid: i32) -> Result<OwnedFd, Errno> {
    match pidfd_open(tid, PIDFD_THREAD) {
        Err(Errno::EINVAL) => pidfd_open(tid, 0),
        done => done,
    }
}

fn pidfd_open(tid: i32, flags: libc::c_uint) -> Result<OwnedFd, Errno> {
    // SAFETY: two numbers, no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, tid, flags) };
    owned(fd)
}

/// A copy of the descriptor that a process knows by this number (Linux 5.6). EBADF: it knows none.
pub(crate) fn take(process: BorrowedFd<'_>, number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: three numbers, no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) };
    owned(fd)
}

fn owned(answer: libc::c_long) -> Result<OwnedFd, Errno> {
    use std::os::fd::FromRawFd as _;
    let fd = RawFd::try_from(Errno::result(answer)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: both calls return a descriptor made for us, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
