//! Requests that carry a credential go out through the process that holds it: the broker hands them over, and never sees the secret.
//!
//! The broker judges, asks, and hands the request over with its token. The other process computes the digest of what it was handed,
//! has the supervisor strike the token for that digest, learns by it which credentials were judged, puts those in and no other, and
//! gives the answer back without them. Nothing else makes it send a secret.

mod ask;
mod message;
mod minted;
mod pass;
mod redis;
mod releases;
mod scram;
mod scrub;
mod serve;
mod tunnel;

pub(crate) use ask::Carrier;
pub(crate) use pass::{Ware, pass};
pub(crate) use releases::Releases;
pub(crate) use serve::{Keeper, serve};
pub(crate) use tunnel::{Instead, Session, Wish};
