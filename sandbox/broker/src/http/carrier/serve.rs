//! The holder's end: takes a request over, has its token struck, puts the secret in, sends, and gives the answer back without it.

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    io,
    os::unix::net::UnixStream as StdStream,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use agentbox_core::{Destination, HostName, policy::Policy, safe};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::UnixStream, time::timeout};

use super::{
    super::{
        body::{Tail, Through},
        canonical::{self, Known},
        client::{Client, Outgoing, Purpose},
        head,
        pool::Pool,
    },
    ask::head_of,
    message::{BROKEN, BodyKind, Carried, LONGEST_HEAD, MARK, REFUSED, UNREACHABLE},
    releases::Releases,
    scrub::{self, Scrubbed},
    tunnel,
};
use crate::{
    looker::{Held, Secret},
    meaning::{Position, Scheme, in_header, in_target},
    secrets::{
        Swaps,
        aws::{self, Signed},
        host_header,
    },
    upstream::Connector,
};

/// Requests at once; the broker has no more streams of one client.
const AT_ONCE: u32 = 512;

/// For the head and for a whole body: both lie with the broker already.
const HANDING_OVER: Duration = Duration::from_secs(30);

/// Longest body whose digest is made over all of it; the broker reads none that is longer.
const LONGEST_BODY: usize = 32 << 20;

/// What the process needs.
pub(crate) struct Keeper {
    held: Arc<Vec<Held>>,
    swaps: Arc<Swaps>,
    connector: Arc<Connector>,
    policy: Arc<Policy>,
    releases: Releases,
    /// Connections are never shared between credentials: what a far side learns of one may hang on the connection.
    pools: Mutex<HashMap<String, Arc<Pool>>>,
}

impl Keeper {
    pub(crate) fn new(held: Arc<Vec<Held>>, swaps: Swaps, connector: Arc<Connector>, policy: Arc<Policy>, releases: Releases) -> Self {
        Self { held, swaps: Arc::new(swaps), connector, policy, releases, pools: Mutex::default() }
    }

    fn pool(&self, names: &BTreeSet<String>) -> Arc<Pool> {
        let key = names.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    pub(super) fn releases(&self) -> &Releases {
        &self.releases
    }

    /// The secret of a credential by its name, if it may be used there now.
    pub(super) fn password(&self, name: &str, host: &HostName) -> Result<&Secret, String> {
        let held = self.held.iter().find(|held| held.rule.name == name).ok_or_else(|| format!("there is no credential `{name}`"))?;
        held.usable(host)
    }

    pub(super) fn swaps(&self) -> Arc<Swaps> {
        self.swaps.clone()
    }

    pub(super) fn without_secrets(&self, text: &str) -> String {
        self.swaps.in_text(text).unwrap_or_else(|| text.to_owned())
    }

    fn by_placeholder(&self, value: &[u8]) -> Option<&Held> {
        self.held.iter().find(|held| !held.stands.is_empty() && held.stands.as_bytes() == value)
    }
}

/// Serves the broker until it goes.
pub(crate) async fn serve(keeper: Arc<Keeper>, line: StdStream) -> io::Result<()> {
    line.set_nonblocking(true)?;
    let stream = UnixStream::from_std(line)?;
    let service = service_fn(move |request| {
        let keeper = keeper.clone();
        async move {
            if request.method() == Method::CONNECT {
                return Ok::<_, Infallible>(session(keeper, request));
            }
            Ok(answer(&keeper, request).await)
        }
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(AT_ONCE)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}

/// A stream for a session: it goes on by itself, and ends with either end.
fn session(keeper: Arc<Keeper>, request: Request<Incoming>) -> Response<Scrubbed> {
    let swaps = keeper.swaps.clone();
    tokio::spawn(async move {
        let served = match hyper::upgrade::on(request).await {
            Ok(upgraded) => tunnel::serve(&keeper, upgraded).await,
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = served {
            tracing::debug!("a session ended: {}", error.kind());
        }
    });
    Response::new(Scrubbed::new(Through::Whole(None, None), swaps))
}

/// Why there is no answer of the far side: the mark, and a sentence.
struct Instead(&'static str, String);

async fn answer(keeper: &Keeper, request: Request<Incoming>) -> Response<Scrubbed> {
    match carry(keeper, request).await {
        Ok(response) => response,
        Err(Instead(mark, why)) => {
            let why = keeper.swaps.in_text(&why).unwrap_or(why);
            let mut response = Response::new(Scrubbed::new(Through::of(safe::line(&why, 300).into_bytes()), keeper.swaps.clone()));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response.headers_mut().insert(MARK, HeaderValue::from_static(mark));
            response
        }
    }
}

async fn carry(keeper: &Keeper, request: Request<Incoming>) -> Result<Response<Scrubbed>, Instead> {
    let refused = |why: &str| Instead(REFUSED, why.to_owned());
    let (carried, first, incoming) = taken(request.into_body()).await?;
    let method = carried.method().ok_or_else(|| refused("it has no valid method"))?;
    let mut headers = carried.header_map().ok_or_else(|| refused("it has no valid headers"))?;
    let scheme = carried.scheme();
    let destination = way_out(keeper, &carried)?;
    let (digest, body) = match carried.body {
        BodyKind::Whole => {
            let bytes = whole(first, incoming).await?;
            let digest = canonical::digest(&method, scheme, &carried.destination, &carried.target, &headers, Known::Whole(&bytes));
            (digest, Through::Whole((!bytes.is_empty()).then_some(bytes), None))
        }
        BodyKind::Partly(nonce) => {
            let digest = canonical::digest(&method, scheme, &carried.destination, &carried.target, &headers, Known::Partly(nonce));
            (digest, Through::streaming(Some(first).filter(|first| !first.is_empty()), incoming, Tail::Passed))
        }
    };
    let mut target = carried.target.clone();
    let signer = signer(keeper, &carried, &method, &headers, &body);
    let mut names = put_in(keeper, &destination, &mut headers, &mut target)?;
    // What comes back in another coding could not be looked through.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(held) = signer {
        sign_anew(held, &carried, &method, &target, &mut headers, &body).map_err(|why| Instead(REFUSED, why))?;
        names.insert(held.rule.name.clone());
    }
    let pool = keeper.pool(&names);
    let client = Client { connector: &keeper.connector, pool: &pool, scheme, destination: &destination, version: carried.version(), purpose: Purpose::Request };
    let (ready, was_used) = client.connection(carried.reuse()).await.map_err(|error| Instead(UNREACHABLE, error.to_string()))?;
    let released = keeper.releases.release(carried.ask, carried.nonce.clone(), digest).await.map_err(|why| Instead(REFUSED, why))?;
    if let Some(name) = names.iter().find(|name| !released.contains(name)) {
        return Err(Instead(REFUSED, format!("credential `{name}` may not be used any more, or was not judged with this request")));
    }
    let mut outgoing = Request::new(());
    *outgoing.method_mut() = method;
    *outgoing.uri_mut() = target.parse().map_err(|_| refused("its target is not valid any more"))?;
    *outgoing.headers_mut() = headers;
    let (parts, ()) = outgoing.into_parts();
    let response = client.send(ready, was_used, carried.reuse(), Outgoing { parts, body }).await.map_err(|error| Instead(BROKEN, error.to_string()))?;
    Ok(back(keeper, response))
}

/// Whose placeholder the request is signed with.
fn signer<'k>(keeper: &'k Keeper, carried: &Carried, method: &Method, headers: &HeaderMap, body: &Through) -> Option<&'k Held> {
    let host = host_header(carried.scheme(), &carried.destination.host, carried.destination.port);
    let signed = Signed { method, target: &carried.target, host: &host, body: body.known() };
    keeper.held.iter().find(|held| !held.stands.is_empty() && aws::is_signed_with(&held.stands, signed, headers))
}

fn sign_anew(held: &Held, carried: &Carried, method: &Method, target: &str, headers: &mut HeaderMap, body: &Through) -> Result<(), String> {
    let secret = held.usable(&carried.destination.host)?;
    let host = host_header(carried.scheme(), &carried.destination.host, carried.destination.port);
    let signed = Signed { method, target, host: &host, body: body.known() };
    let value = aws::signed_anew(secret.reveal(), signed, headers).and_then(|value| HeaderValue::from_str(&value).ok());
    let mut value = value.ok_or_else(|| "the request could not be signed anew".to_owned())?;
    value.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, value);
    Ok(())
}

/// The head, what came of the body with it, and the rest.
async fn taken(mut incoming: Incoming) -> Result<(Carried, Bytes, Incoming), Instead> {
    let broken = |why: &str| Instead(REFUSED, format!("the request could not be taken over: {why}"));
    let mut bytes = BytesMut::new();
    let reading = async {
        loop {
            if let Some((head, rest)) = head_of(&bytes, LONGEST_HEAD).map_err(|why| broken(&why))? {
                return Ok((head, rest));
            }
            match incoming.frame().await {
                Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(_)) | None => return Err(broken("it broke off")),
            }
        }
    };
    let (head, rest) = timeout(HANDING_OVER, reading).await.map_err(|_| broken("it came too slowly"))??;
    Ok((head, rest, incoming))
}

async fn whole(first: Bytes, mut incoming: Incoming) -> Result<Bytes, Instead> {
    let broken = |why: &str| Instead(REFUSED, format!("the request could not be taken over: {why}"));
    let mut bytes = BytesMut::from(first);
    let reading = async {
        while let Some(frame) = incoming.frame().await {
            let piece = frame.map_err(|_| broken("it broke off"))?.into_data().map_err(|_| broken("it has trailers that nobody judged"))?;
            if bytes.len() + piece.len() > LONGEST_BODY {
                return Err(broken("its body is too long"));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    };
    timeout(HANDING_OVER, reading).await.map_err(|_| broken("it came too slowly"))?
}

/// Whether a host is this machine, or a stand-in that the policy's `names` lead to.
pub(super) fn is_near(keeper: &Keeper, host: &HostName) -> bool {
    host.address().is_some_and(|address| address.is_loopback()) || keeper.policy.settings().names.contains_key(host)
}

/// Where it goes. A secret travels in the clear only to this machine, or where the policy's `names` lead to a stand-in; and there the
/// address is our own finding, since no certificate speaks for it.
fn way_out(keeper: &Keeper, carried: &Carried) -> Result<Destination, Instead> {
    match carried.scheme() {
        Scheme::Https => Ok(carried.destination.clone()),
        Scheme::Http => {
            let host = &carried.destination.host;
            if !is_near(keeper, host) {
                return Err(Instead(REFUSED, format!("a credential is not sent to {host} in the clear: use https")));
            }
            Ok(Destination { addresses: Vec::new(), ..carried.destination.clone() })
        }
    }
}

/// Puts the secrets in, and gives the names of their credentials. Any that may not be used now refuses the whole request.
fn put_in(keeper: &Keeper, destination: &Destination, headers: &mut HeaderMap, target: &mut String) -> Result<BTreeSet<String>, Instead> {
    let mut names = BTreeSet::new();
    let mut why = None;
    let mut visit = |position: Position<'_>| {
        let held = keeper.by_placeholder(position.value)?;
        match held.usable(&destination.host) {
            Ok(secret) => {
                names.insert(held.rule.name.clone());
                Some(secret.reveal().as_bytes().to_vec())
            }
            Err(error) => {
                why = Some(error);
                None
            }
        }
    };
    let mut invalid = false;
    for (name, value) in &mut *headers {
        if let Some(new) = in_header(name, value.as_bytes(), &mut visit) {
            match HeaderValue::from_bytes(&new) {
                Ok(mut new) => {
                    new.set_sensitive(true);
                    *value = new;
                }
                Err(_) => invalid = true,
            }
        }
    }
    if let Some(new) = in_target(target, &mut visit) {
        *target = new;
    }
    match why {
        Some(why) => Err(Instead(REFUSED, why)),
        None if invalid => Err(Instead(REFUSED, "a credential cannot stand in a header".to_owned())),
        None => Ok(names),
    }
}

fn back(keeper: &Keeper, response: Response<Incoming>) -> Response<Scrubbed> {
    let (mut parts, body) = response.into_parts();
    head::strip(&mut parts.headers);
    parts.headers.remove(MARK);
    scrub::headers(&mut parts.headers, &keeper.swaps);
    if !keeper.swaps.keep_lengths() {
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    Response::from_parts(parts, Scrubbed::new(Through::streaming(None, body, Tail::Passed), keeper.swaps.clone()))
}
