//! The layers of a box by name, and how well each is enforced on this machine.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// A layer of the box; its name is what `doctor` prints and what a policy's `require` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// A user namespace in which our capabilities really work: all other namespaces of an ordinary user need it.
    UserNamespace,
    /// Private mounts: read-only but the writable places, secrets masked.
    MountNamespace,
    /// Own process numbers; everything in the box dies with its PID 1.
    PidNamespace,
    /// Own network in which every address leads to the broker.
    NetworkNamespace,
    /// Own System V IPC and POSIX message queues.
    IpcNamespace,
    /// Own host name.
    UtsNamespace,
    /// File rights, abstract UNIX sockets and signals, refused by the kernel's own objects.
    Landlock,
    /// Refused system calls.
    Seccomp,
    /// Calls that destroy files, stopped and judged one by one.
    FileGate,
    /// Memory and process limits for the box as a whole.
    Cgroup,
    /// eBPF programs that see who connects where, and refuse sockets outside of the box's network.
    ConnectProbes,
    /// eBPF programs on the kernel's security hooks, which refuse the box's processes what only the file gate may do to files.
    KernelGate,
}

impl Layer {
    /// All of them, in the order in which they are shown.
    pub const ALL: &'static [Self] = &[
        Self::UserNamespace,
        Self::MountNamespace,
        Self::PidNamespace,
        Self::NetworkNamespace,
        Self::IpcNamespace,
        Self::UtsNamespace,
        Self::Landlock,
        Self::Seccomp,
        Self::FileGate,
        Self::Cgroup,
        Self::ConnectProbes,
        Self::KernelGate,
    ];

    /// The name that people write and read.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UserNamespace => "user-namespace",
            Self::MountNamespace => "mount-namespace",
            Self::PidNamespace => "pid-namespace",
            Self::NetworkNamespace => "network-namespace",
            Self::IpcNamespace => "ipc-namespace",
            Self::UtsNamespace => "uts-namespace",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::FileGate => "file-gate",
            Self::Cgroup => "cgroup",
            Self::ConnectProbes => "connect-probes",
            Self::KernelGate => "kernel-gate",
        }
    }

    /// Whether `run` refuses to start without this layer, whatever the policy says.
    #[must_use]
    pub fn is_essential(self) -> bool {
        match self {
            Self::UserNamespace | Self::MountNamespace | Self::PidNamespace | Self::NetworkNamespace | Self::Landlock | Self::Seccomp | Self::FileGate => true,
            Self::IpcNamespace | Self::UtsNamespace | Self::Cgroup | Self::ConnectProbes | Self::KernelGate => false,
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Layer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A word in `require` that names no layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// No such layer.
    #[error(
        "`{0}` is no layer; the layers are: user-namespace, mount-namespace, pid-namespace, network-namespace, ipc-namespace, uts-namespace, landlock, landlock>=N, seccomp, file-gate, cgroup, connect-probes, kernel-gate"
    )]
    Unknown(String),
    /// What follows `landlock>=` is no ABI.
    #[error("`{0}`: after `landlock>=` comes a Landlock ABI, a number from 1")]
    BadAbi(String),
}

impl FromStr for Layer {
    type Err = LayerError;

    fn from_str(word: &str) -> Result<Self, LayerError> {
        Self::ALL.iter().copied().find(|layer| layer.name() == word).ok_or_else(|| LayerError::Unknown(word.to_owned()))
    }
}

/// One entry of a policy's `require`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// This layer must be enforced; what it lacks, other layers may make up for.
    Layer(Layer),
    /// Landlock itself must offer at least this ABI.
    LandlockAtLeast(u32),
}

impl Requirement {
    /// The layer that it speaks of.
    #[must_use]
    pub fn layer(self) -> Layer {
        match self {
            Self::Layer(layer) => layer,
            Self::LandlockAtLeast(_) => Layer::Landlock,
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(layer) => layer.fmt(f),
            Self::LandlockAtLeast(abi) => write!(f, "landlock>={abi}"),
        }
    }
}

impl FromStr for Requirement {
    type Err = LayerError;

    fn from_str(word: &str) -> Result<Self, LayerError> {
        let Some(abi) = word.strip_prefix("landlock>=") else { return word.parse().map(Self::Layer) };
        match abi.parse() {
            Ok(abi) if abi > 0 => Ok(Self::LandlockAtLeast(abi)),
            Ok(_) | Err(_) => Err(LayerError::BadAbi(word.to_owned())),
        }
    }
}

/// How well a layer holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "lowercase")]
#[must_use]
pub enum LayerStatus {
    /// Wholly.
    Enforced,
    /// In part; what is lacking another layer does, and which is said.
    Partial {
        /// What is lacking, and what does it instead.
        why: String,
    },
    /// Not at all.
    Missing {
        /// What the kernel said.
        why: String,
        /// The exact thing to do, as a command where there is one.
        fix: String,
    },
}

/// One layer with its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct LayerReport {
    /// Which.
    pub layer: Layer,
    /// How well.
    pub status: LayerStatus,
}

impl LayerReport {
    /// Wholly enforced.
    pub fn enforced(layer: Layer) -> Self {
        Self { layer, status: LayerStatus::Enforced }
    }

    /// Enforced in part.
    pub fn partial(layer: Layer, why: impl Into<String>) -> Self {
        Self { layer, status: LayerStatus::Partial { why: why.into() } }
    }

    /// Not enforced.
    pub fn missing(layer: Layer, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { layer, status: LayerStatus::Missing { why: why.into(), fix: fix.into() } }
    }

    /// Whether the layer holds, be it with the help of others.
    #[must_use]
    pub fn holds(&self) -> bool {
        match self.status {
            LayerStatus::Enforced | LayerStatus::Partial { .. } => true,
            LayerStatus::Missing { .. } => false,
        }
    }
}

/// What is required and not there, each with the reason and the fix; empty means that a box may start.
///
/// A layer that nobody reported counts as missing.
#[must_use]
pub fn unmet(requirements: &[Requirement], reports: &[LayerReport], landlock_abi: Option<u32>) -> Vec<String> {
    requirements.iter().filter_map(|requirement| lack(*requirement, reports, landlock_abi)).collect()
}

fn lack(requirement: Requirement, reports: &[LayerReport], landlock_abi: Option<u32>) -> Option<String> {
    match reports.iter().find(|report| report.layer == requirement.layer()).map(|report| &report.status) {
        None => return Some(format!("{requirement}: it was not set up")),
        Some(LayerStatus::Missing { why, fix }) => return Some(format!("{requirement}: {why} (fix: {fix})")),
        Some(LayerStatus::Enforced | LayerStatus::Partial { .. }) => {}
    }
    match requirement {
        Requirement::LandlockAtLeast(wanted) if landlock_abi.is_none_or(|abi| abi < wanted) => {
            Some(format!("{requirement}: this kernel offers ABI {} (fix: a newer kernel)", landlock_abi.unwrap_or(0)))
        }
        Requirement::LandlockAtLeast(_) | Requirement::Layer(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back() {
        for layer in Layer::ALL {
            assert_eq!(layer.name().parse(), Ok(*layer));
            assert_eq!(layer.to_string().parse(), Ok(Requirement::Layer(*layer)));
            let unknown = LayerError::Unknown(String::new()).to_string();
            assert!(unknown.contains(layer.name()), "{layer} is not offered as a choice");
        }
    }

    #[test]
    fn requirements_are_read_strictly() {
        assert_eq!("landlock>=4".parse(), Ok(Requirement::LandlockAtLeast(4)));
        assert_eq!("landlock>=4".parse::<Requirement>().map(|r| r.to_string()), Ok("landlock>=4".to_owned()));
        for bad in ["", "landlock>=", "landlock>=0", "landlock>=-1", "landlock>=four", "landlock >= 4", "Landlock", "seccomp>=1", "namespaces"] {
            assert!(bad.parse::<Requirement>().is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn what_is_required_and_missing_is_named() {
        let reports =
            [LayerReport::missing(Layer::Cgroup, "why", "do this"), LayerReport::partial(Layer::Landlock, "in part"), LayerReport::enforced(Layer::Seccomp)];
        let unmet = |words: &[&str]| {
            let requirements: Vec<Requirement> = words.iter().map(|word| word.parse().unwrap()).collect();
            super::unmet(&requirements, &reports, Some(4))
        };
        assert_eq!(unmet(&["landlock", "landlock>=4", "seccomp"]), Vec::<String>::new());
        assert_eq!(unmet(&["cgroup", "seccomp"]), ["cgroup: why (fix: do this)"]);
        assert_eq!(unmet(&["landlock>=5"]), ["landlock>=5: this kernel offers ABI 4 (fix: a newer kernel)"]);
        assert_eq!(unmet(&["pid-namespace"]), ["pid-namespace: it was not set up"]);
        assert_eq!(super::unmet(&[Requirement::LandlockAtLeast(1)], &reports, None).len(), 1);
    }
}
