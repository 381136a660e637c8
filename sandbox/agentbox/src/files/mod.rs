//! The file gate's process: judges the agent's stopped calls, keeps what they would destroy, and does them in the agent's place.

mod ask;
mod judge;
mod keep;
mod tally;

use std::{
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::net::UnixStream,
    },
    path::PathBuf,
    sync::Arc,
};

use agentbox_core::policy::Policy;
use agentbox_kernel::{
    control::Control,
    launch::GateHandles,
    selfguard::{self, Role},
    stopped::{self, Listener, World},
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::commands::run::chain;

/// What the process is given before it is forked.
pub(crate) struct Brief {
    pub(crate) policy: Arc<Policy>,
    pub(crate) session: String,
    /// The trees that the agent may write.
    pub(crate) writable: Vec<PathBuf>,
    /// Where the vault lies.
    pub(crate) vault: PathBuf,
    /// What runs, for people.
    pub(crate) about: String,
}

/// Comes with the descriptors of the box.
#[derive(serde::Serialize, serde::Deserialize)]
struct Handed;

/// Hands the box to the file gate's process.
pub(crate) fn hand_over(gate: &Control, handles: &GateHandles) -> io::Result<()> {
    let fds = [handles.listener.as_raw_fd(), handles.user_namespace.as_raw_fd(), handles.mount_namespace.as_raw_fd()];
    gate.send(&Handed, &fds)
}
