//! `clone(2)` used as a fork into new namespaces, and `clone3(2)` into a cgroup as well.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::{errno::Errno, sched::CloneFlags, unistd::Pid};

use super::fork::Side;

/// CLONE_INTO_CGROUP, Linux 5.7.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Splits this process in two; the child is the first of the namespaces in `flags`.
///
/// The caller upholds what [`super::fork::fork`] says. libc does not see this fork, so its cached data (none that we use: glibc
/// caches no pid since 2.25) is not refreshed in the child.
pub(crate) fn clone_into(flags: CloneFlags) -> Result<Side, Errno> {
    let flags = libc::c_ulong::from(flags.bits().cast_unsigned()) | libc::SIGCHLD.cast_unsigned() as libc::c_ulong;
    // SAFETY: with a null stack and without CLONE_VM the child gets a copy of our memory, as after fork; no pointer is passed. That the child does
    // not wait for another thread's lock is upheld by the caller.
    let answer = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    side(answer)
}

/// The same, and the child is born in this cgroup: moving it later would wait for every CPU of the machine. Container managers refuse
/// `clone3`, whose flags their filters cannot see; the caller falls back to [`clone_into`].
pub(crate) fn clone_into_cgroup(flags: CloneFlags, cgroup: BorrowedFd<'_>) -> Result<Side, Errno> {
    // SAFETY: all fields of the struct are plain numbers, for which zero is a value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(flags.bits().cast_unsigned()) | INTO_CGROUP;
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    arguments.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(|_| Errno::EBADF)?;
    // SAFETY: the struct is a live local of the size that is told; without a stack and without CLONE_VM the child gets a copy of our memory, as
    // after fork. That the child does not wait for another thread's lock is upheld by the caller.
    let answer = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) };
    side(answer)
}

fn side(answer: libc::c_long) -> Result<Side, Errno> {
    match Errno::result(answer)? {
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::ERANGE)?))),
    }
}
