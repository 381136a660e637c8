//! The sockets to those who ask, the broker and the file gate: a reader and a writer each, bounded queues, no opinion.

use std::{io, os::unix::net::UnixStream as StdStream, time::Duration};

use agentbox_core::{
    ledger::Draft,
    wire::{self, BadMessage, ToBroker, ToSupervisor},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixStream, unix::OwnedReadHalf},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

/// Messages of the broker that wait for the loop.
const WAITING: usize = 64;

/// Answers that wait for the broker. It reads them at once, but an interrupt may answer all that is open in one moment; one that lets more lie is
/// stuck.
const ANSWERS: usize = 2 * super::asks::MOST;

/// How long the broker may take to read one answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who asks; told by the number of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Broker,
    FileGate,
}

impl Who {
    /// Whose question has this number.
    pub(super) fn of(ask: u64) -> Self {
        if ask >= wire::FILES_FROM { Self::FileGate } else { Self::Broker }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Broker => "the broker",
            Self::FileGate => "the file gate",
        }
    }
}

/// The two directions to one of them, and what the reader says when it has ended.
pub(super) struct Pipe {
    pub(super) to: mpsc::Sender<ToBroker>,
    pub(super) end: JoinHandle<String>,
}

/// What all of them say.
pub(super) fn heard() -> (mpsc::Sender<ToSupervisor>, mpsc::Receiver<ToSupervisor>) {
    mpsc::channel(WAITING)
}

/// Starts reading and writing. Records go their own way, so that a slow disk holds back who records and not the loop.
pub(super) fn start(who: Who, stream: StdStream, heard: mpsc::Sender<ToSupervisor>, records: mpsc::Sender<Vec<Draft>>) -> io::Result<Pipe> {
    stream.set_nonblocking(true)?;
    let (mut reader, mut writer) = UnixStream::from_std(stream)?.into_split();
    let (to, mut answers) = mpsc::channel::<ToBroker>(ANSWERS);
    tokio::spawn(async move {
        while let Some(answer) = answers.recv().await {
            let bytes = match wire::encode(&answer) {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::error!(%error, to = who.name(), "an answer cannot be told");
                    return;
                }
            };
            // Dropping the half shuts the socket's write side: the broker sees the end and refuses all.
            match timeout(PATIENCE, writer.write_all(&bytes)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
    });
    let end = tokio::spawn(async move {
        match read(who, &mut reader, &heard, &records).await {
            Ok(()) => format!("{} has closed its socket", who.name()),
            Err(error) => format!("{}: {error}", who.name()),
        }
    });
    Ok(Pipe { to, end })
}

async fn read(who: Who, reader: &mut OwnedReadHalf, heard: &mpsc::Sender<ToSupervisor>, records: &mpsc::Sender<Vec<Draft>>) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        while let Some(message) = wire::decode::<ToSupervisor>(&mut buffer).map_err(bad)? {
            let sent = match message {
                ToSupervisor::Named { .. } if who != Who::Broker => return Err(io::Error::new(io::ErrorKind::InvalidData, "names are the broker's")),
                ToSupervisor::Hindered { .. } if who != Who::FileGate => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "what hinders deeds is told by the file gate"));
                }
                ToSupervisor::Record { drafts } => records.send(drafts).await.is_ok(),
                ToSupervisor::Ask { ask, .. } | ToSupervisor::Gone { ask } | ToSupervisor::Redeem { ask, .. } | ToSupervisor::Done { ask, .. }
                    if Who::of(ask) != who =>
                {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, format!("question {ask} is not its own")));
                }
                other @ (ToSupervisor::Ask { .. }
                | ToSupervisor::Gone { .. }
                | ToSupervisor::Redeem { .. }
                | ToSupervisor::Done { .. }
                | ToSupervisor::Named { .. }
                | ToSupervisor::Hindered { .. }
                | ToSupervisor::Said { .. }) => heard.send(other).await.is_ok(),
            };
            if !sent {
                return Ok(());
            }
        }
        if reader.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

fn bad(error: BadMessage) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
