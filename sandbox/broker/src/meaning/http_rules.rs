//! What HTTP itself says, where nothing more is known: methods, overrides of methods, verbs in names.

use agentbox_core::{Effect, Operation, Resource, ResourceId};
use http::Method;
use serde_json::Value;

use super::{
    BodyWant, Head,
    api::{Api, Reading},
    bodies,
    call::Call,
    content::{Content, Kind, Media},
    route::{Route, pairs},
    words,
};

/// Most bytes of a body that are read where nothing more is known.
pub(crate) const LONGEST_BODY: usize = 8 << 20;

/// Enough of a body that is said to be data to see whether it is.
const SNIFFED: usize = 64 << 10;

/// Most parents of a path that a policy can name.
const DEEPEST: usize = 12;

/// Headers by which frameworks let a client say another method.
const OVERRIDE_HEADERS: &[&str] = &["x-http-method-override", "x-http-method", "x-method-override", "x-original-method", "x-original-http-method"];

/// Fields of queries and forms that do the same, in lower case.
const OVERRIDE_FIELDS: &[&str] = &["_method", "$httpmethod", "httpmethod", "_httpmethod", "x-http-method-override", "x-http-method", "x-method-override"];

/// The last API of the table: it recognises everything.
pub(crate) struct HttpRules;

impl Api for HttpRules {
    fn wants(&self, head: &Head<'_>, _route: &Route) -> Option<BodyWant> {
        let media = Media::of(head.headers);
        Some(BodyWant::UpTo(if media.kind == Kind::Data { SNIFFED } else { LONGEST_BODY }))
    }

    fn read(&self, call: &Call<'_>) -> Option<Reading> {
        Some(Reading::one(judge(call)))
    }
}

/// The method table of the product.
#[must_use]
pub(crate) fn effect_of(method: &Method) -> Effect {
    match method.as_str() {
        "GET" | "HEAD" | "OPTIONS" => Effect::Read,
        "POST" | "PUT" | "PATCH" => Effect::Write,
        "DELETE" => Effect::Destroy,
        // WebDAV's MOVE and COPY overwrite, CONNECT tunnels, TRACE echoes; of others nothing is known.
        _ => Effect::Opaque,
    }
}

/// `http.get`; a method of the agent's own invention is `http.other`.
fn action(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "http.get",
        "HEAD" => "http.head",
        "OPTIONS" => "http.options",
        "POST" => "http.post",
        "PUT" => "http.put",
        "PATCH" => "http.patch",
        "DELETE" => "http.delete",
        _ => "http.other",
    }
}

/// `http:host:port/path` with its parent paths.
#[must_use]
pub(crate) fn resource(call: &Call<'_>) -> Resource {
    let base = format!("{}:{}", call.head.host, call.head.port);
    let path = call.route.path();
    let id = ResourceId::new("http", &format!("{base}{path}"));
    if !call.route.is_plain() {
        // The server may read this path in another way, and then it is another resource.
        return Resource::unplaced(id);
    }
    let mut line = Vec::new();
    let mut parent = path.as_str();
    while let Some((shorter, _)) = parent.rsplit_once('/') {
        parent = shorter;
        if line.len() == DEEPEST || parent.is_empty() {
            break;
        }
        line.push(ResourceId::new("http", &format!("{base}{parent}")));
    }
    Resource { id, lineage: agentbox_core::Lineage::Known(vec![line]) }
}

/// A request of which nothing is known but that it may do harm: not even where, so the strictest place decides.
#[must_use]
pub(crate) fn opaque(call: &Call<'_>, why: impl Into<String>) -> Operation {
    Operation::new(Effect::Opaque, action(call.head.method), Resource::unplaced(resource(call).id), why)
}

fn judge(call: &Call<'_>) -> Operation {
    let method = call.head.method;
    let operation = |effect, why: String| Operation::new(effect, action(method), resource(call), why);
    if call.head.headers.contains_key(http::header::UPGRADE) {
        return operation(Effect::Opaque, "it asks for another protocol on the same connection".into());
    }
    let effect = effect_of(method);
    match effect {
        Effect::Read => match unreadable(call) {
            // RFC 9110 gives a body here no meaning, but servers read some (search): what can be read is judged, what cannot is not.
            Some(why) => operation(Effect::Opaque, format!("{method} with a body that cannot be read: {why}")),
            None => match read_that_destroys(call) {
                Some(why) => operation(Effect::Destroy, why),
                None => operation(Effect::Read, format!("{method} reads")),
            },
        },
        Effect::Write => match unreadable(call) {
            Some(why) => operation(Effect::Opaque, format!("{method} with a body that cannot be read: {why}")),
            None => {
                let nothing = || (*method == Method::PUT && replaces_by_nothing(call)).then(|| "PUT replaces what is there by nothing".to_owned());
                let destroys = || says_destroying(call).or_else(nothing).map(|why| (Effect::Destroy, why));
                // A call that AWS itself names as a read carries no order in its body.
                let (effect, why) =
                    named(call).or_else(destroys).unwrap_or_else(|| (Effect::Write, format!("{method} writes; nothing more is known of this API")));
                operation(effect, why)
            }
        },
        Effect::Destroy => operation(effect, format!("{method} deletes")),
        Effect::Opaque => operation(effect, "of this method nothing is known".into()),
    }
}

/// A GET is believed to read unless its query, or its path as an RPC's name, says otherwise.
fn read_that_destroys(call: &Call<'_>) -> Option<String> {
    let rpc = !call.has_no_body() || call.route.values("Action").next().is_some();
    let by_name = named(call).filter(|(effect, _)| rpc && *effect == Effect::Destroy).map(|(_, why)| why);
    by_name.or_else(|| bodies::query_destroys(call.route.query()?))
}

fn says_destroying(call: &Call<'_>) -> Option<String> {
    bodies::query_destroys(call.route.query().unwrap_or_default()).or_else(|| bodies::destroys(call.content()))
}

fn replaces_by_nothing(call: &Call<'_>) -> bool {
    match call.content() {
        // `{}` is what many clients send for "all defaults", so it says nothing.
        Content::Json(Value::Null) => true,
        Content::Json(Value::Array(items)) => items.is_empty(),
        Content::Text(text) => text.trim() == "null",
        _ => false,
    }
}

fn unreadable(call: &Call<'_>) -> Option<String> {
    // gRPC is a POST and has rules of its own; under another method it is not gRPC.
    if call.media.essence.starts_with("application/grpc") {
        return Some("gRPC under another method than POST".to_owned());
    }
    match call.content() {
        Content::Unreadable(why) => Some(why.to_string()),
        Content::Empty | Content::Json(_) | Content::Form(_) | Content::Multipart(_) | Content::Text(_) | Content::Data => None,
    }
}

/// What the names in a request say: its path's last parts, its RPC action. Only ever stricter than the method, but
/// for the calls that AWS itself names in a header.
fn named(call: &Call<'_>) -> Option<(Effect, String)> {
    let from_target = call.header_values("x-amz-target").flatten().filter_map(|target| target.rsplit('.').next());
    for name in from_target {
        match words::effect_of(name) {
            Some(Effect::Destroy) => return Some((Effect::Destroy, format!("it calls {}", safe(name)))),
            Some(Effect::Read) if is_aws(call.head) => return Some((Effect::Read, format!("it calls {}", safe(name)))),
            _ => {}
        }
    }
    if let Some(name) = rpc_names(call).into_iter().find(|name| words::effect_of(name) == Some(Effect::Destroy)) {
        return Some((Effect::Destroy, format!("it calls {}", safe(&name))));
    }
    let step = call.route.segments().rev().take(2).enumerate().find(|(index, segment)| {
        // `/volumes/3/wipe`, `/v1/things:purge`, `/_delete_by_query`, `/delete/3`.
        let verb = segment.rsplit(':').next().unwrap_or(segment);
        if *index == 0 { words::is_destroying_step(verb) } else { words::split(verb).len() == 1 && words::is_destroying_step(verb) }
    });
    step.map(|(_, segment)| (Effect::Destroy, format!("the path says {}", safe(segment))))
}

fn safe(text: &str) -> String {
    agentbox_core::safe::line(text, 80)
}

fn is_aws(head: &Head<'_>) -> bool {
    let host = head.host.as_str();
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

/// Names of remote procedures in the body or the query: AWS's `Action`, JSON-RPC's `method`.
fn rpc_names(call: &Call<'_>) -> Vec<String> {
    const MOST: usize = 64;
    let mut names: Vec<String> = call.route.values("Action").map(str::to_owned).collect();
    match call.content() {
        Content::Form(pairs) => names.extend(pairs.iter().filter(|(name, _)| name == "Action" || name == "method").map(|(_, value)| value.clone())),
        Content::Json(Value::Object(object)) => names.extend(json_rpc(object)),
        Content::Json(Value::Array(items)) => names.extend(items.iter().take(MOST).filter_map(Value::as_object).filter_map(json_rpc)),
        _ => {}
    }
    names
}

fn json_rpc(object: &serde_json::Map<String, Value>) -> Option<String> {
    object.get("jsonrpc")?;
    object.get("method")?.as_str().map(str::to_owned)
}

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
