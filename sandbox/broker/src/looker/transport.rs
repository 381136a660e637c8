//! How a question reaches the provider: one request, one bounded answer, no redirect followed.

use std::{future::Future, pin::Pin};

use agentbox_core::Destination;
use bytes::Bytes;
use http::Request;

use crate::look::Answer;

/// A question on its way.
pub type Exchange<'a> = Pin<Box<dyn Future<Output = Result<Answer, String>> + 'a>>;

/// Carries a question over TLS to its destination. An answer longer than [`crate::look::LONGEST_ANSWER`] is an error.
pub trait Transport {
    /// Sends and waits; the caller sets the deadline and drops the future when it has passed.
    fn exchange<'a>(&'a self, destination: &'a Destination, request: Request<Bytes>) -> Exchange<'a>;
}
