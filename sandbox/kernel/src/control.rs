//! The words between the supervisor and the box's init: whole messages on a socket pair that keeps their ends.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    path::PathBuf,
};

use nix::{
    errno::Errno,
    sys::{
        signal::Signal,
        socket::{AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg, sendmsg, socketpair},
    },
};
use serde::{Deserialize, Serialize};

use crate::layer::LayerReport;

/// Longest message: a failure with its text.
const LONGEST: usize = 16 << 10;

/// The sockets of [`crate::network::BoxSockets`]: two kinds in two families, those of the doors in both, and two namespaces.
const MOST_FDS: usize = 4 + 2 * crate::network::MOST_DOORS + 2;

/// How the agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// With this code.
    Code(u8),
    /// By this signal's number.
    Signal(u8),
}

impl Exit {
    /// As shells give it.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(number) => 128_u8.saturating_add(number),
        }
    }
}

/// Why the box could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The layer's name.
    pub layer: String,
    /// What was tried, and what the kernel said.
    pub what: String,
    /// What to do about it; empty where nothing is known.
    pub fix: String,
}

/// From init.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromInit {
    /// The network stands; its sockets come with this message.
    Network {
        /// Whether the box has IPv6.
        ipv6: bool,
        /// How many of the sockets are doors.
        doors: usize,
    },
    /// The box's files are as the agent will see them, for a box with a file gate. With it come the box's user and mount namespaces, which
    /// nobody else can open.
    Mounted {
        /// The caches that the box sees through a layer.
        layered: Vec<PathBuf>,
    },
    /// The agent's process stands behind all its fences, and waits for [`ToInit::Run`]. With a file gate comes its listener.
    Ready {
        /// What each layer enforces, as far as init knows: name, and why it is only partial.
        partial: Vec<(String, String)>,
        /// The caches over which no layer could be made, and why: they are read-only.
        unlayered: Vec<(PathBuf, String)>,
    },
    /// The command runs.
    Started,
    /// It could not be.
    Failed(Failure),
    /// The command could not be executed: the errno.
    NotExecuted(i32),
    /// The agent was stopped by its terminal (Ctrl-Z).
    Stopped,
    /// The agent was stopped since it wants to read or set its terminal from the background.
    WantsTerminal,
    /// It ended.
    Ended(Exit),
}

/// To init.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToInit {
    /// The id maps are written, the cgroup is joined: go on.
    Go,
    /// The network is served and every required layer holds: execute the command.
    Run,
    /// Send this signal to the agent's process group.
    Signal(i32),
    /// Stop every process of the box, until it is thawed.
    Freeze,
    /// Let them go on.
    Thaw,
    /// Bring the agent to the foreground of the box's terminal, and let it go on.
    Foreground,
    /// End the box: every process of it, and itself.
    End,
}

/// One end.
#[derive(Debug)]
pub struct Control(OwnedFd);

impl AsFd for Control {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Control {
    /// Of a descriptor that is one end of a pair.
    fn from(end: OwnedFd) -> Self {
        Self(end)
    }
}

impl AsRawFd for Control {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Control {
    /// Both ends.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn pair() -> Result<(Self, Self), Errno> {
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(a), Self(b)))
    }

    /// Sends a message with descriptors.
    ///
    /// # Errors
    /// The other side has gone.
    pub fn send<T: Serialize>(&self, message: &T, fds: &[RawFd]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let rights = [ControlMessage::ScmRights(fds)];
        let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
        sendmsg::<UnixAddr>(self.0.as_raw_fd(), &[IoSlice::new(&bytes)], control, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    /// Receives a message; `None` when the other side has gone.
    ///
    /// # Errors
    /// What came is no message; or, in non-blocking mode, nothing is there yet.
    pub fn receive<T: for<'a> Deserialize<'a>>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut buffer = vec![0; LONGEST];
        let mut space = nix::cmsg_space!([RawFd; MOST_FDS]);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let mut was_told = false;
        let message = loop {
            match recvmsg::<UnixAddr>(self.0.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
                Err(Errno::EINTR) => {}
                // The other side has gone with a word of ours unread. The kernel tells that once, and before the other side's own last words.
                Err(Errno::ECONNRESET) if !was_told => was_told = true,
                other => break other?,
            }
        };
        let mut fds = Vec::new();
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = control {
                fds.extend(raw.into_iter().map(crate::sys::files::own));
            }
        }
        let count = message.bytes;
        if count == 0 {
            return Ok(None);
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        Ok(Some((serde_json::from_slice(bytes)?, fds)))
    }
}

/// The number of a signal as an exit code's part.
pub(crate) fn signal_number(signal: Signal) -> u8 {
    u8::try_from(signal as i32).unwrap_or(0)
}

/// What is only partly enforced, in the words of a message.
pub(crate) fn partly(reports: &[LayerReport]) -> Vec<(String, String)> {
    reports
        .iter()
        .filter_map(|report| match &report.status {
            crate::layer::LayerStatus::Partial { why } => Some((report.layer.name().to_owned(), why.clone())),
            crate::layer::LayerStatus::Enforced | crate::layer::LayerStatus::Missing { .. } => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_last_words_of_one_that_has_gone_are_heard_though_it_did_not_listen() {
        let (ours, theirs) = Control::pair().unwrap();
        theirs.send(&FromInit::Ended(Exit::Code(3)), &[]).unwrap();
        ours.send(&ToInit::Signal(18), &[]).unwrap();
        drop(theirs);
        assert!(matches!(ours.receive::<FromInit>(), Ok(Some((FromInit::Ended(Exit::Code(3)), _)))));
        assert!(matches!(ours.receive::<FromInit>(), Ok(None)));
    }
}
