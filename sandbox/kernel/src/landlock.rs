//! Landlock: what files a process may touch, decided by the kernel on its own objects, and what an older kernel lacks.
//!
//! It is the second fence around files; the mounts are the first. Everything is denied but what is granted: reading and running below
//! the readable roots, everything below the writable places, using (not making) the devices. It also keeps signals and abstract UNIX
//! sockets inside the box. TCP rights are left alone where the box has a network namespace: there every address leads to the broker, and
//! a port says nothing about where a connection ends. Without one all of TCP is denied, and the file gate connects in the agent's place.
//!
//! Call [`restrict`] after the mounts are made (rules are tied to the files that paths lead to *now*) and while the process has one thread.
//! It allocates and opens files, so it belongs into a fork of a single-threaded process.

use std::{
    fmt,
    fs::File,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, PathFdError, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2},
};
use serde::Serialize;

use crate::{
    layer::{Layer, LayerReport},
    sys,
};

/// The newest ABI whose rights this file knows.
pub const NEWEST: u32 = 10;

/// Which ABI to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// The newest that both the kernel and this program know.
    Kernel,
    /// At most this one, as if the kernel were older: for tests of what replaces what. One that the kernel does not offer is refused.
    Emulated(u32),
}

/// What a process may touch.
#[derive(Clone, Debug)]
pub struct LandlockPlan {
    /// Trees or files to read and run. Missing ones are an error: a plan that is wrong must not start.
    pub readable: Vec<PathBuf>,
    /// Trees or files where everything is allowed but making device nodes.
    pub writable: Vec<PathBuf>,
    /// Trees where files may be made and written, but nothing may be removed, moved or cut short by the process itself: what is left for
    /// the file gate, which does it on the objects that were judged.
    pub gated: Vec<PathBuf>,
    /// Such trees where names may be removed and files cut short by the process itself, since the kernel gate judges it; not moved.
    pub judged: Vec<PathBuf>,
    /// Device files and trees of them (`/dev/pts`): to be read, written and controlled.
    pub devices: Vec<PathBuf>,
    /// Whether the process may connect and bind TCP sockets itself.
    pub tcp: Tcp,
    /// Which ABI.
    pub abi: Abi,
}

/// TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tcp {
    /// Left alone.
    #[default]
    Free,
    /// No connecting, and no binding, to any port; an ABI that cannot refuse it is refused.
    Denied,
}

/// The devices of a box's own `/dev`; whoever makes that folder makes all of these, for a place that is missing is an error.
pub const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts"];

impl LandlockPlan {
    /// The plan of a box: reads everything that its mounts show, writes only these places, uses [`DEVICES`].
    #[must_use]
    pub fn of_box(writable: Vec<PathBuf>) -> Self {
        Self {
            readable: vec!["/".into()],
            writable,
            gated: Vec::new(),
            judged: Vec::new(),
            devices: DEVICES.iter().map(PathBuf::from).collect(),
            tcp: Tcp::Free,
            abi: Abi::Kernel,
        }
    }

    /// The plan of a box without namespaces: reads these places, does everything in its private folder, uses [`DEVICES`] but no terminal of
    /// others, and does no TCP itself.
    #[must_use]
    pub fn without_namespaces(readable: Vec<PathBuf>, private: PathBuf) -> Self {
        let devices = DEVICES.iter().filter(|device| **device != "/dev/pts").map(PathBuf::from).collect();
        Self { readable, writable: vec![private], gated: Vec::new(), judged: Vec::new(), devices, tcp: Tcp::Denied, abi: Abi::Kernel }
    }
}

/// Why there is no domain.
#[derive(Debug, thiserror::Error)]
pub enum LandlockError {
    /// Not built in, or not enabled at boot.
    #[error("this kernel has no Landlock: {0}")]
    Absent(Absence),
    /// A test asked for more than there is.
    #[error("Landlock ABI {asked} was asked for, this kernel offers {offered}")]
    NotOffered {
        /// What was asked for.
        asked: u32,
        /// What there is.
        offered: u32,
    },
    /// A place of the plan cannot be opened.
    #[error("cannot open {} for a Landlock rule", .path.display())]
    Place {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: PathFdError,
    },
    /// A place of the plan cannot be looked at.
    #[error("cannot look at {} for a Landlock rule", .path.display())]
    Look {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The kernel refused, or offers less than its ABI promises.
    #[error("Landlock refused the rules")]
    Refused(#[from] RulesetError),
    /// Not everything that was asked for is enforced; never passed over.
    #[error("Landlock enforces only a part of what its ABI promises")]
    Incomplete,
}

/// Why Landlock is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// `CONFIG_SECURITY_LANDLOCK` is off, or older than 5.13, or a seccomp filter around us hides it.
    NotBuilt,
    /// Built, but not in the list of security modules.
    NotEnabled,
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotBuilt => "landlock_create_ruleset says ENOSYS (older than 5.13, not built in, or hidden by a container's seccomp profile)",
            Self::NotEnabled => "landlock_create_ruleset says EOPNOTSUPP (built in, but not enabled at boot)",
        })
    }
}

impl Absence {
    /// What an administrator does about it.
    #[must_use]
    pub fn fix(self) -> &'static str {
        match self {
            Self::NotBuilt => {
                "use a kernel from 5.13 with CONFIG_SECURITY_LANDLOCK=y; in a container allow the landlock_* calls: --security-opt seccomp=PROFILE"
            }
            Self::NotEnabled => {
                "add landlock to the `lsm=` list on the kernel's command line (cat /sys/kernel/security/lsm shows the present list), then restart"
            }
        }
    }
}

/// One thing that a newer ABI can refuse, and what refuses it where the ABI cannot.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Right {
    /// What is refused.
    pub what: &'static str,
    /// The first ABI with it.
    pub since: u32,
    /// The layers that do it on older kernels; empty where nothing does, or nothing needs to.
    pub instead: &'static [Layer],
    /// How they do it, or what stays open.
    pub how: &'static str,
    /// Whether anything stays open without it.
    pub gap: Gap,
}

/// Whether an older kernel leaves something open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Gap {
    /// Other layers do the same, or the old kernel is stricter.
    Closed,
    /// Other layers do most of it.
    Narrowed,
    /// It is not used at any ABI, because another layer does it better.
    Unused,
}

/// Every right by its ABI, with what stands in for it. An ABI without a line brought nothing that a box needs.
pub const RIGHTS: &[Right] = &[
    Right {
        what: "reading, writing, making and removing files",
        since: 1,
        instead: &[],
        how: "nothing stands in for the first ABI: without it a box does not start",
        gap: Gap::Closed,
    },
    Right {
        what: "renaming and linking across folders",
        since: 2,
        instead: &[],
        how: "ABI 1 refuses all of it, with EXDEV: stricter, and some tools copy instead",
        gap: Gap::Closed,
    },
    Right {
        what: "truncating",
        since: 3,
        instead: &[Layer::MountNamespace],
        how: "everything but the writable places is mounted read-only, which refuses truncation as well",
        gap: Gap::Closed,
    },
    Right {
        what: "TCP by port",
        since: 4,
        instead: &[Layer::NetworkNamespace],
        how: "not used at any ABI: every address of the box's network namespace leads to the broker",
        gap: Gap::Unused,
    },
    Right {
        what: "ioctl on devices",
        since: 5,
        instead: &[Layer::MountNamespace, Layer::Seccomp],
        how: "the box's /dev holds only harmless devices, other mounts are nodev, and TIOCSTI, TIOCLINUX and TIOCSETD are refused",
        gap: Gap::Closed,
    },
    Right {
        what: "abstract UNIX sockets outside",
        since: 6,
        instead: &[Layer::NetworkNamespace],
        how: "abstract names belong to a network namespace, and the box has its own",
        gap: Gap::Closed,
    },
    Right {
        what: "signals to the outside",
        since: 6,
        instead: &[Layer::PidNamespace],
        how: "processes outside have no number in the box; its PID 1 takes only the signals it handles",
        gap: Gap::Closed,
    },
    Right {
        what: "connecting to socket files outside",
        since: 9,
        instead: &[Layer::MountNamespace],
        how: "/run and /tmp are the box's own; a socket file elsewhere in a readable folder can still be connected to",
        gap: Gap::Narrowed,
    },
    Right {
        what: "UDP by port",
        since: 10,
        instead: &[Layer::NetworkNamespace],
        how: "not used at any ABI: the box's network namespace answers DNS and refuses all other UDP",
        gap: Gap::Unused,
    },
];

/// The rights that this ABI lacks.
pub fn lacking(abi: u32) -> impl Iterator<Item = &'static Right> {
    RIGHTS.iter().filter(move |right| right.since > abi)
}

/// What the kernel offers, at most [`NEWEST`].
///
/// # Errors
/// It offers nothing.
pub fn offered() -> Result<u32, Absence> {
    match sys::landlock::abi() {
        Ok(abi) => Ok(abi.min(NEWEST)),
        Err(Errno::EOPNOTSUPP) => Err(Absence::NotEnabled),
        Err(_) => Err(Absence::NotBuilt),
    }
}

/// What a domain at this ABI is worth.
pub fn report(abi: u32) -> LayerReport {
    let open: Vec<_> = lacking(abi).filter(|right| right.gap == Gap::Narrowed).collect();
    let replaced: Vec<_> = lacking(abi).filter(|right| right.gap == Gap::Closed && !right.instead.is_empty()).collect();
    if open.is_empty() && replaced.is_empty() {
        return LayerReport::enforced(Layer::Landlock);
    }
    let say = |rights: &[&Right]| {
        let words: Vec<_> = rights
            .iter()
            .map(|right| {
                let layers: Vec<_> = right.instead.iter().map(|layer| layer.name()).collect();
                format!("{} ({}: {})", right.what, layers.join(", "), right.how)
            })
            .collect();
        words.join("; ")
    };
    let mut why = format!("ABI {abi} of {NEWEST}");
    if !open.is_empty() {
        why.push_str(&format!("; done in part by others: {}", say(&open)));
    }
    if !replaced.is_empty() {
        why.push_str(&format!("; done by others: {}", say(&replaced)));
    }
    LayerReport::partial(Layer::Landlock, why)
}

/// Puts this thread, and all that it will start, into a domain of the plan, for good; sets no_new_privs.
///
/// # Errors
/// There is no Landlock, a place is missing, or the kernel enforces less than its ABI promises. The caller must not go on.
pub fn restrict(plan: &LandlockPlan) -> Result<LayerReport, LandlockError> {
    let offered = offered().map_err(LandlockError::Absent)?;
    let abi = match plan.abi {
        Abi::Kernel => offered,
        Abi::Emulated(asked) if asked == 0 || asked > offered => return Err(LandlockError::NotOffered { asked, offered }),
        Abi::Emulated(asked) => asked,
    };
    let rights = Rights::of(abi);
    let mut ruleset = rights.ruleset(plan.tcp)?;
    for path in &plan.readable {
        ruleset = grant_as_named(ruleset, path, rights.read)?;
    }
    for path in &plan.writable {
        ruleset = grant(ruleset, path, rights.write)?;
    }
    for path in &plan.gated {
        ruleset = grant(ruleset, path, rights.gated)?;
    }
    for path in &plan.judged {
        ruleset = grant(ruleset, path, rights.judged)?;
    }
    for path in &plan.devices {
        ruleset = grant(ruleset, path, rights.device)?;
    }
    enforce(ruleset)?;
    Ok(report(abi))
}

/// For our own processes: everything is denied but reading below these places; those that are not there are left out.
///
/// # Errors
/// As [`restrict`].
pub(crate) fn restrict_to_reading(places: &[PathBuf]) -> Result<(), LandlockError> {
    let rights = Rights::of(offered().map_err(LandlockError::Absent)?);
    let mut ruleset = rights.ruleset(Tcp::Free)?;
    for path in places.iter().filter(|path| path.exists()) {
        ruleset = grant(ruleset, path, rights.look)?;
    }
    enforce(ruleset)
}

/// The rights of one ABI, sorted by what we grant them for.
#[derive(Clone, Copy, Debug)]
struct Rights {
    handled: BitFlags<AccessFs>,
    scoped: BitFlags<Scope>,
    read: BitFlags<AccessFs>,
    write: BitFlags<AccessFs>,
    gated: BitFlags<AccessFs>,
    judged: BitFlags<AccessFs>,
    device: BitFlags<AccessFs>,
    look: BitFlags<AccessFs>,
}

impl Rights {
    fn of(abi: u32) -> Self {
        let abi = ABI::from(i32::try_from(abi).unwrap_or(i32::MAX));
        let handled = AccessFs::from_all(abi);
        let read = AccessFs::from_read(abi);
        // Never granted anywhere: making device nodes, and connecting to socket files that were made outside the domain.
        let write = handled & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::ResolveUnix | AccessFs::IoctlDev);
        // REFER moves a name to another folder, and so out of the one where it was judged.
        let gated = write & !(AccessFs::RemoveFile | AccessFs::RemoveDir | AccessFs::Refer | AccessFs::Truncate);
        let judged = write & !AccessFs::Refer;
        let device = handled & (AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev);
        let look = handled & (AccessFs::ReadFile | AccessFs::ReadDir);
        Self { handled, scoped: Scope::from_all(abi), read, write, gated, judged, device, look }
    }

    /// A ruleset that the kernel takes whole or not at all.
    fn ruleset(&self, tcp: Tcp) -> Result<RulesetCreated, LandlockError> {
        let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(self.handled)?;
        if tcp == Tcp::Denied {
            // Handled, and granted to no port.
            ruleset = ruleset.handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?;
        }
        if !self.scoped.is_empty() {
            ruleset = ruleset.scope(self.scoped)?;
        }
        Ok(ruleset.create()?)
    }
}

fn grant(ruleset: RulesetCreated, path: &Path, rights: BitFlags<AccessFs>) -> Result<RulesetCreated, LandlockError> {
    let fd = PathFd::new(path).map_err(|source| LandlockError::Place { path: path.to_owned(), source })?;
    tie(ruleset, fd.as_fd(), path, rights)
}

/// What the path names, with no link on the way: the neighbours of a secret were listed before, and another box that may write there could put a link to
/// the secret in the place of one.
fn grant_as_named(ruleset: RulesetCreated, path: &Path, rights: BitFlags<AccessFs>) -> Result<RulesetCreated, LandlockError> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    match openat2(AT_FDCWD, path, how) {
        Ok(fd) => tie(ruleset, fd.as_fd(), path, rights),
        // Gone since it was listed, as files of a build are.
        Err(Errno::ENOENT) => Ok(ruleset),
        Err(errno) => Err(LandlockError::Look { path: path.to_owned(), source: errno.into() }),
    }
}

fn tie(ruleset: RulesetCreated, fd: BorrowedFd<'_>, path: &Path, rights: BitFlags<AccessFs>) -> Result<RulesetCreated, LandlockError> {
    // Asked of the very descriptor that the rule will be tied to.
    let look = |source| LandlockError::Look { path: path.to_owned(), source };
    let is_folder = fd.try_clone_to_owned().and_then(|fd| File::from(fd).metadata()).map_err(look)?.is_dir();
    let rights = if is_folder { rights } else { rights & AccessFs::from_file(ABI::V10) };
    Ok(ruleset.add_rule(PathBeneath::new(fd, rights))?)
}

fn enforce(ruleset: RulesetCreated) -> Result<(), LandlockError> {
    let status = ruleset.restrict_self()?;
    match status.ruleset {
        RulesetStatus::FullyEnforced if status.no_new_privs => Ok(()),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced | RulesetStatus::NotEnforced => Err(LandlockError::Incomplete),
    }
}

#[cfg(test)]
#[path = "landlock_tests.rs"]
mod tests;
