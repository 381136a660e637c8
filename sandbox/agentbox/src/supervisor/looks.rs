//! Asks the looker: questions out, answers in, each with a deadline.

use std::{collections::HashMap, io, os::unix::net::UnixStream as StdStream, time::Duration};

use agentbox_core::{
    Destination, Request, ResourceId,
    look::Seen,
    wire::{self, LookAnswer, LookRequest},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::{mpsc, oneshot},
    time::timeout,
};

/// How long all looks of one request may take together.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Looks of one request. What is beyond them stays unplaced, and the strictest place decides.
const LOOKS_OF_A_REQUEST: usize = 8;

/// Looks that wait for the looker.
const WAITING: usize = 64;

/// Lines of ancestry that one thing may have, and steps of one line. More is no honest answer.
const LINEAGES: (usize, usize) = (64, 16);

/// What one look said of the operation at an index.
pub(super) type Found = Vec<(usize, Result<Seen, String>)>;

/// The way to the looker. When it has ended, every look fails and says so.
#[derive(Clone, Debug)]
pub(super) struct Looker(mpsc::Sender<Question>);

struct Question {
    resource: ResourceId,
    destination: Destination,
    action: String,
    answer: oneshot::Sender<Result<Seen, String>>,
}

/// Starts talking to it.
pub(super) fn start(stream: StdStream) -> io::Result<Looker> {
    stream.set_nonblocking(true)?;
    let stream = UnixStream::from_std(stream)?;
    let (to, questions) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        if let Err(error) = talk(stream, questions).await {
            tracing::error!(%error, "the looker has ended");
        }
    });
    Ok(Looker(to))
}

async fn talk(stream: UnixStream, mut questions: mpsc::Receiver<Question>) -> io::Result<()> {
    let (mut reader, mut writer) = stream.into_split();
    let mut open: HashMap<u64, oneshot::Sender<Result<Seen, String>>> = HashMap::new();
    let mut buffer = Vec::new();
    let mut next = 0;
    loop {
        tokio::select! {
            question = questions.recv() => {
                let Some(Question { resource, destination, action, answer }) = question else { return Ok(()) };
                // Those whose asker has given up.
                open.retain(|_, answer| !answer.is_closed());
                next += 1;
                let message = LookRequest { id: next, resource, destination, action };
                let bytes = wire::encode(&message).map_err(io::Error::other)?;
                timeout(PATIENCE, writer.write_all(&bytes)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                open.insert(next, answer);
            }
            read = reader.read_buf(&mut buffer) => {
                if read? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                while let Some(LookAnswer { id, seen }) = wire::decode(&mut buffer).map_err(io::Error::other)? {
                    if let Some(answer) = open.remove(&id) {
                        let _ = answer.send(seen);
                    }
                }
            }
        }
    }
}

impl Looker {
    /// Looks at the operations of `request` at the indices in `which`, all at once.
    pub(super) async fn look(&self, request: &Request, which: &[usize]) -> Found {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut waiting = Vec::new();
        for index in which.iter().copied().take(LOOKS_OF_A_REQUEST) {
            let (Some(operation), Some(destination)) = (request.operations.get(index), &request.destination) else { continue };
            let (answer, answered) = oneshot::channel();
            let question =
                Question { resource: operation.resource.id.clone(), destination: destination.clone(), action: operation.action.as_str().to_owned(), answer };
            let asked = tokio::time::timeout_at(deadline, self.0.send(question)).await;
            waiting.push((index, operation.resource.id.clone(), asked.is_ok_and(|sent| sent.is_ok()).then_some(answered)));
        }
        let mut found = Vec::new();
        for (index, resource, answered) in waiting {
            let seen = match answered {
                None => Err("the process that looks has ended".to_owned()),
                Some(answered) => match tokio::time::timeout_at(deadline, answered).await {
                    Ok(Ok(seen)) => seen.and_then(|seen| honest(seen, &resource)),
                    Ok(Err(_)) => Err("the process that looks has ended".to_owned()),
                    Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
                },
            };
            found.push((index, seen));
        }
        found
    }
}

fn honest(seen: Seen, resource: &ResourceId) -> Result<Seen, String> {
    if seen.resource != *resource {
        return Err("the answer is about another thing".to_owned());
    }
    if seen.lineages.len() > LINEAGES.0 || seen.lineages.iter().any(|line| line.len() > LINEAGES.1) {
        return Err("the answer names more ancestors than anything has".to_owned());
    }
    Ok(seen)
}
