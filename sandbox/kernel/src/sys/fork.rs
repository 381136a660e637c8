//! `fork(2)` and `_exit(2)`, for trials and for our own processes.

use nix::{
    errno::Errno,
    unistd::{ForkResult, Pid},
};

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// The one that called, with the child's number.
    Parent(Pid),
    /// The new one.
    Child,
}

/// Splits this process in two.
///
/// The caller upholds: it has no other thread, or the child keeps to what needs no lock that another thread may hold (glibc makes
/// its allocator usable in the child; std's streams and tracing are not).
pub(crate) fn fork() -> Result<Side, Errno> {
    // SAFETY: fork touches no memory of ours; that the child does not wait for a lock whose owner was not copied is upheld by the caller as said
    // above, and the worst case is a child that waits, which every caller bounds by a deadline.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Side::Parent(child)),
        ForkResult::Child => Ok(Side::Child),
    }
}

/// Ends this process at once: no destructors, no handlers of the process that it was forked from.
pub(crate) fn exit_now(code: u8) -> ! {
    // SAFETY: _exit takes a number and does not return.
    unsafe { libc::_exit(i32::from(code)) }
}
