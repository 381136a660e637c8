//! Leases on files.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// `fcntl(F_SETLEASE, F_RDLCK)`.
pub(crate) fn read(file: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: a borrowed descriptor is open, and the command takes a number.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) };
    Errno::result(done).map(drop)
}

/// `fcntl(F_SETLEASE, F_UNLCK)`.
pub(crate) fn give_back(file: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: a borrowed descriptor is open, and the command takes a number.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
    Errno::result(done).map(drop)
}

/// `fcntl(F_SETSIG)`: which signal tells that a lease is being broken.
pub(crate) fn announce_by(file: BorrowedFd<'_>, signal: libc::c_int) -> Result<(), Errno> {
    // F_SETSIG of the generic fcntl.h, which x86_64 and aarch64 use; the libc crate does not name it for Linux.
    const F_SETSIG: libc::c_int = 10;
    // SAFETY: a borrowed descriptor is open, and the command takes a number.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, signal) };
    Errno::result(done).map(drop)
}
