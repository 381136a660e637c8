//! What the broker hands over: one head before the body, on one HTTP/2 stream of a socket between the two processes.

use agentbox_core::Destination;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};

use super::super::{client::Reuse, serve::Version};
use crate::meaning::Scheme;

/// Longest head in bytes; the client's own is at most 64 KiB, and JSON may escape each of them.
pub(super) const LONGEST_HEAD: usize = 512 << 10;

/// The header of an answer that is not the far side's. It is taken out of the far side's own.
pub(super) const MARK: &str = "agentbox-carrier";

/// How many tokens of the answer placeholders stand for. It is taken out of the far side's own headers as well.
pub(super) const MINTED: &str = "agentbox-tokens";

/// What became of it instead.
pub(super) const REFUSED: &str = "refused";
pub(super) const UNREACHABLE: &str = "unreachable";
pub(super) const BROKEN: &str = "broken";

/// How the far side is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cloth {
    Clear,
    Tls,
}

/// Which HTTP the client speaks, and whether a used connection will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Way {
    Http1,
    Http2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Connection {
    Any,
    Fresh,
}

/// How the digest was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum BodyKind {
    /// Over all of the body.
    Whole,
    /// Over this number.
    Partly([u8; 16]),
}

/// The head.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Carried {
    pub(super) ask: u64,
    pub(super) nonce: String,
    pub(super) method: String,
    pub(super) cloth: Cloth,
    pub(super) destination: Destination,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: BodyKind,
    pub(super) way: Way,
    pub(super) connection: Connection,
    /// The credential whose certificate is shown to the far side.
    pub(super) certificate: Option<String>,
}

impl Carried {
    pub(super) fn scheme(&self) -> Scheme {
        match self.cloth {
            Cloth::Clear => Scheme::Http,
            Cloth::Tls => Scheme::Https,
        }
    }

    pub(super) fn version(&self) -> Version {
        match self.way {
            Way::Http1 => Version::Http1,
            Way::Http2 => Version::Http2,
        }
    }

    pub(super) fn reuse(&self) -> Reuse {
        match self.connection {
            Connection::Any => Reuse::Allowed,
            Connection::Fresh => Reuse::Never,
        }
    }

    pub(super) fn method(&self) -> Option<Method> {
        self.method.parse().ok()
    }

    pub(super) fn header_map(&self) -> Option<HeaderMap> {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            map.append(name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?);
        }
        Some(map)
    }
}

/// Headers as they are handed over. `None` where a value is not text.
pub(super) fn texts(headers: &HeaderMap) -> Option<Vec<(String, String)>> {
    headers.iter().map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))).collect()
}
