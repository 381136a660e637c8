//! The looker's own way to a provider: TLS that is verified, HTTP/1.1, one request a connection, bounded.

use std::sync::Arc;

use agentbox_core::{Destination, policy::Policy, verdict::Verdict};
use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;

use super::transport::{Exchange, Transport};
use crate::{
    look::{Answer, LONGEST_ANSWER},
    proxy_environment::ProxyRules,
    tls,
    upstream::{AddressCheck, Alpn, Connector, UpstreamConfig},
};

/// Straight to the destination, by the same way out that the box's requests take: every address is checked, the network's proxy is used.
pub(crate) struct Direct {
    pub(crate) connector: Arc<Connector>,
}

impl Direct {
    /// Reads the policy's roots and the proxy variables. Call it before the process is fenced.
    pub(crate) fn new(policy: Arc<Policy>, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let judge = policy.clone();
        Self::with(&policy, variable, Arc::new(move |destination, address| judge.allows_address(destination, address) == Verdict::Allow))
    }

    /// To wherever the user's own environment leads, private addresses too: for what is asked before there is a box.
    pub(super) fn of_the_user(policy: &Policy, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        Self::with(policy, variable, Arc::new(|_, _| true))
    }

    fn with(policy: &Policy, variable: impl Fn(&str) -> Option<String>, check: AddressCheck) -> Result<Self, String> {
        let settings = policy.settings();
        let roots = tls::read_roots(&settings.roots).map_err(|error| error.to_string())?;
        let proxy = ProxyRules::from_environment(variable).map_err(|error| error.to_string())?;
        let config = UpstreamConfig { names: settings.names.clone(), roots, proxy };
        Ok(Self { connector: Arc::new(Connector::new(config, check)) })
    }

    pub(crate) async fn send(&self, destination: &Destination, mut request: Request<Bytes>) -> Result<Answer, String> {
        let stream = self.connector.connect_tls(destination, Alpn::Http1).await.map_err(|error| error.to_string())?;
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

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::Ipv4Addr};

    use agentbox_core::{
        HostName,
        policy::{Context, LayerKind, LayerText},
    };
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
        let roots = if trusted { format!("roots = [{:?}]\n", pem.path()) } else { String::new() };
        let direct = Direct::new(policy(&format!("{roots}[names]\n\"{HOST}\" = \"{address}\"\n")), |_| None).unwrap();
        let destination = Destination { host: HostName::parse(HOST).unwrap(), port: 443, addresses: Vec::new() };
        let request = Request::post("/graphql/v2").header("authorization", "Bearer s").body(Bytes::from_static(b"{}")).unwrap();
        tokio::join!(direct.send(&destination, request), server)
    }

    fn policy(text: &str) -> Arc<Policy> {
        let layer = LayerText { name: "test".to_owned(), base: "/".into(), kind: LayerKind::User, bytes: text.as_bytes().to_vec() };
        Arc::new(Policy::load(vec![layer], &Context::default(), &mut |name, _| Err(format!("no {name}"))).unwrap())
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
        assert!(answer.unwrap_err().contains("TLS with provider.example:443 failed"));
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
        let error = Direct::new(policy("roots = [\"/nonexistent/root.pem\"]\n"), |_| None).err().unwrap();
        assert!(error.contains("/nonexistent/root.pem"), "{error}");
    }

    #[test]
    fn a_private_address_that_nobody_named_gets_no_secret() {
        let direct = Direct::new(policy(""), |_| None).unwrap();
        let destination = Destination { host: HostName::parse("127.0.0.1").unwrap(), port: 443, addresses: Vec::new() };
        let error = run(direct.send(&destination, Request::post("/").body(Bytes::new()).unwrap())).unwrap_err();
        assert!(error.contains("local or private address"), "{error}");
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_told() {
        let error = Direct::new(policy(""), |name| (name == "HTTPS_PROXY").then(|| "socks5://p:1".to_owned())).err().unwrap();
        assert!(error.contains("HTTPS_PROXY"), "{error}");
    }
}
