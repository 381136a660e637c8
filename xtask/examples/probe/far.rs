//! The far side on loopback: HTTPS that answers at once, gives and takes any number of bytes; and a relay that ends TLS and does nothing else.

use std::{convert::Infallible, fs, io::Write as _, net::SocketAddr, path::Path, pin::Pin, sync::Arc, task::Poll};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Names that its certificate is for.
pub(crate) const NAMES: &[&str] = &["far.example", "held.example"];

/// Bytes of one piece of a download.
const PIECE: usize = 64 << 10;

struct Issued {
    root: Certificate,
    leaf: Certificate,
    key: KeyPair,
}

/// An authority, written as `ca.pem` into the folder, and a certificate of it.
fn issue(folder: &Path, names: &[&str]) -> Result<Issued> {
    let authority = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&authority)?;
    fs::write(folder.join("ca.pem"), root.pem())?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let leaf = CertificateParams::new(names)?.signed_by(&key, &Issuer::new(params, authority))?;
    Ok(Issued { root, leaf, key })
}

/// For another server: `ca.pem`, `cert.pem` and `key.pem` into the folder.
pub(crate) fn certificate(folder: &Path, name: &str) -> Result<()> {
    let Issued { leaf, key, .. } = issue(folder, &[name])?;
    fs::write(folder.join("cert.pem"), leaf.pem())?;
    Ok(fs::write(folder.join("key.pem"), key.serialize_pem())?)
}

/// Writes `ca.pem` into the folder, and two ports to stdout: of the server, and of the relay that leads to it.
pub(crate) fn serve(folder: &Path) -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let Issued { root, leaf, key } = issue(folder, NAMES)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let server = TcpListener::bind(("127.0.0.1", 0)).await?;
        let relay = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (server_at, relay_at) = (server.local_addr()?, relay.local_addr()?);
        tokio::spawn(relay_all(relay, server_at, acceptor.clone(), root.der().clone()));
        {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{} {}", server_at.port(), relay_at.port())?;
            out.flush()?;
        }
        loop {
            let (stream, _) = server.accept().await?;
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                stream.set_nodelay(true)?;
                let stream = acceptor.accept(stream).await?;
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
                anyhow::Ok(())
            });
        }
    })
}

async fn answer(request: Request<Incoming>) -> Result<Response<Zeros>, Infallible> {
    let bytes = request.uri().path().strip_prefix("/download/").and_then(|count| count.parse().ok()).unwrap_or(3);
    if request.method() != Method::GET {
        let mut body = request.into_body();
        while let Some(Ok(_)) = body.frame().await {}
    }
    Ok(Response::new(Zeros { left: bytes, piece: Bytes::from_static(&[0; PIECE]) }))
}

/// A body of so many zero bytes.
struct Zeros {
    left: u64,
    piece: Bytes,
}

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(self.piece.slice(..length)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// What any inspecting proxy does at the least: TLS ends, TLS begins, bytes are copied.
async fn relay_all(relay: TcpListener, to: SocketAddr, acceptor: TlsAcceptor, root: CertificateDer<'static>) -> Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(root)?;
    let connector = TlsConnector::from(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()));
    loop {
        let (stream, _) = relay.accept().await?;
        let (acceptor, connector) = (acceptor.clone(), connector.clone());
        tokio::spawn(async move {
            stream.set_nodelay(true)?;
            let mut client = acceptor.accept(stream).await?;
            let upstream = TcpStream::connect(to).await?;
            upstream.set_nodelay(true)?;
            let name = NAMES.first().context("a name")?;
            let mut server = connector.connect(ServerName::try_from(*name)?, upstream).await?;
            let _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, PIECE, PIECE).await;
            anyhow::Ok(())
        });
    }
}
