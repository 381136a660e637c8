//! One client connection: each request is checked, understood, judged, and sent on or answered with why not.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use agentbox_core::{Destination, Evidence, Judgement, Operation, Permit, Refusal, Request as Question, ledger::Durability, safe};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OnceCell,
};

use super::{
    body::{self, Read, Through},
    canonical::{self, Known},
    client::{Client, Outgoing, Reuse},
    head,
};
use crate::{
    broker::Broker,
    meaning::{self, Body, BodyWant, Head, Meaning, ReplyStyle, Scheme},
};

/// From the first byte of a head to its last.
const HEAD: Duration = Duration::from_secs(30);

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
    /// Who connected, where it is known.
    pub(crate) who: Vec<String>,
    resolved: OnceCell<Destination>,
}

impl Facts {
    pub(crate) fn new(destination: Destination, scheme: Scheme, who: Vec<String>) -> Self {
        Self { destination, scheme, who, resolved: OnceCell::new() }
    }
}

/// Serves a client until it goes.
pub(crate) async fn serve<S>(broker: Arc<Broker>, facts: Facts, version: Version, stream: S) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let facts = Arc::new(facts);
    let service = service_fn(move |request| {
        let (broker, facts) = (broker.clone(), facts.clone());
        async move { Ok::<_, Infallible>(answer(&broker, &facts, request).await) }
    });
    match version {
        Version::Http1 => {
            hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .max_headers(MOST_HEADERS)
                .max_buf_size(LARGEST_HEAD)
                .half_close(false)
                .serve_connection(TokioIo::new(stream), service)
                .await
        }
        Version::Http2 => {
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(MOST_STREAMS)
                .max_header_list_size(u32::try_from(LARGEST_HEAD).unwrap_or(u32::MAX))
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .serve_connection(TokioIo::new(stream), service)
                .await
        }
    }
}

async fn answer(broker: &Broker, facts: &Facts, request: Request<Incoming>) -> Response<Through> {
    if let Err((status, why)) = head::check(&request, &facts.destination, facts.scheme) {
        return plain(status, "agentbox_refused", why);
    }
    if facts.destination.host == broker.own {
        return ours(broker, &request);
    }
    match pass(broker, facts, request).await {
        Ok(response) | Err(response) => response,
    }
}

/// The story of one request. An error is an answer as well: why it does not happen.
async fn pass(broker: &Broker, facts: &Facts, request: Request<Incoming>) -> Result<Response<Through>, Response<Through>> {
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
    let (meaning, known, through) = understand(&head, incoming).await?;
    let digest = canonical::digest(&parts.method, facts.scheme, &facts.destination, &target, &parts.headers, known.borrow());
    let summary = safe::line(&format!("{} {}://{}{target}", parts.method, facts.scheme.word(), facts.destination), LONGEST_SUMMARY);
    let question = Question {
        operations: meaning.operations,
        destination: Some(facts.destination.clone()),
        digest,
        evidence: Evidence {
            summary: summary.clone(),
            excerpt: meaning.excerpt,
            who: facts.who.clone(),
            credentials: meaning.credentials,
            seen: None,
            unseen: None,
        },
    };
    let style = meaning.reply;
    let permitted = permit(broker, facts, question).await.map_err(|refusal| refused(broker, style, &summary, &refusal))?;
    let destination = facts.resolved.get().unwrap_or(&facts.destination);
    let client = Client { connector: &broker.connector, pool: &broker.pool, scheme: facts.scheme, destination };
    let outcome = Outcome { broker, ask: permitted.ask };
    let (ready, was_used) = match client.connection(permitted.reuse).await {
        Ok(connection) => connection,
        Err(error) => {
            outcome.tell(&format!("nothing was sent: {error}"));
            return Err(plain(StatusCode::BAD_GATEWAY, "agentbox_upstream", &error.to_string()));
        }
    };
    if let Err(unfit) = permitted.permit.consume(&digest, SystemTime::now()) {
        outcome.tell(&format!("nothing was sent: {unfit}"));
        return Err(plain(StatusCode::FORBIDDEN, "agentbox_denied", &unfit.to_string()));
    }
    match client.send(ready, was_used, permitted.reuse, Outgoing { parts, body: through }).await {
        Ok(response) => {
            outcome.tell(&format!("answered {}", response.status().as_u16()));
            Ok(back(response))
        }
        Err(error) => {
            outcome.tell(&error.to_string());
            Err(plain(StatusCode::BAD_GATEWAY, "agentbox_upstream", &error.to_string()))
        }
    }
}

/// What was read of the body, owned.
enum KnownBody {
    Whole(Bytes),
    Partly([u8; 16]),
}

impl KnownBody {
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

async fn understand(head: &Head<'_>, incoming: Incoming) -> Result<(Meaning, KnownBody, Through), Response<Through>> {
    if incoming.is_end_stream() {
        return Ok((meaning::understand(head, Body::Absent), KnownBody::Whole(Bytes::new()), Through::Whole(None, None)));
    }
    let most = match meaning::wants(head) {
        BodyWant::UpTo(most) => most,
        BodyWant::Nothing => return Ok((meaning::understand(head, Body::Absent), nonce()?, Through::Streaming(None, incoming))),
    };
    let unread = |error: body::Unread| plain(StatusCode::BAD_REQUEST, "agentbox_refused", &error.to_string());
    match body::read(incoming, most).await.map_err(unread)? {
        Read::Whole(bytes, trailers) => {
            let meaning = meaning::understand(head, Body::Whole(&bytes));
            // Trailers are not part of what was understood: with them two requests are never the same.
            let known = if trailers.is_some() { nonce()? } else { KnownBody::Whole(bytes.clone()) };
            Ok((meaning, known, Through::Whole((!bytes.is_empty()).then_some(bytes), trailers)))
        }
        Read::TooLong(first, rest) => Ok((meaning::understand(head, Body::TooLong { first: &first }), nonce()?, Through::Streaming(Some(first), rest))),
    }
}

/// The right to send, and how.
struct Permitted {
    permit: Permit,
    reuse: Reuse,
    ask: Option<u64>,
}

async fn permit(broker: &Broker, facts: &Facts, mut question: Question) -> Result<Permitted, Refusal> {
    if let Some(resolved) = facts.resolved.get() {
        question.destination = Some(resolved.clone());
    }
    let judged = match broker.policy.judge(question.clone()) {
        Judgement::Allow(granted) if facts.resolved.get().is_none() => {
            // Allowed by name. A place may match by address too, so the addresses are found, judged, and then connected to.
            let resolved = facts.resolved.get_or_try_init(|| resolve(broker, &facts.destination)).await;
            match resolved {
                Ok(resolved) => {
                    drop(granted);
                    question.destination = Some(resolved.clone());
                    broker.policy.judge(question.clone())
                }
                // It cannot be reached anyway: the way out says so in its own words.
                Err(_) => Judgement::Allow(granted),
            }
        }
        judged => judged,
    };
    match judged {
        Judgement::Allow(granted) if agentbox_core::ledger::durability(&granted) == Durability::Grouped => {
            Ok(Permitted { permit: broker.line.allow(granted)?, reuse: Reuse::Allowed, ask: None })
        }
        Judgement::Allow(_) | Judgement::Hold(_) | Judgement::Deny(_) => {
            let (permit, ask) = broker.line.ask(question).await?;
            Ok(Permitted { permit, reuse: Reuse::Never, ask: Some(ask) })
        }
    }
}

async fn resolve(broker: &Broker, destination: &Destination) -> Result<Destination, crate::upstream::UpstreamError> {
    if broker.connector.is_proxied(destination) {
        return Ok(destination.clone());
    }
    let addresses = broker.connector.resolve(destination).await?.into_iter().map(|address| address.ip()).collect();
    Ok(Destination { addresses, ..destination.clone() })
}

/// Tells the supervisor how a deed ended, once, also where the client went in between.
struct Outcome<'a> {
    broker: &'a Broker,
    ask: Option<u64>,
}

impl Outcome<'_> {
    fn tell(mut self, outcome: &str) {
        if let Some(ask) = self.ask.take() {
            self.broker.line.done(ask, outcome);
        }
    }
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        if let Some(ask) = self.ask.take() {
            self.broker.line.done(ask, "the client went before the answer came");
        }
    }
}

fn refused(broker: &Broker, style: ReplyStyle, summary: &str, refusal: &Refusal) -> Response<Through> {
    broker.refusals.remember(summary, refusal);
    meaning::refusal_response(style, refusal).map(Through::of)
}

/// The far side's answer without what belongs to its connection.
fn back(response: Response<Incoming>) -> Response<Through> {
    let (mut parts, body) = response.into_parts();
    head::strip(&mut parts.headers);
    // An offer of QUIC would only cost the client a refused packet.
    parts.headers.remove(header::ALT_SVC);
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return plain(StatusCode::BAD_GATEWAY, "agentbox_upstream", "the far side changed the protocol without being asked");
    }
    Response::from_parts(parts, Through::Streaming(None, body))
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
            let mut response = Response::new(Through::of(broker.refusals.to_json()));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        _ => plain(StatusCode::NOT_FOUND, "agentbox", "this is the broker of an agentbox; /why lists what was refused last"),
    }
}

/// What a connection is that cannot be looked into, as one operation.
pub(crate) fn whole_connection(destination: &Destination, action: &str, why: &str) -> Operation {
    let id = agentbox_core::ResourceId::new("connection", &destination.to_string());
    Operation::new(agentbox_core::Effect::Opaque, action, agentbox_core::Resource::rooted(id), why)
}
