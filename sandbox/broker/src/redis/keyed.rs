//! A client that logs in with a placeholder: the process that holds the password logs in on a connection of its own, which is the session's from then on.

use std::io;

use agentbox_core::{RefusalKind, safe};
use bytes::BytesMut;
use tokio::time::timeout;

use super::{
    commands::{Malformed, array},
    refusal,
    relay::{Ended, relay},
};
use crate::{
    http::{carrier::Wish, refusal as no},
    session::{Asking, Cloth, Duplex, FAREWELL, NotKeyed, Reader, keyed, last_words},
};

/// Longest line that a log-in is answered with.
const LONGEST: usize = 4096;

/// Who logs in, and with which credential's placeholder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) user: Option<Vec<u8>>,
    pub(super) credential: String,
    /// What is left of the command without the log-in: a `HELLO`, which the session begins with.
    pub(super) rest: Option<Vec<u8>>,
}

impl Wanted {
    /// Of `AUTH` or `HELLO … AUTH user password …`.
    pub(super) fn of(words: &[&[u8]], user: Option<&[u8]>, credential: String) -> Self {
        let at = words.iter().position(|word| word.eq_ignore_ascii_case(b"auth")).filter(|at| *at > 0);
        let rest = at.map(|at| array(&words.iter().enumerate().filter(|(index, _)| !(at..at + 3).contains(index)).map(|(_, word)| *word).collect::<Vec<_>>()));
        Self { user: user.map(<[u8]>::to_vec), credential, rest }
    }
}

/// A session that begins anew.
pub(super) struct Anew {
    pub(super) asking: Asking,
    pub(super) client: Reader<Box<dyn Duplex>>,
    pub(super) wanted: Wanted,
}

/// Logs in, and relays until one side ends.
pub(super) async fn session(Anew { mut asking, mut client, wanted }: Anew, cloth: Cloth) -> io::Result<Ended> {
    let Wanted { user, credential, rest } = wanted;
    asking.user = safe::line(&String::from_utf8_lossy(user.as_deref().unwrap_or(b"default")), 60);
    "0".clone_into(&mut asking.database);
    let position = format!("Redis password of the user {}", asking.user);
    let told = match keyed(&mut asking, "redis.connect", "server", position, &credential, Wish::Redis { user, cloth }).await {
        Ok(stream) => {
            let mut far = Reader::new(stream);
            let line = timeout(FAREWELL, line(&mut far)).await??;
            let (far, ahead) = far.into_parts();
            if !ahead.is_empty() {
                return Err(Malformed::Answer.into());
            }
            if line.first() == Some(&b'+') {
                match rest {
                    None => timeout(FAREWELL, client.write(&line)).await??,
                    Some(rest) => {
                        let (stream, ahead) = client.into_parts();
                        let mut first = BytesMut::from(rest.as_slice());
                        first.extend_from_slice(&ahead);
                        client = Reader::with(stream, first);
                    }
                }
                return relay(asking, client, far).await;
            }
            line
        }
        Err(NotKeyed::Gone) => return Ok(Ended::ByThem),
        Err(NotKeyed::Refused(why)) => refusal::error(&why),
        Err(NotKeyed::Unreachable(why)) => refusal::plain(&why),
        Err(NotKeyed::Failed(why)) => {
            asking.remember("(logs in)", &no(RefusalKind::Denied, "redis.connect", "", &why, "Tell the person who started this box."));
            refusal::plain(&why)
        }
    };
    last_words(client.stream(), &told).await.map(|()| Ended::ByThem)
}

/// One line, with its end.
async fn line(far: &mut Reader<crate::upstream::UpstreamStream>) -> io::Result<Vec<u8>> {
    loop {
        if let Some(end) = far.buffer.windows(2).position(|two| two == b"\r\n") {
            return Ok(far.take(end + 2).to_vec());
        }
        if far.buffer.len() > LONGEST || far.more().await? == 0 {
            return Err(Malformed::Answer.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_hello_is_said_after_the_log_in() {
        let words = |text: &'static str| text.split(' ').map(str::as_bytes).collect::<Vec<_>>();
        assert_eq!(Wanted::of(&words("AUTH p"), None, "c".into()).rest, None);
        let wanted = Wanted::of(&words("HELLO 3 AUTH u p SETNAME x"), Some(b"u"), "c".into());
        assert_eq!(wanted.rest.as_deref(), Some(&b"*4\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$7\r\nSETNAME\r\n$1\r\nx\r\n"[..]));
    }
}
