//! Whole conversations on the stage: a client, the broker, and a far side that echoes.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf},
    net::TcpStream,
    time::timeout,
};

use super::{
    frames::{self, End, From, Opcode},
    handshake,
    pieces::{Piece, Pieces},
};
use crate::stage::{API, PATIENCE, Say, Stage, run, scripted, until};

/// Our own number in the sample of the RFC.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What the far side heard.
#[derive(Default)]
struct Heard {
    heads: Mutex<Vec<String>>,
    /// Each frame as it came: its opcode, whether it was the last, and its payload.
    frames: Mutex<Vec<(Opcode, End, String)>>,
}

impl Heard {
    fn texts(&self) -> Vec<String> {
        self.frames.lock().unwrap().iter().filter(|(opcode, ..)| *opcode == Opcode::Text).map(|(.., text)| text.clone()).collect()
    }

    fn opcodes(&self) -> Vec<Opcode> {
        self.frames.lock().unwrap().iter().map(|(opcode, ..)| *opcode).collect()
    }
}

async fn head_of(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

/// A far side that agrees to `protocol`, sends each text back behind `echo `, and answers a goodbye.
async fn far(protocol: Option<&'static str>, extra: &'static str) -> (std::net::SocketAddr, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    let ear = heard.clone();
    let (address, _) = scripted(move |mut stream| {
        let ear = ear.clone();
        async move {
            let head = head_of(&mut stream).await;
            let accept = handshake::derive(header(&head, "sec-websocket-key").unwrap());
            ear.heads.lock().unwrap().push(head);
            let protocol = protocol.map_or_else(String::new, |protocol| format!("sec-websocket-protocol: {protocol}\r\n"));
            let yes = format!("HTTP/1.1 101 Yes\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n{protocol}{extra}\r\n");
            stream.write_all(yes.as_bytes()).await.unwrap();
            let (reader, mut writer) = stream.into_split();
            let mut pieces = Pieces::new(reader, From::Client);
            loop {
                let mut out = Vec::new();
                let (opcode, end, bytes) = match pieces.next().await {
                    Ok(Piece::Data { kind, first, end, bytes }) => (Piece::opcode(kind, first), end, bytes),
                    Ok(Piece::Ping(bytes)) => (Opcode::Ping, End::Last, bytes),
                    Ok(Piece::Pong(bytes)) => (Opcode::Pong, End::Last, bytes),
                    Ok(Piece::Close(bytes)) => (Opcode::Close, End::Last, bytes),
                    Ok(Piece::Ended) | Err(_) => return,
                };
                let text = String::from_utf8_lossy(&bytes).into_owned();
                ear.frames.lock().unwrap().push((opcode, end, text.clone()));
                match opcode {
                    Opcode::Text if text == "say goodbye" || text.contains("\"goodbye\"") => {
                        frames::write(&mut out, Opcode::Close, End::Last, b"\x0f\xa0over", None);
                    }
                    Opcode::Text => frames::write(&mut out, Opcode::Text, End::Last, format!("echo {text}").as_bytes(), None),
                    Opcode::Ping => frames::write(&mut out, Opcode::Pong, End::Last, &bytes, None),
                    Opcode::Close => frames::write(&mut out, Opcode::Close, End::Last, &bytes, None),
                    Opcode::Binary | Opcode::Continuation | Opcode::Pong => {}
                }
                if writer.write_all(&out).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (address, heard)
}

struct Client {
    pieces: Pieces<ReadHalf<TcpStream>>,
    writer: WriteHalf<TcpStream>,
    head: String,
}

/// Opens a WebSocket with these further headers.
async fn open(stage: &Stage, headers: &str) -> Client {
    let mut stream = stage.connect(API, 80).await;
    let request = format!(
        "GET /anywhere HTTP/1.1\r\nHost: {API}\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = timeout(PATIENCE, head_of(&mut stream)).await.unwrap();
    let (reader, writer) = tokio::io::split(stream);
    Client { pieces: Pieces::new(reader, From::Server), writer, head }
}

const TRANSPORT: &str = "Sec-WebSocket-Protocol: other, graphql-transport-ws\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";

impl Client {
    async fn frame(&mut self, opcode: Opcode, end: End, payload: &[u8]) {
        let mut out = Vec::new();
        frames::write(&mut out, opcode, end, payload, Some([9, 8, 7, 6]));
        self.writer.write_all(&out).await.unwrap();
    }

    async fn text(&mut self, text: &str) {
        self.frame(Opcode::Text, End::Last, text.as_bytes()).await;
    }

    async fn next(&mut self) -> Piece {
        timeout(PATIENCE, self.pieces.next()).await.unwrap().unwrap()
    }

    async fn hear(&mut self) -> String {
        match self.next().await {
            Piece::Data { bytes, .. } => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

fn start(id: &str, document: &str) -> String {
    serde_json::json!({ "id": id, "type": "subscribe", "payload": { "query": document } }).to_string()
}

#[test]
fn an_ordinary_conversation_passes_and_nobody_is_asked() {
    run(async {
        let (address, heard) = far(Some("graphql-transport-ws"), "set-cookie: a=b\r\n").await;
        let stage = Stage::new(Say::Bomb, address);
        let mut client = open(&stage, TRANSPORT).await;
        assert!(client.head.starts_with("HTTP/1.1 101"), "{}", client.head);
        assert_eq!(header(&client.head, "sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(header(&client.head, "sec-websocket-protocol"), Some("graphql-transport-ws"));
        assert_eq!(header(&client.head, "set-cookie"), Some("a=b"));
        let head = heard.heads.lock().unwrap()[0].clone();
        assert!(header(&head, "sec-websocket-extensions").is_none(), "{head}");
        assert_ne!(header(&head, "sec-websocket-key"), Some(KEY));
        for text in [r#"{"type":"connection_init"}"#, r#"{"type":"ping"}"#, &start("1", "subscription { a }"), &start("2", "mutation { userCreate }")] {
            client.text(text).await;
            assert_eq!(client.hear().await, format!("echo {text}"));
        }
        client.frame(Opcode::Ping, End::Last, b"alive?").await;
        assert_eq!(client.next().await, Piece::Pong("alive?".into()));
        client.frame(Opcode::Close, End::Last, b"\x03\xe8").await;
        assert_eq!(client.next().await, Piece::Close(bytes::Bytes::from_static(b"\x03\xe8")));
        let allowed = stage.line.allowed.lock().unwrap().clone();
        assert_eq!(allowed.len(), 3, "the opening and two operations are written down: {allowed:?}");
    });
}

#[test]
fn a_refused_operation_is_an_error_and_the_conversation_goes_on() {
    run(async {
        let (address, heard) = far(Some("graphql-transport-ws"), "").await;
        let stage = Stage::new(Say::No, address);
        let mut client = open(&stage, TRANSPORT).await;
        client.text(&start("7", "mutation { volumeDelete(id: 1) }")).await;
        let told: serde_json::Value = serde_json::from_str(&client.hear().await).unwrap();
        assert_eq!((told["id"].as_str(), told["type"].as_str()), (Some("7"), Some("error")));
        assert!(told["payload"][0]["message"].as_str().unwrap().contains("the test says no"), "{told}");
        let text = start("8", "{ a }");
        client.text(&text).await;
        assert_eq!(client.hear().await, format!("echo {text}"));
        assert_eq!(heard.texts(), [text]);
        assert!(stage.why().contains("a message on the WebSocket"), "{}", stage.why());
    });
}

#[test]
fn others_pass_one_that_waits_and_what_its_client_ends_is_never_sent() {
    run(async {
        let (address, heard) = far(Some("graphql-transport-ws"), "").await;
        let stage = Stage::new(Say::Wait, address);
        let mut client = open(&stage, TRANSPORT).await;
        let (first, second, other) = (start("1", "mutation { volumeDelete(id: 1) }"), start("2", "mutation { volumeDelete(id: 2) }"), start("3", "{ a }"));
        client.text(&first).await;
        until("the first is asked about", || stage.line.asked().len() == 1).await;
        client.text(&second).await;
        until("both are asked about", || stage.line.asked().len() == 2).await;
        client.text(&other).await;
        assert_eq!(client.hear().await, format!("echo {other}"));
        client.text(r#"{"id":"1","type":"complete"}"#).await;
        until("the first is given up", || *stage.line.gone.lock().unwrap() == 1).await;
        stage.line.release();
        assert_eq!(client.hear().await, format!("echo {second}"));
        assert_eq!(heard.texts(), [other, second]);
        until("its end is told", || *stage.line.done.lock().unwrap() == ["sent"]).await;
    });
}

#[test]
fn a_client_that_goes_is_not_acted_for() {
    run(async {
        let (address, heard) = far(Some("graphql-transport-ws"), "").await;
        let stage = Stage::new(Say::Wait, address);
        let mut client = open(&stage, TRANSPORT).await;
        client.text(&start("1", "mutation { volumeDelete(id: 1) }")).await;
        until("it is asked about", || stage.line.asked().len() == 1).await;
        drop(client);
        until("it is given up", || *stage.line.gone.lock().unwrap() == 1).await;
        stage.line.release();
        assert_eq!(heard.texts(), [""; 0]);
    });
}

#[test]
fn calls_keep_their_order_behind_one_that_waits() {
    run(async {
        let (address, heard) = far(None, "").await;
        let stage = Stage::new(Say::Wait, address);
        let mut client = open(&stage, "").await;
        let call = |id: u32, method: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#);
        let all = [call(1, "user.get"), call(2, "user.delete"), call(3, "user.get")];
        for text in &all {
            client.text(text).await;
        }
        assert_eq!(client.hear().await, format!("echo {}", all[0]));
        until("the second is asked about", || stage.line.asked().len() == 1).await;
        client.frame(Opcode::Ping, End::Last, b"?").await;
        assert_eq!(client.next().await, Piece::Pong("?".into()), "control frames overtake");
        stage.line.release();
        assert_eq!(client.hear().await, format!("echo {}", all[1]));
        assert_eq!(client.hear().await, format!("echo {}", all[2]));
        assert_eq!(heard.texts(), all);
    });
}

#[test]
fn what_cannot_be_read_is_asked_about_once_as_a_whole() {
    run(async {
        let (address, heard) = far(None, "").await;
        let stage = Stage::new(Say::Yes, address);
        let mut client = open(&stage, "").await;
        for text in ["hello", "how are you", r#"{"type":"chat"}"#] {
            client.text(text).await;
            assert_eq!(client.hear().await, format!("echo {text}"));
        }
        client.frame(Opcode::Binary, End::More, &vec![1; 200_000]).await;
        client.frame(Opcode::Continuation, End::Last, b"end").await;
        client.frame(Opcode::Close, End::Last, b"").await;
        assert_eq!(client.next().await, Piece::Close(bytes::Bytes::new()));
        assert_eq!(stage.line.asked(), ["all further messages on the WebSocket http://api.example:80/anywhere"]);
        until("its end is told", || stage.line.done.lock().unwrap().len() == 1).await;
        let sent = 5 + 11 + 15 + 200_003;
        let received = sent - 200_003 + 3 * 5;
        assert_eq!(*stage.line.done.lock().unwrap(), [format!("{sent} bytes sent, {received} bytes received")]);
        assert_eq!(heard.frames.lock().unwrap().iter().filter(|(opcode, ..)| matches!(opcode, Opcode::Binary | Opcode::Continuation)).count(), 5);
    });
}

#[test]
fn a_message_that_has_begun_while_all_waited_goes_on() {
    run(async {
        let (address, heard) = far(None, "").await;
        let stage = Stage::new(Say::Wait, address);
        let mut client = open(&stage, "").await;
        client.text("hello").await;
        until("it is asked about", || stage.line.asked().len() == 1).await;
        client.frame(Opcode::Text, End::More, b"a").await;
        client.frame(Opcode::Ping, End::Last, b"?").await;
        assert_eq!(client.next().await, Piece::Pong("?".into()), "what came before it has been read");
        stage.line.release();
        assert_eq!(client.hear().await, "echo hello");
        assert_eq!(client.hear().await, "echo a");
        client.frame(Opcode::Continuation, End::Last, b"b").await;
        client.frame(Opcode::Close, End::Last, b"").await;
        assert_eq!(client.next().await, Piece::Close(bytes::Bytes::new()));
        let frames = heard.frames.lock().unwrap().clone();
        let data: Vec<_> = frames.iter().filter(|(opcode, ..)| !opcode.is_control()).map(|(opcode, end, text)| (*opcode, *end, text.as_str())).collect();
        assert_eq!(data, [(Opcode::Text, End::Last, "hello"), (Opcode::Text, End::More, "a"), (Opcode::Continuation, End::Last, "b")]);
    });
}

#[test]
fn what_cannot_be_read_and_is_refused_ends_it_with_a_reason() {
    run(async {
        for (kind, payload) in [(Opcode::Text, &b"hello"[..]), (Opcode::Binary, b"\x01"), (Opcode::Text, b"\xff")] {
            let (address, heard) = far(None, "").await;
            let stage = Stage::new(Say::No, address);
            let mut client = open(&stage, "").await;
            client.frame(kind, End::Last, payload).await;
            match client.next().await {
                Piece::Close(bytes) => assert!(bytes.starts_with(b"\x03\xf0agentbox: the test says no"), "{bytes:?}"),
                other => panic!("{other:?}"),
            }
            until("the far side hears of the end", || heard.opcodes() == [Opcode::Close]).await;
        }
    });
}

#[test]
fn an_odd_message_within_graphql_is_asked_about_alone() {
    run(async {
        let (address, heard) = far(Some("graphql-transport-ws"), "").await;
        let stage = Stage::new(Say::No, address);
        let mut client = open(&stage, TRANSPORT).await;
        let init = r#"{"type":"connection_init","payload":{"token":"a"}}"#;
        for text in [init, r#"{"id":"1","type":"execute","payload":{}}"#, r#"{"type":"connection_init","payload":{"token":"b"}}"#] {
            client.text(text).await;
        }
        assert_eq!(client.hear().await, format!("echo {init}"));
        let text = start("2", "{ a }");
        client.text(&text).await;
        assert_eq!(client.hear().await, format!("echo {text}"));
        assert_eq!(heard.texts(), [init.to_owned(), text]);
        until("both odd ones are asked about", || stage.line.asked().len() == 2).await;
    });
}

#[test]
fn a_message_in_pieces_is_judged_and_sent_as_one() {
    run(async {
        let (address, heard) = far(Some("graphql-transport-ws"), "").await;
        let stage = Stage::new(Say::No, address);
        let mut client = open(&stage, TRANSPORT).await;
        for document in ["mutation { volumeDelete(id: 1) }", "{ a }"] {
            let text = start("1", document);
            let (front, back) = text.split_at(text.len() / 2);
            client.frame(Opcode::Text, End::More, front.as_bytes()).await;
            client.frame(Opcode::Ping, End::Last, b"between").await;
            assert_eq!(client.next().await, Piece::Pong("between".into()));
            client.frame(Opcode::Continuation, End::More, b"").await;
            client.frame(Opcode::Continuation, End::Last, back.as_bytes()).await;
            let _ = client.hear().await;
        }
        let frames = heard.frames.lock().unwrap().clone();
        let data: Vec<_> = frames.iter().filter(|(opcode, ..)| !opcode.is_control()).collect();
        assert_eq!(data, [&(Opcode::Text, End::Last, start("1", "{ a }"))]);
    });
}

#[test]
fn what_breaks_the_protocol_ends_it() {
    run(async {
        for bytes in [&[0x81, 0x01, b'x'][..], &[0xc1, 0x80, 0, 0, 0, 0], &[0x80, 0x80, 0, 0, 0, 0], &[0x88, 0x81, 0, 0, 0, 0, 1]] {
            let (address, heard) = far(Some("graphql-transport-ws"), "").await;
            let stage = Stage::new(Say::Bomb, address);
            let mut client = open(&stage, TRANSPORT).await;
            client.writer.write_all(bytes).await.unwrap();
            match client.next().await {
                Piece::Close(payload) => assert!(payload.starts_with(b"\x03\xea"), "{payload:?}"),
                other => panic!("{other:?}"),
            }
            assert_eq!(client.next().await, Piece::Ended);
            assert!(heard.texts().is_empty());
        }
    });
}

#[test]
fn a_message_too_long_to_be_judged_is_refused() {
    run(async {
        let (address, heard) = far(Some("graphql-transport-ws"), "").await;
        let stage = Stage::new(Say::Bomb, address);
        let mut client = open(&stage, TRANSPORT).await;
        let mut head = vec![0x81, 0xff];
        head.extend_from_slice(&(17u64 << 20).to_be_bytes());
        head.extend_from_slice(&[0; 4]);
        client.writer.write_all(&head).await.unwrap();
        let mut writer = client.writer;
        tokio::spawn(async move {
            for _ in 0..17 {
                if writer.write_all(&vec![b' '; 1 << 20]).await.is_err() {
                    return;
                }
            }
        });
        match timeout(PATIENCE, client.pieces.next()).await.unwrap().unwrap() {
            Piece::Close(payload) => assert!(payload.starts_with(b"\x03\xf1"), "{payload:?}"),
            other => panic!("{other:?}"),
        }
        assert!(heard.texts().is_empty());
    });
}

#[test]
fn the_far_sides_goodbye_is_passed_on() {
    run(async {
        let (address, _) = far(Some("graphql-transport-ws"), "").await;
        let stage = Stage::new(Say::Bomb, address);
        let mut client = open(&stage, TRANSPORT).await;
        client.text(&start("goodbye", "{ a }")).await;
        assert_eq!(client.next().await, Piece::Close(bytes::Bytes::from_static(b"\x0f\xa0over")));
        client.frame(Opcode::Close, End::Last, b"\x0f\xa0").await;
        assert_eq!(client.next().await, Piece::Ended);
    });
}

#[test]
fn an_opening_that_is_none_or_that_the_far_side_does_not_answer_is_refused() {
    run(async {
        let (address, heard) = far(Some("mqtt"), "").await;
        let stage = Stage::new(Say::Bomb, address);
        let client = open(&stage, TRANSPORT).await;
        assert!(client.head.starts_with("HTTP/1.1 502"), "{}", client.head);
        let (address, _) = far(Some("graphql-transport-ws"), "sec-websocket-extensions: permessage-deflate\r\n").await;
        let client = open(&Stage::new(Say::Bomb, address), TRANSPORT).await;
        assert!(client.head.starts_with("HTTP/1.1 502"), "{}", client.head);
        let head = "GET / HTTP/1.1\r\nHost: api.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
        for rest in [format!("Sec-WebSocket-Key: {KEY}\r\n\r\n"), "Sec-WebSocket-Version: 13\r\n\r\n".to_owned()] {
            let answer = stage.raw(format!("{head}{rest}").as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
        assert_eq!(heard.heads.lock().unwrap().len(), 1);
    });
}

#[test]
fn an_answer_that_is_no_yes_is_passed_on() {
    run(async {
        let (address, _) = scripted(|mut stream| async move {
            head_of(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 401 No\r\ncontent-length: 4\r\n\r\nnope").await;
        })
        .await;
        let stage = Stage::new(Say::Bomb, address);
        let client = open(&stage, TRANSPORT).await;
        assert!(client.head.starts_with("HTTP/1.1 401"), "{}", client.head);
    });
}
