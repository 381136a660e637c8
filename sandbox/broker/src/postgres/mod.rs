//! PostgreSQL between a client in the box and a server: every message is parsed whole, judged by what it means, and sent on unchanged.
//!
//! What is refused is replaced by something that fails at the server, so that its transaction is truly failed and its answers stay in order.

mod answers;
mod facts;
mod frames;
mod functions;
mod guard;
mod kept;
pub(crate) mod keyed;
mod keys;
mod login;
mod refusal;
mod relay;
mod routines;
mod session;
mod startup;

pub(crate) use keys::Keys;
pub(crate) use startup::{Cover, serve};

/// A body read as each of the messages in turn, and as a first message.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &bytes::Bytes) {
    let body: &[u8] = bytes;
    let _ = (frames::query(body), frames::parse(body), frames::bind_names(body), frames::bind_values(body), frames::thing(body));
    let _ = (frames::execute(body), frames::function(body), frames::setting(body), frames::first(bytes), frames::head(body));
    let _ = (routines::only(body), routines::routine(body));
}
