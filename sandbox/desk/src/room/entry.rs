//! One hold in the waiting room, with all who wait for it.

use std::time::{Duration, Instant};

use agentbox_core::{
    Digest, Granted, Hold, Operation, Request,
    ruling::Ruling,
    verdict::{Because, Terms, Unsettled},
};

use super::{Asker, Deed, End, Ended, NotRuled, Ruled, SHORTEST_PASSAGE, words};
use crate::HoldId;

pub(super) struct Waiter {
    pub(super) asker: Asker,
    pub(super) until: Instant,
}

pub(super) enum State {
    Waiting { hold: Box<Hold>, rulings: Vec<Ruling> },
    Looking { granted: Box<Granted> },
    Kept { granted: Box<Granted> },
    Passing { chosen: Asker, request: Box<Request> },
}

pub(super) struct Entry {
    pub(super) id: HoldId,
    pub(super) because: Because,
    pub(super) state: State,
    pub(super) waiters: Vec<Waiter>,
    /// When the state ends by itself.
    pub(super) expires: Instant,
    since: Instant,
    /// When the time for rulings ends, as it was when it came.
    until: Instant,
    /// Random bits that no other hold has: what a signature is bound to.
    nonce: String,
    /// Others of its kind that were refused while it waits.
    pub(super) folded: usize,
    terms: Terms,
    confirm_name: String,
}

/// How far a hold is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// For people.
    Waiting,
    /// Approved; the world is being looked at again.
    Looking,
    /// Approved; the next identical request passes, once.
    Kept,
    /// On its way.
    Passing,
}

/// What can be said of a hold.
#[derive(Debug)]
pub struct Waits<'a> {
    /// Its name.
    pub id: &'a HoldId,
    /// What is asked.
    pub request: &'a Request,
    /// Why it was held.
    pub because: &'a Because,
    /// What its approvers must do.
    pub terms: Terms,
    /// What must be typed where the terms want a name.
    pub confirm_name: &'a str,
    /// The digest of the card, while it waits for rulings.
    pub card_digest: Option<Digest>,
    /// Who has said yes so far.
    pub yes: Vec<&'a str>,
    /// How far it is.
    pub phase: Phase,
    /// When the time for rulings ends, as it was when it came.
    pub until: Instant,
    /// 32 hexadecimal digits that no other hold has.
    pub nonce: &'a str,
    /// How many others of its kind were refused while it waits.
    pub folded: usize,
    /// How many askers wait for it now.
    pub askers: usize,
    /// How long it has been there.
    pub waited: Duration,
    /// How long until its state ends by itself.
    pub left: Duration,
}

impl Entry {
    pub(super) fn new(id: HoldId, nonce: String, hold: Hold, waiter: Waiter, now: Instant) -> Self {
        Self {
            id,
            because: hold.because().clone(),
            expires: now + hold.terms().patience,
            since: now,
            until: now + hold.terms().patience,
            nonce,
            folded: 0,
            terms: hold.terms(),
            confirm_name: hold.confirm_name(),
            waiters: vec![waiter],
            state: State::Waiting { hold: Box::new(hold), rulings: Vec::new() },
        }
    }

    pub(super) fn request(&self) -> &Request {
        match &self.state {
            State::Waiting { hold, .. } => hold.request(),
            State::Looking { granted } | State::Kept { granted } => granted.request(),
            State::Passing { request, .. } => request,
        }
    }

    pub(super) fn digest(&self) -> Digest {
        self.request().digest
    }

    /// Whether it waits, and another with this reason would be one more of the same on a person's list.
    pub(super) fn is_one_more_of(&self, because: &Because) -> bool {
        matches!(self.state, State::Waiting { .. }) && self.because.action == because.action && self.because.place == because.place
    }

    pub(super) fn has(&self, asker: Asker) -> bool {
        let passing = matches!(self.state, State::Passing { chosen, .. } if chosen == asker);
        passing || self.waiters.iter().any(|waiter| waiter.asker == asker)
    }

    /// One more asks the same.
    pub(super) fn join(mut self, hold: &Hold, waiter: Waiter, most: usize) -> (Self, Vec<Deed>) {
        if self.waiters.len() >= most {
            let refusal = words::too_many_askers(&self.because, &self.id, most);
            return (self, vec![Deed::Refuse(waiter.asker, refusal)]);
        }
        if !same_operations(&self.request().operations, &hold.request().operations) {
            let refusal = words::two_readings(&self.because);
            return (self, vec![Deed::Refuse(waiter.asker, refusal)]);
        }
        let mut deeds = vec![Deed::Joined(self.id.clone(), waiter.asker)];
        self.waiters.push(waiter);
        self.state = match self.state {
            State::Kept { granted } => {
                deeds.push(Deed::LookAgain(self.id.clone()));
                State::Looking { granted }
            }
            same @ (State::Waiting { .. } | State::Looking { .. } | State::Passing { .. }) => same,
        };
        (self, deeds)
    }

    /// Takes a yes.
    pub(super) fn approve(mut self, ruling: Ruling, now: Instant) -> (Result<Ruled, NotRuled>, Self, Vec<Deed>) {
        let (hold, mut rulings) = match self.state {
            State::Waiting { hold, rulings } => (hold, rulings),
            State::Looking { .. } | State::Kept { .. } => {
                let id = self.id.clone();
                return (Err(NotRuled::AlreadyApproved(id)), self, Vec::new());
            }
            State::Passing { .. } => {
                let id = self.id.clone();
                return (Err(NotRuled::TooLate(id)), self, Vec::new());
            }
        };
        // One person's second word replaces the first.
        let earlier = rulings.clone();
        rulings.retain(|old| old.approver != ruling.approver);
        rulings.push(ruling);
        match hold.settle_with_lease(&rulings, now) {
            Ok((granted, lease)) => {
                let lasts = self.expires.saturating_duration_since(now).max(SHORTEST_PASSAGE);
                self.expires = now + lasts;
                let granted = Box::new(granted);
                let mut deeds: Vec<Deed> = lease.map(|lease| Deed::Leased(self.id.clone(), Box::new(lease))).into_iter().collect();
                if self.waiters.is_empty() {
                    self.state = State::Kept { granted };
                    (Ok(Ruled::Kept { lasts }), self, deeds)
                } else {
                    self.state = State::Looking { granted };
                    deeds.push(Deed::LookAgain(self.id.clone()));
                    (Ok(Ruled::Approved), self, deeds)
                }
            }
            Err((hold, Unsettled::NeedsMore { have, want })) => {
                self.state = State::Waiting { hold, rulings };
                (Ok(Ruled::NeedsMore { have, want }), self, Vec::new())
            }
            Err((
                hold,
                unfit @ (Unsettled::OtherDigest | Unsettled::NotConfirmed(_) | Unsettled::NotFor { .. } | Unsettled::Unsigned | Unsettled::Denied(_)),
            )) => {
                self.state = State::Waiting { hold, rulings: earlier };
                (Err(NotRuled::Unfit(unfit)), self, Vec::new())
            }
        }
    }

    /// Ends it: all who wait are told the same.
    pub(super) fn end(self, refusal: &agentbox_core::Refusal, how: End) -> Vec<Deed> {
        let request = self.request().clone();
        let mut deeds: Vec<Deed> = self.waiters.iter().map(|waiter| Deed::Refuse(waiter.asker, refusal.clone())).collect();
        deeds.push(Deed::Ended(Box::new(Ended { id: self.id, request, because: self.because, how })));
        deeds
    }

    pub(super) fn describe(&self, now: Instant) -> Waits<'_> {
        let (phase, card_digest, yes) = match &self.state {
            State::Waiting { hold, rulings } => {
                let yes = rulings.iter().map(|ruling| ruling.approver.as_str()).collect();
                (Phase::Waiting, Some(hold.card_digest()), yes)
            }
            State::Looking { granted } => (Phase::Looking, None, approvers(granted)),
            State::Kept { granted } => (Phase::Kept, None, approvers(granted)),
            State::Passing { .. } => (Phase::Passing, None, Vec::new()),
        };
        Waits {
            id: &self.id,
            request: self.request(),
            because: &self.because,
            terms: self.terms,
            confirm_name: &self.confirm_name,
            card_digest,
            yes,
            phase,
            until: self.until,
            nonce: &self.nonce,
            folded: self.folded,
            askers: self.waiters.len(),
            waited: now.saturating_duration_since(self.since),
            left: self.expires.saturating_duration_since(now),
        }
    }
}

fn approvers(granted: &Granted) -> Vec<&str> {
    granted.rulings().iter().map(|ruling| ruling.approver.as_str()).collect()
}

/// The digest says that the bytes are the same; then the meaning must be too. Lineage is left out: a look adds it, and the look is made again.
fn same_operations(one: &[Operation], other: &[Operation]) -> bool {
    let same = |(a, b): (&Operation, &Operation)| {
        a.effect == b.effect
            && a.action == b.action
            && a.resource.id == b.resource.id
            && a.delegates == b.delegates
            && a.yields_credential == b.yields_credential
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
}
