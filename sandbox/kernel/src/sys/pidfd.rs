//! `pidfd_open(2)`.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::{errno::Errno, unistd::Pid};

/// A descriptor for this process; close-on-exec.
pub(crate) fn open(pid: Pid) -> Result<OwnedFd, Errno> {
    // SAFETY: two numbers, no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: a call that succeeds returns a descriptor made for us, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to the very process that the descriptor was made for, also when its number has a new owner by now.
pub(crate) fn send_signal(process: std::os::fd::BorrowedFd<'_>, signal: nix::sys::signal::Signal) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    // SAFETY: three numbers and a null pointer, which the kernel takes for "as kill does".
    let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal as i32, std::ptr::null::<libc::siginfo_t>(), 0) };
    Errno::result(done).map(drop)
}
