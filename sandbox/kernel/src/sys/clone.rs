//! `clone(2)` used as a fork into new namespaces.

use nix::{errno::Errno, sched::CloneFlags, unistd::Pid};

use super::fork::Side;

/// Splits this process in two; the child is the first of the namespaces in `flags`.
///
/// The caller upholds what [`super::fork::fork`] says. libc does not see this fork, so its cached data (none that we use: glibc
/// caches no pid since 2.25) is not refreshed in the child.
pub(crate) fn clone_into(flags: CloneFlags) -> Result<Side, Errno> {
    let flags = libc::c_ulong::from(flags.bits().cast_unsigned()) | libc::SIGCHLD.cast_unsigned() as libc::c_ulong;
    // SAFETY: with a null stack and without CLONE_VM the child gets a copy of our memory, as after fork; no pointer is passed. That the child does
    // not wait for another thread's lock is upheld by the caller.
    let answer = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match Errno::result(answer)? {
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::ERANGE)?))),
    }
}
