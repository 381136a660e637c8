//! The line to the supervisor: questions that the policy does not plainly allow go out, permits come back to the one thread that acts.

use std::{
    collections::HashMap,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, mpsc},
};

use agentbox_broker::remote_gate::RemoteGate;
use agentbox_core::{Permit, Refusal, Request, wire::FILES_FROM};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::{sync::mpsc as asynchronous, task::AbortHandle};

/// Questions that wait for the line. The caller of each is stopped, so there are no more than processes in the box.
const WAITING: usize = 4096;

/// Names a question here.
pub(super) type Number = u64;

/// What the line is told.
enum Word {
    Ask(Number, Box<Request>),
    /// Whoever asked has gone.
    Gone(Number),
    /// How a permitted deed ended.
    Done(u64, String),
    /// Why calls are refused that nobody was asked about.
    Hindered(String),
}

/// What comes back.
pub(super) struct Answer {
    pub(super) number: Number,
    /// With the permit the number by which its end is told.
    pub(super) answer: Result<(Permit, u64), Refusal>,
}

/// The line.
pub(super) struct Line {
    words: asynchronous::Sender<Word>,
    answers: mpsc::Receiver<Option<Answer>>,
    bell: Arc<EventFd>,
    next: Number,
}

/// Why a question was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the line to the supervisor is dead")]
pub(super) struct Dead;

impl Line {
    /// Starts the line on a thread of its own.
    ///
    /// # Errors
    /// No descriptors or threads are left.
    pub(super) fn start(supervisor: UnixStream) -> io::Result<Self> {
        let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let (words, heard) = asynchronous::channel(WAITING);
        let (to_answers, answers) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let rings = Answers { to: to_answers, bell: bell.clone() };
        std::thread::Builder::new().name("asks".to_owned()).spawn(move || {
            runtime.block_on(async {
                match RemoteGate::start_at(supervisor, FILES_FROM) {
                    Ok((gate, ended)) => tokio::select! {
                        () = ended => {}
                        () = serve(gate, heard, &rings) => {}
                    },
                    Err(error) => tracing::error!(%error, "the supervisor cannot be asked"),
                }
            });
            rings.ring(None);
        })?;
        Ok(Self { words, answers, bell, next: 0 })
    }

    /// Readable when [`Line::answer`] has something.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Asks; the answer comes back under the number.
    pub(super) fn ask(&mut self, request: Request) -> Result<Number, Dead> {
        self.next += 1;
        self.words.try_send(Word::Ask(self.next, Box::new(request))).map_err(|_| Dead)?;
        Ok(self.next)
    }

    /// Nobody waits any more for the answer to this question.
    pub(super) fn gone(&self, number: Number) {
        let _ = self.words.try_send(Word::Gone(number));
    }

    /// How a deed ended.
    pub(super) fn done(&self, deed: u64, outcome: String) {
        let _ = self.words.try_send(Word::Done(deed, outcome));
    }

    /// Why calls are refused that nobody was asked about.
    pub(super) fn hindered(&self, why: String) {
        let _ = self.words.try_send(Word::Hindered(why));
    }

    /// The next answer, if there is one now.
    ///
    /// # Errors
    /// The supervisor has gone, or wants to hear no more.
    pub(super) fn answer(&self) -> Result<Option<Answer>, Dead> {
        let _ = self.bell.read();
        match self.answers.try_recv() {
            Ok(Some(answer)) => {
                // There may be more behind it.
                let _ = self.bell.write(1);
                Ok(Some(answer))
            }
            Ok(None) | Err(mpsc::TryRecvError::Disconnected) => Err(Dead),
            Err(mpsc::TryRecvError::Empty) => Ok(None),
        }
    }
}

struct Answers {
    to: mpsc::Sender<Option<Answer>>,
    bell: Arc<EventFd>,
}

impl Answers {
    fn ring(&self, answer: Option<Answer>) {
        let _ = self.to.send(answer);
        let _ = self.bell.write(1);
    }
}

async fn serve(gate: Arc<RemoteGate>, mut words: asynchronous::Receiver<Word>, answers: &Answers) {
    let mut open: HashMap<Number, AbortHandle> = HashMap::new();
    while let Some(word) = words.recv().await {
        match word {
            Word::Ask(number, request) => {
                open.retain(|_, task| !task.is_finished());
                let (gate, answers) = (gate.clone(), Answers { to: answers.to.clone(), bell: answers.bell.clone() });
                let task = tokio::spawn(async move {
                    let answer = permitted(&gate, *request).await;
                    answers.ring(Some(Answer { number, answer }));
                });
                open.insert(number, task.abort_handle());
            }
            // Dropping the promise tells the supervisor.
            Word::Gone(number) => drop(open.remove(&number).map(|task| task.abort())),
            Word::Done(deed, outcome) => gate.done(deed, &outcome),
            Word::Hindered(why) => gate.hindered(&why),
        }
    }
}

async fn permitted(gate: &RemoteGate, request: Request) -> Result<(Permit, u64), Refusal> {
    let promise = gate.promise(request).await?;
    let number = promise.number();
    Ok((promise.redeem().await?, number))
}
