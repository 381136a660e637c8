//! What a client sends: arrays of bulk strings, and the inline form that people type. Parsed to the last byte, in pieces as they come.
//!
//! Source: Redis 7.4, `networking.c`. The server is laxer (it does not look at line feeds); what is laxer than this is no command here.

use std::ops::Range;

use crate::{meaning::sql, session::LONGEST_WHOLE};

/// Most words of one command; the server's own bound.
const MOST_WORDS: usize = 1024 * 1024;

/// Longest word; the server's own bound (`proto-max-bulk-len`).
const LONGEST_WORD: usize = 512 << 20;

/// Longest line: an inline command (PROTO_INLINE_MAX_SIZE), or a number.
const LONGEST_LINE: usize = 64 << 10;

/// A last word beyond this length is a value that may be sent on as it comes.
pub(super) const LONG_VALUE: usize = 1 << 20;

/// Why bytes are no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a line does not end")]
    Endless,
    #[error("a length is no number")]
    Number,
    #[error("a command has more words, or a longer one, than a server takes")]
    Long,
    #[error("a word does not end where it says")]
    End,
    #[error("quotes do not pair")]
    Quotes,
    #[error("the server answered what is no answer")]
    Answer,
}

impl From<Malformed> for std::io::Error {
    fn from(why: Malformed) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, why)
    }
}

impl crate::session::NoMessage for Malformed {}

/// What stands at the front of what was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// More must be read.
    More,
    /// So many bytes that mean nothing.
    Nothing(usize),
    /// An array: its length in bytes, and where its words are.
    Array(usize, Vec<Range<usize>>),
    /// A line: its length in bytes, and its words.
    Line(usize, Vec<Vec<u8>>),
    /// All but the last word, which is long.
    Long(Long),
}

/// A command of which one word is too long to be gathered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Long {
    /// Bytes up to the word.
    pub(super) head: usize,
    /// The words before it.
    pub(super) words: Vec<Range<usize>>,
    /// The word's length in bytes.
    pub(super) value: usize,
    /// How many words come after it.
    pub(super) after: usize,
}

/// Reads commands. What was read of one is not read again when more of it comes.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    at: usize,
    /// Words of the array that are missing; `None` before its first line.
    left: Option<usize>,
    words: Vec<Range<usize>>,
    /// The command at hand is gathered, though a value of it is long.
    gathers: bool,
}

impl Decoder {
    /// The command that was told as long is read once more, to be gathered up to the bound.
    pub(super) fn gather(&mut self) {
        self.gathers = true;
    }

    /// Looks at all that was read and not taken yet. Once something is found, the caller takes it off the front.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Found, Malformed> {
        let mut left = match (self.left, bytes.first()) {
            (Some(left), _) => left,
            (None, None) => return Ok(Found::More),
            (None, Some(b'*')) => {
                let Some((count, next)) = number(bytes, 0, b'*')? else { return Ok(Found::More) };
                if count > MOST_WORDS {
                    return Err(Malformed::Long);
                }
                if count == 0 {
                    return Ok(Found::Nothing(next));
                }
                self.at = next;
                count
            }
            (None, Some(_)) => return inline(bytes),
        };
        // Each turn takes a word of at most MOST_WORDS.
        while left > 0 {
            self.left = Some(left);
            let Some((length, from)) = number(bytes, self.at, b'$')? else { return Ok(Found::More) };
            if length > LONGEST_WORD {
                return Err(Malformed::Long);
            }
            let to = from + length;
            if to + 2 > LONGEST_WHOLE || left == 1 && length > LONG_VALUE && !self.words.is_empty() && !self.gathers {
                let words = std::mem::take(self).words;
                return Ok(Found::Long(Long { head: from, words, value: length, after: left - 1 }));
            }
            match bytes.get(to..to + 2) {
                None => return Ok(Found::More),
                Some(b"\r\n") => {}
                Some(_) => return Err(Malformed::End),
            }
            self.words.push(from..to);
            self.at = to + 2;
            left -= 1;
        }
        let Decoder { at, words, .. } = std::mem::take(self);
        Ok(Found::Array(at, words))
    }
}

/// A line that says a number, and where the next one begins; `None` where it is not there yet.
pub(super) fn number(bytes: &[u8], at: usize, sign: u8) -> Result<Option<(usize, usize)>, Malformed> {
    let rest = bytes.get(at..).unwrap_or_default();
    let shown = rest.get(..rest.len().min(LONGEST_LINE)).unwrap_or_default();
    let Some(end) = shown.iter().take(24).position(|byte| *byte == b'\n') else {
        return if shown.len() >= 24 { Err(Malformed::Number) } else { Ok(None) };
    };
    let line = shown.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Malformed::End)?;
    let digits = line.strip_prefix(&[sign]).ok_or(Malformed::Number)?;
    let is_plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits.first() != Some(&b'0'));
    let number = std::str::from_utf8(digits).ok().filter(|_| is_plain).and_then(|digits| digits.parse().ok()).ok_or(Malformed::Number)?;
    Ok(Some((number, at + end + 1)))
}

fn inline(bytes: &[u8]) -> Result<Found, Malformed> {
    let shown = bytes.get(..bytes.len().min(LONGEST_LINE)).unwrap_or_default();
    let Some(end) = shown.iter().position(|byte| *byte == b'\n') else {
        return if shown.len() >= LONGEST_LINE { Err(Malformed::Endless) } else { Ok(Found::More) };
    };
    let line = shown.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let words = sql::redis_words(line).ok_or(Malformed::Quotes)?;
    Ok(if words.is_empty() { Found::Nothing(end + 1) } else { Found::Line(end + 1, words) })
}

/// Most commands of what is read whole.
const MOST_COMMANDS: usize = 10_000;

/// The commands of bytes that are all there, each as its words.
pub(crate) fn whole(bytes: &[u8]) -> Result<Vec<Vec<Vec<u8>>>, Malformed> {
    let (mut rest, mut found, mut decoder, mut gathers) = (bytes, Vec::new(), Decoder::default(), false);
    // Each turn takes at least a byte, or gathers what was told as long.
    while !rest.is_empty() {
        let taken = match decoder.read(rest)? {
            Found::More => return Err(Malformed::End),
            Found::Nothing(length) => length,
            Found::Array(length, words) => {
                found.push(words.into_iter().map(|word| rest.get(word).unwrap_or_default().to_vec()).collect());
                length
            }
            Found::Line(length, words) => {
                found.push(words);
                length
            }
            Found::Long(_) if gathers => return Err(Malformed::Long),
            Found::Long(_) => {
                gathers = true;
                decoder.gather();
                continue;
            }
        };
        if found.len() > MOST_COMMANDS {
            return Err(Malformed::Long);
        }
        gathers = false;
        rest = rest.get(taken..).unwrap_or_default();
    }
    Ok(found)
}

/// A command as an array.
pub(crate) fn array(words: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.as_ref().len()).as_bytes());
        bytes.extend_from_slice(word.as_ref());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], cut: usize) -> Result<Vec<Vec<Vec<u8>>>, Malformed> {
        let (mut decoder, mut buffer, mut found) = (Decoder::default(), Vec::new(), Vec::new());
        for piece in bytes.chunks(cut) {
            buffer.extend_from_slice(piece);
            loop {
                match decoder.read(&buffer)? {
                    Found::More => break,
                    Found::Nothing(length) => drop(buffer.drain(..length)),
                    Found::Array(length, words) => {
                        found.push(words.into_iter().map(|word| buffer[word].to_vec()).collect());
                        drop(buffer.drain(..length));
                    }
                    Found::Line(length, words) => {
                        found.push(words);
                        drop(buffer.drain(..length));
                    }
                    Found::Long(long) => panic!("{long:?}"),
                }
            }
        }
        Ok(found)
    }

    #[test]
    fn strict_where_the_server_is_lax() {
        for (bytes, why) in [
            (&b"*1\rX$4\r\nPING\r\n"[..], Malformed::Number),
            (b"*1\r\n$4\r\nPINGXX", Malformed::End),
            (b"*1\r\n$04\r\nPING\r\n", Malformed::Number),
            (b"*01\r\n$4\r\nPING\r\n", Malformed::Number),
            (b"*-1\r\n", Malformed::Number),
            (b"*+1\r\n", Malformed::Number),
            (b"*1\r\n$-1\r\n", Malformed::Number),
            (b"*1\r\n:4\r\nPING\r\n", Malformed::Number),
            (b"*1\n$4\nPING\n", Malformed::End),
            (b"*1048577\r\n", Malformed::Long),
            (b"*1\r\n$536870913\r\n", Malformed::Long),
            (b"*111111111111111111111111111", Malformed::Number),
            (b"SET a \"b\r\n", Malformed::Quotes),
        ] {
            assert_eq!(all(bytes, bytes.len()), Err(why), "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(all(&[b'a'; LONGEST_LINE], 4096), Err(Malformed::Endless));
        assert_eq!(
            all(b"\r\n*0\r\nSET a \"x\\x00y\"\r\n  \nPING\n", 3),
            Ok(vec![vec![b"SET".to_vec(), b"a".to_vec(), b"x\0y".to_vec()], vec![b"PING".to_vec()]])
        );
    }

    #[test]
    fn what_is_all_there_is_read_as_what_comes() {
        assert_eq!(whole(b"*1\r\n$4\r\nPING\r\n\r\nGET a\n"), Ok(vec![vec![b"PING".to_vec()], vec![b"GET".to_vec(), b"a".to_vec()]]));
        let long = array(&[&b"SET"[..], b"k", &vec![b'x'; 2 * LONG_VALUE]]);
        assert_eq!(whole(&long).unwrap()[0][2].len(), 2 * LONG_VALUE);
        assert_eq!(whole(&long[..long.len() - 1]), Err(Malformed::End));
        assert_eq!(whole(b"*1\r\n$4\r\nPING"), Err(Malformed::End));
        assert_eq!(whole(b""), Ok(vec![]));
    }

    #[test]
    fn a_long_value_is_told_before_it_is_there() {
        let head = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2000000\r\n";
        let Found::Long(long) = Decoder::default().read(head).unwrap() else { panic!("it is long") };
        assert_eq!((long.head, long.value, long.after, long.words.len()), (head.len(), 2_000_000, 0, 2));
        // One that others follow is gathered up to the bound.
        let head = b"*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$2000000\r\n";
        assert_eq!(Decoder::default().read(head), Ok(Found::More));
        let head = b"*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$20000000\r\n";
        assert!(matches!(Decoder::default().read(head), Ok(Found::Long(Long { after: 2, .. }))));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::sample::select(b"*$0123456789\r\nabc \"'\\".to_vec()), 0..200), cut in 1usize..20) {
            let _ = all(&bytes, cut);
        }

        #[test]
        fn what_is_built_is_read_back_however_it_is_cut(commands in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..40), 1..6), 1..6), cut in 1usize..40) {
            let bytes: Vec<u8> = commands.iter().flat_map(|words| array(words)).collect();
            proptest::prop_assert_eq!(all(&bytes, cut).unwrap(), commands);
        }
    }
}
