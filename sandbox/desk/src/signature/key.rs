//! A person's public SSH key: read from its line, named by its fingerprint, and asked whether it signed something.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use ring::{
    digest,
    signature::{self, RsaPublicKeyComponents, UnparsedPublicKey},
};

use super::{Unfit, bytes::Bytes};

/// Longest line of a key, in bytes: RSA with 16384 bits takes 2.8 KB, and a comment.
const LONGEST_LINE: usize = 8 * 1024;

/// Shortest RSA key, in bytes of its modulus; shorter ones are no security today.
const SHORTEST_RSA: usize = 256;

/// The bit of a security key's flags that says that somebody touched it.
const TOUCHED: u8 = 0x01;

/// Why a line is no key that can sign rulings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Not `type base64 [comment]`.
    #[error("this is no line of a public key (`ssh-ed25519 AAAA… name`)")]
    NoLine,
    /// Options of `authorized_keys` stand before it.
    #[error("options before a key are not understood here")]
    Options,
    /// Certificates, DSA, and what is newer than this program.
    #[error("keys of the type {0} cannot sign rulings; ed25519, sk-ed25519, ecdsa nistp256 or nistp384, sk-ecdsa and RSA from 2048 bits can")]
    Type(String),
    /// The base64 holds something else than the line says.
    #[error("the key in this line is damaged")]
    Damaged,
}

/// How it signs, with what verifying takes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Ed25519(Vec<u8>),
    P256(Vec<u8>),
    P384(Vec<u8>),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// On a security key; the text is what it was made for, `ssh:`.
    SkEd25519(Vec<u8>, Vec<u8>),
    SkP256(Vec<u8>, Vec<u8>),
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    blob: Vec<u8>,
    kind: Kind,
}

impl PublicKey {
    /// Reads `type base64 [comment]`, and gives the comment, too.
    ///
    /// # Errors
    /// It is none, or one that cannot sign rulings.
    pub fn parse(line: &str) -> Result<(Self, &str), BadKey> {
        if line.len() > LONGEST_LINE {
            return Err(BadKey::NoLine);
        }
        let (name, rest) = line.trim().split_once([' ', '\t']).ok_or(BadKey::NoLine)?;
        let rest = rest.trim_start();
        let (base64, comment) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let known = ["ssh-", "sk-ssh-", "ecdsa-", "sk-ecdsa-"].iter().any(|kind| name.starts_with(kind));
        if !known {
            return Err(if name.contains(['=', ',', '"']) || base64.starts_with("ssh-") || base64.starts_with("sk-") {
                BadKey::Options
            } else {
                BadKey::NoLine
            });
        }
        let blob = STANDARD.decode(base64).map_err(|_| BadKey::Damaged)?;
        let key = Self::of_blob(&blob)?;
        let own_name = Bytes::new(&blob).text().unwrap_or_default();
        if own_name != name {
            return Err(BadKey::Damaged);
        }
        Ok((key, comment.trim()))
    }

    /// Reads the key's own bytes.
    pub(super) fn of_blob(blob: &[u8]) -> Result<Self, BadKey> {
        let mut bytes = Bytes::new(blob);
        let name = bytes.text().ok_or(BadKey::Damaged)?;
        let kind = Self::kind(name, &mut bytes).ok_or(BadKey::Damaged)?.ok_or_else(|| BadKey::Type(agentbox_core::safe::line(name, 60)))?;
        bytes.end().ok_or(BadKey::Damaged)?;
        Ok(Self { blob: blob.to_vec(), kind })
    }

    /// `None` where it is damaged, `Some(None)` where its type is not one of ours.
    #[allow(clippy::option_option, reason = "both ways to fail are told apart by the one caller, with their own words")]
    fn kind(name: &str, bytes: &mut Bytes<'_>) -> Option<Option<Kind>> {
        let point = |bytes: &mut Bytes<'_>, curve: &str, length: usize| {
            (bytes.text()? == curve).then_some(())?;
            let point = bytes.string()?;
            // Not compressed, so that a key has one form.
            (point.len() == length && point.first() == Some(&4)).then(|| point.to_vec())
        };
        let ed25519 = |bytes: &mut Bytes<'_>| bytes.string().filter(|key| key.len() == 32).map(<[u8]>::to_vec);
        Some(Some(match name {
            "ssh-ed25519" => Kind::Ed25519(ed25519(bytes)?),
            "ecdsa-sha2-nistp256" => Kind::P256(point(bytes, "nistp256", 65)?),
            "ecdsa-sha2-nistp384" => Kind::P384(point(bytes, "nistp384", 97)?),
            "ssh-rsa" => {
                let (e, n) = (bytes.natural()?.to_vec(), bytes.natural()?.to_vec());
                (n.len() >= SHORTEST_RSA).then_some(Kind::Rsa { n, e })?
            }
            "sk-ssh-ed25519@openssh.com" => Kind::SkEd25519(ed25519(bytes)?, bytes.string()?.to_vec()),
            "sk-ecdsa-sha2-nistp256@openssh.com" => Kind::SkP256(point(bytes, "nistp256", 65)?, bytes.string()?.to_vec()),
            _ => return Some(None),
        }))
    }

    /// The key's own bytes.
    pub(super) fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.blob)
    }

    /// Whether `signed` (a type, and what that type brings) is this key's signature of `message`.
    pub(super) fn verify(&self, message: &[u8], signed: &[u8]) -> Result<(), Unfit> {
        let mut bytes = Bytes::new(signed);
        let name = bytes.text().ok_or(Unfit::Damaged)?;
        let signature = bytes.string().ok_or(Unfit::Damaged)?;
        match &self.kind {
            Kind::Ed25519(key) => {
                expect(name, "ssh-ed25519", &bytes)?;
                check(&signature::ED25519, key, message, signature)
            }
            Kind::P256(key) => {
                expect(name, "ecdsa-sha2-nistp256", &bytes)?;
                check(&signature::ECDSA_P256_SHA256_FIXED, key, message, &pair(signature, 32)?)
            }
            Kind::P384(key) => {
                expect(name, "ecdsa-sha2-nistp384", &bytes)?;
                check(&signature::ECDSA_P384_SHA384_FIXED, key, message, &pair(signature, 48)?)
            }
            Kind::Rsa { n, e } => {
                let way = match name {
                    "rsa-sha2-256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "rsa-sha2-512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    other => return Err(Unfit::Algorithm(agentbox_core::safe::line(other, 60))),
                };
                bytes.end().ok_or(Unfit::Damaged)?;
                RsaPublicKeyComponents { n, e }.verify(way, message, signature).map_err(|_| Unfit::Wrong)
            }
            Kind::SkEd25519(key, application) => {
                let deed = touched(name, "sk-ssh-ed25519@openssh.com", bytes, application, message)?;
                check(&signature::ED25519, key, &deed, signature)
            }
            Kind::SkP256(key, application) => {
                let deed = touched(name, "sk-ecdsa-sha2-nistp256@openssh.com", bytes, application, message)?;
                check(&signature::ECDSA_P256_SHA256_FIXED, key, &deed, &pair(signature, 32)?)
            }
        }
    }
}

/// `SHA256:…` of a key's bytes.
pub(super) fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(digest::digest(&digest::SHA256, blob)))
}

fn expect(name: &str, wanted: &str, rest: &Bytes<'_>) -> Result<(), Unfit> {
    if name != wanted {
        return Err(Unfit::Algorithm(agentbox_core::safe::line(name, 60)));
    }
    rest.end().ok_or(Unfit::Damaged)
}

fn check(way: &'static dyn signature::VerificationAlgorithm, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Unfit> {
    UnparsedPublicKey::new(way, key).verify(message, signature).map_err(|_| Unfit::Wrong)
}

/// `r` and `s` of an ECDSA signature, each `wide` bytes.
fn pair(signature: &[u8], wide: usize) -> Result<Vec<u8>, Unfit> {
    let mut bytes = Bytes::new(signature);
    let mut pair = Vec::with_capacity(2 * wide);
    for _ in 0..2 {
        let number = bytes.natural().ok_or(Unfit::Damaged)?;
        let zeros = wide.checked_sub(number.len()).ok_or(Unfit::Damaged)?;
        pair.resize(pair.len() + zeros, 0);
        pair.extend_from_slice(number);
    }
    bytes.end().ok_or(Unfit::Damaged)?;
    Ok(pair)
}

/// What a security key signs (PROTOCOL.u2f): what it was made for, its flags and its counter stand before the message.
fn touched(name: &str, wanted: &str, mut rest: Bytes<'_>, application: &[u8], message: &[u8]) -> Result<Vec<u8>, Unfit> {
    if name != wanted {
        return Err(Unfit::Algorithm(agentbox_core::safe::line(name, 60)));
    }
    let flags = rest.byte().ok_or(Unfit::Damaged)?;
    let counter = rest.number().ok_or(Unfit::Damaged)?;
    rest.end().ok_or(Unfit::Damaged)?;
    // A key made with `no-touch-required` signs for whoever asks: that is no presence.
    if flags & TOUCHED == 0 {
        return Err(Unfit::NotTouched);
    }
    let mut deed = digest::digest(&digest::SHA256, application).as_ref().to_vec();
    deed.push(flags);
    deed.extend_from_slice(&counter.to_be_bytes());
    deed.extend_from_slice(digest::digest(&digest::SHA256, message).as_ref());
    Ok(deed)
}
