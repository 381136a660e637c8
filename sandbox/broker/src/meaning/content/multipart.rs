//! multipart/form-data, strictly: what two parsers could cut differently is no form.

use super::Unreadable;

/// Most parts of one form.
const MOST_PARTS: usize = 256;

/// Longest head of a part, in bytes.
const LONGEST_HEAD: usize = 8 * 1024;

/// Longest boundary (RFC 2046, 5.1.1).
const LONGEST_BOUNDARY: usize = 70;

/// One part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its field's name.
    pub(crate) name: String,
    /// Whether it is a file.
    pub(crate) is_file: bool,
    /// Its bytes, for fields; files are data and are not kept.
    pub(crate) text: Option<String>,
}

/// Takes a form apart.
///
/// # Errors
/// [`Unreadable::Form`] for whatever a strict parser would not take.
pub(crate) fn parse(boundary: Option<&str>, bytes: &[u8]) -> Result<Vec<Part>, Unreadable> {
    let opening = opening(boundary)?;
    let delimiter = [b"\r\n", opening.as_slice()].concat();
    let mut rest = bytes.strip_prefix(opening.as_slice()).ok_or(Unreadable::Form)?;
    let mut parts = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            let after = rest.get(2..).unwrap_or_default();
            return if after.iter().all(u8::is_ascii_whitespace) && !parts.is_empty() { Ok(parts) } else { Err(Unreadable::Form) };
        }
        if parts.len() == MOST_PARTS {
            return Err(Unreadable::Form);
        }
        rest = rest.strip_prefix(b"\r\n").ok_or(Unreadable::Form)?;
        let (mut part, body) = head(rest)?;
        let end = find(body, &delimiter).ok_or(Unreadable::Form)?;
        let (content, after) = body.split_at_checked(end).ok_or(Unreadable::Form)?;
        if !part.is_file {
            part.text = Some(std::str::from_utf8(content).map_err(|_| Unreadable::Charset)?.to_owned());
        }
        parts.push(part);
        rest = after.get(delimiter.len()..).ok_or(Unreadable::Form)?;
    }
}

/// Whether a form that goes on beyond what was read begins with a file: an upload.
#[must_use]
pub(crate) fn begins_with_file(boundary: Option<&str>, first: &[u8]) -> bool {
    let begin = || {
        let rest = first.strip_prefix(opening(boundary).ok()?.as_slice())?.strip_prefix(b"\r\n")?;
        head(rest).ok().map(|(part, _)| part.is_file && part.name != "operations")
    };
    begin().unwrap_or(false)
}

fn opening(boundary: Option<&str>) -> Result<Vec<u8>, Unreadable> {
    let boundary =
        boundary.filter(|b| !b.is_empty() && b.len() <= LONGEST_BOUNDARY && b.bytes().all(|b| b.is_ascii_graphic() || b == b' ')).ok_or(Unreadable::Form)?;
    Ok([b"--", boundary.as_bytes()].concat())
}

/// A part's head and what follows it.
fn head(bytes: &[u8]) -> Result<(Part, &[u8]), Unreadable> {
    let window = bytes.get(..bytes.len().min(LONGEST_HEAD)).unwrap_or_default();
    let end = find(window, b"\r\n\r\n").ok_or(Unreadable::Form)?;
    let text = std::str::from_utf8(window.get(..end).unwrap_or_default()).map_err(|_| Unreadable::Charset)?;
    let mut name = None;
    let mut is_file = false;
    for line in text.split("\r\n") {
        let (header, value) = line.split_once(':').ok_or(Unreadable::Form)?;
        match header.to_ascii_lowercase().as_str() {
            "content-disposition" => {
                if name.is_some() {
                    return Err(Unreadable::Form);
                }
                (name, is_file) = disposition(value)?;
            }
            "content-transfer-encoding" if !matches!(value.trim().to_ascii_lowercase().as_str(), "binary" | "8bit" | "7bit") => return Err(Unreadable::Form),
            "content-type" if value.to_ascii_lowercase().contains("charset") && !value.to_ascii_lowercase().contains("utf-8") => {
                return Err(Unreadable::Charset);
            }
            _ => {}
        }
    }
    let name = name.ok_or(Unreadable::Form)?;
    let body = bytes.get(end + 4..).unwrap_or_default();
    // An empty body puts the delimiter's line break right after the head's.
    Ok((Part { name, is_file, text: None }, body))
}

/// `form-data; name="a"; filename="b"`: the name, and whether there is a file name.
fn disposition(value: &str) -> Result<(Option<String>, bool), Unreadable> {
    let mut pieces = quoted_pieces(value)?.into_iter();
    if pieces.next().is_none_or(|kind| !kind.trim().eq_ignore_ascii_case("form-data")) {
        return Err(Unreadable::Form);
    }
    let (mut name, mut is_file) = (None, false);
    for piece in pieces {
        let (key, value) = piece.split_once('=').ok_or(Unreadable::Form)?;
        match key.trim().to_ascii_lowercase().as_str() {
            "name" if name.is_some() => return Err(Unreadable::Form),
            "name" => name = Some(value.trim().trim_matches('"').to_owned()),
            "filename" | "filename*" => is_file = true,
            // `name*` would name the part a second time.
            _ => return Err(Unreadable::Form),
        }
    }
    Ok((name, is_file))
}

/// Splits at `;` outside quotes; a backslash inside quotes is read in two ways and refused.
fn quoted_pieces(value: &str) -> Result<Vec<String>, Unreadable> {
    let mut pieces = vec![String::new()];
    let mut quoted = false;
    for c in value.chars() {
        match c {
            '\\' => return Err(Unreadable::Form),
            ';' if !quoted => pieces.push(String::new()),
            c => {
                quoted ^= c == '"';
                if let Some(last) = pieces.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    if quoted { Err(Unreadable::Form) } else { Ok(pieces) }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let first = *what.first()?;
    let mut from = 0;
    // Jumps from one first byte to the next: boundaries begin with a carriage return, which is rare.
    while let Some(step) = bytes.get(from..)?.iter().position(|byte| *byte == first) {
        let at = from + step;
        if bytes.get(at..)?.starts_with(what) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}
