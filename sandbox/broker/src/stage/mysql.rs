//! MySQL on the stage: servers that break the protocol, clients that speak first, and what is never sent on.

use super::*;

fn packet(number: u8, body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_le_bytes()[..3], &[number], body].concat()
}

fn greeting() -> Vec<u8> {
    let mut body = vec![10];
    body.extend_from_slice(b"8.4.0\0\x07\0\0\x0012345678\0\xff\xff\x2d\x02\0\xff\xdf\x15");
    body.extend_from_slice(&[0; 10]);
    body.extend_from_slice(b"123456789012\0mysql_native_password\0");
    packet(0, &body)
}

const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
const EOF: &[u8] = &[0xfe, 0, 0, 2, 0];

fn login() -> Vec<u8> {
    let flags: u32 = 1 | 8 | 1 << 9 | 1 << 15 | 1 << 17 | 1 << 19;
    let mut body = flags.to_le_bytes().to_vec();
    body.extend_from_slice(&[0, 0, 0, 1, 45]);
    body.extend_from_slice(&[0; 23]);
    body.extend_from_slice(b"u\0\x02abshop\0mysql_native_password\0");
    packet(1, &body)
}

async fn read(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.ok()?;
    let mut body = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16];
    stream.read_exact(&mut body).await.ok()?;
    Some((head[3], body))
}

/// The broker's own question is answered so.
fn facts() -> Vec<u8> {
    let row = b"\x010\x00\x07utf8mb4\x04shop";
    [packet(1, b"\x04"), [2, 3, 4, 5].iter().flat_map(|number| packet(*number, b"\x03def")).collect(), packet(6, EOF), packet(7, row), packet(8, EOF)].concat()
}

/// A server that lets everybody in, and answers each command with `answer`. What it was asked is written down.
async fn server(answer: &'static [(u8, &'static [u8])]) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let asked = heard.clone();
    let (address, _) = scripted(move |mut stream| {
        let asked = asked.clone();
        async move {
            stream.write_all(&greeting()).await.unwrap();
            if read(&mut stream).await.is_none() {
                return;
            }
            stream.write_all(&packet(2, OK)).await.unwrap();
            while let Some((_, body)) = read(&mut stream).await {
                let text = String::from_utf8_lossy(&body).into_owned();
                if text.contains("lower_case_table_names") {
                    stream.write_all(&facts()).await.unwrap();
                    continue;
                }
                asked.lock().unwrap().push(text);
                for (number, body) in answer {
                    stream.write_all(&packet(*number, body)).await.unwrap();
                }
            }
        }
    })
    .await;
    (address, heard)
}

async fn begun(stage: &Stage) -> TcpStream {
    let mut client = stage.connect(API, 3306).await;
    assert_eq!(read(&mut client).await.unwrap().1[0], 10);
    client.write_all(&login()).await.unwrap();
    assert_eq!(read(&mut client).await, Some((2, OK.to_vec())));
    client
}

#[test]
fn what_is_allowed_goes_on_unchanged_and_what_is_refused_does_not() {
    run(async {
        let (address, heard) = server(&[(1, OK)]).await;
        let stage = Stage::new(Say::No, address);
        let mut client = begun(&stage).await;
        client.write_all(&packet(0, b"\x03INSERT INTO t VALUES (1)")).await.unwrap();
        assert_eq!(read(&mut client).await, Some((1, OK.to_vec())));
        client.write_all(&packet(0, b"\x03/*!50000 DROP DATABASE shop */")).await.unwrap();
        let (number, body) = read(&mut client).await.unwrap();
        assert!(number == 1 && body[0] == 0xff && String::from_utf8_lossy(&body).contains("#42000agentbox: refused: the test says no"));
        client.write_all(&packet(0, b"\x0e")).await.unwrap();
        assert_eq!(read(&mut client).await, Some((1, OK.to_vec())));
        assert_eq!(*heard.lock().unwrap(), ["\u{3}INSERT INTO t VALUES (1)", "\u{e}"]);
        assert_eq!(stage.line.asked(), ["mysql://u@api.example:3306/shop /*!50000 DROP DATABASE shop */"]);
    });
}

#[test]
fn a_server_that_breaks_the_protocol_ends_the_session() {
    // A file that nobody asked for, a column that was not announced, progress in an error, a result that is none.
    for answer in [&[(1, &b"\xfb/etc/passwd"[..])][..], &[(1, b"\x01"), (2, b"\x03def"), (3, b"\x03def")], &[(1, b"\xff\xff\xff\x01")], &[(1, b"\xfe\x01")]] {
        let answer: &'static [(u8, &'static [u8])] = Box::leak(answer.to_vec().into_boxed_slice());
        run(async {
            let (address, _) = server(answer).await;
            let stage = Stage::new(Say::Bomb, address);
            let mut client = begun(&stage).await;
            client.write_all(&packet(0, b"\x03SELECT 1")).await.unwrap();
            while let Some((_, body)) = read(&mut client).await {
                assert_ne!(body.first(), Some(&0xfb), "the client is not asked for its file");
            }
        });
    }
}

#[test]
fn a_client_that_breaks_the_protocol_is_told_so_and_nothing_is_sent() {
    for broken in [packet(1, b"\x03SELECT 1"), packet(0, b""), packet(0, b"\x17\x01"), vec![1, 0, 0, 7, 3]] {
        run(async {
            let (address, heard) = server(&[(1, OK)]).await;
            let stage = Stage::new(Say::Bomb, address);
            let mut client = begun(&stage).await;
            client.write_all(&broken).await.unwrap();
            let (_, body) = read(&mut client).await.unwrap();
            assert!(String::from_utf8_lossy(&body).contains("protocol error"), "{broken:?}");
            assert!(read(&mut client).await.is_none());
            assert!(heard.lock().unwrap().is_empty(), "{broken:?}");
        });
    }
}

#[test]
fn a_client_that_speaks_first_is_served_as_on_any_other_port() {
    run(async {
        // A far side that says nothing until it is spoken to.
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::No, far.address);
        let mut client = stage.connect(API, 3306).await;
        client.write_all(b"GET /first HTTP/1.1\r\nHost: api.example:3306\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(listen(&mut client).await.starts_with("HTTP/1.1 200"));
        assert_eq!(far.lines(), ["GET /first"]);
    });
}

#[test]
fn what_greets_otherwise_is_told_to_be_something_else() {
    run(async {
        let (address, _) = scripted(|mut stream| async move {
            stream.write_all(b"SSH-2.0-x\r\n").await.unwrap();
            let _ = stream.read_u8().await;
        })
        .await;
        let stage = Stage::new(Say::Bomb, address);
        let mut client = stage.connect(API, 3306).await;
        let mut told = Vec::new();
        client.shutdown().await.unwrap();
        let _ = client.read_to_end(&mut told).await;
        assert!(told.is_empty() || told[4] == 0xff, "{told:?}");
    });
}

#[test]
fn a_packet_that_comes_ahead_of_the_servers_word_is_no_part_of_the_log_in() {
    run(async {
        let (address, _) = scripted(|mut stream| async move {
            stream.write_all(&greeting()).await.unwrap();
            let _ = read(&mut stream).await;
            stream.write_all(&packet(2, b"\xfecaching_sha2_password\x0012345678901234567890\0")).await.unwrap();
            assert!(read(&mut stream).await.is_none(), "what is no answer is not sent on");
        })
        .await;
        let stage = Stage::new(Say::Bomb, address);
        let mut client = stage.connect(API, 3306).await;
        assert_eq!(read(&mut client).await.unwrap().1[0], 10);
        client.write_all(&[login(), packet(0, b"\x03DROP TABLE t")].concat()).await.unwrap();
        while read(&mut client).await.is_some() {}
    });
}

#[test]
fn a_client_that_goes_while_it_waits_is_not_acted_for() {
    run(async {
        let (address, heard) = server(&[(1, OK)]).await;
        let stage = Stage::new(Say::Wait, address);
        let mut client = begun(&stage).await;
        client.write_all(&packet(0, b"\x03TRUNCATE t")).await.unwrap();
        until("it is asked", || stage.line.asked().len() == 1).await;
        drop(client);
        until("the line hears that it has gone", || *stage.line.gone.lock().unwrap() == 1).await;
        stage.line.release();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(heard.lock().unwrap().is_empty());
    });
}
