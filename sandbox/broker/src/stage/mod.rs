//! A stage for tests: a broker with a line that answers as it is told, a far side on loopback, and clients that speak to both.

mod databases;
mod descriptors;
mod faults;
mod figures;
mod holding;
mod line;
mod mongodb;
mod mysql;
mod passing;
mod redis;
mod resolving;
mod round_trip;
mod smuggling;
mod smuggling_http2;
mod streaming;
mod tls;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use agentbox_core::{
    Destination, Effect, Evidence, Granted, HostName, Judgement, Operation, Permit, Refusal, RefusalKind, Request, Resource, ResourceId, Verdict,
    ledger::{self, Draft, Durability, Journal, NotWritten},
    policy::{Context, LayerKind, LayerText, Policy},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use crate::{
    accept,
    authority::Authority,
    broker::{Broker, OWN_NAME},
    http::{Pool, Room, Twice},
    line::{Answer, Line, Promised},
    meaning::Documents,
    names::Names,
    postgres::Keys,
    proxy_environment::ProxyRules,
    redis::Scripts,
    refusals::Refusals,
    upstream::{Connector, UpstreamConfig},
};

/// The far side's name: reads and writes are allowed, destroying is asked about.
pub(crate) const API: &str = "api.example";

/// A test that waits longer than this hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How the line answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    Yes,
    No,
    /// Never, until somebody calls [`Fake::release`].
    Wait,
    /// Nobody may ask.
    Bomb,
}

/// A line that answers as it is told, and remembers.
pub(crate) struct Fake {
    say: Say,
    released: Notify,
    pub(crate) asked: Mutex<Vec<Request>>,
    pub(crate) gone: Mutex<u32>,
    pub(crate) done: Mutex<Vec<String>>,
    pub(crate) allowed: Mutex<Vec<String>>,
    pub(crate) redeemed: std::sync::atomic::AtomicU32,
}

struct Memory;

impl Journal for Memory {
    fn append(&mut self, _draft: Draft, _durability: Durability) -> Result<u64, NotWritten> {
        Ok(1)
    }
}

fn policy(text: &str) -> Policy {
    let layer = LayerText { name: "test.toml".into(), base: "/".into(), kind: LayerKind::User, bytes: text.as_bytes().to_vec() };
    Policy::load(vec![layer], &Context::default(), &mut |name, _| Err(format!("no {name}"))).unwrap_or_else(|error| panic!("{error}"))
}

/// Permits are made by policies only: this one says yes to everything.
fn permit_for(request: &Request) -> Permit {
    let yes = policy("[place.all]\nhosts = [\"*\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"allow\"\n");
    let operation = Operation::new(Effect::Read, "http.get", Resource::rooted(ResourceId::new("http", "x.example:443/")), "");
    let destination = Destination { host: HostName::parse("x.example").unwrap(), port: 443, addresses: Vec::new() };
    let stand_in = Request { operations: vec![operation], destination: Some(destination), digest: request.digest, evidence: Evidence::default() };
    match yes.judge(stand_in) {
        Judgement::Allow(granted) => ledger::commit(granted, "s", &mut Memory).unwrap(),
        other => panic!("{other:?}"),
    }
}

impl Fake {
    fn new(say: Say) -> Arc<Self> {
        Arc::new(Self {
            say,
            released: Notify::new(),
            asked: Mutex::default(),
            gone: Mutex::default(),
            done: Mutex::default(),
            allowed: Mutex::default(),
            redeemed: Default::default(),
        })
    }

    /// Says yes to one who waits.
    pub(crate) fn release(&self) {
        self.released.notify_one();
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|request| request.evidence.summary.clone()).collect()
    }
}

/// Counts an asker who goes before the answer.
struct Asker<'a>(&'a Fake, bool);

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        if !self.1 {
            *self.0.gone.lock().unwrap() += 1;
        }
    }
}

struct Yes<'a> {
    asker: Asker<'a>,
    permit: Permit,
}

impl<'a> Promised<'a> for Yes<'a> {
    fn number(&self) -> u64 {
        7
    }

    fn redeem(mut self: Box<Self>) -> Answer<'a, Permit> {
        self.asker.1 = true;
        self.asker.0.redeemed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Box::pin(async move { Ok(self.permit) })
    }

    fn forgo(mut self: Box<Self>, why: &str) {
        self.asker.1 = true;
        self.asker.0.done.lock().unwrap().push(why.to_owned());
    }

    fn nonce(&self) -> &str {
        "nonce"
    }

    fn handed_over(mut self: Box<Self>) -> u64 {
        self.asker.1 = true;
        7
    }
}

impl Line for Arc<Fake> {
    fn ask(&self, request: Request) -> Answer<'_, Box<dyn Promised<'_> + '_>> {
        Box::pin(async move {
            assert_ne!(self.say, Say::Bomb, "nobody may be asked: {request:?}");
            self.asked.lock().unwrap().push(request.clone());
            let mut asker = Asker(self, false);
            if self.say == Say::Wait {
                self.released.notified().await;
            }
            if self.say == Say::No {
                asker.1 = true;
                return Err(Refusal {
                    kind: RefusalKind::Denied,
                    operation: "x".into(),
                    place: "p".into(),
                    reason: "the test says no".into(),
                    guidance: "none".into(),
                    approval_id: None,
                });
            }
            let promise: Box<dyn Promised<'_>> = Box::new(Yes { asker, permit: permit_for(&request) });
            Ok(promise)
        })
    }

    fn done(&self, _ask: u64, outcome: &str) {
        self.done.lock().unwrap().push(outcome.to_owned());
    }

    fn allow(&self, granted: Granted) -> Result<Permit, Refusal> {
        self.allowed.lock().unwrap().push(granted.request().evidence.summary.clone());
        ledger::commit(granted, "s", &mut Memory)
    }
}

/// The broker on its stage.
pub(crate) struct Stage {
    pub(crate) line: Arc<Fake>,
    pub(crate) broker: Arc<Broker>,
}

impl Stage {
    /// A broker whose [`API`] (any port) leads to `far`.
    pub(crate) fn new(say: Say, far: SocketAddr) -> Self {
        Self::with(say, far, Vec::new(), "")
    }

    pub(crate) fn with(say: Say, far: SocketAddr, roots: Vec<CertificateDer<'static>>, more: &str) -> Self {
        let text = format!(
            "{more}\n[names]\n\"{API}\" = \"{far}\"\n[place.api]\nhosts = [\"{API}\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n\
             [place.internet]\nhosts = [\"*\"]\nread = \"allow\"\nwrite = \"hold\"\ndestroy = \"hold\"\n"
        );
        let policy = Arc::new(policy(&text));
        let line = Fake::new(say);
        let check = policy.clone();
        let config = UpstreamConfig { names: policy.settings().names.clone(), roots, proxy: ProxyRules::default() };
        let connector = Connector::new(config, Arc::new(move |to, address| check.allows_address(to, address) == Verdict::Allow));
        let broker = Broker {
            policy,
            line: Box::new(line.clone()),
            connector,
            pool: Arc::new(Pool::default()),
            keys: Keys::default(),
            issued: crate::secrets::Issued::default(),
            carrier: None,
            scripts: Scripts::default(),
            documents: Documents::default(),
            room: Room::default(),
            authority: Authority::generate("test").unwrap(),
            names: Arc::new(Names::default()),
            refusals: Refusals::default(),
            twice: Twice::default(),
            own: HostName::parse(OWN_NAME).unwrap(),
        };
        Self { line, broker: Arc::new(broker) }
    }

    /// A client's connection to `host:port`, served by the broker.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let host = HostName::parse(host).unwrap();
        let addresses = host.address().into_iter().collect();
        let destination = Destination { host, port, addresses };
        let broker = self.broker.clone();
        let served = accepted.unwrap().0;
        served.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let _ = accept::speak(served, broker, destination).await;
        });
        let client = client.unwrap();
        client.set_nodelay(true).unwrap();
        client
    }

    /// Sends bytes to [`API`] in the clear and reads until the broker closes or is silent for a moment.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut client = self.connect(API, 80).await;
        client.write_all(bytes).await.unwrap();
        listen(&mut client).await
    }

    /// What `agentbox why` would show.
    pub(crate) fn why(&self) -> String {
        String::from_utf8(self.broker.refusals.to_json()).unwrap()
    }
}

/// Reads until the end, or until nothing came for a second.
pub(crate) async fn listen(client: &mut (impl AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while let Ok(Ok(count)) = tokio::time::timeout(Duration::from_millis(1000), client.read(&mut buffer)).await {
        if count == 0 {
            break;
        }
        all.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One request as the far side saw it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) line: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) length: usize,
    /// Its first bytes.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<http::HeaderMap>,
}

/// A far side that answers what the path says: `/size/N` with N bytes, `/echo` with the body, `/status/N`, `/trailers`, else `ok`.
pub(crate) struct Far {
    pub(crate) address: SocketAddr,
    pub(crate) received: Arc<Mutex<Vec<Received>>>,
    pub(crate) connections: Arc<Mutex<u32>>,
    pub(crate) root: Option<CertificateDer<'static>>,
}

/// Whether the far side speaks TLS, and which protocols it offers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cloth {
    Clear,
    ClearHttp2,
    Tls(&'static [&'static str]),
}

/// So much of a body is remembered.
const KEPT: usize = 16 << 10;

type Told = http::Response<BoxBody<Bytes, std::convert::Infallible>>;

async fn far_answer(received: Arc<Mutex<Vec<Received>>>, request: http::Request<Incoming>) -> Result<Told, hyper::Error> {
    let (parts, mut body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let mut length = 0;
    let mut kept = Vec::new();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                length += data.len();
                if path == "/echo" || kept.len() < KEPT {
                    kept.extend_from_slice(&data);
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    received.lock().unwrap().push(Received { line: format!("{} {}", parts.method, parts.uri), headers: parts.headers, length, body: kept.clone(), trailers });
    let whole = |bytes: Vec<u8>| Full::new(Bytes::from(bytes)).boxed();
    let mut response = http::Response::new(whole(b"ok".to_vec()));
    if path == "/echo" {
        *response.body_mut() = whole(kept);
    } else if let Some(size) = path.strip_prefix("/size/").and_then(|size| size.parse::<usize>().ok()) {
        *response.body_mut() = Zeros(size).boxed();
    } else if let Some(status) = path.strip_prefix("/status/").and_then(|status| status.parse::<u16>().ok()) {
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        response.headers_mut().insert("location", "/elsewhere".parse().unwrap());
    } else if path == "/trailers" {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", "9".parse().unwrap());
        response.headers_mut().insert("trailer", "x-sum".parse().unwrap());
        *response.body_mut() = Tailed(Some(Bytes::from_static(b"body")), Some(trailers)).boxed();
    }
    Ok(response)
}

/// So many bytes, made as they are taken.
struct Zeros(usize);

impl http_body::Body for Zeros {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        static BLOCK: [u8; 64 << 10] = [0; 64 << 10];
        let length = self.0.min(BLOCK.len());
        self.0 -= length;
        std::task::Poll::Ready((length > 0).then(|| Ok(http_body::Frame::data(Bytes::from_static(&BLOCK[..length])))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0 as u64)
    }
}

/// A body of unknown length with trailers.
struct Tailed(Option<Bytes>, Option<http::HeaderMap>);

impl http_body::Body for Tailed {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        let data = self.0.take().map(http_body::Frame::data);
        std::task::Poll::Ready(data.or_else(|| self.1.take().map(http_body::Frame::trailers)).map(Ok))
    }
}

impl Far {
    pub(crate) async fn start(cloth: Cloth) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let connections: Arc<Mutex<u32>> = Arc::default();
        let (acceptor, root) = match cloth {
            Cloth::Clear | Cloth::ClearHttp2 => (None, None),
            Cloth::Tls(alpn) => {
                let (acceptor, root) = acceptor(alpn);
                (Some(acceptor), Some(root))
            }
        };
        let (seen, count) = (received.clone(), connections.clone());
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let _ = stream.set_nodelay(true);
                *count.lock().unwrap() += 1;
                let (acceptor, seen) = (acceptor.clone(), seen.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => far_serve(stream, matches!(cloth, Cloth::ClearHttp2), seen).await,
                        Some(acceptor) => {
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                            far_serve(stream, http2, seen).await;
                        }
                    }
                });
            }
        });
        Self { address, received, connections, root }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.received.lock().unwrap().iter().map(|received| received.line.clone()).collect()
    }
}

async fn far_serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, http2: bool, seen: Arc<Mutex<Vec<Received>>>) {
    let service = service_fn(move |request| far_answer(seen.clone(), request));
    if http2 {
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    } else {
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }
}

/// The far side's TLS for [`API`], with the root that a client must believe.
pub(crate) fn acceptor(alpn: &[&str]) -> (tokio_rustls::TlsAcceptor, CertificateDer<'static>) {
    let key = rcgen::generate_simple_self_signed(vec![API.to_owned()]).unwrap();
    let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let root = key.cert.der().clone();
    let mut config = rustls::ServerConfig::builder_with_provider(crate::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![root.clone()], private)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    (tokio_rustls::TlsAcceptor::from(Arc::new(config)), root)
}

/// A far side that does with each connection what the test says.
pub(crate) async fn scripted<F, Fut>(script: F) -> (SocketAddr, Arc<Mutex<u32>>)
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections: Arc<Mutex<u32>> = Arc::default();
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            *count.lock().unwrap() += 1;
            tokio::spawn(script(stream));
        }
    });
    (address, connections)
}

/// Runs a test with a deadline, so that a hang fails rather than waits.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("the test hangs") })
}
