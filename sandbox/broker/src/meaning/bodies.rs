//! What the body of an API that nobody has described says of itself: verbs in its fields, protections switched off,
//! statements of SQL, elements of XML. It only ever makes a request stricter.

use serde_json::{Map, Value};

use super::{content::Content, words};

/// Fields whose value is a verb.
const VERB_FIELDS: &[&str] =
    &["action", "op", "operation", "operationtype", "verb", "method", "httpmethod", "cmd", "command", "type", "requesttype", "_op_type", "name"];

/// Fields whose value is SQL, or a script.
const STATEMENT_FIELDS: &[&str] =
    &["sql", "sqls", "statement", "statements", "stmt", "query", "querystring", "sqlstatement", "sqlquery", "ddl", "extrastatements", "script", "source"];

/// Longest value that is taken for a verb.
const LONGEST_VERB: usize = 48;

/// Longest statement that is looked through, in bytes; it is the beginning that counts.
const LONGEST_STATEMENT: usize = 64 << 10;

/// What guards other things.
const GUARDS: &[&str] = &[
    "protection",
    "protected",
    "protect",
    "backup",
    "backups",
    "versioning",
    "retention",
    "logging",
    "audit",
    "auditing",
    "alerting",
    "alerts",
    "monitoring",
    "lock",
    "locked",
    "snapshots",
    "pitr",
    "recovery",
    "replication",
    "rls",
    "mfa",
    "twofactor",
    "safeguard",
];

/// What the body says would be lost, if it says so.
#[must_use]
pub(crate) fn destroys(content: &Content) -> Option<String> {
    match content {
        // The bound on the body's size and serde_json's on its depth bound this walk.
        Content::Json(value) => in_value(value),
        Content::Form(pairs) => pairs.iter().find_map(|(name, value)| in_field(name, &Value::String(value.clone()))),
        Content::Multipart(parts) => parts.iter().find_map(|part| in_field(&part.name, &Value::String(part.text.clone()?))),
        Content::Text(text) => in_text(text),
        Content::Empty | Content::Data | Content::Unreadable(_) => None,
    }
}

/// The same for the pairs of a query.
#[must_use]
pub(crate) fn query_destroys(pairs: &[(String, String)]) -> Option<String> {
    pairs.iter().find_map(|(name, value)| {
        let lower = name.to_ascii_lowercase();
        let says = (matches!(lower.as_str(), "action" | "op" | "cmd" | "command" | "verb" | "operation") && is_verb(value))
            || (matches!(lower.as_str(), "query" | "sql" | "q" | "statement") && statement_destroys(value))
            || switches_off(&lower, name, &Value::String(value.clone()));
        says.then(|| format!("the URL says {}", safe(name)))
    })
}

fn in_value(value: &Value) -> Option<String> {
    match value {
        Value::Object(fields) => in_fields(fields),
        Value::Array(items) => items.iter().find_map(in_value),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn in_fields(fields: &Map<String, Value>) -> Option<String> {
    fields.iter().find_map(|(name, value)| in_field(name, value))
}

fn in_field(name: &str, value: &Value) -> Option<String> {
    let lower: String = name.chars().filter(|c| !matches!(c, '-' | '.')).take(64).collect::<String>().to_ascii_lowercase();
    let says = match value {
        Value::String(text) if VERB_FIELDS.contains(&lower.as_str()) && is_verb(text) => true,
        Value::String(text) if STATEMENT_FIELDS.contains(&lower.as_str()) => statement_destroys(text),
        Value::Array(items) if STATEMENT_FIELDS.contains(&lower.as_str()) && items.iter().any(|item| item.as_str().is_some_and(statement_destroys)) => true,
        _ => false,
    };
    if says || names_deletion(name, value) || switches_off(&lower, name, value) {
        return Some(format!("the body says {}", safe(name)));
    }
    in_value(value)
}

/// `delete`, `DELETE`, `delete_all`, `removeUser`: short, and a verb at its beginning.
fn is_verb(text: &str) -> bool {
    text.len() <= LONGEST_VERB && !text.contains(' ') && words::begins_destroying(text)
}

/// `{"deletes": [...]}`, `{"is-destroy": true}`, `{"DeleteRequest": {...}}`, `{"delete": "…"}`.
fn names_deletion(name: &str, value: &Value) -> bool {
    let empty = match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty() || matches!(text.as_str(), "false" | "0" | "no" | "never"),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(true) | Value::Object(_) => false,
    };
    if empty {
        return false;
    }
    let all = words::split(name);
    // `deleteRetentionPolicy` keeps what is deleted.
    if all.iter().any(|word| matches!(word.as_str(), "retention" | "protection" | "marker")) {
        return false;
    }
    let skip = usize::from(all.first().is_some_and(|first| matches!(first.as_str(), "is" | "do" | "should" | "force" | "request" | "auto")));
    all.get(skip).is_some_and(|word| matches!(word.as_str(), "delete" | "deletes" | "destroy" | "purge" | "wipe" | "truncate" | "erase"))
}

/// `{"DeletionProtection": false}`, `{"versioning": {"enabled": false}}`, `{"retentionDays": 0}`.
fn switches_off(lower: &str, name: &str, value: &Value) -> bool {
    if !GUARDS.iter().any(|guard| lower.contains(guard)) {
        return false;
    }
    let all = words::split(name);
    let guards = all.iter().any(|word| GUARDS.contains(&word.as_str()));
    // `disableProtection: true` switches off; `skipBackup: false` does not.
    let negated = all.iter().any(|word| matches!(word.as_str(), "disable" | "disabled" | "skip" | "without" | "no"));
    guards && is_off(value, negated)
}

fn is_off(value: &Value, negated: bool) -> bool {
    match value {
        Value::Bool(on) => *on == negated,
        Value::Number(number) => !negated && number.as_f64() == Some(0.0),
        Value::String(text) => {
            let text = text.to_ascii_lowercase();
            if negated {
                text == "true"
            } else {
                matches!(text.as_str(), "false" | "off" | "disabled" | "disable" | "suspended" | "none" | "0" | "inactive" | "paused")
            }
        }
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let name = name.to_ascii_lowercase();
            (name.contains("enable") || name == "status" || name == "state" || name == "active") && is_off(value, negated)
        }),
        Value::Null | Value::Array(_) => false,
    }
}

/// A statement whose words destroy: not a grammar (that comes with the databases), so a word is enough.
fn statement_destroys(text: &str) -> bool {
    let text = words::head(text, LONGEST_STATEMENT);
    let mut all = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '$').filter(|word| !word.is_empty()).map(str::to_ascii_uppercase);
    let Some(first) = all.next() else { return false };
    // A question of a search engine is no statement: it begins with none of these.
    let begins = matches!(
        first.as_str(),
        "DROP"
            | "TRUNCATE"
            | "DELETE"
            | "ALTER"
            | "WITH"
            | "SELECT"
            | "BEGIN"
            | "DO"
            | "EXPLAIN"
            | "SET"
            | "INSERT"
            | "UPDATE"
            | "REPLACE"
            | "MERGE"
            | "CALL"
            | "EXECUTE"
            | "EXEC"
            | "USE"
            | "START"
            | "CREATE"
            | "MATCH"
    );
    begins && std::iter::once(first).chain(all).any(|word| matches!(word.as_str(), "DROP" | "TRUNCATE" | "DELETE"))
}

/// XML by the names of its elements, else SQL.
fn in_text(text: &str) -> Option<String> {
    const MOST_ELEMENTS: usize = 10_000;
    if !text.trim_start().starts_with('<') {
        return statement_destroys(text).then(|| "the body is a statement that destroys".to_owned());
    }
    text.split('<').skip(1).take(MOST_ELEMENTS).find_map(|piece| {
        let end = piece.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).unwrap_or(piece.len());
        let (name, rest) = piece.split_at_checked(end)?;
        let name = name.rsplit(':').next().unwrap_or(name);
        let content = rest.split_once('>').map_or("", |(_, content)| content.trim());
        // `<Delete>`, `<DeleteUser>`, `<methodName>wp.deletePost</methodName>`, `<Status>Suspended</Status>` below versioning.
        let says = words::begins_destroying(name) || (name.eq_ignore_ascii_case("methodName") && content.rsplit('.').next().is_some_and(is_verb));
        let suspends = name == "Status" && content == "Suspended";
        (says || suspends).then(|| format!("the body says {}", safe(name)))
    })
}

fn safe(text: &str) -> String {
    agentbox_core::safe::line(text, 60)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn says(value: Value) -> bool {
        destroys(&Content::Json(value)).is_some()
    }

    #[test]
    fn verbs_and_deletions_in_fields() {
        for value in [
            json!({ "action": "delete", "ids": [1] }),
            json!([{ "op": "remove", "path": "/a" }]),
            json!({ "requests": [{ "method": "GET" }, { "method": "DELETE", "url": "/x" }] }),
            json!({ "deletes": [{ "id": 1 }] }),
            json!({ "attributes": { "is-destroy": true } }),
            json!({ "t": [{ "DeleteRequest": { "Key": 1 } }] }),
        ] {
            assert!(says(value.clone()), "{value}");
        }
        for value in [
            json!({ "action": "create" }),
            json!({ "text": "delete" }),
            json!({ "deletes": [] }),
            json!({ "deletedAt": "2026" }),
            json!({ "delete": false }),
            json!({ "type": "a sentence that says delete" }),
            json!({ "title": "How to remove a file" }),
        ] {
            assert!(!says(value.clone()), "{value}");
        }
    }

    #[test]
    fn guards_switched_off() {
        for value in [
            json!({ "DeletionProtection": false }),
            json!({ "versioning": { "enabled": false } }),
            json!({ "retentionDays": 0 }),
            json!({ "auto_backup_enabled": false }),
            json!({ "disableBackups": true }),
            json!({ "settings": { "backupConfiguration": { "enabled": false } } }),
            json!({ "logging": "off" }),
        ] {
            assert!(says(value.clone()), "{value}");
        }
        for value in [
            json!({ "DeletionProtection": true }),
            json!({ "retentionDays": 30 }),
            json!({ "versioning": { "enabled": true } }),
            json!({ "disableBackups": false }),
            json!({ "clock": false }),
        ] {
            assert!(!says(value.clone()), "{value}");
        }
    }

    #[test]
    fn statements_and_elements() {
        assert!(says(json!({ "sql": "drop table users" })));
        assert!(says(json!({ "Sqls": ["SELECT 1", "WITH x AS (DELETE FROM a RETURNING 1) SELECT 1"] })));
        assert!(!says(json!({ "query": "how to drop a table" })));
        assert!(!says(json!({ "sql": "SELECT deleted FROM t" })));
        let text = |text: &str| destroys(&Content::Text(text.to_owned())).is_some();
        assert!(text("TRUNCATE TABLE events"));
        assert!(text("<Delete xmlns=\"x\"><Object/></Delete>"));
        assert!(text("<soap:Body><m:DeleteUser/></soap:Body>"));
        assert!(text("<methodCall><methodName>wp.deletePost</methodName></methodCall>"));
        assert!(!text("<methodCall><methodName>wp.getPost</methodName></methodCall>"));
        assert!(!text("please delete my account"));
    }
}
