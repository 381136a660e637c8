//! The file gate's process: judges the agent's stopped calls, keeps what they would destroy, and does them in the agent's place.

mod ask;
pub(crate) mod git;
mod judge;
pub(crate) mod keep;

use std::{
    collections::HashMap,
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use agentbox_core::{Digest, Permit, Refusal, RefusalKind, look::Undo, policy::Policy};
use agentbox_kernel::{
    control::Control,
    idle::Idle,
    launch::{ForTheGate, Stand},
    lease,
    selfguard::{self, Role},
    setting::Outside,
    stopped::{Bounds, Deed, Listener, Notice, Performed, Reading, Received, Roots, Stat, Touched, Ways, World},
    turns::{Busy, Turns},
};
use agentbox_vault::{Begin, Hands, Kept, Settings, Vault};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use self::{
    ask::{Answer, Dead, Line, Number},
    judge::{Judge, Since, Word},
    keep::{Keeper, Time, Unkept},
};
use crate::commands::run::chain;

/// How the process says that something was kept or lost in this session. 0 says that nothing was.
pub(crate) const KEPT: u8 = 10;

/// How often held calls are looked after: whether their callers are wanted elsewhere, whether a pipe's other end has come.
const LOOK_AFTER: Duration = Duration::from_millis(20);

/// How often, and how long at once, the first call waits for the clock by which files are stamped: its steps are 1 to 10 ms.
const MOST_PAUSES: usize = 100;
const PAUSE: Duration = Duration::from_micros(500);

/// Calls that wait at once; more are refused.
const MOST_WAITING: usize = 4096;

/// How often it is told that turns do not come; each of the agent's calls could be one.
const TOLD_AGAIN: Duration = Duration::from_secs(10);

/// How often one call is judged again because another thread was faster.
const MOST_TURNS: usize = 16;

/// How long the box's first process may take to hand over.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the process is given before it is forked.
pub(crate) struct Brief {
    pub(crate) policy: Arc<Policy>,
    pub(crate) session: String,
    /// The trees that the agent may write.
    pub(crate) writable: Vec<PathBuf>,
    /// Where the vault lies.
    pub(crate) vault: PathBuf,
    /// Where the boxes of this user take turns.
    pub(crate) turns: PathBuf,
    /// What runs, for people.
    pub(crate) about: String,
    /// Where the box has no namespaces: what no mount says.
    pub(crate) without: Option<Without>,
}

/// See [`Brief::without`].
pub(crate) struct Without {
    pub(crate) bounds: Bounds,
    /// Ports of loopback that lead to the broker.
    pub(crate) forward: Vec<u16>,
    /// Socket files of others that may be used.
    pub(crate) sockets: Vec<PathBuf>,
}

/// Comes with descriptors of the box: first where to stand, then the listener.
#[derive(serde::Serialize, serde::Deserialize)]
enum Handed {
    /// Its namespaces.
    Inside {
        /// Caches that the box sees through layers of its own.
        layered: Vec<PathBuf>,
    },
    /// The line to the broker, which listens at these ports.
    Outside { v4: u16, v6: Option<u16> },
    /// The stopped calls, and the kernel gate's notes, where that judges.
    Listener,
}

/// The process stands, and takes calls.
#[derive(serde::Serialize, serde::Deserialize)]
enum Ready {
    Yes,
    No(String),
}

/// Hands the box to the file gate's process, and waits, when it has all, until it takes calls; the stopped calls with the kernel gate's notes, where that judges.
///
/// # Errors
/// It does not, and why: the command must not run.
pub(crate) fn hand_over(gate: &Control, what: ForTheGate, notes: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let listener = match what {
        ForTheGate::Stand(Stand::Inside { user, mount, layered }) => return gate.send(&Handed::Inside { layered }, &[user.as_raw_fd(), mount.as_raw_fd()]),
        ForTheGate::Stand(Stand::Outside(Outside { v4, v6, line })) => return gate.send(&Handed::Outside { v4, v6 }, &[line.as_raw_fd()]),
        ForTheGate::Listener(listener) => listener,
    };
    let fds: Vec<_> = std::iter::once(listener.as_raw_fd()).chain(notes.map(|notes| notes.as_raw_fd())).collect();
    gate.send(&Handed::Listener, &fds)?;
    let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(&mut [PollFd::new(gate.as_fd(), PollFlags::POLLIN)], patience) {
            Ok(0) => return Err(io::Error::other("its process hangs")),
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    match gate.receive::<Ready>()? {
        Some((Ready::Yes, _)) => Ok(()),
        Some((Ready::No(why), _)) => Err(io::Error::other(why)),
        None => Err(io::Error::other("its process has ended")),
    }
}

/// The file gate's whole life.
pub(crate) fn run(brief: Brief, handed: &Control, supervisor: UnixStream) -> u8 {
    match begin(&brief, handed, supervisor) {
        Ok(None) => 0,
        Ok(Some(gate)) => {
            let _ = handed.send(&Ready::Yes, &[]);
            match gate.serve() {
                Ok(keeper) => {
                    if keeper.is_used() {
                        KEPT
                    } else {
                        0
                    }
                }
                Err(why) => {
                    let _ = writeln!(io::stderr(), "agentbox: the file gate: {why}\r");
                    1
                }
            }
        }
        Err(why) => {
            let _ = handed.send(&Ready::No(why), &[]);
            1
        }
    }
}

/// Prepares what can be prepared outside of the box, and moves into it. None: there is no box.
fn begin<'b>(brief: &'b Brief, handed: &Control, supervisor: UnixStream) -> Result<Option<Gate<'b>>, String> {
    let settings = brief.policy.settings();
    let proc = World::proc().map_err(|errno| format!("/proc: {errno}"))?;
    let hands = Hands::here(lease::read_lease).map_err(|error| chain(&error))?;
    let vault = Vault::open(&brief.vault, Settings::default()).map_err(|error| chain(&error))?;
    let begin = Begin { name: &brief.session, roots: &brief.writable, about: &brief.about, undoes: None };
    let session = vault.begin(&begin, hands).map_err(|error| chain(&error))?;
    let turns = Turns::join(&brief.turns, proc.as_fd(), &brief.session, &brief.writable).map_err(|error| chain(&error))?;
    let began = tick();
    let Some((stand, fds)) = handed.receive::<Handed>().map_err(|error| chain(&error))? else { return Ok(None) };
    let mut fds = fds.into_iter();
    let not_whole = || "the box was not handed over whole".to_owned();
    let mut next = || fds.next().ok_or_else(not_whole);
    let roots = if settings.nested_userns { Roots::Various } else { Roots::One };
    let world = match (stand, &brief.without) {
        (Handed::Inside { layered }, None) => {
            World::enter(proc, next()?.as_fd(), next()?.as_fd(), roots, &layered).map_err(|errno| format!("entering the box: {errno}"))?
        }
        (Handed::Outside { v4, v6 }, Some(Without { bounds, forward, sockets })) => {
            let ways = Ways::new(Outside { v4, v6, line: next()? }, forward.clone(), sockets.clone()).map_err(|error| chain(&error))?;
            World::outside(proc, bounds.clone(), ways).map_err(|errno| format!("standing by the box: {errno}"))?
        }
        (Handed::Inside { .. }, Some(_)) | (Handed::Outside { .. }, None) | (Handed::Listener, _) => return Err(not_whole()),
    };
    // What was born in the tick of the beginning stood there before, so nothing of the agent's may be born in it.
    for _ in 0..MOST_PAUSES {
        if tick() > began {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    selfguard::guard(Role::FileGate).map_err(|error| chain(&error))?;
    let line = Line::start(supervisor).map_err(|error| chain(&error))?;
    let keeper = Keeper::new(session).map_err(|error| chain(&error))?;
    let world = world.taking(turns);
    let judge = Judge::new(&brief.policy, &brief.session, began + Duration::from_nanos(1));
    // All this while the agent's process puts up its fences; the last of them hands this out.
    let listener = match handed.receive::<Handed>().map_err(|error| chain(&error))? {
        Some((Handed::Listener, fds)) => {
            let mut fds = fds.into_iter();
            let listener = Listener::from(fds.next().ok_or_else(not_whole)?);
            match fds.next() {
                Some(notes) => listener.with_notes(notes).map_err(|error| format!("the kernel gate's notes: {error}"))?,
                None => listener,
            }
        }
        Some(_) => return Err(not_whole()),
        None => return Ok(None),
    };
    Ok(Some(Gate { listener, world, judge, keeper, line, asked: HashMap::new(), later: Vec::new(), looked: Instant::now(), told: None }))
}

/// The time by which the kernel stamps files: it moves on in steps of some milliseconds, and what is made now is born at the last one.
fn tick() -> SystemTime {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME_COARSE).map(Duration::from);
    now.map_or_else(|_| SystemTime::now(), |now| SystemTime::UNIX_EPOCH + now)
}

/// A call that waits for an answer of the supervisor.
struct Waiting {
    notice: Notice,
    deed: Deed,
    /// By what its card says of an undo.
    unkept: Unkept,
}

struct Gate<'b> {
    listener: Listener,
    world: World,
    judge: Judge<'b>,
    keeper: Keeper,
    line: Line,
    asked: HashMap<Number, Waiting>,
    /// Openings of pipes whose other end is not there.
    later: Vec<(Notice, Deed)>,
    looked: Instant,
    /// When a turn that did not come was told of last.
    told: Option<Instant>,
}

/// Who let a deed pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Policy,
    /// A person, who was told what would be kept.
    People(Unkept),
}

/// Whether the box's processes are still there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Calls {
    Come,
    AreOver,
}

impl Gate<'_> {
    /// Until the supervisor wants to hear no more.
    fn serve(mut self) -> Result<Keeper, String> {
        let (mut calls, mut idle) = (Calls::Come, Idle::default());
        loop {
            let busy = !self.asked.is_empty() || !self.later.is_empty();
            let patience = if busy { PollTimeout::try_from(LOOK_AFTER).unwrap_or(PollTimeout::MAX) } else { idle.patience() };
            let wanted = if calls == Calls::Come { PollFlags::POLLIN } else { PollFlags::empty() };
            let mut fds = vec![PollFd::new(self.line.bell(), PollFlags::POLLIN)];
            if calls == Calls::Come {
                fds.push(PollFd::new(self.listener.as_fd(), wanted));
            }
            match poll(&mut fds, patience) {
                Ok(0) if !busy => idle.came(),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(format!("poll: {errno}")),
            }
            let rung = fds.first().is_some_and(|bell| bell.any() == Some(true));
            let called = fds.get(1).map(|listener| listener.revents().unwrap_or(PollFlags::POLLERR)).filter(|events| !events.is_empty());
            drop(fds);
            if rung {
                loop {
                    match self.line.answer() {
                        Ok(Some(answer)) => {
                            self.answered(answer);
                            self.end_turn();
                        }
                        Ok(None) => break,
                        // Whatever waits is refused by being dropped.
                        Err(Dead) => return Ok(self.keeper),
                    }
                }
            }
            if let Some(events) = called {
                match self.listener.take(events).map_err(|errno| format!("the listener: {errno}"))? {
                    Received::Call(notice) => self.called(notice),
                    Received::Nothing => {}
                    Received::End => calls = Calls::AreOver,
                }
            }
            if busy && self.looked.elapsed() >= LOOK_AFTER {
                self.look_after();
                self.end_turn();
            }
        }
    }

    fn called(&mut self, notice: Notice) {
        match Deed::read(notice, &self.world) {
            Reading::Answered => {}
            Reading::Deed(notice, deed) => self.decide(notice, deed),
        }
        self.end_turn();
    }

    /// Whatever was done with the turn, it is over.
    fn end_turn(&mut self) {
        self.world.give_turn();
        if let Some(busy) = self.world.was_busy()
            && self.told.is_none_or(|told| told.elapsed() >= TOLD_AGAIN)
        {
            self.told = Some(Instant::now());
            self.line.hindered(why(&busy));
        }
    }

    fn decide(&mut self, notice: Notice, deed: Deed) {
        let mut next = Some((notice, deed));
        for _ in 0..MOST_TURNS {
            let Some((notice, mut deed)) = next.take() else { return };
            // All that is judged hangs together with what other boxes do in the same trees.
            if let Err(errno) = self.world.take_turn() {
                return notice.refuse(errno);
            }
            if deed.things(&self.world).all(|thing| self.judge.is_free(&thing, self.since(thing.object, &thing.stat, thing.own))) {
                next = self.performed(deed.perform(notice, &self.world));
                continue;
            }
            let touches = match deed.hold().and_then(|()| deed.stands_to_reason()).and_then(|()| self.touches(&deed)) {
                Ok(touches) => touches,
                Err(errno) => return notice.refuse(errno),
            };
            match self.judge.judge(&touches, notice.tid(), &self.world) {
                Word::Yes(still) => {
                    let performed = {
                        let kept = self.keeper.keep(&touches, Unkept::Told, Time::Short);
                        if let Ok(None) = kept {
                            drop(still);
                            let (seen, _) = self.judge.digest(&touches, &self.world);
                            drop(touches);
                            self.keep_at_leisure(notice, deed, &seen, By::Policy)
                        } else {
                            drop(touches);
                            let performed = Self::done_with(kept.map(Option::unwrap_or_default), notice, deed, &self.world);
                            drop(still);
                            performed
                        }
                    };
                    next = self.performed(performed);
                }
                Word::Ask(mut request) => {
                    let undo = self.keeper.foretell(&touches);
                    let unkept = if matches!(undo, Undo::Yes(_)) { Unkept::Refused } else { Unkept::Told };
                    request.evidence.undo = Some(undo);
                    drop(touches);
                    if self.asked.len() >= MOST_WAITING {
                        return notice.refuse(Errno::EPERM);
                    }
                    match self.line.ask(*request) {
                        Ok(number) => {
                            self.asked.insert(number, Waiting { notice, deed, unkept });
                        }
                        Err(Dead) => notice.refuse(Errno::EPERM),
                    }
                    return;
                }
                Word::No(refusal) => return notice.refuse(errno_of(&refusal)),
            }
        }
        if let Some((notice, _)) = next {
            notice.refuse(Errno::EBUSY);
        }
    }

    fn touches<'d>(&self, deed: &'d Deed) -> Result<Vec<(Touched<'d>, Since)>, Errno> {
        let touches = deed.touches(&self.world)?;
        Ok(touches
            .into_iter()
            .map(|touch| {
                let since = self.since(Some(touch.object), &touch.stat, touch.own);
                (touch, since)
            })
            .collect())
    }

    /// Since when a thing is there.
    fn since(&self, object: Option<BorrowedFd<'_>>, stat: &Stat, own: bool) -> Since {
        if self.world.has_made(stat) { Since::Session } else { self.keeper.since(object, stat, own) }
    }

    /// What became of a deed. What comes back is another one, to be judged.
    fn performed(&mut self, performed: Performed) -> Option<(Notice, Deed)> {
        match performed {
            Performed::Answered(_) => None,
            Performed::Another(notice, deed) => Some((notice, deed)),
            Performed::Later(notice, deed) => {
                if self.later.len() < MOST_WAITING {
                    self.later.push((notice, deed));
                }
                None
            }
        }
    }

    /// Does what a person said yes to, in a turn that was begun with the last look: it is not lost with the machine's power either.
    fn keep_and_do(&self, notice: Notice, deed: Deed, seen: &Digest, unkept: Unkept) -> Performed {
        let kept = self.touches(&deed).and_then(|touches| self.keeper.keep(&touches, unkept, Time::Short));
        match kept {
            Ok(None) => self.keep_at_leisure(notice, deed, seen, By::People(unkept)),
            kept => {
                let kept = kept.map(Option::unwrap_or_default).and_then(|proofs| self.synced(proofs));
                Self::done_with(kept, notice, deed, &self.world)
            }
        }
    }

    fn synced<'k>(&'k self, proofs: Vec<Kept<'k>>) -> Result<Vec<Kept<'k>>, Errno> {
        match self.keeper.sync() {
            Ok(()) => Ok(proofs),
            Err(errno) => {
                proofs.into_iter().for_each(Kept::failed);
                Err(errno)
            }
        }
    }

    /// Keeps what takes long while it is nobody's turn, and then does what was judged, if in the new turn all is as it was seen.
    fn keep_at_leisure(&self, notice: Notice, deed: Deed, seen: &Digest, by: By) -> Performed {
        self.world.give_turn();
        let unkept = match by {
            By::Policy => Unkept::Told,
            By::People(unkept) => unkept,
        };
        let kept = self.touches(&deed).and_then(|touches| self.keeper.keep(&touches, unkept, Time::Any)).map(Option::unwrap_or_default);
        let proofs = match kept.and_then(|proofs| if by == By::Policy { Ok(proofs) } else { self.synced(proofs) }) {
            Ok(proofs) => proofs,
            failed @ Err(_) => return Self::done_with(failed, notice, deed, &self.world),
        };
        let new_look = self.world.take_turn().and_then(|()| self.touches(&deed)).and_then(|touches| self.is_as_seen(&touches, seen, by, notice.tid()));
        match new_look {
            Ok(still) => {
                let performed = Self::done_with(Ok(proofs), notice, deed, &self.world);
                drop(still);
                performed
            }
            Err(errno) => {
                proofs.into_iter().for_each(Kept::failed);
                notice.refuse(errno);
                Performed::Answered(Err(errno))
            }
        }
    }

    /// Whether the things are those that were judged, with the contents that were, which stay while the descriptors are open. What the policy allows
    /// is judged again by all else: whether something has another name, say.
    fn is_as_seen(&self, touches: &[(Touched<'_>, Since)], seen: &Digest, by: By, tid: i32) -> Result<Vec<OwnedFd>, Errno> {
        let (now, still) = self.judge.digest(touches, &self.world);
        if now != *seen {
            return Err(Errno::EBUSY);
        }
        match by {
            By::People(_) => Ok(still),
            By::Policy => match self.judge.judge(touches, tid, &self.world) {
                Word::Yes(still) => Ok(still),
                Word::Ask(_) | Word::No(_) => Err(Errno::EBUSY),
            },
        }
    }

    /// Does it, unless what it would lose could not be kept.
    fn done_with(kept: Result<Vec<Kept<'_>>, Errno>, notice: Notice, deed: Deed, world: &World) -> Performed {
        let proofs = match kept {
            Ok(proofs) => proofs,
            Err(errno) => {
                notice.refuse(errno);
                return Performed::Answered(Err(errno));
            }
        };
        let performed = deed.perform(notice, world);
        if !matches!(performed, Performed::Answered(Ok(()))) {
            proofs.into_iter().for_each(Kept::failed);
        }
        performed
    }

    fn answered(&mut self, answer: Answer) {
        let Some(Waiting { notice, deed, unkept }) = self.asked.remove(&answer.number) else {
            // Its caller has gone; what was permitted is given back.
            if let Ok((_, deed)) = answer.answer {
                self.line.done(deed, "nothing was done: its caller had gone".to_owned());
            }
            return;
        };
        match answer.answer {
            Err(refusal) => notice.refuse(errno_of(&refusal)),
            Ok((permit, number)) => self.permitted(Waiting { notice, deed, unkept }, permit, number),
        }
    }

    /// Does what was asked about, if the world is still as it was shown.
    fn permitted(&mut self, waiting: Waiting, permit: Permit, number: u64) {
        let Waiting { notice, deed, unkept } = waiting;
        let void = |gate: &Self, notice: Notice, why: &str| {
            gate.line.done(number, format!("nothing was done: {why}"));
            notice.refuse(Errno::EPERM);
        };
        // Nobody was kept from anything while a person was asked: the turn is taken now, and with it the last look.
        let (digest, still) = match self.world.take_turn().and_then(|()| self.touches(&deed)) {
            Ok(touches) => self.judge.digest(&touches, &self.world),
            Err(errno) => return void(self, notice, &errno.to_string()),
        };
        if let Err(unfit) = permit.consume(&digest, SystemTime::now()) {
            return void(self, notice, &unfit.to_string());
        }
        let outcome = match self.keep_and_do(notice, deed, &digest, unkept) {
            Performed::Answered(Ok(())) => "done".to_owned(),
            Performed::Answered(Err(errno)) => format!("it failed: {errno}"),
            // Another thing than the one that was shown: it is not done, and whoever wants it asks anew.
            Performed::Another(notice, _) | Performed::Later(notice, _) => {
                notice.refuse(Errno::EBUSY);
                "nothing was done: another thing has the name now".to_owned()
            }
        };
        drop(still);
        self.line.done(number, outcome);
    }

    fn look_after(&mut self) {
        self.looked = Instant::now();
        let world = &self.world;
        // A caller that was killed, or that is wanted for a signal of its own.
        let (stay, go): (HashMap<_, _>, HashMap<_, _>) =
            std::mem::take(&mut self.asked).into_iter().partition(|(_, waiting)| waiting.notice.is_waiting() && !waiting.notice.is_wanted_elsewhere(world));
        self.asked = stay;
        for (number, waiting) in go {
            self.line.gone(number);
            waiting.notice.refuse(Errno::EINTR);
        }
        for (notice, deed) in std::mem::take(&mut self.later) {
            if !notice.is_waiting() || notice.is_wanted_elsewhere(&self.world) {
                notice.refuse(Errno::EINTR);
            } else if let Some((notice, deed)) = {
                let performed = deed.perform(notice, &self.world);
                self.performed(performed)
            } {
                self.decide(notice, deed);
            }
        }
    }
}

/// Why a call was refused for want of its turn, for people.
fn why(busy: &Busy) -> String {
    let whose = busy.session.as_ref().map_or_else(|| "another box".to_owned(), |session| format!("the box {session}"));
    format!("{whose}, which writes the same files, is in the midst of a deed and does not end it: its file gate is stopped, or its disk hangs")
}

/// What the agent's program is told.
fn errno_of(refusal: &Refusal) -> Errno {
    match refusal.kind {
        RefusalKind::Pending | RefusalKind::Denied | RefusalKind::AlreadyDone => Errno::EPERM,
        RefusalKind::Failed => Errno::EIO,
    }
}
