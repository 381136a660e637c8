//! Follows paths to what they really are, as `realpath` does, and remembers the folders on the way: most of a policy's paths go through the same ones.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use nix::errno::Errno;

/// Folders that were followed, and where they lead. For one pass over many paths: what is moved meanwhile is not noticed.
#[derive(Debug, Default)]
pub struct Real {
    folders: HashMap<PathBuf, Result<PathBuf, Errno>>,
}

impl Real {
    /// As [`fs::canonicalize`], by one look at the path itself where its folder is known.
    ///
    /// # Errors
    /// As there.
    pub fn of(&mut self, path: &Path) -> io::Result<PathBuf> {
        // `..` leads from where the folder before it really is, and a bare name from where this process stands.
        let (Some(parent), Some(name)) = (path.parent().filter(|parent| !parent.as_os_str().is_empty()), path.file_name()) else {
            return fs::canonicalize(path);
        };
        let place = self.folder(parent)?.join(name);
        if fs::symlink_metadata(&place)?.is_symlink() { fs::canonicalize(place) } else { Ok(place) }
    }

    fn folder(&mut self, path: &Path) -> io::Result<PathBuf> {
        if let Some(known) = self.folders.get(path) {
            return Ok(known.clone()?);
        }
        let real = self.of(path);
        let kept = real.as_ref().map(PathBuf::clone).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw));
        self.folders.insert(path.to_owned(), kept);
        real
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_the_system_says() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/file"), "").unwrap();
        for (link, target) in [("link", "a/b"), ("a/up", ".."), ("a/b/itself", "itself"), ("nowhere", "none/at/all"), ("to-file", "a/b/file")] {
            std::os::unix::fs::symlink(target, at(link)).unwrap();
        }
        let paths = [
            "",
            "a",
            "a/b",
            "a/b/file",
            "a/b/file/below",
            "link",
            "link/file",
            "link/../b/file",
            "a/up/link/file",
            "a/b/itself",
            "a/b/itself/x",
            "nowhere",
            "nowhere/x",
            "none",
            "none/x/y",
            "to-file",
            "to-file/x",
            "a/./b",
            "a/b/..",
            "../",
        ];
        let mut real = Real::default();
        // Once more, when all folders are known.
        for path in paths.iter().chain(&paths) {
            let ours = real.of(&at(path)).map_err(|error| error.raw_os_error());
            assert_eq!(ours, fs::canonicalize(at(path)).map_err(|error| error.raw_os_error()), "{path}");
        }
        // In an emulated machine the working directory is another, and the last two are not there.
        for path in ["/", ".", "src", "src/lib.rs"] {
            let ours = real.of(Path::new(path)).map_err(|error| error.raw_os_error());
            assert_eq!(ours, fs::canonicalize(path).map_err(|error| error.raw_os_error()), "{path}");
        }
    }
}
