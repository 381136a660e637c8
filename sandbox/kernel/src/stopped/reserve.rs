//! Names that are made beside a secret, where Landlock grants what was there at the start alone: folders and files that were made before, and
//! granted, are moved to them. So what is in such a folder can be executed, which nobody can do in the agent's place.

use std::{
    cell::RefCell,
    fs, io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, RenameFlags, open, renameat2},
    sys::{
        stat::{FchmodatFlags, Mode, UtimensatFlags, fchmodat, fstat, utimensat},
        time::TimeSpec,
    },
};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::{resolve::Spot, world::World};

/// How many of each are made before: what is made directly beside a secret is little, most of it lies in folders.
const FOLDERS: usize = 64;
const FILES: usize = 192;

/// What was made before a box started, for one tree.
#[derive(Clone, Debug, Default)]
pub struct Reserve {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Reserve {
    /// Makes it in an empty folder, which the agent must not be able to change.
    ///
    /// # Errors
    /// One cannot be made.
    pub fn make(folder: &Path) -> io::Result<Self> {
        let named = |kind: &str, count| (0..count).map(|number| folder.join(format!("{kind}{number}"))).collect::<Vec<_>>();
        let made = Self { folders: named("d", FOLDERS), files: named("f", FILES) };
        for path in &made.folders {
            fs::DirBuilder::new().mode(0o700).create(path)?;
        }
        for path in &made.files {
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        }
        Ok(made)
    }

    /// All of it.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.folders.iter().chain(&self.files)
    }

    /// With that of another tree.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.folders.extend(other.folders);
        self.files.extend(other.files);
        self
    }

    /// Whether names can be moved from one folder to another.
    #[must_use]
    pub fn reaches(from: &Path, to: &Path) -> bool {
        let mount = |path: &Path| statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID).ok().map(|stat| stat.stx_mnt_id);
        mount(from).is_some_and(|one| mount(to) == Some(one))
    }
}

/// What is left of it.
#[derive(Debug)]
pub(super) struct Left(RefCell<Reserve>);

/// What is wanted of it.
pub(super) enum Wanted {
    Folder,
    /// Opened so.
    File(OFlag),
}

/// What came of it.
pub(super) enum Placed {
    Folder,
    File(OwnedFd),
    /// Nothing was done: it is to be made as anywhere.
    No,
}

impl From<Reserve> for Left {
    fn from(reserve: Reserve) -> Self {
        Self(RefCell::new(reserve))
    }
}

impl Left {
    /// Moves one to a free name, where that lies directly beside the way to a secret.
    ///
    /// # Errors
    /// The kernel's. EEXIST: the name is free no more.
    pub(super) fn place(&self, wanted: &Wanted, spot: &Spot, mode: Mode, tid: i32, world: &World) -> Result<Placed, Errno> {
        let mut left = self.0.borrow_mut();
        let is_beside = || world.bounds().is_some_and(|bounds| world.path_of(spot.folder.as_fd()).is_ok_and(|path| bounds.hides_below(&path)));
        if (left.folders.is_empty() && left.files.is_empty()) || !is_beside() || gives_on(spot) {
            return Ok(Placed::No);
        }
        let (paths, flags) = match wanted {
            Wanted::Folder => (&mut left.folders, OFlag::O_PATH | OFlag::O_DIRECTORY),
            Wanted::File(flags) => (&mut left.files, *flags - (OFlag::O_CREAT | OFlag::O_EXCL)),
        };
        let mode = mode & !world.mask(tid)? & Mode::from_bits_truncate(0o1777);
        // The last that lies on the same mount as the name; those that do not are for another tree.
        for at in (0..paths.len()).rev() {
            let Some(path) = paths.get(at) else { continue };
            let made = open(path, flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
            fchmodat(AT_FDCWD, path, mode, FchmodatFlags::FollowSymlink)?;
            utimensat(AT_FDCWD, path, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW, UtimensatFlags::NoFollowSymlink)?;
            // Its birth is older than the box.
            world.remember(made.as_fd());
            match renameat2(AT_FDCWD, path, &spot.folder, spot.name.as_c_str(), RenameFlags::RENAME_NOREPLACE) {
                Ok(()) => {
                    paths.swap_remove(at);
                    return Ok(match wanted {
                        Wanted::Folder => Placed::Folder,
                        Wanted::File(_) => Placed::File(made),
                    });
                }
                Err(Errno::EXDEV) => {}
                // A file system without the flag.
                Err(Errno::EINVAL) => return Ok(Placed::No),
                Err(errno) => {
                    // For the next one that wants it.
                    fchmodat(AT_FDCWD, path, Mode::S_IRWXU, FchmodatFlags::FollowSymlink)?;
                    return Err(errno);
                }
            }
        }
        Ok(Placed::No)
    }
}

/// Whether what is made in this folder gets its group or rights from it, as what is moved there does not.
fn gives_on(spot: &Spot) -> bool {
    let gives_group = fstat(&spot.folder).is_ok_and(|stat| stat.st_mode & libc::S_ISGID != 0);
    let path = format!("/proc/self/fd/{}", spot.folder.as_raw_fd());
    gives_group || rustix::fs::getxattr(path.as_str(), "system.posix_acl_default", &mut [0_u8; 0]).is_ok()
}
