//! What the body of an API that nobody has described says of itself: verbs in its fields, protections switched off,
//! statements of SQL, commands, elements of XML. It only ever makes a request stricter.

mod guarding;
mod guards;
mod markup;
mod putting_away;
mod settings;
pub(super) mod statements;

use std::collections::HashMap;

use agentbox_core::Effect;
use serde_json::{Map, Value};

use super::{content::Content, words};
use guards::Above;

/// What a body says that is stricter than its method: the effect and why.
pub(crate) type Found = (Effect, String);

/// What is known of the request around its body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Around {
    /// Words of the path, or of the call's name.
    pub(crate) words: Vec<String>,
    /// What is sent changes something that stands already (PUT, PATCH, `Update…`): its fields take the place of others.
    pub(crate) changes: bool,
    /// Its name says that something new is made, of which nothing can be switched off.
    pub(crate) makes: bool,
    /// Words of the thing itself, where they are told apart from those of what it lies in.
    pub(crate) about: Vec<String>,
    /// What is looked at now only says what is looked for: `{"filter": {"deleted": true}}`.
    pub(crate) asks: bool,
    /// What is looked at now only tells what happened, or is kept as somebody's own data: its verbs are nobody's orders.
    pub(crate) tells: bool,
    /// These are the outermost fields of what seeks or tells: an order that stands there counts all the same.
    pub(crate) outermost: bool,
    /// The host's name or something else outside the path says that a guard is spoken to.
    pub(crate) guarded: bool,
}

impl Around {
    /// Around a call of this name.
    #[must_use]
    pub(crate) fn name(name: &str) -> Self {
        let words = words::split(name);
        let makes = words.first().is_some_and(|first| is_making(first)) || words.last().is_some_and(|last| is_making(last));
        // `IncreaseRetentionPeriod` shortens nothing.
        let lengthens = words.first().is_some_and(|first| matches!(first.as_str(), "increase" | "extend" | "lengthen"));
        Self { words, changes: !makes && !lengthens, makes, ..Self::default() }
    }

    /// Whether it is a search, whose words are nobody's statement.
    fn searches(&self) -> bool {
        let is_search = |word: &String| matches!(word.as_str(), "search" | "autocomplete" | "suggest" | "grep");
        self.words.last().is_some_and(is_search) || self.words.first().is_some_and(is_search)
    }

    fn has(&self, wanted: &[&str]) -> bool {
        self.words.iter().any(|word| wanted.contains(&words::singular(word)))
    }
}

/// Verbs that make something new: nothing is changed by their settings.
#[must_use]
pub(crate) fn is_making(word: &str) -> bool {
    matches!(word, "create" | "add" | "insert" | "register" | "run" | "launch" | "provision" | "allocate" | "make" | "new" | "import" | "clone" | "copy")
}

/// Fields whose value is a verb.
const VERB_FIELDS: &[&str] = &[
    "action",
    "actiontype",
    "op",
    "operation",
    "operationtype",
    "verb",
    "method",
    "httpmethod",
    "cmd",
    "command",
    "type",
    "requesttype",
    "_op_type",
    "event",
    "changetype",
    "do",
    "mode",
    "instruction",
    "act",
    "action_name",
    "actionname",
    "api_action",
    "bulk_action",
    "bulkaction",
    "fun",
    "func",
    "function",
    "methodname",
    "procedure",
    "op_type",
    "rpc",
    "task",
];

/// How the names of such fields end: `wsfunction`, `power_action`.
const VERB_ENDINGS: &[&str] = &["action", "command", "function", "method", "operation", "procedure"];

/// What a packet or a draft suffers by such a field: `default_action: drop`.
const OF_PACKETS: &[&str] = &["discard", "drop", "reject", "reset", "clear", "flush"];

/// Those of them whose value may be a name with what it is of: `{"method": "domain.delete"}`. What happened is told so, too: `{"type": "user.delete"}`.
const DOTTED: &[&str] = &["action", "operation", "method", "cmd", "command", "rpc", "procedure", "fun", "func", "function", "methodname"];

/// Longest value that is taken for a verb.
const LONGEST_VERB: usize = 48;

/// Longest path of a patch that is read.
const LONGEST_PATCHED: usize = 300;

/// Longest policy that is read where it stands as a text in a field.
const LONGEST_POLICY: usize = 256 << 10;

/// What the body says would be lost, if it says so.
#[must_use]
pub(crate) fn destroys(content: &Content, around: &Around) -> Option<Found> {
    match content {
        // The bound on the body's size and serde_json's on its depth bound this walk.
        Content::Json(value) => whole(value, around),
        Content::Form(pairs) => form(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())), around),
        Content::Multipart(parts) => form(parts.iter().filter_map(|part| Some((part.name.as_str(), part.text.as_deref()?))), around),
        Content::Text(text) => markup::judge(text, around),
        Content::Empty | Content::Data | Content::Unreadable(_) => None,
    }
}

fn whole(value: &Value, around: &Around) -> Option<Found> {
    // OpenStack: `POST …/servers/3/action {"rebuild": {…}}`, whatever the order is given.
    if let Value::Object(fields) = value
        && let Some(order) = fields.keys().next().filter(|_| fields.len() == 1)
        && around.words.last().is_some_and(|last| last == "action" || last == "actions")
    {
        let order: Vec<String> = words::split(order).into_iter().filter(|word| word != "os").collect();
        if words::of_words(&order, &around.words) == Some(Effect::Destroy) {
            return Some((Effect::Destroy, format!("the body says {}", safe(&order.join(" ")))));
        }
    }
    let above = Above::of(around);
    // `PUT …/configs/retention.ms {"value": "1000"}` is a field of that name.
    if let Some(value) = value.get("value").filter(|value| !value.is_object())
        && let Some((effect, why)) = settings::judge(&around.about.join("_"), value, around, above)
    {
        return Some((effect, format!("{why}: value")));
    }
    // `POST …/messageTTL 60`: the body is the value.
    if matches!(value, Value::Bool(_) | Value::Number(_))
        && let Some((effect, why)) = settings::judge(&around.about.join("_"), value, around, above)
    {
        return Some((effect, format!("{why}: the whole body")));
    }
    if let Value::Array(items) = value
        && around.words.last().is_some_and(|last| matches!(last.as_str(), "execute" | "query" | "request" | "sql" | "statements"))
        && let Some(found) = statements::in_list(items)
    {
        return Some(found);
    }
    in_value(value, around, above).or_else(|| match value {
        Value::Object(fields) => settings::capacity(fields).or_else(|| settings::goes_back(fields, around)),
        _ => None,
    })
}

fn form<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone, around: &Around) -> Option<Found> {
    let above = Above::of(around);
    let one = |(name, value): (&str, &str)| in_field(name, &Value::String(value.to_owned()), around, above);
    if let Some(found) = pairs.clone().find_map(one) {
        return Some(found);
    }
    // `commands=[{"type": "item_delete"}]`: JSON in a field.
    let json = pairs.clone().filter(|(_, value)| value.trim_start().starts_with(['{', '[']));
    if let Some(found) = json.filter_map(|(_, value)| serde_json::from_str::<Value>(value).ok()).find_map(|value| in_value(&value, around, above)) {
        return Some(found);
    }
    // AWS writes maps as `Attribute.1.Name=…&Attribute.1.Value=…`.
    let values: HashMap<&str, &str> =
        pairs.clone().filter_map(|(name, value)| Some((name.strip_suffix(".Value").or_else(|| name.strip_suffix(".value"))?, value))).collect();
    let named = pairs.clone().filter_map(|(name, value)| Some(([".Name", ".Key", ".key"].iter().find_map(|end| name.strip_suffix(end))?, value)));
    for (stem, name) in named.filter(|(stem, _)| !stem.to_ascii_lowercase().contains("tag")) {
        if let Some(found) = values.get(stem).and_then(|value| in_field(name, &Value::String((*value).to_owned()), around, above)) {
            return Some(found);
        }
    }
    // The pairs of a form are bounded where it is read.
    let fields: Map<String, Value> = pairs.map(|(name, value)| (name.to_owned(), Value::String(value.to_owned()))).collect();
    settings::capacity(&fields)
}

/// The same for the pairs of a query. `reads`: the method does, so that words in it are more likely a search.
#[must_use]
pub(crate) fn query_destroys(pairs: &[(String, String)], reads: Reads, around: &Around) -> Option<Found> {
    // `GET /audit?action=delete` looks for deletions.
    let looks = reads == Reads::Yes
        && around.words.last().is_some_and(|last| matches!(words::singular(last), "audit" | "log" | "event" | "history" | "activity" | "search" | "trail"));
    let above = if pairs.is_empty() { Above::default() } else { Above::of(around) };
    pairs.iter().find_map(|(name, value)| {
        let lower = name.to_ascii_lowercase();
        let url = |effect| (effect, format!("the URL says {}", safe(name)));
        match lower.as_str() {
            "action" | "op" | "cmd" | "command" | "verb" | "operation" | "do" | "act" | "task" | "api_action" | "bulk_action" | "action_name"
                if !looks && (is_verb(value) || is_dotted_verb(value, &lower) || weakens(value, &lower, around)) =>
            {
                return Some(url(Effect::Destroy));
            }
            // `/actions?id=delete_tasks`.
            "id" | "name" if around.words.last().is_some_and(|last| matches!(words::singular(last), "action" | "command")) && is_verb(value) => {
                return Some(url(Effect::Destroy));
            }
            "query" | "q" if around.words.iter().any(|word| word == "search") => {}
            "query" | "sql" | "q" | "statement" => {
                return statements::sql(value, statements::Where::MayBeSearch).map(|(effect, why)| (effect, format!("{why}, in the URL's {}", safe(name))));
            }
            // `?deleteInstanceDir=true`, whatever the method.
            _ if is_yes(&Value::String(value.clone())) && words::begins_destroying(name) && !looks => return Some(url(Effect::Destroy)),
            _ if reads == Reads::No && settings::ends_by_query(&lower, value, around) => return Some(url(Effect::Destroy)),
            // `?restore_to.snapshot.name=s`.
            _ if reads == Reads::No && lower.starts_with("restore") && words::effect_of(name) == Some(Effect::Destroy) => return Some(url(Effect::Destroy)),
            // `?delete`, as some REST dialects of RPC have it.
            _ if value.is_empty() && reads == Reads::No && (words::begins_destroying(name) || ends_destroying(name)) => return Some(url(Effect::Destroy)),
            _ => {}
        }
        if value.trim_start().starts_with('<') {
            return markup::judge(value, around).map(|(effect, _)| url(effect));
        }
        // `?mode=overwrite`, `?createMode=orReplace`.
        if reads == Reads::No && words::split(name).last().is_some_and(|last| last == "mode" || last == "disposition") {
            let says = words::split(value).iter().any(|word| matches!(word.as_str(), "overwrite" | "truncate" | "replace"));
            return says.then(|| url(Effect::Destroy));
        }
        guards::switches_off(name, &words::split(name), &Value::String(value.clone()), around, above).map(|_| url(Effect::Destroy))
    })
}

/// `?mail_user_delete`: a call's name whose verb stands last.
fn ends_destroying(name: &str) -> bool {
    name.len() <= LONGEST_VERB && words::step(name).is_some_and(|step| words::of_words(&step, &[]) == Some(Effect::Destroy))
}

/// Whether a request's method is one that reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// GET, HEAD.
    Yes,
    /// All others.
    No,
}

fn in_value(value: &Value, around: &Around, above: Above) -> Option<Found> {
    match value {
        Value::Object(fields) => in_fields(fields, around, above),
        Value::Array(items) => called_by_place(items, around).or_else(|| items.iter().find_map(|item| in_value(item, around, above))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// `["BulkRemoveRecord", "Table", [1, 2]]`: a call whose name stands first. A list of names holds nothing else.
fn called_by_place(items: &[Value], around: &Around) -> Option<Found> {
    let (Value::String(name), arguments) = items.split_first()? else { return None };
    let is_call = !(around.asks || around.tells) && arguments.iter().any(|argument| argument.is_array() || argument.is_object());
    (is_call && is_verb(name)).then(|| (Effect::Destroy, format!("it calls {}", safe(name))))
}

fn in_fields(fields: &Map<String, Value>, around: &Around, above: Above) -> Option<Found> {
    // `{"type": "MFA_ENROLL", "status": "INACTIVE"}`, `{"feature": "audit_log", "enabled": false}`.
    let kinds = ["type", "kind", "name", "feature", "category", "key"].iter().filter_map(|name| fields.get(*name)?.as_str());
    let above = kinds.fold(above, Above::beside);
    if let Some(found) = patch(fields, around, above) {
        return Some(found);
    }
    // `{"op": "remove", "path": "/tags/0"}`: by what is removed.
    if takes_what_is_light(fields) {
        return None;
    }
    // `{"name": "retention.ms", "value": "1000"}` is a field of that name.
    let pair = ["name", "key", "Name", "Key", "field", "setting"].iter().find_map(|name| fields.get(*name)?.as_str());
    let value = ["value", "Value", "new_value"].iter().find_map(|name| fields.get(*name));
    // `{"key": "deletedFile", "value": {"path": "a"}}`, a line of a commit.
    if let (Some(name), Some(Value::Object(_))) = (pair, value)
        && words::split(name).first().is_some_and(|first| matches!(first.as_str(), "deleted" | "removed"))
    {
        return Some((Effect::Destroy, format!("the body says {}", safe(name))));
    }
    if let (Some(name), Some(value)) = (pair, value)
        && let Some(found) = settings::judge(name, value, around, above)
    {
        return Some((found.0, format!("the body says {}", safe(name))));
    }
    // A tool's call: its name is a verb, and its arguments are of that call.
    if let Some((tool, arguments)) = tool(fields) {
        let says = |text: &str| Some((Effect::Destroy, format!("it calls {}", safe(text))));
        if tool.len() <= LONGEST_VERB && words::effect_of(tool) == Some(Effect::Destroy) {
            return says(tool);
        }
        let around = Around { about: words::split(tool), ..Around::name(tool) };
        return in_value(arguments, &around, Above::of(&around));
    }
    // `{"name": "deleteUser", "params": [3]}`; `{"name": "delete_confirmation"}` is what a thing is called.
    // Of the Model Context Protocol a tool may be called without arguments.
    let tool = fields.get("params").filter(|_| fields.get("method").is_some_and(|method| method == "tools/call"));
    if let Some(name) = tool.and_then(|params| params.get("name")?.as_str()).filter(|name| words::effect_of(name) == Some(Effect::Destroy)) {
        return Some((Effect::Destroy, format!("it calls {}", safe(name))));
    }
    let called = fields.get("name").and_then(Value::as_str).filter(|_| fields.keys().any(|name| PARAMETERS.contains(&name.as_str())));
    if let Some(name) = called.filter(|name| is_verb(name)) {
        return Some((Effect::Destroy, format!("it calls {}", safe(name))));
    }
    // `{"kind": "delete_user"}`; `{"kind": "DeleteOptions"}` is a type.
    let kind = fields.get("kind").and_then(Value::as_str).unwrap_or_default();
    let orders =
        words::split(kind).first().is_some_and(|first| matches!(first.as_str(), "delete" | "destroy" | "purge" | "drop" | "truncate" | "terminate" | "wipe"));
    if !(around.asks || around.tells) && orders && kind.starts_with(|first: char| first.is_ascii_lowercase()) && is_verb(kind) {
        return Some((Effect::Destroy, format!("the body says {}", safe(kind))));
    }
    if let Some(found) = settings::machines(fields) {
        return Some(found);
    }
    if let Some(why) = putting_away::shows(fields, around) {
        return Some((Effect::Destroy, why.to_owned()));
    }
    fields.iter().find_map(|(name, value)| in_field(name, value, around, above))
}

/// JSON Patch (RFC 6902): `{"op": "replace", "path": "/backup/enabled", "value": false}` is a field below others.
fn patch(fields: &Map<String, Value>, around: &Around, above: Above) -> Option<Found> {
    let op = fields.get("op")?.as_str()?;
    let (path, name) = fields.get("path")?.as_str().filter(|path| path.len() <= LONGEST_PATCHED)?.rsplit_once('/')?;
    if !matches!(op, "replace" | "add") {
        return None;
    }
    let above = path.split('/').fold(above, |above, part| above.below(&words::split(part)));
    in_field(name, fields.get("value")?, &Around { changes: true, ..around.clone() }, above)
}

/// JSON Patch that takes out what is made again at will, and says nothing else.
fn takes_what_is_light(fields: &Map<String, Value>) -> bool {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let (Some("remove"), Some(path)) = (text("op"), text("path").filter(|path| path.len() <= LONGEST_PATCHED)) else { return false };
    let is_index = |part: &&str| *part == "-" || part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = path.split('/').filter(|part| !is_index(part)).collect();
    let is_light = |part: &&str| matches!(words::worth(&words::split(part)), words::Worth::Light | words::Worth::Joining);
    // `/metadata/labels/app`, `/tags/0`; what guards may stand anywhere in it.
    let guards = parts.iter().any(|part| words::split(part).iter().any(|word| words::is_guard(word)));
    fields.keys().all(|name| matches!(name.as_str(), "op" | "path" | "value")) && !guards && parts.iter().rev().take(2).any(is_light)
}

/// `{"name": "delete_branch", "arguments": {…}}`, and nothing else.
fn tool(fields: &Map<String, Value>) -> Option<(&str, &Value)> {
    let is_call = fields.keys().all(|name| matches!(name.as_str(), "name" | "arguments" | "_meta" | "id" | "type" | "tool"));
    let name = fields.get("name").or_else(|| fields.get("tool"))?.as_str()?;
    is_call.then_some((name, fields.get("arguments").filter(|arguments| arguments.is_object())?))
}

/// What stands beside the name of a call.
const PARAMETERS: &[&str] = &["args", "arguments", "params", "parameters", "input", "inputs", "payload"];

/// Fields that say which are meant, not what becomes of them.
const QUESTIONS: &[&str] = &["filter", "filters", "where", "selector", "match", "criteria", "search", "condition", "filterby", "query", "querystring"];

/// Fields whose names are free for anybody.
const FREE: &[&str] = &["tags", "labels", "annotations"];

fn in_field(name: &str, value: &Value, around: &Around, above: Above) -> Option<Found> {
    let says = |effect| Some((effect, format!("the body says {}", safe(name))));
    // AWS: `BlockDeviceMapping.1.Ebs.DeleteOnTermination`.
    let own = name.rsplit('.').next().unwrap_or(name);
    let lower: String = own.chars().filter(|c| !matches!(c, '-' | '.')).take(64).collect::<String>().to_ascii_lowercase();
    // `__op`, `$type`, `@type`.
    let key = lower.trim_start_matches(['_', '$', '@']);
    // `{"event": "delete"}` is told; `{"action": "delete"}` beside it would be an order.
    let is_told = around.tells && matches!(lower.as_str(), "event" | "type");
    let orders = !(around.asks || around.tells) || (around.outermost && !is_told);
    if FREE.contains(&lower.as_str()) && value.as_object().is_some_and(|fields| fields.values().all(Value::is_string)) {
        return None;
    }
    if let Value::String(text) = value
        && orders
        && is_verb_field(key, text)
        && !takes_off(text, around)
        && (is_verb(text) || is_dotted_verb(text, key) || settings::puts_back(text, key, around) || weakens(text, key, around))
    {
        return says(Effect::Destroy);
    }
    if let Some((effect, why)) = statements::in_field(&lower, value, around.searches()) {
        return Some((effect, format!("{why}, in the body's {}", safe(name))));
    }
    if orders && names_deletion(own, value, around, above) {
        return says(Effect::Destroy);
    }
    if let Value::String(text) = value {
        if text == "expire" && matches!(lower.as_str(), "type" | "action") && around.has(&["lifecycle"]) {
            return says(Effect::Destroy);
        }
        // Policies travel as JSON in a text: `lifecyclePolicyText`.
        if lower.contains("policy") && text.len() <= LONGEST_POLICY && text.trim_start().starts_with(['{', '[']) {
            return serde_json::from_str::<Value>(text).ok().and_then(|inner| in_value(&inner, around, above));
        }
    }
    if let Some((effect, why)) = settings::judge(name, value, around, above) {
        return Some((effect, format!("{why}: {}", safe(name))));
    }
    if QUESTIONS.contains(&lower.as_str()) && value.is_object() {
        return in_value(value, &Around { asks: true, outermost: false, ..around.clone() }, above);
    }
    match value {
        // Records have the names that people gave to their columns.
        Value::Object(_) if lower == "fields" => in_value(value, &Around { tells: true, outermost: false, ..around.clone() }, above.below(&words::split(own))),
        Value::Object(_) | Value::Array(_) if around.outermost => {
            in_value(value, &Around { outermost: false, ..around.clone() }, above.below(&words::split(own)))
        }
        Value::Object(_) | Value::Array(_) => in_value(value, around, above.below(&words::split(own))),
        _ => None,
    }
}

/// `delete`, `DELETE`, `delete_all`, `removeUser`: short, and a verb at its beginning.
fn is_verb(text: &str) -> bool {
    // `pg_drop_source`: whose it is stands before.
    const WHOSE: &[&str] = &["pg_", "mssql_", "mysql_", "citus_", "bigquery_", "sqlite_", "snowflake_", "mongo_"];
    let text = WHOSE.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
    text.len() <= LONGEST_VERB && !text.contains(' ') && words::begins_destroying(text)
}

/// Whether a field of this name says what is to be done.
fn is_verb_field(key: &str, text: &str) -> bool {
    VERB_FIELDS.contains(&key) || (VERB_ENDINGS.iter().any(|ending| key.ends_with(ending)) && !OF_PACKETS.iter().any(|word| text.eq_ignore_ascii_case(word)))
}

/// `POST …/issues/3/labels {"action": "remove"}`: what is taken off is made again at will.
fn takes_off(text: &str, around: &Around) -> bool {
    let words: Vec<&String> = around.words.iter().filter(|word| !matches!(word.as_str(), "api" | "rest")).collect();
    let is_light = || match words::worth(&words) {
        words::Worth::Light => true,
        words::Worth::Joining => words.len() > 1,
        words::Worth::Guard | words::Worth::Heavy | words::Worth::Unknown => false,
    };
    // A registry's tag is the only name of what it leads to.
    let is_name =
        around.has(&["image", "manifest", "package", "repo"]) || around.words.iter().any(|word| word.starts_with("repositor") || word.starts_with("registr"));
    text.eq_ignore_ascii_case("remove") && !is_name && is_light()
}

/// `domain.delete`, `users/remove`.
fn is_dotted_verb(text: &str, field: &str) -> bool {
    let last = text.rsplit_once(['.', '/', ':', '#']).map(|(_, last)| last);
    (DOTTED.contains(&field) || (field == "type" && text.contains('#'))) && text.len() <= LONGEST_VERB && last.is_some_and(is_verb)
}

/// `{"type": "disable_backups"}`, `{"action": "restore_snapshot"}`: an order of which the first word alone does not tell.
fn weakens(text: &str, field: &str, around: &Around) -> bool {
    // `{"action": "disable"}` of a policy: by what the path leads to.
    let is_order = matches!(field, "action" | "operation" | "command" | "cmd" | "op" | "action_name" | "actionname" | "verb");
    let of = if is_order { around.words.as_slice() } else { &[] };
    !matches!(field, "name" | "event" | "mode" | "method" | "httpmethod")
        && text.len() <= LONGEST_VERB
        && !text.contains([' ', '/', ':'])
        // `Action=RestoreDBInstanceToPointInTime` is a call's name, and judged as one.
        && !text.starts_with(|first: char| first.is_ascii_uppercase())
        && words::of_words(&words::split(text), of) == Some(Effect::Destroy)
}

/// Whether a value says no.
fn is_no(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty() || matches!(text.as_str(), "false" | "0" | "no" | "never"),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(true) | Value::Object(_) => false,
    }
}

/// Whether a value says yes, and nothing else.
fn is_yes(value: &Value) -> bool {
    match value {
        Value::Bool(on) => *on,
        Value::String(text) => matches!(text.to_ascii_lowercase().as_str(), "true" | "yes" | "1" | "on"),
        _ => false,
    }
}

/// Last words of fields that only say when, whether or for how long something would be deleted.
const ABOUT_DELETION: &[&str] = &[
    "retention",
    "protection",
    "marker",
    "days",
    "after",
    "lock",
    "policy",
    "window",
    "period",
    "timeout",
    "allowed",
    "permission",
    "role",
    "id",
    "status",
    "reason",
    "count",
    "url",
];

/// `{"deletes": [...]}`, `{"is-destroy": true}`, `{"DeleteRequest": {...}}`, `{"delete": "…"}`, `{"_deleted": true}`, `{"prune": true}`.
fn names_deletion(name: &str, value: &Value, around: &Around, above: Above) -> bool {
    if is_no(value) {
        return false;
    }
    let all = words::split(name);
    if all.last().is_some_and(|last| ABOUT_DELETION.contains(&last.as_str()))
        || all.iter().any(|word| matches!(word.as_str(), "retention" | "lock" | "marker" | "prevent" | "guard") || word.starts_with("protect"))
        // `deleteOption: "Detach"` says what becomes of it.
        || all.last().is_some_and(|last| matches!(last.as_str(), "option" | "behavior" | "behaviour" | "mode" | "strategy"))
            && value.as_str().is_some_and(|text| !words::split(text).iter().any(|word| words::destroys(word)))
    {
        return false;
    }
    let skip = usize::from(
        all.first()
            .is_some_and(|first| matches!(first.as_str(), "is" | "do" | "should" | "schedule" | "scheduled" | "force" | "request" | "auto" | "to" | "with")),
    );
    let Some(word) = all.get(skip) else { return false };
    // `change_protection` with `{"delete": true}` protects from deletion.
    if is_yes(value) && (above.guards() || around.words.last().is_some_and(|last| words::is_guard(last))) {
        return false;
    }
    // `purge_cache` with `{"purge_everything": true}`: it fills again.
    if all.iter().chain(around.words.last()).any(|word| word.starts_with("cache")) {
        return false;
    }
    match word.as_str() {
        // A disposition and a bulk action, not a draft that somebody drops.
        "discard" | "discarded" => is_yes(value) && all.len() <= skip + 1 && around.changes,
        "trashed" => is_yes(value) && all.len() <= skip + 1 && !around.asks,
        "in" => is_yes(value) && !around.asks && matches!(all.last().map(String::as_str), Some("trash" | "bin")),
        "delete" | "deletes" | "destroy" | "purge" | "wipe" | "truncate" | "erase" | "deletions" | "deletion" => true,
        "reinstall" | "rebuild" | "reimage" => is_yes(value) && all.len() <= skip + 1,
        // `remove=9` of a zone's records.
        "remove" if all.len() == 1 && !value.is_boolean() && around.has(&["dns", "zone", "record", "rrset"]) => true,
        // `POST /alter {"drop_attr": "name"}`.
        "drop" if value.is_string() && all.len() > skip + 1 && around.has(&["alter", "schema", "migrate", "ddl"]) => true,
        // `{"remove_index": {…}}` beside `{"removeLabels": […]}`: by what is removed.
        "remove" | "drop" if all.len() > skip + 1 => words::effect_of(name) == Some(Effect::Destroy) && (value.is_object() || is_yes(value) && word == "drop"),
        // Of a search it says which are sought.
        "deleted" | "destroyed" | "removed" => is_yes(value) && all.len() <= skip + 1 && !around.asks,
        "prune" | "overwrite" | "drop" => is_yes(value) && all.len() <= skip + 1,
        _ => false,
    }
}

pub(super) fn safe(text: &str) -> String {
    agentbox_core::safe::line(text, 60)
}

#[cfg(test)]
mod tests;
