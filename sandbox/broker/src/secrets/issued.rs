//! The placeholders of a box, as the broker knows them: which credential a request carries, and whether it may be there.

use agentbox_core::{
    Credential, HostName,
    fingerprint::{Fingerprint, FingerprintKey},
    policy::settings::CredentialRule,
    wire::Placeholder,
};
use memchr::memmem;
use percent_encoding::percent_decode_str;

use super::aws::{self, Signed};
use crate::meaning::{Head, Position, Scheme, named_credential, positions};

/// Most credentials that are listed of one request; what is foreign comes first.
const MOST: usize = 16;

/// A placeholder that stands in such a text by chance would be shorter.
const LEAST: usize = 12;

/// How the position of a signed request ends.
const SIGNED: &str = "(AWS4-HMAC-SHA256)";

/// A host as clients write it into `Host`.
pub(crate) fn host_header(scheme: Scheme, host: &HostName, port: u16) -> String {
    let default = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    if port == default { host.to_string() } else { format!("{host}:{port}") }
}

#[derive(Clone, Debug)]
struct Known {
    name: String,
    text: String,
    hosts: Vec<HostName>,
}

/// All of one box. Secrets are not among them.
#[derive(Clone, Default)]
pub struct Issued {
    known: Vec<Known>,
    key: Option<FingerprintKey>,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.known.iter().map(|known| &known.name)).finish()
    }
}

impl Issued {
    /// Of the placeholders that were made, with what the policy says of their credentials. With the key what is foreign gets fingerprints.
    #[must_use]
    pub fn new(placeholders: Vec<Placeholder>, rules: &[CredentialRule], key: FingerprintKey) -> Self {
        let hosts = |name: &str| rules.iter().find(|rule| rule.name == name).map(|rule| rule.hosts.clone()).unwrap_or_default();
        let known = placeholders.into_iter().map(|Placeholder { name, text }| Known { hosts: hosts(&name), name, text }).collect();
        Self { known, key: Some(key) }
    }

    /// The credential whose placeholder this is.
    pub(crate) fn named(&self, value: &[u8]) -> Option<&str> {
        self.found(|placeholder| placeholder == value)
    }

    /// The credential whose placeholder is so.
    pub(crate) fn found(&self, is_so: impl Fn(&[u8]) -> bool) -> Option<&str> {
        self.known.iter().find(|known| is_so(known.text.as_bytes())).map(|known| known.name.as_str())
    }

    /// Whether some credential is for this host.
    pub(crate) fn knows(&self, host: &HostName) -> bool {
        self.known.iter().any(|known| known.hosts.contains(host))
    }

    /// What a request shows: in authenticating positions whatever stands there, elsewhere the placeholders of other hosts.
    pub(crate) fn recognise(&self, head: &Head<'_>, body: Option<&[u8]>) -> (Vec<Credential>, Vec<Fingerprint>) {
        let mut found: Vec<(Credential, Vec<u8>)> = Vec::new();
        let mut add = |new: Credential, value: &[u8]| {
            if !found.iter().any(|(known, _)| *known == new) {
                found.push((new, value.to_vec()));
            }
        };
        let signer = self.signer(head, body);
        positions(head, &mut |Position { place, value, told }| {
            // A signature shows the key's id, and proves the secret.
            let issued = self.named(value).or(signer.filter(|_| place.ends_with(SIGNED)));
            let name = match (issued, told) {
                (Some(name), _) => name.to_owned(),
                (None, true) => named_credential(value),
                (None, false) => "unknown".to_owned(),
            };
            add(Credential { position: place.to_owned(), name, issued: issued.is_some() }, value);
        });
        for stray in self.strays(head, body.unwrap_or_default()) {
            add(stray, &[]);
        }
        found.sort_by_key(|(credential, _)| credential.issued);
        found.truncate(MOST);
        let foreign = found.iter().enumerate().filter(|(_, (credential, _))| !credential.issued);
        let fingerprints = foreign.filter_map(|(index, (_, value))| self.key.as_ref()?.of(index, value)).collect();
        (found.into_iter().map(|(credential, _)| credential).collect(), fingerprints)
    }

    /// The credential with whose placeholder the request is signed.
    fn signer(&self, head: &Head<'_>, body: Option<&[u8]>) -> Option<&str> {
        let host = host_header(head.scheme, head.host, head.port);
        let signed = Signed { method: head.method, target: head.target, host: &host, body };
        self.known.iter().find(|known| aws::is_signed_with(&known.text, signed, head.headers)).map(|known| known.name.as_str())
    }

    /// Placeholders of other hosts, wherever they stand: nobody sends one by mistake alone.
    fn strays<'a>(&'a self, head: &'a Head<'_>, body: &'a [u8]) -> impl Iterator<Item = Credential> + 'a {
        let elsewhere = self.known.iter().filter(|known| known.text.len() >= LEAST && !known.hosts.contains(head.host));
        elsewhere.filter_map(|known| {
            let has = |text: &[u8]| memmem::find(text, known.text.as_bytes()).is_some();
            let place = if has(&percent_decode_str(head.target).collect::<Vec<u8>>()) {
                "URL"
            } else if head.headers.values().any(|value| has(value.as_bytes())) {
                "a header"
            } else if has(body) {
                "the body"
            } else {
                return None;
            };
            Some(Credential { position: place.to_owned(), name: known.name.clone(), issued: true })
        })
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;

    const STANDS: &str = "ghp_placeholder0123456789";

    fn issued() -> Issued {
        let hosts = vec![HostName::parse("api.example").unwrap()];
        Issued { known: vec![Known { name: "hub".into(), text: STANDS.into(), hosts }], key: None }
    }

    fn seen(host: &str, target: &str, headers: &[(&'static str, &str)], body: &[u8]) -> Vec<(String, String, bool)> {
        let host = HostName::parse(host).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let head = Head { method: &Method::GET, scheme: Scheme::Https, host: &host, port: 443, target, headers: &map };
        issued().recognise(&head, Some(body)).0.into_iter().map(|found| (found.position, found.name, found.issued)).collect()
    }

    #[test]
    fn knows_its_own_and_lists_what_is_foreign_first() {
        let bearer = format!("Bearer {STANDS}");
        let all = seen("api.example", "/?token=0123456789abcdefWXYZ", &[("authorization", &bearer), ("x-api-key", STANDS)], b"");
        assert_eq!(all[0], ("URL".into(), "unknown, ends in …WXYZ".into(), false));
        assert!(all[1..].iter().all(|(_, name, issued)| name == "hub" && *issued) && all.len() == 3, "{all:?}");
    }

    #[test]
    fn sixteen_of_its_own_hide_no_foreign_one() {
        let own = format!("Bearer {STANDS}");
        let mut headers = vec![("authorization", own.as_str()); 40];
        headers.push(("x-api-key", "0123456789abcdefWXYZ"));
        assert!(seen("api.example", "/", &headers, b"").iter().any(|(_, _, issued)| !issued));
    }

    #[test]
    fn strays_are_found_wherever_they_stand() {
        let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("x:{STANDS}"));
        for (target, headers, body) in [
            (format!("/{STANDS}"), vec![], ""),
            ("/".to_owned(), vec![("x-note", STANDS.to_owned())], ""),
            ("/".to_owned(), vec![("authorization", format!("Basic {basic}"))], ""),
            ("/".to_owned(), vec![], STANDS),
        ] {
            let headers: Vec<(&'static str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let at = |host: &str| seen(host, &target, &headers, body.as_bytes());
            assert!(at("evil.example").iter().any(|(_, name, issued)| name == "hub" && *issued), "{target} {headers:?} {body}");
        }
        assert!(seen("api.example", "/", &[], STANDS.as_bytes()).is_empty(), "where it is for, a body is its own business");
    }
}
