//! The end of the process that holds the password: it meets the server anew, and proves the password itself.

use std::{io, time::Duration};

use agentbox_core::{Destination, safe};
use tokio::{io::AsyncWriteExt as _, time::timeout};

use super::{
    greeting::{Answer, Greeting, LONGEST, Login, can, tls_wish},
    packets::{Body, Head, Malformed, packet, utf8},
    proofs::{CACHING, NATIVE, NONCE, proof},
};
use crate::{
    http::carrier::Instead,
    session::Reader,
    upstream::{Alpn, Connector, UpstreamStream},
};

/// For the server's first packet.
const GREETING: Duration = Duration::from_secs(10);

/// Packets of one log-in; the longest of the spoken ones has five.
const MOST: usize = 16;

/// A server that has greeted, and what will be said to it.
pub(crate) struct Greeted {
    far: Reader<UpstreamStream>,
    greeting: Greeting,
    login: Box<Login>,
    number: u8,
}

fn broken(error: &io::Error) -> Instead {
    Instead::Broken(format!("the server broke off: {error}"))
}

fn malformed(why: Malformed) -> Instead {
    Instead::Broken(format!("the server does not speak as before: {why}"))
}

/// Connects, and speaks verified TLS where the server has it; in the clear only to what is near. `login` is the client's own answer, without its proof.
pub(crate) async fn greeted(connector: &Connector, destination: &Destination, near: bool, login: &[u8]) -> Result<Greeted, Instead> {
    let unreachable = |why: String| Instead::Unreachable(why);
    // In the clear no certificate speaks for an address, so it is our own finding.
    let destination = &Destination { addresses: if near { Vec::new() } else { destination.addresses.clone() }, ..destination.clone() };
    let tcp = connector.connect_tcp(destination).await.map_err(|error| unreachable(error.to_string()))?;
    let mut far = Reader::new(UpstreamStream::Clear(tcp));
    let first = timeout(GREETING, far.packet(LONGEST)).await.map_err(|_| unreachable(format!("{destination} does not greet")))?;
    let Some((Head { number: 0, .. }, body)) = first.map_err(|error| unreachable(error.to_string()))? else {
        return Err(unreachable(format!("{destination} does not speak MySQL")));
    };
    if body.first() == Some(&0xff) {
        let text = String::from_utf8_lossy(body.get(3..).unwrap_or_default()).into_owned();
        return Err(unreachable(safe::line(&text, 200)));
    }
    let greeting = Greeting::read(&body).map_err(malformed)?;
    let (Ok(Answer::Login(wished)), Ok(Answer::Login(mut login))) = (Answer::read(login, u32::MAX), Answer::read(login, greeting.capabilities)) else {
        return Err(Instead::Refused("the log-in cannot be read".to_owned()));
    };
    if (wished.capabilities ^ login.capabilities) & !can::TLS != 0 {
        return Err(Instead::Broken("the server offers less than it did to the client".to_owned()));
    }
    if !greeting.has_tls() {
        if !near {
            return Err(unreachable(format!("{destination} does not speak TLS, and a password is not proven in the clear")));
        }
        login.capabilities &= !can::TLS;
        return Ok(Greeted { far, greeting, login, number: 1 });
    }
    login.capabilities |= can::TLS;
    let wish = tls_wish(&login.body(), greeting.capabilities).map_err(malformed)?;
    let (UpstreamStream::Clear(mut tcp), ahead) = far.into_parts() else { return Err(malformed(Malformed::Order)) };
    if !ahead.is_empty() {
        return Err(malformed(Malformed::Answer));
    }
    tcp.write_all(&packet(1, &wish)).await.map_err(|error| unreachable(error.to_string()))?;
    let tls = connector.secure(destination, tcp, Alpn::None).await.map_err(|error| unreachable(error.to_string()))?;
    Ok(Greeted { far: Reader::new(UpstreamStream::Tls(Box::new(tls))), greeting, login, number: 2 })
}

/// Proves the password until the server is content, or says no: gives its last packet as it came.
pub(crate) async fn log_in(greeted: Greeted, password: &str) -> Result<(UpstreamStream, Vec<u8>), Instead> {
    let Greeted { mut far, greeting, mut login, mut number } = greeted;
    let is_secret = login.capabilities & can::TLS != 0;
    let unspoken = |plugin: &str, why: &str| Instead::Broken(format!("the server wants a proof by {}, {why}", safe::line(plugin, 40)));
    // Of a way that is not known the server is told another one, and asks for what it wants.
    let mut plugin = if greeting.plugin == CACHING { CACHING } else { NATIVE }.to_owned();
    login.proof = proof(&plugin, password.as_bytes(), &greeting.nonce).unwrap_or_default();
    login.plugin = (greeting.capabilities & can::PLUGIN_AUTH != 0).then(|| plugin.clone());
    far.write(&packet(number, &login.body())).await.map_err(|error| broken(&error))?;
    for _ in 0..MOST {
        let Some((head, body)) = far.packet(LONGEST).await.map_err(|error| broken(&error))? else {
            return Err(Instead::Broken("the server broke off".to_owned()));
        };
        number = number.wrapping_add(1);
        if head.number != number {
            return Err(malformed(Malformed::Order));
        }
        let in_the_clear = || [password.as_bytes(), b"\0"].concat();
        let answer = match (body.first(), body.get(1..).unwrap_or_default()) {
            (Some(0x00 | 0xff), _) => {
                let (stream, ahead) = far.into_parts();
                return if ahead.is_empty() { Ok((stream, packet(head.number, &body))) } else { Err(malformed(Malformed::Answer)) };
            }
            (Some(0xfe), rest) => {
                let mut rest = Body(rest);
                let asked = rest.text().and_then(utf8).map_err(malformed)?;
                asked.clone_into(&mut plugin);
                let nonce = rest.0.strip_suffix(b"\0").unwrap_or(rest.0);
                match proof(&plugin, password.as_bytes(), nonce) {
                    Some(_) if nonce.len() != NONCE => return Err(malformed(Malformed::Answer)),
                    Some(proof) => proof,
                    None if plugin == "mysql_clear_password" && is_secret => in_the_clear(),
                    None => return Err(unspoken(&plugin, "which is not spoken here; mysql_native_password and caching_sha2_password are")),
                }
            }
            // It knows the proof already, and the word of success follows.
            (Some(0x01), [3]) if plugin == CACHING => continue,
            (Some(0x01), [4]) if plugin == CACHING && is_secret => in_the_clear(),
            (Some(0x01), [4]) if plugin == CACHING => return Err(unspoken(&plugin, "whose first log-in takes TLS, which it does not have")),
            (_, _) => return Err(malformed(Malformed::Answer)),
        };
        number = number.wrapping_add(1);
        far.write(&packet(number, &answer)).await.map_err(|error| broken(&error))?;
    }
    Err(malformed(Malformed::Long))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const PASSWORD: &str = "s3cret of many";

    /// A server that answers the log-in with these packets' bodies, and what it heard.
    async fn against(first: &str, is_tls: bool, answers: &[&[u8]]) -> (Result<Vec<u8>, String>, Vec<Vec<u8>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        let server = async move {
            let mut client = Reader::new(theirs);
            let mut heard = Vec::new();
            for answer in answers {
                let Ok(Some((head, body))) = client.packet(LONGEST).await else { break };
                heard.push(body.to_vec());
                client.write(&packet(head.number + 1, answer)).await.unwrap();
                // Of two in a row the second has no question.
                if *answer == [1, 3] {
                    client.write(&packet(head.number + 2, &[0, 0, 0, 2, 0, 0, 0])).await.unwrap();
                    break;
                }
            }
            heard
        };
        let capabilities = can::PROTOCOL_41 | can::SECURE_CONNECTION | can::PLUGIN_AUTH | if is_tls { can::TLS } else { 0 };
        let greeting = Greeting { body: Vec::new(), capabilities, plugin: first.to_owned(), nonce: b"12345678901234567890".to_vec() };
        let mut login = Box::<Login>::default();
        login.capabilities = capabilities;
        login.user = b"agent".to_vec();
        let greeted = Greeted { far: Reader::new(UpstreamStream::Clear(tcp)), greeting, login, number: 1 };
        let (said, heard) = tokio::join!(log_in(greeted, PASSWORD), server);
        (said.map(|(_, first)| first).map_err(|why| format!("{why:?}")), heard)
    }

    #[tokio::test]
    async fn proves_itself_and_says_it_in_tls_alone() {
        let (said, heard) = against(CACHING, false, &[&[1, 3]]).await;
        assert_eq!(said.unwrap(), packet(3, &[0, 0, 0, 2, 0, 0, 0]));
        let proof = proof(CACHING, PASSWORD.as_bytes(), b"12345678901234567890").unwrap();
        assert!(heard[0].windows(32).any(|window| window == proof));
        let (said, heard) = against(CACHING, true, &[&[1, 4], &[0, 0, 0, 2, 0, 0, 0]]).await;
        assert!(said.is_ok() && heard[1] == b"s3cret of many\0", "{said:?}");
        for answers in [&[&[1u8, 4][..]][..], &[b"\xfemysql_clear_password\0"]] {
            let (said, heard) = against(CACHING, false, answers).await;
            assert!(said.is_err() && heard.iter().all(|heard| !heard.windows(6).any(|window| window == b"s3cret")), "{said:?}");
        }
    }

    #[tokio::test]
    async fn another_way_is_taken_or_refused() {
        let (said, heard) = against("parsec", false, &[b"\xfemysql_native_password\0abcdefghijklmnopqrst\0", &[0, 0, 0, 2, 0, 0, 0]]).await;
        assert!(said.is_ok(), "{said:?}");
        assert_eq!(Some(&heard[1]), proof(NATIVE, PASSWORD.as_bytes(), b"abcdefghijklmnopqrst").as_ref());
        for answer in [&[&b"\xfeclient_ed25519\0abc"[..]][..], &[b"\xfe"], &[b"\x02"], &[b"\xfemysql_native_password\0short"]] {
            assert!(against(NATIVE, false, answer).await.0.is_err());
        }
        // The server's own no is passed on.
        assert_eq!(against(NATIVE, false, &[b"\xff\x15\x04#28000no"]).await.0.unwrap()[4], 0xff);
    }
}
