//! What a mask shows: an empty file, or an empty folder, in memory that nobody in the box can change.

use std::{
    cell::Cell,
    fs,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
};

use super::place::{Copy, Kind, MountError, failed, find, folder, kind, memory};
use crate::sys::mount::Depth;

/// Where our own files lie in the box.
pub(super) const OURS: &str = "/run/agentbox";

/// Kept apart from what is provided.
const EMPTY: &str = "/run/agentbox/.masks";

/// The memory that masks and provided files are made of.
#[derive(Debug)]
pub(super) struct Masks {
    folders: Cell<u32>,
}

impl Masks {
    pub(super) fn set_up() -> Result<Self, MountError> {
        let ours = Path::new(OURS);
        folder(ours)?;
        memory(ours, FLAGS, "mode=0755,size=16m")?;
        folder(Path::new(EMPTY))?;
        let file = Path::new(EMPTY).join("file");
        fs::write(&file, b"").map_err(failed("writing", &file))?;
        Ok(Self { folders: Cell::new(0) })
    }

    /// Shows nothing at `path`. What is not there, or cannot be looked at by this user, needs no mask.
    pub(super) fn put(&self, path: &Path) -> Result<(), MountError> {
        let place = match find(path) {
            Ok(place) => place,
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => return Ok(()),
            Err(errno) => return Err(failed("opening", path)(errno)),
        };
        let source = match kind(place.as_fd()).map_err(failed("looking at", path))? {
            Kind::Folder => self.fresh_folder()?,
            Kind::File => Path::new(EMPTY).join("file"),
        };
        let Some(copy) = Copy::of(&source, Depth::One, 0)? else { return Err(failed("opening", &source)(Errno::ENOENT)) };
        copy.cover(path)
    }

    /// One for each mask, because a place below a mask that the policy does show is made in it.
    pub(super) fn fresh_folder(&self) -> Result<PathBuf, MountError> {
        let number = self.folders.get();
        self.folders.set(number.wrapping_add(1));
        let path = Path::new(EMPTY).join(number.to_string());
        folder(&path).map(|()| path)
    }

    /// Makes all of it read-only, wherever it is shown: the file system itself, not a mount of it.
    pub(super) fn seal(self) -> Result<(), MountError> {
        let ours = Path::new(OURS);
        mount(None::<&str>, ours, None::<&str>, FLAGS | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, None::<&str>).map_err(failed("making read-only", ours))
    }
}

const FLAGS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);
