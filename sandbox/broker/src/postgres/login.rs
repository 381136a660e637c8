//! From the first message to the server's first `ReadyForQuery`: the client's password passes, and is noticed.

use std::{io, time::Duration};

use agentbox_core::{Credential, Effect, Operation};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, sleep_until, timeout},
};

use super::{
    facts::Facts,
    frames::{self, Body, HEADER, Head, Key, Malformed, Wire},
    refusal,
};
use crate::{
    meaning::named_credential,
    session::{Asking, Duplex, No, Question, last_words},
    upstream::UpstreamStream,
};

/// For the whole log-in; PostgreSQL's own `authentication_timeout` is 60 s.
const LOGIN: Duration = Duration::from_secs(75);

/// For the answer to our own question.
const OWN: Duration = Duration::from_secs(10);

/// Longest message of a log-in, either way (GSSAPI's tokens and long messages of errors).
const LONGEST: usize = 64 << 10;

/// A mechanism that binds the password to the server's certificate. The client sees the box's own.
const BINDING: &[u8] = b"SCRAM-SHA-256-PLUS";

/// A session whose first `ReadyForQuery` has gone to the client.
pub(super) struct Begun {
    pub(super) facts: Facts,
    pub(super) key: Option<Key>,
    pub(super) client: Wire<Box<dyn Duplex>>,
    pub(super) far: Wire<UpstreamStream>,
}

/// Passes the log-in on. `None` where it ended in between, which the client was told.
pub(super) async fn login(asking: &mut Asking, client: Box<dyn Duplex>, far: UpstreamStream, mut facts: Facts) -> io::Result<Option<Begun>> {
    let (mut client, mut far) = (Wire::new(client), Wire::new(far));
    let deadline = Instant::now() + LOGIN;
    let (mut key, mut takes_password, mut binding) = (None, false, false);
    loop {
        enum Heard {
            Server(Option<(Head, Bytes)>),
            Client(Option<(Head, Bytes)>),
        }
        let heard = tokio::select! {
            message = far.message(LONGEST) => Heard::Server(message?),
            message = client.message(LONGEST), if takes_password => Heard::Client(message?),
            () = sleep_until(deadline) => return Err(io::ErrorKind::TimedOut.into()),
        };
        match heard {
            Heard::Server(None) | Heard::Client(None) => return Ok(None),
            Heard::Client(Some((head, bytes))) => {
                if head.kind != b'p' {
                    // Terminate, or what nobody may say here.
                    return Ok(None);
                }
                let body = bytes.get(HEADER..).unwrap_or_default();
                if asking.credentials.is_empty() {
                    if binding && offers_unused_binding(body) {
                        let why = "the client could bind its password to the server's certificate, but sees the box's own, and the server would take that for an attack";
                        return last_words(
                            client.stream(),
                            &refusal::fatal("28000", why, "Use channel_binding=disable, PGCHANNELBINDING=disable, or what the driver has for it."),
                        )
                        .await
                        .map(|()| None);
                    }
                    if let Some(refusal) = may_show(asking, body).await? {
                        return last_words(client.stream(), &refusal).await.map(|()| None);
                    }
                }
                far.stream().write_all(&bytes).await?;
                far.stream().flush().await?;
            }
            Heard::Server(Some((head, bytes))) => {
                let mut body = Body(bytes.get(HEADER..).unwrap_or_default());
                let mut passed = bytes.clone();
                match head.kind {
                    b'R' => match body.number()? {
                        10 => {
                            takes_password = true;
                            if let Some(without) = without_binding(body.0) {
                                binding = true;
                                passed = without.freeze();
                            }
                        }
                        2 | 3 | 5 | 7 | 8 | 9 | 11 => takes_password = true,
                        0 | 12 => takes_password = false,
                        _ => return Err(Malformed::Version.into()),
                    },
                    b'S' => {
                        let (name, value) = frames::setting(body.0)?;
                        facts.reported(&name, &value);
                    }
                    b'K' => key = Some(Key(Bytes::copy_from_slice(body.0))),
                    b'N' | b'v' | b'E' => {}
                    b'Z' => {
                        let early = ask_for_path(&mut far, &mut facts).await?;
                        let last = [early.as_slice(), &passed].concat();
                        timeout(OWN, client.write(&last)).await??;
                        return Ok(Some(Begun { facts, key, client, far }));
                    }
                    _ => return Err(Malformed::Version.into()),
                }
                timeout(OWN, client.write(&passed)).await??;
                if head.kind == b'E' {
                    return Ok(None);
                }
            }
        }
    }
}

/// Notices the credential, and asks where it is not plainly welcome. Gives what the client is told if it may not be shown.
async fn may_show(asking: &mut Asking, body: &[u8]) -> io::Result<Option<Vec<u8>>> {
    // A password in the clear ends in a zero byte and has no other; all other answers are proofs, which tell nothing.
    let plain = body.strip_suffix(b"\0").filter(|text| !text.contains(&0) && !text.starts_with(b"md5"));
    let name = plain.map_or_else(|| "unknown".to_owned(), named_credential);
    asking.credentials.push(Credential { position: format!("PostgreSQL password of the user {}", asking.user), name, issued: false });
    let operation = Operation::new(Effect::Read, "postgres.connect", asking.resource(&format!("database/{}", asking.database)), "logs in with a password");
    let question =
        asking.request(Question { operations: vec![operation], parts: &[b"password", plain.unwrap_or_default()], what: "(logs in)", excerpt: String::new() });
    if asking.is_plain(&question) {
        return Ok(None);
    }
    match asking.ask_to_begin(question).await {
        Ok(yes) => {
            asking.done(yes.0.as_slice(), "the password was shown");
            Ok(None)
        }
        Err(No::Gone) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(No::Refused(why) | No::TooLong(why)) => Ok(Some(refusal::error("FATAL", &why))),
    }
}

/// `AuthenticationSASL` without the mechanisms that bind to the certificate, if it has any and another one besides.
fn without_binding(mechanisms: &[u8]) -> Option<BytesMut> {
    let all: Vec<&[u8]> = mechanisms.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    if !all.contains(&BINDING) {
        return None;
    }
    let kept: Vec<&[u8]> = all.into_iter().filter(|name| *name != BINDING).collect();
    let mut body = vec![0, 0, 0, 10];
    for name in kept {
        body.extend_from_slice(name);
        body.push(0);
    }
    body.push(0);
    Some(frames::message(b'R', &body).as_slice().into())
}

/// Whether a `SASLInitialResponse` says: I can bind, but the server cannot (RFC 5802, gs2-cbind-flag `y`).
fn offers_unused_binding(body: &[u8]) -> bool {
    let mut rest = Body(body);
    rest.text().is_ok() && rest.number().is_ok() && rest.0.starts_with(b"y,")
}

/// Asks the server where names are looked up, before the client's first statement; PostgreSQL 18 tells it unasked. What it says meanwhile is the client's.
async fn ask_for_path(far: &mut Wire<UpstreamStream>, facts: &mut Facts) -> io::Result<Vec<u8>> {
    let mut others = Vec::new();
    if !facts.wants_path() {
        return Ok(others);
    }
    far.stream().write_all(&frames::of_texts(b'Q', &[b"SHOW search_path"], &[])).await?;
    far.stream().flush().await?;
    timeout(OWN, async {
        // Each turn takes a message; the server ends them with ReadyForQuery, and the deadline ends a server that does not.
        loop {
            let Some((head, bytes)) = far.message(LONGEST).await? else { return Err(io::Error::from(io::ErrorKind::UnexpectedEof)) };
            let body = bytes.get(HEADER..).unwrap_or_default();
            match head.kind {
                b'Z' => return Ok(()),
                b'D' => {
                    if let Ok(value) = only_value(body) {
                        facts.begins_with_path(&String::from_utf8_lossy(value));
                    }
                }
                b'S' => {
                    let (name, value) = frames::setting(body)?;
                    facts.reported(&name, &value);
                    others.extend_from_slice(&bytes);
                }
                b'N' | b'A' => others.extend_from_slice(&bytes),
                // Servers that do not know the setting: names are then looked up as PostgreSQL is shipped.
                b'T' | b'C' | b'E' => {}
                _ => return Err(Malformed::Version.into()),
            }
        }
    })
    .await??;
    Ok(others)
}

/// The value of a row with one column.
fn only_value(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut rest = Body(body);
    if rest.short()? != 1 {
        return Err(Malformed::Long);
    }
    let length = usize::try_from(rest.number()?).map_err(|_| Malformed::Length)?;
    rest.take(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binding_mechanism_is_taken_out() {
        let without = without_binding(b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0").unwrap();
        assert_eq!(&without[..], b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0");
        assert!(without_binding(b"SCRAM-SHA-256\0\0").is_none());
    }

    #[test]
    fn a_client_that_would_have_bound_is_noticed() {
        assert!(offers_unused_binding(b"SCRAM-SHA-256\0\0\0\0\x20y,,n=,r=abc"));
        assert!(!offers_unused_binding(b"SCRAM-SHA-256\0\0\0\0\x20n,,n=,r=abc"));
        assert!(!offers_unused_binding(b"secret\0"));
    }
}
