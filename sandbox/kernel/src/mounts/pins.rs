//! Folders that must stay where they are, because what lies in them is guarded by its path.
//!
//! A mount goes along when a folder above it is renamed. So an agent that may write `.git` could rename it, and put another `.git` with a
//! `config` of its own in its stead; or move the folder of a masked file, so that the next box would not find it. The kernel does not
//! rename what is itself a mount (`EBUSY`): each folder between a writable place and a guarded path becomes one. The price is that
//! rename(2) and link(2) between such a folder and its neighbours are refused with `EXDEV`, upon which `mv` copies.

use std::path::{Path, PathBuf};

use super::FileFence;

/// The folders, each once.
pub(super) fn pins(fence: &FileFence) -> Vec<PathBuf> {
    let mut pins: Vec<PathBuf> = fence
        .read_only
        .iter()
        .chain(&fence.masked)
        .chain(fence.writable.iter().filter(|path| fence.cached().any(|cache| path.starts_with(cache))))
        .filter_map(|path| path.parent())
        .flat_map(|parent| parent.ancestors().take_while(|folder| is_given(fence, folder)))
        .filter(|folder| !given(fence).any(|tree| tree == *folder))
        .map(Path::to_owned)
        .collect();
    pins.sort();
    pins.dedup();
    pins
}

/// What the agent may write: places, and layers over caches.
fn given(fence: &FileFence) -> impl Iterator<Item = &PathBuf> {
    fence.writable.iter().chain(fence.cached())
}

/// Whether the deepest place that holds this folder is one that the agent may write.
fn is_given(fence: &FileFence, folder: &Path) -> bool {
    fn depth<'a>(places: impl IntoIterator<Item = &'a PathBuf>, folder: &Path) -> Option<usize> {
        places.into_iter().filter(|place| folder.starts_with(place)).map(|place| place.components().count()).max()
    }
    // None is less than any.
    depth(given(fence), folder) > depth(&fence.read_only, folder).max(depth(&fence.masked, folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(writable: &[&str], read_only: &[&str], masked: &[&str]) -> Vec<PathBuf> {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        pins(&FileFence {
            writable: paths(writable),
            read_only: paths(read_only),
            masked: paths(masked),
            sockets: Vec::new(),
            provided: Vec::new(),
            furnished: Vec::new(),
            scratch: Vec::new(),
            caches: Vec::new(),
        })
    }

    #[test]
    fn every_folder_down_to_a_guarded_path_is_pinned() {
        assert_eq!(of(&["/w"], &["/w/.git/config", "/w/.git/hooks"], &["/w/a/b/key"]), ["/w/.git", "/w/a", "/w/a/b"].map(PathBuf::from));
        assert_eq!(of(&["/w"], &["/w/top"], &["/w/.env"]), Vec::<PathBuf>::new());
    }

    #[test]
    fn what_cannot_be_renamed_anyway_needs_no_pin() {
        assert_eq!(of(&["/w"], &["/etc/passwd"], &["/home/u/.ssh"]), Vec::<PathBuf>::new());
        assert_eq!(of(&["/w"], &["/w/r", "/w/r/deep/er"], &[]), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_pin_uncovers_nothing() {
        // Below a mask nothing of the folder outside may come back.
        assert_eq!(of(&["/w"], &["/w/secret/deep/shown"], &["/w/secret"]), Vec::<PathBuf>::new());
        assert_eq!(of(&["/w", "/w/secret/mine"], &["/w/secret/mine/x/y"], &["/w/secret"]), ["/w/secret/mine/x"].map(PathBuf::from));
    }
}
