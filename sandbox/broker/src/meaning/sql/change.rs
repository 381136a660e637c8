//! Statements that change rows: `INSERT`, `UPDATE`, `DELETE`, `MERGE`, `TRUNCATE`, `COPY` and their kin.

use agentbox_core::{Delegation, Effect, Reach};

use super::{Dialect, condition, judge::Judge, lexer::Kind, name::Name, part::Part, query};

/// Takes the statement if it changes rows.
pub(super) fn statement(judge: &mut Judge<'_>, verb: &str, part: Part<'_>) -> bool {
    match verb {
        "insert" | "replace" | "upsert" | "update" | "delete" | "merge" => {
            if part.are(0, &["update", "statistics"]) {
                judge.add_here(Effect::Write, "analyze", "gathers statistics");
                return true;
            }
            head(judge, part);
            query::within(judge, part);
        }
        "truncate" => truncate(judge, part),
        "copy" => copy(judge, part),
        "load" => load(judge, part),
        "unload" | "export" => unload(judge, part),
        "put" => put(judge, &part),
        "remove" | "rm" => judge.add_here(Effect::Destroy, "remove", "removes files"),
        _ => return false,
    }
    true
}

/// Whether a changing statement begins at `at`, where an expression could begin as well.
pub(super) fn is_head(part: &Part<'_>, at: usize) -> bool {
    match () {
        () if part.is(at, "delete") => part.begins_name(at + 1),
        () if part.is(at, "insert") => {
            part.is_any(at + 1, &["into", "overwrite", "or", "ignore", "low_priority", "high_priority", "delayed", "all", "first"]) || part.begins_name(at + 1)
        }
        () if part.is(at, "merge") => part.is(at + 1, "into") || part.begins_name(at + 1) || part.is_any(at + 1, &["top"]),
        () if part.is(at, "update") => part.begins_name(at + 1) || part.is_mark(at + 1, "("),
        () if part.is(at, "replace") => part.is(at + 1, "into"),
        () => false,
    }
}

/// What a changing statement does to its own table. `part` begins at the verb.
pub(super) fn head(judge: &mut Judge<'_>, part: Part<'_>) {
    if !judge.may_spend(part.len()) {
        return;
    }
    match () {
        () if part.is(0, "delete") => delete(judge, &part),
        () if part.is(0, "update") => update(judge, &part),
        () if part.is(0, "merge") => merge(judge, &part),
        () => insert(judge, &part),
    }
}

/// Words between a verb and its table.
const MODIFIERS: &[&str] = &[
    "low_priority",
    "high_priority",
    "delayed",
    "quick",
    "ignore",
    "only",
    "into",
    "from",
    "table",
    "or",
    "rollback",
    "abort",
    "fail",
    "replace",
    "overwrite",
    "all",
    "first",
    "local",
    "history",
];

fn first_name(judge: &Judge<'_>, part: &Part<'_>, from: usize) -> Option<(Name, usize)> {
    let mut at = from;
    loop {
        if part.is_any(at, MODIFIERS) && !part.is_mark(at + 1, ".") {
            at += 1;
        } else if part.is(at, "top") && part.is_mark(at + 1, "(") {
            at = part.after(at + 1);
            at += usize::from(part.is(at, "percent"));
        } else {
            break;
        }
    }
    // SQL Server and Oracle: the table may be a function or a query in brackets.
    Name::read(part, at, judge.dialect)
}

fn delete(judge: &mut Judge<'_>, part: &Part<'_>) {
    let why = match part.level().find(|at| part.is(*at, "where")) {
        Some(at) if condition::holds_for_all(judge.dialect, &where_of(part, at), None) => "deletes all rows: the condition is always true",
        Some(_) => "deletes the rows that match",
        None => "deletes all rows",
    };
    // MySQL: DELETE a, b FROM orders a JOIN …; the names before FROM may be aliases.
    let from = part.find(&["from"]);
    let targets = match from {
        Some(from) if from > 1 && !part.is_any(1, MODIFIERS) && !part.is(1, "top") => {
            names(judge, part, 1, from).into_iter().map(|name| resolve(judge, part, from, name)).collect()
        }
        _ => first_name(judge, part, 1).map(|(name, _)| vec![name]).unwrap_or_default(),
    };
    if targets.is_empty() {
        judge.add_here(Effect::Destroy, "delete", why);
    }
    for name in targets {
        judge.add(Effect::Destroy, "delete", "table", &name, why);
    }
}

/// The table that `name` is an alias of, in what follows FROM.
fn resolve(judge: &Judge<'_>, part: &Part<'_>, from: usize, name: Name) -> Name {
    let mut at = from + 1;
    // Each turn goes on by a token at least.
    while at < part.len() {
        let Some((table, next)) = part.begins_name(at).then(|| Name::read(part, at, judge.dialect)).flatten() else {
            at = part.after(at);
            continue;
        };
        let alias = next + usize::from(part.is(next, "as"));
        let alias = part.begins_name(alias).then(|| Name::read(part, alias, judge.dialect)).flatten();
        if alias.is_some_and(|(alias, _)| alias.last() == name.last()) && table != name {
            return table;
        }
        at = next;
    }
    name
}

/// The names from `from` on up to `to`, with commas between.
pub(super) fn names(judge: &Judge<'_>, part: &Part<'_>, from: usize, to: usize) -> Vec<Name> {
    part.slice(from, to)
        .split(",")
        .iter()
        .filter_map(|piece| {
            let at = (0..piece.len()).find(|at| !piece.is_any(*at, &["only"]))?;
            Name::read(piece, at, judge.dialect).map(|(name, _)| name)
        })
        .collect()
}

/// The condition that begins behind the WHERE at `at`.
fn where_of<'a>(part: &Part<'a>, at: usize) -> Part<'a> {
    let rest = part.from(at + 1);
    let end = rest
        .level()
        .find(|at| rest.is_any(*at, &["returning", "order", "limit", "option", "output", "log", "union", "intersect", "except", "with"]))
        .unwrap_or(rest.len());
    rest.slice(0, end)
}

fn update(judge: &mut Judge<'_>, part: &Part<'_>) {
    let name = first_name(judge, part, 1);
    let condition = part.level().find(|at| part.is(*at, "where")).map(|at| where_of(part, at));
    let table = name.as_ref().map(|(name, _)| name);
    let (effect, why) = match &condition {
        None => (Effect::Destroy, "overwrites every row: it has no condition"),
        Some(condition) if condition::holds_for_all(judge.dialect, condition, table) => {
            (Effect::Destroy, "overwrites every row: the condition holds for practically all")
        }
        Some(condition) if buries_all(part, condition) => (Effect::Destroy, "marks every row that stands as deleted"),
        Some(_) => (Effect::Write, "changes the rows that match"),
    };
    match table {
        Some(name) => judge.add(effect, "update", "table", name, why),
        None => judge.add_here(effect, "update", why),
    }
}

/// `SET deleted_at = now() WHERE deleted_at IS NULL`: all that have not been deleted yet.
fn buries_all(part: &Part<'_>, condition: &Part<'_>) -> bool {
    let names_it = |name: &[u8]| name.to_ascii_lowercase().starts_with(b"delet") || name.eq_ignore_ascii_case(b"is_deleted");
    let is_whole = condition.len() == 3 && condition.are(1, &["is", "null"]) || condition.len() == 3 && condition.is_mark(1, "=");
    is_whole && names_it(condition.raw(0)) && part.level().any(|at| part.is(at, "set") && part.raw(at + 1).eq_ignore_ascii_case(condition.raw(0)))
}

fn insert(judge: &mut Judge<'_>, part: &Part<'_>) {
    // ClickHouse, Delta Lake: `REPLACE TABLE t (…)` is a new table in the old one's place.
    if part.are(0, &["replace", "table"]) && part.begins_name(2) {
        return match Name::read(part, 2, judge.dialect) {
            Some((name, _)) => judge.add(Effect::Destroy, "replace", "table", &name, "puts a new table in the place of the old one"),
            None => judge.add_here(Effect::Destroy, "replace", "puts a new table in the place of the old one"),
        };
    }
    let replaces = part.is_any(0, &["replace"]) || part.is(0, "insert") && part.are(1, &["or", "replace"]);
    let table = first_name(judge, part, 1);
    let from = table.as_ref().map_or(1, |(_, next)| *next);
    let rest = part.from(from);
    let source = (0..rest.len()).find(|at| rest.is_any(*at, &["select", "table", "from", "values", "value", "set", "with"]));
    let reads = source.is_some_and(|at| !rest.is_any(at, &["values", "value", "set"]));
    let overwrites = part.slice(0, from.max(4)).mentions(&["overwrite"]);
    let (effect, why) = match () {
        () if overwrites => (Effect::Destroy, "replaces what the table or folder holds"),
        () if replaces && reads => (Effect::Destroy, "replaces rows by those of a query"),
        () if replaces => (Effect::Write, "inserts, and replaces the rows with the same keys"),
        () if part.has(&["conflict", "duplicate"]) => (Effect::Write, "inserts, or changes the rows with the same keys"),
        () => (Effect::Write, "inserts"),
    };
    match &table {
        Some((name, _)) if !part.is_any(1, &["all", "first"]) => judge.add(effect, "insert", "table", name, why),
        _ => judge.add_here(effect, "insert", why),
    }
    // SQL Server: INSERT t EXEC p.
    if let Some(at) = part.level().skip(2).find(|at| part.is_any(*at, &["exec", "execute"])) {
        judge.statement(part.from(at));
    }
}

fn merge(judge: &mut Judge<'_>, part: &Part<'_>) {
    let deletes =
        (1..part.len()).any(|at| part.is(at, "delete") && (part.is(at - 1, "then") || part.is_any(at - 1, &["set"]) || judge.dialect == Dialect::Oracle));
    let (effect, why) = if deletes { (Effect::Destroy, "deletes rows that match") } else { (Effect::Write, "inserts and changes rows") };
    match first_name(judge, part, 1) {
        Some((name, _)) => judge.add(effect, "merge", "table", &name, why),
        None => judge.add_here(effect, "merge", why),
    }
}

fn truncate(judge: &mut Judge<'_>, part: Part<'_>) {
    let kind = if part.is_any(1, &["database", "cluster", "all"]) { 2 } else { 1 };
    let from = if part.is_any(kind, &["table", "tables"]) { kind + 1 } else { kind };
    let from = if part.are(from, &["if", "exists"]) { from + 2 } else { from };
    let names = names(judge, &part, from, part.len());
    if names.is_empty() {
        judge.add_here(Effect::Destroy, "truncate", "empties");
    }
    for name in names {
        judge.add(Effect::Destroy, "truncate", "table", &name, "empties the table");
    }
}

fn copy(judge: &mut Judge<'_>, part: Part<'_>) {
    let program = (0..part.len()).any(|at| part.is_any(at, &["from", "to"]) && part.is(at + 1, "program") && part.kind(at + 2) == Some(Kind::Text));
    if program {
        let why = "runs a program on the server";
        judge.add_delegated(Effect::Destroy, "copyProgram", why, Delegation { reach: Reach::Anywhere, why: why.to_owned() });
    }
    if part.is_mark(1, "(") {
        // The query is a statement of its own.
        judge.statement(part.inside(1));
    }
    let name = part.begins_name(1).then(|| first_name(judge, &part, 1)).flatten();
    let direction = part.level().find(|at| part.is_any(*at, &["to", "from"]));
    let (effect, why) = match direction {
        _ if part.is(1, "into") => copy_into(&part),
        Some(at) if part.is(at, "to") && part.is(at + 1, "stdout") => (Effect::Read, "hands out rows"),
        Some(at) if part.is(at, "to") && part.kind(at + 1) == Some(Kind::Text) && judge.dialect == Dialect::PostgreSql => {
            (Effect::Destroy, "overwrites a file on the server")
        }
        Some(at) if part.is(at, "to") => (Effect::Write, "writes a file"),
        _ => (Effect::Write, "inserts"),
    };
    match name {
        Some((name, _)) => judge.add(effect, "copy", "table", &name, why),
        None => judge.add_here(effect, "copy", why),
    }
}

/// Snowflake's `COPY INTO`.
fn copy_into(part: &Part<'_>) -> (Effect, &'static str) {
    let is_on = |name: &str| (0..part.len()).any(|at| part.is(at, name) && (part.is(at + 2, "true") || part.is(at + 1, "true")));
    match () {
        () if is_on("purge") => (Effect::Destroy, "removes the files that it has loaded"),
        () if is_on("overwrite") => (Effect::Destroy, "overwrites files"),
        () => (Effect::Write, "loads or unloads rows"),
    }
}

/// `LOAD DATA`, `LOAD XML`, and PostgreSQL's `LOAD 'library'`.
fn load(judge: &mut Judge<'_>, part: Part<'_>) {
    if part.kind(1) == Some(Kind::Text) && judge.dialect == Dialect::PostgreSql {
        return judge.unclear("it loads a library into the server");
    }
    let overwrites = part.mentions(&["overwrite"]);
    let replaces = part.level().any(|at| part.is(at, "replace") && part.is(at + 1, "into"));
    let (effect, why) = match () {
        () if overwrites => (Effect::Destroy, "replaces what the table holds"),
        () if replaces => (Effect::Destroy, "replaces the rows with the keys of those that are loaded"),
        () => (Effect::Write, "loads"),
    };
    let table = part.level().find(|at| part.is(*at, "table")).and_then(|at| Name::read(&part, at + 1, judge.dialect));
    match table {
        Some((name, _)) => judge.add(effect, "load", "table", &name, why),
        None => judge.add_here(effect, "load", why),
    }
}

/// Snowflake's `PUT file://… @stage`.
fn put(judge: &mut Judge<'_>, part: &Part<'_>) {
    // The slashes of `file://` begin a comment elsewhere: what stands behind them is looked for in the text itself.
    let source = part.rest_of_text().to_ascii_lowercase();
    let overwrites = source.windows(9).any(|word| word == b"overwrite");
    let (effect, why) = if overwrites { (Effect::Destroy, "overwrites files of a stage") } else { (Effect::Write, "uploads files") };
    judge.add_here(effect, "put", why);
}

/// Redshift's `UNLOAD ('SELECT …') TO …`, BigQuery's `EXPORT DATA OPTIONS (…) AS SELECT …`.
fn unload(judge: &mut Judge<'_>, part: Part<'_>) {
    let overwrites =
        (0..part.len()).any(|at| part.is_any(at, &["allowoverwrite", "cleanpath"]) || part.is(at, "overwrite") && !part.is_any(at + 2, &["false"]));
    let (effect, why) = if overwrites { (Effect::Destroy, "overwrites files") } else { (Effect::Write, "writes files") };
    judge.add_here(effect, "unload", why);
    if let Some(text) = part.is_mark(1, "(").then(|| part.inside(1).string(0)).flatten() {
        judge.text(&text);
    } else if part.is(0, "export") {
        query::within(judge, part);
    }
}
