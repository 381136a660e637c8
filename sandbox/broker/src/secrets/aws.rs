//! AWS Signature Version 4: knows a request that was signed with a placeholder, and signs it anew with the secret.
//!
//! Source: AWS, "Create a signed AWS API request". Only what is signed in headers; signed URLs and chunks with signatures of their own are not.

use http::{HeaderMap, Method, header};
use percent_encoding::percent_decode_str;
use ring::{digest, hmac};

/// Most headers that a signature covers.
const MOST_SIGNED: usize = 64;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What is signed, but for the headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a Method,
    /// Path and query as they are sent.
    pub(crate) target: &'a str,
    /// The host as its `Host` header has it, for requests that have none.
    pub(crate) host: &'a str,
    /// All of the body, where it is known.
    pub(crate) body: Option<&'a [u8]>,
}

/// The `Authorization` header taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Parts<'h> {
    id: &'h str,
    date: &'h str,
    region: &'h str,
    service: &'h str,
    headers: Vec<&'h str>,
    signature: &'h str,
}

/// Whether the request is signed with this secret. Asked of placeholders only.
pub(crate) fn is_signed_with(secret: &str, signed: Signed<'_>, headers: &HeaderMap) -> bool {
    let Some(value) = authorization(headers) else { return false };
    parts(value).is_some_and(|parts| sign(secret, &parts, signed, headers).is_some_and(|signature| signature == parts.signature))
}

/// The `Authorization` header with a signature by this secret. `None` where the request is not signed in this way.
pub(crate) fn signed_anew(secret: &str, signed: Signed<'_>, headers: &HeaderMap) -> Option<String> {
    let value = authorization(headers)?;
    let parts = parts(value)?;
    let signature = sign(secret, &parts, signed, headers)?;
    Some(format!(
        "{ALGORITHM} Credential={}/{}/{}/{}/aws4_request, SignedHeaders={}, Signature={signature}",
        parts.id,
        parts.date,
        parts.region,
        parts.service,
        parts.headers.join(";")
    ))
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    // With two of them it is the far side that chooses.
    values.next().is_none().then_some(value)
}

fn parts(value: &str) -> Option<Parts<'_>> {
    let rest = value.strip_prefix(ALGORITHM)?;
    let field = |name: &str| rest.split(',').find_map(|piece| piece.trim().strip_prefix(name));
    let mut scope = field("Credential=")?.split('/');
    let (id, date, region, service, end) = (scope.next()?, scope.next()?, scope.next()?, scope.next()?, scope.next()?);
    let headers: Vec<&str> = field("SignedHeaders=")?.split(';').collect();
    let good = end == "aws4_request" && scope.next().is_none() && headers.len() <= MOST_SIGNED && headers.is_sorted();
    good.then_some(Parts { id, date, region, service, headers, signature: field("Signature=")? })
}

fn sign(secret: &str, parts: &Parts<'_>, signed: Signed<'_>, headers: &HeaderMap) -> Option<String> {
    let at = headers.get("x-amz-date")?.to_str().ok()?;
    let scope = format!("{}/{}/{}/aws4_request", parts.date, parts.region, parts.service);
    let canonical = canonical(parts, signed, headers)?;
    let text = format!("{ALGORITHM}\n{at}\n{scope}\n{}", hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref()));
    let by = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
    let key = [parts.region, parts.service, "aws4_request"].iter().fold(by(format!("AWS4{secret}").as_bytes(), parts.date), |key, word| by(&key, word));
    Some(hex(&by(&key, &text)))
}

fn canonical(parts: &Parts<'_>, signed: Signed<'_>, headers: &HeaderMap) -> Option<String> {
    let (path, query) = signed.target.split_once('?').unwrap_or((signed.target, ""));
    // S3 takes the path as it is sent; all others encode it once more.
    let path = if parts.service == "s3" { path.to_owned() } else { encode(path.as_bytes(), Slash::Kept) };
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let again = |text: &str| encode(&percent_decode_str(text).collect::<Vec<u8>>(), Slash::Encoded);
            (again(name), again(value))
        })
        .collect();
    pairs.sort();
    let query = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let mut lines = String::new();
    for name in &parts.headers {
        let mut values = Vec::new();
        for value in headers.get_all(*name) {
            values.push(value.to_str().ok()?.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
        }
        let value = if values.is_empty() && *name == "host" { signed.host.to_owned() } else { values.join(",") };
        lines.push_str(&format!("{name}:{value}\n"));
    }
    let hash = match headers.get("x-amz-content-sha256") {
        Some(said) => said.to_str().ok()?.to_owned(),
        None => hex(digest::digest(&digest::SHA256, signed.body?).as_ref()),
    };
    // Each chunk has a signature of its own, which hangs on this one.
    if hash.starts_with("STREAMING-AWS4") {
        return None;
    }
    Some(format!("{}\n{path}\n{query}\n{lines}\n{}\n{hash}", signed.method, parts.headers.join(";")))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slash {
    Kept,
    Encoded,
}

fn encode(bytes: &[u8], slash: Slash) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(*byte)),
            b'/' if slash == Slash::Kept => text.push('/'),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    /// AWS's published test suite for Signature Version 4: get-vanilla and get-vanilla-query-order-key-case.
    #[test]
    fn signs_as_the_published_suite_does() {
        for (target, signature) in [
            ("/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ] {
            let authorization = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature={signature}"
            );
            let map = headers(&[("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z"), ("authorization", &authorization)]);
            let signed = Signed { method: &Method::GET, target, host: "", body: Some(b"") };
            assert!(is_signed_with(SECRET, signed, &map), "{target}");
            assert!(!is_signed_with("another", signed, &map));
            assert_eq!(signed_anew(SECRET, signed, &map), Some(authorization));
            assert!(!is_signed_with(SECRET, Signed { target: "/other", ..signed }, &map));
            assert!(!is_signed_with(SECRET, Signed { body: None, ..signed }, &map), "what is not known is not signed");
        }
    }

    #[test]
    fn what_is_no_such_signature_is_left_alone() {
        let signed = Signed { method: &Method::GET, target: "/", host: "h", body: Some(b"") };
        for value in ["Bearer x", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=x", "AWS4-ECDSA-P256-SHA256 Credential=a"]
        {
            assert_eq!(signed_anew(SECRET, signed, &headers(&[("authorization", value), ("x-amz-date", "20150830T123600Z")])), None, "{value}");
        }
        let streaming = headers(&[
            ("authorization", "AWS4-HMAC-SHA256 Credential=a/20150830/r/s3/aws4_request, SignedHeaders=host, Signature=x"),
            ("x-amz-date", "20150830T123600Z"),
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        ]);
        assert_eq!(signed_anew(SECRET, signed, &streaming), None);
    }
}
