//! The client side of TLS: which roots are believed, and the provider of its cryptography.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use crate::secrets::certificate::Identity;

/// The one provider of cryptography in this program.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone()
}

/// The upstream side of TLS cannot be set up.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RootsError {
    /// A file of the policy's `roots`.
    #[error("cannot read the roots in {0}: {1}")]
    File(PathBuf, String),
    /// Neither the system nor the policy gave any.
    #[error("no root certificates: the system has none (install its ca-certificates package) and the policy names none")]
    None,
    /// The TLS library.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// Extra root certificates, read before the process fenced itself off the file system.
///
/// # Errors
/// A file cannot be read, or holds no certificate.
pub fn read_roots(files: &[PathBuf]) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let mut roots = Vec::new();
    for file in files {
        let failed = |why: String| RootsError::File(file.clone(), why);
        let before = roots.len();
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))? {
            roots.push(certificate.map_err(|error| failed(error.to_string()))?);
        }
        if roots.len() == before {
            return Err(failed("no certificate in it".to_owned()));
        }
    }
    Ok(roots)
}

/// Verification against the system's roots plus `extra`, offering `alpn`.
///
/// # Errors
/// There are no roots at all.
pub fn client(extra: &[CertificateDer<'static>], alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, RootsError> {
    presenting(extra, alpn, None)
}

/// The same, showing a certificate where the far side asks for one.
pub(crate) fn presenting(extra: &[CertificateDer<'static>], alpn: &[&[u8]], identity: Option<&Identity>) -> Result<Arc<ClientConfig>, RootsError> {
    let mut store = RootCertStore::empty();
    // What cannot be parsed of the system's roots is left out, as every other client of the system does.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    store.add_parsable_certificates(extra.iter().cloned());
    if store.is_empty() {
        return Err(RootsError::None);
    }
    let failed = |error: rustls::Error| RootsError::Tls(error.to_string());
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(failed)?.with_root_certificates(store);
    let mut configuration = match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()).map_err(failed)?,
        None => builder.with_no_client_auth(),
    };
    configuration.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(configuration))
}
