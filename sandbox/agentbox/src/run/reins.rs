//! How the supervisor holds a running box: ends it kindly, stops it where it is, and lets it go on.

use agentbox_kernel::{launch::Reins, process::Leash};
use nix::sys::signal::Signal;

use crate::supervisor::Rein;

/// The processes that act for the box, and the box.
pub(crate) struct Bridle {
    reins: Reins,
    /// The broker, and the file gate where there is one: what in the box may wake itself gets nothing done without them.
    deputies: Vec<Leash>,
}

impl Bridle {
    pub(crate) fn new(reins: Reins, deputies: Vec<Leash>) -> Self {
        Self { reins, deputies }
    }

    pub(crate) fn pull(&self, rein: Rein) {
        match rein {
            Rein::Terminate => {
                // A frozen box would never hear of it.
                self.pull(Rein::Thaw);
                self.reins.signal(Signal::SIGTERM as i32);
            }
            Rein::Freeze => {
                self.deputies.iter().for_each(Leash::halt);
                self.reins.freeze();
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
