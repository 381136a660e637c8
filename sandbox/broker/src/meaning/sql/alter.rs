//! `ALTER`: which of its actions take something away.

use agentbox_core::Effect;

use super::{Dialect, condition, define::About, judge::Judge, lexer::Kind, name::Name, part::Part, session};

/// What one action takes away.
type Hazard = (Effect, &'static str, &'static str);

/// Judges an `ALTER` of anything.
pub(super) fn judge(judge: &mut Judge<'_>, part: &Part<'_>) {
    let about = About::read(part);
    let name = Name::read(part, about.names_at, judge.dialect);
    // `ALTER DATABASE NOARCHIVELOG`: the database may go without its name.
    let named = name.as_ref().filter(|_| about.kind != "database").map(|(_, next)| *next);
    let rest = part.from(named.unwrap_or(about.names_at.max(1)));
    let hazard = hazards(judge.dialect, &about, &rest, part);
    let (effect, verb, why) = hazard.unwrap_or((Effect::Write, "alter", "changes a definition"));
    match &name {
        Some((name, _)) => judge.add(effect, verb, about.kind, name, why),
        None => judge.add_here(effect, verb, why),
    }
    // ALTER SYSTEM SET, ALTER DATABASE … SET, ALTER ROLE … SET: settings that outlive the session.
    let settings = ["system", "database", "role", "user", "session", "cluster", "account", "instance", "global"];
    if settings.iter().any(|word| part.is(1, word)) {
        session::lasting(judge, part);
    }
    if about.has("event") && part.has(&["do"]) {
        judge.unclear("what the server is to do later is not told");
    }
}

fn hazards(dialect: Dialect, about: &About, rest: &Part<'_>, whole: &Part<'_>) -> Option<Hazard> {
    let ignores = || whole.is(1, "ignore").then_some((Effect::Destroy, "ignore", "removes the rows that do not fit"));
    rest.level().find_map(|at| at_word(dialect, about, rest, whole, at)).or_else(|| options(whole)).or_else(ignores)
}

/// What the word at `at` takes away, if it is an action.
fn at_word(dialect: Dialect, about: &About, part: &Part<'_>, whole: &Part<'_>, at: usize) -> Option<Hazard> {
    const DESTROY: Effect = Effect::Destroy;
    let word = part.word(at)?;
    let after_name = at > 0 && part.is_any(at - 1, &["add", "rename", "to", "column", "constraint", "index", "key", "remove"]);
    let next = |words: &[&str]| part.is_any(at + 1, words);
    let is = |keyword: &str| word.eq_ignore_ascii_case(keyword.as_bytes());
    // Whose statement it is is not always known; `ON DELETE CASCADE` is everybody's.
    let mutates = dialect == Dialect::Other && about.kind == "table" && !(at > 0 && part.is_any(at - 1, &["on", "no", "for"]));
    match () {
        () if after_name => None,
        () if is("drop") => drops(part, at, about),
        () if is("truncate") => Some((DESTROY, "truncate", "empties partitions")),
        // One that keeps nothing, or nothing once the server stops.
        () if is("engine") && forgets(part, at + 1) => Some((DESTROY, "forget", "moves the rows to where they are not kept")),
        () if is("discard") => Some((DESTROY, "discard", "discards the table's data")),
        () if is("disable") && (next(&["trigger", "row", "rule", "flashback"]) || part.are(at + 1, &["all", "triggers"])) => {
            Some((DESTROY, "unprotect", "switches off a protection"))
        }
        () if is("disable") && next(&["innodb"]) && part.mentions(&["redo_log"]) => Some((DESTROY, "unprotect", "a crash loses the database")),
        () if is("unlogged") && at > 0 && part.is(at - 1, "set") => Some((DESTROY, "unprotect", "a crash empties it, and replicas no longer have it")),
        () if (is("disable") || is("suspend")) && about.has_any(&["event", "job", "task", "schedule", "trigger"]) && guards_by_name(whole) => {
            Some((DESTROY, "unprotect", "ends something that by its name protects"))
        }
        () if is("unset") && unsets_a_guard(part, at) => Some((DESTROY, "unprotect", "takes a policy or a time to keep off")),
        () if is("page_verify") && next(&["none"]) => Some((DESTROY, "unprotect", "damaged pages are no longer noticed")),
        () if is("encryption") && next(&["off"]) => Some((DESTROY, "unprotect", "switches encryption off")),
        () if is("disable") && about.has("subscription") => Some((DESTROY, "unprotect", "stops replication")),
        () if is("off") && part.mentions(&["state"]) => Some((DESTROY, "unprotect", "switches it off, which may be an audit")),
        () if is("disable") && about.has("trigger") => Some((DESTROY, "unprotect", "switches a trigger off")),
        () if is("no") && part.are(at + 1, &["force", "row"]) => Some((DESTROY, "unprotect", "switches row security off for the owner")),
        () if is("remove") && next(&["file", "filegroup", "replica", "member"]) && dialect == Dialect::MsSql && !about.has_any(&["role"]) => {
            Some((DESTROY, "alterDrop", "takes a file or a replica away"))
        }
        () if is("nocheck") => Some((DESTROY, "unprotect", "switches a check off")),
        () if is("exchange") && next(&["partition", "subpartition"]) => Some((DESTROY, "exchange", "puts other rows in a partition's place")),
        () if is("replace") && next(&["partition"]) => Some((DESTROY, "replacePartition", "replaces a partition's rows")),
        () if is("coalesce") && next(&["partition"]) => None,
        () if is("clear") && next(&["column", "index", "projection"]) => Some((DESTROY, "clear", "resets values")),
        () if is("delete") && (dialect == Dialect::ClickHouse || mutates && next(&["where", "in"])) => Some((DESTROY, "delete", "deletes the rows that match")),
        () if is("update") && (dialect == Dialect::ClickHouse || mutates && part.mentions(&["where"])) => clickhouse_update(part, at),
        () if is("ttl") || is("modify") && next(&["ttl"]) => Some((DESTROY, "expire", "lets rows expire")),
        () if is("unused") => Some((DESTROY, "drop", "makes a column unusable")),
        () if is("type") && at > 0 && !about.has("type") => narrows(part, at + 1),
        () if is("set") && part.are(at + 1, &["data", "type"]) => narrows(part, at + 3),
        () if (is("modify") || is("change") || is("alter")) && !about.has("type") => restated(dialect, part, at),
        () if is("gc") || is("configure") && next(&["zone"]) && part.mentions(&["gc", "discard"]) => {
            Some((DESTROY, "retention", "shortens how long old versions are kept"))
        }
        () if is("recovery") && next(&["simple"]) => Some((DESTROY, "unprotect", "ends the chain of log backups")),
        () if is("noarchivelog") || is("flashback") && next(&["off"]) || is("resetlogs") => Some((DESTROY, "unprotect", "ends recovery by logs")),
        () if is("clear") && next(&["logfile", "unarchived"]) => Some((DESTROY, "unprotect", "clears logs")),
        () if is("reset") && about.has("master") => None,
        _ => None,
    }
}

/// MySQL's `ENGINE = BLACKHOLE`, in whatever quotes.
fn forgets(part: &Part<'_>, at: usize) -> bool {
    let at = at + usize::from(part.is_mark(at, "="));
    let name = part.string(at).unwrap_or_else(|| part.raw(at).to_vec());
    let name = String::from_utf8_lossy(&name).trim_matches(['`', '"', '\'']).to_ascii_lowercase();
    ["blackhole", "memory", "heap"].contains(&name.as_str())
}

/// Whether one of the statement's names says that the thing protects: `nightly_backup`.
fn guards_by_name(whole: &Part<'_>) -> bool {
    const WORDS: &[&str] = &["backup", "audit", "snapshot", "archiv", "replic", "retention"];
    (0..whole.len()).any(|at| {
        let name = String::from_utf8_lossy(whole.raw(at)).to_ascii_lowercase();
        whole.begins_name(at) && WORDS.iter().any(|word| name.contains(word))
    })
}

/// Snowflake's `UNSET NETWORK_POLICY`, `UNSET MASKING POLICY`, `UNSET DATA_RETENTION_TIME_IN_DAYS`.
fn unsets_a_guard(part: &Part<'_>, at: usize) -> bool {
    (at + 1..part.len()).any(|here| {
        let name = String::from_utf8_lossy(part.raw(here)).to_ascii_lowercase();
        ["policy", "retention", "encryption", "audit"].iter().any(|word| name.contains(word))
    })
}

fn drops(part: &Part<'_>, at: usize, about: &About) -> Option<Hazard> {
    // What is taken away here is a rule for new rows or a label, no data and no check that anybody would miss.
    if part.is_any(at + 1, &["default", "expression", "identity", "not", "dependency"]) && !about.has("publication") {
        return None;
    }
    // ALTER GROUP … DROP USER, ALTER ROLE … DROP …: membership.
    if about.has("group") && part.is(at + 1, "user") || about.has("server") || about.has("wrapper") || part.is_any(at + 1, &["replica"]) && about.has("schema")
    {
        return None;
    }
    Some((Effect::Destroy, "alterDrop", "takes a column, a check, an index, a partition or a member away"))
}

fn clickhouse_update(part: &Part<'_>, at: usize) -> Option<Hazard> {
    let all = match part.level().find(|here| *here > at && part.is(*here, "where")) {
        Some(here) => condition::holds_for_all(Dialect::ClickHouse, &part.from(here + 1), None),
        None => true,
    };
    all.then_some((Effect::Destroy, "update", "overwrites every row"))
}

/// `TYPE smallint`, `TYPE date USING NULL`: values are cut, rounded or thrown away.
fn narrows(part: &Part<'_>, at: usize) -> Option<Hazard> {
    const NARROW: Hazard = (Effect::Destroy, "narrow", "the new type or what is put into it may lose values");
    let end = part.level().find(|here| *here > at && part.is_mark(*here, ",")).unwrap_or(part.len());
    let action = part.slice(at, end);
    if let Some(using) = action.find(&["using"]) {
        let mut expression = action.from(using + 1);
        while expression.is_mark(0, "(") && expression.after(0) >= expression.len() {
            expression = expression.inside(0);
        }
        // `USING lower(email)` and `USING a::int` keep what they can; a constant keeps nothing.
        let names_column = (0..expression.len()).any(|here| {
            expression.begins_name(here)
                && !expression.is_mark(here + 1, "(")
                && !expression.is_any(here, &["null", "true", "false"])
                && (here == 0 || !expression.is_mark(here - 1, "::"))
        });
        let cuts = expression.is_any(0, &["left", "right", "substr", "substring", "case", "nullif", "date_trunc", "round", "trunc", "floor"]);
        if !names_column || cuts {
            return Some(NARROW);
        }
    }
    is_narrow(&action).then_some(NARROW)
}

/// Longest text type that is thought to cut what people write. Longer ones are refused by the servers rather than cut.
const SHORT: usize = 8;

fn is_narrow(kind: &Part<'_>) -> bool {
    kind.is_any(0, &["smallint", "int2", "tinyint", "date", "bool", "boolean", "bit"]) || is_short(kind)
}

/// A text type of few letters.
fn is_short(kind: &Part<'_>) -> bool {
    let varies = kind.are(0, &["character", "varying"]);
    let open = if varies { 2 } else { 1 };
    let length = kind.is_mark(open, "(").then(|| std::str::from_utf8(kind.raw(open + 1)).ok().and_then(|digits| digits.parse::<usize>().ok())).flatten();
    match () {
        () if kind.is_any(0, &["char", "character", "nchar"]) && !varies => length.is_none_or(|length| length < SHORT),
        () if varies || kind.is_any(0, &["varchar", "nvarchar", "varchar2", "varbinary", "binary"]) => length.is_some_and(|length| length < SHORT),
        () => false,
    }
}

/// MySQL's `MODIFY a type` and `CHANGE a b type`, SQL Server's `ALTER COLUMN a type`, Oracle's `MODIFY (a type)`.
fn restated(dialect: Dialect, part: &Part<'_>, at: usize) -> Option<Hazard> {
    const NARROW: Hazard = (Effect::Destroy, "narrow", "the new type may cut values");
    if dialect == Dialect::PostgreSql {
        return None;
    }
    let changes_name = part.is(at, "change");
    let column = at + 1 + usize::from(part.is(at + 1, "column"));
    if part.is_mark(column, "(") {
        let inside = part.inside(column);
        return is_short(&inside.from(1)).then_some(NARROW);
    }
    let kind = column + 1 + usize::from(changes_name);
    is_short(&part.from(kind)).then_some(NARROW)
}

/// Options in any tongue that shorten how long something is kept (`DATA_RETENTION_TIME_IN_DAYS = 0`, `OPTIONS (expiration_timestamp = …)`), or take
/// a protection off (`durable_writes = false`).
fn options(part: &Part<'_>) -> Option<Hazard> {
    const LOSES: Hazard = (Effect::Destroy, "retention", "shortens how long data or its old versions are kept");
    const UNPROTECTS: Hazard = (Effect::Destroy, "unprotect", "takes a protection off");
    const TIMES: &[&str] = &["retention", "expiration", "expire", "time_travel", "time_to_live", "ttl", "timetravel", "fail_safe", "gc_grace", "max_age"];
    const GUARDS: &[&str] = &[
        "durable_writes",
        "system_versioning",
        "change_tracking",
        "drop_protection",
        "deletion_protection",
        "enablechangedatafeed",
        "encryption",
        "state",
        "row_level_security",
        "versioning",
        "logging",
        "audit",
    ];
    (0..part.len()).find_map(|at| {
        if !matches!(part.kind(at), Some(Kind::Word | Kind::Quoted | Kind::Text)) || part.is(0, "set") {
            return None;
        }
        let has_sign = part.is_mark(at + 1, "=") || part.is_mark(at + 1, ":");
        let value = at + 1 + usize::from(has_sign);
        if value >= part.len() || !has_sign && part.kind(value) != Some(Kind::Number) {
            return None;
        }
        let name = String::from_utf8_lossy(part.raw(at)).to_ascii_lowercase();
        if TIMES.iter().any(|known| name.contains(known)) {
            // Without an expiry nothing is lost.
            let is_kept = part.is_any(value, &["null", "default", "none", "infinite"]) || is_long(&name, part.raw(value));
            return (!is_kept).then_some(LOSES);
        }
        if (name.contains("replication_factor") || name.contains("num_replicas")) && matches!(part.raw(value), b"0" | b"1") {
            return Some((Effect::Destroy, "unprotect", "keeps no second copy"));
        }
        let falls = has_sign
            && (part.is_any(value, &["off", "false", "disabled", "no"])
                || part.string(value).is_some_and(|text| text.eq_ignore_ascii_case(b"false") || text.eq_ignore_ascii_case(b"off")));
        (falls && GUARDS.iter().any(|known| name.contains(known)) && !name.contains("auto")).then_some(UNPROTECTS)
    })
}

/// How many days are thought to be no shortening.
const A_WEEK: f64 = 7.0;

/// Whether a time to keep is a week or longer, by the unit in its name; without one it is in seconds. A moment is never long.
fn is_long(name: &str, value: &[u8]) -> bool {
    let Some(number) = std::str::from_utf8(value).ok().and_then(|digits| digits.parse::<f64>().ok()) else { return false };
    if name.contains("expir") && !name.contains("day") {
        return false;
    }
    let a_day = match () {
        () if name.contains("day") => 1.0,
        () if name.contains("hour") => 24.0,
        () if name.contains("minute") => 1440.0,
        () => 86_400.0,
    };
    number >= A_WEEK * a_day && !name.contains("expir")
}
