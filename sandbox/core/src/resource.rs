//! The thing an operation would touch, and what it lives in.

use serde::{Deserialize, Serialize};

/// Longest resource name that is kept; hostile names beyond it end in a digest, so that two long names never look alike.
const LONGEST: usize = 512;

/// Longest name of a file that is kept: the longest path that Linux takes, with every byte escaped. A file's place is told by its whole path.
const LONGEST_FILE: usize = 3 * 4096 + 8;

/// The scheme of files, whose `%` is escaped too: two paths never look alike.
const FILE: &str = "file";

fn longest(scheme: &str) -> usize {
    if scheme == FILE { LONGEST_FILE } else { LONGEST }
}

/// A resource's name in the policy's words: `scheme:path`, e.g. `railway:volume/3d2c`, `file:/home/u/x`, `http:api.example.com:443/v1`.
///
/// Always printable ASCII without blanks: every other byte is percent-escaped, so an id is safe to print anywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceId(String);

impl ResourceId {
    /// Makes an id from a scheme (our own word) and a path (which may be hostile).
    #[must_use]
    pub fn new(scheme: &'static str, path: &str) -> Self {
        Self::of_bytes(scheme, path.as_bytes())
    }

    fn of_bytes(scheme: &'static str, path: &[u8]) -> Self {
        let mut text = String::with_capacity(scheme.len() + path.len() + 1);
        text.push_str(scheme);
        text.push(':');
        for byte in path.iter().copied() {
            if byte.is_ascii_graphic() && !(byte == b'%' && scheme == FILE) {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
        if text.len() > longest(scheme) {
            let digest = blake3::hash(text.as_bytes()).to_hex();
            text.truncate(longest(scheme) - 20);
            text.push_str("...");
            text.push_str(digest.get(..16).unwrap_or_default());
        }
        Self(text)
    }

    /// A file, by its absolute path.
    #[must_use]
    pub fn file(path: &std::path::Path) -> Self {
        Self::of_bytes(FILE, path.as_os_str().as_encoded_bytes())
    }

    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The word before the colon.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// What follows the colon.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, path)| path)
    }
}

impl TryFrom<String> for ResourceId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let good = text.len() <= text.split_once(':').map_or(0, |(scheme, _)| longest(scheme))
            && text.bytes().all(|byte| byte.is_ascii_graphic())
            && text
                .split_once(':')
                .is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
        if good { Ok(Self(text)) } else { Err("a resource is `scheme:path` in printable ASCII") }
    }
}

impl From<ResourceId> for String {
    fn from(id: ResourceId) -> String {
        id.0
    }
}

impl std::fmt::Display for ResourceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a resource lives in, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lineage {
    /// The request does not tell and nobody has looked: the strictest place that it could be decides.
    Unknown,
    /// One line for each way up, each from the nearest parent to the root (the host is not in it).
    /// `[[]]` says: it has no parents besides the host.
    Known(Vec<Vec<ResourceId>>),
}

/// A resource with its lineage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its own name.
    pub id: ResourceId,
    /// What it lives in.
    pub lineage: Lineage,
}

impl Resource {
    /// A resource that has no parents besides its host (or, for a file, its path).
    #[must_use]
    pub fn rooted(id: ResourceId) -> Self {
        Self { id, lineage: Lineage::Known(vec![Vec::new()]) }
    }

    /// A resource of which only the name is known: somebody must look.
    #[must_use]
    pub fn unplaced(id: ResourceId) -> Self {
        Self { id, lineage: Lineage::Unknown }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn no_two_paths_look_alike() {
        let id = |path: &str| ResourceId::file(Path::new(path));
        for path in ["/w/a b", "/w/a%20b", "/w/100%", "/w/\u{fc}ber\n", "/"] {
            assert!(id(path).as_str().bytes().all(|byte| byte.is_ascii_graphic()), "{path:?}");
            assert_eq!(ResourceId::try_from(id(path).as_str().to_owned()), Ok(id(path)));
        }
        assert_ne!(id("/w/a b"), id("/w/a%20b"));
        let deep = format!("/w/{}", "\u{fc}/".repeat(1360));
        assert_ne!(id(&format!("{deep}a")), id(&format!("{deep}b")));
        assert!(!id(&deep).as_str().contains("..."), "the longest path is kept whole");
        assert_eq!(ResourceId::new("http", "h/100%").as_str(), "http:h/100%", "what is no file keeps its percent signs");
    }
}
