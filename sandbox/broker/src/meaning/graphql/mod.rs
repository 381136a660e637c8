//! GraphQL of any API: which root fields a request would run, judged by the API's vocabulary or by their names.

mod document;
mod documents;
mod envelope;

use std::sync::Arc;

use agentbox_core::{Effect, Operation, Resource};

pub(crate) use document::{Kind, RootField, root_fields};
pub(crate) use documents::Documents;
pub(crate) use envelope::path_says_graphql;

use super::{
    BodyWant, Head, ReplyStyle,
    api::{Api, Reading, opaque_at},
    bodies,
    call::Call,
    content::{self, Content},
    http_rules,
    route::Route,
    words,
};
use envelope::{Envelope, Found};
use serde_json::{Map, Value};

/// Most bytes of a GraphQL request that are read: file uploads travel in the same form as the document.
pub(crate) const LONGEST_BODY: usize = 16 << 20;

/// What the root fields of one API mean.
pub(crate) trait Vocabulary: Sync {
    /// The operation's action where no field can be named: `graphql.opaque`.
    fn opaque_action(&self) -> &'static str;

    /// What one field would do.
    fn field(&self, call: &Call<'_>, field: &RootField) -> Vec<Operation>;

    /// What a request would touch that cannot be understood.
    fn whole(&self, call: &Call<'_>) -> Resource;
}

/// Reads a GraphQL request by one vocabulary; `None` where there is no GraphQL in it.
#[must_use]
pub(crate) fn read(call: &Call<'_>, vocabulary: &dyn Vocabulary) -> Option<Vec<Operation>> {
    let opaque = |why: String| vec![opaque_at(vocabulary.opaque_action(), vocabulary.whole(call), why)];
    let envelopes = match envelope::find(call) {
        Found::Nothing => return None,
        Found::Unclear(why) => return Some(opaque(why)),
        Found::Envelopes(envelopes) => envelopes,
    };
    let mut operations = Vec::new();
    for envelope in &envelopes {
        match fields(call, envelope) {
            Ok(fields) => operations.extend(fields.iter().flat_map(|field| vocabulary.field(call, field))),
            Err(why) => operations.extend(opaque(why)),
        }
    }
    Some(operations)
}

fn fields(call: &Call<'_>, envelope: &Envelope) -> Result<Vec<RootField>, String> {
    let stored = stored(call, envelope);
    let Some(query) = envelope.query.as_deref().filter(|query| !query.trim().is_empty()).or(stored.as_deref()) else {
        return Err("only the name or hash of a stored document was sent, not the document".to_owned());
    };
    if envelope.names_stored {
        return Err("it names a stored document beside the one it sends; the server may run either".to_owned());
    }
    if let Some(hash) = &envelope.sha256 {
        let own = content::sha256_hex(query.as_bytes());
        if !own.eq_ignore_ascii_case(hash) {
            return Err("the persisted query's hash is not that of the document".to_owned());
        }
        if let Some(documents) = call.documents {
            documents.learn(call.head.host, call.head.port, &own, query);
        }
    }
    root_fields(query, envelope.operation_name.as_deref(), &envelope.variables).map_err(|why| why.to_string())
}

/// The document that an envelope names by its hash alone, where it has passed by.
fn stored(call: &Call<'_>, envelope: &Envelope) -> Option<Arc<str>> {
    let hash = envelope.sha256.as_deref().filter(|_| envelope.query.is_none() && !envelope.names_stored)?;
    call.documents?.find(call.head.host, call.head.port, hash)
}

/// Where a request names a document by its hash: all that it names or brings, each with its variables, for the card.
#[must_use]
pub(crate) fn documents_of(call: &Call<'_>) -> Vec<(Arc<str>, Map<String, Value>)> {
    if call.documents.is_none() {
        return Vec::new();
    }
    let Found::Envelopes(envelopes) = envelope::find(call) else { return Vec::new() };
    if !envelopes.iter().any(|envelope| stored(call, envelope).is_some()) {
        return Vec::new();
    }
    let text = |envelope: &Envelope| stored(call, envelope).or_else(|| envelope.query.as_deref().map(Arc::from));
    envelopes.into_iter().filter_map(|envelope| Some((text(&envelope)?, envelope.variables))).collect()
}

/// The hash of a document that has not passed by, where a request names it and nothing else: its client has the document, and sends it
/// when it is told that the hash is not known (automatic persisted queries).
#[must_use]
pub(crate) fn unknown_document(call: &Call<'_>) -> Option<String> {
    match envelope::find(call) {
        Found::Envelopes(envelopes) => match envelopes.as_slice() {
            [one] if one.query.is_none() && !one.names_stored && stored(call, one).is_none() => one.sha256.clone(),
            _ => None,
        },
        Found::Nothing | Found::Unclear(_) => None,
    }
}

/// GraphQL of an API that nobody has described: recognised by its path, its content type, or its body.
pub(crate) struct AnyGraphQl;

impl Api for AnyGraphQl {
    fn wants(&self, _head: &Head<'_>, route: &Route) -> Option<BodyWant> {
        envelope::route_says_graphql(route).then_some(BodyWant::UpTo(LONGEST_BODY))
    }

    fn read(&self, call: &Call<'_>) -> Option<Reading> {
        let at_home = path_says_graphql(call) || matches!(call.media.essence.as_str(), "application/graphql" | "application/graphql+json");
        let operations = match envelope::find(call) {
            Found::Nothing if !at_home || call.has_no_body() => return None,
            Found::Nothing => vec![opaque_at("graphql.opaque", http_rules::resource(call), "no GraphQL document was found where one belongs")],
            Found::Unclear(_) if !at_home => return None,
            Found::Unclear(_) | Found::Envelopes(_) => {
                if !at_home && !reads_as_graphql(call) {
                    return None;
                }
                read(call, &ByName)?
            }
        };
        Some(Reading { operations, reply: ReplyStyle::GraphQl })
    }
}

/// Away from GraphQL's own paths a `query` may be a search: it counts as GraphQL if it begins like it, whether or not it parses.
fn reads_as_graphql(call: &Call<'_>) -> bool {
    let Found::Envelopes(envelopes) = envelope::find(call) else { return false };
    envelopes.iter().any(|envelope| match &envelope.query {
        Some(query) => {
            envelope::starts_with_operation(query) || (envelope::looks_like_document(query) && root_fields(query, None, &envelope.variables).is_ok())
        }
        // `operationName` alone is a field of other APIs too.
        None => envelope.sha256.is_some() || envelope.names_stored,
    })
}

/// Fields judged by their names: what nobody has described is never less strict for it.
struct ByName;

impl Vocabulary for ByName {
    fn opaque_action(&self) -> &'static str {
        "graphql.opaque"
    }

    fn whole(&self, call: &Call<'_>) -> Resource {
        http_rules::resource(call)
    }

    fn field(&self, call: &Call<'_>, field: &RootField) -> Vec<Operation> {
        let action = format!("graphql.{}", field.name);
        let operation = |effect, why: String| vec![Operation::new(effect, &action, http_rules::resource(call), why)];
        match field.kind {
            Kind::Query => operation(Effect::Read, "a GraphQL query reads".into()),
            Kind::Subscription => operation(Effect::Read, "a GraphQL subscription reads".into()),
            Kind::Mutation if field.name.starts_with("__") => operation(Effect::Read, "introspection reads".into()),
            Kind::Mutation => {
                // Namespaces: `mutation { users { delete(id: 1) } }` runs the inner field.
                let inner = field.nested.iter().find(|nested| !nested.arguments.is_empty() && words::effect_of(&nested.name) == Some(Effect::Destroy));
                if words::effect_of(&field.name) == Some(Effect::Destroy) {
                    operation(Effect::Destroy, format!("the mutation {} destroys by its name", agentbox_core::safe::line(&field.name, 80)))
                } else if let Some(inner) = inner {
                    operation(Effect::Destroy, format!("the mutation's field {} destroys by its name", agentbox_core::safe::line(&inner.name, 80)))
                } else if let Some((effect, why)) = bodies::destroys(&Content::Json(Value::Object(field.arguments.clone())), &bodies::Around::name(&field.name))
                {
                    operation(effect, why)
                } else {
                    operation(Effect::Write, "a GraphQL mutation writes".into())
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
