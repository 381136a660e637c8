//! What is known of a session: which answers are awaited, which database is selected, whether a transaction is open. A pure state machine; it does no I/O.
//!
//! The server answers in the order of the commands. What is published comes in between, and is told apart by what it says first.

use std::collections::VecDeque;

use super::{commands::Malformed, replies::Reply};

/// Runs of commands that may wait for their answers. Further ones wait themselves. Plain ones that follow each other are one run.
pub(super) const MOST_AWAITED: usize = 1 << 16;

/// Databases that could be the selected one; beyond them it is one that nobody can tell.
const MOST_DATABASES: usize = 16;

/// How channels are subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channels {
    Plain,
    Patterns,
    Shards,
}

/// A command that was sent on, as far as its answer matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// So many whose answers say nothing of the session.
    Plain(u64),
    /// The database, where its number could be read.
    Select(Option<u32>),
    Multi,
    Exec,
    Discard,
    Reset,
    /// So many confirmations are missing.
    Subscribe(Channels, u64),
    /// `None`: as many as there are subscriptions, and at least one.
    Unsubscribe(Channels, Option<u64>),
    Monitor,
}

/// What becomes of the answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The client gets it.
    Pass,
    /// What was sent fails, or only undoes: the client gets this instead.
    Instead(Vec<u8>),
}

#[derive(Debug)]
struct Entry {
    awaited: Awaited,
    fate: Fate,
}

/// What becomes of one answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Pass,
    Replace(Vec<u8>),
}

/// Which database a command goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selected {
    /// One of these: they are more than one while it is not known yet whether a selection has succeeded.
    OneOf(Vec<u32>),
    Unknown,
}

impl std::fmt::Display for Selected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Selected::OneOf(databases) => f.write_str(&databases.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
            Selected::Unknown => f.write_str("?"),
        }
    }
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    awaited: VecDeque<Entry>,
    selected: Selected,
    /// Selections of a transaction, and those on their way.
    perhaps: Vec<Option<u32>>,
    selecting: usize,
    /// The server has said that it gathers commands, and nothing that ends that was sent since.
    gathers: bool,
    channels: u64,
    patterns: u64,
    shards: u64,
    monitors: bool,
    deeds: Vec<u64>,
    outcome: String,
    was_ok: bool,
    /// The server has answered with something else than an error.
    has_served: bool,
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            awaited: VecDeque::new(),
            selected: Selected::OneOf(vec![0]),
            perhaps: Vec::new(),
            selecting: 0,
            gathers: false,
            channels: 0,
            patterns: 0,
            shards: 0,
            monitors: false,
            deeds: Vec::new(),
            outcome: String::new(),
            was_ok: false,
            has_served: false,
        }
    }

    /// Whether everything that was sent is answered.
    pub(super) fn is_settled(&self) -> bool {
        self.awaited.is_empty()
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.awaited.len() >= MOST_AWAITED
    }

    /// Whether a command that is sent now may be gathered for an `EXEC` rather than done: it is certain only once all is answered.
    pub(super) fn may_gather(&self) -> bool {
        self.gathers || self.awaited.iter().any(|entry| entry.awaited == Awaited::Multi)
    }

    /// Whether the server gathers commands: `MULTI` was answered so, and nothing was sent since that ends it.
    pub(super) fn gathers(&self) -> bool {
        self.gathers && self.is_settled()
    }

    pub(super) fn monitors(&self) -> bool {
        self.monitors
    }

    /// Which database a command goes to that is sent now.
    pub(super) fn database(&self) -> Selected {
        let Selected::OneOf(known) = &self.selected else { return Selected::Unknown };
        let mut all = known.clone();
        for number in &self.perhaps {
            match number {
                Some(number) if all.contains(number) => {}
                Some(number) if all.len() < MOST_DATABASES => all.push(*number),
                Some(_) | None => return Selected::Unknown,
            }
        }
        Selected::OneOf(all)
    }

    /// A command goes to the server.
    pub(super) fn sent(&mut self, awaited: Awaited, fate: Fate) {
        match awaited {
            Awaited::Plain(more) if fate == Fate::Pass => {
                if let Some(Entry { awaited: Awaited::Plain(count), fate: Fate::Pass }) = self.awaited.back_mut() {
                    *count += more;
                    return;
                }
            }
            Awaited::Select(number) => self.may_select(number),
            Awaited::Reset => {
                self.gathers = false;
                self.may_select(Some(0));
            }
            Awaited::Exec | Awaited::Discard => self.gathers = false,
            Awaited::Plain(_) | Awaited::Multi | Awaited::Subscribe(..) | Awaited::Unsubscribe(..) | Awaited::Monitor => {}
        }
        self.awaited.push_back(Entry { awaited, fate });
    }

    fn may_select(&mut self, number: Option<u32>) {
        self.selecting += 1;
        if self.perhaps.len() <= MOST_DATABASES {
            self.perhaps.push(number);
        }
    }

    /// Whether nothing has come of anything so far: a new session would be the same.
    pub(super) fn is_fresh(&self) -> bool {
        self.is_settled() && !self.has_served
    }

    /// Whether the last answer was a plain yes.
    pub(super) fn was_ok(&self) -> bool {
        self.was_ok
    }

    /// A permitted deed is on its way.
    pub(super) fn began(&mut self, ask: u64) {
        self.deeds.push(ask);
    }

    /// The deeds that have ended by now, and how.
    pub(super) fn ended(&mut self) -> Option<(Vec<u64>, String)> {
        (!self.deeds.is_empty()).then(|| (std::mem::take(&mut self.deeds), self.outcome.clone()))
    }

    /// A whole answer of the server.
    pub(super) fn heard(&mut self, reply: &Reply) -> Result<Heard, Malformed> {
        self.has_served |= reply.kind != b'-';
        if self.monitors && reply.kind == b'+' {
            return Ok(Heard::Pass);
        }
        if self.is_published(reply) {
            self.published(reply);
            return Ok(Heard::Pass);
        }
        let Some(front) = self.awaited.front_mut() else {
            // A server that has too many clients, or that ends, says so unasked.
            return if reply.kind == b'-' { Ok(Heard::Pass) } else { Err(Malformed::Answer) };
        };
        let is_line = matches!(reply.kind, b'+' | b'-');
        self.was_ok = reply.kind == b'+' && matches!(reply.line.as_slice(), b"OK" | b"RESET");
        if is_line {
            self.outcome = format!("the server answered {}", agentbox_core::safe::line(&String::from_utf8_lossy(&reply.line), 60));
        } else {
            "the server answered".clone_into(&mut self.outcome);
        }
        if let Awaited::Plain(count) = &mut front.awaited
            && *count > 1
        {
            *count -= 1;
            return Ok(Heard::Pass);
        }
        let Some(Entry { awaited, fate }) = self.awaited.pop_front() else { return Err(Malformed::Answer) };
        let ok = reply.kind == b'+' && reply.line == b"OK";
        match awaited {
            // Which of a transaction's selections took place its answer says, deep inside: all that could be stay possible.
            Awaited::Plain(_) | Awaited::Discard | Awaited::Exec => {}
            Awaited::Multi => self.gathers = ok && fate == Fate::Pass && !self.ends_later(),
            Awaited::Select(number) => self.selected(number, reply, ok),
            Awaited::Reset => {
                self.selected(Some(0), reply, reply.line == b"RESET");
                (self.channels, self.patterns, self.shards) = (0, 0, 0);
            }
            // Refused as a whole; else the confirmations are what is published.
            Awaited::Subscribe(..) | Awaited::Unsubscribe(..) if reply.kind == b'-' => {}
            Awaited::Subscribe(..) | Awaited::Unsubscribe(..) => return Err(Malformed::Answer),
            Awaited::Monitor => self.monitors = ok,
        }
        match fate {
            Fate::Pass => Ok(Heard::Pass),
            Fate::Instead(bytes) if is_line => Ok(Heard::Replace(bytes)),
            Fate::Instead(_) => Err(Malformed::Answer),
        }
    }

    /// Whether something on its way ends a transaction.
    fn ends_later(&self) -> bool {
        self.awaited.iter().any(|entry| matches!(entry.awaited, Awaited::Exec | Awaited::Discard | Awaited::Reset))
    }

    fn selected(&mut self, number: Option<u32>, reply: &Reply, ok: bool) {
        self.selecting = self.selecting.saturating_sub(1);
        if ok {
            self.selected = number.map_or(Selected::Unknown, |number| Selected::OneOf(vec![number]));
        }
        if reply.line == b"QUEUED" {
            // It takes place when the transaction does.
            if let Some(number) = number
                && let Selected::OneOf(known) = &mut self.selected
                && known.len() < MOST_DATABASES
            {
                known.push(number);
            } else {
                self.selected = Selected::Unknown;
            }
        }
        if self.selecting == 0 {
            self.perhaps.clear();
        }
    }

    /// Whether an answer is something published, or a confirmation of a subscription.
    fn is_published(&self, reply: &Reply) -> bool {
        const WORDS: &[&[u8]] =
            &[b"message", b"pmessage", b"smessage", b"subscribe", b"unsubscribe", b"psubscribe", b"punsubscribe", b"ssubscribe", b"sunsubscribe"];
        match reply.kind {
            b'>' => true,
            b'*' => {
                let [word, ..] = &reply.elements;
                let subscribes = matches!(self.awaited.front(), Some(Entry { awaited: Awaited::Subscribe(..) | Awaited::Unsubscribe(..), .. }));
                (subscribes || self.channels + self.patterns + self.shards > 0) && WORDS.contains(&word.as_slice())
            }
            _ => false,
        }
    }

    fn published(&mut self, reply: &Reply) {
        let [word, _, total] = &reply.elements;
        let total = std::str::from_utf8(total).ok().and_then(|digits| digits.parse::<u64>().ok()).unwrap_or(0);
        let (channels, before) = match word.as_slice() {
            b"subscribe" | b"unsubscribe" => (Channels::Plain, self.channels),
            b"psubscribe" | b"punsubscribe" => (Channels::Patterns, self.patterns),
            b"ssubscribe" | b"sunsubscribe" => (Channels::Shards, self.shards),
            _ => return,
        };
        match channels {
            // The total is that of both.
            Channels::Plain => self.channels = total.saturating_sub(self.patterns),
            Channels::Patterns => self.patterns = total.saturating_sub(self.channels),
            Channels::Shards => self.shards = total,
        }
        let is_end = word.starts_with(b"unsub") || word.starts_with(b"punsub") || word.starts_with(b"sunsub");
        let left = match self.awaited.front_mut() {
            Some(Entry { awaited: Awaited::Subscribe(mine, left), .. }) if *mine == channels && !is_end => left,
            Some(Entry { awaited: Awaited::Unsubscribe(mine, left), .. }) if *mine == channels && is_end => left.get_or_insert(before.max(1)),
            _ => return,
        };
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.awaited.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Reply {
        let mut elements: [Vec<u8>; 3] = Default::default();
        for (element, word) in elements.iter_mut().zip(text[1..].split(' ')) {
            element.extend_from_slice(word.as_bytes());
        }
        Reply { kind: text.as_bytes()[0], line: text.as_bytes()[1..].to_vec(), elements }
    }

    fn hear(session: &mut Session, text: &str) -> Result<Heard, Malformed> {
        session.heard(&reply(text))
    }

    #[test]
    fn a_database_is_what_the_server_confirmed() {
        let mut session = Session::new();
        session.sent(Awaited::Select(Some(3)), Fate::Pass);
        assert_eq!(session.database(), Selected::OneOf(vec![0, 3]), "both are possible until it is answered");
        hear(&mut session, "+OK").unwrap();
        assert_eq!(session.database(), Selected::OneOf(vec![3]));
        session.sent(Awaited::Select(Some(99)), Fate::Pass);
        hear(&mut session, "-ERR DB index is out of range").unwrap();
        assert_eq!(session.database(), Selected::OneOf(vec![3]));
        session.sent(Awaited::Select(None), Fate::Pass);
        assert_eq!(session.database(), Selected::Unknown);
        hear(&mut session, "-ERR invalid").unwrap();
        session.sent(Awaited::Reset, Fate::Pass);
        hear(&mut session, "+RESET").unwrap();
        assert_eq!(session.database(), Selected::OneOf(vec![0]));
        // Within a transaction it takes place when that does, or never.
        session.sent(Awaited::Multi, Fate::Pass);
        session.sent(Awaited::Select(Some(5)), Fate::Pass);
        hear(&mut session, "+OK").unwrap();
        hear(&mut session, "+QUEUED").unwrap();
        assert_eq!(session.database(), Selected::OneOf(vec![0, 5]));
        session.sent(Awaited::Exec, Fate::Pass);
        hear(&mut session, "*OK").unwrap();
        assert_eq!(session.database(), Selected::OneOf(vec![0, 5]));
    }

    #[test]
    fn a_transaction_is_open_only_when_the_server_said_so() {
        let mut session = Session::new();
        session.sent(Awaited::Multi, Fate::Pass);
        assert!(session.may_gather() && !session.gathers());
        hear(&mut session, "-NOAUTH no").unwrap();
        assert!(!session.may_gather() && !session.gathers());
        session.sent(Awaited::Multi, Fate::Pass);
        hear(&mut session, "+OK").unwrap();
        assert!(session.gathers());
        session.sent(Awaited::Exec, Fate::Pass);
        assert!(!session.may_gather());
        // One that ended before it was confirmed is not open.
        let mut session = Session::new();
        session.sent(Awaited::Multi, Fate::Pass);
        session.sent(Awaited::Discard, Fate::Pass);
        hear(&mut session, "+OK").unwrap();
        hear(&mut session, "+OK").unwrap();
        assert!(!session.may_gather());
    }

    #[test]
    fn what_is_published_is_no_answer() {
        let mut session = Session::new();
        session.sent(Awaited::Plain(1), Fate::Pass);
        session.sent(Awaited::Subscribe(Channels::Plain, 2), Fate::Pass);
        // A list that looks like a message, before anything is subscribed to.
        hear(&mut session, "*message c x").unwrap();
        hear(&mut session, "*subscribe c 1").unwrap();
        assert!(!session.is_settled());
        hear(&mut session, "*message c x").unwrap();
        hear(&mut session, "*subscribe d 2").unwrap();
        assert!(session.is_settled());
        session.sent(Awaited::Plain(1), Fate::Pass);
        hear(&mut session, "*message d x").unwrap();
        hear(&mut session, "*pong ").unwrap();
        assert!(session.is_settled());
        session.sent(Awaited::Unsubscribe(Channels::Plain, None), Fate::Pass);
        hear(&mut session, "*unsubscribe c 1").unwrap();
        assert!(!session.is_settled());
        hear(&mut session, "*unsubscribe d 0").unwrap();
        assert!(session.is_settled());
        session.sent(Awaited::Unsubscribe(Channels::Patterns, None), Fate::Pass);
        hear(&mut session, "*punsubscribe  0").unwrap();
        assert!(session.is_settled());
        hear(&mut session, ">invalidate k").unwrap();
        assert_eq!(hear(&mut session, "*message d x"), Err(Malformed::Answer), "nobody listens");
    }

    #[test]
    fn a_refusal_stands_where_it_belongs() {
        let mut session = Session::new();
        session.sent(Awaited::Plain(1), Fate::Pass);
        session.sent(Awaited::Plain(1), Fate::Instead(b"-AGENTBOX no\r\n".to_vec()));
        session.sent(Awaited::Plain(1), Fate::Pass);
        session.sent(Awaited::Plain(1), Fate::Pass);
        assert_eq!(hear(&mut session, "$3"), Ok(Heard::Pass));
        assert_eq!(hear(&mut session, "-ERR unknown command"), Ok(Heard::Replace(b"-AGENTBOX no\r\n".to_vec())));
        assert_eq!(hear(&mut session, "$3"), Ok(Heard::Pass));
        assert_eq!(hear(&mut session, "*"), Ok(Heard::Pass));
        assert_eq!(hear(&mut session, "$3"), Err(Malformed::Answer));
        session.sent(Awaited::Plain(1), Fate::Instead(Vec::new()));
        assert_eq!(hear(&mut session, "$3"), Err(Malformed::Answer), "no server answers so");
    }

    proptest::proptest! {
        #[test]
        fn no_order_of_answers_breaks_it(steps in proptest::collection::vec((0u8..12, 0usize..8), 0..100)) {
            let mut session = Session::new();
            for (what, which) in steps {
                match what {
                    0 => session.sent(Awaited::Plain(1), Fate::Pass),
                    1 => session.sent(Awaited::Multi, Fate::Pass),
                    2 => session.sent(Awaited::Exec, Fate::Pass),
                    3 => session.sent(Awaited::Select(u32::try_from(which).ok()), Fate::Pass),
                    4 => session.sent(Awaited::Subscribe(Channels::Plain, 1 + which as u64), Fate::Pass),
                    5 => session.sent(Awaited::Unsubscribe(Channels::Plain, None), Fate::Pass),
                    6 => session.sent(Awaited::Plain(1), Fate::Instead(Vec::new())),
                    7 => session.sent(Awaited::Reset, Fate::Pass),
                    _ => drop(hear(&mut session, ["+OK", "-ERR", "+QUEUED", "*subscribe a 1", "*unsubscribe a 0", ">message a b", "$3", "+RESET"][which])),
                }
                let selecting = session.awaited.iter().filter(|entry| matches!(entry.awaited, Awaited::Select(_) | Awaited::Reset)).count();
                proptest::prop_assert_eq!(selecting, session.selecting);
                proptest::prop_assert!(!session.gathers() || session.is_settled());
            }
        }
    }
}
