//! The looker's own way to a provider: TLS that is verified, HTTP/1.1, one request a connection, bounded.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use agentbox_core::{Destination, HostName, policy::Settings};
use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::transport::{Exchange, Transport};
use crate::look::{Answer, LONGEST_ANSWER};

/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 4;

/// Straight to the destination.
pub(super) struct Direct {
    connector: TlsConnector,
    names: BTreeMap<HostName, (IpAddr, Option<u16>)>,
}

impl Direct {
    /// Reads the roots: the system's and the policy's. Call it before the process is fenced.
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let mut roots = rustls::RootCertStore::empty();
        // Damaged roots of the system are its owner's; without any root no connection will be verified, and so none made.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for path in &settings.roots {
            add(&mut roots, path)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|error| format!("TLS: {error}"))?;
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), names: settings.names.clone() })
    }

    async fn addresses(&self, destination: &Destination) -> Result<Vec<SocketAddr>, String> {
        if let Some((address, port)) = self.names.get(&destination.host) {
            return Ok(vec![SocketAddr::new(*address, port.unwrap_or(destination.port))]);
        }
        let found =
            tokio::net::lookup_host((destination.host.as_str(), destination.port)).await.map_err(|error| format!("its name does not resolve: {error}"))?;
        Ok(found.take(MOST_ADDRESSES).collect())
    }

    async fn connect(&self, destination: &Destination) -> Result<TcpStream, String> {
        let mut last = "its name has no address".to_owned();
        for address in self.addresses(destination).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = format!("{address}: {error}"),
            }
        }
        Err(last)
    }

    async fn send(&self, destination: &Destination, mut request: Request<Bytes>) -> Result<Answer, String> {
        let name = ServerName::try_from(destination.host.as_str().to_owned()).map_err(|_| "it has no name that TLS can verify".to_owned())?;
        let stream = self.connect(destination).await?;
        let stream = self.connector.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?;
        let host = if destination.port == 443 { destination.host.to_string() } else { destination.to_string() };
        request.headers_mut().insert(header::HOST, HeaderValue::from_str(&host).map_err(|_| "it has no valid name".to_owned())?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("HTTP: {error}"))?;
        let exchange = async {
            let response = sender.send_request(request.map(Full::new)).await.map_err(|error| format!("HTTP: {error}"))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST_ANSWER)
                .collect()
                .await
                .map_err(|_| format!("its answer broke off or is longer than {LONGEST_ANSWER} bytes"))?;
            Ok(Answer { status, body: body.to_bytes() })
        };
        tokio::pin!(exchange, connection);
        // The connection is driven here and dropped with the answer: nothing of it outlives the look.
        tokio::select! {
            answer = &mut exchange => answer,
            ended = &mut connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(format!("HTTP: {error}")),
            },
        }
    }
}

impl Transport for Direct {
    fn exchange<'a>(&'a self, destination: &'a Destination, request: Request<Bytes>) -> Exchange<'a> {
        Box::pin(self.send(destination, request))
    }
}

fn add(roots: &mut rustls::RootCertStore, path: &PathBuf) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| format!("root certificates in {}: {error}", path.display()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| format!("root certificates in {}: {error}", path.display()))?;
        roots.add(certificate).map_err(|error| format!("root certificates in {}: {error}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::Ipv4Addr};

    use rustls_pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const HOST: &str = "provider.example";

    /// Serves one connection on loopback with a certificate of its own, and returns what it was sent.
    async fn serve(answer: Vec<u8>, trusted: bool) -> (Result<Answer, String>, Vec<u8>) {
        let key = rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).unwrap();
        let mut pem = tempfile::NamedTempFile::new().unwrap();
        if trusted {
            pem.write_all(key.cert.pem().as_bytes()).unwrap();
        }
        let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![key.cert.der().clone()], private).unwrap();
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = async move {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return Vec::new() };
            let mut received = vec![0; 4096];
            let count = stream.read(&mut received).await.unwrap_or(0);
            received.truncate(count);
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
            received
        };
        let mut settings = Settings::default();
        settings.names.insert(HostName::parse(HOST).unwrap(), (address.ip(), Some(address.port())));
        settings.roots.push(pem.path().to_owned());
        let direct = Direct::new(&settings).unwrap();
        let destination = Destination { host: HostName::parse(HOST).unwrap(), port: 443, addresses: Vec::new() };
        let request = Request::post("/graphql/v2").header("authorization", "Bearer s").body(Bytes::from_static(b"{}")).unwrap();
        tokio::join!(direct.send(&destination, request), server)
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn asks_over_verified_tls() {
        let (answer, received) = run(serve(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec(), true));
        let answer = answer.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"ok"[..]));
        let received = String::from_utf8(received).unwrap().to_ascii_lowercase();
        assert!(received.starts_with("post /graphql/v2 http/1.1\r\n") && received.contains("host: provider.example\r\n"), "{received}");
    }

    #[test]
    fn an_unknown_certificate_gets_no_secret() {
        let (answer, received) = run(serve(Vec::new(), false));
        assert!(answer.unwrap_err().starts_with("TLS:"));
        assert!(received.is_empty());
    }

    #[test]
    fn an_endless_or_broken_answer_is_an_error() {
        let mut long = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", LONGEST_ANSWER + 1).into_bytes();
        long.resize(long.len() + LONGEST_ANSWER + 1, b' ');
        assert!(run(serve(long, true)).0.is_err());
        assert!(run(serve(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok".to_vec(), true)).0.is_err());
        assert!(run(serve(b"garbage".to_vec(), true)).0.is_err());
        assert!(run(serve(Vec::new(), true)).0.is_err());
    }

    #[test]
    fn a_missing_root_is_told() {
        let settings = Settings { roots: vec!["/nonexistent/root.pem".into()], ..Settings::default() };
        assert!(Direct::new(&settings).err().unwrap().contains("/nonexistent/root.pem"));
    }
}
