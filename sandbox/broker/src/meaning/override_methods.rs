//! Methods named beside the request line: frameworks behind an API may act on those.

use agentbox_core::{Operation, Resource};
use http::Method;
use serde_json::Value;

use super::{
    call::Call,
    content::{Content, Kind},
    http_rules::{action, effect_of, opaque, resource, safe},
    route::pairs,
};

/// Headers by which frameworks let a client say another method.
const OVERRIDE_HEADERS: &[&str] = &["x-http-method-override", "x-http-method", "x-method-override", "x-original-method", "x-original-http-method"];

/// Fields of queries and forms that do the same, in lower case.
const OVERRIDE_FIELDS: &[&str] = &["_method", "$httpmethod", "httpmethod", "_httpmethod", "x-http-method-override", "x-http-method", "x-method-override"];

/// What a method that is named elsewhere would do, where that is stricter than the request line.
#[must_use]
pub(crate) fn overridden(call: &Call<'_>) -> Option<Operation> {
    let mut names: Vec<String> = Vec::new();
    let mut add = |value: &str| names.extend(value.split(',').map(|name| name.trim().to_ascii_uppercase()).filter(|name| !name.is_empty()));
    for (name, value) in call.head.headers {
        // CGI and its heirs (WSGI, PHP, Rack) cannot tell `_` from `-`.
        if OVERRIDE_HEADERS.contains(&name.as_str().replace('_', "-").as_str()) {
            add(value.to_str().unwrap_or("?"));
        }
    }
    let is_override = |name: &str| OVERRIDE_FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field));
    for (name, value) in call.route.query().unwrap_or_default() {
        // Facebook's Graph API deletes by `GET /ID?method=delete`; of other methods the word says too little.
        if is_override(name) || (name.eq_ignore_ascii_case("method") && value.eq_ignore_ascii_case("delete")) {
            add(value);
        }
    }
    // Some old servers part pairs at `;` too.
    let query = call.head.target.split_once('?').map_or("", |(_, query)| query);
    if query.contains(';') {
        for (name, value) in pairs(&query.replace(';', "&")).unwrap_or_default() {
            if is_override(&name) {
                add(&value);
            }
        }
    }
    if matches!(call.media.kind, Kind::Form | Kind::Multipart) && !call.has_no_body() {
        call.content();
    }
    match call.content_if_read() {
        Some(Content::Form(pairs)) => pairs.iter().filter(|(name, _)| is_override(name)).for_each(|(_, value)| add(value)),
        Some(Content::Multipart(parts)) => parts.iter().filter(|part| is_override(&part.name)).for_each(|part| add(part.text.as_deref().unwrap_or("?"))),
        Some(Content::Json(Value::Object(object))) => {
            if let Some(method) = object.get("_method").and_then(Value::as_str) {
                add(method);
            }
        }
        _ => {}
    }
    names.sort();
    names.dedup();
    let first = names.first()?;
    let own = effect_of(call.head.method);
    if names.len() > 1 {
        return Some(opaque(call, "it names several methods besides its own"));
    }
    let method = Method::from_bytes(first.as_bytes()).unwrap_or(Method::TRACE);
    let effect = effect_of(&method);
    (effect > own)
        .then(|| Operation::new(effect, action(&method), Resource::unplaced(resource(call).id), format!("the method is overridden by {}", safe(first))))
}
