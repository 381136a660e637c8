//! `faccessat2(2)` on a descriptor.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;

/// Whether this thread may write what a descriptor leads to (Linux 5.8): EACCES by its mode, EROFS by its mount.
pub(crate) fn may_write(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_EACCESS;
    // SAFETY: the string is static and ends with a NUL; all else are numbers.
    let done = unsafe { libc::syscall(libc::SYS_faccessat2, fd.as_raw_fd(), c"".as_ptr(), libc::W_OK, flags) };
    Errno::result(done).map(drop)
}
