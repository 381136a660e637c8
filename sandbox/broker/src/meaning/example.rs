//! A request written as one line in a policy's `[[example]]`, understood as if it had been sent.

use agentbox_core::{Destination, Digest, Evidence, HostName, Operation, Request, Resource, ResourceId};
use http::{HeaderMap, HeaderValue, Method, header};

use super::{Body, Head, Scheme, understand, websocket};

/// What the request `method url` with this body would be judged as.
///
/// # Errors
/// One sentence on what is wrong with the example.
pub fn example(method: &str, url: &str, body: Option<&str>) -> Result<Request, String> {
    let mut headers = HeaderMap::new();
    if let Some(body) = body {
        let json = body.trim_start().starts_with(['{', '[']);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(if json { "application/json" } else { "application/x-www-form-urlencoded" }));
    }
    request(method, url, &headers, body.map(str::as_bytes))
}

/// The same with headers of one's own; `classify` uses it too.
///
/// # Errors
/// One sentence on what is wrong with it.
pub fn request(method: &str, url: &str, headers: &HeaderMap, body: Option<&[u8]>) -> Result<Request, String> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| format!("`{}` is no HTTP method", agentbox_core::safe::line(method, 30)))?;
    let Address { scheme, host, port, target } = address(url, ["http", "https"])?;
    let head = Head { method: &method, scheme, host: &host, port, target: &target, headers };
    let meaning = understand(&head, body.map_or(Body::Absent, Body::Whole));
    let summary = format!("{method} {}://{host}{target}", scheme.word());
    Ok(Request {
        operations: meaning.operations,
        destination: Some(Destination { host: host.clone(), port, addresses: Vec::new() }),
        digest: Digest::of([method.as_str().as_bytes(), host.as_str().as_bytes(), &port.to_le_bytes(), target.as_bytes(), body.unwrap_or_default()]),
        evidence: Evidence { summary, excerpt: meaning.excerpt, credentials: meaning.credentials, ..Evidence::default() },
    })
}

/// What one whole message of a WebSocket would be judged as; `headers` are those of its opening, with the subprotocol.
///
/// # Errors
/// One sentence on what is wrong with it.
pub fn websocket_message(url: &str, headers: &HeaderMap, kind: websocket::Kind, message: &[u8]) -> Result<Request, String> {
    let Address { scheme, host, port, target } = address(url, ["ws", "wss"])?;
    let mut headers = headers.clone();
    let protocol = headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    let protocol = protocol.as_ref().and_then(|value| value.to_str().ok()).map(str::trim);
    let head = Head { method: &Method::GET, scheme, host: &host, port, target: &target, headers: &headers };
    let meaning = websocket::alone(&head, protocol, kind, message);
    Ok(Request {
        operations: meaning.operations,
        destination: Some(Destination { host: host.clone(), port, addresses: Vec::new() }),
        digest: Digest::of([b"websocket".as_slice(), host.as_str().as_bytes(), &port.to_le_bytes(), target.as_bytes(), message]),
        evidence: Evidence {
            summary: format!("a message to {}://{host}{target}", scheme.word()),
            excerpt: meaning.excerpt,
            credentials: meaning.credentials,
            ..Evidence::default()
        },
    })
}

/// A URL taken apart.
struct Address {
    scheme: Scheme,
    host: HostName,
    port: u16,
    target: String,
}

/// Takes a URL apart whose scheme is one of these, the one in the clear first.
fn address(url: &str, [clear, secure]: [&str; 2]) -> Result<Address, String> {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(secure) => (Scheme::Https, rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(clear) => (Scheme::Http, rest),
        _ => return Err(format!("an example's URL begins with {clear}:// or {secure}://")),
    };
    // Taken apart by hand: a URL library would tidy the path, and the path as sent is what is judged.
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| format!("`{}` is no port", agentbox_core::safe::line(port, 30)))?),
        _ => (authority, if scheme == Scheme::Https { 443 } else { 80 }),
    };
    let host = HostName::parse(host).map_err(str::to_owned)?;
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok(Address { scheme, host, port, target })
}

/// What a command line for another machine (`ssh host COMMAND`) would be judged as; `input` is what is sent to it.
///
/// # Errors
/// One sentence on what is wrong with it.
pub fn remote_command(url: &str, command: &str, input: Option<&[u8]>) -> Result<Request, String> {
    let rest = url.strip_prefix("ssh://").ok_or("a remote command's URL begins with ssh://")?;
    let authority = rest.split('/').next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = HostName::parse(authority.split(':').next().unwrap_or_default()).map_err(str::to_owned)?;
    // A push over SSH says the same as one over HTTP.
    if let Some(path) = command.trim().strip_prefix("git-receive-pack ") {
        let path = path.trim().trim_matches('\'').trim_start_matches('/');
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-git-receive-pack-request"));
        return request("POST", &format!("https://{host}/{path}/git-receive-pack"), &headers, input);
    }
    let (effect, why) = super::shell::judge(command);
    let resource = Resource::unplaced(ResourceId::new("ssh", host.as_str()));
    Ok(Request {
        operations: vec![Operation::new(effect, "ssh.exec", resource, why)],
        destination: Some(Destination { host: host.clone(), port: 22, addresses: Vec::new() }),
        digest: Digest::of([b"ssh".as_slice(), host.as_str().as_bytes(), command.as_bytes(), input.unwrap_or_default()]),
        evidence: Evidence { summary: format!("ssh {host}"), excerpt: command.to_owned(), ..Evidence::default() },
    })
}

#[cfg(test)]
mod tests {
    use agentbox_core::Effect;

    use super::*;

    #[test]
    fn the_policys_own_example() {
        let request = example("POST", "https://backboard.railway.com/graphql/v2", Some(r#"{"query":"mutation{volumeDelete(volumeId:\"x\")}"}"#)).unwrap();
        assert_eq!(request.operations.len(), 1);
        assert_eq!(request.operations[0].effect, Effect::Destroy);
        assert_eq!(request.operations[0].action.as_str(), "railway.volumeDelete");
        assert_eq!(request.operations[0].resource.id.as_str(), "railway:volume/x");
        assert_eq!(request.destination.unwrap().to_string(), "backboard.railway.com:443");
    }

    #[test]
    fn says_what_is_wrong() {
        for (method, url) in [("G T", "https://a/"), ("GET", "ftp://a/"), ("GET", "https://a:x/"), ("GET", "https:///"), ("GET", "a.example/x")] {
            assert!(example(method, url, None).is_err(), "{method} {url}");
        }
        assert_eq!(example("GET", "https://[::1]:8443/x", None).unwrap().destination.unwrap().to_string(), "[::1]:8443");
    }
}
