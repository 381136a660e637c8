//! Settings that take something away: a protection off, a retention short, an older state put back, nothing left to run.

use agentbox_core::Effect;
use serde_json::{Map, Value};

use super::{super::words, Around, Found, is_no, is_yes};

/// Below this many days a retention is thought to be short. What it was before, the request does not tell.
const SHORT: f64 = 7.0;

/// One field.
#[must_use]
pub(super) fn judge(name: &str, value: &Value, around: &Around) -> Option<Found> {
    if let Some(why) = switches_off(name, value, around) {
        return Some((Effect::Destroy, why.to_owned()));
    }
    let own = name.rsplit('.').next().unwrap_or(name);
    let all = words::split(if name.split('.').count() > 1 && own.len() < 4 { name } else { own });
    let has = |wanted: &[&str]| all.iter().any(|word| wanted.contains(&word.as_str()));
    let found = |why: &str| Some((Effect::Destroy, why.to_owned()));
    let begins_to_expire = (has(&["live", "ttl"]) && has(&["time", "ttl", "to"])) || (has(&["expiration", "expiry"]) && has(&["policy"]));
    if around.changes && (shortens(&all, value) || (begins_to_expire && enables(value))) {
        return found("it shortens how long something is kept");
    }
    let text = value.as_str().unwrap_or_default();
    // What goes with a claim or a record that is gone: the data, too.
    if around.changes && has(&["reclaim", "deletion"]) && all.last().is_some_and(|last| last == "policy") && text.eq_ignore_ascii_case("delete") {
        return found("what is kept now is deleted with its owner");
    }
    if has(&["oid", "sha", "hash", "newrev", "commit"]) && value.as_str().is_some_and(|text| text.len() >= 40 && text.bytes().all(|byte| byte == b'0')) {
        return found("the null hash deletes a ref");
    }
    if name == "$patch" && value.as_str().is_some_and(|text| matches!(text, "delete" | "replace")) {
        return found("the patch deletes");
    }
    if name == "$out" {
        return found("its result replaces a collection");
    }
    if around.changes && all.last().is_some_and(|last| last == "finalizers") && is_no(value) {
        return found("it takes away what holds a deletion back");
    }
    if matches!(own, "where" | "filter") && around.changes && value.as_object().is_some_and(Map::is_empty) {
        return found("its filter is empty: everything is changed");
    }
    if matches!(own.to_ascii_lowercase().as_str(), "status" | "state") && value.as_str().is_some_and(|text| ends(text, around)) {
        return found("it ends something by its state");
    }
    if has(&["disposition", "mode", "strategy"])
        && value.as_str().is_some_and(|text| words::split(text).iter().any(|word| word == "truncate" || word == "overwrite"))
    {
        return found("its result replaces what is there");
    }
    if own == "force" && is_yes(value) && around.has(&["ref", "branch", "head"]) {
        return found("it is forced");
    }
    // `{"retention": {"days": 0}}`.
    let inner = match value {
        Value::Object(fields) => vec![fields],
        Value::Array(items) => items.iter().filter_map(Value::as_object).collect(),
        _ => Vec::new(),
    };
    if around.changes
        && inner
            .iter()
            .flat_map(|fields| fields.iter())
            .any(|(inner, value)| !value.is_object() && shortens(&[all.clone(), words::split(inner)].concat(), value))
    {
        return found("it shortens how long something is kept");
    }
    if around.changes && has(&["number"]) && has(&["replicas"]) && number(value) == Some(0.0)
        || has(&["replication"]) && has(&["factor"]) && number(value) == Some(1.0)
    {
        return found("it keeps no second copy");
    }
    // `{"whenDeleted": "Delete"}`, `{"actionOnUnmanage": {"resources": "delete"}}`.
    let is_deletion = |text: &str| matches!(text.to_ascii_lowercase().as_str(), "delete" | "destroy" | "purge" | "wipe");
    if around.changes && all.first().is_some_and(|first| first == "when" || first == "on") && value.as_str().is_some_and(is_deletion) {
        return found("what goes takes what hangs on it along");
    }
    if all.len() > 1
        && all.first().is_some_and(|first| first == "action")
        && value.as_object().is_some_and(|fields| fields.values().filter_map(Value::as_str).any(is_deletion))
    {
        return found("what is not named is deleted");
    }
    // Whether machines may be lost with something else.
    if all.iter().any(|word| word == "allow" || word == "allowed" || word == "allows" || word == "enable")
        && has(&["deletion", "deletions", "delete", "force", "destroy"])
        && !has(&["marker", "protection", "soft"])
        && is_yes(value)
    {
        return found("it allows what was protected from");
    }
    None
}

/// `{"DeletionProtection": false}`, `{"versioning": {"enabled": false}}`, `{"retentionDays": 0}`, `{"retentionPolicy": null}`.
#[must_use]
pub(super) fn switches_off(name: &str, value: &Value, around: &Around) -> Option<&'static str> {
    const OFF: &str = "it switches a protection off";
    let all = words::split(name);
    let has = |wanted: &[&str]| all.iter().any(|word| wanted.contains(&word.as_str()));
    // `destructive_requires_name: false`: what held a loss back.
    if has(&["destructive"]) && has(&["require", "requires"]) && is_off(value, false, 0) {
        return Some(OFF);
    }
    // One snapshot is a copy; what takes them by itself guards. A default for what is made later guards nothing yet.
    let is_one = has(&["snapshot"]) && !has(&["schedule", "policy", "plan", "enable", "enabled", "auto", "automatic", "automated"]);
    let names_guard = !around.makes && !is_one && !has(&["default"]) && (all.iter().any(|word| guards(word)) || (has(&["soft"]) && has(&["delete"])));
    let negated = all.iter().any(|word| matches!(word.as_str(), "disable" | "disabled" | "skip" | "without" | "no" | "suspend" | "bypass"));
    // `DisableApiTermination: false`, `preventDestroy: false`: what keeps a thing from being ended.
    let keeps_from = all.iter().any(|word| matches!(word.as_str(), "disable" | "disabled" | "prevent" | "disallow" | "block" | "deny"))
        && has(&["termination", "deletion", "delete", "destroy", "destroyed", "removal"]);
    if keeps_from && !around.makes {
        return (is_no(value) || is_off(value, false, 0)).then_some(OFF);
    }
    // `DisableLogTypes: ["audit"]` names what is no longer kept.
    let lists_losses = all.iter().any(|word| word == "disable") && matches!(value, Value::Array(items) if !items.is_empty())
        || all.iter().any(|word| word == "disable")
            && all.last().is_some_and(|last| last != "disable")
            && value.as_str().is_some_and(|text| !text.is_empty() && !is_plain_switch(text));
    if names_guard && lists_losses {
        return Some(OFF);
    }
    // `{"logConfig": {"enable": false}}`.
    let is_log =
        has(&["log"]) && has(&["config", "configuration", "export", "collection", "enable", "enabled", "settings", "access", "flow", "publishing", "options"]);
    if is_log && !around.makes && is_off(value, negated, 0) {
        return Some(OFF);
    }
    if names_guard {
        let taken_away = around.changes && (matches!(value, Value::Array(items) if items.is_empty()) || (value.is_null() && !negated));
        // `DELETE_PROTECTION_DISABLED`: an enumeration's word, of which something new has a default.
        let says_off = around.changes && value.as_str().is_some_and(|text| text.to_ascii_lowercase().ends_with("_disabled"));
        return (is_off(value, negated, 0) || says_off || taken_away).then_some(OFF);
    }
    // `rulesets/phases/…_firewall_custom/entrypoint` with `{"rules": []}`.
    let empties_rules = matches!(value, Value::Array(items) if items.is_empty()) && all.last().is_some_and(|last| last == "rules");
    if around.changes && empties_rules && around.words.iter().any(|word| words::is_guard(word)) {
        return Some(OFF);
    }
    // The whole thing is a guard: `PUT …/protection {"enforce_admins": false, "required_reviews": null}`.
    if around.changes && around.is_about_guard() {
        let is_emptied = matches!(value, Value::Array(items) if items.is_empty());
        let weakens = |own: &str| match own {
            "required" | "require" | "requires" | "enforce" | "restrict" | "restrictions" | "enabled" | "enable" | "active" | "status" | "state" | "delete"
            | "rebuild" | "destroy" | "value" | "mode" | "on" | "enforcement" | "scan" => is_off(value, false, 0) || value.is_null(),
            "disabled" | "deactivated" | "disable" | "allow" | "suspend" | "suspended" | "pause" | "paused" | "muted" => is_yes(value),
            _ => false,
        };
        // `new_status`, `isEnabled`, `ActionsEnabled`: or by its last word.
        let by_last = all.last().is_some_and(|last| matches!(last.as_str(), "enabled" | "status" | "state" | "enforcement" | "active" | "mode"))
            && is_off(value, false, 0);
        let weakens = by_last || all.first().is_some_and(|first| weakens(first));
        let empties = is_emptied && all.last().is_some_and(|last| GUARDING_LISTS.contains(&words::singular(last)));
        return (weakens || empties).then_some(OFF);
    }
    None
}

/// Lists of which a guard is made: an empty one guards nothing.
const GUARDING_LISTS: &[&str] =
    &["item", "rule", "selector", "condition", "statement", "check", "reviewer", "event", "policy", "target", "source", "category", "inbound", "outbound"];

/// Words of a path or a name that only say which of a thing's settings are meant.
const ASIDE: &[&str] = &[
    "default",
    "current",
    "setting",
    "config",
    "configuration",
    "policy",
    "status",
    "state",
    "log",
    "option",
    "property",
    "properties",
    "global",
    "item",
    "job",
    "modify",
    "plan",
    "put",
    "rule",
    "schedule",
    "set",
    "update",
];

impl Around {
    /// Whether what is changed is a guard as a whole: `…/auditingSettings/default`, `…/protection`.
    pub(super) fn is_about_guard(&self) -> bool {
        let words = if self.about.is_empty() { &self.words } else { &self.about };
        let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(&words::singular(word)));
        let is_aside = |word: &String| ASIDE.contains(&words::singular(word)) || word.ends_with("ies");
        let last = words.iter().rev().find(|word| !is_aside(word));
        // `log-streams`, `logpush`: where what is recorded goes.
        let carries_logs = has(&["log"]) && has(&["stream", "sink", "drain", "push", "export", "exporter", "forward", "forwarding", "flow", "collector"]);
        // `securityPolicies`, `security_monitoring/rules`.
        let is_rule = has(&["policy", "policie", "rule", "ruleset", "control", "check", "detection"])
            && self.words.iter().any(|word| {
                matches!(words::singular(word), "security" | "firewall" | "conditional" | "threat" | "compliance" | "vulnerability" | "ddos" | "fraud" | "bot")
            });
        carries_logs || is_rule || last.or(words.last()).is_some_and(|last| words::is_guard(last))
    }
}

fn guards(word: &str) -> bool {
    words::is_guard(word) || matches!(word, "protected" | "protect" | "locked" | "lock" | "rls" | "twofactor" | "retentions" | "logs" | "scan" | "pit")
}

/// How deep below a guard's name its switch is looked for.
const DEEPEST_SWITCH: usize = 5;

fn is_off(value: &Value, negated: bool, depth: usize) -> bool {
    match value {
        Value::Bool(on) => *on == negated,
        Value::Number(number) => !negated && number.as_f64() == Some(0.0),
        Value::String(text) => {
            if negated {
                text.eq_ignore_ascii_case("true")
            } else {
                // `ProtectionStopped` says it as its last word; a sentence is no state.
                let words = words::split(text);
                words.len() <= 2 && words.last().is_some_and(|last| OFF_WORDS.contains(&last.as_str()))
            }
        }
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let name = name.to_ascii_lowercase();
            let is_switch = name.contains("enable") || matches!(name.as_str(), "status" | "state" | "active" | "value" | "on" | "required" | "enforced");
            let lists_nothing = name.contains("enable") && matches!(value, Value::Array(items) if items.is_empty());
            let is_inner = depth < DEEPEST_SWITCH && matches!(value, Value::Object(_) | Value::Array(_)) && is_off(value, negated, depth + 1);
            (is_switch && (lists_nothing || is_off(value, negated, depth + 1))) || is_inner
        }),
        Value::Array(items) => items.iter().any(|item| item.is_object() && depth < DEEPEST_SWITCH && is_off(item, negated, depth + 1)),
        Value::Null => false,
    }
}

/// Whether a text is the value of a switch, not the name of something.
fn is_plain_switch(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "yes" | "no" | "on" | "off" | "0" | "1")
}

/// States of what does not guard any more.
const OFF_WORDS: &[&str] =
    &["false", "off", "disabled", "disable", "suspended", "suspend", "none", "0", "inactive", "paused", "stopped", "muted", "unprotected", "no"];

fn enables(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| name.eq_ignore_ascii_case("enabled") && is_yes(value)),
        _ => is_yes(value),
    }
}

/// A number, or text that is one.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) if text.len() < 20 => {
            let digits = text.trim_end_matches(['s', 'm', 'h', 'd']);
            let number: f64 = digits.parse().ok()?;
            Some(match text.strip_prefix(digits) {
                Some("s") => number / 86_400.0,
                Some("m") => number / 1440.0,
                Some("h") => number / 24.0,
                _ => number,
            })
        }
        _ => None,
    }
}

/// `BackupRetentionPeriod=1`, `retention.ms: 1000`, `retainedBackups: 1`, `MessageRetentionPeriod=60`.
fn shortens(all: &[String], value: &Value) -> bool {
    let has = |wanted: &[&str]| all.iter().any(|word| wanted.contains(&word.as_str()));
    let keeps = has(&["retention", "retain", "retained", "expiration", "expire", "expires", "keep"]) || (has(&["delete"]) && has(&["after"]));
    if !keeps || has(&["token", "session", "cache", "password", "link", "certificate", "url"]) {
        return false;
    }
    let Some(number) = number(value) else { return false };
    let days = match () {
        () if has(&["ms", "millis", "milliseconds"]) => number / 86_400_000.0,
        () if has(&["second", "seconds", "sec", "secs"]) => number / 86_400.0,
        () if has(&["minute", "minutes", "mins"]) => number / 1440.0,
        () if has(&["hour", "hours"]) => number / 24.0,
        // SQS counts its period in seconds, RDS in days.
        () if has(&["message"]) => number / 86_400.0,
        () if has(&["bytes", "size", "mb", "gb"]) => return false,
        () => number,
    };
    days < SHORT
}

/// States after which a thing is gone.
fn ends(text: &str, around: &Around) -> bool {
    match text.to_ascii_lowercase().as_str() {
        "deleted" | "terminated" | "destroyed" | "purged" => true,
        "closed" | "cancelled" | "canceled" => around.has(&["account"]),
        _ => false,
    }
}

/// `{"type": "restore"}` of an action on a machine: its disk is overwritten.
#[must_use]
pub(super) fn puts_back(text: &str, field: &str) -> bool {
    matches!(field, "type" | "action" | "operation" | "op") && matches!(text.to_ascii_lowercase().as_str(), "restore" | "rollback_snapshot" | "revert")
}

/// `POST …/branches/3/restore {"source_timestamp": "…"}`: what stands is replaced by what was. A restore that says nothing of the kind
/// takes something out of the bin, and one that names what it makes leaves what stands.
#[must_use]
pub(super) fn goes_back(fields: &Map<String, Value>, around: &Around) -> Option<Found> {
    if around.words.last().is_none_or(|last| !matches!(last.as_str(), "restore" | "rollback" | "revert")) {
        return None;
    }
    // `databases:restore` makes a new one of the collection.
    if let [.., of, verb] = around.about.as_slice()
        && verb == "restore"
        && words::singular(of) != of
    {
        return None;
    }
    const OLDER: &[&str] = &["source", "timestamp", "point", "backup", "snapshot", "lsn", "revision", "checkpoint", "restore", "recovery"];
    let says = |wanted: &[&str]| fields.keys().flat_map(|name| words::split(name)).any(|word| wanted.contains(&word.as_str()));
    let is_older = fields.keys().any(|name| words::split(name).first().is_some_and(|first| OLDER.contains(&first.as_str())));
    (is_older && !says(&["new", "target", "destination", "name"]))
        .then(|| (Effect::Destroy, "it puts an older state in the place of the present one".to_owned()))
}

/// `{"nodeCount": 0}`, at any depth.
#[must_use]
pub(super) fn machines(fields: &Map<String, Value>) -> Option<Found> {
    let is_count = |name: &str| matches!(name.replace('_', "").to_ascii_lowercase().as_str(), "nodecount" | "desirednodecount");
    let ends = fields.iter().any(|(name, value)| is_count(name) && number(value) == Some(0.0));
    ends.then(|| (Effect::Destroy, "it sets the number of machines to zero".to_owned()))
}

/// `{"nodeCount": 0}`, `MinSize=0&MaxSize=0`: every machine of a group ends. Replicas of a program come back.
#[must_use]
pub(super) fn capacity(fields: &Map<String, Value>) -> Option<Found> {
    let is_zero = |value: &Value| number(value) == Some(0.0);
    let mut largest = None;
    for (name, value) in fields {
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        match name.as_str() {
            "nodecount" | "node_count" | "desirednodecount" if is_zero(value) => {
                return Some((Effect::Destroy, "it sets the number of machines to zero".to_owned()));
            }
            "maxsize" | "maxcapacity" | "maxnodecount" => largest = Some(is_zero(value)),
            _ => {}
        }
    }
    (largest == Some(true)).then(|| (Effect::Destroy, "it sets the largest number of machines to zero".to_owned()))
}
