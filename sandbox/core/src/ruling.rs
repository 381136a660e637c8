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

/// One person's word on one hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    /// Who: in this version the uid that the kernel reports for the control socket, as `uid:1000`.
    pub approver: String,
    /// Through which channel it came, e.g. `terminal`.
    pub channel: String,
    /// The digest of the card that the person was shown.
    pub digest: Digest,
    /// The resource's name as the person typed it, where the place wants that.
    pub typed: Option<String>,
    /// What they said.
    pub decision: Decision,
}
