//! The size budget: never silently exceeded, and nothing is silently dropped for it.

use std::{
    collections::HashSet,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Mutex, PoisonError},
};

use rustix::{
    fs::{self, FileType, Mode, OFlags},
    io::Errno,
};

use crate::{error::Why, facts, folder, vault::Vault};

/// On a small file system the budget is this part of it.
const BUDGET_PART: u64 = 5;

/// Where a session says at its end what it takes.
pub(crate) const BYTES: &str = "bytes";

/// What one session may still take.
#[derive(Debug)]
pub(crate) struct Room {
    vault: Vault,
    /// Whose room it is.
    name: String,
    /// Bytes that everything in the vault takes, once it is known.
    used: Mutex<Option<u64>>,
}

impl Room {
    pub(crate) fn new(vault: Vault, name: String) -> Self {
        Self { vault, name, used: Mutex::new(None) }
    }

    /// Sees to it that so many bytes fit. Where they do only because others went: their names.
    pub(crate) fn make(&self, bytes: u64) -> Result<Option<Vec<String>>, Why> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = self.budget()?;
        let io = || Why::io("adding up what the vault takes");
        let before = match *used {
            Some(used) => used,
            None => self.vault.used(&self.name).map_err(io())?,
        };
        *used = Some(before);
        if before.saturating_add(bytes) <= budget {
            return Ok(None);
        }
        // What was added up counts equal contents of several sessions several times.
        let exact = self.vault.used_exactly().map_err(io())?;
        *used = Some(exact);
        let over = exact.saturating_add(bytes).saturating_sub(budget);
        if over == 0 {
            return Ok(None);
        }
        let gone = if bytes > budget { Vec::new() } else { self.vault.drop_oldest(over).map_err(io())? };
        let exact = self.vault.used_exactly().map_err(io())?;
        *used = Some(exact);
        if exact.saturating_add(bytes) > budget {
            return Err(Why::OverBudget { budget });
        }
        Ok(Some(gone))
    }

    /// Whether so many bytes fit as it is. Where they do not, others may have to go, of which nobody knows before they are asked.
    pub(crate) fn has(&self, bytes: u64) -> Result<bool, Why> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = self.budget()?;
        if bytes > budget {
            return Err(Why::OverBudget { budget });
        }
        let now = match *used {
            Some(used) => used,
            None => self.vault.used(&self.name).map_err(Why::io("adding up what the vault takes"))?,
        };
        *used = Some(now);
        Ok(now.saturating_add(bytes) <= budget)
    }

    fn budget(&self) -> Result<u64, Why> {
        let disk = fs::fstatvfs(&self.vault.inner.folder).map_err(Why::io("asking for the size of the file system"))?;
        Ok(self.vault.inner.settings.budget.min(disk.f_blocks.saturating_mul(disk.f_frsize) / BUDGET_PART))
    }

    /// So many bytes were taken.
    pub(crate) fn take(&self, bytes: u64) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used = used.map(|used| used.saturating_add(bytes));
    }

    /// Makes the session's own name last.
    pub(crate) fn sync_sessions(&self) -> io::Result<()> {
        Ok(fs::fsync(&self.vault.inner.sessions)?)
    }
}

impl Vault {
    /// Bytes that all sessions take, each as if it were alone; `running` is counted anew.
    fn used(&self, running: &str) -> Result<u64, Errno> {
        let mut sum = 0u64;
        for (name, _) in folder::names(self.inner.sessions.as_fd())? {
            let session = match folder::open(self.inner.sessions.as_fd(), name.as_os_str()) {
                Ok(session) => session,
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(error) => return Err(error),
            };
            let told = if name == *running { None } else { told(session.as_fd()) };
            let bytes = match told {
                Some(bytes) => bytes,
                None => added_up(session.as_fd(), &mut HashSet::new())?,
            };
            sum = sum.saturating_add(bytes);
        }
        Ok(sum)
    }

    /// Bytes that everything in the vault takes, each inode once.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn used_exactly(&self) -> Result<u64, Errno> {
        let mut seen = HashSet::new();
        let mut sum = 0u64;
        for (name, _) in folder::names(self.inner.sessions.as_fd())? {
            if let Ok(session) = folder::open(self.inner.sessions.as_fd(), name.as_os_str()) {
                sum = sum.saturating_add(added_up(session.as_fd(), &mut seen)?);
            }
        }
        Ok(sum)
    }
}

fn told(session: BorrowedFd<'_>) -> Option<u64> {
    let file = fs::openat(session, BYTES, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = [0; 20];
    let length = rustix::io::read(&file, &mut text[..]).ok()?;
    std::str::from_utf8(text.get(..length)?).ok()?.trim().parse().ok()
}

/// Bytes on disk of all files in a session's folder whose inode was not seen yet.
pub(crate) fn added_up(session: BorrowedFd<'_>, seen: &mut HashSet<u64>) -> Result<u64, Errno> {
    let mut sum = 0u64;
    for (name, kind) in folder::names(session)? {
        if kind == FileType::Directory {
            continue;
        }
        match facts::look_at(session, &name) {
            Ok((id, facts)) if seen.insert(id.ino) => sum = sum.saturating_add(facts.stored),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sum)
}
