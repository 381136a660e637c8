//! HTTP/2 that would be something else as HTTP/1.1, frame by frame; and what follows a request on its connection.

use super::*;

/// One header field as HPACK writes it without table and without Huffman's code (RFC 7541, 6.2.2).
fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let text = |bytes: &[u8]| {
        assert!(bytes.len() < 127, "a length of one byte");
        let mut all = vec![u8::try_from(bytes.len()).unwrap()];
        all.extend_from_slice(bytes);
        all
    };
    [vec![0], text(name), text(value)].concat()
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let stream: u32 = if kind == 4 { 0 } else { 1 };
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Preface, settings, one stream of these fields and this body.
fn request(fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name.as_bytes(), value.as_bytes())).collect();
    let end = u8::from(body.is_empty());
    let mut all = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    all.extend(frame(4, 0, &[]));
    all.extend(frame(1, 4 | end, &block));
    if !body.is_empty() {
        all.extend(frame(0, 1, body));
    }
    all
}

const PLAIN: [(&str, &str); 4] = [(":method", "POST"), (":scheme", "https"), (":path", "/v1/things"), (":authority", "api.example")];

/// The plain fields with others instead of or behind them.
fn with<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all: Vec<(&str, &str)> = PLAIN.to_vec();
    for (name, value) in changes {
        match all.iter_mut().find(|(known, _)| known == name && name.starts_with(':')) {
            Some(known) => known.1 = value,
            None => all.push((name, value)),
        }
    }
    all
}

/// What arrives at a far side that speaks HTTP/2 or HTTP/1.1 only, and what was asked.
async fn send(bytes: &[u8], far_speaks: &'static [&'static str], say: Say) -> (Vec<String>, Vec<String>) {
    let far = Far::start(Cloth::Tls(far_speaks)).await;
    let stage = Stage::with(say, far.address, far.root.clone().into_iter().collect(), "");
    let mut client = super::tls::dress(&stage, stage.connect(API, 443).await, API, &["h2"]).await.unwrap();
    client.write_all(bytes).await.unwrap();
    let _ = listen(&mut client).await;
    (far.lines(), stage.line.asked())
}

const BOTH: [&[&str]; 2] = [&["h2"], &["http/1.1"]];

#[test]
fn plain_ones_arrive() {
    run(async {
        for far_speaks in BOTH {
            for (fields, body) in
                [(PLAIN.to_vec(), ""), (with(&[("content-length", "2"), ("content-type", "application/json")]), "{}"), (with(&[("host", API)]), "")]
            {
                let (lines, _) = send(&request(&fields, body.as_bytes()), far_speaks, Say::Bomb).await;
                assert!(
                    matches!(lines.as_slice(), [line] if line.starts_with("POST ") && line.ends_with("/v1/things")),
                    "{far_speaks:?} {fields:?}: {lines:?}"
                );
            }
        }
    });
}

#[test]
fn what_would_be_another_request_in_http1_never_arrives() {
    run(async {
        const SPLIT: &str = "/x HTTP/1.1\r\nHost: a\r\n\r\nDELETE /v1/volumes/1";
        let mut twice = PLAIN.to_vec();
        twice.push((":path", "/v1/other"));
        let mut late = vec![("x", "1")];
        late.extend(PLAIN);
        let mut tests = tokio::task::JoinSet::new();
        for (what, fields, body) in [
            ("a path that is a second request", with(&[(":path", SPLIT)]), ""),
            ("a path with a blank", with(&[(":path", "/x HTTP/1.1")]), ""),
            ("a path that is a whole URL", with(&[(":path", "http://other.example/x")]), ""),
            ("an empty path", with(&[(":path", "")]), ""),
            ("a method that is a request", with(&[(":method", "GET / HTTP/1.1\r\nX: y")]), ""),
            ("a method with a blank", with(&[(":method", "GET /")]), ""),
            ("an authority with a line's end", with(&[(":authority", "api.example\r\nX: y")]), ""),
            ("another authority", with(&[(":authority", "victim.example")]), ""),
            ("an authority with a user", with(&[(":authority", "a@api.example")]), ""),
            ("another scheme", with(&[(":scheme", "http")]), ""),
            ("a value with a line's end", with(&[("x", "a\r\ntransfer-encoding: chunked")]), ""),
            ("a value with a zero", with(&[("x", "a\0b")]), ""),
            ("a name with a line's end", with(&[("x\r\ny", "a")]), ""),
            ("a name with a colon", with(&[("transfer-encoding: chunked\r\nx", "a")]), ""),
            ("a name with capitals", with(&[("Transfer-Encoding", "chunked")]), ""),
            ("transfer-encoding", with(&[("transfer-encoding", "chunked")]), "0\r\n\r\nDELETE /v1/volumes/1 HTTP/1.1\r\n\r\n"),
            ("connection", with(&[("connection", "keep-alive")]), ""),
            ("upgrade", with(&[("upgrade", "websocket"), ("connection", "upgrade")]), ""),
            ("a host that is another", with(&[("host", "victim.example")]), ""),
            ("two hosts", with(&[("host", "api.example"), ("host", "api.example")]), ""),
            ("a body behind its length", with(&[("content-length", "0")]), "DELETE /v1/volumes/1 HTTP/1.1\r\n\r\n"),
            ("a body shorter than its length", with(&[("content-length", "90")]), "x"),
            ("two lengths", with(&[("content-length", "1"), ("content-length", "2")]), "x"),
            ("a length that is none", with(&[("content-length", "+1")]), "x"),
            ("the path twice", twice, ""),
            ("a pseudo-header behind another", late, ""),
            ("a pseudo-header of a response", with(&[(":status", "200")]), ""),
            ("an unknown pseudo-header", with(&[(":x", "y")]), ""),
            ("a tunnel", with(&[(":method", "CONNECT")]), ""),
            ("a WebSocket by RFC 8441", with(&[(":method", "CONNECT"), (":protocol", "websocket")]), ""),
            ("an override with an underscore", with(&[("content_length", "1")]), ""),
        ] {
            for far_speaks in BOTH {
                let bytes = request(&fields, body.as_bytes());
                tests.spawn(async move {
                    let (lines, asked) = send(&bytes, far_speaks, Say::No).await;
                    assert!(lines.is_empty(), "{what} reached the far side as {lines:?}");
                    assert!(asked.is_empty(), "{what} was asked about as {asked:?}");
                });
            }
        }
        while let Some(one) = tests.join_next().await {
            one.unwrap();
        }
    });
}

#[test]
fn each_request_of_a_pipeline_is_judged() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::No, far.address);
        let head = "HTTP/1.1\r\nHost: api.example\r\n";
        let answer = stage
            .raw(format!("GET /v1/a {head}\r\nDELETE /v1/volumes/1 {head}\r\nPOST /v1/b {head}Content-Length: 2\r\n\r\n{{}}DELETE /v1/c {head}\r\n").as_bytes())
            .await;
        assert_eq!(far.lines(), ["GET /v1/a", "POST /v1/b"], "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 403").count(), 2, "{answer}");
        assert_eq!(stage.line.asked().len(), 2);
    });
}

#[test]
fn what_is_left_over_is_a_request_of_its_own() {
    run(async {
        for rest in ["GARBAGE", "DELETE /v1/volumes/1", "0\r\n\r\nDELETE /v1/volumes/1 HTTP/1.1\r\nHost: api.example\r\n\r\n"] {
            let far = Far::start(Cloth::Clear).await;
            let stage = Stage::new(Say::No, far.address);
            stage.raw(format!("POST /v1/a HTTP/1.1\r\nHost: api.example\r\nContent-Length: 2\r\n\r\n{{}}{rest}").as_bytes()).await;
            let lines = far.lines();
            assert!(lines.iter().all(|line| line == "POST /v1/a") && lines.len() <= 1, "{rest:?}: {lines:?}");
        }
    });
}

#[test]
fn a_redirect_is_handed_back_and_not_followed() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::Bomb, far.address);
        let answer = stage.raw(b"GET /status/307 HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 307") && answer.contains("/elsewhere"), "{answer}");
        assert_eq!(far.lines(), ["GET /status/307"]);
    });
}

#[test]
fn a_head_without_end_ends_the_connection() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::Bomb, far.address);
        let mut client = stage.connect(API, 80).await;
        let _ = client.write_all(b"GET / HTTP/1.1\r\nHost: api.example\r\n").await;
        // A far side that reads on for ever would let this go on; writing fails once the broker has had enough.
        let line = format!("X-{}: {}\r\n", "a".repeat(100), "b".repeat(8000));
        for _ in 0..200 {
            if client.write_all(line.as_bytes()).await.is_err() {
                break;
            }
        }
        let answer = listen(&mut client).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert!(far.lines().is_empty());
    });
}
