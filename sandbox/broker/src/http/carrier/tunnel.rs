//! Database sessions that the holder of the password logs in for: both ends of one two-way stream between broker and holder.

use std::{io, time::Duration};

use agentbox_core::{Destination, Digest, safe};
use bytes::BufMut as _;
use http::{Request, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional},
    time::timeout,
};

use super::{
    super::body::Through,
    ask::Carrier,
    redis,
    scram::{self, NotLoggedIn},
    serve::{Keeper, Means, is_near},
};
use crate::{
    mysql::holder,
    postgres::keyed,
    session::Cloth,
    upstream::{Alpn, Connector, UpstreamStream},
};

/// For the whole log-in.
const LOGIN: Duration = Duration::from_secs(60);

/// Longest message between the two processes.
const LONGEST: usize = 64 << 10;

/// `SSLRequest`.
const ASKS_FOR_TLS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// What is logged in to, and as whom; never with what.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Wish {
    /// With the startup message as it will be sent.
    PostgreSql { startup: Vec<u8> },
    /// As this user, or the server's default one.
    Redis { user: Option<Vec<u8>>, cloth: Cloth },
    /// With the client's own answer to a greeting, without its proof.
    MySql { login: Vec<u8> },
}

impl Wish {
    /// What a log-in is bound to. Both processes compute it. `None` where it names no user.
    pub(crate) fn digest(&self, destination: &Destination, credential: &str) -> Option<Digest> {
        let to = destination.to_string();
        Some(match self {
            Wish::PostgreSql { startup } => {
                let (user, database) = keyed::names(startup)?;
                keyed::digest(destination, &user, &database, startup, credential)
            }
            Wish::Redis { user, cloth } => {
                let (whose, user) = user.as_ref().map_or((&b"default"[..], &b""[..]), |user| (&b"user"[..], user.as_slice()));
                Digest::of([b"redis".as_slice(), b"login", to.as_bytes(), whose, user, cloth.word(), credential.as_bytes()])
            }
            Wish::MySql { login } => Digest::of([b"mysql".as_slice(), b"login", to.as_bytes(), login, credential.as_bytes()]),
        })
    }
}

/// One session to log in for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    ask: u64,
    nonce: String,
    destination: Destination,
    credential: String,
    wish: Wish,
}

impl Session {
    /// With the credential's name.
    pub(crate) fn new(ask: u64, nonce: &str, destination: &Destination, credential: &str, wish: Wish) -> Self {
        Self { ask, nonce: nonce.to_owned(), destination: destination.clone(), credential: credential.to_owned(), wish }
    }
}

/// Why there is no session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Instead {
    /// It may not be.
    Refused(String),
    /// Nothing was sent.
    Unreachable(String),
    /// It broke off.
    Broken(String),
}

impl Carrier {
    /// Opens a session; what is read from it begins with the server's first message after the log-in.
    pub(crate) async fn tunnel(&self, session: &Session) -> Result<TokioIo<Upgraded>, Instead> {
        let lost = |why: String| Instead::Broken(format!("the process that holds the credentials does not answer: {why}"));
        let mut sender = self.connected().await.map_err(lost)?;
        let mut request = Request::new(Through::Whole(None, None));
        *request.method_mut() = http::Method::CONNECT;
        *request.uri_mut() = http::Uri::from_static("carrier:1");
        sender.ready().await.map_err(|error| lost(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| lost(error.to_string()))?;
        if response.status() != StatusCode::OK {
            return Err(lost("it said no".to_owned()));
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(|error| lost(error.to_string()))?;
        let mut stream = TokioIo::new(upgraded);
        say(&mut stream, session).await.map_err(|error| lost(error.to_string()))?;
        let answer: Result<(), Instead> =
            timeout(LOGIN, hear(&mut stream)).await.map_err(|_| lost("it took too long".to_owned()))?.map_err(|error| lost(error.to_string()))?;
        answer.map(|()| stream)
    }
}

/// The holder's end of one.
pub(super) async fn serve(keeper: &Keeper, upgraded: Upgraded) -> io::Result<()> {
    let mut broker = TokioIo::new(upgraded);
    let session: Session = timeout(LOGIN, hear(&mut broker)).await??;
    let scrubs = matches!(session.wish, Wish::Redis { .. });
    match timeout(LOGIN, log_in(keeper, session)).await.unwrap_or_else(|_| Err(Instead::Broken("the server did not answer in time".to_owned()))) {
        Ok((mut server, first)) => {
            say(&mut broker, &Ok::<(), Instead>(())).await?;
            broker.write_all(&first).await?;
            broker.flush().await?;
            if scrubs { redis::pass(keeper, broker, server).await } else { copy_bidirectional(&mut broker, &mut server).await.map(|_| ()) }
        }
        Err(instead) => {
            let clean = |why: String| keeper.without_secrets(&safe::line(&why, 300));
            let instead = match instead {
                Instead::Refused(why) => Instead::Refused(clean(why)),
                Instead::Unreachable(why) => Instead::Unreachable(clean(why)),
                Instead::Broken(why) => Instead::Broken(clean(why)),
            };
            say(&mut broker, &Err::<(), Instead>(instead)).await?;
            broker.shutdown().await
        }
    }
}

/// Connects, has the token struck, logs in. With the server's first message after that.
async fn log_in(keeper: &Keeper, session: Session) -> Result<(UpstreamStream, Vec<u8>), Instead> {
    let Session { ask, nonce, destination, credential, wish } = session;
    let digest = wish.digest(&destination, &credential).ok_or_else(|| Instead::Refused("the session names no user".to_owned()))?;
    let near = is_near(keeper, &destination.host);
    let means = keeper.means(&credential, &destination.host).map_err(Instead::Refused)?;
    // The server is reached first: a yes is not spent on one that is not there.
    let struck = async {
        let released = keeper.releases().release(ask, nonce, digest).await.map_err(Instead::Refused)?;
        if released.contains(&credential) {
            return Ok(());
        }
        Err(Instead::Refused(format!("credential `{credential}` may not be used any more, or was not judged with this session")))
    };
    let broken = |error: io::Error| Instead::Broken(format!("the server broke off: {}", error.kind()));
    match (wish, means) {
        (Wish::PostgreSql { startup }, means) => {
            let (mut server, password) = match means {
                Means::Certificate(connector) => (reach(connector, &destination, near, Clear::Never).await?, None),
                Means::Password(password) => (reach(keeper.connector(), &destination, near, Clear::WhereNear).await?, Some(password.reveal())),
            };
            struck.await?;
            server.write_all(&startup).await.map_err(broken)?;
            server.flush().await.map_err(broken)?;
            let first = scram::log_in(&mut server, password).await.map_err(|why| match why {
                NotLoggedIn::Io(error) => broken(error),
                NotLoggedIn::Unspoken(_) | NotLoggedIn::Forged => Instead::Broken(why.to_string()),
            })?;
            Ok((server, first))
        }
        (Wish::Redis { .. } | Wish::MySql { .. }, Means::Certificate(_)) => {
            Err(Instead::Refused(format!("credential `{credential}` is a client certificate, and no password")))
        }
        (Wish::Redis { user, cloth }, Means::Password(password)) => {
            let mut server = connect(keeper, &destination, near, cloth).await?;
            struck.await?;
            let first = redis::log_in(&mut server, user.as_deref(), password.reveal()).await.map_err(broken)?;
            Ok((server, first))
        }
        (Wish::MySql { login }, Means::Password(password)) => {
            let greeted = holder::greeted(keeper.connector(), &destination, near, &login).await?;
            struck.await?;
            holder::log_in(greeted, password.reveal()).await
        }
    }
}

/// As the client reached us: over TLS, verified, or in the clear where a secret may travel so.
async fn connect(keeper: &Keeper, destination: &Destination, near: bool, cloth: Cloth) -> Result<UpstreamStream, Instead> {
    let unreachable = |why: String| Instead::Unreachable(why);
    let connector = keeper.connector();
    match cloth {
        Cloth::Clear if !near => Err(unreachable(format!("{destination}: a password is not sent in the clear: connect with TLS"))),
        Cloth::Clear => {
            // In the clear no certificate speaks for an address, so it is our own finding.
            let destination = Destination { addresses: Vec::new(), ..destination.clone() };
            connector.connect_tcp(&destination).await.map(UpstreamStream::Clear).map_err(|error| unreachable(error.to_string()))
        }
        Cloth::Tls => {
            let tcp = connector.connect_tcp(destination).await.map_err(|error| unreachable(error.to_string()))?;
            let tls = connector.secure(destination, tcp, Alpn::None).await.map_err(|error| unreachable(error.to_string()))?;
            Ok(UpstreamStream::Tls(Box::new(tls)))
        }
    }
}

/// Where a server without TLS will do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clear {
    WhereNear,
    Never,
}

/// TLS, verified; in the clear only where a secret may travel so.
async fn reach(connector: &Connector, destination: &Destination, near: bool, clear: Clear) -> Result<UpstreamStream, Instead> {
    let unreachable = |why: String| Instead::Unreachable(why);
    // In the clear no certificate speaks for an address, so it is our own finding.
    let destination = &Destination { addresses: if near { Vec::new() } else { destination.addresses.clone() }, ..destination.clone() };
    let mut tcp = connector.connect_tcp(destination).await.map_err(|error| unreachable(error.to_string()))?;
    let mut answer = [0];
    let asked = async {
        tcp.write_all(&ASKS_FOR_TLS).await?;
        tcp.read_exact(&mut answer).await
    };
    asked.await.map_err(|error| unreachable(format!("{destination} broke off: {}", error.kind())))?;
    match (answer, near) {
        ([b'S'], _) => {
            let tls = connector.secure(destination, tcp, Alpn::PostgreSql).await.map_err(|error| unreachable(error.to_string()))?;
            Ok(UpstreamStream::Tls(Box::new(tls)))
        }
        ([b'N'], true) if clear == Clear::WhereNear => Ok(UpstreamStream::Clear(tcp)),
        ([b'N'], true) => Err(unreachable(format!("{destination} does not speak TLS, and a client certificate is shown in TLS alone"))),
        ([b'N'], false) => Err(unreachable(format!("{destination} does not speak TLS, and a password is not sent in the clear"))),
        (_, _) => Err(unreachable(format!("{destination} does not speak PostgreSQL"))),
    }
}

pub(super) async fn say<T: Serialize>(stream: &mut (impl AsyncWrite + Unpin), message: &T) -> io::Result<()> {
    let text = serde_json::to_vec(message).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(text.len() + 4);
    bytes.put_u32_le(u32::try_from(text.len()).map_err(io::Error::other)?);
    bytes.extend_from_slice(&text);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

pub(super) async fn hear<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let length = stream.read_u32_le().await? as usize;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}
