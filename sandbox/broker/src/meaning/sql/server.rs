//! What is said to the server rather than to its tables: logs, replication, backups, processes, rights.

use agentbox_core::Effect;

use super::{Dialect, judge::Judge, lexer::Kind, part::Part, query};

/// Verbs that lose nothing that is stored, whatever follows.
const CHANGES: &[&str] = &[
    "grant",
    "revoke",
    "deny",
    "security",
    "reassign",
    "vacuum",
    "optimize",
    "kill",
    "flush",
    "install",
    "import",
    "audit",
    "administer",
    "associate",
    "attach",
    "detach",
    "change",
    "check",
    "checksum",
    "cancel",
    "pause",
    "resume",
    "repair",
    "backup",
    "invalidate",
    "compute",
    "cache",
    "uncache",
    "msck",
    "xa",
    "use",
    "subscribe",
    "tail",
    "raise",
    "inspect",
    "validate",
    "reload",
    "reconfigure",
    "enable",
    "bulk",
    "add",
    "get",
    "handler",
    "transfer",
    "suspend",
    "add",
    "declare",
    "split",
    "convert",
    "restart",
    "migrate",
    "sync",
    "recover",
    "save",
    "savepoint",
    "disable",
    "stop",
    "start",
];

/// What SQL Server's `DBCC` only looks at, unless it is told to repair.
const LOOKS: &[&str] = &[
    "checkalloc",
    "checkcatalog",
    "checkconstraints",
    "checkdb",
    "checkfilegroup",
    "checktable",
    "help",
    "inputbuffer",
    "opentran",
    "outputbuffer",
    "show_statistics",
    "showcontig",
    "sqlperf",
    "tracestatus",
    "useroptions",
];

/// Takes the statement if it is to the server.
pub(super) fn statement(judge: &mut Judge<'_>, verb: &str, part: Part<'_>) -> bool {
    if let Some(why) = destroys(judge.dialect, verb, &part) {
        judge.add_here(Effect::Destroy, verb, why);
        if matches!(verb, "vacuum" | "cancel" | "pause") {
            query::within(judge, part);
        }
        return true;
    }
    let effect = match verb {
        "handler" | "check" | "checksum" | "subscribe" | "tail" | "validate" | "inspect" | "watch" => Effect::Read,
        "restore" if part.is_any(1, &["verifyonly", "headeronly", "filelistonly", "labelonly"]) => Effect::Read,
        "dbcc" if part.is_any(1, LOOKS) => Effect::Read,
        "dbcc" => Effect::Write,
        "system" if judge.dialect == Dialect::ClickHouse => Effect::Write,
        "flashback" => Effect::Write,
        _ if CHANGES.contains(&verb) => Effect::Write,
        _ => return false,
    };
    if effect == Effect::Read && matches!(verb, "dbcc" | "handler") {
        // What follows is the command's own word, no function of the server's.
        judge.add_here(effect, verb, "looks");
        return true;
    }
    judge.add_here(effect, verb, if effect == Effect::Read { "looks" } else { "acts on the server or its definitions" });
    query::within(judge, part);
    true
}

fn destroys(dialect: Dialect, verb: &str, part: &Part<'_>) -> Option<&'static str> {
    let next = |words: &[&str]| part.is_any(1, words);
    match verb {
        "purge" => Some("removes logs or what was dropped for good"),
        "reset" if next(&["master", "slave", "replica"]) || next(&["binary"]) => Some("deletes logs or forgets replication"),
        "reset" if dialect == Dialect::MySql => None,
        "shutdown" => Some("stops the server"),
        "stop" if next(&["slave", "replica", "group_replication", "all"]) => Some("stops replication"),
        "uninstall" => Some("takes a plugin away, which may be one that audits"),
        "clone" if !next(&["local"]) => Some("replaces the server's data by another's"),
        "noaudit" => Some("switches auditing off"),
        "flashback" if !part.has_run(&["before", "drop"]) => Some("puts tables back to an earlier state: what came after is lost"),
        "restore" if next(&["verifyonly", "headeronly", "filelistonly", "labelonly"]) => None,
        "restore" if !next(&["verifyonly", "headeronly", "filelistonly", "labelonly"]) && matches!(dialect, Dialect::MsSql | Dialect::Other) => {
            Some("overwrites what is there by a backup")
        }
        "restore" if part.mentions(&["replace", "overwrite"]) => Some("overwrites what is there by a backup"),
        "restore" => Some("puts an older state back"),
        "backup"
            if part.mentions(&["no_log", "truncate_only"])
                || (0..part.len()).any(|at| part.string(at).is_some_and(|text| text.eq_ignore_ascii_case(b"nul") || text == b"/dev/null")) =>
        {
            Some("throws the log away")
        }
        "backup" if matches!(dialect, Dialect::MsSql | Dialect::Other) && part.find(&["with"]).is_some_and(|at| part.from(at).has(&["init", "format"])) => {
            Some("overwrites the backups that the medium holds")
        }
        "dbcc" if part.mentions(&["repair_allow_data_loss", "repair_rebuild", "writepage"]) => Some("may lose data to repair"),
        // `ALTER LOGIN x DISABLE` ends in the same word.
        "disable" if part.len() > 1 => Some("switches a trigger off"),
        "cancel" | "pause" if (0..part.len()).any(|at| part.string(at).is_some_and(|text| text.eq_ignore_ascii_case(b"backup"))) => Some("stops backups"),
        // Delta Lake and Iceberg: old versions go for good.
        "vacuum" if part.has(&["retain"]) || dialect == Dialect::Other && part.is_mark(1, "'") => Some("removes old versions"),
        "system" if dialect == Dialect::ClickHouse => clickhouse(part),
        "msck" if part.has(&["drop", "sync"]) => Some("drops partitions"),
        "delist" | "expire" => Some("lets data expire"),
        _ => None,
    }
}

/// ClickHouse's `SYSTEM …`.
fn clickhouse(part: &Part<'_>) -> Option<&'static str> {
    match () {
        () if part.is(1, "drop") && !part.has(&["cache"]) => Some("removes a replica"),
        () if part.is_any(1, &["shutdown", "kill"]) => Some("stops the server"),
        () if part.is(1, "unfreeze") => Some("removes a backup"),
        () if part.is(1, "stop") && part.is_any(2, &["replicated", "replication", "fetches"]) => Some("stops replication"),
        () if part.is(1, "restore") && part.kind(2) == Some(Kind::Word) => None,
        () => None,
    }
}
