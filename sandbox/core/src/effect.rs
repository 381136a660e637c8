//! What an operation does to the thing it touches.

use serde::{Deserialize, Serialize};

/// The four effects, from harmless to worst. Overwriting is destroying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Nothing changes.
    Read,
    /// Something changes or comes to be; nothing is lost.
    Write,
    /// Data, infrastructure, or what protects them is lost.
    Destroy,
    /// It cannot be understood; the policy treats it as destroy.
    Opaque,
}

impl Effect {
    /// All effects, in order of severity.
    pub const ALL: [Effect; 4] = [Effect::Read, Effect::Write, Effect::Destroy, Effect::Opaque];

    /// The word of the policy file and of `--json`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Effect::Read => "read",
            Effect::Write => "write",
            Effect::Destroy => "destroy",
            Effect::Opaque => "opaque",
        }
    }

    /// Whether losing something must be assumed.
    #[must_use]
    pub const fn may_destroy(self) -> bool {
        matches!(self, Effect::Destroy | Effect::Opaque)
    }
}

impl std::fmt::Display for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}
