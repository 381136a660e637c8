//! Signal dispositions.

use nix::{
    errno::Errno,
    sys::signal::{SigAction, Signal, sigaction},
};

/// Sets a disposition. Only for SIG_DFL and SIG_IGN: a handler would be code that runs anywhere.
pub(crate) fn reset(signal: Signal, action: &SigAction) -> Result<(), Errno> {
    // SAFETY: no handler is installed by any caller, so no code can run in a place where it must not.
    unsafe { sigaction(signal, action) }.map(drop)
}
