//! MongoDB's messages as bytes: a head of four numbers, and a body; and the answer that is a refusal.
//!
//! Source: the manual of MongoDB 8.0, "MongoDB Wire Protocol"; BSON 1.1.

use agentbox_core::{Refusal, RefusalKind, safe};

/// Bytes before a message's body.
pub(super) const HEADER: usize = 16;

/// Longest message; the server's own bound (maxMessageSizeBytes).
const LONGEST: usize = 48_000_000;

/// Longest text of a refusal, in characters.
const LONGEST_TEXT: usize = 900;

/// Kinds of messages.
pub(super) const MESSAGE: u32 = 2013;
pub(super) const QUERY: u32 = 2004;
const REPLY: u32 = 1;

/// A message of which no answer is expected (`moreToCome`).
const MORE_TO_COME: u8 = 2;

/// Not authorised (error code 13): no driver tries that again.
const UNAUTHORIZED: i32 = 13;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a message's length is impossible")]
    Length,
    #[error("a message ends too soon")]
    Short,
    #[error("a message that a client may not send")]
    Kind,
}

impl From<Malformed> for std::io::Error {
    fn from(why: Malformed) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, why)
    }
}

/// The head of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Of the whole message, in bytes.
    pub(super) length: usize,
    /// The number that its sender gave it.
    pub(super) number: u32,
    /// The number of the message that it answers.
    pub(super) answers: u32,
    pub(super) kind: u32,
}

/// The head at the front of `bytes`; `None` where more is needed.
pub(super) fn head(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    let Some(front) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    let number = |at: usize| front.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes);
    let length = usize::try_from(number(0)).unwrap_or(usize::MAX);
    if !(HEADER..=LONGEST).contains(&length) {
        return Err(Malformed::Length);
    }
    Ok(Some(Head { length, number: number(4), answers: number(8), kind: number(12) }))
}

/// Whether the sender of a message waits for an answer. Compressed ones are taken to wait: the flag lies within.
pub(super) fn waits(kind: u32, body: &[u8]) -> bool {
    match kind {
        MESSAGE => body.first().is_none_or(|flags| flags & MORE_TO_COME == 0),
        // Writes of the old form, and the closing of cursors.
        2001 | 2002 | 2006 | 2007 => false,
        _ => true,
    }
}

/// A refusal, as the answer to a message of this number and kind.
pub(super) fn refused(number: u32, kind: u32, refusal: &Refusal) -> Vec<u8> {
    let word = match refusal.kind {
        RefusalKind::Pending => "held",
        RefusalKind::Denied | RefusalKind::Failed => "refused",
        RefusalKind::AlreadyDone => "done already",
    };
    let id = refusal.approval_id.as_deref().map_or_else(String::new, |id| format!(" [{id}]"));
    let place = if refusal.place.is_empty() { String::new() } else { format!(" in the place {}", refusal.place) };
    let text = format!("{word}: {}{id} ({}{place}). {} `agentbox why` tells more.", refusal.reason, refusal.operation, refusal.guidance);
    error(number, kind, &text)
}

/// Any other error of ours.
pub(super) fn error(number: u32, kind: u32, text: &str) -> Vec<u8> {
    let text = safe::line(&format!("agentbox: {text}"), LONGEST_TEXT);
    let mut fields = Vec::new();
    fields.extend_from_slice(b"\x01ok\0");
    fields.extend_from_slice(&0f64.to_le_bytes());
    for (name, value) in [("errmsg", text.as_str()), ("codeName", "Unauthorized")] {
        fields.push(2);
        fields.extend_from_slice(name.as_bytes());
        fields.push(0);
        fields.extend_from_slice(&u32::try_from(value.len() + 1).unwrap_or(0).to_le_bytes());
        fields.extend_from_slice(value.as_bytes());
        fields.push(0);
    }
    fields.extend_from_slice(b"\x10code\0");
    fields.extend_from_slice(&UNAUTHORIZED.to_le_bytes());
    let mut document = u32::try_from(fields.len() + 5).unwrap_or(0).to_le_bytes().to_vec();
    document.extend_from_slice(&fields);
    document.push(0);
    let (kind, body) = if kind == QUERY {
        // No flags, no cursor, from the first, one document.
        (REPLY, [&[0; 16][..], &1u32.to_le_bytes(), &document].concat())
    } else {
        (MESSAGE, [&[0; 5][..], &document].concat())
    };
    let length = u32::try_from(HEADER + body.len()).unwrap_or(0);
    [&length.to_le_bytes()[..], &[0; 4], &number.to_le_bytes(), &kind.to_le_bytes(), &body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meaning::sql;

    #[test]
    fn a_refusal_is_a_message_that_can_be_read() {
        for kind in [MESSAGE, QUERY, 2012] {
            let bytes = error(77, kind, "no\r\nmore");
            let head = head(&bytes).unwrap().unwrap();
            assert_eq!((head.length, head.answers), (bytes.len(), 77));
            assert_eq!(head.kind, if kind == QUERY { REPLY } else { MESSAGE });
            // The document is one that our own strict reader takes.
            let at = HEADER + if kind == QUERY { 20 } else { 5 };
            let again = [&[0; 5][..], &bytes[at..]].concat();
            let (operations, shown) = sql::mongo_message(MESSAGE, &again);
            assert!(shown.contains("Unauthorized") && shown.contains("agentbox: no"), "{shown} {operations:?}");
        }
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(head(&[15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(Malformed::Length));
        assert_eq!(head(&[0xff; 16]), Err(Malformed::Length));
        assert_eq!(head(&[16, 0, 0]), Ok(None));
        assert!(waits(MESSAGE, &[0, 0, 0, 0]) && !waits(MESSAGE, &[2, 0, 0, 0]) && !waits(2006, &[]));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120)) {
            let _ = head(&bytes);
            for kind in [MESSAGE, QUERY, 2012, 2001, 2007, 1] {
                let (operations, _) = sql::mongo_message(kind, &bytes);
                proptest::prop_assert!(!operations.is_empty());
            }
        }
    }
}
