//! A client's TLS hello, read without answering it: which name it asks for, with every byte given back.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::peek::Prefixed;

/// Longest hello. Those of today are below 2 KiB, with post-quantum keys; rustls takes 64 KiB.
const LONGEST: usize = 64 << 10;

/// The name in the hello (`None` where it has none), and the stream with nothing missing.
///
/// # Errors
/// The client went, or it is no hello.
pub(crate) async fn read<S: AsyncRead + Unpin>(mut stream: S) -> io::Result<(Option<String>, Prefixed<S>)> {
    let mut acceptor = rustls::server::Acceptor::default();
    let mut all = BytesMut::with_capacity(4096);
    while all.len() < LONGEST {
        let before = all.len();
        if stream.read_buf(&mut all).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut fresh = all.get(before..).unwrap_or_default();
        while !fresh.is_empty() {
            if acceptor.read_tls(&mut fresh)? == 0 {
                break;
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(str::to_owned);
                    return Ok((name, Prefixed::new(all, stream)));
                }
                Ok(None) => {}
                Err((error, _)) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the TLS hello is too long"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    fn hello(name: &str) -> Vec<u8> {
        let configuration = rustls::ClientConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = rustls_pki_types::ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = rustls::ClientConnection::new(Arc::new(configuration), name).unwrap();
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).unwrap();
        bytes
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn finds_the_name_and_gives_every_byte_back() {
        run(async {
            let bytes = hello("api.example.com");
            let (mut client, server) = tokio::io::duplex(64);
            let sent = bytes.clone();
            let writer = async move {
                client.write_all(&sent).await.unwrap();
                client.write_all(b"tail").await.unwrap();
            };
            let reader = async {
                let (name, mut stream) = read(server).await.unwrap();
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.unwrap();
                (name, all)
            };
            let ((), (name, all)) = tokio::join!(writer, reader);
            assert_eq!(name.as_deref(), Some("api.example.com"));
            assert_eq!(all, [&bytes[..], b"tail"].concat());
        });
    }

    #[test]
    fn an_address_has_no_name() {
        let bytes = hello("192.0.2.1");
        let (name, _) = run(read(&bytes[..])).unwrap();
        assert_eq!(name, None);
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_hello_is_survived(at in 0usize..200, value in proptest::num::u8::ANY, cut in 0usize..300) {
            let mut bytes = hello("api.example.com");
            let at = at % bytes.len();
            bytes[at] = value;
            bytes.truncate(cut.max(1));
            let _ = run(read(&bytes[..]));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = run(read(&bytes[..]));
        }
    }
}
