//! The network's own proxy, as the usual variables of the supervisor's environment tell it.

use agentbox_core::{Destination, HostName};
use base64::Engine;
use percent_encoding::percent_decode_str;

/// A proxy that takes CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its host.
    pub host: HostName,
    /// Its port.
    pub port: u16,
    /// Value of `Proxy-Authorization`.
    pub authorization: Option<String>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}

/// Which destinations go through which proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyRules {
    http: Option<Proxy>,
    https: Option<Proxy>,
    direct: Vec<String>,
}

/// A proxy variable that cannot be understood: going round the network's proxy silently would be worse than stopping.
#[derive(Debug, thiserror::Error)]
#[error("{variable} is not a proxy that can be used ({why}); agentbox takes http://[user:password@]host:port")]
pub struct BadProxy {
    variable: &'static str,
    why: String,
}

impl ProxyRules {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in lower case first as curl does.
    ///
    /// # Errors
    /// One of them is set to something else than an HTTP proxy.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, BadProxy> {
        let read = |lower: &str, upper: &'static str| -> Result<Option<Proxy>, BadProxy> {
            match variable(lower).or_else(|| variable(upper)).filter(|value| !value.is_empty()) {
                Some(value) => parse(&value).map(Some).map_err(|why| BadProxy { variable: upper, why }),
                None => Ok(None),
            }
        };
        let all = read("all_proxy", "ALL_PROXY")?;
        let http = read("http_proxy", "HTTP_PROXY")?.or_else(|| all.clone());
        let https = read("https_proxy", "HTTPS_PROXY")?.or(all);
        let no_proxy = variable("no_proxy").or_else(|| variable("NO_PROXY")).unwrap_or_default();
        let direct = no_proxy.split(',').map(|entry| entry.trim().trim_start_matches('.').to_ascii_lowercase()).filter(|e| !e.is_empty()).collect();
        Ok(Self { http, https, direct })
    }

    /// The proxy for a destination; port 80 counts as HTTP.
    #[must_use]
    pub fn proxy_for(&self, destination: &Destination) -> Option<&Proxy> {
        let host = destination.host.as_str();
        let direct = self.direct.iter().any(|entry| {
            entry == "*" || {
                let name = entry.strip_suffix(&format!(":{}", destination.port)).unwrap_or(entry);
                host == name || host.strip_suffix(name).is_some_and(|front| front.ends_with('.'))
            }
        });
        match (direct, destination.port) {
            (true, _) => None,
            (false, 80) => self.http.as_ref(),
            (false, _) => self.https.as_ref(),
        }
    }
}

fn parse(value: &str) -> Result<Proxy, String> {
    let text = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    let url = url::Url::parse(&text).map_err(|error| error.to_string())?;
    if url.scheme() != "http" {
        return Err(format!("scheme {}", url.scheme()));
    }
    let host = url.host_str().ok_or("no host")?;
    let host = HostName::parse(host)?;
    let port = url.port().unwrap_or(80);
    let authorization = (!url.username().is_empty()).then(|| {
        let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let pair = format!("{}:{}", decode(url.username()), decode(url.password().unwrap_or_default()));
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    });
    Ok(Proxy { host, port, authorization })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(host: &str, port: u16) -> Destination {
        Destination { host: HostName::parse(host).unwrap(), port, addresses: Vec::new() }
    }

    fn rules(pairs: &[(&str, &str)]) -> Result<ProxyRules, BadProxy> {
        ProxyRules::from_environment(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn finds_the_proxy_and_the_exceptions() {
        let rules = rules(&[("HTTPS_PROXY", "http://u:p%40@proxy.corp:3128"), ("NO_PROXY", ".corp, db.example.com:5432,localhost")]).unwrap();
        let proxy = rules.proxy_for(&to("example.com", 443)).unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.corp", 3128));
        assert_eq!(proxy.authorization.as_deref(), Some("Basic dTpwQA=="));
        assert_eq!(rules.proxy_for(&to("git.corp", 443)), None);
        assert!(rules.proxy_for(&to("notcorp", 443)).is_some());
        assert_eq!(rules.proxy_for(&to("db.example.com", 5432)), None);
        assert!(rules.proxy_for(&to("db.example.com", 443)).is_some());
        assert_eq!(rules.proxy_for(&to("example.com", 80)), None);
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_said_and_never_gone_round() {
        assert!(rules(&[("HTTPS_PROXY", "socks5://proxy.corp:1080")]).is_err());
        assert!(rules(&[("https_proxy", "http://")]).is_err());
    }
}
