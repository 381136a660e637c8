//! Every decoder of hostile bytes, as `cargo xtask fuzz` feeds it: any bytes are read or refused, within bounds, without a panic.

use std::sync::Arc;

use agentbox_core::HostName;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    dns::{Carrier, Reading, Resolver},
    hello, http as broker_http,
    meaning::{self, sql},
    names::Names,
    postgres,
};

/// A line of method and URL, lines of headers, an empty line, a body.
pub fn request(data: &[u8]) {
    let (head, body) = split(data, b"\n\n");
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let Some((method, url)) = lines.next().and_then(|line| line.split_once(' ')) else { return };
    let mut headers = HeaderMap::new();
    for line in lines.take(32) {
        let Some((name, value)) = line.split_once(": ") else { continue };
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    if let Ok(request) = meaning::request(method, url, &headers, body) {
        assert!(!request.operations.is_empty(), "a request without an operation would pass unasked");
    }
}

/// A line with a dialect's name, and a statement.
pub fn statement(data: &[u8]) {
    let (dialect, text) = split(data, b"\n");
    let dialect = sql::Dialect::named(&String::from_utf8_lossy(dialect));
    let mut said = sql::Said::new();
    let text = text.unwrap_or_default();
    assert!(!sql::understand(dialect, text, &said).is_empty(), "a statement without an operation would pass unasked");
    said.observe(dialect, text);
    assert!(!sql::understand(dialect, text, &said).is_empty(), "a statement without an operation would pass unasked");
}

/// A line with an engine, and what a client sends it.
pub fn database(data: &[u8]) {
    let (engine, wire) = split(data, b"\n");
    let (engine, dialect) = match engine {
        b"mysql" => ("sql", "mysql"),
        b"redis" => ("redis", "redis"),
        b"mongodb" => ("mongodb", "mongodb"),
        _ => ("sql", "postgresql"),
    };
    let row = sql::Row { engine, dialect, text: "", wire: Some(wire.unwrap_or_default()), context: None };
    assert!(!sql::of_row(&row).is_empty(), "bytes without an operation would pass unasked");
}

/// A body of one of PostgreSQL's messages, and a first message.
pub fn postgresql(data: &[u8]) {
    postgres::fuzz(&Bytes::copy_from_slice(data));
}

/// What a client and what a server of MySQL's say.
pub fn mysql(data: &[u8]) {
    crate::mysql::fuzz(data);
}

/// What a client and what a server of Redis's say, in pieces: a cut may stand anywhere.
pub fn redis(data: &[u8]) {
    crate::redis::fuzz(data);
}

/// The framing of HTTP/1, in pieces: a cut may stand anywhere and must not change anything.
pub fn framing(data: &[u8]) {
    let (cut, bytes) = data.split_first().map_or((1, data), |(cut, bytes)| (usize::from(*cut).max(1), bytes));
    assert_eq!(broker_http::fuzz(bytes, bytes.len().max(1)), broker_http::fuzz(bytes, cut), "the framing depends on how the bytes came");
}

/// One side's frames of a WebSocket, in pieces, and a text message in each of the tongues that are spoken on one.
pub fn websocket(data: &[u8]) {
    let (cut, bytes) = data.split_first().map_or((1, data), |(cut, bytes)| (usize::from(*cut).max(1), bytes));
    let [whole, pieces] = [bytes.len().max(1), cut].map(|piece| wait(broker_http::fuzz_websocket(bytes, piece)));
    assert_eq!(whole, pieces, "the frames depend on how the bytes came");
    for protocol in ["graphql-transport-ws", "graphql-ws", ""] {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        if let Ok(request) = meaning::websocket_message("wss://a.example/graphql", &headers, meaning::MessageKind::Text, data) {
            assert!(!request.operations.is_empty(), "a message without an operation would pass unasked");
        }
    }
}

/// A TLS client's first message.
pub fn hello(data: &[u8]) {
    let _ = wait(hello::read(data));
}

/// A question for the resolver.
pub fn name(data: &[u8]) {
    let resolver = Resolver {
        names: Arc::new(Names::default()),
        reading: Box::new(|_| Reading::Silent),
        denied: Box::new(|_| {}),
        own: HostName::parse("agentbox.internal").unwrap_or_else(|_| unreachable!("it is a name")),
    };
    let _ = wait(resolver.answer(data, Carrier::Udp));
    let _ = wait(resolver.answer(data, Carrier::Tcp));
}

/// A target's name, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("request", request),
    ("statement", statement),
    ("database", database),
    ("postgresql", postgresql),
    ("mysql", mysql),
    ("redis", redis),
    ("framing", framing),
    ("websocket", websocket),
    ("hello", hello),
    ("name", name),
];

fn wait<F: Future>(future: F) -> Option<F::Output> {
    tokio::runtime::Builder::new_current_thread().enable_time().build().ok().map(|runtime| runtime.block_on(future))
}

/// Before and behind the first place where the mark stands.
fn split<'a>(data: &'a [u8], mark: &[u8]) -> (&'a [u8], Option<&'a [u8]>) {
    match data.windows(mark.len()).position(|window| window == mark) {
        Some(at) => (data.get(..at).unwrap_or_default(), data.get(at + mark.len()..)),
        None => (data, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What once went wrong goes right, on every machine and without a fuzzer.
    #[test]
    fn no_old_crash_comes_back() {
        let crashes = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/crashes");
        for (name, target) in TARGETS {
            for file in std::fs::read_dir(crashes.join(name)).into_iter().flatten() {
                let file = file.unwrap().path();
                println!("{}", file.display());
                target(&std::fs::read(&file).unwrap());
            }
        }
    }

    #[test]
    fn any_bytes_at_all() {
        for (name, target) in TARGETS {
            for bytes in [&b""[..], b"\n", b"\n\n", b"GET https://a.example/\n\n{", b"postgresql\nSELECT", &[0xff; 64]] {
                println!("{name}: {bytes:?}");
                target(bytes);
            }
        }
    }
}
