//! What an SQL text means: every statement in it, judged by what it would do if it succeeded.
//!
//! A pure function of the text and of what was said before on the same connection. What cannot be read is opaque, which is held.

mod alter;
mod block;
mod change;
mod condition;
mod define;
mod dialect;
mod dynamic;
mod functions;
mod judge;
mod lexer;
mod lexis;
mod mongo;
mod name;
mod part;
mod query;
mod redis;
mod redis_keys;
mod row;
mod said;
mod server;
mod session;
mod value;
mod wire;

use std::collections::BTreeSet;

use agentbox_core::Operation;

pub use dialect::Dialect;
pub(crate) use functions::{Code, LONGEST_BODY, Routine, Routines};
pub(crate) use name::FOLDS;
pub use row::{Row, of_row};
pub use said::Said;

/// Longest text that is judged, in bytes; what is longer is opaque.
pub const LONGEST_TEXT: usize = 16 << 20;

/// Every operation of one Redis command, its name first.
#[must_use]
pub(crate) fn redis_command(words: &[Vec<u8>]) -> Vec<Operation> {
    redis::judge(words, redis::FIRST_DATABASE)
}

/// The same where the selected database is one of these; none of them says that it is not known.
#[must_use]
pub(crate) fn redis_command_in(words: &[&[u8]], databases: &[u32]) -> Vec<Operation> {
    redis::judge(words, databases)
}

/// The words of an inline command of Redis; `None` where its quotes do not pair.
pub(crate) fn redis_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    wire::redis_words(line).ok()
}

/// Every operation of one message of MongoDB's protocol, by its kind and its body, and how its command is shown to people. Never empty.
#[must_use]
pub(crate) fn mongo_message(kind: u32, body: &[u8]) -> (Vec<Operation>, String) {
    wire::mongo_message(u64::from(kind), body)
}

/// Every operation of one command of MySQL's protocol: its number, and what follows. Statements that were prepared by the protocol are not known here.
#[must_use]
pub(crate) fn mysql_command(payload: &[u8], said: &Said) -> Vec<Operation> {
    wire::mysql_command(payload, said)
}

/// What a server's setting of this name takes away with this value, if it does.
#[must_use]
pub(crate) fn setting_falls(name: &str, value: &str) -> Option<&'static str> {
    session::fallen(Dialect::PostgreSql, name, Some(value))
}

/// What a text means, and what that hangs on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Considered {
    /// Never empty.
    pub(crate) operations: Vec<Operation>,
    /// Calls of functions that were read elsewhere, as they would be judged unread.
    pub(crate) leaned: Vec<Operation>,
    /// Names of functions that somebody who can ask the server should ask about.
    pub(crate) wondered: BTreeSet<String>,
}

impl Considered {
    /// The same text read in another way: both count.
    pub(crate) fn join(&mut self, other: Self) {
        self.operations.extend(other.operations);
        self.leaned.extend(other.leaned);
        self.wondered.extend(other.wondered);
    }
}

/// As [`understand`], and tells what the answer leans on.
#[must_use]
pub(crate) fn consider(dialect: Dialect, text: &[u8], said: &Said) -> Considered {
    let mut judge = judge::Judge::new(dialect, said);
    judge.text(text);
    judge.considered()
}

/// The action of what cannot be read; its effect is [`agentbox_core::Effect::Opaque`].
pub const UNCLEAR: &str = "sql.unclear";

/// Every operation of every statement in `text`, as `dialect`'s server would read it after what was `said`. Never empty.
///
/// A statement that cannot be read is opaque, with the action [`UNCLEAR`].
#[must_use]
pub fn understand(dialect: Dialect, text: &[u8], said: &Said) -> Vec<Operation> {
    let mut judge = judge::Judge::new(dialect, said);
    judge.text(text);
    judge.finish()
}

#[cfg(test)]
mod protection_tests;
#[cfg(test)]
mod routine_tests;
#[cfg(test)]
mod tests;
