//! What a session's journal says, one record an event.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::{
    bytes::Bytes,
    facts::{Facts, Identity, Kind, Stamp},
};

/// Number of the journal's format.
pub(crate) const FORMAT: u32 = 1;

/// What a deed does to the thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// A name goes: unlink, rmdir, a rename over it. With the last one the content goes too.
    Name,
    /// The inode stays and its content may change: an open for writing, truncate, a hole punched.
    Content,
}

/// By which way a content was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// A copy that shares its blocks.
    Reflink,
    /// The inode itself, under a name in the vault.
    Link,
    /// A copy.
    Copy,
}

/// BLAKE3 of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        blake3::Hash::from_hex(text.as_bytes()).map(Self::from).map_err(serde::de::Error::custom)
    }
}

/// Where the content of a kept thing is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// It had none: an empty file, a folder, a FIFO, a socket, a device.
    None,
    /// A symbolic link's target.
    Target(Bytes),
    /// An object of the session, by number.
    Object {
        /// Its number.
        number: u64,
        /// How it was kept.
        way: Way,
        /// What it must hash to, where that was known at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
    },
}

/// What stood at a path when the session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Print {
    /// Which inode.
    pub id: Identity,
    /// Which kind.
    pub kind: Kind,
    /// Bytes of content.
    pub size: u64,
    /// Last change of the content.
    pub mtime: Stamp,
    /// Last change of anything.
    pub ctime: Stamp,
}

impl Print {
    pub(crate) fn of(id: Identity, facts: &Facts) -> Self {
        Self { id, kind: facts.kind, size: facts.size, mtime: facts.mtime, ctime: facts.ctime }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum Record {
    /// The first.
    Start(Start),
    /// The first version of an inode was kept.
    Kept {
        /// Milliseconds since 1970.
        at: u64,
        /// Its path at that time.
        path: Bytes,
        /// Which inode.
        id: Identity,
        /// What the deed was about to do.
        loss: Loss,
        /// All but the content.
        facts: Facts,
        /// The content.
        body: Body,
    },
    /// An inode that is kept already lost a name, or was written to, at another path or again.
    Again {
        /// Milliseconds since 1970.
        at: u64,
        /// Its path at that time.
        path: Bytes,
        /// Which inode.
        id: Identity,
        /// What the deed was about to do.
        loss: Loss,
    },
    /// Something was lost that could not be kept.
    Lost {
        /// Milliseconds since 1970.
        at: u64,
        /// Its path at that time.
        path: Bytes,
        /// Which inode.
        id: Identity,
        /// What the deed was about to do.
        loss: Loss,
        /// All but the content.
        facts: Facts,
        /// Why it was not kept.
        why: String,
    },
    /// Mode, owner, times or attributes before they first changed.
    Facts {
        /// Milliseconds since 1970.
        at: u64,
        /// Its path at that time.
        path: Bytes,
        /// Which inode.
        id: Identity,
        /// As they were.
        facts: Facts,
    },
    /// A folder before the first loss in it: its own times change with that.
    Folder {
        /// Milliseconds since 1970.
        at: u64,
        /// Its path at that time.
        path: Bytes,
        /// Which inode.
        id: Identity,
        /// As they were.
        facts: Facts,
    },
    /// Something older than the session, or a folder, was renamed.
    Moved {
        /// Milliseconds since 1970.
        at: u64,
        /// From.
        from: Bytes,
        /// To.
        to: Bytes,
        /// Which inode.
        id: Identity,
        /// Whether it was there before the session.
        age: Age,
        /// Which kind.
        kind: Kind,
    },
    /// Two things changed places.
    Exchanged {
        /// Milliseconds since 1970.
        at: u64,
        /// One path, and what stood there.
        one: (Bytes, Identity, Age, Kind),
        /// The other.
        other: (Bytes, Identity, Age, Kind),
    },
    /// An inode got another name.
    Linked {
        /// Milliseconds since 1970.
        at: u64,
        /// The new name.
        path: Bytes,
        /// Which inode.
        id: Identity,
    },
    /// Something was made. Most of what a session makes is not told: it is found by its birth time.
    Made {
        /// Milliseconds since 1970.
        at: u64,
        /// Where.
        path: Bytes,
    },
    /// The deed that the last record with this path and inode was for did not happen.
    Undone {
        /// Its path.
        path: Bytes,
        /// Which inode.
        id: Identity,
    },
    /// These sessions were dropped, because their room was needed and their time had come.
    Room {
        /// Milliseconds since 1970.
        at: u64,
        /// Their names.
        sessions: Vec<String>,
    },
    /// Everything above is on disk.
    Synced,
    /// What an object hashes to.
    Hashed {
        /// Its number.
        number: u64,
        /// BLAKE3.
        digest: Digest,
    },
    /// What stood at a path when the session ended; nothing where it is absent.
    Left {
        /// Where.
        path: Bytes,
        /// What.
        print: Option<Print>,
    },
    /// The last.
    End {
        /// Milliseconds since 1970.
        at: u64,
    },
    /// Somebody brought things of this session back.
    Restored {
        /// Milliseconds since 1970.
        at: u64,
        /// The session that keeps what was overwritten.
        by: String,
    },
}

impl Record {
    /// The paths that something was done to.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Bytes> {
        let (one, other) = match self {
            Self::Kept { path, .. }
            | Self::Again { path, .. }
            | Self::Lost { path, .. }
            | Self::Facts { path, .. }
            | Self::Linked { path, .. }
            | Self::Made { path, .. } => (Some(path), None),
            Self::Moved { from, to, .. } => (Some(from), Some(to)),
            Self::Exchanged { one, other, .. } => (Some(&one.0), Some(&other.0)),
            Self::Start(_)
            | Self::Folder { .. }
            | Self::Undone { .. }
            | Self::Room { .. }
            | Self::Synced
            | Self::Hashed { .. }
            | Self::Left { .. }
            | Self::End { .. }
            | Self::Restored { .. } => (None, None),
        };
        one.into_iter().chain(other)
    }

    /// When the session did what it tells of.
    pub(crate) fn at(&self) -> Option<u64> {
        match self {
            Self::Kept { at, .. }
            | Self::Again { at, .. }
            | Self::Lost { at, .. }
            | Self::Facts { at, .. }
            | Self::Folder { at, .. }
            | Self::Moved { at, .. }
            | Self::Exchanged { at, .. }
            | Self::Linked { at, .. }
            | Self::Made { at, .. } => Some(*at),
            Self::Start(_)
            | Self::Undone { .. }
            | Self::Room { .. }
            | Self::Synced
            | Self::Hashed { .. }
            | Self::Left { .. }
            | Self::End { .. }
            | Self::Restored { .. } => None,
        }
    }
}

/// Whether something was there before the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Age {
    /// It was.
    Old,
    /// The session made it.
    Born,
}

/// How a journal begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Number of the journal's format.
    pub format: u32,
    /// The session's name.
    pub session: String,
    /// Milliseconds since 1970.
    pub at: u64,
    /// By the file system's own clock: what was born later is the session's.
    pub after: Stamp,
    /// Which boot of the machine, where it is known: what was synced only by luck is looked at again after another.
    pub boot: String,
    /// The trees that the session may change.
    pub roots: Vec<Bytes>,
    /// What ran, for people.
    pub about: String,
    /// The session that this one undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
