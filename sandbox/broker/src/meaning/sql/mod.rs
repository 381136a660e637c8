//! What an SQL text means: every statement in it, judged by what it would do if it succeeded.
//!
//! A pure function of the text and of what was said before on the same connection. What cannot be read is opaque, which is held.

mod dialect;
mod said;

use agentbox_core::{Effect, Operation, Resource, ResourceId};

pub use dialect::Dialect;
pub use said::Said;

/// Longest text that is judged, in bytes; what is longer is opaque.
pub const LONGEST_TEXT: usize = 16 << 20;

/// Every operation of every statement in `text`, as `dialect`'s server would read it after what was `said`. Never empty.
///
/// A statement that cannot be read is [`Effect::Opaque`] with the action `sql.unclear`.
#[must_use]
pub fn understand(dialect: Dialect, text: &[u8], said: &Said) -> Vec<Operation> {
    let _ = (text, said);
    vec![unclear(dialect, said, "the statement is not read in this version")]
}

fn unclear(dialect: Dialect, said: &Said, why: &str) -> Operation {
    let path = said.database.as_ref().map_or_else(|| "database".to_owned(), |name| format!("database/{name}"));
    Operation::new(Effect::Opaque, "sql.unclear", Resource::unplaced(ResourceId::new(dialect.scheme(), &path)), why)
}
