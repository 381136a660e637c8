//! A model request skimmed: the few fields that can make the provider act are read, the conversation is passed over.

use std::fmt;

use serde::{
    Deserializer as _,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::meaning::content::{StrictJson, Unreadable};

/// Fields that can make another party act, of all vendors.
const READ: &[&str] = &[
    "tools",
    "mcp_servers",
    "mcpServers",
    "toolConfig",
    "tool_config",
    "plugins",
    "web_search_options",
    "search_parameters",
    "prompt",
    "request",
    "requests",
    "agent",
    "connectors",
    "extra_body",
    "tool_resources",
    "container",
    "server_tools",
    "context_servers",
];

/// Most fields at the top of one request.
const MOST_FIELDS: usize = 200;

/// What was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Skimmed {
    /// The fields that matter, with their values.
    pub(crate) fields: Map<String, Value>,
    /// Names of all fields.
    names: Vec<String>,
}

impl Skimmed {
    /// Whether any of these fields stands at the top.
    #[must_use]
    pub(crate) fn has_any(&self, names: &[&str]) -> bool {
        self.names.iter().any(|name| names.contains(&name.as_str()))
    }
}

/// Reads the top of a JSON object strictly: no field twice, nothing after its end.
///
/// # Errors
/// It is not one JSON object.
pub(crate) fn skim(bytes: &[u8]) -> Result<Skimmed, Unreadable> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Charset)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let skimmed = deserializer.deserialize_map(Top).map_err(|_| Unreadable::Json("it does not parse, or a key stands twice"))?;
    deserializer.end().map_err(|_| Unreadable::Json("something follows after its end"))?;
    Ok(skimmed)
}

struct Top;

impl<'de> Visitor<'de> for Top {
    type Value = Skimmed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Skimmed, A::Error> {
        let mut skimmed = Skimmed::default();
        while let Some(name) = entries.next_key::<String>()? {
            if skimmed.names.contains(&name) || skimmed.names.len() == MOST_FIELDS {
                return Err(A::Error::custom("a key stands twice, or there are too many"));
            }
            if READ.contains(&name.as_str()) {
                let value = entries.next_value_seed(StrictJson)?;
                skimmed.fields.insert(name.clone(), value);
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
            skimmed.names.push(name);
        }
        Ok(skimmed)
    }
}
