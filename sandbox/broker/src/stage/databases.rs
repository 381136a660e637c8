//! PostgreSQL on the stage: servers that break the protocol, clients that do, and what is never sent on.

use super::*;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}

fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = vec![0, 3, 0, 0];
    for (name, value) in parameters {
        body.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
    }
    body.push(0);
    [&u32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], &body].concat()
}

const ME: &[(&str, &str)] = &[("user", "u"), ("database", "d")];

async fn read(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await.ok()?;
    let mut body = vec![0; stream.read_u32().await.ok()? as usize - 4];
    stream.read_exact(&mut body).await.ok()?;
    Some((kind, body))
}

/// A server that lets everybody in, and answers each query with `answer`. What it was asked is written down.
async fn server(answer: &'static [(u8, &'static [u8])]) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let asked = heard.clone();
    let (address, _) = scripted(move |mut stream| {
        let asked = asked.clone();
        async move {
            let length = stream.read_u32().await.unwrap();
            let mut body = vec![0; length as usize - 4];
            stream.read_exact(&mut body).await.unwrap();
            let welcome = [message(b'R', &[0; 4]), message(b'S', b"search_path\0public\0"), message(b'Z', b"I")].concat();
            stream.write_all(&welcome).await.unwrap();
            while let Some((kind, body)) = read(&mut stream).await {
                asked.lock().unwrap().push(format!("{}{}", char::from(kind), String::from_utf8_lossy(&body).trim_end_matches('\0')));
                for (kind, body) in answer {
                    stream.write_all(&message(*kind, body)).await.unwrap();
                }
            }
        }
    })
    .await;
    (address, heard)
}

async fn begun(stage: &Stage) -> TcpStream {
    let mut client = stage.connect(API, 5432).await;
    client.write_all(&startup(ME)).await.unwrap();
    while let Some((kind, _)) = read(&mut client).await {
        if kind == b'Z' {
            break;
        }
    }
    client
}

#[test]
fn what_is_allowed_goes_on_unchanged_and_what_is_refused_does_not() {
    run(async {
        let (address, heard) = server(&[(b'C', b"SELECT 1\0"), (b'Z', b"I")]).await;
        let stage = Stage::new(Say::No, address);
        let mut client = begun(&stage).await;
        client.write_all(&message(b'Q', b"SELECT 1\0")).await.unwrap();
        assert_eq!(read(&mut client).await.unwrap().0, b'C');
        assert_eq!(read(&mut client).await.unwrap().0, b'Z');
        client.write_all(&message(b'Q', b"DROP TABLE t\0")).await.unwrap();
        until("it is asked", || !stage.line.asked().is_empty()).await;
        until("something fails in its place", || heard.lock().unwrap().len() == 2).await;
        let heard = heard.lock().unwrap().clone();
        assert_eq!(heard[0], "QSELECT 1");
        assert!(heard[1].starts_with("Qagentbox_refused_") && !heard[1].contains("DROP"), "{heard:?}");
        assert_eq!(stage.line.asked(), ["postgres://u@api.example:5432/d DROP TABLE t"]);
        assert!(stage.why().contains("the test says no"));
    });
}

#[test]
fn a_server_that_breaks_the_protocol_ends_the_session() {
    // Nobody knows any more what its answers speak of.
    for answer in [
        &[(b'1', &b""[..]), (b'Z', b"I")][..],
        &[(b'G', b"\0\0\0")],
        &[(b'W', b"\0\0\0")],
        &[(b'C', b"SELECT 1\0"), (b'Z', b"I"), (b'Z', b"I")],
        &[(b'Z', b"X")],
        &[(b'?', b"")],
    ] {
        let answer: &'static [(u8, &'static [u8])] = Box::leak(answer.to_vec().into_boxed_slice());
        run(async {
            let (address, _) = server(answer).await;
            let stage = Stage::new(Say::Bomb, address);
            let mut client = begun(&stage).await;
            client.write_all(&message(b'Q', b"SELECT 1\0")).await.unwrap();
            while read(&mut client).await.is_some() {}
        });
    }
}

#[test]
fn a_client_that_breaks_the_protocol_is_told_so_and_nothing_is_sent() {
    let long = "n".repeat(64);
    for broken in [
        message(b'Q', b"SELECT 1\0DROP TABLE t\0"),
        message(b'Q', b"SELECT 1"),
        message(b'P', format!("{long}\0SELECT 1\0\0\0").as_bytes()),
        message(b'B', b"\0\0\0\x01"),
        message(b'E', b"\0\0"),
        message(b'R', &[0; 4]),
        vec![b'Q', 0xff, 0xff, 0xff, 0xff],
        vec![b'Q', 0, 0, 0, 3],
    ] {
        run(async {
            let (address, heard) = server(&[(b'Z', b"I")]).await;
            let stage = Stage::new(Say::Bomb, address);
            let mut client = begun(&stage).await;
            client.write_all(&broken).await.unwrap();
            let (kind, body) = read(&mut client).await.unwrap();
            assert!(kind == b'E' && String::from_utf8_lossy(&body).contains("08P01"), "{broken:?}");
            assert!(read(&mut client).await.is_none());
            assert!(heard.lock().unwrap().is_empty(), "{broken:?}");
        });
    }
}

#[test]
fn a_host_that_is_passed_through_is_asked_about_as_a_whole() {
    run(async {
        let (address, heard) = server(&[(b'Z', b"I")]).await;
        let stage = Stage::with(Say::Yes, address, Vec::new(), "pass-through = [\"api.example\"]\n");
        let mut client = begun(&stage).await;
        client.write_all(&message(b'Q', b"DROP TABLE t\0")).await.unwrap();
        until("it is sent", || heard.lock().unwrap().len() == 1).await;
        assert_eq!(stage.line.asked(), ["an opaque connection to api.example:5432"]);
    });
}

#[test]
fn beginnings() {
    run(async {
        let (address, heard) = server(&[]).await;
        let stage = Stage::new(Say::No, address);
        for (first, wanted) in [
            (startup(&[("user", "u"), ("replication", "true")]), "replication"),
            (startup(&[("database", "d")]), "names no user"),
            (startup(&[("user", "u"), ("_pq_.x", "1")]), "08P01"),
            (startup(&[("user", "u"), ("options", "-c session_replication_role=replica")]), "42501"),
        ] {
            let mut client = stage.connect(API, 5432).await;
            client.write_all(&first).await.unwrap();
            let (kind, body) = read(&mut client).await.unwrap();
            assert!(kind == b'E' && String::from_utf8_lossy(&body).contains(wanted), "{wanted}: {}", String::from_utf8_lossy(&body));
        }
        // GSSAPI is declined, and the session may begin.
        let mut client = stage.connect(API, 5432).await;
        client.write_all(b"\0\0\0\x08\x04\xd2\x16\x30").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'N');
        client.write_all(&startup(ME)).await.unwrap();
        assert_eq!(read(&mut client).await.unwrap().0, b'R');
        // A request to cancel with a key that nobody was given goes nowhere.
        let mut client = stage.connect(API, 5432).await;
        client.write_all(b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07abcd").await.unwrap();
        assert!(read(&mut client).await.is_none());
        assert!(heard.lock().unwrap().is_empty());
    });
}

#[test]
fn a_client_that_goes_while_it_waits_is_not_acted_for() {
    run(async {
        let (address, heard) = server(&[(b'Z', b"I")]).await;
        let stage = Stage::new(Say::Wait, address);
        let mut client = begun(&stage).await;
        client.write_all(&message(b'Q', b"TRUNCATE t\0")).await.unwrap();
        until("it is asked", || stage.line.asked().len() == 1).await;
        drop(client);
        until("the line hears that it has gone", || *stage.line.gone.lock().unwrap() == 1).await;
        stage.line.release();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(heard.lock().unwrap().is_empty());
    });
}

#[test]
fn a_statement_that_is_too_long_to_be_read_goes_nowhere() {
    run(async {
        let (address, heard) = server(&[(b'Z', b"I")]).await;
        let stage = Stage::new(Say::Bomb, address);
        let mut client = begun(&stage).await;
        // A statement that is longer than what is read is refused without being asked about, and its bytes go nowhere.
        let mut long = b"DELETE FROM t ".to_vec();
        long.resize(17 << 20, b' ');
        long.push(0);
        client.write_all(&message(b'Q', &long)).await.unwrap();
        until("something fails in its place", || heard.lock().unwrap().len() == 1).await;
        assert!(heard.lock().unwrap()[0].starts_with("Qagentbox_refused_"));
        assert!(stage.why().contains("16777216"), "{}", stage.why());
    });
}
