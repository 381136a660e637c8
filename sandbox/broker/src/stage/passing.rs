//! What passes: plain requests, one after another, with what belongs to them.

use super::*;

#[test]
fn a_read_passes_and_nobody_is_asked() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::Bomb, far.address);
        let answer = stage.raw(b"GET /a?b=c HTTP/1.1\r\nHost: api.example\r\nX-Mine: 1\r\nConnection: x-mine, close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok"), "{answer}");
        let received = far.received.lock().unwrap()[0].clone();
        assert_eq!(received.line, "GET /a?b=c");
        assert_eq!(received.headers["host"], "api.example");
        assert!(!received.headers.contains_key("x-mine") && !received.headers.contains_key("connection"));
        assert_eq!(stage.line.allowed.lock().unwrap().len(), 1);
    });
}

#[test]
fn each_request_of_a_connection_is_judged_by_itself() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::No, far.address);
        let mut client = stage.connect(API, 80).await;
        client.write_all(b"GET /a HTTP/1.1\r\nHost: api.example\r\n\r\n").await.unwrap();
        assert!(listen(&mut client).await.starts_with("HTTP/1.1 200"));
        client.write_all(b"DELETE /v1/volumes/1 HTTP/1.1\r\nHost: api.example\r\n\r\n").await.unwrap();
        let answer = listen(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("the test says no") && answer.contains("x-should-retry: false"), "{answer}");
        // And both at once.
        let both = stage.raw(b"GET /b HTTP/1.1\r\nHost: api.example\r\n\r\nDELETE /v1/volumes/2 HTTP/1.1\r\nHost: api.example\r\n\r\n").await;
        assert!(both.contains("HTTP/1.1 200") && both.contains("HTTP/1.1 403"), "{both}");
        assert_eq!(far.lines(), ["GET /a", "GET /b"]);
        assert_eq!(stage.line.asked().len(), 2);
        assert!(stage.why().contains("the test says no"));
    });
}

#[test]
fn a_permitted_request_is_sent_once_over_a_fresh_connection() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::Yes, far.address);
        stage.raw(b"GET /a HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n").await;
        stage.raw(b"GET /b HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n").await;
        assert_eq!(*far.connections.lock().unwrap(), 1, "reads share a connection");
        let answer = stage.raw(b"DELETE /v1/volumes/1 HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(*far.connections.lock().unwrap(), 2);
        assert_eq!(far.lines(), ["GET /a", "GET /b", "DELETE /v1/volumes/1"]);
        assert_eq!(*stage.line.done.lock().unwrap(), ["answered 200"]);
    });
}

#[test]
fn bodies_chunks_trailers_and_continue() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::Bomb, far.address);
        let answer = stage
            .raw(b"POST /echo HTTP/1.1\r\nHost: api.example\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\nConnection: close\r\n\r\n7\r\n{\"a\":1}\r\n0\r\nx-sum: 5\r\n\r\n")
            .await;
        assert!(answer.ends_with("{\"a\":1}"), "{answer}");
        let received = far.received.lock().unwrap()[0].clone();
        assert_eq!((received.length, received.trailers.unwrap()["x-sum"].as_bytes()), (7, &b"5"[..]));

        let mut client = stage.connect(API, 80).await;
        client
            .write_all(b"POST /echo HTTP/1.1\r\nHost: api.example\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            .await
            .unwrap();
        assert!(listen(&mut client).await.starts_with("HTTP/1.1 100 Continue\r\n\r\n"));
        client.write_all(b"{}").await.unwrap();
        assert!(listen(&mut client).await.ends_with("{}"));

        let answer = stage.raw(b"GET /trailers HTTP/1.1\r\nHost: api.example\r\nTE: trailers\r\nConnection: close\r\n\r\n").await;
        assert!(answer.contains("x-sum: 9"), "{answer}");
        let answer = stage.raw(b"HEAD /size/12345 HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n").await;
        assert!(answer.contains("content-length: 12345") && answer.ends_with("\r\n\r\n"), "{answer}");
        let answer = stage.raw(b"GET /old HTTP/1.0\r\nHost: api.example\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    });
}

#[test]
fn a_redirect_is_the_clients_to_follow() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::Bomb, far.address);
        let answer = stage.raw(b"POST /status/307 HTTP/1.1\r\nHost: api.example\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}").await;
        assert!(answer.starts_with("HTTP/1.1 307") && answer.contains("location: /elsewhere"), "{answer}");
        assert_eq!(far.lines(), ["POST /status/307"]);
    });
}

#[test]
fn the_broker_tells_what_was_refused() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::No, far.address);
        stage.raw(b"DELETE /v1/volumes/1 HTTP/1.1\r\nHost: api.example\r\n\r\n").await;
        let mut client = stage.connect(OWN_NAME, 80).await;
        client.write_all(b"GET /why HTTP/1.1\r\nHost: agentbox.internal\r\nConnection: close\r\n\r\n").await.unwrap();
        let answer = listen(&mut client).await;
        assert!(answer.contains("the test says no") && answer.contains("DELETE http://api.example:80/v1/volumes/1"), "{answer}");
    });
}

#[test]
fn a_bare_address_that_no_place_lists_is_opaque_and_a_listed_one_is_read() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage =
            Stage::with(Say::No, far.address, Vec::new(), "[place.bare]\nhosts = [\"127.0.0.1\"]\nread = \"allow\"\nwrite = \"hold\"\ndestroy = \"hold\"\n");
        let mut client = stage.connect("203.0.113.7", 80).await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: 203.0.113.7\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(listen(&mut client).await.starts_with("HTTP/1.1 403"));
        assert!(stage.line.asked.lock().unwrap()[0].operations.iter().any(|operation| operation.effect == Effect::Opaque));
        let mut client = stage.connect("127.0.0.1", far.address.port()).await;
        let host = format!("127.0.0.1:{}", far.address.port());
        client.write_all(format!("GET /listed HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        assert!(listen(&mut client).await.starts_with("HTTP/1.1 200"));
        assert_eq!(far.lines(), ["GET /listed"]);
    });
}

#[test]
fn http2_in_the_clear_both_sides() {
    run(async {
        let far = Far::start(Cloth::ClearHttp2).await;
        let stage = Stage::new(Say::Bomb, far.address);
        let client = stage.connect(API, 80).await;
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
        tokio::spawn(connection);
        let request =
            http::Request::post("http://api.example/echo").header("content-type", "application/json").body(Full::new(Bytes::from_static(b"[1]"))).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "[1]");
        let wrong = http::Request::get("https://api.example/").body(Full::new(Bytes::new())).unwrap();
        assert_eq!(sender.send_request(wrong).await.unwrap().status(), 400);
        assert_eq!(far.lines(), ["POST http://api.example/echo"]);
    });
}
