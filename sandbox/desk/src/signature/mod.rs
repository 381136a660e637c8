//! Signed rulings: whose keys count, what is signed, and whether a signature is one.
//!
//! A ruling is signed as OpenSSH signs files (`ssh-keygen -Y sign`, PROTOCOL.sshsig), so that people use the key they have, on a
//! security key too, and anybody can check our ledger with `ssh-keygen -Y verify`. Reading is ours, and strict; the arithmetic is ring's.

mod bytes;
mod key;
mod statement;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use agentbox_core::{ruling::Whose, safe};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest;
use serde::{Deserialize, Serialize};

use bytes::{Bytes, put};
pub use key::{BadKey, PublicKey};
pub use statement::statement;

/// The namespace of a ruling: a signature that was made for anything else does not count.
pub const NAMESPACE: &str = "agentbox-approval";

/// Longest armoured signature that is read, in bytes; RSA with 16384 bits takes 6 KB.
pub const LONGEST_SIGNATURE: usize = 8 * 1024;

/// Keys that are read of one policy.
const MOST_KEYS: usize = 64;

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
const MAGIC: &[u8] = b"SSHSIG";

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Not `-----BEGIN SSH SIGNATURE-----` and so on.
    #[error("this is no SSH signature")]
    NoSignature,
    /// Its bytes are not what they should be.
    #[error("the signature is damaged")]
    Damaged,
    /// Not version 1.
    #[error("signatures of version {0} are not understood")]
    Version(u32),
    /// Made for something else.
    #[error("the signature was made for \"{0}\", not for \"{NAMESPACE}\"")]
    Namespace(String),
    /// Not SHA-256 or SHA-512.
    #[error("the hash {0} is not understood")]
    Hash(String),
    /// Not one of the policy's keys.
    #[error("the key {0} is none of the policy's approvers")]
    Stranger(String),
    /// A key signs in another way than its type does.
    #[error("the key does not sign by {0}")]
    Algorithm(String),
    /// A security key that nobody touched.
    #[error("nobody touched the security key")]
    NotTouched,
    /// It is no signature of this text by this key.
    #[error("the signature is not of what was shown: another operation, another box, another hold, or a changed card")]
    Wrong,
}

/// Why the policy's keys cannot be used: then nothing can be approved, so the box must not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// One of them.
    #[error("{from}: {why}")]
    Key {
        /// The file, or `approval.approver`.
        from: String,
        /// What is wrong.
        why: BadKey,
    },
    /// A file without any.
    #[error("{0}: there is no key in it")]
    Empty(String),
    /// More than anybody has colleagues.
    #[error("more than {MOST_KEYS} keys are named")]
    TooMany,
}

/// The text of keys, and where it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyText {
    /// The file; `None` where the key stands in the policy itself.
    pub file: Option<PathBuf>,
    /// One key a line; empty lines and lines with `#` are left out.
    pub text: String,
}

/// Somebody who may sign rulings, as a card names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signer {
    /// The key's comment, made safe.
    pub name: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// The file with the public key; the private one lies beside it where it is a file at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// The keys that count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approvers {
    keys: Vec<(PublicKey, Signer, Whose)>,
}

/// A signature that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedBy<'a> {
    /// Who.
    pub signer: &'a Signer,
    /// Whose key that is, as far as the policy tells.
    pub whose: Whose,
}

impl Approvers {
    /// Reads the keys of `approval.approver`, and which of them are the starter's own, by `approval.own`.
    ///
    /// # Errors
    /// One of them is no key, or none that can sign rulings.
    pub fn read(approvers: &[KeyText], own: &[KeyText]) -> Result<Self, BadKeys> {
        let own = keys_of(own, "approval.own")?;
        let mut keys: Vec<(PublicKey, Signer, Whose)> = Vec::new();
        for (key, signer) in keys_of(approvers, "approval.approver")? {
            // Two lines with one key are one person.
            if keys.iter().any(|(other, ..)| *other == key) {
                continue;
            }
            let whose = match own.iter().any(|(mine, _)| *mine == key) {
                _ if own.is_empty() => Whose::Untold,
                true => Whose::Starter,
                false => Whose::SomebodyElse,
            };
            keys.push((key, signer, whose));
        }
        Ok(Self { keys })
    }

    /// All of them.
    pub fn signers(&self) -> impl Iterator<Item = &Signer> {
        self.keys.iter().map(|(_, signer, _)| signer)
    }

    /// Whose signature of `statement` this is.
    ///
    /// # Errors
    /// It does not count, and why.
    pub fn verify(&self, statement: &str, armoured: &str) -> Result<SignedBy<'_>, Unfit> {
        let blob = unarmour(armoured)?;
        let mut bytes = Bytes::new(&blob);
        if bytes.take(MAGIC.len()) != Some(MAGIC) {
            return Err(Unfit::NoSignature);
        }
        match bytes.number().ok_or(Unfit::Damaged)? {
            1 => {}
            other => return Err(Unfit::Version(other)),
        }
        let key = bytes.string().ok_or(Unfit::Damaged)?;
        let namespace = bytes.string().ok_or(Unfit::Damaged)?;
        let reserved = bytes.string().ok_or(Unfit::Damaged)?;
        let hash = bytes.text().ok_or(Unfit::Damaged)?;
        let signed = bytes.string().ok_or(Unfit::Damaged)?;
        bytes.end().ok_or(Unfit::Damaged)?;
        if namespace != NAMESPACE.as_bytes() {
            return Err(Unfit::Namespace(safe::line(&String::from_utf8_lossy(namespace), 60)));
        }
        let way = match hash {
            "sha256" => &digest::SHA256,
            "sha512" => &digest::SHA512,
            other => return Err(Unfit::Hash(safe::line(other, 60))),
        };
        let found = self.keys.iter().find(|(known, ..)| known.blob() == key);
        let (key, signer, whose) = found.ok_or_else(|| Unfit::Stranger(key::fingerprint(key)))?;
        let mut message = MAGIC.to_vec();
        put(&mut message, NAMESPACE.as_bytes());
        put(&mut message, reserved);
        put(&mut message, hash.as_bytes());
        put(&mut message, digest::digest(way, statement.as_bytes()).as_ref());
        key.verify(&message, signed)?;
        Ok(SignedBy { signer, whose: *whose })
    }
}

fn keys_of(texts: &[KeyText], policy: &str) -> Result<Vec<(PublicKey, Signer)>, BadKeys> {
    let mut found = Vec::new();
    for KeyText { file, text } in texts {
        let from = file.as_ref().map_or_else(|| policy.to_owned(), |file| safe::line(&file.display().to_string(), 200));
        let before = found.len();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (key, comment) = PublicKey::parse(line).map_err(|why| BadKeys::Key { from: from.clone(), why })?;
            let fingerprint = key.fingerprint();
            let name = if comment.is_empty() { fingerprint.clone() } else { safe::line(comment, 60) };
            found.push((key, Signer { name, fingerprint, file: file.clone() }));
            if found.len() > MOST_KEYS {
                return Err(BadKeys::TooMany);
            }
        }
        if found.len() == before {
            return Err(BadKeys::Empty(from));
        }
    }
    Ok(found)
}

/// The bytes between the two lines.
fn unarmour(armoured: &str) -> Result<Vec<u8>, Unfit> {
    if armoured.len() > LONGEST_SIGNATURE {
        return Err(Unfit::NoSignature);
    }
    let body = armoured.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).ok_or(Unfit::NoSignature)?;
    let base64: String = body.lines().map(str::trim).collect();
    STANDARD.decode(base64).map_err(|_| Unfit::Damaged)
}
