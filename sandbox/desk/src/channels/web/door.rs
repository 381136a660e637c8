//! Who may see the page: one-time links, sessions, and which host and origin a browser must speak of.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use agentbox_core::Digest;
use http::{HeaderMap, header};

/// How long a link may lie unused.
const LINK: Duration = Duration::from_secs(10 * 60);

/// How long somebody stays logged in.
const SESSION: Duration = Duration::from_secs(12 * 3600);

/// Sessions at once; the oldest goes.
const MOST: usize = 8;

/// The cookie's name.
pub(super) const COOKIE: &str = "agentbox-desk";

/// Somebody who logged in.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    /// The secret first part of all paths. A cookie is sent to every port of a host, but only to paths below this.
    pub(super) path: String,
    /// In every form.
    pub(super) stamp: String,
    cookie: Digest,
    until: Instant,
}

/// The door.
#[derive(Debug)]
pub(super) struct Door {
    /// What `Host` may say; empty where any loopback name may, behind a socket that only the user opens.
    hosts: Vec<String>,
    link: Option<(Digest, Instant)>,
    guests: Vec<Guest>,
}

/// 128 random bits.
fn secret() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Secrets are compared by digest, so that the time it takes says nothing of them.
fn digest(text: &str) -> Digest {
    Digest::of([text.as_bytes()])
}

impl Door {
    /// For a page at this address; `None` for one behind a UNIX socket.
    pub(super) fn new(address: Option<SocketAddr>) -> Self {
        let hosts = address.map(|address| vec![address.to_string(), format!("localhost:{}", address.port())]).unwrap_or_default();
        Self { hosts, link: None, guests: Vec::new() }
    }

    /// A new one-time link; the one before ends.
    pub(super) fn link(&mut self, now: Instant) -> Option<String> {
        let secret = secret()?;
        self.link = Some((digest(&secret), now + LINK));
        Some(secret)
    }

    /// Whether the link is good; it stays so until somebody enters.
    pub(super) fn fits(&self, link: &str, now: Instant) -> bool {
        self.link.as_ref().is_some_and(|(known, until)| now < *until && *known == digest(link))
    }

    /// Uses the link up. The cookie comes with the guest, and is known nowhere else.
    pub(super) fn enter(&mut self, link: &str, now: Instant) -> Option<(Guest, String)> {
        if !self.fits(link, now) {
            return None;
        }
        self.link = None;
        let (path, stamp, cookie) = (secret()?, secret()?, secret()?);
        let guest = Guest { path, stamp, cookie: digest(&cookie), until: now + SESSION };
        if self.guests.len() >= MOST {
            self.guests.remove(0);
        }
        self.guests.push(guest.clone());
        Some((guest, cookie))
    }

    /// The guest whose path and cookie these are.
    pub(super) fn guest(&self, path: &str, headers: &HeaderMap, now: Instant) -> Option<&Guest> {
        let guest = self.guests.iter().find(|guest| digest(&guest.path) == digest(path) && now < guest.until)?;
        let mut cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
        let known = |pair: &str| pair.trim().strip_prefix(COOKIE).and_then(|rest| rest.strip_prefix('=')).is_some_and(|value| digest(value) == guest.cookie);
        cookies.any(known).then_some(guest)
    }

    /// Whether the browser believes that it speaks to us: a name that somebody else pointed here (DNS rebinding) is not ours.
    pub(super) fn is_our_host(&self, headers: &HeaderMap) -> bool {
        let Some(host) = one(headers, header::HOST) else { return false };
        if !self.hosts.is_empty() {
            return self.hosts.iter().any(|ours| ours == host);
        }
        let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host });
        ["localhost", "127.0.0.1", "[::1]"].contains(&name)
    }

    /// Whether what changes something comes from our own page.
    pub(super) fn is_our_origin(&self, headers: &HeaderMap) -> bool {
        let origin = one(headers, header::ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
        let host = one(headers, header::HOST);
        let site = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin");
        site && self.is_our_host(headers) && origin.is_some() && origin == host
    }
}

/// The one value of a header; `None` where there are two.
fn one(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_link_opens_once_and_for_a_while() {
        let now = Instant::now();
        let mut door = Door::new(None);
        let old = door.link(now).unwrap();
        let link = door.link(now).unwrap();
        assert!(door.enter(&old, now).is_none() && door.enter("", now).is_none() && door.enter(&link, now + LINK).is_none());
        let (guest, cookie) = door.enter(&link, now).unwrap();
        assert!(door.enter(&link, now).is_none());
        let with = |cookie: &str| headers(&[("cookie", &format!("other=1; {COOKIE}={cookie}"))]);
        assert!(door.guest(&guest.path, &with(&cookie), now).is_some());
        assert!(door.guest(&guest.path, &with("0"), now).is_none() && door.guest("0", &with(&cookie), now).is_none());
        assert!(door.guest(&guest.path, &HeaderMap::new(), now).is_none());
        assert!(door.guest(&guest.path, &with(&cookie), now + SESSION).is_none());
    }

    #[test]
    fn only_our_own_host_and_origin() {
        let door = Door::new(Some("127.0.0.1:8080".parse().unwrap()));
        for host in ["127.0.0.1:8080", "localhost:8080"] {
            assert!(door.is_our_host(&headers(&[("host", host)])), "{host}");
        }
        for host in ["evil.example:8080", "127.0.0.1", "127.0.0.1:8081", "localhost:8080.evil.example", "LOCALHOST:8080"] {
            assert!(!door.is_our_host(&headers(&[("host", host)])), "{host}");
        }
        assert!(!door.is_our_host(&headers(&[("host", "localhost:8080"), ("host", "localhost:8080")])));
        let from = |origin: &str| headers(&[("host", "localhost:8080"), ("origin", origin)]);
        assert!(door.is_our_origin(&from("http://localhost:8080")));
        for origin in ["null", "http://evil.example", "http://localhost:3000", "https://localhost:8080", "http://127.0.0.1:8080"] {
            assert!(!door.is_our_origin(&from(origin)), "{origin}");
        }
        assert!(!door.is_our_origin(&headers(&[("host", "localhost:8080")])));
        let cross = headers(&[("host", "localhost:8080"), ("origin", "http://localhost:8080"), ("sec-fetch-site", "same-site")]);
        assert!(!door.is_our_origin(&cross));
        assert!(Door::new(None).is_our_host(&headers(&[("host", "localhost:9")])) && !Door::new(None).is_our_host(&headers(&[("host", "evil.example:9")])));
    }
}
