//! HTTP's own rules, and that nothing a client sends makes the reader fall over.

use agentbox_core::{Effect, Lineage};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn all(method: &str, target: &str, pairs: &[(&str, &str)], body: Option<&[u8]>) -> Vec<Operation> {
    request(method, &format!("https://api.example.com{target}"), &headers(pairs), body).unwrap().operations
}

/// The worst effect.
fn worst(method: &str, target: &str, pairs: &[(&str, &str)], body: Option<&[u8]>) -> Effect {
    all(method, target, pairs, body).iter().map(|o| o.effect).max().unwrap()
}

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[test]
fn the_method_table() {
    for (method, effect) in [
        ("GET", Effect::Read),
        ("HEAD", Effect::Read),
        ("OPTIONS", Effect::Read),
        ("POST", Effect::Write),
        ("PUT", Effect::Write),
        ("PATCH", Effect::Write),
        ("DELETE", Effect::Destroy),
        ("MOVE", Effect::Opaque),
        ("COPY", Effect::Opaque),
        ("PROPFIND", Effect::Read),
        ("TRACE", Effect::Opaque),
        ("CONNECT", Effect::Opaque),
        ("get", Effect::Opaque),
        ("PURGE", Effect::Opaque),
    ] {
        assert_eq!(worst(method, "/v1/things", &[], None), effect, "{method}");
    }
    assert_eq!(all("DELETE", "/v1/things/3", &[], None)[0].action.as_str(), "http.delete");
    assert_eq!(all("MOVE", "/v1/things/3", &[], None)[0].action.as_str(), "http.other");
}

#[test]
fn the_stricter_of_two_methods() {
    for header in ["x-http-method-override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_METHOD_OVERRIDE", "x-http_method-override"] {
        assert_eq!(worst("POST", "/x", &[(header, "DELETE")], None), Effect::Destroy, "{header}");
        assert_eq!(worst("GET", "/x", &[(header, "delete")], None), Effect::Destroy, "{header}");
        assert_eq!(worst("POST", "/x", &[(header, "GET")], None), Effect::Write, "{header}");
        assert_eq!(worst("DELETE", "/x", &[(header, "GET")], None), Effect::Destroy, "{header}");
        assert_eq!(worst("POST", "/x", &[(header, "GET, DELETE")], None), Effect::Opaque, "{header}");
        assert_eq!(worst("POST", "/x", &[(header, "GET"), (header, "DELETE")], None), Effect::Opaque, "{header}");
        assert_eq!(worst("POST", "/x", &[(header, "WHATEVER")], None), Effect::Opaque, "{header}");
        assert_eq!(worst("POST", "/x", &[(header, "")], None), Effect::Write, "{header}");
    }
    assert_eq!(worst("POST", "/x", &[("x-http-method-override", "PUT"), ("x-method-override", "DELETE")], None), Effect::Opaque);
    assert_eq!(worst("POST", "/x?_method=DELETE", &[], None), Effect::Destroy);
    assert_eq!(worst("GET", "/1234?method=delete", &[], None), Effect::Destroy);
    assert_eq!(worst("GET", "/logs?method=post", &[], None), Effect::Read);
    assert_eq!(worst("POST", "/x?a=1;_method=DELETE", &[], None), Effect::Destroy);
    assert_eq!(worst("POST", "/x?%5Fmethod=DELETE", &[], None), Effect::Destroy);
    assert_eq!(worst("GET", "/x?_METHOD=delete", &[], None), Effect::Destroy);
    assert_eq!(worst("POST", "/x", &[FORM], Some(b"a=1&_method=delete")), Effect::Destroy);
    assert_eq!(worst("POST", "/x", &[JSON], Some(br#"{"_method":"DELETE"}"#)), Effect::Destroy);
    let form = b"--b\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\nDELETE\r\n--b--\r\n";
    assert_eq!(worst("POST", "/x", &[("content-type", "multipart/form-data; boundary=b")], Some(form)), Effect::Destroy);
    // Also where an API has read the request in its own way.
    assert_eq!(worst("POST", "/graphql", &[JSON, ("x-http-method-override", "DELETE")], Some(br#"{"query":"{me{id}}"}"#)), Effect::Destroy);
}

#[test]
fn bodies_that_cannot_be_read_are_opaque() {
    for (pairs, body) in [
        (&[JSON][..], &b"{\"a\":1,\"a\":2}"[..]),
        (&[JSON], b"nonsense"),
        (&[JSON, ("content-encoding", "gzip")], b"{}"),
        (&[JSON, ("content-encoding", "compress")], b"{}"),
        (&[("content-type", "application/json; charset=utf-16")], b"{}"),
        (&[("content-type", "application/x-protobuf")], b"\x08\x96\xff"),
        (&[JSON, JSON], b"{}"),
        (&[FORM], b"a=%ff"),
        (&[("content-type", "application/grpc")], b"x"),
    ] {
        assert_eq!(worst("POST", "/x", pairs, Some(body)), Effect::Opaque, "{pairs:?}");
        assert_eq!(worst("GET", "/x", pairs, Some(body)), Effect::Opaque, "{pairs:?}");
    }
    assert_eq!(worst("PUT", "/x", &[("content-type", "image/png")], Some(b"\x89PNG\xff")), Effect::Write);
    assert_eq!(worst("GET", "/index/_search", &[JSON], Some(br#"{"query":{"match_all":{}}}"#)), Effect::Read);
    assert_eq!(worst("GET", "/chat", &[("upgrade", "websocket"), ("connection", "upgrade")], None), Effect::Opaque);
}

#[test]
fn a_body_beyond_the_bound() {
    let host = HostName::parse("api.example.com").unwrap();
    let of = |pairs: &[(&str, &str)], first: &[u8]| {
        let headers = headers(pairs);
        let head = Head { method: &http::Method::POST, scheme: Scheme::Https, host: &host, port: 443, target: "/upload", headers: &headers };
        understand(&head, Body::TooLong { first }).operations[0].effect
    };
    assert_eq!(of(&[JSON], b"{\"a\":"), Effect::Opaque);
    assert_eq!(of(&[("content-type", "application/octet-stream")], b"\x00\x01"), Effect::Write);
    assert_eq!(of(&[("content-type", "application/octet-stream")], b"[{\"query\""), Effect::Opaque);
    assert_eq!(of(&[], b"\x00\x01"), Effect::Opaque);
}

#[test]
fn how_much_is_wanted() {
    let host = HostName::parse("api.example.com").unwrap();
    let of = |method: http::Method, target: &str, pairs: &[(&str, &str)]| {
        wants(&Head { method: &method, scheme: Scheme::Https, host: &host, port: 443, target, headers: &headers(pairs) })
    };
    assert_eq!(of(http::Method::POST, "/v1/messages", &[JSON]), BodyWant::UpTo(32 << 20));
    assert_eq!(of(http::Method::POST, "/a", &[JSON]), BodyWant::UpTo(8 << 20));
    assert_eq!(of(http::Method::PUT, "/a", &[("content-type", "application/octet-stream")]), BodyWant::UpTo(64 << 10));
    assert_eq!(of(http::Method::POST, "/pkg.Service/Method", &[("content-type", "application/grpc+proto")]), BodyWant::Soon(64 << 10));
    assert_eq!(of(http::Method::POST, "/a.git/git-upload-pack", &[("content-type", "application/x-git-upload-pack-request")]), BodyWant::UpTo(1 << 20));
}

#[test]
fn names_that_destroy() {
    for (target, pairs, body) in [
        ("/v1/databases/3/wipe", &[JSON][..], "{}"),
        ("/v1/projects/p/topics/t:purge", &[JSON], "{}"),
        ("/index/_delete_by_query", &[JSON], "{}"),
        ("/delete/3", &[JSON], "{}"),
        ("/v1/deletions", &[JSON], "{}"),
        ("/", &[("x-amz-target", "Dynamo_20120810.DeleteTable"), JSON], "{}"),
        ("/", &[FORM], "Action=TerminateInstances&Version=2016-11-15"),
        ("/rpc", &[JSON], r#"{"jsonrpc":"2.0","method":"db.drop","id":1}"#),
        ("/rpc", &[JSON], r#"[{"jsonrpc":"2.0","method":"db.get","id":1},{"jsonrpc":"2.0","method":"db.purge","id":2}]"#),
    ] {
        assert_eq!(worst("POST", target, pairs, Some(body.as_bytes())), Effect::Destroy, "{target} {body}");
    }
    for target in ["/v1/completions", "/v1/things", "/docs/how-to-delete-your-whole-account-today", "/v1/drop-ships/3/items"] {
        assert_eq!(worst("POST", target, &[JSON], Some(b"{}")), Effect::Write, "{target}");
    }
    for (method, target, body, effect) in [
        ("PUT", "/v1/lists/7/items", "[]", Effect::Destroy),
        ("PUT", "/v1/lists/7", "null", Effect::Destroy),
        ("PUT", "/v1/lists/7", "{}", Effect::Write),
        ("PATCH", "/v1/db", r#"{"deletionProtection":false}"#, Effect::Destroy),
        ("POST", "/v1/run", r#"{"statement":"DROP TABLE x"}"#, Effect::Destroy),
        ("POST", "/v1/bulk", r#"{"action":"delete"}"#, Effect::Destroy),
        ("POST", "/v1/bulk?action=DELETE", "{}", Effect::Destroy),
    ] {
        assert_eq!(worst(method, target, &[JSON], Some(body.as_bytes())), effect, "{method} {target} {body}");
    }
    assert_eq!(worst("GET", "/admin?action=DELETE&name=x", &[], None), Effect::Destroy);
    assert_eq!(worst("GET", "/docs/delete", &[], None), Effect::Read);
    assert_eq!(worst("GET", "/?Action=DeleteUser&Version=2010-05-08", &[], None), Effect::Destroy);
    // A reading name does not make a POST harmless, but where AWS itself listens.
    assert_eq!(worst("POST", "/", &[("x-amz-target", "X.DescribeThings"), JSON], Some(b"{}")), Effect::Write);
}

#[test]
fn packages() {
    let told = |method: &str, target: &str, pairs: &[(&str, &str)], body: &str| {
        let operation = all(method, target, pairs, Some(body.as_bytes())).remove(0);
        format!("{} {}", operation.effect, operation.action)
    };
    assert_eq!(told("POST", "/-/npm/v1/security/advisories/bulk", &[JSON], "{}"), "read package.audit");
    let tree = r#"{"name":"a","requires":{},"dependencies":{"b":{"version":"1.0.0"}}}"#;
    assert_eq!(told("POST", "/-/npm/v1/security/audits/quick", &[JSON], tree), "read package.audit");
    assert_eq!(told("POST", "/-/npm/v1/security/advisories/bulk", &[JSON], r#"{"query":["1.0.0"]}"#), "read package.audit");
    for body in [r#"{"query":"mutation { a }"}"#, r#"{"dependencies":{},"query":"mutation { a }"}"#] {
        assert_ne!(told("POST", "/-/npm/v1/security/audits/quick", &[JSON], body), "read package.audit", "{body}");
    }
    assert_eq!(told("POST", "/-/npm/v1/security/audits/quick", &[JSON], "secrets"), "opaque http.post");
    assert_eq!(told("PUT", "/@scope%2fname", &[JSON], r#"{"_attachments":{}}"#), "write http.put");
    assert_eq!(told("PUT", "/name", &[JSON], r#"{"_id":"name","_attachments":{}}"#), "write package.publish");
    assert_eq!(told("PUT", "/name/-rev/1-a", &[JSON], r#"{"_rev":"1-a","versions":{}}"#), "destroy package.unpublish");
    assert_eq!(told("DELETE", "/name/-/name-1.0.0.tgz/-rev/1-a", &[], ""), "destroy package.unpublish");
    assert_eq!(told("PUT", "/api/v1/crates/new", &[], "x"), "write package.publish");
    let form = "--b\r\nContent-Disposition: form-data; name=\":action\"\r\n\r\nfile_upload\r\n--b--\r\n";
    assert_eq!(told("POST", "/legacy/", &[("content-type", "multipart/form-data; boundary=b")], form), "write package.publish");
}

#[test]
fn paths_are_resources_with_parents() {
    let operation = &all("GET", "/v1/orders/7?secret=1", &[], None)[0];
    assert_eq!(operation.resource.id.as_str(), "http:api.example.com:443/v1/orders/7");
    let Lineage::Known(lines) = &operation.resource.lineage else { panic!("{:?}", operation.resource) };
    assert_eq!(
        lines[0].iter().map(agentbox_core::ResourceId::as_str).collect::<Vec<_>>(),
        ["http:api.example.com:443/v1/orders", "http:api.example.com:443/v1"]
    );
    assert_eq!(all("GET", "/staging/../production", &[], None)[0].resource.lineage, Lineage::Unknown);
}

#[test]
fn there_is_always_an_operation_and_never_too_many() {
    let many: String = (0..200).map(|n| format!("a{n}:x ")).collect();
    let batch: Vec<_> = (0..3).map(|_| serde_json::json!({ "query": format!("{{{many}}}") })).collect();
    let operations = all("POST", "/graphql", &[JSON], Some(serde_json::Value::Array(batch).to_string().as_bytes()));
    assert_eq!((operations.len(), operations[0].effect), (1, Effect::Opaque));
}

proptest! {
    #[test]
    fn nothing_makes_it_fall_over(
        method in "(GET|POST|PUT|DELETE|PATCH|X)",
        target in "/(graphql|v1/messages|a\\.git/git-receive-pack|project|%2e%2e|[ -~]){0,6}",
        content_type in "(application/json|application/graphql|multipart/form-data; boundary=b|application/x-git-receive-pack-request|[ -~]{0,20})",
        override_to in "[ -~]{0,10}",
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let headers = headers(&[("content-type", &content_type), ("x-http-method-override", &override_to)]);
        let method: http::Method = method.parse().unwrap();
        for host in ["api.example.com", "backboard.railway.com"] {
            let host = HostName::parse(host).unwrap();
            let head = Head { method: &method, scheme: Scheme::Https, host: &host, port: 443, target: &target, headers: &headers };
            let _ = wants(&head);
            for body in [Body::Absent, Body::Whole(&body), Body::TooLong { first: &body }] {
                prop_assert!(!understand(&head, body).operations.is_empty());
            }
        }
    }
}

#[test]
#[ignore = "prints figures, asserts nothing: run it with --release --nocapture"]
fn how_long_it_takes() {
    let railway = serde_json::json!({ "query": "mutation VolumeDelete($volumeId: String!) { volumeDelete(volumeId: $volumeId) }", "variables": { "volumeId": "3d2c1b0a-1111-2222-3333-444455556666" }, "operationName": "VolumeDelete" }).to_string();
    let query = serde_json::json!({ "query": "query Project($id: String!) { project(id: $id) { id name environments { edges { node { id name serviceInstances { edges { node { id serviceId domains { customDomains { domain } } } } } } } } services { edges { node { id name } } } } }", "variables": { "id": "x" } }).to_string();
    let chat = serde_json::json!({ "model": "m", "messages": [{ "role": "user", "content": "x".repeat(100_000) }], "tools": [{ "name": "x", "input_schema": { "type": "object" } }] }).to_string();
    for (name, method, url, body) in [
        ("plain GET", "GET", "https://api.example.com/v1/things/7?x=1", None),
        ("small JSON POST", "POST", "https://api.example.com/v1/things", Some(r#"{"name":"a","n":1}"#)),
        ("Railway mutation", "POST", "https://backboard.railway.com/graphql/v2", Some(railway.as_str())),
        ("Railway query", "POST", "https://backboard.railway.com/graphql/v2", Some(query.as_str())),
        ("model request of 100 kB", "POST", "https://model.example/v1/messages", Some(chat.as_str())),
    ] {
        let method: http::Method = method.parse().unwrap();
        let headers = headers(&[JSON, ("authorization", "Bearer 0123456789abcdef0123"), ("accept", "*/*"), ("user-agent", "curl/8.5")]);
        let rest = &url[8..];
        let (host, target) = rest.split_at(rest.find('/').unwrap());
        let host = HostName::parse(host).unwrap();
        let head = Head { method: &method, scheme: Scheme::Https, host: &host, port: 443, target, headers: &headers };
        let mut times: Vec<_> = (0..2000)
            .map(|_| {
                let start = std::time::Instant::now();
                std::hint::black_box(understand(&head, body.map_or(Body::Absent, |body| Body::Whole(body.as_bytes()))));
                start.elapsed()
            })
            .collect();
        times.sort();
        eprintln!("{name}: median {:?}", times[1000]);
    }
}

mod clouds;
mod disguises;
mod guards;
mod orders;
mod protections;
mod services;
mod settings;
mod tongues;

/// The worst effect of a request to a host.
fn at(host: &str, method: &str, target: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Effect {
    let mut map = http::HeaderMap::new();
    for (name, value) in headers {
        map.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    let request = super::request(method, &format!("https://{host}{target}"), &map, body.filter(|body| !body.is_empty())).unwrap();
    request.worst().unwrap().effect
}
