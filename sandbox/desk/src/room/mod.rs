//! The waiting room: who waits for which ruling. A pure state machine that is told the time; it does no I/O.
//!
//! One entry a digest. An entry goes `Waiting → Looking → Passing`, or rests as `Kept` while nobody asks:
//!
//! ```text
//! arrive ──▶ Waiting ──ruling──▶ Looking ──same──▶ Passing ──spent──▶ (ended; the others are told `already_done`)
//!               │                 ▲   │ nobody there      └──lost───▶ (ended; the others are told to ask again)
//!        no, or silence           │   ▼
//!               ▼              arrive Kept ──its time ends──▶ (ended)
//!            (ended)              └───┘
//! ```
//! The one `Granted` of an entry moves from state to state by value, so that no order of events can hand it out twice.

mod entry;
mod words;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use agentbox_core::{
    Digest, Granted, Hold, Lease, Refusal, Request,
    permit::LIFETIME,
    ruling::{Decision, Ruling},
    safe,
    verdict::{Because, Unsettled},
};

use crate::HoldId;
use entry::{Entry, State, Waiter};
pub use entry::{Phase, Waits};

/// Names one asker: the broker's number of the question, unique in the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asker(pub u64);

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Holds at once. More are refused, so that a flood of questions cannot bury the one that matters.
    pub holds: usize,
    /// Holds of one kind (the same action in the same place) at once. More are refused, and counted on the last card of the kind.
    pub alike: usize,
    /// Askers that share one hold.
    pub askers: usize,
    /// How long one asker waits before it is told "pending".
    pub client_patience: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { holds: 32, alike: 8, askers: 64, client_patience: Duration::from_secs(100) }
    }
}

/// An approval that nobody waits for any more is kept at least so long, or a late yes would be worth nothing.
pub const SHORTEST_PASSAGE: Duration = Duration::from_secs(5 * 60);

/// How long a chosen asker may take to redeem. Twice a permit's life: a permit redeemed in its last moment is still being written down.
pub const PASSING: Duration = Duration::from_secs(LIFETIME.as_secs() * 2);

/// Longest reason of a person that is kept, in characters.
pub const LONGEST_REASON: usize = 400;

/// How an entry ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Nobody said anything in time.
    Silence,
    /// A person said no.
    Denied {
        /// Who.
        by: String,
        /// Through which channel.
        channel: String,
        /// Why, made safe.
        because: String,
    },
    /// Approved, but the world was worse when it was looked at again.
    Voided(String),
    /// Approved and redeemed.
    Spent,
    /// Approved, but the chosen asker had gone or could not redeem it.
    Lost(String),
    /// Approved, and never asked for again.
    Forgotten,
    /// The box ended, was interrupted, or the hold could not be written down.
    Stopped(String),
}

/// An entry that is over, for the ledger.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its name.
    pub id: HoldId,
    /// What was asked.
    pub request: Request,
    /// Why it was held.
    pub because: Because,
    /// How it ended.
    pub how: End,
}

/// What the caller must do now, in this order.
#[derive(Debug)]
#[must_use = "an asker waits for this"]
pub enum Deed {
    /// A new hold: write it down, then tell people.
    Opened(HoldId),
    /// The asker joined a hold that is there already.
    Joined(HoldId, Asker),
    /// Tell the asker no. It has left the room.
    Refuse(Asker, Refusal),
    /// Look at the world again, then call [`WaitingRoom::looked`].
    LookAgain(HoldId),
    /// Write this down and let this one asker through; then call [`WaitingRoom::spent`] or [`WaitingRoom::lost`].
    Pass(HoldId, Asker, Box<Granted>),
    /// Those who approved it said so of its kind: write it down, then let more of it pass.
    Leased(HoldId, Box<Lease>),
    /// For the ledger.
    Ended(Box<Ended>),
}

/// What a ruling did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruled {
    /// Enough people have said yes and somebody waits for it.
    Approved,
    /// Enough people have said yes; nobody waits at the moment, so the next identical request passes, once.
    Kept {
        /// For so long.
        lasts: Duration,
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

/// Why a ruling was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRuled {
    /// There is no such hold (any more).
    #[error("nothing waits under the name {0}; `agentbox holds` lists what does")]
    Unknown(HoldId),
    /// It was approved before.
    #[error("{0} is approved already")]
    AlreadyApproved(HoldId),
    /// It is on its way.
    #[error("{0} is being sent at this moment; it is too late to stop it here")]
    TooLate(HoldId),
    /// The ruling does not fit the card.
    #[error("{0}")]
    Unfit(Unsettled),
}

/// Where bits for names come from; `None` when the kernel gives none.
pub type Bits = Box<dyn FnMut() -> Option<u32> + Send>;

/// The kernel's random bits.
#[must_use]
pub fn kernel_bits() -> Bits {
    Box::new(|| getrandom::u32().ok())
}

/// Names are drawn so often before the room gives up: with 32 entries in 2^30 names a second draw is already rare.
const DRAWS: usize = 8;

/// Who waits for which ruling.
pub struct WaitingRoom {
    bounds: Bounds,
    bits: Bits,
    /// In the order of arrival; at most `bounds.holds`.
    entries: Vec<Entry>,
}

impl std::fmt::Debug for WaitingRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitingRoom").field("bounds", &self.bounds).field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

impl WaitingRoom {
    /// An empty room.
    #[must_use]
    pub fn new(bounds: Bounds, bits: Bits) -> Self {
        Self { bounds, bits, entries: Vec::new() }
    }

    /// An asker comes with what the policy wants a person to rule on. It is answered exactly once, by a later deed at the latest.
    pub fn arrive(&mut self, hold: Hold, asker: Asker, now: Instant) -> Vec<Deed> {
        let mut deeds = self.tick(now);
        if self.entries.iter().any(|entry| entry.has(asker)) {
            // The number is the asker's name; two of the same could not be told apart when one goes.
            deeds.push(Deed::Refuse(asker, words::number_taken(hold.because())));
            return deeds;
        }
        let waiter = Waiter { asker, until: now + self.bounds.client_patience };
        match self.entries.iter().position(|entry| entry.digest() == hold.request().digest) {
            Some(at) => {
                let (entry, more) = self.entries.remove(at).join(&hold, waiter, self.bounds.askers);
                self.entries.insert(at, entry);
                deeds.extend(more);
            }
            None => deeds.extend(self.open(hold, waiter, now)),
        }
        deeds
    }

    /// Whether it would be one more on a person's list: it joins none that is there, is not folded, and there is room for it.
    #[must_use]
    pub fn would_open(&self, hold: &Hold) -> bool {
        let joins = self.entries.iter().any(|entry| entry.digest() == hold.request().digest);
        !joins && !self.is_folded(hold.because()) && self.entries.len() < self.bounds.holds
    }

    fn is_folded(&self, because: &Because) -> bool {
        self.entries.iter().filter(|entry| entry.is_one_more_of(because)).count() >= self.bounds.alike
    }

    fn open(&mut self, hold: Hold, waiter: Waiter, now: Instant) -> Vec<Deed> {
        if self.is_folded(hold.because()) {
            let last = self.entries.iter_mut().rfind(|entry| entry.is_one_more_of(hold.because()));
            if let Some(last) = last {
                last.folded = last.folded.saturating_add(1);
            }
            return vec![Deed::Refuse(waiter.asker, words::too_many_alike(hold.because(), self.bounds.alike))];
        }
        if self.entries.len() >= self.bounds.holds {
            return vec![Deed::Refuse(waiter.asker, words::too_many(hold.because(), self.bounds.holds))];
        }
        let Some((id, nonce)) = self.draw().zip(self.nonce()) else {
            return vec![Deed::Refuse(waiter.asker, words::nameless(hold.because()))];
        };
        self.entries.push(Entry::new(id.clone(), nonce, hold, waiter, now));
        vec![Deed::Opened(id)]
    }

    fn nonce(&mut self) -> Option<String> {
        let mut nonce = String::with_capacity(32);
        for _ in 0..4 {
            nonce.push_str(&format!("{:08x}", (self.bits)()?));
        }
        Some(nonce)
    }

    fn draw(&mut self) -> Option<HoldId> {
        for _ in 0..DRAWS {
            let id = HoldId::spell((self.bits)()?);
            if !self.entries.iter().any(|entry| entry.id == id) {
                return Some(id);
            }
        }
        None
    }

    /// A person's word on a hold. The deeds must be done whether or not the word was taken: time itself may have brought some.
    pub fn rule(&mut self, id: &HoldId, ruling: Ruling, now: Instant) -> (Result<Ruled, NotRuled>, Vec<Deed>) {
        let mut deeds = self.tick(now);
        let Some(at) = self.at(id) else { return (Err(NotRuled::Unknown(id.clone())), deeds) };
        let entry = self.entries.remove(at);
        if let Decision::Deny(because) = &ruling.decision {
            if matches!(entry.state, State::Passing { .. }) {
                self.entries.insert(at, entry);
                return (Err(NotRuled::TooLate(id.clone())), deeds);
            }
            let because = safe::line(because, LONGEST_REASON);
            let refusal = words::denied(&entry.because, &entry.id, &because);
            deeds.extend(entry.end(&refusal, End::Denied { by: ruling.approver, channel: ruling.channel, because }));
            return (Ok(Ruled::Denied), deeds);
        }
        let (result, entry, more) = entry.approve(ruling, now);
        self.entries.insert(at, entry);
        deeds.extend(more);
        (result, deeds)
    }

    /// The world was looked at again for an approved hold: `Err` says how it is worse than what was shown.
    pub fn looked(&mut self, id: &HoldId, found: Result<(), String>, now: Instant) -> Vec<Deed> {
        let mut deeds = self.tick(now);
        let Some(at) = self.at(id) else { return deeds };
        let mut entry = self.entries.remove(at);
        let granted = match entry.state {
            State::Looking { granted, .. } => granted,
            State::Waiting { .. } | State::Kept { .. } | State::Passing { .. } => {
                self.entries.insert(at, entry);
                return deeds;
            }
        };
        if let Err(worse) = found {
            let worse = safe::line(&worse, LONGEST_REASON);
            entry.state = State::Looking { granted };
            let refusal = words::voided(&entry.because, &entry.id, &worse);
            deeds.extend(entry.end(&refusal, End::Voided(worse)));
            return deeds;
        }
        if entry.waiters.is_empty() {
            entry.state = State::Kept { granted };
        } else {
            // The one who came first: it is the one whose command line the card showed.
            let chosen = entry.waiters.remove(0).asker;
            entry.state = State::Passing { chosen, request: Box::new(granted.request().clone()) };
            entry.expires = now + PASSING;
            deeds.push(Deed::Pass(entry.id.clone(), chosen, granted));
        }
        self.entries.insert(at, entry);
        deeds
    }

    /// The chosen asker has redeemed its permit: whoever else waits must not do it again.
    pub fn spent(&mut self, id: &HoldId) -> Vec<Deed> {
        self.finish(id, End::Spent, |entry| words::already_done(&entry.because, &entry.id))
    }

    /// The chosen asker could not redeem its permit: nothing was sent, and the approval is used up.
    pub fn lost(&mut self, id: &HoldId, why: &str) -> Vec<Deed> {
        let why = safe::line(why, LONGEST_REASON);
        self.finish(id, End::Lost(why.clone()), |entry| words::lost(&entry.because, &entry.id, &why))
    }

    fn finish(&mut self, id: &HoldId, how: End, refusal: impl FnOnce(&Entry) -> Refusal) -> Vec<Deed> {
        let Some(at) = self.at(id) else { return Vec::new() };
        if !self.entries.get(at).is_some_and(|entry| matches!(entry.state, State::Passing { .. })) {
            return Vec::new();
        }
        let entry = self.entries.remove(at);
        let refusal = refusal(&entry);
        entry.end(&refusal, how)
    }

    /// Ends one hold that cannot wait any longer, e.g. because it could not be written down.
    pub fn stop(&mut self, id: &HoldId, why: &str) -> Vec<Deed> {
        let Some(at) = self.at(id) else { return Vec::new() };
        let entry = self.entries.remove(at);
        let refusal = words::stopped(&entry.because, &entry.id, why);
        entry.end(&refusal, End::Stopped(why.to_owned()))
    }

    /// Ends all: the box ended, or its user pressed Ctrl-C.
    pub fn refuse_all(&mut self, why: &str) -> Vec<Deed> {
        let ids: Vec<HoldId> = self.entries.iter().map(|entry| entry.id.clone()).collect();
        ids.iter().flat_map(|id| self.stop(id, why)).collect()
    }

    /// The asker has gone: it never gets it, and needs no answer. Its hold stays.
    pub fn gone(&mut self, asker: Asker) {
        for entry in &mut self.entries {
            entry.waiters.retain(|waiter| waiter.asker != asker);
        }
    }

    /// What time alone brings: patience that ended.
    pub fn tick(&mut self, now: Instant) -> Vec<Deed> {
        let mut deeds = Vec::new();
        let (over, stay): (Vec<Entry>, Vec<Entry>) = self.entries.drain(..).partition(|entry| now >= entry.expires);
        self.entries = stay;
        for entry in over {
            let (refusal, how) = match entry.state {
                State::Waiting { .. } => (words::silence(&entry.because, &entry.id), End::Silence),
                State::Looking { .. } | State::Kept { .. } => (words::forgotten(&entry.because, &entry.id), End::Forgotten),
                State::Passing { .. } => {
                    let why = "its permit was not redeemed in time";
                    (words::lost(&entry.because, &entry.id, why), End::Lost(why.to_owned()))
                }
            };
            deeds.extend(entry.end(&refusal, how));
        }
        for entry in &mut self.entries {
            let (tired, patient): (Vec<Waiter>, Vec<Waiter>) = entry.waiters.drain(..).partition(|waiter| now >= waiter.until);
            entry.waiters = patient;
            deeds.extend(tired.into_iter().map(|waiter| Deed::Refuse(waiter.asker, words::pending(&entry.because, &entry.id))));
        }
        deeds
    }

    /// When [`tick`](Self::tick) has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let of = |entry: &Entry| entry.waiters.iter().map(|waiter| waiter.until).chain([entry.expires]).min();
        self.entries.iter().filter_map(of).min()
    }

    /// What a hold asks, for as long as it is in the room.
    #[must_use]
    pub fn request(&self, id: &HoldId) -> Option<&Request> {
        self.entry(id).map(Entry::request)
    }

    /// The digest of the card that rulings must name; only while it waits for them.
    #[must_use]
    pub fn card_digest(&self, id: &HoldId) -> Option<Digest> {
        match &self.entry(id)?.state {
            State::Waiting { hold, .. } => Some(hold.card_digest()),
            State::Looking { .. } | State::Kept { .. } | State::Passing { .. } => None,
        }
    }

    /// All that waits, oldest first.
    pub fn all(&self, now: Instant) -> impl Iterator<Item = Waits<'_>> {
        self.entries.iter().map(move |entry| entry.describe(now))
    }

    /// One that waits.
    #[must_use]
    pub fn one(&self, id: &HoldId, now: Instant) -> Option<Waits<'_>> {
        self.entry(id).map(|entry| entry.describe(now))
    }

    fn entry(&self, id: &HoldId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == *id)
    }

    fn at(&self, id: &HoldId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.id == *id)
    }
}
