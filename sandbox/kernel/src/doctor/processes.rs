//! Landlock, seccomp and the cgroup, each by doing in a child what a box does.

use std::{fs, io::ErrorKind};

use agentbox_core::policy::settings::Limits;

use crate::{
    capabilities,
    landlock::{self, Abi, LandlockPlan, Tcp},
    layer::{Layer, LayerReport},
    seccomp::{self, FilterPlan},
    trial::in_child,
};

pub(super) fn landlock() -> LayerReport {
    let abi = match landlock::offered() {
        Ok(abi) => abi,
        Err(absence) => return LayerReport::missing(Layer::Landlock, absence.to_string(), absence.fix()),
    };
    let trial = in_child(|| {
        let plan = LandlockPlan {
            readable: vec!["/".into()],
            writable: Vec::new(),
            gated: Vec::new(),
            judged: Vec::new(),
            devices: Vec::new(),
            tcp: Tcp::Free,
            abi: Abi::Kernel,
        };
        let _report = landlock::restrict(&plan).map_err(|e| e.to_string())?;
        fs::read_dir("/").map_err(|e| format!("reading / in a domain that may: {e}"))?;
        match fs::File::create(std::env::temp_dir().join(format!("agentbox-doctor-{}", std::process::id()))) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(String::new()),
            Err(error) => Err(format!("creating a file: {error} instead of a refusal")),
            Ok(_) => Err("a file was created in a domain that may not".to_owned()),
        }
    });
    match trial.result() {
        Ok(_) => landlock::report(abi),
        Err(why) => LayerReport::missing(Layer::Landlock, why, "report it: the kernel offers Landlock but does not keep it"),
    }
}

pub(super) fn seccomp() -> LayerReport {
    let filters = match seccomp::compile(&FilterPlan::default()) {
        Ok(filters) => filters,
        Err(error) => return LayerReport::missing(Layer::Seccomp, error.to_string(), "use x86_64 or aarch64"),
    };
    let trial = in_child(|| {
        capabilities::drop_all().map_err(|e| e.to_string())?;
        nix::sys::prctl::set_no_new_privs().map_err(|e| e.to_string())?;
        filters.install().map_err(|e| format!("seccomp(SET_MODE_FILTER): {e}"))?;
        // A family that every kernel has, so that the answer is the filter's.
        let packet =
            nix::sys::socket::socket(nix::sys::socket::AddressFamily::Packet, nix::sys::socket::SockType::Raw, nix::sys::socket::SockFlag::SOCK_CLOEXEC, None);
        match packet {
            Err(nix::errno::Errno::EAFNOSUPPORT) => Ok(String::new()),
            other => Err(format!("a packet socket behind the filters: {other:?}")),
        }
    });
    match trial.result() {
        Ok(_) => LayerReport::enforced(Layer::Seccomp),
        Err(why) => LayerReport::missing(Layer::Seccomp, why, "use a kernel with CONFIG_SECCOMP_FILTER=y; a container must not refuse seccomp(2)"),
    }
}

/// Whether a child may have its calls stopped.
pub(super) fn file_gate() -> LayerReport {
    let trial = in_child(|| {
        capabilities::drop_all().map_err(|e| e.to_string())?;
        nix::sys::prctl::set_no_new_privs().map_err(|e| e.to_string())?;
        crate::stopped::install(crate::stopped::Stops::APART).map(|_| String::new()).map_err(|e| format!("seccomp(NEW_LISTENER | WAIT_KILLABLE_RECV): {e}"))
    });
    match trial.result() {
        Ok(_) => LayerReport::enforced(Layer::FileGate),
        Err(why) => LayerReport::missing(Layer::FileGate, why, super::file_gate_fix()),
    }
}

pub(super) fn probes() -> LayerReport {
    match crate::probes::try_them() {
        Ok(()) => LayerReport::enforced(Layer::ConnectProbes),
        Err(why) => crate::probes::missing(&why),
    }
}

pub(super) fn kernel_gate() -> LayerReport {
    match crate::probes::try_gate() {
        Ok(()) => LayerReport::enforced(Layer::KernelGate),
        Err(why) => crate::probes::no_gate(&why),
    }
}

pub(super) fn cgroup() -> LayerReport {
    const MEMORY: u64 = 1 << 30;
    const PROCESSES: u64 = 1000;
    const FIX: &str = "systemd-run --user --scope -p Delegate=yes agentbox run …   (without it limits are set a process, not for the box as a whole)";
    let trial = in_child(|| {
        // As a box's, with limits that this process does not meet.
        let limits = Limits { memory: Some(MEMORY), processes: Some(PROCESSES), ..Limits::default() };
        let cgroup = crate::cgroup::make(&format!("doctor-{}", std::process::id()), &limits)?;
        let own = crate::cgroup::own_path().ok_or("no cgroup v2 is mounted")?;
        let joined = cgroup.take(nix::unistd::getpid());
        // Out again, else it could not be removed.
        let left = fs::write(own.join("cgroup.procs"), "0");
        drop(cgroup);
        joined.map_err(|e| format!("joining a group: {e}"))?;
        left.map_err(|e| format!("leaving a group: {e}"))?;
        Ok(String::new())
    });
    match trial.result() {
        Ok(_) => LayerReport::enforced(Layer::Cgroup),
        Err(why) => LayerReport::missing(Layer::Cgroup, why, FIX),
    }
}
