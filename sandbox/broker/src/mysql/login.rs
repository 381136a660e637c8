//! From the client's proof to the server's word: what proves who it is passes, and is noticed.

use std::io;

use agentbox_core::{Credential, Effect, Operation};
use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    packets::{Body, Malformed, packet, utf8},
    refusal,
    results::{self, Answer, Asked, Then},
};
use crate::{
    meaning::named_credential,
    session::{Asking, Duplex, FAREWELL, No, Question, Reader},
    upstream::UpstreamStream,
};

/// Longest packet of a log-in, either way.
const LONGEST: usize = 64 << 10;

/// Longest row of an answer to a question of our own: the body of a function in hexadecimal digits.
const LONGEST_ROW: usize = 1 << 20;

/// All that is kept of such an answer, in bytes.
const LONGEST_ANSWER: usize = 8 << 20;

/// Packets of one log-in: every question of a dialogue has one.
const MOST: usize = 64;

/// Rows of our own question, of which there is one.
const MOST_ROWS: usize = 16;

/// Ways to prove who one is of which it is known when the client speaks. None of them binds the proof to the server's certificate.
const PLUGINS: &[&str] =
    &["auth_gssapi_client", "caching_sha2_password", "client_ed25519", "dialog", "mysql_clear_password", "mysql_native_password", "parsec", "sha256_password"];

/// A client and its server.
pub(super) struct Pair {
    pub(super) client: Reader<Box<dyn Duplex>>,
    pub(super) far: Reader<UpstreamStream>,
}

/// How a log-in ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LoggedIn {
    /// With the server's packet of success, which the client has not got yet.
    Yes(u8, Bytes),
    /// The client was told why not.
    No,
}

/// Passes the exchange on that begins once the client's first proof was sent. Packets keep their numbers, so that what is no part of it is one to nobody.
pub(super) async fn exchange(asking: &mut Asking, pair: &mut Pair, plugin: &str, deadline: Instant) -> io::Result<LoggedIn> {
    let mut plugin = plugin.to_owned();
    for _ in 0..MOST {
        let heard = tokio::select! {
            packet = pair.far.packet(LONGEST) => packet?,
            () = asking.presence.gone() => return Ok(LoggedIn::No),
            () = sleep_until(deadline) => return Err(io::ErrorKind::TimedOut.into()),
        };
        let Some((head, body)) = heard else { return Ok(LoggedIn::No) };
        let expects = match body.first() {
            Some(0x00) => return Ok(LoggedIn::Yes(head.number, body)),
            Some(0xff) => {
                timeout(FAREWELL, pair.client.write(&packet(head.number, &body))).await??;
                return Ok(LoggedIn::No);
            }
            Some(0xfe) => {
                let mut rest = Body(body.get(1..).unwrap_or_default());
                utf8(rest.text()?)?.clone_into(&mut plugin);
                true
            }
            // Of caching_sha2_password: the proof was enough, and the word of success follows.
            Some(0x01) => !(plugin == "caching_sha2_password" && body.get(1..) == Some(&[3])),
            _ => return Err(Malformed::Answer.into()),
        };
        if !PLUGINS.contains(&plugin.as_str()) {
            let why = format!("the server asks for a proof by {plugin:?}, which is not spoken through the box");
            timeout(FAREWELL, pair.client.write(&refusal::plain(head.number, &why))).await??;
            return Ok(LoggedIn::No);
        }
        timeout(FAREWELL, pair.client.write(&packet(head.number, &body))).await??;
        if !expects {
            continue;
        }
        let answered = tokio::select! {
            packet = pair.client.packet(LONGEST) => packet?,
            () = sleep_until(deadline) => return Err(io::ErrorKind::TimedOut.into()),
        };
        let Some((answer, proof)) = answered else { return Ok(LoggedIn::No) };
        if answer.number != head.number.wrapping_add(1) {
            return Err(Malformed::Order.into());
        }
        if plugin == "mysql_clear_password" || plugin == "dialog" {
            let plain = proof.strip_suffix(b"\0").unwrap_or(&proof);
            if let Some(error) = may_show(asking, Some(plain), answer.number.wrapping_add(1)).await? {
                timeout(FAREWELL, pair.client.write(&error)).await??;
                return Ok(LoggedIn::No);
            }
        }
        pair.far.write(&packet(answer.number, &proof)).await?;
    }
    Err(Malformed::Long.into())
}

/// Notices the credential, and asks where it is not plainly welcome. Gives what the client is told, by this number, if it may not be shown.
pub(super) async fn may_show(asking: &mut Asking, plain: Option<&[u8]>, number: u8) -> io::Result<Option<Vec<u8>>> {
    let name = plain.map_or_else(|| "unknown".to_owned(), named_credential);
    let credential = Credential { position: format!("MySQL password of the user {}", asking.user), name, issued: false };
    if asking.credentials.contains(&credential) {
        return Ok(None);
    }
    asking.credentials.clear();
    asking.credentials.push(credential);
    let resource = asking.resource(&if asking.database.is_empty() { "server".to_owned() } else { format!("database/{}", asking.database) });
    let operation = Operation::new(Effect::Read, "mysql.connect", resource, "logs in with a password");
    let parts: &[&[u8]] = &[b"password", plain.unwrap_or_default()];
    let question = asking.request(Question { operations: vec![operation], parts, what: "(logs in)", excerpt: String::new() });
    if asking.is_plain(&question) {
        return Ok(None);
    }
    match asking.ask_to_begin(question).await {
        Ok(yes) => {
            asking.done(yes.0.as_slice(), "the password was shown");
            Ok(None)
        }
        Err(No::Gone) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(No::Refused(why) | No::TooLong(why)) => Ok(Some(refusal::error(number, &why))),
    }
}

/// A question of our own; its first row, and how it ended. Nothing of it reaches the client.
pub(super) async fn own_question(far: &mut Reader<UpstreamStream>, text: &str, without_eof: bool) -> io::Result<(Row, results::Ended)> {
    let (rows, ended) = own_rows(far, text, without_eof, MOST_ROWS).await?;
    Ok((rows.into_iter().next().unwrap_or_default(), ended))
}

/// The values of a row, of which some may be null.
pub(super) type Row = Vec<Option<Vec<u8>>>;

/// The same with all rows, or as many as are kept. Of an answer that is too long the last ones are empty, so that nobody believes it.
pub(super) async fn own_rows(far: &mut Reader<UpstreamStream>, text: &str, without_eof: bool, most: usize) -> io::Result<(Vec<Row>, results::Ended)> {
    far.write(&packet(0, &[b"\x03", text.as_bytes()].concat())).await?;
    timeout(FAREWELL, async {
        let mut answer = Answer::new(Asked::Query, without_eof);
        let (mut rows, mut kept) = (Vec::new(), 0_usize);
        // Each turn takes a packet; the deadline ends a server that does not.
        loop {
            let Some((head, body)) = far.packet(LONGEST_ROW).await? else { return Err(io::ErrorKind::UnexpectedEof.into()) };
            if answer.is_row(head, body.first().copied()) && rows.len() < most {
                kept = kept.saturating_add(body.len());
                rows.push(if kept <= LONGEST_ANSWER { row(&body)? } else { Row::new() });
            }
            if let Then::Ended(ended) = answer.heard(head, &body)? {
                return Ok((rows, ended));
            }
        }
    })
    .await?
}

/// The values of a row of text.
fn row(body: &[u8]) -> Result<Vec<Option<Vec<u8>>>, Malformed> {
    let mut rest = Body(body);
    let mut values = Vec::new();
    // Each turn takes at least a byte.
    while let Some(first) = rest.0.first() {
        if *first == 0xfb {
            rest.byte()?;
            values.push(None);
        } else {
            values.push(Some(rest.bytes()?.to_vec()));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_text_is_read() {
        assert_eq!(row(b"\x010\x00\xfb\x02ab"), Ok(vec![Some(b"0".to_vec()), Some(Vec::new()), None, Some(b"ab".to_vec())]));
        assert_eq!(row(b"\x05ab"), Err(Malformed::Short));
    }

    #[test]
    fn the_list_is_sorted() {
        assert!(PLUGINS.is_sorted());
    }
}
