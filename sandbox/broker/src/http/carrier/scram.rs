//! Logs in to a PostgreSQL server with a password: SCRAM-SHA-256 (RFC 5802, RFC 7677), or in the clear where the server asks so.

use std::{io, num::NonZeroU32};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{digest, hmac, pbkdf2};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Longest message of a log-in.
const LONGEST: usize = 64 << 10;

/// Messages of a log-in; SCRAM takes three.
const MOST: usize = 16;

/// A server that wants more rounds wants our time.
const MOST_ROUNDS: u32 = 1_000_000;

/// Why nobody is logged in.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotLoggedIn {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the server wants {0} for a log-in, which is not spoken here; SCRAM-SHA-256 is")]
    Unspoken(&'static str),
    #[error("the server could not prove that it knows the password")]
    Forged,
}

/// Answers the server until it is content, or says no: gives its `AuthenticationOk`, or its error, as it came. Without a password it must be content
/// with the certificate that it was shown.
pub(super) async fn log_in(server: &mut (impl AsyncRead + AsyncWrite + Unpin), password: Option<&str>) -> Result<Vec<u8>, NotLoggedIn> {
    let mut scram: Option<Scram> = None;
    let mut proven = false;
    let mut before = Vec::new();
    let no_password = password.is_none();
    let password = password.unwrap_or_default();
    for _ in 0..MOST {
        let (kind, body) = message(server).await?;
        // What the server says besides (which protocol it speaks, a notice, its no) is for the client.
        match kind {
            b'R' => {}
            b'v' | b'N' => {
                before.extend(framed(kind, &body));
                continue;
            }
            b'E' => return Ok([before, framed(kind, &body)].concat()),
            _ => return Err(NotLoggedIn::Unspoken("something else")),
        }
        let (code, rest) = body.split_first_chunk::<4>().ok_or(NotLoggedIn::Unspoken("something malformed"))?;
        match (u32::from_be_bytes(*code), &scram) {
            // Whoever said that it would prove itself must have done so.
            (0, Some(_)) if !proven => return Err(NotLoggedIn::Forged),
            (0, _) => return Ok([before, framed(kind, &body)].concat()),
            (3 | 10, None) if no_password => return Err(NotLoggedIn::Unspoken("a password besides the certificate")),
            (3, None) => send(server, &[password.as_bytes(), b"\0"].concat()).await?,
            (10, None) => {
                if !rest.split(|byte| *byte == 0).any(|name| name == b"SCRAM-SHA-256") {
                    return Err(NotLoggedIn::Unspoken("an unknown mechanism"));
                }
                let begun = Scram::new()?;
                let first = begun.first();
                let length = u32::try_from(first.len()).unwrap_or(u32::MAX).to_be_bytes();
                send(server, &[b"SCRAM-SHA-256\0".as_slice(), &length, first.as_bytes()].concat()).await?;
                scram = Some(begun);
            }
            (11, Some(begun)) => {
                let (answer, expected) = begun.answer(rest, password)?;
                send(server, answer.as_bytes()).await?;
                scram = Some(Scram { expected, ..Scram::default() });
            }
            (12, Some(begun)) => {
                let said = rest.strip_prefix(b"v=").and_then(|text| STANDARD.decode(text).ok()).ok_or(NotLoggedIn::Forged)?;
                if begun.expected.is_empty() || said != begun.expected {
                    return Err(NotLoggedIn::Forged);
                }
                proven = true;
            }
            (5, _) => return Err(NotLoggedIn::Unspoken("MD5")),
            (_, _) => return Err(NotLoggedIn::Unspoken("another method")),
        }
    }
    Err(NotLoggedIn::Unspoken("more messages than any method has"))
}

/// One exchange.
#[derive(Default)]
struct Scram {
    nonce: String,
    /// What the server must prove itself with.
    expected: Vec<u8>,
}

impl Scram {
    fn new() -> Result<Self, NotLoggedIn> {
        let mut random = [0; 18];
        getrandom::fill(&mut random).map_err(|_| io::Error::other("no random bits"))?;
        Ok(Self { nonce: STANDARD.encode(random), expected: Vec::new() })
    }

    fn bare(&self) -> String {
        // The user's name is the startup message's.
        format!("n=,r={}", self.nonce)
    }

    fn first(&self) -> String {
        format!("n,,{}", self.bare())
    }

    /// The final message, and what the server must answer.
    fn answer(&self, said: &[u8], password: &str) -> Result<(String, Vec<u8>), NotLoggedIn> {
        let malformed = NotLoggedIn::Unspoken("something malformed");
        let Ok(said) = std::str::from_utf8(said) else { return Err(malformed) };
        let field = |name: &str| said.split(',').find_map(|part| part.strip_prefix(name));
        let (Some(nonce), Some(salt), Some(rounds)) = (field("r="), field("s="), field("i=")) else { return Err(malformed) };
        let rounds = rounds.parse().ok().filter(|rounds| *rounds <= MOST_ROUNDS).and_then(NonZeroU32::new);
        let (Some(rounds), Ok(salt)) = (rounds, STANDARD.decode(salt)) else { return Err(malformed) };
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(NotLoggedIn::Forged);
        }
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec();
        let client = sign(&salted, b"Client Key");
        let stored = digest::digest(&digest::SHA256, &client);
        // "n,," in Base64: no binding to the certificate, which is verified by itself.
        let last = format!("c=biws,r={nonce}");
        let all = format!("{},{said},{last}", self.bare());
        let proof: Vec<u8> = client.iter().zip(sign(stored.as_ref(), all.as_bytes())).map(|(key, signature)| key ^ signature).collect();
        let expected = sign(&sign(&salted, b"Server Key"), all.as_bytes());
        Ok((format!("{last},p={}", STANDARD.encode(proof)), expected))
    }
}

async fn message(server: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let kind = server.read_u8().await?;
    let length = server.read_u32().await? as usize;
    if !(4..LONGEST).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length - 4];
    server.read_exact(&mut body).await?;
    Ok((kind, body))
}

async fn send(server: &mut (impl AsyncWrite + Unpin), body: &[u8]) -> io::Result<()> {
    server.write_all(&framed(b'p', body)).await?;
    server.flush().await
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes();
    [&[kind], length.as_slice(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3; but for the user's name, which PostgreSQL leaves empty.
    #[test]
    fn proves_itself_as_the_standard_says() {
        let scram = Scram { nonce: "rOprNGfwEbeRWgbNEkqO".into(), expected: Vec::new() };
        let said = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (answer, expected) = scram.answer(said, "pencil").unwrap();
        assert!(answer.starts_with("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p="), "{answer}");
        assert_eq!((STANDARD.decode(answer.rsplit_once("p=").unwrap().1).unwrap().len(), expected.len()), (32, 32));
        for bad in [&b"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"[..], b"r=rOprNGfwEbeRWgbNEkqO,s=AA==,i=1", b"r=rOprNGfwEbeRWgbNEkqOx,s=AA==,i=99999999", b"x"]
        {
            assert!(scram.answer(bad, "pencil").is_err());
        }
    }

    #[tokio::test]
    async fn a_server_that_proves_nothing_is_not_believed() {
        let (mut ours, mut theirs) = tokio::io::duplex(4096);
        let server = async move {
            theirs.write_all(&framed(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")).await.unwrap();
            let (_, first) = message(&mut theirs).await.unwrap();
            let nonce = String::from_utf8_lossy(&first).rsplit_once("r=").unwrap().1.to_owned();
            theirs.write_all(&framed(b'R', format!("\0\0\0\x0br={nonce}more,s=AA==,i=1").as_bytes())).await.unwrap();
            let _ = message(&mut theirs).await.unwrap();
            theirs.write_all(&framed(b'R', b"\0\0\0\0")).await.unwrap();
        };
        let (said, ()) = tokio::join!(log_in(&mut ours, Some("pencil")), server);
        assert!(matches!(said, Err(NotLoggedIn::Forged)), "{said:?}");
    }
}
