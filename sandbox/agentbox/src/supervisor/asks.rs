//! The open questions of the broker, and the table of unspent tokens.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use agentbox_core::{
    Digest, Permit, Request,
    ledger::Durability,
    permit::{LIFETIME, Stub, Token},
    verdict::Because,
};
use agentbox_desk::HoldId;

/// Open questions at once; the broker's own limit of connections is far lower.
pub(super) const MOST: usize = 16 * 1024;

/// How far a question is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is judged, looked at, or waits for a person.
    Open,
    /// It has a token, or is about to.
    Permitted,
    /// Its token is struck and the entry is being written.
    Redeeming,
    /// It was told to act.
    Acting,
}

/// One question.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) stage: Stage,
    /// `POST https://…`, for `why`.
    pub(super) summary: String,
    /// The rule by which it waits for a person, for `why`.
    pub(super) waits_by: Option<String>,
}

/// A token that has not been redeemed.
#[derive(Debug)]
pub(super) struct Unspent {
    pub(super) ask: u64,
    pub(super) digest: Digest,
    pub(super) until: Instant,
    pub(super) grant: Grant,
    pub(super) stub: Stub,
}

/// Who let it happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The policy alone.
    Policy,
    /// A person, for this once or for its kind.
    People,
}

/// What the ledger must be told of a deed.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) hold: Option<HoldId>,
    pub(super) request: Request,
    pub(super) because: Because,
    pub(super) by: By,
    pub(super) durability: Durability,
}

/// Why a token was not struck.
#[derive(Debug)]
pub(super) enum NotStruck {
    /// There is none of that name: spent, too old, or never made.
    Unknown,
    /// There is, and it does not fit; it is struck all the same.
    Unfit(Box<Unspent>, &'static str),
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Asks {
    asks: HashMap<u64, Ask>,
    tokens: HashMap<String, Unspent>,
}

/// Why a question was not taken.
pub(super) enum NotTaken {
    /// The number is in use: the broker does not keep to its language.
    Twice,
    /// Too many are open.
    TooMany,
}

impl Asks {
    pub(super) fn open(&mut self, number: u64, summary: String) -> Result<(), NotTaken> {
        if self.asks.contains_key(&number) {
            return Err(NotTaken::Twice);
        }
        if self.asks.len() >= MOST {
            return Err(NotTaken::TooMany);
        }
        self.asks.insert(number, Ask { stage: Stage::Open, summary, waits_by: None });
        Ok(())
    }

    pub(super) fn stage(&self, number: u64) -> Option<Stage> {
        self.asks.get(&number).map(|ask| ask.stage)
    }

    pub(super) fn advance(&mut self, number: u64, stage: Stage) {
        if let Some(ask) = self.asks.get_mut(&number) {
            ask.stage = stage;
        }
    }

    /// It waits for a person by this rule.
    pub(super) fn waits_by(&mut self, number: u64, rule: &str) {
        if let Some(ask) = self.asks.get_mut(&number) {
            ask.waits_by = Some(rule.to_owned());
        }
    }

    pub(super) fn close(&mut self, number: u64) -> Option<Ask> {
        self.asks.remove(&number)
    }

    pub(super) fn all(&self) -> Vec<u64> {
        self.asks.keys().copied().collect()
    }

    /// Makes the token of a permit, worth one redemption.
    pub(super) fn issue(&mut self, ask: u64, permit: Permit, nonce: [u8; 16], grant: Grant, now: Instant) -> Token {
        let (token, stub) = permit.into_token(nonce);
        // A little less than the permit's own life, so that what is struck here is still good where it is consumed.
        let until = now + LIFETIME.saturating_sub(Duration::from_secs(1));
        self.tokens.insert(token.nonce().to_owned(), Unspent { ask, digest: *token.digest(), until, grant, stub });
        token
    }

    /// Strikes a token off the table, whether or not it then fits.
    pub(super) fn strike(&mut self, nonce: &str, ask: u64, digest: &Digest, now: Instant) -> Result<Unspent, NotStruck> {
        let unspent = self.tokens.remove(nonce).ok_or(NotStruck::Unknown)?;
        let unfit = if unspent.ask != ask {
            Some("it was made for another question")
        } else if unspent.digest != *digest {
            Some("what would be sent is not what was permitted")
        } else if now >= unspent.until {
            Some("it was not redeemed in time")
        } else {
            None
        };
        match unfit {
            Some(why) => Err(NotStruck::Unfit(Box::new(unspent), why)),
            None => Ok(unspent),
        }
    }

    /// Takes the unspent token of a question.
    pub(super) fn take_token(&mut self, ask: u64) -> Option<Unspent> {
        let nonce = self.tokens.iter().find(|(_, unspent)| unspent.ask == ask).map(|(nonce, _)| nonce.clone())?;
        self.tokens.remove(&nonce)
    }

    /// Takes the tokens that are too old.
    pub(super) fn late(&mut self, now: Instant) -> Vec<Unspent> {
        let nonces: Vec<String> = self.tokens.iter().filter(|(_, unspent)| now >= unspent.until).map(|(nonce, _)| nonce.clone()).collect();
        nonces.iter().filter_map(|nonce| self.tokens.remove(nonce)).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.tokens.values().map(|unspent| unspent.until).min()
    }
}
