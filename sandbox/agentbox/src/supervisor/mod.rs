//! The supervisor's loop: wires the gate for the broker. Judge, look, hold, look again, write down, permit once.
//!
//! One task owns all state. It never waits: what takes time (a look, a sync) is done aside and comes back as a message. The control
//! socket is served before the broker, so that a flood of questions cannot keep a person from saying no.

mod asks;
mod burst;
mod couriers;
mod credentials;
mod deeds;
mod desk;
mod kinds;
mod looks;
mod names;
mod pace;
mod pipe;
mod records;
mod releases;
mod review;
mod words;

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    fs,
    future::Future,
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::Path,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use agentbox_core::{
    Destination, Lease, ResourceId,
    fingerprint::Fingerprint,
    ledger::{Draft, Durability, Event, NotWritten},
    policy::{Policy, settings::Limits},
    safe,
    wire::{ToBroker, ToSupervisor},
};
use agentbox_desk::{
    Card,
    card::About,
    channels::{self, Channel, Screen},
    control::{Door, Knock, Past},
    room::{Bounds, WaitingRoom, kernel_bits},
    signature::Approvers,
};
use tokio::sync::{mpsc, oneshot};

use crate::ledger::{Ledger, LedgerError};
use asks::Asks;
use burst::Burst;
use credentials::Credentials;
use deeds::Inner;
use looks::Looker;
use names::Names;
use pace::Pace;
use pipe::Who;
use words::Words;

/// Works that are done aside at once. Beyond it the broker is not read, so it waits; the control socket is.
const ASIDE: usize = 256;

/// Refusals that are kept for `why` and for the summary at the end.
const REFUSALS: usize = 64;

/// How long the last works may take once the box has ended: one sync, on a slow disk.
const LAST_WORKS: Duration = Duration::from_secs(5);

/// How long the broker may take to tell of what it allowed last, once the box has ended: it gathers for a tenth of a second, and then
/// only writes.
const LAST_RECORDS: Duration = Duration::from_secs(1);

/// How far an idle timer is set.
const IDLE: Duration = Duration::from_secs(3600);

/// Whether there is anybody to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// People may be asked.
    Attended,
    /// What would be held is refused at once.
    Unattended,
}

/// What the shim tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ShimEvent {
    /// The user pressed Ctrl-C: what waits is refused.
    Interrupted,
    /// A kernel program refused what the fences should have made impossible; the box ends with this.
    Alarm(String),
}

/// How the box is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rein {
    /// Ask it to end.
    Terminate,
    /// Stop it where it is, with all that acts for it.
    Freeze,
    /// Let it go on.
    Thaw,
}

/// How whoever asks is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhoAsked {
    /// By the addresses of its connection in the box: the client's and the server's.
    Connection(SocketAddr, SocketAddr),
    /// By its process, numbered as outside the box.
    Process(i32),
}

/// Finds by fingerprint where secrets lie. Blocks, within a bound.
pub(crate) type Find = Arc<dyn Fn(&[Fingerprint]) -> Vec<(usize, String)> + Send + Sync>;

/// All that the loop needs.
pub(crate) struct Setup {
    /// What judges.
    pub(crate) policy: Arc<Policy>,
    /// The box's name.
    pub(crate) session: String,
    /// Begun.
    pub(crate) ledger: Ledger,
    /// The broker's socket.
    pub(crate) broker: UnixStream,
    /// The file gate's socket, where there is one.
    pub(crate) files: Option<UnixStream>,
    /// The sockets of the processes that carry cards elsewhere.
    pub(crate) couriers: Vec<UnixStream>,
    /// The looker's socket, where there is one.
    pub(crate) looker: Option<UnixStream>,
    /// The same process's line for tokens that it redeems, where there is one.
    pub(crate) releases: Option<UnixStream>,
    /// Whether a look knows something of such a resource at such a destination: `look::find(…).is_some()`.
    pub(crate) can_look: fn(&ResourceId, &Destination) -> bool,
    /// Where outside of the box the very same secrets lie: index of the credential, and a place to name.
    pub(crate) find: Find,
    /// Who in the box that is: the asker first, then its ancestors.
    pub(crate) who: Box<dyn Fn(WhoAsked) -> Vec<String> + Send>,
    /// Whose signatures count.
    pub(crate) approvers: Approvers,
    /// The control socket, listening. Its name is removed at the end.
    pub(crate) control: Door,
    /// Whether there is anybody to ask.
    pub(crate) mode: Mode,
    /// Whose eyes `announce` reaches.
    pub(crate) screen: Screen,
    /// What was started, and in which folder: for people.
    pub(crate) started: (String, String),
    /// Holds the box.
    pub(crate) reins: Box<dyn Fn(Rein) + Send>,
    /// Says something on the supervisor's stderr.
    pub(crate) announce: Box<dyn FnMut(String) + Send>,
}

/// How the loop ended. In every case but the first the caller must end the box.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End<E> {
    /// The box ended by itself.
    Box(E),
    /// The broker ended, or did not keep to its language: nothing can be asked any more.
    Broker(String),
    /// The ledger cannot be written: nothing may happen any more.
    Ledger(String),
    /// A person, or the burst guard, ended it.
    Stopped(String),
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome<E> {
    /// How it ended.
    pub(crate) end: End<E>,
    /// The last refusals, newest last.
    pub(crate) refused: Vec<Past>,
    /// How many refusals there were. In an unattended run more than none means exit code 77 where the agent's is 0.
    pub(crate) refused_in_all: usize,
}

/// Opens the ledger and writes the box's first entry. Nothing may happen that the ledger cannot tell of: it is tried before the command
/// runs. It starts a thread, so nothing is forked afterwards.
///
/// # Errors
/// It cannot be written: no box may run.
pub(crate) fn begin(ledger_folder: &Path, session: &str) -> Result<Ledger, LedgerError> {
    let ledger = Ledger::open(ledger_folder)?;
    ledger.write(Draft::new(Event::SessionStarted, session), Durability::Grouped).map_err(|NotWritten(why)| LedgerError::NotWritten(why))?;
    Ok(ledger)
}

/// Serves the gate until the box has ended, or must.
pub(crate) async fn supervise<E>(setup: Setup, ended: impl Future<Output = E>, mut shim: mpsc::Receiver<ShimEvent>) -> Outcome<E> {
    let control_path = setup.control.path.clone();
    let outcome = match Supervisor::start(setup) {
        Ok((supervisor, ears)) => supervisor.run(ears, ended, &mut shim).await,
        Err(NotWritten(why)) => Outcome { end: End::Ledger(why), refused: Vec::new(), refused_in_all: 0 },
    };
    let _ = fs::remove_file(control_path);
    outcome
}

/// What the loop hears.
struct Ears {
    knocks: mpsc::Receiver<Knock>,
    inner: mpsc::Receiver<Inner>,
    asked: mpsc::Receiver<ToSupervisor>,
    wanted: Option<mpsc::Receiver<releases::Wanted>>,
    broker_end: tokio::task::JoinHandle<String>,
    files_end: Option<tokio::task::JoinHandle<String>>,
    records_end: tokio::task::JoinHandle<()>,
}

struct Supervisor {
    policy: Arc<Policy>,
    session: String,
    /// What cards tell of the box.
    about: About,
    ledger: Ledger,
    room: WaitingRoom,
    asks: Asks,
    looker: Option<Looker>,
    can_look: fn(&ResourceId, &Destination) -> bool,
    find: Find,
    who: Box<dyn Fn(WhoAsked) -> Vec<String> + Send>,
    /// Why nobody can be asked; `None` where somebody can.
    nobody: Option<&'static str>,
    channels: Vec<&'static Channel>,
    screen: Screen,
    announce: Box<dyn FnMut(String) + Send>,
    to_broker: mpsc::Sender<ToBroker>,
    to_files: Option<mpsc::Sender<ToBroker>>,
    to_self: mpsc::Sender<Inner>,
    /// Which credentials may still be used.
    credentials: Credentials,
    /// Who waits for a token to be struck, of those that are not the broker or the file gate.
    releases: HashMap<u64, oneshot::Sender<releases::Answer>>,
    /// Works that are done aside now.
    aside: usize,
    refused: VecDeque<Past>,
    refused_in_all: usize,
    strangers: usize,
    /// Signatures that did not count.
    unfit: usize,
    started: (String, String),
    reins: Box<dyn Fn(Rein) + Send>,
    couriers: Vec<mpsc::Sender<Box<Card>>>,
    burst: Burst,
    leases: Vec<Lease>,
    words: Words,
    names: Names,
    pace: Pace,
    /// Once it was asked to end: when it must, and by whom.
    stopping: Option<(Instant, String)>,
    /// Set once the box must end.
    fatal: Option<Fatal>,
}

enum Fatal {
    Stopped(String),
    Broker(String),
    Ledger(String),
}

impl Supervisor {
    fn start(setup: Setup) -> Result<(Self, Ears), NotWritten> {
        let (to_self, inner) = mpsc::channel(ASIDE * 2);
        let (to_knocks, knocks) = mpsc::channel(32);
        let broken = |what: &'static str| move |error: std::io::Error| NotWritten(format!("{what}: {error}"));
        let (records, records_end) = records::start(setup.ledger.clone(), setup.session.clone(), to_self.clone());
        let (to_heard, asked) = pipe::heard();
        let files = setup.files.map(|files| pipe::start(Who::FileGate, files, to_heard.clone(), records.clone()));
        let files = files.transpose().map_err(broken("the file gate's socket"))?;
        let pipe = pipe::start(Who::Broker, setup.broker, to_heard, records).map_err(broken("the broker's socket"))?;
        let (to_files, files_end) = files.map(|files| (files.to, files.end)).unzip();
        let looker = setup.looker.map(looks::start).transpose().map_err(broken("the looker's socket"))?;
        let wanted = setup.releases.map(releases::start).transpose().map_err(broken("the line of the credentials"))?;
        let listener = setup.control.listener;
        tokio::spawn(async move {
            if let Err(error) = agentbox_desk::control::serve(listener, to_knocks).await {
                tracing::error!(%error, "the control socket cannot be served");
            }
        });
        let credentials = Credentials::new(setup.policy.credential_rules(), Instant::now());
        let settings = setup.policy.settings();
        let channels: Vec<_> = settings.approval.channels.iter().filter_map(|name| channels::by_name(name)).collect();
        let nobody = match setup.mode {
            Mode::Unattended => Some("this run is unattended, so nobody can be asked"),
            Mode::Attended if channels.is_empty() && setup.couriers.is_empty() => Some("the policy names no channel through which somebody could be asked"),
            Mode::Attended => None,
        };
        let most = |limit: Option<u64>, default: u64| usize::try_from(limit.unwrap_or(default)).unwrap_or(usize::MAX);
        let (holds, alike) = (most(settings.limits.holds, Limits::HOLDS), most(settings.limits.alike, Limits::ALIKE));
        let bounds = Bounds { holds, alike, client_patience: settings.approval.client_patience, ..Bounds::default() };
        let couriers = setup.couriers.into_iter().map(|stream| couriers::start(stream, to_self.clone()));
        let couriers = couriers.collect::<Result<_, _>>().map_err(broken("the couriers' socket"))?;
        let burst = Burst::new(&setup.policy);
        let supervisor = Self {
            room: WaitingRoom::new(bounds, kernel_bits()),
            policy: setup.policy,
            about: About::new(&setup.session, setup.approvers),
            session: setup.session,
            ledger: setup.ledger,
            asks: Asks::default(),
            looker,
            can_look: setup.can_look,
            find: setup.find,
            who: setup.who,
            nobody,
            channels,
            screen: setup.screen,
            announce: setup.announce,
            to_broker: pipe.to,
            to_files,
            to_self,
            credentials,
            releases: HashMap::new(),
            aside: 0,
            refused: VecDeque::new(),
            refused_in_all: 0,
            strangers: 0,
            unfit: 0,
            started: setup.started,
            reins: setup.reins,
            burst,
            couriers,
            leases: Vec::new(),
            words: Words::default(),
            names: Names::default(),
            pace: Pace::of(holds),
            stopping: None,
            fatal: None,
        };
        Ok((supervisor, Ears { knocks, inner, asked, wanted, broker_end: pipe.end, files_end, records_end }))
    }

    async fn run<E>(mut self, mut ears: Ears, ended: impl Future<Output = E>, shim: &mut mpsc::Receiver<ShimEvent>) -> Outcome<E> {
        let mut ended = pin!(ended);
        let mut control = Served::Yes;
        let mut shim_there = Served::Yes;
        let end = loop {
            match self.fatal.take() {
                Some(Fatal::Broker(why)) => break End::Broker(why),
                Some(Fatal::Ledger(why)) => break End::Ledger(why),
                Some(Fatal::Stopped(why)) => break End::Stopped(why),
                None => {}
            }
            let alarm = self.next_deadline().unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                // In this order: people first, the end next, the broker last.
                biased;
                knock = ears.knocks.recv(), if control == Served::Yes => match knock {
                    Some(knock) => self.knocked(knock),
                    None => control = Served::No,
                },
                exit = &mut ended => break End::Box(exit),
                event = shim.recv(), if shim_there == Served::Yes => match event {
                    Some(event) => self.told(event),
                    None => shim_there = Served::No,
                },
                Some(inner) = ears.inner.recv() => self.came_back(inner),
                () = tokio::time::sleep_until(alarm.into()) => self.time_passed(),
                Some(message) = ears.asked.recv(), if self.aside < ASIDE => self.heard(message),
                Some(wanted) = async { match ears.wanted.as_mut() { Some(wanted) => wanted.recv().await, None => std::future::pending().await } } => {
                    self.release(wanted);
                }
                why = &mut ears.broker_end => break End::Broker(why.unwrap_or_else(|error| error.to_string())),
                // In this order: what it asked last is heard before it has ended.
                why = async { match ears.files_end.as_mut() { Some(end) => end.await, None => std::future::pending().await } } => {
                    ears.files_end = None;
                    break End::Broker(why.unwrap_or_else(|error| error.to_string()));
                }
            }
        };
        // Why a box has ended is told just before it has.
        while let Ok(event) = shim.try_recv() {
            self.told(event);
        }
        self.close(
            &mut ears,
            match &end {
                End::Stopped(why) => format!("the box was stopped: {why}"),
                End::Box(_) => "the box has ended".to_owned(),
                End::Broker(why) => format!("the broker has ended: {why}"),
                End::Ledger(why) => format!("the ledger cannot be written: {why}"),
            },
        )
        .await;
        Outcome { end, refused: self.refused.into_iter().collect(), refused_in_all: self.refused_in_all }
    }

    fn told(&mut self, event: ShimEvent) {
        match event {
            ShimEvent::Interrupted => {
                let deeds = self.room.refuse_all("its user interrupted the run");
                self.perform(deeds);
            }
            ShimEvent::Alarm(what) => {
                let note = safe::line(&format!("alarm: {what}"), 300);
                self.write(Draft { note, ..Draft::new(Event::Noted, &self.session) }, Durability::Synced);
            }
        }
    }

    /// Refuses all that is open and lets the last entries be written.
    async fn close(&mut self, ears: &mut Ears, why: String) {
        let why = safe::line(&why, 300);
        let deeds = self.room.refuse_all(&why);
        self.perform(deeds);
        for ask in self.asks.all() {
            self.drop_ask(ask, &why);
        }
        self.take_last_records(ears).await;
        let last = async {
            while self.aside > 0 {
                let Some(inner) = ears.inner.recv().await else { return };
                // Nothing is permitted any more: no ask is left, so what comes back is only counted and voided.
                self.came_back(inner);
            }
        };
        if tokio::time::timeout(LAST_WORKS, last).await.is_err() {
            tracing::error!("the last entries were not written in time");
        }
        let note = if self.refused_in_all > 0 { format!("{why}; {} refused", self.refused_in_all) } else { why };
        // Written from here: nothing else is left to do meanwhile, and a thread for it would be made for this one line.
        if let Err(error) = self.ledger.close(Draft { note, ..Draft::new(Event::SessionEnded, &self.session) }) {
            tracing::error!(%error, "the end of the box was not written");
        }
    }

    /// What the broker allowed by itself in the last moments still lies with it: closing our side asks for it.
    async fn take_last_records(&mut self, ears: &mut Ears) {
        let (nobody, _) = mpsc::channel(1);
        self.to_broker = nobody;
        self.to_files = None;
        let taken = async {
            // Read to the end, so that records behind other messages come through; the messages ask in vain.
            while ears.asked.recv().await.is_some() {}
            let _ = (&mut ears.records_end).await;
        };
        if tokio::time::timeout(LAST_RECORDS, taken).await.is_err() {
            tracing::error!("the broker did not tell of its last allowances in time");
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let stopping = self.stopping.as_ref().map(|(end, _)| *end);
        [self.room.next_deadline(), self.asks.next_deadline(), self.freeze_ends(), stopping].into_iter().flatten().min()
    }

    fn time_passed(&mut self) {
        let now = Instant::now();
        let deeds = self.room.tick(now);
        self.perform(deeds);
        for late in self.asks.late(now) {
            self.token_lost(late, "it was not redeemed in time");
        }
        self.freeze_is_over(now);
        if let Some((_, by)) = self.stopping.as_ref().filter(|(end, _)| now >= *end) {
            self.fatal = Some(Fatal::Stopped(by.clone()));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    Yes,
    No,
}
