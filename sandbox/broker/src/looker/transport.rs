//! How a question reaches the provider: one request, one bounded answer, no redirect followed.

use std::{future::Future, pin::Pin};

use agentbox_core::Destination;
use bytes::Bytes;
use http::Request;

use crate::look::Answer;

/// A question on its way.
pub(crate) type Exchange<'a> = Pin<Box<dyn Future<Output = Result<Answer, String>> + 'a>>;

/// Carries a question over TLS to its destination. An answer longer than [`crate::look::LONGEST_ANSWER`] is an error.
pub(crate) trait Transport {
    /// Sends and waits; the caller sets the deadline and drops the future when it has passed.
    fn exchange<'a>(&'a self, destination: &'a Destination, request: Request<Bytes>) -> Exchange<'a>;
}

/// Where TLS could not be set up: nothing is asked, and the reason was told at the start.
pub(super) struct Nowhere;

impl Transport for Nowhere {
    fn exchange<'a>(&'a self, _destination: &'a Destination, _request: Request<Bytes>) -> Exchange<'a> {
        Box::pin(std::future::ready(Err("the root certificates could not be read".to_owned())))
    }
}
