//! The line of the process that holds the credentials: it asks for tokens to be struck, and is told which credentials they are worth.

use std::{io, os::unix::net::UnixStream as StdStream, time::Duration};

use agentbox_core::wire::{self, Release, Released};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Releases that wait for the loop.
const WAITING: usize = 64;

/// How long the other side may take to read an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The credentials that may be put in, or why nothing may be sent.
pub(super) type Answer = Result<Vec<String>, String>;

/// One token to strike.
pub(super) struct Wanted {
    pub(super) release: Release,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// Starts reading and answering.
pub(super) fn start(stream: StdStream) -> io::Result<mpsc::Receiver<Wanted>> {
    stream.set_nonblocking(true)?;
    let (mut reader, mut writer) = UnixStream::from_std(stream)?.into_split();
    let (to_loop, wanted) = mpsc::channel(WAITING);
    let (to_write, mut answers) = mpsc::channel::<Released>(WAITING);
    tokio::spawn(async move {
        while let Some(answer) = answers.recv().await {
            let Ok(bytes) = wire::encode(&answer) else { return };
            if !matches!(timeout(PATIENCE, writer.write_all(&bytes)).await, Ok(Ok(()))) {
                return;
            }
        }
    });
    tokio::spawn(async move {
        let mut buffer = Vec::new();
        loop {
            match wire::decode::<Release>(&mut buffer) {
                Ok(Some(release)) => {
                    let ask = release.ask;
                    let (answer, answered) = oneshot::channel();
                    if to_loop.send(Wanted { release, answer }).await.is_err() {
                        return;
                    }
                    let to_write = to_write.clone();
                    tokio::spawn(async move {
                        let credentials = answered.await.unwrap_or_else(|_| Err("nobody judges any more".to_owned()));
                        let _ = to_write.send(Released { ask, credentials }).await;
                    });
                }
                Ok(None) => {
                    if matches!(reader.read_buf(&mut buffer).await, Ok(0) | Err(_)) {
                        return;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the process that holds the credentials does not keep to its language");
                    return;
                }
            }
        }
    });
    Ok(wanted)
}
