//! GraphQL in all its wrappings, on an API that nobody has described.

use agentbox_core::Effect;
use http::{HeaderMap, HeaderValue, header};
use proptest::prelude::*;
use serde_json::{Map, json};

use super::{
    super::{ReplyStyle, request},
    document::Malformed,
    *,
};

const URL: &str = "https://api.example.com/graphql";

fn post(url: &str, content_type: &str, body: &str) -> Vec<(Effect, String)> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    let request = request("POST", url, &headers, Some(body.as_bytes())).unwrap();
    request.operations.into_iter().map(|o| (o.effect, o.action.as_str().to_owned())).collect()
}

fn json_post(body: serde_json::Value) -> Vec<(Effect, String)> {
    post(URL, "application/json", &body.to_string())
}

fn get(url: &str) -> Vec<(Effect, String)> {
    request("GET", url, &HeaderMap::new(), None).unwrap().operations.into_iter().map(|o| (o.effect, o.action.as_str().to_owned())).collect()
}

fn one(effect: Effect, action: &str) -> Vec<(Effect, String)> {
    vec![(effect, action.to_owned())]
}

#[test]
fn fields_by_their_names() {
    for (query, effect, action) in [
        ("{ user { id } }", Effect::Read, "graphql.user"),
        ("query Q { user(id: 1) { id deletedAt } }", Effect::Read, "graphql.user"),
        ("subscription { events { id } }", Effect::Read, "graphql.events"),
        ("mutation { createUser(name: \"x\") { id } }", Effect::Write, "graphql.createUser"),
        ("mutation { deleteUser(id: 1) { id } }", Effect::Destroy, "graphql.deleteUser"),
        ("mutation { safe: deleteUser(id: 1) { id } }", Effect::Destroy, "graphql.deleteUser"),
        ("mutation { userPurge }", Effect::Destroy, "graphql.userPurge"),
        ("mutation { users { delete(id: 1) { ok } } }", Effect::Destroy, "graphql.users"),
        ("mutation { updateDatabase(input: {deletionProtection: false}) { id } }", Effect::Destroy, "graphql.updateDatabase"),
        ("mutation { updateDatabase(input: {deletionProtection: true}) { id } }", Effect::Write, "graphql.updateDatabase"),
        ("mutation { __typename }", Effect::Read, "graphql.__typename"),
        ("{ __schema { types { name } } }", Effect::Read, "graphql.__schema"),
        ("# mutation\n,, mutation\n{ deleteUser(id: 1) @include(if: false) { id } }", Effect::Destroy, "graphql.deleteUser"),
        ("mutation { ... on Mutation { deleteUser(id: 1) { id } } }", Effect::Destroy, "graphql.deleteUser"),
        ("mutation M { ...F } fragment F on Mutation { ...G } fragment G on Mutation { deleteUser(id: 1) { id } }", Effect::Destroy, "graphql.deleteUser"),
    ] {
        assert_eq!(json_post(json!({ "query": query })), one(effect, action), "{query}");
    }
}

#[test]
fn all_of_them_are_judged() {
    let all = json_post(json!({ "query": "mutation { a: createUser { id } b: deleteUser { id } }" }));
    assert_eq!(all, [(Effect::Write, "graphql.createUser".to_owned()), (Effect::Destroy, "graphql.deleteUser".to_owned())]);
    let batch = json_post(json!([{ "query": "{ me { id } }" }, { "query": "mutation { deleteUser { id } }" }]));
    assert_eq!(batch, [(Effect::Read, "graphql.me".to_owned()), (Effect::Destroy, "graphql.deleteUser".to_owned())]);
}

#[test]
fn operation_name_chooses() {
    let document = "query A { me { id } } mutation B { deleteUser { id } }";
    assert_eq!(json_post(json!({ "query": document, "operationName": "A" })), one(Effect::Read, "graphql.me"));
    assert_eq!(json_post(json!({ "query": document, "operationName": "B" })), one(Effect::Destroy, "graphql.deleteUser"));
    assert_eq!(json_post(json!({ "query": document })).len(), 2);
    assert_eq!(json_post(json!({ "query": document, "operationName": "C" })), one(Effect::Opaque, "graphql.opaque"));
    assert_eq!(json_post(json!({ "query": document, "operationName": 7 })), one(Effect::Opaque, "graphql.opaque"));
    let twice = "query A { me { id } } mutation A { deleteUser { id } }";
    assert_eq!(json_post(json!({ "query": twice, "operationName": "A" })), one(Effect::Opaque, "graphql.opaque"));
}

#[test]
fn what_cannot_be_understood_is_opaque() {
    let deep = format!("{}x{}", "{a".repeat(500), "}".repeat(500));
    let fields: String = (0..300).map(|n| format!("a{n}: me {{ id }} ")).collect();
    for query in [
        "mutation { deleteUser(id: 1) ",
        "mutation { deleteUser(id: 1, id: 2) { id } }",
        "mutation { ...F } fragment F on Mutation { ...F }",
        "mutation { ...Missing }",
        "{ me { id } } fragment F on Q { a } fragment F on Q { b }",
        "type Query { a: Int }",
        "fragment F on Q { a }",
        "query A($a: Int, $a: Int) { me }",
        "{ me(a: {b: 1, b: 2}) { id } }",
        "",
        deep.as_str(),
        &format!("{{ {fields} }}"),
    ] {
        assert_eq!(json_post(json!({ "query": query })), one(Effect::Opaque, "graphql.opaque"), "{query}");
    }
    for body in [
        r#"{"query":"{me{id}}","query":"mutation{deleteUser{id}}"}"#,
        r#"{"query":"{me{id}}"} x"#,
        "not json",
        "[]",
        "{}",
        r#"{"query":{}}"#,
        r#"{"operationName":"A"}"#,
        r#"{"id":"abc"}"#,
        r#"{"documentId":"abc","variables":{}}"#,
        r#"{"query":"{me{id}}","doc_id":"1"}"#,
        r#"{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"00"}}}"#,
        r#"{"query":"{me{id}}","extensions":{"persistedQuery":{"version":1,"sha256Hash":"00"}}}"#,
        r#"{"query":"{me{id}}","variables":[1]}"#,
        r#"[{"query":"{me{id}}"},{"other":1}]"#,
    ] {
        assert_eq!(post(URL, "application/json", body), one(Effect::Opaque, "graphql.opaque"), "{body}");
    }
}

#[test]
fn a_hash_that_fits_is_fine() {
    let query = "{me{id}}";
    let hash = content::sha256_hex(query.as_bytes());
    assert_eq!(json_post(json!({ "query": query, "extensions": { "persistedQuery": { "version": 1, "sha256Hash": hash } } })), one(Effect::Read, "graphql.me"));
}

#[test]
fn a_hash_stands_for_the_document_that_passed_by() {
    let documents = Documents::default();
    let host = agentbox_core::HostName::parse("api.example.com").unwrap();
    let elsewhere = agentbox_core::HostName::parse("other.example.com").unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let method = http::Method::POST;
    let read = |host: &agentbox_core::HostName, body: serde_json::Value| {
        let head = Head { method: &method, scheme: crate::meaning::Scheme::Https, host, port: 443, target: "/graphql", headers: &headers };
        let meaning = crate::meaning::understand_after(&head, crate::meaning::Body::Whole(body.to_string().as_bytes()), &documents);
        (meaning.operations[0].effect, meaning.unknown_document, meaning.excerpt)
    };
    let query = "mutation { deleteUser(id: 1) { id } }";
    let hash = content::sha256_hex(query.as_bytes());
    let alone = json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": hash } } });
    let (effect, unknown, _) = read(&host, alone.clone());
    assert_eq!((effect, unknown.as_deref()), (Effect::Opaque, Some(hash.as_str())));
    // A hash that is not the document's teaches nothing.
    let lie = json!({ "query": "{me{id}}", "extensions": { "persistedQuery": { "version": 1, "sha256Hash": hash } } });
    assert_eq!(read(&host, lie).0, Effect::Opaque);
    assert_eq!(read(&host, alone.clone()).0, Effect::Opaque);
    let both = json!({ "query": query, "extensions": { "persistedQuery": { "version": 1, "sha256Hash": hash } } });
    assert_eq!(read(&host, both).0, Effect::Destroy);
    let (effect, unknown, excerpt) = read(&host, alone.clone());
    assert!(effect == Effect::Destroy && unknown.is_none() && excerpt.contains("deleteUser"), "{excerpt}");
    // What it is about stands in its variables, and what comes beside it is shown as well.
    let about = json!({ "variables": { "id": "v1" }, "extensions": { "persistedQuery": { "version": 1, "sha256Hash": hash } } });
    let (_, _, excerpt) = read(&host, about.clone());
    assert!(excerpt.contains("deleteUser") && excerpt.ends_with("variables: {\"id\":\"v1\"}"), "{excerpt}");
    let (_, _, excerpt) = read(&host, json!([about, { "query": "mutation { dropAll }" }]));
    assert!(excerpt.contains("deleteUser") && excerpt.contains("v1") && excerpt.contains("dropAll"), "{excerpt}");
    // However long the document is.
    let (_, _, excerpt) = read(&host, json!({ "query": format!("mutation {{ #{}\n deleteUser }}", "x".repeat(9000)), "variables": { "id": "v1" } }));
    assert!(excerpt.len() <= 4000 && excerpt.ends_with(" … (cut)\nvariables: {\"id\":\"v1\"}"), "{excerpt}");
    assert_eq!(read(&elsewhere, alone).0, Effect::Opaque, "another host may mean another document");
    // One that is named in another way beside it is opaque, and not asked for.
    let named = json!({ "documentId": "x", "extensions": { "persistedQuery": { "version": 1, "sha256Hash": hash } } });
    assert_eq!((read(&host, named.clone()).0, read(&host, named).1), (Effect::Opaque, None));
}

#[test]
fn escapes_hide_nothing() {
    assert_eq!(post(URL, "application/json", r#"{"\u0071uery":"mutation{\u0064eleteUser{id}}"}"#), one(Effect::Destroy, "graphql.deleteUser"));
}

#[test]
fn every_carrier() {
    let document = "mutation { deleteUser(id: 1) { id } }";
    let encoded = "mutation%20%7B%20deleteUser(id%3A1)%20%7B%20id%20%7D%20%7D";
    let destroyed = one(Effect::Destroy, "graphql.deleteUser");
    assert_eq!(post(URL, "application/graphql", document), destroyed);
    assert_eq!(post("https://api.example.com/anything", "application/graphql", document), destroyed);
    assert_eq!(post(URL, "text/plain", document), destroyed);
    assert_eq!(post(URL, "application/x-www-form-urlencoded", &format!("query={encoded}")), destroyed);
    assert_eq!(get(&format!("{URL}?query={encoded}")), destroyed);
    assert_eq!(post(&format!("{URL}?query={encoded}"), "application/json", "{}"), destroyed);
    assert_eq!(post("https://api.example.com/v1/run", "application/json", &json!({ "query": document }).to_string()), destroyed);
    assert_eq!(post("https://api.example.com/v1/run", "text/plain", &json!({ "query": document }).to_string()), destroyed);
    assert_eq!(post("https://api.example.com/%67raphql", "application/json", &json!({ "query": document }).to_string()), destroyed);
    let form = format!(
        "--b\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{}\r\n--b\r\nContent-Disposition: form-data; name=\"map\"\r\n\r\n{{}}\r\n--b--\r\n",
        json!({ "query": document })
    );
    assert_eq!(post(URL, "multipart/form-data; boundary=b", &form), destroyed);
}

#[test]
fn url_and_body_together() {
    let both = post(&format!("{URL}?query=%7Bme%7Bid%7D%7D"), "application/json", r#"{"query":"mutation{deleteUser{id}}"}"#);
    assert_eq!(both.len(), 2);
    assert!(both.contains(&(Effect::Destroy, "graphql.deleteUser".to_owned())));
    assert_eq!(
        post(&format!("{URL}?operationName=B"), "application/json", r#"{"query":"query A{me{id}} mutation B{deleteUser{id}}","operationName":"A"}"#)[0].0,
        Effect::Opaque
    );
    assert_eq!(get(&format!("{URL}?query=%7Bme%7D&query=%7Byou%7D")), one(Effect::Opaque, "graphql.opaque"));
}

#[test]
fn a_search_is_not_graphql() {
    for body in [r#"{"query":"red shoes"}"#, r#"{"query":{"match":{"a":1}}}"#, r#"{"query":"query letters about mutation"}"#, r#"{"query":"{not graphql"}"#] {
        assert_eq!(post("https://api.example.com/search", "application/json", body), one(Effect::Write, "http.post"), "{body}");
    }
    assert_eq!(get("https://api.example.com/search?query=shoes"), one(Effect::Read, "http.get"));
    assert_eq!(get(URL), one(Effect::Read, "http.get"));
}

#[test]
fn is_refused_in_graphql() {
    let host = agentbox_core::HostName::parse("api.example.com").unwrap();
    let headers = HeaderMap::new();
    let head = Head { method: &http::Method::POST, scheme: super::super::Scheme::Https, host: &host, port: 443, target: "/graphql", headers: &headers };
    let meaning = super::super::understand(&head, super::super::Body::Whole(br#"{"query":"{me{id}}"}"#));
    assert_eq!(meaning.reply, ReplyStyle::GraphQl);
    assert_eq!(meaning.excerpt, "{me{id}}");
    // As Apollo asks.
    let mut headers = HeaderMap::new();
    headers.insert(http::header::ACCEPT, http::HeaderValue::from_static("application/graphql-response+json,application/json;q=0.9"));
    let meaning = super::super::understand(&Head { headers: &headers, ..head }, super::super::Body::Whole(br#"{"query":"{me{id}}"}"#));
    assert_eq!(meaning.reply, ReplyStyle::GraphQlResponse);
}

#[test]
fn variables_and_literals_become_values() {
    let variables = json!({ "id": "v1", "given": null });
    let fields = root_fields(
        r#"mutation M($id: ID!, $size: Int = 3, $gone: Int, $given: Int = 4) { f(a: $id, b: $size, c: $gone, d: $given, e: {x: [$id, "y\u0041"], y: ENUM}, g: """block""", h: 1.5, i: true, j: null) }"#,
        None,
        variables.as_object().unwrap(),
    )
    .unwrap();
    let want = json!({ "a": "v1", "b": 3, "d": null, "e": { "x": ["v1", "yA"], "y": "ENUM" }, "g": "block", "h": 1.5, "i": true, "j": null });
    assert_eq!(serde_json::Value::Object(fields[0].arguments.clone()), want);
}

#[test]
fn bombs_end() {
    // Each fragment spreads the next twice: 2^15 paths.
    let mut source = "{ ...F0 } ".to_owned();
    for n in 0..15 {
        source.push_str(&format!("fragment F{n} on Q {{ ...F{0} ...F{0} }} ", n + 1));
    }
    source.push_str("fragment F15 on Q { a }");
    assert_eq!(root_fields(&source, None, &Map::new()), Err(Malformed::TooManyFields));
    let below = source.replacen("{ ...F0 }", "{ q { ...F0 } }", 1);
    assert_eq!(root_fields(&below, None, &Map::new()), Err(Malformed::TooManyFields));
    for hostile in [
        "[".repeat(100_000),
        format!("{{a(b:{}", "[".repeat(100_000)),
        format!("{{a(b:{}", "{c:".repeat(100_000)),
        "{".repeat(100_000),
        format!("query($a:{}", "[".repeat(100_000)),
    ] {
        assert!(root_fields(&hostile, None, &Map::new()).is_err());
    }
    let values = format!("{{a(b:{}1{})}}", "[".repeat(100), "]".repeat(100));
    assert!(root_fields(&values, None, &Map::new()).is_err());
}

proptest! {
    #[test]
    fn documents_never_panic(text in "([a-z{}()\\[\\]:$!@#\" .,]|mutation|query|fragment|\\.\\.\\.| on ){0,60}") {
        let _ = root_fields(&text, Some("a"), &Map::new());
    }

    #[test]
    fn bodies_never_panic(text in ".{0,200}") {
        let _ = json_post(json!({ "query": text }));
        let _ = post(URL, "application/json", &text);
    }
}
