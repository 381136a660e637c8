//! What decides how a text of this session is read: what was said, what the server reports, and what is on its way and may change either.

use std::sync::Arc;

use agentbox_core::{Effect, Operation, Resource, ResourceId};

use super::session::Transaction;
use crate::{
    meaning::sql::{self, Considered, Dialect, Routines, Said},
    session::has_words,
};

/// Schemas that names are looked up in at most; beyond them a name is one that nobody can place.
const MOST_SCHEMAS: usize = 16;

/// Words of statements that may change where names are looked up, how letters are read, and what is prepared.
const SCHEMA_WORDS: &[&str] = &["search_path", "schema", "discard", "reset", "set_config"];
const ENCODING_WORDS: &[&str] = &["client_encoding", "names", "set_config", "discard", "reset"];
const PREPARING_WORDS: &[&str] = &["prepare", "deallocate", "discard"];

/// All words by which a text may change how others are read, or hide that it does.
pub(super) const STEERING_WORDS: &[&str] = &[
    "search_path",
    "schema",
    "discard",
    "reset",
    "set_config",
    "client_encoding",
    "names",
    "prepare",
    "deallocate",
    "execute",
    "role",
    "authorization",
    "function",
    "procedure",
    "pg_settings",
];

/// The facts of one session.
#[derive(Debug)]
pub(super) struct Facts {
    said: Said,
    /// Where names are looked up when the session begins, and after a RESET.
    first_path: Vec<String>,
    /// The server tells of each change of it (PostgreSQL 18).
    path_reported: bool,
    first_encoding: Option<String>,
    /// The client's encoding was another one once.
    other_encoding: bool,
    /// Something on its way may change the encoding, or what is prepared.
    encoding_unsettled: bool,
    prepared_unsettled: bool,
    /// A single statement outside any transaction, with the path that it sets.
    sets_path: Option<Vec<String>>,
    /// It may act as another role than the one that logged in: nobody knows what `"$user"` is then.
    acts_as_other: bool,
}

impl Facts {
    pub(super) fn new(database: &str, user: &str) -> Self {
        let mut said = Said::new();
        said.database = Some(database.to_owned());
        said.user = Some(user.to_owned());
        Self {
            said,
            first_path: vec!["$user".to_owned(), "public".to_owned()],
            path_reported: false,
            first_encoding: None,
            other_encoding: false,
            encoding_unsettled: false,
            prepared_unsettled: false,
            sets_path: None,
            acts_as_other: false,
        }
    }

    /// The database itself, or a thing of it that has no better name.
    pub(super) fn database(&self) -> Resource {
        let name = self.said.database.as_deref().unwrap_or_default();
        Resource::rooted(ResourceId::new(Dialect::PostgreSql.scheme(), &format!("database/{name}")))
    }

    /// Where unqualified names are looked up.
    pub(super) fn path(&self) -> &[String] {
        self.said.search_path.as_deref().unwrap_or(&self.first_path)
    }

    /// The server told where names are looked up when the session begins.
    pub(super) fn begins_with_path(&mut self, value: &str) {
        self.first_path = path(value);
        self.said.search_path = Some(self.first_path.clone());
    }

    /// Whether somebody must still ask for that.
    pub(super) fn wants_path(&self) -> bool {
        !self.path_reported
    }

    /// A setting, as the server reports it.
    pub(super) fn reported(&mut self, name: &str, value: &str) {
        match name {
            "search_path" => {
                if !self.path_reported {
                    self.first_path = path(value);
                }
                self.path_reported = true;
                self.said.search_path = Some(self.followed(path(value)));
            }
            "client_encoding" => {
                let first = self.first_encoding.get_or_insert_with(|| value.to_owned());
                self.other_encoding |= first != value;
                self.said.set(name, value);
            }
            _ => self.said.set(name, value),
        }
    }

    /// What was looked up at the server. Where nobody looks anything up, functions are judged by their names.
    pub(super) fn look_up(&mut self, routines: Arc<Routines>) {
        self.said.look_up(routines);
    }

    /// Every operation of `text`, which `steers` where it has one of [`STEERING_WORDS`]. While something is `on_its_way`, it may be read in more than one way: then all count.
    pub(super) fn consider(&self, text: &[u8], steers: bool, on_its_way: bool) -> Considered {
        let mut found = sql::consider(Dialect::PostgreSql, text, &self.said);
        let mut unclear = |why: &str| found.operations.push(Operation::new(Effect::Opaque, sql::UNCLEAR, self.database(), why));
        if steers && on_its_way && self.prepared_unsettled && has_words(text, &["execute"]) {
            unclear("it executes what was prepared while something on its way may change what that is");
        }
        if on_its_way && !text.is_ascii() && (self.encoding_unsettled || self.other_encoding) {
            unclear("something on its way may change the encoding of the text");
        }
        if steers && hides_preparing(text) {
            unclear("a statement is prepared where its name cannot be followed");
        }
        if steers && has_words(text, &["pg_settings"]) && has_words(text, &["update"]) {
            unclear("it changes settings through their view");
        }
        if text.windows(3).any(|window| window.eq_ignore_ascii_case(b"u&\"")) {
            unclear("a name is written in escapes");
        }
        if on_its_way && text.contains(&b'\\') {
            let mut other = self.said.clone();
            let is_off = self.said.setting("standard_conforming_strings").is_some_and(|value| value.eq_ignore_ascii_case("off"));
            other.set("standard_conforming_strings", if is_off { "on" } else { "off" });
            found.join(sql::consider(Dialect::PostgreSql, text, &other));
        }
        found
    }

    /// A text goes to the server, where the session stood in this `transaction` when all was answered. Gives the names of prepared statements that may no
    /// longer be what they were.
    pub(super) fn sent(&mut self, text: &[u8], on_its_way: bool, transaction: Transaction) -> Vec<String> {
        self.encoding_unsettled |= has_words(text, ENCODING_WORDS);
        if has_words(text, SCHEMA_WORDS) {
            self.path_may_become(text, on_its_way, transaction);
        }
        if has_words(text, &["role", "authorization"]) && has_words(text, &["set", "set_config"]) {
            self.acts_as_other = true;
            self.said.search_path = Some(self.followed(self.path().to_vec()));
        }
        if !has_words(text, PREPARING_WORDS) {
            return Vec::new();
        }
        self.prepared_unsettled = true;
        let mut heard = Said::new();
        heard.observe(Dialect::PostgreSql, text);
        let names: Vec<String> = heard.prepared_names().map(str::to_owned).collect();
        for name in &names {
            self.said.forget(name);
        }
        names
    }

    /// Names may from now on be looked up where this text says, and still where they were before.
    fn path_may_become(&mut self, text: &[u8], on_its_way: bool, transaction: Transaction) {
        let unknown = vec!["?".to_owned()];
        let mut heard = Said::new();
        heard.search_path = Some(unknown.clone());
        heard.observe(Dialect::PostgreSql, text);
        let new = match heard.search_path {
            // The value is put together when it runs.
            None if has_words(text, &["set_config"]) => Vec::new(),
            // Back to what it was at the beginning.
            None => self.first_path.clone(),
            Some(path) if path == unknown && has_words(text, &["search_path"]) && !is_of_a_definition(text) => Vec::new(),
            // set_config of a name that is put together when it runs.
            Some(path) if path == unknown && has_words(text, &["set_config"]) && !heard.has_settings() => Vec::new(),
            Some(path) if path == unknown => return,
            Some(path) => path,
        };
        let alone = transaction == Transaction::Idle
            && !on_its_way
            && !has_words(text, &["local", "begin", "start", "set_config"])
            && !text.trim_ascii_end().trim_suffix_semicolon().contains(&b';');
        self.sets_path = alone.then(|| new.clone());
        let mut all = self.path().to_vec();
        if new.is_empty() || all.is_empty() {
            // An empty path places nothing: the strictest place that it could be decides.
            all.clear();
        } else {
            for schema in new {
                if !all.contains(&schema) {
                    all.push(schema);
                }
            }
        }
        self.said.search_path = Some(self.followed(all));
    }

    /// The path, or none where nobody can follow it: that places nothing, and the strictest place that it could be decides.
    fn followed(&self, path: Vec<String>) -> Vec<String> {
        let unknown = path.len() > MOST_SCHEMAS || self.acts_as_other && path.iter().any(|schema| schema == "$user");
        if unknown { Vec::new() } else { path }
    }

    /// A statement ended well.
    pub(super) fn succeeded(&mut self, text: &[u8], is_sure: impl Fn(&str) -> bool) {
        if has_words(text, &["prepare", "deallocate", "discard", "function", "procedure"]) {
            let path = self.said.search_path.clone();
            self.said.observe(Dialect::PostgreSql, text);
            // What the server itself tells of settings is better than what was heard, and the path is kept by `sent`.
            self.said.search_path = path;
            let mut heard = Said::new();
            heard.observe(Dialect::PostgreSql, text);
            // Another text that was sent meanwhile may have changed what they stand for.
            for name in heard.prepared_names().filter(|name| !is_sure(name)) {
                self.said.forget(name);
            }
        }
        if let Some(path) = self.sets_path.take().filter(|_| has_words(text, SCHEMA_WORDS)) {
            self.said.search_path = Some(self.followed(path));
        }
    }

    /// A statement of the protocol was prepared.
    pub(super) fn prepared(&mut self, name: &str, text: &[u8]) {
        if !name.is_empty() {
            self.said.prepare(name, text);
        }
    }

    /// What a name stands for is not known any more.
    pub(super) fn forget(&mut self, name: &str) {
        if !name.is_empty() {
            self.said.forget(name);
        }
    }

    /// Whether something on its way may still change what is known.
    pub(super) fn is_unsettled(&self) -> bool {
        self.encoding_unsettled || self.prepared_unsettled || self.sets_path.is_some()
    }

    /// Everything is answered.
    pub(super) fn settled(&mut self) {
        self.encoding_unsettled = false;
        self.prepared_unsettled = false;
        self.sets_path = None;
    }
}

/// Whether a path in the text is that of a definition (`CREATE FUNCTION … SET search_path`, `ALTER ROLE … SET search_path`), which does not change this session's.
fn is_of_a_definition(text: &[u8]) -> bool {
    let first = text.trim_ascii_start();
    let begins = |word: &[u8]| first.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    (begins(b"create ") || begins(b"alter ")) && !has_words(text, &["do", "set_config"])
}

/// Whether a text may prepare a statement within a block or a function, where nobody follows its name.
fn hides_preparing(text: &[u8]) -> bool {
    has_words(text, &["prepare"]) && (has_words(text, &["function", "procedure"]) || begins_a_block(text))
}

fn begins_a_block(text: &[u8]) -> bool {
    text.split(|byte| *byte == b';').any(|statement| {
        let statement = statement.trim_ascii_start();
        statement.get(..2).is_some_and(|word| word.eq_ignore_ascii_case(b"do")) && !statement.get(2).is_some_and(u8::is_ascii_alphanumeric)
            || statement.starts_with(b"--")
            || statement.starts_with(b"/*")
    })
}

/// A search path as the server writes it: `"$user", public`.
fn path(value: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut quoted = false;
    let mut characters = value.chars().peekable();
    // Each turn takes a character.
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                name.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            ' ' if !quoted => {}
            other => name.push(other),
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    if names.len() > MOST_SCHEMAS { Vec::new() } else { names }
}

trait Trimmed {
    fn trim_suffix_semicolon(&self) -> &[u8];
}

impl Trimmed for [u8] {
    fn trim_suffix_semicolon(&self) -> &[u8] {
        self.strip_suffix(b";").unwrap_or(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(facts: &Facts, text: &str, on_its_way: bool) -> Effect {
        facts
            .consider(text.as_bytes(), has_words(text.as_bytes(), STEERING_WORDS), on_its_way)
            .operations
            .iter()
            .map(|operation| operation.effect)
            .max()
            .unwrap()
    }

    #[test]
    fn every_word_that_is_looked_for_steers() {
        for word in [SCHEMA_WORDS, ENCODING_WORDS, PREPARING_WORDS].concat() {
            assert!(STEERING_WORDS.contains(&word), "{word}");
        }
    }

    #[test]
    fn a_path_is_read_as_the_server_writes_it() {
        assert_eq!(path("\"$user\", public"), ["$user", "public"]);
        assert_eq!(path("\"a,b\", \"c\"\"d\""), ["a,b", "c\"d"]);
        assert!(path("").is_empty() && path("\"\"").is_empty());
    }

    #[test]
    fn a_path_grows_until_a_statement_alone_has_set_it() {
        let mut facts = Facts::new("shop", "u");
        facts.sent(b"SET search_path = live", false, Transaction::Idle);
        assert_eq!(facts.path(), ["$user", "public", "live"]);
        facts.succeeded(b"SET search_path = live", |_| true);
        facts.settled();
        assert_eq!(facts.path(), ["live"]);
        facts.settled();
        facts.sent(b"SET search_path TO test", false, Transaction::Open);
        facts.succeeded(b"SET search_path TO test", |_| true);
        facts.settled();
        assert_eq!(facts.path(), ["live", "test"], "the transaction may have been rolled back");
        facts.sent(b"CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = '' AS 'SELECT 1'", false, Transaction::Idle);
        assert_eq!(facts.path(), ["live", "test"], "the function's own");
        facts.sent(b"SELECT set_config('search_path', current_setting('x'), false)", false, Transaction::Idle);
        assert!(facts.path().is_empty(), "nobody can say");
        facts.reported("search_path", "app");
        facts.sent(b"SELECT set_config('application_name', 'x', false)", false, Transaction::Idle);
        assert_eq!(facts.path(), ["app"]);
        facts.sent(b"SELECT set_config('search_' || $1, 'live', false)", false, Transaction::Idle);
        assert!(facts.path().is_empty(), "it may be that one");
        facts.reported("search_path", "app");
        assert_eq!(facts.path(), ["app"]);
        facts.reported("search_path", "\"$user\", app");
        facts.sent(b"SET ROLE other", false, Transaction::Idle);
        assert!(facts.path().is_empty(), "nobody can say who the user is");
    }

    #[test]
    fn what_is_on_its_way_makes_two_readings() {
        let mut facts = Facts::new("shop", "u");
        facts.reported("standard_conforming_strings", "on");
        let text = r"SELECT 'a\'; DROP TABLE t; --'";
        assert_eq!(worst(&facts, text, false), Effect::Destroy, "one string ends before the semicolon");
        let text = r"SELECT 'a\', '; DROP TABLE t; --'";
        assert_eq!(worst(&facts, text, false), Effect::Read);
        assert_eq!(worst(&facts, text, true), Effect::Destroy);
        facts.reported("client_encoding", "UTF8");
        assert_eq!(worst(&facts, "SELECT 'ü'", true), Effect::Read);
        facts.sent(b"SET NAMES 'SJIS'", false, Transaction::Idle);
        assert_eq!(worst(&facts, "SELECT 'ü'", true), Effect::Opaque);
    }

    #[test]
    fn prepared_statements_are_followed_and_hidden_ones_are_not() {
        let mut facts = Facts::new("shop", "u");
        facts.sent(b"PREPARE x AS SELECT 1", false, Transaction::Idle);
        assert_eq!(worst(&facts, "EXECUTE x", true), Effect::Opaque);
        facts.succeeded(b"PREPARE x AS SELECT 1", |_| true);
        facts.settled();
        assert_eq!(worst(&facts, "EXECUTE x", false), Effect::Read);
        assert_eq!(facts.sent(b"DEALLOCATE x; PREPARE x AS DELETE FROM t", false, Transaction::Idle), ["x"]);
        facts.settled();
        assert_eq!(worst(&facts, "EXECUTE x", false), Effect::Opaque, "it failed, but may have been prepared");
        assert_eq!(worst(&facts, "DO $$ BEGIN DEALLOCATE x; PREPARE x AS SELECT 1; END $$", false), Effect::Opaque);
        assert_eq!(worst(&facts, "UPDATE pg_settings SET setting = 'replica' WHERE name LIKE 'session_rep%'", false), Effect::Opaque);
        assert!(worst(&facts, "INSERT INTO t VALUES ('prepare', 'do')", false) < Effect::Destroy);
    }
}
