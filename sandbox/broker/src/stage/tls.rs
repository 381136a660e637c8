//! TLS on both sides: the box's authority towards the client, the far side's certificate verified.

use rustls_pki_types::{ServerName, pem::PemObject as _};
use tokio_rustls::TlsConnector;

use super::*;
use crate::authority::Ask;

/// A client's TLS to the broker; it believes the box's authority only.
pub(super) async fn dress(stage: &Stage, stream: TcpStream, name: &str, alpn: &[&str]) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(stage.broker.authority.certificate_pem().as_bytes()).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(crate::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
}

async fn stage(say: Say, alpn: &'static [&'static str]) -> (Far, Stage) {
    let far = Far::start(Cloth::Tls(alpn)).await;
    let stage = Stage::with(say, far.address, far.root.clone().into_iter().collect(), "");
    (far, stage)
}

#[test]
fn every_pair_of_versions_works() {
    run(async {
        for far_speaks in [&["h2", "http/1.1"][..], &["http/1.1"], &[]] {
            for client_speaks in [&["h2"][..], &["http/1.1"], &[]] {
                let (far, stage) = stage(Say::Bomb, far_speaks).await;
                let stream = dress(&stage, stage.connect(API, 443).await, API, client_speaks).await.unwrap();
                let body = if client_speaks == ["h2"] {
                    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
                    tokio::spawn(connection);
                    let request = http::Request::post("https://api.example/echo")
                        .header("content-type", "application/json")
                        .body(Full::new(Bytes::from_static(b"[7]")))
                        .unwrap();
                    sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes()
                } else {
                    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
                    tokio::spawn(connection);
                    let request = http::Request::post("/echo")
                        .header("host", API)
                        .header("content-type", "application/json")
                        .body(Full::new(Bytes::from_static(b"[7]")))
                        .unwrap();
                    sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes()
                };
                assert_eq!(body, "[7]", "{far_speaks:?} {client_speaks:?}");
                assert_eq!(far.lines().len(), 1);
            }
        }
    });
}

#[test]
fn another_name_in_the_hello_leads_nowhere_and_says_why() {
    run(async {
        let (far, stage) = stage(Say::Bomb, &["http/1.1"]).await;
        for host in ["allowed.example", API] {
            let mut stream = dress(&stage, stage.connect(API, 443).await, "allowed.example", &["http/1.1"]).await.unwrap();
            stream.write_all(format!("DELETE /v1/volumes/1 HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
            let answer = listen(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
        }
        let mut stream = dress(&stage, stage.connect(API, 443).await, API, &["http/1.1"]).await.unwrap();
        stream.write_all(b"DELETE /v1/volumes/1 HTTP/1.1\r\nHost: victim.example\r\n\r\n").await.unwrap();
        assert!(listen(&mut stream).await.starts_with("HTTP/1.1 421"));
        assert_eq!(*far.connections.lock().unwrap(), 0);
        assert!(stage.why().contains("TLS hello"));
    });
}

#[test]
fn a_far_side_that_cannot_be_verified_gets_nothing() {
    run(async {
        let far = Far::start(Cloth::Tls(&["http/1.1"])).await;
        let stage = Stage::new(Say::Yes, far.address);
        let mut stream = dress(&stage, stage.connect(API, 443).await, API, &["http/1.1"]).await.unwrap();
        stream.write_all(b"DELETE /a HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n").await.unwrap();
        let answer = listen(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("TLS with api.example:443 failed"), "{answer}");
        assert!(far.lines().is_empty());
        assert!(stage.line.done.lock().unwrap()[0].starts_with("nothing was sent"));
    });
}

#[test]
fn what_is_not_http_inside_is_refused() {
    run(async {
        let (far, stage) = stage(Say::Bomb, &[]).await;
        let mut stream = dress(&stage, stage.connect(API, 443).await, API, &[]).await.unwrap();
        stream.write_all(b"\x00\x00\x00\x08\xffSMB").await.unwrap();
        assert_eq!(listen(&mut stream).await, "");
        assert_eq!(*far.connections.lock().unwrap(), 0);
    });
}

#[test]
fn a_host_that_is_passed_through_is_asked_about_as_a_whole_and_under_its_own_name_only() {
    run(async {
        let far = Far::start(Cloth::Tls(&["http/1.1"])).await;
        let root = far.root.clone().unwrap();
        let stage = Stage::with(Say::Yes, far.address, Vec::new(), "pass-through = [\"api.example\"]\n");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let stream = stage.connect(API, 443).await;
        let mut stream = connector.connect(ServerName::try_from(API).unwrap(), stream).await.unwrap();
        stream.write_all(b"GET /end-to-end HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(listen(&mut stream).await.starts_with("HTTP/1.1 200"));
        assert_eq!(stage.line.asked(), ["an opaque connection to api.example:443"]);
        let fronted = stage.connect(API, 443).await;
        assert!(connector.connect(ServerName::try_from("victim.example").unwrap(), fronted).await.is_err());
        assert_eq!(*far.connections.lock().unwrap(), 1);
        assert!(stage.why().contains("TLS hello"));
    });
}

#[test]
fn a_leaf_is_for_its_name_and_its_time() {
    let authority = Authority::generate("s").unwrap();
    let first = authority.configuration(&HostName::parse("a.example").unwrap(), Ask::Nothing).unwrap();
    let again = authority.configuration(&HostName::parse("a.example").unwrap(), Ask::Nothing).unwrap();
    assert!(Arc::ptr_eq(&first, &again), "made once");
    assert!(!format!("{authority:?}").contains("key"));
}
