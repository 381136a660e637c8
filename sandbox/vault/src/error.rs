//! How the vault fails.

use std::{io, path::PathBuf};

use rustix::io::Errno;

/// Why the vault itself cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A system call on the vault's own files.
    #[error("the vault {}: {what}", path.display())]
    Io {
        /// What was tried, in words.
        what: &'static str,
        /// The vault's folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others could reach what is kept.
    #[error("the vault {} cannot be trusted: {problem}", path.display())]
    Open {
        /// The vault's folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A name that no session has.
    #[error("{name:?} is no name of a session: 1 to 64 small letters, digits and hyphens")]
    BadName {
        /// The name.
        name: String,
    },
    /// There is no such session.
    #[error("no session {name} in the vault {}", path.display())]
    NoSession {
        /// Its name.
        name: String,
        /// The vault's folder.
        path: PathBuf,
    },
    /// It is of a later agentbox.
    #[error("the journal of session {name} is of format {found}; this agentbox reads {}", crate::record::FORMAT)]
    Format {
        /// The session's name.
        name: String,
        /// Its format.
        found: u32,
    },
    /// No place for a vault.
    #[error("no place for the vault: {0}")]
    Nowhere(String),
}

/// A thing that could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("not kept: {why}")]
pub struct NotKept {
    /// Why not.
    #[source]
    pub why: Why,
}

/// Why a thing could not be kept. The words are for the card: they follow "not kept: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// One file beyond the largest that is copied.
    #[error("{bytes} bytes, more than the {most} that are copied at most, and it can be neither reflinked nor linked ({because})")]
    TooBig {
        /// Its bytes on disk.
        bytes: u64,
        /// The limit.
        most: u64,
        /// Why no cheaper way was open.
        because: String,
    },
    /// All copies of this session together.
    #[error("the {most} bytes that a session may copy are used up")]
    CopiesUsedUp {
        /// The limit.
        most: u64,
    },
    /// The vault's budget is used up by what must not go yet.
    #[error("the vault's budget of {budget} bytes is used up by sessions that are to stay")]
    OverBudget {
        /// The limit.
        budget: u64,
    },
    /// The file system is nearly full.
    #[error("only {free} bytes are free on the vault's file system, and {floor} are left alone")]
    DiskFull {
        /// Free bytes.
        free: u64,
        /// What is left alone.
        floor: u64,
    },
    /// It may not be read by the user that agentbox runs as.
    #[error("it cannot be read ({0})")]
    Unreadable(Errno),
    /// Somebody writes to it all the time.
    #[error("it changes while it is read")]
    Changing,
    /// It would have to be copied, and whoever asked cannot wait for that.
    #[error("it would take long to copy it")]
    TakesLong,
    /// Kinds of file that cannot be kept.
    #[error("{0}")]
    Kind(&'static str),
    /// A system call failed.
    #[error("{what}: {error}")]
    Io {
        /// What was tried, in words.
        what: &'static str,
        /// The kernel's answer.
        error: Errno,
    },
    /// The journal cannot be written: nothing is kept any more.
    #[error("the vault's journal cannot be written: {0}")]
    Journal(String),
}

impl Why {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(Errno) -> Self {
        move |error| Self::Io { what, error }
    }
}

impl From<Why> for NotKept {
    fn from(why: Why) -> Self {
        Self { why }
    }
}
