//! What a person said of a hold.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// Yes or no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Do exactly this, once.
    Approve,
    /// Do not, and this is why; the reason reaches the agent.
    Deny(String),
}

/// Whose a key is, as far as the policy tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// The policy says that it belongs to who starts boxes.
    Starter,
    /// The policy says which keys are the starter's, and this is none of them.
    SomebodyElse,
    /// The policy does not say.
    Untold,
}

/// By what a ruling is known to be a person's. Only who has checked it may say so: the supervisor, with the desk's `signature`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proof {
    /// The kernel's word for the uid at the other end. A program of the same user outside every box has it too.
    Peer,
    /// A signature by a key that the policy names.
    Signed {
        /// Whose key.
        whose: Whose,
        /// The very text that was signed.
        statement: String,
        /// The armoured `SSHSIG`.
        signature: String,
    },
}

impl Proof {
    /// Whose key it is signed with; `None` where it is not signed.
    #[must_use]
    pub fn signer(&self) -> Option<Whose> {
        match self {
            Self::Peer => None,
            Self::Signed { whose, .. } => Some(*whose),
        }
    }
}

/// One person's word on one hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    /// Who: `uid:1000` as the kernel reports it for the control socket, or the fingerprint of the key that signed, `SHA256:…`.
    pub approver: String,
    /// By what that is known.
    pub proof: Proof,
    /// Through which channel it came, e.g. `terminal`.
    pub channel: String,
    /// The digest of the card that the person was shown.
    pub digest: Digest,
    /// The resource's name as the person typed it, where the place wants that.
    pub typed: Option<String>,
    /// Not this once only, but this kind in this place, for so long.
    pub lasting: Option<std::time::Duration>,
    /// What they said.
    pub decision: Decision,
}
