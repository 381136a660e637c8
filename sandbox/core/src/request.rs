//! Everything that one request, statement or call would do, with what is known about who asks.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{
    Operation,
    fingerprint::Fingerprint,
    look::{Seen, Undo},
};

/// BLAKE3 digest of the canonical form of a request: what the approver is shown is bound to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digest of `parts`, each with its length before it, so that no two lists of parts collide.
    #[must_use]
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digest({})", self.to_hex())
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        blake3::Hash::from_hex(text).map(|hash| Self(*hash.as_bytes())).map_err(|_| "a digest is 64 hexadecimal digits")
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_hex()
    }
}

/// A host's name: lower case, no trailing dot, or the text of an IP address. Valid by construction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

impl HostName {
    /// Takes `text` if it is a host name (letters, digits, `-`, `_`, dots; at most 253 bytes) or an IP address.
    ///
    /// # Errors
    /// Says what a host name looks like.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const BAD: &str = "a host is a DNS name (letters, digits, '-', '_', dots) or an IP address";
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self(address.to_string()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let good_label = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        // A name of only digits and dots that is no address (`0177.1`, `2130706433`) is one to some resolvers: refused.
        let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x"));
        if name.len() <= 253 && !numeric && name.split('.').all(good_label) { Ok(Self(name)) } else { Err(BAD) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, if the name is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }
}

impl TryFrom<String> for HostName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> String {
        name.0
    }
}

impl std::fmt::Display for HostName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The name that the agent used, or the text of the address where it used one.
    pub host: HostName,
    /// TCP or UDP port.
    pub port: u16,
    /// The addresses that would be connected to, where already known. A place matches by name or by any of them.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.as_str().contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

/// A credential that was seen in an authenticating position. Never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Where it was: `authorization header (Bearer)`, `cookie`, `URL`.
    pub position: String,
    /// A name to speak of it: the policy's name of an issued credential, or `unknown, ends in …7f3a`.
    pub name: String,
    /// Whether the policy issued it to this box. What is not issued is foreign.
    pub issued: bool,
}

/// What the card shows beside the operations. All of it may be hostile and is made safe where it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// One line as a person would write it: `POST https://backboard.railway.com/graphql/v2`.
    pub summary: String,
    /// The decoded text of what was understood, cut to a readable length.
    pub excerpt: String,
    /// Who in the process tree, the asker first: `curl (pid 12)`. Empty where it is not known.
    pub who: Vec<String>,
    /// Credentials in authenticating positions.
    pub credentials: Vec<Credential>,
    /// Of credentials that are not issued: by them the supervisor finds where the very same lie. They reach neither card nor ledger.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fingerprints: Vec<Fingerprint>,
    /// The client's address in the box and the address it connected to: by them the supervisor finds out `who`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<(SocketAddr, SocketAddr)>,
    /// The process whose call was stopped, by its number outside the box: by it the supervisor finds out `who`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<i32>,
    /// Whether a file's deed could be undone, as the process that keeps what it would lose has found out. Nobody else's word counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    /// What a look found, where one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// Why a look could not be made, where one was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen: Option<String>,
}

/// One question to the gate. It needs a permit for every operation in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// All that it would do; never empty (an empty list is judged as opaque).
    pub operations: Vec<Operation>,
    /// Where it goes; `None` for a file.
    pub destination: Option<Destination>,
    /// Digest of the canonical form that would be acted on.
    pub digest: Digest,
    /// For the card and the ledger.
    pub evidence: Evidence,
}

impl Request {
    /// The operation with the worst effect: what a one-line report names.
    #[must_use]
    pub fn worst(&self) -> Option<&Operation> {
        self.operations.iter().max_by_key(|operation| operation.effect)
    }
}
