//! What is known of a session: what decides how a text is read, what was prepared, and whether locks are held.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use agentbox_core::{Effect, Operation, Resource, ResourceId};
use bytes::Bytes;

use super::{greeting::character_set, results::IN_TRANSACTION};
use crate::{
    meaning::sql::{self, Considered, Dialect, FOLDS, Routines, Said},
    session::{MOST_LOCKS, has_words},
};

/// Prepared statements of one session, and all their texts together in bytes. None may be forgotten while the server knows it, so further ones are refused.
pub(super) const MOST_STATEMENTS: usize = 8192;
pub(super) const MOST_TEXT: usize = 64 << 20;

/// The server is asked anew after texts with these words: they may change how later ones are read, also where they fail half-way.
const STEERING_WORDS: &[&str] = &["sql_mode", "names", "character", "charset", "character_set_client", "execute"];

/// Words that may change how the letters of the same text are read.
const ENCODING_WORDS: &[&str] = &["names", "character", "charset", "character_set_client"];

/// What the server is asked.
pub(super) const QUESTION: &str = "SELECT @@lower_case_table_names, @@sql_mode, @@character_set_client, DATABASE()";

/// The facts of one session.
#[derive(Debug)]
pub(super) struct Facts {
    said: Said,
    statements: HashMap<u32, Bytes>,
    /// The one that was prepared last: MariaDB executes it by the number -1.
    last: Option<u32>,
    text: usize,
    /// Statements of which values were sent in parts.
    long: HashSet<u32>,
    in_transaction: bool,
    /// `LOCK TABLES` was sent, and nothing that lets go of them.
    locks_tables: bool,
    /// What the transaction has changed so far, as far as the texts told: its locks are on that.
    held: BTreeSet<String>,
    /// Its transaction was rolled back while it waited; what it sends for that is not done.
    pub(super) broken: bool,
}

impl Facts {
    pub(super) fn new(user: &str) -> Self {
        let mut said = Said::new();
        said.user = Some(user.to_owned());
        Self {
            said,
            statements: HashMap::new(),
            last: None,
            text: 0,
            long: HashSet::new(),
            in_transaction: false,
            locks_tables: false,
            held: BTreeSet::new(),
            broken: false,
        }
    }

    /// A session begins, or begins anew: nothing of the one before is left.
    pub(super) fn begins(&mut self, user: &str, database: Option<&str>, collation: u64) {
        let folds = self.said.setting(FOLDS).map(str::to_owned);
        *self = Self::new(user);
        self.said.database = database.filter(|name| !name.is_empty()).map(str::to_owned);
        self.said.set("character_set_client", character_set(collation));
        if let Some(folds) = folds {
            self.said.set(FOLDS, &folds);
        }
    }

    /// The server's answer to [`QUESTION`]; nothing where it gave none.
    pub(super) fn told(&mut self, row: &[Option<Vec<u8>>]) {
        let text = |index: usize| row.get(index).and_then(Option::as_deref).map(|value| String::from_utf8_lossy(value).into_owned());
        let [Some(folds), Some(mode), Some(encoding), database] = [0, 1, 2, 3].map(text) else {
            // Every way in which it could be read counts.
            self.said.forget_setting("sql_mode");
            self.said.set("character_set_client", "unknown");
            self.said.database = None;
            return;
        };
        self.said.set(FOLDS, &folds);
        self.said.set("sql_mode", &mode);
        self.said.forget_setting("names");
        self.said.set("character_set_client", &encoding);
        self.said.database = database;
        self.fold();
    }

    fn fold(&mut self) {
        if self.said.setting(FOLDS).is_some_and(|value| value != "0") {
            self.said.database = self.said.database.take().map(|name| name.to_lowercase());
        }
    }

    /// The database at hand; empty where there is none.
    pub(super) fn database(&self) -> &str {
        self.said.database.as_deref().unwrap_or_default()
    }

    fn resource(&self) -> Resource {
        match &self.said.database {
            Some(name) => Resource::rooted(ResourceId::new("mysql", &format!("database/{name}"))),
            None => Resource::unplaced(ResourceId::new("mysql", "database")),
        }
    }

    /// What was looked up at the server of the functions that are called.
    pub(super) fn look_up(&mut self, routines: Arc<Routines>) {
        self.said.look_up(routines);
    }

    /// Every operation of a text.
    pub(super) fn operations(&self, text: &[u8]) -> Vec<Operation> {
        self.consider(text).operations
    }

    /// The same, and which functions it calls of which nothing is known.
    pub(super) fn consider(&self, text: &[u8]) -> Considered {
        let mut considered = sql::consider(Dialect::MySql, text, &self.said);
        let found = &mut considered.operations;
        if !text.is_ascii() && has_words(text, ENCODING_WORDS) && text.contains(&b';') {
            found.push(Operation::new(Effect::Opaque, sql::UNCLEAR, self.resource(), "the text changes the encoding that it is read in"));
        }
        considered
    }

    /// Every operation of a command that is no text.
    pub(super) fn operations_of(&self, payload: &[u8]) -> Vec<Operation> {
        sql::mysql_command(payload, &self.said)
    }

    /// What executing a statement does that was not prepared here.
    pub(super) fn unknown(&self) -> Operation {
        Operation::new(Effect::Opaque, sql::UNCLEAR, self.resource(), "it executes what was prepared under a number that is not known here")
    }

    /// A text was done, or failed. Whether the server must be asked what the session is now.
    pub(super) fn done(&mut self, text: &[u8], ok: bool) -> bool {
        let first = first_word(text);
        if ok {
            let database = self.said.database.take();
            self.said.observe(Dialect::MySql, text);
            self.said.database = database;
        } else {
            self.failed(text);
        }
        if has_words(text, &["lock"]) && has_words(text, &["tables", "table"]) || has_words(text, &["flush"]) && has_words(text, &["lock"]) {
            self.locks_tables = true;
        } else if has_words(text, &["unlock"]) || first == "start" || first == "begin" {
            self.locks_tables = false;
        }
        has_words(text, STEERING_WORDS) || has_words(text, &["use"]) && (first == "use" || text.contains(&b';') || text.contains(&b'/'))
    }

    /// How far a text got that failed nobody knows: what it may have prepared is not known any more.
    fn failed(&mut self, text: &[u8]) {
        let mut heard = Said::new();
        heard.observe(Dialect::MySql, text);
        let names: Vec<String> = heard.prepared_names().map(str::to_owned).collect();
        for name in names {
            self.said.forget(&name);
        }
        if has_words(text, &["prepare", "deallocate"]) {
            self.said.forget_prepared();
        }
        self.said.forget_variables();
    }

    /// The database was chosen by the protocol's own command.
    pub(super) fn chose(&mut self, database: &str) {
        self.said.database = Some(database.to_owned());
        self.fold();
    }

    /// Whether there is room for one more prepared statement.
    pub(super) fn has_room(&self, text: &[u8]) -> bool {
        self.statements.len() < MOST_STATEMENTS && self.text + text.len() <= MOST_TEXT
    }

    pub(super) fn prepared(&mut self, statement: u32, text: &[u8]) {
        self.close(statement);
        self.text += text.len();
        self.statements.insert(statement, Bytes::copy_from_slice(text));
        self.last = Some(statement);
    }

    /// No statement was prepared: MariaDB's -1 stands for nothing then.
    pub(super) fn not_prepared(&mut self) {
        self.last = None;
    }

    /// The text of a prepared statement.
    pub(super) fn statement(&self, statement: u32) -> Option<Bytes> {
        let statement = if statement == u32::MAX { self.last? } else { statement };
        self.statements.get(&statement).cloned()
    }

    pub(super) fn close(&mut self, statement: u32) {
        let statement = if statement == u32::MAX { self.last.unwrap_or(statement) } else { statement };
        if let Some(text) = self.statements.remove(&statement) {
            self.text -= text.len();
        }
        if self.last == Some(statement) {
            self.last = None;
        }
        self.long.remove(&statement);
    }

    /// A part of a value was sent for this statement.
    pub(super) fn long_data(&mut self, statement: u32) {
        if self.long.len() < MOST_STATEMENTS {
            self.long.insert(statement);
        }
    }

    /// Whether parts of values were sent for it, or for too many to tell.
    pub(super) fn takes_long_data(&self, statement: u32) -> bool {
        self.long.contains(&statement) || self.long.len() >= MOST_STATEMENTS || statement == u32::MAX && !self.long.is_empty()
    }

    /// What the server says of the session.
    pub(super) fn status(&mut self, status: Option<u64>) {
        if let Some(status) = status {
            self.in_transaction = status & IN_TRANSACTION != 0;
        }
    }

    pub(super) fn is_in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// A text was done: while the transaction is open, it keeps locks on what the text changes.
    pub(super) fn changes(&mut self, text: &[u8]) {
        if !self.in_transaction && !self.locks_tables {
            self.held.clear();
            return;
        }
        for operation in self.operations(text).iter().filter(|operation| operation.effect >= Effect::Write) {
            let id = operation.resource.id.to_string();
            if let Some(table) = id.split_once(":table/").map(|(_, table)| table)
                && self.held.len() <= MOST_LOCKS
            {
                self.held.insert(format!("rows of {table}"));
            }
        }
    }

    /// What others wait for while this client's next statement waits.
    pub(super) fn held(&self) -> Vec<String> {
        self.held.iter().cloned().collect()
    }

    pub(super) fn locks_tables(&self) -> bool {
        self.locks_tables
    }

    /// The transaction was rolled back by us.
    pub(super) fn rolled_back(&mut self) {
        self.broken |= self.in_transaction;
        self.in_transaction = false;
        self.locks_tables = false;
    }
}

/// What becomes of a text in a transaction that was rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InBroken {
    /// It ends the transaction, or begins another.
    Passes,
    /// It would have made it real: refused, once.
    Commits,
    Refused,
}

/// The same, by the text's first words.
pub(super) fn in_broken(text: &[u8]) -> InBroken {
    let plain = !text.iter().any(|byte| matches!(byte, b';' | b'/' | b'#')) || text.trim_ascii().strip_suffix(b";").is_some_and(|rest| !rest.contains(&b';'));
    match first_word(text).as_str() {
        "rollback" if plain && !has_words(text, &["to"]) => InBroken::Passes,
        "start" | "begin" if plain => InBroken::Passes,
        "commit" => InBroken::Commits,
        _ => InBroken::Refused,
    }
}

fn first_word(text: &[u8]) -> String {
    let word: Vec<u8> = text.trim_ascii_start().iter().take(16).take_while(|byte| byte.is_ascii_alphabetic()).copied().collect();
    String::from_utf8_lossy(&word).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let mut facts = Facts::new("u");
        facts.begins("u", Some("shop"), 45);
        facts.told(&[Some(b"0".to_vec()), Some(b"STRICT_TRANS_TABLES".to_vec()), Some(b"utf8mb4".to_vec()), Some(b"shop".to_vec())]);
        facts
    }

    fn worst(facts: &Facts, text: &str) -> Effect {
        facts.operations(text.as_bytes()).iter().map(|operation| operation.effect).max().unwrap()
    }

    #[test]
    fn a_mode_that_is_known_makes_one_reading() {
        let mut facts = facts();
        let text = r"SELECT 'a\', '; DROP TABLE t; -- '";
        assert_eq!(worst(&facts, text), Effect::Destroy, "the backslash takes the quote with it");
        facts.told(&[Some(b"0".to_vec()), Some(b"NO_BACKSLASH_ESCAPES".to_vec()), Some(b"utf8mb4".to_vec()), None]);
        assert_eq!(worst(&facts, text), Effect::Read);
        facts.told(&[]);
        assert_eq!(worst(&facts, text), Effect::Destroy, "nobody knows");
        assert_eq!(worst(&facts, "SELECT 'ü'"), Effect::Opaque, "nobody knows the encoding");
    }

    #[test]
    fn version_comments_are_code() {
        for text in ["/*!50000 DROP DATABASE shop */", "/*! TRUNCATE t */", "/*M!100100 DROP TABLE t */", "SELECT 1; DELETE FROM t", "/*!99999 DROP TABLE t */"]
        {
            assert_eq!(worst(&facts(), text), Effect::Destroy, "{text}");
        }
    }

    #[test]
    fn what_is_prepared_by_sql_is_followed_whatever_its_case() {
        let mut facts = facts();
        assert!(!facts.done(b"PREPARE s FROM 'SELECT 1'", true));
        assert_eq!(worst(&facts, "EXECUTE S"), Effect::Read);
        facts.done(b"PREPARE S FROM 'DROP TABLE t'", true);
        assert_eq!(worst(&facts, "EXECUTE s"), Effect::Destroy);
        facts.done(b"PREPARE s FROM 'SELECT 2'", false);
        assert_eq!(worst(&facts, "EXECUTE s"), Effect::Opaque, "how far it got nobody knows");
        facts.done("PREPARE é FROM 'SELECT 1'".as_bytes(), true);
        assert_eq!(worst(&facts, "EXECUTE e"), Effect::Opaque);
    }

    #[test]
    fn a_variable_is_known_only_while_nothing_could_set_it_anew() {
        for (texts, wanted) in [
            (&["SET @a = 'SELECT 1'"][..], Effect::Read),
            (&["SET @a = 'DROP TABLE t'"], Effect::Destroy),
            (&["SET @a = 'SELECT 1'", "SELECT @a := 'DROP TABLE t'"], Effect::Opaque),
            (&["SET @a = 'SELECT 1'", "SELECT f()"], Effect::Opaque),
            (&["SET @a = 'SELECT 1'", "SET @b = f()"], Effect::Opaque),
            (&["SET @a = 'SELECT 1'", "SET @`a` = 'DROP TABLE t'"], Effect::Opaque),
            (&["SET @a = 'SELECT 1'", "CALL p(@a)"], Effect::Opaque),
        ] {
            let mut facts = facts();
            for text in texts {
                facts.done(text.as_bytes(), true);
            }
            facts.done(b"PREPARE s FROM @a", true);
            assert_eq!(worst(&facts, "EXECUTE s"), wanted, "{texts:?}");
            // The same in one text.
            let all = format!("{}; PREPARE s FROM @a; EXECUTE s", texts.join("; "));
            let whole = worst(&self::facts(), &all);
            assert!(whole == wanted || wanted == Effect::Read && whole == Effect::Write, "{all}: {whole:?}");
        }
    }

    #[test]
    fn names_are_folded_where_the_server_folds_them() {
        let mut facts = facts();
        let of = |facts: &Facts, text: &str| {
            let agentbox_core::Lineage::Known(lines) = facts.operations(text.as_bytes())[0].resource.lineage.clone() else { panic!("it is placed") };
            lines[0][0].as_str().to_owned()
        };
        assert_eq!(of(&facts, "DROP TABLE Shop.T"), "mysql:database/Shop");
        facts.told(&[Some(b"1".to_vec()), Some(Vec::new()), Some(b"utf8mb4".to_vec()), Some(b"Shop".to_vec())]);
        assert_eq!(of(&facts, "DROP TABLE SHOP.T"), "mysql:database/shop");
        assert_eq!(of(&facts, "DROP TABLE T"), "mysql:database/shop");
    }

    #[test]
    fn a_text_that_changes_its_own_encoding_is_not_read() {
        let text = b"SET NAMES gbk; SELECT '\xbf\\'; DROP TABLE t; -- '";
        assert!(facts().operations(text).iter().any(|operation| operation.effect == Effect::Opaque));
        assert!(facts().done(b"SET NAMES gbk", true) && facts().done(b"USE other", false) && !facts().done(b"SELECT 1", true));
    }

    #[test]
    fn statements_of_the_protocol_are_kept_by_number() {
        let mut facts = facts();
        facts.prepared(7, b"DELETE FROM t");
        assert_eq!(facts.statement(7).as_deref(), Some(&b"DELETE FROM t"[..]));
        assert_eq!(facts.statement(u32::MAX).as_deref(), Some(&b"DELETE FROM t"[..]));
        facts.not_prepared();
        assert_eq!(facts.statement(u32::MAX), None);
        facts.close(7);
        assert_eq!((facts.statement(7), facts.text), (None, 0));
    }

    #[test]
    fn a_broken_transaction_ends_only_by_its_own_words() {
        for (text, wanted) in [
            ("ROLLBACK", InBroken::Passes),
            (" rollback work;", InBroken::Passes),
            ("BEGIN", InBroken::Passes),
            ("START TRANSACTION", InBroken::Passes),
            ("ROLLBACK TO s", InBroken::Refused),
            ("ROLLBACK; INSERT INTO t VALUES (1)", InBroken::Refused),
            ("COMMIT", InBroken::Commits),
            ("INSERT INTO t VALUES (1)", InBroken::Refused),
        ] {
            assert_eq!(in_broken(text.as_bytes()), wanted, "{text}");
        }
    }
}
