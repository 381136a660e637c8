//! The gate as seen from the broker: questions go to the supervisor, and a permit comes back only when its token was struck.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use agentbox_core::{
    Digest, Gate, Permit, Refusal, RefusalKind, Request,
    gate::Asking,
    ledger::{Draft, Durability, Journal, NotWritten},
    permit::Token,
    wire::{self, ToBroker, ToSupervisor},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixStream, unix::OwnedReadHalf},
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

/// Plain allowances reach the ledger at most this late.
const FLUSH: Duration = Duration::from_millis(100);

/// Plain allowances that may wait for the next flush; more are refused, so that nothing happens unwritten.
const MOST_WAITING: usize = 8192;

/// Drafts in one message, far below the longest message.
const MOST_IN_ONE: usize = 256;

/// For the answer to a redeem, which waits on the disk alone.
const REDEEM: Duration = Duration::from_secs(20);

/// For the supervisor to take a message off the line; one that does not is stuck, and nobody judges any more.
const WRITE: Duration = Duration::from_secs(30);

/// Longest words of the agent's that are handed on, in characters.
const LONGEST_WORDS: usize = 1000;

/// Longest text of how a deed ended.
const LONGEST_OUTCOME: usize = 200;

/// Refusals of files that wait for somebody to ask `why`; older ones go.
const MOST_TOLD: usize = 64;

type Told = Mutex<VecDeque<(String, Refusal)>>;

type Waiting = Mutex<HashMap<u64, oneshot::Sender<ToBroker>>>;

/// The broker's end of the line to the supervisor.
#[derive(Debug)]
pub struct RemoteGate {
    next: AtomicU64,
    waiting: Arc<Waiting>,
    told: Arc<Told>,
    outgoing: mpsc::UnboundedSender<Vec<u8>>,
    drafts: mpsc::Sender<Draft>,
}

impl RemoteGate {
    /// Starts the line on `stream`. The returned future ends when the line is dead: the broker must then end too.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn start(stream: std::os::unix::net::UnixStream) -> io::Result<(Arc<Self>, impl Future<Output = ()>)> {
        Self::start_at(stream, 1)
    }

    /// As [`RemoteGate::start`], with `first` as the number of the first question.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn start_at(stream: std::os::unix::net::UnixStream, first: u64) -> io::Result<(Arc<Self>, impl Future<Output = ()>)> {
        stream.set_nonblocking(true)?;
        let (reader, mut writer) = UnixStream::from_std(stream)?.into_split();
        let (waiting, told): (Arc<Waiting>, Arc<Told>) = Default::default();
        // Bounded in effect: each asker sends at most four messages, and askers are bounded by the connections' limit.
        let (outgoing, mut to_send) = mpsc::unbounded_channel();
        let (drafts, mut to_record) = mpsc::channel(MOST_WAITING);
        let gate = Arc::new(Self { next: AtomicU64::new(first), waiting: waiting.clone(), told: told.clone(), outgoing, drafts });
        let (end, mut told_to_end) = oneshot::channel::<()>();
        let sending = async move {
            let mut gathered: Vec<Draft> = Vec::new();
            // Armed by the first draft of a group, so that an idle box wakes nobody.
            let mut flush: Option<Instant> = None;
            loop {
                let due = flush;
                let bytes = tokio::select! {
                    _ = &mut told_to_end => {
                        // The supervisor asks no more: what was allowed last is told before the line closes.
                        while let Ok(draft) = to_record.try_recv() {
                            gathered.push(draft);
                        }
                        for group in gathered.chunks(MOST_IN_ONE) {
                            let Ok(bytes) = records(group.to_vec()) else { return };
                            if !matches!(timeout(WRITE, writer.write_all(&bytes)).await, Ok(Ok(()))) {
                                return;
                            }
                        }
                        return;
                    }
                    bytes = to_send.recv() => match bytes { Some(bytes) => bytes, None => return },
                    draft = to_record.recv(), if gathered.len() < MOST_IN_ONE => {
                        let Some(draft) = draft else { return };
                        gathered.push(draft);
                        let soon = if gathered.len() < MOST_IN_ONE { FLUSH } else { Duration::ZERO };
                        flush = flush.map(|due| due.min(Instant::now() + soon)).or_else(|| Some(Instant::now() + soon));
                        continue;
                    }
                    () = async { match due { Some(due) => sleep_until(due).await, None => std::future::pending().await } } => {
                        flush = None;
                        match records(std::mem::take(&mut gathered)) {
                            Ok(bytes) => bytes,
                            // What was allowed cannot be told: the broker must not go on as if it had been.
                            Err(error) => {
                                tracing::error!(%error, "plain allowances cannot be written down");
                                return;
                            }
                        }
                    }
                };
                if !matches!(timeout(WRITE, writer.write_all(&bytes)).await, Ok(Ok(()))) {
                    return;
                }
            }
        };
        let ended = async move {
            let receiving = async {
                receive(reader, &waiting, &told).await;
                let _ = end.send(());
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = sending => {}
                () = receiving => {}
            }
            // Whoever waits learns that there is no answer: dropping the senders refuses. The channels close with this future, so
            // that nobody can ask or allow afterwards.
            lock(&waiting).clear();
        };
        Ok((gate, ended))
    }

    /// A journal for plain allowances: they follow to the supervisor's ledger within 100 ms.
    #[must_use]
    pub fn journal(&self) -> impl Journal + use<> {
        Queue(self.drafts.clone())
    }

    /// Asks, and gives a promise: the right itself comes only when it is redeemed, directly before the deed.
    ///
    /// # Errors
    /// The refusal for the agent.
    pub async fn promise(&self, request: Request) -> Result<Promise<'_>, Refusal> {
        let unanswered = lost(&request, "the supervisor has gone, so nobody can permit anything");
        let digest = request.digest;
        let ask = self.next.fetch_add(1, Ordering::Relaxed);
        let mut asker = Asker { gate: self, ask, settled: false };
        match self.exchange(ask, ToSupervisor::Ask { ask, request: Box::new(request) }).await {
            Some(ToBroker::Permitted { token, .. }) if *token.digest() == digest => Ok(Promise { asker, token, digest, unanswered }),
            Some(ToBroker::Refused { refusal, .. }) => {
                asker.settled = true;
                Err(refusal)
            }
            Some(ToBroker::Permitted { .. } | ToBroker::Redeemed { .. } | ToBroker::Told { .. }) | None => Err(unanswered),
        }
    }

    /// The refusals of files that came since the last time, oldest first.
    pub fn told(&self) -> Vec<(String, Refusal)> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// Hands the agent's own words on, for the card.
    pub fn said(&self, text: &str) {
        self.send(&ToSupervisor::Said { text: text.chars().take(LONGEST_WORDS).collect() });
    }

    /// Tells the supervisor which name comes next in the box's table of names.
    pub fn named(&self, name: &agentbox_core::HostName) {
        self.send(&ToSupervisor::Named { name: name.to_string() });
    }

    /// Tells the supervisor how a permitted deed ended.
    pub fn done(&self, ask: u64, outcome: &str) {
        self.send(&ToSupervisor::Done { ask, outcome: agentbox_core::safe::line(outcome, LONGEST_OUTCOME) });
    }

    /// Tells the supervisor why calls are refused that it was not asked about.
    pub fn hindered(&self, why: &str) {
        self.send(&ToSupervisor::Hindered { why: agentbox_core::safe::line(why, LONGEST_OUTCOME) });
    }

    async fn exchange(&self, ask: u64, message: ToSupervisor) -> Option<ToBroker> {
        let (sender, receiver) = oneshot::channel();
        // A question that is too long for the line is never asked, and so refused.
        let bytes = wire::encode(&message).ok()?;
        lock(&self.waiting).insert(ask, sender);
        self.outgoing.send(bytes).ok()?;
        receiver.await.ok()
    }

    fn send(&self, message: &ToSupervisor) {
        if let Ok(bytes) = wire::encode(message) {
            let _ = self.outgoing.send(bytes);
        }
    }
}

/// The drafts as messages, each short enough for the line.
fn records(drafts: Vec<Draft>) -> Result<Vec<u8>, wire::BadMessage> {
    let message = ToSupervisor::Record { drafts };
    match (wire::encode(&message), message) {
        (Err(wire::BadMessage::TooLong(_)), ToSupervisor::Record { drafts: mut first }) if first.len() > 1 => {
            let second = first.split_off(first.len() / 2);
            let mut bytes = records(first)?;
            bytes.extend_from_slice(&records(second)?);
            Ok(bytes)
        }
        (encoded, _) => encoded,
    }
}

impl Gate for RemoteGate {
    fn ask(&self, request: Request) -> Asking<'_> {
        Box::pin(async move { self.promise(request).await?.redeem().await })
    }
}

/// A yes that is not yet a right. Dropped, it says that the asker has gone.
pub struct Promise<'a> {
    asker: Asker<'a>,
    token: Token,
    digest: Digest,
    unanswered: Refusal,
}

impl Promise<'_> {
    /// The number by which [`RemoteGate::done`] tells how the deed ended.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.asker.ask
    }

    /// The supervisor strikes the token and writes that the deed begins; then the permit is ours.
    ///
    /// # Errors
    /// The refusal for the agent: nothing may be done.
    pub async fn redeem(mut self) -> Result<Permit, Refusal> {
        let ask = self.asker.ask;
        let redeem = ToSupervisor::Redeem { ask, nonce: self.token.nonce().to_owned(), digest: self.digest };
        match timeout(REDEEM, self.asker.gate.exchange(ask, redeem)).await {
            Ok(Some(ToBroker::Redeemed { proof, .. })) if proof.nonce() == self.token.nonce() => {
                self.asker.settled = true;
                self.token.redeemed(proof).map_err(|_| self.unanswered)
            }
            Ok(Some(ToBroker::Refused { refusal, .. })) => {
                self.asker.settled = true;
                Err(refusal)
            }
            Ok(Some(ToBroker::Redeemed { .. } | ToBroker::Permitted { .. } | ToBroker::Told { .. }) | None) | Err(_) => Err(self.unanswered),
        }
    }

    /// What names the token.
    #[must_use]
    pub fn nonce(&self) -> &str {
        self.token.nonce()
    }

    /// Another process of ours redeemed it, or tried: only how it ended remains to be told, by this number.
    #[must_use]
    pub fn handed_over(mut self) -> u64 {
        self.asker.settled = true;
        self.asker.ask
    }

    /// The deed cannot be done, for this reason: the promise is given back unused.
    pub fn forgo(mut self, why: &str) {
        self.asker.settled = true;
        self.asker.gate.done(self.asker.ask, why);
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
            self.gate.send(&ToSupervisor::Gone { ask: self.ask });
        }
    }
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<ToBroker>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn receive(mut reader: OwnedReadHalf, waiting: &Waiting, told: &Told) {
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
            ToBroker::Told { summary, refusal } => {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                if told.len() >= MOST_TOLD {
                    told.pop_front();
                }
                told.push_back((summary.clone(), refusal.clone()));
                continue;
            }
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
