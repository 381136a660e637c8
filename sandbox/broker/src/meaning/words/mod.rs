//! Names by their words: `volumeDelete`, `delete_user`, `DeleteDBInstance` all begin or end with what they do, and say to what.

mod nouns;
mod split;
mod tongues;
mod verbs;

use agentbox_core::Effect;

pub(crate) use nouns::{Worth, guard_together, is_guard, is_resettable, singular, worth};
use split::LONGEST;
pub(crate) use split::split;
use verbs::{
    ADMITTING, BEFORE, CHECKED, CLOSING, DERIVED, DESTROYING, EMPTYING, GUARDED, KILLABLE, LOOKING, LOSSES, MEMBERED, OLDER, READING, REMOVABLE, REMOVING,
    RESTORING, TAKEN_BACK, TRIMMED, UNDOING, WEAKENING,
};

fn is(table: &[&str], word: &str) -> bool {
    table.contains(&word)
}

/// Whether a word alone is a verb after which something may be gone.
#[must_use]
pub(crate) fn destroys(word: &str) -> bool {
    is(DESTROYING, word) || is(REMOVING, word) || is(EMPTYING, word) || tongues::destroys(word)
}

/// What a call of this name does, as far as a name can tell: the verb stands at its beginning or at its end.
///
/// `None` says that no verb was recognised.
#[must_use]
pub(crate) fn effect_of(name: &str) -> Option<Effect> {
    of_words(&split(name), &[])
}

/// The same for a name that stands below others: `around` are the words of what it is called on, for `…/backups/3/restore`.
#[must_use]
pub(crate) fn of_words(words: &[String], around: &[String]) -> Option<Effect> {
    let from = words.iter().take_while(|word| is(BEFORE, word)).count();
    let words = if from < words.len() { words.get(from..)? } else { words };
    let first = words.first()?.as_str();
    let last = words.last()?.as_str();
    // `createDeletionRequest` asks for a deletion; `cancelDeletion` does not.
    // `CreateReplaceRootVolumeTask` puts another disk in the place of the one that is there.
    let replaces_disk = words.iter().zip(words.iter().skip(1)).any(|(verb, object)| verb == "replace" && matches!(object.as_str(), "root" | "volume" | "disk"));
    let asks_for_loss = matches!(first, "create" | "add" | "enable")
        && (replaces_disk || words.iter().skip(1).any(|word| is(DESTROYING, word) || word == "deletion" || word == "destruction"));
    if is(UNDOING, first) && !asks_for_loss && closing(words, first, around) != Some(Effect::Destroy) {
        return Some(Effect::Write);
    }
    if asks_for_loss {
        return Some(Effect::Destroy);
    }
    match last {
        // `deletePreview` deletes one.
        "preview" | "estimate" | "simulate" if words.len() > 1 && !destroys(first) => return Some(Effect::Read),
        "cancel" | "undo" if words.len() > 1 => return Some(Effect::Write),
        _ => {}
    }
    if let Some(effect) = weakening(words, around).or_else(|| closing(words, first, around)) {
        return Some(effect);
    }
    // Fixing a day for a deletion loses as surely as deleting.
    if first == "schedule" && words.iter().any(|word| is(LOSSES, word)) {
        return Some(Effect::Destroy);
    }
    // `previewDelete`, `listPurgeJobs`: what is only looked at; `getAndDelete` does both.
    if is(LOOKING, first) && !words.iter().any(|word| matches!(word.as_str(), "and" | "then" | "or" | "with")) {
        return Some(Effect::Read);
    }
    if is(READING, first) && !words.iter().skip(1).any(|word| destroys(word)) {
        return Some(Effect::Read);
    }
    if let Some(effect) = restoring(words, around) {
        return Some(effect);
    }
    // Anywhere, because missing one costs more than asking once: `bulkDeleteUsers`, `volumeDeleteV2`, `usersDeleteAll`.
    // `UpdateFirewallDeleteProtection` is about what protects from deleting.
    let is_adjective = |at: usize| at > 0 && words.get(at + 1).is_some_and(|next| matches!(next.as_str(), "protection" | "prevention" | "lock"));
    let at = words.iter().enumerate().position(|(at, word)| destroys(word) && !is_adjective(at))?;
    let (before, after) = (words.get(..at)?, words.get(at + 1..)?);
    let verb = words.get(at)?.as_str();
    // `delete-by-tags` says which, not what.
    let only_which = !is(REMOVING, verb) && after.first().is_some_and(|first| nouns::PREPOSITIONS.contains(&first.as_str()));
    let object = if only_which
        || after.iter().all(|word| matches!(word.as_str(), "all" | "v2" | "v3" | "v4" | "many" | "batch" | "bulk" | "now" | "async" | "request"))
    {
        before
    } else {
        after
    };
    // `system/reset-configuration` of a router: all that was set is gone.
    let is_whole = matches!(words, [reset, object] if reset == "reset" && matches!(object.as_str(), "configuration" | "config"));
    if is_whole && around.last().is_some_and(|of| matches!(singular(of), "system" | "device" | "router" | "switch" | "gateway" | "appliance" | "controller")) {
        return Some(Effect::Destroy);
    }
    // `collections.remove_user`: who is removed from it remains.
    let leaves = is(REMOVING, verb) && matches!(object, [who] if matches!(singular(who), "user" | "member" | "person" | "people" | "contact"));
    if leaves && around.last().is_some_and(|of| is(MEMBERED, singular(of))) {
        return Some(Effect::Write);
    }
    let object = if object.is_empty() { around } else { object };
    Some(if loses(verb, object, before) { Effect::Destroy } else { Effect::Write })
}

/// Whether this verb on this object loses anything.
fn loses(verb: &str, object: &[String], before: &[String]) -> bool {
    let worth = worth(object);
    // What is built from something else is built again; a pool that is scrubbed is read through.
    let head = head_of(object);
    let is_derived = verb == "rebuild" && (is(DERIVED, singular(head)) || head.starts_with("cache"));
    let is_checked = verb == "scrub" && is(CHECKED, singular(head));
    // `ComputerSystem.Reset` of Redfish starts it anew.
    let is_started = verb == "reset" && matches!(object, [.., computer, system] if computer == "computer" && system == "system");
    // A query is ended, a machine is gone.
    let is_ended = verb == "terminate" && matches!(singular(head), "session" | "process" | "query" | "statement" | "thread" | "transaction");
    if is_derived || is_checked || is_started || is_ended {
        return false;
    }
    // `remove_scheduled_cancellation`, `deleteSuspension`.
    if is(TAKEN_BACK, singular(head)) {
        return false;
    }
    if is(EMPTYING, verb) {
        let is_cache = object.iter().any(|word| word.starts_with("cache"));
        return match verb {
            _ if is_cache => false,
            "clear" | "empty" if matches!(singular(head), "cart" | "basket") => false,
            // A disc is ejected, too.
            "eject" => matches!(singular(head), "node" | "member" | "host" | "broker" | "replica"),
            // `queues/orders/drain` is said of a queue that has a name.
            "trim" | "clean" | "drain" => object.iter().rev().take(2).any(|word| is(TRIMMED, singular(word))),
            "kill" => !object.iter().any(|word| KILLABLE.contains(&singular(word))),
            "reset" | "clear" | "flush" if is_resettable(head) || object.first().is_some_and(|first| is_resettable(first)) => worth == Worth::Guard,
            _ => worth != Worth::Light,
        };
    }
    if is(REMOVING, verb) {
        let parts_from = object.iter().any(|word| word == "from");
        let removable = REMOVABLE.contains(&singular(head_of(object))) || object.first().is_some_and(|first| REMOVABLE.contains(&singular(first)));
        // `firewallPolicies.removeRule`: what is taken out guarded.
        // `RemoveRegionsFromReplication`: the second copy is what goes.
        let guards = worth == Worth::Guard || before.iter().any(|word| is_guard(word)) || object.iter().any(|word| word == "replication");
        // A member of a cluster is a machine with its part of the data.
        let is_server = matches!(singular(head), "member" | "peer" | "node" | "voter" | "replica")
            && object
                .iter()
                .rev()
                .nth(1)
                .or_else(|| before.last())
                .is_some_and(|above| matches!(singular(above), "cluster" | "raft" | "quorum" | "etcd" | "ring"));
        if is_server {
            return true;
        }
        return guards || !(parts_from || removable || matches!(worth, Worth::Light | Worth::Joining));
    }
    // `DeleteCacheCluster` is a cluster, `purgeServiceCache` a cache that fills again.
    // `deleteTeamMember` parts two that remain, `deleteMember` may delete a person's record.
    let parts = worth == Worth::Joining && (object.len() > 1 || head_of(object).ends_with("association") || head_of(object).ends_with("membership"));
    !(worth == Worth::Light || parts) || (head_of(object).starts_with("cache") && verb.starts_with("delete"))
}

fn head_of(object: &[String]) -> &str {
    let until = object.iter().skip(1).position(|word| nouns::PREPOSITIONS.contains(&word.as_str())).map_or(object.len(), |at| at + 1);
    object.get(..until).and_then(<[String]>::last).map_or("", String::as_str)
}

/// Words that only say which part of a thing's working is meant.
const VAGUE: &[&str] =
    &["all", "collection", "configuration", "forever", "indefinitely", "job", "now", "plan", "policy", "recording", "schedule", "stream", "to"];

/// Switching off what guards or records.
fn weakening(words: &[String], around: &[String]) -> Option<Effect> {
    let first = words.first()?.as_str();
    // `turnOffProtection`.
    let (words, first) = match words {
        [turn, off, ..] if matches!(turn.as_str(), "turn" | "switch") && off == "off" => (words.get(1..)?, "off"),
        _ => (words, first),
    };
    let verb = [words.first(), words.last()].into_iter().flatten().map(String::as_str).find(|word| is(WEAKENING, word))?;
    let others = || words.iter().map(String::as_str).filter(|word| *word != verb);
    let guards =
        others().any(|word| is_guard(word) || (verb == first && is(GUARDED, singular(word)) && matches!(verb, "disable" | "stop" | "suspend" | "unprotect")));
    // `auth/disable`: whoever comes is let in.
    let lets_in = matches!(verb, "disable" | "off" | "deactivate")
        && (others().any(|word| is(ADMITTING, word)) || (words.len() == 1 && around.last().is_some_and(|word| is(ADMITTING, word))));
    // A backup that is stopped is one run of it; the guard of other things is what runs by itself.
    // `…/users/7/lifecycle/suspend`: the life of something else.
    // `backup.Backups/PauseSchedule`: what is stopped is no more than the guard's own working.
    let is_alone = words.iter().all(|word| word == verb || VAGUE.contains(&singular(word)));
    // `logs/1/stop-recording`.
    let of_log = is_alone && words.len() > 1 && around.iter().any(|word| singular(word) == "log");
    let of_policy = || matches!(verb, "disable" | "deactivate" | "suspend") && around.iter().any(|word| matches!(singular(word), "policy" | "policie"));
    let around_guards = is_alone && (around.iter().any(|word| is_guard(word) && word != "lifecycle") || of_policy());
    (guards || lets_in || of_log || around_guards || guard_together(words) || first == "unprotect").then_some(Effect::Destroy)
}

fn closing(words: &[String], first: &str, around: &[String]) -> Option<Effect> {
    let (_, objects) = CLOSING.iter().find(|(verb, _)| *verb == first)?;
    // `accounts/9/close`: what it is called on stands before.
    let words = if words.len() == 1 { around } else { words };
    words.last().is_some_and(|last| objects.contains(&last.as_str()) || objects.contains(&singular(last))).then_some(Effect::Destroy)
}

/// `restoreBackup`, `…/snapshots/5/restore`: an older state takes the place of the present one. `restoreProject` undoes.
fn restoring(words: &[String], around: &[String]) -> Option<Effect> {
    let at = words.iter().position(|word| is(RESTORING, word))?;
    if at != 0 && at + 1 != words.len() {
        return None;
    }
    // `RestoreDBInstanceFromSnapshot` makes a new one; `DeleteRestoreTestingPlan` is no restoring.
    if words.iter().any(|word| destroys(word)) {
        return None;
    }
    let older = |word: &String| OLDER.contains(&singular(word)) || is_guard(word);
    let is_older = words.iter().any(older) || around.iter().rev().take(4).any(older);
    // Data that is rolled back; a deployment of programs that is loses none.
    let rolls_back = words.get(at).is_some_and(|verb| verb != "restore" && verb != "revert");
    let is_data = around.last().is_some_and(|last| matches!(singular(last), "store" | "dataset" | "table" | "collection" | "index" | "bucket"));
    // `vms/3/revert`: a machine goes back to what was kept of it.
    let reverts = words.get(at).is_some_and(|verb| verb == "revert")
        && words.len() == 1
        && around.last().is_some_and(|last| matches!(singular(last), "vm" | "machine" | "instance" | "server"));
    let is_older = is_older || reverts || (rolls_back && words.len() == 1 && is_data);
    let is_new = words.iter().any(|word| word == "new" || word == "clone" || word == "copy");
    Some(if is_older && !is_new { Effect::Destroy } else { Effect::Write })
}

/// Whether the first word is a verb after which something is gone.
#[must_use]
pub(crate) fn begins_destroying(name: &str) -> bool {
    let words = split(head(name, LONGEST));
    let from = words.iter().take_while(|word| is(BEFORE, word)).count();
    words.get(from).is_some_and(|first| destroys(first)) && effect_of(name) == Some(Effect::Destroy)
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

/// Words of a part of a path that begins or ends with a verb, where a word in the middle is a noun. None where it is a name with no verb.
#[must_use]
pub(crate) fn step(name: &str) -> Option<Vec<String>> {
    let words = split(name);
    let verb =
        |word: &String| destroys(word) || is(RESTORING, word) || is(WEAKENING, word) || CLOSING.iter().any(|(verb, _)| verb == word) || is(UNDOING, word);
    let from = words.iter().take_while(|word| is(BEFORE, word)).count();
    // `StopReplication`, `delete-app-version-app-component`: an API's own verb stands first, whatever its length.
    let turns_off = matches!(words.as_slice(), [turn, off, ..] if matches!(turn.as_str(), "turn" | "switch") && off == "off");
    let schedules = words.first().is_some_and(|first| first == "schedule") && words.iter().any(|word| is(LOSSES, word));
    let begins = words.get(from).is_some_and(verb) || turns_off || schedules;
    // `b2_delete_bucket`, `wp_delete_post`: whose it is stands before.
    const NO_OWNER: &[&str] = &["can", "has", "is", "no", "not", "on", "pre", "to", "un"];
    let is_owned =
        matches!(words.as_slice(), [owner, second, _, ..] if owner.len() <= 3 && !NO_OWNER.contains(&owner.as_str()) && destroys(second)) && name.contains('_');
    let begins = begins || is_owned;
    let ends = words.len() <= 4 && words.last().is_some_and(verb);
    (begins || ends).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(names: &[&str], wanted: Option<Effect>) {
        for name in names {
            assert_eq!(effect_of(name), wanted, "{name}");
        }
    }

    #[test]
    fn finds_the_verb_wherever_it_stands() {
        all(
            &[
                "volumeDelete",
                "deleteUser",
                "bulkDeleteUsers",
                "TerminateInstances",
                "purge_queue",
                "resetDatabase",
                "volumeDeleteV2",
                "getAndDelete",
                "BatchDeleteSecurityRequirements",
                "dangerously-delete-by-tags",
                "deleteschedulingpolicy",
                "DisposePackageVersions",
                "UndeploySystemInstance",
            ],
            Some(Effect::Destroy),
        );
        all(&["projectScheduleDeleteCancel", "undeleteUser", "cancelDeletion", "unsuspendUser"], Some(Effect::Write));
        all(&["listDeletions", "GetItem", "describeInstances", "charge-preview"], Some(Effect::Read));
        all(&["deletePreview", "createDeletionRequest", "deleteMember"], Some(Effect::Destroy));
        all(&["deleteTeamMember", "removeMember"], Some(Effect::Write));
        all(&["volumeCreate", "userUpdate", "x"], None);
    }

    #[test]
    fn what_is_made_again_is_not_lost() {
        all(
            &[
                "PurgeCache",
                "purgeServiceCache",
                "cache_clear",
                "DeleteTags",
                "removeStar",
                "RemoveTagsFromStream",
                "DeleteRepositoryLink",
                "deleteSession",
                "ResetParameterGroup",
                "reset_auth",
                "resetPassword",
                "ResetImageAttribute",
                "removeTeamMember",
                "killQuery",
                "deleteApiKey",
            ],
            Some(Effect::Write),
        );
    }

    #[test]
    fn guards_and_older_states() {
        all(
            &[
                "DeleteCacheCluster",
                "deleteCache",
                "stopLogging",
                "ScheduleKeyDeletion",
                "disableDeletionProtection",
                "rebuildServer",
                "StopReplication",
                "RemoveRegionsFromReplication",
                "disable_snapshot_plan",
                "DisassociateFirewallRuleGroup",
                "restoreBackup",
                "restore-pitr",
                "RestoreVolumeFromSnapshot",
                "CloseAccount",
                "ReleaseAddress",
                "DeleteBackupTags",
                "removeFirewallRule",
                "unprotect",
            ],
            Some(Effect::Destroy),
        );
    }
}
