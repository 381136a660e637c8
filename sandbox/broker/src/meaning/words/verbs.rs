//! The verbs of APIs, by what they do to their object.

/// Verbs after which something is gone, whatever it was; only what is light is made again.
pub(super) const DESTROYING: &[&str] = &[
    "abolish",
    "annihilate",
    "anonymise",
    "anonymize",
    "cleanup",
    "cull",
    "decommission",
    "delete",
    "deletes",
    "del",
    "demolish",
    "deprovision",
    "destroy",
    "destroys",
    "discard",
    "dispose",
    "drop",
    "eliminate",
    "eradicate",
    "erase",
    "erasure",
    "expunge",
    "factoryreset",
    "forceremove",
    "forget",
    "format",
    "incinerate",
    "nuke",
    "obliterate",
    "offboard",
    "overwrite",
    "prune",
    "purge",
    "raze",
    "reap",
    "rebuild",
    "redact",
    "reformat",
    "removal",
    "reimage",
    "reinit",
    "reinitialise",
    "reinitialize",
    "reinstall",
    "repave",
    "rm",
    "rmdir",
    "rmtree",
    "scrub",
    "shred",
    "softdelete",
    "teardown",
    "terminate",
    "trash",
    "truncate",
    "undeploy",
    "uninstall",
    "vaporize",
    "wipe",
    "zap",
    "zeroise",
    "zeroize",
];

/// Verbs that take one thing out of another: what is taken out often remains.
pub(super) const REMOVING: &[&str] = &["remove", "removes"];

/// What may be taken out of a list without being lost, beside all that is light.
pub(super) const REMOVABLE: &[&str] =
    &["admin", "analytic", "discount", "domain", "exemption", "line", "option", "product", "resource", "role", "target", "team", "upstream", "url", "variant"];

/// Verbs that set back to nothing or to a default.
pub(super) const EMPTYING: &[&str] = &["clean", "clear", "drain", "eject", "empty", "flush", "reset", "kill", "trim"];

/// What is gone when it is trimmed or cleaned: a picture is trimmed, too, and a machine is drained before it is mended.
pub(super) const TRIMMED: &[&str] = &["history", "inbox", "log", "mailbox", "message", "queue", "stream", "tombstone", "topic", "trash"];

/// Verbs that take back what was to come: what they end with is no loss.
pub(super) const TAKEN_BACK: &[&str] = &["cancellation", "suspension"];

/// What has people in it: whoever is removed from one remains.
pub(super) const MEMBERED: &[&str] = &[
    "board",
    "channel",
    "chat",
    "circle",
    "collection",
    "conversation",
    "department",
    "folder",
    "group",
    "list",
    "organisation",
    "organization",
    "project",
    "role",
    "room",
    "space",
    "team",
    "workspace",
];

/// What may be fixed for a day.
pub(super) const LOSSES: &[&str] = &["delete", "deletion", "destroy", "destruction", "erasure", "purge", "termination", "wipe"];

/// What may be killed: it is run again.
pub(super) const KILLABLE: &[&str] = &[
    "connection",
    "container",
    "dyno",
    "execution",
    "job",
    "machine",
    "operation",
    "pod",
    "process",
    "query",
    "run",
    "server",
    "session",
    "statement",
    "submission",
    "task",
    "thread",
    "transaction",
    "worker",
];

/// Verbs that put an older state in the place of the present one.
pub(super) const RESTORING: &[&str] = &["restore", "revert", "rollback", "backtrack", "rewind", "flashback"];

/// What an older state is taken from. Without one of these, restoring undoes a deletion.
pub(super) const OLDER: &[&str] = &[
    "backup",
    "snapshot",
    "snap",
    "pitr",
    "point",
    "database",
    "db",
    "volume",
    "disk",
    "travel",
    "recovery",
    "dump",
    "checkpoint",
    "timestamp",
    "web",
    "storage",
];

/// Verbs that destroy where their object guards something.
pub(super) const WEAKENING: &[&str] = &[
    "disable",
    "stop",
    "suspend",
    "pause",
    "mute",
    "decrease",
    "deactivate",
    "disassociate",
    "detach",
    "off",
    "unset",
    "unprotect",
    "dissociate",
    "end",
    "silence",
    "snooze",
    "bypass",
    "unlock",
    "expire",
    "disarm",
    "disengage",
    "opt",
    "lift",
    "loosen",
    "lower",
    "reduce",
    "relax",
    "revoke",
    "shorten",
    "shrink",
    "weaken",
    "withdraw",
];

/// What lets in only whom it knows.
pub(super) const ADMITTING: &[&str] = &["acl", "auth", "authentication", "authorization", "captcha", "csrf", "rbac", "ssl", "sso", "tls"];

/// What is made from something else, and made again when it is built anew.
pub(super) const DERIVED: &[&str] = &["graph", "index", "metadata", "preview", "projection", "search", "sitemap", "statistic", "thumbnail", "view"];

/// Storage that a scrub reads through for errors.
pub(super) const CHECKED: &[&str] = &["array", "osd", "pg", "pool", "raid", "zpool"];

/// Guards of more than the tables of nouns name, for weakening verbs only.
pub(super) const GUARDED: &[&str] = &["configuration", "lock", "rotation", "rule", "policy"];

/// Verbs that end an account or give an address back for good.
pub(super) const CLOSING: &[(&str, &[&str])] = &[
    ("close", &["account"]),
    ("release", &["address", "addresses", "ip", "ips", "host", "hosts", "number", "numbers", "phone", "eip", "hold", "holds"]),
    ("deregister", &["image", "ami", "type", "domain"]),
    ("cancel", &["account", "number"]),
    ("abandon", &["instances", "workspace"]),
    // Redfish's `Volume.Initialize`; a drive is formatted.
    ("initialize", &["volume", "drive", "disk", "partition"]),
];

/// Verbs after which nothing has changed, in names of RPC calls.
pub(super) const READING: &[&str] = &[
    "batchget", "check", "count", "describe", "diff", "download", "estimate", "exists", "explain", "export", "fetch", "find", "get", "inspect", "list",
    "lookup", "peek", "preview", "query", "read", "scan", "search", "select", "show", "simulate", "stat", "status", "validate", "verify", "view",
];

/// Those of them that only look, whatever verb is looked for.
pub(super) const LOOKING: &[&str] = &["count", "describe", "estimate", "explain", "list", "preview", "search", "simulate", "validate"];

/// Words that, beside a destroying verb, undo or prevent.
pub(super) const UNDOING: &[&str] =
    &["cancel", "undo", "un", "undelete", "prevent", "disallow", "unarchive", "unsuspend", "unpublish", "undiscard", "enable", "create", "add", "recover"];

/// Words before the verb that say how: `BatchDelete`, `AdminRemoveUser`, `forceDelete`.
pub(super) const BEFORE: &[&str] = &[
    "do",
    "admin",
    "async",
    "batch",
    "bulk",
    "dangerously",
    "force",
    "hard",
    "multi",
    "permanently",
    "soft",
    "start",
    "stream",
    "streaming",
    "begin",
    "fast",
    "safe",
    "unsafe",
];
