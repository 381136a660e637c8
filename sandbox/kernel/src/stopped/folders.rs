//! The folders that calls came through lately, and how a call is seen to come through one of them again.
//!
//! Most calls come through the folder of a call before. Nothing is believed of its name: each time the kernel is asked where the words lead now,
//! and only if that is the very folder that is held open, through the same mount, it need not be opened, looked at and closed once more.

use std::{
    cell::RefCell,
    collections::VecDeque,
    ffi::{CStr, CString},
    os::fd::OwnedFd,
    rc::Rc,
};

use rustix::fs::{FsWord, fstatfs};

use super::{resolve::Ground, stat::Stat};

/// So many are held; each keeps its file system from being unmounted as long.
const MOST: usize = 8;

/// Where no two folders have one number, of `statfs(2)`: ext2 to ext4, XFS, Btrfs, tmpfs, F2FS, bcachefs, overlayfs. A file system in a process
/// (FUSE) or across a network numbers as it likes.
const NUMBERED: [FsWord; 7] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0xf2f5_2010, 0xca45_1a4e, 0x794c_7630];

/// A folder in which a path ends.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) fd: Rc<OwnedFd>,
    pub(super) ground: Ground,
}

/// See above.
#[derive(Debug, Default)]
pub(super) struct Folders(RefCell<VecDeque<Known>>);

#[derive(Debug)]
struct Known {
    words: CString,
    folder: Folder,
    stat: Stat,
}

impl Folders {
    /// The folder that these words lead to, if it is one of them. `look` tells where they lead now; it is only asked if they led to one before.
    pub(super) fn again(&self, words: &[u8], look: impl FnOnce(&CStr) -> Option<Stat>) -> Option<Folder> {
        let mut held = self.0.borrow_mut();
        let now = look(&held.iter().find(|known| known.words.to_bytes() == words)?.words)?;
        let at = held.iter().position(|known| known.words.to_bytes() == words && known.stat.is_of(&now))?;
        let known = held.remove(at)?;
        let folder = known.folder.clone();
        // Those that nobody comes through any more are let go of first.
        held.push_front(known);
        Some(folder)
    }

    /// Holds a folder that was walked to by these words.
    pub(super) fn remember(&self, words: Vec<u8>, folder: &Folder, stat: Stat) {
        let Ok(words) = CString::new(words) else { return };
        let mut held = self.0.borrow_mut();
        // A mount stays what it is for as long as something on it is held.
        let is_numbered = || held.iter().any(|known| known.stat.mount == stat.mount) || fstatfs(&folder.fd).is_ok_and(|found| NUMBERED.contains(&found.f_type));
        if folder.ground.proc || !is_numbered() {
            return;
        }
        held.truncate(MOST - 1);
        held.push_front(Known { words, folder: folder.clone(), stat });
    }
}
