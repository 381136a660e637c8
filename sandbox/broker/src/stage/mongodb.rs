//! MongoDB on the stage: recorded bytes of drivers, what is no message, and what is never sent on.

use super::*;

/// `{NAME: VALUE, $db: "shop"}`.
fn document(name: &str, value: &str) -> Vec<u8> {
    let mut fields = Vec::new();
    for (name, value) in [(name, value), ("$db", "shop")] {
        fields.push(2);
        fields.extend_from_slice(name.as_bytes());
        fields.push(0);
        fields.extend_from_slice(&u32::try_from(value.len() + 1).unwrap().to_le_bytes());
        fields.extend_from_slice(value.as_bytes());
        fields.push(0);
    }
    [&u32::try_from(fields.len() + 5).unwrap().to_le_bytes()[..], &fields, &[0]].concat()
}

fn message(number: u32, answers: u32, flags: u32, document: &[u8]) -> Vec<u8> {
    let length = u32::try_from(21 + document.len()).unwrap();
    [&length.to_le_bytes()[..], &number.to_le_bytes(), &answers.to_le_bytes(), &2013u32.to_le_bytes(), &flags.to_le_bytes(), &[0], document].concat()
}

async fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 4];
    stream.read_exact(&mut bytes).await.ok()?;
    let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    bytes.resize(length, 0);
    stream.read_exact(&mut bytes[4..]).await.ok()?;
    Some(bytes)
}

/// A server that answers each message with an empty document.
async fn server() -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let written = heard.clone();
    let (address, _) = scripted(move |mut stream| {
        let heard = written.clone();
        async move {
            while let Some(bytes) = read(&mut stream).await {
                let number = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
                let waits = bytes[16] & 2 == 0;
                heard.lock().unwrap().push(bytes);
                if waits {
                    stream.write_all(&message(1, number, 0, &[5, 0, 0, 0, 0])).await.unwrap();
                }
            }
        }
    })
    .await;
    (address, heard)
}

#[test]
fn what_is_allowed_goes_on_unchanged_and_a_refusal_names_what_it_answers() {
    run(async {
        let (address, heard) = server().await;
        let stage = Stage::new(Say::No, address);
        let mut client = stage.connect(API, 27017).await;
        let find = message(41, 0, 0, &document("find", "t"));
        client.write_all(&find).await.unwrap();
        assert_eq!(read(&mut client).await.unwrap()[8..12], 41u32.to_le_bytes());
        // Nobody waits for an answer to the second one.
        client
            .write_all(
                &[message(42, 0, 0, &document("drop", "t")), message(43, 0, 2, &document("drop", "t")), message(44, 0, 0, &document("find", "t"))].concat(),
            )
            .await
            .unwrap();
        let refused = read(&mut client).await.unwrap();
        assert!(refused[8..12] == 42u32.to_le_bytes() && String::from_utf8_lossy(&refused).contains("agentbox: refused: the test says no"));
        assert_eq!(read(&mut client).await.unwrap()[8..12], 44u32.to_le_bytes());
        let heard = heard.lock().unwrap().clone();
        assert_eq!((heard.len(), &heard[0]), (2, &find));
        assert_eq!(stage.line.asked(), ["mongodb://api.example:27017/ mongodb.drop mongodb:collection/shop.t"; 2]);
    });
}

#[test]
fn what_cannot_be_read_is_asked_about() {
    run(async {
        let (address, heard) = server().await;
        let stage = Stage::new(Say::No, address);
        let mut client = stage.connect(API, 27017).await;
        // A command that a field stands before, a document that does not end, a checksum's place, flags that nobody knows.
        for body in [document("$eval", "db.dropDatabase()"), vec![9, 0, 0, 0, 2, b'a', 0, 0, 1], document("nonsense", "t")] {
            client.write_all(&message(7, 0, 0, &body)).await.unwrap();
            assert!(String::from_utf8_lossy(&read(&mut client).await.unwrap()).contains("agentbox: refused"), "{body:?}");
        }
        client.write_all(&message(7, 0, 0x8000, &document("find", "t"))).await.unwrap();
        assert!(String::from_utf8_lossy(&read(&mut client).await.unwrap()).contains("agentbox: refused"));
        assert!(heard.lock().unwrap().is_empty());
    });
}

#[test]
fn what_is_no_message_ends_the_session() {
    for broken in [message(1, 5, 0, &document("find", "t")), vec![3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xdd, 7, 0, 0], vec![0xff; 16]] {
        run(async move {
            let (address, heard) = server().await;
            let stage = Stage::new(Say::Bomb, address);
            let mut client = stage.connect(API, 27017).await;
            client.write_all(&message(1, 0, 0, &document("find", "t"))).await.unwrap();
            read(&mut client).await.unwrap();
            client.write_all(&broken).await.unwrap();
            assert!(read(&mut client).await.is_none());
            assert_eq!(heard.lock().unwrap().len(), 1);
        });
    }
}

#[test]
fn a_client_that_goes_while_it_waits_is_not_acted_for() {
    run(async {
        let (address, heard) = server().await;
        let stage = Stage::new(Say::Wait, address);
        let mut client = stage.connect(API, 27017).await;
        client.write_all(&message(1, 0, 0, &document("drop", "t"))).await.unwrap();
        until("it is asked", || stage.line.asked().len() == 1).await;
        drop(client);
        until("the line hears that it has gone", || *stage.line.gone.lock().unwrap() == 1).await;
        stage.line.release();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(heard.lock().unwrap().is_empty());
    });
}
