//! Redis on the stage: servers that break the protocol, clients that do, and what is never sent on.

use super::*;

/// A server that answers every line that ends a command with what `answer` says of all it has heard on this connection.
async fn server(answer: fn(&str) -> Option<&'static str>) -> (SocketAddr, Arc<Mutex<String>>) {
    let heard: Arc<Mutex<String>> = Arc::default();
    let written = heard.clone();
    let (address, _) = scripted(move |mut stream| {
        let heard = written.clone();
        async move {
            let mut bytes = [0; 4096];
            let mut left = String::new();
            while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                heard.lock().unwrap().push_str(&text);
                left.push_str(&text);
                // Commands of these tests have no values with a star in them.
                while let Some(at) = left.get(1..).and_then(|rest| rest.find('*')).map(|at| at + 1).or_else(|| left.ends_with("\r\n").then_some(left.len()))
                    && at > 0
                {
                    let command: String = left.drain(..at).collect();
                    let told = if command.contains("agentbox_refused_") { Some("-ERR unknown command\r\n") } else { answer(&command) };
                    if let Some(told) = told {
                        stream.write_all(told.as_bytes()).await.unwrap();
                    }
                    if left.is_empty() {
                        break;
                    }
                }
            }
        }
    })
    .await;
    (address, heard)
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    text.into_bytes()
}

async fn lines(client: &mut TcpStream, count: usize) -> Vec<String> {
    let mut text = Vec::new();
    while text.iter().filter(|byte| **byte == b'\n').count() < count {
        match client.read_u8().await {
            Ok(byte) => text.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_refusal_stands_in_its_place_in_the_pipeline() {
    run(async {
        let (address, heard) = server(|command| Some(if command.contains("GET") { "$1\r\nv\r\n" } else { "+OK\r\n" })).await;
        let stage = Stage::new(Say::No, address);
        let mut client = stage.connect(API, 6379).await;
        let all = [command(&["SET", "k", "v"]), command(&["FLUSHALL"]), command(&["GET", "k"]), b"FLUSHDB\r\nGET \"k\"\r\n".to_vec()].concat();
        client.write_all(&all).await.unwrap();
        let lines = lines(&mut client, 7).await;
        assert_eq!((lines[0].as_str(), lines[3].as_str(), lines[6].as_str()), ("+OK", "v", "v"), "{lines:?}");
        assert!(lines[1].starts_with("-AGENTBOX refused: the test says no") && lines[4].starts_with("-AGENTBOX refused"), "{lines:?}");
        assert_eq!(stage.line.asked(), ["redis://api.example:6379/0 FLUSHALL", "redis://api.example:6379/0 FLUSHDB"]);
        let heard = heard.lock().unwrap().clone();
        assert!(!heard.contains("FLUSH") && heard.ends_with("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), "{heard}");
    });
}

#[test]
fn a_transaction_is_asked_about_at_its_end_and_only_if_the_server_has_one() {
    fn gathers(command: &str) -> Option<&'static str> {
        Some(match () {
            () if command.contains("MULTI") || command.contains("DISCARD") => "+OK\r\n",
            () => "+QUEUED\r\n",
        })
    }
    run(async {
        let (address, heard) = server(gathers).await;
        let stage = Stage::new(Say::No, address);
        let mut client = stage.connect(API, 6379).await;
        client.write_all(&[command(&["MULTI"]), command(&["DEL", "a"]), command(&["DEL", "b"]), command(&["EXEC"])].concat()).await.unwrap();
        let lines = lines(&mut client, 4).await;
        assert!(lines[..3] == ["+OK", "+QUEUED", "+QUEUED"] && lines[3].starts_with("-AGENTBOX refused"), "{lines:?}");
        assert_eq!(stage.line.asked(), ["redis://api.example:6379/0 EXEC of 2 commands that must be asked about"]);
        assert!(heard.lock().unwrap().ends_with("*1\r\n$7\r\nDISCARD\r\n"));
    });
    run(async {
        let (address, heard) = server(|_| Some("-ERR no\r\n")).await;
        let stage = Stage::new(Say::No, address);
        let mut client = stage.connect(API, 6379).await;
        client.write_all(&[command(&["MULTI"]), command(&["DEL", "a"])].concat()).await.unwrap();
        assert!(lines(&mut client, 2).await[1].starts_with("-AGENTBOX refused"));
        assert!(!heard.lock().unwrap().contains("DEL"));
    });
}

#[test]
fn a_server_that_breaks_the_protocol_ends_the_session() {
    for answer in ["?\r\n", "+OK\r\n+OK\r\n", "*1\r\n", "$5\r\nabc\r\n+\r\n:1\r\n"] {
        let answer: &'static str = Box::leak(answer.to_owned().into_boxed_str());
        run(async move {
            let (address, _) = scripted(move |mut stream| async move {
                let _ = stream.read_u8().await;
                stream.write_all(answer.as_bytes()).await.unwrap();
            })
            .await;
            let stage = Stage::new(Say::Bomb, address);
            let mut client = stage.connect(API, 6379).await;
            client.write_all(&command(&["GET", "k"])).await.unwrap();
            let mut all = Vec::new();
            let _ = client.read_to_end(&mut all).await;
        });
    }
}

#[test]
fn a_client_that_breaks_the_protocol_is_told_so_and_nothing_is_sent() {
    for broken in ["*1\rX$8\rXFLUSHALL\rX\n", "*-1\r\n", "*1\r\n$-1\r\n", "SET \"a\r\n", "*1\r\n$4\r\nPINGxx"] {
        run(async move {
            let (address, heard) = server(|_| Some("+OK\r\n")).await;
            let stage = Stage::new(Say::Bomb, address);
            let mut client = stage.connect(API, 6379).await;
            client.write_all(broken.as_bytes()).await.unwrap();
            assert!(lines(&mut client, 1).await[0].starts_with("-AGENTBOX protocol error"), "{broken:?}");
            assert!(client.read_u8().await.is_err());
            assert!(heard.lock().unwrap().is_empty(), "{broken:?}");
        });
    }
}

#[test]
fn a_command_that_is_too_long_goes_nowhere_and_a_long_value_streams() {
    run(async {
        let (length, refused): (Arc<Mutex<usize>>, Arc<Mutex<bool>>) = Default::default();
        let (count, seen) = (length.clone(), refused.clone());
        let (address, _) = scripted(move |mut stream| {
            let (count, seen) = (count.clone(), seen.clone());
            async move {
                let mut bytes = vec![0; 1 << 20];
                while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                    *count.lock().unwrap() += read;
                    if bytes[..read].windows(17).any(|window| window == b"agentbox_refused_") {
                        *seen.lock().unwrap() = true;
                        stream.write_all(b"-ERR unknown command\r\n").await.unwrap();
                    }
                }
            }
        })
        .await;
        let stage = Stage::new(Say::Bomb, address);
        let mut client = stage.connect(API, 6379).await;
        let long = "x".repeat(17 << 20);
        client.write_all(&command(&["EVAL", &long, "0"])).await.unwrap();
        assert!(lines(&mut client, 1).await[0].contains("16777216"));
        assert!(*refused.lock().unwrap() && *length.lock().unwrap() < 1000, "its bytes go nowhere");
        client.write_all(&command(&["SET", "k", &long])).await.unwrap();
        until("all of it comes", || *length.lock().unwrap() > long.len()).await;
    });
}

#[test]
fn a_client_that_goes_while_it_waits_is_not_acted_for() {
    run(async {
        let (address, heard) = server(|_| Some("+OK\r\n")).await;
        let stage = Stage::new(Say::Wait, address);
        let mut client = stage.connect(API, 6379).await;
        client.write_all(&command(&["FLUSHALL"])).await.unwrap();
        until("it is asked", || stage.line.asked().len() == 1).await;
        drop(client);
        until("the line hears that it has gone", || *stage.line.gone.lock().unwrap() == 1).await;
        stage.line.release();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(heard.lock().unwrap().is_empty());
    });
}
