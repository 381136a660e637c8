//! Loads the object, attaches its programs to a cgroup, and reads its maps.

use std::{
    net::SocketAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use agentbox_ebpf::{Asker, Tuple};
use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, Map, MapData, RingBuf},
    programs::{CgroupAttachMode, Program, ProgramError},
};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

use super::{
    gate,
    words::{self, Seen},
};

/// The programs, built by `cargo xtask ebpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../../ebpf/agentbox.bpf.o");

/// Breaches that are taken from the ring at once.
const MOST_AT_ONCE: usize = 64;

/// Attached programs; they go with this.
pub(super) struct Probes {
    connections: HashMap<MapData, [u8; size_of::<Tuple>()], [u8; size_of::<Asker>()]>,
    breaches: RingBuf<MapData>,
    bypasses: RingBuf<MapData>,
    _programs: Ebpf,
}

/// The namespaces of a box, by which the programs tell what is its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose {
    /// Cookie of the network.
    pub(super) network: u64,
    /// Number of the user namespace; 0: nothing in memory is taken for the box's.
    pub(super) users: u32,
}

/// What of the programs is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Those that see connections.
    Connections,
    /// Those that refuse what only the file gate may do, too.
    FilesToo,
}

/// Loads and attaches the programs, or says in one line which could not be and why. Of those for files it is said apart, since the others
/// are of use without them.
pub(super) fn load(cgroup: &OwnedFd, of: Whose, strict: bool, wanted: Wanted) -> Result<(Probes, Result<(), String>), String> {
    let strict = u32::from(strict);
    let Whose { network, users } = of;
    let kernel = match wanted {
        Wanted::Connections => Err("nobody asked for it".to_owned()),
        Wanted::FilesToo => gate::look(),
    };
    let mut loader = plain_loader();
    loader.override_global("BOX_NETWORK", &network, true).override_global("STRICT", &strict, true).override_global("BOX_USERS", &users, true);
    for (name, offset) in kernel.iter().flat_map(|kernel| &kernel.offsets) {
        loader.override_global(name, offset, true);
    }
    let mut programs = loader.load(OBJECT).map_err(|error| format!("the object: {}", first_line(&error.to_string())))?;
    for (name, program) in programs.programs_mut().filter(|(_, program)| !matches!(program, Program::Lsm(_))) {
        attach(program, cgroup).map_err(|error| {
            tracing::info!(program = name, ?error, "the kernel's log");
            format!("program {name} on Linux {}: {}", release(), first_line(&error.to_string()))
        })?;
    }
    let files = kernel.and_then(|kernel| gate::attach(&mut programs, &kernel, cgroup));
    let mut map = |name: &str| programs.take_map(name).ok_or_else(|| format!("the object has no map {name}"));
    let wrong = |error: aya::maps::MapError| error.to_string();
    let connections: HashMap<_, _, _> = map("CONNECTIONS").and_then(|map: Map| HashMap::try_from(map).map_err(wrong))?;
    let mut ring = |name| map(name).and_then(|map: Map| RingBuf::try_from(map).map_err(wrong));
    let (breaches, bypasses) = (ring("BREACHES")?, ring("BYPASSES")?);
    Ok((Probes { connections, breaches, bypasses, _programs: programs }, files))
}

/// A loader without the kernel's types: where a field of the kernel's lies we read ourselves.
///
/// `EbpfLoader::new` always reads and parses them all first, 5 MB of them, which takes tens of milliseconds and stays as
/// megabytes of heap; it does without when it cannot open them. A process with other threads, as tests have, lets it.
fn plain_loader<'a>() -> EbpfLoader<'a> {
    let _closed = is_alone().then(NoMoreDescriptors::begin).flatten();
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    loader
}

/// Whether this process has one thread.
fn is_alone() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// As long as it lives, this process opens nothing.
struct NoMoreDescriptors(rlim_t);

impl NoMoreDescriptors {
    fn begin() -> Option<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
        setrlimit(Resource::RLIMIT_NOFILE, 0, hard).ok().map(|()| Self(soft))
    }
}

impl Drop for NoMoreDescriptors {
    fn drop(&mut self) {
        if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
            // What it was a moment ago it may be again.
            let _ = setrlimit(Resource::RLIMIT_NOFILE, self.0, hard);
        }
    }
}

fn attach(program: &mut Program, cgroup: &OwnedFd) -> Result<(), ProgramError> {
    // The cgroup is the box's alone, and nothing below it may add to what these decide.
    let mode = CgroupAttachMode::Single;
    match program {
        Program::CgroupSockAddr(program) => program.load().and_then(|()| program.attach(cgroup, mode)).map(drop),
        Program::CgroupSock(program) => program.load().and_then(|()| program.attach(cgroup, mode)).map(drop),
        Program::SockOps(program) => program.load().and_then(|()| program.attach(cgroup, mode)).map(drop),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// The verifier's log follows in hundreds of lines.
pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

pub(super) fn release() -> String {
    nix::sys::utsname::uname().map_or_else(|_| "?".to_owned(), |name| name.release().to_string_lossy().into_owned())
}

impl Probes {
    /// Each readable when something was refused.
    pub(super) fn rings(&self) -> [BorrowedFd<'_>; 2] {
        [self.breaches.as_fd(), self.bypasses.as_fd()]
    }

    /// What was refused since it was last asked, a line each.
    pub(super) fn refused(&mut self) -> Vec<String> {
        let mut all = taken(&mut self.breaches, |record| words::breach(record).map(|refused| refused.told()));
        all.extend(taken(&mut self.bypasses, |record| words::bypass(record).map(|bypassed| bypassed.told())));
        all
    }

    /// Who opened a connection.
    pub(super) fn who(&self, client: SocketAddr, server: SocketAddr) -> Option<Seen> {
        let bytes = self.connections.get(&words::key(client, server), 0).ok()?;
        words::asker(&bytes)
    }
}

fn taken(ring: &mut RingBuf<MapData>, told: impl Fn(&[u8]) -> Option<String>) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < MOST_AT_ONCE {
        let Some(record) = ring.next() else { break };
        all.extend(told(&record));
    }
    all
}
