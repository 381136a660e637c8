//! HTTP/1 framing read a second time, strictly, before hyper sees the bytes: what two parsers could read differently never gets in.
//!
//! hyper is lenient where it re-serialises anyway: it drops a `Content-Length` beside a `Transfer-Encoding`, takes a bare line feed for
//! a line's end and skips chunk extensions. None of that leaves the broker, but a request with two readings is not judged at all here.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Longest line of a head, which is also the longest head that hyper takes.
const LONGEST_LINE: usize = 64 << 10;

/// Longest line with a chunk's size: sixteen digits and the line's end.
const LONGEST_SIZE: usize = 18;

/// From the first byte of a head to its last.
const HEAD: Duration = Duration::from_secs(30);

/// Where in a connection's bytes we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before or in a head, line by line; the request line has been read or not.
    RequestLine,
    Headers,
    /// So many bytes of a body of known length.
    Sized(u64),
    ChunkSize,
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    Trailers,
}

/// What the current head said of its body.
#[derive(Clone, Copy, Debug, Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
}

/// The second reader.
#[derive(Debug)]
pub(super) struct Framer {
    place: Place,
    framing: Framing,
    line: Vec<u8>,
    heads: u64,
}

impl Default for Framer {
    fn default() -> Self {
        Self { place: Place::RequestLine, framing: Framing::default(), line: Vec::new(), heads: 0 }
    }
}

impl Framer {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// One sentence on what could be read in two ways.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            bytes = match self.place {
                Place::Sized(left) => {
                    let (rest, left) = skip(bytes, left);
                    self.place = if left == 0 { Place::RequestLine } else { Place::Sized(left) };
                    rest
                }
                Place::Chunk(left) => {
                    let (rest, left) = skip(bytes, left);
                    self.place = if left == 0 { Place::ChunkEnd } else { Place::Chunk(left) };
                    rest
                }
                Place::RequestLine | Place::Headers | Place::ChunkSize | Place::ChunkEnd | Place::Trailers => self.line(bytes)?,
            };
        }
        Ok(())
    }

    /// Whether a head has begun and is not yet whole.
    fn in_head(&self) -> bool {
        match self.place {
            Place::RequestLine => !self.line.is_empty(),
            Place::Headers => true,
            Place::Sized(_) | Place::ChunkSize | Place::Chunk(_) | Place::ChunkEnd | Place::Trailers => false,
        }
    }

    /// Collects a line and reads it when it is whole; gives what follows it.
    fn line<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], &'static str> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (front, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
        self.line.extend_from_slice(front);
        let longest = match self.place {
            Place::ChunkSize => LONGEST_SIZE,
            Place::ChunkEnd => 2,
            Place::RequestLine | Place::Headers | Place::Trailers | Place::Sized(_) | Place::Chunk(_) => LONGEST_LINE,
        };
        if self.line.len() > longest {
            return Err(if self.place == Place::ChunkSize { "a chunk's size with something behind it, or too long" } else { "a line that is too long" });
        }
        if end.is_none() {
            return Ok(rest);
        }
        let line = std::mem::take(&mut self.line);
        let Some(text) = line.strip_suffix(b"\r\n") else { return Err("a line that ends in a bare line feed") };
        if text.iter().any(|byte| matches!(byte, b'\r' | 0)) {
            return Err("a carriage return or a NUL inside a line");
        }
        self.place = self.read(text)?;
        Ok(rest)
    }

    /// What one whole line leads to.
    fn read(&mut self, text: &[u8]) -> Result<Place, &'static str> {
        match self.place {
            // Empty lines before a request are skipped by every server (RFC 9112, section 2.2).
            Place::RequestLine if text.is_empty() => Ok(Place::RequestLine),
            Place::RequestLine => {
                self.framing = Framing::default();
                let mut words = text.split(|byte| *byte == b' ');
                match (words.next(), words.next(), words.next(), words.next()) {
                    (Some(_), Some(_), Some(b"HTTP/1.1" | b"HTTP/1.0"), None) => Ok(Place::Headers),
                    _ => Err("a request line that is not METHOD TARGET HTTP/1.1"),
                }
            }
            Place::Headers if text.is_empty() => {
                let next = match self.framing {
                    Framing { length: Some(_), chunked: true } => Err("both Content-Length and Transfer-Encoding"),
                    Framing { chunked: true, length: None } => Ok(Place::ChunkSize),
                    Framing { length: Some(length), chunked: false } if length > 0 => Ok(Place::Sized(length)),
                    Framing { .. } => Ok(Place::RequestLine),
                };
                self.heads += u64::from(next.is_ok());
                next
            }
            Place::Headers => self.header(text).map(|()| Place::Headers),
            Place::ChunkSize => match size(text)? {
                0 => Ok(Place::Trailers),
                size => Ok(Place::Chunk(size)),
            },
            Place::ChunkEnd if text.is_empty() => Ok(Place::ChunkSize),
            Place::ChunkEnd => Err("a chunk that is longer than its size"),
            Place::Trailers if text.is_empty() => Ok(Place::RequestLine),
            Place::Trailers => {
                let (name, _) = field(text)?;
                let forbidden = [&b"content-length"[..], b"transfer-encoding", b"host", b"authorization", b"content-type", b"content-encoding", b"trailer"];
                if forbidden.iter().any(|word| name.eq_ignore_ascii_case(word)) { Err("a trailer that belongs in the head") } else { Ok(Place::Trailers) }
            }
            // Not read by lines.
            Place::Sized(_) | Place::Chunk(_) => Ok(self.place),
        }
    }

    fn header(&mut self, text: &[u8]) -> Result<(), &'static str> {
        let (name, value) = field(text)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = value.trim_ascii();
            let length =
                std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())).and_then(|digits| digits.parse().ok());
            let Some(length) = length else { return Err("a Content-Length that is not one number") };
            if self.framing.length.replace(length).is_some() {
                return Err("more than one Content-Length");
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // One blank before it and none behind, as every client writes it: tabs and lists are how parsers are told apart.
            let plain = value.strip_prefix(b" ").unwrap_or(value).eq_ignore_ascii_case(b"chunked");
            if !plain || self.framing.chunked {
                return Err("a Transfer-Encoding other than one plain \"chunked\"");
            }
            self.framing.chunked = true;
        }
        Ok(())
    }
}

fn skip(bytes: &[u8], left: u64) -> (&[u8], u64) {
    let count = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    let (_, rest) = bytes.split_at(count);
    (rest, left - count as u64)
}

/// `name: value`; a name that is no token (a blank before the colon, a folded line) is refused.
fn field(text: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    if matches!(text.first(), Some(b' ' | b'\t')) {
        return Err("a header line that is folded");
    }
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let at = text.iter().position(|byte| *byte == b':').ok_or("a header line without a colon")?;
    let (name, value) = text.split_at(at);
    if name.is_empty() || !name.iter().all(token) {
        return Err("a header name with a blank or another byte that no name has");
    }
    Ok((name, value.get(1..).unwrap_or_default()))
}

fn size(text: &[u8]) -> Result<u64, &'static str> {
    const BAD: &str = "a chunk's size that is not a plain hexadecimal number";
    let digits = std::str::from_utf8(text).map_err(|_| BAD)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(BAD);
    }
    u64::from_str_radix(digits, 16).map_err(|_| BAD)
}

/// Why a connection was ended, and whether any head had been taken before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken {
    pub(super) why: &'static str,
    pub(super) before_any: bool,
}

/// Where the reason is left for who serves the connection.
pub(super) type Reason = Arc<Mutex<Option<Broken>>>;

/// A stream whose incoming bytes are read by a [`Framer`] first.
#[derive(Debug)]
pub(super) struct Strict<S> {
    stream: S,
    framer: Framer,
    reason: Reason,
    /// The client was told yes to a WebSocket: what comes is no request.
    opened: Arc<AtomicBool>,
    /// Runs while a head is incomplete.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Strict<S> {
    pub(super) fn new(stream: S, opened: Arc<AtomicBool>) -> (Self, Reason) {
        let reason = Reason::default();
        (Self { stream, framer: Framer::default(), reason: reason.clone(), opened, deadline: None }, reason)
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    fn end(&self, why: &'static str) -> io::Error {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(Broken { why, before_any: self.framer.heads == 0 });
        io::Error::new(io::ErrorKind::InvalidData, why)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                if this.opened.load(Ordering::Acquire) {
                    return Poll::Ready(Ok(()));
                }
                let fresh = buffer.filled().get(before..).unwrap_or_default();
                if let Err(why) = this.framer.take(fresh) {
                    buffer.set_filled(before);
                    return Poll::Ready(Err(this.end(why)));
                }
                if !this.framer.in_head() {
                    this.deadline = None;
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                if this.framer.in_head() {
                    let deadline = this.deadline.get_or_insert_with(|| Box::pin(sleep(HEAD)));
                    if deadline.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Err(this.end("a head that was not whole after 30 seconds")));
                    }
                }
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<u64, &'static str> {
        let mut framer = Framer::default();
        framer.take(bytes).map(|()| framer.heads)
    }

    #[test]
    fn follows_requests_one_after_another() {
        let many = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nPOST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\nDELETE / HTTP/1.0\r\n\r\n";
        assert_eq!(read(many), Ok(4));
    }

    #[test]
    fn refuses_what_two_parsers_read_differently() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\n";
        for (bytes, word) in [
            (format!("{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), "both"),
            (format!("{head}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"), "both"),
            (format!("{head}Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), "more than one"),
            (format!("{head}Content-Length: 5, 5\r\n\r\n"), "not one number"),
            (format!("{head}Content-Length: +5\r\n\r\n"), "not one number"),
            (format!("{head}Content-Length:\r\n\r\n"), "not one number"),
            (format!("{head}Transfer-Encoding: xchunked\r\n\r\n"), "other than one"),
            (format!("{head}Transfer-Encoding:\tchunked\r\n\r\n"), "other than one"),
            (format!("{head}Transfer-Encoding: identity, chunked\r\n\r\n"), "other than one"),
            (format!("{head}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), "other than one"),
            (format!("{head}Transfer-Encoding : chunked\r\n\r\n"), "header name"),
            (format!("{head}X: a\r\n b\r\n\r\n"), "folded"),
            (format!("{head}X: a\n\r\n"), "bare line feed"),
            (format!("{head}X: a\rb\r\n\r\n"), "carriage return"),
            (format!("{head}X: a\0b\r\n\r\n"), "NUL"),
            (format!("{head}: a\r\n\r\n"), "header name"),
            (format!("{head}nothing\r\n\r\n"), "colon"),
            ("GET  / HTTP/1.1\r\n\r\n".to_owned(), "request line"),
            ("GET / HTTP/1.2\r\n\r\n".to_owned(), "request line"),
            ("GET /\r\n\r\n".to_owned(), "request line"),
            (format!("{head}Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n"), "chunk's size"),
            (format!("{head}Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n"), "chunk's size"),
            (format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n"), "too long"),
            (format!("{head}Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n"), "bare line feed"),
            (format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 3\r\n\r\n"), "trailer"),
            (format!("{head}X: {}\r\n\r\n", "a".repeat(LONGEST_LINE)), "too long"),
        ] {
            let error = read(bytes.as_bytes()).expect_err(&bytes);
            assert!(error.contains(word), "{bytes:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_changes_nothing(cuts in proptest::collection::vec(1usize..9, 1..40), tail in "[ -~\r\n]{0,60}") {
            let whole = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n{tail}");
            let mut framer = Framer::default();
            let mut rest = whole.as_bytes();
            let mut pieces = Ok(());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() || pieces.is_err() {
                    break;
                }
                let (front, back) = rest.split_at((*cut).min(rest.len()));
                pieces = framer.take(front);
                rest = back;
            }
            prop_assert_eq!(pieces.is_err(), read(whole.as_bytes()).is_err());
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let _ = read(&bytes);
        }
    }
}
