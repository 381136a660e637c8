//! Logs in to a Redis server with a password, and takes the password out of whatever the session answers (`CONFIG GET requirepass` tells it).

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::serve::Keeper;
use crate::{redis::array, secrets::Stream, upstream::UpstreamStream};

/// Longest line that a server answers a log-in with.
const LONGEST: usize = 4096;

/// Read at once.
const BLOCK: usize = 32 << 10;

/// Says who it is; gives the server's answer as it came.
pub(super) async fn log_in(server: &mut (impl AsyncRead + AsyncWrite + Unpin), user: Option<&[u8]>, password: &str) -> io::Result<Vec<u8>> {
    let words: Vec<&[u8]> = std::iter::once(&b"AUTH"[..]).chain(user).chain([password.as_bytes()]).collect();
    server.write_all(&array(&words)).await?;
    server.flush().await?;
    let mut line = Vec::new();
    // Byte by byte: what comes after the line is the session's.
    while !line.ends_with(b"\r\n") {
        if line.len() >= LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        line.push(server.read_u8().await?);
    }
    match line.first() {
        Some(b'+' | b'-') => Ok(line),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Passes the session on, without the secrets in what is answered. An answer ends in a line's end, which no secret begins with, so that nothing
/// of it is kept back.
pub(super) async fn pass(keeper: &Keeper, broker: impl AsyncRead + AsyncWrite, server: UpstreamStream) -> io::Result<()> {
    // Another length would be another answer: a text says its own before it.
    let swaps = keeper.swaps().of_equal_lengths();
    let (mut from_broker, mut to_broker) = tokio::io::split(broker);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let up = async {
        tokio::io::copy(&mut from_broker, &mut to_server).await?;
        to_server.shutdown().await
    };
    let down = async {
        let mut stream = Stream::default();
        loop {
            let mut bytes = BytesMut::with_capacity(BLOCK);
            if from_server.read_buf(&mut bytes).await? == 0 {
                break;
            }
            let piece = stream.piece(&swaps, bytes.freeze());
            to_broker.write_all(&piece).await?;
            to_broker.flush().await?;
        }
        to_broker.write_all(&stream.rest().unwrap_or_default()).await?;
        to_broker.shutdown().await
    };
    tokio::try_join!(up, down).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(answer: &'static [u8]) -> (io::Result<Vec<u8>>, Vec<u8>) {
        let (mut ours, mut theirs) = tokio::io::duplex(64 << 10);
        let server = async move {
            let mut heard = vec![0; 64];
            let count = theirs.read(&mut heard).await.unwrap();
            heard.truncate(count);
            theirs.write_all(answer).await.unwrap();
            heard
        };
        tokio::join!(log_in(&mut ours, Some(b"agent"), "s3cret"), server)
    }

    #[tokio::test]
    async fn a_line_is_the_answer_and_anything_else_is_none() {
        let (said, heard) = told(b"+OK\r\n$3\r\nabc\r\n").await;
        assert_eq!((said.unwrap(), heard), (b"+OK\r\n".to_vec(), b"*3\r\n$4\r\nAUTH\r\n$5\r\nagent\r\n$6\r\ns3cret\r\n".to_vec()));
        assert_eq!(told(b"-WRONGPASS no\r\n").await.0.unwrap(), b"-WRONGPASS no\r\n");
        assert!(told(b"*1\r\n").await.0.is_err());
        assert!(told(Box::leak(vec![b'+'; 5000].into_boxed_slice())).await.0.is_err());
    }
}
