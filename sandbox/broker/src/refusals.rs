//! The last refusals, for `agentbox why` inside the box. They hold no secret: each was already told to the agent.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use agentbox_core::Refusal;
use serde::Serialize;

/// How many are kept.
const MOST: usize = 64;

/// Longest summary, in characters.
const LONGEST: usize = 200;

/// One of them.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    /// Unix time in milliseconds.
    pub at: u64,
    /// `POST https://…`.
    pub summary: String,
    /// What the agent was told.
    #[serde(flatten)]
    pub refusal: Refusal,
}

/// The same thing is not remembered again within this time: what tries again and again must not push out all else.
const AGAIN: u64 = 60_000;

/// The last ones, newest first.
#[derive(Debug, Default)]
pub struct Refusals {
    last: Mutex<VecDeque<Refused>>,
}

impl Refusals {
    /// Remembers one.
    pub fn remember(&self, summary: &str, refusal: &Refusal) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.truncate(MOST - 1);
        last.push_front(Refused { at, summary: agentbox_core::safe::line(summary, LONGEST), refusal: refusal.clone() });
    }

    /// Remembers one, unless the same was remembered a moment ago.
    pub fn remember_once(&self, summary: &str, refusal: &Refusal) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        let known = {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.iter().any(|past| now.saturating_sub(past.at) < AGAIN && past.refusal.operation == refusal.operation && past.refusal.reason == refusal.reason)
        };
        if !known {
            self.remember(summary, refusal);
        }
    }

    /// All of them as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        serde_json::to_vec(&*last).unwrap_or_else(|_| b"[]".to_vec())
    }
}
