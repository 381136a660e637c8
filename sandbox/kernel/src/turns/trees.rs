//! What a box's trees cover, in words by which other boxes tell whether theirs overlap.

use std::{
    collections::BTreeSet,
    os::{fd::BorrowedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use serde::{Deserialize, Serialize};

use super::entry::NoTurns;
use crate::mounts::list::{self, Mounted};

/// Two boxes overlap if a top of one is a top of the other, or lies below one. A folder is told by its device and inode, and by its place on its
/// file system, whatever it is called and wherever that is mounted: of a folder that is mounted elsewhere too, only the place tells what it lies in,
/// and in letters that a file system takes for others, only the inode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reach {
    tops: BTreeSet<String>,
    /// The tops, and all that they lie in.
    above: BTreeSet<String>,
}

impl Reach {
    pub(super) fn of(proc: BorrowedFd<'_>, trees: &[PathBuf]) -> Result<Self, NoTurns> {
        let mounts = list::all(proc).map_err(|errno| NoTurns::io("reading", Path::new("/proc/self/mountinfo"), errno.into()))?;
        let mut reach = Self::default();
        for tree in trees {
            // A tree that is not there is written by nobody.
            let Ok(tree) = std::fs::canonicalize(tree) else { continue };
            reach.add_folder(&tree)?;
            reach.add_places(&tree, &mounts);
        }
        Ok(reach)
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let below = |one: &Self, other: &Self| one.tops.iter().any(|top| other.above.contains(top));
        below(self, other) || below(other, self)
    }

    fn add_folder(&mut self, tree: &Path) -> Result<(), NoTurns> {
        for (index, folder) in tree.ancestors().enumerate() {
            let stat = std::fs::metadata(folder).map_err(|error| NoTurns::io("looking at", folder, error))?;
            self.add(index == 0, format!("{}:{}", stat.dev(), stat.ino()));
        }
        Ok(())
    }

    /// Of the tree itself, and of all that is mounted beneath.
    fn add_places(&mut self, tree: &Path, mounts: &[Mounted]) {
        let own = statx(CWD, tree, AtFlags::empty(), StatxFlags::MNT_ID).ok().map(|stat| stat.stx_mnt_id);
        let places = mounts.iter().filter_map(|mount| {
            if own == Some(mount.id) {
                let below = tree.strip_prefix(&mount.at).ok()?;
                // Without the slash that is left of nothing.
                return Some((&mount.device, mount.root.join(below).components().collect::<PathBuf>()));
            }
            mount.at.starts_with(tree).then(|| (&mount.device, mount.root.clone()))
        });
        for (device, place) in places.collect::<Vec<_>>() {
            for (index, above) in place.ancestors().enumerate() {
                self.add(index == 0, format!("{device} {}", above.as_os_str().as_encoded_bytes().escape_ascii()));
            }
        }
    }

    fn add(&mut self, is_top: bool, word: String) {
        if is_top {
            self.tops.insert(word.clone());
        }
        self.above.insert(word);
    }
}
