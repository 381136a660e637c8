//! From an accepted connection to the room that speaks its protocol.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use agentbox_core::{Credential, Destination, HostName, Refusal, RefusalKind};
use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::{
    ahead::Ahead,
    broker::{Broker, HERE},
    client_stream::{ClientStream, Presence},
    dns::{self, Resolver},
    hello,
    http::{self, Facts, Version},
    meaning::Scheme,
    mongodb,
    mysql::{self, Served},
    opaque::{SSH, opaque},
    origins::Origins,
    peek::{Hint, Prefixed, Protocol, Quiet, peek, peek_from},
    pins, postgres, redis,
    session::Cloth,
};

/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// After `accept` failed for want of descriptors or memory: others must end first.
const BREATH: Duration = Duration::from_millis(50);

/// Accepts for ever.
pub(crate) async fn accept(
    listener: std::net::TcpListener,
    broker: Arc<Broker>,
    resolver: Arc<Resolver>,
    places: Arc<Semaphore>,
    origins: Option<Arc<Origins>>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        // A place first: beyond the limit clients wait in the kernel's backlog.
        let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((stream, client)) => {
                // With a transparent listener our side's address is where the client wanted to go.
                let asked = match &origins {
                    None => stream.local_addr().ok(),
                    Some(origins) => origins.of(client),
                };
                let Some(asked) = asked else { continue };
                let (broker, resolver) = (broker.clone(), resolver.clone());
                tokio::spawn(async move {
                    connection(stream, asked, broker, resolver).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, asked: SocketAddr, broker: Arc<Broker>, resolver: Arc<Resolver>) {
    let _ = stream.set_nodelay(true);
    if asked.port() == 53 {
        return dns::serve_tcp(stream, resolver).await;
    }
    let Some(destination) = destination(&broker, asked) else { return };
    if let Err(error) = speak(stream, broker, destination).await {
        tracing::debug!(%error, "a client's connection ended");
    }
}

/// The name that an address stands for, or the address itself where we did not hand it out.
fn destination(broker: &Broker, asked: SocketAddr) -> Option<Destination> {
    let (host, addresses) = match broker.names.name(asked.ip()) {
        Some(name) => (name, Vec::new()),
        // A forwarded port: whichever family the client tried first, the service outside may listen on either.
        None if asked.ip().to_canonical().is_loopback() => (HostName::parse(HERE).ok()?, vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        None => {
            let address = match asked.ip() {
                IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(asked.ip(), Into::into),
                v4 => v4,
            };
            (HostName::parse(&address.to_string()).ok()?, vec![address])
        }
    };
    Some(Destination { host, port: asked.port(), addresses })
}

/// Serves one connection to `destination` to its end.
pub(crate) async fn speak(stream: TcpStream, broker: Arc<Broker>, destination: Destination) -> io::Result<()> {
    let (stream, presence) = ClientStream::new(stream);
    let (hint, quiet) = (Hint::of(&broker.policy, &destination), Quiet::on(destination.port));
    let (protocol, stream) = match hint {
        Hint::MySql if broker.policy.passes_through(&destination) => {
            let stream = Prefixed::new(BytesMut::new(), stream);
            return opaque(stream, &presence, &broker, destination, "mysql.pass-through", "the policy passes this host through unread").await;
        }
        Hint::MySql => match mysql::serve(broker.clone(), destination.clone(), presence.clone(), stream).await? {
            Served::Done => return Ok(()),
            Served::Other(first, stream) => peek_from(first, stream, quiet, hint).await?,
        },
        Hint::None | Hint::Redis => peek(stream, quiet, hint).await?,
    };
    let in_the_clear = |presence| Facts::new(destination.clone(), Scheme::Http, presence);
    match protocol {
        Protocol::Http1 => http::serve(broker, in_the_clear(presence), Version::Http1, stream).await,
        Protocol::Http2 => http::serve(broker, in_the_clear(presence), Version::Http2, stream).await,
        Protocol::Tls if broker.policy.passes_through(&destination) => pass_through(stream, presence, &broker, destination).await,
        Protocol::Tls => terminate(stream, presence, broker, destination).await,
        Protocol::PostgreSql if broker.policy.passes_through(&destination) => {
            opaque(stream, &presence, &broker, destination, "postgres.pass-through", "the policy passes this host through unread").await
        }
        Protocol::Redis if broker.policy.passes_through(&destination) => {
            opaque(stream, &presence, &broker, destination, "redis.pass-through", "the policy passes this host through unread").await
        }
        Protocol::PostgreSql => postgres::serve(broker, destination, presence, Box::new(stream), postgres::Cover::clear()).await,
        Protocol::Redis => redis::serve(broker, destination, presence, Box::new(stream), Cloth::Clear).await,
        Protocol::MongoDb if broker.policy.passes_through(&destination) => {
            opaque(stream, &presence, &broker, destination, "mongodb.pass-through", "the policy passes this host through unread").await
        }
        Protocol::MongoDb => mongodb::serve(broker, destination, presence, Box::new(stream), Cloth::Clear).await,
        Protocol::Opaque if stream.is_ssh() => {
            opaque(stream, &presence, &broker, destination, SSH, "SSH hides what is done from everybody between the client and its server").await
        }
        Protocol::Opaque => opaque(stream, &presence, &broker, destination, "connection.opaque", "no protocol that can be understood").await,
    }
}

/// A name in the TLS hello is the connection's own, or there is none.
fn fits(name: Option<&str>, destination: &Destination) -> bool {
    name.is_none_or(|name| HostName::parse(name).is_ok_and(|name| name == destination.host))
}

/// A host that is not terminated: opaque as a whole, but only under its own name, or it would be a way to every other host at its address.
async fn pass_through(stream: Prefixed<ClientStream>, presence: Presence, broker: &Broker, destination: Destination) -> io::Result<()> {
    let (name, stream) = timeout(HANDSHAKE, hello::read(stream)).await??;
    if !fits(name.as_deref(), &destination) {
        let refusal = Refusal {
            kind: RefusalKind::Denied,
            operation: "tls.pass-through".to_owned(),
            place: String::new(),
            reason: "the name in the TLS hello is not the name that was connected to".to_owned(),
            guidance: "Connect to the host by its own name.".to_owned(),
            approval_id: None,
        };
        broker.refusals.remember(&format!("TLS to {destination}"), &refusal);
        return Err(io::Error::new(io::ErrorKind::InvalidData, refusal.reason));
    }
    opaque(stream, &presence, broker, destination, "tls.pass-through", "the policy passes this host through unread").await
}

/// TLS that ends here.
pub(crate) struct Shaken<S> {
    pub(crate) tls: TlsStream<Ahead<S>>,
    /// The hello asked for another name: nothing on this connection goes anywhere.
    pub(crate) misdirected: bool,
}

impl<S> Shaken<S> {
    /// The certificate that the client has proven to hold, if it showed one: ours to know, or foreign.
    pub(crate) fn certificate(&self, broker: &Broker) -> Option<Credential> {
        self.tls.get_ref().1.peer_certificates().and_then(<[_]>::first).map(|shown| broker.issued.certificate(shown))
    }
}

/// Speaks TLS with a client, with a certificate of the box's own.
pub(crate) async fn shake<S: AsyncRead + AsyncWrite + Unpin>(stream: S, broker: &Broker, destination: &Destination) -> io::Result<Shaken<S>> {
    let shaken = async {
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), Ahead::new(stream)).await?;
        // Without a name it is the connection's own name or address that the certificate is for. With another one the client is
        // given a certificate for that, so that it can read why its requests are refused; none of them goes anywhere.
        let hello = start.client_hello();
        let misdirected = !fits(hello.server_name(), destination);
        let named = hello.server_name().and_then(|name| HostName::parse(name).ok());
        let configuration =
            broker.authority.configuration(named.as_ref().unwrap_or(&destination.host), broker.issued.asks(&destination.host)).map_err(io::Error::other)?;
        Ok::<_, io::Error>(Shaken { tls: start.into_stream(configuration).await?, misdirected })
    };
    shaken.await.inspect_err(|error| {
        if let Some(refusal) = pins::explain(error, destination) {
            broker.refusals.remember_once(&format!("TLS to {destination}"), &refusal);
        }
    })
}

async fn terminate(stream: Prefixed<ClientStream>, presence: Presence, broker: Arc<Broker>, destination: Destination) -> io::Result<()> {
    let shaken = timeout(HANDSHAKE, shake(stream, &broker, &destination)).await??;
    let certificate = shaken.certificate(&broker);
    let Shaken { tls, misdirected } = shaken;
    let version = if tls.get_ref().1.alpn_protocol() == Some(b"h2") { Version::Http2 } else { Version::Http1 };
    // What a client speaks inside TLS is looked at as well: ALPN is only its word.
    let (protocol, tls) = peek(tls, Quiet::Ahead, Hint::of(&broker.policy, &destination)).await?;
    match (protocol, version) {
        (Protocol::PostgreSql, Version::Http1 | Version::Http2) if !misdirected => {
            postgres::serve(broker, destination, presence, Box::new(tls), postgres::Cover { cloth: Cloth::Tls, certificate }).await
        }
        (Protocol::Redis, Version::Http1 | Version::Http2) if !misdirected => redis::serve(broker, destination, presence, Box::new(tls), Cloth::Tls).await,
        (Protocol::MongoDb, Version::Http1 | Version::Http2) if !misdirected => mongodb::serve(broker, destination, presence, Box::new(tls), Cloth::Tls).await,
        (Protocol::Http1, Version::Http1) | (Protocol::Http2, Version::Http2) => {
            let mut facts = Facts::new(destination, Scheme::Https, presence);
            facts.misdirected = misdirected;
            facts.certificate = certificate;
            http::serve(broker, facts, version, tls).await
        }
        (
            Protocol::Http1 | Protocol::Http2 | Protocol::Tls | Protocol::PostgreSql | Protocol::Redis | Protocol::MongoDb | Protocol::Opaque,
            Version::Http1 | Version::Http2,
        ) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "what flows in this TLS connection is neither HTTP nor a database that is understood: such hosts need `pass-through`",
        )),
    }
}
