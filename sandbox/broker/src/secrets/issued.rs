//! The placeholders of a box, as the broker knows them: which credential a request carries, and whether it may be there.

use std::sync::{Arc, PoisonError, RwLock};

use agentbox_core::{
    Credential, HostName,
    fingerprint::{Fingerprint, FingerprintKey},
    policy::settings::CredentialRule,
    wire::Placeholder,
};
use memchr::memmem;
use percent_encoding::percent_decode_str;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::{
    aws::{self, Signed},
    certificate,
};
use crate::authority::Ask;
use crate::meaning::{Head, Position, Scheme, in_body, named_credential, positions};

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
    /// Where it is a client's certificate.
    certificate: Option<CertificateDer<'static>>,
}

/// What the holder of the secrets tells of a token that a far side handed out for issued credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// The credentials that it was handed out for: each must permit what is done with it.
    pub(crate) names: Vec<String>,
    /// What the agent has instead of it.
    pub(crate) text: String,
    /// Placeholders of such tokens that are known no more.
    pub(crate) forgotten: Vec<String>,
}

/// A token's placeholder.
#[derive(Clone, Debug)]
struct Token {
    names: Vec<String>,
    text: String,
    hosts: Vec<HostName>,
}

/// All of one box. Secrets are not among them.
#[derive(Clone, Default)]
pub struct Issued {
    known: Vec<Known>,
    /// As many as the holder keeps, which is who says what comes and goes.
    tokens: Arc<RwLock<Vec<Token>>>,
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
        let known = placeholders
            .into_iter()
            .map(|Placeholder { name, text }| Known { hosts: hosts(&name), certificate: certificate::shown_in_tls(&text), name, text })
            .collect();
        Self { known, tokens: Arc::default(), key: Some(key) }
    }

    /// From now on this is a token's placeholder. It may go where all of its credentials may.
    pub(crate) fn learn(&self, told: Told) {
        let of = |name: &String| self.known.iter().find(|known| known.name == *name).map(|known| known.hosts.as_slice()).unwrap_or_default();
        let mut hosts = told.names.first().map(|name| of(name).to_vec()).unwrap_or_default();
        hosts.retain(|host| told.names.iter().all(|name| of(name).contains(host)));
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|token| !told.forgotten.contains(&token.text) && token.text != told.text);
        tokens.push(Token { names: told.names, text: told.text, hosts });
    }

    /// The names of the credentials that a token was handed out for, which is known by its placeholder.
    fn handed_out_for(&self, is_so: impl Fn(&str) -> bool) -> Vec<String> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        tokens.iter().find(|token| is_so(&token.text)).map(|token| token.names.clone()).unwrap_or_default()
    }

    /// The credential whose placeholder this is.
    pub(crate) fn named(&self, value: &[u8]) -> Option<&str> {
        self.found(|placeholder| placeholder == value)
    }

    /// The credential whose placeholder is so.
    pub(crate) fn found(&self, is_so: impl Fn(&[u8]) -> bool) -> Option<&str> {
        self.known.iter().find(|known| is_so(known.text.as_bytes())).map(|known| known.name.as_str())
    }

    /// Whether clients are asked for a certificate at this host.
    pub(crate) fn asks(&self, host: &HostName) -> Ask {
        if self.known.iter().any(|known| known.certificate.is_some() && known.hosts.contains(host)) { Ask::Certificate } else { Ask::Nothing }
    }

    /// A certificate that a client showed: the credential that it stands for, or a foreign one.
    pub(crate) fn certificate(&self, shown: &CertificateDer<'_>) -> Credential {
        let known = self.known.iter().find(|known| known.certificate.as_ref().is_some_and(|own| own.as_ref() == shown.as_ref()));
        let name = known.map_or_else(|| "unknown".to_owned(), |known| known.name.clone());
        Credential { position: "client certificate".to_owned(), name, issued: known.is_some() }
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
        let signed = self.signed(head, body);
        let mut hear = |Position { place, value, told }: Position<'_>| {
            if let Some(name) = self.named(value) {
                return add(Credential { position: place.to_owned(), name: name.to_owned(), issued: true }, value);
            }
            let of_token = self.handed_out_for(|text| text.as_bytes() == value);
            if !of_token.is_empty() {
                let position = format!("{place}, by a token that it was exchanged for");
                return of_token.into_iter().for_each(|name| add(Credential { position: position.clone(), name, issued: true }, value));
            }
            // A signature shows the key's id, and proves the secret.
            if !signed.is_empty() && place.ends_with(SIGNED) {
                return signed.iter().for_each(|name| add(Credential { position: place.to_owned(), name: name.clone(), issued: true }, value));
            }
            let name = if told { named_credential(value) } else { "unknown".to_owned() };
            add(Credential { position: place.to_owned(), name, issued: false }, value);
        };
        positions(head, &mut hear);
        let _ = in_body(head.headers, body.unwrap_or_default(), &mut |position| {
            hear(position);
            None
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

    /// The credentials with whose placeholder, or with that of a token of theirs, the request is signed.
    fn signed(&self, head: &Head<'_>, body: Option<&[u8]>) -> Vec<String> {
        let host = host_header(head.scheme, head.host, head.port);
        let signed = Signed { method: head.method, target: head.target, host: &host, body };
        let with = |text: &str| aws::is_signed_with(text, signed, head.headers);
        match self.known.iter().find(|known| with(&known.text)) {
            Some(known) => vec![known.name.clone()],
            None => self.handed_out_for(with),
        }
    }

    /// Placeholders of other hosts, wherever they stand: nobody sends one by mistake alone.
    fn strays(&self, head: &Head<'_>, body: &[u8]) -> Vec<Credential> {
        let target: Vec<u8> = percent_decode_str(head.target).collect();
        let place = |text: &str| {
            let has = |bytes: &[u8]| memmem::find(bytes, text.as_bytes()).is_some();
            if has(&target) {
                Some("URL")
            } else if head.headers.values().any(|value| has(value.as_bytes())) {
                Some("a header")
            } else if has(body) {
                Some("the body")
            } else {
                None
            }
        };
        let is_elsewhere = |text: &str, hosts: &[HostName]| text.len() >= LEAST && !hosts.contains(head.host);
        let stray = |place: &str, name: &String| Credential { position: place.to_owned(), name: name.clone(), issued: true };
        let known = self.known.iter().filter(|known| is_elsewhere(&known.text, &known.hosts));
        let mut strays: Vec<Credential> = known.filter_map(|known| Some(stray(place(&known.text)?, &known.name))).collect();
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        for token in tokens.iter().filter(|token| is_elsewhere(&token.text, &token.hosts)) {
            if let Some(place) = place(&token.text) {
                strays.extend(token.names.iter().map(|name| stray(place, name)));
            }
        }
        strays
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;

    const STANDS: &str = "ghp_placeholder0123456789";

    fn issued() -> Issued {
        let hosts = vec![HostName::parse("api.example").unwrap()];
        Issued { known: vec![Known { name: "hub".into(), text: STANDS.into(), hosts, certificate: None }], tokens: Arc::default(), key: None }
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
    fn a_token_is_known_as_what_it_was_handed_out_for() {
        let issued = issued();
        let head = |host| {
            let headers = [(http::header::AUTHORIZATION, "Bearer tok-0123456789abcdef".parse().unwrap())].into_iter().collect::<HeaderMap>();
            let host = HostName::parse(host).unwrap();
            let head = Head { method: &Method::GET, scheme: Scheme::Https, host: &host, port: 443, target: "/", headers: &headers };
            let found = issued.recognise(&head, None).0;
            found.into_iter().map(|found| (found.name, found.issued)).collect::<Vec<_>>()
        };
        assert!(!head("api.example")[0].1);
        issued.learn(Told { names: vec!["hub".into()], text: "tok-0123456789abcdef".into(), forgotten: Vec::new() });
        assert_eq!(head("api.example"), [("hub".to_owned(), true)]);
        assert!(head("evil.example").iter().any(|(name, issued)| name == "hub" && *issued), "at another host it is a stray");
        issued.learn(Told { names: vec!["hub".into()], text: "another".into(), forgotten: vec!["tok-0123456789abcdef".into()] });
        assert!(!head("api.example")[0].1, "what the holder has forgotten is not known any more");
    }

    #[test]
    fn proofs_in_the_body_of_a_log_in_count() {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let all = seen("api.example", "/oauth/token", &form, format!("grant_type=password&password={STANDS}&client_secret=0123456789abcdefWXYZ").as_bytes());
        assert_eq!(all[0], ("body (clientsecret)".into(), "unknown, ends in …WXYZ".into(), false));
        assert_eq!(all[1], ("body (password)".into(), "hub".into(), true));
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
