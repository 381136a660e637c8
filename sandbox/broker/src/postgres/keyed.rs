//! A session to a host that a credential is for: the client shows its placeholder, and the process that holds the password logs in.

use std::{io, time::Duration};

use agentbox_core::{Destination, Digest, RefusalKind};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::{
    frames::{self, First},
    refusal,
};
use crate::{
    http::{carrier::Wish, refusal as no},
    session::{Asking, Duplex, NotKeyed, keyed},
    upstream::UpstreamStream,
};

/// For the client's password; PostgreSQL's own `authentication_timeout` is 60 s.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest password message.
const LONGEST: usize = 64 << 10;

/// `AuthenticationCleartextPassword`.
const ASKS: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];

/// SQLSTATEs (PostgreSQL 18, appendix A).
const WRONG_PASSWORD: &str = "28P01";
const CANNOT_CONNECT: &str = "08001";

/// What a log-in is bound to. Both processes compute it.
pub(crate) fn digest(destination: &Destination, user: &str, database: &str, startup: &[u8], credential: &str) -> Digest {
    let to = destination.to_string();
    Digest::of([b"postgres".as_slice(), to.as_bytes(), user.as_bytes(), database.as_bytes(), b"login", startup, credential.as_bytes()])
}

/// User and database of a startup message, as the server takes them.
pub(crate) fn names(startup: &[u8]) -> Option<(String, String)> {
    let body = bytes::Bytes::copy_from_slice(startup.get(4..)?);
    let Ok(First::Startup(parsed, _)) = frames::first(&body) else { return None };
    let user = parsed.parameter("user").filter(|user| !user.is_empty())?;
    let database = parsed.parameter("database").filter(|name| !name.is_empty()).unwrap_or(user);
    Some((user.to_owned(), database.to_owned()))
}

/// Logs in. The error is what the client is told instead, before it is left; `None` where it has gone.
pub(super) async fn login(asking: &mut Asking, client: &mut Box<dyn Duplex>, startup: &[u8]) -> io::Result<Result<UpstreamStream, Option<Vec<u8>>>> {
    let told = |bytes| Ok(Err(Some(bytes)));
    if let Some(certificate) = asking.credentials.iter().find(|shown| shown.issued).cloned() {
        return with(asking, certificate.position, &certificate.name, startup).await;
    }
    let Some(password) = timeout(PATIENCE, shown(client)).await?? else { return Ok(Err(None)) };
    let Some(name) = asking.broker.issued.named(&password).map(str::to_owned).filter(|_| asking.broker.carrier.is_some()) else {
        let why = "the password is not one that this box was given";
        let hint = "Log in with the placeholder in the box's own variables; do not look for another password.";
        asking.remember("logs in", &no(RefusalKind::Denied, "postgres.connect", "", why, hint));
        return told(refusal::fatal(WRONG_PASSWORD, why, hint));
    };
    let position = format!("PostgreSQL password of the user {}", asking.user);
    with(asking, position, &name, startup).await
}

/// Has the holder log in with this credential.
async fn with(asking: &mut Asking, position: String, name: &str, startup: &[u8]) -> io::Result<Result<UpstreamStream, Option<Vec<u8>>>> {
    let told = |bytes| Ok(Err(Some(bytes)));
    let path = format!("database/{}", asking.database);
    let wish = Wish::PostgreSql { startup: startup.to_vec() };
    match keyed(asking, "postgres.connect", &path, position, name, wish).await {
        Ok(stream) => Ok(Ok(stream)),
        Err(NotKeyed::Gone) => Ok(Err(None)),
        Err(NotKeyed::Refused(why)) => told(refusal::error("FATAL", &why)),
        Err(NotKeyed::Unreachable(why)) => told(refusal::fatal(CANNOT_CONNECT, &why, "")),
        Err(NotKeyed::Failed(why)) => {
            asking.remember("logs in", &no(RefusalKind::Denied, "postgres.connect", "", &why, "Tell the person who started this box."));
            told(refusal::fatal(WRONG_PASSWORD, &why, ""))
        }
    }
}

/// The client's password, in the clear: it goes no further than from the box to its broker, and is a placeholder.
async fn shown(client: &mut Box<dyn Duplex>) -> io::Result<Option<Vec<u8>>> {
    client.write_all(&ASKS).await?;
    client.flush().await?;
    let mut head = [0; 5];
    if let Err(error) = client.read_exact(&mut head).await {
        // psql without a password goes and comes again with one.
        return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
    }
    let (kind, length) = head.split_first().unwrap_or((&0, &[]));
    let length = <[u8; 4]>::try_from(length).map_or(0, u32::from_be_bytes) as usize;
    if *kind != b'p' || !(4..LONGEST).contains(&length) {
        return Ok(None);
    }
    let mut body = vec![0; length - 4];
    client.read_exact(&mut body).await?;
    Ok(Some(body.strip_suffix(b"\0").map(<[u8]>::to_vec).unwrap_or(body)))
}
