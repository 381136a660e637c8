//! A process outside the box that connects to servers in it: it moves into the box's network and nothing else of it.

use std::os::fd::AsFd as _;

use nix::sched::{CloneFlags, setns};

use crate::{
    network::Namespaces,
    selfguard::{self, GuardError, Role},
};

/// It cannot be entered, or the process cannot be fenced.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// `setns(2)`.
    #[error("entering the box's {0}")]
    Namespace(&'static str, #[source] nix::errno::Errno),
    /// The fence.
    #[error(transparent)]
    Guard(#[from] GuardError),
}

/// Moves this process, which has one thread, into the box's network, and then fences it as the broker is fenced: from now on it sees no
/// file, starts nothing and has no capability. Sockets that it has open stay in the network that they were made in.
///
/// # Errors
/// The process must then end.
pub fn enter(namespaces: Namespaces) -> Result<(), EnterError> {
    let Namespaces { user, network } = namespaces;
    // The power over the box's network comes with its user namespace, and goes with the fence.
    setns(user.as_fd(), CloneFlags::CLONE_NEWUSER).map_err(|errno| EnterError::Namespace("user namespace", errno))?;
    setns(network.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|errno| EnterError::Namespace("network namespace", errno))?;
    drop((user, network));
    selfguard::guard(Role::Publisher)?;
    Ok(())
}
