//! From the far side to the client: passed on as it comes, framed anew, with our own words between two messages.

use std::sync::atomic::Ordering;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::timeout,
};

use super::{
    frames::{self, End, Opcode},
    pieces::{Piece, Pieces},
    tunnel::{Cut, Note, Received, SILENCE, STALL, goodbye, write},
};

/// Carries until the far side or we have said goodbye.
pub(super) async fn carry<R, W>(mut pieces: Pieces<R>, client: &mut W, mut told: mpsc::Receiver<Note>, received: &Received) -> Result<(), Cut>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut out = Vec::new();
    loop {
        out.clear();
        let patience = if pieces.is_within() { STALL } else { SILENCE };
        let between = !pieces.in_message();
        let next = tokio::select! {
            biased;
            Some(note) = told.recv(), if between => match note {
                Note::Text(text) => {
                    frames::write(&mut out, Opcode::Text, End::Last, text.as_bytes(), None);
                    write(client, &out).await?;
                    continue;
                }
                Note::Close(code, why) => {
                    frames::write(&mut out, Opcode::Close, End::Last, &goodbye(code, &why), None);
                    return write(client, &out).await;
                }
            },
            next = timeout(patience, pieces.next()) => next.map_err(|_| Cut::Stalled)?,
        };
        match next? {
            Piece::Data { kind, first, end, bytes } => {
                let count = received.count.fetch_add(bytes.len() as u64, Ordering::Relaxed) + bytes.len() as u64;
                if count > received.most.load(Ordering::Relaxed) {
                    return Err(Cut::UsedUp);
                }
                frames::write(&mut out, Piece::opcode(kind, first), end, &bytes, None);
            }
            Piece::Ping(bytes) => frames::write(&mut out, Opcode::Ping, End::Last, &bytes, None),
            Piece::Pong(bytes) => frames::write(&mut out, Opcode::Pong, End::Last, &bytes, None),
            Piece::Close(bytes) => {
                frames::write(&mut out, Opcode::Close, End::Last, &bytes, None);
                return write(client, &out).await;
            }
            // Without a goodbye there is none to be answered.
            Piece::Ended => return Err(Cut::Gone),
        }
        write(client, &out).await?;
    }
}
