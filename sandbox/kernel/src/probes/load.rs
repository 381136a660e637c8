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

use super::words::{self, Refused, Seen};

/// The programs, built by `cargo xtask ebpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../../ebpf/agentbox.bpf.o");

/// Breaches that are taken from the ring at once.
const MOST_AT_ONCE: usize = 64;

/// Attached programs; they go with this.
pub(super) struct Probes {
    connections: HashMap<MapData, [u8; size_of::<Tuple>()], [u8; size_of::<Asker>()]>,
    ring: RingBuf<MapData>,
    _programs: Ebpf,
}

/// Loads and attaches all programs, or says in one line which could not be and why.
pub(super) fn load(cgroup: &OwnedFd, network: u64, strict: bool) -> Result<Probes, String> {
    let strict = u32::from(strict);
    let mut loader = EbpfLoader::new();
    // No field of the kernel's is read, so its types need not be: they are megabytes.
    loader.btf(None).override_global("BOX_NETWORK", &network, true).override_global("STRICT", &strict, true);
    let mut programs = loader.load(OBJECT).map_err(|error| format!("the object: {}", first_line(&error.to_string())))?;
    for (name, program) in programs.programs_mut() {
        attach(program, cgroup).map_err(|error| {
            tracing::info!(program = name, ?error, "the kernel's log");
            format!("program {name} on Linux {}: {}", release(), first_line(&error.to_string()))
        })?;
    }
    let mut map = |name: &str| programs.take_map(name).ok_or_else(|| format!("the object has no map {name}"));
    let wrong = |error: aya::maps::MapError| error.to_string();
    let connections: HashMap<_, _, _> = map("CONNECTIONS").and_then(|map: Map| HashMap::try_from(map).map_err(wrong))?;
    let ring = map("BREACHES").and_then(|map: Map| RingBuf::try_from(map).map_err(wrong))?;
    Ok(Probes { connections, ring, _programs: programs })
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
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn release() -> String {
    nix::sys::utsname::uname().map_or_else(|_| "?".to_owned(), |name| name.release().to_string_lossy().into_owned())
}

impl Probes {
    /// Readable when something was refused.
    pub(super) fn ring(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// What was refused since it was last asked.
    pub(super) fn breaches(&mut self) -> Vec<Refused> {
        let mut all = Vec::new();
        while all.len() < MOST_AT_ONCE {
            let Some(record) = self.ring.next() else { break };
            all.extend(words::breach(&record));
        }
        all
    }

    /// Who opened a connection.
    pub(super) fn who(&self, client: SocketAddr, server: SocketAddr) -> Option<Seen> {
        let bytes = self.connections.get(&words::key(client, server), 0).ok()?;
        words::asker(&bytes)
    }
}
