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

/// Whether nobody has `file`, which is open for reading only, open for writing at this moment, or mapped so. No where the kernel does not say.
#[must_use]
pub fn is_still(file: BorrowedFd<'_>) -> bool {
    // Given back at once: an open for writing would else wait until the descriptor is closed.
    read_lease(file).is_ok() && sys::lease::give_back(file).is_ok()
}
