//! The opening handshake (RFC 6455, section 4): checked on the client's side, made anew on the far side's.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header};

/// RFC 6455, section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Most subprotocols that a client may offer.
const MOST_PROTOCOLS: usize = 32;

/// What belongs to one side's handshake only. Extensions are among them: frames that are compressed cannot be judged.
const OF_ONE_SIDE: &[HeaderName] = &[header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_ACCEPT, header::SEC_WEBSOCKET_VERSION, header::SEC_WEBSOCKET_EXTENSIONS];

/// Whether a request asks for a WebSocket.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(header::UPGRADE).iter();
    all.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket")) && all.next().is_none()
}

/// Why a handshake is refused.
pub(super) type Wrong = (StatusCode, &'static str);

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// What the answer must be derived from.
    key: String,
    protocols: Vec<String>,
}

/// What the far side agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) protocol: Option<String>,
}

impl Offer {
    /// Reads the client's side.
    pub(super) fn read<B>(request: &Request<B>) -> Result<Self, Wrong> {
        let headers = request.headers();
        let bad = |why| Err((StatusCode::BAD_REQUEST, why));
        let one = |name: &HeaderName| {
            let mut all = headers.get_all(name).iter();
            all.next().filter(|_| all.next().is_none()).map(HeaderValue::as_bytes)
        };
        if one(&header::SEC_WEBSOCKET_VERSION) != Some(b"13") {
            return Err((StatusCode::UPGRADE_REQUIRED, "WebSocket in another version than 13"));
        }
        if request.method() != Method::GET || request.version() != Version::HTTP_11 {
            return bad("a WebSocket begins with a GET of HTTP/1.1");
        }
        if headers.contains_key(header::TRANSFER_ENCODING) || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0") {
            return bad("a WebSocket's opening request with a body");
        }
        if one(&header::UPGRADE).is_none() || !has_token(headers, &header::CONNECTION, "upgrade") {
            return bad("Upgrade without a Connection header that says so");
        }
        let Some(key) = one(&header::SEC_WEBSOCKET_KEY).filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16)) else {
            return bad("a Sec-WebSocket-Key that is not sixteen bytes in base64");
        };
        let key = String::from_utf8_lossy(key).into_owned();
        let mut protocols = Vec::new();
        for value in headers.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
            let Ok(text) = value.to_str() else { return bad("a subprotocol that is not ASCII") };
            protocols.extend(text.split(',').map(|protocol| protocol.trim().to_owned()).filter(|protocol| !protocol.is_empty()));
        }
        if protocols.len() > MOST_PROTOCOLS {
            return bad("too many subprotocols");
        }
        Ok(Self { key, protocols })
    }

    /// The head of the answer that says yes to the client.
    pub(super) fn accept(&self, headers: &mut HeaderMap) -> StatusCode {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::try_from(derive(&self.key)) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        StatusCode::SWITCHING_PROTOCOLS
    }

    /// Checks the far side's answer to [`ask`].
    pub(super) fn agreed(&self, key: &str, headers: &HeaderMap) -> Result<Agreed, &'static str> {
        let one = |name: &HeaderName| headers.get(name).filter(|_| headers.get_all(name).iter().count() == 1).map(HeaderValue::as_bytes);
        if !one(&header::UPGRADE).is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) || !has_token(headers, &header::CONNECTION, "upgrade") {
            return Err("the far side changed to another protocol than WebSocket");
        }
        if one(&header::SEC_WEBSOCKET_ACCEPT) != Some(derive(key).as_bytes()) {
            return Err("the far side's Sec-WebSocket-Accept does not answer our key");
        }
        if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
            return Err("the far side chose an extension that was not offered");
        }
        if !headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
            return Ok(Agreed { protocol: None });
        }
        match one(&header::SEC_WEBSOCKET_PROTOCOL).map(String::from_utf8_lossy) {
            Some(chosen) if self.protocols.iter().any(|offered| *offered == chosen) => Ok(Agreed { protocol: Some(chosen.into_owned()) }),
            Some(_) | None => Err("the far side chose a subprotocol that was not offered"),
        }
    }
}

/// Takes the client's own part out of a head.
pub(super) fn strip(headers: &mut HeaderMap) {
    for name in OF_ONE_SIDE {
        headers.remove(name);
    }
}

/// Puts our own part in, with a new key.
pub(super) fn ask(headers: &mut HeaderMap) -> Result<String, getrandom::Error> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce)?;
    let key = STANDARD.encode(nonce);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    if let Ok(value) = HeaderValue::try_from(&key) {
        headers.insert(header::SEC_WEBSOCKET_KEY, value);
    }
    Ok(key)
}

pub(super) fn derive(key: &str) -> String {
    let mut sha = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    sha.update(key.as_bytes());
    sha.update(GUID);
    STANDARD.encode(sha.finish())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(pairs: &[(&str, &str)]) -> Request<()> {
        let mut builder = Request::builder().uri("/");
        for (name, value) in pairs {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap()
    }

    const GOOD: [(&str, &str); 4] =
        [("upgrade", "websocket"), ("connection", "keep-alive, Upgrade"), ("sec-websocket-version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")];

    #[test]
    fn the_samples_of_the_rfc() {
        let offer = Offer::read(&request(&GOOD)).unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(offer.accept(&mut headers), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(headers[header::SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_no_proper_handshake_is_refused() {
        for at in 1..GOOD.len() {
            let mut without = GOOD.to_vec();
            without.remove(at);
            assert!(Offer::read(&request(&without)).is_err(), "{at}");
        }
        for (at, value) in [(2, "8"), (3, "c2hvcnQ="), (3, "not base64"), (1, "close")] {
            let mut odd = GOOD.to_vec();
            odd[at].1 = value;
            assert!(Offer::read(&request(&odd)).is_err(), "{value}");
        }
        let twice = [&GOOD[..], &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]].concat();
        assert!(Offer::read(&request(&twice)).is_err());
        let body = [&GOOD[..], &[("content-length", "3")]].concat();
        assert!(Offer::read(&request(&body)).is_err());
    }

    #[test]
    fn extensions_are_not_offered_on() {
        let mut headers =
            request(&[&GOOD[..], &[("sec-websocket-extensions", "permessage-deflate"), ("sec-websocket-protocol", "a")]].concat()).headers().clone();
        assert!(is_asked(&headers));
        strip(&mut headers);
        assert!(!headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) && !headers.contains_key(header::SEC_WEBSOCKET_KEY));
        assert!(headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL));
        assert!(!is_asked(&request(&[("upgrade", "websocket"), ("upgrade", "h2c")]).headers().clone()));
        assert!(!is_asked(&request(&[("upgrade", "websocket, h2c")]).headers().clone()));
    }

    #[test]
    fn the_far_side_must_answer_what_was_asked() {
        let offer = Offer::read(&request(&[&GOOD[..], &[("sec-websocket-protocol", "graphql-ws, other")]].concat())).unwrap();
        let mut sent = HeaderMap::new();
        let key = ask(&mut sent).unwrap();
        let answer = |pairs: &[(&'static str, String)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, value.parse().unwrap());
            }
            offer.agreed(&key, &headers)
        };
        let good = [("upgrade", "websocket".to_owned()), ("connection", "Upgrade".to_owned()), ("sec-websocket-accept", derive(&key))];
        assert_eq!(answer(&good), Ok(Agreed { protocol: None }));
        let with = |name, value: &str| answer(&[&good[..], &[(name, value.to_owned())]].concat());
        assert_eq!(with("sec-websocket-protocol", "other"), Ok(Agreed { protocol: Some("other".to_owned()) }));
        assert!(with("sec-websocket-protocol", "mqtt").is_err());
        assert!(with("sec-websocket-extensions", "permessage-deflate").is_err());
        assert!(with("sec-websocket-accept", "x").is_err());
        assert!(answer(&good[..2]).is_err());
    }
}
