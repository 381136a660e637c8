//! One row of a file of statements, as `agentbox classify` reads it: a text or the very bytes of the wire, and what was said before.

use agentbox_core::{Effect, Operation, Resource, ResourceId};

use super::{Dialect, Said, UNCLEAR, mongo, redis, understand, wire};

/// A statement or a packet with what is known of its connection.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// `sql`, `redis` or `mongodb`.
    pub engine: &'a str,
    /// The dialect's name, e.g. `postgresql`.
    pub dialect: &'a str,
    /// The statement as text; with `wire`, only what people call it.
    pub text: &'a str,
    /// What the client sends, byte for byte.
    pub wire: Option<&'a [u8]>,
    /// What was said before on the connection, for people: see [`Said::hear`].
    pub context: Option<&'a str>,
}

/// Every operation of a row. Never empty.
#[must_use]
pub fn of_row(row: &Row<'_>) -> Vec<Operation> {
    let dialect = Dialect::named(row.dialect);
    let mut said = Said::new();
    if let Some(context) = row.context {
        said.hear(dialect, context);
    }
    let found = match (row.engine, dialect, row.wire) {
        ("sql", _, None) => understand(dialect, row.text.as_bytes(), &said),
        ("sql", Dialect::PostgreSql, Some(bytes)) => wire::postgres(bytes, &said),
        ("sql", Dialect::MySql, Some(bytes)) => wire::mysql(bytes, &said),
        ("redis", _, Some(bytes)) => match crate::redis::commands(bytes) {
            Ok(commands) => commands.iter().flat_map(|command| redis::judge(command, redis::FIRST_DATABASE)).collect(),
            Err(why) => vec![unread("redis", &why.to_string())],
        },
        ("redis", _, None) => match wire::redis_words(row.text.as_bytes()) {
            Ok(words) => redis::judge(&words, redis::FIRST_DATABASE),
            Err(why) => vec![unread("redis", &why.to_string())],
        },
        ("mongodb", _, Some(bytes)) => wire::mongo(bytes),
        ("mongodb", _, None) => match crate::meaning::parse_json(row.text.as_bytes()) {
            Ok(json) => mongo::judge(&mongo::Value::of_json(&json)),
            Err(_) => vec![unread("mongodb", "the command is no JSON")],
        },
        _ => vec![unread("sql", "the engine or its wire is not read")],
    };
    if found.is_empty() { vec![unread("sql", "nothing was found in it")] } else { found }
}

fn unread(scheme: &'static str, why: &str) -> Operation {
    Operation::new(Effect::Opaque, UNCLEAR, Resource::unplaced(ResourceId::new(scheme, "database")), why)
}
