//! Statements that run other statements: prepared ones, strings, procedures.

use agentbox_core::{Delegation, Effect, Reach};

use super::{Dialect, condition, functions, judge::Judge, lexer::Kind, name::Name, part::Part, query, session};

/// Most strings of a call that are looked into.
const MOST_STRINGS: usize = 64;

/// Takes the statement if it runs another.
pub(super) fn statement(judge: &mut Judge<'_>, verb: &str, part: Part<'_>) -> bool {
    match verb {
        "prepare" => prepare(judge, &part),
        "execute" | "exec" => execute(judge, &part),
        "call" => call(judge, &part, 1),
        _ => return false,
    }
    true
}

/// What is prepared is judged when it is executed.
fn prepare(judge: &mut Judge<'_>, part: &Part<'_>) {
    judge.add_here(
        Effect::Write,
        "prepare",
        if part.is(1, "transaction") { "ends a transaction's first phase" } else { "prepares a statement, which is judged when it is executed" },
    );
}

fn execute(judge: &mut Judge<'_>, part: &Part<'_>) {
    // EXECUTE AS USER, REVERT: SQL Server's change of who acts.
    if judge.dialect == Dialect::MsSql && part.is(1, "as") {
        return judge.add_here(Effect::Write, "set", "acts as another user");
    }
    let from = 1 + usize::from(part.is(1, "immediate"));
    if part.is_any(from, &["function", "procedure", "task", "script", "block"]) {
        return call(judge, part, from + 1);
    }
    if part.is(1, "immediate") || part.is_mark(1, "(") || part.kind(1) == Some(Kind::Text) {
        let expression = if part.is_mark(1, "(") { part.inside(1) } else { part.from(from) };
        let end = expression.find(&["into", "using", "at", "bulk"]).unwrap_or(expression.len());
        return run(judge, &expression.slice(0, end));
    }
    if judge.dialect == Dialect::MsSql {
        return transact_procedure(judge, part);
    }
    let Some((name, next)) = Name::read(part, 1, judge.dialect) else { return judge.unclear("what it executes is not told") };
    let key = session::prepared_key(&name, judge.dialect);
    if let Some(text) = key.and_then(|key| judge.said.prepared(&key).map(<[u8]>::to_vec)) {
        query::within(judge, part.from(next));
        return judge.text(&text);
    }
    // PL/pgSQL's EXECUTE takes an expression.
    if next < part.len() && !part.is_mark(next, "(") && !part.is_any(next, &["using"]) || functions::is_known(judge.dialect, &name) {
        return run(judge, &part.from(1));
    }
    judge.unclear("it executes what was prepared under a name that is not known here");
}

/// A statement in an expression: a constant is judged, anything else is not told.
pub(super) fn run(judge: &mut Judge<'_>, expression: &Part<'_>) {
    if let Some(text) = condition::constant_text(judge.dialect, expression) {
        return judge.text(&text);
    }
    if let Some(text) = expression
        .kind(0)
        .filter(|kind| *kind == Kind::Parameter)
        .and_then(|_| judge.said.setting(&String::from_utf8_lossy(expression.raw(0)).to_ascii_lowercase()))
        .map(|text| text.as_bytes().to_vec())
    {
        return judge.text(&text);
    }
    // format('DROP TABLE %I', name): what is put in by %I and %L stays a name and a constant.
    if expression.is(0, "format") && expression.is_mark(1, "(") {
        let first = expression.inside(1).split(",").first().and_then(|first| condition::constant_text(judge.dialect, first));
        if let Some(text) = first {
            let text = String::from_utf8_lossy(&text).into_owned();
            if text.contains("%s") || text.contains('$') {
                judge.unclear("it executes a text that is put together when it runs");
            }
            return judge.text(text.replace("%I", "a_name").replace("%L", "''").replace("%s", "a_name").as_bytes());
        }
    }
    judge.unclear("it executes a text that is put together when it runs");
    strings(judge, expression);
}

/// SQL Server's `EXEC procedure arguments`.
fn transact_procedure(judge: &mut Judge<'_>, part: &Part<'_>) {
    // EXEC @result = procedure …
    let from = if part.is_mark(2, "=") { 3 } else { 1 };
    call(judge, part, from);
}

/// Procedures of SQL Server that only show something.
const SHOWING: &[&str] = &[
    "sp_help",
    "sp_helptext",
    "sp_helpdb",
    "sp_helpindex",
    "sp_helpconstraint",
    "sp_helpuser",
    "sp_helprole",
    "sp_helprolemember",
    "sp_helpfile",
    "sp_who",
    "sp_who2",
    "sp_lock",
    "sp_columns",
    "sp_tables",
    "sp_stored_procedures",
    "sp_spaceused",
    "sp_depends",
    "sp_pkeys",
    "sp_fkeys",
    "sp_databases",
    "sp_statistics",
    "sp_monitor",
    "sp_describe_first_result_set",
    "sp_describe_undeclared_parameters",
    "sp_server_info",
    "xp_msver",
    "xp_fixeddrives",
    "xp_readerrorlog",
    "sp_readerrorlog",
    "sp_datatype_info",
];

/// Procedures that change a definition or a setting and lose nothing.
const CHANGING: &[&str] = &[
    "sp_rename",
    "sp_addextendedproperty",
    "sp_updateextendedproperty",
    "sp_recompile",
    "sp_refreshview",
    "sp_updatestats",
    "sp_addrolemember",
    "sp_adduser",
    "sp_addlogin",
    "sp_grantdbaccess",
    "sp_setapprole",
    "sp_set_session_context",
    "sp_getapplock",
    "sp_releaseapplock",
    "sp_addrole",
    "sp_bindsession",
    "sp_tableoption",
    "sp_changedbowner",
    "sp_unprepare",
    "sp_reset_connection",
    "sp_cursorclose",
    "sp_cursorfetch",
    "sp_addmessage",
    "sp_autostats",
    "sp_createstats",
    "sp_configure",
];

/// Procedures that reach out of the server, or take something away.
const REACHING: &[(&str, &str)] = &[
    ("xp_cmdshell", "runs a command on the server"),
    ("sp_oacreate", "runs a program's object on the server"),
    ("sp_oamethod", "runs a program's object on the server"),
    ("xp_regwrite", "changes the server's registry"),
    ("xp_regdeletekey", "deletes from the server's registry"),
    ("xp_regdeletevalue", "deletes from the server's registry"),
    ("xp_delete_file", "deletes files on the server"),
    ("sp_execute_external_script", "runs a script on the server"),
    ("sp_start_job", "runs a job of the server"),
    ("sp_add_jobstep", "leaves the server a command to run"),
    ("sp_addlinkedserver", "lets the server connect elsewhere"),
];

fn call(judge: &mut Judge<'_>, part: &Part<'_>, at: usize) {
    let Some((name, next)) = Name::read(part, at, judge.dialect) else { return judge.unclear("what it calls is not told") };
    let arguments = if part.is_mark(next, "(") { part.inside(next) } else { part.from(next) };
    query::within(judge, arguments);
    let short = name.last().to_ascii_lowercase();
    match short.as_str() {
        _ if SHOWING.contains(&short.as_str()) => judge.add_here(Effect::Read, "call", "shows"),
        _ if CHANGING.contains(&short.as_str()) => judge.add_here(Effect::Write, "call", "changes a definition or a setting"),
        "sp_executesql" | "sp_prepexec" | "sp_msforeachtable" | "sp_msforeachdb" | "sp_prepare" => {
            let before = (0..arguments.len()).find(|at| arguments.kind(*at) == Some(Kind::Text));
            match before.and_then(|at| arguments.string(at)) {
                Some(text) => judge.text(String::from_utf8_lossy(&text).replace('?', "each").as_bytes()),
                None => run(judge, &arguments),
            }
        }
        _ => {
            if let Some((_, why)) = REACHING.iter().find(|(known, _)| *known == short) {
                return judge.add_delegated(Effect::Destroy, "call", why, Delegation { reach: Reach::Anywhere, why: (*why).to_owned() });
            }
            let key = functions::key(&name);
            let was_looked_up = functions::looked_up(judge, &key, &name, functions::Unread::Opaque);
            if let Some(body) = judge.said.defined(&key).map(<[u8]>::to_vec) {
                return functions::body(judge, &body);
            }
            if was_looked_up {
                return;
            }
            // Neo4j's own; all others of that name may be anybody's.
            const SHOWS: &[&str] = &[
                "db.labels",
                "db.relationshiptypes",
                "db.propertykeys",
                "db.info",
                "db.ping",
                "db.indexes",
                "db.constraints",
                "db.schema.visualization",
                "db.schema.nodetypeproperties",
                "db.schema.reltypeproperties",
            ];
            let full = name.dotted().to_ascii_lowercase();
            if judge.dialect == Dialect::Other && SHOWS.contains(&full.as_str()) {
                return judge.add_here(Effect::Read, "call", "shows");
            }
            let why = if functions::tells_of_loss(&short) { "a procedure whose name tells of a loss" } else { "what the procedure does is not known" };
            judge.unclear(why);
            strings(judge, &arguments);
        }
    }
}

/// Statements that lie in the strings of a call.
pub(super) fn strings(judge: &mut Judge<'_>, part: &Part<'_>) {
    let texts = (0..part.len()).filter_map(|at| part.string(at)).take(MOST_STRINGS);
    for text in texts.collect::<Vec<_>>() {
        if super::lexis::contains_word(&text, b"delete") || super::lexis::contains_word(&text, b"drop") || super::lexis::contains_word(&text, b"truncate") {
            judge.add_here(Effect::Destroy, "call", "hands over a statement that takes something away");
        }
    }
}
