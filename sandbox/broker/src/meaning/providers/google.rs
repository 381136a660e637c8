//! Google Cloud: custom verbs, trial runs, records of long operations, and what a write without a mask leaves.

use agentbox_core::Effect;
use serde_json::Value;

use super::{Found, Provider, is_below};
use crate::meaning::{Head, call::Call, content::Content};

pub(super) const GOOGLE: Provider = Provider { name: "gcp", is_at, judge };

/// Verbs whose names tell otherwise than what they do.
const VERBS: &[(&str, &str, Effect, &str)] = &[
    ("cloudfunctions.googleapis.com", "commitFunctionUpgrade", Effect::Destroy, "it deletes the function of the first generation, for good"),
    ("cloudfunctions.googleapis.com", "commitFunctionUpgradeAsGen2", Effect::Destroy, "it deletes the function of the first generation, for good"),
    ("datapipelines.googleapis.com", "stop", Effect::Destroy, "it freezes the pipeline for good; it cannot be started again"),
    ("compute.googleapis.com", "removeResourcePolicies", Effect::Destroy, "it ends the snapshots that were taken by the clock"),
    ("pubsub.googleapis.com", "seek", Effect::Destroy, "messages that were not read count as read, or those read come again"),
    ("compute.googleapis.com", "reset", Effect::Write, "it restarts a machine"),
];

fn is_at(head: &Head<'_>) -> bool {
    is_below(head, "googleapis.com")
}

fn judge(call: &Call<'_>) -> Option<Found> {
    let segments: Vec<&str> = call.route.segments().collect();
    let host = call.head.host.as_str();
    let method = call.head.method.as_str();
    let last = call.route.last();
    let verb = last.rsplit(':').next().unwrap_or(last);
    // Objects and documents have names that people chose.
    let has_free_names =
        host.contains("storage") || segments.iter().any(|segment| matches!(*segment, "documents" | "o" | "b" | "files" | "objects" | "data" | "values"));
    let is_record = matches!(segments.as_slice(), [_, "operations", _] | [_, "projects" | "organizations" | "folders" | "studies", .., "operations", _]);
    if method == "DELETE" && is_record && !has_free_names {
        return Some((Effect::Write, "it removes the record of an operation".to_owned()));
    }
    if let Some((.., effect, why)) = VERBS.iter().find(|(at, known, ..)| *at == host && *known == verb) {
        return Some((*effect, (*why).to_owned()));
    }
    let Content::Json(body) = call.content() else { return None };
    // Each path has its own place for the word, and takes no notice of the other's.
    let trial = match segments.as_slice() {
        ["bigquery", "v2", "projects", _, "queries"] => body.get("dryRun"),
        ["bigquery", "v2", "projects", _, "jobs"] => body.pointer("/configuration/dryRun"),
        _ => None,
    };
    if host == "bigquery.googleapis.com" && method == "POST" && trial == Some(&Value::Bool(true)) {
        return Some((Effect::Read, "a trial run: the statement is checked and not run".to_owned()));
    }
    if host == "firestore.googleapis.com" && matches!(verb, "commit" | "batchWrite") {
        // Without a mask the document becomes what is sent.
        let empties = |write: &Value| {
            let is_new = write.pointer("/currentDocument/exists") == Some(&Value::Bool(false));
            !is_new && write.get("updateMask").is_none() && write.pointer("/update/fields").and_then(Value::as_object).is_some_and(serde_json::Map::is_empty)
        };
        if body.get("writes").and_then(Value::as_array).is_some_and(|writes| writes.iter().any(empties)) {
            return Some((Effect::Destroy, "one of its writes replaces a document by an empty one".to_owned()));
        }
    }
    None
}
