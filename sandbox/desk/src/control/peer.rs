//! Who is at the other end of a control connection, and whether it may speak.

use std::{
    fs, io,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
};

use nix::sys::socket::{getsockopt, sockopt};
use tokio::net::UnixStream;

/// The namespaces that tell inside from outside.
const NAMESPACES: [&str; 2] = ["pid", "user"];

/// A process that may speak: of our own uid, in our own namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    uid: u32,
}

/// A process that may not.
#[derive(Debug, thiserror::Error)]
pub enum Stranger {
    /// The kernel did not say who it is.
    #[error("the kernel does not say who it is: {0}")]
    Nameless(io::Error),
    /// Another user's.
    #[error("uid {theirs} is not uid {ours}")]
    OtherUser {
        /// Theirs.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// It lives in a namespace of its own: in a box, or in a container.
    #[error("process {pid} is in another {namespace} namespace: rulings are for people outside the box")]
    InABox {
        /// Which process.
        pid: i32,
        /// Which namespace differs.
        namespace: &'static str,
    },
    /// It is not visible from here, ended, or hides its namespaces.
    #[error("process {pid} cannot be examined: {source}")]
    Hidden {
        /// Which process.
        pid: i32,
        /// The system's answer.
        source: io::Error,
    },
}

impl Peer {
    /// Examines who connected.
    ///
    /// # Errors
    /// It may not speak.
    pub fn examine(stream: &UnixStream) -> Result<Self, Stranger> {
        let credentials = stream.peer_cred().map_err(Stranger::Nameless)?;
        let ours = nix::unistd::geteuid().as_raw();
        if credentials.uid() != ours {
            return Err(Stranger::OtherUser { theirs: credentials.uid(), ours });
        }
        // 0 where the process has no number in our PID namespace.
        let pid = credentials.pid().filter(|pid| *pid > 0).ok_or_else(|| Stranger::Hidden { pid: 0, source: io::ErrorKind::NotFound.into() })?;
        // Taken before the check (Linux 6.5): if it still names a living process afterwards, the number was not given to another meanwhile.
        let pidfd = getsockopt(stream, sockopt::PeerPidfd).ok();
        for namespace in NAMESPACES {
            let theirs = inode(&format!("/proc/{pid}/ns/{namespace}")).map_err(|source| Stranger::Hidden { pid, source })?;
            let ours = inode(&format!("/proc/self/ns/{namespace}")).map_err(|source| Stranger::Hidden { pid, source })?;
            if theirs != ours {
                return Err(Stranger::InABox { pid, namespace });
            }
        }
        if let Some(pidfd) = pidfd {
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).map_err(|source| Stranger::Hidden { pid, source })?;
            let now = info.lines().find_map(|line| line.strip_prefix("Pid:")).map(str::trim);
            if now != Some(pid.to_string().as_str()) {
                return Err(Stranger::Hidden { pid, source: io::ErrorKind::NotFound.into() });
            }
        }
        Ok(Self { uid: credentials.uid() })
    }

    /// How it is named in rulings.
    ///
    /// A uid is all that the kernel vouches for: a program of the same user outside every box is not told apart from a person here.
    #[must_use]
    pub fn approver(&self) -> String {
        format!("uid:{}", self.uid)
    }
}

/// Device and inode of a namespace: equal exactly where it is the same one.
fn inode(path: &str) -> io::Result<(u64, u64)> {
    let meta = fs::metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}
