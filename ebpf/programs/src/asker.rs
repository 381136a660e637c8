//! Who is calling.

use agentbox_ebpf::Asker;
use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid,
    generated::{bpf_get_current_cgroup_id, bpf_ktime_get_boot_ns},
};

#[inline(always)]
pub fn asker() -> Asker {
    // SAFETY: both take nothing and give a number.
    let (at, cgroup) = unsafe { (bpf_ktime_get_boot_ns(), bpf_get_current_cgroup_id()) };
    Asker { at, thread: bpf_get_current_pid_tgid(), cgroup, comm: bpf_get_current_comm().unwrap_or([0; 16]) }
}
