//! Finding the git directory that a path lies in, and those that a worktree or submodule points to.

use std::{
    ffi::OsStr,
    path::{Component, Path, PathBuf},
    time::SystemTime,
};

use rustix::io::Errno;

use super::{folder::Folder, slot::is_gits_own};

/// Largest `.git` file or `commondir` note.
#[cfg(test)]
const LARGEST_NOTE: u64 = 16 << 10;
/// Most folders between `/` and a path.
const DEEPEST: usize = 256;

/// A path in a git directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// The git directory.
    pub(crate) git: PathBuf,
    /// The path below it; empty for the directory itself.
    pub(crate) below: PathBuf,
}

/// Finds the git directory that an absolute path without links lies in, or is.
///
/// A folder named `.git` is one, whatever is in it, so that nothing is won by breaking it first. Others (bare
/// repositories) are when they have what git asks for, had it before `session` began, and the path is one of git's
/// own: a folder that is dressed up as a repository meanwhile gets none of the leniency that git's files get.
/// A git directory that was born in the session is as much the agent's own as any other of its folders, and is not found.
/// Of nested ones the outermost counts, except below `modules`, where git keeps the repositories of submodules.
pub(crate) fn spot(path: &Path, session: Option<SystemTime>) -> Option<Spot> {
    let mut above: Vec<&Path> = path.ancestors().take(DEEPEST).collect();
    above.reverse();
    let mut found: Option<Spot> = None;
    for folder in above {
        let Ok(below) = path.strip_prefix(folder) else { continue };
        if found.as_ref().is_some_and(|outer| !is_in_modules(folder, &outer.git)) {
            break;
        }
        let named = folder.file_name() == Some(OsStr::new(".git"));
        if named && is_folder(folder, session) || !named && is_bare(folder, below, session) {
            found = Some(Spot { git: folder.to_owned(), below: below.to_owned() });
        }
    }
    found
}

/// Whether a folder is below `modules` of a git directory, or on the way there.
fn is_in_modules(folder: &Path, git: &Path) -> bool {
    let first = folder.strip_prefix(git).ok().and_then(|below| below.components().next());
    first == Some(Component::Normal(OsStr::new("modules")))
}

fn is_folder(path: &Path, session: Option<SystemTime>) -> bool {
    match Folder::absolute(path).and_then(|folder| folder.facts(Path::new(""))) {
        Ok(facts) => facts.is_some_and(|facts| session.is_none_or(|session| facts.born().is_none_or(|born| born < session))),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => false,
        Err(_) => true,
    }
}

fn is_bare(folder: &Path, below: &Path, session: Option<SystemTime>) -> bool {
    let own = below.components().next().is_none_or(|top| top.as_os_str().to_str().is_some_and(is_gits_own) || below.components().count() == 1);
    if !own {
        return false;
    }
    let Ok(folder) = Folder::absolute(folder) else { return false };
    let old_folder = |name: &str| {
        folder
            .facts(Path::new(name))
            .ok()
            .flatten()
            .is_some_and(|facts| facts.is_folder() && session.is_none_or(|session| facts.born().is_some_and(|born| born < session)))
    };
    old_folder("objects") && old_folder("refs") && matches!(folder.facts(Path::new("HEAD")), Ok(Some(_)))
}

/// The git directories that a folder's `.git` file leads to: its own, and the common one of a linked worktree.
///
/// For finding, before a session, which folders outside a workspace belong to it.
#[cfg(test)]
pub(crate) fn of_worktree(folder: &Path) -> Vec<PathBuf> {
    let note = |folder: &Path, name: &str| {
        let opened = Folder::absolute(folder).ok()?;
        let bytes = opened.read(Path::new(name), LARGEST_NOTE, "a note of where a repository is").ok().flatten()?;
        String::from_utf8(bytes).ok().map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
    };
    let Some(git) = note(folder, ".git").and_then(|text| text.strip_prefix("gitdir:").map(|path| folder.join(path.trim()))) else {
        return Vec::new();
    };
    let Ok(git) = git.canonicalize() else { return Vec::new() };
    let common = note(&git, "commondir").and_then(|path| git.join(path).canonicalize().ok());
    std::iter::once(git).chain(common).collect()
}
