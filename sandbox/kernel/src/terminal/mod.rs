//! The box's own terminal: the shim keeps the real one, relays bytes, and lets through only sequences that cannot act on the person's machine.

mod attend;
#[cfg(test)]
mod attend_tests;
mod filter;
#[cfg(test)]
mod filter_tests;
pub mod protocol;
mod pty;
mod queue;
mod sequences;

pub use attend::attend;
pub use filter::Filter;
pub use pty::{Terminal, TerminalError};
pub use sequences::{KEPT, Kept};

/// Columns and rows of the terminal behind `descriptor`; `None` where it is none, or does not say.
#[must_use]
pub fn size_of(descriptor: std::os::fd::BorrowedFd<'_>) -> Option<(u16, u16)> {
    let size = crate::sys::terminal::window_size(descriptor).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}
