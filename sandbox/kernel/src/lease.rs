//! Read leases: the kernel's own word that nobody has a file open for writing, or mapped so.

use std::os::fd::BorrowedFd;

use crate::sys;

/// Takes a read lease on `file`, which is open for reading only. It lasts until the descriptor is closed.
///
/// The kernel refuses it (`EAGAIN`) while anybody has the file open for writing or has a shared writable mapping of it, and to all
/// but the file's owner (`EACCES`). While it stands, an open for writing waits. What would tell us of such an open is turned into a
/// signal that is ignored by default: the usual one, SIGIO, would end the process.
///
/// # Errors
/// The kernel's.
pub fn read_lease(file: BorrowedFd<'_>) -> std::io::Result<()> {
    sys::lease::announce_by(file, libc::SIGURG)?;
    sys::lease::read(file)?;
    Ok(())
}
