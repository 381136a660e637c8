//! Services: messages, payments, alarms, streams, Azure's management and Linode.

use agentbox_core::Effect;
use serde_json::Value;

use super::{Found, Provider, is_below};
use crate::meaning::{Head, call::Call, content::Content};

pub(super) const TWILIO: Provider = Provider { name: "twilio", is_at: |head| is_below(head, "twilio.com"), judge: twilio };
pub(super) const STRIPE: Provider = Provider { name: "stripe", is_at: |head| head.host.as_str() == "api.stripe.com", judge: stripe };
pub(super) const ALERTING: Provider = Provider { name: "alerting", is_at: is_alerting, judge: alerting };
pub(super) const KAFKA: Provider = Provider { name: "kafka", is_at: is_kafka, judge: kafka };
pub(super) const AZURE: Provider = Provider { name: "azure", is_at: |head| head.host.as_str() == "management.azure.com", judge: azure };
pub(super) const DATADOG: Provider =
    Provider { name: "datadog", is_at: |head| is_below(head, "datadoghq.com") || is_below(head, "datadoghq.eu"), judge: datadog };
pub(super) const VAULT: Provider = Provider { name: "vault", is_at: |head| head.headers.contains_key("x-vault-token"), judge: vault };
pub(super) const DOCKER: Provider = Provider { name: "docker", is_at: |head| matches!(head.port, 2375 | 2376), judge: docker };
pub(super) const LINODE: Provider = Provider { name: "linode", is_at: |head| head.host.as_str() == "api.linode.com", judge: linode };

/// An empty text takes the old one out of a message, for good.
fn twilio(call: &Call<'_>) -> Option<Found> {
    let Content::Form(pairs) = call.content() else { return None };
    let redacts = pairs.iter().any(|(name, value)| name == "Body" && value.is_empty()) && call.route.segments().any(|segment| segment == "Messages");
    redacts.then(|| (Effect::Destroy, "an empty Body redacts the message, for good".to_owned()))
}

fn stripe(call: &Call<'_>) -> Option<Found> {
    let segments: Vec<&str> = call.route.segments().collect();
    match (call.head.method.as_str(), segments.as_slice()) {
        ("POST", ["v1", "payment_methods", _, "detach"]) => Some((Effect::Destroy, "a detached payment method can never be used again".to_owned())),
        ("DELETE", ["v1", "customers", _, "sources", _]) => Some((Effect::Write, "it detaches a source".to_owned())),
        _ => None,
    }
}

/// Services that do nothing but wake people.
fn is_alerting(head: &Head<'_>) -> bool {
    [
        "pagerduty.com",
        "opsgenie.com",
        "victorops.com",
        "betteruptime.com",
        "statuspage.io",
        "pingdom.com",
        "uptimerobot.com",
        "betterstack.com",
        "statuscake.com",
        "checklyhq.com",
        "cronitor.io",
        "healthchecks.io",
    ]
    .iter()
    .any(|domain| is_below(head, domain))
}

fn alerting(call: &Call<'_>) -> Option<Found> {
    let off = |fields: &serde_json::Map<String, Value>| {
        fields.iter().any(|(name, value)| matches!((name.as_str(), value), ("status" | "state", Value::String(text)) if matches!(text.as_str(), "disabled" | "inactive" | "paused" | "maintenance")) || (matches!(name.as_str(), "enabled" | "active") && *value == Value::Bool(false)))
    };
    let last = call.route.last();
    if call.head.method != http::Method::GET && matches!(last, "disable" | "mute" | "pause" | "suspend" | "deactivate") {
        return Some((Effect::Destroy, "nobody is woken any more".to_owned()));
    }
    if let Content::Form(pairs) = call.content()
        && pairs.iter().any(|(name, value)| {
            matches!((name.as_str(), value.as_str()), ("paused" | "muted" | "disabled", "true" | "1") | ("enabled" | "active", "false" | "0"))
        })
    {
        return Some((Effect::Destroy, "nobody is woken any more".to_owned()));
    }
    let Content::Json(Value::Object(fields)) = call.content() else { return None };
    // A rota without layers, a policy without rules: nobody is left to be woken.
    const WHO: &[&str] = &["schedule_layers", "escalation_rules", "rotations", "rules", "responders", "recipients", "participants"];
    let leaves_nobody = |fields: &serde_json::Map<String, Value>| {
        fields.iter().any(|(name, value)| WHO.contains(&name.as_str()) && matches!(value, Value::Array(items) if items.is_empty()))
    };
    if call.head.method == http::Method::PUT && (leaves_nobody(fields) || fields.values().filter_map(Value::as_object).any(leaves_nobody)) {
        return Some((Effect::Destroy, "nobody is left to be woken".to_owned()));
    }
    let switches_off = off(fields) || fields.values().filter_map(Value::as_object).any(off);
    (switches_off && call.head.method != http::Method::GET).then(|| (Effect::Destroy, "nobody is woken any more".to_owned()))
}

/// The REST proxy, by its media types and its usual names.
fn is_kafka(head: &Head<'_>) -> bool {
    let media = head.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media.starts_with("application/vnd.kafka") || head.host.as_str().split('.').next().is_some_and(|label| label.starts_with("kafka"))
}

/// What a record says is nobody's order; a record that is null marks its key as deleted.
fn kafka(call: &Call<'_>) -> Option<Found> {
    let segments: Vec<&str> = call.route.segments().collect();
    let is_topic = matches!(segments.as_slice(), ["topics", _] | [.., "topics", _, "records"]);
    let Content::Json(Value::Object(fields)) = call.content() else { return None };
    if call.head.method != http::Method::POST || !is_topic {
        return None;
    }
    const FIELDS: &[&str] = &["records", "key_schema", "key_schema_id", "value_schema", "value_schema_id"];
    // The type and the host's name are the client's to choose: with other fields it may be somebody else's order.
    if !fields.keys().all(|name| FIELDS.contains(&name.as_str())) {
        return None;
    }
    let records = fields.get("records").and_then(Value::as_array)?;
    let is_tombstone = |record: &Value| record.get("key").is_some_and(|key| !key.is_null()) && record.get("value").is_none_or(Value::is_null);
    Some(if records.iter().any(is_tombstone) {
        (Effect::Destroy, "a record without a value deletes its key where the topic is compacted".to_owned())
    } else {
        (Effect::Write, "it appends records".to_owned())
    })
}

/// Alarms that are silenced, and tags of machines.
fn datadog(call: &Call<'_>) -> Option<Found> {
    let segments: Vec<&str> = call.route.segments().collect();
    match (call.head.method.as_str(), segments.as_slice()) {
        ("DELETE", ["api", _, "tags", "hosts", _]) => Some((Effect::Write, "it removes tags".to_owned())),
        ("POST", ["api", _, "host", _, "mute"]) => Some((Effect::Destroy, "nobody is woken for this machine any more".to_owned())),
        ("PUT", ["api", _, "synthetics", "tests", _, "status"]) if says_paused(call) => Some((Effect::Destroy, "what watches is paused".to_owned())),
        _ => None,
    }
}

fn says_paused(call: &Call<'_>) -> bool {
    matches!(call.content(), Content::Json(body) if body.get("new_status").and_then(Value::as_str) == Some("paused"))
}

/// HashiCorp's Vault, by its token: what its own engines lose without a DELETE.
fn vault(call: &Call<'_>) -> Option<Found> {
    let segments: Vec<&str> = call.route.segments().collect();
    let why = match segments.as_slice() {
        ["v1", .., "keys", _, "trim"] => "what older versions of the key encrypted can never be read again",
        ["v1", "sys", "storage", "raft", "remove-peer"] => "it takes a server out of the cluster",
        _ => return None,
    };
    matches!(call.head.method.as_str(), "POST" | "PUT").then(|| (Effect::Destroy, why.to_owned()))
}

/// The engine's own calls, on any host.
fn docker(call: &Call<'_>) -> Option<Found> {
    let segments: Vec<&str> = call.route.segments().collect();
    match (call.head.method.as_str(), segments.as_slice()) {
        ("POST", ["build", "prune"] | [_, "build", "prune"]) => Some((Effect::Write, "it empties the cache of builds".to_owned())),
        _ => None,
    }
}

fn azure(call: &Call<'_>) -> Option<Found> {
    let segments: Vec<&str> = call.route.segments().map(str::trim).collect();
    let lower: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let parts: Vec<&str> = lower.iter().map(String::as_str).collect();
    if let Content::Json(body) = call.content()
        && body.pointer("/properties/mode").and_then(Value::as_str) == Some("Complete")
        && parts.contains(&"deployments")
        && parts.last() != Some(&"whatif")
    {
        return Some((Effect::Destroy, "a complete deployment deletes whatever its template does not name".to_owned()));
    }
    if call.head.method == http::Method::POST {
        let why = match parts.as_slice() {
            [.., "redis", _, "flush"] | [.., "redisenterprise", _, "databases", _, "flush"] => Some("it removes every key"),
            [.., "storageaccounts", _, "restoreblobranges"] => Some("it puts older blobs in the place of the present ones"),
            [.., "disasterrecoveryconfigs", _, "breakpairing"] => Some("the other side is no copy any more"),
            ["subscriptions", _, "providers", "microsoft.subscription", "cancel"] => Some("it cancels the subscription with all that is in it"),
            _ => None,
        };
        if let Some(why) = why {
            return Some((Effect::Destroy, why.to_owned()));
        }
    }
    match parts.as_slice() {
        // An app's content and settings are replaced by those of a snapshot or a backup.
        [.., "sites", _, "restore" | "restorefromdeletedapp" | "restoresnapshot" | "restorefrombackupblob"]
        | [.., "slots", _, "restore" | "restoresnapshot" | "restorefrombackupblob"]
        | [.., "sites", _, "backups", _, "restore"]
            if call.head.method == http::Method::POST =>
        {
            Some((Effect::Destroy, "it puts an older state in the place of the app".to_owned()))
        }
        [.., "virtualnetworkgateways" | "vpnconnections" | "connections" | "applicationgateways", _, "reset"] if call.head.method == http::Method::POST => {
            Some((Effect::Write, "it restarts a gateway".to_owned()))
        }
        _ => None,
    }
}

fn linode(call: &Call<'_>) -> Option<Found> {
    let segments: Vec<&str> = call.route.segments().collect();
    matches!(segments.as_slice(), [.., "instances", _, "backups", "cancel"]).then(|| (Effect::Destroy, "it deletes all backups of the machine".to_owned()))
}
