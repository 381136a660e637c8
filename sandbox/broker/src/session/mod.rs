//! What a session with a database is, whichever it speaks: two streams, whoever asks for it, and how a statement is judged and waits.

mod asking;
mod keyed;
mod reach;
mod reader;
mod shown;

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

pub(crate) use asking::{Asking, Locks, No, Question, Yes};
pub(crate) use keyed::{NotKeyed, keyed};
pub(crate) use reach::{Far, NotBegun, Unreached, begin, connect, secure, unlisted};
pub(crate) use reader::Reader;
pub(crate) use shown::{MOST_LOCKS, Value, excerpt, has_words, line};

/// How long a session may be silent between two messages: pools keep theirs for hours.
pub(crate) const IDLE: Duration = Duration::from_secs(24 * 3600);

/// How long a client may be silent within a message.
pub(crate) const WITHIN: Duration = Duration::from_secs(300);

/// For the last words either way.
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);

/// For each step of a handshake, once the client has begun.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);

/// Gathered before it is written.
pub(crate) const BLOCK: usize = 64 << 10;

/// Longest message that is held in memory before it is judged: a statement, or the values of one that is asked about.
pub(crate) const LONGEST_WHOLE: usize = 16 << 20;

/// Messages up to this length need no share of the broker's room.
pub(crate) const SMALL: usize = 64 << 10;

/// Whether bytes go in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Cloth {
    Clear,
    Tls,
}

impl Cloth {
    /// For digests.
    pub(crate) fn word(self) -> &'static [u8] {
        match self {
            Cloth::Clear => b"clear",
            Cloth::Tls => b"tls",
        }
    }
}

/// A stream both ways, whatever it is made of: what is spoken on it is the same in the clear and in TLS.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// Why the client's side of a session ends early.
pub(crate) enum End<M> {
    Io(io::Error),
    /// The client said what is no message.
    Violation(M),
    Gone,
}

/// What a wire's decoder says of bytes that are no message.
pub(crate) trait NoMessage: Into<io::Error> {}

impl<M: NoMessage> From<io::Error> for End<M> {
    fn from(error: io::Error) -> Self {
        End::Io(error)
    }
}

impl<M: NoMessage> From<M> for End<M> {
    fn from(why: M) -> Self {
        End::Violation(why)
    }
}

impl<M: NoMessage> From<End<M>> for io::Error {
    fn from(end: End<M>) -> Self {
        match end {
            End::Io(error) => error,
            End::Violation(why) => why.into(),
            End::Gone => io::ErrorKind::UnexpectedEof.into(),
        }
    }
}

/// Tells a client why nothing comes of it, and ends.
pub(crate) async fn last_words(client: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    timeout(FAREWELL, async {
        client.write_all(bytes).await?;
        client.flush().await?;
        client.shutdown().await
    })
    .await?
}

/// Empties a buffer, and gives back what one long message made it grow by.
pub(crate) fn emptied(out: &mut Vec<u8>) {
    out.clear();
    out.shrink_to(2 * BLOCK);
}
