//! What a request's head must be like before anything else is thought of it.

use agentbox_core::{Destination, HostName};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, Version, header, uri::Authority};

use super::{spdy, websocket};
use crate::{broker::HERE, meaning::Scheme};

/// Headers that belong to one connection (RFC 9110, section 7.6.1), and are never sent on.
const HOP_BY_HOP: &[&str] =
    &["connection", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "transfer-encoding", "upgrade"];

/// Headers that choose how a request is read, and by whom. A server behind CGI takes `Content_Type` for one of them.
const DECISIVE: &[&str] = &["content-encoding", "content-length", "content-type", "expect", "host", "transfer-encoding", "upgrade"];

/// Why a head is refused: the status, and one sentence.
pub(crate) type Refused = (StatusCode, &'static str);

/// Checks everything about a head that could make two parsers disagree, or lead elsewhere than its connection does.
pub(crate) fn check<B>(request: &Request<B>, destination: &Destination, scheme: Scheme) -> Result<(), Refused> {
    let headers = request.headers();
    if request.method() == Method::CONNECT {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "CONNECT is refused: there is no proxy in the box; connect directly, every address leads to the broker"));
    }
    let is_http2 = request.version() == Version::HTTP_2;
    if !is_http2 && (request.uri().authority().is_some() || request.uri().scheme().is_some()) {
        return Err((
            StatusCode::BAD_REQUEST,
            "a URL in the request line is refused: there is no proxy in the box; unset the proxy variables and connect directly",
        ));
    }
    if is_http2 && request.uri().scheme_str().is_some_and(|named| named != scheme.word()) {
        return Err((StatusCode::BAD_REQUEST, ":scheme is not the one of this connection"));
    }
    if !request.uri().path().starts_with('/') {
        return Err((StatusCode::BAD_REQUEST, "a target that is no path (such as * of OPTIONS) is refused"));
    }
    if headers.keys().any(|name| name.as_str().contains('_') && DECISIVE.contains(&name.as_str().replace('_', "-").as_str())) {
        return Err((StatusCode::BAD_REQUEST, "a header with an underscore where it has a dash: some servers would take the one for the other"));
    }
    if headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH) {
        return Err((StatusCode::BAD_REQUEST, "both Content-Length and Transfer-Encoding: the request could be read in two ways"));
    }
    if headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return Err((StatusCode::BAD_REQUEST, "more than one Content-Length: the request could be read in two ways"));
    }
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next()
        && (encodings.next().is_some() || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err((StatusCode::BAD_REQUEST, "a Transfer-Encoding other than one plain \"chunked\""));
    }
    if headers.contains_key(header::UPGRADE) && !is_h2c_offer(headers) && !websocket::is_asked(headers) && !spdy::is_asked(headers) {
        return Err((
            StatusCode::NOT_IMPLEMENTED,
            "Upgrade to anything but one WebSocket, or a stream of Kubernetes, is refused: what flows afterwards cannot be judged",
        ));
    }
    if let Some(expect) = headers.get(header::EXPECT)
        && !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        return Err((StatusCode::EXPECTATION_FAILED, "Expect other than 100-continue"));
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err((StatusCode::BAD_REQUEST, "more than one Host"));
    }
    let named = request.uri().authority();
    for authority in named.map(|a| a.as_str().as_bytes()).into_iter().chain(first.map(http::HeaderValue::as_bytes)) {
        if !is_for(authority, destination, scheme) {
            return Err((
                StatusCode::MISDIRECTED_REQUEST,
                "Host (or :authority) is not the host that this connection was made to: open a connection to it by its name",
            ));
        }
    }
    if named.is_none() && first.is_none() && request.version() != Version::HTTP_10 {
        return Err((StatusCode::BAD_REQUEST, "no Host"));
    }
    Ok(())
}

/// Some HTTP/1.1 clients offer cleartext HTTP/2 along the way; the offer is dropped, not refused.
fn is_h2c_offer(headers: &HeaderMap) -> bool {
    headers.get_all(header::UPGRADE).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"h2c"))
}

/// Whether a name has no place in trailers (RFC 9110, section 6.5.1): it tells how a message is framed, read or routed.
pub(crate) fn is_of_the_frame(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    HOP_BY_HOP.contains(&name.as_str()) || DECISIVE.contains(&name.as_str())
}

fn is_for(authority: &[u8], destination: &Destination, scheme: Scheme) -> bool {
    let Ok(authority) = Authority::try_from(authority) else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let default = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    // `port_u16` is none for no port and for a bad one: an authority that ends after a colon or has letters there is bad.
    let port = match authority.as_str().rsplit_once(':') {
        Some((_, tail)) if !tail.contains(']') => match authority.port_u16() {
            Some(port) => port,
            None => return false,
        },
        Some(_) | None => default,
    };
    HostName::parse(authority.host()).is_ok_and(|host| host == destination.host || (destination.host.as_str() == HERE && is_here(&host)))
        && port == destination.port
}

/// A forwarded port has several names, and one service behind them.
fn is_here(host: &HostName) -> bool {
    host.address().is_some_and(|address| address.to_canonical().is_loopback())
}

/// Takes out what belongs to one connection only.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    // gRPC needs `te: trailers`, the one value that is about the message and not the hop.
    let trailers = headers.get(header::TE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    for name in HOP_BY_HOP {
        headers.remove(*name);
    }
    for name in named {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, http::HeaderValue::from_static("trailers"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(host: &str, port: u16) -> Destination {
        Destination { host: HostName::parse(host).unwrap(), port, addresses: Vec::new() }
    }

    fn status(build: http::request::Builder) -> Result<(), StatusCode> {
        check(&build.body(()).unwrap(), &to("api.example.com", 443), Scheme::Https).map_err(|(status, _)| status)
    }

    fn get() -> http::request::Builder {
        Request::builder().uri("/v1").header("host", "api.example.com")
    }

    #[test]
    fn plain_requests_pass() {
        assert_eq!(status(get()), Ok(()));
        assert_eq!(status(Request::builder().uri("/").header("host", "API.example.com:443")), Ok(()));
        assert_eq!(status(Request::builder().version(Version::HTTP_2).uri("https://api.example.com/v1")), Ok(()));
        assert_eq!(status(get().header("expect", "100-continue")), Ok(()));
        assert_eq!(status(get().header("transfer-encoding", "chunked")), Ok(()));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        assert_eq!(status(get().header("content-length", "3").header("transfer-encoding", "chunked")), Err(StatusCode::BAD_REQUEST));
        assert_eq!(status(get().header("transfer-encoding", "chunked").header("transfer-encoding", "chunked")), Err(StatusCode::BAD_REQUEST));
        assert_eq!(status(get().header("transfer-encoding", "gzip, chunked")), Err(StatusCode::BAD_REQUEST));
        assert_eq!(status(get().header("transfer_encoding", "chunked")), Err(StatusCode::BAD_REQUEST));
        assert_eq!(status(get().header("x_mine", "1")), Ok(()));
        assert_eq!(status(get().header("transfer-encoding", "xchunked")), Err(StatusCode::BAD_REQUEST));
        assert_eq!(status(get().header("host", "api.example.com")), Err(StatusCode::BAD_REQUEST));
        assert_eq!(status(Request::builder().uri("/")), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        assert_eq!(status(Request::builder().uri("/").header("host", "other.example.com")), Err(StatusCode::MISDIRECTED_REQUEST));
        assert_eq!(status(Request::builder().uri("/").header("host", "api.example.com:80")), Err(StatusCode::MISDIRECTED_REQUEST));
        assert_eq!(status(Request::builder().uri("/").header("host", "api.example.com:")), Err(StatusCode::MISDIRECTED_REQUEST));
        assert_eq!(status(Request::builder().uri("/").header("host", "x@api.example.com")), Err(StatusCode::MISDIRECTED_REQUEST));
        assert_eq!(status(Request::builder().uri("http://api.example.com/")), Err(StatusCode::BAD_REQUEST));
        assert_eq!(status(Request::builder().method("CONNECT").uri("api.example.com:443")), Err(StatusCode::METHOD_NOT_ALLOWED));
        assert_eq!(status(get().header("upgrade", "tls/1.2").header("connection", "upgrade")), Err(StatusCode::NOT_IMPLEMENTED));
        assert_eq!(status(get().header("upgrade", "SPDY/3.1").header("upgrade", "tls/1.2")), Err(StatusCode::NOT_IMPLEMENTED));
        assert_eq!(status(get().header("upgrade", "websocket, tls/1.2").header("connection", "upgrade")), Err(StatusCode::NOT_IMPLEMENTED));
    }

    #[test]
    fn a_forwarded_port_goes_by_each_of_its_names_and_no_other() {
        let named = |host: &str| check(&Request::builder().uri("/").header("host", host).body(()).unwrap(), &to("localhost", 3000), Scheme::Http).is_ok();
        for host in ["localhost:3000", "127.0.0.1:3000", "[::1]:3000"] {
            assert!(named(host), "{host}");
        }
        for host in ["localhost", "localhost:3001", "127.0.0.1", "192.168.1.1:3000", "a.example:3000"] {
            assert!(!named(host), "{host}");
        }
    }

    #[test]
    fn strips_the_hop() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("connection", "close, x-mine"), ("x-mine", "1"), ("te", "trailers"), ("keep-alive", "5"), ("accept", "*/*")] {
            headers.append(name, value.parse().unwrap());
        }
        strip(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "te"]);
    }
}
