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

/// As [`fork`], but the child does not push its parent off the CPU: it begins when a CPU has nothing else to do. Else a start that
/// forks, and goes on with what everybody waits for, stands still for as long as the child has work.
pub(crate) fn fork_behind() -> Result<Side, Errno> {
    // A batch task never preempts when it wakes; where the policy cannot be set (a real-time caller keeps its own), nothing changes.
    let normal = policy() == libc::SCHED_OTHER && set_policy(libc::SCHED_BATCH).is_ok();
    let side = fork();
    if normal {
        let _ = set_policy(libc::SCHED_OTHER);
    }
    side
}

/// Runs from here on only when a CPU has nothing else to do; where that cannot be set, as before.
pub(crate) fn only_when_idle() {
    let _ = set_policy(libc::SCHED_IDLE);
}

/// Ends [`only_when_idle`].
pub(crate) fn as_others_do() {
    if policy() == libc::SCHED_IDLE {
        let _ = set_policy(libc::SCHED_OTHER);
    }
}

fn policy() -> libc::c_int {
    // SAFETY: takes a number and gives one; 0 is the calling thread.
    unsafe { libc::sched_getscheduler(0) }
}

fn set_policy(policy: libc::c_int) -> Result<(), Errno> {
    // SAFETY: all fields of the struct are plain numbers, for which zero is a value.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live local, which the kernel only reads; 0 is the calling thread.
    Errno::result(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) }).map(drop)
}

/// Ends this process at once: no destructors, no handlers of the process that it was forked from.
pub(crate) fn exit_now(code: u8) -> ! {
    // SAFETY: _exit takes a number and does not return.
    unsafe { libc::_exit(i32::from(code)) }
}
