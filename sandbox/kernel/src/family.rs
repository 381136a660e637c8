//! The first process of a box, and who ends with it.

use std::{collections::BTreeSet, io, os::fd::AsFd as _, time::Duration};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, SigmaskHow, Signal, kill},
    },
    unistd::Pid,
};

use crate::{
    control::{Control, ToInit},
    descendants,
    sys::pidfd,
};

/// For init to end a box that has no namespace which would do it. What is left then is ended from here.
const ENDING: Duration = Duration::from_secs(5);

/// Init of a box. No box outlives its supervisor's interest in it.
#[derive(Debug)]
pub(crate) struct Init {
    pub(crate) pid: Pid,
    pub(crate) family: Family,
}

/// Who ends when init ends.
#[derive(Debug)]
pub(crate) enum Family {
    /// All of the box: it is PID 1 of a namespace.
    InNamespace,
    /// Nobody. What it leaves becomes ours.
    Adopted {
        /// Beside these, which we have had before.
        ours: BTreeSet<i32>,
        /// To init, which ends the others before itself.
        line: Control,
    },
}

impl Family {
    /// What init's end leaves behind is to be ours.
    pub(crate) fn adopting(line: &Control) -> io::Result<Self> {
        prctl::set_child_subreaper(true)?;
        Ok(Self::Adopted { ours: descendants::children(), line: Control::from(line.as_fd().try_clone_to_owned()?) })
    }

    /// This child of ours is not the box's, nor what is below it.
    pub(crate) fn leaves(&mut self, child: Pid) {
        match self {
            Self::InNamespace => {}
            Self::Adopted { ours, .. } => drop(ours.insert(child.as_raw())),
        }
    }
}

impl Init {
    pub(crate) fn kill(&self) {
        match &self.family {
            // Not yet waited for, so the number is still its.
            Family::InNamespace => drop(kill(self.pid, Signal::SIGKILL)),
            Family::Adopted { ours, line } => {
                // Our own parent's death is told by a signal: it must not come between init's end and that of the others.
                let blocked = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
                // Init first, by a word: whoever kills us in between, it ends the box, and itself last.
                if line.send(&ToInit::End, &[]).is_ok()
                    && let Ok(handle) = pidfd::open(self.pid)
                {
                    let patience = PollTimeout::try_from(ENDING).unwrap_or(PollTimeout::ZERO);
                    let has_ended = || poll(&mut [PollFd::new(handle.as_fd(), PollFlags::POLLIN)], patience).is_ok_and(|ready| ready > 0);
                    // One that does not listen, and is a child of the file gate's process, which is not to be ended yet.
                    if !has_ended() && pidfd::send_signal(handle.as_fd(), Signal::SIGKILL).is_ok() {
                        let _ = has_ended();
                    }
                }
                // Where it was killed before it could: its children are among those whom we have not had before.
                descendants::end_all(ours);
                let _ = blocked.map(|before| before.thread_set_mask());
            }
        }
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        self.kill();
        match self.family {
            Family::InNamespace => drop(nix::sys::wait::waitpid(self.pid, None)),
            // Waited for with the others.
            Family::Adopted { .. } => {}
        }
    }
}
