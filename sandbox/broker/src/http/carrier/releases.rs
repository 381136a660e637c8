//! The holder's line to the supervisor: a token is struck there, and the answer says which credentials may be put in.

use std::{
    collections::HashMap,
    io,
    os::unix::net::UnixStream as StdStream,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use agentbox_core::{
    Digest,
    wire::{self, Release, Released},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::{mpsc, oneshot},
    time::timeout,
};

/// For the answer, which waits on the disk alone.
const PATIENCE: Duration = Duration::from_secs(20);

/// Releases that may be on their way at once.
const MOST: usize = 1024;

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Vec<String>, String>>>>>;

/// The line.
#[derive(Debug)]
pub(crate) struct Releases {
    waiting: Waiting,
    to_send: mpsc::Sender<Release>,
}

impl Releases {
    /// Starts talking on `stream`; needs a runtime.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub(crate) fn start(stream: StdStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (mut reader, mut writer) = UnixStream::from_std(stream)?.into_split();
        let waiting = Waiting::default();
        let (to_send, mut sending) = mpsc::channel::<Release>(MOST);
        tokio::spawn(async move {
            while let Some(release) = sending.recv().await {
                let Ok(bytes) = wire::encode(&release) else { continue };
                if !matches!(timeout(PATIENCE, writer.write_all(&bytes)).await, Ok(Ok(()))) {
                    return;
                }
            }
        });
        let answered = waiting.clone();
        tokio::spawn(async move {
            let mut buffer = Vec::new();
            loop {
                match wire::decode::<Released>(&mut buffer) {
                    Ok(Some(Released { ask, credentials })) => {
                        if let Some(answer) = lock(&answered).remove(&ask) {
                            let _ = answer.send(credentials);
                        }
                    }
                    Ok(None) => {
                        if matches!(reader.read_buf(&mut buffer).await, Ok(0) | Err(_)) {
                            break;
                        }
                    }
                    Err(_) => break,
                }
            }
            // Whoever waits learns that nobody answers.
            lock(&answered).clear();
        });
        Ok(Self { waiting, to_send })
    }

    /// Has the token struck. The answer names the credentials that were judged.
    pub(super) async fn release(&self, ask: u64, nonce: String, digest: Digest) -> Result<Vec<String>, String> {
        let gone = || "the supervisor has gone, so nobody can permit anything".to_owned();
        let (answer, answered) = oneshot::channel();
        lock(&self.waiting).insert(ask, answer);
        let asked = async {
            self.to_send.send(Release { ask, nonce, digest }).await.map_err(|_| gone())?;
            answered.await.map_err(|_| gone())?
        };
        let released = timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(gone()));
        lock(&self.waiting).remove(&ask);
        released
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
