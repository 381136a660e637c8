//! The ledger: every decision in one append-only file of JSON lines, each sealed to the one before, shared by all boxes of a user.
//!
//! Three promises. What was asked to be `Synced` is on disk before `append` returns. What is anchored (count, length and seal of the
//! head, in a second file) cannot be changed, cut or reordered without `log --verify` seeing it. And when nothing can be written,
//! nothing happens: the caller gets `NotWritten`. Against somebody who already is this user outside every box, and rewrites both files,
//! only signed checkpoints help; this version has none. There is no rotation yet: the file grows, and is always read line by line.

mod anchor;
mod chain;
mod place;
pub(crate) mod read;
mod writer;

#[cfg(test)]
mod tests;

use std::{io, path::PathBuf};

pub(crate) use place::folder;
pub(crate) use writer::Ledger;

/// Longest entry in bytes. The longest honest one names 64 operations.
pub(crate) const LONGEST_LINE: usize = 128 * 1024;

/// The file of entries, in the ledger's folder.
pub(crate) const ENTRIES: &str = "ledger.jsonl";

/// The file that anchors their head.
pub(crate) const ANCHOR: &str = "ledger.anchor";

/// Why the ledger cannot be used. Then no box may run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// Neither variable says where it lies.
    #[error("neither XDG_STATE_HOME nor HOME says where the ledger may lie: set HOME to a folder of yours")]
    Nowhere,
    /// A call failed.
    #[error("the ledger: {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Others could write it.
    #[error("the ledger's folder {}: {problem}; it must belong to you, with mode 0700", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It is not as it was left.
    #[error("the ledger is broken: {0}; see `agentbox log --verify`. To go on, move its folder aside and keep it")]
    Broken(String),
    /// An entry could not be appended.
    #[error("the ledger cannot be written: {0}")]
    NotWritten(String),
}
