//! `seccomp(2)`.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// SECCOMP_GET_ACTION_AVAIL, Linux 4.14.
const GET_ACTION_AVAIL: libc::c_uint = 2;

fn as_program(filter: &[libc::sock_filter]) -> Result<libc::sock_fprog, Errno> {
    // The kernel's own bound is BPF_MAXINSNS (4096); what does not fit 16 bits cannot be said to it.
    let len = libc::c_ushort::try_from(filter.len()).map_err(|_| Errno::EINVAL)?;
    Ok(libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() })
}

/// Adds a filter to this thread, for good. Needs no_new_privs or CAP_SYS_ADMIN. Allocates nothing.
pub(crate) fn add_filter(filter: &[libc::sock_filter]) -> Result<(), Errno> {
    let program = as_program(filter)?;
    // SAFETY: `program` points to `filter.len()` instructions that outlive the call; the kernel copies them and, despite the pointer's
    // type, does not write to them.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    Errno::result(done).map(drop)
}

/// Adds a filter with a listener for what it answers with USER_NOTIF.
pub(crate) fn add_filter_with_listener(filter: &[libc::sock_filter], flags: libc::c_ulong) -> Result<OwnedFd, Errno> {
    let program = as_program(filter)?;
    let flags = flags | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: as in `add_filter`.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: with NEW_LISTENER a call that succeeds returns a descriptor made for us, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether the kernel knows this SECCOMP_RET_ action.
pub(crate) fn knows_action(action: u32) -> bool {
    // SAFETY: the third argument points to a u32 that outlives the call; the kernel only reads it.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action) };
    answer == 0
}
