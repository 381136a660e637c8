//! Reads ahead from a stream, and gives what was read in pieces of the caller's choice.

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Room that is made for what is read at once.
const BLOCK: usize = 32 << 10;

/// A stream, and what was read ahead of it.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    reader: R,
    pub(crate) buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, buffer: BytesMut::new() }
    }

    /// One before which `buffer` was read already.
    pub(crate) fn with(reader: R, buffer: BytesMut) -> Self {
        Self { reader, buffer }
    }

    /// Reads what comes next; 0 at the end.
    pub(crate) async fn more(&mut self) -> std::io::Result<usize> {
        self.buffer.reserve(BLOCK);
        self.reader.read_buf(&mut self.buffer).await
    }

    /// Takes up to `most` bytes that are there.
    pub(crate) fn take(&mut self, most: usize) -> Bytes {
        let count = most.min(self.buffer.len());
        self.buffer.split_to(count).freeze()
    }

    /// Lets up to `most` bytes that are there go, into `out` where there is one; how many they were.
    pub(crate) fn pass(&mut self, most: usize, out: Option<&mut Vec<u8>>) -> usize {
        let count = most.min(self.buffer.len());
        if let Some(out) = out {
            out.extend_from_slice(self.buffer.get(..count).unwrap_or_default());
        }
        self.buffer.advance(count);
        count
    }

    /// What it reads from, to write to it.
    pub(crate) fn stream(&mut self) -> &mut R {
        &mut self.reader
    }

    /// The stream, and what was read ahead of it.
    pub(crate) fn into_parts(self) -> (R, BytesMut) {
        (self.reader, self.buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Reader<S> {
    /// Writes all of it.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.reader.write_all(bytes).await?;
        self.reader.flush().await
    }

    /// Writes nothing more.
    pub(crate) async fn shutdown(&mut self) -> std::io::Result<()> {
        self.reader.shutdown().await
    }
}
