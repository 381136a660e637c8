//! The server's answers: followed to their end, and passed on as they come.

use tokio::io::AsyncWriteExt as _;

use super::{
    packets::{HEADER, Head, Malformed, head},
    reading::Whole,
    relay::{End, LONGEST_HEARD, Session},
    results::{Answer, Asked, Ended, Then},
};
use crate::session::{BLOCK, emptied};

impl Session {
    pub(super) async fn send(&mut self, whole: &Whole, asked: Asked) -> Result<Ended, End> {
        self.pair.far.write(&whole.packets).await?;
        self.answer(asked).await
    }

    pub(super) async fn answer(&mut self, asked: Asked) -> Result<Ended, End> {
        let mut answer = Answer::new(asked, self.without_eof);
        self.follow(&mut answer).await
    }

    /// Passes an answer on to its end.
    pub(super) async fn follow(&mut self, answer: &mut Answer) -> Result<Ended, End> {
        loop {
            let Some(head) = head(&self.pair.far.buffer) else {
                self.hear().await?;
                continue;
            };
            let first = self.pair.far.buffer.get(HEADER).copied().filter(|_| head.length > 0);
            if first.is_none() && head.length > 0 {
                self.hear().await?;
                continue;
            }
            let wanted = answer.wants(head, first);
            if wanted && head.length > LONGEST_HEARD {
                return Err(lost(Malformed::Long));
            }
            while wanted && self.pair.far.buffer.len() < head.whole() {
                self.hear().await?;
            }
            let body = self.pair.far.buffer.get(HEADER..if wanted { head.whole() } else { HEADER + usize::from(first.is_some()) }).unwrap_or_default();
            let then = answer.heard(head, body).map_err(lost)?;
            self.pass(head).await?;
            match then {
                Then::More => {}
                Then::File => {
                    self.write().await?;
                    self.file().await?;
                }
                Then::Ended(ended) => {
                    self.facts.status(ended.status);
                    self.tell(&ended.outcome);
                    self.write().await?;
                    return Ok(ended);
                }
            }
        }
    }

    /// Passes a packet of the server on as it comes.
    async fn pass(&mut self, head: Head) -> Result<(), End> {
        let mut left = head.whole();
        while left > 0 {
            let some = self.pair.far.take(left);
            left -= some.len();
            self.out.extend_from_slice(&some);
            if self.out.len() >= BLOCK {
                self.write().await?;
            }
            if left > 0 {
                self.hear().await?;
            }
        }
        Ok(())
    }

    /// Reads on from the server; before it waits, all that was gathered is written.
    async fn hear(&mut self) -> Result<(), End> {
        self.write().await?;
        let read = tokio::select! {
            read = self.pair.far.more() => read?,
            () = self.asking.presence.gone() => return Err(End::Gone),
        };
        if read == 0 { Err(End::Gone) } else { Ok(()) }
    }

    async fn write(&mut self) -> Result<(), End> {
        if !self.out.is_empty() {
            self.pair.client.write(&self.out).await?;
            emptied(&mut self.out);
        }
        Ok(())
    }

    /// The client's file, up to an empty packet.
    async fn file(&mut self) -> Result<(), End> {
        loop {
            let head = self.head().await?;
            let mut left = head.whole();
            while left > 0 {
                let some = self.pair.client.take(left);
                left -= some.len();
                self.pair.far.stream().write_all(&some).await?;
                if left > 0 {
                    self.more().await?;
                }
            }
            if head.length == 0 {
                self.pair.far.stream().flush().await?;
                return Ok(());
            }
        }
    }
}

/// The server broke the protocol: nothing is known any more.
fn lost(why: Malformed) -> End {
    tracing::warn!(%why, "a MySQL server breaks the protocol");
    End::Io(why.into())
}
