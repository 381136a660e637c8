//! Definitions: `CREATE`, `DROP` and their kin. What `ALTER` does is in its own file.

use agentbox_core::{Delegation, Effect, Reach};

use super::{Dialect, alter, block, change, judge::Judge, lexer::Kind, name::Name, part::Part, query};

/// Words that say what kind of thing a definition is about, or how it is made.
const KINDS: &[&str] = &[
    "access",
    "adapter",
    "aggregate",
    "alias",
    "api",
    "application",
    "assembly",
    "asymmetric",
    "attribute",
    "availability",
    "backup",
    "bitmap",
    "broker",
    "cast",
    "catalog",
    "certificate",
    "class",
    "cluster",
    "clustered",
    "collation",
    "collection",
    "column",
    "columnstore",
    "compute",
    "configuration",
    "connection",
    "constraint",
    "conversion",
    "credential",
    "data",
    "database",
    "databases",
    "datashare",
    "default",
    "dictionary",
    "dimension",
    "directory",
    "domain",
    "dynamic",
    "edition",
    "encryption",
    "endpoint",
    "engine",
    "event",
    "extension",
    "external",
    "failover",
    "family",
    "file",
    "flow",
    "force",
    "foreign",
    "format",
    "fulltext",
    "function",
    "functions",
    "global",
    "group",
    "hybrid",
    "iceberg",
    "index",
    "indexes",
    "indextype",
    "integration",
    "internal",
    "java",
    "job",
    "key",
    "keyspace",
    "language",
    "library",
    "link",
    "listener",
    "live",
    "local",
    "log",
    "login",
    "macro",
    "managed",
    "mapping",
    "masking",
    "master",
    "materialized",
    "method",
    "mining",
    "model",
    "monitor",
    "named",
    "network",
    "nonclustered",
    "notification",
    "object",
    "of",
    "offline",
    "online",
    "operator",
    "opclass",
    "or",
    "outline",
    "owned",
    "package",
    "parser",
    "password",
    "pipe",
    "plan",
    "placement",
    "pluggable",
    "policy",
    "private",
    "procedure",
    "procedures",
    "profile",
    "projection",
    "protocol",
    "provider",
    "public",
    "publication",
    "queue",
    "quota",
    "reference",
    "remote",
    "replace",
    "replica",
    "reservation",
    "resource",
    "restore",
    "retention",
    "role",
    "roles",
    "rollback",
    "routine",
    "row",
    "rule",
    "scalar",
    "schedule",
    "schedules",
    "schema",
    "schemas",
    "script",
    "search",
    "secret",
    "secure",
    "security",
    "segment",
    "sequence",
    "server",
    "service",
    "session",
    "settings",
    "share",
    "signature",
    "sink",
    "snapshot",
    "source",
    "spatial",
    "specification",
    "sql",
    "stage",
    "statistics",
    "storage",
    "store",
    "stored",
    "stream",
    "streaming",
    "streamlit",
    "subscription",
    "symmetric",
    "synonym",
    "system",
    "table",
    "tables",
    "tablespace",
    "tag",
    "task",
    "temp",
    "template",
    "temporary",
    "text",
    "transform",
    "transient",
    "trigger",
    "trusted",
    "type",
    "undo",
    "unique",
    "unlogged",
    "user",
    "users",
    "vector",
    "view",
    "views",
    "virtual",
    "volatile",
    "volume",
    "warehouse",
    "widget",
    "wrapper",
    "xml",
    "zone",
];

/// The kinds that a resource is named by; what is none of them is called by its last word.
fn kind_of(words: &[&str]) -> &'static str {
    const NAMED: &[(&str, &str)] = &[
        ("table", "table"),
        ("tables", "table"),
        ("view", "view"),
        ("views", "view"),
        ("index", "index"),
        ("indexes", "index"),
        ("database", "database"),
        ("databases", "database"),
        ("schema", "schema"),
        ("schemas", "schema"),
        ("keyspace", "database"),
        ("sequence", "sequence"),
        ("function", "function"),
        ("procedure", "function"),
        ("routine", "function"),
        ("trigger", "trigger"),
        ("role", "role"),
        ("user", "role"),
        ("group", "role"),
        ("login", "role"),
        ("type", "type"),
        ("domain", "type"),
        ("extension", "extension"),
        ("tablespace", "tablespace"),
        ("event", "event"),
        ("publication", "publication"),
        ("subscription", "subscription"),
        ("policy", "policy"),
        ("rule", "rule"),
        ("server", "server"),
        ("stage", "stage"),
        ("warehouse", "warehouse"),
    ];
    words.iter().rev().find_map(|word| NAMED.iter().find(|(known, _)| known == word)).map_or("object", |(_, kind)| kind)
}

/// Most words of a kind: `OR REPLACE GLOBAL TEMPORARY EXTERNAL TABLE`.
const MOST_WORDS: usize = 8;

/// What a definition is about: its kind, how it is spoken of, and where the names begin.
pub(super) struct About {
    pub(super) kind: &'static str,
    pub(super) words: Vec<&'static str>,
    pub(super) names_at: usize,
}

impl About {
    pub(super) fn read(part: &Part<'_>) -> Self {
        let mut words = Vec::new();
        let mut at = 1;
        while words.len() < MOST_WORDS {
            let Some(word) = KINDS.iter().find(|kind| part.is(at, kind)) else { break };
            // `ALTER TABLE users DISABLE …`: behind TABLE stands a name; BigQuery alone has table functions.
            let is_name = matches!(words.last(), Some(&("table" | "tables"))) && *word != "function";
            // `DROP TABLE users`: a kind can be a name, too.
            let ends = is_name
                || !words.is_empty()
                    && (at + 1 >= part.len()
                        || part.is_mark(at + 1, ",")
                        || part.is_mark(at + 1, ".")
                        || part.is_mark(at + 1, "(")
                        || part.is_any(at + 1, &["cascade", "restrict", "set", "purge", "add", "drop", "rename"]));
            if ends {
                break;
            }
            words.push(*word);
            at += 1;
        }
        if part.are(at, &["if", "not", "exists"]) {
            at += 3;
        } else if part.are(at, &["if", "exists"]) {
            at += 2;
        } else if part.is_any(at, &["concurrently", "only"]) {
            at += 1;
            if part.are(at, &["if", "exists"]) {
                at += 2;
            }
        }
        if part.is(at, "only") && part.begins_name(at + 1) {
            at += 1;
        }
        Self { kind: kind_of(&words), words, names_at: at }
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    pub(super) fn has_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.has(word))
    }
}

/// Takes the statement if it defines something.
pub(super) fn statement(judge: &mut Judge<'_>, verb: &str, part: Part<'_>) -> bool {
    match verb {
        "create" => create(judge, &part),
        "drop" => drop(judge, &part),
        "alter" => alter::judge(judge, &part),
        "undrop" | "rename" | "comment" | "exchange" | "cluster" | "reindex" | "refresh" => judge.add_here(Effect::Write, "alter", "changes a definition"),
        _ => return false,
    }
    true
}

fn drop(judge: &mut Judge<'_>, part: &Part<'_>) {
    let about = About::read(part);
    if part.is(1, "prepare") {
        return judge.add_here(Effect::Write, "deallocate", "forgets a prepared statement");
    }
    let end = part
        .level()
        .find(|at| {
            *at >= about.names_at
                && part.is_any(*at, &["cascade", "restrict", "purge", "on", "from", "with", "including", "sync", "algorithm", "lock", "force", "by"])
        })
        .unwrap_or(part.len());
    let names = change::names(judge, part, about.names_at, end);
    let is_own =
        matches!(judge.dialect, Dialect::MySql | Dialect::ClickHouse | Dialect::Other) && about.has("temporary") && matches!(about.kind, "table" | "view")
            || judge.dialect == Dialect::MsSql && !names.is_empty() && names.iter().all(|name| name.last().starts_with('#'));
    let (effect, why) =
        if is_own { (Effect::Write, "removes a temporary table of the session") } else { (Effect::Destroy, "removes it with all that it holds") };
    if names.is_empty() {
        judge.add_here(effect, "drop", why);
    }
    for name in names {
        judge.add(effect, "drop", about.kind, &name, why);
    }
}

fn create(judge: &mut Judge<'_>, part: &Part<'_>) {
    let about = About::read(part);
    let name =
        Name::read(part, about.names_at, judge.dialect).filter(|_| part.begins_name(about.names_at) || part.kind(about.names_at) == Some(Kind::Parameter));
    let replaces = (part.are(1, &["or", "replace"]) || part.has_run(&["or", "replace"]) && part.find(&["replace"]).is_some_and(|at| at < about.names_at))
        && holds_data(&about);
    let (effect, why) = if replaces { (Effect::Destroy, "drops the one that is there, with all that it holds") } else { (Effect::Write, "makes it") };
    match &name {
        Some((name, _)) => judge.add(effect, "create", about.kind, name, why),
        None => judge.add_here(effect, "create", why),
    }
    if is_routine(&about) {
        // Its body runs when it is called; an event and a task are called by the server itself.
        if about.has("event") && judge.dialect == Dialect::MySql || about.has("task") {
            scheduled(judge, part);
        }
        return;
    }
    if about.has("user") && about.has("mapping") || about.has("server") || about.has("subscription") || about.has("link") || about.has("wrapper") {
        let why = "the server connects elsewhere by it";
        judge.add_delegated(Effect::Write, "connect", why, Delegation { reach: Reach::Anywhere, why: why.to_owned() });
    }
    if about.has("rule") {
        return rule(judge, part);
    }
    if part.has(&["select", "values", "with"]) || part.level().any(|at| part.is_mark(at, "(") && part.is_any(at + 1, &["select", "with", "values"])) {
        if !about.has("view") {
            query::within(judge, *part);
        }
    } else if let Some(at) = part.level().find(|at| part.is(*at, "as") && part.is(at + 1, "execute")) {
        judge.statement(part.from(at + 1));
    }
}

/// `CREATE RULE … AS ON INSERT … DO ALSO DELETE …`: what is harmless deletes from now on, whoever does it.
fn rule(judge: &mut Judge<'_>, part: &Part<'_>) {
    let (Some(event), Some(action)) = (part.find(&["on"]), part.find(&["do"])) else { return };
    let action = part.from(action + 1);
    let repeats = part.is(event + 1, "delete")
        && !action.mentions(&["truncate"])
        && part.find(&["to"]).is_some_and(|at| action.find(&["from"]).is_some_and(|from| action.raw(from + 1) == part.raw(at + 1)));
    if !repeats && action.mentions(&["delete", "truncate"]) {
        judge.add_here(Effect::Destroy, "rule", "makes statements delete that do not say so");
    }
}

/// Whether what `OR REPLACE` replaces holds data, or stands for it.
fn holds_data(about: &About) -> bool {
    let data = ["table", "database", "schema", "sequence", "materialized", "stage", "keyspace", "user", "role", "stream", "queue", "model"];
    data.iter().any(|word| about.has(word)) && !about.has("policy")
}

/// Whether the statement defines code that runs when it is called.
pub(super) fn is_routine(about: &About) -> bool {
    ["function", "procedure", "trigger", "event", "package", "task", "macro", "script", "aggregate"].iter().any(|word| about.has(word)) && !about.has("table")
}

/// What an event or a task does, it does without anybody asking again.
fn scheduled(judge: &mut Judge<'_>, part: &Part<'_>) {
    let start = part.level().find(|at| part.is_any(*at, &["do", "as"]) && (part.is_any(at + 1, block::VERBS) || part.is_any(at + 1, &["begin"])));
    match start {
        Some(at) => block::judge(judge, part.from(at + 1)),
        None => judge.unclear("what the server is to do later is not told"),
    }
}
