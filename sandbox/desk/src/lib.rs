//! Where people are asked: what waits, the card they are shown, and the ways their word comes in.
//!
//! The waiting room is a pure state machine that is told the time; whoever drives it does the I/O.

pub mod card;
pub mod channels;
pub mod control;
#[cfg(test)]
mod example;
pub mod id;
pub mod room;
pub mod signature;

pub use card::Card;
pub use id::HoldId;
pub use room::WaitingRoom;
