//! The broker's whole life: in a process of its own, forked and fenced before it is called.

use std::{
    net::{TcpListener, UdpSocket},
    os::unix::net::UnixStream,
    sync::Arc,
};

use agentbox_core::{
    HostName, Verdict,
    policy::{Policy, settings::Limits},
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls_pki_types::CertificateDer;
use tokio::sync::Semaphore;

use crate::{
    accept,
    authority::Authority,
    broker::{Broker, OWN_NAME, denied, reading},
    dns::{self, Resolver},
    http::{Pool, Room, Twice, carrier::Carrier},
    line::Supervisor,
    meaning::Documents,
    names::Names,
    origins::Origins,
    postgres::Keys,
    proxy_environment::ProxyRules,
    redis::Scripts,
    refusals::Refusals,
    remote_gate::RemoteGate,
    secrets::Issued,
    upstream::{Connector, UpstreamConfig},
};

/// Enough for all connections, both sides, and what else is open.
const MOST_DESCRIPTORS: u64 = 65_536;

/// What the broker is started with.
#[derive(Debug)]
pub struct BrokerConfig {
    /// The compiled policy, read-only.
    pub policy: Arc<Policy>,
    /// The box.
    pub session: String,
    /// The box's certificate authority.
    pub authority: Authority,
    /// The policy's roots, read already.
    pub roots: Vec<CertificateDer<'static>>,
    /// The network's proxy.
    pub proxy: ProxyRules,
    /// The placeholders of the box.
    pub issued: Issued,
    /// To the process that holds the secrets, where there are any.
    pub carrier: Option<UnixStream>,
}

/// The sockets in the box's network namespace, made by its init.
#[derive(Debug)]
pub struct BoxSockets {
    /// Transparent listeners, one a family.
    pub tcp: Vec<TcpListener>,
    /// Wildcard sockets on port 53, one a family.
    pub dns: Vec<UdpSocket>,
    /// Where the box has no network of its own: on it is told where each connection wanted to go.
    pub told: Option<UnixStream>,
}

/// The broker cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The runtime or a socket.
    #[error("the broker cannot start")]
    Start(#[from] std::io::Error),
    /// A name of our own is wrong, which is a fault in this program.
    #[error("{0}")]
    Name(&'static str),
}

/// Serves the box until the supervisor's line ends.
///
/// # Errors
/// It could not even start.
pub fn run(config: BrokerConfig, sockets: BoxSockets, supervisor: UnixStream) -> Result<(), BrokerError> {
    more_descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build()?;
    let outcome = runtime.block_on(serve(config, sockets, supervisor));
    runtime.shutdown_background();
    outcome
}

async fn serve(config: BrokerConfig, sockets: BoxSockets, supervisor: UnixStream) -> Result<(), BrokerError> {
    let own = HostName::parse(OWN_NAME).map_err(BrokerError::Name)?;
    let (gate, line_ended) = RemoteGate::start(supervisor)?;
    let settings = config.policy.settings();
    let connections = settings.limits.connections.unwrap_or(Limits::CONNECTIONS);
    let connections = usize::try_from(connections).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
    let check_policy = config.policy.clone();
    let upstream = UpstreamConfig { names: settings.names.clone(), roots: config.roots, proxy: config.proxy };
    let connector = Connector::new(upstream, Arc::new(move |destination, address| check_policy.allows_address(destination, address) == Verdict::Allow));
    let names = Arc::new(Names::default());
    let tells = gate.clone();
    names.tell(move |name| tells.named(name));
    let policy = config.policy.clone();
    let broker = Arc::new(Broker {
        policy: config.policy,
        line: Box::new(Supervisor { gate, session: config.session }),
        connector,
        pool: Arc::new(Pool::default()),
        keys: Keys::default(),
        carrier: config.carrier.map(|stream| Carrier::new(stream, config.issued.clone())),
        issued: config.issued,
        scripts: Scripts::default(),
        documents: Documents::default(),
        room: Room::default(),
        authority: config.authority,
        names: names.clone(),
        refusals: Refusals::default(),
        twice: Twice::default(),
        own: own.clone(),
    });
    let reads = Box::new(move |name: &HostName| reading(&policy, name));
    let resolver = Arc::new(Resolver { names, reading: reads, denied: denied(&broker), own });
    let places = Arc::new(Semaphore::new(connections));
    let origins = sockets.told.map(Origins::new).transpose()?.map(Arc::new);
    for listener in sockets.tcp {
        tokio::spawn(accept::accept(listener, broker.clone(), resolver.clone(), places.clone(), origins.clone()));
    }
    let questions = dns::places();
    for socket in sockets.dns {
        let (resolver, questions) = (resolver.clone(), questions.clone());
        tokio::spawn(async move {
            if let Err(error) = dns::serve_udp(socket, resolver, questions).await {
                tracing::error!(%error, "the box's DNS has ended");
            }
        });
    }
    line_ended.await;
    Ok(())
}

/// A connection costs two descriptors, and the usual soft limit of 1,024 is for programs that use select(2).
fn more_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard.min(MOST_DESCRIPTORS).max(soft), hard)
    {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
