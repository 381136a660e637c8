//! Whether a box has namespaces of its own, and what a box without them is given instead.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::PathBuf,
};

use crate::{
    doctor, landlock,
    layer::{Layer, LayerReport},
    stopped::Reserve,
    sys::{foreign, notify},
};

/// How a box is kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Setting {
    /// By namespaces of its own, with Landlock, seccomp and the file gate behind them.
    #[default]
    Namespaces,
    /// By Landlock, seccomp and the file gate alone, where the kernel or somebody around us gives no namespaces.
    Without,
}

/// Landlock keeps signals and abstract sockets inside from this ABI on, TCP from 4: without them nothing would stand in for a namespace.
pub const LEAST_ABI: u32 = 6;

/// How the file gate comes by the sockets that it connects and binds in the agent's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// It takes the caller's own (`pidfd_getfd`).
    Taken,
    /// It makes them itself and hands them out, where a filter around us refuses that (Docker's, without CAP_SYS_PTRACE).
    Made,
}

/// What a box without namespaces has of its own.
#[derive(Clone, Debug)]
pub struct Own {
    /// The one folder in which the agent may do everything without being stopped: its `TMPDIR`. There, and empty.
    pub private: PathBuf,
    /// A folder with files of ours that it may read.
    pub shown: PathBuf,
    /// How its sockets are come by.
    pub sockets: Sockets,
    /// What will be made beside its secrets; it may read that from the start.
    pub reserve: Reserve,
}

/// What the file gate of such a box needs to know.
#[derive(Debug)]
pub struct Outside {
    /// The port of the broker's listener at 127.0.0.1.
    pub v4: u16,
    /// That at `::1`, where the machine has IPv6.
    pub v6: Option<u16>,
    /// Where the broker is told who connected to what.
    pub line: OwnedFd,
}

/// Which of the two this machine can have. Costs nothing where nothing speaks against namespaces; else they are tried in children.
///
/// Where there is too little even for a box without them it says `Namespaces`: the launch then fails with the reason and its fix, and
/// what the other kind lacks is told besides.
///
/// The caller has no other thread.
#[must_use]
pub fn choose() -> (Setting, Option<String>) {
    if !is_doubtful() || doctor::has_namespaces() {
        return (Setting::Namespaces, None);
    }
    match lack() {
        None => (Setting::Without, None),
        Some(lack) => (Setting::Namespaces, Some(lack)),
    }
}

/// What a box without namespaces would need and not find here, with the fix.
fn lack() -> Option<String> {
    match landlock::offered() {
        Ok(LEAST_ABI..) => {}
        Ok(abi) => {
            return Some(format!(
                "this kernel's Landlock has ABI {abi}, and what keeps signals and abstract sockets inside comes with {LEAST_ABI} (fix: Linux 6.12 or newer)"
            ));
        }
        Err(why) => return Some(why.to_string()),
    }
    let yama = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    of_yama(yama.trim()).or_else(|| {
        // Of ourselves, whom nothing but a filter keeps from it.
        static PROBE: u8 = 0xa5;
        let mut read = [0];
        let reads = notify::read_memory(nix::unistd::getpid().as_raw(), (&raw const PROBE).addr() as u64, &mut read);
        let why =
            "a filter around agentbox refuses process_vm_readv, by which it sees what the box asks the kernel for (fix: let it through, as Docker's own does)";
        (reads != Ok(1) || read != [PROBE]).then(|| why.to_owned())
    })
}

/// 1: whoever is above the other one may read it; the gate is, see `Plan::above`. From 2 on only who has CAP_SYS_PTRACE, which the gate gives up.
fn of_yama(scope: &str) -> Option<String> {
    let fix = match scope {
        "" | "0" | "1" => return None,
        "2" => "fix: sudo sysctl kernel.yama.ptrace_scope=1",
        _ => "fix: kernel.yama.ptrace_scope=1 in /etc/sysctl.d, and a new start of the machine, since what is set so high stays",
    };
    Some(format!("kernel.yama.ptrace_scope is {scope}, so that agentbox cannot see what the box asks the kernel for ({fix})"))
}

/// How the sockets of a box without namespaces are come by here.
#[must_use]
pub fn sockets() -> Sockets {
    // Of ourselves, whom nothing but a filter keeps from it; by the process, since before Linux 6.9 a thread cannot be opened.
    let takes = || {
        let own = std::io::pipe().ok()?;
        let me = foreign::open(nix::unistd::getpid().as_raw()).ok()?;
        foreign::take(me.as_fd(), own.0.as_raw_fd()).ok()
    };
    if takes().is_some() { Sockets::Taken } else { Sockets::Made }
}

/// Whether anything is known to stand in the way of namespaces: a filter on this process, or one of the machine's switches.
fn is_doubtful() -> bool {
    let number = |path: &str| fs::read_to_string(format!("/proc/sys/{path}")).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let is_filtered = fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().filter_map(|line| line.strip_prefix("Seccomp:")).any(|mode| mode.trim() != "0"));
    is_filtered
        || number("kernel/apparmor_restrict_unprivileged_userns") == Some(1)
        || number("kernel/unprivileged_userns_clone") == Some(0)
        || number("user/max_user_namespaces") == Some(0)
        || !fs::exists("/proc/self/ns/user").unwrap_or(true)
}

/// What each layer is worth in a box without namespaces, and what does its work there.
pub(crate) fn reports() -> Vec<LayerReport> {
    let fix = doctor::user_namespace_fix(nix::errno::Errno::EPERM);
    let missing = |layer, why: &str| LayerReport::missing(layer, why, fix.clone());
    vec![
        missing(Layer::UserNamespace, "this machine gives none"),
        missing(Layer::MountNamespace, "Landlock and the file gate stand in: secrets cannot be read, but their names can be seen"),
        missing(Layer::PidNamespace, "Landlock's scope stands in: processes outside cannot be reached, but their command lines can be seen"),
        missing(Layer::NetworkNamespace, "Landlock refuses TCP, and the file gate connects to the broker in the agent's place; UDP is refused"),
        missing(Layer::IpcNamespace, "System V IPC and POSIX message queues are refused"),
        missing(Layer::UtsNamespace, "the machine's name is seen"),
    ]
}

/// What a person is told at the start.
pub const WEAKER: &str = "there are no namespaces here, so the box stands behind Landlock, seccomp and the file gate alone: the agent sees names of files and command \
     lines outside, has no UDP, no host's /tmp, and what it listens on is seen by the whole machine (`agentbox doctor` says what would help)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_of_yama_has_its_fix() {
        assert!(["", "0", "1"].into_iter().all(|scope| of_yama(scope).is_none()));
        assert!(of_yama("2").is_some_and(|told| told.contains("sysctl kernel.yama.ptrace_scope=1")));
        assert!(of_yama("3").is_some_and(|told| told.contains("new start of the machine")));
    }
}
