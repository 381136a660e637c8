//! Credentials in authenticating positions: where they were and a name to speak of them, never the secret.

use agentbox_core::Credential;
use base64::Engine as _;
use http::{HeaderName, header};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use super::Head;

/// A secret shorter than this would be half told by its last four characters.
const LONG_ENOUGH: usize = 16;

/// Words in the names of headers that carry secrets: `x-api-key`, `private-token`, `x-vault-token`, `x-goog-api-key`.
const HEADER_WORDS: &[&str] =
    &["token", "api-key", "apikey", "api_key", "auth-key", "access-key", "subscription-key", "functions-key", "application-key", "secret", "password"];

/// Headers that hold such a word and no secret.
const NO_SECRETS: &[&str] = &["x-csrf-token", "x-xsrf-token", "x-amz-content-sha256", "continuation-token", "x-ms-continuation-token", "sec-websocket-key"];

/// Fields of a query that carry secrets, in lower case.
const QUERY_NAMES: &[&str] = &[
    "access_token",
    "accesstoken",
    "api_key",
    "api-key",
    "apikey",
    "app_key",
    "auth",
    "auth_token",
    "authtoken",
    "client_secret",
    "key",
    "passwd",
    "password",
    "pat",
    "private_token",
    "secret",
    "sig",
    "signature",
    "token",
    "x-amz-security-token",
    "x-amz-signature",
    "x-goog-signature",
];

/// Schemes of the authorization header (IANA's list, and what vendors use).
const SCHEMES: &[&str] =
    &["Bearer", "Basic", "Digest", "DPoP", "Negotiate", "NTLM", "OAuth", "Token", "ApiKey", "Bot", "SSWS", "AWS4-HMAC-SHA256", "SharedKey", "GoogleLogin"];

/// Most pieces of a query that are looked at: a request with more is one whose query nobody reads.
const MOST_PIECES: usize = 1024;

/// One value that stands where a far side looks for proof.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position<'a> {
    /// `authorization header (Bearer)`, `URL`, `cookie`.
    pub(crate) place: &'a str,
    /// The secret alone, decoded.
    pub(crate) value: &'a [u8],
    /// Whether its end may be told, so that a person knows it again.
    pub(crate) told: bool,
}

/// Hears of each position. What it gives takes the value's place.
pub(crate) type Visit<'v> = dyn FnMut(Position<'_>) -> Option<Vec<u8>> + 'v;

/// All that a request shows.
#[must_use]
pub(crate) fn seen(head: &Head<'_>) -> Vec<Credential> {
    crate::secrets::Issued::default().recognise(head, None).0
}

/// Tells of every position of a request.
pub(crate) fn positions(head: &Head<'_>, hear: &mut dyn FnMut(Position<'_>)) {
    for (name, value) in head.headers {
        let _ = in_header(name, value.as_bytes(), &mut |position| {
            hear(position);
            None
        });
    }
    let _ = in_target(head.target, &mut |position| {
        hear(position);
        None
    });
}

/// Goes through one header. Gives its new value where something was put in.
pub(crate) fn in_header(name: &HeaderName, value: &[u8], visit: &mut Visit<'_>) -> Option<Vec<u8>> {
    if name == header::AUTHORIZATION || name == header::PROXY_AUTHORIZATION {
        in_authorization(name.as_str(), value, visit)
    } else if name == header::COOKIE {
        in_cookie(value, visit)
    } else if HEADER_WORDS.iter().any(|word| name.as_str().contains(word)) && !NO_SECRETS.contains(&name.as_str()) && !value.is_empty() {
        visit(Position { place: &format!("{name} header"), value, told: true })
    } else {
        None
    }
}

/// Goes through the query of a target. Gives the new target where something was put in.
pub(crate) fn in_target(target: &str, visit: &mut Visit<'_>) -> Option<String> {
    let (path, query) = target.split('#').next().unwrap_or_default().split_once('?')?;
    let mut changed = false;
    let mut pieces = Vec::new();
    for (index, piece) in query.split('&').enumerate() {
        if index == MOST_PIECES {
            return None;
        }
        let new = piece.split_once('=').filter(|(_, value)| !value.is_empty()).and_then(|(name, value)| {
            let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).collect::<Vec<u8>>();
            if !QUERY_NAMES.contains(&String::from_utf8_lossy(&decoded(name)).to_ascii_lowercase().as_str()) {
                return None;
            }
            let new = visit(Position { place: "URL", value: &decoded(value), told: true })?;
            Some(format!("{name}={}", percent_encode(&new, NON_ALPHANUMERIC)))
        });
        changed |= new.is_some();
        pieces.push(new.unwrap_or_else(|| piece.to_owned()));
    }
    changed.then(|| format!("{path}?{}", pieces.join("&")))
}

/// A URL for people and for the ledger: without the values that prove who one is.
pub(crate) fn without_secrets(target: &str) -> String {
    in_target(target, &mut |_| Some(Vec::new())).map_or_else(|| target.to_owned(), |masked| masked.replace("=&", "=…&"))
}

fn in_cookie(value: &[u8], visit: &mut Visit<'_>) -> Option<Vec<u8>> {
    let mut changed = false;
    let mut pairs = Vec::new();
    for pair in value.split(|byte| *byte == b';') {
        let at = pair.iter().position(|byte| *byte == b'=').map_or(0, |at| at + 1);
        let (name, text) = pair.split_at_checked(at).unwrap_or((pair, &[]));
        let new = if text.is_empty() { None } else { visit(Position { place: "cookie", value: text.trim_ascii(), told: false }) };
        changed |= new.is_some();
        pairs.push([name, new.as_deref().unwrap_or(text)].concat());
    }
    changed.then(|| pairs.join(&b';'))
}

fn in_authorization(header: &str, value: &[u8], visit: &mut Visit<'_>) -> Option<Vec<u8>> {
    let value = value.trim_ascii();
    let space = value.iter().position(|byte| *byte == b' ').unwrap_or(0);
    let (scheme, rest) = value.split_at_checked(space).unwrap_or((&[], value));
    let rest = rest.trim_ascii();
    if rest.is_empty() {
        return None;
    }
    // Only a known scheme is told: what stands there otherwise may be half of a secret.
    let known = SCHEMES.iter().find(|known| known.as_bytes().eq_ignore_ascii_case(scheme)).map(|known| format!(" ({known})")).unwrap_or_default();
    let place = format!("{header} header{known}");
    let mut at = |value: &[u8]| visit(Position { place: &place, value, told: true });
    let new = if scheme.eq_ignore_ascii_case(b"basic") {
        let engine = &base64::engine::general_purpose::STANDARD;
        let Ok(decoded) = engine.decode(rest) else {
            return at(&[]);
        };
        let colon = decoded.iter().position(|byte| *byte == b':').unwrap_or(decoded.len());
        let (user, password) = decoded.split_at_checked(colon).unwrap_or((&decoded, &[]));
        let password = password.get(1..).unwrap_or_default();
        // Some services take the token for the user's name, with a password that says so or none.
        let joined = if password.is_empty() || password == b"x-oauth-basic" {
            [at(user)?.as_slice(), b":", password].concat()
        } else {
            [user, b":", at(password)?.as_slice()].concat()
        };
        engine.encode(joined).into_bytes()
    } else if scheme.starts_with(b"AWS4-") {
        // The key's id is no secret, and the signature changes with each request.
        let text = String::from_utf8_lossy(rest);
        let id = text.split("Credential=").nth(1).and_then(|text| text.split('/').next()).unwrap_or_default();
        let _ = at(id.as_bytes());
        return None;
    } else {
        at(rest)?
    };
    let space: &[u8] = if scheme.is_empty() { b"" } else { b" " };
    Some([scheme, space, &new].concat())
}

/// A name to speak of a secret.
pub(crate) fn named(secret: &[u8]) -> String {
    let tail = secret.get(secret.len().saturating_sub(4)..).unwrap_or_default();
    if secret.len() < LONG_ENOUGH || !tail.iter().all(u8::is_ascii_graphic) {
        return "unknown".to_owned();
    }
    format!("unknown, ends in …{}", String::from_utf8_lossy(tail))
}

#[cfg(test)]
mod tests {
    use agentbox_core::HostName;
    use http::{HeaderMap, HeaderValue, Method};

    use super::*;
    use crate::meaning::Scheme;

    fn of(target: &str, headers: &[(&'static str, &str)]) -> Vec<(String, String)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let host = HostName::parse("api.example.com").unwrap();
        let head = Head { method: &Method::GET, scheme: Scheme::Https, host: &host, port: 443, target, headers: &map };
        seen(&head).into_iter().map(|c| (c.position, c.name)).collect()
    }

    #[test]
    fn names_them_without_telling_them() {
        let secret = "abcdefghijklmnop7f3a";
        let all = of(
            &format!("/x?access_token={secret}&q=1"),
            &[
                ("authorization", &format!("Bearer {secret}")),
                ("x-api-key", secret),
                ("private-token", "short"),
                ("cookie", "session=abcdefghijklmnop7f3a"),
                ("accept", "text/html"),
            ],
        );
        assert_eq!(all.len(), 5, "{all:?}");
        assert!(all.contains(&("authorization header (Bearer)".into(), "unknown, ends in …7f3a".into())));
        assert!(all.contains(&("private-token header".into(), "unknown".into())));
        assert!(all.contains(&("URL".into(), "unknown, ends in …7f3a".into())));
        assert!(all.iter().all(|(position, name)| !position.contains("abcd") && !name.contains("abcd")));
    }

    /// Puts `new` in the place of `old`, in a header.
    fn put(name: &'static str, value: &str, old: &[u8]) -> Option<String> {
        let name = HeaderName::from_static(name);
        let new = in_header(&name, value.as_bytes(), &mut |position| (position.value == old).then(|| b"n+w/".to_vec()))?;
        Some(String::from_utf8(new).unwrap())
    }

    #[test]
    fn what_is_put_in_stands_where_it_was_found() {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        assert_eq!(put("authorization", "Bearer old", b"old").as_deref(), Some("Bearer n+w/"));
        assert_eq!(put("authorization", "token  old", b"old").as_deref(), Some("token n+w/"));
        assert_eq!(put("authorization", "old", b"old").as_deref(), Some("n+w/"));
        assert_eq!(put("authorization", &format!("Basic {}", encode("u:old")), b"old"), Some(format!("Basic {}", encode("u:n+w/"))));
        assert_eq!(put("authorization", &format!("basic {}", encode("old:")), b"old"), Some(format!("basic {}", encode("n+w/:"))));
        assert_eq!(put("authorization", &format!("Basic {}", encode("old:x-oauth-basic")), b"old"), Some(format!("Basic {}", encode("n+w/:x-oauth-basic"))));
        assert_eq!(put("x-api-key", "old", b"old").as_deref(), Some("n+w/"));
        assert_eq!(put("cookie", "a=1; s=old;t=2", b"old").as_deref(), Some("a=1; s=n+w/;t=2"));
        for (name, value) in [("authorization", "Bearer older"), ("x-note", "old"), ("x-api-key", "an old one"), ("cookie", "old=1")] {
            assert_eq!(put(name, value, b"old"), None, "{name}: {value}");
        }
        let in_query = |target: &str| in_target(target, &mut |position| (position.value == b"o d").then(|| b"n+w/".to_vec()));
        assert_eq!(in_query("/a?x=1&Token=o%20d&y").as_deref(), Some("/a?x=1&Token=n%2Bw%2F&y"));
        assert_eq!(in_query("/a?token=o+d").as_deref(), Some("/a?token=n%2Bw%2F"));
        assert_eq!(in_query("/a?q=o+d&token=other"), None);
    }

    #[test]
    fn a_url_is_told_without_its_secrets() {
        assert_eq!(without_secrets("/a?token=abc&x=1"), "/a?token=…&x=1");
        assert_eq!(without_secrets("/a?x=1&sig=abc"), "/a?x=1&sig=");
        assert_eq!(without_secrets("/a?x=1"), "/a?x=1");
    }

    #[test]
    fn basic_and_signatures() {
        let basic = base64::engine::general_purpose::STANDARD.encode("user:0123456789abcdefWXYZ");
        assert_eq!(of("/", &[("authorization", &format!("Basic {basic}"))])[0].1, "unknown, ends in …WXYZ");
        let aws = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/s3/aws4_request, Signature=0123456789abcdef0123";
        assert_eq!(of("/", &[("authorization", aws)])[0].1, "unknown, ends in …MPLE");
        assert!(of("/", &[("x-csrf-token", "0123456789abcdef")]).is_empty());
        assert!(of("/", &[("authorization", "")]).is_empty());
    }
}
