//! The box's own terminal: the shim keeps the real one, relays bytes, and lets through only sequences that cannot act on the person's machine.

mod attend;
mod filter;
pub mod protocol;
mod pty;
mod sequences;

pub use attend::attend;
pub use filter::Filter;
pub use pty::{Terminal, TerminalError};
pub use sequences::{KEPT, Kept};
