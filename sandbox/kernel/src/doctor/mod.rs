//! What this machine can enforce, layer by layer, proven by trying it in a child; and the exact fix for what is missing.

mod facts;
mod fixes;
mod namespaces;
mod processes;
mod repairs;

use std::time::Instant;

use serde::Serialize;

use crate::{
    layer::{self, Layer, LayerReport, Requirement},
    setting::Setting,
};

/// Something worth knowing that no box depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// A short name.
    pub name: &'static str,
    /// What was found.
    pub value: String,
    /// What it means.
    pub meaning: &'static str,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Kernel release and architecture.
    pub kernel: String,
    /// The user that it holds for: another may be allowed less, or more.
    pub uid: u32,
    /// Every layer.
    pub layers: Vec<LayerReport>,
    /// How a box would be kept apart here.
    pub setting: Setting,
    /// All else.
    pub facts: Vec<Fact>,
    /// What `landlock` offers; `None` if nothing.
    pub landlock_abi: Option<u32>,
    /// How long the trials took.
    pub milliseconds: u64,
}

impl Report {
    /// Whether `agentbox run` would start here with a policy that requires nothing more.
    #[must_use]
    pub fn can_run(&self) -> bool {
        Layer::ALL.iter().filter(|layer| layer.is_essential()).all(|layer| self.holds(*layer))
    }

    /// Whether it would start with less: behind Landlock, seccomp and the file gate alone.
    #[must_use]
    pub fn can_run_without_namespaces(&self) -> bool {
        self.setting == Setting::Without && [Layer::Landlock, Layer::Seccomp, Layer::FileGate].into_iter().all(|layer| self.holds(layer))
    }

    /// What a policy requires and this machine has not, each with the reason.
    #[must_use]
    pub fn unmet(&self, requirements: &[Requirement]) -> Vec<String> {
        layer::unmet(requirements, &self.layers, self.landlock_abi)
    }

    fn holds(&self, layer: Layer) -> bool {
        self.layers.iter().any(|report| report.layer == layer && report.holds())
    }
}

pub use repairs::{Repair, repairs};

/// Whether this user can have every namespace that a box needs, tried in children.
pub(crate) fn has_namespaces() -> bool {
    [namespaces::user, namespaces::mount, namespaces::pid, namespaces::network].iter().all(|tried| tried().holds())
}

/// Tries every layer, each in a child of its own. Call it while this process has one thread.
#[must_use]
pub fn examine() -> Report {
    let start = Instant::now();
    let layers = Layer::ALL.iter().map(|layer| look_at(*layer)).collect();
    let uname = nix::sys::utsname::uname();
    let kernel = uname.map_or_else(|e| e.to_string(), |u| format!("{} {}", u.release().display(), u.machine().display()));
    Report {
        kernel,
        uid: nix::unistd::geteuid().as_raw(),
        layers,
        setting: crate::setting::choose().0,
        facts: facts::gather(),
        landlock_abi: crate::landlock::offered().ok(),
        milliseconds: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

/// What to do when a user namespace is refused with this error, or is given without power (EPERM).
#[must_use]
pub fn user_namespace_fix(errno: nix::errno::Errno) -> String {
    fixes::Settings::read().for_user_namespace(Some(errno))
}

/// What to do when the box's own `/proc` cannot be mounted.
#[must_use]
pub fn proc_fix() -> String {
    fixes::Settings::read().for_proc()
}

/// What to do when the box's network cannot be made.
#[must_use]
pub fn network_fix() -> String {
    "sudo modprobe -a nf_tables nft_tproxy nft_reject_inet   (to keep it: these names, a line each, in /etc/modules-load.d/agentbox.conf; without the modules: a kernel \
     with CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET, CONFIG_NFT_TPROXY and CONFIG_NFT_REJECT)"
        .to_owned()
}

/// What to do when Landlock is not there.
#[must_use]
pub fn landlock_fix() -> String {
    crate::landlock::offered().err().map_or_else(|| "look at `dmesg | grep landlock`".to_owned(), |absence| absence.fix().to_owned())
}

/// What to do when calls cannot be stopped.
#[must_use]
pub fn file_gate_fix() -> String {
    "run agentbox where no other seccomp listener is on it already (a container manager with seccomp notifications, or another agentbox), on Linux 5.19 or newer"
        .to_owned()
}

fn look_at(layer: Layer) -> LayerReport {
    match layer {
        Layer::UserNamespace => namespaces::user(),
        Layer::MountNamespace => namespaces::mount(),
        Layer::PidNamespace => namespaces::pid(),
        Layer::NetworkNamespace => namespaces::network(),
        Layer::IpcNamespace => namespaces::ipc(),
        Layer::UtsNamespace => namespaces::uts(),
        Layer::Landlock => processes::landlock(),
        Layer::Seccomp => processes::seccomp(),
        Layer::FileGate => processes::file_gate(),
        Layer::Cgroup => processes::cgroup(),
        Layer::ConnectProbes => processes::probes(),
        Layer::KernelGate => processes::kernel_gate(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::LayerStatus;

    fn report(missing: Option<Layer>, landlock_abi: Option<u32>) -> Report {
        let layers = Layer::ALL
            .iter()
            .map(|layer| if Some(*layer) == missing { LayerReport::missing(*layer, "why", "fix") } else { LayerReport::enforced(*layer) })
            .collect();
        Report { kernel: String::new(), uid: 0, layers, setting: Setting::Namespaces, facts: Vec::new(), landlock_abi, milliseconds: 0 }
    }

    #[test]
    fn an_essential_layer_decides() {
        assert!(report(None, Some(7)).can_run());
        for layer in Layer::ALL {
            assert_eq!(report(Some(*layer), Some(7)).can_run(), !layer.is_essential(), "{layer}");
        }
    }

    #[test]
    fn looks_at_every_layer_once_and_says_what_to_do() {
        let report = examine();
        assert_eq!(report.layers.iter().map(|l| l.layer).collect::<Vec<_>>(), Layer::ALL);
        for layer in &report.layers {
            match &layer.status {
                LayerStatus::Enforced => {}
                LayerStatus::Partial { why } => assert!(!why.is_empty()),
                LayerStatus::Missing { why, fix } => assert!(!why.is_empty() && !fix.is_empty(), "{}", layer.layer),
            }
        }
        println!("{report:#?}");
    }
}
