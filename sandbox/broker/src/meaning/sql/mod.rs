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

use agentbox_core::Operation;

pub use dialect::Dialect;
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
mod tests;
