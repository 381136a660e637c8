//! `clone3(2)` used as a fork into new namespaces, and into a cgroup.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::{errno::Errno, sched::CloneFlags, unistd::Pid};

use super::fork::Side;

/// CLONE_INTO_CGROUP, Linux 5.7.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Splits this process in two; the child is the first of the namespaces in `flags`, and is born in the cgroup where one is given: moving
/// it later would wait for every CPU of the machine.
///
/// The caller upholds what [`super::fork::fork`] says. libc does not see this fork, so its cached data (none that we use: glibc
/// caches no pid since 2.25) is not refreshed in the child.
pub(crate) fn clone_into(flags: CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> Result<Side, Errno> {
    let plain = u64::from(flags.bits().cast_unsigned());
    // SAFETY: all fields of the struct are plain numbers, for which zero is a value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = plain;
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    if let Some(cgroup) = cgroup {
        arguments.flags |= INTO_CGROUP;
        arguments.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(|_| Errno::EBADF)?;
    }
    // SAFETY: the struct is a live local of the size that is told; without a stack and without CLONE_VM the child gets a copy of our memory, as
    // after fork. That the child does not wait for another thread's lock is upheld by the caller.
    let answer = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) };
    match Errno::result(answer)? {
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::ERANGE)?))),
    }
}
