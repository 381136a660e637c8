//! One letter to a mail relay (RFC 5321): bounded, over verified TLS, and no word of the relay goes further than its code.

use std::io;

use agentbox_core::{
    Destination,
    policy::settings::{Mail, MailCloth},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::upstream::{Alpn, Connector};

/// Longest answer, with all its lines.
const LONGEST: usize = 16 << 10;

/// As whom we greet: a relay that wants to know more knows the address.
const HELLO: &str = "EHLO agentbox.invalid";

/// An answer: its code, and its lines in capitals.
struct Answer {
    code: u16,
    lines: String,
}

impl Answer {
    /// Whether the relay says that it can do this.
    fn offers(&self, what: &str) -> bool {
        self.lines.lines().any(|line| line.get(4..).is_some_and(|said| said == what || said.strip_prefix(what).is_some_and(|rest| rest.starts_with(' '))))
    }
}

/// A way to speak to it.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// Hands the letter over, and gives the relay's last code.
///
/// # Errors
/// One sentence.
pub(crate) async fn send(connector: &Connector, to: &Destination, mail: &Mail, password: Option<&str>, letter: &[u8]) -> Result<u16, String> {
    let broke = |error: io::Error| format!("the relay broke off: {}", error.kind());
    // What goes to this machine itself is heard by nobody on the way. A name that leads elsewhere is no such promise.
    let near = to.host.address().or_else(|| connector.mapped(&to.host).map(|(address, _)| address)).is_some_and(|address| address.is_loopback());
    let mut wire: Box<dyn Wire> = match mail.cloth {
        MailCloth::Tls => Box::new(connector.connect_tls(to, Alpn::None).await.map_err(|error| error.to_string())?),
        MailCloth::StartTls => {
            let mut tcp = connector.connect_tcp(to).await.map_err(|error| error.to_string())?;
            expect(&answer(&mut tcp).await.map_err(broke)?, "greeting", 220)?;
            let offered = say(&mut tcp, HELLO).await.map_err(broke)?;
            expect(&offered, "EHLO", 250)?;
            if offered.offers("STARTTLS") && (!near || password.is_some()) {
                expect(&say(&mut tcp, "STARTTLS").await.map_err(broke)?, "STARTTLS", 220)?;
                // What came in the clear behind that answer would lie in the socket still, and make the handshake fail.
                Box::new(connector.secure(to, tcp, Alpn::None).await.map_err(|error| error.to_string())?)
            } else if near {
                Box::new(tcp)
            } else {
                return Err("the relay does not begin TLS, and nothing is told in the clear but to this machine itself".to_owned());
            }
        }
    };
    if mail.cloth == MailCloth::Tls {
        expect(&answer(&mut wire).await.map_err(broke)?, "greeting", 220)?;
    }
    // Again: what was offered in the clear counts no more.
    expect(&say(&mut wire, HELLO).await.map_err(broke)?, "EHLO", 250)?;
    if let (Some(user), Some(password)) = (&mail.user, password) {
        let proof = STANDARD.encode(format!("\0{user}\0{password}"));
        expect(&say(&mut wire, &format!("AUTH PLAIN {proof}")).await.map_err(broke)?, "log-in", 235)?;
    }
    expect(&say(&mut wire, &format!("MAIL FROM:<{}>", mail.from)).await.map_err(broke)?, "sender", 250)?;
    for person in &mail.to {
        expect(&say(&mut wire, &format!("RCPT TO:<{person}>")).await.map_err(broke)?, "recipient", 250)?;
    }
    expect(&say(&mut wire, "DATA").await.map_err(broke)?, "letter", 354)?;
    wire.write_all(letter).await.map_err(broke)?;
    let taken = say(&mut wire, "\r\n.").await.map_err(broke)?;
    expect(&taken, "letter", 250)?;
    // The letter is the relay's now, whatever becomes of the farewell.
    let _ = say(&mut wire, "QUIT").await;
    Ok(taken.code)
}

/// Anything else than the code is a no; 251 is a yes that forwards.
fn expect(answer: &Answer, what: &str, code: u16) -> Result<(), String> {
    if answer.code == code || (code == 250 && answer.code == 251) { Ok(()) } else { Err(format!("the relay answers {} to the {what}", answer.code)) }
}

async fn say(wire: &mut (impl AsyncRead + AsyncWrite + Unpin), line: &str) -> io::Result<Answer> {
    wire.write_all(format!("{line}\r\n").as_bytes()).await?;
    wire.flush().await?;
    answer(wire).await
}

async fn answer(wire: &mut (impl AsyncRead + Unpin)) -> io::Result<Answer> {
    let mut lines = String::new();
    loop {
        let mut line = Vec::new();
        // Byte by byte, so that nothing of what comes after TLS has begun is read here.
        while !line.ends_with(b"\n") {
            if lines.len() + line.len() >= LONGEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
            line.push(wire.read_u8().await?);
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_ascii_uppercase();
        let code = text.get(..3).and_then(|code| code.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let is_last = text.as_bytes().get(3) != Some(&b'-');
        lines.push_str(&text);
        lines.push('\n');
        if is_last {
            return Ok(Answer { code, lines });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_have_one_or_more_lines_and_a_bound() {
        let read = |text: &'static str| async move { answer(&mut text.as_bytes()).await.map(|answer| (answer.code, answer.offers("STARTTLS"))) };
        assert_eq!(read("250-relay\r\n250-Starttls\r\n250 SIZE 1\r\nmore").await.unwrap(), (250, true));
        assert_eq!(read("250-NOSTARTTLS\r\n250 OK\r\n").await.unwrap(), (250, false));
        assert_eq!(read("220\r\n").await.unwrap().0, 220);
        for bad in ["hello\r\n", "25", "250-x\r\n", "\r\n"] {
            assert!(read(bad).await.is_err(), "{bad}");
        }
        let long = "250-x\r\n".repeat(LONGEST);
        assert!(answer(&mut long.as_bytes()).await.is_err());
    }
}
