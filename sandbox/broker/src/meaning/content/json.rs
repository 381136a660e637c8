//! JSON with exactly one reading: no duplicate keys, nothing after the end, bounded depth, valid Unicode.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Unreadable;

/// Reads strict JSON. A byte-order mark in front is passed over: a parser that takes it at all reads what follows.
///
/// # Errors
/// What makes it no JSON, or JSON of two readings.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Unreadable> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Charset)?;
    // serde_json itself stops at a depth of 128 and refuses lone surrogates.
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = StrictJson.deserialize(&mut deserializer).map_err(|error| why(&error))?;
    deserializer.end().map_err(|_| Unreadable::Json("something follows after its end"))?;
    Ok(value)
}

const DUPLICATE: &str = "duplicate key";

fn why(error: &serde_json::Error) -> Unreadable {
    let text = error.to_string();
    Unreadable::Json(if text.starts_with(DUPLICATE) {
        "a key stands twice in one object"
    } else if text.starts_with("recursion limit") {
        "it is nested too deeply"
    } else {
        "it does not parse"
    })
}

/// A seed that reads any JSON and refuses duplicate keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StrictJson;

impl<'de> DeserializeSeed<'de> for StrictJson {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictJson {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(StrictJson)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(StrictJson)?;
            if object.insert(key, value).is_some() {
                return Err(A::Error::custom(DUPLICATE));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_json() {
        assert_eq!(parse(br#" {"a":[1,-2,3.5,true,null,"x\u0041"]} "#).unwrap()["a"][5], "xA");
        assert_eq!(parse(b"\xef\xbb\xbf{}").unwrap(), Value::Object(Map::new()));
    }

    #[test]
    fn refuses_what_two_parsers_read_differently() {
        for (text, reason) in [
            (r#"{"a":1,"a":2}"#, "a key stands twice in one object"),
            (r#"{"a":1,"\u0061":2}"#, "a key stands twice in one object"),
            (r#"[{"b":{"a":1,"a":1}}]"#, "a key stands twice in one object"),
            ("{} {}", "something follows after its end"),
            ("{}x", "something follows after its end"),
            (r#""\ud800""#, "it does not parse"),
            ("{'a':1}", "it does not parse"),
            ("{\"a\":NaN}", "it does not parse"),
            ("{\"a\":1,}", "it does not parse"),
            ("//x\n{}", "it does not parse"),
            ("", "it does not parse"),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(Unreadable::Json(reason)), "{text}");
        }
        assert_eq!(parse(b"\"\xff\""), Err(Unreadable::Charset));
        assert_eq!(parse("[".repeat(100_000).as_bytes()), Err(Unreadable::Json("it is nested too deeply")));
    }
}
