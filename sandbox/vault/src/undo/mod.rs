//! Bringing back what a session destroyed: first a plan, which changes nothing, then its steps, each checked again where it is done.
//!
//! Paths are followed from the root directory without any symbolic link, so that nothing that a session left on the way leads a
//! restored file elsewhere. What is overwritten is kept first, in a session of its own: an undo can be undone.

mod apply;
mod clear;
mod content;
mod elsewhere;
mod place;
mod plan;
mod scan;
mod set;
mod sides;

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::{self, Mode, OFlags};

pub use apply::{Report, Ruling};
pub use sides::Side;

use crate::{
    error::VaultError,
    facts::{Identity, Kind},
    history::History,
    record::{Start, Way},
    sessions::{State, Told},
    vault::{Vault, errno},
};

/// What is to become of what the session made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It stays, but where something from before stood.
    Stays,
    /// It goes too, and is kept.
    Goes,
}

/// What of a session is brought back.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Only what was done since, in milliseconds since 1970.
    pub since: u64,
    /// Only these paths and what is below them; all when there are none.
    pub only: Vec<PathBuf>,
    /// What is to become of what the session made.
    pub made: Made,
}

impl Default for Choice {
    fn default() -> Self {
        Self { since: 0, only: Vec::new(), made: Made::Stays }
    }
}

impl Choice {
    fn has(&self, path: &Path) -> bool {
        self.only.is_empty() || self.only.iter().any(|chosen| path.starts_with(chosen))
    }
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Makes the thing anew from what was kept.
    Restore {
        /// Its kind.
        kind: Kind,
        /// How its content was kept, if it has one.
        way: Option<Way>,
    },
    /// Writes the kept content into the inode, which stands there itself.
    Rewrite,
    /// Gives what stands elsewhere this name again.
    Link {
        /// Another of its names.
        to: PathBuf,
    },
    /// Renames the thing back.
    MoveBack {
        /// From where it is now.
        from: PathBuf,
    },
    /// Sets mode, owner, times and attributes back.
    Facts,
    /// Takes away what the session made.
    TakeAway,
}

/// What stands in the way of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Nothing,
    /// What the session left there, unchanged since.
    Own,
    /// Something that is not from the session, or was changed since: a person is asked.
    Other,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub deed: Deed,
    /// What stands there, and is overwritten (and kept).
    pub standing: Standing,
    /// Bytes of content that come back.
    pub bytes: u64,
    /// The inode from before the session.
    pub(crate) id: Identity,
    /// Where that is which will be at the path when all renames are done.
    pub(crate) at: PathBuf,
    /// Which inode stands there, when it was planned.
    pub(crate) stands: Option<Identity>,
}

impl Step {
    /// Whether something appears at the path by it.
    pub(crate) fn makes(&self) -> bool {
        match self.deed {
            Deed::Restore { .. } | Deed::MoveBack { .. } | Deed::Link { .. } => true,
            Deed::Rewrite | Deed::Facts | Deed::TakeAway => false,
        }
    }
}

/// What is to be done, in order.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// What cannot be brought back, and why.
    pub hopeless: Vec<(PathBuf, String)>,
    /// Folders that get their times back, when all is done.
    pub(crate) folders: Vec<(PathBuf, Identity)>,
    /// Names of inodes with several that no record tells of.
    pub(crate) others: BTreeMap<PathBuf, Identity>,
}

/// One session's undo.
#[derive(Debug)]
pub struct Undo {
    vault: Vault,
    told: Told,
    root: OwnedFd,
    history: History,
    choice: Choice,
}

impl Undo {
    /// Reads what a session did, and hashes what was not hashed yet.
    ///
    /// # Errors
    /// There is no such session, or the kernel's.
    pub fn of(vault: &Vault, session: &str, choice: Choice) -> Result<Self, VaultError> {
        let mut told = vault.told(session)?;
        match told.state {
            State::Running => {}
            State::Ended(_) | State::Died => {
                vault.seal(session)?;
                told = vault.told(session)?;
            }
        }
        let root = fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(errno("opening /", vault.path()))?;
        let history = History::of(&told, choice.since);
        let mut undo = Self { vault: vault.clone(), told, root, history, choice };
        undo.look_elsewhere();
        Ok(undo)
    }

    /// How the session began.
    #[must_use]
    pub fn start(&self) -> &Start {
        &self.told.start
    }

    /// Whether it is over.
    #[must_use]
    pub fn state(&self) -> State {
        self.told.state
    }
}
