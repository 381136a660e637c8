//! What a name is about: data and machines that do not come back, guards of others, or what is made again at will.

/// How much is lost with a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// It guards or records: backups, protections, logs, alarms.
    Guard,
    /// It holds data, or it is a machine.
    Heavy,
    /// It is made again at will: a session, a token, a tag.
    Light,
    /// It joins two things that both remain: a membership, a link. Where it is a thing of its own it is somebody's data.
    Joining,
    /// Nobody can tell from the word.
    Unknown,
}

/// What guards or records.
const GUARDS: &[&str] = &[
    "alarm",
    "alert",
    "alerting",
    "antivirus",
    "audit",
    "auditing",
    "backup",
    "cloudtrail",
    "ddos",
    "defender",
    "detector",
    "dr",
    "dnssec",
    "encryption",
    "escalation",
    "failover",
    "firewall",
    "flowlog",
    "guardduty",
    "guardrail",
    "hold",
    "immutability",
    "inspector",
    "intrusion",
    "lifecycle",
    "logging",
    "logpush",
    "macie",
    "malware",
    "mfa",
    "monitor",
    "monitoring",
    "pitr",
    "protection",
    "recorder",
    "recovery",
    "replication",
    "retention",
    "ruleset",
    "safeguard",
    "scanning",
    "securityhub",
    "shield",
    "siem",
    "snapshot",
    "trail",
    "versioning",
    "waf",
    "watchdog",
    "worm",
];

/// Words that guard where they stand together.
const TOGETHER: &[(&str, &str)] = &[
    ("access", "log"),
    ("admin", "event"),
    ("access", "prevention"),
    ("allow", "list"),
    ("anomaly", "detection"),
    ("append", "only"),
    ("auto", "snapshot"),
    ("block", "public"),
    ("bot", "detection"),
    ("bot", "fight"),
    ("bot", "management"),
    ("change", "history"),
    ("conditional", "access"),
    ("cross", "region"),
    ("document", "history"),
    ("drift", "detection"),
    ("fail", "safe"),
    ("file", "history"),
    ("fraud", "detection"),
    ("high", "availability"),
    ("ip", "allowlist"),
    ("ip", "whitelist"),
    ("key", "expiry"),
    ("legal", "hold"),
    ("login", "event"),
    ("multi", "factor"),
    ("point", "time"),
    ("network", "allowlist"),
    ("recycle", "bin"),
    ("revision", "history"),
    ("row", "security"),
    ("second", "factor"),
    ("signed", "commit"),
    ("soft", "delete"),
    ("soft", "deletion"),
    ("time", "travel"),
    ("transfer", "lock"),
    ("trash", "bin"),
    ("two", "factor"),
    ("two", "step"),
    ("version", "history"),
    ("web", "acl"),
    ("write", "once"),
];

/// Whether two of the words guard together: `two_factor`, `high_availability`.
#[must_use]
pub(crate) fn guard_together(words: &[String]) -> bool {
    let has = |wanted: &str| words.iter().any(|word| singular(word) == wanted);
    TOGETHER.iter().any(|(first, second)| has(first) && has(second))
}

/// What is made again at will.
const LIGHT: &[&str] = &[
    "accesstoken",
    "acknowledgement",
    "apikey",
    "apitoken",
    "approval",
    "approve",
    "archived",
    "basket",
    "bookmark",
    "cache",
    "caches",
    "cart",
    "cookie",
    "credential",
    "cursor",
    "deploykey",
    "downtime",
    "downvote",
    "favorite",
    "favourite",
    "follow",
    "following",
    "invitation",
    "invite",
    "kernel",
    "label",
    "lease",
    "like",
    "lock",
    "password",
    "pit",
    "presence",
    "published",
    "reaction",
    "repost",
    "retweet",
    "scroll",
    "session",
    "silence",
    "snooze",
    "sshkey",
    "star",
    "starred",
    "tag",
    "tagging",
    "token",
    "tokens",
    "tx",
    "typing",
    "unread",
    "upvote",
];

/// What joins two things that remain.
const JOINING: &[&str] = &[
    "alias",
    "assignee",
    "association",
    "binding",
    "collaborator",
    "dependency",
    "emoji",
    "follower",
    "grant",
    "link",
    "mapping",
    "member",
    "membership",
    "peer",
    "permission",
    "pin",
    "reviewer",
    "subscriber",
    "vote",
    "watcher",
];

/// What an attachment of it joins to something else.
const ATTACHED: &[&str] = &[
    "certificate",
    "disk",
    "drive",
    "floating",
    "gateway",
    "group",
    "instance",
    "interconnect",
    "interface",
    "ip",
    "network",
    "nic",
    "peering",
    "policy",
    "port",
    "profile",
    "role",
    "router",
    "subnet",
    "target",
    "transit",
    "vlan",
    "volume",
    "vpc",
    "vpn",
    "webacl",
];

/// What an assignment of it gives to somebody.
const ASSIGNED: &[&str] = &[
    "access",
    "address",
    "admin",
    "app",
    "application",
    "blueprint",
    "entitlement",
    "group",
    "ip",
    "license",
    "member",
    "permission",
    "policy",
    "principal",
    "profile",
    "queue",
    "role",
    "seat",
    "set",
    "shift",
    "team",
    "user",
    "account",
];

/// Two words that together are light where the last alone is not.
const LIGHT_PAIRS: &[(&str, &str)] = &[
    ("access", "key"),
    ("account", "key"),
    ("ephemeral", "key"),
    ("group", "role"),
    ("group", "user"),
    ("user", "group"),
    ("role", "user"),
    ("team", "user"),
    ("member", "role"),
    ("project", "domain"),
    ("member", "ban"),
    ("user", "ban"),
    ("user", "key"),
    ("user", "role"),
    ("api", "key"),
    ("app", "password"),
    ("async", "search"),
    ("auth", "key"),
    ("board", "share"),
    ("board", "user"),
    ("build", "queue"),
    ("cache", "entry"),
    ("cache", "item"),
    ("cache", "key"),
    ("cart", "coupon"),
    ("channel", "user"),
    ("chat", "user"),
    ("dashboard", "share"),
    ("doc", "share"),
    ("document", "share"),
    ("folder", "share"),
    ("list", "member"),
    ("list", "subscriber"),
    ("note", "share"),
    ("push", "subscription"),
    ("room", "user"),
    ("sheet", "share"),
    ("cart", "item"),
    ("cart", "line"),
    ("deploy", "key"),
    ("favorite", "item"),
    ("favourite", "item"),
    ("in", "time"),
    ("message", "flag"),
    ("organization", "role"),
    ("public", "key"),
    ("role", "assignment"),
    ("service", "role"),
    ("share", "link"),
    ("shared", "link"),
    ("signing", "key"),
    ("ssh", "key"),
    ("task", "completion"),
    ("tax", "exemption"),
    ("todo", "completion"),
    ("wait", "list"),
];

/// What holds data or does work; a name that ends in one of these is never light.
const HEAVY: &[&str] = &[
    "account",
    "address",
    "album",
    "app",
    "application",
    "archive",
    "artifact",
    "asset",
    "blob",
    "board",
    "branch",
    "bucket",
    "catalog",
    "channel",
    "cluster",
    "collection",
    "comment",
    "container",
    "customer",
    "dashboard",
    "data",
    "database",
    "databases",
    "dataset",
    "db",
    "deployment",
    "disk",
    "document",
    "domain",
    "droplet",
    "environment",
    "event",
    "file",
    "filesystem",
    "folder",
    "function",
    "history",
    "image",
    "index",
    "indices",
    "instance",
    "item",
    "job",
    "key",
    "kv",
    "ledger",
    "log",
    "machine",
    "media",
    "memory",
    "message",
    "metric",
    "model",
    "namespace",
    "network",
    "node",
    "note",
    "object",
    "order",
    "organization",
    "package",
    "page",
    "partition",
    "pod",
    "point",
    "post",
    "product",
    "profile",
    "project",
    "queue",
    "record",
    "registry",
    "release",
    "repo",
    "repository",
    "resource",
    "row",
    "schema",
    "secret",
    "server",
    "service",
    "site",
    "space",
    "stack",
    "state",
    "storage",
    "store",
    "stream",
    "table",
    "tenant",
    "topic",
    "user",
    "vault",
    "vector",
    "version",
    "vm",
    "volume",
    "volumes",
    "workspace",
    "zone",
];

/// What a reset, a flush or a clear does not hurt: settings that have a default, and machines that boot again.
const RESETTABLE: &[&str] = &[
    "alarm",
    "attribute",
    "auth",
    "authentication",
    "bookmark",
    "breaker",
    "cache",
    "circuit",
    "configuration",
    "connection",
    "cooldown",
    "counter",
    "credential",
    "credentials",
    "default",
    "endpoint",
    "error",
    "filter",
    "gateway",
    "group",
    "instance",
    "interface",
    "key",
    "landing",
    "landingzone",
    "layout",
    "limit",
    "login",
    "machine",
    "notification",
    "notifications",
    "option",
    "options",
    "parameter",
    "password",
    "permission",
    "pin",
    "preference",
    "profile",
    "quota",
    "rate",
    "secret",
    "server",
    "session",
    "setting",
    "settings",
    "statistics",
    "stats",
    "template",
    "theme",
    "timer",
    "token",
    "vm",
    "zone",
    "id",
];

/// The word without its plural's ending, where it has one.
pub(crate) fn singular(word: &str) -> &str {
    match word {
        "alias" | "status" | "canvas" | "bus" | "dns" | "address" | "access" | "kms" | "https" | "analysis" | "atlas" => return word,
        _ => {}
    }
    if let Some(stem) = word.strip_suffix("sses") {
        return word.get(..stem.len() + 2).unwrap_or(word);
    }
    for ending in ["aliases", "statuses"] {
        if word == ending {
            return word.get(..word.len() - 2).unwrap_or(word);
        }
    }
    word.strip_suffix('s').filter(|stem| stem.len() > 2 && !stem.ends_with('s')).unwrap_or(word)
}

/// Whether the word ends in one that joins two things: `profileresourceassociation`, `apimappings`.
fn is_joined(word: &str) -> bool {
    ["association", "attachment", "assignment", "membership", "binding", "mapping"].iter().any(|ending| singular(word).ends_with(ending))
}

fn is_in(table: &[&str], word: &str) -> bool {
    table.contains(&word) || table.contains(&singular(word)) || ies(word).is_some_and(|stem| table.iter().any(|known| known.strip_suffix('y') == Some(stem)))
}

/// `repositories` is of `repository`.
fn ies(word: &str) -> Option<&str> {
    word.strip_suffix("ies")
}

/// Whether the word guards or records.
#[must_use]
pub(crate) fn is_guard(word: &str) -> bool {
    is_in(GUARDS, word)
}

/// Whether a reset of it loses nothing that anybody keeps.
#[must_use]
pub(crate) fn is_resettable(word: &str) -> bool {
    is_in(RESETTABLE, word)
}

/// Words after which a name only says where or whose, not what.
pub(super) const PREPOSITIONS: &[&str] = &["from", "for", "in", "of", "by", "on", "to", "with", "at", "via"];

/// What a name's nouns are worth: the head stands last, before the first preposition. A guard anywhere in it guards.
#[must_use]
pub(crate) fn worth<S: AsRef<str>>(nouns: &[S]) -> Worth {
    let until = nouns.iter().skip(1).position(|word| PREPOSITIONS.contains(&word.as_ref())).map_or(nouns.len(), |at| at + 1);
    let nouns: Vec<&str> = nouns.iter().take(until).map(AsRef::as_ref).filter(|word| !is_filler(word)).collect();
    let Some(head) = nouns.last().copied() else { return Worth::Unknown };
    // `management lock` guards; a lock alone is one's own.
    if nouns.iter().any(|word| is_guard(word)) {
        return Worth::Guard;
    }
    if let [.., before, _] = nouns.as_slice()
        && LIGHT_PAIRS.iter().any(|(first, second)| {
            singular(before) == *first && (singular(head) == *second || ies(head).is_some_and(|stem| second.strip_suffix('y') == Some(stem)))
        })
    {
        return Worth::Light;
    }
    // `RepositoryLink` joins; `AliasTable` is a table.
    if is_in(LIGHT, head) {
        return Worth::Light;
    }
    // What hangs on a letter is a file, and what is assigned to a class is work; a policy and a disk are joined to what they hang on.
    let is_near = |of: &[&str]| nouns.iter().any(|word| is_in(of, word));
    let joins = is_joined(head)
        && match singular(head) {
            "attachment" => is_near(ATTACHED),
            "assignment" => is_near(ASSIGNED),
            _ => true,
        };
    if is_in(JOINING, head) || joins {
        return Worth::Joining;
    }
    if is_in(HEAVY, head) { Worth::Heavy } else { Worth::Unknown }
}

/// Words that say how many or which, not what.
fn is_filler(word: &str) -> bool {
    matches!(word, "all" | "bulk" | "batch" | "multiple" | "many" | "one" | "v1" | "v2" | "v3" | "v4" | "async" | "request" | "input" | "action" | "admin")
}

#[cfg(test)]
mod tests {
    use super::{super::split, *};

    #[test]
    fn the_head_noun_decides() {
        for (name, wanted) in [
            ("RepositoryLink", Worth::Joining),
            ("refresh-tokens", Worth::Light),
            ("role_assignments", Worth::Light),
            ("aliases", Worth::Joining),
            ("apiKeys", Worth::Light),
            ("AliasTable", Worth::Heavy),
            ("encryption_keys", Worth::Guard),
            ("keys", Worth::Heavy),
            ("repositories", Worth::Heavy),
            ("TagsFromStream", Worth::Light),
            ("backup_schedules", Worth::Guard),
            ("waf", Worth::Guard),
            ("addresses", Worth::Heavy),
            ("widgets", Worth::Unknown),
            ("", Worth::Unknown),
        ] {
            assert_eq!(worth(&split(name)), wanted, "{name}");
        }
    }

    #[test]
    fn plurals() {
        for (word, wanted) in
            [("tokens", "token"), ("addresses", "address"), ("alias", "alias"), ("aliases", "alias"), ("class", "class"), ("classes", "class")]
        {
            assert_eq!(singular(word), wanted);
        }
    }
}
