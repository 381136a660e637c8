//! How the supervisor holds a running box: ends it kindly, stops it where it is, and lets it go on.

use std::{path::PathBuf, time::Duration};

use agentbox_kernel::{launch::Reins, process::Leash, turns::Turns};
use nix::sys::signal::Signal;

use crate::supervisor::Rein;

/// How long a process of ours may take to come to a halt: it does before it next runs a line of its own.
const HALTING: Duration = Duration::from_millis(2);

/// The processes that act for the box, and the box.
pub(crate) struct Bridle {
    reins: Reins,
    /// The broker, and the file gate where there is one: what in the box may wake itself gets nothing done without them.
    deputies: Vec<Leash>,
    /// Where the file gate takes turns with those of other boxes, and as whose.
    turns: (PathBuf, String),
}

impl Bridle {
    pub(crate) fn new(reins: Reins, deputies: Vec<Leash>, turns: (PathBuf, String)) -> Self {
        Self { reins, deputies, turns }
    }

    pub(crate) fn pull(&self, rein: Rein) {
        match rein {
            Rein::Terminate => {
                // A frozen box would never hear of it.
                self.pull(Rein::Thaw);
                self.reins.signal(Signal::SIGTERM as i32);
            }
            Rein::Freeze => {
                // In the midst of a deed the file gate would keep other boxes from theirs for as long as it is stopped.
                let (folder, session) = &self.turns;
                let turns = Turns::of(folder, session);
                let taken = turns.as_ref().is_some_and(|turns| turns.take().is_ok());
                self.deputies.iter().for_each(Leash::halt);
                self.reins.freeze();
                if taken {
                    std::thread::sleep(HALTING);
                }
            }
            Rein::Thaw => {
                self.reins.thaw();
                self.deputies.iter().for_each(Leash::go_on);
            }
        }
    }
}

impl Drop for Bridle {
    /// Nobody listens to the deputies any more, so they can do nothing but end, which they must be able to.
    fn drop(&mut self) {
        self.deputies.iter().for_each(Leash::go_on);
    }
}
