//! Code in blocks: `DO`, `BEGIN … END`, Transact-SQL batches. Every statement that stands in one is judged, whether it would be reached or not.

use agentbox_core::Effect;

use super::{
    Dialect, define, functions,
    judge::{self, Judge},
    lexer::Kind,
    part::Part,
    query,
};

/// Words with which a statement in a block begins.
pub(super) const VERBS: &[&str] = &[
    "alter",
    "call",
    "copy",
    "create",
    "delete",
    "do",
    "drop",
    "exec",
    "execute",
    "flashback",
    "grant",
    "insert",
    "kill",
    "load",
    "merge",
    "noaudit",
    "perform",
    "prepare",
    "purge",
    "replace",
    "reset",
    "revoke",
    "select",
    "set",
    "shutdown",
    "truncate",
    "update",
    "with",
    "values",
];

/// Words behind which a statement may begin.
const BEFORE: &[&str] = &[
    "atomic",
    "begin",
    "block",
    "do",
    "each",
    "else",
    "for",
    "in",
    "is",
    "immediate",
    "loop",
    "query",
    "repeat",
    "statement",
    "then",
    "as",
    "row",
    "exclusive",
    "batch",
    "declare",
    "end",
];

/// Words of control with which a piece of a block may begin.
const CONTROL: &[&str] = &[
    "if",
    "elsif",
    "elseif",
    "else",
    "while",
    "loop",
    "for",
    "foreach",
    "repeat",
    "until",
    "case",
    "when",
    "exit",
    "continue",
    "leave",
    "iterate",
    "return",
    "raise",
    "raiserror",
    "throw",
    "print",
    "goto",
    "open",
    "signal",
    "resignal",
    "get",
    "declare",
    "null",
    "begin",
    "end",
    "exception",
    "try",
    "catch",
    "waitfor",
    "assert",
    "perform",
    "let",
    "apply",
    "handler",
    "then",
    "break",
    "error",
    "commit",
    "rollback",
    "revert",
];

/// Takes the statement if it is a block, or a piece of one.
pub(super) fn statement(judge: &mut Judge<'_>, verb: &str, part: Part<'_>) -> bool {
    match verb {
        "do" => anonymous(judge, &part),
        // `label: LOOP …`.
        _ if part.is_mark(1, ":") && part.is_any(2, CONTROL) => self::judge(judge, part.from(2)),
        _ if CONTROL.contains(&verb) => self::judge(judge, part),
        _ => return false,
    }
    true
}

/// `DO [LANGUAGE name] 'body'`; MySQL's `DO expression`.
fn anonymous(judge: &mut Judge<'_>, part: &Part<'_>) {
    let language = part.find(&["language"]);
    let known = language.is_none_or(|at| {
        part.is(at + 1, "plpgsql")
            || part.string(at + 1).is_some_and(|name| name.eq_ignore_ascii_case(b"plpgsql"))
            || part.raw(at + 1).eq_ignore_ascii_case(b"\"plpgsql\"")
    });
    let body = part.level().find(|at| part.kind(*at) == Some(Kind::Text) && !(*at > 0 && part.is(*at - 1, "language"))).and_then(|at| part.string(at));
    match body {
        Some(_) if !known => judge.unclear("the block is in a language that is not read"),
        Some(body) if judge.dialect == Dialect::PostgreSql => {
            judge.add_here(Effect::Write, "do", "runs a block");
            functions::block(judge, &body);
        }
        _ => {
            judge.add_here(Effect::Write, "do", "computes an expression");
            query::within(judge, part.from(1));
        }
    }
}

/// A block, or a piece of one.
pub(super) fn judge(judge: &mut Judge<'_>, part: Part<'_>) {
    judge.add_here(Effect::Write, "block", "steers a block");
    let mut ends: Vec<usize> = part.level().filter(|at| part.is_mark(*at, ";")).collect();
    ends.push(part.len());
    let mut ends = ends.into_iter().peekable();
    let mut before = None;
    for at in part.level() {
        while ends.peek().is_some_and(|end| *end < at) {
            ends.next();
        }
        if part.is_any(at, VERBS) && may_begin(&part, before) && !is_control(&part, at) {
            let end = ends.peek().copied().unwrap_or(part.len());
            one(judge, part.slice(at, end));
        }
        before = Some(at);
    }
    query::within(judge, part);
}

fn may_begin(part: &Part<'_>, before: Option<usize>) -> bool {
    let Some(before) = before else { return true };
    part.is_any(before, BEFORE)
        || part.is_mark(before, ";")
        || part.is_mark(before, ":")
        || part.is_mark(before, ">")
        || part.is_mark(before, ")")
        || part.is_mark(before, "{")
}

/// `FOR UPDATE`, `IN VALUES`, `ELSE SET`: what is no statement of its own although it stands where one may.
fn is_control(part: &Part<'_>, at: usize) -> bool {
    part.is(at, "update") && at > 0 && part.is(at - 1, "for") && !part.begins_name(at + 1)
}

fn one(judge: &mut Judge<'_>, statement: Part<'_>) {
    if statement.is(0, "perform") {
        query::within(judge, statement);
    } else if statement.is(0, "do") {
        // `WHILE … DO`: what follows begins for itself.
    } else {
        judge.statement(statement);
    }
}

/// How many tokens the first statement of `part` has.
///
/// A `;` in the body of a routine that is being defined ends no statement of the text. Where the body's end is not found, nothing is
/// taken for its part: what follows is judged as if it ran. `work` counts the tokens that were gone over.
pub(super) fn length(part: &Part<'_>, dialect: Dialect, work: &mut usize) -> usize {
    let first = part.level().find(|at| part.is_mark(*at, ";")).unwrap_or(part.len());
    if !part.is(0, "create") || first >= part.len() {
        return first;
    }
    let head = part.slice(0, first);
    let about = define::About::read(&head);
    if !define::is_routine(&about) {
        return first;
    }
    if dialect == Dialect::MsSql {
        // A routine takes all of its batch.
        return part.len();
    }
    let mut depth = 0usize;
    let mut begun = false;
    for at in part.level() {
        *work += 1;
        if *work > judge::MOST_WORK {
            return first;
        }
        let opens =
            part.is(at, "begin") && !part.is_mark(at + 1, ":") && !part.is_mark(at + 1, ";") || part.is(at, "case") && !(at > 0 && part.is(at - 1, "end"));
        if opens {
            depth += 1;
            begun = true;
        } else if part.is(at, "end") && !part.is_any(at + 1, &["if", "loop", "while", "repeat", "for"]) {
            depth = depth.saturating_sub(1);
        } else if part.is_mark(at, ";") && depth == 0 {
            return if begun { at } else { first };
        }
    }
    if depth == 0 { part.len() } else { first }
}

/// The statements of a Transact-SQL piece, which has nothing between them.
pub(super) fn transact(part: Part<'_>) -> Vec<Part<'_>> {
    const STARTS: &[&str] = &[
        "insert",
        "update",
        "delete",
        "merge",
        "truncate",
        "drop",
        "alter",
        "create",
        "exec",
        "execute",
        "backup",
        "restore",
        "dbcc",
        "kill",
        "shutdown",
        "disable",
        "reconfigure",
        "bulk",
        "revert",
    ];
    if part.is(0, "create") && define::is_routine(&define::About::read(&part)) || part.is_any(0, &["grant", "revoke", "deny"]) {
        return vec![part];
    }
    let mut pieces = Vec::new();
    let mut from = 0;
    for at in part.level().skip(1) {
        if part.is_any(at, STARTS) && !continues(&part.from(from), at - from) {
            pieces.push(part.slice(from, at));
            from = at;
        }
    }
    pieces.push(part.from(from));
    pieces
}

/// Whether the word at `at` belongs to the statement that is already there.
fn continues(part: &Part<'_>, at: usize) -> bool {
    let before = at.saturating_sub(1);
    let changes = part.is_any(at, &["insert", "update", "delete"]);
    part.is_mark(before, ".")
        || part.is_mark(at + 1, ".") && !part.is_any(at, &["exec", "execute"])
        || changes && (part.is_any(before, &["for", "after", "of", "on", "then"]) || part.is_mark(before, ","))
        || part.is(0, "alter")
            && part.is_any(at, &["drop", "alter", "disable"])
            && part
                .is_any(at + 1, &["column", "constraint", "member", "period", "partition", "filegroup", "trigger", "encryption", "if", "counter", "signature"])
        || part.is(0, "alter")
            && part.is(at, "drop")
            && !part.is_any(
                at + 1,
                &[
                    "table",
                    "view",
                    "database",
                    "schema",
                    "procedure",
                    "proc",
                    "function",
                    "index",
                    "user",
                    "login",
                    "role",
                    "trigger",
                    "type",
                    "sequence",
                    "synonym",
                ],
            )
        || part.is(at, "merge") && part.is(at + 1, "join")
        || part.is_any(at, &["exec", "execute"]) && (part.is_any(before, &["with"]) || part.is(at + 1, "as") && part.is_mark(before, ","))
        || part.is(0, "insert") && part.is_any(at, &["exec", "execute"])
        || part.is(at, "bulk") && part.is(before, "openrowset")
}
