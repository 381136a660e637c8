//! WebSockets: the upgrade is judged as a request, and what flows afterwards message by message where it can be read, else as a whole.
//!
//! Extensions are never agreed to, so frames are readable. What was parsed is framed anew: lengths in odd forms, masks and the cuts of long
//! frames never reach the other side.

mod ask;
mod down;
mod frames;
mod handshake;
mod open;
mod pieces;
mod tunnel;
mod up;

pub(super) use handshake::is_asked;
pub(super) use open::open;
pub(super) use tunnel::Tunnel;

/// The whole messages of a side, as far as its frames can be read, where they come in pieces of this length; at last why no more can be.
#[cfg(any(test, fuzzing))]
pub(crate) async fn fuzz(bytes: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let from = if bytes.get(1).is_some_and(|second| second & 0x80 != 0) { frames::From::Client } else { frames::From::Server };
    let mut reader = pieces::Pieces::new(Drip { rest: bytes, piece }, from);
    let (mut messages, mut whole) = (Vec::new(), Vec::new());
    loop {
        match reader.next().await {
            Ok(pieces::Piece::Data { end, bytes, .. }) => {
                whole.extend_from_slice(&bytes);
                if end == frames::End::Last {
                    messages.push(std::mem::take(&mut whole));
                }
            }
            Ok(pieces::Piece::Ping(bytes) | pieces::Piece::Pong(bytes) | pieces::Piece::Close(bytes)) => messages.push(bytes.to_vec()),
            Ok(pieces::Piece::Ended) => return messages,
            Err(error) => {
                messages.push(error.to_string().into_bytes());
                return messages;
            }
        }
    }
}

/// Gives so many bytes a read.
#[cfg(any(test, fuzzing))]
struct Drip<'b> {
    rest: &'b [u8],
    piece: usize,
}

#[cfg(any(test, fuzzing))]
impl tokio::io::AsyncRead for Drip<'_> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let length = self.piece.max(1).min(self.rest.len()).min(buffer.remaining());
        let (front, back) = self.rest.split_at(length);
        buffer.put_slice(front);
        self.rest = back;
        std::task::Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
