//! What HTTP itself says, where nothing more is known: methods, verbs in names, settings in bodies.

use agentbox_core::{Effect, Operation, Resource, ResourceId};
use http::Method;
use serde_json::Value;

use super::{
    BodyWant, Head,
    api::{Api, Reading},
    aws,
    bodies::{self, Around, Found, Reads},
    call::Call,
    content::{Content, Kind, Media},
    marks, paths,
    route::Route,
    rpc, words,
};

/// Most bytes of a body that are read where nothing more is known.
pub(crate) const LONGEST_BODY: usize = 8 << 20;

/// Enough of a body that is said to be data to see whether it is.
const SNIFFED: usize = 64 << 10;

/// Most parents of a path that a policy can name.
const DEEPEST: usize = 12;

/// The last API of the table: it recognises everything.
pub(crate) struct HttpRules;

impl Api for HttpRules {
    fn wants(&self, head: &Head<'_>, _route: &Route) -> Option<BodyWant> {
        let media = Media::of(head.headers);
        Some(BodyWant::UpTo(if media.kind == Kind::Data { SNIFFED } else { LONGEST_BODY }))
    }

    fn read(&self, call: &Call<'_>) -> Option<Reading> {
        Some(Reading::one(marks::of_path(judge(call), call)))
    }
}

/// The method table of the product.
#[must_use]
pub(crate) fn effect_of(method: &Method) -> Effect {
    match method.as_str() {
        "GET" | "HEAD" | "OPTIONS" => Effect::Read,
        "POST" | "PUT" | "PATCH" => Effect::Write,
        "DELETE" => Effect::Destroy,
        // WebDAV (RFC 4918, RFC 3253, RFC 5323) reads by these and writes by those.
        "PROPFIND" | "REPORT" | "SEARCH" | "QUERY" => Effect::Read,
        // OData's older word for PATCH, and RFC 3253's.
        "MERGE" => Effect::Write,
        "PROPPATCH" | "MKCOL" | "LOCK" | "UNLOCK" | "CHECKOUT" | "CHECKIN" => Effect::Write,
        // WebDAV's MOVE and COPY overwrite, CONNECT tunnels, TRACE echoes, and what a PURGE takes is the server's secret.
        _ => Effect::Opaque,
    }
}

/// `http.get`; a method of the agent's own invention is `http.other`.
pub(crate) fn action(method: &Method) -> &'static str {
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
    let (effect, why) = found(call);
    Operation::new(effect, action(method), resource(call), why)
}

/// What is known around the body: the words of the path, and whether something that stands is changed.
#[must_use]
pub(crate) fn around(call: &Call<'_>) -> Around {
    let mut words = paths::words(&call.route);
    let method = call.head.method.as_str();
    let last = call.route.last();
    let own = words::split(last);
    let above = words.len().checked_sub(own.len()).and_then(|until| words.get(..until)).unwrap_or_default();
    // A POST to a collection makes a new member, whose settings take nothing away; any other may change what stands.
    let says_new = own.last().is_some_and(|word| bodies::is_making(word));
    let makes = (says_new || own.last().is_some_and(|word| words::singular(word) != word)) && !paths::is_identifier(last);
    let steers = own.iter().any(|word| matches!(word.as_str(), "settings" | "configs" | "attributes" | "options" | "preferences" | "actions" | "rules"));
    let question = Question::of(&own, above).filter(|_| method == "POST");
    let asks = method == "POST" && (words::of_words(&own, &[]) == Some(Effect::Read) || question.is_some());
    let tells = method == "POST" && is_telling(&own);
    // `PUT /bucket?lifecycle`, as stores that speak like S3 have it.
    if call.route.values("lifecycle").next().is_some() {
        words.push("lifecycle".to_owned());
    }
    Around {
        changes: matches!(method, "PUT" | "PATCH" | "MERGE") || (method == "POST" && !asks && (!makes || steers)),
        makes: method == "POST" && says_new,
        words,
        about: if aws::is_guard(call.head) { vec!["monitoring".to_owned()] } else { paths::about(&call.route) },
        asks: question.is_some(),
        tells,
        outermost: tells || question == Some(Question::Seeks),
        // `logging.googleapis.com`, `backup.example.com`.
        guarded: words::split(call.head.host.as_str().split('.').next().unwrap_or_default()).iter().any(|word| words::is_guard(word)),
    }
}

/// What a path's end asks: what would be (`check`, `evaluate`), or what there is (`search`). No order answers to it; below `query`
/// there may be any statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Whether something would be right: what is named in it is not done.
    Weighs,
    /// Which there are: what stands in its filters is sought.
    Seeks,
}

impl Question {
    fn of(own: &[String], above: &[String]) -> Option<Self> {
        const WEIGHING: &[&str] = &["check", "estimate", "evaluate", "explain", "preview", "validate", "verify"];
        const SEEKING: &[&str] = &["count", "find", "lookup", "search"];
        if own.len() > 2 || own.iter().any(|word| words::destroys(word)) {
            return None;
        }
        let has = |wanted: &[&str]| own.iter().any(|word| wanted.contains(&word.as_str()));
        // `backups/list` lists them; a list alone is a thing.
        let lists = || matches!(own, [list] if list == "list") && above.last().is_some_and(|above| words::singular(above) != above);
        // `search/metadata` searches in the metadata; `search/alerts` are something else.
        let is_kind = || matches!(own, [kind] if matches!(kind.as_str(), "advanced" | "fulltext" | "metadata" | "query" | "smart" | "text"));
        let within = || is_kind() && matches!(above.last().map(String::as_str), Some("search" | "lookup"));
        if has(WEIGHING) { Some(Self::Weighs) } else { (has(SEEKING) || lists() || within()).then_some(Self::Seeks) }
    }
}

/// Whether what is sent there tells what has happened: `{"event": "delete"}` is nobody's order.
fn is_telling(own: &[String]) -> bool {
    const TELLING: &[&str] = &["analytics", "beacon", "capture", "envelope", "telemetry", "track"];
    matches!(own, [only] if TELLING.contains(&only.as_str()))
}

/// What the request does, by all that is told in it.
#[must_use]
pub(crate) fn found(call: &Call<'_>) -> Found {
    said(call).unwrap_or_else(|| by_method(call.head.method))
}

/// What the method alone says.
#[must_use]
pub(crate) fn by_method(method: &Method) -> Found {
    let effect = effect_of(method);
    let why = match effect {
        Effect::Read => format!("{method} reads"),
        Effect::Write => format!("{method} writes; nothing more is known of this API"),
        Effect::Destroy => format!("{method} deletes"),
        Effect::Opaque => "of this method nothing is known".to_owned(),
    };
    (effect, why)
}

/// What path, query and body say beyond the method, if they do.
#[must_use]
pub(crate) fn said(call: &Call<'_>) -> Option<Found> {
    let method = call.head.method;
    if call.head.headers.contains_key(http::header::UPGRADE) {
        return Some((Effect::Opaque, "it asks for another protocol on the same connection".to_owned()));
    }
    let unreadable = || unreadable(call).map(|why| (Effect::Opaque, format!("{method} with a body that cannot be read: {why}")));
    match effect_of(method) {
        // RFC 9110 gives a body here no meaning, but servers read some (search): what can be read is judged, what cannot is not.
        Effect::Read => unreadable().or_else(|| read_that_destroys(call)),
        Effect::Write => unreadable()
            .or_else(|| rpc::named(call))
            .or_else(|| paths::called(call))
            .or_else(|| says_destroying(call))
            .or_else(|| replaces_by_nothing(call))
            .or_else(|| puts_a_snapshot_back(call))
            .or_else(|| shrinks_to_nothing(call))
            .or_else(|| dns(call)),
        Effect::Destroy if aws::removes_tags(call) => Some((Effect::Write, "it removes tags".to_owned())),
        Effect::Destroy => paths::deletes(call),
        Effect::Opaque => {
            let overwrites_nothing = call.header_values("overwrite").all(|value| value == Some("F")) && call.head.headers.contains_key("overwrite");
            (matches!(method.as_str(), "MOVE" | "COPY") && overwrites_nothing).then(|| (Effect::Write, format!("{method} that overwrites nothing")))
        }
    }
}

/// A GET is believed to read unless its query, or its path as an RPC's name, says otherwise.
fn read_that_destroys(call: &Call<'_>) -> Option<Found> {
    let is_rpc =
        !call.has_no_body() || ["Action", "Command", "command", "method"].iter().any(|name| call.route.values(name).next().is_some()) || paths::executes(call);
    let by_name = || rpc::named(call).or_else(|| paths::called(call)).filter(|(effect, _)| *effect == Effect::Destroy);
    let by_name = if is_rpc { by_name() } else { None };
    let around = Around { words: paths::words(&call.route), ..Around::default() };
    by_name
        .or_else(|| paths::page_that_deletes(call))
        .or_else(|| bodies::query_destroys(call.route.query()?, Reads::Yes, &around))
        .or_else(|| if call.has_no_body() { None } else { bodies::destroys(call.content(), &around).filter(|(effect, _)| *effect == Effect::Destroy) })
}

fn says_destroying(call: &Call<'_>) -> Option<Found> {
    let around = around(call);
    bodies::query_destroys(call.route.query().unwrap_or_default(), Reads::No, &around)
        .or_else(|| bodies::destroys(call.content(), &around))
        .or_else(|| argument(call, &around))
}

/// Where the body is a file, its arguments travel in a header as JSON (`Dropbox-API-Arg`).
fn argument(call: &Call<'_>, around: &Around) -> Option<Found> {
    let text = call.header_values("dropbox-api-arg").flatten().next()?;
    bodies::destroys(&Content::Json(serde_json::from_str(text).ok()?), around)
}

/// A PUT that leaves nothing: null, an empty list, or an object that is empty but for its name.
fn replaces_by_nothing(call: &Call<'_>) -> Option<Found> {
    /// Fields that say which thing it is, not what is in it.
    const NAMES: &[&str] = &["id", "key", "name", "kind", "apiVersion", "metadata", "type", "uid", "version", "revision", "rev"];
    let is_empty = |value: &Value| match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    let holds_nothing = |fields: &serde_json::Map<String, Value>| {
        let (names, rest): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| NAMES.contains(&name.as_str()));
        !names.is_empty() && !rest.is_empty() && rest.iter().all(|(_, value)| is_empty(value))
    };
    let nothing = *call.head.method == Method::PUT
        && match call.content() {
            // `{}` is what many clients send for "all defaults", so it says nothing.
            Content::Json(Value::Null) => true,
            Content::Json(Value::Array(items)) => items.is_empty(),
            Content::Json(Value::Object(fields)) => {
                let records = fields.get("records").or_else(|| fields.get("items")).and_then(Value::as_array);
                holds_nothing(fields) || records.is_some_and(|items| items.iter().filter_map(Value::as_object).any(holds_nothing))
            }
            Content::Text(text) => text.trim() == "null",
            _ => false,
        };
    nothing.then(|| (Effect::Destroy, "PUT replaces what is there by nothing".to_owned()))
}

/// Data that is put where snapshots are taken from: Consul's `PUT /v1/snapshot`, Vault's `POST /v1/sys/storage/raft/snapshot-force`.
fn puts_a_snapshot_back(call: &Call<'_>) -> Option<Found> {
    let takes = matches!(call.route.last(), "snapshot" | "snapshot-force") && !call.has_no_body();
    let is_data = matches!(call.content(), Content::Data | Content::Unreadable(_)) || call.media.essence == "application/octet-stream";
    (takes && is_data).then(|| (Effect::Destroy, "it puts a snapshot in the place of what is there".to_owned()))
}

/// `…/instanceGroupManagers/m/resize?size=0`: the machines of a group end.
fn shrinks_to_nothing(call: &Call<'_>) -> Option<Found> {
    let last = words::split(call.route.last());
    // `pools/3:scale` by a PUT.
    let resizes = [last.first(), last.last()].into_iter().flatten().any(|word| matches!(word.as_str(), "resize" | "set" | "scale"));
    let is_group = call.route.segments().any(|segment| words::split(segment).iter().any(|word| matches!(words::singular(word), "pool" | "node" | "manager")));
    let is_size = |name: &str| matches!(name, "size" | "newSize" | "targetSize" | "count");
    let in_body =
        || matches!(call.content(), Content::Json(Value::Object(fields)) if fields.iter().any(|(name, value)| is_size(name) && value.as_f64() == Some(0.0)));
    let to_nothing = resizes && is_group && (call.route.query()?.iter().any(|(name, value)| is_size(name) && value == "0") || in_body());
    to_nothing.then(|| (Effect::Destroy, "it sets the number of machines to zero".to_owned()))
}

/// A record of the DNS that is put or patched: the old one is gone, and with it whoever it led to.
fn dns(call: &Call<'_>) -> Option<Found> {
    // `…/rrsets/www/A/actions/set_records`, `…/rrset` with `<Action>UPSERT`.
    let sets = words::split(call.route.last()).first().is_some_and(|first| matches!(first.as_str(), "set" | "update" | "change" | "replace" | "upsert"))
        || matches!(call.content(), Content::Text(text) if text.contains("<Action>UPSERT<"));
    let changes = matches!(call.head.method.as_str(), "PUT" | "PATCH") || sets;
    let is_record =
        call.route.segments().any(|segment| matches!(segment, "dns_records" | "rrset" | "rrsets" | "resourceRecordSets" | "dns-records" | "recordsets"))
            || (call.route.segments().any(|segment| matches!(segment, "dns" | "zones" | "domains" | "dnsZones"))
                && call.route.segments().any(|segment| matches!(segment, "records" | "A" | "AAAA" | "CNAME" | "MX" | "TXT" | "NS")));
    // PowerDNS: the records stand in the zone's own document.
    let in_body = || {
        let is_zone = call.route.segments().any(|segment| matches!(segment, "zones" | "domains" | "dns" | "livedns"));
        is_zone
            && matches!(call.content(), Content::Json(Value::Object(fields)) if fields.keys().any(|name| matches!(name.as_str(), "rrsets" | "rrset_values" | "resource_record_sets")))
    };
    (changes && (is_record || in_body())).then(|| (Effect::Destroy, "it overwrites a DNS record".to_owned()))
}

/// Why the body cannot be read, if it cannot.
#[must_use]
pub(crate) fn unreadable(call: &Call<'_>) -> Option<String> {
    // gRPC is a POST and has rules of its own; under another method it is not gRPC.
    if call.media.essence.starts_with("application/grpc") {
        return Some("gRPC under another method than POST".to_owned());
    }
    match call.content() {
        Content::Unreadable(why) => Some(why.to_string()),
        Content::Empty | Content::Json(_) | Content::Form(_) | Content::Multipart(_) | Content::Text(_) | Content::Data => None,
    }
}

/// A piece of the request for a person's eyes.
pub(crate) fn safe(text: &str) -> String {
    agentbox_core::safe::line(text, 80)
}
