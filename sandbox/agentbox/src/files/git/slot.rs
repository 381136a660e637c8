//! What a path in a git directory is to git.

use std::path::{Component, Path};

use super::{
    id::Id,
    refs::{STANDING, is_passing},
};

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// The git directory itself, or a folder that it cannot be without.
    Frame,
    /// A folder that git makes and removes as it needs.
    Shelf,
    /// HEAD of the repository or of a linked worktree, or the note of work put aside: a value that keeps what it names.
    Standing,
    /// A ref in a file of its own.
    Ref(String),
    /// `packed-refs`.
    PackedRefs,
    /// A reflog.
    Log,
    /// The list of commits at which history is cut.
    Shallow,
    /// A loose object.
    Loose(Id),
    /// A pack.
    Pack(String),
    /// The index of a pack.
    Index(String),
    /// The list of repositories that objects are borrowed from.
    Alternates,
    /// Refs in the reftable format.
    Reftable,
    /// What git writes anew whenever it needs to: the index, messages, state of a running merge, indexes of indexes.
    State,
    /// A lock or a temporary file.
    Passing,
    /// Not git's history: settings, hooks, and whatever else lies there.
    Foreign,
}

/// Files directly in a git directory, or in the folder of a linked worktree, that git makes anew.
const STATE: [&str; 21] = [
    "index",
    "ORIG_HEAD",
    "FETCH_HEAD",
    "MERGE_HEAD",
    "MERGE_MSG",
    "MERGE_MODE",
    "MERGE_RR",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "REBASE_HEAD",
    "AUTO_MERGE",
    "SQUASH_MSG",
    "COMMIT_EDITMSG",
    "TAG_EDITMSG",
    "NOTES_EDITMSG",
    "EDIT_DESCRIPTION",
    "gc.pid",
    "gc.log",
    "NOTES_MERGE_PARTIAL",
    "NOTES_MERGE_REF",
    "addp-hunk-edit.diff",
];

/// Folders whose whole content belongs to a running command.
const STATE_FOLDERS: [&str; 5] = ["sequencer", "rebase-merge", "rebase-apply", "NOTES_MERGE_WORKTREE", "rr-cache"];

/// Notes of a linked worktree that are made anew, or lead nowhere once the worktree is gone.
const WORKTREE_STATE: [&str; 3] = ["gitdir", "commondir", "locked"];

impl Slot {
    /// What lies at a path below a git directory. Paths with anything but plain names are foreign.
    pub(crate) fn of(below: &Path) -> Self {
        let names: Option<Vec<&str>> = below
            .components()
            .map(|part| match part {
                Component::Normal(name) => name.to_str(),
                _ => None,
            })
            .collect();
        names.map_or(Slot::Foreign, |names| Self::of_names(&names))
    }

    fn of_names(names: &[&str]) -> Self {
        match names {
            [] | ["refs" | "objects"] => Slot::Frame,
            ["logs" | "worktrees"] | ["refs", "heads" | "tags" | "remotes" | "notes" | "bisect"] => Slot::Shelf,
            ["hooks" | "modules" | "config" | "config.worktree", ..] => Slot::Foreign,
            ["worktrees", _] => Slot::Shelf,
            ["worktrees", _, name] if WORKTREE_STATE.contains(name) => Slot::State,
            ["worktrees", _, rest @ ..] => Self::in_worktree(rest),
            ["reftable", ..] if !is_lock(names) => Slot::Reftable,
            ["objects", rest @ ..] => Self::in_objects(rest),
            ["packed-refs"] => Slot::PackedRefs,
            ["shallow"] => Slot::Shallow,
            ["packed-refs.new"] => Slot::Passing,
            ["refs", ..] if !is_lock(names) => Self::in_refs(names),
            names => Self::in_worktree(names),
        }
    }

    /// What every worktree has of its own.
    fn in_worktree(names: &[&str]) -> Self {
        if is_lock(names) {
            return Slot::Passing;
        }
        if STANDING.contains(&names.join("/").as_str()) {
            return Slot::Standing;
        }
        match names {
            ["logs"] => Slot::Shelf,
            ["logs", ..] => Slot::Log,
            ["refs" | "info"] => Slot::Shelf,
            ["refs", "bisect" | "rewritten", ..] => Slot::State,
            ["info", "refs" | "sparse-checkout"] => Slot::State,
            ["info", name] if name.starts_with("refs_") => Slot::Passing,
            [name] if STATE.contains(name) || name.starts_with("BISECT_") || name.starts_with("sharedindex.") => Slot::State,
            [name] if name.starts_with("fsmonitor--daemon") || name.starts_with("next-index-") || name.starts_with("tmp_") => Slot::Passing,
            [folder, ..] if STATE_FOLDERS.contains(folder) => Slot::State,
            _ => Slot::Foreign,
        }
    }

    fn in_refs(names: &[&str]) -> Self {
        let name = names.join("/");
        if is_passing(&name) { Slot::State } else { Slot::Ref(name) }
    }

    fn in_objects(names: &[&str]) -> Self {
        match names {
            [folder, ..] if folder.starts_with("tmp_objdir-") || folder.starts_with("incoming-") => Slot::Passing,
            ["info", "alternates"] => Slot::Alternates,
            ["info" | "pack"] => Slot::Shelf,
            ["info", ..] => Slot::State,
            ["pack", name] => in_packs(name),
            [.., name] if is_temporary(name) => Slot::Passing,
            [folder] if folder.len() == 2 && folder.bytes().all(|byte| byte.is_ascii_hexdigit()) => Slot::Shelf,
            [folder, name] if folder.len() == 2 => Id::from_hex(format!("{folder}{name}").as_bytes()).map_or(Slot::Foreign, Slot::Loose),
            _ => Slot::Foreign,
        }
    }

    /// Whether git deletes such files as it pleases, so that no file of value may come to be one.
    pub(crate) const fn is_fleeting(&self) -> bool {
        matches!(self, Slot::State | Slot::Passing)
    }
}

fn in_packs(name: &str) -> Slot {
    if is_temporary(name) {
        return Slot::Passing;
    }
    match name.rsplit_once('.') {
        Some((stem, "pack")) => Slot::Pack(stem.to_owned()),
        Some((stem, "idx")) => Slot::Index(stem.to_owned()),
        Some((_, "rev" | "bitmap" | "keep" | "promisor" | "mtimes")) => Slot::State,
        _ if name.starts_with("multi-pack-index") => Slot::State,
        _ => Slot::Foreign,
    }
}

fn is_temporary(name: &str) -> bool {
    name.starts_with("tmp_") || name.starts_with(".tmp-") || name.starts_with("bitmap-ref-tips") || name.ends_with(".lock")
}

fn is_lock(names: &[&str]) -> bool {
    names.last().is_some_and(|name| name.len() > ".lock".len() && name.ends_with(".lock"))
}

/// Whether a file is the lock of another: `X.lock` beside `X`.
pub(crate) fn is_lock_of(lock: &Path, of: &Path) -> bool {
    let mut name = of.as_os_str().to_owned();
    name.push(".lock");
    lock.as_os_str() == name
}

/// Whether a top-level name is one of git's own, which tells files of a bare repository from others beside them.
pub(crate) fn is_gits_own(top: &str) -> bool {
    const OWN: [&str; 11] = ["HEAD", "refs", "objects", "logs", "packed-refs", "reftable", "worktrees", "modules", "info", "packed-refs.lock", "HEAD.lock"];
    OWN.contains(&top)
}
