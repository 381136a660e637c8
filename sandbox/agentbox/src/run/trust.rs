//! How the box's own certificate authority reaches the clients in it: bundles bound over the system's, and the usual variables.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use agentbox_kernel::mounts::Contents;

/// The folder of every box that holds what is ours.
pub(crate) const OURS: &str = "/run/agentbox";

/// Where our bundle lies in every box.
pub(crate) const BUNDLE: &str = "/run/agentbox/ca-bundle.pem";

/// Our certificate alone, for tools that *add* a file to their own roots.
pub(crate) const CERTIFICATE: &str = "/run/agentbox/ca.pem";

/// Bundles of the distributions that clients read without being told; each that exists is covered.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Arch, Alpine, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // what the one above links to
    "/etc/ssl/ca-bundle.pem",                            // openSUSE
    "/etc/ssl/cert.pem",                                 // Alpine, and OpenSSL's own default
];

/// Variables that *replace* a client's roots: they get the whole bundle.
const REPLACING: &[&str] = &[
    "SSL_CERT_FILE",      // OpenSSL and what asks it: Python's ssl, Ruby, curl on some systems, Go, rustls-native-certs
    "CURL_CA_BUNDLE",     // curl, and Python requests
    "REQUESTS_CA_BUNDLE", // Python requests
    "PIP_CERT",           // pip, which brings its own bundle
    "GIT_SSL_CAINFO",     // git
    "CARGO_HTTP_CAINFO",  // cargo
    "NPM_CONFIG_CAFILE",  // npm
    "AWS_CA_BUNDLE",      // AWS CLI and SDKs
    "NIX_SSL_CERT_FILE",  // what Nix has built, and curl on NixOS
    "HTTPLIB2_CA_CERTS",  // Python httplib2
    "BUNDLE_SSL_CA_CERT", // Ruby's bundler
    "HEX_CACERTS_PATH",   // Elixir's hex
    "JULIA_SSL_CA_ROOTS_PATH",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",   // gRPC's C core: Python, Ruby, PHP, C++
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", // gcloud
    "PGSSLROOTCERT",                      // libpq, whose default is a file that seldom exists
];

/// Variables that *add* to a client's roots: they get our certificate alone.
const ADDING: &[&str] = &[
    "NODE_EXTRA_CA_CERTS", // Node.js
    "DENO_CERT",           // Deno
];

/// Variables that name a file in which a browser is told of our certificate.
const TELLING: &[(&str, &str)] = &[("PLAYWRIGHT_FIREFOX_POLICIES_JSON", super::browsers::POLICIES_OF_THE_BOX)];

/// Variables that have to do with certificates, and their values. A client that binds its PostgreSQL password to the server's certificate would bind
/// it to ours, and one that merely says it could is refused by the server.
const OTHERS: &[(&str, &str)] = &[("PGCHANNELBINDING", "disable")];

/// A file of the box: where, and what.
pub(crate) type File = (PathBuf, Arc<Contents>);

/// The system's own bundle, and the files to put into the box.
pub(crate) fn files(certificate: &str) -> (Option<PathBuf>, Vec<File>) {
    files_over(certificate, SYSTEM_BUNDLES.iter().map(Path::new))
}

fn files_over<'a>(certificate: &str, bundles: impl Iterator<Item = &'a Path>) -> (Option<PathBuf>, Vec<File>) {
    let mut targets: Vec<PathBuf> = Vec::new();
    // Ours first: one box's clients meet no other certificate, so the search ends at once.
    let ours = format!("{}\n", certificate.trim_end()).into_bytes();
    let mut system = None;
    for bundle in bundles {
        // A link's target is what is covered: a mount cannot stand on the link itself.
        let Ok(real) = fs::canonicalize(bundle) else { continue };
        if targets.contains(&real) {
            continue;
        }
        if targets.is_empty() {
            system = fs::File::open(&real).ok().filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()));
        }
        targets.push(real);
    }
    let whole = Arc::new(match system {
        Some(system) => Contents::before(ours, system),
        None => ours.into(),
    });
    let mut files = vec![(BUNDLE.into(), whole.clone()), (CERTIFICATE.into(), Arc::new(certificate.as_bytes().to_vec().into()))];
    let system = targets.first().cloned();
    files.extend(targets.into_iter().map(|target| (target, whole.clone())));
    (system, files)
}

/// The variables to set in the box.
pub(crate) fn variables() -> impl Iterator<Item = (OsString, OsString)> {
    let replacing = REPLACING.iter().map(|name| (OsString::from(name), OsString::from(BUNDLE)));
    let adding = ADDING.iter().map(|name| (OsString::from(name), OsString::from(CERTIFICATE)));
    let others = OTHERS.iter().chain(TELLING).map(|(name, value)| (OsString::from(name), OsString::from(value)));
    replacing.chain(adding).chain(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_certificate_comes_first_and_links_are_covered_once() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real.pem");
        fs::write(&real, "SYSTEM\n").unwrap();
        let link = folder.path().join("link.pem");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let missing = folder.path().join("missing.pem");
        let (system, files) = files_over("OURS\n", [link.as_path(), real.as_path(), missing.as_path()].into_iter());
        let names: Vec<_> = files.iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(names, [BUNDLE.into(), CERTIFICATE.into(), real.clone()]);
        assert_eq!(system, Some(real));
        let put = |index: usize| {
            let path = folder.path().join("put");
            files[index].1.put(&path).unwrap();
            fs::read(path).unwrap()
        };
        assert_eq!(put(0), b"OURS\nSYSTEM\n");
        assert_eq!(put(1), b"OURS\n");
        assert!(Arc::ptr_eq(&files[0].1, &files[2].1), "the bundle is written twice");
    }
}
