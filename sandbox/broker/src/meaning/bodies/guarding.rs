//! Which names of settings guard: by whole words, by how words begin, by two that stand together.

use super::super::words;

/// Words that guard as the name of a setting, beside those that guard wherever they stand.
const GUARDING: &[&str] = &[
    "acl",
    "approval",
    "archiving",
    "attestation",
    "authentication",
    "authn",
    "authz",
    "binlog",
    "captcha",
    "checksum",
    "compatibility",
    "compliance",
    "dlp",
    "dmarc",
    "durability",
    "durable",
    "enforcement",
    "fencing",
    "guard",
    "ha",
    "hsts",
    "immutable",
    "integrity",
    "journaling",
    "locked",
    "mirroring",
    "mirrors",
    "lock",
    "log",
    "mutability",
    "otp",
    "owasp",
    "passkey",
    "persistence",
    "pit",
    "prevention",
    "quorum",
    "redundancy",
    "redundant",
    "retentions",
    "rls",
    "scan",
    "security",
    "sso",
    "standby",
    "telemetry",
    "threat",
    "totp",
    "twofactor",
    "undelete",
    "undeletable",
    "uptime",
    "versioned",
    "vulnerability",
    "webauthn",
    "2fa",
];

/// Words of a path in which whatever is plainly switched off guarded.
pub(super) const NEAR: &[&str] =
    &["detection", "insights", "log", "observability", "oncall", "owasp", "paging", "prevention", "scanner", "telemetry", "uptime"];

/// How such words begin in all of their forms: `protected`, `replicate`, `encryptionAtRest`.
const STEMS: &[&str] =
    &["antivir", "audit", "backup", "encrypt", "firewall", "immutab", "malware", "protect", "quarantin", "ransom", "replicat", "safeguard", "tamper"];

/// Last words of names that lead to something, of which nothing is guarded: `security_groups`, `backup_ids`.
const LEADING: &[&str] = &["arn", "contact", "every", "format", "group", "id", "label", "line", "location", "name", "prefix", "step", "tag", "url", "version"];

/// First words of names by which somebody only chooses what to be told or shown.
const PREFERRING: &[&str] = &["display", "email", "hide", "highlight", "include", "notify", "send", "show", "sort"];

/// Whether the word says that something is kept for a time.
pub(super) fn keeps(word: &str) -> bool {
    matches!(word, "retention" | "retain" | "retained" | "trash" | "recycle" | "pitr")
}

/// Whether a name of these words guards something.
pub(super) fn guards(all: &[String]) -> bool {
    let Some(last) = all.last() else { return false };
    if LEADING.contains(&words::singular(last)) || all.first().is_some_and(|first| PREFERRING.contains(&first.as_str())) {
        return false;
    }
    all.iter().any(|word| is_guarding(word)) || words::guard_together(all)
}

pub(super) fn is_guarding(word: &str) -> bool {
    words::is_guard(word) || GUARDING.contains(&word) || GUARDING.contains(&words::singular(word)) || STEMS.iter().any(|stem| word.starts_with(stem))
}
