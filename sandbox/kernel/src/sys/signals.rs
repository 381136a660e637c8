//! Signal dispositions.

use nix::errno::Errno;

/// Signals of Linux, with the real-time ones, on every architecture that we build for.
const SIGNALS: i32 = 64;

/// Bytes of the kernel's set of signals.
const SET: usize = 8;

/// At least the size of the kernel's `struct sigaction`, which is 32 bytes or less.
type Action = [u64; 8];

/// Gives every signal its default disposition: those too that libc keeps to itself and refuses to touch.
pub(crate) fn reset_all() -> Result<(), Errno> {
    // SIG_DFL, no flags, nothing masked.
    let default: Action = [0; 8];
    let nothing: *mut Action = std::ptr::null_mut();
    for signal in (1..=SIGNALS).filter(|signal| !matches!(*signal, libc::SIGKILL | libc::SIGSTOP)) {
        // SAFETY: the kernel reads a struct that fits into `default` and writes nothing. No handler is installed, so no code of ours can run in
        // a place where it must not.
        let done = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, nothing, SET) };
        Errno::result(done)?;
    }
    Ok(())
}
