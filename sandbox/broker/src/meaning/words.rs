//! Names by their words: `volumeDelete`, `delete_user`, `DeleteDBInstance` all begin or end with what they do.

use agentbox_core::Effect;

/// Verbs after which something is gone or its protection is.
const DESTROYING: &[&str] = &[
    "annihilate",
    "clear",
    "decommission",
    "delete",
    "deletes",
    "deprovision",
    "destroy",
    "destroys",
    "discard",
    "drop",
    "empty",
    "erase",
    "expunge",
    "factoryreset",
    "flush",
    "forceremove",
    "format",
    "kill",
    "nuke",
    "obliterate",
    "overwrite",
    "prune",
    "purge",
    "rebuild",
    "reimage",
    "reinstall",
    "remove",
    "removes",
    "reset",
    "scrub",
    "shred",
    "softdelete",
    "terminate",
    "trash",
    "truncate",
    "uninstall",
    "unpublish",
    "wipe",
    "zap",
];

/// Verbs after which nothing has changed, in names of RPC calls.
const READING: &[&str] = &[
    "batchget", "check", "count", "describe", "diff", "download", "estimate", "exists", "explain", "export", "fetch", "find", "get", "inspect", "list",
    "lookup", "peek", "preview", "query", "read", "scan", "search", "select", "show", "simulate", "stat", "status", "validate", "verify", "view",
];

/// Words that, beside a destroying verb, name something that is made again at will or that undoes.
const UNDOING: &[&str] = &["cancel", "undo", "un", "undelete", "restore", "prevent", "disallow"];

/// Verbs that destroy where what follows guards something.
const WEAKENING: &[&str] = &["disable", "stop", "suspend", "pause", "mute", "decrease", "deactivate"];

/// What guards or records.
const GUARDING: &[&str] = &[
    "alarm",
    "alarms",
    "alert",
    "alerting",
    "alerts",
    "audit",
    "auditing",
    "backup",
    "backups",
    "configuration",
    "detector",
    "firewall",
    "lock",
    "logging",
    "monitoring",
    "protection",
    "recorder",
    "recovery",
    "replication",
    "retention",
    "rule",
    "shield",
    "snapshots",
    "trail",
    "versioning",
    "waf",
];

/// Longest name that is split; a longer one is nobody's verb.
const LONGEST: usize = 200;

/// Most words of a name.
const MOST: usize = 24;

/// Splits `volumeDelete`, `delete_user`, `delete-user`, `DeleteDBInstance` into lower-case words.
#[must_use]
pub(crate) fn split(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut before = ' ';
    let mut characters = name.chars().take(LONGEST).peekable();
    while let Some(c) = characters.next() {
        let next_is_lower = characters.peek().is_some_and(|next| next.is_ascii_lowercase());
        let begins = !c.is_alphanumeric()
            || (c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit() || (before.is_ascii_uppercase() && next_is_lower)));
        if begins && !word.is_empty() {
            words.push(std::mem::take(&mut word));
            if words.len() == MOST {
                return words;
            }
        }
        if c.is_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// What a call of this name does, as far as a name can tell: the verb stands at its beginning or at its end.
///
/// `None` says that no verb was recognised.
#[must_use]
pub(crate) fn effect_of(name: &str) -> Option<Effect> {
    let words = split(name);
    let first = words.first()?.as_str();
    if UNDOING.contains(&first) {
        return Some(Effect::Write);
    }
    if words.last().is_some_and(|last| matches!(last.as_str(), "cancel" | "preview" | "undo")) {
        return Some(Effect::Write);
    }
    let destroys = |word: &String| DESTROYING.contains(&word.as_str());
    // Switching off what guards or records, and fixing a day for a deletion, lose as surely as deleting.
    if WEAKENING.contains(&first) && words.iter().skip(1).any(|word| GUARDING.contains(&word.as_str())) {
        return Some(Effect::Destroy);
    }
    if first == "schedule" && words.iter().any(|word| word == "deletion" || word == "delete") {
        return Some(Effect::Destroy);
    }
    if is_cache(&words) {
        return Some(Effect::Write);
    }
    if READING.contains(&first) && !words.iter().skip(1).any(destroys) {
        return Some(Effect::Read);
    }
    // `volumeDelete`, `deleteVolume`, `bulkDeleteUsers`, `volumeDeleteV2`, `usersDeleteAll`: anywhere, because missing one costs more than asking once.
    words.iter().any(destroys).then_some(Effect::Destroy)
}

/// `PurgeCache`, `cacheClear`, `purgeServiceCache`: a cache fills again. `DeleteCacheCluster` is a cluster.
fn is_cache(words: &[String]) -> bool {
    let rest: Vec<&str> = words.iter().map(String::as_str).filter(|word| !matches!(*word, "purge" | "clear" | "flush" | "empty" | "reset")).collect();
    rest.len() < words.len() && rest.last().is_some_and(|last| matches!(*last, "cache" | "caches")) && !rest.iter().any(|word| DESTROYING.contains(word))
}

/// Whether the first word is a destroying verb.
#[must_use]
pub(crate) fn begins_destroying(name: &str) -> bool {
    split(head(name, LONGEST)).first().is_some_and(|first| DESTROYING.contains(&first.as_str()))
}

/// The first bytes of a text, cut between characters.
#[must_use]
pub(crate) fn head(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Whether a name begins or ends with a destroying verb: for parts of paths, where a word in the middle is a noun.
#[must_use]
pub(crate) fn is_destroying_step(name: &str) -> bool {
    let words = split(name);
    let destroys = |word: &String| DESTROYING.contains(&word.as_str());
    words.len() <= 4 && (words.first().is_some_and(destroys) || words.last().is_some_and(destroys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_all_the_usual_spellings() {
        assert_eq!(split("volumeInstanceBackupDelete"), ["volume", "instance", "backup", "delete"]);
        assert_eq!(split("DeleteDBInstance"), ["delete", "db", "instance"]);
        assert_eq!(split("delete_by-query.v2"), ["delete", "by", "query", "v2"]);
        assert_eq!(split("__schema"), ["schema"]);
        assert!(split("").is_empty());
        assert!(split(&"aB".repeat(5000)).len() <= MOST);
    }

    #[test]
    fn finds_the_verb_wherever_it_stands() {
        for name in ["volumeDelete", "deleteUser", "bulkDeleteUsers", "TerminateInstances", "purge_queue", "resetDatabase", "volumeDeleteV2"] {
            assert_eq!(effect_of(name), Some(Effect::Destroy), "{name}");
        }
        for name in ["projectScheduleDeleteCancel", "undeleteUser", "cancelDeletion"] {
            assert_eq!(effect_of(name), Some(Effect::Write), "{name}");
        }
        for name in ["PurgeCache", "purgeServiceCache", "cache_clear"] {
            assert_eq!(effect_of(name), Some(Effect::Write), "{name}");
        }
        for name in ["DeleteCacheCluster", "deleteCache", "stopLogging", "ScheduleKeyDeletion", "disableDeletionProtection", "rebuildServer"] {
            assert_eq!(effect_of(name), Some(Effect::Destroy), "{name}");
        }
        for name in ["listDeletions", "GetItem", "describeInstances"] {
            assert_eq!(effect_of(name), Some(Effect::Read), "{name}");
        }
        for name in ["volumeCreate", "userUpdate", "x"] {
            assert_eq!(effect_of(name), None, "{name}");
        }
        assert_eq!(effect_of("getAndDelete"), Some(Effect::Destroy));
    }
}
