//! "This kind, in this place, for so long": a yes that a person gave once and that covers more of the same, where the policy lets it.

use std::time::{Duration, Instant};

use crate::{
    Effect, Granted, Hold,
    ruling::Ruling,
    verdict::{Because, Terms},
};

/// What is the same of two requests of one kind. Which resource it is, is not part of it; where it goes and with what credential is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Effect and action of each operation, sorted.
    operations: Vec<(Effect, String)>,
    place: String,
    rule: String,
    destination: Option<(String, u16)>,
    credentials: Vec<(String, String, bool)>,
}

impl Kind {
    pub(crate) fn of(request: &crate::Request, because: &Because) -> Self {
        let mut operations: Vec<(Effect, String)> =
            request.operations.iter().map(|operation| (operation.effect, operation.action.as_str().to_owned())).collect();
        operations.sort();
        operations.dedup();
        let mut credentials: Vec<_> =
            request.evidence.credentials.iter().map(|credential| (credential.name.clone(), credential.position.clone(), credential.issued)).collect();
        credentials.sort();
        Self {
            operations,
            place: because.place.clone(),
            rule: because.rule.clone(),
            destination: request.destination.as_ref().map(|to| (to.host.as_str().to_owned(), to.port)),
            credentials,
        }
    }
}

impl std::fmt::Display for Kind {
    /// `destroy http.delete in staging at api.example.com:443`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (effect, action)) in self.operations.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{effect} {action}")?;
        }
        write!(f, " in {}", self.place)?;
        match &self.destination {
            Some((host, port)) => write!(f, " at {host}:{port}"),
            None => Ok(()),
        }
    }
}

/// A yes for a kind. Only a hold that people settled so makes one.
#[derive(Debug)]
pub struct Lease {
    kind: Kind,
    terms: Terms,
    rulings: Vec<Ruling>,
    until: Instant,
    lasts: Duration,
}

impl Lease {
    pub(crate) fn new(kind: Kind, terms: Terms, rulings: Vec<Ruling>, lasts: Duration, now: Instant) -> Self {
        Self { kind, terms, rulings, until: now + lasts, lasts }
    }

    /// What it covers.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// When it ends.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until
    }

    /// How long it was given for.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        self.lasts
    }

    /// Who said so.
    #[must_use]
    pub fn rulings(&self) -> &[Ruling] {
        &self.rulings
    }

    /// Lets `hold` happen, where it is of this kind, in time, and asks for no more than those who gave it have shown.
    ///
    /// # Errors
    /// Gives the hold back: a person is asked.
    pub fn covers(&self, hold: Hold, now: Instant) -> Result<Granted, Box<Hold>> {
        let (mine, theirs) = (&self.terms, hold.terms());
        let enough = theirs.approvers <= mine.approvers
            && theirs.confirm <= mine.confirm
            && theirs.presence <= mine.presence
            && theirs.quorum <= mine.quorum
            && theirs.lease >= self.lasts;
        let kind = Kind::of(hold.request(), hold.because());
        if now < self.until && enough && kind == self.kind { Ok(hold.granted_by(self.rulings.clone())) } else { Err(Box::new(hold)) }
    }
}
