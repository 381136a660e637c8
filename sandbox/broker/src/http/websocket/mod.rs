//! WebSockets: the upgrade is judged as a request, and what flows afterwards message by message where it can be read, else as a whole.
//!
//! Extensions are never agreed to, so frames are readable. What was parsed is framed anew: lengths in odd forms, masks and the cuts of long
//! frames never reach the other side.

mod ask;
mod down;
mod frames;
mod handshake;
mod open;
mod pieces;
mod tunnel;
mod up;

pub(super) use handshake::is_asked;
pub(super) use open::open;
pub(super) use tunnel::Slot;

#[cfg(test)]
mod tests;
