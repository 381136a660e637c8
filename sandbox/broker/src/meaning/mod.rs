//! What a request means: which operations it would do, told in the policy's words, whatever carries them.
//!
//! Everything here is a pure function of the request's bytes. The rooms below are asked in the order of
//! [`api::APIS`]; the last one knows only HTTP's methods and recognises everything.

mod api;
mod aws;
mod bodies;
mod call;
mod catalogue;
mod content;
mod credentials;
mod elastic;
mod example;
mod excerpt;
mod git;
mod graphql;
mod grpc;
mod http_rules;
mod kubernetes;
mod log_in;
mod marks;
mod mcp;
mod models;
mod override_methods;
mod packages;
mod paths;
mod providers;
mod railway;
mod refusal;
mod refusal_clouds;
mod route;
mod rpc;
mod shell;
pub mod sql;
pub(crate) mod websocket;
mod words;

use agentbox_core::{Credential, HostName, Operation};

pub(crate) use content::parse_json;
pub(crate) use credentials::{Position, in_header, in_target, named as named_credential, positions, without_secrets};
pub use example::{example, remote_command, request, websocket_message};
pub(crate) use graphql::Documents;
pub(crate) use grpc::is_enveloped;
pub(crate) use kubernetes::opens_stream;
pub(crate) use log_in::{hands_out, in_body};
pub(crate) use railway::{is_railway, may_lose};
pub use refusal::{GitAnswer, ReplyStyle, refusal_response};
pub use refusal_clouds::AwsAnswer;
pub(crate) use websocket::Dialect;
pub use websocket::Kind as MessageKind;

/// How the request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As in a URL.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// All of a request but its body.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// As sent.
    pub method: &'a http::Method,
    /// Clear or TLS.
    pub scheme: Scheme,
    /// Where it goes, by name.
    pub host: &'a HostName,
    /// Where it goes.
    pub port: u16,
    /// Path and query as sent.
    pub target: &'a str,
    /// As sent, without the framing.
    pub headers: &'a http::HeaderMap,
}

/// How much of the body must be read before the request can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyWant {
    /// None of it: the head says all.
    Nothing,
    /// What comes of itself within a moment, up to this many bytes: the client may wait for an answer before it goes on. What is
    /// not whole by then is handed over as [`Body::TooLong`].
    Soon(usize),
    /// Up to this many bytes; if there are more, hand over the first ones as [`Body::TooLong`].
    UpTo(usize),
}

/// What was read of the body: without its framing, still content-encoded.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// There is none, or none was wanted.
    Absent,
    /// All of it.
    Whole(&'a [u8]),
    /// It goes on beyond the bound.
    TooLong {
        /// The bytes up to the bound.
        first: &'a [u8],
    },
}

/// What a request was understood to be.
#[derive(Clone, Debug)]
pub struct Meaning {
    /// All that it would do; never empty.
    pub operations: Vec<Operation>,
    /// The decoded text of what was understood, cut to a readable length. May be hostile.
    pub excerpt: String,
    /// In which tongue a refusal is told.
    pub reply: ReplyStyle,
    /// Credentials in authenticating positions. Never the secrets.
    pub credentials: Vec<Credential>,
    /// The hash of a document of GraphQL that has not passed by, where the request names it and nothing else.
    pub unknown_document: Option<String>,
}

/// How much of the body must be read before judging.
#[must_use]
pub fn wants(head: &Head<'_>) -> BodyWant {
    api::wants(head)
}

/// What the request would do. Hand over as much of the body as [`wants`] asked for.
#[must_use]
pub fn understand(head: &Head<'_>, body: Body<'_>) -> Meaning {
    api::understand(head, body, None)
}

/// The same by somebody who remembers the documents of GraphQL that have passed by.
#[must_use]
pub(crate) fn understand_after(head: &Head<'_>, body: Body<'_>, documents: &Documents) -> Meaning {
    api::understand(head, body, Some(documents))
}

#[cfg(test)]
mod tests;
