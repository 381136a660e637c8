//! Text: XML by the names of its elements, lines of JSON, requests within a request, else SQL.

use agentbox_core::Effect;

use super::{
    super::{rpc, words},
    Around, Found,
    guards::Above,
    is_verb, safe,
    statements::{self, Where},
};

/// Most elements of a document that are looked at.
const MOST_ELEMENTS: usize = 100_000;

/// Most elements within each other of which it is remembered what they are.
const DEEPEST: usize = 64;

/// Most lines of a list of JSON values.
const MOST_LINES: usize = 100_000;

/// What a text says.
#[must_use]
pub(super) fn judge(text: &str, around: &Around) -> Option<Found> {
    let start = text.trim_start();
    if start.starts_with('<') {
        return xml(text, around);
    }
    if start.starts_with("--") && text.contains("HTTP/1") {
        return batch(text);
    }
    if start.starts_with(['{', '[']) {
        return lines(text, around);
    }
    statements::sql(text, Where::MayBeSearch)
}

/// Lines of JSON, as bulk endpoints have them.
fn lines(text: &str, around: &Around) -> Option<Found> {
    if text.lines().count() > MOST_LINES {
        return Some((Effect::Opaque, "more lines than are read".to_owned()));
    }
    let mut values = text.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str::<serde_json::Value>);
    let above = Above::of(around);
    values.find_map(|value| super::in_value(&value.ok()?, around, above))
}

/// `<Delete>`, `<DeleteUser>`, `<methodName>wp.deletePost</methodName>`, `<Status>Suspended</Status>`, `<Expiration>`.
fn xml(text: &str, around: &Around) -> Option<Found> {
    let mut name_of_member = String::new();
    let above = Above::of(around);
    let mut is_call_next = false;
    let mut is_dispatched = false;
    if text.split('<').count() > MOST_ELEMENTS {
        return Some((Effect::Opaque, "more elements than are read".to_owned()));
    }
    let (mut open, mut depth): (Vec<Above>, usize) = (Vec::new(), 0);
    text.split('<').skip(1).find_map(|piece| {
        if piece.starts_with('/') {
            depth = depth.saturating_sub(1);
            open.truncate(depth);
            return None;
        }
        let end = piece.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).unwrap_or(piece.len());
        let (name, rest) = piece.split_at_checked(end)?;
        let name = name.rsplit(':').next().unwrap_or(name);
        let above = open.last().copied().unwrap_or(above);
        let is_closed = rest.split_once('>').is_some_and(|(head, _)| head.ends_with('/')) || name.starts_with(['!', '?']);
        if !is_closed {
            depth = depth.saturating_add(1);
            if open.len() < DEEPEST {
                open.push(above.below(&words::split(name)));
            }
        }
        let content = rest.split_once('>').map_or("", |(_, content)| content.trim());
        let is_call = |text: &str| text.rsplit('.').next().is_some_and(is_verb);
        if name == "name" {
            name_of_member = content.to_owned();
        }
        // SOAP: the first element of the body is the call.
        let is_soap_call = std::mem::replace(&mut is_call_next, name == "Body");
        let says = match name {
            _ if is_soap_call && words::effect_of(name) == Some(Effect::Destroy) => true,
            _ if name.eq_ignore_ascii_case("methodName") => {
                is_dispatched = rpc::is_dispatcher(content);
                is_call(content)
            }
            // `execute_kw` of a database, a key, a model: the method that it calls is one of its arguments.
            "string" if is_dispatched && rpc::ends_records(content) => true,
            // Calls within one call: `<name>methodName</name><value><string>wp.deletePost`.
            "value" | "string" if name_of_member == "methodName" => is_call(content),
            "Status" if content == "Suspended" => true,
            // A rule of a bucket's lifecycle, of whoever speaks like S3.
            "Expiration" | "NoncurrentVersionExpiration" if around.changes && around.has(&["lifecycle"]) => true,
            "Action" | "Operation" | "Command" => is_verb(content),
            _ => words::begins_destroying(name) && !content.eq_ignore_ascii_case("false") && !matches!(name, "DeleteMarker"),
        };
        if says {
            return Some((Effect::Destroy, format!("the body says {}", safe(name))));
        }
        // A leaf is a field like those of JSON.
        let value = serde_json::Value::String(content.to_owned());
        let found = (!content.is_empty()).then(|| super::settings::judge(name, &value, around, above)).flatten();
        found.map(|(effect, why)| (effect, format!("{why}: {}", safe(name))))
    })
}

/// Requests in the parts of a multipart body (Google's, Azure's and OData's batches): their request lines.
fn batch(text: &str) -> Option<Found> {
    if text.lines().count() > MOST_LINES {
        return Some((Effect::Opaque, "more lines than are read".to_owned()));
    }
    text.lines().find_map(|line| {
        let mut pieces = line.trim_end().split(' ');
        let (method, target, version) = (pieces.next()?, pieces.next()?, pieces.next()?);
        if !version.starts_with("HTTP/1") || pieces.next().is_some() {
            return None;
        }
        let path = target.split(['?', '#']).next().unwrap_or(target);
        let last = path.rsplit(['/', ':']).next().unwrap_or_default();
        match method {
            "GET" | "HEAD" | "OPTIONS" => None,
            "POST" | "PUT" | "PATCH" | "MERGE" => words::step(last)
                .and_then(|step| words::of_words(&step, &[]))
                .filter(|effect| *effect == Effect::Destroy)
                .map(|effect| (effect, format!("a request within it calls {}", safe(last)))),
            "DELETE" => Some((Effect::Destroy, format!("a request within it deletes {}", safe(path)))),
            _ => Some((Effect::Opaque, "of a request within it nothing is known".to_owned())),
        }
    })
}
