//! What was said before on a connection, as far as it decides what a later text means.

use std::{collections::BTreeMap, sync::Arc};

use super::{Dialect, block, functions::Routines, lexer, lexis::Lexis, part::Part, session};

/// Most prepared statements and settings that are kept of a connection; further ones are not known, so that executing them is opaque.
const MOST_KEPT: usize = 4096;

/// What is known of a session.
///
/// The caller tells what the protocol tells (database, user, the server's reports of settings, prepared statements of the
/// protocol), and [`Said::observe`] learns from each text that succeeded.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The database that was connected to.
    pub database: Option<String>,
    /// Who is logged in.
    pub user: Option<String>,
    /// Where unqualified names are looked up; `None` when it is not known: then as the server is shipped (`"$user", public`).
    pub search_path: Option<Vec<String>>,
    prepared: BTreeMap<String, Vec<u8>>,
    settings: BTreeMap<String, String>,
    functions: BTreeMap<String, Vec<u8>>,
    routines: Option<Arc<Routines>>,
}

impl Said {
    /// Nothing was said yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A statement was prepared under `name`, by SQL or by the protocol.
    pub fn prepare(&mut self, name: &str, text: &[u8]) {
        if self.prepared.len() < MOST_KEPT || self.prepared.contains_key(name) {
            self.prepared.insert(name.to_owned(), text.to_vec());
        }
    }

    /// The statement prepared under `name` is gone.
    pub fn forget(&mut self, name: &str) {
        self.prepared.remove(name);
    }

    /// The text that was prepared under `name`.
    #[must_use]
    pub fn prepared(&self, name: &str) -> Option<&[u8]> {
        self.prepared.get(name).map(Vec::as_slice)
    }

    /// The names of all that is prepared.
    pub fn prepared_names(&self) -> impl Iterator<Item = &str> {
        self.prepared.keys().map(String::as_str)
    }

    /// Nothing that was prepared by SQL is known any more.
    pub(crate) fn forget_prepared(&mut self) {
        self.prepared.clear();
    }

    /// The value of a setting is not known any more.
    pub(crate) fn forget_setting(&mut self, name: &str) {
        self.settings.remove(name);
    }

    /// A setting has this value now: told by the server (`ParameterStatus`), or set.
    pub fn set(&mut self, name: &str, value: &str) {
        if self.settings.len() < MOST_KEPT || self.settings.contains_key(name) {
            self.settings.insert(name.to_ascii_lowercase(), value.to_owned());
        }
    }

    /// Whether any setting is known.
    #[must_use]
    pub fn has_settings(&self) -> bool {
        !self.settings.is_empty()
    }

    /// The value of a setting, by its name in lower case.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// Takes in a text that succeeded: `SET`, `USE`, `PREPARE`, `DEALLOCATE`, `DISCARD`, definitions of functions.
    pub fn observe(&mut self, dialect: Dialect, text: &[u8]) {
        let Ok(lexed) = lexer::lex(text, Lexis::first(dialect, text, self)) else { return };
        let all = Part::new(text, &lexed.tokens);
        let (mut from, mut work) = (0, 0);
        // Each turn takes at least one token.
        while from < all.len() {
            let rest = all.from(from);
            let length = block::length(&rest, dialect, &mut work);
            let statement = rest.slice(0, length);
            if session::may_teach(&statement) {
                session::observe(self, dialect, &statement);
            }
            session::pass(self, dialect, &statement);
            from += length + 1;
        }
    }

    /// What people write of a connection: `statement id 1 was prepared as "DELETE …"`, `sql_mode = ANSI_QUOTES`, or statements that were run.
    pub fn hear(&mut self, dialect: Dialect, context: &str) {
        if let (Some(at), Some(from), Some(to)) = (context.find("prepared"), context.find('"'), context.rfind('"')) {
            // `prepared statement "s1" as "DELETE …"`.
            let from = context.find(" as \"").map_or(from, |as_at| as_at + 4);
            let text = context.get(from + 1..to).unwrap_or_default();
            let at = if at < from { from } else { at };
            for name in context.get(..at).unwrap_or_default().split_ascii_whitespace() {
                self.prepare(name.trim_matches(['\'', '`', ',', '"', ':']), text.as_bytes());
            }
            self.prepare("", text.as_bytes());
            return;
        }
        for piece in context.split([';', '\n']) {
            self.observe(dialect, piece.trim().as_bytes());
            if let Some((name, value)) = piece.split_once('=').or_else(|| piece.split_once(" is ")) {
                let name = name.trim().rsplit(' ').next().unwrap_or_default();
                self.set(name, value.trim().trim_matches(['\'', '"']));
            }
        }
        if context.contains("CREATE") || context.contains("create") {
            self.observe(dialect, context.as_bytes());
        }
    }

    /// A function was defined; `text` is its definition.
    pub(super) fn define(&mut self, name: &str, text: &[u8]) {
        if self.functions.len() < MOST_KEPT || self.functions.contains_key(name) {
            self.functions.insert(name.to_owned(), text.to_vec());
        }
    }

    /// The definition of a function of this session.
    pub(super) fn defined(&self, name: &str) -> Option<&[u8]> {
        self.functions.get(name).map(Vec::as_slice)
    }

    /// What was looked up at the server; `None` where nobody does that.
    pub(super) fn routines(&self) -> Option<&Routines> {
        self.routines.as_deref()
    }

    /// Takes what was looked up at the server.
    pub(crate) fn look_up(&mut self, routines: Arc<Routines>) {
        self.routines = Some(routines);
    }

    pub(super) fn forget_all(&mut self) {
        self.prepared.clear();
    }

    /// Whether a variable of the user's (`@name`) is known.
    pub(super) fn has_variables(&self) -> bool {
        self.settings.range("@".to_owned().."A".to_owned()).next().is_some()
    }

    /// No variable of the user's (`@name`) is known any more.
    pub(crate) fn forget_variables(&mut self) {
        self.settings.retain(|name, _| !name.starts_with('@'));
    }

    pub(super) fn unset(&mut self, name: &str) {
        self.settings.remove(&name.to_ascii_lowercase());
    }

    pub(super) fn unset_all(&mut self) {
        self.settings.clear();
    }

    /// Whether a setting is known to be off.
    pub(super) fn is_off(&self, name: &str) -> bool {
        self.setting(name).is_some_and(|value| ["off", "0", "false", "no"].iter().any(|off| value.eq_ignore_ascii_case(off)))
    }

    /// Whether the bytes above 127 of `text` can be read: as UTF-8, or one by one. In some encodings a backslash or a quote is the second half of a letter.
    pub(super) fn is_readable(&self, dialect: Dialect, text: &[u8]) -> bool {
        let encoding = match dialect {
            Dialect::PostgreSql => self.setting("client_encoding"),
            Dialect::MySql => self.setting("character_set_client").or_else(|| self.setting("names")),
            _ => None,
        };
        let Some(encoding) = encoding.map(|name| name.to_ascii_lowercase().replace(['-', '_'], "")) else {
            return std::str::from_utf8(text).is_ok();
        };
        const BY_BYTE: &[&str] = &[
            "latin",
            "iso8859",
            "win125",
            "windows125",
            "win866",
            "win874",
            "koi8",
            "sqlascii",
            "ascii",
            "binary",
            "cp125",
            "cp85",
            "cp866",
            "euckr",
            "eucjp",
            "euccn",
        ];
        match encoding.as_str() {
            "utf8" | "unicode" | "utf8mb4" | "utf8mb3" => std::str::from_utf8(text).is_ok() || dialect == Dialect::MySql,
            other => BY_BYTE.iter().any(|known| other.starts_with(known)),
        }
    }
}
