//! What is known of a session: which answers are awaited, what was prepared, and what the server reports. A pure state machine; it does no I/O.
//!
//! The server answers in the order of the questions. Each message that is sent on is therefore remembered until its answer comes,
//! and what a statement's name stands for is believed only when the server has confirmed it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use super::{
    facts::{Facts, STEERING_WORDS},
    frames::{self, Malformed, Thing},
    kept::Numbered,
    refusal::Refused,
};
use crate::{meaning::sql::Considered, session::has_words};

/// Messages that may wait for their answers. Further ones wait themselves.
pub(super) const MOST_AWAITED: usize = 1 << 16;

/// Prepared statements of one session. None may be forgotten while the server knows it, so further ones are refused.
pub(super) const MOST_STATEMENTS: usize = 8192;

/// Portals of one transaction, likewise.
pub(super) const MOST_PORTALS: usize = 4096;

/// All their texts together, in bytes.
pub(super) const MOST_TEXT: usize = 64 << 20;

/// What a text was found to do is kept beside it where it is short: so many operations of a text of so many bytes.
const MOST_FOUND: usize = 8;
const LONGEST_FOUND: usize = 16 << 10;

/// Most that one question of our own is answered, in bytes.
const MOST_LEARNED: usize = 4 << 20;

/// What is told of a statement when it is sent, and needed when its answer comes.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) text: Bytes,
    /// It may ask for rows from the client.
    pub(super) copies_in: bool,
    /// It has a word that may change how later texts are read.
    pub(super) steers: bool,
    /// While nothing is on its way, and while something is.
    found: Mutex<[Found; 2]>,
}

/// What a text was found to do, with the facts of that number.
type Found = Option<(u64, Arc<Considered>)>;

impl Statement {
    pub(super) fn new(text: Bytes) -> Arc<Self> {
        let copies_in = has_words(&text, &["stdin"]) && has_words(&text, &["copy"]);
        let steers = has_words(&text, STEERING_WORDS);
        Arc::new(Self { text, copies_in, steers, found: Mutex::default() })
    }
}

/// In what a statement may only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// A transaction, where the client has none.
    Transaction,
    /// A savepoint in the client's transaction.
    Savepoint,
}

/// A message that was sent on.
#[derive(Debug)]
pub(super) enum Awaited {
    Parse(String, Arc<Statement>),
    /// A portal, and what it is bound from, where that is known.
    Bind(String, Option<Arc<Statement>>),
    DescribeStatement,
    DescribePortal,
    /// Of a portal that was bound from this statement, where that is known.
    Execute(Option<Arc<Statement>>),
    Close(Thing, String),
    Sync,
    Query(Arc<Statement>),
    Function,
}

impl Awaited {
    /// Whether it belongs to the extended protocol: an error there makes the server skip everything up to the next `Sync`.
    const fn is_extended(&self) -> bool {
        match self {
            Awaited::Parse(..) | Awaited::Bind(..) | Awaited::DescribeStatement | Awaited::DescribePortal | Awaited::Execute(_) | Awaited::Close(..) => true,
            Awaited::Sync | Awaited::Query(_) | Awaited::Function => false,
        }
    }
}

/// What becomes of the answer.
#[derive(Debug)]
pub(super) enum Fate {
    /// The client gets it.
    Pass,
    /// It was our own question.
    Swallow,
    /// The same, and its rows are what was asked for.
    Learn,
    /// It stands in a read-only transaction of ours, of which the client is not told.
    Inside(Guard),
    /// We sent something that fails in the place of what was refused; the client is told why instead.
    Refuse(Box<Refused>),
}

#[derive(Debug)]
struct Entry {
    awaited: Awaited,
    fate: Fate,
    /// In the order of sending.
    number: u64,
}

/// What becomes of one message of the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Pass,
    Swallow,
    Replace(Vec<u8>),
}

/// The server broke the protocol, so that nothing is known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lost {
    #[error("the server sent {0:?} where that is no answer")]
    Unasked(char),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Whether rows go from the client to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CopyIn {
    No,
    /// A statement is on its way that may ask for them: until it is answered nobody knows how the server reads what follows.
    Perhaps,
    Yes,
}

/// Whether the server is in a transaction of the client's, as it said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transaction {
    Idle,
    Open,
    Failed,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) facts: Numbered<Facts>,
    awaited: VecDeque<Entry>,
    /// How many of them prepare a statement.
    parsing: usize,
    /// Messages that were sent.
    number: u64,
    /// Names that SQL on its way may give to another statement: with the last message that does. What an earlier one is answered says nothing of them.
    unsure: HashMap<String, u64>,
    /// An error was answered and the `Sync` that ends the skipping was not sent yet.
    skipping: bool,
    transaction: Transaction,
    /// The same when all was answered last.
    rested_in: Transaction,
    /// Messages of the extended protocol since the last `Sync`, skipped ones as well.
    in_batch: usize,
    copy_in: CopyIn,
    statements: HashMap<String, Arc<Statement>>,
    /// Those of the transaction.
    portals: HashMap<String, Option<Arc<Statement>>>,
    text: usize,
    /// Numbers of permitted deeds whose end was not told yet.
    deeds: Vec<u64>,
    /// How the last statement ended.
    outcome: String,
    /// The statement at hand has failed.
    failed: bool,
    /// What our own question was answered.
    own: Own,
}

/// Rows of our own question.
#[derive(Debug, Default)]
struct Own {
    rows: Vec<Vec<u8>>,
    length: usize,
    failed: Option<String>,
}

impl Session {
    pub(super) fn new(facts: Facts) -> Self {
        Self {
            facts: Numbered::new(facts),
            rested_in: Transaction::Idle,
            awaited: VecDeque::new(),
            parsing: 0,
            number: 0,
            unsure: HashMap::new(),
            skipping: false,
            transaction: Transaction::Idle,
            in_batch: 0,
            copy_in: CopyIn::No,
            statements: HashMap::new(),
            portals: HashMap::new(),
            text: 0,
            deeds: Vec::new(),
            outcome: String::new(),
            failed: false,
            own: Own::default(),
        }
    }

    /// Whether everything that was sent is answered.
    pub(super) fn is_settled(&self) -> bool {
        self.awaited.is_empty() && self.in_batch == 0
    }

    /// Whether the server holds locks for this client while it waits for us.
    pub(super) fn may_hold_locks(&self) -> bool {
        self.transaction == Transaction::Open || self.in_batch > 0 || !self.awaited.is_empty()
    }

    /// Whether it is in an open transaction and waits for nothing else.
    pub(super) fn rests_in_transaction(&self) -> bool {
        self.is_settled() && self.transaction == Transaction::Open
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.awaited.len() >= MOST_AWAITED
    }

    pub(super) fn copy_in(&self) -> CopyIn {
        self.copy_in
    }

    /// Whether messages of the extended protocol were sent since the last `Sync`.
    pub(super) fn is_in_batch(&self) -> bool {
        self.in_batch > 0
    }

    /// Whether there is room for one more portal under this name.
    pub(super) fn has_room_for_portal(&self, name: &str) -> bool {
        self.portals.contains_key(name) || self.portals.len() < MOST_PORTALS
    }

    /// Whether there is room for one more prepared statement under this name.
    pub(super) fn has_room(&self, name: &str, text: &[u8]) -> bool {
        name.is_empty() || self.statements.len() + self.parsing < MOST_STATEMENTS && self.text + text.len() <= MOST_TEXT
    }

    /// Every statement that a name could stand for when the server reads what is sent next. Empty where it is not known here. More than
    /// one only while messages before a `Sync` are unanswered.
    pub(super) fn could_be(&self, name: &str) -> Vec<Arc<Statement>> {
        // What SQL on its way may give the name to is not known here.
        let unsure = self.unsure.get(name).copied().unwrap_or(0);
        let of = |entry: &Entry| match &entry.awaited {
            Awaited::Parse(known, statement) if known == name && entry.number > unsure => Some(statement.clone()),
            _ => None,
        };
        let confirmed = self.statements.get(name).cloned();
        if self.parsing == 0 { confirmed.into_iter().collect() } else { self.latest(of, confirmed) }
    }

    /// The same of a portal.
    pub(super) fn could_be_portal(&self, name: &str) -> Vec<Option<Arc<Statement>>> {
        let of = |entry: &Entry| match &entry.awaited {
            Awaited::Bind(known, statement) if known == name => Some(statement.clone()),
            _ => None,
        };
        self.latest(of, self.portals.get(name).cloned())
    }

    fn latest<T>(&self, of: impl Fn(&Entry) -> Option<T>, confirmed: Option<T>) -> Vec<T> {
        let mut found = Vec::new();
        let mut same_batch = true;
        for entry in self.awaited.iter().rev() {
            if !entry.awaited.is_extended() {
                same_batch = false;
            }
            if let Some(one) = of(entry) {
                found.push(one);
                if same_batch {
                    // If that fails, so does everything behind it up to the next Sync.
                    return found;
                }
            }
        }
        found.extend(confirmed);
        found
    }

    /// What the text would do, after all that was said. A text that was read with these very facts need not be read again.
    pub(super) fn consider(&self, statement: &Statement) -> Arc<Considered> {
        let (number, on_its_way) = (self.facts.number(), !self.is_settled());
        let [settled, unsettled] = &mut *statement.found.lock().unwrap_or_else(PoisonError::into_inner);
        let found = if on_its_way { unsettled } else { settled };
        if let Some((_, considered)) = found.as_ref().filter(|(known, _)| *known == number) {
            return considered.clone();
        }
        let considered = Arc::new(self.facts.consider(&statement.text, statement.steers, on_its_way));
        let is_short = considered.operations.len() + considered.leaned.len() <= MOST_FOUND && statement.text.len() <= LONGEST_FOUND;
        *found = is_short.then(|| (number, considered.clone()));
        considered
    }

    /// The state of the client's transaction.
    pub(super) fn transaction(&self) -> Transaction {
        self.transaction
    }

    /// What our own question was answered, or the SQLSTATE with which the server refused it.
    pub(super) fn learned(&mut self) -> Result<Vec<Vec<u8>>, String> {
        let own = std::mem::take(&mut self.own);
        own.failed.map_or(Ok(own.rows), Err)
    }

    /// A message goes to the server.
    pub(super) fn sent(&mut self, awaited: Awaited, fate: Fate) {
        self.number += 1;
        match &awaited {
            Awaited::Sync => {
                self.skipping = false;
                self.in_batch = 0;
            }
            Awaited::Query(statement) => {
                if self.skipping {
                    return;
                }
                self.learn(statement);
            }
            Awaited::Function => {
                if self.skipping {
                    return;
                }
            }
            Awaited::Parse(name, _) => {
                self.in_batch += 1;
                if self.skipping {
                    return;
                }
                if !name.is_empty() {
                    self.facts.change().forget(name);
                }
            }
            Awaited::Execute(statement) => {
                self.in_batch += 1;
                if self.skipping {
                    return;
                }
                if let Some(statement) = statement {
                    let statement = statement.clone();
                    self.learn(&statement);
                }
            }
            Awaited::Bind(..) | Awaited::DescribeStatement | Awaited::DescribePortal | Awaited::Close(..) => {
                self.in_batch += 1;
                if self.skipping {
                    return;
                }
            }
        }
        self.parsing += usize::from(matches!(awaited, Awaited::Parse(..)));
        self.awaited.push_back(Entry { awaited, fate, number: self.number });
    }

    fn learn(&mut self, statement: &Arc<Statement>) {
        if statement.copies_in && self.copy_in == CopyIn::No {
            self.copy_in = CopyIn::Perhaps;
        }
        if !statement.steers {
            return;
        }
        let on_its_way = !self.is_settled();
        for name in self.facts.change().sent(&statement.text, on_its_way, self.rested_in) {
            self.let_go(&name);
            self.unsure.insert(name, self.number);
        }
    }

    /// Flush was sent: it has no answer, but it begins a batch.
    pub(super) fn flushed(&mut self) {
        self.in_batch += 1;
    }

    /// The client has ended its rows.
    pub(super) fn rows_ended(&mut self) {
        self.copy_in = CopyIn::Perhaps;
    }

    /// A permitted deed is on its way.
    pub(super) fn began(&mut self, ask: u64) {
        self.deeds.push(ask);
    }

    /// The deeds that have ended by now, and how.
    pub(super) fn ended(&mut self) -> Option<(Vec<u64>, String)> {
        (!self.deeds.is_empty()).then(|| (std::mem::take(&mut self.deeds), self.outcome.clone()))
    }

    fn let_go(&mut self, name: &str) {
        if let Some(old) = self.statements.remove(name) {
            self.text -= old.text.len();
        }
        if !name.is_empty() {
            self.facts.change().forget(name);
        }
    }

    /// Whether the body of a message of this kind must be handed to [`Session::heard`]; all others are only counted.
    pub(super) fn wants_body(&self, kind: u8) -> bool {
        matches!(kind, b'Z' | b'E' | b'S' | b'C') || kind == b'D' && self.awaited.front().is_some_and(|entry| matches!(entry.fate, Fate::Learn))
    }

    /// A message of the server; `body` is empty where it was not wanted.
    pub(super) fn heard(&mut self, kind: u8, body: &[u8]) -> Result<Heard, Lost> {
        let unasked = Err(Lost::Unasked(char::from(kind)));
        match kind {
            b'S' => {
                let (name, value) = frames::setting(body)?;
                self.facts.change().reported(&name, &value);
                return Ok(Heard::Pass);
            }
            b'N' | b'A' => return Ok(Heard::Pass),
            b'E' => return Ok(self.error(body)),
            _ => {}
        }
        let Some(front) = self.awaited.front() else { return unasked };
        let heard = match front.fate {
            Fate::Swallow => Heard::Swallow,
            Fate::Learn => {
                if kind == b'D' {
                    self.own.length = self.own.length.saturating_add(body.len());
                    // An empty one was longer than is read.
                    if body.is_empty() || self.own.length > MOST_LEARNED {
                        self.own.failed = Some("more than is read".to_owned());
                    } else {
                        self.own.rows.push(body.to_vec());
                    }
                }
                Heard::Swallow
            }
            // The client began none.
            Fate::Inside(Guard::Transaction) if kind == b'Z' => Heard::Replace(frames::message(b'Z', b"I")),
            Fate::Inside(_) | Fate::Pass | Fate::Refuse(_) => Heard::Pass,
        };
        let fits = match (&front.awaited, kind) {
            (Awaited::Parse(..), b'1') | (Awaited::Bind(..), b'2') | (Awaited::Close(..), b'3') => true,
            (Awaited::DescribeStatement, b't') => return Ok(heard),
            (Awaited::DescribeStatement | Awaited::DescribePortal, b'T' | b'n') => true,
            (Awaited::Execute(_), b'C' | b'I' | b's') => true,
            (Awaited::Execute(_) | Awaited::Query(_), b'D' | b'H' | b'd' | b'c') => return Ok(heard),
            (Awaited::Execute(statement), b'G') if statement.as_ref().is_some_and(|statement| statement.copies_in) => {
                self.copy_in = CopyIn::Yes;
                // The server reads and drops these while it waits for rows (copyfromparse.c, CopyGetData).
                while self.awaited.get(1).is_some_and(|entry| matches!(entry.awaited, Awaited::Sync)) {
                    self.awaited.remove(1);
                    self.in_batch = self.in_batch.max(1);
                }
                return Ok(heard);
            }
            (Awaited::Query(statement), b'G') if statement.copies_in => {
                self.copy_in = CopyIn::Yes;
                return Ok(heard);
            }
            (Awaited::Query(_), b'C') => {
                self.outcome = String::from_utf8_lossy(body.strip_suffix(b"\0").unwrap_or(body)).into_owned();
                return Ok(heard);
            }
            (Awaited::Query(_), b'T' | b'I') | (Awaited::Function, b'V') => return Ok(heard),
            (Awaited::Query(_) | Awaited::Function | Awaited::Sync, b'Z') => true,
            _ => false,
        };
        if !fits {
            return unasked;
        }
        let Some(entry) = self.take_front() else { return unasked };
        match entry.awaited {
            Awaited::Parse(name, statement) => self.prepared(name, statement, entry.number),
            Awaited::Close(Thing::Statement, name) => self.let_go(&name),
            Awaited::Execute(statement) => {
                if kind == b'C' {
                    self.outcome = String::from_utf8_lossy(body.strip_suffix(b"\0").unwrap_or(body)).into_owned();
                    if let Some(statement) = statement {
                        self.succeeded(&statement, entry.number);
                    }
                }
                self.copy_in = CopyIn::No;
            }
            Awaited::Query(statement) => {
                if !self.failed {
                    self.succeeded(&statement, entry.number);
                }
                self.ready(body)?;
            }
            Awaited::Sync | Awaited::Function => self.ready(body)?,
            Awaited::Bind(portal, statement) => {
                self.portals.insert(portal, statement);
            }
            Awaited::Close(Thing::Portal, portal) => {
                self.portals.remove(&portal);
            }
            Awaited::DescribeStatement | Awaited::DescribePortal => {}
        }
        Ok(heard)
    }

    fn take_front(&mut self) -> Option<Entry> {
        let entry = self.awaited.pop_front()?;
        self.parsing -= usize::from(matches!(entry.awaited, Awaited::Parse(..)));
        Some(entry)
    }

    fn succeeded(&mut self, statement: &Statement, number: u64) {
        if !statement.steers {
            return;
        }
        let unsure = &self.unsure;
        self.facts.change().succeeded(&statement.text, |name| unsure.get(name).is_none_or(|last| *last <= number));
    }

    fn prepared(&mut self, name: String, statement: Arc<Statement>, number: u64) {
        self.let_go(&name);
        if self.unsure.get(&name).is_some_and(|last| *last > number) {
            return;
        }
        self.text += statement.text.len();
        if !name.is_empty() {
            self.facts.change().prepared(&name, &statement.text);
        }
        self.statements.insert(name, statement);
    }

    fn ready(&mut self, body: &[u8]) -> Result<(), Lost> {
        self.transaction = match body {
            b"I" => Transaction::Idle,
            b"T" => Transaction::Open,
            b"E" => Transaction::Failed,
            _ => return Err(Malformed::Short.into()),
        };
        self.failed = false;
        self.copy_in = CopyIn::No;
        if self.transaction == Transaction::Idle && self.is_settled() {
            // A transaction's portals end with it.
            self.portals.clear();
        }
        if self.is_settled() {
            self.unsure.clear();
            self.rested_in = self.transaction;
            if self.facts.is_unsettled() {
                self.facts.change().settled();
            }
        }
        Ok(())
    }

    fn error(&mut self, body: &[u8]) -> Heard {
        self.failed = true;
        self.copy_in = CopyIn::No;
        self.outcome = format!("the server answered {}", super::refusal::state(body));
        let Some(front) = self.awaited.front_mut() else { return Heard::Pass };
        let heard = match std::mem::replace(&mut front.fate, Fate::Pass) {
            Fate::Pass => Heard::Pass,
            own @ (Fate::Swallow | Fate::Learn) => {
                front.fate = own;
                self.own.failed.get_or_insert_with(|| super::refusal::state(body));
                Heard::Swallow
            }
            Fate::Inside(guard) => {
                front.fate = Fate::Inside(guard);
                super::refusal::read_only(body).map_or(Heard::Pass, Heard::Replace)
            }
            Fate::Refuse(refused) if refused.is_answered_by(body) => Heard::Replace(refused.bytes),
            Fate::Refuse(_) => Heard::Pass,
        };
        if front.awaited.is_extended() {
            // Everything behind it is dropped by the server, up to the next Sync.
            while self.awaited.front().is_some_and(|entry| !matches!(entry.awaited, Awaited::Sync)) {
                self.take_front();
            }
            self.skipping = self.awaited.is_empty();
        }
        heard
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
