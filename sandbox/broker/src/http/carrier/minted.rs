//! Tokens that far sides hand out for issued credentials: the holder keeps them, and the box has placeholders for them.
//!
//! A token inherits all of what it was handed out for: hosts, what it may do, and when it ends. The broker knows its placeholder before
//! anything of the answer is passed on.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};

use super::{
    super::body::{Tail, Through},
    serve::Keeper,
    tunnel::{hear, say},
};
use crate::{
    looker::Secret,
    secrets::{
        Told,
        handed::{self, Tongue},
    },
};

/// Tokens at once; one that was not used for longest goes first.
const MOST: usize = 64;

/// Of one cookie: servers set a new one with each answer, and requests with the last one may still be on their way.
const MOST_OF_A_COOKIE: usize = 4;

/// Longest answer that is looked through for tokens. Those of log-ins are shorter; a longer one is passed on as it is.
const LONGEST_ANSWER: usize = 256 << 10;

/// How long such an answer may take; from then on it is passed on as it comes.
const ANSWER: Duration = Duration::from_secs(20);

/// For the broker to hear of a token.
const TELLING: Duration = Duration::from_secs(10);

/// One of them.
pub(super) struct Minted {
    pub(super) secret: Secret,
    pub(super) stands: String,
    /// The credentials that it was handed out for.
    pub(super) names: BTreeSet<String>,
    /// The cookie that it is, where it is one.
    cookie: Option<String>,
}

type Line = mpsc::Receiver<(Told, oneshot::Sender<()>)>;

/// All of one box, the one that was used last at the end.
pub(super) struct Mint {
    all: Mutex<Vec<Arc<Minted>>>,
    to_tell: mpsc::Sender<(Told, oneshot::Sender<()>)>,
    line: Mutex<Option<Line>>,
}

impl Default for Mint {
    fn default() -> Self {
        let (to_tell, line) = mpsc::channel(MOST);
        Self { all: Mutex::default(), to_tell, line: Mutex::new(Some(line)) }
    }
}

impl Mint {
    /// The first for which this holds; it counts as used.
    pub(super) fn find(&self, is_so: impl Fn(&Minted) -> bool) -> Option<Arc<Minted>> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().position(|minted| is_so(minted)).map(|at| all.remove(at))?;
        all.push(found.clone());
        Some(found)
    }

    /// Secrets and what stands for them.
    pub(super) fn all(&self) -> Vec<Arc<Minted>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps one more, and gives the placeholders of those that had to go.
    fn keep(&self, new: Minted) -> Vec<String> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut forgotten = Vec::new();
        let is_same = |minted: &Minted| new.cookie.is_some() && minted.cookie == new.cookie && minted.names == new.names;
        if all.iter().filter(|minted| is_same(minted)).count() >= MOST_OF_A_COOKIE
            && let Some(at) = all.iter().position(|minted| is_same(minted))
        {
            forgotten.push(all.remove(at).stands.clone());
        }
        while all.len() >= MOST {
            forgotten.push(all.remove(0).stands.clone());
        }
        all.push(Arc::new(new));
        forgotten
    }

    /// Tells the broker, and waits until it knows.
    async fn tell(&self, told: Told) -> Result<(), String> {
        let lost = || "the broker does not hear of the token in the answer".to_owned();
        let (known, knows) = oneshot::channel();
        let telling = async {
            self.to_tell.send((told, known)).await.map_err(|_| lost())?;
            knows.await.map_err(|_| lost())
        };
        timeout(TELLING, telling).await.map_err(|_| lost())?
    }
}

/// The stream on which the broker hears of tokens.
pub(super) async fn serve(keeper: &Keeper, upgraded: Upgraded) -> io::Result<()> {
    let Some(mut line) = keeper.mint().line.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
    let mut broker = TokioIo::new(upgraded);
    while let Some((told, known)) = line.recv().await {
        say(&mut broker, &told).await?;
        let () = hear(&mut broker).await?;
        let _ = known.send(());
    }
    Ok(())
}

/// What was sent, as the agent had it: what stands in it is nothing new.
pub(super) struct Sent {
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
}

impl Sent {
    fn has(&self, text: &str) -> bool {
        let is_in = |bytes: &[u8]| memchr::memmem::find(bytes, text.as_bytes()).is_some();
        let target: Vec<u8> = percent_encoding::percent_decode_str(&self.target).collect();
        is_in(&target) || self.headers.values().any(|value| is_in(value.as_bytes())) || self.body.as_deref().is_some_and(is_in)
    }
}

/// What in an answer may be replaced.
pub(super) enum Wanted {
    /// All of the known kinds: it answers a log-in.
    Tokens,
    /// Cookies of these names, in whose place tokens were put in.
    Cookies(Vec<String>),
}

/// Finds the tokens of an answer, keeps them, and tells the broker. Gives the answer's body with placeholders, and how many there are.
pub(super) async fn take_out(
    keeper: &Keeper,
    names: &BTreeSet<String>,
    wanted: &Wanted,
    sent: &Sent,
    headers: &mut HeaderMap,
    body: Incoming,
) -> Result<(Through, usize), String> {
    let mut count = 0;
    for (name, value) in handed::in_cookies(headers) {
        if matches!(wanted, Wanted::Tokens) || matches!(wanted, Wanted::Cookies(known) if known.contains(&name)) {
            count += usize::from(mint(keeper, names, sent, value, Some(name)).await?);
        }
    }
    if !matches!(wanted, Wanted::Tokens) || !handed::is_read(headers) {
        return Ok((Through::streaming(None, body, Tail::Passed), count));
    }
    match ahead(body).await? {
        Ahead::Whole(bytes, trailers) => {
            let tongue = Tongue::of(headers, &bytes);
            for token in handed::in_answer(tongue, &bytes) {
                count += usize::from(mint(keeper, names, sent, token, None).await?);
            }
            let bytes = Bytes::from(handed::without(tongue, &bytes, &keeper.swaps()));
            if headers.contains_key(header::CONTENT_LENGTH) {
                headers.insert(header::CONTENT_LENGTH, bytes.len().into());
            }
            Ok((Through::Whole((!bytes.is_empty()).then_some(bytes), trailers), count))
        }
        Ahead::Partly(first, rest) => Ok((Through::streaming(Some(first).filter(|first| !first.is_empty()), rest, Tail::Passed), count)),
    }
}

/// Whether it is new here, and replaced from now on.
async fn mint(keeper: &Keeper, names: &BTreeSet<String>, sent: &Sent, token: String, cookie: Option<String>) -> Result<bool, String> {
    if keeper.knows(&token) || sent.has(&token) {
        return Ok(false);
    }
    let stands = handed::stand_in(&token).ok_or_else(|| "the system gives no random bits for a placeholder".to_owned())?;
    let forgotten = keeper.mint().keep(Minted { secret: Secret::new(token), stands: stands.clone(), names: names.clone(), cookie });
    keeper.refresh();
    keeper.mint().tell(Told { names: names.iter().cloned().collect(), text: stands, forgotten }).await?;
    Ok(true)
}

impl Minted {
    /// The cookie that it is, where it is one.
    pub(super) fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }
}

enum Ahead {
    Whole(Bytes, Option<HeaderMap>),
    Partly(Bytes, Incoming),
}

/// Reads an answer to its end, or as far as it is looked through.
async fn ahead(mut body: Incoming) -> Result<Ahead, String> {
    let deadline = Instant::now() + ANSWER;
    let (mut bytes, mut trailers) = (BytesMut::new(), None);
    loop {
        match timeout_at(deadline, body.frame()).await {
            Ok(None) => return Ok(Ahead::Whole(bytes.freeze(), trailers)),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(piece) => bytes.extend_from_slice(&piece),
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
            Ok(Some(Err(_))) => return Err("the far side broke off within its answer".to_owned()),
            Err(_) => return Ok(Ahead::Partly(bytes.freeze(), body)),
        }
        if bytes.len() > LONGEST_ANSWER {
            return Ok(Ahead::Partly(bytes.freeze(), body));
        }
    }
}
