//! Where a test may kill this process, or make a step fail. In a real build there is nothing here.

/// One step of keeping or bringing back, named for the test's own output.
#[cfg(not(test))]
#[inline]
pub(crate) fn step(_what: &'static str) -> Result<(), rustix::io::Errno> {
    Ok(())
}

#[cfg(test)]
pub(crate) use counted::{Fault, arm, step, steps};

#[cfg(test)]
mod counted {
    use std::cell::Cell;

    use rustix::io::Errno;

    /// What happens at the chosen step.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Fault {
        /// The process is killed by SIGKILL.
        Kill,
        /// The step fails.
        Error(Errno),
    }

    thread_local! {
        static STEPS: Cell<u64> = const { Cell::new(0) };
        static ARMED: Cell<Option<(u64, Fault)>> = const { Cell::new(None) };
    }

    /// From now on, the step with this number (from 0) is the chosen one; only in this thread.
    pub(crate) fn arm(chosen: Option<(u64, Fault)>) {
        STEPS.set(0);
        ARMED.set(chosen);
    }

    /// Steps since `arm`.
    pub(crate) fn steps() -> u64 {
        STEPS.get()
    }

    pub(crate) fn step(_what: &'static str) -> Result<(), Errno> {
        let number = STEPS.get();
        STEPS.set(number + 1);
        match ARMED.get() {
            Some((chosen, fault)) if chosen == number => match fault {
                Fault::Kill => {
                    let me = rustix::process::getpid();
                    let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
                    unreachable!("killed")
                }
                Fault::Error(error) => Err(error),
            },
            _ => Ok(()),
        }
    }
}
