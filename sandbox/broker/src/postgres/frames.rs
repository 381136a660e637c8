//! PostgreSQL's messages as bytes: a letter, a length, a body, and the few first messages that have no letter. Parsed to the last byte.
//!
//! Source: PostgreSQL 18, "Frontend/Backend Protocol", versions 3.0 and 3.2.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

pub(crate) use crate::session::LONGEST_WHOLE;
use crate::session::{Reader, Value};

/// Longest first message (postmaster.c, MAX_STARTUP_PACKET_LENGTH).
pub(crate) const LONGEST_FIRST: usize = 10_000;

/// Longest name of a prepared statement or portal. The server's tables tell names apart by their first 63 bytes only, so that two longer ones could be one.
pub(crate) const LONGEST_NAME: usize = 63;

/// Bytes before a message's body.
pub(crate) const HEADER: usize = 5;

const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;
const CANCEL: u32 = 80_877_102;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a message's length is impossible")]
    Length,
    #[error("a message ends too soon")]
    Short,
    #[error("a message is longer than what it says")]
    Long,
    #[error("a text in a message does not end")]
    Endless,
    #[error("a name is longer than {LONGEST_NAME} bytes, or no UTF-8")]
    Name,
    #[error("the protocol's version or an option of it is not spoken here")]
    Version,
}

impl From<Malformed> for std::io::Error {
    fn from(why: Malformed) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, why)
    }
}

impl crate::session::NoMessage for Malformed {}

/// What a client says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// May we speak TLS?
    Tls,
    /// May we speak GSSAPI?
    Gss,
    /// Cancel what this session does; the bytes are the whole message.
    Cancel(Key, Bytes),
    /// Begin a session; the bytes are the whole message.
    Startup(Startup, Bytes),
}

/// What names a session of a server: its process and its secret, as they were sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(pub(crate) Bytes);

/// The parameters with which a session begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Startup {
    pub(crate) parameters: Vec<(String, String)>,
}

impl Startup {
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Takes a first message apart, without its four bytes of length.
pub(crate) fn first(body: &Bytes) -> Result<First, Malformed> {
    let mut rest = Body(body);
    let code = rest.number()?;
    let whole = || {
        let mut whole = BytesMut::with_capacity(body.len() + 4);
        whole.extend_from_slice(&u32::try_from(body.len() + 4).unwrap_or(0).to_be_bytes());
        whole.extend_from_slice(body);
        whole.freeze()
    };
    match code {
        TLS | GSS => {
            rest.end()?;
            Ok(if code == TLS { First::Tls } else { First::Gss })
        }
        // A process, and a secret of four bytes, or of up to 256 since version 3.2.
        CANCEL if (8..=260).contains(&rest.0.len()) => Ok(First::Cancel(Key(body.slice(4..)), whole())),
        CANCEL => Err(Malformed::Length),
        0x0003_0000 | 0x0003_0002 => {
            let mut parameters: Vec<(String, String)> = Vec::new();
            // Each turn takes at least two bytes of at most LONGEST_FIRST.
            loop {
                let name = utf8(rest.text()?)?;
                if name.is_empty() {
                    break;
                }
                // An option of the protocol itself could change what later bytes mean, and a name that comes twice has two readings.
                if name.starts_with("_pq_.") || parameters.iter().any(|(known, _)| *known == name) {
                    return Err(Malformed::Version);
                }
                parameters.push((name, utf8(rest.text()?)?));
            }
            rest.end()?;
            Ok(First::Startup(Startup { parameters }, whole()))
        }
        _ => Err(Malformed::Version),
    }
}

fn utf8(text: &[u8]) -> Result<String, Malformed> {
    std::str::from_utf8(text).map(str::to_owned).map_err(|_| Malformed::Name)
}

/// Reads a first message; `None` where the client went.
pub(crate) async fn read_first(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<Result<First, Malformed>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if !(8..=LONGEST_FIRST).contains(&length) {
        return Ok(Some(Err(Malformed::Length)));
    }
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await?;
    Ok(Some(first(&Bytes::from(body))))
}

/// What is left of a message's body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<'b>(pub(crate) &'b [u8]);

impl<'b> Body<'b> {
    pub(crate) fn take(&mut self, count: usize) -> Result<&'b [u8], Malformed> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(front)
    }

    /// Four bytes, the highest first.
    pub(crate) fn number(&mut self) -> Result<u32, Malformed> {
        Ok(self.take(4)?.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    }

    /// Two bytes, the highest first.
    pub(crate) fn short(&mut self) -> Result<u16, Malformed> {
        Ok(self.take(2)?.iter().fold(0, |sum, byte| sum << 8 | u16::from(*byte)))
    }

    /// Up to a zero byte, which goes too.
    pub(crate) fn text(&mut self) -> Result<&'b [u8], Malformed> {
        let length = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed::Endless)?;
        let text = self.take(length)?;
        self.take(1)?;
        Ok(text)
    }

    /// The name of a prepared statement or portal.
    pub(crate) fn name(&mut self) -> Result<&'b str, Malformed> {
        let name = self.text()?;
        if name.len() > LONGEST_NAME {
            return Err(Malformed::Name);
        }
        std::str::from_utf8(name).map_err(|_| Malformed::Name)
    }

    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Long) }
    }
}

/// The only text of a body: a simple query.
pub(crate) fn query(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut rest = Body(body);
    let text = rest.text()?;
    rest.end()?;
    Ok(text)
}

/// `Parse`: the statement's name, and its text.
pub(crate) fn parse(body: &[u8]) -> Result<(&str, &[u8]), Malformed> {
    let mut rest = Body(body);
    let (name, text) = (rest.name()?, rest.text()?);
    let types = rest.short()?;
    rest.take(usize::from(types) * 4)?;
    rest.end()?;
    Ok((name, text))
}

/// The beginning of `Bind`: portal and statement.
pub(crate) fn bind_names(body: &[u8]) -> Result<(&str, &str), Malformed> {
    let mut rest = Body(body);
    Ok((rest.name()?, rest.name()?))
}

/// The values of a whole `Bind`.
pub(crate) fn bind_values(body: &[u8]) -> Result<Vec<Value<'_>>, Malformed> {
    let mut rest = Body(body);
    rest.name()?;
    rest.name()?;
    let formats = rest.short()?;
    let formats = rest.take(usize::from(formats) * 2)?.chunks_exact(2).map(|format| format != [0, 0]).collect::<Vec<_>>();
    let count = rest.short()?;
    let mut values = Vec::with_capacity(usize::from(count));
    for index in 0..usize::from(count) {
        let length = rest.number()?;
        // One format is for all, none is text for all.
        let is_binary = if formats.len() == 1 { formats.first() } else { formats.get(index) }.copied().unwrap_or(false);
        values.push(if length == u32::MAX {
            Value::Null
        } else {
            let value = rest.take(usize::try_from(length).map_err(|_| Malformed::Length)?)?;
            if is_binary { Value::Binary(value) } else { Value::Text(value) }
        });
    }
    let results = rest.short()?;
    rest.take(usize::from(results) * 2)?;
    rest.end()?;
    Ok(values)
}

/// Which kind of thing `Describe` and `Close` speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Statement,
    Portal,
}

/// `Describe` or `Close`.
pub(crate) fn thing(body: &[u8]) -> Result<(Thing, &str), Malformed> {
    let mut rest = Body(body);
    let thing = match rest.take(1)? {
        b"S" => Thing::Statement,
        b"P" => Thing::Portal,
        _ => return Err(Malformed::Name),
    };
    let name = rest.name()?;
    rest.end()?;
    Ok((thing, name))
}

/// `Execute`: the portal.
pub(crate) fn execute(body: &[u8]) -> Result<&str, Malformed> {
    let mut rest = Body(body);
    let name = rest.name()?;
    rest.number()?;
    rest.end()?;
    Ok(name)
}

/// `FunctionCall`: the function's number; the arguments are only counted.
pub(crate) fn function(body: &[u8]) -> Result<u32, Malformed> {
    let mut rest = Body(body);
    let number = rest.number()?;
    let formats = rest.short()?;
    rest.take(usize::from(formats) * 2)?;
    let count = rest.short()?;
    for _ in 0..count {
        let length = rest.number()?;
        if length != u32::MAX {
            rest.take(usize::try_from(length).map_err(|_| Malformed::Length)?)?;
        }
    }
    rest.short()?;
    rest.end()?;
    Ok(number)
}

/// `ParameterStatus`: a setting and its value.
pub(crate) fn setting(body: &[u8]) -> Result<(String, String), Malformed> {
    let mut rest = Body(body);
    let (name, value) = (rest.text()?, rest.text()?);
    rest.end()?;
    Ok((String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned()))
}

/// A message with its header.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.push(kind);
    bytes.extend_from_slice(&u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A message of texts that end in zero bytes, and what follows them.
pub(crate) fn of_texts(kind: u8, texts: &[&[u8]], tail: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for text in texts {
        body.extend_from_slice(text);
        body.push(0);
    }
    body.extend_from_slice(tail);
    message(kind, &body)
}

/// The head of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: u8,
    /// Of the body, in bytes.
    pub(crate) length: usize,
}

impl Head {
    /// The whole message's length in bytes.
    pub(crate) fn whole(self) -> usize {
        HEADER + self.length
    }
}

/// The head at the front of `bytes`; `None` where more is needed.
pub(crate) fn head(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
    let Some(length) = rest.first_chunk::<4>() else { return Ok(None) };
    let length = i32::from_be_bytes(*length).checked_sub(4).and_then(|length| usize::try_from(length).ok()).ok_or(Malformed::Length)?;
    Ok(Some(Head { kind: *kind, length }))
}

/// A reader of messages.
pub(crate) type Wire<R> = Reader<R>;

impl<R: AsyncRead + Unpin> Reader<R> {
    /// The head of the next message, where it is there already.
    pub(crate) fn head(&self) -> Result<Option<Head>, Malformed> {
        head(&self.buffer)
    }

    /// The next whole message, which must not be longer than `most`; `None` at the end.
    pub(crate) async fn message(&mut self, most: usize) -> std::io::Result<Option<(Head, Bytes)>> {
        loop {
            if let Some(head) = self.head()? {
                if head.length > most {
                    return Err(Malformed::Length.into());
                }
                if self.buffer.len() >= head.whole() {
                    return Ok(Some((head, self.take(head.whole()))));
                }
            }
            if self.more().await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(Malformed::Short.into()) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup(code: u32, pairs: &[(&str, &str)]) -> Bytes {
        let mut body = code.to_be_bytes().to_vec();
        for (name, value) in pairs {
            body.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
        }
        body.push(0);
        body.into()
    }

    #[test]
    fn first_messages() {
        assert_eq!(first(&Bytes::copy_from_slice(&TLS.to_be_bytes())), Ok(First::Tls));
        assert_eq!(first(&Bytes::copy_from_slice(&GSS.to_be_bytes())), Ok(First::Gss));
        let Ok(First::Startup(found, whole)) = first(&startup(0x0003_0000, &[("user", "u"), ("database", "d")])) else { panic!("a startup") };
        assert_eq!((found.parameter("user"), found.parameter("database"), whole.len()), (Some("u"), Some("d"), 4 + 4 + 7 + 11 + 1));
        assert_eq!(first(&startup(0x0002_0000, &[])), Err(Malformed::Version));
        assert_eq!(first(&startup(0x0003_0000, &[("_pq_.x", "1")])), Err(Malformed::Version));
        assert_eq!(first(&startup(0x0003_0000, &[("user", "a"), ("user", "b")])), Err(Malformed::Version));
        let mut cancel = CANCEL.to_be_bytes().to_vec();
        cancel.extend_from_slice(&[0, 0, 0, 7, 1, 2, 3, 4]);
        let Ok(First::Cancel(key, whole)) = first(&cancel.into()) else { panic!("a cancel") };
        assert_eq!((&key.0[..], whole.len()), (&[0, 0, 0, 7, 1, 2, 3, 4][..], 16));
    }

    #[test]
    fn names_are_short_and_bodies_end() {
        let long = "n".repeat(64);
        assert_eq!(parse(&of_texts(b'P', &[long.as_bytes(), b"SELECT 1"], &[0, 0])[HEADER..]), Err(Malformed::Name));
        assert_eq!(parse(&of_texts(b'P', &[b"n", b"SELECT 1"], &[0, 1, 0, 0, 0, 23])[HEADER..]), Ok(("n", &b"SELECT 1"[..])));
        assert_eq!(parse(&of_texts(b'P', &[b"n", b"SELECT 1"], &[0, 0, 9])[HEADER..]), Err(Malformed::Long));
        assert_eq!(query(b"SELECT 1\0DROP TABLE t\0"), Err(Malformed::Long));
        assert_eq!(bind_values(b"\0\0\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\0"), Ok(vec![Value::Binary(b"x"), Value::Null]));
        assert_eq!(thing(b"Sname\0"), Ok((Thing::Statement, "name")));
        assert_eq!(thing(b"Xname\0"), Err(Malformed::Name));
        assert_eq!(execute(b"p\0\0\0\0\x05"), Ok("p"));
        assert_eq!(function(b"\0\0\x03\xbc\0\0\0\x01\0\0\0\x04\0\0\0\x01\0\0"), Ok(956));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = (query(&bytes), parse(&bytes), bind_names(&bytes), bind_values(&bytes), thing(&bytes), execute(&bytes), function(&bytes), setting(&bytes));
            let _ = first(&Bytes::copy_from_slice(&bytes));
            if let Ok(Some(head)) = head(&bytes) {
                proptest::prop_assert!(head.length <= i32::MAX as usize);
            }
        }

        #[test]
        fn what_is_built_is_read_back(name in "[a-z]{0,20}", text in "[^\0]{0,80}", kind in proptest::num::u8::ANY) {
            let bytes = of_texts(kind, &[name.as_bytes(), text.as_bytes()], &[0, 0]);
            let head = head(&bytes).unwrap().unwrap();
            proptest::prop_assert_eq!((head.kind, head.whole()), (kind, bytes.len()));
            proptest::prop_assert_eq!(parse(&bytes[HEADER..]).unwrap(), (name.as_str(), text.as_bytes()));
        }

        #[test]
        fn messages_come_whole_however_they_are_cut(texts in proptest::collection::vec("[a-z ]{0,60}", 1..8), cut in 1usize..17) {
            let all: Vec<u8> = texts.iter().flat_map(|text| of_texts(b'Q', &[text.as_bytes()], &[])).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = runtime.block_on(async {
                let mut wire = Wire::new(tokio_test_reader(&all, cut));
                let mut read = Vec::new();
                while let Some((_, bytes)) = wire.message(1 << 10).await.unwrap() {
                    read.push(String::from_utf8(query(&bytes[HEADER..]).unwrap().to_vec()).unwrap());
                }
                read
            });
            proptest::prop_assert_eq!(read, texts);
        }
    }

    /// A reader that gives at most `cut` bytes at once.
    fn tokio_test_reader(bytes: &[u8], cut: usize) -> impl AsyncRead + Unpin + use<> {
        struct Slow(std::collections::VecDeque<u8>, usize);
        impl AsyncRead for Slow {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                _cx: &mut std::task::Context<'_>,
                out: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let count = self.1.min(self.0.len()).min(out.remaining());
                let some: Vec<u8> = self.0.drain(..count).collect();
                out.put_slice(&some);
                std::task::Poll::Ready(Ok(()))
            }
        }
        Slow(bytes.iter().copied().collect(), cut)
    }
}
