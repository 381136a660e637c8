//! Fields by which a record is put away without being deleted: `deleted_at`, `markedForDeletion`, a folder that is the bin, and those by
//! which everybody may see what few could.

use serde_json::{Map, Value};

use super::{super::words, Around, is_no, is_yes};

/// Words of the thing that a repository, a bucket or a model is, of which somebody decides who sees it.
const SHOWN: &[&str] = &["bucket", "dataset", "gist", "model", "project", "registry", "repo", "repository", "snippet", "space", "workspace"];

/// Names of the folder from which things go.
const BINS: &[&str] = &["bin", "deleteditems", "deletedmessages", "recoverableitemsdeletions", "recyclebin", "trash", "trashbin", "trashcan"];

/// Whether a value says yes, as flags of databases do, too.
fn is_set(value: &Value) -> bool {
    is_yes(value) || value.as_f64() == Some(1.0)
}

/// Why what a field says puts a record away, if it does.
#[must_use]
pub(super) fn judge(all: &[String], value: &Value, around: &Around) -> Option<&'static str> {
    if around.asks || around.tells {
        return None;
    }
    let last = all.last()?.as_str();
    let words: Vec<&str> = all.iter().map(String::as_str).collect();
    match words.as_slice() {
        // `deleted_at: "2026-…"`; without a value it is taken out of the bin.
        [.., past, "at" | "on" | "date" | "time" | "timestamp" | "datetime"] | ["date" | "time", past] if around.changes && is_gone(past) && !is_no(value) => {
            return Some("it marks a record as deleted");
        }
        // `deletedAt`, in lower case.
        [one] if around.changes && matches!(*one, "deletedat" | "deletedon" | "removedat" | "trashedat") && !is_no(value) => {
            return Some("it marks a record as deleted");
        }
        ["is" | "soft" | "mark" | "flag", past] | [past] if around.changes && is_gone(past) && is_set(value) => return Some("it marks a record as deleted"),
        [.., "marked" | "mark" | "flagged" | "scheduled" | "queued", "for", "deletion" | "delete" | "removal" | "destruction" | "purge" | "erasure"]
        | [.., "deletion", "flag" | "indicator" | "mark"]
            if is_set(value) || value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("x")) =>
        {
            return Some("it marks a record for deletion");
        }
        _ => {}
    }
    // `{"secrets": {"DB": null}}`: a name whose value is taken away.
    let holds_values = matches!(last, "secrets" | "variables" | "vars" | "env" | "environment");
    if holds_values && value.as_object().is_some_and(|fields| fields.values().any(Value::is_null)) {
        return Some("it takes a value away");
    }
    let text = value.as_str().filter(|text| text.len() <= 40)?;
    let leads = words.iter().any(|word| matches!(*word, "destination" | "target" | "folder" | "mailbox" | "parent" | "dest" | "to"));
    if leads && around.words.iter().any(|word| matches!(word.as_str(), "move" | "movetofolder" | "messages" | "files" | "items")) && is_bin(text) {
        return Some("it moves something into the bin");
    }
    // `visibility: "public"`: what was seen is not unseen.
    let shows = matches!(last, "visibility" | "access") && matches!(text.to_ascii_lowercase().as_str(), "public" | "everyone" | "world");
    (shows && shows_what_stands(around)).then_some(SHOWS)
}

const SHOWS: &str = "it shows to everybody what few could see";

/// `{"private": false}` of a repository that stands.
#[must_use]
pub(super) fn shows(fields: &Map<String, Value>, around: &Around) -> Option<&'static str> {
    let says = |name: &str, wanted: bool| fields.get(name).is_some_and(|value| *value == Value::Bool(wanted));
    let opens = says("private", false) || says("isPrivate", false) || says("is_private", false) || says("public", true) || says("is_public", true);
    (opens && shows_what_stands(around)).then_some(SHOWS)
}

/// Whether what is changed is a thing of which somebody decides who sees it.
fn shows_what_stands(around: &Around) -> bool {
    // `repositories` and `registries` have a plural of their own.
    let is_shown = |word: &String| SHOWN.contains(&words::singular(word)) || word.starts_with("repositor") || word.starts_with("registr");
    let about = if around.about.is_empty() { &around.words } else { &around.about };
    // `repos/acme/shop`, `models/acme/m/settings`: a member whose name has two parts.
    let until = around.words.iter().rposition(|word| !matches!(word.as_str(), "settings" | "visibility" | "access")).map_or(0, |at| at + 1);
    let is_named = matches!(around.words.get(..until), Some([.., of, _, name]) if is_shown(of) && words::singular(of) != of && words::singular(name) == name);
    around.changes && !around.makes && (is_named || about.iter().rev().take(2).any(is_shown))
}

/// `deleted`, `trashed`, `erased`.
fn is_gone(word: &str) -> bool {
    matches!(word, "deleted" | "trashed" | "erased" | "purged" | "removed" | "destroyed" | "softdeleted" | "discarded")
}

fn is_bin(text: &str) -> bool {
    let text: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    BINS.contains(&text.as_str())
}

/// `trash`, `trashed`: as the state of a record.
#[must_use]
pub(super) fn is_state_of_gone(text: &str) -> bool {
    matches!(text, "trash" | "trashed" | "erased" | "wiped" | "soft_deleted" | "soft-deleted" | "softdeleted" | "pending_deletion" | "pending-deletion")
}
