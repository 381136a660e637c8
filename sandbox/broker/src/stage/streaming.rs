//! Large bodies both ways: they flow with back pressure, and are not held in memory.

use super::*;

const LARGE: usize = 64 << 20;

#[test]
fn a_large_download_flows() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::Bomb, far.address);
        let mut client = stage.connect(API, 80).await;
        client.write_all(format!("GET /size/{LARGE} HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut count = 0;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = client.read(&mut buffer).await.unwrap();
            if read == 0 {
                break;
            }
            count += read;
        }
        assert!((LARGE..LARGE + 1000).contains(&count), "{count}");
    });
}

#[test]
fn a_large_upload_flows_once_somebody_said_yes() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::new(Say::Yes, far.address);
        let mut client = stage.connect(API, 80).await;
        client
            .write_all(format!("PUT /up HTTP/1.1\r\nHost: api.example\r\nContent-Type: application/json\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let block = vec![b' '; 1 << 20];
        for _ in 0..LARGE >> 20 {
            client.write_all(&block).await.unwrap();
        }
        assert!(listen(&mut client).await.starts_with("HTTP/1.1 200"));
        assert_eq!(far.received.lock().unwrap()[0].length, LARGE);
        assert_eq!(stage.line.asked.lock().unwrap()[0].operations[0].effect, Effect::Opaque, "more than is read is opaque");
    });
}

#[test]
fn a_client_that_does_not_read_stops_the_far_side() {
    run(async {
        let written: Arc<Mutex<usize>> = Arc::default();
        let count = written.clone();
        let (address, _) = scripted(move |mut stream| {
            let count = count.clone();
            async move {
                let mut bytes = [0; 1024];
                let _ = stream.read(&mut bytes).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
                let block = vec![0; 64 << 10];
                while stream.write_all(&block).await.is_ok() {
                    *count.lock().unwrap() += block.len();
                }
            }
        })
        .await;
        let stage = Stage::new(Say::Bomb, address);
        let mut client = stage.connect(API, 80).await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n").await.unwrap();
        let mut before = usize::MAX;
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = *written.lock().unwrap();
            if now == before {
                break;
            }
            before = now;
        }
        assert!(before < 64 << 20, "{before} bytes were taken for a client that reads nothing");
    });
}

#[test]
fn a_thousand_requests_at_once() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Arc::new(Stage::new(Say::Bomb, far.address));
        let mut all = tokio::task::JoinSet::new();
        // Both ends and the far side live in this process: as many as its descriptors allow.
        let most = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).map_or(256, |(soft, _)| soft);
        let count = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(100).wrapping_div(5).min(1000);
        for number in 0..count {
            let stage = stage.clone();
            all.spawn(async move {
                let mut client = stage.connect(API, 80).await;
                client.write_all(format!("GET /{number} HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
                let mut answer = String::new();
                client.read_to_string(&mut answer).await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            });
        }
        while let Some(one) = all.join_next().await {
            one.unwrap();
        }
        assert_eq!(far.lines().len(), count);
    });
}
