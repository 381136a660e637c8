//! Our own processes: forked from one small start before any thread exists, each with one socket to its parent.

use std::{
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::Signal,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, getpid},
};

use crate::{
    selfguard,
    sys::{
        files::close_between,
        fork::{Side, exit_now, fork, fork_behind},
        memory, pidfd,
    },
};

/// A process of ours.
#[derive(Debug)]
pub struct Child {
    /// Becomes readable when it ends.
    pub pidfd: OwnedFd,
    /// Its number; ours until it is waited for.
    pub pid: Pid,
    /// To it; reads as ended when it has ended.
    pub socket: UnixStream,
}

/// It could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// No socket pair.
    #[error("no socket for a process of ours")]
    Socket(#[source] std::io::Error),
    /// It ended before it had made what it was to stand above.
    #[error("a process of ours has ended before its time")]
    Above(#[source] std::io::Error),
    /// No process.
    #[error("cannot start a process of ours")]
    Fork(#[source] Errno),
}

/// What all our processes have in common; called once, before any of them is forked.
pub fn begin() {
    memory::share_heap();
}

/// Which side of a fork should have the CPU first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The new process: its parent only waits for it.
    Child,
    /// The parent: what it does next is what everybody waits for.
    Parent,
}

/// Forks a process that runs `body` with its end of a socket pair, and ends with what it returns. Of the open descriptors it
/// keeps the standard ones and those in `keep`.
///
/// The caller has no other thread.
///
/// # Errors
/// No descriptors or processes are left.
pub fn fork_child(first: First, keep: &[RawFd], body: impl FnOnce(UnixStream) -> u8) -> Result<Child, ProcessError> {
    let (ours, theirs) = UnixStream::pair().map_err(ProcessError::Socket)?;
    let parent = getpid();
    let side = match first {
        First::Child => fork(),
        First::Parent => fork_behind(),
    };
    match side.map_err(ProcessError::Fork)? {
        Side::Child => {
            std::mem::forget(ours);
            live(parent, keep, theirs, body)
        }
        Side::Parent(pid) => {
            drop(theirs);
            let pidfd = pidfd::open(pid).map_err(ProcessError::Fork)?;
            Ok(Child { pidfd, pid, socket: ours })
        }
    }
}

/// The whole life of a process of ours.
fn live(parent: Pid, keep: &[RawFd], socket: UnixStream, body: impl FnOnce(UnixStream) -> u8) -> ! {
    let mut kept = keep.to_vec();
    kept.push(socket.as_raw_fd());
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // First the signal, then the look: a parent that dies in between is noticed by the one or by the other.
        let bound = prctl::set_pdeathsig(Signal::SIGKILL).is_ok() && selfguard::still_child_of(parent).is_ok();
        if !bound || close_all_but(kept).is_err() {
            return u8::MAX;
        }
        body(socket)
    }));
    exit_now(code.unwrap_or(u8::MAX))
}

/// A process of ours that is to be the parent of another one, which is made later: it is forked then, makes that one, and goes on as
/// [`fork_child`]'s does. So it stands above all that will ever come from it, and Yama lets it read them (`ptrace_scope` 1).
pub struct Above {
    ours: UnixStream,
    theirs: UnixStream,
    keep: Vec<RawFd>,
    body: Box<dyn FnOnce(UnixStream) -> u8>,
}

impl std::fmt::Debug for Above {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Above").field("keep", &self.keep).finish_non_exhaustive()
    }
}

/// On which side of [`Above::part`] this is.
pub(crate) enum Part {
    /// The process that was made below.
    Below,
    /// The one that called. What was made below is no child of its, but of the one above.
    Beside {
        /// The one above, our child.
        above: Child,
        /// What became of the making: a number, or why there is none.
        below: Result<Pid, Errno>,
        /// What the making said besides.
        said: bool,
    },
}

impl Above {
    /// As [`fork_child`], but it does not run yet.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn new(keep: Vec<RawFd>, body: impl FnOnce(UnixStream) -> u8 + 'static) -> Result<Self, ProcessError> {
        let (ours, theirs) = UnixStream::pair().map_err(ProcessError::Socket)?;
        Ok(Self { ours, theirs, keep, body: Box::new(body) })
    }

    /// Forks it, and has it make the process below it with `make`, which says something besides.
    ///
    /// The caller has no other thread.
    pub(crate) fn part(self, make: impl FnOnce() -> (Result<Side, Errno>, bool)) -> Result<Part, ProcessError> {
        let Self { ours, theirs, keep, body } = self;
        let (mut told, mut tell) = io::pipe().map_err(ProcessError::Socket)?;
        let parent = getpid();
        match fork().map_err(ProcessError::Fork)? {
            Side::Child => {
                let (made, said) = make();
                let number = match made {
                    Ok(Side::Child) => return Ok(Part::Below),
                    Ok(Side::Parent(pid)) => pid.as_raw(),
                    Err(errno) => -(errno as i32),
                };
                let [a, b, c, d] = number.to_le_bytes();
                if tell.write_all(&[a, b, c, d, u8::from(said)]).is_err() {
                    exit_now(u8::MAX);
                }
                live(parent, &keep, theirs, body)
            }
            Side::Parent(pid) => {
                drop((theirs, tell, body));
                let pidfd = pidfd::open(pid).map_err(ProcessError::Fork)?;
                let mut word = [0; 5];
                told.read_exact(&mut word).map_err(ProcessError::Above)?;
                let [a, b, c, d, said] = word;
                let number = i32::from_le_bytes([a, b, c, d]);
                let below = if number > 0 { Ok(Pid::from_raw(number)) } else { Err(Errno::from_raw(-number)) };
                Ok(Part::Beside { above: Child { pidfd, pid, socket: ours }, below, said: said != 0 })
            }
        }
    }
}

/// What stops a process of ours where it is. It outlives the process without harm.
#[derive(Debug)]
pub struct Leash(OwnedFd);

impl Leash {
    /// Stops it, until it is let go on. Nothing in a box can wake it.
    pub fn halt(&self) {
        let _ = pidfd::send_signal(self.0.as_fd(), Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        let _ = pidfd::send_signal(self.0.as_fd(), Signal::SIGCONT);
    }
}

pub(crate) fn close_all_but(mut kept: Vec<RawFd>) -> Result<(), Errno> {
    kept.sort_unstable();
    kept.dedup();
    let mut next = 3;
    for fd in kept {
        if fd >= next {
            close_between(next, fd - 1)?;
            next = fd + 1;
        }
    }
    close_between(next, RawFd::MAX)
}

impl Child {
    /// What stops it where it is, and lets it go on.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn leash(&self) -> std::io::Result<Leash> {
        Ok(Leash(self.pidfd.try_clone()?))
    }

    /// Ends it at once; one that has ended already, and was waited for, is left alone.
    pub fn kill(&self) {
        let _ = pidfd::send_signal(self.pidfd.as_fd(), nix::sys::signal::Signal::SIGKILL);
    }

    /// Waits for its end, so that nothing is left of it. Only for a child that has been killed or is about to end.
    pub fn reap(&self) {
        while let Err(Errno::EINTR) = waitpid(self.pid, None) {}
    }

    /// Whether it has ended; then its exit code as shells give it.
    #[must_use]
    pub fn ended(&self) -> Option<u8> {
        match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => Some(u8::try_from(code).unwrap_or(u8::MAX)),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(128_u8.saturating_add(crate::control::signal_number(signal))),
            Ok(_) | Err(_) => None,
        }
    }
}
