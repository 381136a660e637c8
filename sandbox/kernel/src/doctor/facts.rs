//! What is worth knowing of this machine beside the layers.

use std::fs;

use nix::errno::Errno;

use super::Fact;
use crate::{sys, trial::in_child};

/// BPF_PROG_TYPE_CGROUP_SOCK_ADDR and BPF_CGROUP_INET4_CONNECT.
const CGROUP_CONNECT4: (u32, u32) = (18, 10);

/// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, Linux 5.19.
const WAIT_KILLABLE: libc::c_ulong = 1 << 5;

pub(super) fn gather() -> Vec<Fact> {
    vec![
        Fact { name: "landlock-errata", value: errata(), meaning: "which known faults of Landlock this kernel has mended" },
        Fact { name: "seccomp-notify", value: notify(), meaning: "whether calls can be judged outside the caller: the file gate needs it" },
        Fact { name: "bpf-programs", value: bpf_programs(), meaning: "whether this user may load cgroup programs: who connected where, for the card" },
        Fact { name: "bpf-lsm", value: bpf_lsm(), meaning: "whether the kernel could judge its own objects: the kernel gate needs it" },
        Fact { name: "pidfd", value: pidfd(), meaning: "processes by descriptor, which cannot be mistaken for another" },
        Fact { name: "memfd", value: memfd(), meaning: "files without a name, for what the box is given" },
        Fact {
            name: "ptrace-scope",
            value: sysctl("kernel/yama/ptrace_scope"),
            meaning: "Yama: who may trace whom outside boxes; a box without namespaces takes 0 or 1, others take any",
        },
        Fact { name: "seccomp-actions", value: sysctl("kernel/seccomp/actions_avail"), meaning: "what a filter may answer" },
    ]
}

fn sysctl(path: &str) -> String {
    fs::read_to_string(format!("/proc/sys/{path}")).map_or_else(|_| "not there".to_owned(), |text| text.trim().to_owned())
}

fn errata() -> String {
    let errata: Vec<_> = landlock::Erratum::current().iter().map(|erratum| format!("{erratum:?}")).collect();
    if errata.is_empty() { "none is told".to_owned() } else { errata.join(", ") }
}

/// A listener in a child, for the calls of a filter that lets everything pass.
fn notify() -> String {
    if !sys::seccomp::knows_action(libc::SECCOMP_RET_USER_NOTIF) {
        return "no".to_owned();
    }
    let with = |flags: libc::c_ulong| {
        let trial = in_child(move || {
            nix::sys::prctl::set_no_new_privs().map_err(|e| e.to_string())?;
            let pass = [libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW }];
            sys::seccomp::add_filter_with_listener(&pass, flags).map(|_| String::new()).map_err(|e| e.to_string())
        });
        trial.result()
    };
    match (with(0), with(WAIT_KILLABLE)) {
        (Ok(_), Ok(_)) => "yes, with WAIT_KILLABLE_RECV".to_owned(),
        (Ok(_), Err(_)) => "yes, without WAIT_KILLABLE_RECV (5.19)".to_owned(),
        (Err(why), _) if why.contains("EBUSY") => "no: a listener is on us already (a container manager, or agentbox in agentbox)".to_owned(),
        (Err(why), _) => format!("no: {why}"),
    }
}

fn bpf_programs() -> String {
    let (kind, attach) = CGROUP_CONNECT4;
    match sys::bpf::load_nothing(kind, attach) {
        Ok(_) => "yes".to_owned(),
        Err(Errno::EPERM) => "no: EPERM (needs CAP_BPF and CAP_NET_ADMIN)".to_owned(),
        Err(errno) => format!("no: {errno}"),
    }
}

fn bpf_lsm() -> String {
    match fs::read_to_string("/sys/kernel/security/lsm") {
        Ok(list) if list.trim().split(',').any(|module| module == "bpf") => format!("in the list of security modules ({}); loading is not tried", list.trim()),
        Ok(list) => format!("not in the list of security modules ({})", list.trim()),
        Err(error) => format!("/sys/kernel/security/lsm: {error}"),
    }
}

fn pidfd() -> String {
    sys::pidfd::open(nix::unistd::getpid()).map_or_else(|errno| format!("no: {errno}"), |_| "yes".to_owned())
}

fn memfd() -> String {
    nix::sys::memfd::memfd_create(c"agentbox-doctor", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).map_or_else(|errno| format!("no: {errno}"), |_| "yes".to_owned())
}
