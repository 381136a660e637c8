//! What waits for a person: nothing is sent for a client that has gone, and nothing twice.

use super::*;

const DELETE: &[u8] = b"DELETE /v1/volumes/1 HTTP/1.1\r\nHost: api.example\r\n\r\n";

#[test]
fn a_held_request_is_sent_once_after_a_yes() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::Wait, far.address);
        let mut client = stage.connect(API, 80).await;
        client.write_all(DELETE).await.unwrap();
        until("it is asked", || stage.line.asked().len() == 1).await;
        assert!(far.lines().is_empty());
        stage.line.release();
        assert!(listen(&mut client).await.starts_with("HTTP/1.1 200"));
        assert_eq!(far.lines(), ["DELETE /v1/volumes/1"]);
        assert_eq!(*stage.line.gone.lock().unwrap(), 0);
    });
}

/// The client goes while its request is held: the line hears it, and a yes that comes too late does nothing.
async fn goes(stage: &Stage, far: &Far, sent: &[u8]) {
    let mut client = stage.connect(API, 80).await;
    client.write_all(sent).await.unwrap();
    until("it is asked", || !stage.line.asked().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(client);
    until("the line hears that it has gone", || *stage.line.gone.lock().unwrap() == 1).await;
    stage.line.release();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(far.lines().iter().all(|line| !line.starts_with("DELETE") && !line.starts_with("PUT")), "{:?}", far.lines());
}

#[test]
fn a_client_that_goes_is_not_acted_for() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        goes(&Stage::new(Say::Wait, far.address), &far, DELETE).await;
    });
}

#[test]
fn nor_one_that_goes_with_another_request_unread() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let both = [DELETE, b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n"].concat();
        goes(&Stage::new(Say::Wait, far.address), &far, &both).await;
    });
}

/// Beyond what the kernel buffers, a client's farewell lies behind its unread bytes and cannot be seen before they are read.
#[test]
fn nor_one_that_goes_with_a_part_of_its_body_unread() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let mut put = b"PUT /big HTTP/1.1\r\nHost: api.example\r\nContent-Type: application/json\r\nContent-Length: 8650752\r\n\r\n".to_vec();
        put.resize(put.len() + (8 << 20) + (256 << 10), b' ');
        let stage = Stage::new(Say::Wait, far.address);
        let mut client = stage.connect(API, 80).await;
        let (mut reader, mut writer) = client.split();
        // The broker takes only what it must understand: the rest stays where it is.
        tokio::select! {
            written = writer.write_all(&put) => written.unwrap(),
            () = until("it is asked", || stage.line.asked().len() == 1) => {}
            _ = reader.read_u8() => panic!("answered"),
        }
        until("it is asked", || stage.line.asked().len() == 1).await;
        drop(client);
        until("the line hears that it has gone", || *stage.line.gone.lock().unwrap() == 1).await;
        stage.line.release();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(*far.connections.lock().unwrap(), 0);
    });
}

#[test]
fn an_http2_stream_that_is_reset_is_not_acted_for() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::Wait, far.address);
        let client = stage.connect(API, 80).await;
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::delete("http://api.example/v1/volumes/1").body(Full::new(Bytes::new())).unwrap();
        let waiting = tokio::spawn(sender.send_request(request));
        until("it is asked", || stage.line.asked().len() == 1).await;
        waiting.abort();
        until("the line hears that it has gone", || *stage.line.gone.lock().unwrap() == 1).await;
        stage.line.release();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(far.lines().is_empty());
        // The connection itself lives on.
        let read = http::Request::get("http://api.example/still").body(Full::new(Bytes::new())).unwrap();
        assert_eq!(sender.send_request(read).await.map(|response| response.status().as_u16()).unwrap_or(0), 502, "this far side speaks HTTP/1 only");
    });
}

#[test]
fn two_identical_requests_have_one_digest_and_other_bodies_another() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::No, far.address);
        let delete = |agent: &str, body: &str| {
            format!(
                "DELETE /v1/volumes/1 HTTP/1.1\r\nHost: api.example\r\nUser-Agent: {agent}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        for request in [delete("a", "{}"), delete("b", "{}"), delete("a", "[]")] {
            stage.raw(request.as_bytes()).await;
        }
        let asked = stage.line.asked.lock().unwrap();
        assert_eq!(asked[0].digest, asked[1].digest);
        assert_ne!(asked[0].digest, asked[2].digest);
    });
}
