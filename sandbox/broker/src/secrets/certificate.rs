//! Client certificates: what a source with one holds, and what the box sees instead of it.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// Shortest word of base64 that is looked into: no key is shorter.
const SHORTEST: usize = 64;

const BEGIN: &str = "-----BEGIN ";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// A certificate with those above it, and its private key. It has no `Display`, and its `Debug` says nothing.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Arc<PrivateKeyDer<'static>>,
    /// What stands for both, in PEM.
    certificate: String,
    private: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

/// Whether this text is one: then it is no secret of one line.
pub(crate) fn is_one(text: &str) -> bool {
    text.contains(CERTIFICATE)
}

impl Identity {
    /// Of PEM with certificates, the client's own first, and its private key, in any order. `name` stands in the placeholder.
    pub(crate) fn read(text: &str, name: &str) -> Result<Self, String> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(|_| "a certificate in it is not valid PEM")?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_| "beside the certificate it must hold a private key in PEM, and none that wants a password: command:cat CERTIFICATE KEY")?;
        rustls::sign::CertifiedKey::from_der(chain.clone(), key.clone_key(), &crate::tls::provider())
            .map_err(|error| format!("its certificate and its private key: {error}"))?;
        let made = stand_in(name).map_err(|_| "no placeholder of a certificate can be made")?;
        Ok(Self { chain, key: Arc::new(key), certificate: made.0, private: made.1 })
    }

    /// The placeholder's certificate, in PEM.
    pub(crate) fn stands(&self) -> &str {
        &self.certificate
    }

    /// Both placeholders, in PEM.
    pub(crate) fn shown(&self) -> String {
        format!("{}{}", self.certificate, self.private)
    }

    /// A text with the placeholders where it has the certificate or the key: as PEM, or as PEM in base64, as a kubeconfig has them.
    pub(crate) fn hidden_in(&self, text: &str) -> String {
        self.in_blocks(&self.in_words(text))
    }

    fn in_blocks(&self, text: &str) -> String {
        let mut new = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(BEGIN) {
            let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
            new.push_str(before);
            let end = from.get(BEGIN.len()..).and_then(|inner| inner.find("-----END ")).map(|at| at + BEGIN.len() + 9);
            let end = end.and_then(|at| from.get(at..)?.find("-----").map(|dashes| at + dashes + 5));
            let Some((block, after)) = end.and_then(|end| from.split_at_checked(end)) else {
                rest = from;
                break;
            };
            match self.instead_of(block) {
                Some(instead) => new.push_str(instead.trim_end()),
                None => new.push_str(block),
            }
            rest = after;
        }
        new.push_str(rest);
        new
    }

    /// What stands for a block; those above the certificate are public, and left away so that what is shown fits together.
    fn instead_of(&self, block: &str) -> Option<&str> {
        if block.starts_with(CERTIFICATE) {
            let found = CertificateDer::from_pem_slice(block.as_bytes()).ok()?;
            let at = self.chain.iter().position(|known| *known == found)?;
            return Some(if at == 0 { &self.certificate } else { "" });
        }
        let found = PrivateKeyDer::from_pem_slice(block.as_bytes()).ok()?;
        (found.secret_der() == self.key.secret_der()).then_some(&self.private)
    }

    fn in_words(&self, text: &str) -> String {
        let is_of = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
        let mut new = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|c| !is_of(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            let decoded = (word.len() >= SHORTEST).then(|| STANDARD.decode(word).ok()).flatten().and_then(|bytes| String::from_utf8(bytes).ok());
            match decoded.filter(|inner| inner.contains(BEGIN)) {
                Some(inner) => new.push_str(&STANDARD.encode(self.in_blocks(&inner))),
                None => new.push_str(word),
            }
            let other = after.find(is_of).unwrap_or(after.len());
            let (between, next) = after.split_at_checked(other).unwrap_or((after, ""));
            new.push_str(between);
            rest = next;
        }
        new
    }
}

/// A certificate that nobody has signed, and its key.
fn stand_in(name: &str) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("agentbox placeholder of {name}"));
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// The certificate of a placeholder, as it is shown in TLS.
pub(crate) fn shown_in_tls(placeholder: &str) -> Option<CertificateDer<'static>> {
    placeholder.starts_with(CERTIFICATE).then(|| CertificateDer::from_pem_slice(placeholder.as_bytes()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn nothing_of_it_is_left_in_what_is_shown() {
        let ((certificate, key), (authority, _)) = (pem(), pem());
        let identity = Identity::read(&format!("{key}{certificate}"), "k8s").unwrap();
        let config = format!(
            "certificate-authority-data: {}\nusers:\n- client-certificate-data: {}\n  client-key-data: {}\n# {certificate}{key}end",
            STANDARD.encode(&authority),
            STANDARD.encode(&certificate),
            STANDARD.encode(&key)
        );
        let shown = identity.hidden_in(&config);
        for (real, stands) in [(&certificate, &identity.certificate), (&key, &identity.private)] {
            assert!(!shown.contains(real.trim()) && !shown.contains(&STANDARD.encode(real)), "{shown}");
            assert!(shown.contains(stands.trim()), "{shown}");
        }
        assert!(shown.contains(&STANDARD.encode(&authority)) && shown.ends_with("end"), "the authority is nobody's secret");
        let word = shown.lines().find_map(|line| line.trim().strip_prefix("client-key-data: ")).unwrap();
        let again = Identity::read(&format!("{}{}", identity.certificate, String::from_utf8(STANDARD.decode(word).unwrap()).unwrap()), "x");
        assert!(again.is_ok(), "what is shown fits together");
        assert_eq!(shown_in_tls(identity.stands()), CertificateDer::from_pem_slice(identity.certificate.as_bytes()).ok());
    }

    #[test]
    fn what_does_not_fit_together_is_none() {
        let ((certificate, key), (_, other)) = (pem(), pem());
        assert!(is_one(&certificate) && !is_one(&key));
        for bad in [certificate.clone(), format!("{certificate}{other}"), "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n".to_owned()] {
            let why = Identity::read(&bad, "x").unwrap_err();
            assert!(!why.contains("BEGIN"), "{why}");
        }
        assert!(Identity::read(&format!("{certificate}{key}"), "x").is_ok_and(|identity| format!("{identity:?}") == "Identity(…)"));
    }
}
