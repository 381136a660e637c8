//! What a card shows of a statement: its text without the secrets that it sets, and its values.

use agentbox_core::safe;

use super::{Locks, asking::LONGEST_SUMMARY};

/// Longest excerpt in bytes, and longest value in it.
const LONGEST_EXCERPT: usize = 4000;
const LONGEST_VALUE: usize = 60;
const MOST_VALUES: usize = 32;

/// Locks that a card names.
pub(crate) const MOST_LOCKS: usize = 12;

/// One value of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'b> {
    Null,
    Text(&'b [u8]),
    Binary(&'b [u8]),
}

/// Whether `text` has one of these words (in lower case), in any case.
pub(crate) fn has_words(text: &[u8], words: &[&str]) -> bool {
    text.split(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80))
        .any(|word| words.iter().any(|wanted| word.len() == wanted.len() && word.eq_ignore_ascii_case(wanted.as_bytes())))
}

/// The beginning of a statement, for the summary's one line.
pub(crate) fn line(text: &[u8]) -> String {
    // What is cut must not cut a password's beginning off its word.
    if text.len() > LONGEST_SUMMARY { shown(text) } else { masked(text) }
}

/// A statement for a card: without the secrets that it sets.
fn shown(text: &[u8]) -> String {
    masked(text.get(..text.len().min(LONGEST_EXCERPT)).unwrap_or_default())
}

fn masked(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text).into_owned();
    let begins = |word: &[u8], wanted: &[u8]| word.first().map(u8::to_ascii_lowercase) == wanted.first().copied();
    let find = |wanted: &[u8]| text.as_bytes().windows(wanted.len()).position(|word| begins(word, wanted) && word.eq_ignore_ascii_case(wanted));
    // ALTER ROLE … PASSWORD '…', CREATE USER MAPPING … OPTIONS (password '…'), CREATE USER … IDENTIFIED BY '…'.
    let Some(at) = [find(b"password"), find(b"identified")].into_iter().flatten().min() else { return text };
    let (before, after) = text.split_at_checked(at).unwrap_or((&text, ""));
    let mut pieces = after.split('\'');
    let mut masked = before.to_owned() + pieces.next().unwrap_or_default();
    for (index, piece) in pieces.enumerate() {
        masked.push('\'');
        masked.push_str(if index % 2 == 0 { "…" } else { piece });
    }
    masked
}

/// What the card shows: the statement, its values, and which locks are `held` meanwhile, as far as that is known.
pub(crate) fn excerpt(text: &[u8], values: &[Value<'_>], locks: Locks, held: &[String]) -> String {
    let mut shown = shown(text);
    for (index, value) in values.iter().take(MOST_VALUES).enumerate() {
        let value = match value {
            Value::Null => "NULL".to_owned(),
            Value::Text(value) => {
                format!("'{}'", safe::line(&String::from_utf8_lossy(value.get(..value.len().min(4 * LONGEST_VALUE)).unwrap_or_default()), LONGEST_VALUE))
            }
            Value::Binary(value) => {
                let first = value.iter().take(16).fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
                format!("{} bytes \\x{first}{}", value.len(), if value.len() > 16 { "…" } else { "" })
            }
        };
        shown.push_str(&format!("\n${} = {value}", index + 1));
    }
    if values.len() > MOST_VALUES {
        shown.push_str(&format!("\nand {} more values", values.len() - MOST_VALUES));
    }
    if let Locks::Held(longest) = locks {
        let named = held.iter().take(MOST_LOCKS).map(|lock| safe::line(lock, LONGEST_VALUE)).collect::<Vec<_>>().join(", ");
        let more = if held.len() > MOST_LOCKS { " and more" } else { "" };
        let of = if named.is_empty() { String::new() } else { format!(" on {named}{more}") };
        shown.push_str(&format!("\n(in an open transaction, whose locks{of} keep others waiting: rolled back after {} seconds)", longest.as_secs()));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown(b"ALTER ROLE u PASSWORD 'geheim' VALID UNTIL 'x'"), "ALTER ROLE u PASSWORD '…' VALID UNTIL '…'");
        assert_eq!(shown(b"CREATE USER u IDENTIFIED BY 'geheim'"), "CREATE USER u IDENTIFIED BY '…'");
        assert_eq!(shown(b"DELETE FROM t"), "DELETE FROM t");
    }

    #[test]
    fn values_are_shown_short() {
        let values = [Value::Text(b"42"), Value::Null, Value::Binary(&[1; 20])];
        let text = excerpt(b"DELETE FROM t WHERE id = $1", &values, Locks::Held(std::time::Duration::from_secs(20)), &["rows of app.t".to_owned()]);
        assert!(text.contains("$1 = '42'\n$2 = NULL\n$3 = 20 bytes \\x0101") && text.contains("locks on rows of app.t keep"), "{text}");
    }
}
