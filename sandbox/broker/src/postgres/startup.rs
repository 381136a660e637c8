//! The first messages: encryption on both sides alike, requests to cancel, and the question whether a session may begin.

use std::{io, sync::Arc};

use agentbox_core::{Credential, Destination, Effect, Operation, RefusalKind, Request};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::{
    facts::Facts,
    frames::{self, First, Key, Malformed, Startup},
    keyed,
    keys::Known,
    login, refusal, relay,
    session::Session,
};
use crate::{
    accept::{Shaken, shake},
    broker::Broker,
    client_stream::Presence,
    http::{refusal as no, still_fits},
    meaning::sql::{self, Dialect, Said},
    session::{self as shared, Asking, Cloth, Duplex, FAREWELL, Far, HANDSHAKE, Locks, No, Question, Unreached, last_words, unlisted},
    upstream::{Alpn, UpstreamError, UpstreamStream},
};

/// First messages of one connection: GSSAPI, TLS, then the session itself.
const MOST_FIRST: usize = 4;

/// `SSLRequest`.
const ASKS_FOR_TLS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// SQLSTATEs (PostgreSQL 18, appendix A).
const CANNOT_CONNECT: &str = "08001";
const PROTOCOL_VIOLATION: &str = "08P01";
const NOT_SUPPORTED: &str = "0A000";

/// What a client's connection is wrapped in.
pub(crate) struct Cover {
    pub(crate) cloth: Cloth,
    /// The certificate that it showed in TLS.
    pub(crate) certificate: Option<Credential>,
}

impl Cover {
    pub(crate) fn clear() -> Self {
        Self { cloth: Cloth::Clear, certificate: None }
    }
}

/// Serves one client.
pub(crate) async fn serve(broker: Arc<Broker>, destination: Destination, presence: Presence, mut client: Box<dyn Duplex>, cover: Cover) -> io::Result<()> {
    let Cover { mut cloth, mut certificate } = cover;
    let mut asking = Asking::of("postgres", broker, presence, &destination).await;
    let (mut far, mut failed) = (None, None);
    for _ in 0..MOST_FIRST {
        let Some(first) = timeout(HANDSHAKE, frames::read_first(&mut client)).await?? else { return Ok(()) };
        match first {
            Ok(First::Gss) => write(&mut client, b"N").await?,
            Ok(First::Tls) if cloth == Cloth::Clear && far.is_none() && failed.is_none() => {
                match early(&asking).await {
                    Ok(found) => far = found,
                    // Told when the session begins: no client shows what it is told before TLS.
                    Err(error) => failed = Some(error),
                }
                if far.as_ref().is_some_and(|far| far.cloth == Cloth::Clear) {
                    // The server has none: the client is told so, and decides.
                    write(&mut client, b"N").await?;
                } else {
                    write(&mut client, b"S").await?;
                    let shaken = timeout(HANDSHAKE, shake(client, &asking.broker, &destination)).await??;
                    certificate = shaken.certificate(&asking.broker);
                    let Shaken { tls, misdirected } = shaken;
                    client = Box::new(tls);
                    cloth = Cloth::Tls;
                    if misdirected {
                        let bytes = refusal::fatal(
                            NOT_SUPPORTED,
                            "the name in the TLS hello is not the name that was connected to",
                            "Connect to the host by its own name.",
                        );
                        return last_words(&mut client, &bytes).await;
                    }
                }
            }
            Ok(First::Cancel(key, bytes)) => return cancel(&asking, &key, &bytes).await,
            Ok(First::Startup(startup, bytes)) => {
                if let Some(error) = failed {
                    return unreachable(&mut client, &error).await;
                }
                // From here on it is judged with all that is asked, also one that was never given to this box.
                asking.credentials = certificate.into_iter().collect();
                return begin(asking, client, cloth, far, &startup, &bytes).await;
            }
            Ok(First::Tls) | Err(_) => {
                let why = if let Err(why) = first { why.to_string() } else { "TLS was asked for twice".to_owned() };
                asking.remember("beginning a session", &no(RefusalKind::Failed, "postgres.connect", "", &why, "Use protocol 3.0 or 3.2."));
                return last_words(&mut client, &refusal::fatal(PROTOCOL_VIOLATION, &why, "Protocols 3.0 and 3.2 are spoken here.")).await;
            }
        }
    }
    Ok(())
}

/// Reaches the server before the session is known, to learn whether it speaks TLS; not where somebody must be asked first.
async fn early(asking: &Asking) -> Result<Option<Far>, UpstreamError> {
    let operation = Operation::new(Effect::Read, "postgres.connect", asking.resource("server"), "asks whether the server speaks TLS");
    let mut operations = vec![operation];
    operations.extend(unlisted(asking));
    let question = asking.request(Question { operations, parts: &[b"tls"], what: "(asks for TLS)", excerpt: String::new() });
    if !asking.is_plain(&question) || asking.ask(question.clone(), Locks::None).await.is_err() {
        return Ok(None);
    }
    match reach(asking, question, Cloth::Tls).await {
        Ok(far) => Ok(Some(far)),
        Err(Unreached::Far(error)) => Err(error),
        Err(Unreached::Elsewhere(_)) => Ok(None),
    }
}

/// Connects. Where TLS is wished for and the server has none, the stream is in the clear, and says so.
async fn reach(asking: &Asking, question: Request, wish: Cloth) -> Result<Far, Unreached> {
    let (mut tcp, destination) = shared::connect(asking, question).await?;
    if wish == Cloth::Clear {
        return Ok(Far { stream: UpstreamStream::Clear(tcp), destination, cloth: Cloth::Clear });
    }
    let asked = timeout(HANDSHAKE, async {
        tcp.write_all(&ASKS_FOR_TLS).await?;
        tcp.read_u8().await
    });
    let failed = |why: io::ErrorKind| Unreached::Far(UpstreamError::Connect(destination.clone(), why));
    match asked.await.map_err(|_| Unreached::Far(UpstreamError::TimedOut(destination.clone())))?.map_err(|error| failed(error.kind()))? {
        b'S' => shared::secure(asking, tcp, destination, Alpn::PostgreSql).await,
        b'N' => Ok(Far { stream: UpstreamStream::Clear(tcp), destination, cloth: Cloth::Clear }),
        _ => Err(failed(io::ErrorKind::InvalidData)),
    }
}

/// Asks whether this session may begin, and begins it.
async fn begin(mut asking: Asking, mut client: Box<dyn Duplex>, cloth: Cloth, far: Option<Far>, startup: &Startup, bytes: &[u8]) -> io::Result<()> {
    let Some(user) = startup.parameter("user").filter(|user| !user.is_empty()) else {
        return last_words(&mut client, &refusal::fatal(PROTOCOL_VIOLATION, "the session names no user", "")).await;
    };
    user.clone_into(&mut asking.user);
    startup.parameter("database").filter(|name| !name.is_empty()).unwrap_or(user).clone_into(&mut asking.database);
    if startup.parameter("replication").is_some_and(|value| !["false", "off", "no", "0"].contains(&value.to_ascii_lowercase().as_str())) {
        let why = "replication is not spoken through the box: it hands out the whole cluster and can drop its slots";
        asking.remember("begins replication", &no(RefusalKind::Denied, "postgres.replication", "", why, "Use pg_dump for a copy of a database."));
        return last_words(&mut client, &refusal::fatal(NOT_SUPPORTED, why, "Use pg_dump for a copy of a database.")).await;
    }
    let mut operations = vec![Operation::new(Effect::Read, "postgres.connect", asking.resource(&format!("database/{}", asking.database)), "logs in")];
    operations.extend(unlisted(&asking));
    operations.extend(settings(startup, &asking.database, &asking.user));
    let shown = startup.parameters.iter().map(|(name, value)| format!("{name} = {value}\n")).collect::<String>();
    let question = asking.request(Question { operations, parts: &[b"startup", bytes], what: "(logs in)", excerpt: shown });
    match asking.ask_to_begin(question.clone()).await {
        Ok(yes) => asking.done(yes.0.as_slice(), "the session was begun"),
        Err(No::Gone) => return Ok(()),
        Err(No::Refused(why) | No::TooLong(why)) => return last_words(&mut client, &refusal::error("FATAL", &why)).await,
    }
    if asking.broker.carrier.is_some() && asking.broker.issued.knows(&asking.destination.host) {
        return keyed_session(asking, client, cloth, question, bytes).await;
    }
    let far = match far {
        Some(far) => far,
        None => match reach(&asking, question, cloth).await {
            Ok(far) if far.cloth == cloth => far,
            Ok(_) => {
                let bytes =
                    refusal::fatal(CANNOT_CONNECT, "the server does not speak TLS, and the client asked for it", "Use sslmode=disable if that is meant.");
                return last_words(&mut client, &bytes).await;
            }
            Err(Unreached::Far(error)) => return unreachable(&mut client, &error).await,
            Err(Unreached::Elsewhere(why)) => {
                asking.remember("begins a session", &why);
                return last_words(&mut client, &refusal::error("FATAL", &why)).await;
            }
        },
    };
    let Far { mut stream, destination, cloth } = far;
    asking.destination = destination;
    stream.write_all(bytes).await?;
    stream.flush().await?;
    let facts = Facts::new(&asking.database, &asking.user);
    let Some(begun) = login::login(&mut asking, client, stream, facts).await? else { return Ok(()) };
    let _lives = begun.key.map(|key| asking.broker.keys.clone().add(key, Known { destination: asking.destination.clone(), cloth }));
    relay::relay(asking, Session::new(begun.facts), begun.client, begun.far).await
}

/// The same where a credential is for this host: who holds it logs in.
async fn keyed_session(mut asking: Asking, mut client: Box<dyn Duplex>, cloth: Cloth, question: Request, bytes: &[u8]) -> io::Result<()> {
    let by_name = asking.destination.addresses.is_empty();
    match asking.broker.resolved(&asking.destination).await {
        Ok(destination) => {
            if by_name && let Err(why) = still_fits(&asking.broker, question, &destination) {
                asking.remember("begins a session", &why);
                return last_words(&mut client, &refusal::error("FATAL", &why)).await;
            }
            asking.destination = destination;
        }
        Err(error) => return unreachable(&mut client, &error).await,
    }
    let stream = match keyed::login(&mut asking, &mut client, bytes).await? {
        Ok(stream) => stream,
        Err(Some(told)) => return last_words(&mut client, &told).await,
        Err(None) => return Ok(()),
    };
    let facts = Facts::new(&asking.database, &asking.user);
    let Some(begun) = login::login(&mut asking, client, stream, facts).await? else { return Ok(()) };
    let _lives = begun.key.map(|key| asking.broker.keys.clone().add(key, Known { destination: asking.destination.clone(), cloth }));
    relay::relay(asking, Session::new(begun.facts), begun.client, begun.far).await
}

/// What the settings of a session's beginning would switch off. Those that only steer the session are part of beginning it.
fn settings(startup: &Startup, database: &str, user: &str) -> Vec<Operation> {
    let mut said = Said::new();
    said.database = Some(database.to_owned());
    said.user = Some(user.to_owned());
    let given = startup.parameters.iter().filter(|(name, _)| !["user", "database", "options", "replication"].contains(&name.as_str())).cloned();
    let options = startup.parameter("options").map(options).unwrap_or_default();
    let mut found = Vec::new();
    for (name, value) in given.chain(options) {
        let name = name.replace('"', "\"\"").replace('-', "_");
        let text = format!("SET \"{name}\" TO '{}'", value.replace('\'', "''"));
        found.extend(sql::understand(Dialect::PostgreSql, text.as_bytes(), &said).into_iter().filter(|operation| operation.effect > Effect::Write));
    }
    found
}

/// `-c name=value --name=value`, with blanks and backslashes behind backslashes (postinit.c, pg_split_opts). Other switches set nothing that protects.
fn options(text: &str) -> Vec<(String, String)> {
    let mut words = vec![String::new()];
    let mut characters = text.chars();
    // Each turn takes a character of at most LONGEST_FIRST.
    while let Some(character) = characters.next() {
        match (character, words.last_mut()) {
            ('\\', Some(word)) => word.extend(characters.next()),
            (' ' | '\t' | '\n', _) => words.push(String::new()),
            (other, Some(word)) => word.push(other),
            (_, None) => {}
        }
    }
    words.retain(|word| !word.is_empty());
    let mut found = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            Some("") => words.next().map(String::as_str),
            setting => setting,
        };
        if let Some((name, value)) = setting.and_then(|setting| setting.split_once('=')) {
            found.push((name.trim().to_owned(), value.to_owned()));
        }
    }
    found
}

/// Cancels what one of this box's sessions does; of others nothing is known here, and nothing is sent.
async fn cancel(asking: &Asking, key: &Key, bytes: &[u8]) -> io::Result<()> {
    let Some(known) = asking.broker.keys.find(key, &asking.destination) else { return Ok(()) };
    let operation = Operation::new(Effect::Read, "postgres.cancel", asking.resource("server"), "cancels a statement of this box");
    let question = asking.request(Question { operations: vec![operation], parts: &[b"cancel", bytes], what: "(cancels a statement)", excerpt: String::new() });
    let Ok(yes) = asking.ask(question.clone(), Locks::None).await else { return Ok(()) };
    let to = Asking {
        scheme: asking.scheme,
        broker: asking.broker.clone(),
        presence: asking.presence.clone(),
        connection: asking.connection,
        destination: known.destination,
        database: String::new(),
        user: String::new(),
        credentials: Vec::new(),
    };
    let sent = match reach(&to, question, known.cloth).await {
        Ok(mut far) if far.cloth == known.cloth => {
            far.stream.write_all(bytes).await?;
            far.stream.flush().await?;
            // The server closes when it has passed it on: the client takes our end for that.
            let mut rest = [0; 1];
            let _ = timeout(FAREWELL, far.stream.read(&mut rest)).await;
            "sent"
        }
        Ok(_) | Err(_) => "nothing was sent: the server cannot be reached",
    };
    asking.done(yes.0.as_slice(), sent);
    Ok(())
}

async fn write(client: &mut Box<dyn Duplex>, bytes: &[u8]) -> io::Result<()> {
    timeout(FAREWELL, async {
        client.write_all(bytes).await?;
        client.flush().await
    })
    .await?
}

async fn unreachable(client: &mut Box<dyn Duplex>, error: &UpstreamError) -> io::Result<()> {
    let hint = match error {
        UpstreamError::Tls(..) => "The server's certificate is verified, whatever sslmode says: name it, or its authority, in the policy's `roots`.",
        UpstreamError::LocalAddress(..) => "Ask the person to name the host in a place of the policy.",
        UpstreamError::Unresolved(_) | UpstreamError::Connect(..) | UpstreamError::TimedOut(_) | UpstreamError::Proxy(..) | UpstreamError::Roots(_) => "",
    };
    last_words(client, &refusal::fatal(CANNOT_CONNECT, &error.to_string(), hint)).await
}

impl From<super::session::Lost> for io::Error {
    fn from(why: super::session::Lost) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, why)
    }
}

/// What a client is told whose message is none.
pub(super) fn violation(why: Malformed) -> Vec<u8> {
    refusal::fatal(PROTOCOL_VIOLATION, &why.to_string(), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_as_the_server_splits_them() {
        let of = |text: &str| options(text).into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        assert_eq!(of("-c search_path=a,b --statement_timeout=5 -cgeqo=off"), ["search_path=a,b", "statement_timeout=5", "geqo=off"]);
        assert_eq!(of(r"-c application_name=a\ b\\c"), [r"application_name=a b\c"]);
    }

    #[test]
    fn a_setting_that_unprotects_is_an_operation_of_its_own() {
        let with = |options: &str| {
            let parameters =
                vec![("user".to_owned(), "u".to_owned()), ("application_name".to_owned(), "psql".to_owned()), ("options".to_owned(), options.to_owned())];
            settings(&Startup { parameters }, "d", "u").iter().map(|operation| operation.action.to_string()).collect::<Vec<_>>()
        };
        assert!(with("-c statement_timeout=5").is_empty());
        assert_eq!(with("-c session_replication_role=replica"), ["postgres.unprotect"]);
        assert_eq!(with("--row-security=off").len(), 0, "that makes queries fail that row security would cut");
    }
}
