//! Where a secret that a box was never given lies outside of it: file and line, or a variable's name, found by its fingerprint.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use agentbox_core::fingerprint::{Fingerprint, FingerprintKey};

use crate::scan::files;

/// How long an approver's card may wait for it.
const DEADLINE: Duration = Duration::from_secs(2);

/// Files and folders that are looked at.
const MOST: usize = 50_000;

/// Where to look.
pub(super) struct Traces {
    key: FingerprintKey,
    trees: Vec<PathBuf>,
    home: Option<PathBuf>,
    variables: Vec<(String, Vec<u8>)>,
}

impl Traces {
    /// In these trees, in the files at the top of the home, and in the box's variables.
    pub(super) fn new(key: FingerprintKey, trees: Vec<PathBuf>, variables: &[(OsString, OsString)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (name.to_string_lossy().into_owned(), value.as_encoded_bytes().to_vec())).collect();
        Self { key, trees, home: std::env::var_os("HOME").map(PathBuf::from), variables }
    }

    /// The first place of each, by the index of its credential.
    pub(super) fn find(&self, wanted: &[Fingerprint]) -> Vec<(usize, String)> {
        let end = Instant::now() + DEADLINE;
        let mut open: Vec<&Fingerprint> = wanted.iter().collect();
        let mut found = Vec::new();
        let mut look = |text: &[u8], place: &dyn Fn(usize) -> String| {
            open.retain(|one| match self.key.find(one, text) {
                Some(at) => {
                    found.push((one.credential, place(at)));
                    false
                }
                None => true,
            });
            !open.is_empty()
        };
        for (name, value) in &self.variables {
            if !look(value, &|_| format!("the variable {name} of the box")) {
                return found;
            }
        }
        let mut left = MOST;
        let mut ahead: VecDeque<(PathBuf, bool)> =
            self.trees.iter().map(|tree| (tree.clone(), true)).chain(self.home.clone().map(|home| (home, false))).collect();
        // Folder by folder, the upper ones first; the count and the clock bound it.
        while let Some((folder, deeper)) = ahead.pop_front() {
            for path in files::below(&folder) {
                left = left.saturating_sub(1);
                if left == 0 || Instant::now() > end {
                    return found;
                }
                let Ok(meta) = fs::symlink_metadata(&path) else { continue };
                if meta.is_dir() {
                    if deeper {
                        ahead.push_back((path, true));
                    }
                } else if meta.is_file()
                    && let Some(text) = files::beginning(&path)
                {
                    let line = |at: usize| text.get(..at).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count() + 1;
                    if !look(&text, &|at| format!("{}:{}", path.display(), line(at))) {
                        return found;
                    }
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"rw_4c1f7d2e9a8b";

    fn key() -> FingerprintKey {
        FingerprintKey::new([3; 32])
    }

    #[test]
    fn says_file_and_line_and_never_what() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("notes/old");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("domains.env"), "# tokens\n\nRAILWAY=rw_4c1f7d2e9a8b\n").unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("endless")).unwrap();
        let traces = Traces { key: key(), trees: vec![folder.path().to_owned()], home: None, variables: Vec::new() };
        let wanted = [key().of(4, SECRET).unwrap(), key().of(5, b"lies nowhere").unwrap()];
        let found = traces.find(&wanted);
        assert_eq!(found.len(), 1);
        assert!(found[0].0 == 4 && found[0].1.ends_with("notes/old/domains.env:3") && !found[0].1.contains("rw_"), "{found:?}");
    }

    #[test]
    fn a_variable_is_named() {
        let traces = Traces { key: key(), trees: Vec::new(), home: None, variables: vec![("FOUND".into(), [b"Bearer ", SECRET].concat())] };
        assert_eq!(traces.find(&[key().of(0, SECRET).unwrap()]), [(0, "the variable FOUND of the box".to_owned())]);
    }
}
