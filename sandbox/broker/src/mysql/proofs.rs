//! The two proofs of a password that MySQL and MariaDB ask for first.
//!
//! Source: MySQL 8.4 Source Code Documentation, "Native Authentication" and "Caching_sha2_password".

use ring::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// `mysql_native_password`: `SHA1(password) ^ SHA1(nonce, SHA1(SHA1(password)))`.
pub(super) const NATIVE: &str = "mysql_native_password";

/// `caching_sha2_password`: `SHA256(password) ^ SHA256(SHA256(SHA256(password)), nonce)`.
pub(super) const CACHING: &str = "caching_sha2_password";

/// Bytes of a server's nonce.
pub(super) const NONCE: usize = 20;

/// The proof by this plugin; `None` for others.
pub(super) fn proof(plugin: &str, password: &[u8], nonce: &[u8]) -> Option<Vec<u8>> {
    let (algorithm, nonce_first) = match plugin {
        NATIVE => (&SHA1_FOR_LEGACY_USE_ONLY, true),
        CACHING => (&SHA256, false),
        _ => return None,
    };
    let once = hash(algorithm, &[password]);
    let twice = hash(algorithm, &[&once]);
    let mask = if nonce_first { hash(algorithm, &[nonce, &twice]) } else { hash(algorithm, &[&twice, nonce]) };
    Some(once.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect())
}

fn hash(algorithm: &'static Algorithm, parts: &[&[u8]]) -> Vec<u8> {
    let mut context = Context::new(algorithm);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Python's hashlib makes of the same words.
    #[test]
    fn as_the_servers_compute_them() {
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let nonce = b"12345678901234567890";
        assert_eq!(hex(proof(NATIVE, b"pencil", nonce).unwrap()), "b69965c3f26f7abc5d7f0eb0629b37ee215105d2");
        assert_eq!(hex(proof(CACHING, b"pencil", nonce).unwrap()), "d678b5a19b0a37d66b7312305bffd8b82404487a728ca37a8a07baf5a5f9df4f");
        assert_eq!(proof("dialog", b"pencil", nonce), None);
    }
}
