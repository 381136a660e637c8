//! Loads the connect probes, attaches them to a cgroup, and reads their maps.

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

use super::words::{self, Seen};

/// The programs, built by `cargo xtask ebpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../../ebpf/agentbox.bpf.o");

/// Breaches that are taken from the ring at once.
const MOST_AT_ONCE: usize = 64;

/// Attached programs; they go with this.
pub(super) struct Probes {
    connections: HashMap<MapData, [u8; size_of::<Tuple>()], [u8; size_of::<Asker>()]>,
    breaches: RingBuf<MapData>,
    _programs: Ebpf,
}

/// Loads and attaches the programs, or says in one line which could not be and why.
pub(super) fn load(cgroup: &OwnedFd, network: u64, strict: bool) -> Result<Probes, String> {
    let strict = u32::from(strict);
    let mut loader = plain_loader();
    loader.override_global("BOX_NETWORK", &network, true).override_global("STRICT", &strict, true);
    let mut programs = loader.load(OBJECT).map_err(|error| format!("the object: {}", first_line(&error.to_string())))?;
    for (name, program) in programs.programs_mut() {
        attach(program, cgroup).map_err(|error| {
            tracing::info!(program = name, ?error, "the kernel's log");
            format!("program {name} on Linux {}: {}", release(), first_line(&error.to_string()))
        })?;
    }
    let wrong = |error: aya::maps::MapError| error.to_string();
    let connections = HashMap::try_from(map(&mut programs, "CONNECTIONS")?).map_err(wrong)?;
    let breaches = ring(&mut programs, "BREACHES")?;
    Ok(Probes { connections, breaches, _programs: programs })
}

pub(super) fn map(programs: &mut Ebpf, name: &str) -> Result<Map, String> {
    programs.take_map(name).ok_or_else(|| format!("the object has no map {name}"))
}

pub(super) fn ring(programs: &mut Ebpf, name: &str) -> Result<RingBuf<MapData>, String> {
    RingBuf::try_from(map(programs, name)?).map_err(|error| error.to_string())
}

/// A loader without the kernel's types: where a field of the kernel's lies we read ourselves.
///
/// `EbpfLoader::new` always reads and parses them all first, 5 MB of them, which takes tens of milliseconds and stays as
/// megabytes of heap; it does without when it cannot open them. A process with other threads, as tests have, lets it.
pub(super) fn plain_loader<'a>() -> EbpfLoader<'a> {
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
    /// Readable when something was refused.
    pub(super) fn ring(&self) -> BorrowedFd<'_> {
        self.breaches.as_fd()
    }

    /// What was refused since it was last asked, a line each.
    pub(super) fn refused(&mut self) -> Vec<String> {
        taken(&mut self.breaches, |record| words::breach(record).map(|refused| refused.told()))
    }

    /// Who opened a connection.
    pub(super) fn who(&self, client: SocketAddr, server: SocketAddr) -> Option<Seen> {
        let bytes = self.connections.get(&words::key(client, server), 0).ok()?;
        words::asker(&bytes)
    }
}

pub(super) fn taken(ring: &mut RingBuf<MapData>, told: impl Fn(&[u8]) -> Option<String>) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < MOST_AT_ONCE {
        let Some(record) = ring.next() else { break };
        all.extend(told(&record));
    }
    all
}
