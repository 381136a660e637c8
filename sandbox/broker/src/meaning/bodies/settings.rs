//! Settings that take something away: a protection off, a retention short, an older state put back, nothing left to run.

use agentbox_core::Effect;
use serde_json::{Map, Value};

use super::{
    super::words,
    Around, Found, guarding,
    guards::{self, Above},
    is_no, is_yes, putting_away,
};

/// Below this many days a retention is thought to be short. What it was before, the request does not tell.
const SHORT: f64 = 7.0;

/// One field.
#[must_use]
pub(super) fn judge(name: &str, value: &Value, around: &Around, above: Above) -> Option<Found> {
    let whole = words::split(name);
    if let Some(why) = guards::switches_off(name, &whole, value, around, above) {
        return Some((Effect::Destroy, why.to_owned()));
    }
    let own = name.rsplit('.').next().unwrap_or(name);
    // `retention.ms`, `retention.bytes`: a unit alone says nothing.
    let is_unit = own.len() < 4 || matches!(own, "bytes" | "days" | "hours" | "minutes" | "seconds");
    let all = if is_unit || own.len() == name.len() { whole } else { words::split(own) };
    let has = |wanted: &[&str]| all.iter().any(|word| wanted.contains(&word.as_str()));
    let found = |why: &str| Some((Effect::Destroy, why.to_owned()));
    if let Some(why) = putting_away::judge(&all, value, around) {
        return found(why);
    }
    let begins_to_expire = (has(&["live", "ttl"]) && has(&["time", "ttl", "to"])) || (has(&["expiration", "expiry"]) && has(&["policy"]));
    // What a bucket's rule lets expire is gone where it is older already, however many days it says.
    let expires = around.changes
        && around.has(&["lifecycle"])
        && has(&["expiration", "expire", "expires", "expiry", "ttl"])
        && !has(&["marker", "multipart", "incomplete", "abort", "password", "token", "session", "status", "enabled"]);
    if expires && !is_no(value) {
        return found("what is older is deleted");
    }
    if around.changes && (shortens(&all, value, above) || (begins_to_expire && enables(value)) || lives_shortly(&all, value)) {
        return found("it shortens how long something is kept");
    }
    let text = value.as_str().unwrap_or_default();
    let is_deletion = |text: &str| matches!(text.to_ascii_lowercase().as_str(), "delete" | "destroy" | "purge" | "wipe");
    // `…/retention {"policy": "discard_immediately"}`.
    if around.changes
        && (above.keeps() || all.iter().any(|word| guarding::keeps(word)))
        && text.len() <= 40
        && has(&["policy", "mode", "action", "rule", "strategy", "behavior", "value", "retention"])
        && words::split(text).iter().any(|word| words::destroys(word) || word == "immediately")
    {
        return found("what is kept now is deleted");
    }
    // What goes with a claim or a record that is gone: the data, too.
    if around.changes && has(&["reclaim", "deletion", "removal"]) && all.last().is_some_and(|last| last == "policy") && is_deletion(text) {
        return found("what is kept now is deleted with its owner");
    }
    if (has(&["oid", "sha", "hash", "newrev", "commit"]) || (has(&["new"]) && has(&["object", "id"])))
        && value.as_str().is_some_and(|text| text.len() >= 40 && text.bytes().all(|byte| byte == b'0'))
    {
        return found("the null hash deletes a ref");
    }
    if name == "$patch" && value.as_str().is_some_and(|text| matches!(text, "delete" | "replace")) {
        return found("the patch deletes");
    }
    if name == "$out" {
        return found("its result replaces a collection");
    }
    if accepts_loss(&all, value) {
        return found("it accepts that data is lost");
    }
    if around.changes && all.last().is_some_and(|last| last == "finalizers") && is_no(value) {
        return found("it takes away what holds a deletion back");
    }
    if matches!(own, "where" | "filter") && around.changes && value.as_object().is_some_and(Map::is_empty) {
        return found("its filter is empty: everything is changed");
    }
    // `lifecycle_state: TERMINATED`; what it was before says nothing.
    let is_state = all.last().is_some_and(|last| last == "status" || last == "state") && !has(&["old", "previous", "from", "last"]);
    if !(around.asks || around.tells) && is_state && value.as_str().is_some_and(|text| ends(text, around)) {
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
            .any(|(inner, value)| !value.is_object() && shortens(&[all.clone(), words::split(inner)].concat(), value, above))
    {
        return found("it shortens how long something is kept");
    }
    if around.changes && has(&["number", "shard", "index"]) && has(&["replicas"]) && number(value) == Some(0.0)
        || has(&["replication"]) && has(&["factor"]) && number(value) == Some(1.0)
    {
        return found("it keeps no second copy");
    }
    // `{"whenDeleted": "Delete"}`, `{"actionOnUnmanage": {"resources": "delete"}}`.
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
        && has(&["deletion", "deletions", "delete", "force", "destroy", "uninstall"])
        && !has(&["marker", "protection", "soft"])
        && is_yes(value)
        || has(&["force"]) && has(&["push", "pushes"]) && matches!(text, "allow" | "allowed" | "permitted" | "enabled")
    {
        return found("it allows what was protected from");
    }
    None
}

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
            // ISO 8601: `P1D`, `PT12H`.
            let iso = text.strip_prefix('P').and_then(|rest| {
                let (rest, is_time) = rest.strip_prefix('T').map_or((rest, false), |rest| (rest, true));
                let unit = rest.chars().last()?;
                let number: f64 = rest.get(..rest.len() - unit.len_utf8())?.parse().ok()?;
                let days = match (unit, is_time) {
                    ('D', false) => 1.0,
                    ('W', false) => 7.0,
                    ('M', false) => 30.0,
                    ('Y', false) => 365.0,
                    ('H', true) => 1.0 / 24.0,
                    ('M', true) => 1.0 / 1440.0,
                    ('S', true) => 1.0 / 86_400.0,
                    _ => return None,
                };
                Some(number * days)
            });
            if iso.is_some() {
                return iso;
            }
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
fn shortens(all: &[String], value: &Value, above: Above) -> bool {
    let has = |wanted: &[&str]| all.iter().any(|word| wanted.contains(&word.as_str()));
    let keeps = has(&["retention", "retain", "retained", "expiration", "expire", "expires", "keep"])
        || (has(&["delete", "deleting", "autodelete", "purge"]) && has(&["after", "days", "hours", "minutes"]));
    // `…/log-retention {"days": 1}`, `pitr_window_days: 1`.
    let is_time = has(&["days", "hours", "minutes", "seconds", "ms", "period", "duration", "window", "max", "age", "ttl"]);
    let keeps = keeps
        || (is_time && (above.keeps() || all.iter().any(|word| guarding::keeps(word)) || has(&["history", "recovery", "travel", "rollback", "undo", "bin"])))
        || (above.keeps() && all.first().is_some_and(|first| first == "keep" || first == "value"));
    // `expires_in_days` is of the thing itself, `keep_alive` of a connection.
    if all.first().is_some_and(|first| first == "expires") || has(&["alive"]) {
        return false;
    }
    if !keeps || has(&["token", "session", "cache", "password", "link", "certificate", "url"]) {
        return false;
    }
    let Some(number) = number(value) else { return false };
    // Kafka and many others write "for ever" so.
    if number < 0.0 {
        return false;
    }
    let days = match () {
        // No retention by size leaves anything below a MiB.
        () if has(&["bytes"]) && !has(&["segment", "max"]) => return number < 1_048_576.0,
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

/// `message-ttl: 1000`, `rowTtlSeconds: 60`: what is kept begins to go. The unit is anybody's guess: a week of seconds is the bound.
fn lives_shortly(all: &[String], value: &Value) -> bool {
    const KEPT: &[&str] = &["data", "document", "event", "item", "message", "object", "record", "row", "table"];
    let is_ttl = all.iter().any(|word| word == "ttl");
    is_ttl && all.iter().any(|word| KEPT.contains(&words::singular(word))) && number(value).is_some_and(|number| number > 0.0 && number < SHORT * 86_400.0)
}

/// States after which a thing is gone.
fn ends(text: &str, around: &Around) -> bool {
    match text.to_ascii_lowercase().as_str() {
        "deleted" | "terminated" | "destroyed" | "purged" | "tombstone" => true,
        gone if putting_away::is_state_of_gone(gone) => true,
        "closed" | "cancelled" | "canceled" => around.has(&["account"]),
        _ => false,
    }
}

/// `POST …/store/1/state?state=Tombstone`.
#[must_use]
pub(super) fn ends_by_query(name: &str, value: &str, around: &Around) -> bool {
    matches!(name, "state" | "status") && around.has(&["state", "status"]) && ends(value, around)
}

/// `{"type": "restore"}` of an action on a machine: its disk is overwritten.
#[must_use]
pub(super) fn puts_back(text: &str, field: &str, around: &Around) -> bool {
    // `clients/bulk {"action": "restore"}` takes records out of the bin.
    let is_machine =
        || around.has(&["backup", "database", "disk", "droplet", "image", "instance", "linode", "machine", "server", "snapshot", "vm", "volume", "vps"]);
    if around.words.last().is_some_and(|last| matches!(last.as_str(), "bulk" | "batch" | "trash" | "bin")) && !is_machine() {
        return false;
    }
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

/// `accept_data_loss: true`, `dataProtectionMode: FORCE_DATA_LOSS`.
fn accepts_loss(all: &[String], value: &Value) -> bool {
    let speaks = |words: &[String]| words.windows(2).any(|pair| matches!(pair, [data, loss] if data == "data" && matches!(loss.as_str(), "loss" | "losses")));
    let of_own_will = |words: &[String]| words.iter().any(|word| matches!(word.as_str(), "accept" | "allow" | "force" | "ignore" | "permit"));
    match value {
        // A sentence orders nothing.
        Value::String(text) if text.len() <= 40 && !text.contains(' ') && !is_yes(value) => {
            let words = words::split(text);
            speaks(&words) && of_own_will(&words)
        }
        value => speaks(all) && of_own_will(all) && is_yes(value),
    }
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
