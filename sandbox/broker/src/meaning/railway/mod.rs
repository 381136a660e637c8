//! Railway: which volumes, environments and services a call to its GraphQL API would touch, and how.

mod mutations;
mod table;

use agentbox_core::{Delegation, Effect, Operation, Reach, Resource, ResourceId};
use serde_json::{Map, Value};

use super::{
    BodyWant, Head, ReplyStyle,
    api::{Api, Reading, opaque_at},
    call::Call,
    graphql::{self, Kind, RootField, Vocabulary},
    http_rules,
    route::Route,
};
use mutations::MUTATIONS;
use table::{Fact, Mutation, at, given};

/// Names of the API's host.
const HOSTS: &[&str] = &["backboard.railway.com", "backboard.railway.app", "backboard.railway-staging.com", "backboard.railway-develop.com"];

/// Most resources of one field that are listed each on its own.
const MOST_IDS: usize = 64;

/// Queries whose answer holds secrets.
const SECRET_QUERIES: &[&str] = &["variables", "variablesForServiceDeployment", "bucketS3Credentials", "projectInviteCode", "inviteCode", "twoFactorInfo"];

/// Arguments that name a resource, the most telling first; for queries, and for whatever the table of mutations lacks.
const ARGUMENTS: &[(&str, &str)] = &[
    ("volume-instance", "volumeInstanceId"),
    ("volume", "volumeId"),
    ("environment", "environmentId"),
    ("environment", "input.environmentId"),
    ("deployment", "deploymentId"),
    ("service", "serviceId"),
    ("service", "input.serviceId"),
    ("project", "projectId"),
    ("project", "input.projectId"),
    ("workspace", "workspaceId"),
];

/// Whether a host is Railway's API.
#[must_use]
pub(crate) fn is_railway(host: &str) -> bool {
    HOSTS.contains(&host)
}

/// Whether an action of this API could lose something: whether a look has to count what.
#[must_use]
pub(crate) fn may_lose(action: &str) -> bool {
    let Some(field) = action.strip_prefix("railway.") else { return true };
    let row = MUTATIONS.iter().find(|row| row.field == field);
    row.is_none_or(|row| row.effects != table::Effects::Always(Effect::Write) && row.effects != table::Effects::Always(Effect::Read))
}

/// The API.
pub(crate) struct Railway;

impl Api for Railway {
    fn wants(&self, head: &Head<'_>, route: &Route) -> Option<BodyWant> {
        // `railway up` sends an archive; which request it is stands in the path.
        is_railway(head.host.as_str()).then_some(if is_upload(route) { BodyWant::Nothing } else { BodyWant::UpTo(graphql::LONGEST_BODY) })
    }

    fn read(&self, call: &Call<'_>) -> Option<Reading> {
        if !is_railway(call.head.host.as_str()) {
            return None;
        }
        if is_upload(&call.route) {
            return Some(Reading::one(upload(call)));
        }
        // Whatever the path: on this host a document is a document.
        if let Some(operations) = graphql::read(call, &Fields) {
            return Some(Reading { operations, reply: ReplyStyle::GraphQl });
        }
        if call.has_no_body() && http_rules::effect_of(call.head.method) == Effect::Read {
            return None;
        }
        let why = "it goes to Railway's API and no GraphQL document was found in it";
        Some(Reading { operations: vec![opaque_at("railway.opaque", everything(), why)], reply: ReplyStyle::GraphQl })
    }
}

/// `POST /project/{id}/environment/{id}/up`, by which the CLI uploads a source tree to be built and run.
fn is_upload(route: &Route) -> bool {
    let segments: Vec<&str> = route.segments().collect();
    matches!(segments.as_slice(), ["project", _, "environment", _, "up"])
}

fn upload(call: &Call<'_>) -> Operation {
    let environment = call.route.segments().nth(3).unwrap_or_default();
    let resource = Resource::unplaced(ResourceId::new("railway", &format!("environment/{}", id_text(environment))));
    if call.head.method != http::Method::POST {
        return opaque_at("railway.up", resource, "an upload by an unexpected method");
    }
    let mut operation = Operation::new(Effect::Write, "railway.up", resource, "uploads a source tree, which Railway builds and runs");
    operation.delegates = Some(runs("railway.up"));
    operation
}

fn runs(action: &str) -> Delegation {
    // What runs there has the environment's variables and the whole network, so no reach smaller than this one is honest.
    Delegation { reach: Reach::Anywhere, why: format!("{action}: Railway runs code or commands that this request chose, in its own network") }
}

/// Railway's root fields.
struct Fields;

impl Vocabulary for Fields {
    fn opaque_action(&self) -> &'static str {
        "railway.opaque"
    }

    fn whole(&self, _call: &Call<'_>) -> Resource {
        everything()
    }

    fn field(&self, _call: &Call<'_>, field: &RootField) -> Vec<Operation> {
        let action = format!("railway.{}", field.name);
        match field.kind {
            Kind::Query | Kind::Subscription => vec![query(&action, field)],
            Kind::Mutation if field.name.starts_with("__") => vec![Operation::new(Effect::Read, &action, rooted("schema"), "introspection reads")],
            Kind::Mutation => match MUTATIONS.binary_search_by(|row| row.field.cmp(field.name.as_str())) {
                Ok(index) => MUTATIONS.get(index).map_or_else(Vec::new, |row| mutation(&action, row, field)),
                Err(_) => vec![opaque_at(&action, named(ARGUMENTS, field, "api"), "this mutation is not in the public schema that is known here")],
            },
        }
    }
}

fn query(action: &str, field: &RootField) -> Operation {
    let what = if field.kind == Kind::Query { "a query reads" } else { "a subscription reads" };
    let mut operation = Operation::new(Effect::Read, action, if field.name.starts_with("__") { rooted("schema") } else { query_resource(field) }, what);
    let decrypts = field.nested.iter().any(|nested| nested.arguments.iter().any(|argument| argument == "decryptVariables"));
    if SECRET_QUERIES.contains(&field.name.as_str()) || decrypts {
        operation.yields_credential = true;
        operation.reason = "its answer holds secrets".to_owned();
    }
    operation
}

/// `environment(id:)` names an environment by its `id`; other queries by the usual arguments; some by nothing.
fn query_resource(field: &RootField) -> Resource {
    const BY_ID: &[(&str, &str)] =
        &[("environment", "environment"), ("project", "project"), ("service", "service"), ("deployment", "deployment"), ("volumeInstance", "volume-instance")];
    if let Some((_, kind)) = BY_ID.iter().find(|(name, _)| *name == field.name)
        && let Some(id) = field.arguments.get("id").and_then(Value::as_str)
    {
        return unplaced(kind, id);
    }
    named(ARGUMENTS, field, "api")
}

fn mutation(action: &str, row: &Mutation, field: &RootField) -> Vec<Operation> {
    let arguments = &field.arguments;
    let effect = row.effects.of(arguments);
    let harmless = effect <= Effect::Write && row.fact == Fact::Nothing;
    let resources = targets(row, arguments, harmless);
    let make = |resource: Resource| {
        let mut operation = Operation::new(effect, action, resource, row.reason);
        match row.fact {
            Fact::Nothing => {}
            Fact::YieldsCredential => operation.yields_credential = true,
            Fact::Runs("") => operation.delegates = Some(runs(action)),
            Fact::Runs(paths) => operation.delegates = given(arguments, paths).then(|| runs(action)),
            Fact::Calls(path) => operation.delegates = Some(calls(action, at(arguments, path))),
        }
        operation
    };
    resources.into_iter().map(make).collect()
}

fn calls(action: &str, url: Option<&Value>) -> Delegation {
    let host = url
        .and_then(Value::as_str)
        .and_then(|text| url::Url::parse(text).ok())
        .and_then(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)));
    let reach = host.map_or(Reach::Anywhere, |(host, port)| Reach::Hosts(vec![format!("{host}:{port}")]));
    Delegation { reach, why: format!("{action}: Railway sends a request of this one's choice, from its own network") }
}

/// The resources of a mutation: all ids of the first argument that is given.
fn targets(row: &Mutation, arguments: &Map<String, Value>, harmless: bool) -> Vec<Resource> {
    for (kind, path) in row.targets {
        match *kind {
            "telemetry" => return vec![rooted("telemetry")],
            // An account's own settings belong to no environment; what could end the account belongs to all.
            "account" if harmless => return vec![rooted("account")],
            "account" => return vec![Resource::unplaced(ResourceId::new("railway", "account"))],
            _ => {}
        }
        match at(arguments, path) {
            None | Some(Value::Null) => continue,
            Some(Value::String(id)) if *kind == "backup" => {
                let instance = at(arguments, "volumeInstanceId").and_then(Value::as_str).unwrap_or("?");
                return vec![Resource::unplaced(ResourceId::new("railway", &format!("backup/{}/{}", id_text(instance), id_text(id))))];
            }
            Some(Value::String(id)) => return vec![unplaced(kind, id)],
            Some(Value::Array(ids)) if !ids.is_empty() && ids.len() <= MOST_IDS => {
                return ids.iter().map(|id| unplaced(kind, id.as_str().unwrap_or("?"))).collect();
            }
            Some(Value::Number(id)) => return vec![unplaced(kind, &id.to_string())],
            Some(Value::Bool(_) | Value::Object(_) | Value::Array(_)) => return vec![unplaced(kind, "?")],
        }
    }
    let kind = row.targets.first().map_or("api", |(kind, _)| kind);
    vec![unplaced(kind, "?")]
}

fn named(arguments: &[(&str, &str)], field: &RootField, otherwise: &str) -> Resource {
    for (kind, path) in arguments {
        if let Some(Value::String(id)) = at(&field.arguments, path) {
            return unplaced(kind, id);
        }
    }
    Resource::unplaced(ResourceId::new("railway", otherwise))
}

/// Ids alone never place a resource: a policy speaks of environments by name, and what the request says of where a thing
/// lies is the agent's word. A look finds out; until then the strictest place that it could be decides.
fn unplaced(kind: &str, id: &str) -> Resource {
    Resource::unplaced(ResourceId::new("railway", &format!("{kind}/{}", id_text(id))))
}

/// All that the API could reach: the strictest place decides.
fn everything() -> Resource {
    Resource::unplaced(ResourceId::new("railway", "api"))
}

fn rooted(path: &str) -> Resource {
    Resource::rooted(ResourceId::new("railway", path))
}

/// An id as one segment: slashes and percent signs of a hostile id are escaped, UUIDs are lower case.
fn id_text(id: &str) -> String {
    let is_uuid = id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if is_uuid { id.to_ascii_lowercase() } else { id.replace('%', "%25").replace('/', "%2F") }
}

#[cfg(test)]
mod tests;
