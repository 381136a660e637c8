//! Answers in GraphQL, read within bounds.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Answer, LookError};
use crate::meaning::parse_json;

/// Longest text of the provider's that an error repeats.
const LONGEST_MESSAGE: usize = 160;

/// `{ edges: [{ node }] }`.
#[derive(Debug, Deserialize)]
pub(super) struct Connection<T> {
    #[serde(default = "Vec::new")]
    edges: Vec<Edge<T>>,
    #[serde(rename = "pageInfo")]
    pub(super) page: Option<Page>,
}

#[derive(Debug, Deserialize)]
struct Edge<T> {
    node: T,
}

/// Whether there is more.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    pub(super) has_next_page: bool,
    pub(super) end_cursor: Option<String>,
}

impl<T> Connection<T> {
    /// All nodes, if there are no more than `most` and no further page.
    pub(super) fn nodes(self, most: usize, what: &'static str) -> Result<Vec<T>, LookError> {
        let more = self.page.as_ref().is_some_and(|page| page.has_next_page);
        if self.edges.len() > most || more { Err(LookError::TooMuch(what)) } else { Ok(self.edges.into_iter().map(|edge| edge.node).collect()) }
    }

    /// The nodes of one page.
    pub(super) fn page_nodes(&self) -> impl Iterator<Item = &T> {
        self.edges.iter().map(|edge| &edge.node)
    }
}

/// The `data` of an answer.
pub(super) fn data<T: DeserializeOwned>(answer: &Answer) -> Result<T, LookError> {
    let value = value(answer)?;
    if let Some(message) = first_error(&value) {
        return Err(LookError::Provider(message));
    }
    let Value::Object(mut object) = value else { return Err(LookError::Unreadable("it is no object")) };
    let data = object.remove("data").unwrap_or(Value::Null);
    if !answer.status.is_success() {
        return Err(LookError::Provider(format!("status {}", answer.status.as_u16())));
    }
    // What serde would say may repeat the far side's text; the fact is enough.
    serde_json::from_value(data).map_err(|_| LookError::Unreadable("it lacks what its schema promises"))
}

/// Whether the provider did not take the credential (in this header).
pub(super) fn is_unauthorized(answer: &Answer) -> bool {
    if matches!(answer.status.as_u16(), 401 | 403) {
        return true;
    }
    let message = value(answer).ok().as_ref().and_then(first_error).unwrap_or_default().to_ascii_lowercase();
    message.contains("not authorized") || message.contains("unauthorized") || message.contains("unauthenticated")
}

fn value(answer: &Answer) -> Result<Value, LookError> {
    if answer.body.len() > super::LONGEST_ANSWER {
        return Err(LookError::TooMuch("the answer's size"));
    }
    match parse_json(&answer.body) {
        Ok(value) => Ok(value),
        Err(_) if !answer.status.is_success() => Err(LookError::Provider(format!("status {}", answer.status.as_u16()))),
        Err(_) => Err(LookError::Unreadable("it is not strict JSON")),
    }
}

fn first_error(value: &Value) -> Option<String> {
    let errors = value.get("errors")?.as_array()?;
    let message = errors.first()?.get("message").and_then(Value::as_str).unwrap_or("an error without a message");
    Some(agentbox_core::safe::line(message, LONGEST_MESSAGE))
}
