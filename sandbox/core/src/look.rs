//! What looking at the world, read-only, found about a resource.

use serde::{Deserialize, Serialize};

use crate::ResourceId;

/// Something that would be lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The kind of thing: `backups`, `rows`, `files`.
    pub what: String,
    /// How many, where they can be counted.
    pub count: Option<u64>,
    /// One readable line: where they lie, their newest and oldest.
    pub detail: String,
}

/// Whether the deed can be undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Undo {
    /// It can, in this way.
    Yes(String),
    /// It cannot, for this reason.
    No(String),
    /// Nobody knows: treated as no.
    Unknown,
}

/// The answer of one look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What was looked at.
    pub resource: ResourceId,
    /// Its name for people, e.g. `pgdata`. May be hostile.
    pub name: String,
    /// Every way up from it, nearest parent first.
    pub lineages: Vec<Vec<ResourceId>>,
    /// Names for people of the ids in `lineages`, e.g. (`railway:environment/9f2…`, `production`).
    pub names: Vec<(ResourceId, String)>,
    /// What would be lost.
    pub losses: Vec<Loss>,
    /// Whether it could be undone.
    pub undo: Undo,
}

impl Seen {
    /// Whether the world is worse than when the approver was asked: another thing, a new place, a larger loss, or no way back.
    #[must_use]
    pub fn is_worse_than(&self, shown: &Seen) -> bool {
        let same_thing = self.resource == shown.resource && self.name == shown.name;
        let no_new_place = self.lineages.iter().all(|line| shown.lineages.contains(line)) && (!self.lineages.is_empty() || shown.lineages.is_empty());
        let no_larger_loss = self.losses.iter().all(|loss| {
            shown.losses.iter().any(|old| {
                old.what == loss.what
                    && match (loss.count, old.count) {
                        (Some(now), Some(then)) => now <= then,
                        (None, None) => loss.detail == old.detail,
                        (Some(_), None) => true,
                        (None, Some(_)) => false,
                    }
            })
        });
        let still_undoable = match (&shown.undo, &self.undo) {
            (Undo::Yes(_), Undo::No(_) | Undo::Unknown) => false,
            (Undo::Yes(_), Undo::Yes(_)) | (Undo::No(_) | Undo::Unknown, _) => true,
        };
        !(same_thing && no_new_place && no_larger_loss && still_undoable)
    }
}
