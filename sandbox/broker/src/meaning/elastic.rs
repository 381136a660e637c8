//! Elasticsearch and OpenSearch: endpoints that begin with an underscore, on any host.

use agentbox_core::{Effect, Operation};
use serde_json::Value;

use super::{
    BodyWant, Head,
    api::{Api, Reading},
    bodies::{self, Around, Found, statements},
    call::Call,
    content::Content,
    http_rules::{self, safe},
    route::Route,
};

/// Most lines of a bulk request.
const MOST_LINES: usize = 200_000;

/// Questions that are asked by POST.
const READING: &[&str] = &["_search", "_count", "_field_caps", "_validate", "_explain", "_termvectors", "_rank_eval", "_knn_search"];

/// Fields of such a question; with any other it may be somebody else's order on a path that looks alike.
const QUESTION: &[&str] = &[
    "_source",
    "aggregations",
    "aggs",
    "collapse",
    "docvalue_fields",
    "explain",
    "fields",
    "filter",
    "from",
    "highlight",
    "ids",
    "index_filter",
    "indices_boost",
    "knn",
    "metric",
    "min_score",
    "pit",
    "post_filter",
    "profile",
    "query",
    "requests",
    "rescore",
    "retriever",
    "runtime_mappings",
    "script_fields",
    "search_after",
    "seq_no_primary_term",
    "size",
    "slice",
    "sort",
    "stats",
    "stored_fields",
    "suggest",
    "templates",
    "terminate_after",
    "timeout",
    "track_scores",
    "track_total_hits",
    "version",
];

/// The API.
pub(crate) struct Elastic;

/// The endpoint: the part of the path that begins with an underscore, and what stands below it.
fn endpoint<'a>(segments: &[&'a str]) -> Option<(&'a str, Vec<&'a str>)> {
    let at = segments.iter().position(|segment| segment.starts_with('_') && segment.len() > 2)?;
    Some((segments.get(at).copied()?, segments.get(at + 1..)?.to_vec()))
}

impl Api for Elastic {
    fn wants(&self, _head: &Head<'_>, route: &Route) -> Option<BodyWant> {
        let segments: Vec<&str> = route.segments().collect();
        endpoint(&segments).map(|_| BodyWant::UpTo(http_rules::LONGEST_BODY))
    }

    fn read(&self, call: &Call<'_>) -> Option<Reading> {
        if !call.route.is_plain() || call.head.headers.contains_key(http::header::UPGRADE) {
            return None;
        }
        let segments: Vec<&str> = call.route.segments().collect();
        let (name, below) = endpoint(&segments)?;
        let (effect, why) = judge(call, name, &below)?;
        Some(Reading::one(Operation::new(effect, &format!("elastic.{}", name.trim_start_matches('_')), http_rules::resource(call), why)))
    }
}

fn judge(call: &Call<'_>, name: &str, below: &[&str]) -> Option<Found> {
    let method = call.head.method.as_str();
    let writes = matches!(method, "POST" | "PUT");
    let found = |effect, why: &str| Some((effect, why.to_owned()));
    let unreadable = || http_rules::unreadable(call).map(|why| (Effect::Opaque, format!("{method} with a body that cannot be read: {why}")));
    match (method, name, below) {
        // Its own cursor, its own answer.
        ("DELETE", "_search", ["scroll", ..] | ["point_in_time", ..])
        | ("DELETE", "_pit" | "_async_search", _)
        | ("DELETE", "_eql" | "_sql" | "_query", ["search" | "close" | "async", ..]) => found(Effect::Write, "it gives up a search of its own"),
        ("POST", "_slm", ["stop"]) => found(Effect::Destroy, "it stops the snapshots that are taken by the clock"),
        ("POST", "_search", ["scroll", ..]) => unreadable().or_else(|| found(Effect::Read, "it reads on")),
        ("POST", "_cache", ["clear"]) | ("POST", "_flush" | "_refresh" | "_forcemerge" | "_open", []) => {
            unreadable().or_else(|| found(Effect::Write, "it loses nothing that is stored"))
        }
        ("POST", "_ml", [.., "_flush"]) => unreadable().or_else(|| found(Effect::Write, "it loses nothing that is stored")),
        ("POST", "_ilm", ["remove"]) | ("POST", "_plugins", ["_ism", "remove", ..]) => found(Effect::Write, "it takes a policy off an index"),
        ("POST", "_delete_by_query", []) => found(Effect::Destroy, "it deletes documents"),
        ("POST", "_bulk", []) | ("PUT", "_bulk", []) => Some(unreadable().unwrap_or_else(|| bulk(call))),
        ("POST", "_update_by_query" | "_update", _) => unreadable().or_else(|| script(call)),
        ("POST", "_reindex", []) => unreadable().or_else(|| match call.content() {
            Content::Json(value) if value.pointer("/dest/op_type").and_then(Value::as_str) == Some("create") => {
                found(Effect::Write, "it copies documents that are not there yet")
            }
            _ => found(Effect::Destroy, "it writes over documents of the same names"),
        }),
        ("POST", "_snapshot", [_, _, "_restore"]) => found(Effect::Destroy, "it restores over what is there"),
        _ if writes && READING.contains(&name) && below.is_empty() && is_question(call) => found(Effect::Read, &format!("{} asks", safe(name))),
        _ => None,
    }
}

/// Whether the request has nothing but what a question has.
fn is_question(call: &Call<'_>) -> bool {
    let asks = match call.content() {
        Content::Empty => true,
        Content::Json(Value::Object(fields)) => fields.keys().all(|name| QUESTION.contains(&name.as_str())),
        _ => false,
    };
    asks && bodies::query_destroys(call.route.query().unwrap_or_default(), bodies::Reads::Yes, &Around::default()).is_none()
}

/// Lines of an action, and of a document after all but deletions: a document may say "delete".
fn bulk(call: &Call<'_>) -> Found {
    let values: Vec<Value> = match call.content() {
        Content::Json(Value::Array(items)) => items.clone(),
        Content::Json(one) => vec![one.clone()],
        Content::Text(text) => {
            let mut lines = Vec::new();
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                match super::parse_json(line.as_bytes()) {
                    Ok(value) if lines.len() < MOST_LINES => lines.push(value),
                    _ => return (Effect::Opaque, "a bulk request that cannot be read".to_owned()),
                }
            }
            lines
        }
        _ => return (Effect::Opaque, "a bulk request that cannot be read".to_owned()),
    };
    let mut lines = values.iter();
    while let Some(line) = lines.next() {
        let Some(action) = line.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.keys().next()) else {
            return (Effect::Opaque, "a bulk request with a line that is no action".to_owned());
        };
        match action.as_str() {
            "delete" => return (Effect::Destroy, "one of its actions deletes".to_owned()),
            "create" | "index" | "update" => {
                let document = lines.next();
                if action == "update"
                    && let Some(found) = document
                        .and_then(|document| document.pointer("/script/source").or_else(|| document.get("script")))
                        .and_then(Value::as_str)
                        .and_then(statements::script)
                {
                    return found;
                }
            }
            _ => return (Effect::Opaque, "a bulk request with an action that is not known".to_owned()),
        }
    }
    (Effect::Write, "it indexes documents".to_owned())
}

/// Scripts of an update: `ctx.op = 'delete'`, `ctx._source.remove('email')`.
fn script(call: &Call<'_>) -> Option<Found> {
    let Content::Json(value) = call.content() else { return None };
    let script = value.get("script")?;
    let text = script.get("source").or_else(|| script.get("inline")).unwrap_or(script).as_str();
    match text {
        Some(text) => statements::script(text),
        None => Some((Effect::Opaque, "a script that is stored elsewhere".to_owned())),
    }
}
