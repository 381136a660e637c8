//! MongoDB between a client in the box and a server: every message is read whole, judged by the command in it, and sent on unchanged.
//!
//! An answer names the message that it answers, so a refusal is an answer of our own, and nothing takes the place of what was not sent.

mod frames;
mod relay;
mod serve;

pub(crate) use serve::serve;
