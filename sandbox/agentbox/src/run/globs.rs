//! Spells a policy's file patterns out against the files that are there, within bounds.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use globset::{GlobBuilder, GlobMatcher};

/// Entries that are looked at for one pattern: a tree of that size takes a second, and more would delay every start.
const MOST: usize = 200_000;

/// How deep below its fixed part a pattern is followed.
const DEEPEST: usize = 24;

/// The paths that exist and that `pattern` names; the pattern itself where it has no glob characters.
pub(crate) fn matches(pattern: &Path) -> Vec<PathBuf> {
    let text = pattern.to_string_lossy();
    if !text.contains(['*', '?', '[', '{']) {
        return vec![pattern.to_owned()];
    }
    let Ok(glob) = GlobBuilder::new(&text).literal_separator(true).build() else { return Vec::new() };
    let mut found = Vec::new();
    let mut left = MOST;
    walk(&fixed_part(pattern), &glob.compile_matcher(), 0, &mut left, &mut found);
    found
}

/// The folders before the first glob character.
fn fixed_part(pattern: &Path) -> PathBuf {
    pattern.components().take_while(|part| !matches!(part, Component::Normal(name) if name.to_string_lossy().contains(['*', '?', '[', '{']))).collect()
}

fn walk(folder: &Path, glob: &GlobMatcher, depth: usize, left: &mut usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let path = entry.path();
        if glob.is_match(&path) {
            found.push(path.clone());
        }
        // Links are not followed: what they lead to is found under its own name.
        if depth < DEEPEST && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, glob, depth + 1, left, found);
        }
    }
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
        let mut found = matches(&root.join("**/.env"));
        found.sort();
        assert_eq!(found, [root.join("a/.env"), root.join("b/c/.env")]);
        assert_eq!(matches(&root.join("b/*")).len(), 2);
        assert_eq!(matches(&root.join("plain/path")), [root.join("plain/path")]);
        assert!(matches(&root.join("none/*")).is_empty());
    }
}
