//! What a command is to the session, by its first words; and how it is shown to people, without the secrets in it.

use std::borrow::Cow;

use agentbox_core::safe;

use super::session::{Awaited, Channels};

/// Longest word that is shown, in characters, and most words.
const LONGEST_SHOWN: usize = 60;
const MOST_SHOWN: usize = 12;

/// Commands whose last word is a value that is kept as it is: however long, it chooses nothing.
const WITH_VALUE: &[&str] =
    &["append", "getset", "hset", "hsetnx", "lpush", "lpushx", "psetex", "publish", "rpush", "rpushx", "sadd", "set", "setex", "setnx", "setrange", "spublish"];

/// What a command is to the session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'w> {
    /// Judged, and sent on.
    Judged(Awaited),
    /// `EXEC`: what was gathered is judged.
    Exec,
    /// Ends a transaction without doing it.
    Undo(Awaited),
    /// The client shows a credential: whose, the server's default user's where none is named, and which.
    Login(Option<&'w [u8]>, &'w [u8]),
    /// A script by its digest.
    ByDigest(&'w [u8]),
    /// The last one.
    Quit,
    /// Not spoken here, and why.
    NotSpoken(&'static str),
}

impl<'w> Command<'w> {
    pub(super) fn of(words: &[&'w [u8]]) -> Self {
        let word = |index: usize| words.get(index).copied().unwrap_or_default();
        let lower = name(words);
        let channels = |count: usize| u64::try_from(count.saturating_sub(1)).unwrap_or(u64::MAX);
        let subscribe = |kind| Command::Judged(if words.len() < 2 { Awaited::Plain(1) } else { Awaited::Subscribe(kind, channels(words.len())) });
        let unsubscribe = |kind| Command::Judged(Awaited::Unsubscribe(kind, (words.len() > 1).then(|| channels(words.len()))));
        match lower.as_ref() {
            "multi" | "exec" | "discard" | "reset" if words.len() > 1 => Command::NotSpoken("this command takes no words"),
            "multi" => Command::Judged(Awaited::Multi),
            "exec" => Command::Exec,
            "discard" => Command::Undo(Awaited::Discard),
            "reset" => Command::Undo(Awaited::Reset),
            "select" => Command::Judged(Awaited::Select(if words.len() == 2 { canonical(word(1)) } else { None })),
            "subscribe" => subscribe(Channels::Plain),
            "psubscribe" => subscribe(Channels::Patterns),
            "ssubscribe" => subscribe(Channels::Shards),
            "unsubscribe" => unsubscribe(Channels::Plain),
            "punsubscribe" => unsubscribe(Channels::Patterns),
            "sunsubscribe" => unsubscribe(Channels::Shards),
            "monitor" => Command::Judged(Awaited::Monitor),
            "quit" => Command::Quit,
            "auth" if words.len() == 2 => Command::Login(None, word(1)),
            "auth" => Command::Login(Some(word(1)), word(2)),
            "hello" => match words.iter().position(|word| word.eq_ignore_ascii_case(b"auth")) {
                Some(at) => Command::Login(Some(word(at + 1)), word(at + 2)),
                None => Command::Judged(Awaited::Plain(1)),
            },
            "evalsha" => Command::ByDigest(word(1)),
            "sync" | "psync" | "replconf" => Command::NotSpoken("replication is not spoken through the box: it hands out the whole of the data"),
            "client" if word(1).eq_ignore_ascii_case(b"reply") && !word(2).eq_ignore_ascii_case(b"on") => {
                Command::NotSpoken("answers cannot be switched off: a refusal would have no place")
            }
            _ => Command::Judged(Awaited::Plain(1)),
        }
    }
}

/// The command's name in lower case.
pub(super) fn name<'w>(words: &[&'w [u8]]) -> Cow<'w, str> {
    let first = words.first().copied().unwrap_or_default();
    match String::from_utf8_lossy(first) {
        Cow::Borrowed(text) if !text.bytes().any(|byte| byte.is_ascii_uppercase()) => Cow::Borrowed(text),
        text => Cow::Owned(text.to_ascii_lowercase()),
    }
}

/// Whether a command whose last word is long may be judged without it.
pub(super) fn ends_in_value(words: &[&[u8]]) -> bool {
    WITH_VALUE.binary_search(&name(words).as_ref()).is_ok()
}

/// A number as the server reads one.
fn canonical(digits: &[u8]) -> Option<u32> {
    let is_plain = digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits.first() != Some(&b'0'));
    std::str::from_utf8(digits).ok().filter(|_| is_plain)?.parse().ok()
}

/// A command as people read it.
pub(super) fn shown(words: &[&[u8]]) -> String {
    let command = name(words);
    let is = |index: Option<usize>, wanted: &[&str]| {
        index.and_then(|index| words.get(index)).is_some_and(|word| wanted.iter().any(|wanted| word.eq_ignore_ascii_case(wanted.as_bytes())))
    };
    let is_secret = |index: usize, word: &[u8]| match command.as_ref() {
        "auth" => index > 0 && index + 1 == words.len(),
        "hello" | "migrate" => is(index.checked_sub(1), &["auth"]) && command == "migrate" || is(index.checked_sub(2), &["auth", "auth2"]),
        "acl" => index > 2 && matches!(word.first(), Some(b'>' | b'<' | b'#' | b'!')),
        "config" => is(index.checked_sub(1), &["requirepass", "masterauth", "primaryauth", "tls-key-file-pass", "tls-client-key-file-pass"]),
        "eval" | "function" | "script" => false,
        _ => false,
    };
    let is_script = matches!(command.as_ref(), "eval" | "eval_ro" | "function" | "script");
    let mut shown = Vec::new();
    for (index, word) in words.iter().enumerate().take(MOST_SHOWN) {
        if is_secret(index, word) {
            shown.push("…".to_owned());
            continue;
        }
        let most = if is_script { 40 * LONGEST_SHOWN } else { LONGEST_SHOWN };
        let text = safe::line(&String::from_utf8_lossy(word.get(..word.len().min(4 * most)).unwrap_or_default()), most);
        shown.push(if text.is_empty() || text.contains([' ', '"']) { format!("{text:?}") } else { text });
    }
    if words.len() > MOST_SHOWN {
        shown.push(format!("and {} more words", words.len() - MOST_SHOWN));
    }
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<&[u8]> {
        text.split(' ').map(str::as_bytes).collect()
    }

    #[test]
    fn the_list_is_sorted() {
        assert!(WITH_VALUE.is_sorted());
    }

    #[test]
    fn a_command_is_told_by_its_first_words() {
        for (text, command) in [
            ("get x", Command::Judged(Awaited::Plain(1))),
            ("Multi", Command::Judged(Awaited::Multi)),
            ("EXEC", Command::Exec),
            ("select 12", Command::Judged(Awaited::Select(Some(12)))),
            ("SELECT 012", Command::Judged(Awaited::Select(None))),
            ("SUBSCRIBE a b", Command::Judged(Awaited::Subscribe(Channels::Plain, 2))),
            ("subscribe", Command::Judged(Awaited::Plain(1))),
            ("PUNSUBSCRIBE", Command::Judged(Awaited::Unsubscribe(Channels::Patterns, None))),
            ("AUTH secret", Command::Login(None, b"secret")),
            ("HELLO 3 AUTH u secret SETNAME x", Command::Login(Some(b"u"), b"secret")),
            ("HELLO 3", Command::Judged(Awaited::Plain(1))),
        ] {
            assert_eq!(Command::of(&of(text)), command, "{text}");
        }
        for text in ["PSYNC ? -1", "client reply OFF", "CLIENT REPLY skip", "EXEC now", "MULTI 1"] {
            assert!(matches!(Command::of(&of(text)), Command::NotSpoken(_)), "{text}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        for (text, wanted) in [
            ("AUTH u geheim", "AUTH u …"),
            ("HELLO 3 AUTH u geheim SETNAME x", "HELLO 3 AUTH u … SETNAME x"),
            ("ACL SETUSER u on >geheim ~* +@all", "ACL SETUSER u on … ~* +@all"),
            ("CONFIG SET requirepass geheim", "CONFIG SET requirepass …"),
            ("MIGRATE h 1 k 0 5 AUTH geheim", "MIGRATE h 1 k 0 5 AUTH …"),
            ("MIGRATE h 1 k 0 5 AUTH2 u geheim", "MIGRATE h 1 k 0 5 AUTH2 u …"),
            ("SET k v", "SET k v"),
        ] {
            assert_eq!(shown(&of(text)), wanted);
        }
        assert!(shown(&[b"SET", b"k", &[b'x'; 5000]]).len() < 200);
    }
}
