//! A connection that becomes something else than HTTP: where the service leaves its tunnel for who serves the connection.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use agentbox_core::{Evidence, Request as Question};
use http::{HeaderValue, header};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    canonical::{self, Known},
    serve::Facts,
    spdy, websocket,
};
use crate::{
    broker::Broker,
    meaning::{self, Body, Head},
    opaque::whole_connection,
};

/// From the far side's yes to its stream, which are one.
pub(super) const CHANGING: Duration = Duration::from_secs(10);

/// A far side that has agreed, waiting for its client.
pub(crate) enum Tunnel {
    WebSocket(websocket::Tunnel),
    Spdy(spdy::Tunnel),
}

impl Tunnel {
    /// Carries until one side ends it.
    pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin + Send>(self, client: S) {
        match self {
            Tunnel::WebSocket(tunnel) => tunnel.run(client).await,
            Tunnel::Spdy(tunnel) => tunnel.run(client).await,
        }
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel { .. }")
    }
}

/// Where one tunnel is left.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// Whether the client is told yes: from then on its bytes are no requests.
    opened: Arc<AtomicBool>,
    tunnel: Mutex<Option<Tunnel>>,
}

impl Slot {
    /// What the reader of requests looks at.
    pub(crate) fn opened(&self) -> Arc<AtomicBool> {
        self.opened.clone()
    }

    /// Whether this connection is no more one of requests.
    pub(crate) fn is_open(&self) -> bool {
        self.opened.load(Ordering::Acquire)
    }

    pub(super) fn put(&self, tunnel: Tunnel) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
        self.opened.store(true, Ordering::Release);
    }

    /// The tunnel, if there is one.
    pub(crate) fn take(&self) -> Option<Tunnel> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What is asked about an opening, which has no body, to this protocol.
pub(super) async fn question(broker: &Broker, facts: &Facts, summary: &str, head: &Head<'_>, protocol: &'static str) -> Question {
    let meaning = meaning::understand(head, Body::Absent);
    let (mut credentials, fingerprints) = broker.issued.recognise(head, None);
    credentials.extend(facts.certificate.clone());
    let mut operations = meaning.operations;
    if broker.is_unlisted(&facts.destination) {
        let why = "a bare address that no place lists: nobody knows what is behind it";
        operations.push(whole_connection(&facts.destination, "connection.unlisted-address", why));
    }
    // A plain request never has this header by then: a yes to the one is none to the other.
    let mut marked = head.headers.clone();
    marked.insert(header::UPGRADE, HeaderValue::from_static(protocol));
    Question {
        operations,
        destination: Some(facts.addressed(broker).await.clone()),
        digest: canonical::digest(head.method, facts.scheme, &facts.destination, head.target, &marked, Known::Whole(&[])),
        evidence: Evidence {
            summary: summary.to_owned(),
            excerpt: meaning.excerpt,
            credentials,
            fingerprints,
            connection: facts.connection(),
            ..Evidence::default()
        },
    }
}
