//! Ends a session in which nothing was kept: nothing of it stays.

use rustix::fs::{self, AtFlags, FlockOperation};

use crate::{
    error::VaultError,
    vault::{JOURNAL, Vault, checked, errno},
};

impl Vault {
    /// Removes a session that its keeping process says it has not used. One in which an object lies is no such session, and stays.
    ///
    /// # Errors
    /// There is no such session, something lies in it, or the kernel's.
    pub fn discard(&self, name: &str) -> Result<(), VaultError> {
        let name = checked(name)?;
        let failed = |what| errno(what, self.path());
        let _lock = self.lock(FlockOperation::NonBlockingLockExclusive)?;
        let folder = self.session_folder(name)?;
        fs::unlinkat(&folder, JOURNAL, AtFlags::empty()).map_err(failed("removing an empty journal"))?;
        fs::unlinkat(&self.inner.sessions, name, AtFlags::REMOVEDIR).map_err(failed("removing an empty session"))
    }
}
