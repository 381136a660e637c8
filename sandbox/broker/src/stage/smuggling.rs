//! What never passes: requests with two readings, and those that lead elsewhere than their connection does.

use super::*;

/// None of these reaches the far side; the answer has this status, or the connection just ends.
async fn refused(bytes: impl AsRef<[u8]>, status: &str) {
    let bytes = bytes.as_ref();
    let far = Far::start(Cloth::Clear).await;
    let stage = Stage::new(Say::Bomb, far.address);
    let answer = stage.raw(bytes).await;
    let bytes = String::from_utf8_lossy(bytes);
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{bytes:?} was answered {answer:?}");
    assert!(far.lines().is_empty(), "{bytes:?} reached the far side as {:?}", far.lines());
}

const INNER: &str = "0\r\n\r\nDELETE /v1/volumes/1 HTTP/1.1\r\nHost: api.example\r\n\r\n";

#[test]
fn lengths_that_disagree() {
    run(async {
        let length = INNER.len();
        for encoding in [
            "Transfer-Encoding : chunked",
            "Transfer-Encoding:\tchunked",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: identity, chunked",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding:\x0bchunked",
            " Transfer-Encoding: chunked",
            "X: 1\n Transfer-Encoding: chunked",
            "X: 1\r\n folded",
            "Transfer-Encoding\n: chunked",
        ] {
            refused(format!("POST / HTTP/1.1\r\nHost: api.example\r\nContent-Length: {length}\r\n{encoding}\r\n\r\n{INNER}"), "400").await;
            refused(format!("POST / HTTP/1.1\r\nHost: api.example\r\n{encoding}\r\nContent-Length: {length}\r\n\r\n{INNER}"), "400").await;
        }
    });
}

#[test]
fn odd_heads() {
    run(async {
        let mut all = tokio::task::JoinSet::new();
        for (bytes, status) in [
            ("POST / HTTP/1.1\r\nHost: api.example\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "400"),
            ("POST / HTTP/1.1\r\nHost: api.example\r\nContent-Length: -1\r\n\r\nx", "400"),
            ("POST / HTTP/1.1\r\nHost: api.example\r\nContent-Length: 0x1\r\n\r\nx", "400"),
            ("GET / HTTP/1.1\r\nHost: api.example\r\nHost: api.example\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\n\r\n", "400"),
            ("GET / HTTP/1.1\nHost: api.example\n\n", "400"),
            ("GET / HTTP/1.1\r\nHost: api.example\r\nX: a\0b\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: api.example\r\nX Y: a\r\n\r\n", "400"),
            ("GET /  HTTP/1.1\r\nHost: api.example\r\n\r\n", "400"),
            ("GET / HTTP/9.9\r\nHost: api.example\r\n\r\n", "400"),
            ("OPTIONS * HTTP/1.1\r\nHost: api.example\r\n\r\n", "400"),
            ("GET http://api.example/ HTTP/1.1\r\nHost: api.example\r\n\r\n", "400"),
            ("GET http://other.example/ HTTP/1.1\r\nHost: api.example\r\n\r\n", "400"),
            ("CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n", "405"),
            ("GET / HTTP/1.1\r\nHost: api.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "426"),
            ("GET / HTTP/1.1\r\nHost: api.example\r\nConnection: Upgrade\r\nUpgrade: tls/1.2\r\n\r\n", "501"),
            ("POST / HTTP/1.1\r\nHost: api.example\r\nExpect: magic\r\nContent-Length: 0\r\n\r\n", "417"),
            ("GET / HTTP/1.1\r\nHost: victim.example\r\n\r\n", "421"),
            ("GET / HTTP/1.1\r\nHost: api.example:8080\r\n\r\n", "421"),
            ("GET / HTTP/1.1\r\nHost: allowed@api.example\r\n\r\n", "421"),
            ("GET / HTTP/1.1\r\nHost: 2130706433\r\n\r\n", "421"),
            ("GET / HTTP/1.1\r\nHost: 0x7f.1\r\n\r\n", "421"),
            ("GET / HTTP/1.1\r\nHost: api.example\u{3002}\r\n\r\n", "421"),
        ] {
            all.spawn(refused(bytes, status));
        }
        while let Some(one) = all.join_next().await {
            one.unwrap();
        }
    });
}

#[test]
fn host_names_are_compared_as_names() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::Bomb, far.address);
        for host in ["API.Example", "api.example.", "api.example:80"] {
            let answer = stage.raw(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
        }
        assert!(far.received.lock().unwrap().iter().all(|received| received.headers["host"] == "api.example"), "what is sent on is the one spelling");
    });
}

#[test]
fn a_tunnel_leads_nowhere_even_when_the_client_goes_on() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::No, far.address);
        let answer =
            stage.raw(b"CONNECT api.example:80 HTTP/1.1\r\nHost: api.example:80\r\n\r\nDELETE /v1/volumes/1 HTTP/1.1\r\nHost: api.example\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
        assert!(far.lines().is_empty());
    });
}

#[test]
fn chunks_that_are_not_plain() {
    run(async {
        for chunks in ["3;x=y\r\nabc\r\n0\r\n\r\n", "0x3\r\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n", "3\nabc\r\n0\r\n\r\n", "-3\r\nabc\r\n0\r\n\r\n"] {
            let far = Far::start(Cloth::Clear).await;
            let stage = Stage::new(Say::Bomb, far.address);
            let head = "POST / HTTP/1.1\r\nHost: api.example\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            let answer = stage.raw(format!("{head}{chunks}").as_bytes()).await;
            assert!(!answer.contains("200 OK"), "{chunks:?}: {answer}");
            assert!(far.lines().is_empty(), "{chunks:?}");
        }
    });
}

#[test]
fn a_header_named_in_connection_is_gone_before_it_is_judged() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::No, far.address);
        // Judged as JSON, sent on without saying so, it would be another request than the judged one.
        let answer = stage
            .raw(b"POST /graphql HTTP/1.1\r\nHost: api.example\r\nConnection: x-http-method-override\r\nX-HTTP-Method-Override: DELETE\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
            .await;
        let received = far.received.lock().unwrap();
        assert!(received.iter().all(|received| !received.headers.contains_key("x-http-method-override")), "{answer}");
    });
}

#[test]
fn trailers_are_judged_as_headers_too() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::No, far.address);
        let answer = stage
            .raw(b"POST /v1/volumes/1 HTTP/1.1\r\nHost: api.example\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: x-http-method-override\r\n\r\n2\r\n{}\r\n0\r\nX-HTTP-Method-Override: DELETE\r\n\r\n")
            .await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert!(far.lines().is_empty());
    });
}

#[test]
fn nobody_proves_anything_in_trailers() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::Yes, far.address);
        let read = "POST /v1/x HTTP/1.1\r\nHost: api.example\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nX-Api-Key: short\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n";
        // A call that streams was judged before its trailers come.
        let streams = "POST /shop.v1.Orders/GetOrder HTTP/1.1\r\nHost: api.example\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\nX-Api-Key: short\r\nConnection: close\r\n\r\n5\r\n\0\0\0\0\0\r\n0\r\n";
        // Whole ones: a body that breaks off is none.
        let arrived = || far.received.lock().unwrap().len();
        for request in [read, streams] {
            for trailer in ["X-Api-Key: other", "Cookie: session=other", "Authorization: Bearer other", "X-HTTP-Method-Override: DELETE", "Connection: x-sum"] {
                let before = arrived();
                let answer = stage.raw(format!("{request}{trailer}\r\n\r\n").as_bytes()).await;
                let is_judged = request == read && trailer.starts_with("X-HTTP");
                assert_eq!(arrived() - before, usize::from(is_judged), "{trailer}: {answer}");
            }
            let before = arrived();
            let answer = stage.raw(format!("{request}X-Sum: 5\r\n\r\n").as_bytes()).await;
            assert_eq!(arrived() - before, 1, "{answer}");
        }
    });
}

#[test]
fn method_overrides_are_judged_by_what_they_become() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::No, far.address);
        let answer = stage.raw(b"POST /v1/volumes/1 HTTP/1.1\r\nHost: api.example\r\nX-HTTP-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert!(far.lines().is_empty());
    });
}

#[test]
fn bytes_that_are_no_protocol_are_asked_about_as_a_whole() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::No, far.address);
        let answer = stage.raw(b"\x00\x00\x00\x08\xffSMB").await;
        assert!(answer.is_empty(), "{answer}");
        assert_eq!(stage.line.asked(), ["an opaque connection to api.example:80"]);
        assert_eq!(*far.connections.lock().unwrap(), 0);
    });
}
