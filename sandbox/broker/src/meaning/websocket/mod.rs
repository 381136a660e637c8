//! What the messages of a WebSocket mean: GraphQL's two subprotocols, JSON-RPC, GraphQL in bare JSON, requests to a model; all else
//! cannot be read.

use agentbox_core::{Effect, Operation, Refusal};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::{Map, Value, json};

use super::{Body, Head, Meaning, api, call::Call, content::parse_json, credentials, excerpt, http_rules, refusal};

/// Longest number of an operation, in bytes; clients send counters and UUIDs.
const LONGEST_ID: usize = 256;

/// Most calls of one JSON-RPC batch that are looked into.
const MOST_CALLS: usize = 64;

/// Most texts of an opening message that could be credentials, and how deep they lie.
const MOST_HEADERS: usize = 32;
const DEEPEST_HEADER: usize = 3;

/// What the two sides agreed to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `graphql-transport-ws`, of the package graphql-ws.
    Transport,
    /// `graphql-ws`, of the package subscriptions-transport-ws.
    Legacy,
    /// Nothing that tells how messages are read: each is looked at for what it may be.
    Unknown,
}

/// What one message of a client does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    /// Nothing that needs a judgement.
    Plain,
    /// It opens the conversation, often with a credential.
    Init(Option<Value>),
    /// It asks for something.
    Asks(Asked),
    /// It ends the operation of this number.
    Stop(String),
    /// It cannot be read, and why.
    Unread(String),
}

/// A message that asks for something.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    /// How a no is told.
    pub(crate) tongue: Tongue,
    /// What a POST's body would say; `None` where the message itself is that.
    payload: Option<Value>,
}

/// How a no is told inside the conversation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tongue {
    /// As an error of this operation.
    Transport(String),
    /// The same in the older protocol.
    Legacy(String),
    /// As errors of these calls; notifications have no number and get none.
    Rpc {
        /// Their numbers.
        ids: Vec<Value>,
        /// Whether they came as one batch.
        shape: Shape,
    },
    /// As an error event of a model's answers (OpenAI's Responses over a WebSocket).
    Model,
    /// As a GraphQL answer, with the number that the message had, if any.
    Bare(Option<Value>),
    /// There is no way to tell it inside the conversation.
    Mute,
}

/// How calls came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One object.
    Single,
    /// A list.
    Batch,
}

impl Dialect {
    /// By the subprotocol that was agreed on.
    pub(crate) fn agreed(protocol: Option<&str>) -> Self {
        match protocol {
            Some("graphql-transport-ws") => Dialect::Transport,
            Some("graphql-ws") => Dialect::Legacy,
            Some(_) | None => Dialect::Unknown,
        }
    }

    /// Whether a message may overtake one that waits: operations of GraphQL are independent of each other.
    pub(crate) fn is_ordered(self) -> bool {
        self == Dialect::Unknown
    }

    /// Reads one text message strictly.
    pub(crate) fn read(self, text: &[u8]) -> Said {
        let value = match parse_json(text) {
            Ok(value) => value,
            Err(why) => return Said::Unread(format!("a message that is not strict JSON: {why}")),
        };
        match self {
            Dialect::Transport | Dialect::Legacy => self.graphql(value),
            Dialect::Unknown => unknown(value),
        }
    }

    fn graphql(self, value: Value) -> Said {
        let unread = |why: &str| Said::Unread(why.to_owned());
        let Value::Object(mut object) = value else { return unread("a message that is no object") };
        if object.keys().any(|key| !matches!(key.as_str(), "id" | "type" | "payload")) {
            return unread("a message with another field than id, type and payload");
        }
        let payload = object.remove("payload");
        let id = match object.get("id") {
            Some(Value::String(id)) if id.len() <= LONGEST_ID => Some(id.clone()),
            None | Some(Value::Null) => None,
            Some(_) => return unread("an id that is no string, or a long one"),
        };
        let word = object.get("type").and_then(Value::as_str).unwrap_or_default();
        match (self, word, id) {
            (_, "connection_init", None) => Said::Init(payload),
            (Dialect::Transport, "ping" | "pong", None) | (Dialect::Legacy, "connection_terminate", None) => Said::Plain,
            (Dialect::Transport, "subscribe", Some(id)) => asks(Tongue::Transport(id), payload),
            (Dialect::Legacy, "start", Some(id)) => asks(Tongue::Legacy(id), payload),
            (Dialect::Transport, "complete", Some(id)) | (Dialect::Legacy, "stop", Some(id)) => Said::Stop(id),
            (Dialect::Transport | Dialect::Legacy | Dialect::Unknown, _, _) => unread("a type of message that a client does not send"),
        }
    }
}

fn asks(tongue: Tongue, payload: Option<Value>) -> Said {
    match payload {
        Some(payload @ Value::Object(_)) => Said::Asks(Asked { tongue, payload: Some(payload) }),
        Some(_) | None => Said::Unread("an operation without a payload".to_owned()),
    }
}

/// A message of which only its own form tells what it is.
fn unknown(value: Value) -> Said {
    let is_call = |value: &Value| value.as_object().is_some_and(|object| object.get("jsonrpc").is_some_and(Value::is_string));
    let id_of = |value: &Value| value.get("method").and(value.get("id")).filter(|id| id.is_string() || id.is_number()).cloned();
    if is_call(&value) {
        let tongue = Tongue::Rpc { ids: id_of(&value).into_iter().collect(), shape: Shape::Single };
        return Said::Asks(Asked { tongue, payload: None });
    }
    match value {
        Value::Array(items) if (1..=MOST_CALLS).contains(&items.len()) && items.iter().all(is_call) => {
            Said::Asks(Asked { tongue: Tongue::Rpc { ids: items.iter().filter_map(id_of).collect(), shape: Shape::Batch }, payload: None })
        }
        Value::Object(object) if object.get("query").is_some_and(Value::is_string) => {
            Said::Asks(Asked { tongue: Tongue::Bare(object.get("id").filter(|id| id.is_string() || id.is_number()).cloned()), payload: None })
        }
        // The body of a `POST /v1/responses` with its event's name beside it: it is judged as that POST.
        Value::Object(object) if object.get("type").is_some_and(|event| event == "response.create") && object.get("model").is_some_and(Value::is_string) => {
            Said::Asks(Asked { tongue: Tongue::Model, payload: None })
        }
        // Servers exist that speak GraphQL's subprotocols without having agreed to.
        Value::Object(object) => enveloped(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Said::Unread("a message of no known protocol".to_owned()),
    }
}

fn enveloped(object: Map<String, Value>) -> Said {
    let has_document = object.get("payload").and_then(|payload| payload.get("query")).is_some_and(Value::is_string);
    match (object.get("type").and_then(Value::as_str), has_document) {
        (Some("subscribe"), true) => Dialect::Transport.graphql(Value::Object(object)),
        (Some("start"), true) => Dialect::Legacy.graphql(Value::Object(object)),
        (Some("connection_init"), false) => Dialect::Transport.graphql(Value::Object(object)),
        _ => Said::Unread("a message of no known protocol".to_owned()),
    }
}

impl Asked {
    /// What makes this message this one and no other; clients number a repetition anew.
    pub(crate) fn identity(&self, text: &[u8]) -> Vec<u8> {
        match &self.payload {
            Some(payload) if is_exact(payload) => payload.to_string().into_bytes(),
            Some(_) | None => text.to_vec(),
        }
    }

    /// What the message means: the same as a POST with this body to where the WebSocket was opened.
    pub(crate) fn meaning(&self, head: &Head<'_>, init: &HeaderMap, text: &[u8]) -> Meaning {
        let written = self.payload.as_ref().map(|payload| payload.to_string().into_bytes());
        let body = written.as_deref().unwrap_or(text);
        let media = if self.payload.is_some() { "application/graphql+json" } else { "application/json" };
        let mut headers = head.headers.clone();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        headers.remove(header::CONTENT_ENCODING);
        let head = Head { method: &Method::POST, headers: &headers, ..*head };
        let mut meaning = api::understand(&head, Body::Whole(body), None);
        meaning.credentials.extend(credentials::seen(&Head { headers: init, target: "/", ..head }));
        meaning
    }
}

impl Tongue {
    /// The number by which the client can end what waits.
    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            Tongue::Transport(id) | Tongue::Legacy(id) => Some(id),
            Tongue::Rpc { .. } | Tongue::Model | Tongue::Bare(_) | Tongue::Mute => None,
        }
    }

    /// A refusal inside the conversation, which goes on.
    pub(crate) fn refusal(&self, refused: &Refusal) -> Option<String> {
        let told = match self {
            Tongue::Transport(id) => json!({ "id": id, "type": "error", "payload": [refusal::graphql_error(refused)] }),
            Tongue::Legacy(id) => json!({ "id": id, "type": "error", "payload": refusal::graphql_error(refused) }),
            Tongue::Rpc { ids, shape } => {
                let error = refusal::rpc_error(refused);
                let mut all: Vec<Value> = ids.iter().map(|id| json!({ "jsonrpc": "2.0", "id": id, "error": error })).collect();
                match shape {
                    Shape::Single => all.pop()?,
                    Shape::Batch if all.is_empty() => return None,
                    Shape::Batch => Value::Array(all),
                }
            }
            Tongue::Model => refusal::model_error(refused),
            Tongue::Bare(id) => {
                let mut whole = refusal::graphql(refused);
                if let (Some(fields), Some(id)) = (whole.as_object_mut(), id) {
                    fields.insert("id".to_owned(), id.clone());
                }
                whole
            }
            Tongue::Mute => return None,
        };
        Some(told.to_string())
    }
}

/// One message that cannot be read, where all others can: everything that the client's credential can do there.
pub(crate) fn unread_message(head: &Head<'_>, why: &str, text: &[u8]) -> Meaning {
    one(head, "websocket.message", why, text)
}

/// All that is still to come on a WebSocket whose messages cannot be read.
pub(crate) fn unread(head: &Head<'_>, text: &[u8]) -> Meaning {
    one(head, "websocket.unread", "a WebSocket whose messages cannot be read: everything that this client's credential can do there", text)
}

fn one(head: &Head<'_>, action: &str, why: &str, text: &[u8]) -> Meaning {
    let call = Call::new(head, Body::Whole(text));
    let operation = Operation::new(Effect::Opaque, action, http_rules::resource(&call), why);
    Meaning {
        operations: vec![operation],
        excerpt: excerpt::of(&call),
        reply: refusal::ReplyStyle::Json,
        credentials: credentials::seen(head),
        unknown_document: None,
    }
}

/// The texts of an opening message as if they were headers, which is what servers take them for.
pub(crate) fn init_headers(payload: Option<&Value>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut waiting: Vec<(&str, &Value, usize)> = payload.into_iter().map(|value| ("", value, 0)).collect();
    while let Some((name, value, depth)) = waiting.pop() {
        match value {
            Value::Object(fields) if depth < DEEPEST_HEADER => {
                waiting.extend(fields.iter().take(MOST_HEADERS).map(|(name, value)| (name.as_str(), value, depth + 1)));
            }
            Value::String(text) if headers.len() < MOST_HEADERS => {
                if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(text)) {
                    headers.append(name, value);
                }
            }
            Value::Object(_) | Value::String(_) | Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    headers
}

/// Whether two texts could not have this one value: a number with a fraction or an exponent may have lost digits.
fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_f64(),
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(fields) => fields.values().all(is_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// What a whole message means to a server that agreed to `protocol`, without a conversation around it: for `classify`.
pub(super) fn alone(head: &Head<'_>, protocol: Option<&str>, kind: Kind, bytes: &[u8]) -> Meaning {
    if kind == Kind::Binary {
        return unread(head, bytes);
    }
    let dialect = Dialect::agreed(protocol);
    match dialect.read(bytes) {
        Said::Asks(asked) => asked.meaning(head, &HeaderMap::new(), bytes),
        Said::Unread(why) if dialect != Dialect::Unknown => unread_message(head, &why, bytes),
        Said::Unread(_) => unread(head, bytes),
        Said::Plain | Said::Init(_) | Said::Stop(_) => {
            let call = Call::new(head, Body::Whole(bytes));
            let operation = Operation::new(Effect::Read, "websocket.message", http_rules::resource(&call), "it opens or keeps a conversation");
            Meaning {
                operations: vec![operation],
                excerpt: excerpt::of(&call),
                reply: refusal::ReplyStyle::Json,
                credentials: credentials::seen(head),
                unknown_document: None,
            }
        }
    }
}

/// The two kinds of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}

#[cfg(test)]
mod tests;
