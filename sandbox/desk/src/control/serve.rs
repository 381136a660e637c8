//! The desk's end of the control socket: examines who comes, reads one bounded message at a time, passes it on.

use std::{io, sync::Arc, time::Duration};

use agentbox_core::wire;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use super::{FromDesk, LONGEST_TEXT, PATIENCE, Peer, Stranger, ToDesk};

/// Terminals at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 16;

/// Messages on one connection: `holds --watch` for a day, one a second.
const MESSAGES: usize = 100_000;

/// After a failed accept (too many open files) it is tried again so much later.
const PAUSE: Duration = Duration::from_millis(50);

/// Longest message of a terminal in bytes; all honest ones are far shorter.
const LONGEST: usize = 4 * LONGEST_TEXT;

/// What came in at the control socket.
#[derive(Debug)]
pub enum Knock {
    /// Somebody who may speak did.
    Call(Call),
    /// Somebody came who may not; for the ledger.
    Stranger(Stranger),
}

/// One message, with the way back.
#[derive(Debug)]
pub struct Call {
    /// Who speaks.
    pub peer: Peer,
    /// What it says.
    pub message: ToDesk,
    /// Where the answer goes.
    pub answer: oneshot::Sender<FromDesk>,
}

/// Serves the socket until the receiver of `knocks` is gone.
///
/// # Errors
/// The listener does not work at all.
pub async fn serve(listener: std::os::unix::net::UnixListener, knocks: mpsc::Sender<Knock>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return Ok(()) };
        let stream = tokio::select! {
            () = knocks.closed() => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accepting on the control socket");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let knocks = knocks.clone();
        tokio::spawn(async move {
            if let Err(error) = attend(stream, &knocks).await {
                tracing::debug!(%error, "a control connection ended");
            }
            drop(seat);
        });
    }
}

async fn attend(mut stream: UnixStream, knocks: &mpsc::Sender<Knock>) -> io::Result<()> {
    let peer = match Peer::examine(&stream) {
        Ok(peer) => peer,
        Err(stranger) => {
            let no = FromDesk::No(stranger.to_string());
            // The ledger first: the answer may never be read.
            let _ = timeout(PATIENCE, knocks.send(Knock::Stranger(stranger))).await;
            return send(&mut stream, &no).await;
        }
    };
    let mut buffer = Vec::new();
    for _ in 0..MESSAGES {
        let Some(message) = receive(&mut stream, &mut buffer).await? else { return Ok(()) };
        let (answer, answered) = oneshot::channel();
        let call = Knock::Call(Call { peer: peer.clone(), message, answer });
        let reply = match timeout(PATIENCE, knocks.send(call)).await {
            Ok(Ok(())) => timeout(PATIENCE, answered).await.ok().and_then(Result::ok),
            Ok(Err(_)) | Err(_) => None,
        };
        send(&mut stream, &reply.unwrap_or_else(|| FromDesk::No("the box is ending, or too busy to answer".to_owned()))).await?;
    }
    Ok(())
}

async fn receive(stream: &mut UnixStream, buffer: &mut Vec<u8>) -> io::Result<Option<ToDesk>> {
    let read = async {
        loop {
            match wire::decode::<ToDesk>(buffer) {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) if buffer.len() > LONGEST => return Err(io::Error::other("a message that is too long")),
                Ok(None) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
            if stream.read_buf(buffer).await? == 0 {
                return Ok(None);
            }
        }
    };
    timeout(PATIENCE, read).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn send(stream: &mut UnixStream, message: &FromDesk) -> io::Result<()> {
    let bytes = wire::encode(message).map_err(io::Error::other)?;
    timeout(PATIENCE, stream.write_all(&bytes)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
