//! A name's words: `volumeDelete`, `delete_user`, `DeleteDBInstance`, `deleteschedulingpolicy`.

/// Longest name that is split; a longer one is nobody's verb.
pub(super) const LONGEST: usize = 200;

/// Most words of a name.
const MOST: usize = 24;

/// Verbs that some APIs glue to what follows (`/v1/deleteschedulingpolicy`). None of them begins another word's stem.
const GLUED: &[&str] = &["delete", "destroy", "erase", "remove", "terminate", "truncate", "purge", "reimage", "wipe"];

/// Those that also stand at the end of a word (`revisiondelete`).
const ENDING: &[&str] = &["delete", "destroy", "purge", "truncate"];

/// What before such an ending makes another word of it.
const NO_NOUN: &[&str] = &["auto", "cannot", "dont", "never", "post", "soft"];

/// Fewer letters than these before such an ending are a syllable: `undelete`, `ondelete`.
const SHORTEST_NOUN: usize = 4;

/// What may follow such a verb inside one word: `deleted`, `deletes`, `deletion`.
const INFLECTIONS: &[&str] = &["d", "r", "s", "rs", "ing", "ion", "ions", "able", "or", "d_at", "marker", "dat", "dby"];

/// Splits at case, digits' ends and everything that is neither letter nor digit, into lower-case words.
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
            push(&mut words, std::mem::take(&mut word));
            if words.len() >= MOST {
                return words;
            }
        }
        if c.is_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    if !word.is_empty() {
        push(&mut words, word);
    }
    words
}

fn push(words: &mut Vec<String>, word: String) {
    // `tearDown`, `require2FA`: two that are one word.
    match (words.last_mut(), word.as_str()) {
        (Some(last), "down") if last == "tear" => {
            last.push_str("down");
            return;
        }
        (Some(last), "up") if last == "clean" => {
            last.push_str("up");
            return;
        }
        (Some(last), "reset") if last == "factory" => {
            last.push_str("reset");
            return;
        }
        // `ReInitDisk`, `re-image`.
        (Some(last), "init" | "initialize" | "initialise" | "image" | "install" | "build" | "format") if last == "re" => {
            last.push_str(&word);
            return;
        }
        (Some(last), "fa") if last.len() > 1 && last.ends_with('2') => {
            last.pop();
            words.push("2fa".to_owned());
            return;
        }
        _ => {}
    }
    // `batchdelete`.
    let word = match ["batch", "bulk", "force"].iter().find_map(|how| word.strip_prefix(how).filter(|rest| GLUED.iter().any(|verb| rest.starts_with(verb)))) {
        Some(rest) => rest.to_owned(),
        None => word,
    };
    let glued = GLUED.iter().find_map(|verb| word.strip_prefix(verb).map(|rest| (*verb, rest)));
    match glued {
        Some((verb, rest)) if rest.len() > 2 && !INFLECTIONS.contains(&rest) => {
            words.push(verb.to_owned());
            words.push(rest.to_owned());
        }
        _ => match ENDING.iter().find_map(|verb| Some((word.strip_suffix(verb)?, *verb))) {
            Some((noun, verb)) if noun.len() >= SHORTEST_NOUN && !NO_NOUN.contains(&noun) => {
                words.push(noun.to_owned());
                words.push(verb.to_owned());
            }
            _ => words.push(word),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_all_the_usual_spellings() {
        assert_eq!(split("volumeInstanceBackupDelete"), ["volume", "instance", "backup", "delete"]);
        assert_eq!(split("DeleteDBInstance"), ["delete", "db", "instance"]);
        assert_eq!(split("delete_by-query.v2"), ["delete", "by", "query", "v2"]);
        assert_eq!(split("deleteschedulingpolicy"), ["delete", "schedulingpolicy"]);
        assert_eq!(split("deleterange"), ["delete", "range"]);
        assert_eq!(split("revisiondelete"), ["revision", "delete"]);
        assert_eq!(split("removeacct"), ["remove", "acct"]);
        assert_eq!(split("cleanUpLogs"), ["cleanup", "logs"]);
        assert_eq!(split("ReInitDisk"), ["reinit", "disk"]);
        assert_eq!(split("FactoryReset"), ["factoryreset"]);
        for whole in ["undelete", "ondelete", "autodelete", "softdelete", "removed", "remover", "removal", "eraser"] {
            assert_eq!(split(whole), [whole]);
        }
        assert_eq!(split("deleted"), ["deleted"]);
        assert_eq!(split("deletion"), ["deletion"]);
        assert_eq!(split("tearDownStack"), ["teardown", "stack"]);
        assert_eq!(split("require2FA"), ["require", "2fa"]);
        assert_eq!(split("__schema"), ["schema"]);
        assert!(split("").is_empty());
        assert!(split(&"aB".repeat(5000)).len() <= MOST + 1);
    }
}
