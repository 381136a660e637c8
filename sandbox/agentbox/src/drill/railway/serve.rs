//! The stand-in's HTTP: connections, tokens, encodings and the shapes that a GraphQL request comes in.

use std::{convert::Infallible, io::Read as _, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Map, Value, json};

use super::{State, graphql};

/// Longest body, before and after unpacking.
const LONGEST: usize = 1 << 20;
/// Most requests of one batch.
const MOST_IN_BATCH: usize = 100;
/// How long a handshake or a body may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Serves until the process ends.
pub(super) fn run(listener: std::net::TcpListener, config: Arc<rustls::ServerConfig>, state: Arc<State>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async move {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
        let acceptor = tokio_rustls::TlsAcceptor::from(config);
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
            tokio::spawn(async move {
                let Ok(Ok(stream)) = tokio::time::timeout(DEADLINE, acceptor.accept(stream)).await else { return };
                let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let service = service_fn(move |request| serve(Arc::clone(&state), request));
                let stream = TokioIo::new(stream);
                // A client that breaks off is no fault of the stand-in.
                if two {
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await;
                } else {
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
                }
            });
        }
    });
}

async fn serve(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = answer(&state, request).await;
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json; charset=utf-8"));
    Ok(response)
}

fn errors(status: StatusCode, message: &str) -> (StatusCode, Value) {
    (status, json!({ "errors": [{ "message": message }] }))
}

async fn answer(state: &State, request: Request<Incoming>) -> (StatusCode, Value) {
    if request.uri().path() != "/graphql/v2" {
        return errors(StatusCode::NOT_FOUND, "Not found");
    }
    let right = state.right(token(request.headers()));
    let (head, body) = request.into_parts();
    if head.method == Method::GET {
        // As the real server: a GET carries queries only.
        let pairs = form(head.uri.query().unwrap_or_default());
        return match one(&Value::Object(pairs)) {
            Some(request) if !request.query.contains("mutation") => (StatusCode::OK, state.answer(right, &request)),
            Some(_) => errors(StatusCode::METHOD_NOT_ALLOWED, "GET requests only support query operations."),
            None => errors(StatusCode::BAD_REQUEST, "GraphQL operations must contain a non-empty `query`."),
        };
    }
    if head.method != Method::POST {
        return errors(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
    }
    let Ok(Ok(body)) = tokio::time::timeout(DEADLINE, Limited::new(body, LONGEST).collect()).await else {
        return errors(StatusCode::PAYLOAD_TOO_LARGE, "request entity too large");
    };
    let Some(body) = unpack(&head.headers, &body.to_bytes()) else { return errors(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported content encoding") };
    match read(&head.headers, &body) {
        Ok(Asked::One(request)) => (StatusCode::OK, state.answer(right, &request)),
        Ok(Asked::Batch(requests)) => (StatusCode::OK, Value::Array(requests.iter().map(|request| state.answer(right, request)).collect())),
        Err(message) => errors(StatusCode::BAD_REQUEST, message),
    }
}

fn token(headers: &http::HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Bearer "));
    bearer.or_else(|| headers.get("project-access-token").and_then(|value| value.to_str().ok()))
}

fn unpack(headers: &http::HeaderMap, body: &[u8]) -> Option<Vec<u8>> {
    match headers.get(header::CONTENT_ENCODING).map(header::HeaderValue::as_bytes) {
        None | Some(b"identity") => Some(body.to_vec()),
        Some(b"gzip") => {
            let mut plain = Vec::new();
            let read = flate2::read::MultiGzDecoder::new(body).take(LONGEST as u64).read_to_end(&mut plain);
            read.ok().map(|_| plain)
        }
        Some(_) => None,
    }
}

enum Asked {
    One(graphql::Request),
    Batch(Vec<graphql::Request>),
}

fn read(headers: &http::HeaderMap, body: &[u8]) -> Result<Asked, &'static str> {
    const EMPTY: &str = "GraphQL operations must contain a non-empty `query` or a `persistedQuery` extension.";
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/graphql") && !kind.contains("json") {
        let query = String::from_utf8(body.to_vec()).map_err(|_| "not UTF-8")?;
        return Ok(Asked::One(graphql::Request { query, operation_name: None, variables: Map::new() }));
    }
    match serde_json::from_slice::<Value>(body).map_err(|_| "Unexpected token in JSON")? {
        Value::Array(all) if all.len() <= MOST_IN_BATCH => Ok(Asked::Batch(all.iter().map(one).collect::<Option<_>>().ok_or(EMPTY)?)),
        Value::Array(_) => Err("Batch too large"),
        value => one(&value).map(Asked::One).ok_or(EMPTY),
    }
}

fn one(value: &Value) -> Option<graphql::Request> {
    let query = value.get("query")?.as_str()?.to_owned();
    let operation_name = value.get("operationName").and_then(Value::as_str).filter(|name| !name.is_empty()).map(str::to_owned);
    let variables = value.get("variables").and_then(Value::as_object).cloned().unwrap_or_default();
    (!query.is_empty()).then_some(graphql::Request { query, operation_name, variables })
}

/// `a=b&c=d` with `+` and `%xx`.
fn form(query: &str) -> Map<String, Value> {
    let plain = |text: &str| {
        let text = text.replace('+', " ");
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((byte, after)) = rest.split_first() {
            let escaped = after.get(..2).and_then(|two| std::str::from_utf8(two).ok()).and_then(|two| u8::from_str_radix(two, 16).ok());
            match (byte, escaped) {
                (b'%', Some(decoded)) => {
                    bytes.push(decoded);
                    rest = after.get(2..).unwrap_or_default();
                }
                (byte, _) => {
                    bytes.push(*byte);
                    rest = after;
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (plain(name), Value::String(plain(value)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_forms_and_packed_bodies_are_read() {
        let mut headers = http::HeaderMap::new();
        assert!(matches!(read(&headers, br#"[{"query":"{me{id}}"},{"query":"{me{id}}"}]"#), Ok(Asked::Batch(two)) if two.len() == 2));
        assert!(matches!(read(&headers, br#"{"query":"{me{id}}"}"#), Ok(Asked::One(_))));
        assert!(read(&headers, br#"{"extensions":{}}"#).is_err());
        assert_eq!(form("query=%7Bme%7D+x&b=1")["query"], "{me} x");
        headers.insert("content-encoding", header::HeaderValue::from_static("gzip"));
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, b"hello").unwrap();
        assert_eq!(unpack(&headers, &packed.finish().unwrap()).unwrap(), b"hello");
        headers.insert("content-encoding", header::HeaderValue::from_static("br"));
        assert!(unpack(&headers, b"x").is_none());
    }
}
