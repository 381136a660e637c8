//! The session itself: what the client sends is judged message by message and sent on; what the server answers is followed and passed.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use agentbox_core::{Effect, Operation, Refusal, RefusalKind};
use bytes::Bytes;
use tokio::{
    io::{AsyncWriteExt as _, ReadHalf, WriteHalf},
    sync::Notify,
    time::timeout,
};

use super::{
    answers::down,
    frames::{self, HEADER, Head, LONGEST_WHOLE, Malformed, Thing, Wire},
    functions,
    guard::{Own, is_one_query},
    kept::Texts,
    refusal::Refused,
    session::{Awaited, CopyIn, Fate, MOST_PORTALS, MOST_STATEMENTS, MOST_TEXT, Session, Statement},
    startup::violation,
};
use crate::{
    http::{Share, refusal as no},
    meaning::sql::{self, Considered},
    session::{Asking, BLOCK, Duplex, FAREWELL, IDLE, Locks, No, Question, SMALL, Value, WITHIN, Yes, emptied, excerpt, last_words, line},
    upstream::UpstreamStream,
};

/// Messages that are kept back at most; beyond them the server may as well lock for what they prepare.
const MOST_KEPT: usize = 4096;

pub(super) struct Shared {
    session: Mutex<Session>,
    /// The server has answered something.
    pub(super) answered: Notify,
    pub(super) client: tokio::sync::Mutex<WriteHalf<Box<dyn Duplex>>>,
}

impl Shared {
    pub(super) fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Relays until one side ends.
pub(super) async fn relay(asking: Asking, session: Session, client: Wire<Box<dyn Duplex>>, far: Wire<UpstreamStream>) -> io::Result<()> {
    let (client, client_ahead) = client.into_parts();
    let (far, far_ahead) = far.into_parts();
    let (client_reader, client_writer) = tokio::io::split(client);
    let (far_reader, far_writer) = tokio::io::split(far);
    let shared = Shared { session: Mutex::new(session), answered: Notify::new(), client: tokio::sync::Mutex::new(client_writer) };
    let mut up = Up {
        asking: &asking,
        shared: &shared,
        client: Wire::with(client_reader, client_ahead),
        far: far_writer,
        out: Vec::new(),
        kept: Kept::default(),
        texts: Texts::default(),
        own: Own::default(),
    };
    let mut down = std::pin::pin!(down(&asking, &shared, Wire::with(far_reader, far_ahead)));
    let ended = tokio::select! {
        ended = up.run() => {
            if let Err(End::Violation(why)) = &ended {
                let mut client = shared.client.lock().await;
                let _ = last_words(&mut *client, &violation(*why)).await;
            } else {
                let _ = timeout(FAREWELL, up.far.shutdown()).await;
                let _ = timeout(FAREWELL, &mut down).await;
            }
            ended.map_err(io::Error::from)
        }
        ended = &mut down => ended,
    };
    if let Some((asks, _)) = shared.session().ended() {
        asking.done(&asks, "the connection ended before the answer came");
    }
    ended
}

/// Why a session ends early.
pub(super) type End = crate::session::End<Malformed>;

/// Messages that are not sent before it is known whether what they prepare may be done: the server would lock for them while a person thinks.
#[derive(Default)]
struct Kept {
    messages: Vec<(Bytes, Awaited)>,
    length: usize,
}

/// The client's side.
pub(super) struct Up<'r> {
    pub(super) asking: &'r Asking,
    pub(super) shared: &'r Shared,
    client: Wire<ReadHalf<Box<dyn Duplex>>>,
    far: WriteHalf<UpstreamStream>,
    out: Vec<u8>,
    kept: Kept,
    /// Texts that were prepared.
    texts: Texts,
    pub(super) own: Own,
}

/// What was decided on a message.
pub(super) enum Decided {
    Send(Yes),
    /// In the read-only transaction that was begun.
    Inside(Yes),
    Refuse(Refusal),
    /// Refused, since its transaction was kept waiting too long.
    RollBack(Refusal),
}

impl Up<'_> {
    async fn run(&mut self) -> Result<(), End> {
        loop {
            let Some(head) = self.next().await? else { return Ok(()) };
            match head.kind {
                b'd' => self.stream(head).await?,
                b'X' => {
                    let bytes = self.whole(head, HEADER).await?;
                    self.send_kept();
                    self.out.extend_from_slice(&bytes);
                    return Ok(self.flush().await?);
                }
                b'B' if head.length > SMALL => self.long_bind(head).await?,
                b'Q' | b'P' if head.length > LONGEST_WHOLE => self.too_long(head).await?,
                b'Q' | b'P' | b'B' | b'E' | b'D' | b'C' | b'S' | b'H' | b'F' | b'c' | b'f' => {
                    let mut share = Share::default();
                    self.room(head.length, &mut share).await?;
                    let bytes = self.whole(head, LONGEST_WHOLE).await?;
                    self.message(head.kind, &bytes).await?;
                }
                // Authentication is over, and other letters are not of this protocol.
                _ => return Err(Malformed::Version.into()),
            }
        }
    }

    /// The head of the next message; before it waits, all that was gathered is written.
    async fn next(&mut self) -> Result<Option<Head>, End> {
        loop {
            if let Some(head) = self.client.head()? {
                return Ok(Some(head));
            }
            self.flush().await?;
            let patience = if self.client.buffer.is_empty() { IDLE } else { WITHIN };
            if timeout(patience, self.client.more()).await.map_err(io::Error::from)?? == 0 {
                return if self.client.buffer.is_empty() { Ok(None) } else { Err(Malformed::Short.into()) };
            }
        }
    }

    async fn whole(&mut self, head: Head, most: usize) -> Result<Bytes, End> {
        if head.length > most {
            return Err(Malformed::Length.into());
        }
        while self.client.buffer.len() < head.whole() {
            self.more().await?;
        }
        Ok(self.client.take(head.whole()))
    }

    async fn more(&mut self) -> Result<(), End> {
        self.flush().await?;
        match timeout(WITHIN, self.client.more()).await.map_err(io::Error::from)?? {
            0 => Err(Malformed::Short.into()),
            _ => Ok(()),
        }
    }

    /// Large messages share the room that HTTP's bodies have.
    async fn room(&mut self, length: usize, share: &mut Share) -> Result<(), End> {
        if length > SMALL && self.asking.broker.room.take(share, length).is_err() {
            return Err(io::Error::from(io::ErrorKind::OutOfMemory).into());
        }
        Ok(())
    }

    /// Passes a message on as it comes. Returns with all of it gathered or written.
    async fn stream(&mut self, head: Head) -> Result<(), End> {
        let mut left = head.whole();
        while left > 0 {
            left -= self.client.pass(left, Some(&mut self.out));
            if self.out.len() >= BLOCK {
                self.flush().await?;
            }
            if left > 0 {
                self.more().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.far.write_all(&self.out).await?;
            self.far.flush().await?;
            emptied(&mut self.out);
        }
        Ok(())
    }

    pub(super) fn send(&mut self, bytes: &[u8], awaited: Awaited, fate: Fate) {
        self.shared.session().sent(awaited, fate);
        self.out.extend_from_slice(bytes);
    }

    fn send_kept(&mut self) {
        self.kept.length = 0;
        for (bytes, awaited) in std::mem::take(&mut self.kept.messages) {
            self.send(&bytes, awaited, Fate::Pass);
        }
    }

    fn keep(&mut self, bytes: &Bytes, awaited: Awaited) {
        if self.kept.length + bytes.len() > LONGEST_WHOLE || self.kept.messages.len() >= MOST_KEPT {
            self.send_kept();
        }
        self.kept.length += bytes.len();
        self.kept.messages.push((bytes.clone(), awaited));
    }

    /// Sends at once, or behind what is kept.
    fn send_or_keep(&mut self, bytes: &Bytes, awaited: Awaited) {
        if self.kept.messages.is_empty() { self.send(bytes, awaited, Fate::Pass) } else { self.keep(bytes, awaited) }
    }

    /// Waits until the session is so. The server is asked to answer what it has, since it gathers answers until a `Sync`.
    pub(super) async fn until(&mut self, is_so: impl Fn(&Session) -> bool) -> Result<(), End> {
        let mut asked = false;
        loop {
            {
                let session = self.shared.session();
                if is_so(&session) {
                    return Ok(());
                }
                if session.is_in_batch() && !asked {
                    self.out.extend_from_slice(&frames::message(b'H', b""));
                    asked = true;
                }
            }
            self.flush().await?;
            tokio::select! {
                () = self.shared.answered.notified() => {}
                () = self.asking.presence.gone() => return Err(End::Gone),
            }
        }
    }

    async fn message(&mut self, kind: u8, bytes: &Bytes) -> Result<(), End> {
        let body = bytes.slice(HEADER..);
        if !matches!(kind, b'c' | b'f' | b'S' | b'H') && self.shared.session().copy_in() != CopyIn::No {
            // Until it is known whether the server waits for rows, nobody knows how it reads this.
            self.until(|session| session.copy_in() != CopyIn::Perhaps).await?;
            if self.shared.session().copy_in() == CopyIn::Yes {
                return Err(Malformed::Version.into());
            }
        }
        if self.shared.session().is_crowded() {
            self.until(|session| !session.is_crowded()).await?;
        }
        match kind {
            // No driver does that, and what the server makes of it nobody follows.
            b'Q' | b'F' if self.own.guard.is_some() => Err(Malformed::Version.into()),
            b'Q' => self.query(bytes, &body).await,
            b'P' => self.parse(bytes, &body).await,
            b'B' => self.bind(bytes, &body).await,
            b'F' => self.function(bytes, &body).await,
            b'E' => {
                let portal = frames::execute(&body)?.to_owned();
                self.send_kept();
                self.until(|session| session.could_be_portal(&portal).len() < 2).await?;
                let statement = self.shared.session().could_be_portal(&portal).pop().flatten();
                self.send(bytes, Awaited::Execute(statement), self.fate());
                Ok(())
            }
            b'D' => {
                let awaited = match frames::thing(&body)?.0 {
                    Thing::Statement => Awaited::DescribeStatement,
                    Thing::Portal => Awaited::DescribePortal,
                };
                self.send_or_keep(bytes, awaited);
                Ok(())
            }
            b'C' => {
                let (thing, name) = frames::thing(&body)?;
                self.send_or_keep(bytes, Awaited::Close(thing, name.to_owned()));
                Ok(())
            }
            b'S' => {
                if !body.is_empty() {
                    return Err(Malformed::Long.into());
                }
                self.send_kept();
                // While the server waits for rows it drops these.
                if self.shared.session().copy_in() != CopyIn::Yes {
                    self.send(bytes, Awaited::Sync, self.fate());
                    self.leave();
                }
                Ok(())
            }
            b'H' => {
                if !body.is_empty() {
                    return Err(Malformed::Long.into());
                }
                self.send_kept();
                self.shared.session().flushed();
                self.out.extend_from_slice(bytes);
                Ok(())
            }
            _ => {
                if self.shared.session().copy_in() == CopyIn::Yes {
                    self.shared.session().rows_ended();
                }
                self.out.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    pub(super) fn locks(&self) -> Locks {
        self.asking.locks(self.shared.session().may_hold_locks())
    }

    async fn query(&mut self, bytes: &Bytes, body: &Bytes) -> Result<(), End> {
        let text = frames::query(body)?;
        // A short one is copied: what was read with it can then be used again for what comes next.
        let statement = Statement::new(if text.len() <= SMALL { Bytes::copy_from_slice(text) } else { body.slice_ref(text) });
        self.send_kept();
        match self.judge(&statement, &[b"query", &statement.text], &[]).await? {
            Decided::Send(yes) | Decided::Inside(yes) => {
                self.began(yes);
                self.send(bytes, Awaited::Query(statement), self.fate());
                self.leave();
            }
            Decided::Refuse(refusal) => self.refuse_query(&refusal)?,
            Decided::RollBack(refusal) => {
                self.roll_back();
                self.refuse_query(&refusal)?;
            }
        }
        Ok(())
    }

    async fn parse(&mut self, bytes: &Bytes, body: &Bytes) -> Result<(), End> {
        let (name, text) = frames::parse(body)?;
        let name = name.to_owned();
        if !self.shared.session().has_room(&name, text) {
            let why = format!("a session may have {MOST_STATEMENTS} prepared statements with {} MiB of text here", MOST_TEXT >> 20);
            return self.refuse_extended(&no(RefusalKind::Failed, "postgres.prepare", "", &why, "Close those that are not needed."));
        }
        let statement = self.texts.statement(text);
        let plain = self.is_plain(&statement);
        let awaited = Awaited::Parse(name, statement);
        if plain {
            self.send_or_keep(bytes, awaited)
        } else {
            self.keep(bytes, awaited)
        }
        Ok(())
    }

    async fn bind(&mut self, bytes: &Bytes, body: &Bytes) -> Result<(), End> {
        let (portal, name) = frames::bind_names(body)?;
        let (portal, name) = (portal.to_owned(), name.to_owned());
        let values = frames::bind_values(body)?;
        let behind = body.get(portal.len() + name.len() + 2..).unwrap_or_default();
        let Some(statement) = self.statement(&portal, &name).await? else { return Ok(()) };
        let decided = match &statement {
            Some(statement) => self.judge(statement, &[b"bind", &statement.text, behind], &values).await?,
            None if self.own.guard.is_some() => return Err(Malformed::Version.into()),
            None => self.judge_unknown(&name).await?,
        };
        match decided {
            Decided::Send(yes) | Decided::Inside(yes) => {
                self.began(yes);
                self.send_kept();
                if self.own.guard.is_some() {
                    self.own.portals.push(portal.clone());
                }
                self.send(bytes, Awaited::Bind(portal, statement), self.fate());
                Ok(())
            }
            Decided::Refuse(refusal) => self.refuse_extended(&refusal),
            Decided::RollBack(refusal) => {
                self.kept = Kept::default();
                self.roll_back();
                self.refuse_extended(&refusal)
            }
        }
    }

    /// What a name stands for, once that is certain; the inner `None` where it was not prepared here. The outer one where it was refused.
    async fn statement(&mut self, portal: &str, name: &str) -> Result<Option<Option<Arc<Statement>>>, End> {
        if !self.shared.session().has_room_for_portal(portal) {
            let why = format!("a transaction may have {MOST_PORTALS} portals here");
            self.refuse_extended(&no(RefusalKind::Failed, "postgres.bind", "", &why, "Close those that are not needed."))?;
            return Ok(None);
        }
        let kept = self.kept.messages.iter().rev().find_map(|(_, awaited)| match awaited {
            Awaited::Parse(known, statement) if known == name => Some(statement.clone()),
            _ => None,
        });
        if kept.is_some() {
            return Ok(Some(kept));
        }
        let wanted = name.to_owned();
        self.until(move |session| session.could_be(&wanted).len() < 2).await?;
        Ok(Some(self.shared.session().could_be(name).pop()))
    }

    /// Values that are too long to be gathered: sent on as they come, where the statement is plainly allowed.
    async fn long_bind(&mut self, head: Head) -> Result<(), End> {
        while self.client.buffer.len() < (HEADER + 2 * (frames::LONGEST_NAME + 1)).min(head.whole()) {
            self.more().await?;
        }
        let front = self.client.buffer.get(HEADER..).unwrap_or_default();
        let (portal, name) = frames::bind_names(front.get(..front.len().min(head.length)).unwrap_or_default())?;
        let (portal, name) = (portal.to_owned(), name.to_owned());
        if self.shared.session().copy_in() != CopyIn::No {
            self.until(|session| session.copy_in() == CopyIn::No).await?;
        }
        let Some(statement) = self.statement(&portal, &name).await? else { return self.skip(head).await };
        if let Some(statement) = statement
            && self.is_plain(&statement)
        {
            if let Decided::Refuse(refusal) | Decided::RollBack(refusal) = self.judge(&statement, &[b"long bind", &statement.text], &[]).await? {
                self.refuse_extended(&refusal)?;
                return self.skip(head).await;
            }
            self.send_kept();
            if self.own.guard.is_some() {
                self.own.portals.push(portal.clone());
            }
            self.shared.session().sent(Awaited::Bind(portal, Some(statement)), self.fate());
            return self.stream(head).await;
        }
        if head.length > LONGEST_WHOLE {
            return self.too_long(head).await;
        }
        let mut share = Share::default();
        self.room(head.length, &mut share).await?;
        let bytes = self.whole(head, LONGEST_WHOLE).await?;
        let body = bytes.slice(HEADER..);
        self.bind(&bytes, &body).await
    }

    /// A message that must be judged and is longer than what is read: refused, and its bytes go nowhere.
    async fn too_long(&mut self, head: Head) -> Result<(), End> {
        let why = format!("the message has {} bytes, and what is judged has {} at most", head.length, LONGEST_WHOLE);
        let refusal = no(RefusalKind::Failed, sql::UNCLEAR, "", &why, "Send it in parts; rows go by COPY.");
        self.asking.remember("a long message", &refusal);
        if head.kind == b'Q' {
            self.send_kept();
            self.refuse_query(&refusal)?;
        } else {
            self.refuse_extended(&refusal)?;
        }
        self.skip(head).await
    }

    async fn skip(&mut self, head: Head) -> Result<(), End> {
        let mut left = head.whole();
        while left > 0 {
            left -= self.client.pass(left, None);
            if left > 0 {
                self.more().await?;
            }
        }
        Ok(())
    }

    async fn function(&mut self, bytes: &Bytes, body: &Bytes) -> Result<(), End> {
        let number = frames::function(body)?;
        self.send_kept();
        let (operation, what) = functions::call(number, self.shared.session().facts.database());
        let question = Question { operations: vec![operation], parts: &[b"function", body], what: &what, excerpt: what.clone() };
        let request = self.asking.request(question);
        match self.ask(request).await? {
            Decided::Send(yes) => {
                self.began(yes);
                self.send(bytes, Awaited::Function, Fate::Pass);
                Ok(())
            }
            Decided::Inside(_) => Err(Malformed::Version.into()),
            Decided::Refuse(refusal) | Decided::RollBack(refusal) => self.refuse_query(&refusal),
        }
    }

    fn is_plain(&self, statement: &Statement) -> bool {
        let considered = self.shared.session().consider(statement);
        self.asking.is_plain(&self.asking.sketch(considered.operations.iter().chain(&considered.leaned).cloned().collect()))
    }

    async fn judge(&mut self, statement: &Statement, parts: &[&[u8]], values: &[Value<'_>]) -> Result<Decided, End> {
        let considered = self.consider(statement).await?;
        let Considered { operations, leaned, .. } = &*considered;
        let path = self.shared.session().facts.path().join(",");
        // A function that does something else by now makes it another statement.
        let does = if leaned.is_empty() { String::new() } else { format!("{operations:?}") };
        let parts: Vec<&[u8]> = parts.iter().copied().chain([path.as_bytes(), does.as_bytes()]).collect();
        let what = line(&statement.text);
        let asking = self.asking;
        let question = |operations: &[Operation], excerpt| asking.request(Question { operations: operations.to_vec(), parts: &parts, what: &what, excerpt });
        if self.own.guard.is_some() && (!is_one_query(&statement.text) || operations.iter().any(|operation| operation.effect > Effect::Read)) {
            let why = "it stands in one batch with a function that runs in a read-only transaction";
            return Ok(Decided::Refuse(no(RefusalKind::Failed, "postgres.batch", "", why, "Send it in a batch of its own, behind a Sync.")));
        }
        if leaned.is_empty() {
            if let Some(answer) = asking.at_once(&|| question(operations, String::new())).await {
                return decided(answer);
            }
            let held = self.held().await?;
            let request = question(operations, excerpt(&statement.text, values, self.locks(), &held));
            return self.ask(request).await;
        }
        self.judge_leaning(statement, operations.clone(), leaned.clone(), values, &question).await
    }

    /// A statement that was prepared in a way that nobody could follow.
    async fn judge_unknown(&mut self, name: &str) -> Result<Decided, End> {
        let why = "it executes what was prepared under a name that is not known here";
        let operation = Operation::new(Effect::Opaque, sql::UNCLEAR, self.shared.session().facts.database(), why);
        let what = format!("executes the prepared statement {name}");
        let question = Question { operations: vec![operation], parts: &[b"unknown", name.as_bytes()], what: &what, excerpt: String::new() };
        let request = self.asking.request(question);
        self.ask(request).await
    }

    pub(super) async fn ask(&mut self, request: agentbox_core::Request) -> Result<Decided, End> {
        let locks = self.locks();
        // What came before must not wait with it.
        self.flush().await?;
        decided(self.asking.ask(request, locks).await)
    }

    fn began(&mut self, yes: Yes) {
        if let Some(ask) = yes.0 {
            self.shared.session().began(ask);
        }
    }

    fn refuse_query(&mut self, refusal: &Refusal) -> Result<(), End> {
        let refused = refused(refusal)?;
        let bytes = refused.query();
        self.send(&bytes, Awaited::Query(Statement::new(Bytes::new())), Fate::Refuse(Box::new(refused)));
        Ok(())
    }

    /// What is kept is refused with it: the client takes the error for the answer to the first of them.
    fn refuse_extended(&mut self, refusal: &Refusal) -> Result<(), End> {
        self.kept = Kept::default();
        let refused = refused(refusal)?;
        let bytes = refused.execute();
        self.send(&bytes, Awaited::Execute(None), Fate::Refuse(Box::new(refused)));
        Ok(())
    }

    /// Ends the client's transaction at the server, with all its savepoints, and leaves a failed one in its place: the locks are free, and what
    /// the client sends next fails until it says ROLLBACK itself, as it expects of a transaction that has failed.
    fn roll_back(&mut self) {
        if !self.shared.session().rests_in_transaction() {
            return;
        }
        for text in [&b"ROLLBACK"[..], b"BEGIN"] {
            self.send(&frames::of_texts(b'Q', &[text], &[]), Awaited::Query(Statement::new(Bytes::from_static(text))), Fate::Swallow);
        }
    }
}

pub(super) fn decided(answer: Result<Yes, No>) -> Result<Decided, End> {
    match answer {
        Ok(yes) => Ok(Decided::Send(yes)),
        Err(No::Refused(refusal)) => Ok(Decided::Refuse(refusal)),
        Err(No::TooLong(refusal)) => Ok(Decided::RollBack(refusal)),
        Err(No::Gone) => Err(End::Gone),
    }
}

fn refused(refusal: &Refusal) -> Result<Refused, End> {
    Refused::new(refusal).ok_or_else(|| io::Error::other("the system gives no random numbers").into())
}
