//! The broker's process: makes the box's certificate authority, fences itself, takes the box's sockets, serves.

use std::{
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
};

use agentbox_broker::{Authority, BoxSockets, BrokerConfig, proxy_environment::ProxyRules, secrets::Issued, tls};
use agentbox_core::{fingerprint::FingerprintKey, policy::Policy, wire::Placeholder};
use agentbox_kernel::{
    control::Control,
    idle::Idle,
    network,
    selfguard::{self, Role},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
    sys::socket::{MsgFlags, recv},
};

use super::hand;
use crate::commands::run::chain;

/// What the broker knows of credentials.
pub(crate) struct Keeping {
    /// To the process that holds them, where the policy has any.
    pub(crate) carrier: Option<UnixStream>,
    /// By it what is foreign is looked for outside of the box.
    pub(crate) key: FingerprintKey,
}

/// The broker's whole life.
pub(crate) fn run(policy: Arc<Policy>, session: String, handed: &Control, keeping: Keeping, supervisor: UnixStream) -> u8 {
    match live(policy, session, handed, keeping, supervisor) {
        Ok(()) => 0,
        Err(why) => {
            let _ = writeln!(io::stderr(), "agentbox: the broker: {why}\r");
            1
        }
    }
}

fn live(policy: Arc<Policy>, session: String, handed: &Control, keeping: Keeping, supervisor: UnixStream) -> Result<(), String> {
    let proxy = ProxyRules::from_environment(|name| std::env::var(name).ok()).map_err(|error| chain(&error))?;
    // What lies in files and variables is read before the fence, which hides both.
    let roots = tls::read_roots(&policy.settings().roots).map_err(|error| chain(&error))?;
    let authority = Authority::generate(&session).map_err(|error| chain(&error))?;
    let pem = authority.certificate_pem();
    let length = u16::try_from(pem.len()).map_err(|_| "a certificate of absurd length".to_owned())?;
    let mut socket = &supervisor;
    match socket.write_all(&length.to_le_bytes()).and_then(|()| socket.write_all(pem.as_bytes())) {
        // The start has failed meanwhile, for a reason that the supervisor has told.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        written => written.map_err(|error| chain(&error))?,
    }
    let Some((Sockets { tcp, told }, mut fds)) = handed.receive::<Sockets>().map_err(|error| chain(&error))? else { return Ok(()) };
    let told = if told { fds.pop().map(UnixStream::from) } else { None };
    // Most commands of a day never use the network: the rest waits for the first sign of life. Until then nothing of the agent's is read.
    if idle(&fds, &supervisor) == Woken::ByEnd {
        return Ok(());
    }
    let Keeping { carrier, key } = keeping;
    let placeholders = match &carrier {
        Some(carrier) => hand::receive::<Vec<Placeholder>>(carrier).map_err(|error| format!("no placeholders: {error}"))?,
        None => Vec::new(),
    };
    let issued = Issued::new(placeholders, policy.credential_rules(), key);
    selfguard::guard(Role::Broker).map_err(|error| chain(&error))?;
    let (mut listeners, mut resolvers) = (Vec::new(), Vec::new());
    for (index, fd) in fds.into_iter().enumerate() {
        if index < tcp {
            listeners.push(fd.into());
        } else {
            resolvers.push(fd.into());
        }
    }
    let config = BrokerConfig { policy, session, authority, roots, proxy, issued, carrier };
    agentbox_broker::run(config, BoxSockets { tcp: listeners, dns: resolvers, told }, supervisor).map_err(|error| chain(&error))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Woken {
    ByWork,
    ByEnd,
}

/// Waits until something comes from the box, or the supervisor says or ends something.
fn idle(fds: &[OwnedFd], supervisor: &UnixStream) -> Woken {
    let mut watched: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
    watched.push(PollFd::new(supervisor.as_fd(), PollFlags::POLLIN));
    let mut idle = Idle::default();
    loop {
        match poll(&mut watched, idle.patience()) {
            Ok(0) => idle.came(),
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            // Not to be watched: served at once instead.
            Err(_) => return Woken::ByWork,
        }
    }
    let quiet = |fd: &PollFd<'_>| fd.any() != Some(true);
    // A supervisor that wants to hear no more closes its side.
    let closed = || recv(supervisor.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) == Ok(0);
    if watched.split_last().is_some_and(|(_, sockets)| sockets.iter().all(quiet)) && closed() { Woken::ByEnd } else { Woken::ByWork }
}

/// How many of the descriptors are listeners; the rest are for DNS, but the last where origins are told.
#[derive(serde::Serialize, serde::Deserialize)]
struct Sockets {
    tcp: usize,
    told: bool,
}

/// Hands the box's sockets to the broker.
pub(crate) fn hand_over(broker: &Control, sockets: &network::BoxSockets) -> io::Result<()> {
    let mut fds: Vec<_> = sockets.tcp.iter().map(std::os::fd::AsRawFd::as_raw_fd).chain(sockets.dns.iter().map(|socket| socket.as_raw_fd())).collect();
    fds.extend(sockets.told.iter().map(std::os::fd::AsRawFd::as_raw_fd));
    broker.send(&Sockets { tcp: sockets.tcp.len(), told: sockets.told.is_some() }, &fds)
}
