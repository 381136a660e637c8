//! Far sides that hang, break off, lie and talk nonsense: the client learns what happened, and nothing is sent twice.

use super::*;

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n";
const DELETE: &[u8] = b"DELETE /a HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n";

async fn head(stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

async fn answers(script: &'static [u8], request: &[u8]) -> (String, u32, Vec<String>) {
    let (address, connections) = scripted(move |mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(script).await;
    })
    .await;
    let stage = Stage::new(Say::Yes, address);
    let answer = stage.raw(request).await;
    let count = *connections.lock().unwrap();
    let done = stage.line.done.lock().unwrap().clone();
    (answer, count, done)
}

#[test]
fn garbage_and_silence_are_told_and_not_tried_again() {
    run(async {
        for script in
            [&b"garbage garbage garbage\r\n\r\n"[..], b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: nonsense", b"HTTP/1.1 999999 X\r\n\r\n"]
        {
            for request in [GET, DELETE] {
                let (answer, connections, done) = answers(script, request).await;
                assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("agentbox_upstream"), "{script:?}: {answer}");
                assert_eq!(connections, 1, "{script:?} was asked twice");
                if request == DELETE {
                    assert!(done[0].contains("broke off"), "{done:?}");
                }
            }
        }
    });
}

#[test]
fn a_short_body_breaks_off_on_our_side_too() {
    run(async {
        let (answer, _, _) = answers(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", GET).await;
        assert!(answer.contains("content-length: 10") && answer.ends_with("short"), "the length is not mended: {answer}");
        let (answer, _, _) = answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", GET).await;
        assert!(!answer.ends_with("0\r\n\r\n"), "the end is not made up: {answer}");
    });
}

#[test]
fn nobody_there() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let stage = Stage::new(Say::Yes, address);
        let answer = stage.raw(DELETE).await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("connection refused"), "{answer}");
        assert!(stage.line.done.lock().unwrap()[0].starts_with("nothing was sent"), "{:?}", stage.line.done.lock().unwrap());
        assert_eq!(stage.line.redeemed.load(std::sync::atomic::Ordering::Relaxed), 0, "the yes is given back unused");
    });
}

#[test]
fn a_used_connection_that_was_closed_is_replaced_for_a_read() {
    run(async {
        let (address, connections) = scripted(|mut stream| async move {
            head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            // Closed without a word, as idle servers do.
        })
        .await;
        let stage = Stage::new(Say::Bomb, address);
        for _ in 0..5 {
            assert!(stage.raw(GET).await.ends_with("ok"));
        }
        assert_eq!(*connections.lock().unwrap(), 5);
    });
}

#[test]
fn a_used_connection_that_breaks_after_the_request_is_no_reason_to_send_it_again() {
    run(async {
        let (address, connections) = scripted(|mut stream| async move {
            head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            head(&mut stream).await;
        })
        .await;
        let stage = Stage::new(Say::Bomb, address);
        assert!(stage.raw(GET).await.ends_with("ok"));
        let answer = stage.raw(b"POST /b HTTP/1.1\r\nHost: api.example\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}").await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
        assert_eq!(*connections.lock().unwrap(), 1);
    });
}

#[test]
fn a_far_side_near_by_that_nobody_named_is_not_connected_to() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::Yes, far.address);
        let mut client = stage.connect("127.0.0.1", far.address.port()).await;
        let request = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", far.address.port());
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = listen(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("local or private"), "{answer}");
        assert_eq!(*far.connections.lock().unwrap(), 0);
    });
}

#[test]
fn a_line_that_is_gone_refuses() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let (gate, ended) = crate::remote_gate::RemoteGate::start(ours).unwrap();
        let mut stage = Stage::new(Say::Bomb, far.address);
        let broker = Arc::get_mut(&mut stage.broker).unwrap();
        broker.line = Box::new(crate::line::Supervisor { gate, session: "s".into() });
        drop(theirs);
        ended.await;
        for request in [GET, DELETE] {
            let answer = stage.raw(request).await;
            assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("supervisor"), "{answer}");
        }
        assert!(far.lines().is_empty());
    });
}
