//! The line to the process that carries cards elsewhere. Nobody waits for it, and a card that cannot be carried is only noted.

use std::os::unix::net::UnixStream as StdStream;

use agentbox_core::{safe, wire};
use agentbox_desk::{Card, HoldId};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::mpsc,
};

use super::Inner;

/// Cards that wait to be carried; beyond it they are not, and the desk has them all the same.
const WAITING: usize = 64;

/// Starts reading and writing.
pub(super) fn start(stream: StdStream, to_loop: mpsc::Sender<Inner>) -> std::io::Result<mpsc::Sender<Box<Card>>> {
    stream.set_nonblocking(true)?;
    let (mut reader, mut writer) = UnixStream::from_std(stream)?.into_split();
    let (to, mut cards) = mpsc::channel::<Box<Card>>(WAITING);
    tokio::spawn(async move {
        while let Some(card) = cards.recv().await {
            let Ok(bytes) = wire::encode(&card) else { continue };
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        let mut buffer = Vec::new();
        loop {
            loop {
                match wire::decode::<(HoldId, String)>(&mut buffer) {
                    Ok(Some((id, outcome))) => {
                        let _ = to_loop.send(Inner::Carried(id, safe::line(&outcome, 300))).await;
                    }
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
            if !matches!(reader.read_buf(&mut buffer).await, Ok(1..)) {
                return;
            }
        }
    });
    Ok(to)
}
