//! Spells a policy's file patterns out against the files that are there, within bounds.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use agentbox_core::safe;
use globset::GlobBuilder;

/// Entries that are looked at for one pattern: some seconds of work. A tree that has more is not half guarded, but refused.
const MOST: usize = 2_000_000;

/// A pattern cannot be spelt out, so that what it names could go unguarded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TooMuch {
    /// The tree has too many entries.
    #[error("{pattern}: there are more than {MOST} files to look through; name a folder further down")]
    Entries {
        /// The pattern.
        pattern: String,
    },
    /// A folder of the user's own cannot be read.
    #[error(
        "{pattern}: {folder} cannot be looked into, and what the pattern names may lie in it ({error}): give yourself the right to read and enter it (chmod u+rx), or remove it"
    )]
    Closed {
        /// The pattern.
        pattern: String,
        /// The folder.
        folder: String,
        /// Why.
        error: io::Error,
    },
    /// It is no glob after all.
    #[error("{pattern}: {error}")]
    Glob {
        /// The pattern.
        pattern: String,
        /// Why.
        error: globset::Error,
    },
}

/// Characters of a path that are shown.
const SHOWN: usize = 300;

/// Whether a pattern has glob characters.
pub(crate) fn is_glob(pattern: &Path) -> bool {
    pattern.to_string_lossy().contains(['*', '?', '[', '{'])
}

/// The paths that exist and that `pattern` names; the pattern itself where it has no glob characters.
///
/// # Errors
/// Not all of them can be found.
pub(crate) fn matches(pattern: &Path) -> Result<Vec<PathBuf>, TooMuch> {
    if !is_glob(pattern) {
        return Ok(vec![pattern.to_owned()]);
    }
    let fixed = fixed_part(pattern);
    // Mostly it is not there, and to compile a pattern takes longer than to ask.
    if matches!(fs::symlink_metadata(&fixed), Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)) {
        return Ok(Vec::new());
    }
    let text = pattern.to_string_lossy();
    let pattern_shown = || safe::line(&text, SHOWN);
    let glob = GlobBuilder::new(&text).literal_separator(true).build().map_err(|error| TooMuch::Glob { pattern: pattern_shown(), error })?.compile_matcher();
    let (mut found, mut folders, mut left) = (Vec::new(), vec![fixed], MOST);
    // A list of folders rather than a function within itself: how deep a tree is, the agent decides.
    while let Some(folder) = folders.pop() {
        let closed = |error| TooMuch::Closed { pattern: pattern_shown(), folder: safe::line(&folder.to_string_lossy(), SHOWN), error };
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            // Another's: closed to the agent too, who has the same rights.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_anothers(&folder) => continue,
            Err(error) => return Err(closed(error)),
        };
        for entry in entries {
            let entry = entry.map_err(closed)?;
            left = left.checked_sub(1).ok_or_else(|| TooMuch::Entries { pattern: pattern_shown() })?;
            let path = entry.path();
            if glob.is_match(&path) {
                found.push(path.clone());
            }
            // Links are not followed: what they lead to is found under its own name.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            }
        }
    }
    Ok(found)
}

fn is_anothers(folder: &Path) -> bool {
    fs::symlink_metadata(folder).map_or(true, |meta| meta.uid() != nix::unistd::geteuid().as_raw())
}

/// The folders before the first glob character.
fn fixed_part(pattern: &Path) -> PathBuf {
    pattern.components().take_while(|part| !matches!(part, Component::Normal(name) if name.to_string_lossy().contains(['*', '?', '[', '{']))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["a/.env", "b/c/.env", "b/c/.env.local", "b/readme"] {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), "").unwrap();
        }
        let mut found = matches(&root.join("**/.env")).unwrap();
        found.sort();
        assert_eq!(found, [root.join("a/.env"), root.join("b/c/.env")]);
        assert_eq!(matches(&root.join("b/*")).unwrap().len(), 2);
        assert_eq!(matches(&root.join("plain/path")).unwrap(), [root.join("plain/path")]);
        assert!(matches(&root.join("none/*")).unwrap().is_empty());
    }

    #[test]
    fn however_deep_a_name_lies_it_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d/".repeat(200));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join(".env"), "").unwrap();
        assert_eq!(matches(&folder.path().join("**/.env")).unwrap().len(), 1);
    }

    #[test]
    fn a_tree_that_is_too_deep_to_be_named_is_refused() {
        // Deeper than a path may be long: made, and later removed, step by step.
        let folder = tempfile::tempdir().unwrap();
        let name = "d".repeat(250);
        let script = format!("i=0; while [ $i -lt 20 ]; do mkdir {name} && cd -P {name} 2>/dev/null || exit 1; i=$((i+1)); done");
        let made = std::process::Command::new("bash").args(["-c", &script]).current_dir(folder.path()).status().unwrap();
        assert!(made.success());
        assert!(matches!(matches(&folder.path().join("**/.env")), Err(TooMuch::Closed { .. })));
    }
}
