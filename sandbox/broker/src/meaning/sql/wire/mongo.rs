//! MongoDB's messages: `OP_MSG` with all its sections, compressed ones, and the old ones; and BSON, strictly.

use std::io::Read as _;

use agentbox_core::{Effect, Operation, Resource, ResourceId};

use super::{
    super::{
        UNCLEAR,
        mongo::{self, Value},
    },
    Malformed, little, take, take_text,
};

/// Longest message; the server's own bound (maxMessageSizeBytes).
const LONGEST: usize = 48_000_000;

/// How deep a document may lie in documents; the server's own bound is 200.
const DEEPEST: usize = 200;

/// Most values of one message.
const MOST_VALUES: usize = 1 << 20;

const COMPRESSED: u64 = 2012;
const MESSAGE: u64 = 2013;
const QUERY: u64 = 2004;

/// Judges one message without its head; and how it is shown to people.
pub(in super::super) fn message(kind: u64, body: &[u8]) -> (Vec<Operation>, String) {
    let (mut found, mut shown) = (Vec::new(), String::new());
    if let Err(why) = one(kind, body, &mut found, &mut shown) {
        found.push(Operation::new(Effect::Opaque, UNCLEAR, Resource::unplaced(ResourceId::new("mongodb", "database")), why.to_string()));
    }
    (found, shown)
}

/// Judges every message of `bytes`.
pub(in super::super) fn judge(bytes: &[u8]) -> Vec<Operation> {
    let mut found = Vec::new();
    if let Err(why) = messages(bytes, &mut found) {
        found.push(Operation::new(Effect::Opaque, UNCLEAR, Resource::unplaced(ResourceId::new("mongodb", "database")), why.to_string()));
    }
    found
}

fn messages(bytes: &[u8], found: &mut Vec<Operation>) -> Result<(), Malformed> {
    let mut rest = bytes;
    // Each turn takes at least sixteen bytes.
    while !rest.is_empty() {
        let size = super::length(little(rest.get(..4).ok_or(Malformed("a message ends too soon"))?))?;
        if size > LONGEST {
            return Err(Malformed("a message is longer than a server takes"));
        }
        let mut message = take(&mut rest, size)?;
        let head = take(&mut message, 16)?;
        let kind = little(head.get(12..).unwrap_or_default());
        one(kind, message, found, &mut String::new())?;
    }
    Ok(())
}

fn one(kind: u64, mut body: &[u8], found: &mut Vec<Operation>, shown: &mut String) -> Result<(), Malformed> {
    if kind != COMPRESSED {
        return plain(kind, body, found, shown);
    }
    let original = little(take(&mut body, 4)?);
    let size = super::length(little(take(&mut body, 4)?))?;
    let how = take(&mut body, 1)?.first().copied().unwrap_or(0);
    if size > LONGEST || original == COMPRESSED {
        return Err(Malformed("a compressed message cannot be read"));
    }
    let limit = size as u64 + 1;
    let mut inner = Vec::new();
    let opened = match how {
        0 => body.take(limit).read_to_end(&mut inner),
        2 => flate2::read::ZlibDecoder::new(body).take(limit).read_to_end(&mut inner),
        3 => ruzstd::decoding::StreamingDecoder::new(body).map_err(|_| Malformed("a compressed message cannot be read"))?.take(limit).read_to_end(&mut inner),
        _ => return Err(Malformed("the compression is not read")),
    };
    if opened.is_err() || inner.len() != size {
        return Err(Malformed("a compressed message cannot be read"));
    }
    plain(original, &inner, found, shown)
}

fn plain(kind: u64, mut body: &[u8], found: &mut Vec<Operation>, shown: &mut String) -> Result<(), Malformed> {
    let here = || Resource::unplaced(ResourceId::new("mongodb", "database"));
    let mut count = 0;
    match kind {
        MESSAGE => {
            let flags = little(take(&mut body, 4)?);
            if flags & 1 == 1 {
                // The checksum, which the server checks.
                body = body.get(..body.len().saturating_sub(4)).unwrap_or_default();
            }
            // Bits up to 15 that are not known must be refused.
            if flags & 0xfffc != 0 {
                return Err(Malformed("a message has flags that are not known"));
            }
            let mut command = None;
            let mut lists = Vec::new();
            // Each turn takes at least five bytes.
            while !body.is_empty() {
                match take(&mut body, 1)? {
                    [0] if command.is_none() => command = Some(document(&mut body, 0, &mut count)?),
                    [1] => {
                        let size = super::length(little(take(&mut body, 4)?))?;
                        let mut section = take(&mut body, size.checked_sub(4).ok_or(Malformed("a length is too short"))?)?;
                        let name = String::from_utf8_lossy(take_text(&mut section)?).into_owned();
                        let mut items = Vec::new();
                        while !section.is_empty() {
                            items.push(document(&mut section, 0, &mut count)?);
                        }
                        lists.push((name, Value::Array(items)));
                    }
                    _ => return Err(Malformed("a section is not known")),
                }
            }
            let Some(Value::Document(mut fields)) = command else { return Err(Malformed("a message has no command")) };
            for (name, list) in lists {
                if fields.iter().any(|(known, _)| *known == name) {
                    return Err(Malformed("a field is there twice"));
                }
                fields.push((name, list));
            }
            found.extend(command_of(fields, shown)?);
        }
        QUERY => {
            take(&mut body, 4)?;
            let space = String::from_utf8_lossy(take_text(&mut body)?).into_owned();
            take(&mut body, 8)?;
            let query = document(&mut body, 0, &mut count)?;
            match space.strip_suffix(".$cmd") {
                Some(database) => {
                    let Value::Document(mut fields) = query else { return Err(Malformed("a message has no command")) };
                    fields.push(("$db".to_owned(), Value::Text(database.to_owned())));
                    found.extend(command_of(fields, shown)?);
                }
                // Commands of old servers that look like collections (`$cmd.sys.unlock`).
                None if space.contains(".$cmd") => return Err(Malformed("a command of old servers")),
                None => found.push(Operation::new(Effect::Read, "mongodb.find", here(), "reads")),
            }
        }
        2001 => found.push(Operation::new(Effect::Opaque, "mongodb.update", here(), "an update in the old form")),
        2002 => found.push(Operation::new(Effect::Write, "mongodb.insert", here(), "inserts")),
        2005 => found.push(Operation::new(Effect::Read, "mongodb.getMore", here(), "reads on")),
        2006 => found.push(Operation::new(Effect::Destroy, "mongodb.delete", here(), "deletes documents")),
        2007 => found.push(Operation::new(Effect::Write, "mongodb.killCursors", here(), "closes cursors")),
        _ => return Err(Malformed("the kind of message is not known")),
    }
    Ok(())
}

/// The server takes the first field for the command's name, whatever it is.
fn command_of(fields: Vec<(String, Value)>, shown: &mut String) -> Result<Vec<Operation>, Malformed> {
    if fields.first().is_some_and(|(name, _)| name.starts_with('$') && name != "$db") {
        return Err(Malformed("a command begins with what is none"));
    }
    let command = Value::Document(fields);
    *shown = command.shown();
    Ok(mongo::judge(&command))
}

/// One document off the front of `bytes`.
fn document(bytes: &mut &[u8], depth: usize, count: &mut usize) -> Result<Value, Malformed> {
    let fields = fields(bytes, depth, count)?;
    for (index, (name, _)) in fields.iter().enumerate() {
        // Of two fields of a name some servers take the first and some the last. Only the names of a command choose its meaning.
        if depth == 0 && fields.iter().skip(index + 1).any(|(other, _)| other == name) {
            return Err(Malformed("a field is there twice"));
        }
    }
    Ok(Value::Document(fields))
}

fn fields(bytes: &mut &[u8], depth: usize, count: &mut usize) -> Result<Vec<(String, Value)>, Malformed> {
    if depth > DEEPEST {
        return Err(Malformed("a document lies deeper than a server takes"));
    }
    let size = super::length(little(bytes.get(..4).ok_or(Malformed("a document ends too soon"))?))?;
    let mut body = take(bytes, size)?;
    take(&mut body, 4)?;
    if body.last() != Some(&0) {
        return Err(Malformed("a document does not end"));
    }
    body = body.get(..body.len() - 1).unwrap_or_default();
    let mut fields = Vec::new();
    // Each turn takes at least two bytes.
    while !body.is_empty() {
        *count += 1;
        if *count > MOST_VALUES {
            return Err(Malformed("a message has more values than are read"));
        }
        let kind = take(&mut body, 1)?.first().copied().unwrap_or(0);
        let name = String::from_utf8_lossy(take_text(&mut body)?).into_owned();
        fields.push((name, value(kind, &mut body, depth, count)?));
    }
    Ok(fields)
}

fn value(kind: u8, body: &mut &[u8], depth: usize, count: &mut usize) -> Result<Value, Malformed> {
    let text = |body: &mut &[u8]| -> Result<String, Malformed> {
        let size = super::length(little(take(body, 4)?))?;
        let bytes = take(body, size)?;
        let (last, text) = bytes.split_last().ok_or(Malformed("a text is empty"))?;
        if *last != 0 {
            return Err(Malformed("a text does not end"));
        }
        Ok(String::from_utf8_lossy(text).into_owned())
    };
    Ok(match kind {
        0x01 => Value::Number(f64::from_bits(little(take(body, 8)?))),
        0x02 | 0x0e => Value::Text(text(body)?),
        0x03 => Value::Document(fields(body, depth + 1, count)?),
        0x04 => Value::Array(fields(body, depth + 1, count)?.into_iter().map(|(_, value)| value).collect()),
        0x05 => {
            let size = super::length(little(take(body, 4)?))?;
            take(body, size.saturating_add(1))?;
            Value::Other
        }
        0x06 | 0x0a => Value::Null,
        0x07 => {
            take(body, 12)?;
            Value::Other
        }
        0x08 => match take(body, 1)? {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            _ => return Err(Malformed("a value is neither true nor false")),
        },
        0x09 | 0x11 => {
            take(body, 8)?;
            Value::Other
        }
        0x0b => {
            take_text(body)?;
            take_text(body)?;
            Value::Other
        }
        0x0c => {
            text(body)?;
            take(body, 12)?;
            Value::Other
        }
        0x0d => {
            text(body)?;
            Value::Other
        }
        0x0f => {
            let size = super::length(little(take(body, 4)?))?;
            take(body, size.checked_sub(4).ok_or(Malformed("a length is too short"))?)?;
            Value::Other
        }
        #[allow(clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "the bits of a signed number")]
        0x10 => Value::Number(f64::from(little(take(body, 4)?) as u32 as i32)),
        #[allow(clippy::cast_possible_wrap, clippy::cast_precision_loss, reason = "the bits of a signed number; only whether it is zero counts")]
        0x12 => Value::Number(little(take(body, 8)?) as i64 as f64),
        0x13 => {
            take(body, 16)?;
            Value::Other
        }
        0xff | 0x7f => Value::Other,
        _ => return Err(Malformed("a value is of a kind that is not known")),
    })
}
