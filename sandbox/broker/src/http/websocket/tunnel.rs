//! A WebSocket that both sides agreed to: what is known of it, and its two directions.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use agentbox_core::Destination;
use bytes::Bytes;
use http::HeaderMap;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
    time::timeout,
};

use super::{
    down, frames,
    pieces::{Pieces, Unread},
    up,
};
use crate::{
    broker::Broker,
    http::{Facts, asking::Yes},
    meaning::{Dialect, Head},
};

/// What an unread WebSocket may carry each way, and how long, once it was permitted: as any opaque connection.
pub(super) const BYTES: u64 = 1 << 30;
pub(super) const TIME: Duration = Duration::from_secs(3600);

/// A WebSocket on which a side says nothing for so long is dead: those that live send pings.
pub(super) const SILENCE: Duration = Duration::from_secs(3600);

/// How long a side may be silent within a message, or take nothing of what it is sent.
pub(super) const STALL: Duration = Duration::from_secs(300);

/// For the other side's goodbye.
const FAREWELL: Duration = Duration::from_secs(5);

/// Words of our own that wait to be told to the client.
const MOST_NOTES: usize = 64;

/// Why a WebSocket ends before both sides have said goodbye.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    #[error(transparent)]
    Unread(#[from] Unread),
    #[error("a side said or took nothing for too long")]
    Stalled,
    #[error("what was permitted of it is used up")]
    UsedUp,
    #[error("the system gives no random numbers")]
    NoRandom,
    #[error("a side has gone")]
    Gone,
    #[error("it was refused")]
    Refused,
}

impl From<std::io::Error> for Cut {
    fn from(error: std::io::Error) -> Self {
        Cut::Unread(Unread::Io(error))
    }
}

/// What is told to the client by us.
pub(super) enum Note {
    Text(String),
    /// A goodbye: the code and one short sentence.
    Close(u16, String),
}

/// What all messages of one WebSocket share.
pub(super) struct Opened {
    pub(super) broker: Arc<Broker>,
    pub(super) facts: Arc<Facts>,
    /// With the addresses that are connected to.
    pub(super) destination: Destination,
    pub(super) target: String,
    /// Of the opening request, without the handshake.
    pub(super) headers: HeaderMap,
    pub(super) dialect: Dialect,
}

impl Opened {
    /// The opening request's head.
    pub(super) fn head(&self) -> Head<'_> {
        Head {
            method: &http::Method::GET,
            scheme: self.facts.scheme,
            host: &self.destination.host,
            port: self.destination.port,
            target: &self.target,
            headers: &self.headers,
        }
    }
}

/// How many bytes of the far side's messages have come, and how many may.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) count: AtomicU64,
    pub(super) most: AtomicU64,
}

/// A far side that has agreed, waiting for its client.
pub(crate) struct Tunnel {
    pub(super) far: TokioIo<Upgraded>,
    pub(super) opened: Opened,
    /// Where everything that flows was permitted with the opening.
    pub(super) free: Option<Yes>,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel { .. }")
    }
}

impl Tunnel {
    /// Carries messages until one side ends it.
    pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin + Send>(self, client: S) {
        let Self { far, opened, free } = self;
        let (client_reader, mut client_writer) = tokio::io::split(client);
        let (far_reader, mut far_writer) = tokio::io::split(far);
        let (tell, told) = mpsc::channel(MOST_NOTES);
        let most = if free.is_some() { BYTES } else { u64::MAX };
        let received = Received { count: AtomicU64::new(0), most: AtomicU64::new(most) };
        let ended = {
            let mut up = std::pin::pin!(up::Up::new(&opened, &mut far_writer, tell, &received, free).run(Pieces::new(client_reader, frames::From::Client)));
            let mut down = std::pin::pin!(down::carry(Pieces::new(far_reader, frames::From::Server), &mut client_writer, told, &received));
            tokio::select! {
                ended = &mut up => {
                    let _ = timeout(FAREWELL, &mut down).await;
                    ended
                }
                ended = &mut down => {
                    if ended.is_ok() {
                        let _ = timeout(FAREWELL, &mut up).await;
                    }
                    ended
                }
            }
        };
        if let Err(cut) = ended {
            tracing::debug!(%cut, "a WebSocket was cut");
        }
        let _ = timeout(FAREWELL, far_writer.shutdown()).await;
        let _ = timeout(FAREWELL, client_writer.shutdown()).await;
    }
}

/// Writes all of it, unless the side takes nothing for too long.
pub(super) async fn write<W: AsyncWrite + Unpin>(writer: &mut W, bytes: &[u8]) -> Result<(), Cut> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = timeout(STALL, writer.write(rest)).await.map_err(|_| Cut::Stalled)??;
        if written == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
        }
        rest = rest.get(written..).unwrap_or_default();
    }
    timeout(STALL, writer.flush()).await.map_err(|_| Cut::Stalled)??;
    Ok(())
}

/// A goodbye's payload: its code, and as much of the sentence as a control frame holds.
pub(super) fn goodbye(code: u16, why: &str) -> Bytes {
    let mut payload = code.to_be_bytes().to_vec();
    let most = usize::try_from(frames::LONGEST_CONTROL).unwrap_or(0) - payload.len();
    let mut end = why.len().min(most);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    payload.extend_from_slice(why.get(..end).unwrap_or_default().as_bytes());
    payload.into()
}
