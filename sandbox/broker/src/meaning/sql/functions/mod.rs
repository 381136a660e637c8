//! Functions that a statement calls: those that are known to only read, those with an effect, and what is made of the others.

mod effects;
mod routine;

use agentbox_core::{Delegation, Effect, Reach};

pub(crate) use routine::{Code, LONGEST_BODY, Routine, Routines};
pub(super) use routine::{Unread, judge as looked_up};

use super::{
    Dialect, block, condition,
    judge::Judge,
    lexer::{self, Kind},
    lexis::Lexis,
    name::Name,
    part::Part,
    session,
};

/// Functions of PostgreSQL 15 to 18 (pg_proc of 15 without what is volatile, internal, or belongs to an operator; what later versions
/// and the usual extensions add; what the grammar makes of its own) that only read. Sorted.
const POSTGRES: &str = include_str!("postgres.txt");

/// Functions of MySQL, SQLite, SQL Server, Oracle, ClickHouse, Snowflake, BigQuery, Spark and their kin that only read. Sorted.
const OTHERS: &str = include_str!("others.txt");

/// What is known of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// It only reads.
    Reads,
    /// It changes something, and loses nothing.
    Writes(&'static str),
    /// It loses something.
    Destroys(&'static str),
    /// It runs code that is not read here.
    Runs(&'static str),
    /// It connects elsewhere; the argument with this index is the statement that is run there, if there is one.
    Reaches(&'static str, Option<usize>),
    /// It runs the statement in the argument with this index.
    Executes(usize),
    /// It runs the statements in all of its arguments that are texts.
    ExecutesEach,
    /// It puts its arguments into a statement as names, unquoted.
    Names,
    /// It sets the setting named by its first argument to its second.
    Sets,
    /// It hands out a file or a secret of the server.
    Shows(&'static str),
    /// Nothing is known.
    Unknown,
}

/// Words in the name of a function that nobody gives to one that only reads.
const LOSS: &[&str] = &[
    "delete",
    "deletes",
    "drop",
    "drops",
    "truncate",
    "purge",
    "wipe",
    "erase",
    "remove",
    "removes",
    "destroy",
    "clear",
    "clean",
    "cleanup",
    "prune",
    "nuke",
    "flush",
    "kill",
    "del",
    "unlink",
    "shred",
    "obliterate",
    "expunge",
    "undeploy",
    "teardown",
    "reset",
    "expire",
    "archive",
    "vacate",
    "rollback",
    "restore",
    "overwrite",
    "zap",
    "empty",
    "discard",
];

/// Whether the name (in lower case) tells of a loss: `delete_all_orders`, `wipeuser`.
pub(super) fn tells_of_loss(name: &str) -> bool {
    name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| LOSS.contains(&word))
        || ["delete", "truncate", "purge", "wipe", "destroy", "cleanup", "drop"].iter().any(|word| name.starts_with(word))
}

/// What is known of a function of this name.
pub(super) fn fact(dialect: Dialect, name: &Name) -> Fact {
    let full = name.dotted().to_ascii_lowercase();
    let last = name.last().to_ascii_lowercase();
    // Only the catalog's own are the ones we know; `app.lower` is anybody's.
    let is_catalog = match name.qualifier() {
        None => true,
        Some(schema) => matches!(
            schema.to_ascii_lowercase().as_str(),
            "pg_catalog" | "information_schema" | "sys" | "dbo" | "safe" | "net" | "hash" | "keys" | "hll_count" | "public" | "extensions"
        ),
    };
    if let Some(fact) = effects::known(dialect, &full).or_else(|| effects::known(dialect, &last)) {
        return fact;
    }
    if is_catalog && reads(dialect, &last) {
        return Fact::Reads;
    }
    if dialect == Dialect::PostgreSql && is_catalog && last.starts_with("pg_stat_") {
        return Fact::Writes("acts on statistics");
    }
    Fact::Unknown
}

fn reads(dialect: Dialect, name: &str) -> bool {
    let is_in = |list: &'static str| is_line(list.as_bytes(), name.as_bytes());
    match dialect {
        Dialect::PostgreSql => is_in(POSTGRES),
        Dialect::MySql | Dialect::Sqlite | Dialect::MsSql | Dialect::Oracle | Dialect::ClickHouse | Dialect::Snowflake | Dialect::BigQuery => is_in(OTHERS),
        Dialect::Other => is_in(OTHERS) || is_in(POSTGRES),
    }
}

/// Whether anything is known of a function of this name.
pub(super) fn is_known(dialect: Dialect, name: &Name) -> bool {
    fact(dialect, name) != Fact::Unknown
}

/// Whether `wanted` is a line of the sorted `list`.
fn is_line(list: &[u8], wanted: &[u8]) -> bool {
    let (mut low, mut high) = (0, list.len());
    // Each turn leaves at most half of what was there, and a line.
    while low < high {
        let middle = low + (high - low) / 2;
        let start = list.get(low..middle).and_then(|half| half.iter().rposition(|byte| *byte == b'\n')).map_or(low, |at| low + at + 1);
        let end = list.get(start..high).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')).map_or(high, |at| start + at);
        match list.get(start..end).unwrap_or_default().cmp(wanted) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

/// Under which name a function that the session defines is remembered.
pub(super) fn key(name: &Name) -> String {
    name.last().to_ascii_lowercase()
}

/// Whether a table holds passwords or the like.
pub(super) fn keeps_secrets(dialect: Dialect, table: &str) -> bool {
    let last = table.rsplit('.').next().unwrap_or(table);
    match dialect {
        Dialect::PostgreSql => {
            matches!(last, "pg_authid" | "pg_shadow" | "pg_user_mapping" | "pg_user_mappings" | "pg_subscription") || table == "vault.decrypted_secrets"
        }
        Dialect::MySql => matches!(table, "mysql.user" | "mysql.global_priv" | "mysql.slave_master_info" | "mysql.servers"),
        Dialect::Oracle => matches!(last, "user$" | "link$" | "dba_users"),
        Dialect::MsSql => matches!(last, "sql_logins" | "syslogins" | "credentials"),
        Dialect::Sqlite | Dialect::ClickHouse | Dialect::Snowflake | Dialect::BigQuery | Dialect::Other => false,
    }
}

/// Says what a call does.
pub(super) fn judge(judge: &mut Judge<'_>, fact: Fact, name: &Name, arguments: Part<'_>) {
    let delegation = |why: &str| Delegation { reach: Reach::Anywhere, why: why.to_owned() };
    match fact {
        Fact::Reads => {}
        Fact::Writes(why) => judge.add(Effect::Write, "call", "function", name, why),
        Fact::Destroys(why) => judge.add(Effect::Destroy, "call", "function", name, why),
        Fact::Runs(why) => judge.add_delegated(Effect::Opaque, "call", why, delegation(why)),
        Fact::Shows(why) => {
            judge.add(Effect::Read, "call", "function", name, why);
            judge.last_yields_credential();
        }
        Fact::Reaches(why, statement) => {
            judge.add_delegated(Effect::Read, "reach", why, delegation(why));
            if let Some(index) = statement {
                executes(judge, &arguments, index);
            }
        }
        Fact::Executes(index) => executes(judge, &arguments, index),
        Fact::ExecutesEach => {
            let is_text = |argument: &Part<'_>| argument.len() != 1 || argument.kind(0) != Some(Kind::Number);
            let texts: Vec<usize> = arguments.split(",").iter().enumerate().filter(|(_, argument)| is_text(argument)).map(|(index, _)| index).collect();
            texts.into_iter().for_each(|index| executes(judge, &arguments, index));
        }
        Fact::Names => names(judge, &arguments),
        Fact::Sets => sets(judge, &arguments),
        Fact::Unknown => unknown(judge, name),
    }
}

/// A statement that is the last of the constants up to `index`: some of these functions may leave the connection out.
fn executes(judge: &mut Judge<'_>, arguments: &Part<'_>, index: usize) {
    let all = arguments.split(",");
    let Some(argument) = all.get(index).or_else(|| all.last()) else { return judge.unclear("the statement that a function is to run is not told") };
    match condition::constant_text(judge.dialect, argument) {
        Some(text) => judge.text(&text),
        None => judge.unclear("the statement that a function is to run is put together when it runs"),
    }
}

/// `connectby('tree', 'id', 'parent', 'root', 0)`: what is more than a name would be a part of the statement.
fn names(judge: &mut Judge<'_>, arguments: &Part<'_>) {
    let is_plain = |text: &[u8]| text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.~/- ".contains(byte)) && !text.windows(2).any(|two| two == b"--");
    for argument in arguments.split(",") {
        let is_number = argument.len() == 1 && argument.kind(0) == Some(Kind::Number);
        if !is_number && !condition::constant_text(judge.dialect, &argument).is_some_and(|text| is_plain(&text)) {
            return judge.unclear("a function puts what is no plain name into the statement that it runs");
        }
    }
}

/// `set_config('name', 'value', false)`.
fn sets(judge: &mut Judge<'_>, arguments: &Part<'_>) {
    let all = arguments.split(",");
    let text = |index: usize| {
        all.get(index).and_then(|argument| condition::constant_text(judge.dialect, argument)).map(|text| String::from_utf8_lossy(&text).into_owned())
    };
    let fallen = match (text(0), text(1)) {
        (Some(name), value) => session::fallen(judge.dialect, &name, value.as_deref()),
        // pg_dump asks for the name in pg_settings.
        (None, Some(value)) => session::any_fallen(judge.dialect, &value),
        (None, None) => return judge.unclear("the setting that is changed is not told"),
    };
    match fallen {
        Some(why) => judge.add_here(Effect::Destroy, "unprotect", why),
        None => judge.add_here(Effect::Write, "set", "changes a setting"),
    }
}

fn unknown(judge: &mut Judge<'_>, name: &Name) {
    let key = key(name);
    let was_looked_up = routine::judge(judge, &key, name, Unread::ByName);
    if let Some(text) = judge.said.defined(&key).map(<[u8]>::to_vec) {
        // Another one of this name may have been there before.
        return body(judge, &text);
    }
    if was_looked_up {
        return;
    }
    if tells_of_loss(&key) {
        let resource = super::name::resource(judge.dialect, "function", name, &judge.said);
        return judge.add_resource(Effect::Opaque, "call", resource, "a function whose name tells of a loss");
    }
    judge.add(Effect::Write, "call", "function", name, "a function that is not known to only read");
}

/// What calling a function does that the session defined: `text` is its `CREATE FUNCTION`.
pub(super) fn body(judge: &mut Judge<'_>, text: &[u8]) {
    let Ok(lexed) = lexer::lex(text, reading(judge, text)) else { return judge.unclear("the body of a function cannot be read") };
    let part = Part::new(text, &lexed.tokens);
    let language =
        part.find(&["language"]).map(|at| String::from_utf8_lossy(&part.string(at + 1).unwrap_or_else(|| part.raw(at + 1).to_vec())).to_ascii_lowercase());
    let inner = part.level().filter(|at| part.is(*at, "as")).find_map(|at| part.string(at + 1));
    match (inner, language.as_deref()) {
        (Some(inner), Some("sql")) => judge.text(&inner),
        (Some(inner), Some("plpgsql")) => block(judge, &inner),
        (Some(_), _) => judge.unclear("the function is in a language that is not read"),
        (None, _) => {
            let from = part.level().find(|at| part.is_any(*at, &["begin", "return", "do", "as", "is"])).unwrap_or(0);
            if judge.deepen() {
                block::judge(judge, part.from(from));
                judge.surface();
            }
        }
    }
}

/// A block in a string.
pub(super) fn block(judge: &mut Judge<'_>, text: &[u8]) {
    let Ok(lexed) = lexer::lex(text, reading(judge, text)) else { return judge.unclear("the block cannot be read") };
    if judge.deepen() {
        let outside = std::mem::replace(&mut judge.is_block, judge.dialect == Dialect::PostgreSql);
        block::judge(judge, Part::new(text, &lexed.tokens));
        judge.is_block = outside;
        judge.surface();
    }
}

fn reading(judge: &Judge<'_>, text: &[u8]) -> Lexis {
    Lexis::first(judge.dialect, text, &judge.said)
}
