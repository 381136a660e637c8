//! A body as text or data: its encodings taken off within bounds, its form recognised, or the reason why not.

mod cbor;
mod encoding;
mod json;
mod multipart;

use http::{HeaderMap, header};
use serde_json::Value;

use super::{Body, route};

pub(crate) use encoding::decode;
pub(crate) use json::{StrictJson, parse as parse_json};
pub(crate) use multipart::Part;

/// Most bytes that a body may decode to. Model requests with pictures reach some tens of MiB.
pub(crate) const LONGEST_DECODED: usize = 48 << 20;

/// Why a body cannot be read. Nothing of the body is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// More than the bound that [`super::wants`] gave.
    #[error("the body is longer than what is read to judge it")]
    TooLong,
    /// A content encoding that is not known, or too many of them.
    #[error("the content encoding is not one of gzip, deflate, br, zstd (at most two)")]
    Encoding,
    /// The encoded bytes are damaged.
    #[error("the body does not decode with its content encoding")]
    Damaged,
    /// More encoded bytes follow after the end.
    #[error("something follows after the encoded body's end")]
    Trailing,
    /// It decodes to more than [`LONGEST_DECODED`].
    #[error("the body decodes to more than {LONGEST_DECODED} bytes")]
    Bomb,
    /// A character set besides UTF-8.
    #[error("the body is not UTF-8")]
    Charset,
    /// JSON that strict parsers refuse, or that two parsers read differently.
    #[error("the body is not strict JSON: {0}")]
    Json(&'static str),
    /// A form that cannot be read in one way.
    #[error("the form cannot be read in one way")]
    Form,
    /// Two media types.
    #[error("there is more than one content type")]
    TwoTypes,
    /// A media type that carries instructions in a form that is not decoded.
    #[error("a body of this content type is not decoded")]
    Unknown,
}

/// A body understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    /// There is none.
    Empty,
    /// Strict JSON, whatever its content type says.
    Json(Value),
    /// `a=1&b=2`.
    Form(Vec<(String, String)>),
    /// multipart/form-data.
    Multipart(Vec<Part>),
    /// Other text.
    Text(String),
    /// Bytes that are stored, not obeyed.
    Data,
    /// Nobody can say what it is.
    Unreadable(Unreadable),
}

/// What the content type says, coarsely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No content type.
    None,
    /// `application/json`, `…+json`.
    Json,
    /// `application/graphql`.
    GraphQl,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`.
    Multipart,
    /// `text/…`, XML.
    Text,
    /// Pictures, archives, octet streams: what is stored and not obeyed.
    Data,
    /// `application/cbor`.
    Cbor,
    /// Anything else.
    Other,
    /// Not one content type but several, or one that is not ASCII.
    Broken,
}

/// A media type with what of its parameters matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Media {
    /// The kind.
    pub(crate) kind: Kind,
    /// `type/subtype`, lower case.
    pub(crate) essence: String,
    /// `boundary` of multipart.
    pub(crate) boundary: Option<String>,
    /// Whether the text is said to be in another set than UTF-8 or ASCII.
    pub(crate) foreign_charset: bool,
}

impl Media {
    /// From the head.
    #[must_use]
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut all = headers.get_all(header::CONTENT_TYPE).iter();
        let first = all.next();
        let broken = Self { kind: Kind::Broken, essence: String::new(), boundary: None, foreign_charset: false };
        match (first.map(|value| value.to_str()), all.next()) {
            (None, _) => Self { kind: Kind::None, ..broken },
            (Some(Ok(text)), None) => Self::parse(text),
            (Some(_), _) => broken,
        }
    }

    fn parse(text: &str) -> Self {
        let mut pieces = text.split(';');
        let essence = pieces.next().unwrap_or_default().trim().to_ascii_lowercase();
        let mut media = Self { kind: kind(&essence), essence, boundary: None, foreign_charset: false };
        for piece in pieces {
            let Some((name, value)) = piece.split_once('=') else { continue };
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "boundary" if media.boundary.is_some() => media.kind = Kind::Broken,
                "boundary" => media.boundary = Some(value.to_owned()),
                "charset" => media.foreign_charset |= !matches!(value.to_ascii_lowercase().as_str(), "utf-8" | "utf8" | "us-ascii" | "ascii" | ""),
                _ => {}
            }
        }
        // `application/json, text/plain` is two types to some and one odd type to others.
        if media.essence.contains(',') {
            media.kind = Kind::Broken;
        }
        media
    }
}

fn kind(essence: &str) -> Kind {
    let (family, name) = essence.split_once('/').unwrap_or((essence, ""));
    match (family, name) {
        ("application", "json" | "x-json" | "x-ndjson" | "ndjson" | "jsonl" | "json-rpc" | "jsonrequest" | "csp-report") | ("text", "json" | "x-json") => {
            Kind::Json
        }
        (_, name) if name.ends_with("+json") || name.starts_with("x-amz-json") => Kind::Json,
        ("application", "graphql") => Kind::GraphQl,
        ("application", "x-www-form-urlencoded") => Kind::Form,
        ("multipart", "form-data") => Kind::Multipart,
        ("application", "cbor") => Kind::Cbor,
        ("application", "xml" | "javascript" | "x-javascript" | "yaml" | "x-yaml" | "toml" | "sql" | "x-sh") | ("text", _) => Kind::Text,
        (_, name) if name.ends_with("+xml") || name.ends_with("+yaml") => Kind::Text,
        ("image" | "audio" | "video" | "font", _) => Kind::Data,
        (
            "application",
            "octet-stream" | "zip" | "gzip" | "x-gzip" | "x-tar" | "x-gtar" | "x-xz" | "x-bzip2" | "zstd" | "pdf" | "wasm" | "x-tgz" | "x-compressed-tar",
        ) => Kind::Data,
        ("", _) => Kind::None,
        _ => Kind::Other,
    }
}

/// Understands a whole, decoded body. What parses as JSON is JSON, whatever its type says: servers sniff too.
#[must_use]
pub(crate) fn understand(media: &Media, bytes: &[u8]) -> Content {
    let looks_like_json = looks_like_json(bytes);
    match media.kind {
        Kind::Broken => Content::Unreadable(Unreadable::TwoTypes),
        _ if media.foreign_charset && !bytes.is_ascii() => Content::Unreadable(Unreadable::Charset),
        // UTF-7 and UTF-16 are ASCII bytes too and mean other characters.
        _ if media.foreign_charset && looks_like_json => Content::Unreadable(Unreadable::Charset),
        Kind::Json => json::parse(bytes).map_or_else(|why| lines_of_json(media, bytes).unwrap_or(Content::Unreadable(why)), Content::Json),
        Kind::Form => form(bytes, looks_like_json),
        Kind::Cbor => cbor::parse(bytes).map_or_else(Content::Unreadable, Content::Json),
        Kind::Multipart => multipart::parse(media.boundary.as_deref(), bytes).map_or_else(Content::Unreadable, Content::Multipart),
        Kind::GraphQl | Kind::Text => sniffed(bytes, looks_like_json, text),
        Kind::Data => sniffed(bytes, looks_like_json, |_| Content::Data),
        Kind::None => sniffed(bytes, looks_like_json, |bytes| match text(bytes) {
            Content::Unreadable(_) => Content::Data,
            text => text,
        }),
        Kind::Other => sniffed(bytes, looks_like_json, |bytes| match text(bytes) {
            Content::Unreadable(_) => Content::Unreadable(Unreadable::Unknown),
            text => text,
        }),
    }
}

/// Understands the beginning of a body that goes on: only data may be as long as it likes.
#[must_use]
pub(crate) fn beginning(media: &Media, headers: &HeaderMap, body: Body<'_>) -> Content {
    let Body::TooLong { first } = body else { return Content::Unreadable(Unreadable::TooLong) };
    let encoded = headers.get_all(header::CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    match media.kind {
        Kind::Data if !encoded && !looks_like_json(first) => Content::Data,
        Kind::Multipart if !encoded && multipart::begins_with_file(media.boundary.as_deref(), first) => Content::Data,
        _ => Content::Unreadable(Unreadable::TooLong),
    }
}

fn looks_like_json(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    matches!(bytes.iter().find(|byte| !byte.is_ascii_whitespace()), Some(b'{' | b'['))
}

fn sniffed(bytes: &[u8], looks_like_json: bool, otherwise: impl Fn(&[u8]) -> Content) -> Content {
    if looks_like_json && let Ok(value) = json::parse(bytes) {
        return Content::Json(value);
    }
    otherwise(bytes)
}

fn text(bytes: &[u8]) -> Content {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Content::Text(text.trim_start_matches('\u{feff}').to_owned()),
        Ok(_) | Err(_) => Content::Unreadable(Unreadable::Charset),
    }
}

fn form(bytes: &[u8], looks_like_json: bool) -> Content {
    if looks_like_json {
        // curl's default type with a JSON body: a lenient server reads JSON, a strict one a form with one odd name.
        return json::parse(bytes).map_or(Content::Unreadable(Unreadable::Form), Content::Json);
    }
    match std::str::from_utf8(bytes).ok().and_then(|text| route::pairs(text.trim_end_matches(['\r', '\n']))) {
        Some(pairs) => Content::Form(pairs),
        None => Content::Unreadable(Unreadable::Form),
    }
}

/// SHA-256 in hexadecimal, as persisted queries name their documents.
#[must_use]
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Newline-delimited JSON, which bulk endpoints take under a JSON type: an array of its lines.
fn lines_of_json(media: &Media, bytes: &[u8]) -> Option<Content> {
    const MOST_LINES: usize = 100_000;
    let text = std::str::from_utf8(bytes).ok()?;
    let ndjson = media.essence.contains("ndjson") || media.essence.contains("jsonl") || text.contains('\n');
    if !ndjson {
        return None;
    }
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if lines.len() == MOST_LINES {
            return None;
        }
        lines.push(json::parse(line.as_bytes()).ok()?);
    }
    (lines.len() > 1).then_some(Content::Json(Value::Array(lines)))
}

#[cfg(test)]
mod tests;
