//! Statements, scripts and command lines that travel in a field: judged as what they say, not by where they are.

use agentbox_core::Effect;
use serde_json::Value;

use super::{
    super::{
        graphql, shell,
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
const MAY_BE_SQL: &[&str] = &["query", "q", "queries", "rawquery"];

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
        // Splunk's `index=main | delete`.
        _ if lower == "search" || lower == "spl" => pipeline,
        _ if SQL.contains(&lower) => |text| sql(text, Where::IsStatement),
        // `rawSql`, `sqlCommand`, `native_sql_text`.
        _ if MAY_BE_SQL.contains(&lower) || lower.contains("sql") => |text| sql(text, Where::MayBeSearch),
        _ if lower == "mutation" || lower == "graphql" || lower == "document" => document,
        _ if SCRIPTS.contains(&lower) => script,
        _ if COMMANDS.contains(&lower) || lower.ends_with("cmdargs") || lower == "arg" || lower.ends_with("commandline") || lower.ends_with("cmdline") => {
            command
        }
        _ => return None,
    };
    match value {
        Value::String(text) => judge(text),
        Value::Array(items) if items.len() > MOST => Some((Effect::Opaque, "more statements than are read".to_owned())),
        Value::Array(items) => items.iter().filter_map(Value::as_str).find_map(judge),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// rqlite's `["SELECT 1", ["DELETE FROM a WHERE b = ?", 7]]`: a body that is nothing but statements, each with its parameters.
#[must_use]
pub(super) fn in_list(items: &[Value]) -> Option<Found> {
    if items.len() > MOST {
        return Some((Effect::Opaque, "more statements than are read".to_owned()));
    }
    let texts = items.iter().filter_map(|item| match item {
        Value::Array(parts) => parts.first()?.as_str(),
        other => other.as_str(),
    });
    texts.filter_map(|text| sql(text, Where::MayBeSearch)).max_by_key(|(effect, _)| *effect)
}

/// A search whose last step removes what was found.
fn pipeline(text: &str) -> Option<Found> {
    let (_, last) = text.rsplit_once('|').filter(|_| text.len() <= LONGEST)?;
    last.trim().eq_ignore_ascii_case("delete").then(|| (Effect::Destroy, "a search that deletes what it finds".to_owned()))
}

/// A GraphQL mutation that is to run later, as bulk operations take it.
fn document(text: &str) -> Option<Found> {
    if text.len() > LONGEST || !text.trim_start().starts_with("mutation") {
        return None;
    }
    let Ok(fields) = graphql::root_fields(text, None, &serde_json::Map::new()) else {
        return Some((Effect::Opaque, "a mutation that cannot be read".to_owned()));
    };
    let destroys = fields.iter().any(|field| words::effect_of(&field.name) == Some(Effect::Destroy));
    destroys.then(|| (Effect::Destroy, "a mutation that destroys by its name".to_owned()))
}

/// Words that begin a statement and no question.
const BEGINNINGS: &[&str] = &[
    "alter", "analyze", "attach", "begin", "call", "clear", "copy", "create", "declare", "delete", "detach", "do", "drop", "exec", "execute", "explain",
    "export", "flush", "grant", "insert", "kill", "load", "lock", "match", "merge", "optimize", "purge", "rename", "replace", "reset", "restore", "revoke",
    "rollback", "select", "set", "show", "start", "system", "truncate", "undrop", "unload", "update", "upsert", "use", "vacuum", "values", "with",
];

/// Words that name a loss, in any tongue of SQL.
const LOSSES: &[&str] = &["alter", "delete", "detach", "drop", "flush", "kill", "overwrite", "purge", "remove", "replace", "restore", "truncate", "vacuum"];

/// What a statement destroys; `None` where it does not or where the text is none.
#[must_use]
pub(crate) fn sql(text: &str, place: Where) -> Option<Found> {
    if text.len() > LONGEST {
        // Where it may be a search, a long text is a document.
        return (place == Where::IsStatement || says_loss(text)).then(|| (Effect::Opaque, "a statement that is too long to be read".to_owned()));
    }
    let mut words = words_of(text);
    let first = words.next()?;
    // One word is none.
    words.next()?;
    // Loki's and Prometheus's `{app="delete"} |= "drop"` selects by a label; a statement in braces is a call's.
    let is_selector = text.trim_start().strip_prefix('{').is_some_and(|rest| {
        let rest = rest.trim_start().trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').trim_start();
        ["=\"", "=~\"", "!=\"", "!~\"", "=`", "=~`"].iter().any(|operator| rest.starts_with(operator))
    });
    if is_selector && place == Where::MayBeSearch {
        return None;
    }
    let is_commented = text.trim_start().starts_with(['-', '/', '#', ';', '(', '{', '`']);
    // ArangoDB's `FOR u IN users REMOVE u IN users`, SurrealDB's `REMOVE TABLE person`, Fauna's `User.byId("1")!.delete()`.
    let is = |word: &str, wanted: &[&str]| wanted.iter().any(|known| word.eq_ignore_ascii_case(known));
    let second = words_of(text).nth(1).unwrap_or_default();
    let aql = is(first, &["for"]) && words_of(text).any(|word| word == "IN") && words_of(text).any(|word| word == "REMOVE");
    let surreal = is(first, &["remove"]) && is(second, &["table", "database", "namespace", "index", "field", "user", "function", "event", "access"]);
    if aql || surreal || text.contains(".delete()") || text.contains(".deleteAll()") {
        return Some((Effect::Destroy, "a query that removes".to_owned()));
    }
    let begins = BEGINNINGS.iter().any(|known| first.eq_ignore_ascii_case(known));
    // An unknown beginning before a word that names a loss may be of a tongue that is not known here.
    if !begins && !((is_commented || place == Where::IsStatement) && says_loss(text)) {
        return None;
    }
    // A question in words begins so, too; no statement that loses does without one of the words that say so.
    if place == Where::MayBeSearch
        && !says_loss(text)
        && !(first.eq_ignore_ascii_case("update") || first.eq_ignore_ascii_case("insert") || first.eq_ignore_ascii_case("merge"))
    {
        return None;
    }
    let worst = understand(Dialect::Other, text.as_bytes(), &Said::new()).into_iter().max_by_key(|operation| operation.effect)?;
    match worst.effect {
        Effect::Destroy => Some((Effect::Destroy, format!("a statement that {}", worst.reason))),
        Effect::Opaque if place == Where::IsStatement || says_loss(text) => {
            Some((Effect::Opaque, format!("a statement that cannot be judged: {}", worst.reason)))
        }
        Effect::Opaque | Effect::Read | Effect::Write => None,
    }
}

fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Whether one of its words names a loss: the text is bounded, so all of it is looked at.
fn says_loss(text: &str) -> bool {
    words_of(text).any(|word| LOSSES.iter().any(|loss| word.eq_ignore_ascii_case(loss)))
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
    // The arguments of a shell alone.
    let whole;
    let text = if text.trim_start().starts_with("-c ") {
        whole = format!("sh {}", text.trim_start());
        whole.as_str()
    } else {
        text
    };
    let (effect, why) = shell::judge(text);
    match effect {
        Effect::Destroy => Some((effect, why)),
        Effect::Opaque | Effect::Read | Effect::Write => sql(text, Where::MayBeSearch),
    }
}
