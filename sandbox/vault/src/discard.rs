//! Ends a session in which nothing was kept: nothing of it stays.

use std::os::fd::AsFd as _;

use rustix::{
    fs::{self, AtFlags, FlockOperation},
    io::Errno,
};

use crate::{
    error::VaultError,
    folder,
    vault::{JOURNAL, Vault, checked, errno},
};

impl Vault {
    /// Ends a session that its keeping process says it has not used. One in which an object lies is no such session, and stays.
    ///
    /// Its empty folder is for [`clear`](Self::clear).
    ///
    /// # Errors
    /// There is no such session, something lies in it, or the kernel's.
    pub fn discard(&self, name: &str) -> Result<(), VaultError> {
        let failed = |what| errno(what, self.path());
        let _lock = self.lock(FlockOperation::NonBlockingLockExclusive)?;
        let folder = self.session_folder(checked(name)?)?;
        let names = folder::names(folder.as_fd()).map_err(failed("looking through a session"))?;
        if names.iter().any(|(name, _)| name != JOURNAL) {
            return Err(failed("removing an empty session")(Errno::NOTEMPTY));
        }
        fs::unlinkat(&folder, JOURNAL, AtFlags::empty()).map_err(failed("removing an empty journal"))
    }

    /// Removes the folder of a session that was discarded. That gives blocks back to the disk, for which no person should have to wait; without a
    /// journal it is no session to anybody, and if it stays it goes with the next sweep.
    ///
    /// # Errors
    /// It is not there, something lies in it, or the kernel's.
    pub fn clear(&self, name: &str) -> Result<(), VaultError> {
        fs::unlinkat(&self.inner.sessions, checked(name)?, AtFlags::REMOVEDIR).map_err(errno("removing an empty session", self.path()))
    }
}
