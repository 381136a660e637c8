//! The box's own certificate authority: made for one box, lives in memory, signs a certificate for each name that a client asks for.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock},
};

use agentbox_core::HostName;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::{
    ServerConfig,
    crypto::ring::sign::any_ecdsa_type,
    server::{NoServerSessionStorage, ProducesTickets, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use crate::client_certificates::Asks;

/// How long the authority is valid: a box that lives longer is started anew.
const LIFETIME: Duration = Duration::days(7);

/// Certificates reach back this far, for clocks that differ.
const SKEW: Duration = Duration::hours(1);

/// Configurations kept at once; the agent chooses the names, so there must be an end. Beyond it the table is emptied.
const MOST_NAMES: usize = 1024;

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// As nearly everywhere.
    Nothing,
    /// They may show one.
    Certificate,
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Making or signing a certificate.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// Loading the key or building the TLS configuration.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

/// The authority with its key. It must not leave the process that terminates TLS.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// One key for all names: a key a name would cost time and protect nothing, since all lie here.
    leaf: KeyPair,
    configurations: Mutex<HashMap<(HostName, Ask), Arc<ServerConfig>>>,
    ticketer: OnceLock<Option<Arc<dyn ProducesTickets>>>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority { .. }")
    }
}

impl Authority {
    /// Makes an authority for one box.
    ///
    /// # Errors
    /// The system has no randomness, or signing fails.
    pub fn generate(session: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, "agentbox");
        name.push(DnType::CommonName, format!("agentbox {session}: this box only"));
        params.distinguished_name = name;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let now = OffsetDateTime::now_utc();
        params.not_before = now - SKEW;
        params.not_after = now + LIFETIME;
        let pem = params.self_signed(&key)?.pem();
        let leaf = KeyPair::generate()?;
        Ok(Self { issuer: Issuer::new(params, key), pem, leaf, configurations: Mutex::new(HashMap::new()), ticketer: OnceLock::new() })
    }

    /// The certificate that the box's clients must trust.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// The server side of TLS for one name.
    ///
    /// # Errors
    /// Signing fails.
    pub fn configuration(&self, name: &HostName, ask: Ask) -> Result<Arc<ServerConfig>, AuthorityError> {
        let mut known = self.configurations.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(configuration) = known.get(&(name.clone(), ask)) {
            return Ok(configuration.clone());
        }
        let configuration = Arc::new(self.make(name, ask)?);
        if known.len() >= MOST_NAMES {
            known.clear();
        }
        known.insert((name.clone(), ask), configuration.clone());
        Ok(configuration)
    }

    fn make(&self, name: &HostName, ask: Ask) -> Result<ServerConfig, AuthorityError> {
        let mut params = CertificateParams::default();
        let san = match name.address() {
            Some(address) => SanType::IpAddress(address),
            None => SanType::DnsName(name.as_str().try_into()?),
        };
        params.subject_alt_names = vec![san];
        params.distinguished_name = DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now = OffsetDateTime::now_utc();
        params.not_before = now - SKEW;
        params.not_after = now + LIFETIME;
        let certificate = CertificateDer::from(params.signed_by(&self.leaf, &self.issuer)?.der().to_vec());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf.serialize_der()));
        let certified = CertifiedKey::new(vec![certificate], any_ecdsa_type(&key)?);
        let builder = ServerConfig::builder_with_provider(crate::tls::provider()).with_safe_default_protocol_versions()?;
        let builder = match ask {
            Ask::Nothing => builder.with_no_client_auth(),
            Ask::Certificate => builder.with_client_cert_verifier(Arc::new(Asks)),
        };
        let mut configuration = builder.with_cert_resolver(Arc::new(One(Arc::new(certified))));
        // HTTP/1.0 is what some old clients (ab, curl --http1.0) offer alone: a version that is spoken here all the same. The last one is
        // that of PostgreSQL's clients since version 17.
        configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"http/1.0".to_vec(), b"postgresql".to_vec()];
        // Tickets rather than a table of sessions a name: the state lies with the client, and rustls binds a ticket to its name.
        configuration.session_storage = Arc::new(NoServerSessionStorage {});
        if let Some(ticketer) = self.ticketer.get_or_init(|| rustls::crypto::ring::Ticketer::new().ok()) {
            configuration.ticketer = ticketer.clone();
        }
        Ok(configuration)
    }
}

/// Answers with the one certificate: that the name fits was checked on the client's hello already.
#[derive(Debug)]
struct One(Arc<CertifiedKey>);

impl ResolvesServerCert for One {
    fn resolve(&self, _hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}
