//! The tokens that an answer hands out: in the fields where log-ins of the known kinds have them, and in cookies.

use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{Swaps, placeholder};
use crate::meaning::parse_json;

/// Most that one answer hands out.
const MOST: usize = 16;

/// Lengths of a token. What is shorter could be a word that a program needs to read.
const SHORTEST: usize = 16;
const LONGEST: usize = 16 << 10;

/// Letters and digits that a token has at least: with fewer its placeholder could be met by chance.
const LEAST: usize = 12;

/// Fields that hold one, in lower case and without what joins their words.
const FIELDS: &[&str] = &[
    "accesstoken",
    "authtoken",
    "bearertoken",
    "clienttoken",
    "idtoken",
    "jwt",
    "oauthtoken",
    "oauthtokensecret",
    "privatetoken",
    "refreshtoken",
    "secretaccesskey",
    "sessiontoken",
    "token",
];

/// How an answer's body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tongue {
    Json,
    Xml,
    Form,
}

/// Whether the body of an answer with these headers is read before it is passed on.
pub(crate) fn is_read(headers: &HeaderMap) -> bool {
    let is_plain = headers.get(header::CONTENT_ENCODING).is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let media = media(headers);
    let is_text = media.starts_with("text/") && media != "text/event-stream";
    is_plain && (is_text || media.is_empty() || media == "application/x-www-form-urlencoded" || media.ends_with("json") || media.ends_with("xml"))
}

fn media(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

impl Tongue {
    /// Of an answer: clients read what they expect, whatever it is called, so that its first character counts.
    pub(crate) fn of(headers: &HeaderMap, body: &[u8]) -> Self {
        match body.trim_ascii_start().first() {
            Some(b'{' | b'[') => Self::Json,
            Some(b'<') => Self::Xml,
            Some(_) | None if media(headers).ends_with("json") => Self::Json,
            Some(_) | None => Self::Form,
        }
    }
}

fn is_field(name: &str) -> bool {
    let word: String = name.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect();
    FIELDS.contains(&word.as_str())
}

fn is_token(text: &str) -> bool {
    (SHORTEST..=LONGEST).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && text.bytes().filter(u8::is_ascii_alphanumeric).count() >= LEAST
        && !text.contains("://")
}

/// The tokens of a body.
pub(crate) fn in_answer(tongue: Tongue, body: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    match tongue {
        Tongue::Json => {
            if let Ok(value) = parse_json(body) {
                in_value(&value, &mut found);
            }
        }
        Tongue::Xml => {
            let text = String::from_utf8_lossy(body);
            for piece in text.split('<').skip(1) {
                if let Some((_, value)) = piece.split_once('>').filter(|(name, _)| is_field(name)) {
                    found.push(value.trim().to_owned());
                }
            }
        }
        Tongue::Form => {
            for (name, value) in std::str::from_utf8(body).unwrap_or_default().trim().split('&').filter_map(|piece| piece.split_once('=')) {
                if is_field(name) {
                    found.push(percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned());
                }
            }
        }
    }
    found.retain(|text| is_token(text));
    found.dedup();
    found.truncate(MOST);
    found
}

/// The parser of JSON has bounded the depth.
fn in_value(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if is_field(name) => found.push(text.clone()),
                    Value::String(_) => {}
                    other => in_value(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| in_value(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The cookies that an answer sets and that could be a session's, name and value.
pub(crate) fn in_cookies(headers: &HeaderMap) -> Vec<(String, String)> {
    let set = headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    set.filter_map(|line| line.split(';').next()?.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().trim_matches('"').to_owned()))
        .filter(|(_, value)| is_token(value))
        .take(MOST)
        .collect()
}

/// A placeholder of the same length in every spelling: what is percent-encoded in the token stays as it is. `None` where there is none.
pub(crate) fn stand_in(token: &str) -> Option<String> {
    /// Stands for one encoded character meanwhile; no token has it.
    const MARK: char = '\u{1}';
    let (mut short, mut taken) = (String::with_capacity(token.len()), Vec::new());
    let mut rest = token;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at_checked(at)?;
        short.push_str(before);
        let encoded = from.get(..3).filter(|triplet| triplet.bytes().skip(1).all(|byte| byte.is_ascii_hexdigit()));
        let length = if let Some(triplet) = encoded {
            short.push(MARK);
            taken.push(triplet);
            3
        } else {
            short.push('%');
            1
        };
        rest = from.get(length..)?;
    }
    short.push_str(rest);
    let mut made = String::with_capacity(token.len());
    let mut taken = taken.into_iter();
    for c in placeholder(&short)?.chars() {
        match c {
            MARK => made.push_str(taken.next()?),
            other => made.push(other),
        }
    }
    (made.len() == token.len() && made != token).then_some(made)
}

/// The body with placeholders, however its strings are spelled.
pub(crate) fn without(tongue: Tongue, body: &[u8], swaps: &Swaps) -> Vec<u8> {
    let swapped = swaps.in_bytes(body).unwrap_or_else(|| body.to_vec());
    if tongue != Tongue::Json {
        return swapped;
    }
    let Ok(mut value) = parse_json(&swapped) else { return swapped };
    // A slash, a plus or a letter may be escaped: then the text tells less than what is read out of it.
    if in_strings(&mut value, swaps) { serde_json::to_vec(&value).unwrap_or_default() } else { swapped }
}

fn in_strings(value: &mut Value, swaps: &Swaps) -> bool {
    match value {
        Value::String(text) => match swaps.in_text(text) {
            Some(new) => {
                *text = new;
                true
            }
            None => false,
        },
        Value::Array(items) => items.iter_mut().fold(false, |changed, item| in_strings(item, swaps) | changed),
        Value::Object(fields) => fields.values_mut().fold(false, |changed, item| in_strings(item, swaps) | changed),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "gho_16C7e42F292c6912E7710c838347Ae178B4a";

    #[test]
    fn tokens_of_the_known_answers() {
        let json = format!(r#"{{"access_token":"{TOKEN}","token_type":"Bearer","expires_in":3600,"scope":"{TOKEN}","next_page_token":"{TOKEN}"}}"#);
        assert_eq!(in_answer(Tongue::Json, json.as_bytes()), [TOKEN]);
        let deeper = format!(r#"{{"auth":{{"client_token":"{TOKEN}"}},"list":[{{"token":"short"}},{{"idToken":"https://{TOKEN}"}}]}}"#);
        assert_eq!(in_answer(Tongue::Json, deeper.as_bytes()), [TOKEN]);
        let xml = format!("<C><AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId><SecretAccessKey>\n{TOKEN}</SecretAccessKey><Expiration>2026</Expiration></C>");
        assert_eq!(in_answer(Tongue::Xml, xml.as_bytes()), [TOKEN]);
        assert_eq!(in_answer(Tongue::Form, format!("access_token={TOKEN}&scope=repo&token_type=bearer").as_bytes()), [TOKEN]);
        assert_eq!(in_answer(Tongue::Json, b"{\"token\":"), Vec::<String>::new());
    }

    #[test]
    fn an_answer_is_read_as_clients_read_it() {
        let typed = |media: &str| [(header::CONTENT_TYPE, media.parse().unwrap())].into_iter().collect::<HeaderMap>();
        for (media, body, tongue) in [
            ("application/json", " {}", Tongue::Json),
            ("text/html; charset=utf-8", "<AssumeRoleResponse>", Tongue::Xml),
            ("text/plain", "{\"token\":1}", Tongue::Json),
            ("application/x-www-form-urlencoded", "access_token=x", Tongue::Form),
        ] {
            assert!(is_read(&typed(media)));
            assert_eq!(Tongue::of(&typed(media), body.as_bytes()), tongue, "{media}");
        }
        assert!(!is_read(&typed("text/event-stream")) && !is_read(&typed("application/octet-stream")));
        let mut encoded = typed("application/json");
        encoded.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        assert!(!is_read(&encoded));
    }

    #[test]
    fn cookies_that_could_be_a_session() {
        let mut headers = HeaderMap::new();
        for line in ["session=s%3Aabcdefghijklmnop.QRST; Path=/; HttpOnly", "lang=en; Path=/", "id=\"0123456789abcdef\"", "x"] {
            headers.append(header::SET_COOKIE, line.parse().unwrap());
        }
        assert_eq!(in_cookies(&headers), [("session".to_owned(), "s%3Aabcdefghijklmnop.QRST".to_owned()), ("id".to_owned(), "0123456789abcdef".to_owned())]);
    }

    #[test]
    fn what_stands_for_a_token_has_its_form() {
        let made = stand_in("s%3Aabcdefghijklmnop.QR%2fST%").unwrap();
        assert!(made.len() == 29 && made.get(1..4) == Some("%3A") && made.contains("%2f") && made.ends_with('%'), "{made}");
        assert!(stand_in(TOKEN).is_some_and(|made| made.starts_with("gho_") && made != TOKEN));
    }

    #[test]
    fn escapes_hide_nothing() {
        let swaps = Swaps::new([("abcdefgh/ijkl+mnop", "ponmlkji/hgfe+dcba")]);
        for body in [r#"{"token":"abcdefgh/ijkl+mnop"}"#, r#"{"token":"abcdefgh\/ijkl\u002bmnop"}"#, r#"{"token":"\u0061bcdefgh/ijkl+mnop"}"#] {
            let new = String::from_utf8(without(Tongue::Json, body.as_bytes(), &swaps)).unwrap();
            assert_eq!(new, r#"{"token":"ponmlkji/hgfe+dcba"}"#, "{body}");
        }
    }
}
