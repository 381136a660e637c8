//! A stream that both sides agreed to: what was permitted with the opening, within its bounds.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use super::frames::Frames;
use crate::http::asking::Yes;

/// What a stream that nobody reads may carry each way, and how long: as any opaque connection.
const BYTES: u64 = 1 << 30;
const TIME: Duration = Duration::from_secs(3600);

/// How long a side may be silent: a port that is forwarded, or a shell that somebody left open.
const SILENCE: Duration = Duration::from_secs(3600);

/// How long a side may take nothing of what it is sent.
const STALL: Duration = Duration::from_secs(300);

/// For what the other side still has to say.
const FAREWELL: Duration = Duration::from_secs(5);

/// Read at once.
const BLOCK: usize = 32 << 10;

/// What may flow towards the container.
pub(super) enum Inwards {
    /// Everything: it was permitted, unread.
    Anything,
    /// Nothing but what opens and ends streams: the command was judged, and has no input.
    Nothing,
}

/// A far side that has agreed, waiting for its client.
pub(crate) struct Tunnel {
    pub(super) far: TokioIo<Upgraded>,
    pub(super) inwards: Inwards,
    pub(super) yes: Yes,
}

/// Why it ends before its sides end it.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Refused(&'static str),
    #[error("a side said or took nothing for too long")]
    Stalled,
    #[error("its gibibyte was used up")]
    UsedUp,
}

impl Tunnel {
    /// Carries until one side ends it, or what was permitted is used up.
    pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin + Send>(self, client: S) {
        let Self { far, inwards, yes } = self;
        let (client_reader, mut client_writer) = tokio::io::split(client);
        let (far_reader, mut far_writer) = tokio::io::split(far);
        let (frames, most, time) = match inwards {
            Inwards::Anything => (None, BYTES, TIME),
            // It was understood: as long as an answer may be.
            Inwards::Nothing => (Some(Frames::default()), u64::MAX, Duration::MAX),
        };
        let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
        let carried = async {
            let mut up = std::pin::pin!(carry(client_reader, &mut far_writer, frames, most, &sent));
            let mut down = std::pin::pin!(carry(far_reader, &mut client_writer, None, most, &received));
            tokio::select! {
                ended = &mut up => match ended {
                    Ok(()) => timeout(FAREWELL, &mut down).await.unwrap_or(Ok(())),
                    Err(cut) => Err(cut),
                },
                ended = &mut down => ended,
            }
        };
        let ended = timeout(time, carried).await;
        let figures = || format!("{} bytes sent, {} bytes received", sent.load(Ordering::Relaxed), received.load(Ordering::Relaxed));
        yes.tell(&match ended {
            Err(_) => format!("cut after its hour: {}", figures()),
            Ok(Err(cut @ (Cut::Refused(_) | Cut::UsedUp))) => format!("cut, because {cut}: {}", figures()),
            Ok(Ok(()) | Err(Cut::Io(_) | Cut::Stalled)) => figures(),
        });
        let _ = timeout(FAREWELL, far_writer.shutdown()).await;
        let _ = timeout(FAREWELL, client_writer.shutdown()).await;
    }
}

async fn carry<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    mut from: R,
    to: &mut W,
    mut frames: Option<Frames>,
    most: u64,
    count: &AtomicU64,
) -> Result<(), Cut> {
    let mut block = vec![0; BLOCK];
    loop {
        let length = timeout(SILENCE, from.read(&mut block)).await.map_err(|_| Cut::Stalled)??;
        let bytes = block.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(frames) = &mut frames {
            frames.take(bytes).map_err(Cut::Refused)?;
        }
        if count.load(Ordering::Relaxed).saturating_add(length as u64) > most {
            return Err(Cut::UsedUp);
        }
        timeout(STALL, async {
            to.write_all(bytes).await?;
            to.flush().await
        })
        .await
        .map_err(|_| Cut::Stalled)??;
        count.fetch_add(length as u64, Ordering::Relaxed);
    }
}
