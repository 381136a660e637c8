//! The right to do one deed once. Only writing a grant to the ledger makes one.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::Digest;

/// How long a permit may lie before the deed: between the redeem and the send nothing waits on a person.
pub const LIFETIME: Duration = Duration::from_secs(30);

/// One deed, once, for a time, bound to the digest of what was judged. It cannot be copied and is consumed by the deed.
#[derive(Debug)]
#[must_use = "a permit that is dropped was never used"]
pub struct Permit {
    digest: Digest,
    sequence: u64,
    deadline: SystemTime,
}

/// Why a permit did not open the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// What would be done is not what was permitted.
    #[error("the permit is for another operation")]
    OtherDigest,
    /// It is too old.
    #[error("the permit has expired")]
    Expired,
}

impl Permit {
    pub(crate) fn new(digest: Digest, sequence: u64, deadline: SystemTime) -> Self {
        Self { digest, sequence, deadline }
    }

    /// Uses the permit for the deed whose canonical form has `digest`. Call it directly before the deed.
    ///
    /// # Errors
    /// The deed must not happen: it is another one, or too late.
    pub fn consume(self, digest: &Digest, now: SystemTime) -> Result<(), Unfit> {
        if self.digest != *digest {
            return Err(Unfit::OtherDigest);
        }
        if now > self.deadline {
            return Err(Unfit::Expired);
        }
        Ok(())
    }

    /// Number of the ledger entry that allows it.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Turns it into a token that can cross to the process that acts, and the stub by which its maker strikes it off, once.
    pub fn into_token(self, nonce: [u8; 16]) -> (Token, Stub) {
        let nonce = blake3::Hash::from_bytes(widen(nonce)).to_hex().to_string();
        (Token { digest: self.digest, sequence: self.sequence, deadline: self.deadline, nonce: nonce.clone() }, Stub { nonce })
    }
}

fn widen(nonce: [u8; 16]) -> [u8; 32] {
    let mut wide = [0; 32];
    let (front, _) = wide.split_at_mut(16);
    front.copy_from_slice(&nonce);
    wide
}

/// A permit on its way between two of our processes. Worth nothing until its maker has redeemed it, once.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "a token must be redeemed or dropped on purpose"]
pub struct Token {
    digest: Digest,
    sequence: u64,
    deadline: SystemTime,
    nonce: String,
}

impl Token {
    /// What names the token in the table of its maker.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// The digest it is bound to.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The permit again, once its maker has confirmed that the token was still unspent.
    ///
    /// # Errors
    /// The proof is for another token.
    pub fn redeemed(self, proof: Redeemed) -> Result<Permit, Unfit> {
        if proof.nonce != self.nonce {
            return Err(Unfit::OtherDigest);
        }
        Ok(Permit { digest: self.digest, sequence: self.sequence, deadline: self.deadline })
    }
}

/// What stays with the maker of a token. It cannot be copied, sent or read from bytes, so a token is struck at most once.
#[derive(Debug)]
#[must_use = "a stub that is dropped voids its token"]
pub struct Stub {
    nonce: String,
}

impl Stub {
    /// What names the token.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Strikes the token: call it when the entry that tells of the deed is on disk.
    pub fn strike(self) -> Redeemed {
        Redeemed { nonce: self.nonce }
    }
}

/// Proof that the maker struck the token; comes from a [`Stub`], here or at the other end of the wire.
#[derive(Debug, Serialize, Deserialize)]
pub struct Redeemed {
    nonce: String,
}

impl Redeemed {
    /// The token that was struck.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }
}
