//! The canonical form of a request: what an approval is bound to.

use agentbox_core::{Destination, Digest};
use http::{HeaderMap, Method};

use crate::meaning::Scheme;

/// Headers that cannot choose what a request does, so that a client's repetition of a request has the same digest: identities of
/// the attempt, clocks, and what the client would like of the answer's form. Published: see `docs/policy.md`.
pub(crate) const LEFT_OUT: &[&str] = &[
    "accept-encoding",
    "accept-language",
    "connection",
    "date",
    "expect",
    "idempotency-key",
    "keep-alive",
    "priority",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "user-agent",
    "x-amzn-trace-id",
    "x-request-id",
    "x-stainless-retry-count",
    "x-stainless-timeout",
];

/// What of the body is known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// It was not read, or not to its end: no two such requests are the same.
    Partly([u8; 16]),
}

/// Digest of what would be sent.
pub(crate) fn digest(method: &Method, scheme: Scheme, destination: &Destination, target: &str, headers: &HeaderMap, body: Known<'_>) -> Digest {
    let to = destination.to_string();
    let mut kept: Vec<(&str, &[u8])> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).filter(|(name, _)| !LEFT_OUT.contains(name)).collect();
    // Stable: the order of one header's values is meaning, the order of different headers is not (RFC 9110, section 5.3).
    kept.sort_by_key(|(name, _)| *name);
    let head: [&[u8]; 4] = [method.as_str().as_bytes(), scheme.word().as_bytes(), to.as_bytes(), target.as_bytes()];
    let headers = kept.iter().flat_map(|(name, value)| [name.as_bytes(), *value]);
    let tail: [&[u8]; 2] = match &body {
        Known::Whole(bytes) => [b"body", bytes],
        Known::Partly(nonce) => [b"stream", nonce],
    };
    Digest::of(head.into_iter().chain(headers).chain(tail))
}

/// The same request on a connection on which this client certificate is shown.
pub(crate) fn with_certificate(digest: Digest, credential: Option<&str>) -> Digest {
    match credential {
        Some(name) => Digest::of([digest.to_hex().as_bytes(), b"client certificate", name.as_bytes()]),
        None => digest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)], target: &str, body: &[u8]) -> Digest {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let to = Destination { host: agentbox_core::HostName::parse("a.example").unwrap(), port: 443, addresses: Vec::new() };
        digest(&Method::POST, Scheme::Https, &to, target, &headers, Known::Whole(body))
    }

    #[test]
    fn what_is_left_out_is_published() {
        let page = include_str!("../../../../docs/policy.md");
        for name in LEFT_OUT {
            assert!(page.contains(&format!("`{name}`")), "docs/policy.md does not say that {name} is left out");
        }
    }

    #[test]
    fn the_same_request_again_has_the_same_digest() {
        let first = of(&[("user-agent", "curl/8"), ("authorization", "Bearer x"), ("accept", "*/*")], "/q", b"{}");
        let again = of(&[("accept", "*/*"), ("authorization", "Bearer x"), ("user-agent", "curl/9")], "/q", b"{}");
        assert_eq!(first, again);
    }

    #[test]
    fn whatever_chooses_meaning_changes_it() {
        let first = of(&[("authorization", "Bearer x"), ("x-a", "1"), ("x-a", "2")], "/q", b"{}");
        for other in [
            of(&[("authorization", "Bearer y"), ("x-a", "1"), ("x-a", "2")], "/q", b"{}"),
            of(&[("authorization", "Bearer x"), ("x-a", "2"), ("x-a", "1")], "/q", b"{}"),
            of(&[("authorization", "Bearer x"), ("x-a", "1"), ("x-a", "2")], "/r", b"{}"),
            of(&[("authorization", "Bearer x"), ("x-a", "1"), ("x-a", "2")], "/q", b"{ }"),
            of(&[("authorization", "Bearer x"), ("x-a", "1"), ("x-a", "2"), ("x-http-method-override", "DELETE")], "/q", b"{}"),
        ] {
            assert_ne!(first, other);
        }
    }
}
