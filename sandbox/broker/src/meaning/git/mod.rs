//! git over smart HTTP, and its large files: what is fetched, which refs a push would make, move or delete.

use agentbox_core::{Effect, Lineage, Operation, Resource, ResourceId};
use http::Method;
use serde_json::Value;

use super::{
    Body, BodyWant, Head,
    api::{Api, Reading},
    call::Call,
    content::Content,
    http_rules,
    refusal::{GitAnswer, ReplyStyle},
    route::Route,
};

/// Enough for the commands of a push; the pack behind them is not read.
const COMMANDS: usize = 64 << 10;

/// What of a fetch is read: git itself puts no more into one request (`http.postBuffer`).
const FETCH: usize = 1 << 20;

/// Most refs of one push that are listed.
const MOST_REFS: usize = 128;

/// Longest pkt-line (git's protocol-common documentation).
const LONGEST_LINE: usize = 65_520;

/// git's smart HTTP.
pub(crate) struct Git;

enum Step {
    Advertisement(Service),
    UploadPack,
    ReceivePack,
    LargeFiles,
}

enum Service {
    Upload,
    Receive,
}

fn step(head: &Head<'_>, route: &Route) -> Option<Step> {
    // Reading is claimed by shape on any host, so the shape must be exact.
    if !route.is_plain() {
        return None;
    }
    let content_type = head.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if route.ends_with(&["info", "refs"]) && *head.method == Method::GET {
        let services: Vec<&str> = route.values("service").collect();
        return match services.as_slice() {
            ["git-upload-pack"] => Some(Step::Advertisement(Service::Upload)),
            ["git-receive-pack"] => Some(Step::Advertisement(Service::Receive)),
            _ => None,
        };
    }
    if *head.method != Method::POST {
        return None;
    }
    match route.last() {
        "git-upload-pack" if content_type == "application/x-git-upload-pack-request" => Some(Step::UploadPack),
        "git-receive-pack" if content_type == "application/x-git-receive-pack-request" => Some(Step::ReceivePack),
        "batch" if route.ends_with(&["info", "lfs", "objects", "batch"]) && content_type.starts_with("application/vnd.git-lfs+json") => Some(Step::LargeFiles),
        _ => None,
    }
}

impl Api for Git {
    fn wants(&self, head: &Head<'_>, route: &Route) -> Option<BodyWant> {
        Some(match step(head, route)? {
            Step::Advertisement(_) => BodyWant::Nothing,
            Step::UploadPack => BodyWant::UpTo(FETCH),
            Step::ReceivePack => BodyWant::UpTo(COMMANDS),
            Step::LargeFiles => BodyWant::UpTo(http_rules::LONGEST_BODY),
        })
    }

    fn read(&self, call: &Call<'_>) -> Option<Reading> {
        let step = step(call.head, &call.route)?;
        let read = |action: &str, why: &str| Operation::new(Effect::Read, action, repository(call), why);
        let one = |operation: Operation, answer: GitAnswer| Some(Reading { operations: vec![operation], reply: ReplyStyle::Git(answer) });
        match step {
            Step::Advertisement(Service::Upload) => one(read("git.refs", "lists the refs"), GitAnswer::UploadPackAdvertisement),
            Step::Advertisement(Service::Receive) => one(read("git.refs", "lists the refs before a push"), GitAnswer::ReceivePackAdvertisement),
            // A server that looks at neither the path's end nor the content type would take the body for an order of its own.
            Step::UploadPack if !asks_for_objects(call) => None,
            Step::UploadPack => one(read("git.fetch", "fetches"), GitAnswer::UploadPackResult),
            Step::ReceivePack => Some(push(call)),
            Step::LargeFiles => Some(Reading::one(large_files(call))),
        }
    }
}

/// `git:host/owner/name`, without `.git` and the service's path.
fn repository_path(call: &Call<'_>) -> String {
    let mut segments: Vec<&str> = call.route.segments().collect();
    match segments.as_slice() {
        [.., "info", "refs"] => segments.truncate(segments.len() - 2),
        [.., "info", "lfs", "objects", "batch"] => segments.truncate(segments.len() - 4),
        _ => segments.truncate(segments.len().saturating_sub(1)),
    }
    let path = segments.join("/");
    let port = if call.head.port == 443 { String::new() } else { format!(":{}", call.head.port) };
    format!("{}{port}/{}", call.head.host, path.strip_suffix(".git").unwrap_or(&path))
}

fn repository(call: &Call<'_>) -> Resource {
    Resource::rooted(ResourceId::new("git", &repository_path(call)))
}

fn a_ref(call: &Call<'_>, name: &str) -> Resource {
    let path = repository_path(call);
    let name = name.replace('%', "%25");
    Resource { id: ResourceId::new("git", &format!("{path}/{name}")), lineage: Lineage::Known(vec![vec![ResourceId::new("git", &path)]]) }
}

fn push(call: &Call<'_>) -> Reading {
    let encoded = is_encoded(call);
    let bytes = match call.raw() {
        Body::Absent => Some(&[] as &[u8]),
        Body::TooLong { .. } if encoded => None,
        Body::Whole(_) if encoded => call.bytes().ok(),
        Body::Whole(bytes) | Body::TooLong { first: bytes } => Some(bytes),
    };
    let opaque = |why: &str| Operation::new(Effect::Opaque, "git.push", repository(call), why);
    let (commands, side_band) = match bytes.map(commands) {
        Some(Ok(found)) => found,
        Some(Err(why)) => return Reading { operations: vec![opaque(why)], reply: ReplyStyle::Git(GitAnswer::ReceivePackResult) },
        None => return Reading { operations: vec![opaque("the push is encoded and cannot be read")], reply: ReplyStyle::Git(GitAnswer::ReceivePackResult) },
    };
    let operations = commands.iter().map(|command| {
        let resource = a_ref(call, &command.name);
        if is_zero(&command.new) {
            Operation::new(Effect::Destroy, "git.push.delete", resource, "deletes a ref of the remote repository")
        } else if is_zero(&command.old) {
            Operation::new(Effect::Write, "git.push", resource, "makes a new ref")
        } else {
            Operation::new(Effect::Write, "git.push", resource, "moves a ref; whether forward or to another history the request does not tell")
        }
    });
    let mut operations: Vec<Operation> = operations.collect();
    if operations.is_empty() {
        // git probes with an empty request whether it may authenticate.
        operations.push(Operation::new(Effect::Read, "git.push", repository(call), "an empty push, by which git tries its credentials"));
    }
    let answer = if side_band { GitAnswer::ReceivePackSideBand } else { GitAnswer::ReceivePackResult };
    Reading { operations, reply: ReplyStyle::Git(answer) }
}

/// Whether the body is what git sends to fetch: packet lines, of which the first wants an object or names a command of protocol 2.
fn asks_for_objects(call: &Call<'_>) -> bool {
    let (bytes, is_whole) = match call.raw() {
        Body::Absent => return true,
        Body::TooLong { first } if !is_encoded(call) => (first, false),
        Body::TooLong { .. } => return false,
        Body::Whole(_) => match call.bytes() {
            Ok(bytes) => (bytes, true),
            Err(_) => return false,
        },
    };
    let mut rest = bytes;
    let mut is_first = true;
    while !rest.is_empty() {
        let Some((digits, after)) = rest.split_at_checked(4) else { return !is_whole };
        let Some(length) =
            std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit())).and_then(|text| usize::from_str_radix(text, 16).ok())
        else {
            return false;
        };
        // Flush, delimiter and end of a response are lines without content.
        if length < 4 {
            rest = after;
            continue;
        }
        let Some((line, next)) = after.split_at_checked(length - 4) else { return !is_whole };
        if is_first && !(line.starts_with(b"want ") || line.starts_with(b"command=")) {
            return false;
        }
        is_first = false;
        rest = next;
    }
    true
}

fn is_encoded(call: &Call<'_>) -> bool {
    call.head.headers.get(http::header::CONTENT_ENCODING).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

#[derive(Debug, PartialEq, Eq)]
struct Command {
    old: String,
    new: String,
    name: String,
}

fn is_zero(id: &str) -> bool {
    id.bytes().all(|byte| byte == b'0')
}

/// The commands up to the first flush packet, and whether the client takes a side band (gitprotocol-pack, "Reference Update Request").
fn commands(bytes: &[u8]) -> Result<(Vec<Command>, bool), &'static str> {
    const CUT: &str = "the push's commands go on beyond what is read";
    let mut rest = bytes;
    let mut found = Vec::new();
    let mut side_band = false;
    loop {
        let (digits, after) = rest.split_at_checked(4).ok_or(if bytes.is_empty() { "the push has no body" } else { CUT })?;
        let length = std::str::from_utf8(digits)
            .ok()
            .filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|text| usize::from_str_radix(text, 16).ok())
            .ok_or("the push is not in pkt-lines")?;
        if length == 0 {
            return Ok((found, side_band));
        }
        if !(4..=LONGEST_LINE).contains(&length) {
            return Err("the push is not in pkt-lines");
        }
        let (line, next) = after.split_at_checked(length - 4).ok_or(CUT)?;
        rest = next;
        let text = std::str::from_utf8(line).map_err(|_| "a ref of the push is not UTF-8")?.trim_end_matches('\n');
        let (text, capabilities) = text.split_once('\0').unwrap_or((text, ""));
        side_band |= capabilities.split(' ').any(|capability| capability == "side-band-64k");
        if text.starts_with("shallow ") {
            continue;
        }
        let mut words = text.splitn(3, ' ');
        let (Some(old), Some(new), Some(name)) = (words.next(), words.next(), words.next()) else {
            // A signed push (`push-cert`) wraps its commands in a certificate.
            return Err("the push is signed or in a form that is not decoded");
        };
        let is_id = |id: &str| matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id(old) || !is_id(new) || name.is_empty() {
            return Err("a command of the push cannot be read");
        }
        if found.len() == MOST_REFS {
            return Err("the push has more refs than are judged");
        }
        found.push(Command { old: old.to_owned(), new: new.to_owned(), name: name.to_owned() });
    }
}

fn large_files(call: &Call<'_>) -> Operation {
    let make = |effect, action: &str, why: &str| Operation::new(effect, action, repository(call), why);
    let operation = match call.content() {
        Content::Json(Value::Object(object)) => object.get("operation").and_then(Value::as_str),
        _ => None,
    };
    match operation {
        Some("download") => make(Effect::Read, "git.lfs.download", "asks where large files lie"),
        Some("upload") => make(Effect::Write, "git.lfs.upload", "asks where to put large files"),
        Some(_) | None => make(Effect::Opaque, "git.lfs", "neither an upload nor a download of large files"),
    }
}

#[cfg(test)]
mod tests;
