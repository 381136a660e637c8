//! A side's frames as pieces of messages: each at most one block, unmasked, in a state that a dropped read does not lose.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::frames::{self, End, From, Opcode};
use crate::meaning::MessageKind;

/// Longest piece; a frame up to this length is one piece.
pub(super) const BLOCK: usize = 64 << 10;

/// Read at once.
const READ: usize = 16 << 10;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A part of a message, or all of it.
    Data { kind: MessageKind, first: First, end: End, bytes: Bytes },
    /// As it came.
    Ping(Bytes),
    /// As it came.
    Pong(Bytes),
    /// The goodbye, its code and reason checked.
    Close(Bytes),
    /// The stream ended without one.
    Ended,
}

/// Whether a piece begins its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    Yes,
    No,
}

impl Piece {
    /// The opcode of a piece of a message.
    pub(super) fn opcode(kind: MessageKind, first: First) -> Opcode {
        match (first, kind) {
            (First::No, _) => Opcode::Continuation,
            (First::Yes, MessageKind::Text) => Opcode::Text,
            (First::Yes, MessageKind::Binary) => Opcode::Binary,
        }
    }
}

/// Why nothing more can be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not as the protocol says.
    #[error("{0}")]
    Malformed(&'static str),
}

/// A frame whose payload is being read.
#[derive(Debug)]
struct Frame {
    end: End,
    length: u64,
    left: u64,
    mask: Option<[u8; 4]>,
}

/// The reader.
#[derive(Debug)]
pub(super) struct Pieces<R> {
    reader: R,
    from: From,
    buffer: BytesMut,
    /// The message that has begun.
    message: Option<MessageKind>,
    first: First,
    frame: Option<Frame>,
}

impl<R: AsyncRead + Unpin> Pieces<R> {
    pub(super) fn new(reader: R, from: From) -> Self {
        Self { reader, from, buffer: BytesMut::new(), message: None, first: First::Yes, frame: None }
    }

    /// Whether a message has begun and not ended: nothing of our own may stand in it.
    pub(super) fn in_message(&self) -> bool {
        self.message.is_some()
    }

    /// Whether something has begun that must go on soon.
    pub(super) fn is_within(&self) -> bool {
        self.message.is_some() || !self.buffer.is_empty()
    }

    /// The next piece. Dropped half-way, nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Piece, Unread> {
        loop {
            if let Some(piece) = self.ready()? {
                return Ok(piece);
            }
            self.buffer.reserve(READ);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return if self.is_within() { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) } else { Ok(Piece::Ended) };
            }
        }
    }

    /// What is whole in the buffer.
    fn ready(&mut self) -> Result<Option<Piece>, Unread> {
        if self.frame.is_none() {
            let Some((head, used)) = frames::read(&self.buffer, self.from).map_err(Unread::Malformed)? else { return Ok(None) };
            if head.opcode.is_control() {
                let length = usize::try_from(head.length).unwrap_or(usize::MAX);
                if self.buffer.len().saturating_sub(used) < length {
                    return Ok(None);
                }
                self.buffer.advance(used);
                let mut payload = self.buffer.split_to(length);
                if let Some(mask) = head.mask {
                    frames::unmask(&mut payload, mask, 0);
                }
                return control(head.opcode, payload.freeze()).map(Some);
            }
            self.message = match (head.opcode, self.message) {
                (Opcode::Continuation, Some(kind)) => Some(kind),
                (Opcode::Text, None) => Some(MessageKind::Text),
                (Opcode::Binary, None) => Some(MessageKind::Binary),
                (Opcode::Continuation, None) => return Err(Unread::Malformed("a continuation of nothing")),
                _ => return Err(Unread::Malformed("a new message within another")),
            };
            self.buffer.advance(used);
            self.frame = Some(Frame { end: head.end, length: head.length, left: head.length, mask: head.mask });
        }
        let (Some(frame), Some(kind)) = (&mut self.frame, self.message) else { return Ok(None) };
        let length = usize::try_from(frame.left).unwrap_or(usize::MAX).min(BLOCK);
        if self.buffer.len() < length {
            return Ok(None);
        }
        let mut bytes = self.buffer.split_to(length);
        if let Some(mask) = frame.mask {
            frames::unmask(&mut bytes, mask, frame.length - frame.left);
        }
        frame.left -= length as u64;
        let ended = frame.left == 0;
        let end = if ended { frame.end } else { End::More };
        if ended {
            self.frame = None;
        }
        let first = std::mem::replace(&mut self.first, First::No);
        if end == End::Last {
            self.message = None;
            self.first = First::Yes;
        }
        Ok(Some(Piece::Data { kind, first, end, bytes: bytes.freeze() }))
    }
}

fn control(opcode: Opcode, payload: Bytes) -> Result<Piece, Unread> {
    match opcode {
        Opcode::Ping => Ok(Piece::Ping(payload)),
        Opcode::Pong => Ok(Piece::Pong(payload)),
        Opcode::Close => match payload.split_first_chunk::<2>() {
            None if payload.is_empty() => Ok(Piece::Close(payload)),
            // Section 7.4: what stands for something that was never sent is not sent.
            Some((code, reason)) if matches!(u16::from_be_bytes(*code), 1000..=1003 | 1007..=1014 | 3000..=4999) && std::str::from_utf8(reason).is_ok() => {
                Ok(Piece::Close(payload))
            }
            Some(_) | None => Err(Unread::Malformed("a goodbye whose code or reason is none")),
        },
        Opcode::Continuation | Opcode::Text | Opcode::Binary => Err(Unread::Malformed("a frame of an unknown kind")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads all that is in `bytes`, which come in parts of these lengths.
    fn read_all(bytes: &[u8], from: From, parts: &[usize]) -> Result<Vec<Piece>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (mut near, far) = tokio::io::duplex(1 << 22);
            let mut pieces = Pieces::new(far, from);
            let mut all = Vec::new();
            let mut rest = bytes;
            let mut cut = parts.iter().cycle();
            loop {
                let length = cut.next().copied().unwrap_or(usize::MAX).clamp(1, rest.len().max(1)).min(rest.len());
                let (front, back) = rest.split_at(length);
                tokio::io::AsyncWriteExt::write_all(&mut near, front).await.unwrap();
                rest = back;
                // A read that is dropped half-way loses nothing.
                while let Ok(next) = tokio::time::timeout(std::time::Duration::ZERO, pieces.next()).await {
                    all.push(next.map_err(|error| error.to_string())?);
                }
                if rest.is_empty() {
                    drop(near);
                    loop {
                        match pieces.next().await.map_err(|error| error.to_string())? {
                            Piece::Ended => return Ok(all),
                            piece => all.push(piece),
                        }
                    }
                }
            }
        })
    }

    fn frame(opcode: Opcode, end: End, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frames::write(&mut out, opcode, end, payload, Some([1, 2, 3, 4]));
        out
    }

    #[test]
    fn pieces_of_a_message_with_a_ping_between_them() {
        let bytes = [
            frame(Opcode::Text, End::More, b"Hel"),
            frame(Opcode::Ping, End::Last, b"?"),
            frame(Opcode::Continuation, End::Last, b"lo"),
            frame(Opcode::Close, End::Last, b"\x03\xe8bye"),
        ]
        .concat();
        let all = read_all(&bytes, From::Client, &[usize::MAX]).unwrap();
        let kind = MessageKind::Text;
        assert_eq!(
            all,
            [
                Piece::Data { kind, first: First::Yes, end: End::More, bytes: "Hel".into() },
                Piece::Ping("?".into()),
                Piece::Data { kind, first: First::No, end: End::Last, bytes: "lo".into() },
                Piece::Close(Bytes::from_static(b"\x03\xe8bye")),
            ]
        );
    }

    #[test]
    fn what_is_no_conversation_is_refused() {
        for (bytes, word) in [
            (frame(Opcode::Continuation, End::Last, b"x"), "continuation of nothing"),
            ([frame(Opcode::Text, End::More, b"x"), frame(Opcode::Text, End::Last, b"x")].concat(), "within another"),
            (frame(Opcode::Close, End::Last, b"\x03"), "goodbye"),
            (frame(Opcode::Close, End::Last, b"\x03\xed"), "goodbye"),
            (frame(Opcode::Close, End::Last, b"\x03\xe8\xff"), "goodbye"),
            (frame(Opcode::Text, End::More, b"x"), "end of file"),
            (frame(Opcode::Text, End::Last, b"xyz")[..5].to_vec(), "end of file"),
        ] {
            let error = read_all(&bytes, From::Client, &[usize::MAX]).unwrap_err();
            assert!(error.contains(word), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn a_long_frame_comes_in_blocks_and_a_short_one_whole() {
        let long = vec![7; 3 * BLOCK + 5];
        let all = read_all(&frame(Opcode::Binary, End::Last, &long), From::Client, &[10_000]).unwrap();
        let lengths: Vec<usize> = all.iter().map(|piece| if let Piece::Data { bytes, .. } = piece { bytes.len() } else { 0 }).collect();
        assert_eq!(lengths, [BLOCK, BLOCK, BLOCK, 5]);
        assert_eq!(read_all(&frame(Opcode::Binary, End::Last, &long[..BLOCK]), From::Client, &[1000]).unwrap().len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(120))]
        #[test]
        fn how_the_bytes_are_cut_changes_nothing(
            messages in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..4), 1..5),
            parts in proptest::collection::vec(1usize..90, 1..20),
        ) {
            let mut bytes = Vec::new();
            for message in &messages {
                for (at, part) in message.iter().enumerate() {
                    let opcode = if at == 0 { Opcode::Binary } else { Opcode::Continuation };
                    bytes.extend(frame(opcode, if at + 1 == message.len() { End::Last } else { End::More }, part));
                }
            }
            let mut whole = vec![Vec::new()];
            for piece in read_all(&bytes, From::Client, &parts).unwrap() {
                let Piece::Data { end, bytes, .. } = piece else { panic!("only data was sent") };
                whole.last_mut().unwrap().extend_from_slice(&bytes);
                if end == End::Last {
                    whole.push(Vec::new());
                }
            }
            whole.pop();
            prop_assert_eq!(whole, messages.iter().map(|message| message.concat()).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_all(&bytes, From::Client, &[7]);
            let _ = read_all(&bytes, From::Server, &[50]);
        }
    }
}
