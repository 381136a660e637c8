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

    /// Turns it into a token that can cross to the process that acts. The token must be redeemed with the ledger's owner.
    pub fn into_token(self, nonce: [u8; 16]) -> Token {
        Token { digest: self.digest, sequence: self.sequence, deadline: self.deadline, nonce: blake3::Hash::from_bytes(widen(nonce)).to_hex().to_string() }
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
    pub fn redeemed(self, _proof: Redeemed) -> Permit {
        Permit { digest: self.digest, sequence: self.sequence, deadline: self.deadline }
    }
}

/// Proof that the ledger's owner struck the token off its table; decoded from its answer only.
#[derive(Debug, Serialize, Deserialize)]
pub struct Redeemed {
    /// The token's nonce.
    pub nonce: String,
}
