//! The client's socket, with a second handle that tells when the client has gone, whatever is still unread.
//!
//! hyper notices an end of file only while its read buffer is empty and no body waits; a held request must notice always.

use std::{
    io,
    net::SocketAddr,
    os::fd::AsRawFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

/// How often a client with unread bytes is looked at again: its socket is readable all the time, so readiness alone would spin.
const GLANCE: Duration = Duration::from_millis(200);

/// How long a client that has closed its sending side still counts as there. `printf … | nc -N` has said all and waits for its answer; one that has ended looks
/// the same from here, and what it asked for must not be held for somebody who has gone.
const HALF_CLOSED: Duration = Duration::from_secs(2);

/// The stream to read and write.
#[derive(Debug)]
pub(crate) struct ClientStream(Arc<TcpStream>);

/// Tells whether the client is still there.
#[derive(Clone, Debug)]
pub(crate) struct Presence(Arc<TcpStream>);

impl ClientStream {
    /// The stream, and the handle that watches it.
    pub(crate) fn new(stream: TcpStream) -> (Self, Presence) {
        let stream = Arc::new(stream);
        (Self(stream.clone()), Presence(stream))
    }
}

impl Presence {
    /// The client's address, and the one that it connected to.
    pub(crate) fn connection(&self) -> Option<(SocketAddr, SocketAddr)> {
        Some((self.0.peer_addr().ok()?, self.0.local_addr().ok()?))
    }

    /// Ends when the connection is broken, or a moment after the client has closed its side.
    pub(crate) async fn gone(&self) {
        loop {
            match self.0.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() && !ready.is_error() => tokio::time::sleep(GLANCE).await,
                Ok(ready) if !ready.is_error() => return tokio::time::sleep(HALF_CLOSED).await,
                Ok(_) | Err(_) => return,
            }
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            let room = buffer.remaining();
            match self.0.try_read_buf(buffer) {
                Ok(count) => {
                    if count > 0 && count < room {
                        // That was all: what comes next is a new edge. Else each read would be followed by one that finds nothing.
                        let _ = self.0.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = nix::sys::socket::shutdown(self.0.as_raw_fd(), nix::sys::socket::Shutdown::Write);
        match ended {
            // The client was quicker.
            Ok(()) | Err(nix::errno::Errno::ENOTCONN) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::timeout,
    };

    use super::*;

    const SHORT: Duration = Duration::from_millis(500);

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn carries_bytes_both_ways_and_ends() {
        let (mut client, server) = pair().await;
        let (mut stream, _presence) = ClientStream::new(server);
        client.write_all(b"hello").await.unwrap();
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hello");
        stream.write_all(b"bye").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"bye");
    }

    #[tokio::test]
    async fn what_comes_behind_a_short_read_is_read_too() {
        let (mut client, server) = pair().await;
        let (mut stream, presence) = ClientStream::new(server);
        let mut bytes = [0; 64];
        for word in [&b"one"[..], b"two", b"three"] {
            client.write_all(word).await.unwrap();
            assert_eq!(stream.read(&mut bytes).await.unwrap(), word.len());
            assert!(timeout(Duration::from_millis(20), stream.read(&mut bytes)).await.is_err(), "there is no more");
        }
        client.write_all(b"last").await.unwrap();
        drop(client);
        assert_eq!(stream.read(&mut bytes).await.unwrap(), 4);
        assert_eq!(timeout(Duration::from_secs(20), stream.read(&mut bytes)).await.unwrap().unwrap(), 0);
        timeout(Duration::from_secs(20), presence.gone()).await.expect("it has gone");
    }

    #[tokio::test]
    async fn a_client_that_goes_is_noticed_behind_unread_bytes() {
        let (mut client, server) = pair().await;
        let (_stream, presence) = ClientStream::new(server);
        assert!(timeout(SHORT, presence.gone()).await.is_err(), "it is still there");
        client.write_all(b"unread").await.unwrap();
        assert!(timeout(SHORT, presence.gone()).await.is_err(), "unread bytes are no farewell");
        drop(client);
        timeout(Duration::from_secs(20), presence.gone()).await.expect("it has gone");
    }
}
