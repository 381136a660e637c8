//! What the policy says, and what follows from it. A `Granted` cannot be made anywhere else.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{
    Request,
    kind::{Kind, Lease},
    ruling::{Decision, Ruling, Whose},
};

/// A cell of the policy's table, from loose to strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Go on.
    Allow,
    /// Wait for a person.
    Hold,
    /// No.
    Deny,
}

impl Verdict {
    /// The word of the policy file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Hold => "hold",
            Verdict::Deny => "deny",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// Why something does not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefusalKind {
    /// It waits for a person, and the client's patience ended first: ask again after approval.
    Pending,
    /// The policy, a person or silence said no.
    Denied,
    /// It was done for another, identical request.
    AlreadyDone,
    /// It could not be judged, kept or written down, so it does not happen.
    Failed,
}

/// A no, in words that the agent may see. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "a refusal must reach the asker"]
pub struct Refusal {
    /// Why in one word.
    pub kind: RefusalKind,
    /// The worst operation's action.
    pub operation: String,
    /// The place that decided.
    pub place: String,
    /// One sentence.
    pub reason: String,
    /// One sentence: what to do instead.
    pub guidance: String,
    /// The hold, where one exists.
    pub approval_id: Option<String>,
}

/// The policy's word on one request.
#[derive(Debug)]
#[must_use = "a judgement that is dropped was never acted on"]
pub enum Judgement {
    /// It may happen once it is written down.
    Allow(Granted),
    /// It may not.
    Deny(Box<Denied>),
    /// A person must say so.
    Hold(Box<Hold>),
}

/// Where a judgement came from, for the card, the ledger and `why`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Because {
    /// The worst operation's action.
    pub action: String,
    /// The place that decided.
    pub place: String,
    /// The cell, rule or floor that decided, with its file: `place.production destroy = "hold" (agentbox.toml:12)`.
    pub rule: String,
    /// One sentence.
    pub reason: String,
}

/// A request that the policy denies, with why.
#[derive(Clone, Debug)]
pub struct Denied {
    /// What was asked.
    pub request: Request,
    /// Where the no came from.
    pub because: Because,
    /// What the agent is told.
    pub refusal: Refusal,
}

/// The right to be written down and then done. Only a policy, or a hold that was settled, makes one.
#[derive(Debug)]
#[must_use = "a granted request must be committed to the ledger or dropped on purpose"]
pub struct Granted {
    request: Request,
    because: Because,
    rulings: Vec<Ruling>,
}

impl Granted {
    pub(crate) fn by_policy(request: Request, because: Because) -> Self {
        Self { request, because, rulings: Vec::new() }
    }

    /// What was granted.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Why.
    #[must_use]
    pub fn because(&self) -> &Because {
        &self.because
    }

    /// The people who said yes; empty where the policy alone did.
    #[must_use]
    pub fn rulings(&self) -> &[Ruling] {
        &self.rulings
    }

    pub(crate) fn into_parts(self) -> (Request, Because, Vec<Ruling>) {
        (self.request, self.because, self.rulings)
    }
}

/// How the approver must confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confirm {
    /// A deliberate act.
    Plain,
    /// The resource's name, typed.
    Name,
    /// The same behind the name of its place, since another place could hold one of that name. No policy asks for it by itself.
    #[serde(rename = "place/name")]
    PlaceAndName,
}

/// What must show that a person said yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// The kernel's word for the uid is enough.
    Account,
    /// A signature by one of the policy's keys.
    Signature,
}

/// Who may say yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quorum {
    /// Whoever may rule at all.
    Anybody,
    /// At least one of them is not who started the box.
    SomebodyElse,
}

/// What a place wants of its approvers: the strongest of all places and rules that were involved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How many different people must say yes; at least one.
    pub approvers: u8,
    /// How they confirm.
    pub confirm: Confirm,
    /// What must show that it was a person.
    pub presence: Presence,
    /// Who must be among them.
    pub quorum: Quorum,
    /// The longest time for which a yes may cover more of the same kind; zero where it may not.
    pub lease: Duration,
    /// How long it waits before silence means no.
    pub patience: Duration,
}

/// A request that waits for a person.
#[derive(Debug)]
#[must_use = "a hold that is dropped is a refusal"]
pub struct Hold {
    request: Request,
    because: Because,
    terms: Terms,
}

/// Why a ruling did not settle a hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsettled {
    /// More people must say yes.
    #[error("{have} of {want} approvers have said yes")]
    NeedsMore {
        /// Different people so far.
        have: usize,
        /// Different people wanted.
        want: u8,
    },
    /// The ruling was on another card.
    #[error("the operation has changed since it was shown; look at it again")]
    OtherDigest,
    /// No signature where one is wanted.
    #[error("this wants a signature by one of the policy's approvers: agentbox approve --sign")]
    Unsigned,
    /// A yes for a kind, where the policy does not let it, or not for so long.
    #[error("the policy lets nobody approve this kind for {asked} s; at most {longest} s (`lease` in its place)")]
    NotFor {
        /// Seconds that were asked for.
        asked: u64,
        /// Seconds that may be.
        longest: u64,
    },
    /// The name was not typed, or wrongly.
    #[error("the resource's name, {0}, must be typed to confirm")]
    NotConfirmed(String),
    /// A person said no.
    #[error("denied: {0}")]
    Denied(String),
}

impl Hold {
    pub(crate) fn by_policy(request: Request, because: Because, terms: Terms) -> Self {
        Self { request, because, terms }
    }

    /// What waits.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Why it waits.
    #[must_use]
    pub fn because(&self) -> &Because {
        &self.because
    }

    /// What its approvers must do.
    #[must_use]
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// What must be typed to confirm: what a look called the thing, else the last part of the resource's id; behind the place's name where that
    /// alone could mean a thing in another place.
    #[must_use]
    pub fn confirm_name(&self) -> String {
        let name = self.bare_name();
        match self.terms.confirm {
            Confirm::Plain | Confirm::Name => name,
            Confirm::PlaceAndName => format!("{}/{name}", crate::safe::line(&self.because.place, 80)),
        }
    }

    fn bare_name(&self) -> String {
        if let Some(seen) = &self.request.evidence.seen
            && !seen.name.is_empty()
        {
            return crate::safe::line(&seen.name, 80);
        }
        self.request.worst().map_or_else(String::new, |operation| {
            let path = operation.resource.id.path();
            path.rsplit('/').next().unwrap_or(path).to_owned()
        })
    }

    /// Digest of all that the card shows: the request's canonical form, what a look found, and what was said of an undo.
    #[must_use]
    pub fn card_digest(&self) -> crate::Digest {
        let seen = serde_json::to_vec(&self.request.evidence.seen).unwrap_or_default();
        let operations = serde_json::to_vec(&self.request.operations).unwrap_or_default();
        let undo = serde_json::to_vec(&self.request.evidence.undo).unwrap_or_default();
        crate::Digest::of([self.request.digest.to_hex().as_bytes(), &seen, &operations, &undo])
    }

    /// Turns the hold into a grant if `rulings` are enough.
    ///
    /// # Errors
    /// Gives the hold back with what is missing; a denial is final and the caller ends the hold.
    pub fn settle(self, rulings: &[Ruling]) -> Result<Granted, (Box<Hold>, Unsettled)> {
        match self.check(rulings) {
            Ok(()) => Ok(Granted { request: self.request, because: self.because, rulings: rulings.to_vec() }),
            Err(why) => Err((Box::new(self), why)),
        }
    }

    /// As [`settle`](Self::settle), with the yes for the kind where all who approved asked for one: it lasts as long as the shortest.
    ///
    /// # Errors
    /// As there.
    pub fn settle_with_lease(self, rulings: &[Ruling], now: Instant) -> Result<(Granted, Option<Lease>), (Box<Hold>, Unsettled)> {
        let lasting = rulings.iter().map(|ruling| ruling.lasting).collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().min());
        let lease = lasting.map(|lasting| Lease::new(Kind::of(&self.request, &self.because), self.terms, rulings.to_vec(), lasting, now));
        self.settle(rulings).map(|granted| (granted, lease))
    }

    pub(crate) fn granted_by(self, rulings: Vec<Ruling>) -> Granted {
        Granted { request: self.request, because: self.because, rulings }
    }

    fn check(&self, rulings: &[Ruling]) -> Result<(), Unsettled> {
        let mut yes: Vec<&str> = Vec::new();
        let mut somebody_else = false;
        for ruling in rulings {
            match &ruling.decision {
                Decision::Deny(why) => return Err(Unsettled::Denied(why.clone())),
                Decision::Approve => {
                    if ruling.digest != self.card_digest() {
                        return Err(Unsettled::OtherDigest);
                    }
                    let name = self.confirm_name();
                    if self.terms.confirm != Confirm::Plain && ruling.typed.as_deref() != Some(name.as_str()) {
                        return Err(Unsettled::NotConfirmed(name));
                    }
                    if let Some(lasting) = ruling.lasting
                        && lasting > self.terms.lease
                    {
                        return Err(Unsettled::NotFor { asked: lasting.as_secs(), longest: self.terms.lease.as_secs() });
                    }
                    if self.terms.presence == Presence::Signature && ruling.proof.signer().is_none() {
                        return Err(Unsettled::Unsigned);
                    }
                    somebody_else |= ruling.proof.signer() == Some(Whose::SomebodyElse);
                    if !yes.contains(&ruling.approver.as_str()) {
                        yes.push(&ruling.approver);
                    }
                }
            }
        }
        let want = self.terms.approvers.max(1);
        if yes.len() < usize::from(want) {
            return Err(Unsettled::NeedsMore { have: yes.len(), want });
        }
        if self.terms.quorum == Quorum::SomebodyElse && !somebody_else {
            return Err(Unsettled::NeedsMore { have: yes.len(), want: u8::try_from(yes.len()).map_or(u8::MAX, |have| have.saturating_add(1)) });
        }
        Ok(())
    }
}
