//! Redis between a client in the box and a server: every command is parsed whole, judged by what it means, and sent on as it was parsed.
//!
//! What is refused is replaced by a command that no server knows, so that its transaction is truly aborted and its answers stay in order.

mod answers;
mod commands;
mod refusal;
mod relay;
mod replies;
mod scripts;
mod serve;
mod session;
mod transaction;
mod words;

pub(crate) use scripts::Scripts;
pub(crate) use serve::serve;
