//! Reading what sessions did.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::File,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use rustix::{
    fs::{self, Mode, OFlags},
    io::Errno,
};

use crate::{
    bytes::Bytes,
    error::VaultError,
    facts::{self, Facts},
    folder,
    gc::{Life, Looking, life},
    journal,
    record::{Body, FORMAT, Record, Start},
    session::object_name,
    vault::{JOURNAL, Vault, boot, errno, io_error},
};

/// Whether a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It ended, at this time (milliseconds since 1970).
    Ended(u64),
    /// Its process died before it could say what it left.
    Died,
}

/// What a session's journal tells.
#[derive(Clone, Debug)]
pub struct Told {
    /// How it began.
    pub start: Start,
    /// What happened then.
    pub records: Vec<Record>,
    /// Whether it is over.
    pub state: State,
    /// Records whose object a power cut took before it was on disk.
    pub missing: u64,
}

impl Told {
    /// All paths that something was done to, as they were then.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.records.iter().flat_map(Record::paths).map(Bytes::path)
    }

    /// How many things are kept, the bytes of their contents, and how many were lost unkept.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let (mut kept, mut bytes, mut lost) = (0, 0u64, 0);
        for record in &self.records {
            if let Record::Kept { facts, body, .. } = record {
                kept += 1;
                bytes = bytes.saturating_add(if matches!(body, Body::Object { .. }) { facts.size } else { 0 });
            }
            lost += u64::from(matches!(record, Record::Lost { .. }));
        }
        (kept, bytes, lost)
    }

    /// How often things were brought back from it.
    #[must_use]
    pub fn restored(&self) -> usize {
        self.records.iter().filter(|record| matches!(record, Record::Restored { .. })).count()
    }

    /// When the last thing happened, in milliseconds since 1970.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.records.iter().filter_map(Record::at).max().unwrap_or(self.start.at)
    }
}

impl Vault {
    /// Whether anything that was there before a session is not as it was.
    pub(crate) fn changed_something(&self, name: &str) -> Result<bool, VaultError> {
        let changes = |record: &Record| {
            matches!(
                record,
                Record::Kept { .. } | Record::Again { .. } | Record::Lost { .. } | Record::Facts { .. } | Record::Moved { .. } | Record::Exchanged { .. }
            )
        };
        Ok(self.told(name)?.records.iter().any(changes))
    }

    /// The names of all sessions, in no order.
    ///
    /// # Errors
    /// The kernel's.
    pub fn names(&self) -> Result<Vec<String>, VaultError> {
        let names = folder::names(self.inner.sessions.as_fd()).map_err(errno("listing sessions", self.path()))?;
        Ok(names.into_iter().filter_map(|(name, _)| name.into_string().ok()).collect())
    }

    /// How all sessions began, oldest first. One that is being made or dropped is none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn starts(&self) -> Result<Vec<Start>, VaultError> {
        let mut all = Vec::new();
        for name in self.names()? {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Ok(session) = self.session_folder(&name) else { continue };
            let Ok(journal) = fs::openat(&session, JOURNAL, flags, Mode::empty()) else { continue };
            let told = journal::read_some(&File::from(journal), 1).map_err(io_error("reading a journal", self.path()))?;
            if let Some(Record::Start(start)) = told.records.into_iter().next() {
                all.push(start);
            }
        }
        all.sort_by(|a, b| (a.at, &a.session).cmp(&(b.at, &b.session)));
        Ok(all)
    }

    /// All sessions, oldest first. One that is being made or dropped is none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn sessions(&self) -> Result<Vec<Told>, VaultError> {
        let mut all = Vec::new();
        for name in self.names()? {
            match self.told(&name) {
                Ok(told) => all.push(told),
                Err(VaultError::NoSession { .. } | VaultError::BadName { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        all.sort_by(|a, b| (a.start.at, &a.start.session).cmp(&(b.start.at, &b.start.session)));
        Ok(all)
    }

    /// One session.
    ///
    /// # Errors
    /// There is none of this name, it is of a later agentbox, or the kernel's.
    pub fn told(&self, name: &str) -> Result<Told, VaultError> {
        let none = || VaultError::NoSession { name: name.to_owned(), path: self.path().to_owned() };
        let session = self.session_folder(name)?;
        let running = matches!(life(session.as_fd(), Looking::Together).map_err(errno("locking a journal", self.path()))?, Life::Running);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let journal = match fs::openat(&session, JOURNAL, flags, Mode::empty()) {
            Ok(journal) => File::from(journal),
            Err(Errno::NOENT) => return Err(none()),
            Err(error) => return Err(errno("opening a journal", self.path())(error)),
        };
        let mut records = journal::read(&journal).map_err(io_error("reading a journal", self.path()))?.records.into_iter();
        let Some(Record::Start(start)) = records.next() else { return Err(none()) };
        if start.format != FORMAT {
            return Err(VaultError::Format { name: name.to_owned(), found: start.format });
        }
        let mut records: Vec<Record> = records.collect();
        let end = records.iter().rev().find_map(|record| if let Record::End { at } = record { Some(*at) } else { None });
        let state = match (running, end) {
            (true, None) => State::Running,
            (_, Some(at)) => State::Ended(at),
            (false, None) => State::Died,
        };
        // What was never synced may have lost its object to a power cut, and is listed only where it did not.
        let unsynced = if start.boot == boot() { records.len() } else { records.iter().rposition(|record| *record == Record::Synced).unwrap_or(0) };
        let hashed: HashSet<u64> = records.iter().filter_map(|record| if let Record::Hashed { number, .. } = record { Some(*number) } else { None }).collect();
        let mut missing = 0;
        let mut number = 0;
        records.retain(|record| {
            number += 1;
            let stays = number <= unsynced || whole(session.as_fd(), record, &hashed);
            missing += u64::from(!stays);
            stays
        });
        Ok(Told { start, records, state, missing })
    }
}

/// Whether the object of a record is there with its size and time. One that was hashed may share its inode with another content's
/// object: its time says nothing.
fn whole(session: BorrowedFd<'_>, record: &Record, hashed: &HashSet<u64>) -> bool {
    let Record::Kept { facts: kept, body: Body::Object { number, .. }, .. } = record else { return true };
    let name = object_name(*number);
    let same = |now: &Facts| now.size == kept.size && (now.mtime == kept.mtime || hashed.contains(number));
    facts::look_at(session, OsStr::new(&name)).is_ok_and(|(_, now)| same(&now))
}
