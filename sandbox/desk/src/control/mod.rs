//! The control socket: how a person in another terminal of the same user reaches the desk of a running box.
//!
//! Who is let in: a process with the supervisor's own uid, in the supervisor's own PID and user namespaces. A process in a box has
//! neither namespace (nor does it see the socket's folder), so an agent cannot rule on its own holds. A process of the same uid
//! *outside* every box is not told apart from a person in this version: that takes signed rulings.

mod client;
mod folder;
mod peer;
mod serve;

#[cfg(test)]
mod tests;

use agentbox_core::{Digest, Refusal};
use serde::{Deserialize, Serialize};

use crate::{Card, HoldId, card::Row, room::Ruled};
pub use client::{Session, call, sessions};
pub use folder::{BadFolder, Door, Folder};
pub use peer::{Peer, Stranger};
pub use serve::{Call, Knock, serve};

/// Which of this user's programs brings a ruling. It is that program's own word, and nothing hangs on it but what the ledger tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// `agentbox approve`, `deny`, `holds --watch`.
    Terminal,
    /// `agentbox web`.
    Web,
}

impl Via {
    /// As rulings name it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Web => "web",
        }
    }
}

/// Longest reason that is taken over the socket, in bytes; the room cuts it further.
pub const LONGEST_TEXT: usize = 4096;

/// Rows in one list: the longest rows that a hostile name can make, so many, fit a message.
pub const MOST_ROWS: usize = 200;

/// Addresses in one question: the longest names that there can be, so many, fit a message.
pub const MOST_NAMES: usize = 256;

/// How long either end waits for a whole message of the other. Both are on this machine, and a ruling takes one fsync.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Terminal to desk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToDesk {
    /// All that waits.
    List,
    /// One card.
    Show {
        /// Which.
        id: HoldId,
    },
    /// Yes.
    Approve {
        /// Which.
        id: HoldId,
        /// The digest of the card that the person was shown.
        card: Digest,
        /// The name, where it must be typed.
        typed: Option<String>,
        /// Seconds for which the yes covers its kind in its place; `None` for this once.
        lasting: Option<u64>,
        /// What brings it.
        via: Via,
        /// The armoured signature of the card's [`statement`](crate::signature::statement).
        signature: Option<String>,
    },
    /// No, because …
    Deny {
        /// Which.
        id: HoldId,
        /// Reaches the agent. May be empty.
        because: String,
        /// What brings it.
        via: Via,
    },
    /// What was refused last.
    Why,
    /// What the box is.
    Describe,
    /// Which names these addresses stand for in the box; [`MOST_NAMES`] at most.
    Names {
        /// As the box sees them.
        addresses: Vec<std::net::IpAddr>,
    },
    /// End it.
    Stop,
    /// Let it go on where it was frozen.
    Resume,
    /// End every yes for a kind.
    Revoke,
    /// The credentials of the box.
    Credentials,
    /// This one may not be used any more.
    EndCredential {
        /// Its name in the policy.
        name: String,
    },
}

/// How a box is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoxState {
    /// It runs.
    Running,
    /// It was stopped where it is, since much was destroyed in it within seconds.
    Frozen,
}

/// A running box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its name.
    pub session: String,
    /// What was started, made safe and cut.
    pub command: String,
    /// The folder that it works in, made safe.
    pub workspace: String,
    /// Its supervisor's process.
    pub pid: u32,
    /// Unix time in seconds.
    pub started: u64,
    /// How it is.
    pub state: BoxState,
    /// Nobody is asked.
    pub unattended: bool,
    /// The kinds that people let pass for a time, and seconds that are left of each.
    pub leases: Vec<(String, u64)>,
    /// How many operations wait.
    pub holds: usize,
    /// How many were refused.
    pub refused: usize,
}

/// A credential of a running box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lent {
    /// Its name in the policy.
    pub name: String,
    /// The hosts that it is for.
    pub hosts: Vec<String>,
    /// What it may be used for: effects and actions.
    pub allow: Vec<String>,
    /// Seconds that are left; `None` where it lasts as long as the box.
    pub left: Option<u64>,
    /// A person ended it.
    pub ended: bool,
    /// Requests that it was put into.
    pub used: u64,
}

/// Something that was refused, for `why` and the summary at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// Unix time in milliseconds.
    pub at: u64,
    /// `POST https://…`, made safe.
    pub summary: String,
    /// The rule that decided, with its file.
    pub rule: String,
    /// What the agent was told.
    pub refusal: Refusal,
}

/// Desk to terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromDesk {
    /// All that waits, oldest first.
    Holds {
        /// At most [`MOST_ROWS`].
        rows: Vec<Row>,
        /// How many more there are.
        more: usize,
    },
    /// One card.
    Card(Box<Card>),
    /// The ruling was taken.
    Ruled(RuledWord),
    /// Newest last.
    Refused(Vec<Past>),
    /// What the box is.
    Running(Box<Running>),
    /// It was done: one sentence.
    Done(String),
    /// By name.
    Credentials(Vec<Lent>),
    /// It was not: one sentence.
    No(String),
    /// The name of each address, in order, where one stands for it.
    Names(Vec<Option<String>>),
}

/// What a ruling did, on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuledWord {
    /// It is looked at once more and then sent.
    Approved,
    /// The next identical request passes, once.
    Kept {
        /// Seconds that it is kept.
        seconds: u64,
    },
    /// More people must say yes.
    NeedsMore {
        /// Different people so far.
        have: usize,
        /// Different people wanted.
        want: u8,
    },
    /// It is refused.
    Denied,
}

impl From<Ruled> for RuledWord {
    fn from(ruled: Ruled) -> Self {
        match ruled {
            Ruled::Approved => Self::Approved,
            Ruled::Kept { lasts } => Self::Kept { seconds: lasts.as_secs() },
            Ruled::NeedsMore { have, want } => Self::NeedsMore { have, want },
            Ruled::Denied => Self::Denied,
        }
    }
}
