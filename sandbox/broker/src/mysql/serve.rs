//! The beginning of a session: who speaks first, encryption on both sides alike, and the question whether it may begin.

use std::{io, sync::Arc, time::Duration};

use agentbox_core::{Destination, Effect, Operation, RefusalKind};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, timeout},
};

use super::{
    facts::{Facts, QUESTION},
    greeting::{Answer, Greeting, LONGEST, Login, can, tls_wish},
    keyed,
    login::{LoggedIn, Pair, exchange, may_show, own_question},
    packets::{Malformed, packet},
    refusal,
    relay::relay,
    results,
};
use crate::{
    accept::{Shaken, shake},
    broker::Broker,
    client_stream::{ClientStream, Presence},
    http::refusal as no,
    peek::Prefixed,
    session::{self as shared, Asking, Duplex, FAREWELL, HANDSHAKE, No, Question, Reader, Unreached, last_words, unlisted},
    upstream::{Alpn, UpstreamError, UpstreamStream},
};

/// For the whole log-in; people may be asked meanwhile.
const LOGIN: Duration = Duration::from_secs(75);

/// What came of a connection to a port of MySQL's.
pub(crate) enum Served {
    Done,
    /// The client spoke first, as no client of MySQL does.
    Other(BytesMut, ClientStream),
}

/// A server that has greeted.
struct Greeted {
    far: Reader<UpstreamStream>,
    destination: Destination,
    greeting: Greeting,
}

/// Why there is no greeting: what the client is told.
struct Ungreeted(Vec<u8>);

/// Serves one client that waits for the server to speak first.
pub(crate) async fn serve(broker: Arc<Broker>, destination: Destination, presence: Presence, client: ClientStream) -> io::Result<Served> {
    let asking = Asking::of("mysql", broker, presence, &destination).await;
    let mut client = Reader::new(client);
    let greeted = tokio::select! {
        greeted = greet(&asking) => greeted,
        read = client.more() => {
            let (stream, first) = client.into_parts();
            return Ok(if read? == 0 { Served::Done } else { Served::Other(first, stream) });
        }
    };
    let (client, ahead) = client.into_parts();
    let client: Reader<Box<dyn Duplex>> = Reader::with(Box::new(client), ahead);
    begin(asking, client, greeted, &destination).await.map(|()| Served::Done)
}

/// Asks whether the server may be reached, and hears what it says first.
async fn greet(asking: &Asking) -> Result<Greeted, Ungreeted> {
    let mut operations = vec![Operation::new(Effect::Read, "mysql.connect", asking.resource("server"), "connects")];
    operations.extend(unlisted(asking));
    let question = asking.request(Question { operations, parts: &[b"connect"], what: "(connects)", excerpt: String::new() });
    match asking.ask_to_begin(question.clone()).await {
        Ok(yes) => asking.done(yes.0.as_slice(), "the server was reached"),
        Err(No::Gone) => return Err(Ungreeted(Vec::new())),
        Err(No::Refused(why) | No::TooLong(why)) => return Err(Ungreeted(refusal::refused_greeting(&why))),
    }
    let (tcp, destination) = match shared::connect(asking, question).await {
        Ok(reached) => reached,
        Err(Unreached::Far(error)) => return Err(Ungreeted(refusal::instead_of_greeting(&error.to_string()))),
        Err(Unreached::Elsewhere(why)) => {
            asking.remember("(connects)", &why);
            return Err(Ungreeted(refusal::refused_greeting(&why)));
        }
    };
    let mut far = Reader::new(UpstreamStream::Clear(tcp));
    let heard = match timeout(HANDSHAKE, far.packet(LONGEST)).await {
        Ok(Ok(Some((head, body)))) => Ok((head, body)),
        Ok(Ok(None) | Err(_)) => Err(Malformed::Short),
        Err(_) => return Err(Ungreeted(refusal::instead_of_greeting(&UpstreamError::TimedOut(destination).to_string()))),
    };
    match heard {
        // It is full, or does not like the address: its own words.
        Ok((head, body)) if body.first() == Some(&0xff) => Err(Ungreeted(packet(head.number, &body))),
        Ok((head, body)) if head.number == 0 => match Greeting::read(&body) {
            Ok(greeting) => Ok(Greeted { far, destination, greeting }),
            Err(why) => Err(not_mysql(asking, why)),
        },
        Ok(_) => Err(not_mysql(asking, Malformed::Order)),
        Err(why) => Err(not_mysql(asking, why)),
    }
}

fn not_mysql(asking: &Asking, why: Malformed) -> Ungreeted {
    let why = format!("what the server says first is not MySQL's: {why}");
    asking.remember("(connects)", &no(RefusalKind::Failed, "mysql.connect", "", &why, "Use another port for what is not MySQL."));
    Ungreeted(refusal::instead_of_greeting(&why))
}

/// From the greeting to the session.
async fn begin(mut asking: Asking, mut client: Reader<Box<dyn Duplex>>, greeted: Result<Greeted, Ungreeted>, asked: &Destination) -> io::Result<()> {
    let Greeted { far, destination, greeting } = match greeted {
        Ok(greeted) => greeted,
        Err(Ungreeted(bytes)) => return last_words(client.stream(), &bytes).await,
    };
    asking.destination = destination;
    timeout(FAREWELL, client.write(&packet(0, &greeting.body))).await??;
    let offered = greeting.capabilities;
    let Some((mut head, mut body)) = timeout(LOGIN, client.packet(LONGEST)).await?? else { return Ok(()) };
    let (mut far, mut expected) = (Ok(far), 1);
    if Answer::read(&body, offered) == Ok(Answer::Tls) && greeting.has_tls() && head.number == expected {
        // The server's side first, so that the client can be told what is wrong with it.
        let wish = packet(1, &tls_wish(&body, offered)?);
        if let Ok(clear) = far {
            far = upstream_tls(&asking, clear, &wish).await;
        }
        let (stream, ahead) = client.into_parts();
        let Shaken { tls, misdirected } = timeout(HANDSHAKE, shake(Prefixed::new(ahead, stream), &asking.broker, asked)).await??;
        client = Reader::new(Box::new(tls));
        if misdirected {
            far = Err("the name in the TLS hello is not the name that was connected to".to_owned());
        }
        let Some(next) = timeout(LOGIN, client.packet(LONGEST)).await?? else { return Ok(()) };
        (head, body) = next;
        expected = 2;
    }
    let login = match Answer::read(&body, offered) {
        Ok(Answer::Login(login)) if head.number == expected => login,
        Ok(Answer::Login(_) | Answer::Tls) => return violation(&mut client, head.number, Malformed::Order).await,
        Err(why) => return violation(&mut client, head.number, why).await,
    };
    let next = head.number.wrapping_add(1);
    let far = match far {
        Ok(far) => far,
        Err(why) => {
            asking
                .remember("(logs in)", &no(RefusalKind::Failed, "mysql.connect", "", &why, "Name its certificate, or its authority, in the policy's `roots`."));
            let text = format!("{why}. The server's certificate is verified: name it, or its authority, in the policy's `roots`.");
            return last_words(client.stream(), &refusal::plain(next, &text)).await;
        }
    };
    log_in(asking, Pair { client, far }, &login, &greeting, next).await
}

async fn violation(client: &mut Reader<Box<dyn Duplex>>, number: u8, why: Malformed) -> io::Result<()> {
    last_words(client.stream(), &refusal::plain(number.wrapping_add(1), &format!("protocol error: {why}"))).await
}

/// TLS with the server, or why not.
async fn upstream_tls(asking: &Asking, far: Reader<UpstreamStream>, wish: &[u8]) -> Result<Reader<UpstreamStream>, String> {
    let (UpstreamStream::Clear(mut tcp), ahead) = far.into_parts() else { return Err("TLS was asked for twice".to_owned()) };
    if !ahead.is_empty() {
        return Err(Malformed::Answer.to_string());
    }
    tcp.write_all(wish).await.map_err(|error| error.kind().to_string())?;
    let tls = asking.broker.connector.secure(&asking.destination, tcp, Alpn::None).await.map_err(|error| error.to_string())?;
    Ok(Reader::new(UpstreamStream::Tls(Box::new(tls))))
}

async fn log_in(mut asking: Asking, mut pair: Pair, login: &Login, greeting: &Greeting, number: u8) -> io::Result<()> {
    asking.user = agentbox_core::safe::line(&String::from_utf8_lossy(&login.user), 100);
    let database = login.database.as_deref().map(|name| String::from_utf8_lossy(name).into_owned());
    asking.database = database.clone().unwrap_or_default();
    let resource = asking.resource(&database.as_deref().map_or_else(|| "server".to_owned(), |name| format!("database/{name}")));
    let operation = Operation::new(Effect::Read, "mysql.connect", resource, "logs in");
    let question = asking.request(Question { operations: vec![operation], parts: &[b"login"], what: "(logs in)", excerpt: String::new() });
    match asking.ask_to_begin(question).await {
        Ok(yes) => asking.done(yes.0.as_slice(), "the session was begun"),
        Err(No::Gone) => return Ok(()),
        Err(No::Refused(why) | No::TooLong(why)) => return last_words(pair.client.stream(), &refusal::error(number, &why)).await,
    }
    if let Some(name) = keyed::named(&asking.broker, login, greeting) {
        let Pair { client, far } = pair;
        // The holder meets the server anew.
        drop(far);
        let Some((pair, number, ok)) = keyed::log_in(&mut asking, client, login, greeting, &name, number).await? else { return Ok(()) };
        return begun(asking, pair, login, number, ok).await;
    }
    if !login.proof.is_empty() {
        let is_plain = login.plugin.as_deref() == Some("mysql_clear_password");
        let plain = is_plain.then(|| login.proof.strip_suffix(b"\0").unwrap_or(&login.proof));
        if let Some(error) = may_show(&mut asking, plain, number).await? {
            return last_words(pair.client.stream(), &error).await;
        }
    }
    pair.far.write(&packet(number - 1, &login.body())).await?;
    let plugin = login.plugin.as_deref().unwrap_or(&greeting.plugin);
    let LoggedIn::Yes(number, ok) = exchange(&mut asking, &mut pair, plugin, Instant::now() + LOGIN).await? else {
        return timeout(FAREWELL, pair.client.shutdown()).await?;
    };
    begun(asking, pair, login, number, ok).await
}

/// The session, once the server has said yes.
async fn begun(mut asking: Asking, mut pair: Pair, login: &Login, number: u8, ok: Bytes) -> io::Result<()> {
    let database = login.database.as_deref().map(|name| String::from_utf8_lossy(name).into_owned());
    let without_eof = login.capabilities & can::DEPRECATE_EOF != 0;
    let mut facts = Facts::new(&asking.user);
    facts.begins(&asking.user, database.as_deref(), u64::from(login.collation));
    facts.status(Some(results::ok(&ok)?.1));
    let (row, ended) = own_question(&mut pair.far, QUESTION, without_eof).await?;
    if ended.ok {
        facts.told(&row);
    }
    facts.database().clone_into(&mut asking.database);
    timeout(FAREWELL, pair.client.write(&packet(number, &ok))).await??;
    relay(asking, pair, facts, without_eof).await
}
