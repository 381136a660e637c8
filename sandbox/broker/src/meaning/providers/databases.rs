//! Databases that are spoken to over HTTP: Firebase, PostgREST, Upstash, Cosmos DB, CouchDB.

use agentbox_core::Effect;
use serde_json::Value;

use super::{Found, Provider, is_below};
use crate::meaning::{Head, call::Call, content::Content, sql};

pub(super) const FIREBASE: Provider = Provider { name: "firebase", is_at: is_firebase, judge: firebase };
pub(super) const POSTGREST: Provider =
    Provider { name: "postgrest", is_at: |head| is_below(head, "supabase.co") || is_below(head, "supabase.in"), judge: postgrest };
pub(super) const UPSTASH: Provider = Provider { name: "upstash", is_at: |head| is_below(head, "upstash.io"), judge: upstash };
pub(super) const COSMOS: Provider = Provider { name: "cosmos", is_at: |head| is_below(head, "documents.azure.com"), judge: cosmos };
pub(super) const COUCH: Provider = Provider { name: "couchdb", is_at: |head| head.port == 5984 || head.port == 6984, judge: couch };

/// Most commands of one pipeline.
const MOST: usize = 10_000;

fn is_firebase(head: &Head<'_>) -> bool {
    is_below(head, "firebaseio.com") || is_below(head, "firebasedatabase.app")
}

/// In its tree a null is nothing, and a PUT is all that there is.
fn firebase(call: &Call<'_>) -> Option<Found> {
    let Content::Json(value) = call.content() else { return None };
    let empty = |value: &Value| value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
    match (call.head.method.as_str(), value) {
        ("PUT", value) if empty(value) => Some((Effect::Destroy, "PUT replaces what is there by nothing".to_owned())),
        ("PUT", _) if call.route.last() == ".json" => Some((Effect::Destroy, "PUT replaces the whole database".to_owned())),
        ("PATCH", Value::Object(fields)) if fields.values().any(empty) => Some((Effect::Destroy, "a null removes what is there".to_owned())),
        _ => None,
    }
}

/// A change without a filter is one of all rows.
fn postgrest(call: &Call<'_>) -> Option<Found> {
    const NO_FILTERS: &[&str] = &["select", "order", "limit", "offset", "columns", "on_conflict", "apikey"];
    let segments: Vec<&str> = call.route.segments().collect();
    let ["rest", "v1", table] = segments.as_slice() else { return None };
    let filters = call.route.query()?.iter().any(|(name, _)| !NO_FILTERS.contains(&name.as_str()));
    (call.head.method == http::Method::PATCH && *table != "rpc" && !filters).then(|| (Effect::Destroy, "it changes all rows of a table".to_owned()))
}

/// Redis over HTTP: commands in the path, in the body, or many of them.
fn upstash(call: &Call<'_>) -> Option<Found> {
    let path: Vec<Vec<u8>> = call.route.segments().map(|segment| segment.as_bytes().to_vec()).collect();
    let commands: Vec<Vec<Vec<u8>>> = match (call.content(), call.route.last()) {
        (Content::Json(Value::Array(items)), "pipeline" | "multi-exec")
            if items.len() > MOST || !items.iter().all(|item| item.as_array().is_some_and(|words| !words.is_empty())) =>
        {
            return Some((Effect::Opaque, "a pipeline that is too long or holds what is no command".to_owned()));
        }
        (Content::Json(Value::Array(items)), "pipeline" | "multi-exec") => items.iter().map(|item| words(item.as_array().map_or(&[], Vec::as_slice))).collect(),
        (Content::Json(Value::Array(items)), _) if path.is_empty() => vec![words(items)],
        _ if path.is_empty() => return None,
        _ => vec![path],
    };
    let worst = commands.iter().flat_map(|command| sql::redis_command(command)).max_by_key(|operation| operation.effect)?;
    Some((worst.effect, worst.reason))
}

fn words(items: &[Value]) -> Vec<Vec<u8>> {
    items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned).into_bytes()).collect()
}

/// A query by POST says so in a header; its grammar has no statement that changes.
fn cosmos(call: &Call<'_>) -> Option<Found> {
    let mut says = call.header_values("x-ms-documentdb-isquery");
    let is_query = says.next().flatten().is_some_and(|value| value.eq_ignore_ascii_case("true")) && says.next().is_none();
    (is_query && call.head.method == http::Method::POST && call.route.last() == "docs").then(|| (Effect::Read, "it asks".to_owned()))
}

/// Questions of CouchDB that are asked by POST.
fn couch(call: &Call<'_>) -> Option<Found> {
    let asks = matches!(call.route.last(), "_find" | "_explain" | "_all_docs" | "_bulk_get" | "_revs_diff" | "_missing_revs");
    let is_readable = matches!(call.content(), Content::Json(_));
    (asks && is_readable && call.head.method == http::Method::POST).then(|| (Effect::Read, "it asks".to_owned()))
}
