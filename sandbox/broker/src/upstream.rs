//! The way out: from a destination to a connected, verified stream, with every address checked that is connected to.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use agentbox_core::{Destination, HostName};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    ahead::Ahead,
    broker::HERE,
    proxy_environment::{Proxy, ProxyRules},
    secrets::certificate::Identity,
    tls::{self, RootsError},
};

/// From the first SYN to the end of the TLS handshake.
const CONNECT: Duration = Duration::from_secs(10);

/// For the host's resolver, which has retries of its own.
const RESOLVE: Duration = Duration::from_secs(8);

/// How long found addresses are used again, and for how many names. getaddrinfo tells no lifetime; this is below any usual one.
const FRESH: Duration = Duration::from_secs(10);
const MOST_KNOWN: usize = 512;

/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 8;

/// Longest answer head of a company proxy to CONNECT.
const LONGEST_PROXY_ANSWER: usize = 8 << 10;

/// Says whether an address may be connected to for a destination: the policy's word on `local`.
pub type AddressCheck = Arc<dyn Fn(&Destination, IpAddr) -> bool + Send + Sync>;

/// Why nothing could be reached. The texts are for the agent: no secrets, and the far side's words are not in them.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The host's resolver does not know the name.
    #[error("the name {0} cannot be resolved")]
    Unresolved(HostName),
    /// Its addresses are local, private or the machine's own, and no place names it.
    #[error("{0} leads to {1}, a local or private address that the policy does not name")]
    LocalAddress(HostName, IpAddr),
    /// No connection.
    #[error("cannot connect to {0}: {1}")]
    Connect(Destination, io::ErrorKind),
    /// Too slow.
    #[error("{0} did not answer within {n} seconds", n = CONNECT.as_secs())]
    TimedOut(Destination),
    /// The certificate, or the handshake.
    #[error("TLS with {0} failed: {1}")]
    Tls(Destination, String),
    /// The company proxy said no.
    #[error("the proxy of this network refused a tunnel to {0}: {1}")]
    Proxy(Destination, String),
    /// No roots.
    #[error(transparent)]
    Roots(#[from] RootsError),
}

/// Which protocols are offered upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2, else HTTP/1.1.
    Any,
    /// HTTP/1.1 only.
    Http1,
    /// PostgreSQL's own.
    PostgreSql,
    /// None is offered: the database's protocol has no name there.
    None,
}

/// What a connector needs to know.
#[derive(Clone, Default)]
pub struct UpstreamConfig {
    /// The policy's `names`.
    pub names: BTreeMap<HostName, (IpAddr, Option<u16>)>,
    /// The policy's `roots`, already read.
    pub roots: Vec<CertificateDer<'static>>,
    /// The network's proxy.
    pub proxy: ProxyRules,
}

/// Connects; one for a process.
pub struct Connector {
    config: UpstreamConfig,
    check: AddressCheck,
    /// What is shown to far sides that ask for a certificate.
    identity: Option<Arc<Identity>>,
    any: OnceLock<Result<Arc<ClientConfig>, RootsError>>,
    http1: OnceLock<Result<Arc<ClientConfig>, RootsError>>,
    postgresql: OnceLock<Result<Arc<ClientConfig>, RootsError>>,
    nothing: OnceLock<Result<Arc<ClientConfig>, RootsError>>,
    known: Known,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("names", &self.config.names).finish_non_exhaustive()
    }
}

impl Connector {
    /// A connector that asks `check` about every address.
    #[must_use]
    pub fn new(config: UpstreamConfig, check: AddressCheck) -> Self {
        Self {
            config,
            check,
            identity: None,
            any: OnceLock::new(),
            http1: OnceLock::new(),
            postgresql: OnceLock::new(),
            nothing: OnceLock::new(),
            known: Known::default(),
        }
    }

    /// Another one, which shows this certificate. It shares no connection and no session with this one.
    pub(crate) fn presenting(&self, identity: Arc<Identity>) -> Self {
        Self { identity: Some(identity), ..Self::new(self.config.clone(), self.check.clone()) }
    }

    /// The address that the policy's `names` give to `host`.
    #[must_use]
    pub fn mapped(&self, host: &HostName) -> Option<(IpAddr, Option<u16>)> {
        self.config.names.get(host).copied()
    }

    /// Whether the far side's addresses are unknown here, because the network's proxy resolves the name.
    #[must_use]
    pub fn is_proxied(&self, destination: &Destination) -> bool {
        let is_near = destination.host.address().is_some() || destination.host.as_str() == HERE;
        self.mapped(&destination.host).is_none() && !is_near && self.config.proxy.proxy_for(destination).is_some()
    }

    /// All addresses of a destination, in the order of the host's resolver; none is checked yet.
    ///
    /// # Errors
    /// The name does not exist.
    pub async fn resolve(&self, destination: &Destination) -> Result<Vec<SocketAddr>, UpstreamError> {
        if let Some((address, port)) = self.mapped(&destination.host) {
            return Ok(vec![SocketAddr::new(address, port.unwrap_or(destination.port))]);
        }
        if let Some(address) = destination.host.address() {
            return Ok(vec![SocketAddr::new(address, destination.port)]);
        }
        if let Some(addresses) = self.known.find(&destination.host) {
            return Ok(addresses.into_iter().map(|address| SocketAddr::new(address, destination.port)).collect());
        }
        let unresolved = || UpstreamError::Unresolved(destination.host.clone());
        let looked_up = timeout(RESOLVE, tokio::net::lookup_host((destination.host.as_str(), destination.port))).await;
        let addresses: Vec<SocketAddr> = looked_up.map_err(|_| unresolved())?.map_err(|_| unresolved())?.take(MOST_ADDRESSES).collect();
        if addresses.is_empty() {
            return Err(unresolved());
        }
        self.known.keep(&destination.host, addresses.iter().map(SocketAddr::ip).collect());
        Ok(addresses)
    }

    /// A TCP connection, through the network's proxy where there is one.
    ///
    /// # Errors
    /// See [`UpstreamError`].
    pub async fn connect_tcp(&self, destination: &Destination) -> Result<TcpStream, UpstreamError> {
        timeout(CONNECT, self.tcp(destination)).await.map_err(|_| UpstreamError::TimedOut(destination.clone()))?
    }

    /// A verified TLS connection.
    ///
    /// # Errors
    /// See [`UpstreamError`].
    pub async fn connect_tls(&self, destination: &Destination, alpn: Alpn) -> Result<TlsStream<Ahead<TcpStream>>, UpstreamError> {
        timeout(CONNECT, async {
            let configuration = self.configuration(alpn)?;
            let tcp = self.tcp(destination).await?;
            shake(configuration, destination, tcp).await
        })
        .await
        .map_err(|_| UpstreamError::TimedOut(destination.clone()))?
    }

    /// Verified TLS on a connection to `destination` on which both sides have agreed to begin it.
    ///
    /// # Errors
    /// See [`UpstreamError`].
    pub async fn secure(&self, destination: &Destination, tcp: TcpStream, alpn: Alpn) -> Result<TlsStream<Ahead<TcpStream>>, UpstreamError> {
        let configuration = self.configuration(alpn)?;
        timeout(CONNECT, shake(configuration, destination, tcp)).await.map_err(|_| UpstreamError::TimedOut(destination.clone()))?
    }

    /// Loads the system's roots, which takes milliseconds, before somebody waits for them.
    pub fn warm(&self) {
        let _ = self.configuration(Alpn::Any);
    }

    fn configuration(&self, alpn: Alpn) -> Result<Arc<ClientConfig>, RootsError> {
        let (cell, protocols): (_, &[&[u8]]) = match alpn {
            Alpn::Any => (&self.any, &[b"h2", b"http/1.1"]),
            Alpn::Http1 => (&self.http1, &[b"http/1.1"]),
            Alpn::PostgreSql => (&self.postgresql, &[b"postgresql"]),
            Alpn::None => (&self.nothing, &[]),
        };
        // Loaded at the first connection: a box that never speaks TLS does not pay for the system's roots.
        cell.get_or_init(|| tls::presenting(&self.config.roots, protocols, self.identity.as_deref())).clone()
    }

    async fn tcp(&self, destination: &Destination) -> Result<TcpStream, UpstreamError> {
        if self.is_proxied(destination)
            && let Some(proxy) = self.config.proxy.proxy_for(destination)
        {
            return through(proxy, destination).await;
        }
        let mut last = UpstreamError::Unresolved(destination.host.clone());
        // What was judged is what is connected to: addresses that the judgement was made with are not asked for again.
        let addresses = if destination.addresses.is_empty() {
            self.resolve(destination).await?
        } else {
            let port = self.mapped(&destination.host).and_then(|(_, port)| port).unwrap_or(destination.port);
            destination.addresses.iter().map(|address| SocketAddr::new(*address, port)).collect()
        };
        for address in addresses {
            if !(self.check)(destination, address.ip()) {
                last = UpstreamError::LocalAddress(destination.host.clone(), address.ip());
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = UpstreamError::Connect(destination.clone(), error.kind()),
            }
        }
        Err(last)
    }
}

async fn shake(configuration: Arc<ClientConfig>, destination: &Destination, tcp: TcpStream) -> Result<TlsStream<Ahead<TcpStream>>, UpstreamError> {
    let failed = |why: String| UpstreamError::Tls(destination.clone(), why);
    let name = match destination.host.address() {
        Some(address) => ServerName::IpAddress(address.into()),
        None => ServerName::try_from(destination.host.as_str().to_owned()).map_err(|error| failed(error.to_string()))?,
    };
    TlsConnector::from(configuration).connect(name, Ahead::new(tcp)).await.map_err(|error| failed(tls_reason(&error)))
}

/// Addresses that were found a moment ago: a client that opens ten connections needs one question.
#[derive(Default)]
struct Known(Mutex<HashMap<HostName, (Instant, Vec<IpAddr>)>>);

impl Known {
    fn find(&self, host: &HostName) -> Option<Vec<IpAddr>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(host).filter(|(since, _)| since.elapsed() < FRESH).map(|(_, addresses)| addresses.clone())
    }

    fn keep(&self, host: &HostName, addresses: Vec<IpAddr>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_KNOWN {
            known.retain(|_, (since, _)| since.elapsed() < FRESH);
        }
        if known.len() < MOST_KNOWN {
            known.insert(host.clone(), (Instant::now(), addresses));
        }
    }
}

/// A short reason without the far side's words: rustls' own error, not the alert's text.
fn tls_reason(error: &io::Error) -> String {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).map_or_else(|| error.kind().to_string(), ToString::to_string)
}

/// Opens a tunnel through the network's proxy. The proxy resolves the name: its addresses cannot be checked here, only the name.
async fn through(proxy: &Proxy, destination: &Destination) -> Result<TcpStream, UpstreamError> {
    let failed = |why: String| UpstreamError::Proxy(destination.clone(), why);
    let mut stream = TcpStream::connect((proxy.host.as_str(), proxy.port)).await.map_err(|error| failed(error.kind().to_string()))?;
    let _ = stream.set_nodelay(true);
    let authorization = proxy.authorization.as_ref().map_or_else(String::new, |value| format!("Proxy-Authorization: {value}\r\n"));
    let question = format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n{authorization}\r\n");
    stream.write_all(question.as_bytes()).await.map_err(|error| failed(error.kind().to_string()))?;
    let mut answer = Vec::new();
    // Byte by byte, so that nothing of the tunnel is read: once a connection, of a trusted peer.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= LONGEST_PROXY_ANSWER {
            return Err(failed("its answer is too long".to_owned()));
        }
        answer.push(stream.read_u8().await.map_err(|error| failed(error.kind().to_string()))?);
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let _ = response.parse(&answer).map_err(|error| failed(error.to_string()))?;
    match response.code {
        Some(200..=299) => Ok(stream),
        Some(code) => Err(failed(format!("status {code}"))),
        None => Err(failed("no status".to_owned())),
    }
}

/// A stream to the far side, in the clear or not.
#[derive(Debug)]
pub enum UpstreamStream {
    /// In the clear.
    Clear(TcpStream),
    /// Verified TLS.
    Tls(Box<TlsStream<Ahead<TcpStream>>>),
    /// Through the process that holds the credentials, which has logged in.
    Carried(Box<TokioIo<Upgraded>>),
}

impl UpstreamStream {
    /// Whether HTTP/2 was agreed on.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        match self {
            UpstreamStream::Clear(_) | UpstreamStream::Carried(_) => false,
            UpstreamStream::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            UpstreamStream::Clear(stream) => Pin::new(stream).poll_read(cx, buffer),
            UpstreamStream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            UpstreamStream::Carried(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            UpstreamStream::Clear(stream) => Pin::new(stream).poll_write(cx, bytes),
            UpstreamStream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            UpstreamStream::Carried(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            UpstreamStream::Clear(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            UpstreamStream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            UpstreamStream::Carried(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            UpstreamStream::Clear(stream) => stream.is_write_vectored(),
            UpstreamStream::Tls(stream) => stream.is_write_vectored(),
            UpstreamStream::Carried(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            UpstreamStream::Clear(stream) => Pin::new(stream).poll_flush(cx),
            UpstreamStream::Tls(stream) => Pin::new(stream).poll_flush(cx),
            UpstreamStream::Carried(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            UpstreamStream::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            UpstreamStream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            UpstreamStream::Carried(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
