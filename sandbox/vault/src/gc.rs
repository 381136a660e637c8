//! Dropping: sessions whose time has come, remnants that no journal lists, contents that no session names any more.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::SystemTime,
};

use rustix::{
    fs::{self, FlockOperation, Mode, OFlags},
    io::Errno,
};

use crate::{
    crash::step,
    error::VaultError,
    facts::{self, Stamp},
    folder, journal,
    record::{Body, Record},
    room::BYTES,
    session::object_name,
    vault::{JOURNAL, Vault, errno},
};

/// The file whose time is that of the last sweep.
const SWEPT: &str = "swept";

/// Seconds between two sweeps.
const SWEEP_EVERY: i64 = 24 * 60 * 60;

/// What `gc` took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Sessions that were dropped, oldest first.
    pub sessions: Vec<String>,
    /// Objects of sessions that no journal lists, left by a crash.
    pub remnants: u64,
    /// Contents that no session names.
    pub contents: u64,
}

/// Whether the process that keeps for a session lives.
pub(crate) enum Life {
    /// Nobody does; this holds it so.
    Over(OwnedFd),
    /// It runs.
    Running,
    /// There is no journal, or none any more.
    None,
}

/// Who else may look whether a session is over, at the same time.
#[derive(Clone, Copy)]
pub(crate) enum Looking {
    /// Others who only look.
    Together,
    /// Nobody: something will be done to it.
    Alone,
}

/// Takes the lock on a session's journal, which a running session holds.
pub(crate) fn life(session: BorrowedFd<'_>, looking: Looking) -> Result<Life, Errno> {
    let lock = match looking {
        Looking::Together => FlockOperation::NonBlockingLockShared,
        Looking::Alone => FlockOperation::NonBlockingLockExclusive,
    };
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let journal = match fs::openat(session, JOURNAL, flags, Mode::empty()) {
        Ok(journal) => journal,
        Err(Errno::NOENT) => return Ok(Life::None),
        Err(error) => return Err(error),
    };
    match fs::flock(&journal, lock) {
        Ok(()) => Ok(Life::Over(journal)),
        Err(Errno::WOULDBLOCK) => Ok(Life::Running),
        Err(error) => Err(error),
    }
}

impl Vault {
    /// Takes what nobody can ask for any more: remnants of crashes, contents without a session. Sessions stay, however old, while
    /// there is room for them.
    ///
    /// # Errors
    /// The vault is in use, or the kernel's.
    pub fn gc(&self) -> Result<Swept, VaultError> {
        let _lock = self.lock(FlockOperation::NonBlockingLockExclusive)?;
        self.swept().map_err(errno("sweeping it", self.path()))
    }

    /// The same, where it was not done for a day and nobody is in the way.
    pub(crate) fn gc_when_due(&self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_secs()).ok());
        let last = facts::look_at(self.inner.folder.as_fd(), OsStr::new(SWEPT)).map_or(0, |(_, facts)| facts.mtime.0);
        if now.is_none_or(|now| now.saturating_sub(last) < SWEEP_EVERY) {
            return;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // A remnant takes room and does no harm: it is tried again tomorrow.
        let _ =
            self.gc().is_ok() && fs::openat(&self.inner.folder, SWEPT, flags, Mode::RUSR | Mode::WUSR).and_then(|file| rustix::io::write(file, b"\n")).is_ok();
    }

    /// Drops one session that is over and whose name nobody was told.
    pub(crate) fn forget(&self, name: &str) -> Result<(), VaultError> {
        let session = self.session_folder(name)?;
        self.remove(OsStr::new(name), session.as_fd()).map(drop).map_err(errno("dropping a session", self.path()))
    }

    fn swept(&self) -> Result<Swept, Errno> {
        let mut swept = Swept::default();
        for (name, _) in folder::names(self.inner.sessions.as_fd())? {
            let Ok(session) = folder::open(self.inner.sessions.as_fd(), name.as_os_str()) else { continue };
            match life(session.as_fd(), Looking::Alone)? {
                Life::Running => {}
                Life::Over(journal) => swept.remnants += remnants(session.as_fd(), &File::from(journal))?,
                Life::None => swept.remnants += self.remove(&name, session.as_fd())?,
            }
        }
        swept.contents = self.unnamed()?;
        Ok(swept)
    }

    /// Drops the oldest sessions that are over and whose time has come, until so many bytes are free or none is left. Their names.
    pub(crate) fn drop_oldest(&self, bytes: u64) -> Result<Vec<String>, Errno> {
        let Ok(_lock) = self.lock(FlockOperation::NonBlockingLockExclusive) else { return Ok(Vec::new()) };
        let settings = &self.inner.settings;
        let kept_since = SystemTime::now().checked_sub(settings.retention).and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let Some(kept_since) = kept_since.and_then(|since| i64::try_from(since.as_secs()).ok()) else { return Ok(Vec::new()) };
        let mut old: Vec<(Stamp, std::ffi::OsString)> = Vec::new();
        for (name, _) in folder::names(self.inner.sessions.as_fd())? {
            let Ok(session) = folder::open(self.inner.sessions.as_fd(), name.as_os_str()) else { continue };
            // The journal's last record is its end.
            if let Ok((_, journal)) = facts::look_at(session.as_fd(), OsStr::new(JOURNAL))
                && journal.mtime.0 < kept_since
            {
                old.push((journal.mtime, name));
            }
        }
        old.sort();
        let (before, mut gone) = (self.used_exactly()?, Vec::new());
        for (_, name) in old {
            if before.saturating_sub(self.used_exactly()?) >= bytes {
                break;
            }
            let Ok(session) = folder::open(self.inner.sessions.as_fd(), name.as_os_str()) else { continue };
            if let Life::Over(_held) = life(session.as_fd(), Looking::Alone)? {
                self.remove(&name, session.as_fd())?;
                gone.push(name.to_string_lossy().into_owned());
            }
        }
        self.unnamed()?;
        Ok(gone)
    }

    /// Removes a session: the journal first, so that nothing is listed that is not there.
    fn remove(&self, name: &OsStr, session: BorrowedFd<'_>) -> Result<u64, Errno> {
        folder::remove(session, JOURNAL)?;
        step("a session without a journal")?;
        let mut count = 0;
        for (file, _) in folder::names(session)? {
            folder::remove(session, file.as_os_str())?;
            count += 1;
        }
        fs::unlinkat(&self.inner.sessions, name, fs::AtFlags::REMOVEDIR)?;
        Ok(count)
    }

    /// Removes contents whose only name is the one by digest.
    fn unnamed(&self) -> Result<u64, Errno> {
        let mut count = 0;
        for (prefix, _) in folder::names(self.inner.objects.as_fd())? {
            let Ok(shelf) = folder::open(self.inner.objects.as_fd(), prefix.as_os_str()) else { continue };
            for (name, _) in folder::names(shelf.as_fd())? {
                if facts::look_at(shelf.as_fd(), &name).is_ok_and(|(_, facts)| facts.links == 1) {
                    folder::remove(&shelf, name.as_os_str())?;
                    count += 1;
                }
            }
        }
        Ok(count)
    }
}

/// Removes what stands in a session's folder and is not listed.
fn remnants(session: BorrowedFd<'_>, journal: &File) -> Result<u64, Errno> {
    let told = journal::read(journal).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let mut listed: HashSet<String> = [JOURNAL, BYTES].map(str::to_owned).into();
    for record in &told.records {
        if let Record::Kept { body: Body::Object { number, .. }, .. } = record {
            listed.insert(object_name(*number));
        }
    }
    let mut count = 0;
    for (name, _) in folder::names(session)? {
        if !name.to_str().is_some_and(|name| listed.contains(name)) {
            folder::remove(session, name.as_os_str())?;
            count += 1;
        }
    }
    Ok(count)
}
