//! The ledger's words: entries, each sealed to the one before, and the only door from a grant to a permit.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{
    Digest, Effect, Granted, Permit, Refusal, RefusalKind,
    permit::LIFETIME,
    ruling::{Proof, Ruling},
    verdict::Because,
};

/// Whether an entry must be on disk before the deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On disk before `append` returns: all that was held, destroys, is opaque, or writes with an issued credential.
    Synced,
    /// Follows within 100 ms in a group.
    Grouped,
}

/// What an entry tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A box began.
    SessionStarted,
    /// A box ended.
    SessionEnded,
    /// The request may happen.
    Allowed,
    /// The request may not happen.
    Denied,
    /// The request waits for a person.
    Held,
    /// A person said yes; the permit is made.
    Approved,
    /// The permitted request is about to be sent.
    Begun,
    /// What was allowed to happen did not: the asker had gone, the world had changed, or it failed.
    Voided,
    /// Something that people should know, told in `note`.
    Noted,
}

/// A signed ruling, so that anybody can check it later with `ssh-keygen -Y verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The very text that was signed.
    pub statement: String,
    /// The armoured signature.
    pub signature: String,
}

impl Signed {
    /// Those of `rulings` that are signed.
    #[must_use]
    pub fn of(rulings: &[Ruling]) -> Vec<Self> {
        let signed = |ruling: &Ruling| match &ruling.proof {
            Proof::Peer => None,
            Proof::Signed { statement, signature, .. } => Some(Self { statement: statement.clone(), signature: signature.clone() }),
        };
        rulings.iter().filter_map(signed).collect()
    }
}

/// What is written of one decision; the keeper of the ledger adds number, time and seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// What happened.
    pub event: Event,
    /// Which box.
    pub session: String,
    /// The request's digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// `POST https://…`, made safe.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Each operation as `effect action resource`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<String>,
    /// Which place, rule and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<Because>,
    /// Who said yes or no, through which channel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rulings: Vec<String>,
    /// The signatures of those rulings that are signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Signed>,
    /// The hold's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// Anything else, made safe.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Draft {
    /// An empty draft of one event in one box.
    #[must_use]
    pub fn new(event: Event, session: &str) -> Self {
        Self {
            event,
            session: session.to_owned(),
            digest: None,
            summary: String::new(),
            operations: Vec::new(),
            because: None,
            rulings: Vec::new(),
            signatures: Vec::new(),
            hold: None,
            note: String::new(),
        }
    }

    /// A draft that tells of a request.
    #[must_use]
    pub fn of(event: Event, session: &str, request: &crate::Request, because: &Because) -> Self {
        Self {
            digest: Some(request.digest),
            summary: crate::safe::line(&request.evidence.summary, 300),
            operations: request.operations.iter().take(64).map(|o| format!("{} {} {}", o.effect, o.action, o.resource.id)).collect(),
            because: Some(because.clone()),
            ..Self::new(event, session)
        }
    }
}

/// A sealed entry: one line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Number, from 1, without gaps.
    pub sequence: u64,
    /// Unix time in milliseconds.
    pub at: u64,
    /// What is told.
    #[serde(flatten)]
    pub draft: Draft,
    /// Seal of the entry before; 64 zeros for the first.
    pub previous: String,
    /// BLAKE3 over this entry's JSON with `seal` empty.
    pub seal: String,
}

impl Entry {
    /// Seals a draft to the entry before it.
    #[must_use]
    pub fn seal(draft: Draft, sequence: u64, at: u64, previous: &str) -> Self {
        Self::seal_line(draft, sequence, at, previous).0
    }

    /// The same, and the entry's line without its end: where there are thousands in a second, each is spelt once.
    #[must_use]
    pub fn seal_line(draft: Draft, sequence: u64, at: u64, previous: &str) -> (Self, Vec<u8>) {
        let mut entry = Self { sequence, at, draft, previous: previous.to_owned(), seal: String::new() };
        let mut line = serde_json::to_vec(&entry).unwrap_or_default();
        entry.seal = blake3::hash(&line).to_hex().to_string();
        // The seal comes last: `…,"seal":""}`.
        line.truncate(line.len().saturating_sub(2));
        line.extend_from_slice(entry.seal.as_bytes());
        line.extend_from_slice(b"\"}");
        (entry, line)
    }

    /// What the seal must be.
    #[must_use]
    pub fn compute_seal(&self) -> String {
        let bare = Self { seal: String::new(), ..self.clone() };
        let json = serde_json::to_vec(&bare).unwrap_or_default();
        blake3::hash(&json).to_hex().to_string()
    }
}

/// Seal before the first entry.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// An entry could not be written, so nothing may happen.
#[derive(Debug, thiserror::Error)]
#[error("the ledger cannot be written: {0}")]
pub struct NotWritten(pub String);

/// Where entries go. The I/O is the implementor's.
pub trait Journal {
    /// Appends an entry, and returns its number once it is as durable as asked.
    ///
    /// # Errors
    /// Nothing may happen that this entry would have allowed.
    fn append(&mut self, draft: Draft, durability: Durability) -> Result<u64, NotWritten>;
}

/// How durable the entry of a grant must be before the deed.
#[must_use]
pub fn durability(granted: &Granted) -> Durability {
    let request = granted.request();
    let worst = request.worst().map_or(Effect::Opaque, |operation| operation.effect);
    let issued = request.evidence.credentials.iter().any(|credential| credential.issued);
    if !granted.rulings().is_empty() || worst.may_destroy() || (worst == Effect::Write && issued) { Durability::Synced } else { Durability::Grouped }
}

/// Writes a grant to the ledger and makes the permit for its deed: the only way to a [`Permit`].
///
/// # Errors
/// The ledger could not be written: refused.
pub fn commit(granted: Granted, session: &str, journal: &mut dyn Journal) -> Result<Permit, Refusal> {
    let durability = durability(&granted);
    let (request, because, rulings) = granted.into_parts();
    let event = if rulings.is_empty() { Event::Allowed } else { Event::Approved };
    let mut draft = Draft::of(event, session, &request, &because);
    draft.rulings = rulings.iter().map(|r| format!("{} by {}", r.approver, r.channel)).collect();
    draft.signatures = Signed::of(&rulings);
    match journal.append(draft, durability) {
        Ok(sequence) => Ok(Permit::new(request.digest, sequence, SystemTime::now() + LIFETIME)),
        Err(error) => Err(Refusal {
            kind: RefusalKind::Failed,
            operation: because.action,
            place: because.place,
            reason: error.to_string(),
            guidance: "Nothing was sent. Tell the person who started this box: the ledger must be writable before anything may happen.".to_owned(),
            approval_id: None,
        }),
    }
}
