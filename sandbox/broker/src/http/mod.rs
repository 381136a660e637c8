//! HTTP/1.1 and HTTP/2 between a client in the box and the far side: parsed strictly, judged, sent on as parsed.

mod asking;
mod body;
mod canonical;
pub(crate) mod carrier;
mod client;
mod envelopes;
mod head;
mod pool;
mod serve;
mod spdy;
mod strict;
mod twice;
mod upgrade;
mod websocket;

pub(crate) use asking::{Right, permit, refusal, still_fits};
pub(crate) use body::{Room, Share};
pub(crate) use pool::Pool;
pub(crate) use serve::{Facts, Version, serve};
pub(crate) use twice::Twice;

#[cfg(any(test, fuzzing))]
pub(crate) use websocket::fuzz as fuzz_websocket;

/// Whether the second reader of HTTP/1 takes all of these bytes, handed over in pieces of this length.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8], piece: usize) -> Result<(), &'static str> {
    let mut framer = strict::Framer::default();
    bytes.chunks(piece).try_for_each(|piece| framer.take(piece))
}
