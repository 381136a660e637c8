//! From an accepted connection to the room that speaks its protocol.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use agentbox_core::{Destination, Digest, Evidence, HostName, Request};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::LazyConfigAcceptor;

use crate::{
    broker::Broker,
    dns::{self, Resolver},
    http::{self, Facts, Version},
    meaning::Scheme,
    peek::{Prefixed, Protocol, peek},
};

/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// After `accept` failed for want of descriptors or memory: others must end first.
const BREATH: Duration = Duration::from_millis(50);

/// What an opaque connection may carry, and how long: its permit says "everything this credential can do there", and must end.
const OPAQUE_BYTES: u64 = 1 << 30;
const OPAQUE_TIME: Duration = Duration::from_secs(3600);

/// Accepts for ever.
pub(crate) async fn accept(listener: std::net::TcpListener, broker: Arc<Broker>, resolver: Arc<Resolver>, places: Arc<Semaphore>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        // A place first: beyond the limit clients wait in the kernel's backlog.
        let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (broker, resolver) = (broker.clone(), resolver.clone());
                tokio::spawn(async move {
                    connection(stream, broker, resolver).await;
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

async fn connection(stream: TcpStream, broker: Arc<Broker>, resolver: Arc<Resolver>) {
    // With a transparent listener our side's address is where the client wanted to go.
    let Ok(asked) = stream.local_addr() else { return };
    let _ = stream.set_nodelay(true);
    if asked.port() == 53 {
        return dns::serve_tcp(stream, asked, resolver).await;
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
        None => {
            let address = match asked.ip() {
                std::net::IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(asked.ip(), Into::into),
                v4 => v4,
            };
            (HostName::parse(&address.to_string()).ok()?, vec![address])
        }
    };
    Some(Destination { host, port: asked.port(), addresses })
}

async fn speak(stream: TcpStream, broker: Arc<Broker>, destination: Destination) -> io::Result<()> {
    let (protocol, stream) = peek(stream).await?;
    let other = |error: hyper::Error| io::Error::other(error);
    match protocol {
        Protocol::Http1 => http::serve(broker, Facts::new(destination, Scheme::Http, Vec::new()), Version::Http1, stream).await.map_err(other),
        Protocol::Http2 => http::serve(broker, Facts::new(destination, Scheme::Http, Vec::new()), Version::Http2, stream).await.map_err(other),
        Protocol::Tls if broker.policy.passes_through(&destination) => {
            opaque(stream, &broker, destination, "tls.pass-through", "the policy passes this host through unread").await
        }
        Protocol::Tls => terminate(stream, broker, destination).await,
        Protocol::Opaque => opaque(stream, &broker, destination, "connection.opaque", "no protocol that can be understood").await,
    }
}

async fn terminate(stream: Prefixed<TcpStream>, broker: Arc<Broker>, destination: Destination) -> io::Result<()> {
    let tls = timeout(HANDSHAKE, async {
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        let fits = match start.client_hello().server_name() {
            Some(name) => HostName::parse(name).is_ok_and(|name| name == destination.host),
            // Without a name it is the connection's own address or name that the certificate is for.
            None => true,
        };
        if !fits {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the name in the TLS hello is not the name that was connected to"));
        }
        let configuration = broker.authority.configuration(&destination.host).map_err(io::Error::other)?;
        start.into_stream(configuration).await
    })
    .await??;
    let version = if tls.get_ref().1.alpn_protocol() == Some(b"h2") { Version::Http2 } else { Version::Http1 };
    // What a client speaks inside TLS is looked at as well: ALPN is only its word.
    let (protocol, tls) = peek(tls).await?;
    match (protocol, version) {
        (Protocol::Http1, Version::Http1) | (Protocol::Http2, Version::Http2) => {
            http::serve(broker, Facts::new(destination, Scheme::Https, Vec::new()), version, tls).await.map_err(io::Error::other)
        }
        (Protocol::Http1 | Protocol::Http2 | Protocol::Tls | Protocol::Opaque, Version::Http1 | Version::Http2) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "what flows in this TLS connection is not HTTP: such hosts need `pass-through`"))
        }
    }
}

/// Asks about the whole connection, and relays it within bounds where somebody said yes.
async fn opaque<S>(stream: S, broker: &Broker, destination: Destination, action: &str, why: &str) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let digest = Digest::of([destination.to_string().as_bytes(), action.as_bytes(), &nonce[..]]);
    let summary = format!("an opaque connection to {destination}");
    let question = Request {
        operations: vec![http::whole_connection(&destination, action, why)],
        destination: Some(destination.clone()),
        digest,
        evidence: Evidence {
            summary: summary.clone(),
            excerpt: "everything that this client's credential can do there, for up to an hour and 1 GiB".to_owned(),
            ..Evidence::default()
        },
    };
    let (permit, ask) = match broker.line.ask(question).await {
        Ok(answer) => answer,
        Err(refusal) => {
            broker.refusals.remember(&summary, &refusal);
            return Ok(());
        }
    };
    let mut upstream = match broker.connector.connect_tcp(&destination).await {
        Ok(upstream) => upstream,
        Err(error) => {
            broker.line.done(ask, &format!("nothing was sent: {error}"));
            return Ok(());
        }
    };
    if permit.consume(&digest, std::time::SystemTime::now()).is_err() {
        broker.line.done(ask, "nothing was sent: the permit had expired");
        return Ok(());
    }
    let (reader, mut writer) = tokio::io::split(stream);
    let (up_reader, mut up_writer) = upstream.split();
    let mut out = reader.take(OPAQUE_BYTES);
    let mut back = up_reader.take(OPAQUE_BYTES);
    let relayed = timeout(OPAQUE_TIME, async {
        let there = async {
            let count = tokio::io::copy(&mut out, &mut up_writer).await;
            let _ = up_writer.shutdown().await;
            count
        };
        let here = async {
            let count = tokio::io::copy(&mut back, &mut writer).await;
            let _ = writer.shutdown().await;
            count
        };
        tokio::join!(there, here)
    })
    .await;
    let outcome = match relayed {
        Ok((there, here)) => format!("{} bytes sent, {} bytes received", there.unwrap_or(0), here.unwrap_or(0)),
        Err(_) => "cut after its hour".to_owned(),
    };
    broker.line.done(ask, &outcome);
    Ok(())
}
