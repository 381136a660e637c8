//! The Model Context Protocol over HTTP or WebSocket: its own methods read. The call of a tool is judged by the rules for all bodies.

use agentbox_core::{Effect, Operation};
use serde_json::{Map, Value};

use super::{
    BodyWant, Head,
    api::{Api, Reading},
    call::Call,
    content::Content,
    http_rules,
    route::Route,
};

/// Most calls of one batch; more are for HTTP's own rules.
const MOST: usize = 64;

/// Methods of the protocol that change nothing at the server (Model Context Protocol, 2025-06-18).
const READING: &[&str] = &[
    "completion/complete",
    "initialize",
    "logging/setLevel",
    "notifications/cancelled",
    "notifications/initialized",
    "notifications/progress",
    "notifications/roots/list_changed",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "tools/list",
];

/// One line of the table of APIs.
pub(crate) struct Mcp;

impl Api for Mcp {
    fn wants(&self, _head: &Head<'_>, _route: &Route) -> Option<BodyWant> {
        None
    }

    fn read(&self, call: &Call<'_>) -> Option<Reading> {
        if call.head.method != http::Method::POST {
            return None;
        }
        let calls: Vec<&Map<String, Value>> = match call.content() {
            Content::Json(Value::Object(object)) => vec![object],
            Content::Json(Value::Array(items)) if (1..=MOST).contains(&items.len()) => items.iter().map(Value::as_object).collect::<Option<_>>()?,
            _ => return None,
        };
        // One that is not of the protocol makes all of them somebody else's.
        let operations = calls.into_iter().map(|object| operation(call, object)).collect::<Option<Vec<_>>>()?;
        Some(Reading { operations, reply: super::ReplyStyle::Json })
    }
}

fn operation(call: &Call<'_>, object: &Map<String, Value>) -> Option<Operation> {
    if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") || object.keys().any(|key| !matches!(key.as_str(), "jsonrpc" | "id" | "method" | "params"))
    {
        return None;
    }
    let method = object.get("method")?.as_str()?;
    // What a tool's call does is told by the rules for all bodies: its name and its arguments stand in them.
    READING
        .contains(&method)
        .then(|| Operation::new(Effect::Read, "mcp.read", http_rules::resource(call), format!("{method} of the Model Context Protocol reads")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meaning::example;

    fn of(body: &str) -> (Effect, String) {
        let request = example("POST", "https://tools.example/mcp", Some(body)).unwrap();
        let worst = request.worst().unwrap();
        (worst.effect, worst.action.as_str().to_owned())
    }

    #[test]
    fn tools_are_judged_by_name_and_arguments() {
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#).0, Effect::Read);
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).0, Effect::Read);
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_weather","arguments":{"city":"Ulm"}}}"#).0, Effect::Write);
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_volume","arguments":{"id":"x"}}}"#).0, Effect::Destroy);
        assert!(of(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"query","arguments":{"sql":"DROP TABLE users"}}}"#).0 >= Effect::Destroy);
        let batch = r#"[{"jsonrpc":"2.0","method":"ping"},{"jsonrpc":"2.0","method":"tools/call","params":{"name":"delete_user"}}]"#;
        assert_eq!(of(batch).0, Effect::Destroy);
    }

    #[test]
    fn what_is_not_of_the_protocol_is_left_to_others() {
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":1,"method":"wp.deletePost","params":[]}"#).0, Effect::Destroy);
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","delete":"all"}"#).1, "http.post");
    }
}
