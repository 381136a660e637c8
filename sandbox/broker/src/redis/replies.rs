//! What a server answers: only where each answer begins and ends, and the little of it that says what a session is. Nothing is gathered.
//!
//! Source: the specifications of RESP2 and RESP3. The streamed types, which no server sends, are no answers here.

use super::commands::Malformed;

/// How deep answers lie in answers; those of `COMMAND DOCS` lie ten deep.
const DEEPEST: usize = 64;

/// Longest line: an error, a status, a number.
const LONGEST_LINE: usize = 256 << 10;

/// How much of each of the first elements is kept.
const KEPT: usize = 32;

/// Longest part of a line that is kept.
const LONGEST_KEPT: usize = 512;

/// Elements of which something is kept: what is published says in the first what it is, and in the third how many subscriptions there are.
const MOST_KEPT: usize = 3;

/// What is kept of one whole answer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// Its first byte.
    pub(super) kind: u8,
    /// The rest of its first line.
    pub(super) line: Vec<u8>,
    /// The beginnings of its first elements.
    pub(super) elements: [Vec<u8>; MOST_KEPT],
}

/// A piece of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// In bytes.
    pub(super) length: usize,
    /// Whether an answer ends with it: then [`Scanner::reply`] tells which.
    pub(super) ends: bool,
}

#[derive(Debug)]
struct Frame {
    left: u64,
    /// What is told of the answer that comes after it.
    is_attribute: bool,
}

/// Follows a server's stream.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    stack: Vec<Frame>,
    /// Bytes of a bulk string that are missing, with its end.
    skip: u64,
    /// Which element of the whole answer it is in.
    index: usize,
    reply: Reply,
}

impl Scanner {
    /// The answer that has ended last.
    pub(super) fn reply(&self) -> &Reply {
        &self.reply
    }

    /// The next piece at the front of `bytes`; `None` where more must be read.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Option<Piece>, Malformed> {
        if bytes.is_empty() {
            return Ok(None);
        }
        if self.skip > 0 {
            let length = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            // Without its end, which may be cut.
            let content = usize::try_from(self.skip - self.skip.min(2)).unwrap_or(usize::MAX).min(length);
            self.keep(bytes.get(..content).unwrap_or_default());
            self.skip -= length as u64;
            let ends = self.skip == 0 && self.done();
            return Ok(Some(Piece { length, ends }));
        }
        let Some(end) = bytes.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n') else {
            return if bytes.len() >= LONGEST_LINE { Err(Malformed::Answer) } else { Ok(None) };
        };
        let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Malformed::Answer)?;
        let (kind, rest) = line.split_first().ok_or(Malformed::Answer)?;
        if self.stack.is_empty() && *kind != b'|' {
            self.begin(*kind, rest);
        }
        let ends = self.line(*kind, rest)?;
        Ok(Some(Piece { length: end + 1, ends }))
    }

    fn begin(&mut self, kind: u8, rest: &[u8]) {
        self.reply.kind = kind;
        self.reply.line.clear();
        self.reply.line.extend_from_slice(rest.get(..rest.len().min(LONGEST_KEPT)).unwrap_or_default());
        for element in &mut self.reply.elements {
            element.clear();
        }
        self.index = 0;
    }

    fn line(&mut self, kind: u8, rest: &[u8]) -> Result<bool, Malformed> {
        match kind {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => {
                self.keep(rest);
                Ok(self.done())
            }
            b'$' | b'!' | b'=' => match count(rest)? {
                None => Ok(self.done()),
                Some(length) => {
                    self.skip = length + 2;
                    Ok(false)
                }
            },
            b'*' | b'~' | b'>' | b'%' | b'|' => {
                let each = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
                let is_attribute = kind == b'|';
                match count(rest)?.map(|count| count * each) {
                    None | Some(0) if is_attribute => Ok(false),
                    None | Some(0) => Ok(self.done()),
                    Some(_) if self.stack.len() >= DEEPEST => Err(Malformed::Answer),
                    Some(left) => {
                        self.stack.push(Frame { left, is_attribute });
                        Ok(false)
                    }
                }
            }
            _ => Err(Malformed::Answer),
        }
    }

    /// Keeps the beginning of an element of the whole answer.
    fn keep(&mut self, bytes: &[u8]) {
        if !matches!(self.stack.as_slice(), [Frame { is_attribute: false, .. }]) {
            return;
        }
        if let Some(element) = self.reply.elements.get_mut(self.index) {
            let room = KEPT.saturating_sub(element.len()).min(bytes.len());
            element.extend_from_slice(bytes.get(..room).unwrap_or_default());
        }
    }

    /// An element has ended; whether the whole answer has.
    fn done(&mut self) -> bool {
        // Each turn takes a frame of at most DEEPEST.
        loop {
            if self.stack.len() == 1 {
                self.index += 1;
            }
            let Some(frame) = self.stack.last_mut() else { return true };
            frame.left -= 1;
            if frame.left > 0 {
                return false;
            }
            let was_attribute = frame.is_attribute;
            self.stack.pop();
            if was_attribute {
                return false;
            }
        }
    }
}

/// A length; `None` is null.
fn count(digits: &[u8]) -> Result<Option<u64>, Malformed> {
    if digits == b"-1" {
        return Ok(None);
    }
    if digits.is_empty() || digits.len() > 12 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed::Answer);
    }
    Ok(Some(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kinds of whole answers, and what they began with.
    fn all(bytes: &[u8], cut: usize) -> Result<Vec<(char, String, [String; 3])>, Malformed> {
        let (mut scanner, mut buffer, mut found) = (Scanner::default(), Vec::new(), Vec::new());
        for piece in bytes.chunks(cut) {
            buffer.extend_from_slice(piece);
            while let Some(piece) = scanner.next(&buffer)? {
                assert!(piece.length > 0 && piece.length <= buffer.len());
                drop(buffer.drain(..piece.length));
                if piece.ends {
                    let reply = scanner.reply();
                    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
                    found.push((char::from(reply.kind), text(&reply.line), [0, 1, 2].map(|index| text(&reply.elements[index]))));
                }
            }
        }
        Ok(found)
    }

    #[test]
    fn every_kind_of_answer_ends_where_it_ends() {
        let stream = b"+OK\r\n-ERR no\r\n:-7\r\n$5\r\nhe\r\no\r\n$-1\r\n*-1\r\n*0\r\n_\r\n#t\r\n,1.5\r\n(123\r\n!3\r\nERR\r\n=7\r\ntxt:abc\r\n\
            *3\r\n$7\r\nmessage\r\n+chan\r\n:2\r\n%1\r\n+a\r\n*2\r\n:1\r\n*1\r\n:2\r\n~1\r\n:1\r\n>2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n|1\r\n+ttl\r\n:3\r\n$1\r\nx\r\n*2\r\n|1\r\n+a\r\n:1\r\n:5\r\n:6\r\n";
        let kinds = "+-:$$**_#,(!=*%~>$*";
        for cut in 1..stream.len() {
            let found = all(stream, cut).unwrap();
            assert_eq!(found.iter().map(|(kind, ..)| *kind).collect::<String>(), kinds, "{cut}");
            assert_eq!(found[13].2, ["message", "chan", "2"].map(str::to_owned));
            assert_eq!(found[16].2[0], "invalidate");
            assert_eq!(found[18].2, ["5", "6", ""].map(str::to_owned));
        }
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for bytes in [&b"?\r\n"[..], b"$?\r\n", b"*-2\r\n", b"\r\n", b"+OK\n", b"*9999999999999\r\n"] {
            assert!(all(bytes, 100).is_err(), "{bytes:?}");
        }
        let deep = b"*1\r\n".repeat(DEEPEST + 1);
        assert_eq!(all(&deep, 100), Err(Malformed::Answer));
        assert_eq!(all(&vec![b'+'; LONGEST_LINE], 1 << 20), Err(Malformed::Answer));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_followed_or_refused(bytes in proptest::collection::vec(proptest::sample::select(b"*$+-:>%|~_0123\r\n".to_vec()), 0..200), cut in 1usize..20) {
            let whole = all(&bytes, bytes.len().max(1));
            let pieces = all(&bytes, cut);
            if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
                proptest::prop_assert_eq!(whole, pieces);
            }
        }
    }
}
