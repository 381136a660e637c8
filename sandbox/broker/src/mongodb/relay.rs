//! The session itself: a message of the client's is judged and sent on; what the server says goes back message by message.

use std::{
    collections::HashMap,
    io,
    sync::{Mutex, PoisonError},
};

use agentbox_core::{Credential, Operation, Refusal, RefusalKind};
use bytes::Bytes;
use tokio::{
    io::{AsyncWriteExt as _, ReadHalf, WriteHalf},
    time::timeout,
};

use super::frames::{self, HEADER, Head, Malformed, head};
use crate::{
    http::{Share, refusal as no},
    meaning::sql,
    session::{Asking, Duplex, FAREWELL, IDLE, LONGEST_WHOLE, No, Question, Reader, SMALL, WITHIN, Yes, has_words},
    upstream::UpstreamStream,
};

/// Permitted deeds that may be on their way at once.
const MOST_DEEDS: usize = 1024;

struct Shared {
    client: tokio::sync::Mutex<WriteHalf<Box<dyn Duplex>>>,
    /// By the number of the message with which each is done.
    deeds: Mutex<HashMap<u32, u64>>,
}

/// Relays until one side ends.
pub(super) async fn relay(asking: Asking, client: Reader<Box<dyn Duplex>>, far: UpstreamStream) -> io::Result<()> {
    let (client, ahead) = client.into_parts();
    let (client_reader, client_writer) = tokio::io::split(client);
    let (far_reader, far_writer) = tokio::io::split(far);
    let shared = Shared { client: tokio::sync::Mutex::new(client_writer), deeds: Mutex::default() };
    let broker = asking.broker.clone();
    let mut up = Up { asking, shared: &shared, client: Reader::with(client_reader, ahead), far: far_writer };
    let mut down = std::pin::pin!(down(&broker, &shared, Reader::new(far_reader)));
    let ended = tokio::select! {
        ended = up.run() => {
            let _ = timeout(FAREWELL, up.far.shutdown()).await;
            let _ = timeout(FAREWELL, &mut down).await;
            ended
        }
        ended = &mut down => ended,
    };
    for ask in shared.deeds.lock().unwrap_or_else(PoisonError::into_inner).values() {
        broker.line.done(*ask, "the connection ended before the answer came");
    }
    ended
}

/// Relays the server's side until it ends.
async fn down(broker: &crate::broker::Broker, shared: &Shared, mut far: Reader<ReadHalf<UpstreamStream>>) -> io::Result<()> {
    loop {
        let Some(head) = head(&far.buffer)? else {
            if far.more().await? == 0 {
                return timeout(FAREWELL, async { shared.client.lock().await.shutdown().await }).await?;
            }
            continue;
        };
        if let Some(ask) = shared.deeds.lock().unwrap_or_else(PoisonError::into_inner).remove(&head.answers) {
            broker.line.done(ask, "the server answered");
        }
        // A message goes whole: an answer of ours stands between two of them.
        let mut client = shared.client.lock().await;
        let mut left = head.length;
        while left > 0 {
            let some = far.take(left);
            left -= some.len();
            client.write_all(&some).await?;
            if left > 0 && far.buffer.is_empty() && far.more().await? == 0 {
                return Err(Malformed::Short.into());
            }
        }
        client.flush().await?;
    }
}

/// The client's side.
struct Up<'r> {
    asking: Asking,
    shared: &'r Shared,
    client: Reader<ReadHalf<Box<dyn Duplex>>>,
    far: WriteHalf<UpstreamStream>,
}

impl Up<'_> {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            let Some(head) = head(&self.client.buffer)? else {
                let patience = if self.client.buffer.is_empty() { IDLE } else { WITHIN };
                match timeout(patience, self.client.more()).await?? {
                    0 if self.client.buffer.is_empty() => return Ok(()),
                    0 => return Err(Malformed::Short.into()),
                    _ => continue,
                }
            };
            // Answers are the server's.
            if head.answers != 0 {
                return Err(Malformed::Kind.into());
            }
            if head.length > LONGEST_WHOLE {
                self.too_long(head).await?;
                continue;
            }
            let mut share = Share::default();
            if head.length > SMALL && self.asking.broker.room.take(&mut share, head.length).is_err() {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            while self.client.buffer.len() < head.length {
                self.more().await?;
            }
            let bytes = self.client.take(head.length);
            if !self.message(head, &bytes).await? {
                return Ok(());
            }
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        match timeout(WITHIN, self.client.more()).await?? {
            0 => Err(Malformed::Short.into()),
            _ => Ok(()),
        }
    }

    /// One message; `false` where the client has gone.
    async fn message(&mut self, head: Head, bytes: &Bytes) -> io::Result<bool> {
        let body = bytes.get(HEADER..).unwrap_or_default();
        let (operations, shown) = sql::mongo_message(head.kind, body);
        let credentials = self.asking.credentials.clone();
        if operations.iter().any(|operation| matches!(operation.action.as_str(), "mongodb.saslStart" | "mongodb.authenticate"))
            || has_words(shown.as_bytes(), &["speculativeauthenticate"])
        {
            self.asking.credentials = vec![Credential { position: "MongoDB log-in".to_owned(), name: "unknown".to_owned(), issued: false }];
        }
        let what = told(&operations);
        // Without its number, which is another one each time.
        let kind = head.kind.to_le_bytes();
        let parts: &[&[u8]] = &[b"message", &kind, body];
        let question = |excerpt| self.asking.request(Question { operations: operations.clone(), parts, what: &what, excerpt });
        let locks = self.asking.locks(has_words(shown.as_bytes(), &["autocommit"]));
        let answer = match self.asking.at_once(&|| question(String::new())).await {
            Some(answer) => answer,
            None => {
                let request = question(shown.clone());
                self.asking.ask(request, locks).await
            }
        };
        match answer {
            Ok(Yes(deed)) => {
                if let Some(ask) = deed {
                    self.began(head, body, ask);
                }
                self.far.write_all(bytes).await?;
                self.far.flush().await?;
                Ok(true)
            }
            Err(No::Gone) => Ok(false),
            Err(No::Refused(refusal) | No::TooLong(refusal)) => {
                self.asking.credentials = credentials;
                self.refuse(head, body, &refusal).await?;
                Ok(true)
            }
        }
    }

    fn began(&self, head: Head, body: &[u8], ask: u64) {
        let mut deeds = self.shared.deeds.lock().unwrap_or_else(PoisonError::into_inner);
        if frames::waits(head.kind, body) && deeds.len() < MOST_DEEDS && !deeds.contains_key(&head.number) {
            deeds.insert(head.number, ask);
        } else {
            self.asking.done(&[ask], "sent, without an answer");
        }
    }

    async fn refuse(&mut self, head: Head, body: &[u8], refusal: &Refusal) -> io::Result<()> {
        if !frames::waits(head.kind, body) {
            return Ok(());
        }
        let mut client = self.shared.client.lock().await;
        client.write_all(&frames::refused(head.number, head.kind, refusal)).await?;
        client.flush().await
    }

    /// A message that is longer than what is judged: refused, and its bytes go nowhere.
    async fn too_long(&mut self, head: Head) -> io::Result<()> {
        while self.client.buffer.len() < HEADER + 4 {
            self.more().await?;
        }
        let flags = self.client.buffer.get(HEADER..HEADER + 4).unwrap_or_default().to_vec();
        let why = format!("the message has {} bytes, and what is judged has {LONGEST_WHOLE} at most", head.length);
        let refusal = no(RefusalKind::Failed, sql::UNCLEAR, "", &why, "Send it in parts.");
        self.asking.remember("a long message", &refusal);
        self.refuse(head, &flags, &refusal).await?;
        let mut left = head.length;
        while left > 0 {
            left -= self.client.take(left).len();
            if left > 0 {
                self.more().await?;
            }
        }
        Ok(())
    }
}

/// The worst of what a message does, on one line.
fn told(operations: &[Operation]) -> String {
    let worst = operations.iter().max_by_key(|operation| operation.effect);
    worst.map_or_else(String::new, |operation| format!("{} {}", operation.action, operation.resource.id))
}
