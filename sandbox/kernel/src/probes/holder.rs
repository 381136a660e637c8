//! A second holder of the kernel gate's programs: they are attached for as long as anybody holds them, and so a gate that is held by one
//! process alone would be open from that process's death until the box's.
//!
//! It is forked when they are attached, and dies with nobody. It waits until the box's cgroup is empty; when the supervisor is gone before
//! that, it ends whatever is left in it, and lets go of the programs after the last process of the box.

use std::{
    fs::File,
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd, RawFd},
        unix::fs::FileExt as _,
    },
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::stat::Mode,
    unistd::{Pid, getppid},
};

use crate::{
    capabilities, selfguard,
    sys::{
        files::close_between,
        fork::{Side, exit_now, fork},
        pidfd,
    },
};

/// How often what will not end is told to, once the supervisor is gone.
const AGAIN: Duration = Duration::from_millis(100);

/// `cgroup.events` is two short lines.
const EVENTS: usize = 128;

/// Says whether anybody is in a cgroup, and is ready when that changes.
pub(super) struct Events(File);

impl Events {
    /// # Errors
    /// The cgroup has gone.
    pub(super) fn of(cgroup: &OwnedFd) -> io::Result<Self> {
        Ok(Self(file_in(cgroup, "cgroup.events", OFlag::O_RDONLY)?))
    }

    /// One that was removed has nobody in it; one that cannot be read may have.
    pub(super) fn is_populated(&self) -> bool {
        let mut text = [0; EVENTS];
        match self.0.read_at(&mut text, 0) {
            Ok(read) => !text.get(..read).unwrap_or_default().split(|byte| *byte == b'\n').any(|line| line == b"populated 0"),
            Err(error) => error.raw_os_error() != Some(Errno::ENODEV as i32),
        }
    }
}

fn file_in(cgroup: &OwnedFd, name: &str, how: OFlag) -> io::Result<File> {
    Ok(openat(cgroup, name, how | OFlag::O_CLOEXEC, Mode::empty()).map(File::from)?)
}

/// What it watches.
struct Watch {
    events: Events,
    /// Ends all that is in it.
    kill: File,
    supervisor: OwnedFd,
}

/// Forks it off this process, whose parent is the supervisor. Of this process's descriptors it closes the standard ones and `not`: their other
/// ends must see when this process has ended.
///
/// The caller has no other thread.
///
/// # Errors
/// The cgroup has gone, or no process can be had.
pub(super) fn fork_off(cgroup: &OwnedFd, not: &[RawFd]) -> io::Result<Pid> {
    fork_for(cgroup, getppid(), not)
}

/// The same, for another supervisor.
pub(super) fn fork_for(cgroup: &OwnedFd, supervisor: Pid, not: &[RawFd]) -> io::Result<Pid> {
    let watch = Watch { events: Events::of(cgroup)?, kill: file_in(cgroup, "cgroup.kill", OFlag::O_WRONLY)?, supervisor: pidfd::open(supervisor)? };
    match fork()? {
        Side::Parent(pid) => Ok(pid),
        Side::Child => {
            let closed = close_between(0, 2).and_then(|()| not.iter().try_for_each(|fd| close_between(*fd, *fd)));
            // Without its fences it must not stay.
            if closed.is_ok() && capabilities::drop_all().is_ok() && selfguard::guard_prober().is_ok() {
                watch.stay();
            }
            exit_now(0)
        }
    }
}

impl Watch {
    /// Until nobody is in the cgroup.
    fn stay(mut self) {
        while self.events.is_populated() {
            let over = self.is_over();
            if over {
                let _ = self.kill.write_all(b"1");
            }
            let mut watched = vec![PollFd::new(self.events.0.as_fd(), PollFlags::POLLPRI)];
            if !over {
                watched.push(PollFd::new(self.supervisor.as_fd(), PollFlags::POLLIN));
            }
            let patience = if over { PollTimeout::try_from(AGAIN).unwrap_or(PollTimeout::ZERO) } else { PollTimeout::NONE };
            if let Err(errno) = poll(&mut watched, patience)
                && errno != Errno::EINTR
            {
                // Whatever is wrong, it is no reason to let go of the programs.
                std::thread::sleep(AGAIN);
            }
        }
    }

    fn is_over(&self) -> bool {
        poll(&mut [PollFd::new(self.supervisor.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}
