//! CBOR (RFC 8949) as the JSON that says the same: what AWS's newer services speak.

use serde_json::{Map, Number, Value};

use super::Unreadable;

/// How deep values may stand in each other.
const DEEPEST: usize = 64;

/// Most items of all kinds; a byte can claim billions.
const MOST: usize = 200_000;

/// Reads one whole value; byte strings become text in hexadecimal, tags are passed over.
///
/// # Errors
/// [`Unreadable::Unknown`] where it is no CBOR, is cut, is followed by more, or has keys that are no text or come twice.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Unreadable> {
    let mut reader = Reader { rest: bytes, left: MOST };
    let value = reader.value(0).ok_or(Unreadable::Unknown)?;
    if reader.rest.is_empty() { Ok(value) } else { Err(Unreadable::Trailing) }
}

struct Reader<'a> {
    rest: &'a [u8],
    left: usize,
}

/// An item's head: its major type, its argument, and whether its length is not told.
struct Item {
    major: u8,
    argument: u64,
    info: u8,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn head(&mut self) -> Option<Item> {
        self.left = self.left.checked_sub(1)?;
        let first = *self.take(1)?.first()?;
        let info = first & 0x1f;
        let argument = match info {
            0..=23 => u64::from(info),
            24..=27 => self.take(1 << (info - 24))?.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
            31 => 0,
            _ => return None,
        };
        Some(Item { major: first >> 5, argument, info })
    }

    fn is_break(&mut self) -> Option<bool> {
        let ends = *self.rest.first()? == 0xff;
        if ends {
            self.take(1)?;
        }
        Some(ends)
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEEPEST {
            return None;
        }
        let item = self.head()?;
        let endless = item.info == 31;
        match item.major {
            0 if !endless => Some(Value::from(item.argument)),
            1 if !endless => Some(i64::try_from(item.argument).map_or_else(|_| Value::from(f64::MIN), |number| Value::from(-1 - number))),
            2 | 3 => {
                let bytes = self.string(&item)?;
                let text = if item.major == 3 { String::from_utf8(bytes).ok()? } else { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
                Some(Value::String(text))
            }
            4 => {
                let mut items = Vec::new();
                while if endless { !self.is_break()? } else { (items.len() as u64) < item.argument } {
                    items.push(self.value(depth + 1)?);
                }
                Some(Value::Array(items))
            }
            5 => {
                let mut fields = Map::new();
                let mut count = 0;
                while if endless { !self.is_break()? } else { count < item.argument } {
                    let key = self.head().filter(|key| key.major == 3)?;
                    let name = String::from_utf8(self.string(&key)?).ok()?;
                    // Which of two a server takes, nobody can say.
                    if fields.insert(name, self.value(depth + 1)?).is_some() {
                        return None;
                    }
                    count += 1;
                }
                Some(Value::Object(fields))
            }
            6 if !endless => self.value(depth + 1),
            7 => simple(&item),
            _ => None,
        }
    }

    fn string(&mut self, item: &Item) -> Option<Vec<u8>> {
        if item.info != 31 {
            return Some(self.take(usize::try_from(item.argument).ok()?)?.to_vec());
        }
        let mut whole = Vec::new();
        while !self.is_break()? {
            let piece = self.head().filter(|piece| piece.major == item.major && piece.info != 31)?;
            whole.extend_from_slice(self.take(usize::try_from(piece.argument).ok()?)?);
        }
        Some(whole)
    }
}

fn simple(item: &Item) -> Option<Value> {
    let float = |number: f64| Number::from_f64(number).map_or(Value::Null, Value::Number);
    match item.info {
        20 => Some(Value::Bool(false)),
        21 => Some(Value::Bool(true)),
        22 | 23 => Some(Value::Null),
        25 => Some(float(half(u16::try_from(item.argument).ok()?))),
        26 => Some(float(f64::from(f32::from_bits(u32::try_from(item.argument).ok()?)))),
        27 => Some(float(f64::from_bits(item.argument))),
        _ => None,
    }
}

/// A number of two bytes.
fn half(bits: u16) -> f64 {
    let (exponent, mantissa) = (i32::from((bits >> 10) & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_examples_of_the_standard() {
        for (bytes, wanted) in [
            (&b"\x18\x64"[..], json!(100)),
            (b"\x38\x63", json!(-100)),
            (b"\xf9\x3e\x00", json!(1.5)),
            (b"\xf5", json!(true)),
            (b"\x64IETF", json!("IETF")),
            (b"\x83\x01\x02\x03", json!([1, 2, 3])),
            (b"\xa2aa\x01ab\x82\x02\x03", json!({ "a": 1, "b": [2, 3] })),
            (b"\x9f\x01\x82\x02\x03\xff", json!([1, [2, 3]])),
            (b"\xbfcFun\xf5cAmt!\xff", json!({ "Fun": true, "Amt": -2 })),
            (b"\x7festreadming\xff", json!("streaming")),
            (b"\xc1\x1a\x51\x4b\x67\xb0", json!(1_363_896_240)),
        ] {
            assert_eq!(parse(bytes).unwrap(), wanted);
        }
    }

    #[test]
    fn what_is_broken_is_refused() {
        for bytes in [&b""[..], b"\x18", b"\x01\x02", b"\xa1\x01\x02", b"\xa2aa\x01aa\x02", b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", b"\xff", b"\x61\xff"] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
        assert!(parse(&vec![0x81; 1000]).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
