//! Model requests: what the client runs, what the provider runs.

use agentbox_core::{Effect, Operation, Reach};
use serde_json::{Value, json};

use crate::meaning::example;

fn infer(url: &str, body: Value) -> Operation {
    let mut operations = example("POST", url, Some(&body.to_string())).unwrap().operations;
    assert_eq!(operations.len(), 1);
    operations.remove(0)
}

const MESSAGES: &str = "https://model.example/v1/messages";
const RESPONSES: &str = "https://model.example/v1/responses";
const GOOGLE: &str = "https://model.example/v1beta/models/g:streamGenerateContent?alt=sse";

fn reach(url: &str, tools: Value) -> Option<Reach> {
    let operation = infer(url, json!({ "model": "m", "messages": [], "tools": tools }));
    assert_eq!((operation.effect, operation.action.as_str()), (Effect::Write, "model.infer"));
    operation.delegates.map(|delegation| delegation.reach)
}

#[test]
fn plain_inference_of_all_vendors() {
    for url in [
        MESSAGES,
        RESPONSES,
        "https://m.example/v1/chat/completions",
        "https://m.example/openai/deployments/x/chat/completions?api-version=1",
        "https://m.example/v1/embeddings",
        "https://m.example/api/chat",
        "https://m.example/backend/codex/responses",
    ] {
        let operation = infer(url, json!({ "model": "m", "messages": [{ "role": "user", "content": "delete all" }], "stream": true }));
        assert_eq!((operation.effect, operation.action.as_str(), &operation.delegates), (Effect::Write, "model.infer", &None), "{url}");
    }
    assert_eq!(infer(GOOGLE, json!({ "contents": [] })).action.as_str(), "model.infer");
    assert_eq!(infer("https://m.example/v1/messages/count_tokens", json!({ "model": "m" })).effect, Effect::Read);
    assert_eq!(infer("https://m.example/v1/messages", json!({ "to": "+1", "text": "hi" })).action.as_str(), "http.post");
}

#[test]
fn tools_of_the_client_delegate_nothing() {
    assert_eq!(
        reach(
            MESSAGES,
            json!([{ "name": "x", "input_schema": {} }, { "type": "bash_20250124", "name": "bash" }, { "type": "text_editor_20250728", "name": "e" }, { "type": "computer_20250124" }, { "type": "custom", "name": "y", "input_schema": {} }])
        ),
        None
    );
    assert_eq!(
        reach(
            RESPONSES,
            json!([{ "type": "function", "name": "x" }, { "type": "local_shell" }, { "type": "custom", "name": "apply_patch" }, { "type": "shell", "environment": { "type": "local" } }])
        ),
        None
    );
    assert_eq!(reach(GOOGLE, json!([{ "functionDeclarations": [] }])), None);
    assert_eq!(reach(MESSAGES, json!([])), None);
}

#[test]
fn a_search_is_named_and_not_a_delegation() {
    for (url, tools) in [
        (MESSAGES, json!([{ "type": "web_search_20250305", "name": "web_search" }])),
        (RESPONSES, json!([{ "type": "web_search" }])),
        (GOOGLE, json!([{ "googleSearch": {} }])),
    ] {
        let operation = infer(url, json!({ "model": "m", "tools": tools }));
        assert_eq!(operation.delegates, None);
        assert!(operation.reason.contains("search"), "{}", operation.reason);
    }
}

#[test]
fn tools_of_the_provider_delegate() {
    let anywhere = Some(Reach::Anywhere);
    assert_eq!(reach(MESSAGES, json!([{ "type": "code_execution_20250825" }])), anywhere);
    assert_eq!(reach(MESSAGES, json!([{ "type": "web_fetch_20250910" }])), anywhere);
    assert_eq!(
        reach(MESSAGES, json!([{ "type": "web_fetch_20250910", "allowed_domains": ["docs.example/x"] }])),
        Some(Reach::Hosts(vec!["docs.example".into()]))
    );
    assert_eq!(reach(MESSAGES, json!([{ "type": "web_fetch_20250910", "allowed_domains": [] }])), anywhere);
    assert_eq!(reach(RESPONSES, json!([{ "type": "code_interpreter", "container": { "type": "auto" } }])), anywhere);
    assert_eq!(reach(RESPONSES, json!([{ "type": "shell", "environment": { "type": "container_auto" } }])), anywhere);
    assert_eq!(
        reach(RESPONSES, json!([{ "type": "mcp", "server_url": "https://evil.example/sse", "authorization": "t" }])),
        Some(Reach::Hosts(vec!["evil.example:443".into()]))
    );
    assert_eq!(reach(RESPONSES, json!([{ "type": "mcp", "connector_id": "c" }])), anywhere);
    assert_eq!(reach(RESPONSES, json!([{ "type": "something_new" }])), anywhere);
    assert_eq!(reach(RESPONSES, json!([{ "type": 7 }])), anywhere);
    assert_eq!(reach(RESPONSES, json!({ "type": "function" })), anywhere);
    assert_eq!(reach(GOOGLE, json!([{ "codeExecution": {} }])), anywhere);
    assert_eq!(reach(GOOGLE, json!([{ "urlContext": {} }])), anywhere);
    let mcp = infer(
        MESSAGES,
        json!({ "model": "m", "mcp_servers": [{ "type": "url", "url": "https://a.example:8443/x", "authorization_token": "t" }, { "url": "https://b.example" }] }),
    );
    assert_eq!(mcp.delegates.unwrap().reach, Reach::Hosts(vec!["a.example:8443".into(), "b.example:443".into()]));
    let stored = infer(RESPONSES, json!({ "model": "m", "prompt": { "id": "p" } }));
    assert_eq!(stored.delegates.unwrap().reach, Reach::Anywhere);
    let batch = infer(
        "https://m.example/v1/messages/batches",
        json!({ "requests": [{ "custom_id": "1", "params": { "model": "m", "tools": [{ "type": "code_execution_20250825" }] } }] }),
    );
    assert_eq!(batch.delegates.unwrap().reach, Reach::Anywhere);
    let wrapped =
        infer("https://m.example/v1internal:streamGenerateContent", json!({ "model": "m", "request": { "contents": [], "tools": [{ "codeExecution": {} }] } }));
    assert_eq!(wrapped.delegates.unwrap().reach, Reach::Anywhere);
}

#[test]
fn what_cannot_be_read_is_opaque() {
    for body in [
        r#"{"model":"m","tools":[],"tools":[{"type":"mcp"}]}"#,
        r#"{"model":"m"} {}"#,
        r#"{"model":"m","tools":[{"type":"function","type":"mcp"}]}"#,
        "[]",
        "{",
    ] {
        let operation = example("POST", MESSAGES, Some(body)).unwrap().operations.remove(0);
        assert_eq!((operation.effect, operation.action.as_str()), (Effect::Opaque, "model.infer"), "{body}");
    }
}
