//! A page of memory that processes share through a file.

use std::{
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr::{self, NonNull},
    sync::atomic::AtomicU32,
};

use nix::errno::Errno;

/// So much of the file is mapped: a page, or the beginning of one.
pub(crate) const LENGTH: usize = 4096;

/// The two words that a page begins with. Whoever may write the file may write them at any time: they are words, and nothing hangs on them but
/// who has the turn.
#[derive(Debug)]
pub(crate) struct Words(NonNull<[AtomicU32; 2]>);

impl Words {
    /// Maps the beginning of a file that is at least [`LENGTH`] long, and that nobody cuts.
    pub(crate) fn map(file: BorrowedFd<'_>) -> Result<Self, Errno> {
        // SAFETY: a new mapping, at an address that the kernel chooses, of a descriptor that is open.
        let at = unsafe { libc::mmap(ptr::null_mut(), LENGTH, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        NonNull::new(at.cast()).map(Self).ok_or(Errno::ENOMEM)
    }

    /// They.
    pub(crate) fn words(&self) -> &[AtomicU32; 2] {
        // SAFETY: the mapping lives as long as `self`, begins on a page and so is aligned, and holds numbers for which all bits are values; all
        // writing to it by anybody is by atomic words.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length by `map`, and nothing borrows from it any more.
        let _ = unsafe { libc::munmap(self.0.as_ptr().cast(), LENGTH) };
    }
}
