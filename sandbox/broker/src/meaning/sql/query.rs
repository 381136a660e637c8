//! Queries: what they read, what lies in them that changes something, and which functions they call.

use agentbox_core::Effect;

use super::{
    Dialect, change,
    functions::{self, Fact},
    judge::Judge,
    lexer::Kind,
    name::Name,
    part::Part,
};

/// Most tables of one statement that are named.
const MOST_TABLES: usize = 32;

/// Words before a bracket that call nothing.
const NO_FUNCTIONS: &[&str] = &[
    "all",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "between",
    "by",
    "case",
    "check",
    "conflict",
    "cross",
    "cube",
    "default",
    "desc",
    "distinct",
    "duplicate",
    "else",
    "end",
    "escape",
    "except",
    "exclude",
    "exists",
    "explain",
    "filter",
    "first",
    "following",
    "for",
    "from",
    "full",
    "group",
    "having",
    "ilike",
    "in",
    "inner",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "key",
    "lateral",
    "left",
    "like",
    "limit",
    "match",
    "matched",
    "materialized",
    "minus",
    "natural",
    "not",
    "notnull",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "ordinality",
    "outer",
    "over",
    "overlaps",
    "partition",
    "pivot",
    "primary",
    "qualify",
    "recursive",
    "references",
    "regexp",
    "returning",
    "right",
    "rlike",
    "rollup",
    "row",
    "select",
    "set",
    "sets",
    "similar",
    "some",
    "table",
    "tablesample",
    "then",
    "to",
    "top",
    "union",
    "unique",
    "unnest",
    "unpivot",
    "using",
    "values",
    "when",
    "where",
    "window",
    "with",
    "within",
    "xor",
];

/// What `judge`'s caller knows to be a query.
const VERBS: &[&str] = &["select", "with", "values", "table", "from", "pivot", "unpivot"];

/// Takes the statement if it is a query or explains one.
pub(super) fn statement(judge: &mut Judge<'_>, verb: &str, part: Part<'_>) -> bool {
    match verb {
        _ if VERBS.contains(&verb) => self::judge(judge, part),
        // Teradata: LOCKING TABLE t FOR ACCESS SELECT …
        "locking" => match part.find(&["select", "insert", "update", "delete", "with", "merge"]) {
            Some(at) => judge.statement(part.from(at)),
            None => return false,
        },
        "explain" => explain(judge, part),
        "describe" | "desc" if part.is_any(1, CHANGES) || part.is_any(1, VERBS) => judge.add_here(Effect::Read, "explain", "shows a plan"),
        "analyze" | "analyse" => analyze(judge, part),
        // Cypher: it runs what it measures.
        "profile" if part.len() > 1 => judge.statement(part.from(1)),
        "match" | "unwind" | "optional" => cypher(judge, part),
        _ => return false,
    }
    true
}

/// Verbs of statements that `EXPLAIN` takes.
const CHANGES: &[&str] = &["insert", "update", "delete", "merge", "replace", "create", "execute", "declare", "refresh", "truncate", "drop", "alter", "call"];

fn explain(judge: &mut Judge<'_>, part: Part<'_>) {
    let mut runs = false;
    let mut at = 1;
    if part.is_mark(at, "(") {
        for option in part.inside(at).split(",") {
            if option.is_any(0, &["analyze", "analyse", "debug"]) {
                // The last one counts.
                runs = !(option.is_any(1, &["false", "off"]) || option.raw(1) == b"0" || option.string(1).is_some_and(|text| is_off(&text)));
            }
        }
        // `EXPLAIN (SELECT 1)` is a query in brackets.
        let is_query = part.inside(at).is_any(0, VERBS);
        at = if is_query { at } else { part.after(at) };
    }
    while at < part.len() && !part.is_any(at, VERBS) && !part.is_any(at, CHANGES) && !part.is_mark(at, "(") {
        runs |= part.is_any(at, &["analyze", "analyse"]);
        at += 1;
    }
    // CockroachDB: EXPLAIN ANALYZE (DISTSQL) SELECT …
    if runs && part.is_mark(at, "(") && (part.is_any(part.after(at), VERBS) || part.is_any(part.after(at), CHANGES)) {
        at = part.after(at);
    }
    if runs && at < part.len() {
        judge.statement(part.from(at));
    } else {
        judge.add_here(Effect::Read, "explain", "shows a plan");
    }
}

fn is_off(text: &[u8]) -> bool {
    ["false", "off", "no", "0", "f", "n"].iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()))
}

/// `ANALYZE` gathers statistics; MariaDB's runs a statement.
fn analyze(judge: &mut Judge<'_>, part: Part<'_>) {
    let from = if part.is(1, "format") { 4 } else { 1 };
    if part.is_any(from, &["select", "with", "values", "insert", "update", "delete", "replace"]) {
        return judge.statement(part.from(from));
    }
    judge.add_here(Effect::Write, "analyze", "gathers statistics");
}

/// A query, with all that lies in it.
pub(super) fn judge(judge: &mut Judge<'_>, part: Part<'_>) {
    let verb = if part.is(0, "with") { main_verb(&part) } else { 0 };
    if change::is_head(&part, verb) {
        change::head(judge, part.from(verb));
    } else if part.is(0, "from") && part.has(&["insert"]) {
        // Hive: FROM t INSERT OVERWRITE TABLE a SELECT … INSERT INTO b SELECT …
        let heads: Vec<usize> = part.level().filter(|at| part.is(*at, "insert")).collect();
        for at in heads {
            change::head(judge, part.from(at));
        }
    }
    within(judge, part);
    judge.reads_at_least();
}

/// Where the statement behind a WITH list begins.
fn main_verb(part: &Part<'_>) -> usize {
    let mut before = 0;
    for at in part.level().skip(1) {
        let is_name = part.is_mark(before, ",") || part.is_any(before, &["with", "recursive", "as", "set", "using", "by"]) || part.is(at + 1, "as");
        if !is_name && (part.is_any(at, &["select", "values", "table", "from"]) || change::is_head(part, at)) {
            return at;
        }
        before = at;
    }
    0
}

/// What lies in a statement besides its own verb: changing statements in brackets, functions, tables that are read.
pub(super) fn within(judge: &mut Judge<'_>, part: Part<'_>) {
    let mut tables = 0;
    let mut listing = false;
    let dialect = judge.dialect;
    for at in 0..part.len() {
        match part.kind(at) {
            Some(Kind::Mark) if part.is_mark(at, "(") || part.is_mark(at, "[") => {
                listing = false;
                if change::is_head(&part, at + 1) {
                    change::head(judge, part.inside(at));
                } else if part.is(at + 1, "with") {
                    let inside = part.inside(at);
                    let verb = main_verb(&inside);
                    if change::is_head(&inside, verb) {
                        change::head(judge, inside.from(verb));
                    }
                }
            }
            Some(Kind::Mark) if listing && part.is_mark(at, ",") => table(judge, &part, at + 1, &mut tables),
            Some(Kind::Word) if part.is_mark(at + 1, "(") => {
                listing &= !part.is_any(at, &["on"]);
                call(judge, &part, at);
            }
            Some(Kind::Quoted) if part.is_mark(at + 1, "(") => call(judge, &part, at),
            Some(Kind::Word) => {
                if part.is_any(at, &["from", "join"]) && !takes_from(&part, at) {
                    listing = true;
                    table(judge, &part, at + 1, &mut tables);
                } else if part
                    .is_any(at, &["where", "on", "group", "order", "having", "limit", "set", "values", "union", "returning", "select", "using", "window"])
                {
                    listing = false;
                } else if part.is(at, "into")
                    && at > 0
                    && !part.is_any(at - 1, &["insert", "merge", "replace", "ignore", "overwrite", "copy"])
                    && !part.is_mark(at - 1, ".")
                {
                    into(judge, &part, at);
                } else if part.is(at, "for") && part.is_any(at + 1, &["update", "share", "no", "key"]) && !part.is(0, "create") {
                    judge.add_here(Effect::Write, "lock", "locks the rows that it reads");
                } else if dialect != Dialect::PostgreSql && part.is(at, "nextval") || part.are(at, &["next", "value", "for"]) {
                    judge.add_here(Effect::Write, "sequence", "takes a number from a sequence");
                }
            }
            _ => {}
        }
    }
}

/// `EXTRACT(year FROM x)`, `IS DISTINCT FROM x`: no table.
fn takes_from(part: &Part<'_>, at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else { return false };
    part.is(before, "distinct")
        || (before.saturating_sub(3)..at)
            .any(|open| open > 0 && part.is_mark(open, "(") && part.is_any(open - 1, &["extract", "substring", "trim", "overlay", "position"]))
}

fn table(judge: &mut Judge<'_>, part: &Part<'_>, at: usize, tables: &mut usize) {
    let mut at = at;
    while part.is_any(at, &["only", "lateral", "table", "final"]) {
        at += 1;
    }
    if *tables >= MOST_TABLES || !part.begins_name(at) || part.is_any(at, &["select", "unnest", "rows"]) {
        return;
    }
    let Some((name, next)) = Name::read(part, at, judge.dialect) else { return };
    if part.is_mark(next, "(") {
        return;
    }
    *tables += 1;
    judge.add(Effect::Read, "select", "table", &name, "reads");
    if functions::keeps_secrets(judge.dialect, &name.dotted().to_ascii_lowercase()) {
        judge.last_yields_credential();
    }
}

fn into(judge: &mut Judge<'_>, part: &Part<'_>, at: usize) {
    if judge.is_block {
        return;
    }
    if part.is_any(at + 1, &["outfile", "dumpfile"]) {
        return judge.add_here(Effect::Write, "file", "writes a file on the server, which must not be there yet");
    }
    let mut next = at + 1;
    while part.is_any(next, &["temporary", "temp", "unlogged", "table", "local", "global"]) {
        next += 1;
    }
    if let Some((name, _)) = part.begins_name(next).then(|| Name::read(part, next, judge.dialect)).flatten() {
        judge.add(Effect::Write, "create", "table", &name, "makes a table of what it reads");
    }
}

/// A function call, or what looks like one.
fn call(judge: &mut Judge<'_>, part: &Part<'_>, at: usize) {
    if part.is_any(at, NO_FUNCTIONS) {
        return;
    }
    if part.is(at, "operator") {
        return operator(judge, part.inside(at + 1));
    }
    let mut first = at;
    // `schema.package.function`.
    while first >= 2 && part.is_mark(first - 1, ".") && part.begins_name(first - 2) {
        first -= 2;
    }
    let before = first.checked_sub(1);
    let is = |words: &[&str]| before.is_some_and(|before| part.is_any(before, words));
    if is(&["as", "into", "update", "table", "view", "index", "references", "constraint", "key"]) || before.is_some_and(|before| part.is_mark(before, "::")) {
        return;
    }
    let behind = part.after(at + 1);
    let begins_query =
        |open: usize| part.is_mark(open, "(") && (part.is_any(open + 1, VERBS) || part.is_mark(open + 1, "(") || change::is_head(part, open + 1));
    let is_with_item =
        part.is(behind, "as") && (begins_query(behind + 1) || part.is(behind + 1, "materialized") || part.are(behind + 1, &["not", "materialized"]));
    if is_with_item && (is(&["with", "recursive"]) || before.is_some_and(|before| part.is_mark(before, ","))) {
        return;
    }
    let Some((name, _)) = Name::read(part, first, judge.dialect) else { return };
    let fact = functions::fact(judge.dialect, &name);
    let may_be_alias = before.is_some_and(|before| part.is_mark(before, ")")) && !before.is_some_and(|before| follows_list(part, before));
    if may_be_alias && fact == Fact::Unknown {
        return;
    }
    functions::judge(judge, fact, &name, part.inside(at + 1));
}

/// `OPERATOR(schema.sign)`: only the catalog's own are known.
fn operator(judge: &mut Judge<'_>, inside: Part<'_>) {
    if inside.begins_name(0) && !inside.is(0, "pg_catalog") {
        judge.add_here(Effect::Write, "call", "an operator that is not known to only read");
    }
}

/// Whether the bracket that closes at `close` is that of `DISTINCT ON (…)` or `TOP (…)`, behind which an expression follows.
fn follows_list(part: &Part<'_>, close: usize) -> bool {
    let open = part.partner(close);
    open > 0 && part.is_any(open - 1, &["on", "top", "all", "distinct", "in", "when", "then"])
}

/// Cypher: `MATCH (n) DETACH DELETE n`.
fn cypher(judge: &mut Judge<'_>, part: Part<'_>) {
    if part.mentions(&["delete", "remove", "drop"]) {
        judge.add_here(Effect::Destroy, "delete", "deletes what it matches");
    } else if (0..part.len()).any(|at| part.is(at, "set") && part.is_mark(at + 2, "=") && part.is_mark(at + 3, "{") && part.is_mark(at + 4, "}")) {
        judge.add_here(Effect::Destroy, "update", "takes all properties off what it matches");
    } else if part.mentions(&["set", "create", "merge", "foreach", "load"]) {
        judge.add_here(Effect::Write, "update", "changes what it matches");
    } else {
        judge.add_here(Effect::Read, "select", "reads");
    }
    if part.has(&["call"]) {
        super::dynamic::strings(judge, &part);
    }
}
