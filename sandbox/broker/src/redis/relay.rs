//! The session itself: what the client sends is judged command by command and sent on; what the server answers is followed and passed.

use std::io;

use agentbox_core::{Operation, Refusal, RefusalKind};
use bytes::Bytes;
use tokio::{
    io::{AsyncWriteExt as _, ReadHalf, WriteHalf},
    time::timeout,
};

use super::{
    answers::{Shared, done, down},
    commands::{Decoder, Found, Long, Malformed, array, number},
    keyed::{Anew, Wanted},
    refusal,
    session::{Awaited, Fate, Selected, Session},
    transaction::Transaction,
    words::{self, Command},
};
use crate::{
    broker::Broker,
    http::{Share, refusal as no},
    meaning::{named_credential, sql},
    session::{Asking, BLOCK, Duplex, FAREWELL, IDLE, LONGEST_WHOLE, Locks, No, Question, Reader, SMALL, WITHIN, Yes, emptied, last_words},
    upstream::UpstreamStream,
};

/// How a session ended.
pub(super) enum Ended {
    /// With one of both sides.
    ByThem,
    /// The client has shown a placeholder: it goes on by another connection.
    Anew(Box<Anew>),
}

/// Relays until one side ends.
pub(super) async fn relay(asking: Asking, client: Reader<Box<dyn Duplex>>, far: UpstreamStream) -> io::Result<Ended> {
    let (client, client_ahead) = client.into_parts();
    let (client_reader, client_writer) = tokio::io::split(client);
    let (far_reader, far_writer) = tokio::io::split(far);
    let shared = Shared::new(client_writer);
    let broker = asking.broker.clone();
    let (ended, asking, client) = {
        let mut up = Up {
            asking,
            shared: &shared,
            client: Reader::with(client_reader, client_ahead),
            decoder: Decoder::default(),
            far: far_writer,
            out: Vec::new(),
            transaction: Transaction::default(),
            share: Share::default(),
        };
        let mut down = std::pin::pin!(down(&broker, &shared, Reader::new(far_reader)));
        let ended = tokio::select! {
            ended = up.run() => {
                match &ended {
                    Err(End::Violation(why)) => {
                        // What was answered before belongs before it.
                        let _ = timeout(FAREWELL, async {
                            tokio::select! { _ = up.until(Session::is_settled) => {}, _ = &mut down => {} }
                        }).await;
                        let _ = last_words(&mut *shared.client.lock().await, &refusal::plain(&format!("protocol error: {why}"))).await;
                    }
                    // Nothing is awaited of the server, and the client's side goes on.
                    Ok(Some(_)) => {
                        let _ = timeout(FAREWELL, up.far.shutdown()).await;
                    }
                    Ok(None) | Err(End::Io(_) | End::Gone) => {
                        let _ = timeout(FAREWELL, up.far.shutdown()).await;
                        let _ = timeout(FAREWELL, &mut down).await;
                    }
                }
                ended.map_err(io::Error::from)
            }
            ended = &mut down => ended.map(|()| None),
        };
        (ended, up.asking, up.client)
    };
    if let Some((asks, _)) = shared.session().ended() {
        done(&broker, &asks, "the connection ended before the answer came");
    }
    let Some(wanted) = ended? else { return Ok(Ended::ByThem) };
    let (reader, ahead) = client.into_parts();
    let client = Reader::with(reader.unsplit(shared.client.into_inner()), ahead);
    Ok(Ended::Anew(Box::new(Anew { asking, client, wanted })))
}

/// Why a session ends early.
type End = crate::session::End<Malformed>;

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    Sent,
    Refused,
}

/// Whether the client may send more.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    On,
    Ended,
    Keyed(Wanted),
}

/// The client's side.
struct Up<'r> {
    asking: Asking,
    shared: &'r Shared,
    client: Reader<ReadHalf<Box<dyn Duplex>>>,
    decoder: Decoder,
    far: WriteHalf<UpstreamStream>,
    out: Vec<u8>,
    /// What the server has gathered and was not judged.
    transaction: Transaction,
    /// Of the broker's room, for what is read and not whole yet.
    share: Share,
}

impl Up<'_> {
    async fn run(&mut self) -> Result<Option<Wanted>, End> {
        loop {
            let then = match self.decoder.read(&self.client.buffer)? {
                Found::More => self.more().await?,
                Found::Nothing(length) => {
                    self.client.take(length);
                    Then::On
                }
                Found::Array(length, ranges) => {
                    let bytes = self.client.take(length);
                    let words: Vec<&[u8]> = ranges.into_iter().map(|range| bytes.get(range).unwrap_or_default()).collect();
                    self.command(&bytes, &words).await?
                }
                Found::Line(length, words) => {
                    self.client.take(length);
                    // As an array, so that the server's quotes cannot be other ones.
                    let bytes = Bytes::from(array(&words));
                    self.command(&bytes, &words.iter().map(Vec::as_slice).collect::<Vec<_>>()).await?
                }
                Found::Long(long) => self.long(long).await?,
            };
            match then {
                Then::On => {}
                Then::Ended => return Ok(self.flush().await.map(|()| None)?),
                Then::Keyed(wanted) => return Ok(Some(wanted)),
            }
        }
    }

    /// Reads on; before it waits, all that was gathered is written.
    async fn more(&mut self) -> Result<Then, End> {
        self.flush().await?;
        let have = self.client.buffer.len();
        if have <= SMALL {
            self.share = Share::default();
        } else if self.asking.broker.room.take(&mut self.share, have).is_err() {
            return Err(io::Error::from(io::ErrorKind::OutOfMemory).into());
        }
        let patience = if have == 0 { IDLE } else { WITHIN };
        match timeout(patience, self.client.more()).await.map_err(io::Error::from)?? {
            0 if have == 0 => Ok(Then::Ended),
            0 => Err(Malformed::End.into()),
            _ => Ok(Then::On),
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.far.write_all(&self.out).await?;
            self.far.flush().await?;
            emptied(&mut self.out);
        }
        Ok(())
    }

    async fn send(&mut self, bytes: &[u8], awaited: Awaited, fate: Fate) -> Result<(), End> {
        self.shared.session().sent(awaited, fate);
        self.out.extend_from_slice(bytes);
        if self.out.len() >= BLOCK {
            self.flush().await?;
        }
        Ok(())
    }

    /// Waits until the session is so.
    async fn until(&mut self, is_so: impl Fn(&Session) -> bool) -> Result<(), End> {
        loop {
            if is_so(&self.shared.session()) {
                return Ok(());
            }
            self.flush().await?;
            tokio::select! {
                () = self.shared.answered.notified() => {}
                () = self.asking.presence.gone() => return Err(End::Gone),
            }
        }
    }

    async fn command(&mut self, bytes: &[u8], words: &[&[u8]]) -> Result<Then, End> {
        if self.shared.session().is_crowded() {
            self.until(|session| !session.is_crowded()).await?;
        }
        let command = Command::of(words);
        if self.shared.session().monitors() && command != Command::Quit {
            // What is shown cannot be told from what is answered.
            return Err(Malformed::Answer.into());
        }
        match command {
            Command::Judged(awaited) => {
                self.judged(bytes, words, awaited).await?;
            }
            Command::Exec => self.exec(bytes, words).await?,
            Command::Undo(awaited) => {
                self.judged(bytes, words, awaited).await?;
                if !self.transaction.is_empty() {
                    self.until(Session::is_settled).await?;
                    if self.shared.session().was_ok() {
                        self.transaction = Transaction::default();
                    }
                }
            }
            Command::Login(user, password) => return self.login(bytes, words, user, password).await,
            Command::ByDigest(digest) => self.by_digest(bytes, words, digest).await?,
            Command::Quit => {
                self.send(bytes, Awaited::Plain(1), Fate::Pass).await?;
                return Ok(Then::Ended);
            }
            Command::NotSpoken(why) => {
                let name = format!("redis.{}", words::name(words));
                self.refuse(words, &no(RefusalKind::Denied, &name, "", why, "Leave it out.")).await?;
            }
        }
        Ok(Then::On)
    }

    fn operations(&self, words: &[&[u8]]) -> Vec<Operation> {
        match self.shared.session().database() {
            Selected::OneOf(databases) => sql::redis_command_in(words, &databases),
            Selected::Unknown => sql::redis_command_in(words, &[]),
        }
    }

    /// A command that is sent on if it may be done, or gathered.
    async fn judged(&mut self, bytes: &[u8], words: &[&[u8]], awaited: Awaited) -> Result<Became, End> {
        self.broker().scripts.learn(words);
        self.judge(bytes, words, awaited, words).await
    }

    fn broker(&self) -> &Broker {
        &self.asking.broker
    }

    /// The same of a command that means what `meant` says.
    async fn judge(&mut self, bytes: &[u8], words: &[&[u8]], awaited: Awaited, meant: &[&[u8]]) -> Result<Became, End> {
        let listens = matches!(awaited, Awaited::Subscribe(..) | Awaited::Unsubscribe(..) | Awaited::Monitor);
        if listens && self.shared.session().may_gather() {
            let why = "subscriptions are not spoken within a transaction";
            return self.refuse(words, &no(RefusalKind::Failed, "redis.subscribe", "", why, "Subscribe outside of it.")).await.map(|()| Became::Refused);
        }
        let shown = words::shown(words);
        let parts: Vec<&[u8]> = std::iter::once(&b"command"[..]).chain(words.iter().copied()).collect();
        // Once everything is answered it is known which database is selected, and whether the server gathers commands.
        let settled = self.shared.session().is_settled();
        for settled in [settled, true] {
            if settled {
                self.until(Session::is_settled).await?;
            }
            let operations = self.operations(meant);
            self.asking.database = self.shared.session().database().to_string();
            let question = |excerpt| self.asking.request(Question { operations: operations.clone(), parts: &parts, what: &shown, excerpt });
            match self.asking.at_once(&|| question(String::new())).await {
                Some(Ok(_)) => {
                    self.send(bytes, awaited, Fate::Pass).await?;
                    if awaited == Awaited::Monitor {
                        self.until(Session::is_settled).await?;
                    }
                    return Ok(Became::Sent);
                }
                Some(Err(No::Refused(refusal) | No::TooLong(refusal))) => return self.refuse(words, &refusal).await.map(|()| Became::Refused),
                Some(Err(No::Gone)) => return Err(End::Gone),
                None if !settled => continue,
                None => {}
            }
            let request = question(shown.clone());
            if self.shared.session().gathers() && matches!(awaited, Awaited::Plain(_) | Awaited::Select(_)) {
                return self.gather(bytes, words, awaited, operations, shown).await.map(|()| Became::Sent);
            }
            return match self.asking.ask(request, Locks::None).await {
                Ok(yes) => {
                    self.began(yes);
                    self.send(bytes, awaited, Fate::Pass).await.map(|()| Became::Sent)
                }
                Err(No::Refused(refusal) | No::TooLong(refusal)) => self.refuse(words, &refusal).await.map(|()| Became::Refused),
                Err(No::Gone) => Err(End::Gone),
            };
        }
        Ok(Became::Refused)
    }

    /// The server gathers it for an `EXEC`: there it is asked about.
    async fn gather(&mut self, bytes: &[u8], words: &[&[u8]], awaited: Awaited, operations: Vec<Operation>, shown: String) -> Result<(), End> {
        if !self.transaction.has_room(bytes.len()) {
            let why = "a transaction has more commands that must be asked about than are remembered";
            return self.refuse(words, &no(RefusalKind::Failed, sql::UNCLEAR, "", why, "Send it in parts.")).await;
        }
        self.transaction.push(bytes, operations, shown);
        self.send(bytes, awaited, Fate::Pass).await
    }

    fn began(&mut self, yes: Yes) {
        if let Some(ask) = yes.0 {
            self.shared.session().began(ask);
        }
    }

    /// Sends something that fails in the place of what is refused.
    async fn refuse(&mut self, words: &[&[u8]], refusal: &Refusal) -> Result<(), End> {
        if refusal.kind == RefusalKind::Failed || refusal.approval_id.is_none() {
            self.asking.remember(&words::shown(words), refusal);
        }
        self.instead(refusal::error(refusal)).await
    }

    async fn instead(&mut self, error: Vec<u8>) -> Result<(), End> {
        let stand_in = refusal::stand_in().ok_or_else(|| io::Error::other("the system gives no random numbers"))?;
        self.send(&stand_in, Awaited::Plain(1), Fate::Instead(error)).await
    }

    /// Judges all that was gathered, and then has it done or undone.
    async fn exec(&mut self, bytes: &[u8], words: &[&[u8]]) -> Result<(), End> {
        if self.transaction.is_empty() {
            return self.judged(bytes, words, Awaited::Exec).await.map(|_| ());
        }
        self.until(Session::is_settled).await?;
        let transaction = std::mem::take(&mut self.transaction);
        let what = format!("EXEC of {} commands that must be asked about", transaction.len());
        let question = Question { operations: transaction.operations(), parts: &transaction.parts(), what: &what, excerpt: transaction.excerpt() };
        let request = self.asking.request(question);
        match self.asking.ask(request, Locks::None).await {
            Ok(yes) => {
                self.began(yes);
                self.send(bytes, Awaited::Exec, Fate::Pass).await
            }
            Err(No::Refused(refusal) | No::TooLong(refusal)) => {
                self.send(&array(&["DISCARD"]), Awaited::Discard, Fate::Instead(refusal::error(&refusal))).await
            }
            Err(No::Gone) => Err(End::Gone),
        }
    }

    /// The client shows a credential: it is noticed, and where it is not plainly welcome somebody is asked first.
    async fn login(&mut self, bytes: &[u8], words: &[&[u8]], user: Option<&[u8]>, password: &[u8]) -> Result<Then, End> {
        if self.broker().carrier.is_some()
            && let Some(name) = self.broker().issued.named(password).map(str::to_owned)
        {
            self.until(Session::is_settled).await?;
            if self.shared.session().is_fresh() {
                return Ok(Then::Keyed(Wanted::of(words, user, name)));
            }
            let why = "the password of this box is taken at the beginning of a connection only, before other commands have been answered";
            self.refuse(words, &no(RefusalKind::Failed, "redis.connect", "", why, "Log in first, on a new connection.")).await?;
            return Ok(Then::On);
        }
        let before = (self.asking.user.clone(), self.asking.credentials.clone());
        self.asking.user = agentbox_core::safe::line(&String::from_utf8_lossy(user.unwrap_or(b"default")), 60);
        let position = format!("Redis password of the user {}", self.asking.user);
        self.asking.credentials = vec![agentbox_core::Credential { position, name: named_credential(password), issued: false }];
        if self.judged(bytes, words, Awaited::Plain(1)).await? == Became::Refused {
            (self.asking.user, self.asking.credentials) = before;
        }
        Ok(Then::On)
    }

    /// A script that only the server may know. Clients send its text when they are told that it is not known.
    async fn by_digest(&mut self, bytes: &[u8], words: &[&[u8]], digest: &[u8]) -> Result<(), End> {
        let known = self.broker().scripts.text(digest);
        match known {
            Some(text) => {
                let as_text: Vec<&[u8]> = [&b"eval"[..], &text].into_iter().chain(words.iter().skip(2).copied()).collect();
                self.judge(bytes, words, Awaited::Plain(1), &as_text).await.map(|_| ())
            }
            None if self.shared.session().may_gather() => self.judged(bytes, words, Awaited::Plain(1)).await.map(|_| ()),
            None => self.instead(b"-NOSCRIPT No matching script is known to agentbox. Please use EVAL.\r\n".to_vec()).await,
        }
    }

    /// A command with a word that is too long to be gathered: a value is sent on as it comes, where the command is plainly allowed.
    async fn long(&mut self, long: Long) -> Result<Then, End> {
        let front = self.client.buffer.get(..long.head).unwrap_or_default().to_vec();
        let mut words: Vec<&[u8]> = long.words.iter().map(|range| front.get(range.clone()).unwrap_or_default()).collect();
        let whole = long.head + long.value + 2;
        if long.after == 0 && words::ends_in_value(&words) {
            words.push(b"");
            let operations = self.operations(&words);
            let shown = words::shown(&words);
            let request = || self.asking.request(Question { operations: operations.clone(), parts: &[b"long value"], what: &shown, excerpt: String::new() });
            if let Some(Ok(_)) = self.asking.at_once(&request).await {
                self.shared.session().sent(Awaited::Plain(1), Fate::Pass);
                return self.stream(whole).await;
            }
        }
        if whole <= LONGEST_WHOLE {
            self.decoder.gather();
            return Ok(Then::On);
        }
        let why = format!("the command has more than {LONGEST_WHOLE} bytes, and what is judged has no more");
        self.refuse(&words, &no(RefusalKind::Failed, sql::UNCLEAR, "", &why, "Send it in parts.")).await?;
        self.skip(whole).await?;
        for _ in 0..long.after {
            let (length, from) = loop {
                match number(&self.client.buffer, 0, b'$')? {
                    Some(found) => break found,
                    None => self.within().await?,
                }
            };
            self.skip(from + length + 2).await?;
        }
        Ok(Then::On)
    }

    async fn within(&mut self) -> Result<(), End> {
        match self.more().await? {
            Then::On => Ok(()),
            Then::Ended | Then::Keyed(_) => Err(Malformed::End.into()),
        }
    }

    /// Passes so many bytes on as they come. Their end must be that of a word.
    async fn stream(&mut self, length: usize) -> Result<Then, End> {
        let mut left = length;
        while left > 0 {
            if left <= 2 {
                while self.client.buffer.len() < left {
                    self.within().await?;
                }
                if !b"\r\n".ends_with(self.client.buffer.get(..left).unwrap_or_default()) {
                    return Err(Malformed::End.into());
                }
            }
            let some = self.client.take(if left > 2 { left - 2 } else { left });
            left -= some.len();
            self.out.extend_from_slice(&some);
            if self.out.len() >= BLOCK {
                self.flush().await?;
            }
            if left > 0 && self.client.buffer.is_empty() {
                self.within().await?;
            }
        }
        Ok(Then::On)
    }

    async fn skip(&mut self, length: usize) -> Result<(), End> {
        let mut left = length;
        while left > 0 {
            left -= self.client.take(left).len();
            if left > 0 {
                self.within().await?;
            }
        }
        Ok(())
    }
}
