//! gRPC, gRPC-web and Connect: what a call does is told by the name of its method; its messages stream and are not waited for.
//!
//! Who passes such a body on sees to it that each message stands in an envelope (`http::envelopes`), also those that come later.

use agentbox_core::{Effect, Operation, Resource};
use base64::Engine as _;
use http::Method;

use super::{
    Body, BodyWant, Head, ReplyStyle,
    api::{Api, Reading},
    call::Call,
    content::Media,
    http_rules,
    route::Route,
    words,
};

/// A unary message that has come within a moment is part of what an approval is bound to, if it is no longer than this.
const LONGEST_UNARY: usize = 64 << 10;

/// First words of methods that read, beside those that any RPC's name may begin with.
const READING: &[&str] = &["watch", "poll", "subscribe", "resolve", "health", "ping"];

/// First words of methods that make or change something.
const WRITING: &[&str] = &[
    "add", "append", "apply", "attach", "begin", "chat", "complete", "create", "embed", "enqueue", "export", "generate", "import", "infer", "insert", "patch",
    "post", "predict", "publish", "push", "put", "record", "register", "report", "restart", "save", "send", "set", "start", "store", "submit", "tag", "update",
    "upload", "upsert", "write",
];

/// Before the verb: `BatchGetDocuments`, `StreamingPull`, `BulkUpdate`.
const BEFORE: &[&str] = &["batch", "bulk", "multi", "stream", "streaming", "async"];

/// A service that tells what a server offers; its one method is named after the service.
const REFLECTION: &[&str] = &["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// As much of gRPC-web's text form as holds an envelope.
const TEXT: usize = 8;

/// Whether a request's body is made of messages in envelopes, as they are.
pub(crate) fn is_enveloped(head: &Head<'_>) -> bool {
    matches!(tongue(head), Some(Tongue::Grpc | Tongue::ConnectStream)) && !is_text(head)
}

/// gRPC-web's text form is the same in base64.
fn is_text(head: &Head<'_>) -> bool {
    Media::of(head.headers).essence.starts_with("application/grpc-web-text")
}

/// Which of the three protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tongue {
    /// gRPC itself, or gRPC-web: both tell a refusal in the head of the answer.
    Grpc,
    /// Connect's streams.
    ConnectStream,
    /// Connect's unary calls: an ordinary POST.
    ConnectUnary,
}

fn tongue(head: &Head<'_>) -> Option<Tongue> {
    let media = Media::of(head.headers);
    let essence = media.essence.as_str();
    if *head.method != Method::POST {
        return None;
    }
    if essence == "application/grpc" || essence.starts_with("application/grpc+") || essence.starts_with("application/grpc-web") {
        return Some(Tongue::Grpc);
    }
    if essence.starts_with("application/connect+") {
        return Some(Tongue::ConnectStream);
    }
    let unary = head.headers.contains_key("connect-protocol-version") && matches!(essence, "application/json" | "application/proto");
    unary.then_some(Tongue::ConnectUnary)
}

/// `package.Service` and `Method`, where the path is plainly that.
fn method(route: &Route) -> Option<(&str, &str)> {
    let mut segments = route.segments().rev();
    let (method, service) = (segments.next()?, segments.next()?);
    let is_name = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.');
    // Connect and gRPC-web may live below a prefix: the last two segments count in any case.
    (route.is_plain() && is_name(service) && is_name(method) && !method.contains('.')).then_some((service, method))
}

/// What a method's name says.
fn effect_of(service: &str, method: &str) -> Effect {
    if REFLECTION.contains(&service) {
        return Effect::Read;
    }
    let all = words::split(method);
    let verb = all.iter().map(String::as_str).find(|word| !BEFORE.contains(word)).unwrap_or_default();
    match words::effect_of(method) {
        Some(Effect::Destroy) => Effect::Destroy,
        // OpenTelemetry's `Export` sends; elsewhere the word reads.
        _ if WRITING.contains(&verb) => Effect::Write,
        Some(effect) => effect,
        None if READING.contains(&verb) || words::effect_of(verb) == Some(Effect::Read) => Effect::Read,
        None => Effect::Opaque,
    }
}

/// The three protocols.
pub(crate) struct Grpc;

impl Api for Grpc {
    fn wants(&self, head: &Head<'_>, route: &Route) -> Option<BodyWant> {
        match tongue(head)? {
            Tongue::ConnectUnary => Some(BodyWant::UpTo(http_rules::LONGEST_BODY)),
            Tongue::Grpc | Tongue::ConnectStream => Some(match method(route).map(|(service, method)| effect_of(service, method)) {
                // The name says all, and the envelopes are looked at on their way.
                Some(Effect::Read) if is_enveloped(head) => BodyWant::Soon(0),
                Some(Effect::Read) => BodyWant::Soon(TEXT),
                Some(Effect::Write | Effect::Destroy | Effect::Opaque) | None => BodyWant::Soon(LONGEST_UNARY),
            }),
        }
    }

    fn read(&self, call: &Call<'_>) -> Option<Reading> {
        let (operation, reply) = match tongue(call.head)? {
            Tongue::Grpc => (enveloped(call), ReplyStyle::Grpc),
            Tongue::ConnectStream => (enveloped(call), ReplyStyle::ConnectStream),
            Tongue::ConnectUnary => (unary(call)?, ReplyStyle::ConnectUnary),
        };
        Some(Reading { operations: vec![operation], reply })
    }
}

fn opaque(call: &Call<'_>, why: &str) -> Operation {
    Operation::new(Effect::Opaque, "grpc.opaque", Resource::unplaced(http_rules::resource(call).id), why)
}

fn by_name(call: &Call<'_>, service: &str, name: &str) -> Operation {
    let effect = effect_of(service, name);
    let why = match effect {
        Effect::Read => format!("the method {name} reads by its name"),
        Effect::Write => format!("the method {name} writes by its name"),
        Effect::Destroy => format!("the method {name} destroys by its name"),
        Effect::Opaque => format!("the method's name {name} does not say what it does"),
    };
    Operation::new(effect, &format!("grpc.{service}.{name}"), http_rules::resource(call), why)
}

/// A call whose messages stand in envelopes. A server of another tongue that ignores the content type must not be able to read them as
/// its own: the envelope's first byte is a control character, which neither JSON nor GraphQL nor SQL begins with.
fn enveloped(call: &Call<'_>) -> Operation {
    let (first, goes_on) = match call.raw() {
        Body::Absent => (&[][..], false),
        Body::Whole(bytes) => (bytes, false),
        Body::TooLong { first: bytes } => (bytes, true),
    };
    let is_message = if is_text(call.head) {
        let decoded = base64::engine::general_purpose::STANDARD.decode(first.get(..TEXT).unwrap_or_default()).unwrap_or_default();
        matches!(decoded.as_slice(), [0 | 1, _, _, _, _, ..])
    } else {
        // What is still to come is looked at when it comes.
        matches!(first, [0 | 1, _, _, _, _, ..]) || (goes_on && matches!(first, [] | [0 | 1, ..]))
    };
    if !is_message {
        return opaque(call, "its body does not begin with the envelope of a message");
    }
    match method(&call.route) {
        Some((service, name)) if !call.head.target.contains('?') => by_name(call, service, name),
        Some(_) | None => opaque(call, "the path is not package.Service/Method"),
    }
}

/// Connect's unary call looks like any POST: a header makes it no less strict than that.
fn unary(call: &Call<'_>) -> Option<Operation> {
    let (service, name) = method(&call.route)?;
    let named = by_name(call, service, name);
    (named.effect == Effect::Destroy).then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_methods_do() {
        let of = |name| effect_of("shop.v1.Orders", name);
        for name in ["GetOrder", "ListOrders", "WatchOrders", "BatchGetDocuments", "Check", "StreamGetLogs"] {
            assert_eq!(of(name), Effect::Read, "{name}");
        }
        for name in ["CreateOrder", "UpdateOrder", "SetLimits", "Export", "BatchUpdate", "PublishMessage"] {
            assert_eq!(of(name), Effect::Write, "{name}");
        }
        for name in ["DeleteOrder", "RemoveUser", "DropDatabase", "PurgeQueue", "TruncateTable", "BatchDelete", "GetAndDelete"] {
            assert_eq!(of(name), Effect::Destroy, "{name}");
        }
        for name in ["Commit", "Frobnicate", "Do", "Run", ""] {
            assert_eq!(of(name), Effect::Opaque, "{name}");
        }
        assert_eq!(effect_of("grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo"), Effect::Read);
        assert_eq!(effect_of("evil.v1.ServerReflection", "ServerReflectionInfo"), Effect::Opaque);
    }

    fn judged(content_type: &str, target: &str, body: &[u8]) -> (Effect, String) {
        judged_as(content_type, target, Body::Whole(body))
    }

    fn judged_as(content_type: &str, target: &str, body: Body<'_>) -> (Effect, String) {
        let mut headers = http::HeaderMap::new();
        headers.insert("content-type", content_type.parse().unwrap());
        headers.insert("connect-protocol-version", "1".parse().unwrap());
        let host = agentbox_core::HostName::parse("a.example").unwrap();
        let head = Head { method: &Method::POST, scheme: super::super::Scheme::Https, host: &host, port: 443, target, headers: &headers };
        let meaning = super::super::understand(&head, body);
        let worst = meaning.operations.iter().max_by_key(|operation| operation.effect).unwrap();
        (worst.effect, worst.action.to_string())
    }

    #[test]
    fn a_label_makes_no_other_request_a_call() {
        let get = "/shop.v1.Orders/GetOrder";
        assert_eq!(judged("application/grpc", get, b"\0\0\0\0\x01x"), (Effect::Read, "grpc.shop.v1.Orders.GetOrder".to_owned()));
        assert_eq!(judged("application/grpc-web-text", get, b"AAAAAAF4").0, Effect::Read);
        assert_eq!(judged("application/connect+json", get, b"\0\0\0\0\x02{}").0, Effect::Read);
        let streams = |first: &'static [u8]| judged_as("application/grpc", get, Body::TooLong { first }).0;
        assert_eq!([streams(b""), streams(b"\0"), streams(b"\x01\0\0\0\0")], [Effect::Read; 3], "the rest is looked at when it comes");
        assert_eq!([streams(b"{"), streams(b"\x02")], [Effect::Opaque; 2]);
        for body in [&b""[..], b"{\"query\":\"mutation{deleteAll}\"}", b"\0", b"\x02\0\0\0\0", b"DROP TABLE x"] {
            assert_eq!(judged("application/grpc", get, body).0, Effect::Opaque, "{body:?}");
        }
        assert_eq!(judged("application/grpc", "/shop.v1.Orders/GetOrder?x=1", b"\0\0\0\0\0").0, Effect::Opaque);
        assert_eq!(judged("application/grpc", "/shop.v1.Orders/DeleteOrder", b"\0\0\0\0\0").0, Effect::Destroy);
        // Connect's unary calls are POSTs, whatever they call themselves.
        assert_eq!(judged("application/json", get, b"{}").0, Effect::Write);
        assert_eq!(judged("application/json", get, b"{\"query\":\"mutation{deleteAll}\"}").0, Effect::Destroy);
        assert_eq!(judged("application/json", "/shop.v1.Orders/DeleteOrder", b"{}").1, "grpc.shop.v1.Orders.DeleteOrder");
    }

    #[test]
    fn the_card_says_that_messages_follow() {
        let mut headers = http::HeaderMap::new();
        headers.insert("content-type", "application/grpc+proto".parse().unwrap());
        let host = agentbox_core::HostName::parse("a.example").unwrap();
        let head = Head { method: &Method::POST, scheme: super::super::Scheme::Https, host: &host, port: 443, target: "/a.B/Purge", headers: &headers };
        assert_eq!(super::super::understand(&head, Body::TooLong { first: b"" }).excerpt, "(its messages follow while it runs, and are not read)");
    }

    #[test]
    fn only_a_plain_path_names_a_method() {
        let of = |target: &str| method(&Route::of(target)).map(|(service, method)| format!("{service} {method}"));
        assert_eq!(of("/a.b.C/Get"), Some("a.b.C Get".to_owned()));
        assert_eq!(of("/api/a.b.C/Get"), Some("a.b.C Get".to_owned()));
        for target in ["/Get", "/", "/a.b.C/%2e%2e/Get", "/a.b.C/Get%2fDelete", "/a.b.C//Get", "/a b/Get"] {
            assert_eq!(of(target), None, "{target}");
        }
    }
}
