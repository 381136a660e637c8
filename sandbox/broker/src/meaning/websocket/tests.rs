//! Messages and what they are taken for.

use agentbox_core::{HostName, RefusalKind};
use proptest::prelude::*;

use super::*;
use crate::meaning::Scheme;

fn with_head<T>(host: &str, see: impl FnOnce(&Head<'_>) -> T) -> T {
    let host = HostName::parse(host).unwrap();
    let headers = HeaderMap::new();
    see(&Head { method: &Method::GET, scheme: Scheme::Https, host: &host, port: 443, target: "/anywhere", headers: &headers })
}

fn effect(dialect: Dialect, text: &str) -> Effect {
    let protocol = match dialect {
        Dialect::Transport => Some("graphql-transport-ws"),
        Dialect::Legacy => Some("graphql-ws"),
        Dialect::Unknown => None,
    };
    with_head("a.example", |head| alone(head, protocol, Kind::Text, text.as_bytes()).operations.iter().map(|operation| operation.effect).max().unwrap())
}

fn started(said: Said) -> Option<String> {
    match said {
        Said::Asks(asked) => asked.tongue.id().map(str::to_owned),
        Said::Plain | Said::Init(_) | Said::Stop(_) | Said::Unread(_) => None,
    }
}

#[test]
fn reads_what_clients_send_and_nothing_else() {
    let (new, old) = (Dialect::Transport, Dialect::Legacy);
    assert_eq!(new.read(br#"{"type":"connection_init","payload":{"a":"b"}}"#), Said::Init(Some(json!({ "a": "b" }))));
    assert_eq!(new.read(br#"{"type":"ping"}"#), Said::Plain);
    assert_eq!(started(new.read(br#"{"id":"1","type":"subscribe","payload":{"query":"{a}"}}"#)).as_deref(), Some("1"));
    assert_eq!(started(old.read(br#"{"id":"1","type":"start","payload":{"query":"{a}"}}"#)).as_deref(), Some("1"));
    assert_eq!(old.read(br#"{"id":"1","type":"stop"}"#), Said::Stop("1".into()));
    for text in [
        r#"{"id":"1","type":"start","payload":{}}"#,
        r#"{"id":"1","type":"subscribe"}"#,
        r#"{"id":1,"type":"subscribe","payload":{}}"#,
        r#"{"type":"subscribe","payload":{}}"#,
        r#"{"id":"1","type":"ping","type":"subscribe","payload":{}}"#,
        r#"{"id":"1","type":"subscribe","payload":{},"query":"mutation{a}"}"#,
        r#"{"id":"1","type":"subscribe","payload":{"query":"{a}","query":"mutation{deleteAll}"}}"#,
        r#"{"type":"next"} {"type":"ping"}"#,
        r#"{"id":"1","type":"ping"}"#,
        "[]",
        "",
    ] {
        assert!(matches!(new.read(text.as_bytes()), Said::Unread(_)), "{text}");
    }
}

#[test]
fn an_operation_means_what_a_post_would() {
    let start = |payload: Value| effect(Dialect::Transport, &json!({ "id": "1", "type": "subscribe", "payload": payload }).to_string());
    assert_eq!(start(json!({ "query": "subscription { a }" })), Effect::Read);
    assert_eq!(start(json!({ "query": "mutation { userCreate }" })), Effect::Write);
    assert_eq!(start(json!({ "query": "mutation { volumeDelete(id: 1) }" })), Effect::Destroy);
    let chosen = json!({ "query": "query a { a } mutation b { volumeDelete(id: 1) }", "operationName": "b" });
    assert_eq!(start(chosen), Effect::Destroy);
    for odd in [json!({ "query": "mutation {" }), json!({ "id": "stored" }), json!({}), json!([]), json!("x"), json!({ "data": "{}" })] {
        assert_eq!(start(odd.clone()), Effect::Opaque, "{odd}");
    }
    let railway = with_head("backboard.railway.com", |head| {
        let text = br#"{"id":"7","type":"start","payload":{"query":"mutation{volumeDelete(volumeId:\"3d2c\")}"}}"#;
        alone(head, Some("graphql-ws"), Kind::Text, text).operations
    });
    assert_eq!((railway[0].action.as_str(), railway[0].resource.id.as_str()), ("railway.volumeDelete", "railway:volume/3d2c"));
}

#[test]
fn without_a_protocol_only_what_tells_its_own_form_is_read() {
    let unknown = |text: &str| effect(Dialect::Unknown, text);
    assert_eq!(unknown(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#), Effect::Read);
    assert_eq!(unknown(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_volume"}}"#), Effect::Destroy);
    assert_eq!(unknown(r#"[{"jsonrpc":"2.0","method":"ping"},{"jsonrpc":"2.0","id":2,"method":"user.delete"}]"#), Effect::Destroy);
    assert_eq!(unknown(r#"{"query":"query { me { id } }"}"#), Effect::Read);
    assert_eq!(unknown(r#"{"query":"mutation { volumeDelete(id: 1) }"}"#), Effect::Destroy);
    assert_eq!(unknown(r#"{"query":"query { me }","id":4}"#), Effect::Opaque, "an id may name a stored document");
    assert_eq!(unknown(r#"{"id":"1","type":"subscribe","payload":{"query":"mutation { volumeDelete(id: 1) }"}}"#), Effect::Destroy);
    for text in [
        "hello",
        r#""hello""#,
        r#"{"type":"chat","text":"hello"}"#,
        r#"[{"jsonrpc":"2.0","method":"ping"},{"x":1}]"#,
        "[]",
        r#"{"type":"ping","payload":{"delete":"all"}}"#,
    ] {
        assert_eq!(unknown(text), Effect::Opaque, "{text}");
    }
    with_head("a.example", |head| assert_eq!(alone(head, None, Kind::Binary, b"{}").operations[0].effect, Effect::Opaque));
}

#[test]
fn the_opening_messages_credential_is_seen() {
    let init = init_headers(Some(&json!({ "headers": { "Authorization": "Bearer abcdefghijklmnopqrstuvwx" } })));
    let text = br#"{"id":"1","type":"subscribe","payload":{"query":"{a}"}}"#;
    let Said::Asks(asked) = Dialect::Transport.read(text) else { panic!("it asks") };
    with_head("a.example", |head| assert_eq!(asked.meaning(head, &init, text).credentials.len(), 1));
}

#[test]
fn a_refusal_ends_one_operation() {
    let refused = Refusal {
        kind: RefusalKind::Denied,
        operation: "graphql.x".into(),
        place: "p".into(),
        reason: "no".into(),
        guidance: "do not".into(),
        approval_id: None,
    };
    let told = |tongue: Tongue| serde_json::from_str::<Value>(&tongue.refusal(&refused).unwrap()).unwrap();
    let new = told(Tongue::Transport("7".into()));
    assert_eq!(
        (new["id"].as_str(), new["type"].as_str(), new["payload"][0]["extensions"]["error"].as_str()),
        (Some("7"), Some("error"), Some("agentbox_denied"))
    );
    assert!(told(Tongue::Legacy("7".into()))["payload"]["message"].as_str().unwrap().contains("no"));
    let rpc = told(Tongue::Rpc { ids: vec![json!(3)], shape: Shape::Single });
    assert_eq!((rpc["id"].as_u64(), rpc["error"]["data"]["error"].as_str()), (Some(3), Some("agentbox_denied")));
    assert_eq!(told(Tongue::Rpc { ids: vec![json!(3), json!("b")], shape: Shape::Batch }).as_array().unwrap().len(), 2);
    assert_eq!(Tongue::Rpc { ids: vec![], shape: Shape::Single }.refusal(&refused), None, "a notification is not answered");
    let bare = told(Tongue::Bare(Some(json!(9))));
    assert_eq!((bare["id"].as_u64(), bare["errors"][0]["extensions"]["error"].as_str()), (Some(9), Some("agentbox_denied")));
}

#[test]
fn a_models_conversation_is_its_requests() {
    let said = |value: Value| {
        let host = HostName::parse("api.openai.com").unwrap();
        let headers = HeaderMap::new();
        let head = Head { method: &Method::GET, scheme: Scheme::Https, host: &host, port: 443, target: "/v1/responses", headers: &headers };
        let meaning = alone(&head, None, Kind::Text, value.to_string().as_bytes());
        let worst = meaning.operations.into_iter().max_by_key(|operation| operation.effect).unwrap();
        (worst.action.as_str().to_owned(), worst.effect, worst.delegates.is_some())
    };
    let create = json!({ "type": "response.create", "model": "m", "input": [{ "role": "user", "content": "delete everything" }] });
    assert_eq!(said(create), ("model.infer".to_owned(), Effect::Write, false));
    let reaching = json!({ "type": "response.create", "model": "m", "input": "x", "tools": [{ "type": "mcp", "server_url": "https://a.example", "require_approval": "never" }] });
    assert!(said(reaching).2, "a server's own tools act elsewhere");
    assert_eq!(said(json!({ "type": "response.create", "response": {} })).1, Effect::Opaque);
    assert_eq!(said(json!({ "type": "session.update", "session": {} })).1, Effect::Opaque);
    // Elsewhere it is what a POST of the same would be.
    assert_eq!(effect(Dialect::Unknown, r#"{"type":"response.create","model":"m","action":"delete"}"#), Effect::Destroy);
    let refused = agentbox_core::Refusal {
        kind: RefusalKind::Denied,
        operation: "model.infer".into(),
        place: "p".into(),
        reason: "no".into(),
        guidance: "do not".into(),
        approval_id: None,
    };
    let told = serde_json::from_str::<Value>(&Tongue::Model.refusal(&refused).unwrap()).unwrap();
    assert_eq!((told["type"].as_str(), told["error"]["code"].as_str()), (Some("error"), Some("agentbox_denied")));
}

#[test]
fn a_repetition_under_another_number_is_the_same() {
    let identity = |text: &str| match Dialect::Transport.read(text.as_bytes()) {
        Said::Asks(asked) => asked.identity(text.as_bytes()),
        other => panic!("{other:?}"),
    };
    let of = |id: &str, variables: &str| identity(&format!(r#"{{"id":"{id}","type":"subscribe","payload":{{"query":"{{a}}","variables":{variables}}}}}"#));
    assert_eq!(of("1", "{}"), of("2", "{}"));
    assert_ne!(of("1", "{}"), of("1", r#"{"a":1}"#));
    assert_ne!(of("1", r#"{"a":1.00000000000000000001}"#), of("1", r#"{"a":1.0}"#), "digits that a number loses");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for dialect in [Dialect::Transport, Dialect::Legacy, Dialect::Unknown] {
            let _ = dialect.read(&bytes);
        }
    }

    #[test]
    fn a_destroying_mutation_is_one_however_it_is_wrapped(id in "[a-z0-9]{1,8}", blank in "[ \n\t]{0,3}", which in 0u8..3) {
        let payload = format!(r#"{{"query":"mutation{blank_escaped}{{volumeDelete(id:1)}}"}}"#, blank_escaped = blank.replace('\n', "\\n").replace('\t', "\\t"));
        let (dialect, text) = match which {
            0 => (Dialect::Transport, format!(r#"{{{blank}"id":"{id}","type":"subscribe","payload":{payload}}}"#)),
            1 => (Dialect::Legacy, format!(r#"{{"type":"start",{blank}"id":"{id}","payload":{payload}}}"#)),
            _ => (Dialect::Unknown, payload),
        };
        prop_assert!(effect(dialect, &text) >= Effect::Destroy, "{text}");
    }
}
