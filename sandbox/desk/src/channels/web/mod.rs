//! The page: the same cards in a browser, on this machine only. A courier: what it brings back counts as the account's word, or by its signature.
//!
//! Five routes and no state worth a framework; hyper is in the program already. A browser is told to trust nothing but this page, and this page
//! trusts a browser only with its link, its cookie, its secret path, and (where something changes) our own origin and the form's stamp.

mod door;
mod form;
mod page;

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    os::unix::net::UnixListener as StdUnixListener,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use agentbox_core::safe;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full, Limited, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Semaphore, mpsc},
    time::timeout,
};

use crate::{
    Card, HoldId,
    card::Row,
    control::{FromDesk, RuledWord, ToDesk, Via},
};
use door::{COOKIE, Door, Guest};
use form::Form;

/// Connections at once: a browser opens six.
const CONNECTIONS: usize = 64;

/// Longest form, in bytes: a reason and a signature.
const LONGEST_FORM: usize = 32 * 1024;

/// How long a head or a form may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often a live view looks.
const AGAIN: Duration = Duration::from_millis(700);

/// How long one live view lasts; the browser asks for another.
const LIVE: Duration = Duration::from_secs(3600);

/// What the browser may load and do: this page's own style and script, and nothing of anybody's else.
const CSP: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The boxes behind the page. Its calls may take a while; they are made aside.
pub trait Desk: Send + Sync + 'static {
    /// All that waits, and how many more.
    fn rows(&self) -> (Vec<Row>, usize);
    /// One card.
    fn card(&self, id: &HoldId) -> Option<Card>;
    /// Tells the box of a hold.
    fn rule(&self, id: &HoldId, message: &ToDesk) -> FromDesk;
}

/// Where it listens.
#[derive(Debug)]
pub enum Listening {
    /// On a loopback address.
    Loopback(StdListener),
    /// On a UNIX socket that only its user opens.
    Socket(StdUnixListener),
}

/// It must not be there.
#[derive(Debug, thiserror::Error)]
pub enum NotServed {
    /// Other machines could reach it.
    #[error("{0} is no loopback address: the page is for this machine only; from elsewhere, use `ssh -L`")]
    NotLoopback(SocketAddr),
    /// The listener does not work.
    #[error("listening: {0}")]
    Io(#[from] io::Error),
}

/// The page.
pub struct Web {
    desk: Box<dyn Desk>,
    door: Mutex<Door>,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

impl Web {
    /// A page for these boxes, at this address.
    ///
    /// # Errors
    /// Other machines could reach it.
    pub fn new(desk: Box<dyn Desk>, listening: &Listening) -> Result<Arc<Self>, NotServed> {
        let address = match listening {
            Listening::Loopback(listener) => {
                let address = listener.local_addr()?;
                if !address.ip().is_loopback() {
                    return Err(NotServed::NotLoopback(address));
                }
                Some(address)
            }
            Listening::Socket(_) => None,
        };
        Ok(Arc::new(Self { desk, door: Mutex::new(Door::new(address)) }))
    }

    fn door(&self) -> std::sync::MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The path of a new one-time link, for the owner's terminal; the one before ends. `None` where the system gives no random bits.
    pub fn link(&self) -> Option<String> {
        self.door().link(Instant::now()).map(|link| format!("/login?link={link}"))
    }

    /// Serves until the listener fails.
    ///
    /// # Errors
    /// It does.
    pub async fn serve(self: Arc<Self>, listening: Listening) -> io::Result<()> {
        let seats = Arc::new(Semaphore::new(CONNECTIONS));
        match listening {
            Listening::Loopback(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                loop {
                    let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return Ok(()) };
                    match listener.accept().await {
                        Ok((stream, _)) => self.attend(stream, seat),
                        Err(error) => paused(&error).await,
                    }
                }
            }
            Listening::Socket(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                loop {
                    let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return Ok(()) };
                    match listener.accept().await {
                        Ok((stream, _)) => self.attend(stream, seat),
                        Err(error) => paused(&error).await,
                    }
                }
            }
        }
    }

    fn attend<S>(self: &Arc<Self>, stream: S, seat: tokio::sync::OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let web = Arc::clone(self);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let web = Arc::clone(&web);
                async move { Ok::<_, Infallible>(guarded(web.answer(request).await)) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(DEADLINE)
                .max_buf_size(32 * 1024)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(seat);
        });
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Answer {
        if !self.door().is_our_host(request.headers()) {
            return said(StatusCode::MISDIRECTED_REQUEST, "This is not the name of this page.");
        }
        let path = request.uri().path().to_owned();
        let post = match *request.method() {
            Method::GET => false,
            Method::POST => true,
            _ => return said(StatusCode::METHOD_NOT_ALLOWED, "Only GET and POST."),
        };
        if post && !self.door().is_our_origin(request.headers()) {
            return said(StatusCode::FORBIDDEN, "This did not come from this page.");
        }
        if path == "/style.css" && !post {
            return file("text/css; charset=utf-8", include_str!("style.css"));
        }
        if path == "/login" {
            return if post { self.login(request).await } else { self.welcome(&request) };
        }
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let (first, rest) = (parts.next().unwrap_or_default(), parts.next());
        let guest = self.door().guest(first, request.headers(), Instant::now()).cloned();
        let (Some(guest), Some(rest)) = (guest, rest) else {
            return said(StatusCode::FORBIDDEN, "Open the link that `agentbox web` printed in its terminal.");
        };
        let words: Vec<&str> = rest.split('/').collect();
        match (post, words.as_slice()) {
            (false, [""]) => {
                let (rows, more) = self.aside(|desk| desk.rows()).await.unwrap_or_default();
                html(StatusCode::OK, page::list(&rows, more, &seen(&rows, more), &guest))
            }
            (false, ["script.js"] | ["hold", "script.js"]) => file("text/javascript; charset=utf-8", include_str!("script.js")),
            (false, ["events"] | ["hold", "events"]) => self.events(),
            (false, ["hold", id]) => {
                // Before the card: what changes in between is then told.
                let (rows, more) = self.aside(|desk| desk.rows()).await.unwrap_or_default();
                match self.card(id).await {
                    Some(card) => html(StatusCode::OK, page::card(&card, &seen(&rows, more), &guest)),
                    None => gone(&guest),
                }
            }
            (true, ["hold", id, deed @ ("approve" | "deny")]) => {
                let (id, deed) = ((*id).to_owned(), (*deed).to_owned());
                self.rule(request, &guest, &id, &deed).await
            }
            _ => said(StatusCode::NOT_FOUND, "There is nothing here."),
        }
    }

    async fn aside<T: Send + 'static>(self: &Arc<Self>, ask: impl FnOnce(&dyn Desk) -> T + Send + 'static) -> Option<T> {
        let web = Arc::clone(self);
        tokio::task::spawn_blocking(move || ask(web.desk.as_ref())).await.ok()
    }

    async fn card(self: &Arc<Self>, id: &str) -> Option<Card> {
        let id = HoldId::parse(id).ok()?;
        self.aside(move |desk| desk.card(&id)).await?
    }

    fn welcome(&self, request: &Request<Incoming>) -> Answer {
        let link = request.uri().query().and_then(|query| query.strip_prefix("link=")).unwrap_or_default();
        if self.door().fits(link, Instant::now()) {
            html(StatusCode::OK, page::welcome(link))
        } else {
            said(StatusCode::FORBIDDEN, "This link was used, or is too old. Press Enter in the terminal of `agentbox web` for another.")
        }
    }

    async fn login(&self, request: Request<Incoming>) -> Answer {
        let Some(form) = read(request).await else { return said(StatusCode::BAD_REQUEST, "This form cannot be read.") };
        let Some((guest, cookie)) = self.door().enter(form.get("link"), Instant::now()) else {
            return said(StatusCode::FORBIDDEN, "This link was used, or is too old. Press Enter in the terminal of `agentbox web` for another.");
        };
        let mut answer = html(StatusCode::OK, page::entered(&guest));
        let cookie = format!("{COOKIE}={cookie}; Path=/{}/; HttpOnly; SameSite=Strict", guest.path);
        match HeaderValue::from_str(&cookie) {
            Ok(cookie) => {
                answer.headers_mut().insert(header::SET_COOKIE, cookie);
                answer
            }
            Err(_) => said(StatusCode::INTERNAL_SERVER_ERROR, "The cookie cannot be set."),
        }
    }

    async fn rule(self: &Arc<Self>, request: Request<Incoming>, guest: &Guest, id: &str, deed: &str) -> Answer {
        let Some(form) = read(request).await else { return said(StatusCode::BAD_REQUEST, "This form cannot be read.") };
        if form.get("stamp") != guest.stamp {
            return said(StatusCode::FORBIDDEN, "This form is not of this page.");
        }
        let root = format!("/{}/", guest.path);
        let back = |status, text: &str| html(status, page::notice(text, &root));
        let Some(card) = self.card(id).await else { return gone(guest) };
        let message = if deed == "deny" {
            ToDesk::Deny { id: card.id.clone(), because: form.get("because").to_owned(), via: Via::Web }
        } else {
            // What is approved is what the person saw when the page was made, not what is there now.
            if form.get("shown") != card.shown().to_hex() {
                return back(StatusCode::CONFLICT, "It has changed since it was shown to you. Look at it again.");
            }
            let Some(digest) = card.digest else { return back(StatusCode::CONFLICT, "It is approved already.") };
            let wanted = card.wants.typed.clone().unwrap_or_else(|| "yes".to_owned());
            if form.get("typed").trim() != wanted {
                return back(StatusCode::UNPROCESSABLE_ENTITY, &format!("Not approved: to approve it, type {}", safe::line(&wanted, 200)));
            }
            let signature = Some(form.get("signature").replace("\r\n", "\n")).filter(|signature| !signature.trim().is_empty());
            ToDesk::Approve { id: card.id.clone(), card: digest, typed: card.wants.typed.clone(), lasting: None, via: Via::Web, signature }
        };
        let id = card.id.clone();
        match self.aside(move |desk| desk.rule(&id, &message)).await {
            Some(FromDesk::Ruled(word)) => back(StatusCode::OK, &told(&card, word)),
            Some(FromDesk::No(why)) => back(StatusCode::CONFLICT, &why),
            Some(_) | None => back(StatusCode::BAD_GATEWAY, "The box does not answer."),
        }
    }

    /// Tells whenever something is new, as a digest of what is there; the page then loads itself again.
    fn events(self: &Arc<Self>) -> Answer {
        let (to, from) = mpsc::channel::<String>(1);
        let web = Arc::clone(self);
        tokio::spawn(async move {
            let end = Instant::now() + LIVE;
            let mut last = String::new();
            while Instant::now() < end && !to.is_closed() {
                let (rows, more) = web.aside(|desk| desk.rows()).await.unwrap_or_default();
                let now = seen(&rows, more);
                // A comment keeps the line: where nobody reads it any more, sending fails.
                let event = if now == last { ": still\n\n".to_owned() } else { format!("data: {now}\n\n") };
                last = now;
                if to.send(event).await.is_err() {
                    return;
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
        let mut answer = Response::new(Events(from).boxed());
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        answer
    }
}

/// What waits, as one word: a page has that of the moment when it was made, and the live view says when it is another.
fn seen(rows: &[Row], more: usize) -> String {
    let still: Vec<_> = rows.iter().map(|row| format!("{}{:?}{}{}", row.id, row.phase, row.askers, row.folded)).collect();
    agentbox_core::Digest::of([still.join(" ").as_bytes(), more.to_string().as_bytes()]).to_hex()
}

/// A body that comes as events do.
struct Events(mpsc::Receiver<String>);

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(Bytes::from(event)))))
    }
}

async fn paused(error: &io::Error) {
    tracing::warn!(%error, "accepting on the page's listener");
    tokio::time::sleep(AGAIN).await;
}

async fn read(request: Request<Incoming>) -> Option<Form> {
    let body = timeout(DEADLINE, Limited::new(request.into_body(), LONGEST_FORM).collect()).await.ok()?.ok()?;
    Form::read(&body.to_bytes())
}

fn told(card: &Card, word: RuledWord) -> String {
    match word {
        RuledWord::Approved => format!("{} is approved: it is looked at once more, and sent if nothing is worse than shown.", card.id),
        RuledWord::Kept { .. } => format!("{} is approved: the next identical request passes, once.", card.id),
        RuledWord::NeedsMore { have, want } => format!("{}: {have} of {want} people have approved; it still waits.", card.id),
        RuledWord::Denied => format!("{} is refused.", card.id),
    }
}

fn gone(guest: &Guest) -> Answer {
    html(StatusCode::NOT_FOUND, page::notice("Nothing waits under this name any more.", &format!("/{}/", guest.path)))
}

fn said(status: StatusCode, text: &str) -> Answer {
    html(status, page::notice(text, "/"))
}

fn html(status: StatusCode, page: String) -> Answer {
    let mut answer = file("text/html; charset=utf-8", page);
    *answer.status_mut() = status;
    answer
}

fn file(kind: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()).boxed());
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// What every answer says to the browser.
fn guarded(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not `no-referrer`: a browser would then say that our own forms come from nowhere.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}
