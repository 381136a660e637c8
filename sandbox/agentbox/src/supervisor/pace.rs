//! How fast a box may ask people for new things.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// New holds of one box within a minute. A person who looks at each has no time for more.
const MOST_NEW: usize = 60;

/// Within so long.
const A_MINUTE: Duration = Duration::from_secs(60);

/// When new holds came lately.
pub(super) struct Pace {
    most: usize,
    lately: VecDeque<Instant>,
}

impl Pace {
    /// Where the policy lets `holds` wait at once, as many may come within a minute, or most of them never could.
    pub(super) fn of(holds: usize) -> Self {
        Self { most: holds.max(MOST_NEW), lately: VecDeque::new() }
    }

    /// How many may come within a minute.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Counts one more, where it may come.
    pub(super) fn lets(&mut self, now: Instant) -> bool {
        while self.lately.front().is_some_and(|first| now.saturating_duration_since(*first) > A_MINUTE) {
            self.lately.pop_front();
        }
        let lets = self.lately.len() < self.most;
        if lets {
            self.lately.push_back(now);
        }
        lets
    }
}
