//! SPDY/3.1, to which clients of Kubernetes change a connection for `exec`, `attach` and `port-forward`: the opening is judged as the
//! request that it is, and what flows afterwards passes unread where that was permitted, else only if it brings nothing into the container.

mod frames;
mod open;
mod tunnel;

use http::{HeaderMap, header};

pub(super) use open::open;
pub(super) use tunnel::Tunnel;

/// The protocol's name.
pub(super) const NAME: &str = "SPDY/3.1";

/// Whether a request asks for it, and for nothing else.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(header::UPGRADE).iter();
    all.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(NAME.as_bytes())) && all.next().is_none()
}
