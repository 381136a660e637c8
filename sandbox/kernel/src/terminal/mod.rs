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
