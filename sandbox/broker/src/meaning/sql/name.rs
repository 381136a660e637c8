//! Names of tables and other things, and the resources they stand for.

use agentbox_core::{Lineage, Resource, ResourceId};

use super::{Dialect, Said, lexer::Kind, part::Part, value};

/// Most parts of a name: server, database, schema, table.
const MOST_PARTS: usize = 6;

/// Most schemas of a search path that are followed.
const MOST_SCHEMAS: usize = 16;

/// A dotted name, folded as its server folds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Name {
    parts: Vec<String>,
}

impl Name {
    /// The name that begins at `at`, and where to go on. `None` if there is none.
    pub(super) fn read(part: &Part<'_>, at: usize, dialect: Dialect) -> Option<(Self, usize)> {
        let mut name = Self::default();
        let mut next = at;
        loop {
            match part.kind(next)? {
                Kind::Word => name.parts.push(fold(part.raw(next), dialect)),
                Kind::Quoted => {
                    let text = String::from_utf8_lossy(&value::of_name(part.raw(next))).into_owned();
                    // BigQuery quotes the whole path.
                    if dialect == Dialect::BigQuery { name.parts.extend(text.split('.').map(str::to_owned)) } else { name.parts.push(text) }
                }
                // Hive, Spark and Snowflake: IDENTIFIER('…'), and names in strings where an option allows it.
                Kind::Text => name.parts.push(String::from_utf8_lossy(&value::of_string(part.raw(next))).into_owned()),
                Kind::Parameter => name.parts.push(String::from_utf8_lossy(part.raw(next)).into_owned()),
                Kind::Number | Kind::Mark => return None,
            }
            next += 1;
            if !part.is_mark(next, ".") || name.parts.len() >= MOST_PARTS {
                return Some((name, next));
            }
            next += 1;
            // `db..table` leaves the schema out.
            if part.is_mark(next, ".") {
                next += 1;
            }
            if part.is_mark(next, "*") {
                name.parts.push("*".to_owned());
                return Some((name, next + 1));
            }
            if !matches!(part.kind(next), Some(Kind::Word | Kind::Quoted | Kind::Text | Kind::Parameter)) {
                return Some((name, next));
            }
        }
    }

    /// A name of one part, as the wire tells it.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { parts: vec![String::from_utf8_lossy(bytes).into_owned()] }
    }

    /// The last part.
    pub(super) fn last(&self) -> &str {
        self.parts.last().map_or("", String::as_str)
    }

    /// The part before the last.
    pub(super) fn qualifier(&self) -> Option<&str> {
        self.parts.len().checked_sub(2).and_then(|index| self.parts.get(index)).map(String::as_str)
    }

    /// All parts with dots between.
    pub(super) fn dotted(&self) -> String {
        self.parts.join(".")
    }
}

/// A plain name as the server keeps it.
pub(super) fn fold(word: &[u8], dialect: Dialect) -> String {
    let text = String::from_utf8_lossy(word);
    match dialect {
        Dialect::PostgreSql | Dialect::Sqlite | Dialect::MsSql | Dialect::Other => text.to_ascii_lowercase(),
        Dialect::Oracle | Dialect::Snowflake => text.to_ascii_uppercase(),
        Dialect::MySql | Dialect::ClickHouse | Dialect::BigQuery => text.into_owned(),
    }
}

/// MySQL's setting that makes names the same whatever the case of their letters.
pub(crate) const FOLDS: &str = "lower_case_table_names";

/// A thing of this kind (`table`, `view`, `role`, …) in the session's database.
pub(super) fn resource(dialect: Dialect, kind: &str, name: &Name, said: &Said) -> Resource {
    let scheme = dialect.scheme();
    // Where the server tells its tables' names apart by their letters' case alone, so does the policy.
    let folded = (dialect == Dialect::MySql && said.setting(FOLDS).is_some_and(|value| value != "0"))
        .then(|| Name { parts: name.parts.iter().map(|part| part.to_lowercase()).collect() });
    let name = folded.as_ref().unwrap_or(name);
    let id = ResourceId::new(scheme, &format!("{kind}/{}", name.dotted()));
    match kind {
        "database" | "role" | "user" | "tablespace" | "server" => return Resource::rooted(id),
        _ => {}
    }
    // MySQL, ClickHouse and SQLite have no schemas: what stands before the table is the database.
    let flat = matches!(dialect, Dialect::MySql | Dialect::ClickHouse | Dialect::Sqlite);
    let database_at = |back: usize| name.parts.len().checked_sub(back).and_then(|index| name.parts.get(index)).cloned();
    let database = database_at(if flat || kind == "schema" { 2 } else { 3 }).or_else(|| said.database.clone());
    // Without the database nobody can say what else it lives in.
    let Some(database) = database.map(|database| ResourceId::new(scheme, &format!("database/{database}"))) else { return Resource::unplaced(id) };
    let schema_of = |schema: &str| ResourceId::new(scheme, &format!("schema/{schema}"));
    if flat || kind == "schema" {
        return Resource { id, lineage: Lineage::Known(vec![vec![database]]) };
    }
    if let Some(schema) = name.qualifier() {
        return Resource { id, lineage: Lineage::Known(vec![vec![schema_of(schema), database]]) };
    }
    if dialect != Dialect::PostgreSql {
        return Resource { id, lineage: Lineage::Known(vec![vec![database]]) };
    }
    let default = ["$user".to_owned(), "public".to_owned()];
    let path = said.search_path.as_deref().unwrap_or(&default);
    let schemas = path.iter().filter_map(|schema| if schema == "$user" { said.user.clone() } else { Some(schema.clone()) });
    let lines: Vec<Vec<ResourceId>> = schemas
        .take(MOST_SCHEMAS)
        .map(|schema| vec![ResourceId::new(scheme, &format!("{kind}/{schema}.{}", name.dotted())), schema_of(&schema), database.clone()])
        .collect();
    // A path that is not followed to its end says nothing.
    if lines.is_empty() || path.len() > MOST_SCHEMAS { Resource::unplaced(id) } else { Resource { id, lineage: Lineage::Known(lines) } }
}

/// The session's database itself.
pub(super) fn database(dialect: Dialect, said: &Said) -> Resource {
    match &said.database {
        Some(name) => Resource::rooted(ResourceId::new(dialect.scheme(), &format!("database/{name}"))),
        None => Resource::unplaced(ResourceId::new(dialect.scheme(), "database")),
    }
}
