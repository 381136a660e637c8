//! What our own processes do to themselves, so that a hole in one of them is a hole into little.
//!
//! | what | supervisor | broker, publisher | looker | shim |
//! |---|---|---|---|---|
//! | not dumpable: no ptrace, `/proc/PID/mem` or `environ` for the same user; no core | yes | yes | yes | yes |
//! | no_new_privs | yes | yes | yes | yes |
//! | ends with its parent | SIGTERM: it ends holds and ledger in order | SIGKILL | SIGKILL | no: it is the user's job |
//! | no capabilities | no: root's supervisor makes namespaces | yes | yes | no: it passes signals on to what root started |
//! | Landlock: reads system files, writes nothing, signals nobody | no: it writes the ledger | yes | yes | no |
//! | the environment's bytes are erased: tokens of the user lie in them | no | yes | yes | no |
//! | seccomp: only the calls of a network program; no exec, no new process | no: the box is its child | yes | yes | no |
//!
//! Call it after the fork and before any thread: Landlock and seccomp bind one thread and what it starts. What a process needs
//! beyond this (secrets, proxy variables, certificates of the policy's `roots`) it reads before. A process that must not be guarded must not run: any error here is final.
//!
//! A trap for who launches a box: a process that is not dumpable owns none of its `/proc/PID` files, so an ordinary user's supervisor
//! can no longer write `/proc/CHILD/uid_map` for a child that it then forks. Fork `init` first, or let it write its own map.

use std::path::PathBuf;

use nix::{
    errno::Errno,
    sys::{prctl, signal::Signal},
    unistd::{Pid, getppid},
};

use crate::{
    capabilities::{self, CapabilitiesError},
    landlock::{self, LandlockError},
    own_calls::{OWN_CALLS, PROBER_CALLS},
    rlimits::{self, RlimitError},
    seccomp::{self, FilterPlan, Filters, SeccompError},
    sys,
};

/// Which of our processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Policy, ledger, holds.
    Supervisor,
    /// Hostile bytes.
    Broker,
    /// Credentials, and what providers answer.
    Looker,
    /// The real terminal.
    Shim,
    /// The agent's stopped calls, done in its place.
    FileGate,
    /// What servers in the box say to the machine.
    Publisher,
}

impl Role {
    /// What ends it when its parent ends.
    fn dies_by(self) -> Option<Signal> {
        match self {
            // Not SIGKILL: it may write the end of the session; a second death cannot make it act, its peers are gone.
            Self::Supervisor => Some(Signal::SIGTERM),
            Self::Broker | Self::Looker | Self::FileGate | Self::Publisher => Some(Signal::SIGKILL),
            Self::Shim => None,
        }
    }

    fn is_fenced(self) -> bool {
        match self {
            Self::Broker | Self::Looker | Self::Publisher => true,
            // It does what the agent may do, in the box; see `gate`.
            Self::Supervisor | Self::Shim | Self::FileGate => false,
        }
    }
}

/// What could not be done; the process must end.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// `prctl(2)`.
    #[error("prctl({0}) failed")]
    Prctl(&'static str, #[source] Errno),
    /// The parent ended before we could be bound to it.
    #[error("the parent process has gone")]
    Orphan,
    /// Core files.
    #[error(transparent)]
    Limit(#[from] RlimitError),
    /// Capabilities.
    #[error(transparent)]
    Capabilities(#[from] CapabilitiesError),
    /// Landlock.
    #[error(transparent)]
    Landlock(#[from] LandlockError),
    /// The filters do not compile.
    #[error(transparent)]
    Filter(#[from] SeccompError),
    /// The filters do not go in.
    #[error("cannot install our own seccomp filters")]
    Install(#[source] Errno),
}

/// Guards this process for its role, for good.
///
/// # Errors
/// Something could not be done; the process must then end.
pub fn guard(role: Role) -> Result<(), GuardError> {
    prctl::set_dumpable(false).map_err(|e| GuardError::Prctl("PR_SET_DUMPABLE", e))?;
    rlimits::no_core()?;
    prctl::set_no_new_privs().map_err(|e| GuardError::Prctl("PR_SET_NO_NEW_PRIVS", e))?;
    if let Some(signal) = role.dies_by() {
        prctl::set_pdeathsig(signal).map_err(|e| GuardError::Prctl("PR_SET_PDEATHSIG", e))?;
    }
    if role.is_fenced() {
        sys::environment::erase(|name| KEPT_VARIABLES.iter().any(|kept| kept.as_bytes() == name));
        capabilities::drop_all()?;
        let readable = if role == Role::Publisher { Vec::new() } else { system_files() };
        landlock::restrict_to_reading(&readable)?;
        // Last: it refuses the calls that the others need.
        own_filters()?.install().map_err(GuardError::Install)?;
    }
    Ok(())
}

/// Guards the process of the probes once its programs are attached: it reads maps that it has open,
/// and reaches no file.
///
/// # Errors
/// Something could not be done; the process must then end.
pub fn guard_prober() -> Result<(), GuardError> {
    prctl::set_dumpable(false).map_err(|e| GuardError::Prctl("PR_SET_DUMPABLE", e))?;
    rlimits::no_core()?;
    prctl::set_no_new_privs().map_err(|e| GuardError::Prctl("PR_SET_NO_NEW_PRIVS", e))?;
    sys::environment::erase(|_| false);
    landlock::restrict_to_reading(&[])?;
    Filters::only(PROBER_CALLS)?.install().map_err(GuardError::Install)
}

/// Binds this process to its parent, whose number it took before the fork, and closes the gap: a parent that ended before
/// [`guard`] would never send the signal.
///
/// # Errors
/// The parent has gone; the process must end.
pub fn still_child_of(parent: Pid) -> Result<(), GuardError> {
    if getppid() == parent { Ok(()) } else { Err(GuardError::Orphan) }
}

/// What libc's resolver and our own log look up late; none of them is a place for a secret.
const KEPT_VARIABLES: &[&str] = &["RES_OPTIONS", "LOCALDOMAIN", "LANG", "LC_ALL", "TZ", "NO_COLOR", "RUST_BACKTRACE"];

/// The table of the box (families, namespaces, …), and on top of it only the calls that a network program makes.
fn own_filters() -> Result<Filters, SeccompError> {
    seccomp::compile(&FilterPlan::default())?.and_only(OWN_CALLS)
}

/// What resolving names and checking certificates reads. Folders rather than files, because these files are replaced while we run.
fn system_files() -> Vec<PathBuf> {
    const PLACES: &[&str] = &[
        "/etc",
        "/usr",
        // Name service modules are loaded when first used.
        "/lib",
        "/lib32",
        "/lib64",
        "/nix/store",
        "/gnu/store",
        // Where resolv.conf leads to.
        "/run/systemd/resolve",
        "/run/resolvconf",
        "/run/NetworkManager",
        // Certificates on openSUSE and others.
        "/var/lib/ca-certificates",
        // Whether IPv6 is there, and how many connections may wait.
        "/proc/sys/net",
        "/sys/devices/system/cpu",
        "/dev/null",
        "/dev/urandom",
    ];
    // On WSL and some containers these lead elsewhere.
    let elsewhere = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"].into_iter().filter_map(|path| std::fs::canonicalize(path).ok());
    PLACES.iter().map(PathBuf::from).chain(elsewhere).collect()
}

#[cfg(test)]
#[path = "selfguard_tests.rs"]
mod tests;
