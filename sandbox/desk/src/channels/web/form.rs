//! What a browser's form sends: `application/x-www-form-urlencoded`, read strictly.

use percent_encoding::percent_decode;

/// Fields of one form.
const MOST_FIELDS: usize = 16;

/// The fields, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// `None` where it is no form, or has two readings.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let (name, value) = pair.split_at_checked(at)?;
            let (name, value) = (decode(name)?, decode(value.get(1..)?)?);
            if fields.len() >= MOST_FIELDS || fields.iter().any(|(known, _)| *known == name) {
                return None;
            }
            fields.push((name, value));
        }
        Some(Self(fields))
    }

    /// A field's value; empty where it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

fn decode(text: &[u8]) -> Option<String> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    String::from_utf8(percent_decode(&spaced).collect()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_once() {
        let form = Form::read(b"typed=pg+data%21&because=a%26b%3Dc&empty=").unwrap();
        assert_eq!((form.get("typed"), form.get("because"), form.get("empty"), form.get("none")), ("pg data!", "a&b=c", "", ""));
        for bad in [&b"a"[..], b"a=1&a=2", b"a=%ff", b"%ff=a"] {
            assert_eq!(Form::read(bad), None, "{bad:?}");
        }
        assert_eq!(Form::read(b""), Some(Form::default()));
        assert_eq!(Form::read("x=1&".repeat(17).as_bytes()), None);
    }
}
