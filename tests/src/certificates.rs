//! A certificate authority for one test, and the certificate of its far side, made by `openssl`.

use std::{fs, path::Path, process::Command};

const CONFIGURATION: &str = "[req]\ndistinguished_name = dn\nprompt = no\n[dn]\nCN = stand-in\n\
[ca]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, cRLSign\nsubjectKeyIdentifier = hash\n\
[leaf]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = DNS:web.example, DNS:held.example, DNS:tls.example, DNS:h2.example, DNS:db.example, DNS:api.anthropic.com, DNS:api.openai.com, DNS:backboard.railway.com, DNS:k8s.example, DNS:grpc.example, DNS:rds.eu-west-1.amazonaws.com, DNS:sts.eu-west-1.amazonaws.com, DNS:shop-files.s3.eu-west-1.amazonaws.com, DNS:s3.eu-west-1.amazonaws.com, IP:127.0.0.1\nextendedKeyUsage = serverAuth\n";

/// Writes `ca.pem`, `cert.pem` and `key.pem` into the folder; the certificate is for the names that [`crate::Origin`] answers to.
///
/// # Panics
/// `openssl` fails.
pub fn make(folder: &Path) {
    fs::write(folder.join("openssl.cnf"), CONFIGURATION).expect("openssl.cnf");
    let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-config", "openssl.cnf"];
    openssl(
        folder,
        &[&["req", "-x509", "-days", "2", "-extensions", "ca", "-subj", "/CN=the authority of a test", "-keyout", "ca.key", "-out", "ca.pem"], &new[..]]
            .concat(),
    );
    openssl(folder, &[&["req", "-subj", "/CN=the far side of a test", "-keyout", "key.pem", "-out", "request.pem"], &new[..]].concat());
    openssl(
        folder,
        &[
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            "request.pem",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-extfile",
            "openssl.cnf",
            "-extensions",
            "leaf",
            "-out",
            "cert.pem",
        ],
    );
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl runs");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
