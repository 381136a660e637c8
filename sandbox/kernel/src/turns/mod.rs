//! Taking turns: the file gates of boxes that write one tree do one deed at a time, from the last look at a name to the deed.
//!
//! Each gate is a process of its own. Between its look and its deed the agent of a second box could have what the name stands for exchanged, by
//! the second box's gate. So each box has an entry in a folder of its user that no box sees: which trees it writes, and by whose words it takes
//! turns ([`Turns::join`]). A box that overlaps with none that runs brings a word of its own; one that overlaps takes the words of all that it
//! overlaps with, in the order of their numbers. So any two boxes with a common tree have a common word.
//!
//! A word is a number in shared memory: 0, or who has the turn. Where nobody else wants it, taking and giving back is one instruction each. An
//! entry is locked for as long as its gate's process lives: the turn of a gate that was killed is taken over when its last call has ended. That
//! of a gate that lives and does not give back, since somebody has stopped it, cannot be: it may be anywhere between look and deed. Whoever waits
//! for that is refused in the end, and nothing is ever done without the turn.

mod entry;
#[cfg(test)]
mod tests;
mod trees;
mod word;

pub use entry::NoTurns;

use std::{
    cell::Cell,
    os::fd::{AsFd as _, BorrowedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use entry::Joined;
use word::{Stuck, Word};

/// How long a gate waits for its turn. What another one does in its turn is done in microseconds, and git's history is looked through for 5 seconds
/// at most.
const PATIENCE: Duration = Duration::from_secs(6);

/// How long one waits that is about to stop a gate.
const BEFORE_A_STOP: Duration = Duration::from_millis(250);

/// A box's part in the taking of turns. One thread uses it.
#[derive(Debug)]
pub struct Turns {
    joined: Joined,
    held: Cell<bool>,
    patience: Duration,
    /// The word for which it was waited in vain, and for whose turn.
    stuck: Cell<Option<(usize, Stuck)>>,
}

/// Somebody has had the turn for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// The box whose gate has it, if its entry tells.
    pub session: Option<String>,
}

impl Turns {
    /// Enters a box that is about to write these trees, as this process sees them; `proc` shows this process. The box is entered for as long as the
    /// process and this value live.
    ///
    /// # Errors
    /// The entry cannot be made, or another box's cannot be read: nothing would keep their gates apart, and the box must not start.
    pub fn join(folder: &Path, proc: BorrowedFd<'_>, session: &str, trees: &[PathBuf]) -> Result<Self, NoTurns> {
        let joined = entry::join(folder, session, trees::Reach::of(proc, trees)?)?;
        Ok(Self { joined, held: Cell::new(false), patience: PATIENCE, stuck: Cell::new(None) })
    }

    /// The turns of a box that runs, for the process that is about to stop its gate: while this one has the turn, that one is in none.
    #[must_use]
    pub fn of(folder: &Path, session: &str) -> Option<Self> {
        Some(Self { joined: entry::of(folder, session)?, held: Cell::new(false), patience: BEFORE_A_STOP, stuck: Cell::new(None) })
    }

    /// Waits for the turn, if it is not had already.
    ///
    /// # Errors
    /// It was not given back in time.
    pub fn take(&self) -> Result<(), Busy> {
        if self.held.get() {
            return Ok(());
        }
        let Joined { folder, me, words, .. } = &self.joined;
        for (index, page) in words.iter().enumerate() {
            let word = Word(page.words());
            if word.take(*me) {
                continue;
            }
            let known = self.stuck.get().filter(|(at, _)| *at == index).map(|(_, stuck)| stuck);
            if let Err(stuck) = word.wait(*me, self.patience, known, |owner| entry::lives(folder.as_fd(), owner)) {
                self.stuck.set(Some((index, stuck)));
                words.iter().take(index).for_each(|page| Word(page.words()).give(*me));
                return Err(Busy { session: entry::session(folder.as_fd(), stuck.owner) });
            }
            self.stuck.set(None);
        }
        self.held.set(true);
        Ok(())
    }

    /// Gives the turn back, if it is had.
    pub fn give(&self) {
        if self.held.replace(false) {
            self.joined.words.iter().for_each(|page| Word(page.words()).give(self.joined.me));
        }
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.give();
        self.joined.leave();
    }
}
