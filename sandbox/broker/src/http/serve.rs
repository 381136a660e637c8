//! One client connection: each request is checked, understood, judged, and sent on or answered with why not.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime},
};

use agentbox_core::{Credential, Destination, Evidence, Refusal, RefusalKind, Request as Question, Verdict, safe};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::OnceCell,
    time::timeout,
};

use super::{
    asking::{Prepared, Unprepared, client, prepare, refusal},
    body::{self, Read, Rest, Share, Tail, Through},
    canonical::{self, Known},
    carrier::{self, Ware},
    client::{Outgoing, Purpose, Unanswered},
    envelopes::Envelopes,
    head, spdy,
    strict::{Broken, Reason, Strict},
    upgrade::Slot,
    websocket,
};
use crate::{
    broker::Broker,
    client_stream::Presence,
    meaning::{self, Body, BodyWant, Head, Meaning, ReplyStyle, Scheme},
    opaque::whole_connection,
    peek::Prefixed,
    upstream::UpstreamError,
};

/// How long a client may keep its connection between two requests; within a head [`Strict`] is the one who counts.
const IDLE: Duration = Duration::from_secs(300);

/// For the last bytes of a connection.
const FAREWELL: Duration = Duration::from_secs(5);

/// Largest request head, and most headers in it.
const LARGEST_HEAD: usize = 64 << 10;
const MOST_HEADERS: usize = 128;

/// HTTP/2 streams of one client at once.
const MOST_STREAMS: u32 = 256;

/// Longest summary line, in characters.
const LONGEST_SUMMARY: usize = 300;

/// Flow control windows towards the client.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Which HTTP the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// What is known of a connection before its first request.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) destination: Destination,
    pub(crate) scheme: Scheme,
    /// The TLS hello asked for another name: nothing on this connection goes anywhere.
    pub(crate) misdirected: bool,
    /// The certificate that the client showed, in the form of a credential.
    pub(crate) certificate: Option<Credential>,
    presence: Presence,
    /// The destination with what could be found out about its addresses before asking.
    addressed: OnceCell<Destination>,
}

impl Facts {
    pub(crate) fn new(destination: Destination, scheme: Scheme, presence: Presence) -> Self {
        Self { destination, scheme, misdirected: false, certificate: None, presence, addressed: OnceCell::new() }
    }

    /// The name of the credential whose placeholder the client showed.
    pub(super) fn issued_certificate(&self) -> Option<&str> {
        self.certificate.as_ref().filter(|credential| credential.issued).map(|credential| credential.name.as_str())
    }

    /// The client's address, and the one that it connected to.
    pub(super) fn connection(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.presence.connection()
    }

    /// Ends when the client has gone.
    pub(super) async fn gone(&self) {
        self.presence.gone().await;
    }

    /// The destination with what could be found out about its addresses before asking.
    pub(super) async fn addressed(&self, broker: &Broker) -> &Destination {
        self.addressed.get_or_init(|| broker.addressed(&self.destination)).await
    }
}

/// Serves a client until it goes.
pub(crate) async fn serve<S>(broker: Arc<Broker>, facts: Facts, version: Version, stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let facts = Arc::new(facts);
    let slot = Arc::new(Slot::default());
    let left = slot.clone();
    let service = service_fn(move |request| {
        let (broker, facts, left) = (broker.clone(), facts.clone(), left.clone());
        Box::pin(async move { Ok::<_, Infallible>(answer(&broker, &facts, version, &left, request).await) })
    });
    match version {
        Version::Http1 => {
            let (stream, reason) = Strict::new(stream, slot.opened());
            let mut connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE)
                .max_headers(MOST_HEADERS)
                .max_buf_size(LARGEST_HEAD)
                .half_close(false)
                .serve_connection(TokioIo::new(stream), service);
            let served = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
            let parts = connection.into_parts();
            if let (Ok(()), Some(tunnel)) = (&served, slot.take()) {
                tunnel.run(Prefixed::new(parts.read_buf.into(), parts.io.into_inner().into_inner())).await;
                return Ok(());
            }
            let mut stream = parts.io.into_inner();
            // hyper takes an error before the first byte of a head for a quiet end, so the reason is asked and not its result.
            explain(&mut stream, &reason).await;
            let _ = timeout(FAREWELL, stream.shutdown()).await;
            served.map_err(io::Error::other)
        }
        Version::Http2 => hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MOST_STREAMS)
            .max_header_list_size(u32::try_from(LARGEST_HEAD).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .serve_connection(TokioIo::new(stream), service)
            .await
            .map_err(io::Error::other),
    }
}

/// Tells a client whose very first request has two readings why its connection ends. Later on an answer could be taken for another's.
async fn explain<S: AsyncWrite + Unpin>(stream: &mut S, reason: &Reason) {
    let broken = *reason.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(Broken { why, before_any: true }) = broken {
        let body = serde_json::json!({ "error": "agentbox_refused", "reason": why }).to_string();
        let head = format!(
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nx-should-retry: false\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let _ = timeout(FAREWELL, stream.write_all(format!("{head}{body}").as_bytes())).await;
    }
}

async fn answer(broker: &Arc<Broker>, facts: &Arc<Facts>, version: Version, slot: &Slot, request: Request<Incoming>) -> Response<Through> {
    let checked = if slot.is_open() {
        Err((StatusCode::BAD_REQUEST, "a request on a connection that has become something else than HTTP"))
    } else if facts.misdirected {
        Err((StatusCode::MISDIRECTED_REQUEST, "the name in the TLS hello is not the name that was connected to: connect to a host by its own name"))
    } else {
        head::check(&request, &facts.destination, facts.scheme)
    };
    if let Err((status, why)) = checked {
        let summary = format!("{} {}://{}{}", request.method(), facts.scheme.word(), facts.destination, request.uri().path());
        broker.refusals.remember(&summary, &refusal(RefusalKind::Failed, "http.malformed", "", why, "Send it in the usual form."));
        return plain(status, "agentbox_refused", why);
    }
    if facts.destination.host == broker.own {
        return ours(broker, &request);
    }
    let passed = match version {
        Version::Http1 if websocket::is_asked(request.headers()) => websocket::open(broker, facts, slot, request).await,
        Version::Http1 if spdy::is_asked(request.headers()) => spdy::open(broker, facts, slot, request).await,
        Version::Http1 | Version::Http2 => pass(broker, facts, version, request).await,
    };
    match passed {
        Ok(response) | Err(response) => response,
    }
}

/// The story of one request. An error is an answer as well: why it does not happen.
async fn pass(broker: &Broker, facts: &Facts, version: Version, request: Request<Incoming>) -> Result<Response<Through>, Response<Through>> {
    let (mut parts, incoming) = request.into_parts();
    head::strip(&mut parts.headers);
    parts.headers.remove(header::EXPECT);
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    let head = Head {
        method: &parts.method,
        scheme: facts.scheme,
        host: &facts.destination.host,
        port: facts.destination.port,
        target: &target,
        headers: &parts.headers,
    };
    let mut share = Share::default();
    let (mut meaning, known, through) = understand(broker, &head, incoming, &mut share).await?;
    let fingerprints;
    (meaning.credentials, fingerprints) = broker.issued.recognise(&head, known.bytes());
    // Behind all others: fingerprints know theirs by its number.
    meaning.credentials.extend(facts.certificate.clone());
    let digest = canonical::digest(&parts.method, facts.scheme, &facts.destination, &target, &parts.headers, known.borrow());
    let digest = canonical::with_certificate(digest, facts.issued_certificate());
    let summary =
        safe::line(&format!("{} {}://{}{}", parts.method, facts.scheme.word(), facts.destination, meaning::without_secrets(&target)), LONGEST_SUMMARY);
    let addressed = facts.addressed(broker).await;
    let mut operations = meaning.operations;
    if broker.is_unlisted(&facts.destination) {
        operations.push(whole_connection(
            &facts.destination,
            "connection.unlisted-address",
            "a bare address that no place lists: nobody knows what is behind it",
        ));
    }
    let question = Question {
        operations,
        destination: Some(addressed.clone()),
        digest,
        evidence: Evidence {
            summary: summary.clone(),
            excerpt: meaning.excerpt,
            credentials: meaning.credentials,
            fingerprints,
            connection: facts.presence.connection(),
            ..Evidence::default()
        },
    };
    let style = meaning.reply;
    if let Some(hash) = &meaning.unknown_document
        && broker.policy.preview(&question).0 == Verdict::Hold
        && broker.documents.asks_for(&facts.destination.host, facts.destination.port, hash)
    {
        return Ok(not_found());
    }
    if let Some(carrier) = &broker.carrier
        && question.evidence.credentials.iter().any(|credential| credential.issued)
    {
        let ware = Ware { question, parts: &parts, target: &target, body: through, known: known.borrow(), style };
        return carrier::pass(broker, carrier, facts, version, ware).await;
    }
    // From here to the deed somebody must be there to hear of it: whoever goes is not acted for.
    let prepared = tokio::select! {
        biased;
        () = facts.presence.gone() => return Err(plain(StatusCode::BAD_REQUEST, "agentbox_refused", "the client has gone")),
        prepared = prepare(broker, facts, version, question, Purpose::Request) => prepared,
    };
    let Prepared { permit, reuse, outcome, destination, ready, was_used } = match prepared {
        Ok(prepared) => prepared,
        Err(Unprepared::Refused(refusal)) => return Err(refused(broker, style, &summary, &refusal)),
        Err(Unprepared::Unreachable(error)) => return Err(unreachable(&error)),
    };
    let client = client(broker, facts, version, &destination, Purpose::Request);
    if let Err(unfit) = permit.consume(&digest, SystemTime::now()) {
        outcome.tell(&format!("nothing was sent: {unfit}"));
        return Err(plain(StatusCode::FORBIDDEN, "agentbox_denied", &unfit.to_string()));
    }
    match client.send(ready, was_used, reuse, Outgoing { parts, body: through }).await {
        Ok(response) => {
            outcome.tell(&format!("answered {}", response.status().as_u16()));
            Ok(back(response))
        }
        Err(error) => {
            outcome.tell(&error.to_string());
            Err(unanswered(&error))
        }
    }
}

/// What a server answers that has not seen a document: the client sends it then, with its hash (Apollo, automatic persisted queries).
fn not_found() -> Response<Through> {
    let body = r#"{"errors":[{"message":"PersistedQueryNotFound","extensions":{"code":"PERSISTED_QUERY_NOT_FOUND"}}]}"#;
    let mut response = Response::new(Through::of(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn unanswered(error: &Unanswered) -> Response<Through> {
    let status = match error {
        Unanswered::Silent(_) => StatusCode::GATEWAY_TIMEOUT,
        Unanswered::Unreachable(error) => return unreachable(error),
        Unanswered::Broken(..) => StatusCode::BAD_GATEWAY,
    };
    plain(status, "agentbox_upstream", &error.to_string())
}

pub(super) fn unreachable(error: &UpstreamError) -> Response<Through> {
    let status = match error {
        UpstreamError::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        UpstreamError::LocalAddress(..) => StatusCode::FORBIDDEN,
        UpstreamError::Unresolved(_) | UpstreamError::Connect(..) | UpstreamError::Tls(..) | UpstreamError::Proxy(..) | UpstreamError::Roots(_) => {
            StatusCode::BAD_GATEWAY
        }
    };
    plain(status, "agentbox_upstream", &error.to_string())
}

/// What was read of the body, owned.
enum KnownBody {
    Whole(Bytes),
    Partly([u8; 16]),
}

impl KnownBody {
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            KnownBody::Whole(bytes) => Some(bytes),
            KnownBody::Partly(_) => None,
        }
    }

    fn borrow(&self) -> Known<'_> {
        match self {
            KnownBody::Whole(bytes) => Known::Whole(bytes),
            KnownBody::Partly(nonce) => Known::Partly(*nonce),
        }
    }
}

/// A number that makes a request unlike any other.
fn nonce() -> Result<KnownBody, Response<Through>> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|_| plain(StatusCode::SERVICE_UNAVAILABLE, "agentbox_denied", "the system gives no random numbers"))?;
    Ok(KnownBody::Partly(nonce))
}

/// Reads what must be read, and says what the request means. `share` is the room that its body takes.
async fn understand(broker: &Broker, head: &Head<'_>, incoming: Incoming, share: &mut Share) -> Result<(Meaning, KnownBody, Through), Response<Through>> {
    if incoming.is_end_stream() {
        return Ok((meaning::understand_after(head, Body::Absent, &broker.documents), KnownBody::Whole(Bytes::new()), Through::Whole(None, None)));
    }
    let want = meaning::wants(head);
    let (BodyWant::UpTo(most) | BodyWant::Soon(most)) = want else {
        let meaning = meaning::understand_after(head, Body::Absent, &broker.documents);
        let rest = Rest::new(body::IDLE, tail(head, &Bytes::new(), &meaning));
        return Ok((meaning, nonce()?, Through::Streaming(None, incoming, rest)));
    };
    let unread = |error: body::Unread| {
        let status = if matches!(error, body::Unread::NoRoom) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_REQUEST };
        plain(status, "agentbox_refused", &error.to_string())
    };
    let read = match want {
        BodyWant::Soon(_) => body::read_soon(incoming, most, &broker.room, share).await,
        BodyWant::UpTo(_) | BodyWant::Nothing => body::read(incoming, most, &broker.room, share).await,
    };
    match read.map_err(unread)? {
        Read::Whole(bytes, None) => {
            let meaning = meaning::understand_after(head, Body::Whole(&bytes), &broker.documents);
            Ok((meaning, KnownBody::Whole(bytes.clone()), Through::Whole((!bytes.is_empty()).then_some(bytes), None)))
        }
        Read::Whole(_, Some(trailers)) if belong_ahead(&trailers, head) => {
            Err(plain(StatusCode::BAD_REQUEST, "agentbox_refused", "trailers that belong in the head: what frames a message, or authenticates"))
        }
        Read::Whole(bytes, Some(trailers)) => {
            let mut meaning = meaning::understand_after(head, Body::Whole(&bytes), &broker.documents);
            // Some servers take trailers for headers and some do not: the request is both, and unlike any other.
            let mut headers = head.headers.clone();
            headers.extend(trailers.clone());
            meaning.operations.extend(meaning::understand_after(&Head { headers: &headers, ..*head }, Body::Whole(&bytes), &broker.documents).operations);
            Ok((meaning, nonce()?, Through::Whole((!bytes.is_empty()).then_some(bytes), Some(trailers))))
        }
        Read::TooLong(first, incoming) => {
            let meaning = meaning::understand_after(head, Body::TooLong { first: &first }, &broker.documents);
            let mut rest = Rest::new(body::IDLE, tail(head, &first, &meaning));
            if meaning::is_enveloped(head) {
                let mut envelopes = Envelopes::default();
                // One that is none was judged opaque: somebody may say yes to that, too.
                if envelopes.take(&first).is_ok() {
                    rest = Rest::new(body::IDLE_CALL, tail(head, &first, &meaning)).enveloped(envelopes);
                }
            }
            Ok((meaning, nonce()?, Through::Streaming(Some(first).filter(|first| !first.is_empty()), incoming, rest)))
        }
    }
}

/// Whether any of them has no place behind a body: nobody looks there for what frames a message, or for whose it is, but a far side might.
fn belong_ahead(trailers: &http::HeaderMap, head: &Head<'_>) -> bool {
    let mut proves = false;
    meaning::positions(&Head { target: "/", headers: trailers, ..*head }, &mut |_| proves = true);
    proves || trailers.keys().any(head::is_of_the_frame)
}

/// Trailers of a body that is not read to its end come when the request was judged already: some servers take them for headers and some do
/// not, so they are passed on where it would be the same request with them.
fn tail(head: &Head<'_>, first: &Bytes, judged: &Meaning) -> Tail {
    let (method, scheme, host, port, target) = (head.method.clone(), head.scheme, head.host.clone(), head.port, head.target.to_owned());
    let (headers, first) = (head.headers.clone(), first.clone());
    let (operations, credentials) = (judged.operations.clone(), judged.credentials.clone());
    Tail::Judged(Box::new(move |trailers| {
        let mut joined = headers.clone();
        joined.extend(trailers.clone());
        let head = Head { method: &method, scheme, host: &host, port, target: &target, headers: &joined };
        if belong_ahead(trailers, &head) {
            return false;
        }
        let meaning = meaning::understand(&head, Body::TooLong { first: &first });
        meaning.operations == operations && meaning.credentials == credentials
    }))
}

pub(super) fn refused(broker: &Broker, style: ReplyStyle, summary: &str, refusal: &Refusal) -> Response<Through> {
    broker.refusals.remember(summary, refusal);
    meaning::refusal_response(style, refusal).map(Through::of)
}

/// The far side's answer without what belongs to its connection.
pub(super) fn back(response: Response<Incoming>) -> Response<Through> {
    let (mut parts, body) = response.into_parts();
    head::strip(&mut parts.headers);
    // An offer of QUIC would only cost the client a refused packet.
    parts.headers.remove(header::ALT_SVC);
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return plain(StatusCode::BAD_GATEWAY, "agentbox_upstream", "the far side changed the protocol without being asked");
    }
    let is_call = parts
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|media| [&b"application/grpc"[..], b"application/connect+"].iter().any(|beginning| media.as_bytes().starts_with(beginning)));
    let rest = Rest::new(if is_call { body::IDLE_CALL } else { body::IDLE }, Tail::Passed);
    Response::from_parts(parts, Through::Streaming(None, body, rest))
}

/// An answer of our own.
pub(super) fn plain(status: StatusCode, error: &str, reason: &str) -> Response<Through> {
    let body = serde_json::json!({ "error": error, "reason": safe::line(reason, LONGEST_SUMMARY) }).to_string();
    let mut response = Response::new(Through::of(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("x-should-retry", HeaderValue::from_static("false"));
    response
}

/// What the broker itself tells inside the box.
fn ours(broker: &Broker, request: &Request<Incoming>) -> Response<Through> {
    match request.uri().path() {
        "/why" => {
            for (summary, refusal) in broker.line.told() {
                broker.refusals.remember(&summary, &refusal);
            }
            let mut response = Response::new(Through::of(broker.refusals.to_json()));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        "/ask" => {
            let text = request.uri().query().and_then(|query| query.strip_prefix("text=")).unwrap_or_default();
            broker.line.said(&percent_encoding::percent_decode_str(text).decode_utf8_lossy());
            Response::new(Through::of("{}".to_owned()))
        }
        _ => plain(StatusCode::NOT_FOUND, "agentbox", "this is the broker of an agentbox; /why lists what was refused last, /ask takes words for the card"),
    }
}
