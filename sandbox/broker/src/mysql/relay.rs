//! The session itself: a command is read, judged and sent on; its answer is followed to its end; then comes the next one.

use std::{io, sync::Arc};

use agentbox_core::{Effect, Operation, Refusal, RefusalKind, Request};
use tokio::time::{Instant, timeout};

use super::{
    commands::{Change, Command},
    facts::{Facts, InBroken, MOST_STATEMENTS, MOST_TEXT, QUESTION, in_broken},
    login::{LoggedIn, Pair, exchange, may_show, own_question, own_rows},
    packets::{HEADER, Head, Malformed, packet, utf8},
    reading::{Read, To, Whole},
    refusal,
    results::{Answer, Asked, Ended},
    routines::{self, MOST_ROUNDS, MOST_ROWS},
};
use crate::{
    http::refusal as no,
    meaning::sql::{self, Routines},
    session::{Asking, FAREWELL, LONGEST_WHOLE, Locks, No, Question, Value, Yes, excerpt, has_words, last_words, line},
};

/// Longest packet of the server that is read whole: an error, the end of rows.
pub(super) const LONGEST_HEARD: usize = 1 << 20;

/// For a change of the user; people may be asked meanwhile.
const CHANGE: std::time::Duration = std::time::Duration::from_secs(75);

/// Relays until one side ends.
pub(super) async fn relay(asking: Asking, pair: Pair, facts: Facts, without_eof: bool) -> io::Result<()> {
    let mut session = Session { asking, pair, facts, without_eof, out: Vec::new(), deed: None };
    let ended = session.run().await;
    session.tell("the connection ended before the answer came");
    match ended {
        Err(End::Violation(why)) => last_words(session.pair.client.stream(), &refusal::plain(1, &format!("protocol error: {why}"))).await,
        Ok(()) | Err(End::Gone) => {
            let _ = timeout(FAREWELL, session.pair.far.shutdown()).await;
            timeout(FAREWELL, session.pair.client.shutdown()).await?
        }
        Err(End::Io(error)) => Err(error),
    }
}

/// Why a session ends early.
pub(super) type End = crate::session::End<Malformed>;

pub(super) struct Session {
    pub(super) asking: Asking,
    pub(super) pair: Pair,
    pub(super) facts: Facts,
    pub(super) without_eof: bool,
    /// Gathered before it is written to the client.
    pub(super) out: Vec<u8>,
    /// A permitted deed is on its way.
    deed: Option<u64>,
}

impl Session {
    async fn run(&mut self) -> Result<(), End> {
        while let Some(first) = self.next().await? {
            let kind = self.pair.client.buffer.get(HEADER).copied();
            if kind == Some(0x18) {
                // A value's part has no answer, and is judged by nobody: the statement is, when it is executed.
                while self.pair.client.buffer.len() < (HEADER + 5).min(first.whole()) {
                    self.more().await?;
                }
                let id = self.pair.client.buffer.get(HEADER + 1..HEADER + 5).unwrap_or_default();
                self.facts.long_data(id.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
                self.stream(first).await?;
                continue;
            }
            match self.read(first).await? {
                Read::Whole(whole) => {
                    if !self.command(&whole).await? {
                        return Ok(());
                    }
                }
                Read::Long(first) => self.long(first).await?,
            }
        }
        Ok(())
    }

    /// A command that is longer than what is read: values of a statement that is plainly allowed are sent on as they come, all else is refused.
    async fn long(&mut self, first: Head) -> Result<(), End> {
        while self.pair.client.buffer.len() < HEADER + 5 {
            self.more().await?;
        }
        let front = self.pair.client.buffer.get(HEADER..HEADER + 5).unwrap_or_default().to_vec();
        if let Ok(Command::Execute(id)) = Command::of(&front)
            && let Some(text) = self.facts.statement(id)
            && !self.facts.broken
        {
            let operations = self.look_through(&text).await?;
            let shown = line(&text);
            let question = || self.asking.request(Question { operations: operations.clone(), parts: &[b"long", &text], what: &shown, excerpt: String::new() });
            if let Some(Ok(_)) = self.asking.at_once(&question).await {
                self.stream(first).await?;
                let ended = self.answer(Asked::Query).await?;
                return self.done(&text, &ended).await;
            }
        }
        let number = self.each(first, To::Nobody).await?;
        let why = format!("the command has more than {LONGEST_WHOLE} bytes, and what is judged has no more");
        self.refuse(number, "a long command", &no(RefusalKind::Failed, sql::UNCLEAR, "", &why, "Send it in parts.")).await
    }

    /// One command; `false` where it was the last one.
    async fn command(&mut self, whole: &Whole) -> Result<bool, End> {
        let payload = &whole.payload;
        match Command::of(payload)? {
            Command::Quit => {
                self.pair.far.write(&whole.packets).await?;
                return Ok(false);
            }
            Command::Query(text) => self.query(whole, text).await?,
            Command::Prepare(text) => self.prepare(whole, text).await?,
            Command::Execute(id) => self.execute(whole, id).await?,
            // Of a statement that was judged when it was executed.
            Command::Fetch(_) => {
                self.pair.far.write(&whole.packets).await?;
                self.answer(Asked::Rows).await?;
            }
            Command::LongData => return Err(Malformed::Order.into()),
            Command::Close(id) => {
                self.facts.close(id);
                self.pair.far.write(&whole.packets).await?;
            }
            Command::Database(name) => {
                let name = utf8(name).map(str::to_owned);
                let what = format!("(chooses the database {})", String::from_utf8_lossy(payload.get(1..).unwrap_or_default()));
                let mut operations = self.facts.operations_of(payload);
                if let Ok(name) = &name {
                    operations = vec![Operation::new(Effect::Read, "mysql.use", self.asking.resource(&format!("database/{name}")), "chooses the database")];
                }
                if self.may(whole, operations, &what).await? {
                    let ended = self.send(whole, Asked::Query).await?;
                    match name {
                        Ok(name) if ended.ok => self.facts.chose(&name),
                        Ok(_) => {}
                        Err(_) => self.look().await?,
                    }
                    self.facts.database().clone_into(&mut self.asking.database);
                }
            }
            Command::ChangeUser => return self.change_user(whole).await,
            Command::ResetConnection => {
                let operations = self.facts.operations_of(payload);
                if self.may(whole, operations, "(resets the connection)").await? {
                    let database = self.facts.database().to_owned();
                    if self.send(whole, Asked::Query).await?.ok {
                        let user = self.asking.user.clone();
                        self.facts.begins(&user, Some(&database), 0);
                        self.look().await?;
                    }
                }
            }
            Command::Other(asked) => {
                let operations = self.facts.operations_of(payload);
                let what = format!("(command {})", payload.first().copied().unwrap_or_default());
                if self.may(whole, operations, &what).await? {
                    self.send(whole, asked).await?;
                }
            }
            Command::NotSpoken(why) => {
                self.refuse(whole.number, "(a command)", &no(RefusalKind::Denied, "mysql.command", "", why, "Leave it out.")).await?;
            }
        }
        Ok(true)
    }

    async fn query(&mut self, whole: &Whole, text: &[u8]) -> Result<(), End> {
        if self.is_broken(whole, text).await? {
            return Ok(());
        }
        if !self.judge(whole, text, &[b"query", text]).await? {
            return Ok(());
        }
        let asked = if has_words(text, &["local"]) && has_words(text, &["infile"]) { Asked::QueryWithFile } else { Asked::Query };
        let ended = self.send(whole, asked).await?;
        self.done(text, &ended).await
    }

    /// Whether a text was refused, since its transaction was rolled back.
    async fn is_broken(&mut self, whole: &Whole, text: &[u8]) -> Result<bool, End> {
        if !self.facts.broken {
            return Ok(false);
        }
        let becomes = in_broken(text);
        if becomes != InBroken::Refused {
            self.facts.broken = false;
        }
        if becomes == InBroken::Passes {
            return Ok(false);
        }
        self.tell_client(&refusal::rolled_back(whole.number.wrapping_add(1))).await?;
        Ok(true)
    }

    async fn prepare(&mut self, whole: &Whole, text: &[u8]) -> Result<(), End> {
        if !self.facts.has_room(text) {
            let why = format!("a session may have {MOST_STATEMENTS} prepared statements with {} MiB of text here", MOST_TEXT >> 20);
            return self.refuse(whole.number, "(prepares)", &no(RefusalKind::Failed, "mysql.prepare", "", &why, "Close those that are not needed.")).await;
        }
        self.pair.far.write(&whole.packets).await?;
        self.facts.not_prepared();
        let mut answer = Answer::new(Asked::Prepare, self.without_eof);
        let ended = self.follow(&mut answer).await?;
        if ended.ok
            && let Some(statement) = answer.statement
        {
            self.facts.prepared(statement, text);
        }
        Ok(())
    }

    async fn execute(&mut self, whole: &Whole, id: u32) -> Result<(), End> {
        let Some(text) = self.facts.statement(id) else {
            let operations = vec![self.facts.unknown()];
            if self.may(whole, operations, &format!("executes the prepared statement {id}")).await? {
                self.send(whole, Asked::Query).await?;
                self.look().await?;
            }
            return Ok(());
        };
        if self.is_broken(whole, &text).await? {
            return Ok(());
        }
        if self.facts.takes_long_data(id) && !self.is_plain(&text).await? {
            let why = "values that were sent in parts are not known here, and the statement is not plainly allowed";
            return self.refuse(whole.number, &line(&text), &no(RefusalKind::Failed, sql::UNCLEAR, "", why, "Send its values with it.")).await;
        }
        // The number is the server's, and another one each time: the text and the values are what is asked about.
        let values = whole.payload.get(5..).unwrap_or_default();
        if self.judge(whole, &text, &[b"execute", &text, values]).await? {
            let ended = self.send(whole, Asked::Query).await?;
            self.done(&text, &ended).await?;
        }
        Ok(())
    }

    async fn is_plain(&mut self, text: &[u8]) -> Result<bool, End> {
        let operations = self.look_through(text).await?;
        Ok(self.asking.is_plain(&self.asking.sketch(operations)))
    }

    async fn change_user(&mut self, whole: &Whole) -> Result<bool, End> {
        let change = Change::read(whole.payload.get(1..).unwrap_or_default())?;
        let (user, database) = (String::from_utf8_lossy(change.user).into_owned(), String::from_utf8_lossy(change.database).into_owned());
        let plugin = String::from_utf8_lossy(change.plugin).into_owned();
        self.asking.user = agentbox_core::safe::line(&user, 100);
        database.clone_into(&mut self.asking.database);
        let next = whole.number.wrapping_add(1);
        self.asking.credentials.clear();
        if let Some(error) = may_show(&mut self.asking, None, next).await? {
            self.tell_client(&error).await?;
            return Ok(false);
        }
        let operations = vec![Operation::new(Effect::Read, "mysql.connect", self.asking.resource(&format!("database/{database}")), "logs in anew")];
        if !self.may(whole, operations, "(logs in anew)").await? {
            return Ok(true);
        }
        self.pair.far.write(&whole.packets).await?;
        let LoggedIn::Yes(number, ok) = exchange(&mut self.asking, &mut self.pair, &plugin, Instant::now() + CHANGE).await? else { return Ok(false) };
        self.facts.begins(&user, Some(&database), change.collation);
        self.tell("logged in anew");
        self.look().await?;
        self.tell_client(&packet(number, &ok)).await?;
        Ok(true)
    }

    fn locks(&self) -> Locks {
        self.asking.locks(self.facts.is_in_transaction() || self.facts.locks_tables())
    }

    /// Whether a text may be done; else the client was told why not.
    async fn judge(&mut self, whole: &Whole, text: &[u8], parts: &[&[u8]]) -> Result<bool, End> {
        let operations = self.look_through(text).await?;
        let what = line(text);
        let question = |excerpt| self.asking.request(Question { operations: operations.clone(), parts, what: &what, excerpt });
        if let Some(answer) = self.asking.at_once(&|| question(String::new())).await {
            return self.decided(whole.number, answer).await;
        }
        let values = whole.payload.get(10..).filter(|values| parts.len() == 3 && !values.is_empty()).map(Value::Binary);
        let request = question(excerpt(text, values.as_slice(), self.locks(), &self.facts.held()));
        self.ask(whole.number, request).await
    }

    /// What a text would do. Functions that it calls are looked up, where that could change the answer.
    async fn look_through(&mut self, text: &[u8]) -> Result<Vec<Operation>, End> {
        // Another session may have changed them since: what is known is of this text.
        let mut known = Routines::default();
        self.facts.look_up(Arc::default());
        let mut considered = self.facts.consider(text);
        for _ in 0..MOST_ROUNDS {
            if considered.wondered.is_empty() || !self.could_matter(&considered.operations) {
                break;
            }
            let (rows, ended) = match routines::question(&considered.wondered) {
                Some(question) => own_rows(&mut self.pair.far, &question, self.without_eof, MOST_ROWS + 1).await.map(|(rows, ended)| (rows, ended.ok))?,
                None => (Vec::new(), true),
            };
            if !ended || routines::learn(&mut known, &considered.wondered, &rows).is_none() {
                // Judged by their names.
                break;
            }
            self.facts.look_up(Arc::new(known.clone()));
            considered = self.facts.consider(text);
        }
        Ok(considered.operations)
    }

    /// Whether anything that the functions do could change the judgement: not where everything is allowed.
    fn could_matter(&self, operations: &[Operation]) -> bool {
        let worst = operations.iter().cloned().map(|operation| Operation { effect: Effect::Destroy, ..operation });
        !self.asking.is_allowed(&self.asking.sketch(worst.collect()))
    }

    /// Whether a command that is no text may be done.
    async fn may(&mut self, whole: &Whole, operations: Vec<Operation>, what: &str) -> Result<bool, End> {
        let parts: &[&[u8]] = &[b"command", &whole.payload];
        let question = |excerpt| self.asking.request(Question { operations: operations.clone(), parts, what, excerpt });
        if let Some(answer) = self.asking.at_once(&|| question(String::new())).await {
            return self.decided(whole.number, answer).await;
        }
        let request = question(what.to_owned());
        self.ask(whole.number, request).await
    }

    async fn ask(&mut self, number: u8, request: Request) -> Result<bool, End> {
        let answer = self.asking.ask(request, self.locks()).await;
        self.decided(number, answer).await
    }

    async fn decided(&mut self, number: u8, answer: Result<Yes, No>) -> Result<bool, End> {
        match answer {
            Ok(Yes(deed)) => {
                self.deed = deed;
                Ok(true)
            }
            Err(No::Gone) => Err(End::Gone),
            Err(No::Refused(refusal)) => self.tell_client(&refusal::error(number.wrapping_add(1), &refusal)).await.map(|()| false),
            Err(No::TooLong(refusal)) => {
                self.roll_back().await?;
                self.tell_client(&refusal::error(number.wrapping_add(1), &refusal)).await.map(|()| false)
            }
        }
    }

    /// Ends the client's transaction at the server, so that its locks are free.
    async fn roll_back(&mut self) -> Result<(), End> {
        own_question(&mut self.pair.far, "ROLLBACK", self.without_eof).await?;
        if self.facts.locks_tables() {
            own_question(&mut self.pair.far, "UNLOCK TABLES", self.without_eof).await?;
        }
        self.facts.rolled_back();
        Ok(())
    }

    async fn refuse(&mut self, number: u8, what: &str, refusal: &Refusal) -> Result<(), End> {
        self.asking.remember(what, refusal);
        self.tell_client(&refusal::error(number.wrapping_add(1), refusal)).await
    }

    async fn tell_client(&mut self, bytes: &[u8]) -> Result<(), End> {
        Ok(self.pair.client.write(bytes).await?)
    }

    /// Tells how a permitted deed ended.
    pub(super) fn tell(&mut self, outcome: &str) {
        if let Some(ask) = self.deed.take() {
            self.asking.done(&[ask], outcome);
        }
    }

    /// A text has ended: what it may have changed is found out.
    async fn done(&mut self, text: &[u8], ended: &Ended) -> Result<(), End> {
        let ask_anew = self.facts.done(text, ended.ok);
        self.facts.changes(text);
        if ask_anew {
            self.look().await?;
        }
        Ok(())
    }

    /// Asks the server what the session is now.
    async fn look(&mut self) -> Result<(), End> {
        let (row, ended) = own_question(&mut self.pair.far, QUESTION, self.without_eof).await?;
        self.facts.told(if ended.ok { &row } else { &[] });
        self.facts.database().clone_into(&mut self.asking.database);
        Ok(())
    }
}
