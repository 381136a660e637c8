//! A supervisor on a thread, with the test in the places of the broker, the looker and the terminals.

use std::{
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use agentbox_core::{
    Destination, Digest, Effect, Evidence, HostName, Operation, Refusal, Request, Resource, ResourceId,
    ledger::{Draft, Entry, Event},
    look::{Loss, Seen, Undo},
    policy::{Context, LayerKind, LayerText, Policy},
    wire::{self, LookAnswer, LookRequest, ToBroker, ToSupervisor},
};
use agentbox_desk::{
    HoldId,
    channels::Screen,
    control::{self, Folder, FromDesk, RuledWord, Session, ToDesk, Via},
    signature::Approvers,
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    ledger::{ENTRIES, read},
    supervisor::{Mode, Outcome, Rein, Setup, ShimEvent, WhoAsked, supervise},
};

/// So long a test waits for what must come.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// So long it listens for what must not.
pub(super) const QUIET: Duration = Duration::from_millis(300);

const POLICY: &str = r#"
[place.production]
resources = ["railway:environment/production"]
read      = "allow"
write     = "hold"
destroy   = "hold"
confirm   = "name"

[place.staging]
resources = ["railway:environment/staging"]
read      = "allow"
write     = "allow"
destroy   = "allow"

[place.forbidden]
hosts   = ["forbidden.example.com"]
read    = "deny"
write   = "deny"
destroy = "deny"

[place.api]
hosts   = ["api.example.com"]
read    = "allow"
write   = "allow"
destroy = "hold"

[credential.api]
source = "env:UNUSED"
for    = ["api.example.com"]

[approval]
"#;

/// What the looker says of every thing.
pub(super) type Sight = Result<Seen, String>;

/// How a bench is set up.
pub(super) struct Setting {
    /// Lines of `[approval]`.
    pub(super) approval: &'static str,
    pub(super) approvers: Approvers,
    pub(super) mode: Mode,
    pub(super) looker: Looking,
    pub(super) screen: Screen,
}

/// What kind of looker there is.
#[derive(PartialEq, Eq)]
pub(super) enum Looking {
    There,
    Dead,
    Absent,
}

impl Default for Setting {
    fn default() -> Self {
        Self { approval: "patience = \"10m\"", approvers: Approvers::default(), mode: Mode::Attended, looker: Looking::There, screen: Screen::SharedWithAgent }
    }
}

pub(super) struct Bench {
    dir: tempfile::TempDir,
    pub(super) broker: UnixStream,
    buffer: Vec<u8>,
    pub(super) sight: Arc<Mutex<Sight>>,
    pub(super) looks: Arc<Mutex<usize>>,
    pub(super) said: Arc<Mutex<Vec<String>>>,
    pub(super) reins: Arc<Mutex<Vec<Rein>>>,
    releases: UnixStream,
    shim: mpsc::Sender<ShimEvent>,
    exit: Option<oneshot::Sender<u8>>,
    thread: Option<JoinHandle<Outcome<u8>>>,
    session: Session,
}

/// A volume in an environment, as a look tells of it.
pub(super) fn seen_in(environment: &str, backups: u64) -> Seen {
    let of = |what: &str, name: &str| ResourceId::new("railway", &format!("{what}/{name}"));
    Seen {
        resource: of("volume", "3d2c"),
        name: "pgdata".to_owned(),
        lineages: vec![vec![of("environment", environment), of("project", "shop")]],
        names: Vec::new(),
        losses: vec![Loss { what: "backups".to_owned(), count: Some(backups), detail: "inside the volume".to_owned() }],
        undo: Undo::No("the backups go with it".to_owned()),
    }
}

/// A request that destroys a volume which nobody has placed.
pub(super) fn deletion(number: u8) -> Box<Request> {
    let volume = Resource::unplaced(ResourceId::new("railway", "volume/3d2c"));
    request(number, Operation::new(Effect::Destroy, "railway.volumeDelete", volume, "deletes a volume"))
}

/// A request that no one lets pass.
pub(super) fn forbidden(number: u8) -> Box<Request> {
    let mut request = placed(number, Effect::Write, "nowhere");
    request.operations[0].resource = Resource::rooted(ResourceId::new("note", "1"));
    request.destination.as_mut().unwrap().host = HostName::parse("forbidden.example.com").unwrap();
    request
}

/// A request whose operation lies in an environment.
pub(super) fn placed(number: u8, effect: Effect, environment: &str) -> Box<Request> {
    let lineage = agentbox_core::Lineage::Known(vec![vec![ResourceId::new("railway", &format!("environment/{environment}"))]]);
    let resource = Resource { id: ResourceId::new("note", "1"), lineage };
    request(number, Operation::new(effect, "railway.something", resource, "does something"))
}

fn request(number: u8, operation: Operation) -> Box<Request> {
    Box::new(Request {
        operations: vec![operation],
        destination: Some(Destination { host: HostName::parse("api.example.com").unwrap(), port: 443, addresses: Vec::new() }),
        digest: digest(number),
        evidence: Evidence { summary: format!("POST https://api.example.com/{number}"), ..Evidence::default() },
    })
}

pub(super) fn digest(number: u8) -> Digest {
    Digest::of([[number].as_slice()])
}

fn can_look(resource: &ResourceId, _: &Destination) -> bool {
    resource.scheme() == "railway"
}

fn policy(approval: &str) -> Arc<Policy> {
    let bytes = format!("{POLICY}{approval}\n").into_bytes();
    let layer = LayerText { name: "test.toml".to_owned(), base: PathBuf::from("/w"), kind: LayerKind::User, bytes };
    let context = Context { home: PathBuf::from("/home/u"), workspace: PathBuf::from("/w"), ..Context::default() };
    Arc::new(Policy::load(vec![layer], &context, &mut |name: &str, _: &Path| Err(format!("no {name}"))).unwrap())
}

impl Bench {
    pub(super) fn new(setting: Setting) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let door = folder(dir.path()).listen("b1").unwrap();
        let session = Session { name: "b1".to_owned(), socket: door.path.clone() };
        let (broker, supervisors) = UnixStream::pair().unwrap();
        let sight = Arc::new(Mutex::new(Ok(seen_in("production", 7))));
        let looks = Arc::new(Mutex::new(0));
        let looker = (setting.looker != Looking::Absent).then(|| looker(&setting.looker, Arc::clone(&sight), Arc::clone(&looks)));
        let (shim, events) = mpsc::channel(4);
        let (exit, ended) = oneshot::channel();
        let said = Arc::new(Mutex::new(Vec::new()));
        let announced = Arc::clone(&said);
        let reins = Arc::new(Mutex::new(Vec::new()));
        let pulled = Arc::clone(&reins);
        let ledger_folder = dir.path().join("ledger");
        let (releases, supervisors_end) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || {
            let setup = Setup {
                policy: policy(setting.approval),
                session: "b1".to_owned(),
                ledger: crate::supervisor::begin(&ledger_folder, "b1").unwrap(),
                broker: supervisors,
                files: None,
                couriers: Vec::new(),
                looker,
                releases: Some(supervisors_end),
                can_look,
                find: Arc::new(|_| Vec::new()),
                who: Box::new(|asker| match asker {
                    WhoAsked::Connection(client, server) => vec![format!("curl (pid 7): curl from {client} to {server}")],
                    WhoAsked::Process(pid) => vec![format!("rm (pid {pid})")],
                }),
                approvers: setting.approvers,
                control: door,
                mode: setting.mode,
                screen: setting.screen,
                started: ("bash".to_owned(), "/w".to_owned()),
                reins: Box::new(move |rein| pulled.lock().unwrap().push(rein)),
                announce: Box::new(move |text| announced.lock().unwrap().push(text)),
            };
            serve(setup, ended, events)
        });
        Self { dir, broker, buffer: Vec::new(), sight, looks, said, reins, releases, shim, exit: Some(exit), thread: Some(thread), session }
    }

    /// The folder to give to commands as `XDG_RUNTIME_DIR`.
    pub(super) fn runtime_dir(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn ledger(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    pub(super) fn entries_file(&self) -> PathBuf {
        self.ledger().join(ENTRIES)
    }

    pub(super) fn tell(&mut self, message: &ToSupervisor) {
        self.broker.write_all(&wire::encode(message).unwrap()).unwrap();
    }

    pub(super) fn ask(&mut self, ask: u64, request: Box<Request>) {
        self.tell(&ToSupervisor::Ask { ask, request });
    }

    pub(super) fn redeem(&mut self, ask: u64, nonce: &str, number: u8) {
        self.tell(&ToSupervisor::Redeem { ask, nonce: nonce.to_owned(), digest: digest(number) });
    }

    /// Asks for a token as the process does that holds the credentials.
    pub(super) fn release(&mut self, ask: u64, nonce: &str, number: u8) -> Result<Vec<String>, String> {
        let wanted = wire::Release { ask, nonce: nonce.to_owned(), digest: digest(number) };
        self.releases.write_all(&wire::encode(&wanted).unwrap()).unwrap();
        self.releases.set_read_timeout(Some(SOON)).unwrap();
        let (mut buffer, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            if let Some(wire::Released { ask: whose, credentials }) = wire::decode(&mut buffer).unwrap() {
                assert_eq!(whose, ask);
                return credentials;
            }
            let read = self.releases.read(&mut chunk).unwrap();
            assert!(read > 0, "the line ended");
            buffer.extend_from_slice(&chunk[..read]);
        }
    }

    /// The next message; `None` when the supervisor says nothing, or has closed.
    pub(super) fn hear_within(&mut self, patience: Duration) -> Option<ToBroker> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(message) = wire::decode(&mut self.buffer).unwrap() {
                return Some(message);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.broker.set_read_timeout(Some(left)).unwrap();
            let mut chunk = [0; 65536];
            match self.broker.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
            }
        }
    }

    pub(super) fn quiet(&mut self) {
        if let Some(message) = self.hear_within(QUIET) {
            panic!("something was said: {message:?}");
        }
    }

    /// The nonce of the token that comes next for `ask`.
    pub(super) fn permitted(&mut self, ask: u64) -> String {
        match self.hear_within(SOON) {
            Some(ToBroker::Permitted { ask: whose, token }) if whose == ask => token.nonce().to_owned(),
            other => panic!("no permit for {ask}: {other:?}"),
        }
    }

    pub(super) fn refused(&mut self, ask: u64) -> Refusal {
        match self.hear_within(SOON) {
            Some(ToBroker::Refused { ask: whose, refusal }) if whose == ask => refusal,
            other => panic!("no refusal for {ask}: {other:?}"),
        }
    }

    pub(super) fn redeemed(&mut self, ask: u64) -> String {
        match self.hear_within(SOON) {
            Some(ToBroker::Redeemed { ask: whose, proof }) if whose == ask => proof.nonce().to_owned(),
            other => panic!("not redeemed for {ask}: {other:?}"),
        }
    }

    pub(super) fn call(&self, message: &ToDesk) -> FromDesk {
        control::call(&self.session, message).unwrap()
    }

    /// The ids of what waits, once there are so many.
    pub(super) fn holds(&self, many: usize) -> Vec<HoldId> {
        let deadline = Instant::now() + SOON;
        loop {
            let FromDesk::Holds { rows, .. } = self.call(&ToDesk::List) else { panic!("no list") };
            if rows.len() == many {
                return rows.into_iter().map(|row| row.id).collect();
            }
            assert!(Instant::now() < deadline, "{} holds instead of {many}", rows.len());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The one that waits, with so many askers.
    pub(super) fn hold(&self, askers: usize) -> HoldId {
        let deadline = Instant::now() + SOON;
        loop {
            let id = self.holds(1).remove(0);
            if self.card(&id).askers == askers {
                return id;
            }
            assert!(Instant::now() < deadline, "never {askers} askers");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn card(&self, id: &HoldId) -> agentbox_desk::Card {
        match self.call(&ToDesk::Show { id: id.clone() }) {
            FromDesk::Card(card) => *card,
            other => panic!("{other:?}"),
        }
    }

    /// Approves as a person would who has read the card.
    pub(super) fn approve(&self, id: &HoldId) -> FromDesk {
        let card = self.card(id);
        self.call(&ToDesk::Approve {
            id: id.clone(),
            card: card.digest.expect("it waits"),
            typed: card.wants.typed,
            lasting: None,
            via: Via::Terminal,
            signature: None,
        })
    }

    pub(super) fn approved(&self, id: &HoldId) {
        assert_eq!(self.approve(id), FromDesk::Ruled(RuledWord::Approved));
    }

    /// The one thing that was announced.
    pub(super) fn announced(&self) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            if let [one] = &self.said.lock().unwrap()[..] {
                return one.clone();
            }
            assert!(Instant::now() < deadline, "nothing was announced");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn interrupt(&self) {
        self.shim.blocking_send(ShimEvent::Interrupted).unwrap();
    }

    /// Ends the box.
    pub(super) fn end(mut self) -> (Outcome<u8>, Vec<Entry>) {
        let _ = self.exit.take().unwrap().send(0);
        self.wait()
    }

    /// Waits until the supervisor has ended by itself. The ledger must be whole.
    pub(super) fn wait(mut self) -> (Outcome<u8>, Vec<Entry>) {
        let outcome = self.thread.take().unwrap().join().unwrap();
        assert!(!self.session.socket.exists(), "the control socket's name is left");
        let report = read::verify(&self.ledger());
        let text = std::fs::read_to_string(self.entries_file()).unwrap_or_default();
        let entries: Vec<Entry> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if let Ok(report) = report {
            assert_eq!(report.problem, None);
            assert_eq!(report.entries, entries.len() as u64);
        }
        (outcome, entries)
    }
}

fn serve(setup: Setup, ended: oneshot::Receiver<u8>, events: mpsc::Receiver<ShimEvent>) -> Outcome<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(supervise(setup, async { ended.await.unwrap_or(255) }, events))
}

/// The folder of the sockets below `dir`.
pub(super) fn folder(dir: &Path) -> Folder {
    let runtime_dir = dir.as_os_str().to_owned();
    Folder::find(&move |name| (name == "XDG_RUNTIME_DIR").then(|| runtime_dir.clone()), 0).unwrap()
}

/// A supervisor in this very process, with its broker at the other end of `broker`. Does not return before that ends.
pub(super) fn supervise_here(dir: &Path, broker: UnixStream) -> Outcome<u8> {
    let (_exit, ended) = oneshot::channel();
    let (_shim, events) = mpsc::channel(1);
    let setup = Setup {
        policy: policy("patience = \"10m\""),
        session: "b1".to_owned(),
        ledger: crate::supervisor::begin(&dir.join("ledger"), "b1").unwrap(),
        broker,
        files: None,
        releases: None,
        couriers: Vec::new(),
        looker: None,
        can_look,
        find: Arc::new(|_| Vec::new()),
        who: Box::new(|_| Vec::new()),
        approvers: Approvers::default(),
        control: folder(dir).listen("b1").unwrap(),
        mode: Mode::Attended,
        screen: Screen::SharedWithAgent,
        started: (String::new(), String::new()),
        reins: Box::new(|_| ()),
        announce: Box::new(|_| ()),
    };
    serve(setup, ended, events)
}

fn looker(kind: &Looking, sight: Arc<Mutex<Sight>>, looks: Arc<Mutex<usize>>) -> UnixStream {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    if *kind == Looking::Dead {
        return theirs;
    }
    std::thread::spawn(move || {
        let mut buffer = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            while let Some(LookRequest { id, .. }) = wire::decode(&mut buffer).unwrap() {
                *looks.lock().unwrap() += 1;
                let seen = sight.lock().unwrap().clone();
                if ours.write_all(&wire::encode(&LookAnswer { id, seen }).unwrap()).is_err() {
                    return;
                }
            }
            match ours.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(read) => buffer.extend_from_slice(&chunk[..read]),
            }
        }
    });
    theirs
}

/// The events of the entries, in order, without the first and the last.
pub(super) fn events(entries: &[Entry]) -> Vec<Event> {
    let events: Vec<Event> = entries.iter().map(|entry| entry.draft.event.clone()).collect();
    assert_eq!((events.first(), events.last()), (Some(&Event::SessionStarted), Some(&Event::SessionEnded)), "{entries:#?}");
    events[1..events.len() - 1].to_vec()
}

/// A draft as the broker sends it.
pub(super) fn plain_draft() -> Draft {
    Draft { summary: "GET https://api.example.com/".to_owned(), ..Draft::new(Event::Allowed, "b1") }
}
