//! The agent's own words: shown on its cards, marked as what they are. They decide nothing, and may be a lie.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use agentbox_core::{
    ledger::{Draft, Durability, Event},
    safe,
};
use agentbox_desk::HoldId;

use super::Supervisor;

/// Longest words on a card, in characters.
const LONGEST: usize = 400;

/// Words that came before a hold are taken for words about it so long.
const FRESH: Duration = Duration::from_secs(60);

/// How often a box may speak; a flood must not fill the ledger.
const MOST: usize = 200;

/// What was said.
#[derive(Default)]
pub(super) struct Words {
    last: Option<(Instant, String)>,
    about: BTreeMap<HoldId, String>,
    count: usize,
}

impl Words {
    /// A hold has come: what was said just before is about it.
    pub(super) fn opened(&mut self, id: &HoldId, now: Instant) {
        if let Some((at, text)) = &self.last
            && now.saturating_duration_since(*at) < FRESH
        {
            self.about.insert(id.clone(), text.clone());
        }
    }

    /// A hold is over.
    pub(super) fn ended(&mut self, id: &HoldId) {
        self.about.remove(id);
    }

    /// What was said of a hold.
    pub(super) fn about(&self, id: &HoldId) -> Option<&str> {
        self.about.get(id).map(String::as_str)
    }
}

impl Supervisor {
    /// The agent says something. A hold takes words once: a card must not change under the eyes of who reads it, again and again.
    pub(super) fn said(&mut self, text: &str) {
        let text = safe::line(text.trim(), LONGEST);
        self.words.count += 1;
        if text.is_empty() || self.words.count > MOST {
            return;
        }
        let now = Instant::now();
        let waiting: Vec<HoldId> = self.room.all(now).filter(|waits| waits.card_digest.is_some()).map(|waits| waits.id.clone()).collect();
        for id in waiting {
            self.words.about.entry(id).or_insert_with(|| text.clone());
        }
        self.write(Draft { note: format!("the agent says: {text}"), ..Draft::new(Event::Noted, &self.session) }, Durability::Grouped);
        self.words.last = Some((now, text));
    }
}
