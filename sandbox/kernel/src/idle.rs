//! What only the start of a process of ours needed, given back when it has nothing to do.
//!
//! All our processes are forked from one start, and the kernel maps sixteen pages of the program for each that is touched: so each of them
//! would hold megabytes of code that it runs once or never. They lie in the page cache, also when nobody maps them.

use std::time::Duration;

use nix::poll::PollTimeout;

use crate::sys::memory::{Program, trim_heap};

/// How long nothing happens before that: a command that ends sooner pays nothing for it.
pub const AFTER: Duration = Duration::from_millis(300);

/// Gives it back, at the price of a page fault for what is touched again.
pub fn give_back() {
    // Where the kernel refuses, it stays as it was.
    let _ = Program::of_this_process().let_go();
    trim_heap();
}

/// For a loop around `poll(2)`: gives back, once, when nothing has happened for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// It has not come to that yet.
    #[default]
    NotYet,
    /// It has.
    Been,
}

impl Idle {
    /// How long a wait may take that could take for ever.
    #[must_use]
    pub fn patience(self) -> PollTimeout {
        match self {
            Self::NotYet => PollTimeout::try_from(AFTER).unwrap_or(PollTimeout::NONE),
            Self::Been => PollTimeout::NONE,
        }
    }

    /// Such a wait has come to nothing.
    pub fn came(&mut self) {
        if *self == Self::NotYet {
            *self = Self::Been;
            give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        seccomp::{self, FilterPlan},
        trial::in_child,
    };

    /// Kilobytes of the program's own constant pages that this process maps.
    fn mapped() -> Result<u64, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let text = std::fs::read_to_string("/proc/self/smaps").map_err(|error| error.to_string())?;
        let (mut sum, mut counts) = (0, false);
        for line in text.lines() {
            if line.split_whitespace().next().is_some_and(|range| range.contains('-')) {
                counts = line.ends_with(&*program.to_string_lossy()) && line.split_whitespace().nth(1).is_some_and(|rights| !rights.contains('w'));
            } else if let Some(rest) = line.strip_prefix("Rss:").filter(|_| counts) {
                sum += rest.trim().trim_end_matches("kB").trim().parse::<u64>().map_err(|error| error.to_string())?;
            }
        }
        Ok(sum)
    }

    #[test]
    fn what_the_start_needed_is_given_back_and_comes_again() {
        let trial = in_child(|| {
            let work = || seccomp::compile(&FilterPlan::default()).map(|filters| filters.instructions()).map_err(|error| error.to_string());
            let (first, before) = (work()?, mapped()?);
            let mut idle = Idle::default();
            assert_eq!(idle.patience(), PollTimeout::try_from(AFTER).unwrap());
            idle.came();
            assert_eq!(idle.patience(), PollTimeout::NONE);
            let after = mapped()?;
            assert_eq!(work()?, first);
            Ok(if after < before { "less".to_owned() } else { format!("{before} kB, then {after}") })
        });
        assert_eq!(trial.result(), Ok("less".to_owned()));
    }
}
