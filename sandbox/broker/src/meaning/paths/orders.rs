//! Orders that a path gives by its shape: a verb above what it is said of, a collection of deletions, a merge, a run of what keeps.

use agentbox_core::Effect;
use http::Method;

use super::{super::call::Call, super::http_rules::safe, FREE_NAMES, Found, is_filler, is_identifier, is_version, words};

/// Verbs that nobody takes for a noun, where they are a whole part of a path.
const PLAIN: &[&str] = &["delete", "destroy", "purge", "redact", "wipe", "truncate", "erase", "terminate"];

/// Those that are one only with what they are said of: `delRule`, `removeHost`.
const PLAIN_WITH: &[&str] = &["del", "drop", "remove"];

/// People and what is kept of them: of two that are merged one is gone.
const MERGED: &[&str] = &[
    "account",
    "client",
    "company",
    "contact",
    "conversation",
    "customer",
    "entity",
    "identity",
    "lead",
    "member",
    "organization",
    "patient",
    "people",
    "person",
    "profile",
    "ticket",
    "user",
];

/// Verbs at a path's end that take an order back, or only look at it.
const NO_ORDER: &[&str] = &["cancel", "count", "list", "preview", "query", "search", "status", "validate"];

fn said(segment: &str) -> Found {
    (Effect::Destroy, format!("the path says {}", safe(segment)))
}

/// `/secret/destroy/prod/db`, `/dns/deleteByNameType/example.com/A`: the verb stands above, and its arguments follow.
pub(super) fn standing_above(segments: &[&str]) -> Option<Found> {
    let before_last = segments.split_last()?.1;
    before_last.iter().enumerate().find_map(|(at, segment)| {
        let above: Vec<&str> =
            segments.get(..at)?.iter().copied().filter(|part| !is_version(part) && !is_filler(part) && !matches!(*part, "api" | "rest")).collect();
        // Below what people name anything may be a name; the first part below a mount is Vault's own.
        let is_free = above.iter().any(|part| FREE_NAMES.contains(part)) && above.len() > 1;
        // `deleteByNameType`, `EraseDevice`.
        let is_call = segment.chars().skip(1).any(|c| c.is_ascii_uppercase()) && segment.bytes().all(|byte| byte.is_ascii_alphabetic());
        if is_free || is_identifier(segment) || !(is_call || PLAIN.contains(segment)) {
            return None;
        }
        let verb = words::split(segment);
        if !verb.first().is_some_and(|first| PLAIN.contains(&first.as_str()) || (is_call && verb.len() > 1 && PLAIN_WITH.contains(&first.as_str()))) {
            return None;
        }
        let object = above.iter().rev().find(|part| !is_identifier(part)).or_else(|| segments.get(at + 1)).map(|part| words::split(part)).unwrap_or_default();
        (words::of_words(&verb, &object) == Some(Effect::Destroy)).then(|| said(segment))
    })
}

/// A POST to a collection of which a member is itself the loss: `…/deletions`, `…/erasure-requests`, `…/retentions/3/executions`, `…/silences`.
pub(super) fn on_the_collection(call: &Call<'_>, segments: &[&str]) -> Option<Found> {
    if *call.head.method != Method::POST {
        return None;
    }
    let named: Vec<&str> = segments.iter().copied().filter(|segment| !is_identifier(segment)).collect();
    let (last, before) = named.split_last()?;
    let own = words::split(last);
    let [.., head] = own.as_slice() else { return None };
    let head = words::singular(head);
    // `preview-deletion` only looks.
    if NO_ORDER.contains(&head) || words::of_words(&own, &[]) == Some(Effect::Read) {
        return None;
    }
    // `/deletions/users` is of users.
    let is_deletion = |segment: &&str| {
        let words = words::split(segment);
        let (Some(last), before) = (words.last().map(|word| words::singular(word)), words.len().checked_sub(2).and_then(|at| words.get(at))) else {
            return false;
        };
        let is_loss = |word: &str| matches!(words::singular(word), "deletion" | "disposal" | "erasure" | "destruction" | "redaction" | "anonymization");
        is_loss(last) || (matches!(last, "request" | "job" | "task") && before.is_some_and(|before| is_loss(before) || before == "delete"))
    };
    let is_plural = |segment: &&str| segment.ends_with('s') || segment.ends_with("deletion") || segment.ends_with("disposal") || segment.ends_with("erasure");
    if let Some(segment) = [before.last(), Some(last)].into_iter().flatten().find(|segment| is_plural(segment) && is_deletion(segment)) {
        return Some(said(segment));
    }
    // Nobody hears of what is silenced.
    if matches!(head, "silence" | "downtime") {
        return Some(said(last));
    }
    let runs = matches!(head, "execution" | "execute" | "run" | "trigger" | "start" | "apply" | "enforce");
    let keeps = |segment: &&&str| {
        words::split(segment).iter().any(|word| matches!(words::singular(word), "retention" | "cleanup" | "pruning" | "purge" | "expiration"))
    };
    (runs && before.iter().rev().take(3).any(|segment| keeps(&segment))).then(|| said(last))
}

/// `…/users/1/merge`: of two records one is gone.
pub(super) fn merges(last: &str, before: &[&str]) -> Option<Found> {
    let last = super::without_ending(last);
    let of = before.iter().rev().find(|segment| !is_identifier(segment))?;
    let words = words::split(of);
    let is_record = words.last().is_some_and(|word| MERGED.contains(&words::singular(word)));
    (matches!(last, "merge" | "merges") && is_record).then(|| said(last))
}

/// `PUT …/recordings/2/status/trashed.json`: a state that is the end, as a part of the path.
pub(super) fn ends(last: &str, before: &[&str]) -> Option<Found> {
    let state = super::without_ending(last);
    let is_state = matches!(state, "deleted" | "trashed" | "terminated" | "destroyed" | "purged");
    let is_bin = matches!(state, "recyclebin" | "recycle-bin" | "trash" | "deleteditems");
    let of = before.last().copied().unwrap_or_default();
    ((is_state && matches!(of, "status" | "state")) || (is_bin && matches!(of, "folders" | "folder" | "mailboxes"))).then(|| said(last))
}

/// `POST /repos/acme/shop/transfer`: whoever has it from now on may do with it what he likes.
pub(super) fn gives_away(last: &str, before: &[&str]) -> Option<Found> {
    let is_given = before.iter().rev().skip(1).take(2).any(|of| matches!(*of, "repos" | "repositories" | "projects" | "buckets" | "sites" | "apps"));
    (last == "transfer" && is_given).then(|| (Effect::Destroy, "it gives away what is there".to_owned()))
}

/// `…/snapshots/recover`: what was takes the place of what is. `…/snapshots/3/recover` takes one out of the bin.
pub(super) fn recovers(last: &str, before: &[&str]) -> Option<Found> {
    let is_older = before.last().is_some_and(|segment| matches!(*segment, "snapshot" | "snapshots" | "backup" | "backups"));
    (last == "recover" && is_older).then(|| said(last))
}
