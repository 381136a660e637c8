//! What the server answers: followed answer by answer, so that it is known what a session is, and passed on as it comes.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncWriteExt as _, ReadHalf, WriteHalf},
    sync::Notify,
    time::timeout,
};

use super::{
    replies::Scanner,
    session::{Heard, Session},
};
use crate::{
    broker::Broker,
    session::{BLOCK, Duplex, FAREWELL, Reader, emptied},
    upstream::UpstreamStream,
};

/// What both sides of a session share.
pub(super) struct Shared {
    session: Mutex<Session>,
    /// The server has answered something.
    pub(super) answered: Notify,
    pub(super) client: tokio::sync::Mutex<WriteHalf<Box<dyn Duplex>>>,
}

impl Shared {
    pub(super) fn new(client: WriteHalf<Box<dyn Duplex>>) -> Self {
        Self { session: Mutex::new(Session::new()), answered: Notify::new(), client: tokio::sync::Mutex::new(client) }
    }

    pub(super) fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells how permitted deeds ended.
pub(super) fn done(broker: &Broker, asks: &[u64], outcome: &str) {
    for ask in asks {
        broker.line.done(*ask, outcome);
    }
}

/// Relays the server's side until it ends.
pub(super) async fn down(broker: &Arc<Broker>, shared: &Shared, mut far: Reader<ReadHalf<UpstreamStream>>) -> io::Result<()> {
    let mut scanner = Scanner::default();
    let mut out: Vec<u8> = Vec::new();
    loop {
        let mut answered = false;
        // Each turn takes at least a byte of what was read.
        while let Some(piece) = scanner.next(&far.buffer)? {
            let bytes = far.take(piece.length);
            let mut heard = Heard::Pass;
            if piece.ends {
                let mut session = shared.session();
                heard = session.heard(scanner.reply()).inspect_err(|error| tracing::warn!(%error, "a Redis server breaks the protocol"))?;
                if let Some((asks, outcome)) = session.ended() {
                    done(broker, &asks, &outcome);
                }
                answered = true;
            }
            out.extend_from_slice(match &heard {
                Heard::Pass => &bytes,
                Heard::Replace(bytes) => bytes,
            });
            if out.len() >= BLOCK {
                write(shared, &mut out).await?;
            }
        }
        if answered {
            shared.answered.notify_one();
        }
        write(shared, &mut out).await?;
        if far.more().await? == 0 {
            return timeout(FAREWELL, async { shared.client.lock().await.shutdown().await }).await?;
        }
    }
}

async fn write(shared: &Shared, out: &mut Vec<u8>) -> io::Result<()> {
    if !out.is_empty() {
        let mut client = shared.client.lock().await;
        client.write_all(out).await?;
        client.flush().await?;
        emptied(out);
    }
    Ok(())
}
