//! Statements, scripts and command lines that travel in a field: judged as what they say, not by where they are.

use agentbox_core::Effect;
use serde_json::Value;

use super::{
    super::{
        shell,
        sql::{Dialect, Said, understand},
        words,
    },
    Found,
};

/// Longest statement that is read. A longer one is opaque where a statement belongs.
const LONGEST: usize = 256 << 10;

/// Most statements of one list.
const MOST: usize = 1000;

/// Fields whose value is SQL.
const SQL: &[&str] =
    &["sql", "sqls", "statement", "statements", "stmt", "sqlstatement", "sqlquery", "sqltext", "ddl", "extrastatements", "querystring", "plsql", "tsql", "cql"];

/// Fields whose value may be SQL, or a search.
const MAY_BE_SQL: &[&str] = &["query", "q", "text", "queries", "rawquery", "args"];

/// Fields whose value is a program.
const SCRIPTS: &[&str] = &["script", "source", "code", "program", "lang", "painless", "groovy", "javascript", "expression"];

/// Fields whose value is a command line for a shell.
const COMMANDS: &[&str] = &["command", "commands", "cmd", "shell", "bash", "userdata", "entrypoint", "startupscript"];

/// Whether the place of a text says that it is a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// A search may stand there as well.
    MayBeSearch,
    /// Only a statement does.
    IsStatement,
}

/// What a field of this name (lower case, without dashes) says.
#[must_use]
pub(crate) fn in_field(lower: &str, value: &Value, is_search: bool) -> Option<Found> {
    let judge: fn(&str) -> Option<Found> = match lower {
        // What is searched for is nobody's statement.
        _ if is_search && MAY_BE_SQL.contains(&lower) => return None,
        _ if SQL.contains(&lower) => |text| sql(text, Where::IsStatement),
        _ if MAY_BE_SQL.contains(&lower) => |text| sql(text, Where::MayBeSearch),
        _ if SCRIPTS.contains(&lower) => script,
        _ if COMMANDS.contains(&lower) => command,
        _ => return None,
    };
    match value {
        Value::String(text) => judge(text),
        Value::Array(items) => items.iter().take(MOST).filter_map(Value::as_str).find_map(judge),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// Words that begin a statement and no question.
const BEGINNINGS: &[&str] = &[
    "alter", "analyze", "attach", "begin", "call", "clear", "copy", "create", "declare", "delete", "detach", "do", "drop", "exec", "execute", "explain",
    "export", "flush", "grant", "insert", "kill", "load", "lock", "match", "merge", "optimize", "purge", "rename", "replace", "reset", "restore", "revoke",
    "rollback", "select", "set", "show", "start", "system", "truncate", "undrop", "unload", "update", "upsert", "use", "vacuum", "values", "with",
];

/// What a statement destroys; `None` where it does not or where the text is none.
#[must_use]
pub(crate) fn sql(text: &str, place: Where) -> Option<Found> {
    if text.len() > LONGEST {
        return Some((Effect::Opaque, "a statement that is too long to be read".to_owned()));
    }
    let first = text.split(|c: char| !c.is_ascii_alphabetic()).find(|word| !word.is_empty())?.to_ascii_lowercase();
    let starts_so = text.trim_start().starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '(' | '-' | '/' | ';' | '#'));
    if !starts_so || (!BEGINNINGS.contains(&first.as_str()) && !text.trim_start().starts_with(['-', '/', ';', '#'])) {
        return None;
    }
    // One word, or a question of more: no statement has so few marks.
    if place == Where::MayBeSearch && !looks_like_sql(text) {
        return None;
    }
    let worst = understand(Dialect::Other, text.as_bytes(), &Said::new()).into_iter().max_by_key(|operation| operation.effect)?;
    match worst.effect {
        Effect::Destroy => Some((Effect::Destroy, format!("a statement that {}", worst.reason))),
        Effect::Opaque if place == Where::IsStatement => Some((Effect::Opaque, format!("a statement that cannot be judged: {}", worst.reason))),
        // Where it may be a search, what cannot be read and names a loss is a statement.
        Effect::Opaque => words::split(words::head(text, 200))
            .iter()
            .any(|word| words::destroys(word))
            .then(|| (Effect::Opaque, "what may be a statement cannot be read".to_owned())),
        Effect::Read | Effect::Write => None,
    }
}

/// Whether a text has the marks of a statement: a keyword where its grammar wants one.
fn looks_like_sql(text: &str) -> bool {
    let mut all = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty()).map(str::to_ascii_lowercase);
    let Some(first) = all.next() else { return false };
    let second = all.next().unwrap_or_default();
    let rest = [second.as_str()].into_iter().map(str::to_owned).chain(all.take(400)).collect::<Vec<_>>();
    let has = |wanted: &[&str]| rest.iter().any(|word| wanted.contains(&word.as_str()));
    match first.as_str() {
        "drop" | "alter" | "create" | "undrop" => has(&[
            "table",
            "database",
            "schema",
            "index",
            "view",
            "keyspace",
            "user",
            "role",
            "measurement",
            "series",
            "retention",
            "collection",
            "stream",
            "topic",
            "function",
            "policy",
            "column",
        ]),
        "delete" => second == "from" || has(&["where", "detach"]),
        "truncate" => rest.len() <= 6,
        "match" => text.contains('('),
        "select" => has(&["from"]) || rest.len() <= 2,
        "update" => has(&["set"]),
        "insert" | "merge" | "replace" | "upsert" => has(&["into", "values", "using"]),
        "with" => has(&["as"]),
        _ => has(&["drop", "delete", "truncate", "table", "from", "database"]),
    }
}

/// Calls and statements by which programs of any tongue delete, in lower case.
const LOSING_CALLS: &[&str] = &[
    ".delete(",
    ".delete()",
    "deleteall",
    ".remove(",
    ".drop(",
    ".destroy(",
    "drop table",
    "drop database",
    "drop_table",
    "truncate ",
    "dropdatabase",
    "rmtree",
    "unlink(",
    "rm -rf",
    "rm -fr",
    "flushall",
    "flushdb",
    ".purge(",
    ".wipe",
    ".clear()",
    "deletemany",
    "deleteone",
    "delete from",
    "dokill",
    "ctx.op='delete'",
    "ctx.op = 'delete'",
    "ctx.op=\"delete\"",
    "ctx.op = \"delete\"",
    "ctx.op == 'delete'",
    "\"del\"",
    "'del'",
    "redis.call('del",
    "shutil.",
    ".terminate(",
];

/// What a program says, as far as its words tell.
#[must_use]
pub(crate) fn script(text: &str) -> Option<Found> {
    if text.len() > LONGEST {
        return Some((Effect::Opaque, "a program that is too long to be read".to_owned()));
    }
    let lower = text.to_ascii_lowercase();
    if let Some(call) = LOSING_CALLS.iter().find(|call| lower.contains(**call)) {
        return Some((Effect::Destroy, format!("a program that says `{}`", call.trim())));
    }
    sql(text, Where::MayBeSearch)
}

/// What a command line does where it does more than read. One of unknown programs is not judged here: its field may hold anything.
#[must_use]
pub(crate) fn command(text: &str) -> Option<Found> {
    let (effect, why) = shell::judge(text);
    match effect {
        Effect::Destroy => Some((effect, why)),
        Effect::Opaque | Effect::Read | Effect::Write => sql(text, Where::MayBeSearch),
    }
}
