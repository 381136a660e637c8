//! Kubernetes: verbs and kinds of its API by the shape of its paths, on any host.

use agentbox_core::{Delegation, Effect, Lineage, Operation, Reach, Resource, ResourceId};
use serde_json::{Map, Value};

use super::{
    BodyWant, Head, ReplyStyle,
    api::{Api, Reading},
    bodies::{self, Around, Found, Reads},
    call::Call,
    content::Content,
    http_rules::{self, safe},
    route::Route,
    shell, words,
};

/// Longest body that is read: the API server itself takes 3 MiB.
const LONGEST_BODY: usize = 4 << 20;

/// How deep nulls of a patch are looked for.
const DEEPEST: usize = 32;

/// Kinds that are made again at will, or join two things that remain.
const LIGHT: &[&str] = &["leases", "leasecandidates", "volumeattachments", "tokenreviews"];

fn is_light(object: &Object<'_>) -> bool {
    object.group.ends_with(".k8s.io") && (LIGHT.contains(&object.kind) || object.kind.ends_with("bindings"))
}

/// Subresources that run something in a container or reach through it.
const INTO: &[&str] = &["exec", "attach", "portforward", "proxy", "ephemeralcontainers"];

/// Those of them that become a stream, for which a client changes the protocol.
const STREAMS: &[&str] = &["exec", "attach", "portforward"];

/// Whether a request opens a stream to a container: a command's, its console's, or its ports'.
pub(crate) fn opens_stream(head: &Head<'_>) -> bool {
    let route = Route::of(head.target);
    let segments: Vec<&str> = route.segments().collect();
    let is_method = *head.method == http::Method::GET || *head.method == http::Method::POST;
    is_method && route.is_plain() && object(&segments).filter(is_kubernetes).is_some_and(|object| object.sub.is_some_and(|sub| STREAMS.contains(&sub)))
}

/// What a path names.
struct Object<'a> {
    group: &'a str,
    namespace: Option<&'a str>,
    kind: &'a str,
    name: Option<&'a str>,
    sub: Option<&'a str>,
}

/// `/api/v1/…`, `/apis/GROUP/VERSION/…`, in or out of a namespace.
fn object<'a>(segments: &[&'a str]) -> Option<Object<'a>> {
    let (group, rest) = match segments {
        // The oldest group has one version only.
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, version, rest @ ..] if is_version(version) => (*group, rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, kind, rest @ ..] if !matches!(*kind, "status" | "finalize") => (Some(*namespace), [&[*kind], rest].concat()),
        _ => (None, rest.to_vec()),
    };
    let (kind, rest) = rest.split_first()?;
    let is_kind = kind.bytes().all(|byte| byte.is_ascii_lowercase()) && !kind.is_empty();
    is_kind.then(|| Object { group, namespace, kind, name: rest.first().copied(), sub: rest.get(1).copied() })
}

/// `v1`, `v1beta1`, `v2alpha3`.
fn is_version(text: &str) -> bool {
    text.strip_prefix('v')
        .is_some_and(|rest| rest.bytes().next().is_some_and(|byte| byte.is_ascii_digit()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Other products have `/api/v1/NOUN` too: what is claimed here must have a group of its own, a namespace, or a kind of the core.
fn is_kubernetes(object: &Object<'_>) -> bool {
    // Groups have a domain, but for the oldest.
    if !object.group.is_empty() {
        return object.group.contains('.') || matches!(object.group, "apps" | "batch" | "autoscaling" | "policy" | "extensions");
    }
    is_of_core(object)
}

/// Kinds of the group that has no name.
fn is_of_core(object: &Object<'_>) -> bool {
    const CORE: &[&str] = &[
        "namespaces",
        "nodes",
        "persistentvolumes",
        "persistentvolumeclaims",
        "pods",
        "configmaps",
        "secrets",
        "services",
        "serviceaccounts",
        "replicationcontrollers",
        "resourcequotas",
        "limitranges",
        "componentstatuses",
        "endpoints",
    ];
    CORE.contains(&object.kind) || (object.namespace.is_some() && matches!(object.kind, "events" | "replicationcontrollers" | "podtemplates" | "bindings"))
}

/// The API.
pub(crate) struct Kubernetes;

impl Api for Kubernetes {
    fn wants(&self, head: &Head<'_>, route: &Route) -> Option<BodyWant> {
        let segments: Vec<&str> = route.segments().collect();
        let found = object(&segments).filter(is_kubernetes)?;
        let reads = http_rules::effect_of(head.method) == Effect::Read && !found.sub.is_some_and(|sub| INTO.contains(&sub));
        Some(if reads { BodyWant::UpTo(64 << 10) } else { BodyWant::UpTo(LONGEST_BODY) })
    }

    fn read(&self, call: &Call<'_>) -> Option<Reading> {
        if !call.route.is_plain() {
            return None;
        }
        let segments: Vec<&str> = call.route.segments().collect();
        let object = object(&segments).filter(is_kubernetes)?;
        let (effect, why) = judge(call, &object)?;
        // `/api/v1/services/3/wipe` of somebody else's API.
        let (effect, why) = match http_rules::said(call) {
            Some((said, why)) if !is_sure(&object) && effect < said => (said, why),
            _ => (effect, why),
        };
        let verb = verb(call, &object);
        let mut operation = Operation::new(effect, &format!("k8s.{verb}"), resource(call, &object), why);
        if object.kind == "secrets" && effect == Effect::Read || (object.kind == "serviceaccounts" && object.sub == Some("token")) {
            operation.yields_credential = true;
        }
        let makes_runner = matches!(object.kind, "jobs" | "cronjobs" | "pods" | "deployments" | "statefulsets" | "daemonsets" | "replicasets")
            && effect == Effect::Write
            && matches!(verb, "create" | "patch" | "update");
        if object.sub.is_some_and(|sub| INTO.contains(&sub)) || makes_runner {
            operation.delegates = Some(Delegation { reach: Reach::Anywhere, why: "a container of the cluster runs it".to_owned() });
        }
        Some(Reading { operations: vec![operation], reply: ReplyStyle::Kubernetes })
    }
}

/// `/api/v1/services/3` is many an API's own path: only what lies in a namespace or in a named group is surely Kubernetes'.
fn is_sure(object: &Object<'_>) -> bool {
    !object.group.is_empty() || object.namespace.is_some()
}

/// Kubernetes' own verb.
fn verb<'a>(call: &Call<'_>, object: &Object<'a>) -> &'a str {
    if let Some(sub) = object.sub.filter(|sub| INTO.contains(sub)) {
        return sub;
    }
    match call.head.method.as_str() {
        "GET" | "HEAD" if object.name.is_none() => "list",
        "GET" | "HEAD" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" if object.name.is_none() => "deletecollection",
        "DELETE" => "delete",
        _ => "other",
    }
}

/// `k8s:HOST/NAMESPACE/KIND/NAME`, below its namespace and its cluster.
fn resource(call: &Call<'_>, object: &Object<'_>) -> Resource {
    let cluster = format!("{}:{}", call.head.host, call.head.port);
    let mut line = Vec::new();
    let mut id = cluster.clone();
    if let Some(namespace) = object.namespace {
        id = format!("{cluster}/{namespace}");
        line.push(ResourceId::new("k8s", &id));
    }
    line.push(ResourceId::new("k8s", &cluster));
    let id = match object.name {
        Some(name) => format!("{id}/{}/{name}", object.kind),
        None => format!("{id}/{}", object.kind),
    };
    Resource { id: ResourceId::new("k8s", &id), lineage: Lineage::Known(vec![line]) }
}

fn judge(call: &Call<'_>, object: &Object<'_>) -> Option<Found> {
    let method = call.head.method.as_str();
    if call.head.headers.contains_key(http::header::UPGRADE) && !object.sub.is_some_and(|sub| INTO.contains(&sub)) {
        return None;
    }
    if let Some(sub) = object.sub.filter(|sub| INTO.contains(sub)) {
        return Some(into(call, sub));
    }
    if let Some(why) = http_rules::unreadable(call) {
        return Some((Effect::Opaque, format!("{method} with a body that cannot be read: {why}")));
    }
    if is_sure(object) && is_trial(call) {
        return Some((Effect::Read, "a dry run: the server says what it would do and does nothing".to_owned()));
    }
    let named = |verb: &str| format!("{verb} {}", safe(object.kind));
    Some(match method {
        "GET" | "HEAD" | "OPTIONS" => bodies::query_destroys(call.route.query().unwrap_or_default(), Reads::Yes, &Around::default())
            .or_else(|| bodies::destroys(call.content(), &Around::default()))
            .unwrap_or((Effect::Read, named("reads"))),
        "DELETE" if is_light(object) => (Effect::Write, format!("{}, which are made again", named("deletes"))),
        "DELETE" if object.name.is_none() => (Effect::Destroy, format!("deletes every one of the {}", safe(object.kind))),
        "DELETE" => (Effect::Destroy, named("deletes")),
        // Evicting a pod lets its owner start another; the server holds it back where a budget says so.
        "POST" if object.sub == Some("eviction") => (Effect::Write, "evicts a pod, which its owner starts again".to_owned()),
        // `may I delete pods?`
        "POST" if object.group.ends_with(".k8s.io") && object.kind.ends_with("reviews") => (Effect::Read, named("asks by")),
        "POST" if object.sub.is_none() && words::effect_of(object.kind) == Some(Effect::Destroy) => (Effect::Destroy, named("asks by")),
        "POST" => bodies::destroys(call.content(), &Around { makes: true, ..Around::default() }).unwrap_or((Effect::Write, named("creates"))),
        "PATCH" | "PUT" => changes(call, object).unwrap_or((Effect::Write, named("changes"))),
        _ => return None,
    })
}

/// The query and the options in the body both can say so; the server takes the query's alone where there is one.
fn is_trial(call: &Call<'_>) -> bool {
    let mut values = call.route.values("dryRun");
    match (values.next(), values.next()) {
        (Some("All"), None) => true,
        (None, None) => match (call.head.method.as_str(), call.content()) {
            ("DELETE", Content::Json(Value::Object(fields))) => {
                fields.get("dryRun").and_then(Value::as_array).is_some_and(|all| matches!(all.as_slice(), [Value::String(only)] if only == "All"))
            }
            _ => false,
        },
        _ => false,
    }
}

/// A command in a container is judged as a command line.
fn into(call: &Call<'_>, sub: &str) -> Found {
    let words: Vec<String> = call.route.values("command").map(str::to_owned).collect();
    if sub != "exec" || words.is_empty() {
        return (Effect::Opaque, format!("{} reaches into a container: what goes through is not read", safe(sub)));
    }
    // What a person or a program would type into it is not seen.
    let is_on = |name| call.route.values(name).any(|value| !matches!(value, "false" | "0"));
    let stays_open = is_on("stdin") || is_on("tty");
    let line: Vec<String> = words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
    match shell::judge(&line.join(" ")) {
        (Effect::Read | Effect::Write, why) if stays_open => (Effect::Opaque, format!("in a container it {why}, with an input that is not seen")),
        (effect, why) => (effect, format!("in a container it {why}")),
    }
}

/// What a patch or a replacement takes away.
fn changes(call: &Call<'_>, object: &Object<'_>) -> Option<Found> {
    let content = call.content();
    let named = object.name.into_iter().flat_map(words::split);
    let around = Around { words: std::iter::once(object.kind.to_owned()).chain(named).collect(), changes: true, ..Around::default() };
    if !matches!(content, Content::Json(_)) {
        // YAML and protobuf are not read, and a patch of JSON is what clients send.
        return Some((Effect::Opaque, "a change that is not JSON".to_owned()));
    }
    let removes_label = |path: &str| path.starts_with("/metadata/labels/") || path.starts_with("/metadata/annotations/");
    if let Content::Json(value) = content {
        // A JSON patch that takes labels and annotations away.
        if let Value::Array(steps) = value
            && !steps.is_empty()
            && steps.iter().all(|step| step.get("path").and_then(Value::as_str).is_some_and(removes_label))
        {
            return None;
        }
        if let Some(what) = taken_away(value, 0) {
            return Some((Effect::Destroy, format!("it takes {} away", safe(&what))));
        }
    }
    bodies::destroys(content, &around)
}

/// A null in a merge patch, or data that is put back empty.
fn taken_away(value: &Value, depth: usize) -> Option<String> {
    let fields: &Map<String, Value> = value.as_object()?;
    if depth > DEEPEST {
        return Some("something deeply hidden".to_owned());
    }
    fields.iter().find_map(|(name, value)| match value {
        _ if matches!(name.as_str(), "labels" | "annotations" | "status" | "managedFields" | "creationTimestamp") => None,
        Value::Null => (name != "creationTimestamp").then(|| name.clone()),
        Value::Object(inner) if inner.is_empty() && matches!(name.as_str(), "data" | "stringData" | "binaryData") => Some(name.clone()),
        Value::Object(_) => taken_away(value, depth + 1),
        _ => None,
    })
}
