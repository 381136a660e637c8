//! MySQL's packets as bytes: three bytes of length, a number, a body; and what stands in bodies.
//!
//! Source: MySQL 8.4 Source Code Documentation, "Client/Server Protocol"; MariaDB's knowledge base where it differs.

use bytes::Bytes;
use tokio::io::AsyncRead;

use crate::session::Reader;

/// Bytes before a packet's body.
pub(super) const HEADER: usize = 4;

/// A body of this length goes on in the next packet.
pub(super) const FULL: usize = 0xff_ffff;

/// Why bytes are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a packet is out of its order")]
    Order,
    #[error("a packet is longer than it may be")]
    Long,
    #[error("a packet ends too soon")]
    Short,
    #[error("a text in a packet does not end, or is no UTF-8")]
    Text,
    #[error("the protocol's version, or a part of it, is not spoken here")]
    Version,
    #[error("the server answered what is no answer")]
    Answer,
}

impl From<Malformed> for std::io::Error {
    fn from(why: Malformed) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, why)
    }
}

impl crate::session::NoMessage for Malformed {}

/// The head of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Of the body, in bytes.
    pub(super) length: usize,
    pub(super) number: u8,
}

impl Head {
    /// The whole packet's length in bytes.
    pub(super) fn whole(self) -> usize {
        HEADER + self.length
    }
}

/// The head at the front of `bytes`; `None` where more is needed.
pub(super) fn head(bytes: &[u8]) -> Option<Head> {
    let [a, b, c, number] = *bytes.first_chunk::<HEADER>()?;
    Some(Head { length: usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16, number })
}

/// The commands of what a client sent, each a packet of its own; and why what follows them is none.
pub(crate) fn commands(bytes: &[u8]) -> (Vec<&[u8]>, Option<Malformed>) {
    let (mut rest, mut found) = (bytes, Vec::new());
    // Each turn takes at least a packet's head.
    while !rest.is_empty() {
        let Some(head) = head(rest) else { return (found, Some(Malformed::Short)) };
        if head.number != 0 || head.length == FULL {
            return (found, Some(if head.number == 0 { Malformed::Long } else { Malformed::Order }));
        }
        let Some((packet, behind)) = rest.split_at_checked(head.whole()) else { return (found, Some(Malformed::Short)) };
        found.push(packet.get(HEADER..).unwrap_or_default());
        rest = behind;
    }
    (found, None)
}

/// A packet with its header. `body` is shorter than [`FULL`].
pub(super) fn packet(number: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(length.get(..3).unwrap_or_default());
    bytes.push(number);
    bytes.extend_from_slice(body);
    bytes
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// The next whole packet of at most `most` bytes, which is not a part of a longer one; `None` at the end.
    pub(super) async fn packet(&mut self, most: usize) -> std::io::Result<Option<(Head, Bytes)>> {
        loop {
            if let Some(head) = head(&self.buffer) {
                if head.length > most || head.length == FULL {
                    return Err(Malformed::Long.into());
                }
                if self.buffer.len() >= head.whole() {
                    let whole = self.take(head.whole());
                    return Ok(Some((head, whole.slice(HEADER..))));
                }
            }
            if self.more().await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(Malformed::Short.into()) };
            }
        }
    }
}

/// What is left of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'b>(pub(super) &'b [u8]);

impl<'b> Body<'b> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'b [u8], Malformed> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(front)
    }

    /// A number of up to eight bytes, the lowest first.
    pub(super) fn number(&mut self, bytes: usize) -> Result<u64, Malformed> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?.first().copied().unwrap_or(0))
    }

    /// A number that says its own length.
    pub(super) fn counted(&mut self) -> Result<u64, Malformed> {
        match self.byte()? {
            small @ 0..=0xfa => Ok(u64::from(small)),
            0xfc => self.number(2),
            0xfd => self.number(3),
            0xfe => self.number(8),
            0xfb | 0xff => Err(Malformed::Answer),
        }
    }

    /// Bytes that a number stands before.
    pub(super) fn bytes(&mut self) -> Result<&'b [u8], Malformed> {
        let length = usize::try_from(self.counted()?).map_err(|_| Malformed::Long)?;
        self.take(length)
    }

    /// Up to a zero byte, which goes too.
    pub(super) fn text(&mut self) -> Result<&'b [u8], Malformed> {
        let length = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed::Text)?;
        let text = self.take(length)?;
        self.take(1)?;
        Ok(text)
    }

    /// Up to a zero byte or the end.
    pub(super) fn last_text(&mut self) -> &'b [u8] {
        self.text().unwrap_or_else(|_| std::mem::take(&mut self.0))
    }
}

/// A number that says its own length.
pub(super) fn counted(number: usize) -> Vec<u8> {
    let all = u64::try_from(number).unwrap_or(u64::MAX).to_le_bytes();
    let (sign, count): (&[u8], usize) = match number {
        0..=0xfa => (&[], 1),
        0xfb..=0xffff => (&[0xfc], 2),
        0x1_0000..=0xff_ffff => (&[0xfd], 3),
        _ => (&[0xfe], 8),
    };
    [sign, all.get(..count).unwrap_or_default()].concat()
}

/// UTF-8, or nothing.
pub(super) fn utf8(text: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(text).map_err(|_| Malformed::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_say_their_length() {
        for number in [0, 0xfa, 0xfb, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000, usize::MAX] {
            let bytes = counted(number);
            let mut body = Body(&bytes);
            assert_eq!((body.counted(), body.0.len()), (Ok(number as u64), 0), "{number}");
        }
        assert_eq!(Body(&[0xfb]).counted(), Err(Malformed::Answer));
        assert_eq!(Body(&[5, 1, 2]).bytes(), Err(Malformed::Short));
    }

    #[test]
    fn commands_are_packets_that_begin_anew() {
        let two = [packet(0, b"\x03SELECT 1"), packet(0, b"\x01")].concat();
        assert_eq!(commands(&two), (vec![&b"\x03SELECT 1"[..], b"\x01"], None));
        for cut in 1..HEADER {
            assert_eq!(commands(&two[..two.len() - cut]).1, Some(Malformed::Short));
        }
        assert_eq!(commands(&packet(1, b"\x01")), (vec![], Some(Malformed::Order)));
        assert_eq!(commands(b"\xff\xff\xff\0"), (vec![], Some(Malformed::Long)));
    }

    proptest::proptest! {
        #[test]
        fn what_is_built_is_read_back(number in proptest::num::u8::ANY, body in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let bytes = packet(number, &body);
            proptest::prop_assert_eq!(head(&bytes), Some(Head { length: body.len(), number }));
            proptest::prop_assert_eq!(&bytes[HEADER..], &body[..]);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
            let mut body = Body(&bytes);
            let _ = (body.counted(), body.bytes(), body.text(), body.number(8), body.last_text());
        }
    }
}
