//! Reads more at once than rustls asks for: it takes 4 KiB a call, which is four calls for each record of a download.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// Read at once: four full TLS records.
const BLOCK: usize = 64 << 10;

/// A reader that brings a buffer of this size is left alone.
const LARGE: usize = 16 << 10;

/// The stream. Its buffer exists only while bytes lie in it, so that idle connections cost nothing.
#[derive(Debug)]
pub struct Ahead<S> {
    stream: S,
    buffer: BytesMut,
}

impl<S> Ahead<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ahead<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.buffer.is_empty() {
            if out.remaining() >= LARGE {
                return Pin::new(&mut this.stream).poll_read(cx, out);
            }
            let mut block = BytesMut::with_capacity(BLOCK);
            ready!(pin!(this.stream.read_buf(&mut block)).poll(cx))?;
            this.buffer = block;
        }
        let count = this.buffer.len().min(out.remaining());
        out.put_slice(this.buffer.get(..count).unwrap_or_default());
        this.buffer.advance(count);
        if this.buffer.is_empty() {
            this.buffer = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Ahead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_byte_comes_once_whatever_the_readers_buffer() {
        let all: Vec<u8> = (0..200_000u32).map(|number| number.to_le_bytes()[0]).collect();
        for size in [1000, 4096, 20_000] {
            let mut stream = Ahead::new(&all[..]);
            let mut read = Vec::new();
            let mut buffer = vec![0; size];
            loop {
                let count = stream.read(&mut buffer).await.unwrap();
                if count == 0 {
                    break;
                }
                read.extend_from_slice(&buffer[..count]);
            }
            assert_eq!(read, all);
            assert_eq!(stream.buffer.capacity(), 0, "an idle stream holds no buffer");
        }
    }
}
