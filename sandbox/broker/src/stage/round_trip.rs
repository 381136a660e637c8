//! What is sent on means what was judged: requests of all shapes go through the broker, and what arrives is read again.

use agentbox_core::Effect;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::{prelude::*, test_runner::TestRunner};

use super::*;
use crate::meaning;

/// Effect, action and resource of all operations.
fn told(method: &str, target: &str, headers: &HeaderMap, body: &[u8]) -> Vec<(Effect, String, String)> {
    let body = (!body.is_empty()).then_some(body);
    let meaning = meaning::request(method, &format!("http://{API}{target}"), headers, body).unwrap();
    meaning.operations.iter().map(|one| (one.effect, one.action.to_string(), one.resource.id.to_string())).collect()
}

/// A request of a client.
#[derive(Clone, Debug)]
struct Sent {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    chunked: bool,
}

impl Sent {
    fn bytes(&self) -> Vec<u8> {
        let mut all = format!("{} {} HTTP/1.1\r\nHost: {API}\r\nConnection: close\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            all.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if self.chunked {
            all.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for piece in self.body.chunks(7) {
                all.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                all.extend_from_slice(piece);
                all.extend_from_slice(b"\r\n");
            }
            all.extend_from_slice(b"0\r\n\r\n");
        } else {
            all.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
            all.extend_from_slice(&self.body);
        }
        all
    }

    fn headers(&self) -> HeaderMap {
        self.headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
    }
}

fn requests() -> impl Strategy<Value = Sent> {
    let method = prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]);
    let part = prop::sample::select(vec![
        "v1", "volumes", "3d2c", "delete", "graphql", "restore", "a%2Fb", "%64elete", "..", "", ";x=1", "settings", "waf", "x:purge", "_search",
    ]);
    let query = prop::sample::select(vec!["", "?", "?_method=DELETE", "?a=1&a=2", "?query=mutation%7Bx%7D", "?dryRun=All", "?q=%ff", "?x=a+b"]);
    let kind = prop::sample::select(vec![
        "application/json",
        "application/json; charset=utf-8",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
    ]);
    let extra = prop::sample::select(vec![
        ("x-a", "1"),
        ("x-http-method-override", "DELETE"),
        ("accept", "*/*"),
        ("x-amz-target", "A_1.DeleteTable"),
        ("te", "trailers"),
    ]);
    let body = prop::sample::select(vec![
        "",
        "{}",
        r#"{"a":1}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"query":"mutation { volumeDelete(id: 1) }"}"#,
        r#"{"query":"{ me { id } }"}"#,
        r#"{"enabled":false}"#,
        "a=1&_method=DELETE",
        "DROP TABLE users",
        "\u{feff}{}",
    ]);
    (method, prop::collection::vec(part, 0..4), query, kind, extra, body, any::<bool>()).prop_map(|(method, parts, query, kind, extra, body, chunked)| {
        let target = format!("/{}{query}", parts.join("/"));
        let headers = vec![("content-type", kind.to_owned()), (extra.0, extra.1.to_owned())];
        Sent { method, target, headers, body: body.as_bytes().to_vec(), chunked }
    })
}

#[test]
fn what_arrives_means_what_was_judged() {
    let mut runner = TestRunner::new(ProptestConfig { cases: 160, failure_persistence: None, ..ProptestConfig::default() });
    let arrived = std::sync::atomic::AtomicUsize::new(0);
    let outcome = runner.run(&requests(), |sent| {
        let (received, answer) = run(async {
            let far = Far::start(Cloth::Clear).await;
            let stage = Stage::new(Say::No, far.address);
            let answer = stage.raw(&sent.bytes()).await;
            let received = far.received.lock().unwrap().clone();
            (received, answer)
        });
        let judged = told(sent.method, &sent.target, &sent.headers(), &sent.body);
        let worst = judged.iter().map(|(effect, ..)| *effect).max().unwrap();
        match received.as_slice() {
            [] => prop_assert!(worst >= Effect::Destroy || answer.starts_with("HTTP/1.1 4"), "{worst:?} did not arrive: {answer}"),
            [one] => {
                arrived.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                prop_assert!(worst < Effect::Destroy, "{judged:?} arrived as {}", one.line);
                let (method, target) = one.line.split_once(' ').unwrap();
                prop_assert_eq!(&told(method, target, &one.headers, &one.body), &judged);
                prop_assert_eq!(&one.body, &sent.body, "a body goes byte for byte");
            }
            more => prop_assert!(false, "one request arrived as {}", more.len()),
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let arrived = arrived.into_inner();
    assert!(arrived > 20, "only {arrived} of them arrived, so that little was tried");
}
