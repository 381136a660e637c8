//! The connect probes: eBPF programs on the box's cgroup that remember who opened which connection, and refuse sockets that the fences
//! should have made impossible. And, where the policy requires it, the kernel gate: programs that refuse a process of the box what only the
//! file gate may do to files.
//!
//! They are loaded by a process of their own, which holds CAP_BPF only until they are attached, never sees a byte of the agent's, and
//! afterwards only answers who a connection's opener was. When it ends, the programs end with it; the fences stand without them.

mod btf;
mod gate;
mod holder;
mod load;
mod words;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

pub use agentbox_ebpf::Asker;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

pub use words::Seen;

use crate::{
    capabilities,
    cgroup::Cgroup,
    control::Control,
    idle::Idle,
    launch::NestedUserns,
    layer::{Layer, LayerReport},
    process::{Child, First, ProcessError, fork_child},
    selfguard, sys,
};

/// How long the programs may take to be loaded where the policy requires them.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long an answer may take where a person is asked: without one, `/proc` is looked through.
const ANSWER: Duration = Duration::from_millis(100);

/// Questions that may be without an answer: with more, the process is taken for stuck and not asked, since a full socket would wait.
const MOST_OPEN: u64 = 32;

/// The initial pid namespace's identity (`PROC_PID_INIT_INO`): only there the kernel's numbers are ours.
const INITIAL_PIDS: &str = "pid:[4026531836]";

/// For a trial: a network that none is.
const NOBODYS_NETWORK: u64 = 1;
/// And nobody's memory.
const NOBODYS: u32 = 0;

/// When the programs are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// Before the box begins: the policy requires them.
    AtOnce(Gate),
    /// When the box has run for a moment: one that ends before pays nothing for them.
    Soon,
}

/// How long a moment is. Connections made in it are told by `/proc`.
const MOMENT: Duration = Duration::from_millis(50);

/// What the supervisor says to the process of the probes.
#[derive(Debug, Serialize, Deserialize)]
enum ToProber {
    /// With the cgroup's descriptor: load and attach.
    Attach { network: u64, users: u32, strict: bool, when: When },
    /// Who opened this connection?
    Who { number: u64, client: SocketAddr, server: SocketAddr },
}

/// What it says.
#[derive(Debug, Serialize, Deserialize)]
enum FromProber {
    /// And what became of the programs for files. Where they judge, with the map of notes.
    Attached {
        files: Result<(), String>,
    },
    Failed(String),
    Who {
        number: u64,
        seen: Option<Seen>,
    },
}

/// Why there are no probes.
pub fn missing(why: &str) -> LayerReport {
    LayerReport::missing(
        Layer::ConnectProbes,
        why,
        "run agentbox as root, outside of containers, on Linux 6.1 or newer with cgroup v2 mounted; `require` must not name it elsewhere",
    )
}

/// Why there is no kernel gate.
pub fn no_gate(why: &str) -> LayerReport {
    LayerReport::missing(
        Layer::KernelGate,
        why,
        "run agentbox as root, outside of containers, on a kernel that lets programs be loaded for its security hooks (Linux 6.1 or newer with \
         CONFIG_BPF_LSM, and `bpf` in `lsm=` of its command line); `require` must not name it elsewhere",
    )
}

/// Whether a box is to have the kernel gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gate {
    /// Nobody asked for it.
    Not,
    /// It refuses what only the file gate may do, none of which comes to it.
    Refuses,
    /// It leaves to the kernel what is opened for writing and removed of the box's own works, and sends the rest of that to the file gate.
    Judges,
}

/// Whether this process could load them at all; else why not. Cheap.
///
/// # Errors
/// One sentence.
pub fn possible() -> Result<(), String> {
    let has = |capability| caps::has_cap(None, caps::CapSet::Effective, capability).unwrap_or(false);
    if !has(caps::Capability::CAP_BPF) && !has(caps::Capability::CAP_SYS_ADMIN) || !has(caps::Capability::CAP_NET_ADMIN) {
        return Err("this user may load no programs into the kernel (CAP_BPF and CAP_NET_ADMIN)".to_owned());
    }
    match std::fs::read_link("/proc/self/ns/pid") {
        Ok(link) if link.as_os_str() == INITIAL_PIDS => {}
        Ok(_) => return Err("agentbox runs in a pid namespace of its own, and the kernel's numbers are not ours there".to_owned()),
        Err(error) => return Err(format!("/proc/self/ns/pid: {error}")),
    }
    crate::cgroup::own_path().map(drop).ok_or_else(|| "no cgroup v2 is mounted".to_owned())
}

/// Loads and attaches them to a cgroup made for it, and lets go of both again.
///
/// # Errors
/// One sentence.
pub fn try_them() -> Result<(), String> {
    possible()?;
    let cgroup = crate::cgroup::plain(&format!("doctor-{}", std::process::id()))?;
    let folder = cgroup.open().map_err(|error| error.to_string())?;
    load::load(&folder, NOBODYS_NETWORK, true).map(drop)
}

/// Loads and attaches the kernel gate for a cgroup made for it, and lets go of both again.
///
/// # Errors
/// One sentence.
pub fn try_gate() -> Result<(), String> {
    possible()?;
    let cgroup = crate::cgroup::plain(&format!("doctor-{}", std::process::id()))?;
    let folder = cgroup.open().map_err(|error| error.to_string())?;
    gate::load(&folder, NOBODYS, Gate::Refuses).map(drop)
}

/// The process of the probes, as the supervisor has it.
#[derive(Debug)]
pub struct Prober {
    child: Child,
    line: Control,
    asked: u64,
    /// The last number that was answered.
    answered: u64,
}

impl Prober {
    /// Starts it; nothing is loaded yet.
    ///
    /// The caller has no other thread.
    ///
    /// # Errors
    /// As [`fork_child`].
    pub fn start() -> Result<Self, ProcessError> {
        let (line, theirs) = Control::pair().map_err(ProcessError::Fork)?;
        let keep = [theirs.as_fd().as_raw_fd()];
        let child = fork_child(First::Parent, &keep, move |socket| run(&theirs, socket))?;
        Ok(Self { child, line, asked: 0, answered: 0 })
    }

    /// Has the programs loaded and attached to the box's cgroup. `of_the_box` is any socket of the box's network.
    ///
    /// # Errors
    /// It could not be told.
    pub fn attach(&self, cgroup: &Cgroup, of_the_box: BorrowedFd<'_>, nested: NestedUserns, when: When) -> io::Result<()> {
        let network = sys::socket::network_cookie(of_the_box)?;
        let folder = cgroup.open()?;
        let users = cgroup.users()?;
        // A box that may make namespaces of its own may have networks of its own in them, which lead nowhere.
        let strict = nested == NestedUserns::Refused;
        self.line.send(&ToProber::Attach { network, users, strict, when }, &[folder.as_raw_fd()])
    }

    /// Waits until they are attached: the connect probes, and the kernel gate. Where that judges, with the map in which it notes which call is on its
    /// way to the file gate.
    pub fn report(&self) -> ([LayerReport; 2], Option<OwnedFd>) {
        match self.hear(Instant::now() + PATIENCE) {
            Some((FromProber::Attached { files }, fds)) => {
                let gate = files.map_or_else(|why| no_gate(&why), |()| LayerReport::enforced(Layer::KernelGate));
                ([LayerReport::enforced(Layer::ConnectProbes), gate], fds.into_iter().next())
            }
            Some((FromProber::Failed(why), _)) => ([missing(&why), no_gate(&why)], None),
            Some((FromProber::Who { .. }, _)) | None => {
                let why = "the process of the probes gives no answer";
                ([missing(why), no_gate(why)], None)
            }
        }
    }

    /// Who opened this connection, as the kernel saw it; `None` where it was opened before the probes, or they are not there.
    #[must_use]
    pub fn who(&mut self, client: SocketAddr, server: SocketAddr) -> Option<Seen> {
        if self.asked - self.answered >= MOST_OPEN {
            self.take_late_answers();
            return None;
        }
        let until = Instant::now() + ANSWER;
        self.asked += 1;
        let number = self.asked;
        self.line.send(&ToProber::Who { number, client, server }, &[]).ok()?;
        loop {
            match self.hear(until)?.0 {
                FromProber::Who { number: answered, seen } => {
                    self.answered = answered;
                    if answered == number {
                        return seen;
                    }
                }
                FromProber::Attached { .. } => {}
                FromProber::Failed(why) => {
                    tracing::warn!(%why, "no connect probes");
                    return None;
                }
            }
        }
    }

    /// Without waiting for any.
    fn take_late_answers(&mut self) {
        while let Some((FromProber::Who { number, .. }, _)) = self.hear(Instant::now()) {
            self.answered = number;
        }
    }

    fn hear(&self, until: Instant) -> Option<(FromProber, Vec<OwnedFd>)> {
        let left = until.saturating_duration_since(Instant::now());
        let patience = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut watched = [PollFd::new(self.line.as_fd(), PollFlags::POLLIN)];
        match poll(&mut watched, patience) {
            Ok(ready) if ready > 0 => self.line.receive().ok().flatten(),
            Ok(_) | Err(_) => None,
        }
    }

    /// Where it tells of breaches: one line of text each. It reads as ended when the process has ended.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn breaches(&self) -> io::Result<UnixStream> {
        self.child.socket.try_clone()
    }
}

/// The life of the process of the probes.
fn run(line: &Control, socket: UnixStream) -> u8 {
    let Ok(Some((ToProber::Attach { network, users, strict, when }, fds))) = line.receive() else { return 0 };
    let Some(folder) = fds.into_iter().next() else { return 1 };
    if when == When::Soon && !lasts_a_moment(line) {
        return 0;
    }
    let gate = match when {
        When::AtOnce(gate) => gate,
        When::Soon => Gate::Not,
    };
    // What the agent does goes first, unless the policy has it wait for this.
    if when == When::Soon {
        sys::fork::only_when_idle();
    }
    crate::cgroup::sweep();
    let failed = |why: String| {
        let _ = line.send(&FromProber::Failed(why), &[]);
        1
    };
    let probes = match load::load(&folder, network, strict) {
        Ok(loaded) => loaded,
        Err(why) => return failed(why),
    };
    // Told apart, since the others are of use without them.
    let (guard, files) = match gate::load(&folder, users, gate) {
        Ok(guard) => (Some(guard), Ok(())),
        Err(why) => (None, Err(why)),
    };
    // A box that requires the gate has it for as long as it lives, also when this process ends first. That the other one ends is noticed here.
    let mut beside = None;
    if guard.is_some() {
        let pid = holder::fork_off(&folder, &[line.as_fd().as_raw_fd(), socket.as_raw_fd()]);
        match pid.and_then(|pid| Ok((sys::pidfd::open(pid)?, holder::Events::of(&folder)?))) {
            Ok(held) => beside = Some(held),
            Err(error) => return failed(format!("the process that holds the programs beside this one: {error}")),
        }
    }
    drop::<OwnedFd>(folder);
    // Whoever asks from here on waits for the answer.
    sys::fork::as_others_do();
    if let Err(why) = fence() {
        let _ = line.send(&FromProber::Failed(why), &[]);
        return 1;
    }
    let notes = match guard.as_ref().filter(|_| gate == Gate::Judges).map(gate::Guard::notes).transpose() {
        Ok(notes) => notes.map(|notes| notes.as_raw_fd()),
        Err(why) => return failed(why),
    };
    if line.send(&FromProber::Attached { files }, notes.as_slice()).is_ok() {
        serve(&mut Loaded { probes, guard, beside }, line, &socket);
    }
    0
}

/// What there is to watch.
struct Loaded {
    probes: load::Probes,
    guard: Option<gate::Guard>,
    /// The process that holds the gate's programs beside this one, and whether there is still something that it holds them for.
    beside: Option<(OwnedFd, holder::Events)>,
}

impl Loaded {
    /// What was refused since it was last asked, a line each.
    fn refused(&mut self) -> Vec<String> {
        let mut all = self.probes.refused();
        all.extend(self.guard.iter_mut().flat_map(gate::Guard::refused));
        all
    }
}

/// Whether the box is still there when the moment is over. Somebody who asks ends the moment.
fn lasts_a_moment(line: &Control) -> bool {
    let mut watched = [PollFd::new(line.as_fd(), PollFlags::POLLIN)];
    let patience = PollTimeout::try_from(MOMENT).unwrap_or(PollTimeout::ZERO);
    let ended = poll(&mut watched, patience).is_err();
    let [line] = watched;
    !ended && line.revents().is_none_or(|events| !events.contains(PollFlags::POLLHUP))
}

/// From here on it only looks into maps that it has open.
fn fence() -> Result<(), String> {
    capabilities::drop_all().map_err(|error| error.to_string())?;
    selfguard::guard_prober().map_err(|error| error.to_string())
}

/// Said when the other holder has gone before the box: with one that is left, the next to go would take the programs along.
const ALONE: &str = "the process that holds the kernel gate's programs beside their loader has ended before the box";

fn serve(loaded: &mut Loaded, line: &Control, mut socket: &UnixStream) {
    let mut idle = Idle::default();
    let mut tell = |told: &str| socket.write_all(format!("{told}\n").as_bytes()).is_ok();
    loop {
        let ring = loaded.guard.as_ref().map(gate::Guard::ring);
        let fds = [Some(line.as_fd()), Some(loaded.probes.ring()), ring, loaded.beside.as_ref().map(|(beside, _)| beside.as_fd())];
        // poll(2) passes over a descriptor below zero; here it is left out.
        let mut watched: Vec<PollFd<'_>> = fds.iter().flatten().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        match poll(&mut watched, idle.patience()) {
            Ok(0) => idle.came(),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return,
        }
        let mut ready = watched.iter().map(|fd| fd.any() == Some(true));
        let [of_line, of_breaches, of_bypasses, alone] = fds.map(|fd| fd.is_some() && ready.next() == Some(true));
        if of_breaches || of_bypasses {
            for refused in loaded.refused() {
                if !tell(&refused) {
                    return;
                }
            }
        }
        if of_line {
            let Ok(Some((ToProber::Who { number, client, server }, _))) = line.receive() else { return };
            let seen = loaded.probes.who(client, server);
            if line.send(&FromProber::Who { number, seen }, &[]).is_err() {
                return;
            }
        }
        // It ends when the box has ended, and else by being killed alone.
        if alone && loaded.beside.take().is_some_and(|(_, events)| events.is_populated()) && !tell(ALONE) {
            return;
        }
    }
}

#[cfg(test)]
mod gate_tests;
#[cfg(test)]
mod judge_tests;
#[cfg(test)]
mod tests;
