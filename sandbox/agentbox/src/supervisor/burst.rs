//! The burst guard: several destroying operations within seconds freeze the box.
//!
//! A person can say yes to one thing after the other without seeing where it leads, and a policy can allow each. What leads to a disaster is
//! often a loop. So the box is stopped where it is, and somebody outside looks at what has happened before it goes on.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use agentbox_core::{
    Effect, Request,
    ledger::{Draft, Durability, Event},
    policy::{Policy, settings::Limits},
    safe,
};

use super::{Fatal, Rein, Supervisor};

/// What counts as a burst comes within so long. Where the policy does not say how much that is, only those deeds count for which a person was
/// needed: a test suite that empties the tables of its own database, as its policy allows, must not be stopped by a default.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// More than that a policy can hardly mean, and each takes memory.
const MOST: u64 = 10_000;

/// Whose word does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// People's alone.
    ByPeople,
    /// Anybody's, the policy's too.
    All,
}

/// What is counted, and whether the box stands.
pub(super) struct Burst {
    most: usize,
    counted: Counted,
    deeds: VecDeque<Instant>,
    frozen: Option<Instant>,
}

impl Burst {
    pub(super) fn new(policy: &Policy) -> Self {
        let said = policy.settings().limits.burst;
        let most = said.unwrap_or(Limits::BURST).min(MOST);
        let counted = if said.is_some() { Counted::All } else { Counted::ByPeople };
        Self { counted, most: usize::try_from(most).unwrap_or(usize::MAX).max(1), deeds: VecDeque::new(), frozen: None }
    }

    /// Counts one; `true` where it makes a burst.
    fn counts(&mut self, now: Instant) -> bool {
        while self.deeds.front().is_some_and(|first| now.saturating_duration_since(*first) > WINDOW) {
            self.deeds.pop_front();
        }
        self.deeds.push_back(now);
        self.deeds.len() >= self.most
    }

    /// Whether what the policy alone allowed counts.
    pub(super) fn counts_all(&self) -> bool {
        self.counted == Counted::All
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }
}

/// Whether a request destroys something outside of the box's own files, of which the vault keeps the first version.
pub(super) fn destroys_far_away(request: &Request) -> bool {
    request.destination.is_some() && request.operations.iter().any(|operation| matches!(operation.effect, Effect::Destroy | Effect::Opaque))
}

/// The same of an entry that the broker wrote by itself.
pub(super) fn tells_of_loss(draft: &Draft) -> bool {
    draft.operations.iter().any(|told| told.starts_with("destroy ") || told.starts_with("opaque "))
}

impl Supervisor {
    /// Something was destroyed, or is about to be.
    pub(super) fn destroyed(&mut self, count: usize) {
        let now = Instant::now();
        let mut burst = false;
        for _ in 0..count.min(self.burst.most) {
            burst |= self.burst.counts(now);
        }
        if burst && !self.burst.is_frozen() {
            self.freeze(now);
        }
    }

    fn freeze(&mut self, now: Instant) {
        let note = format!("frozen: {} destroying operations within {} s", self.burst.deeds.len(), WINDOW.as_secs());
        if self.nobody.is_some() {
            self.fatal = Some(Fatal::Stopped(format!("{note}, and there is nobody to ask")));
            return;
        }
        (self.reins)(Rein::Freeze);
        self.burst.frozen = Some(now);
        self.write(Draft { note: note.clone(), ..Draft::new(Event::Noted, &self.session) }, Durability::Synced);
        let session = safe::line(&self.session, 40);
        (self.announce)(format!(
            "agentbox: the box is {note}. In another terminal: `agentbox log` shows them, `agentbox resume {session}` lets it go on, `agentbox stop {session}` ends it"
        ));
    }

    /// Lets a frozen box go on. The next burst is counted anew.
    pub(super) fn resume(&mut self, by: &str) -> Result<String, String> {
        if self.burst.frozen.take().is_none() {
            return Err(format!("the box {} is not frozen", self.session));
        }
        self.burst.deeds.clear();
        self.write(Draft { note: format!("goes on, by {by}"), ..Draft::new(Event::Noted, &self.session) }, Durability::Synced);
        (self.reins)(Rein::Thaw);
        Ok(format!("the box {} goes on", self.session))
    }

    /// When a frozen box ends, since nobody has looked at it.
    pub(super) fn freeze_ends(&self) -> Option<Instant> {
        self.burst.frozen.map(|since| since + self.policy.settings().approval.patience)
    }

    pub(super) fn freeze_is_over(&mut self, now: Instant) {
        if self.freeze_ends().is_some_and(|end| now >= end) {
            self.fatal = Some(Fatal::Stopped("it was frozen, and nobody looked at it in time".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_close_together_is_a_burst() {
        let now = Instant::now();
        let mut slow = Burst { most: 3, counted: Counted::All, deeds: VecDeque::new(), frozen: None };
        for step in 0..20 {
            assert!(!slow.counts(now + (WINDOW / 2 + Duration::from_millis(1)) * step), "step {step}");
        }
        let mut fast = Burst { most: 3, counted: Counted::All, deeds: VecDeque::new(), frozen: None };
        assert_eq!([0, 1, 2].map(|step| fast.counts(now + Duration::from_secs(step))), [false, false, true]);
    }
}
