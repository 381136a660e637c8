//! The gate as seen from the broker: questions go to the supervisor, and a permit comes back only when its token was struck.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use agentbox_core::{
    Gate, Permit, Refusal, RefusalKind, Request,
    gate::Asking,
    ledger::{Draft, Durability, Journal, NotWritten},
    wire::{self, ToBroker, ToSupervisor},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixStream, unix::OwnedReadHalf},
    sync::{mpsc, oneshot},
    time::{interval, timeout},
};

/// Plain allowances reach the ledger at most this late.
const FLUSH: Duration = Duration::from_millis(100);

/// Plain allowances that may wait for the next flush; more are refused, so that nothing happens unwritten.
const MOST_WAITING: usize = 8192;

/// Drafts in one message, far below the longest message.
const MOST_IN_ONE: usize = 256;

/// For the answer to a redeem, which waits on the disk alone.
const REDEEM: Duration = Duration::from_secs(20);

/// Longest text of how a deed ended.
const LONGEST_OUTCOME: usize = 200;

type Waiting = Mutex<HashMap<u64, oneshot::Sender<ToBroker>>>;

/// The broker's end of the line to the supervisor.
#[derive(Debug)]
pub struct RemoteGate {
    next: AtomicU64,
    waiting: Arc<Waiting>,
    outgoing: mpsc::UnboundedSender<ToSupervisor>,
    drafts: mpsc::Sender<Draft>,
}

impl RemoteGate {
    /// Starts the line on `stream`. The returned future ends when the line is dead: the broker must then end too.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn start(stream: std::os::unix::net::UnixStream) -> io::Result<(Arc<Self>, impl Future<Output = ()>)> {
        stream.set_nonblocking(true)?;
        let (reader, mut writer) = UnixStream::from_std(stream)?.into_split();
        let waiting: Arc<Waiting> = Arc::default();
        // Bounded in effect: each asker sends at most four messages, and askers are bounded by the connections' limit.
        let (outgoing, mut to_send) = mpsc::unbounded_channel();
        let (drafts, mut to_record) = mpsc::channel(MOST_WAITING);
        let gate = Arc::new(Self { next: AtomicU64::new(1), waiting: waiting.clone(), outgoing, drafts });
        let sending = async move {
            let mut flush = interval(FLUSH);
            flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                let message = tokio::select! {
                    message = to_send.recv() => match message { Some(message) => message, None => return },
                    _ = flush.tick() => {
                        let mut drafts = Vec::new();
                        while drafts.len() < MOST_IN_ONE && let Ok(draft) = to_record.try_recv() {
                            drafts.push(draft);
                        }
                        if drafts.len() == MOST_IN_ONE {
                            flush.reset_immediately();
                        }
                        if drafts.is_empty() {
                            continue;
                        }
                        ToSupervisor::Record { drafts }
                    }
                };
                let Ok(bytes) = wire::encode(&message) else { continue };
                if writer.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        };
        let ended = async move {
            tokio::select! {
                () = sending => {}
                () = receive(reader, &waiting) => {}
            }
            // Whoever waits learns that there is no answer: dropping the senders refuses.
            lock(&waiting).clear();
        };
        Ok((gate, ended))
    }

    /// A journal for plain allowances: they follow to the supervisor's ledger within 100 ms.
    #[must_use]
    pub fn journal(&self) -> impl Journal + use<> {
        Queue(self.drafts.clone())
    }

    async fn asked(&self, request: Request) -> Result<(Permit, u64), Refusal> {
        let unanswered = lost(&request, "the supervisor has gone, so nobody can permit anything");
        let digest = request.digest;
        let ask = self.next.fetch_add(1, Ordering::Relaxed);
        let mut asker = Asker { gate: self, ask, settled: false };
        let answer = self.exchange(ask, ToSupervisor::Ask { ask, request: Box::new(request) });
        let token = match answer.await {
            Some(ToBroker::Permitted { token, .. }) => token,
            Some(ToBroker::Refused { refusal, .. }) => {
                asker.settled = true;
                return Err(refusal);
            }
            Some(ToBroker::Redeemed { .. }) | None => return Err(unanswered),
        };
        let redeem = ToSupervisor::Redeem { ask, nonce: token.nonce().to_owned(), digest };
        match timeout(REDEEM, self.exchange(ask, redeem)).await {
            Ok(Some(ToBroker::Redeemed { proof, .. })) if proof.nonce == token.nonce() => {
                asker.settled = true;
                Ok((token.redeemed(proof), ask))
            }
            Ok(Some(ToBroker::Refused { refusal, .. })) => {
                asker.settled = true;
                Err(refusal)
            }
            Ok(Some(ToBroker::Redeemed { .. } | ToBroker::Permitted { .. }) | None) | Err(_) => Err(unanswered),
        }
    }

    /// Asks, and gives the number by which [`RemoteGate::done`] tells how the deed ended.
    ///
    /// # Errors
    /// The refusal for the agent.
    pub async fn ask_numbered(&self, request: Request) -> Result<(Permit, u64), Refusal> {
        self.asked(request).await
    }

    /// Tells the supervisor how a permitted deed ended.
    pub fn done(&self, ask: u64, outcome: &str) {
        let _ = self.outgoing.send(ToSupervisor::Done { ask, outcome: agentbox_core::safe::line(outcome, LONGEST_OUTCOME) });
    }

    async fn exchange(&self, ask: u64, message: ToSupervisor) -> Option<ToBroker> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).insert(ask, sender);
        self.outgoing.send(message).ok()?;
        receiver.await.ok()
    }
}

impl Gate for RemoteGate {
    fn ask(&self, request: Request) -> Asking<'_> {
        Box::pin(async move { self.asked(request).await.map(|(permit, _)| permit) })
    }
}

/// While it lives, somebody waits; dropped before an answer, the asker has gone.
struct Asker<'a> {
    gate: &'a RemoteGate,
    ask: u64,
    settled: bool,
}

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        lock(&self.gate.waiting).remove(&self.ask);
        if !self.settled {
            let _ = self.gate.outgoing.send(ToSupervisor::Gone { ask: self.ask });
        }
    }
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<ToBroker>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn receive(mut reader: OwnedReadHalf, waiting: &Waiting) {
    let mut buffer = Vec::new();
    loop {
        let message = match wire::decode::<ToBroker>(&mut buffer) {
            Ok(Some(message)) => message,
            Ok(None) => match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            },
            Err(error) => {
                tracing::error!(%error, "the supervisor sent something else than a message");
                return;
            }
        };
        let ask = match &message {
            ToBroker::Permitted { ask, .. } | ToBroker::Refused { ask, .. } | ToBroker::Redeemed { ask, .. } => *ask,
        };
        // An answer to somebody who has gone is dropped: its token stays unredeemed and expires.
        if let Some(sender) = lock(waiting).remove(&ask) {
            let _ = sender.send(message);
        }
    }
}

struct Queue(mpsc::Sender<Draft>);

impl Journal for Queue {
    fn append(&mut self, draft: Draft, durability: Durability) -> Result<u64, NotWritten> {
        match durability {
            Durability::Synced => Err(NotWritten("this must be on disk first, which only the supervisor can promise".to_owned())),
            // The number is given by the ledger's owner later; nothing here needs it.
            Durability::Grouped => self.0.try_send(draft).map(|()| 0).map_err(|_| NotWritten("the supervisor does not keep up".to_owned())),
        }
    }
}

/// A refusal because there is nobody to judge.
pub(crate) fn lost(request: &Request, reason: &str) -> Refusal {
    Refusal {
        kind: RefusalKind::Failed,
        operation: request.worst().map_or_else(String::new, |operation| operation.action.to_string()),
        place: String::new(),
        reason: reason.to_owned(),
        guidance: "Nothing was sent. The box must be started anew.".to_owned(),
        approval_id: None,
    }
}
