//! Which protocol a client speaks, found by reading a little, with a bound and a deadline, and giving the bytes back.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use agentbox_core::{
    Destination,
    policy::{Policy, Spoken},
};
use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    time::timeout,
};

/// A client that says nothing for so long waits for the server to speak first: that is no protocol known here.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where only clients speak first, one that says nothing has connected ahead of its need, as browsers do: it may take its time.
const AHEAD: Duration = Duration::from_secs(60);

/// What it means when a client says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiet {
    /// The server is expected to speak first: the connection is opaque.
    Opaque,
    /// It has connected ahead of its need; after a while it is closed.
    Ahead,
}

impl Quiet {
    /// Told by the port: on those of the web, of PostgreSQL, Redis and MongoDB clients speak first.
    #[must_use]
    pub fn on(port: u16) -> Self {
        if matches!(port, 80 | 443 | 5432 | 6379 | 6380 | 6432 | 6543 | 8000 | 8080 | 8443 | 27017) { Quiet::Ahead } else { Quiet::Opaque }
    }
}

/// The longest prefix that any line of [`PROTOCOLS`] needs: HTTP/2's preface.
const ENOUGH: usize = 24;

/// HTTP/2 with prior knowledge (RFC 9113, section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A TLS handshake.
    Tls,
    /// HTTP/2 in the clear.
    Http2,
    /// HTTP/1 in the clear.
    Http1,
    /// PostgreSQL's first message, in the clear.
    PostgreSql,
    /// A command of Redis.
    Redis,
    /// A message of MongoDB's, in the clear.
    MongoDb,
    /// Anything else: asked about as a whole.
    Opaque,
}

/// What the first bytes say of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    Yes,
    No,
    NeedsMore,
}

/// One protocol and how it is recognised.
struct Line {
    protocol: Protocol,
    recognise: fn(&[u8]) -> Match,
}

/// All protocols, in the order in which they are tried. The last one recognises everything.
const PROTOCOLS: &[Line] = &[
    Line { protocol: Protocol::Tls, recognise: is_tls },
    Line { protocol: Protocol::Http2, recognise: |first| prefix(first, H2_PREFACE) },
    Line { protocol: Protocol::Http1, recognise: is_http1 },
    Line { protocol: Protocol::PostgreSql, recognise: is_postgresql },
    Line { protocol: Protocol::Redis, recognise: is_redis },
    Line { protocol: Protocol::MongoDb, recognise: is_mongodb },
    Line { protocol: Protocol::Opaque, recognise: |_| Match::Yes },
];

/// What a port says of what is spoken there, where the first bytes alone do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Nothing.
    None,
    /// Redis: its inline commands look like HTTP's.
    Redis,
    /// MySQL: the server speaks first.
    MySql,
}

impl Hint {
    /// What the policy says is spoken there; else told by the port.
    #[must_use]
    pub fn of(policy: &Policy, destination: &Destination) -> Self {
        match policy.spoken(destination) {
            Some(Spoken::MySql) => Hint::MySql,
            Some(Spoken::Redis) => Hint::Redis,
            None => Self::on(destination.port),
        }
    }

    fn on(port: u16) -> Self {
        match port {
            3306 => Hint::MySql,
            6379 | 6380 => Hint::Redis,
            _ => Hint::None,
        }
    }
}

/// Which protocol `first` begins, or `None` where more bytes could tell.
#[must_use]
pub fn recognise(first: &[u8], hint: Hint) -> Option<Protocol> {
    if hint == Hint::Redis && first.first().is_some_and(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        return Some(Protocol::Redis);
    }
    for line in PROTOCOLS {
        match (line.recognise)(first) {
            Match::Yes => return Some(line.protocol),
            Match::No => {}
            Match::NeedsMore => return None,
        }
    }
    Some(Protocol::Opaque)
}

fn prefix(first: &[u8], whole: &[u8]) -> Match {
    let common = first.len().min(whole.len());
    if first.get(..common) != whole.get(..common) {
        Match::No
    } else if first.len() < whole.len() {
        Match::NeedsMore
    } else {
        Match::Yes
    }
}

/// A record of type handshake (22), version 3.x, that begins with a client hello (1).
fn is_tls(first: &[u8]) -> Match {
    match first {
        [] | [22] | [22, 3] => Match::NeedsMore,
        [22, 3, rest @ ..] if rest.len() < 4 => Match::NeedsMore,
        [22, 3, _, _, _, 1, ..] => Match::Yes,
        _ => Match::No,
    }
}

/// A length of four bytes that says at most 10,000, and the code of a session (protocol 3), of a wish for TLS or GSSAPI, or of a request to cancel.
fn is_postgresql(first: &[u8]) -> Match {
    const CODES: [[u8; 4]; 5] = [[0, 3, 0, 0], [0, 3, 0, 2], [4, 210, 22, 46], [4, 210, 22, 47], [4, 210, 22, 48]];
    let (length, code) = first.split_at(first.len().min(4));
    if !matches!(length, [] | [0] | [0, 0] | [0, 0, 0..=39] | [0, 0, 0..=39, _]) {
        return Match::No;
    }
    match code.get(..code.len().min(4)) {
        Some(begun) if begun.len() == 4 => {
            if CODES.iter().any(|known| known == begun) {
                Match::Yes
            } else {
                Match::No
            }
        }
        Some(begun) if CODES.iter().any(|known| known.starts_with(begun)) => Match::NeedsMore,
        Some(_) | None => Match::No,
    }
}

/// An array of bulk strings: its count, and the first one's sign.
fn is_redis(first: &[u8]) -> Match {
    let Some(rest) = first.strip_prefix(b"*") else { return if first.is_empty() { Match::NeedsMore } else { Match::No } };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match rest.get(digits..).unwrap_or_default() {
        _ if digits > 7 => Match::No,
        [] | b"\r" | b"\r\n" => Match::NeedsMore,
        [b'\r', b'\n', b'$', ..] if digits > 0 => Match::Yes,
        _ => Match::No,
    }
}

/// A length below 64 KiB, any number, no message that it answers, and the kind of a query or a message.
fn is_mongodb(first: &[u8]) -> Match {
    const KINDS: [[u8; 4]; 2] = [[0xd4, 7, 0, 0], [0xdd, 7, 0, 0]];
    let fits = |at: usize, wanted: &[u8]| first.get(at..).unwrap_or_default().iter().zip(wanted).all(|(is, wanted)| is == wanted);
    match () {
        () if !fits(2, &[0; 2]) || !fits(8, &[0; 4]) || !KINDS.iter().any(|kind| fits(12, kind)) => Match::No,
        () if first.len() < 16 => Match::NeedsMore,
        () => Match::Yes,
    }
}

/// A method of letters and hyphens, then a blank.
fn is_http1(first: &[u8]) -> Match {
    match first.iter().position(|byte| !(byte.is_ascii_alphabetic() || *byte == b'-')) {
        Some(0) => Match::No,
        Some(at) if first.get(at) == Some(&b' ') => Match::Yes,
        Some(_) => Match::No,
        None if first.len() >= ENOUGH => Match::No,
        None => Match::NeedsMore,
    }
}

/// Reads until the protocol is known, and gives the stream back with nothing missing.
///
/// # Errors
/// The client went, or its connection broke, before it said anything.
pub async fn peek<S: AsyncRead + Unpin>(stream: S, quiet: Quiet, hint: Hint) -> io::Result<(Protocol, Prefixed<S>)> {
    peek_from(BytesMut::with_capacity(4096), stream, quiet, hint).await
}

/// The same of a stream of which `first` was read already.
///
/// # Errors
/// As above.
pub async fn peek_from<S: AsyncRead + Unpin>(mut first: BytesMut, mut stream: S, quiet: Quiet, hint: Hint) -> io::Result<(Protocol, Prefixed<S>)> {
    let patience = match quiet {
        Quiet::Opaque => PATIENCE,
        Quiet::Ahead => AHEAD,
    };
    let found = timeout(patience, async {
        loop {
            if let Some(protocol) = recognise(&first, hint) {
                return Ok::<_, io::Error>(protocol);
            }
            if stream.read_buf(&mut first).await? == 0 {
                return if first.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Protocol::Opaque) };
            }
        }
    })
    .await;
    let protocol = match (found, quiet) {
        (Ok(found), _) => found?,
        (Err(_), Quiet::Opaque) => Protocol::Opaque,
        (Err(_), Quiet::Ahead) => return Err(io::ErrorKind::TimedOut.into()),
    };
    Ok((protocol, Prefixed { first, stream }))
}

/// A stream that gives the bytes that were read ahead first.
#[derive(Debug)]
pub struct Prefixed<S> {
    first: BytesMut,
    stream: S,
}

impl<S> Prefixed<S> {
    /// A stream before which `first` was read already.
    pub(crate) fn new(first: BytesMut, stream: S) -> Self {
        Self { first, stream }
    }

    /// Whether its first bytes are an SSH client's (RFC 4253, section 4.2).
    pub(crate) fn is_ssh(&self) -> bool {
        self.first.starts_with(b"SSH-")
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let length = self.first.len().min(buffer.remaining());
        buffer.put_slice(self.first.get(..length).unwrap_or_default());
        self.first.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
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
    use super::*;

    #[test]
    fn recognises_each_and_waits_for_what_is_missing() {
        assert_eq!(recognise(b"", Hint::None), None);
        assert_eq!(recognise(&[22, 3, 1, 0, 200, 1, 0], Hint::None), Some(Protocol::Tls));
        assert_eq!(recognise(&[22, 3, 1], Hint::None), None);
        assert_eq!(recognise(&[22, 3, 1, 0, 200, 2], Hint::None), Some(Protocol::Opaque));
        assert_eq!(recognise(b"PRI * HT", Hint::None), None);
        assert_eq!(recognise(H2_PREFACE, Hint::None), Some(Protocol::Http2));
        assert_eq!(recognise(b"PRI / HTTP/1.1", Hint::None), Some(Protocol::Http1));
        assert_eq!(recognise(b"GET / HTTP", Hint::None), Some(Protocol::Http1));
        assert_eq!(recognise(b"GE", Hint::None), None);
        assert_eq!(recognise(b"SSH-2.0-x", Hint::None), Some(Protocol::Opaque));
        assert_eq!(recognise(b"\0\0\0\x08", Hint::None), None);
        assert_eq!(recognise(b"\0\0\0\x08\x04\xd2\x16\x2f", Hint::None), Some(Protocol::PostgreSql));
        assert_eq!(recognise(b"\0\0\0\x25\0\x03\0\0user", Hint::None), Some(Protocol::PostgreSql));
        assert_eq!(recognise(b"\0\0\0\x25\0\x02", Hint::None), Some(Protocol::Opaque));
        assert_eq!(recognise(&[b'a'; 24], Hint::None), Some(Protocol::Opaque));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_waits_for_the_server_or_connects_ahead() {
        let (_client, server) = tokio::io::duplex(64);
        assert_eq!(peek(server, Quiet::on(3306), Hint::None).await.unwrap().0, Protocol::Opaque);
        let (_client, server) = tokio::io::duplex(64);
        assert_eq!(peek(server, Quiet::on(443), Hint::None).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn gives_every_byte_back() {
        let (mut client, server) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut client, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        drop(client);
        let (protocol, mut stream) = peek(server, Quiet::Opaque, Hint::None).await.unwrap();
        assert_eq!(protocol, Protocol::Http1);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"GET / HTTP/1.1\r\n\r\n");
    }

    proptest::proptest! {
        #[test]
        fn more_bytes_never_change_an_answer(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let mut answer = None;
            for length in 0..=bytes.len() {
                let now = recognise(&bytes[..length], Hint::None);
                if answer.is_some() {
                    assert_eq!(now, answer);
                }
                answer = now;
            }
            if bytes.len() >= ENOUGH {
                assert!(answer.is_some());
            }
        }
    }
}
