//! The table of APIs: who is asked, in which order, what a request means.

use agentbox_core::{Effect, Operation, Resource};

use super::{
    Body, BodyWant, Head, Meaning, ReplyStyle, aws,
    call::Call,
    credentials, excerpt,
    graphql::{self, Documents},
    http_rules::{self, HttpRules},
    override_methods,
    refusal::GRAPHQL_RESPONSE,
    route::Route,
    rpc,
};

/// One tongue on top of HTTP. Adding one is a file and a line in [`APIS`].
pub(crate) trait Api: Sync {
    /// How much of the body this API must see, if the request could be one of its own.
    fn wants(&self, head: &Head<'_>, route: &Route) -> Option<BodyWant>;

    /// What the request does, if it is one of this API's. The first API that answers decides.
    fn read(&self, call: &Call<'_>) -> Option<Reading>;
}

/// What an API understood.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// All that the request does; never empty.
    pub(crate) operations: Vec<Operation>,
    /// In which tongue a refusal is told.
    pub(crate) reply: ReplyStyle,
}

impl Reading {
    /// One operation, refused in JSON.
    #[must_use]
    pub(crate) fn one(operation: Operation) -> Self {
        Self { operations: vec![operation], reply: ReplyStyle::Json }
    }
}

/// Named hosts first, then shapes that any host may have, at last what every HTTP request has.
pub(crate) const APIS: &[&dyn Api] = &[
    &super::railway::Railway,
    &super::git::Git,
    &super::packages::Packages,
    &super::models::Models,
    &super::grpc::Grpc,
    &super::aws::Aws,
    &super::kubernetes::Kubernetes,
    &super::mcp::Mcp,
    &super::graphql::AnyGraphQl,
    &super::elastic::Elastic,
    &super::providers::Providers,
    &super::catalogue::Catalogue,
    &HttpRules,
];

/// Most operations that one request may have; more are one opaque operation (a card with more is not read by anybody).
pub(crate) const MOST_OPERATIONS: usize = 256;

pub(super) fn wants(head: &Head<'_>) -> BodyWant {
    let route = Route::of(head.target);
    APIS.iter().find_map(|api| api.wants(head, &route)).unwrap_or(BodyWant::UpTo(http_rules::LONGEST_BODY))
}

pub(super) fn understand(head: &Head<'_>, body: Body<'_>, documents: Option<&Documents>) -> Meaning {
    let mut call = Call::new(head, body);
    call.documents = documents;
    let reading = APIS.iter().find_map(|api| api.read(&call));
    let Reading { mut operations, reply } = reading.unwrap_or_else(|| Reading::one(http_rules::opaque(&call, "nobody recognised this request")));
    // Whichever room has read it: AWS's clients show no other error.
    let reply = if reply == ReplyStyle::Json && rpc::is_aws(head) { ReplyStyle::Aws(aws::answer(&call)) } else { reply };
    // A framework behind the API may act on another method than the one in the request line: both are judged.
    operations.extend(override_methods::overridden(&call));
    if operations.len() > MOST_OPERATIONS {
        operations = vec![http_rules::opaque(&call, format!("one request with more than {MOST_OPERATIONS} operations"))];
    }
    if operations.is_empty() {
        operations.push(http_rules::opaque(&call, "no operation was found in it"));
    }
    let unknown_document = if reply == ReplyStyle::GraphQl && operations.iter().all(|operation| operation.effect == Effect::Opaque) {
        graphql::unknown_document(&call)
    } else {
        None
    };
    let reply = if reply == ReplyStyle::GraphQl && takes_graphql_response(head) { ReplyStyle::GraphQlResponse } else { reply };
    Meaning { operations, excerpt: excerpt::of(&call), reply, credentials: credentials::seen(head), unknown_document }
}

/// Whether the client says that it reads the media type of GraphQL's answers.
fn takes_graphql_response(head: &Head<'_>) -> bool {
    head.headers.get_all(http::header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| value.contains(GRAPHQL_RESPONSE))
}

/// An operation that cannot be understood.
pub(super) fn opaque_at(action: &str, resource: Resource, why: impl Into<String>) -> Operation {
    Operation::new(Effect::Opaque, action, resource, why)
}
