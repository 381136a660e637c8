//! Figures, not tests: `cargo test -p agentbox-broker --release -- --ignored --nocapture figures`. Nothing is asserted.

use std::time::Instant;

use super::{tls::dress, *};

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

async fn direct(far: &Far) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(far.root.clone().unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(crate::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(far.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = rustls_pki_types::ServerName::try_from(API).unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

async fn get(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> usize {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: api.example\r\n\r\n").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    let mut buffer = vec![0; 256 << 10];
    let (end, length) = loop {
        let count = stream.read(&mut buffer).await.unwrap();
        head.extend_from_slice(&buffer[..count]);
        if let Some(end) = head.windows(4).position(|end| end == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
            let length: usize = text.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
            break (end + 4, length);
        }
    };
    let mut body = head.len() - end;
    while body < length {
        body += stream.read(&mut buffer).await.unwrap();
    }
    body
}

#[test]
#[ignore = "prints figures"]
fn figures() {
    let (sender, receiver) = std::sync::mpsc::channel();
    // The far side on a thread of its own: in life it is another machine.
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            sender.send(Far::start(Cloth::Tls(&["http/1.1"])).await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let far = receiver.recv().unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let stage = Stage::with(Say::Bomb, far.address, far.root.clone().into_iter().collect(), "");
        let (mut bare, mut boxed) = (Vec::new(), Vec::new());
        for _ in 0..200 {
            let start = Instant::now();
            get(&mut direct(&far).await, "/").await;
            bare.push(start.elapsed());
            let start = Instant::now();
            let stream = stage.connect(API, 443).await;
            get(&mut dress(&stage, stream, API, &["http/1.1"]).await.unwrap(), "/").await;
            boxed.push(start.elapsed());
        }
        println!("new connection and one GET: direct {:?}, through the broker {:?}", median(bare), median(boxed));
        let mut straight = direct(&far).await;
        let mut through = dress(&stage, stage.connect(API, 443).await, API, &["http/1.1"]).await.unwrap();
        let (mut bare, mut boxed) = (Vec::new(), Vec::new());
        for _ in 0..2000 {
            let start = Instant::now();
            get(&mut straight, "/").await;
            bare.push(start.elapsed());
            let start = Instant::now();
            get(&mut through, "/").await;
            boxed.push(start.elapsed());
        }
        println!("keep-alive GET: direct {:?}, through the broker {:?}", median(bare), median(boxed));
        for size in [1usize << 30] {
            let start = Instant::now();
            get(&mut straight, &format!("/size/{size}")).await;
            let bare = start.elapsed();
            let start = Instant::now();
            get(&mut through, &format!("/size/{size}")).await;
            let boxed = start.elapsed();
            let rate = |time: Duration| (size >> 20) as f64 / time.as_secs_f64();
            println!("download of {} MiB: direct {:.0} MiB/s, through the broker {:.0} MiB/s", size >> 20, rate(bare), rate(boxed));
        }
    });
}
