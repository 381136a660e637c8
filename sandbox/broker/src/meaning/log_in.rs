//! Log-ins: requests whose body proves who somebody is, and those whose answers hand out a token for what was proved.

use http::{HeaderMap, Method, header};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use serde_json::{Map, Value};

use super::{Position, content::parse_json, credentials::Visit};

/// Longest body of a log-in, and most fields in it. Certificates and signed assertions are what is long in one.
const LONGEST: usize = 64 << 10;
const MOST_FIELDS: usize = 48;

/// Fields that prove who somebody is, in lower case and without what joins their words.
const PROOFS: &[&str] = &[
    "accesstoken",
    "actortoken",
    "assertion",
    "clientassertion",
    "clientsecret",
    "idtoken",
    "jwt",
    "passwd",
    "password",
    "refreshtoken",
    "secretid",
    "subjecttoken",
    "token",
];

/// Fields that stand beside them (RFC 6749, 7009, 7523, 7636, 7662, 8693, OpenID Connect, and the log-in forms of web frameworks). A body with
/// any other field is something else than a log-in: what was put into it could be stored, and shown to somebody.
const BESIDE: &[&str] = &[
    "account",
    "actortokentype",
    "audience",
    "authenticitytoken",
    "clientassertiontype",
    "clientid",
    "code",
    "codeverifier",
    "commit",
    "connection",
    "csrf",
    "csrfmiddlewaretoken",
    "csrftoken",
    "devicecode",
    "email",
    "expiresin",
    "granttype",
    "identifier",
    "login",
    "mfacode",
    "next",
    "nonce",
    "otp",
    "provider",
    "realm",
    "redirecturi",
    "rememberme",
    "remember",
    "requestedtokentype",
    "requestedtokenuse",
    "resource",
    "responsetype",
    "role",
    "roleid",
    "scope",
    "state",
    "subjecttokentype",
    "tenant",
    "tokentypehint",
    "totp",
    "user",
    "userid",
    "username",
    "utf8",
];

/// What a path ends with that starts a session. Of what is only read at such a path nothing is new.
const ENDINGS: &[&str] = &[
    "accesstoken",
    "accesstokens",
    "auth",
    "authenticate",
    "jwt",
    "login",
    "session",
    "sessions",
    "signin",
    "token",
    "tokens",
    "generateaccesstoken",
    "generateidtoken",
];

/// Actions of AWS's token service that hand out keys.
const STS: &[&str] = &["AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "AssumeRoot", "GetFederationToken", "GetSessionToken"];

/// A field's name in the form of the lists.
fn word(name: &str) -> String {
    // What web frameworks put there themselves: `_token`, `_csrf`.
    if name.starts_with('_') {
        return "csrf".to_owned();
    }
    name.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Form,
    Json,
}

fn kind(headers: &HeaderMap) -> Option<Kind> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return None;
    }
    let media = headers.get(header::CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim().to_ascii_lowercase();
    match media.as_str() {
        "application/x-www-form-urlencoded" => Some(Kind::Form),
        "application/json" => Some(Kind::Json),
        json => json.ends_with("+json").then_some(Kind::Json),
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// The fields of a form, as sent.
fn form(body: &[u8]) -> Option<Vec<(&str, &str)>> {
    let text = std::str::from_utf8(body).ok()?;
    Some(text.split('&').filter(|piece| !piece.is_empty()).map(|piece| piece.split_once('=').unwrap_or((piece, ""))).collect())
}

/// Whether fields of these names are those of a log-in.
fn is_log_in(words: &[String]) -> bool {
    let known = |word: &String| PROOFS.contains(&word.as_str()) || BESIDE.contains(&word.as_str());
    words.len() <= MOST_FIELDS && words.iter().all(known) && words.iter().any(|word| word == "granttype" || PROOFS.contains(&word.as_str()))
}

/// Whether a parser could find a proof's field in this text: most of what is sent is none, and is not parsed for this once more.
fn may_be_log_in(body: &[u8]) -> bool {
    const STEMS: &[&[u8]] = &[b"assertion", b"grant", b"jwt", b"passw", b"secret", b"token"];
    let text = body.to_ascii_lowercase();
    let has = |stem: &[u8]| memchr::memmem::find(&text, stem).is_some();
    // Letters of a name may be escaped.
    has(b"\\u") || STEMS.iter().any(|stem| has(stem))
}

enum Fields<'b> {
    Form(Vec<(&'b str, &'b str)>),
    Json(Map<String, Value>),
}

/// The body, where it is a log-in's.
fn fields<'b>(headers: &HeaderMap, body: &'b [u8]) -> Option<Fields<'b>> {
    if body.is_empty() || body.len() > LONGEST {
        return None;
    }
    match kind(headers)? {
        Kind::Form => {
            let fields = form(body)?;
            let words: Vec<String> = fields.iter().take(MOST_FIELDS + 1).map(|(name, _)| word(&decoded(name))).collect();
            is_log_in(&words).then_some(Fields::Form(fields))
        }
        Kind::Json if !may_be_log_in(body) => None,
        Kind::Json => {
            let Ok(Value::Object(fields)) = parse_json(body) else { return None };
            let words: Vec<String> = fields.keys().take(MOST_FIELDS + 1).map(|name| word(name)).collect();
            is_log_in(&words).then_some(Fields::Json(fields))
        }
    }
}

/// Goes through the proofs of a log-in's body. Gives the new body where something was put in.
pub(crate) fn in_body(headers: &HeaderMap, body: &[u8], visit: &mut Visit<'_>) -> Option<Vec<u8>> {
    let mut at = |name: &str, value: &str| {
        let word = word(name);
        let proof = PROOFS.iter().find(|proof| **proof == word).filter(|_| !value.is_empty())?;
        // The end of a password that somebody made up tells more than that of a token.
        visit(Position { place: &format!("body ({proof})"), value: value.as_bytes(), told: !proof.starts_with("passw") })
    };
    match fields(headers, body)? {
        Fields::Form(fields) => {
            let mut changed = false;
            let mut pieces = Vec::with_capacity(fields.len());
            for (name, value) in fields {
                let new = at(&decoded(name), &decoded(value));
                changed |= new.is_some();
                pieces.push(match new {
                    Some(new) => format!("{name}={}", percent_encode(&new, NON_ALPHANUMERIC)),
                    None => format!("{name}={value}"),
                });
            }
            changed.then(|| pieces.join("&").into_bytes())
        }
        Fields::Json(mut fields) => {
            let mut changed = false;
            for (name, value) in &mut fields {
                let new = value.as_str().and_then(|text| at(name, text)).and_then(|new| String::from_utf8(new).ok());
                if let Some(new) = new {
                    *value = Value::String(new);
                    changed = true;
                }
            }
            changed.then(|| serde_json::to_vec(&fields).ok()).flatten()
        }
    }
}

/// Whether the answer may hand out a token. What is stored in a place that a path's end makes look like one must not pass for new, so that
/// little else counts than what is posted.
pub(crate) fn hands_out(method: &Method, target: &str, headers: &HeaderMap, body: Option<&[u8]>) -> bool {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut segments = path.rsplit('/').filter(|segment| !segment.is_empty()).map(|segment| word(segment.rsplit(':').next().unwrap_or_default()));
    let (last, before) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
    let body = body.unwrap_or_default();
    match *method {
        Method::POST | Method::PUT => {
            fields(headers, body).is_some()
                // As Vault has it: `/v1/auth/userpass/login/NAME`; and npm, whose users are documents.
                || ENDINGS.contains(&last.as_str()) || before == "login" || path.contains("/-/user/org.couchdb.user:")
                || is_sts(headers, query, body)
        }
        // A container registry's token service, and what hands out the keys of AWS's sign-on.
        Method::GET => {
            (["auth", "token"].contains(&last.as_str()) && has(query, "service")) || path == "/federation/credentials" || is_sts(headers, query, body)
        }
        _ => false,
    }
}

fn has(query: &str, name: &str) -> bool {
    query.split('&').any(|piece| piece.split_once('=').is_some_and(|(found, _)| found == name))
}

/// Whether it is signed for AWS's token service, and asks for keys.
fn is_sts(headers: &HeaderMap, query: &str, body: &[u8]) -> bool {
    let signed = headers.get(header::AUTHORIZATION).is_some_and(|value| memchr::memmem::find(value.as_bytes(), b"/sts/aws4_request").is_some());
    let asks = |text: &str| text.split('&').any(|piece| piece.strip_prefix("Action=").is_some_and(|action| STS.contains(&action)));
    signed && (asks(query) || (body.len() <= LONGEST && std::str::from_utf8(body).is_ok_and(asks)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded";

    fn typed(media: &str) -> HeaderMap {
        [(header::CONTENT_TYPE, media.parse().unwrap())].into_iter().collect()
    }

    /// What is seen in a body, and what becomes of it where `old` is replaced.
    fn seen(media: &str, body: &str) -> (Vec<String>, Option<String>) {
        let mut all = Vec::new();
        let new = in_body(&typed(media), body.as_bytes(), &mut |position| {
            all.push(format!("{} {}", position.place, String::from_utf8_lossy(position.value)));
            (position.value == b"o d").then(|| b"n&w\"".to_vec())
        });
        (all, new.map(|new| String::from_utf8(new).unwrap()))
    }

    #[test]
    fn proofs_stand_in_the_fields_of_a_log_in() {
        let (all, new) = seen(FORM, "grant_type=password&username=a%40b&password=o+d&client_secret=other");
        assert_eq!(all, ["body (password) o d", "body (clientsecret) other"]);
        assert_eq!(new.as_deref(), Some("grant_type=password&username=a%40b&password=n%26w%22&client_secret=other"));
        let (all, new) = seen("application/json; charset=utf-8", r#"{"email":"a@b","Password":"o d","rememberMe":true}"#);
        assert_eq!(all, ["body (password) o d"]);
        assert_eq!(new.as_deref(), Some(r#"{"email":"a@b","Password":"n&w\"","rememberMe":true}"#));
    }

    #[test]
    fn what_is_no_log_in_is_left_alone() {
        for (media, body) in [
            (FORM, "title=x&password=o+d"),
            (FORM, "username=a"),
            ("application/json", r#"{"password":"o d","note":"x"}"#),
            ("application/json", r#"{"password":"x","password":"o d"}"#),
            ("application/json", r#"["o d"]"#),
            ("text/plain", "password=o+d"),
        ] {
            assert_eq!(seen(media, body), (Vec::new(), None), "{body}");
        }
        let many = format!("grant_type=x&{}", "scope=a&".repeat(MOST_FIELDS));
        assert_eq!(seen(FORM, &format!("{many}password=o+d")).1, None);
    }

    #[test]
    fn tokens_come_for_log_ins_alone() {
        let post = |target: &str, media: &str, body: &str| hands_out(&Method::POST, target, &typed(media), Some(body.as_bytes()));
        assert!(post("/x", FORM, "grant_type=client_credentials"));
        assert!(post("/api/login", "application/json", "{\"pin\":1}") && post("/v1/auth/userpass/login/bob", "application/json", "{\"a\":1}"));
        assert!(
            post("/app/installations/7/access_tokens", "application/json", "{}")
                && post("/v1/projects/-/serviceAccounts/a@b:generateAccessToken", "application/json", "{}")
        );
        for (target, body) in [("/graphql/v2", "{\"query\":\"x\"}"), ("/v1/things", "{}"), ("/token/raw", "{}")] {
            assert!(!post(target, "application/json", body), "{target}");
        }
        let get = |target: &str| hands_out(&Method::GET, target, &HeaderMap::new(), None);
        assert!(get("/token?service=registry.example&scope=x") && !get("/token") && !get("/raw/session") && !get("/login"));
        let mut signed = typed(FORM);
        signed.insert(
            header::AUTHORIZATION,
            "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=x".parse().unwrap(),
        );
        let sts = |body: &str| hands_out(&Method::POST, "/", &signed, Some(body.as_bytes()));
        assert!(sts("Action=AssumeRole&Version=2011-06-15&RoleArn=x") && !sts("Action=GetCallerIdentity&Version=2011-06-15"));
    }
}
