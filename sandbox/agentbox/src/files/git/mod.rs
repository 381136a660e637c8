//! Git by meaning: what one file operation in a git directory does to history.
//!
//! Git never edits its history in place: it writes a lock or temporary file and renames it over the old one. So an
//! operation is judged by what is in the files at that moment: whether the new value of a ref is a descendant of the
//! old one, whether what a removed object held is still elsewhere, whether a reflog is the last to know a commit.
//!
//! The repository is written by the agent and believed in nothing: objects count only when their content hashes to
//! their name, and helper files that could lie (commit-graph, grafts, replacements, multi-pack indexes) are not read.
//! What cannot be read, or not in time, is judged as destroying. No git command runs and no setting is obeyed.
//!
//! The caller keeps two judgements with their deeds from interleaving in one repository: two packs that hold the same
//! objects may each go, but not both.

mod find;
mod folder;
mod id;
mod judge;
mod meaning;
mod object;
mod pack;
mod refs;
mod slot;
mod store;
mod trouble;
mod walk;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use find::of_worktree;
pub(crate) use folder::Folder;
pub(crate) use judge::{Deed, Judge};
pub(crate) use meaning::{Meaning, Meanings};
