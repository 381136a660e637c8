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
    ask::{TOKENS, head_of},
    message::{BROKEN, BodyKind, Carried, LONGEST_HEAD, MARK, MINTED, REFUSED, UNREACHABLE},
    minted::{self, Mint, Minted, Sent, Wanted},
    releases::Releases,
    scrub::{self, Scrubbed},
    tunnel,
};
use crate::{
    looker::{Held, Secret},
    meaning::{Position, Scheme, hands_out, in_body, in_header, in_target},
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
    swaps: Mutex<Arc<Swaps>>,
    mint: Mint,
    connector: Arc<Connector>,
    /// Those that show a client certificate, by its credential's name.
    presenting: HashMap<String, Connector>,
    policy: Arc<Policy>,
    releases: Releases,
    /// Connections are never shared between credentials: what a far side learns of one may hang on the connection.
    pools: Mutex<HashMap<String, Arc<Pool>>>,
}

/// What is shown to a server.
pub(super) enum Means<'k> {
    /// In TLS, on this way.
    Certificate(&'k Connector),
    /// In words, or by a proof.
    Password(&'k Secret),
}

impl Keeper {
    pub(crate) fn new(held: Arc<Vec<Held>>, swaps: Swaps, connector: Arc<Connector>, policy: Arc<Policy>, releases: Releases) -> Self {
        let presenting = held.iter().filter_map(|held| Some((held.rule.name.clone(), connector.presenting(held.identity()?.clone())))).collect();
        Self { held, presenting, swaps: Mutex::new(Arc::new(swaps)), mint: Mint::default(), connector, policy, releases, pools: Mutex::default() }
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
        self.held(name)?.usable(host)
    }

    /// What a credential logs in with, if it may be used there now.
    pub(super) fn means(&self, name: &str, host: &HostName) -> Result<Means<'_>, String> {
        match self.presenting.get(name) {
            Some(connector) => self.held(name)?.may_be_shown(host).map(|()| Means::Certificate(connector)),
            None => self.password(name, host).map(Means::Password),
        }
    }

    fn held(&self, name: &str) -> Result<&Held, String> {
        self.held.iter().find(|held| held.rule.name == name).ok_or_else(|| format!("there is no credential `{name}`"))
    }

    pub(super) fn swaps(&self) -> Arc<Swaps> {
        self.swaps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn mint(&self) -> &Mint {
        &self.mint
    }

    /// What is taken out of answers from now on: the credentials, and all tokens that are kept.
    pub(super) fn refresh(&self) {
        let tokens = self.mint.all();
        let tokens = tokens.iter().map(|minted| (minted.secret.reveal(), minted.stands.as_str()));
        let swaps = Swaps::new(self.held.iter().filter_map(Held::pair).chain(tokens));
        *self.swaps.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(swaps);
    }

    /// Whether this is a secret of here, or what stands for one.
    pub(super) fn knows(&self, text: &str) -> bool {
        self.held.iter().filter_map(Held::pair).any(|(secret, stands)| text == secret || text == stands)
            || self.mint.find(|minted| minted.secret.reveal() == text || minted.stands == text).is_some()
    }

    pub(super) fn without_secrets(&self, text: &str) -> String {
        self.swaps().in_text(text).unwrap_or_else(|| text.to_owned())
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

/// A stream for a session, or the one on which tokens are told: it goes on by itself, and ends with either end.
fn session(keeper: Arc<Keeper>, request: Request<Incoming>) -> Response<Scrubbed> {
    let swaps = keeper.swaps();
    let is_for_tokens = request.uri().authority().is_some_and(|asked| asked.as_str() == TOKENS);
    tokio::spawn(async move {
        let served = match hyper::upgrade::on(request).await {
            Ok(upgraded) if is_for_tokens => minted::serve(&keeper, upgraded).await,
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
            let why = keeper.without_secrets(&why);
            let mut response = Response::new(Scrubbed::new(Through::of(safe::line(&why, 300).into_bytes()), keeper.swaps()));
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
    let digest = canonical::with_certificate(digest, carried.certificate.as_deref());
    let mut target = carried.target.clone();
    let signer = signer(keeper, &carried, &method, &headers, &body);
    let sent = Sent { target: carried.target.clone(), headers: headers.clone(), body: body.known().map(Bytes::copy_from_slice) };
    let hands_out = hands_out(&method, &target, &headers, body.known());
    let PutIn { mut names, body, cookies } = put_in(keeper, &destination, &mut headers, &mut target, body, signer.is_some())?;
    // What comes back in another coding could not be looked through.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(signer) = signer {
        let secret = signer.usable(keeper, &destination.host).map_err(|why| Instead(REFUSED, why))?;
        sign_anew(&secret, &carried, &method, &target, &mut headers, &body).map_err(|why| Instead(REFUSED, why))?;
        names.extend(signer.names());
    }
    let connector = match &carried.certificate {
        Some(name) => {
            names.insert(name.clone());
            presenting(keeper, name, &carried).map_err(|why| Instead(REFUSED, why))?
        }
        None => &keeper.connector,
    };
    let pool = keeper.pool(&names);
    let client = Client { connector, pool: &pool, scheme, destination: &destination, version: carried.version(), purpose: Purpose::Request };
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
    let wanted = if hands_out { Wanted::Tokens } else { Wanted::Cookies(cookies) };
    back(keeper, response, &names, &wanted, &sent).await.map_err(|why| Instead(BROKEN, why))
}

/// The way out on which this credential's certificate is shown, if it may be shown to that host now.
fn presenting<'k>(keeper: &'k Keeper, name: &str, carried: &Carried) -> Result<&'k Connector, String> {
    let held = keeper.held.iter().find(|held| held.rule.name == name).ok_or_else(|| format!("there is no credential `{name}`"))?;
    held.may_be_shown(&carried.destination.host)?;
    if carried.scheme() == Scheme::Http {
        return Err("a client certificate is shown in TLS alone".to_owned());
    }
    keeper.presenting.get(name).ok_or_else(|| format!("credential `{name}` is no client certificate"))
}

/// What a placeholder stands for.
enum Behind<'k> {
    Held(&'k Held),
    Token(Arc<Minted>),
}

impl<'k> Behind<'k> {
    fn find(keeper: &'k Keeper, is_so: impl Fn(&str) -> bool) -> Option<Self> {
        let held = keeper.held.iter().find(|held| !held.stands.is_empty() && is_so(&held.stands));
        held.map(Behind::Held).or_else(|| keeper.mint.find(|minted| is_so(&minted.stands)).map(Behind::Token))
    }

    /// The credentials that must all have been judged.
    fn names(&self) -> impl Iterator<Item = String> + use<> {
        let names: Vec<String> = match self {
            Behind::Held(held) => vec![held.rule.name.clone()],
            Behind::Token(minted) => minted.names.iter().cloned().collect(),
        };
        names.into_iter()
    }

    /// The secret, if it may go to this host now. A token may where all may that it was handed out for.
    fn usable(&self, keeper: &Keeper, host: &HostName) -> Result<Secret, String> {
        match self {
            Behind::Held(held) => held.usable(host).cloned(),
            Behind::Token(minted) => {
                for name in &minted.names {
                    keeper.password(name, host)?;
                }
                Ok(minted.secret.clone())
            }
        }
    }
}

/// Whose placeholder the request is signed with.
fn signer<'k>(keeper: &'k Keeper, carried: &Carried, method: &Method, headers: &HeaderMap, body: &Through) -> Option<Behind<'k>> {
    let host = host_header(carried.scheme(), &carried.destination.host, carried.destination.port);
    let signed = Signed { method, target: &carried.target, host: &host, body: body.known() };
    Behind::find(keeper, |stands| aws::is_signed_with(stands, signed, headers))
}

fn sign_anew(secret: &Secret, carried: &Carried, method: &Method, target: &str, headers: &mut HeaderMap, body: &Through) -> Result<(), String> {
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

/// What came of putting the secrets in.
struct PutIn {
    /// Of the credentials that were used.
    names: BTreeSet<String>,
    body: Through,
    /// Of the cookies in which tokens were put in: what the far side sets anew under these names are tokens as well.
    cookies: Vec<String>,
}

/// Puts the secrets in. Any that may not be used now refuses the whole request. The body of what is signed stays as it is.
fn put_in(keeper: &Keeper, destination: &Destination, headers: &mut HeaderMap, target: &mut String, body: Through, is_signed: bool) -> Result<PutIn, Instead> {
    let (mut names, mut cookies) = (BTreeSet::new(), Vec::new());
    let mut why = None;
    let mut visit = |position: Position<'_>| {
        let behind = Behind::find(keeper, |stands| stands.as_bytes() == position.value)?;
        match behind.usable(keeper, &destination.host) {
            Ok(secret) => {
                names.extend(behind.names());
                if let Behind::Token(minted) = &behind {
                    cookies.extend(minted.cookie().map(str::to_owned));
                }
                Some(secret.reveal().as_bytes().to_vec())
            }
            Err(error) => {
                why = Some(error);
                None
            }
        }
    };
    let new_body = if is_signed { None } else { body.known().and_then(|body| in_body(headers, body, &mut visit)) };
    let mut invalid = false;
    for (name, value) in &mut *headers {
        // A cookie against forged requests is sent a second time, in a header.
        let again = ["csrf", "xsrf"].iter().any(|word| name.as_str().contains(word));
        let new = if again { visit(Position { place: "header", value: value.as_bytes(), told: false }) } else { in_header(name, value.as_bytes(), &mut visit) };
        if let Some(new) = new {
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
    let body = match new_body {
        Some(new) => {
            if headers.contains_key(header::CONTENT_LENGTH) {
                headers.insert(header::CONTENT_LENGTH, new.len().into());
            }
            Through::of(new)
        }
        None => body,
    };
    match why {
        Some(why) => Err(Instead(REFUSED, why)),
        None if invalid => Err(Instead(REFUSED, "a credential cannot stand in a header".to_owned())),
        None => Ok(PutIn { names, body, cookies }),
    }
}

/// The answer, without the secrets of here and without the tokens that it hands out.
async fn back(keeper: &Keeper, response: Response<Incoming>, names: &BTreeSet<String>, wanted: &Wanted, sent: &Sent) -> Result<Response<Scrubbed>, String> {
    let (mut parts, body) = response.into_parts();
    head::strip(&mut parts.headers);
    parts.headers.remove(MARK);
    parts.headers.remove(MINTED);
    let is_good = parts.status.is_success() || parts.status.is_redirection();
    let (body, tokens) = if is_good && !names.is_empty() {
        minted::take_out(keeper, names, wanted, sent, &mut parts.headers, body).await?
    } else {
        (Through::streaming(None, body, Tail::Passed), 0)
    };
    let swaps = keeper.swaps();
    scrub::headers(&mut parts.headers, &swaps);
    if tokens > 0 {
        parts.headers.insert(MINTED, tokens.into());
    }
    if !swaps.keep_lengths() {
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    Ok(Response::from_parts(parts, Scrubbed::new(body, swaps)))
}
