//! Database sessions that the holder of the password logs in for: both ends of one two-way stream between broker and holder.

use std::{io, time::Duration};

use agentbox_core::{Destination, safe};
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
    scram::{self, NotLoggedIn},
    serve::{Keeper, is_near},
};
use crate::{
    postgres::keyed,
    upstream::{Alpn, UpstreamStream},
};

/// For the whole log-in.
const LOGIN: Duration = Duration::from_secs(60);

/// Longest message between the two processes.
const LONGEST: usize = 64 << 10;

/// `SSLRequest`.
const ASKS_FOR_TLS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// One session to log in for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    ask: u64,
    nonce: String,
    destination: Destination,
    startup: Vec<u8>,
    credential: String,
}

impl Session {
    /// With the startup message as it will be sent, and the credential's name.
    pub(crate) fn new(ask: u64, nonce: &str, destination: &Destination, startup: &[u8], credential: &str) -> Self {
        Self { ask, nonce: nonce.to_owned(), destination: destination.clone(), startup: startup.to_vec(), credential: credential.to_owned() }
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
    match timeout(LOGIN, log_in(keeper, session)).await.unwrap_or_else(|_| Err(Instead::Broken("the server did not answer in time".to_owned()))) {
        Ok((mut server, first)) => {
            say(&mut broker, &Ok::<(), Instead>(())).await?;
            broker.write_all(&first).await?;
            broker.flush().await?;
            copy_bidirectional(&mut broker, &mut server).await.map(|_| ())
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
    let refused = |why: &str| Instead::Refused(why.to_owned());
    let (user, database) = keyed::names(&session.startup).ok_or_else(|| refused("the session names no user"))?;
    let digest = keyed::digest(&session.destination, &user, &database, &session.startup, &session.credential);
    let near = is_near(keeper, &session.destination.host);
    let mut server = reach(keeper, &session.destination, near).await?;
    let password = keeper.password(&session.credential, &session.destination.host).map_err(Instead::Refused)?;
    let released = keeper.releases().release(session.ask, session.nonce, digest).await.map_err(Instead::Refused)?;
    if !released.contains(&session.credential) {
        return Err(Instead::Refused(format!("credential `{}` may not be used any more, or was not judged with this session", session.credential)));
    }
    let broken = |error: io::Error| Instead::Broken(format!("the server broke off: {}", error.kind()));
    server.write_all(&session.startup).await.map_err(broken)?;
    server.flush().await.map_err(broken)?;
    let first = scram::log_in(&mut server, password.reveal()).await.map_err(|why| match why {
        NotLoggedIn::Io(error) => broken(error),
        NotLoggedIn::Unspoken(_) | NotLoggedIn::Forged => Instead::Broken(why.to_string()),
    })?;
    Ok((server, first))
}

/// TLS, verified; in the clear only where a secret may travel so.
async fn reach(keeper: &Keeper, destination: &Destination, near: bool) -> Result<UpstreamStream, Instead> {
    let unreachable = |why: String| Instead::Unreachable(why);
    let connector = keeper.connector();
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
        ([b'N'], true) => Ok(UpstreamStream::Clear(tcp)),
        ([b'N'], false) => Err(unreachable(format!("{destination} does not speak TLS, and a password is not sent in the clear"))),
        (_, _) => Err(unreachable(format!("{destination} does not speak PostgreSQL"))),
    }
}

async fn say<T: Serialize>(stream: &mut (impl AsyncWrite + Unpin), message: &T) -> io::Result<()> {
    let text = serde_json::to_vec(message).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(text.len() + 4);
    bytes.put_u32_le(u32::try_from(text.len()).map_err(io::Error::other)?);
    bytes.extend_from_slice(&text);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

async fn hear<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let length = stream.read_u32_le().await? as usize;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}
