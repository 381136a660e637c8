//! What a session says of itself: transactions, settings, prepared statements; and what is learned from it for later.

use agentbox_core::Effect;

use super::{Dialect, Said, condition, define, functions, judge::Judge, lexer::Kind, name::Name, part::Part};

/// Statements of a session that change nothing that is stored, by their first word.
const HARMLESS: &[&str] = &[
    "start",
    "begin",
    "commit",
    "end",
    "rollback",
    "abort",
    "savepoint",
    "release",
    "discard",
    "listen",
    "unlisten",
    "notify",
    "fetch",
    "move",
    "close",
    "lock",
    "unlock",
    "use",
    "checkpoint",
    "reset",
];

/// Those that begin and end transactions, and parts of them.
const FRAME: &[&str] = &["start", "begin", "commit", "end", "rollback", "abort", "savepoint", "release"];

/// Takes the statement if it is of the session.
pub(super) fn statement(judge: &mut Judge<'_>, verb: &str, part: Part<'_>) -> bool {
    match verb {
        "set" => set(judge, &part),
        "pragma" => pragma(judge, &part),
        "show" | "help" | "list" | "ls" | "exists" | "summarize" => judge.add_here(Effect::Read, "show", "shows"),
        "describe" | "desc" => judge.add_here(Effect::Read, "show", "shows"),
        "declare" if part.has(&["cursor"]) => {
            judge.add_here(Effect::Read, "declare", "opens a cursor");
            super::query::within(judge, part);
        }
        "reset" if judge.dialect == Dialect::MySql => return false,
        // A block, a batch, or what follows without a `;`.
        "begin" | "start" | "end" if !is_transaction(&part) => return false,
        // What a transaction does is judged statement by statement: its frame adds nothing to that. Its second phase is another matter.
        _ if FRAME.contains(&verb) && !part.has(&["prepared"]) => judge.add_here(Effect::Read, verb, "begins or ends a transaction"),
        "deallocate" => judge.add_here(Effect::Read, verb, "forgets what was prepared"),
        _ if HARMLESS.contains(&verb) => judge.add_here(Effect::Write, verb, "steers the session"),
        _ => return false,
    }
    true
}

/// Whether `BEGIN`, `START` and `END` speak of a transaction and nothing else.
fn is_transaction(part: &Part<'_>) -> bool {
    const WORDS: &[&str] = &[
        "transaction",
        "tran",
        "work",
        "isolation",
        "level",
        "read",
        "only",
        "write",
        "committed",
        "uncommitted",
        "repeatable",
        "serializable",
        "snapshot",
        "deferrable",
        "not",
        "deferred",
        "immediate",
        "exclusive",
        "concurrent",
        "with",
        "consistent",
        "mark",
        "distributed",
        "and",
        "chain",
        "no",
        "optimistic",
        "pessimistic",
        "priority",
        "high",
        "low",
        "normal",
        "as",
        "of",
        "system",
        "time",
        "release",
        "causal",
        "consistency",
    ];
    (1..part.len()).all(|at| part.is_any(at, WORDS) || part.is_mark(at, ",") || matches!(part.kind(at), Some(Kind::Text | Kind::Parameter)))
        // `BEGIN TRANSACTION name`.
        || part.is_any(1, &["transaction", "tran"]) && part.len() == 3
}

/// A setting that protects, and the values with which it no longer does.
struct Guard {
    name: &'static str,
    falls: Falls,
    why: &'static str,
}

enum Falls {
    /// Off, 0, false, no.
    Off,
    /// On.
    On,
    /// One of these.
    To(&'static [&'static str]),
    /// Whatever is set.
    Any,
}

const fn guard(name: &'static str, falls: Falls, why: &'static str) -> Guard {
    Guard { name, falls, why }
}

/// From the servers' manuals: PostgreSQL 17 chapter 19 and pgAudit, MySQL 8.4 and MariaDB 11 system variables, SQLite pragmas, Delta Lake's table properties.
const GUARDS: &[Guard] = &[
    guard("session_replication_role", Falls::To(&["replica"]), "switches triggers and foreign keys off"),
    guard("zero_damaged_pages", Falls::On, "lets damaged pages be emptied"),
    guard("ignore_checksum_failure", Falls::On, "lets damaged pages be read"),
    guard("allow_system_table_mods", Falls::On, "opens the system tables to changes"),
    guard("fsync", Falls::Off, "a crash can lose everything"),
    guard("full_page_writes", Falls::Off, "a crash can lose everything"),
    guard("wal_level", Falls::To(&["minimal"]), "ends replication and recovery by logs"),
    guard("archive_mode", Falls::Off, "switches the archive of logs off"),
    guard("archive_command", Falls::To(&["", "/bin/true", "true", "exit 0", ":"]), "switches the archive of logs off"),
    guard("archive_library", Falls::To(&[""]), "switches the archive of logs off"),
    guard("max_wal_senders", Falls::Off, "ends replication"),
    guard("wal_keep_size", Falls::Off, "throws away logs that replicas need"),
    guard("max_slot_wal_keep_size", Falls::Off, "throws away logs that replicas need"),
    guard("log_statement", Falls::To(&["none"]), "switches logging off"),
    guard("logging_collector", Falls::Off, "switches logging off"),
    guard("log_connections", Falls::Off, "switches logging off"),
    guard("log_disconnections", Falls::Off, "switches logging off"),
    guard("log_min_messages", Falls::To(&["panic", "fatal"]), "switches logging off"),
    guard("log_min_error_statement", Falls::To(&["panic", "fatal"]), "switches logging off"),
    guard("log_destination", Falls::To(&[""]), "switches logging off"),
    guard("pgaudit.log", Falls::To(&["none", ""]), "switches auditing off"),
    guard("pgaudit.log_level", Falls::To(&["debug5", "debug1"]), "switches auditing off"),
    guard("ssl", Falls::Off, "switches encryption off"),
    guard("foreign_key_checks", Falls::Off, "switches foreign keys off"),
    guard("check_constraint_checks", Falls::Off, "switches checks off"),
    guard("sql_log_bin", Falls::Off, "what follows is neither replicated nor recoverable"),
    guard("sql_log_off", Falls::On, "switches logging off"),
    guard("general_log", Falls::Off, "switches logging off"),
    guard("slow_query_log", Falls::Off, "switches logging off"),
    guard("log_output", Falls::To(&["none"]), "switches logging off"),
    guard("expire_logs_days", Falls::Any, "lets logs expire that recovery needs"),
    guard("binlog_expire_logs_seconds", Falls::Any, "lets logs expire that recovery needs"),
    guard("binlog_expire_logs_auto_purge", Falls::On, "lets logs expire that recovery needs"),
    guard("innodb_flush_log_at_trx_commit", Falls::Off, "a crash can lose what was committed"),
    guard("sync_binlog", Falls::Off, "a crash can lose what was committed"),
    guard("innodb_doublewrite", Falls::Off, "a crash can lose pages"),
    guard("innodb_flush_log_at_trx_commit", Falls::Off, "a crash can lose what was committed"),
    guard("innodb_checksum_algorithm", Falls::To(&["none"]), "damaged pages are no longer noticed"),
    guard("sync_binlog", Falls::Off, "a crash can lose logs that replicas need"),
    guard("audit_log_disable", Falls::On, "switches auditing off"),
    guard("audit_log_policy", Falls::To(&["none"]), "switches auditing off"),
    guard("audit_log_filter_id", Falls::Any, "changes what is audited"),
    guard("server_audit_logging", Falls::Off, "switches auditing off"),
    guard("server_audit_events", Falls::To(&[""]), "switches auditing off"),
    guard("writable_schema", Falls::On, "opens the schema table to changes"),
    guard("ignore_check_constraints", Falls::On, "switches checks off"),
    guard("foreign_keys", Falls::Off, "switches foreign keys off"),
    guard("synchronous", Falls::Off, "a crash can lose the database"),
    guard("journal_mode", Falls::To(&["off", "memory"]), "a crash can lose the database"),
    guard("spark.databricks.delta.retentiondurationcheck.enabled", Falls::Off, "lets VACUUM remove versions that are still needed"),
    guard("audit_trail", Falls::To(&["none"]), "switches auditing off"),
    guard("recyclebin", Falls::Off, "dropped tables can no longer be brought back"),
    guard("db_flashback_retention_target", Falls::Any, "shortens how far recovery reaches back"),
    guard("undo_retention", Falls::Any, "shortens how far recovery reaches back"),
    guard("data_retention_time_in_days", Falls::Off, "switches time travel off"),
    guard("row_level_security", Falls::Off, "switches row security off"),
    guard("gc.ttlseconds", Falls::Any, "shortens how long old versions are kept"),
];

fn is_off(value: &str) -> bool {
    matches!(value, "off" | "0" | "false" | "no" | "disabled" | "disable" | "0.0" | "f" | "n")
}

fn is_on(value: &str) -> bool {
    matches!(value, "on" | "1" | "true" | "yes" | "enabled" | "enable" | "t" | "y" | "2")
}

/// What setting `name` to `value` takes away, if it does. `None` for a value stands for one that is not a constant.
pub(super) fn fallen(dialect: Dialect, name: &str, value: Option<&str>) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let value = value.map(|value| value.trim().to_ascii_lowercase());
    let guard = GUARDS.iter().find(|guard| guard.name == name)?;
    // PostgreSQL knows no such settings; a name there is free for anybody (`app.foreign_keys` has a dot).
    if dialect == Dialect::PostgreSql && matches!(guard.name, "foreign_keys" | "synchronous" | "journal_mode") {
        return None;
    }
    let falls = match (&guard.falls, value.as_deref()) {
        (Falls::Any, value) => value.is_none_or(|value| value != "default"),
        (_, None) => true,
        (_, Some("default")) => false,
        (Falls::Off, Some(value)) => is_off(value),
        (Falls::On, Some(value)) => is_on(value),
        (Falls::To(values), Some(value)) => values.contains(&value),
    };
    falls.then_some(guard.why)
}

/// The same for a setting whose name is not told: whether any falls with this value.
pub(super) fn any_fallen(dialect: Dialect, value: &str) -> Option<&'static str> {
    GUARDS.iter().filter(|guard| !matches!(guard.falls, Falls::Any)).find_map(|guard| fallen(dialect, guard.name, Some(value)))
}

/// The assignments of a `SET`: name and constant value.
/// In the place of a name that cannot be read.
const UNTOLD: &str = "?";

fn assignments(dialect: Dialect, part: &Part<'_>) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    for piece in part.split(",") {
        let mut at = 0;
        while piece.is_any(at, &["session", "local", "global", "persist", "persist_only", "variable"]) && !piece.is_mark(at + 1, "=") && !piece.is(at + 1, "to")
        {
            at += 1;
        }
        let Some((name, next)) = Name::read(&piece, at, dialect) else {
            found.push((UNTOLD.to_owned(), None));
            continue;
        };
        let name = name.dotted().to_ascii_lowercase();
        let name = name.strip_prefix("@@").unwrap_or(&name);
        let name = ["session.", "global.", "local.", "persist.", "persist_only."].iter().find_map(|scope| name.strip_prefix(scope)).unwrap_or(name).to_owned();
        let is_sign = piece.is_mark(next, "=") || piece.is_mark(next, ":=") || piece.is(next, "to");
        let value = piece.from(if is_sign { next + 1 } else { next });
        found.push((name, constant(dialect, &value)));
    }
    found
}

/// The value as a text, where it is a constant.
fn constant(dialect: Dialect, value: &Part<'_>) -> Option<String> {
    if let [_] = value.split(",").as_slice() {
        if value.len() == 1 && !matches!(value.kind(0), Some(Kind::Parameter)) {
            let bytes = value.string(0).unwrap_or_else(|| value.raw(0).to_vec());
            return Some(String::from_utf8_lossy(&super::value::of_name(&bytes)).into_owned());
        }
        if value.len() == 2 && value.is_mark(0, "-") {
            return Some(String::from_utf8_lossy(value.source()).into_owned());
        }
    }
    condition::constant_text(dialect, value).map(|text| String::from_utf8_lossy(&text).into_owned())
}

fn set(judge: &mut Judge<'_>, part: &Part<'_>) {
    let body = part.from(1);
    // MariaDB: SET STATEMENT a = b FOR SELECT …
    if part.is(1, "statement") && part.has(&["for"]) {
        let at = part.find(&["for"]).unwrap_or(0);
        settings(judge, &part.slice(2, at));
        return judge.statement(part.from(at + 1));
    }
    settings(judge, &body);
    super::query::within(judge, body);
}

fn settings(judge: &mut Judge<'_>, body: &Part<'_>) {
    for (name, value) in assignments(judge.dialect, body) {
        match fallen(judge.dialect, &name, value.as_deref()) {
            Some(why) => judge.add_here(Effect::Destroy, "unprotect", why),
            None => judge.add_here(Effect::Write, "set", "changes a setting"),
        }
    }
}

/// Settings that outlive the session: `ALTER SYSTEM SET a = b`, `ALTER ROLE x SET a TO b`, `ALTER DATABASE d SET a = b`.
pub(super) fn lasting(judge: &mut Judge<'_>, part: &Part<'_>) {
    if let Some(at) = part.find(&["set"]) {
        for (name, value) in assignments(judge.dialect, &part.from(at + 1)) {
            if let Some(why) = fallen(judge.dialect, &name, value.as_deref()) {
                judge.add_here(Effect::Destroy, "unprotect", why);
            }
        }
    }
}

/// MySQL's `/*+ SET_VAR(foreign_key_checks = OFF) */`.
pub(super) fn hint(judge: &mut Judge<'_>, text: &[u8]) {
    if judge.dialect == Dialect::MySql && super::lexis::contains_word(text, b"set_var") {
        let text = String::from_utf8_lossy(text).to_ascii_lowercase();
        for piece in text.split("set_var").skip(1).take(64) {
            let inside = piece.split('(').nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_default();
            let (name, value) = inside.split_once('=').unwrap_or((inside, ""));
            if let Some(why) = fallen(judge.dialect, name.trim(), Some(value.trim().trim_matches(['\'', '"']))) {
                judge.add_here(Effect::Destroy, "unprotect", why);
            }
        }
    }
}

fn pragma(judge: &mut Judge<'_>, part: &Part<'_>) {
    let Some((name, next)) = Name::read(part, 1, judge.dialect) else { return judge.unclear("the pragma has no name") };
    let value = if part.is_mark(next, "=") { part.from(next + 1) } else { part.inside(next) };
    let value = (!value.is_empty()).then(|| constant(judge.dialect, &value));
    match value {
        Some(value) => match fallen(judge.dialect, name.last(), value.as_deref()) {
            Some(why) => judge.add_here(Effect::Destroy, "unprotect", why),
            None => judge.add_here(Effect::Write, "pragma", "changes or reads a setting"),
        },
        None if matches!(name.last(), "wal_checkpoint" | "optimize" | "incremental_vacuum") => judge.add_here(Effect::Write, "pragma", "tidies up"),
        None => judge.add_here(Effect::Read, "pragma", "reads a setting"),
    }
}

/// Whether [`observe`] could learn from the statement.
pub(super) fn may_teach(part: &Part<'_>) -> bool {
    part.is_any(0, &["set", "use", "prepare", "deallocate", "discard", "reset", "create"]) || part.are(0, &["drop", "prepare"]) || sets_in_query(part).is_some()
}

/// Most tokens of a query that is thought to set something: `SELECT pg_catalog.set_config('search_path', '', false)`.
const MOST_SETTING_TOKENS: usize = 24;

/// Where the arguments of a `set_config` stand.
fn sets_in_query<'a>(part: &Part<'a>) -> Option<Part<'a>> {
    if !part.is(0, "select") || part.len() > MOST_SETTING_TOKENS {
        return None;
    }
    part.level().find(|at| part.is(*at, "set_config") && part.is_mark(at + 1, "(")).map(|at| part.inside(at + 1))
}

fn learn_set_config(said: &mut Said, dialect: Dialect, arguments: &Part<'_>) {
    let all = arguments.split(",");
    let text =
        |index: usize| all.get(index).and_then(|argument| condition::constant_text(dialect, argument)).map(|text| String::from_utf8_lossy(&text).into_owned());
    let Some(name) = text(0).map(|name| name.to_ascii_lowercase()) else { return said.unset_all() };
    match text(1) {
        Some(value) if name == "search_path" => {
            let schemas = value.split(',').map(|schema| schema.trim().trim_matches('"').to_owned()).filter(|schema| !schema.is_empty());
            said.search_path = Some(schemas.collect());
        }
        Some(value) => said.set(&name, &value),
        None if name == "search_path" => said.search_path = None,
        None => said.unset(&name),
    }
}

/// MySQL's variables of the user (`@name`) are known only as long as nothing but constants and names came after: any function could set them anew.
pub(super) fn pass(said: &mut Said, dialect: Dialect, part: &Part<'_>) {
    if dialect == Dialect::MySql && !part.is_any(0, &["set", "prepare", "deallocate"]) {
        said.forget_variables();
    }
}

/// Under which name a prepared statement is kept; `None` where it could be the same as another one's: MySQL tells neither case nor accents apart.
pub(super) fn prepared_key(name: &Name, dialect: Dialect) -> Option<String> {
    let dotted = name.dotted();
    match dialect {
        Dialect::MySql if dotted.is_ascii() => Some(dotted.to_ascii_lowercase()),
        Dialect::MySql => None,
        _ => Some(dotted),
    }
}

/// What a statement that succeeded says about the session.
pub(super) fn observe(said: &mut Said, dialect: Dialect, part: &Part<'_>) {
    match () {
        () if part.is(0, "set") => learn_set(said, dialect, part),
        () if part.is(0, "select") => {
            if let Some(arguments) = sets_in_query(part) {
                learn_set_config(said, dialect, &arguments);
            }
        }
        () if part.is(0, "use") => {
            let at = 1 + usize::from(part.is_any(1, &["database", "schema", "catalog", "role", "warehouse"]));
            if !part.is_any(1, &["role", "warehouse"]) {
                said.database = Name::read(part, at, dialect).map(|(name, _)| name.dotted());
            }
        }
        () if part.is(0, "prepare") => learn_prepare(said, dialect, part),
        () if part.is(0, "deallocate") || part.are(0, &["drop", "prepare"]) => {
            let at = if part.is_any(1, &["prepare"]) { 2 } else { 1 };
            match Name::read(part, at, dialect) {
                Some((name, _)) if !part.is(at, "all") => match prepared_key(&name, dialect) {
                    Some(key) => said.forget(&key),
                    None => said.forget_all(),
                },
                _ => said.forget_all(),
            }
        }
        () if part.is(0, "discard") => {
            said.forget_all();
            said.search_path = None;
        }
        () if part.is(0, "reset") => {
            if part.is_any(1, &["search_path", "all"]) {
                said.search_path = None;
            }
            match Name::read(part, 1, dialect) {
                Some((name, _)) if !part.is(1, "all") => said.unset(&name.dotted()),
                _ => said.unset_all(),
            }
        }
        () if part.is(0, "create") => {
            let about = define::About::read(part);
            let is_code = about.has("function") || about.has("procedure");
            if let Some((name, _)) = is_code.then(|| Name::read(part, about.names_at, dialect)).flatten() {
                said.define(&functions::key(&name), part.source());
            }
        }
        () => {}
    }
}

/// The search path that `text` sets, as it stands behind `SET search_path TO`.
pub(super) fn path(dialect: Dialect, text: &str) -> Option<Vec<String>> {
    let mut said = Said::new();
    said.observe(dialect, format!("SET search_path TO {text}").as_bytes());
    // What is not read places nothing.
    Some(said.search_path.unwrap_or_default())
}

fn learn_set(said: &mut Said, dialect: Dialect, part: &Part<'_>) {
    let body = part.from(1);
    let at = usize::from(body.is_any(0, &["session", "local"]));
    if body.is_any(at, &["search_path", "schema"]) && dialect == Dialect::PostgreSql {
        let from = at + 1 + usize::from(body.is_mark(at + 1, "=") || body.is(at + 1, "to"));
        let names = body.from(from).split(",").iter().filter_map(|piece| Name::read(piece, 0, dialect)).map(|(name, _)| name.dotted()).collect::<Vec<_>>();
        said.search_path = (!body.is(from, "default")).then_some(names);
        return;
    }
    for (name, value) in assignments(dialect, &body) {
        let is_told = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$' | b'@'));
        match value {
            Some(value) if is_told => said.set(&name, &value),
            Some(_) | None => {
                said.unset(&name);
                if dialect == Dialect::MySql {
                    // What is put together may call a function, and a name in quotes may be that of another variable.
                    said.forget_variables();
                }
            }
        }
    }
}

fn learn_prepare(said: &mut Said, dialect: Dialect, part: &Part<'_>) {
    let Some((name, next)) = Name::read(part, 1, dialect) else { return };
    let text = if let Some(at) = part.level().find(|at| *at >= next && part.is(*at, "as")) {
        Some(part.from(at + 1).source().to_vec())
    } else if part.is(next, "from") {
        let source = part.from(next + 1);
        match source.kind(0) {
            // A variable that was set to a constant.
            Some(Kind::Parameter) => said.setting(&String::from_utf8_lossy(source.raw(0)).to_ascii_lowercase()).map(|text| text.as_bytes().to_vec()),
            _ => condition::constant_text(dialect, &source),
        }
    } else {
        None
    };
    match (prepared_key(&name, dialect), text) {
        (Some(key), Some(text)) => said.prepare(&key, &text),
        (Some(key), None) => said.forget(&key),
        (None, _) => said.forget_all(),
    }
}
