//! The client's commands as they come: gathered whole up to a bound, or passed on in pieces.

use std::io;

use bytes::BytesMut;
use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, timeout},
};

use super::{
    packets::{FULL, HEADER, Head, Malformed, head, packet},
    relay::{End, LONGEST_HEARD, Session},
};
use crate::{
    http::Share,
    session::{FAREWELL, IDLE, LONGEST_WHOLE, SMALL, WITHIN},
};

/// A command: its packets as they came, and what is in them.
pub(super) struct Whole {
    pub(super) packets: BytesMut,
    /// Without the packets' headers.
    pub(super) payload: Vec<u8>,
    /// The number of its last packet.
    pub(super) number: u8,
    _share: Share,
}

/// What was read of a command.
pub(super) enum Read {
    Whole(Whole),
    /// Longer than what is read: the head of its first packet is at the front of what was read.
    Long(Head),
}

/// Where packets of the client go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    Server,
    Nobody,
}

impl Session {
    /// The head of the next command; `None` where a side has ended. What the server says unasked ends the session.
    pub(super) async fn next(&mut self) -> Result<Option<Head>, End> {
        let began = Instant::now();
        loop {
            if let Some(head) = head(&self.pair.client.buffer) {
                if head.number != 0 || head.length == 0 {
                    return Err(Malformed::Order.into());
                }
                if self.pair.client.buffer.len() > HEADER {
                    return Ok(Some(head));
                }
            }
            let patience = if self.pair.client.buffer.is_empty() { IDLE } else { WITHIN };
            let (client, far) = (&mut self.pair.client, &mut self.pair.far);
            tokio::select! {
                read = client.more() => match read? {
                    0 if client.buffer.is_empty() => return Ok(None),
                    0 => return Err(Malformed::Short.into()),
                    _ => {}
                },
                heard = far.packet(LONGEST_HEARD) => {
                    if let Some((head, body)) = heard?
                        && body.first() == Some(&0xff)
                    {
                        timeout(FAREWELL, client.write(&packet(head.number, &body))).await.map_err(io::Error::from)??;
                    }
                    return Ok(None);
                }
                () = tokio::time::sleep_until(began + patience) => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            }
        }
    }

    /// Reads a command whole, up to the bound.
    pub(super) async fn read(&mut self, first: Head) -> Result<Read, End> {
        let mut share = Share::default();
        let mut packets = BytesMut::new();
        let mut payload = Vec::new();
        let mut number = 0;
        // Each turn takes a packet; all of them have LONGEST_WHOLE bytes at most.
        loop {
            let head = self.head().await?;
            if head.number != number {
                return Err(Malformed::Order.into());
            }
            let total = payload.len() + head.length;
            if total > LONGEST_WHOLE {
                if payload.is_empty() {
                    return Ok(Read::Long(first));
                }
                // What was taken already is put back.
                let rest = std::mem::replace(&mut self.pair.client.buffer, packets);
                self.pair.client.buffer.extend_from_slice(&rest);
                return Ok(Read::Long(first));
            }
            if total > SMALL && self.asking.broker.room.take(&mut share, 2 * total).is_err() {
                return Err(io::Error::from(io::ErrorKind::OutOfMemory).into());
            }
            while self.pair.client.buffer.len() < head.whole() {
                self.more().await?;
            }
            let bytes = self.pair.client.buffer.split_to(head.whole());
            payload.extend_from_slice(bytes.get(HEADER..).unwrap_or_default());
            packets.unsplit(bytes);
            if head.length < FULL {
                return Ok(Read::Whole(Whole { packets, payload, number, _share: share }));
            }
            number = number.wrapping_add(1);
        }
    }

    /// The head of the client's next packet, which belongs to what was begun.
    pub(super) async fn head(&mut self) -> Result<Head, End> {
        loop {
            if let Some(head) = head(&self.pair.client.buffer) {
                return Ok(head);
            }
            self.more().await?;
        }
    }

    pub(super) async fn more(&mut self) -> Result<(), End> {
        match timeout(WITHIN, self.pair.client.more()).await.map_err(io::Error::from)?? {
            0 => Err(Malformed::Short.into()),
            _ => Ok(()),
        }
    }

    /// Takes all packets of a command as they come; gives the number of the last one.
    pub(super) async fn each(&mut self, mut first: Head, to: To) -> Result<u8, End> {
        loop {
            let mut left = first.whole();
            while left > 0 {
                let some = self.pair.client.take(left);
                left -= some.len();
                if to == To::Server {
                    self.pair.far.stream().write_all(&some).await?;
                }
                if left > 0 {
                    self.more().await?;
                }
            }
            if first.length < FULL {
                self.pair.far.stream().flush().await?;
                return Ok(first.number);
            }
            let next = self.head().await?;
            if next.number != first.number.wrapping_add(1) {
                return Err(Malformed::Order.into());
            }
            first = next;
        }
    }

    pub(super) async fn stream(&mut self, first: Head) -> Result<(), End> {
        self.each(first, To::Server).await.map(|_| ())
    }
}
