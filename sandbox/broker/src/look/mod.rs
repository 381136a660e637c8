//! Looking before asking: what a resource is, where it lies and what hangs on it, by questions that only read.
//!
//! A look is a pure function from the answers so far to the next question or to what was seen. The process that holds
//! the credential (see `looker`) carries questions and answers; it refuses any question that is not plainly a read.

mod answer;
mod railway;

use agentbox_core::{Destination, ResourceId, look::Seen};
use bytes::Bytes;

/// One way to look. Adding one is a file and a line in [`LOOKS`].
pub trait Look: Sync {
    /// Whether it can say something of this resource at this destination.
    fn applies(&self, resource: &ResourceId, destination: &Destination) -> bool;

    /// The next step, given the answers to all questions before.
    ///
    /// # Errors
    /// Nothing can be said of the resource, and why.
    fn next(&self, asked: &Asked<'_>, answers: &[Answer]) -> Result<Step, LookError>;
}

/// All looks there are.
pub const LOOKS: &[&dyn Look] = &[&railway::Railway];

/// Most questions of one look.
pub const MOST_QUESTIONS: usize = 12;

/// Longest answer to one question, in bytes.
pub const LONGEST_ANSWER: usize = 1 << 20;

/// What is looked at, and why.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The resource.
    pub resource: &'a ResourceId,
    /// The action that would be done to it.
    pub action: &'a str,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// This must be known.
    Ask(Question),
    /// All is known.
    Seen(Box<Seen>),
}

/// How a question carries the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearing {
    /// `Authorization: Bearer …`.
    Bearer,
    /// The bare secret in this header.
    Header(&'static str),
}

/// A read-only HTTP request to the resource's destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// GET or POST.
    pub method: http::Method,
    /// Path and query.
    pub target: String,
    /// The body's type, where there is one.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Bytes,
    /// Where the credential goes.
    pub bearing: Bearing,
}

/// What came back: at most [`LONGEST_ANSWER`] bytes.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: http::StatusCode,
    /// The whole body.
    pub body: Bytes,
}

/// Why nothing was seen. Holds no secret; text from the far side in it is made safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// The provider said no or something odd.
    #[error("the provider answered: {0}")]
    Provider(String),
    /// The answer is not what its API promises.
    #[error("the provider's answer cannot be read: {0}")]
    Unreadable(&'static str),
    /// The credential does not show the resource.
    #[error("the provider shows no such {0} to the credential that looks")]
    NotFound(&'static str),
    /// More than anybody would read on a card.
    #[error("there is more than can be looked at: {0}")]
    TooMuch(&'static str),
}

/// The look for a resource, if there is one.
#[must_use]
pub fn find(resource: &ResourceId, destination: &Destination) -> Option<&'static dyn Look> {
    LOOKS.iter().copied().find(|look| look.applies(resource, destination))
}
