//! Credentials in authenticating positions: where they were and a name to speak of them, never the secret.

use agentbox_core::Credential;
use base64::Engine as _;
use http::header;

use super::{Head, route::pairs};

/// A secret shorter than this would be half told by its last four characters.
const LONG_ENOUGH: usize = 16;

/// Most credentials that are listed of one request.
const MOST: usize = 16;

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

/// All that a request shows.
#[must_use]
pub(crate) fn seen(head: &Head<'_>) -> Vec<Credential> {
    let mut found = Vec::new();
    for (name, value) in head.headers {
        let position = if name == header::AUTHORIZATION || name == header::PROXY_AUTHORIZATION {
            authorization(name.as_str(), value.as_bytes())
        } else if name == header::COOKIE {
            Some(("cookie".to_owned(), "unknown".to_owned()))
        } else if HEADER_WORDS.iter().any(|word| name.as_str().contains(word)) && !NO_SECRETS.contains(&name.as_str()) && !value.is_empty() {
            Some((format!("{name} header"), named(value.as_bytes())))
        } else {
            None
        };
        found.extend(position);
    }
    let target = head.target.split('#').next().unwrap_or_default();
    if let Some((_, query)) = target.split_once('?')
        && let Some(pairs) = pairs(query)
    {
        let secret = |name: &str| QUERY_NAMES.contains(&name.to_ascii_lowercase().as_str());
        found.extend(pairs.iter().filter(|(name, value)| secret(name) && !value.is_empty()).map(|(_, value)| ("URL".to_owned(), named(value.as_bytes()))));
    }
    found.truncate(MOST);
    found.into_iter().map(|(position, name)| Credential { position, name, issued: false }).collect()
}

fn authorization(header: &str, value: &[u8]) -> Option<(String, String)> {
    let text = String::from_utf8_lossy(value);
    let (scheme, rest) = text.trim().split_once(' ').unwrap_or(("", text.trim()));
    if rest.is_empty() && scheme.is_empty() {
        return None;
    }
    let name = if scheme.eq_ignore_ascii_case("basic") {
        let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim()).unwrap_or_default();
        let password = decoded.splitn(2, |byte| *byte == b':').nth(1).unwrap_or_default();
        named(password)
    } else if scheme.starts_with("AWS4-") {
        // The key's id is no secret, and the signature changes with each request.
        named(rest.split("Credential=").nth(1).and_then(|text| text.split('/').next()).unwrap_or_default().as_bytes())
    } else {
        named(rest.trim().as_bytes())
    };
    // Only a known scheme is told: what stands there otherwise may be half of a secret.
    let scheme = SCHEMES.iter().find(|known| known.eq_ignore_ascii_case(scheme)).map(|known| format!(" ({known})")).unwrap_or_default();
    Some((format!("{header} header{scheme}"), name))
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
