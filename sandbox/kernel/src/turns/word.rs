//! A word by which turns are taken: who has the turn, and how many turns there have been.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::thread::futex::{self, Flags, Timespec};

/// Somebody waits: whoever gives the turn back wakes one.
const WAITED_FOR: u32 = 1 << 31;

/// The turn is not the gate's but its supervisor's.
pub(super) const ABOVE: u32 = 1 << 30;

/// How often whoever waits looks whether the one that has the turn still lives.
const LOOK_AFTER: Duration = Duration::from_millis(20);

/// How long one waits for a turn that was waited for in vain before: the caller's next call should not wait as long again.
const AGAIN: Duration = Duration::from_millis(20);

/// A turn that was not given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stuck {
    /// Who has it.
    pub(super) owner: u32,
    /// Which one it is.
    turn: u32,
}

/// The word, and the count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'w>(pub(super) &'w [AtomicU32; 2]);

impl Word<'_> {
    /// Takes the turn if nobody has it.
    pub(super) fn take(self, me: u32) -> bool {
        self.exchange(0, me)
    }

    fn exchange(self, from: u32, to: u32) -> bool {
        let Self([word, count]) = self;
        let taken = word.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if taken {
            // Only in one's turn it is written.
            count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
        taken
    }

    /// Waits for the turn. `known` is one that was waited for in vain; `lives` tells whether somebody's process does.
    pub(super) fn wait(self, me: u32, patience: Duration, known: Option<Stuck>, lives: impl Fn(u32) -> bool) -> Result<(), Stuck> {
        let Self([word, count]) = self;
        let began = Instant::now();
        loop {
            let seen = word.load(Ordering::Relaxed);
            let owner = seen & !WAITED_FOR;
            // Others may wait as well, and the mark of that is gone with the turn before.
            if owner == 0 {
                if self.exchange(seen, me | WAITED_FOR) {
                    return Ok(());
                }
                continue;
            }
            let stuck = Stuck { owner, turn: count.load(Ordering::Relaxed) };
            let patience = if known == Some(stuck) { patience.min(AGAIN) } else { patience };
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                // It may have died a moment ago.
                return if !lives(owner) && self.exchange(seen, me | WAITED_FOR) { Ok(()) } else { Err(stuck) };
            }
            if seen & WAITED_FOR == 0 && word.compare_exchange(seen, seen | WAITED_FOR, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                continue;
            }
            let left = left.min(LOOK_AFTER);
            let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
            let waited = futex::wait(word, Flags::empty(), owner | WAITED_FOR, Some(&timeout));
            if waited == Err(rustix::io::Errno::TIMEDOUT) && !lives(owner) && self.exchange(owner | WAITED_FOR, me | WAITED_FOR) {
                return Ok(());
            }
        }
    }

    /// Gives the turn back.
    pub(super) fn give(self, me: u32) {
        let Self([word, _]) = self;
        let before = word.swap(0, Ordering::Release);
        debug_assert_eq!(before & !WAITED_FOR, me, "only one's own turn is given back");
        if before & WAITED_FOR != 0 {
            let _ = futex::wake(word, Flags::empty(), 1);
        }
    }
}
