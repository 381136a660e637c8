//! A place in the tree of files, held by a descriptor, so that what is copied or covered is what was found.

use std::{
    fs::{self, DirBuilder},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2},
    mount::{MsFlags, mount},
    sys::stat::{SFlag, fstat},
};

use crate::sys::mount::{Depth, attach, open_tree, restrict};

/// What could not be done.
#[derive(Debug, thiserror::Error)]
#[error("{what}{}: {source}", .path.as_ref().map(|p| format!(" {}", p.display())).unwrap_or_default())]
pub(crate) struct MountError {
    pub(super) what: &'static str,
    pub(super) path: Option<PathBuf>,
    pub(crate) source: io::Error,
}

impl MountError {
    pub(crate) fn is_about(&self, path: &Path) -> bool {
        self.path() == Some(path)
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

pub(super) fn failed<E: Into<io::Error>>(what: &'static str, path: &Path) -> impl FnOnce(E) -> MountError {
    let path = Some(path.to_owned());
    move |error| MountError { what, path, source: error.into() }
}

pub(super) fn step<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> MountError {
    move |error| MountError { what, path: None, source: error.into() }
}

/// `MOUNT_ATTR_*` of `linux/mount.h`.
pub(super) const RDONLY: u64 = 1;
pub(super) const NOSUID: u64 = 2;
pub(super) const NODEV: u64 = 4;

/// Whether a place holds other places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File,
}

/// Holds what is at this path, without following any symbolic link: paths were settled before, and one that has come in the way since
/// was put there by somebody, perhaps by an agent in another box.
///
/// # Errors
/// `ELOOP`: a link is in the way. `ENOENT`, `EACCES`: as ever.
pub(super) fn find(path: &Path) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(AT_FDCWD, path, how)
}

/// The same for a path below a folder that is held.
///
/// # Errors
/// As [`find`]; `EXDEV`: it leads out of the folder.
pub(super) fn below(folder: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let strict = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_BENEATH;
    openat2(folder, path, OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(strict))
}

pub(super) fn kind(place: BorrowedFd<'_>) -> Result<Kind, Errno> {
    let mode = SFlag::from_bits_truncate(fstat(place)?.st_mode) & SFlag::S_IFMT;
    Ok(if mode == SFlag::S_IFDIR { Kind::Folder } else { Kind::File })
}

/// A copy of the mount here with these attributes added, not attached anywhere yet.
#[derive(Debug)]
pub(super) struct Copy {
    mount: OwnedFd,
    kind: Kind,
}

impl Copy {
    /// Of what is at `path`; none if nothing is there, or nothing that this user may look at.
    pub(super) fn of(path: &Path, depth: Depth, attributes: u64) -> Result<Option<Self>, MountError> {
        match find(path) {
            Ok(place) => Self::of_place(place.as_fd(), path, depth, attributes).map(Some),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => Ok(None),
            Err(errno) => Err(failed("opening", path)(errno)),
        }
    }

    pub(super) fn of_place(place: BorrowedFd<'_>, path: &Path, depth: Depth, attributes: u64) -> Result<Self, MountError> {
        let mount = open_tree(place, depth).map_err(failed("copying the mount of", path))?;
        if attributes != 0 {
            restrict(mount.as_fd(), attributes).map_err(failed("restricting", path))?;
        }
        let kind = kind(mount.as_fd()).map_err(failed("looking at", path))?;
        Ok(Self { mount, kind })
    }

    /// A mount that was made for the purpose, whose root is a folder.
    pub(super) fn of_folder(mount: OwnedFd) -> Self {
        Self { mount, kind: Kind::Folder }
    }

    /// Puts it over what is at `path`. A place that is not there is made, which can only succeed in memory of ours: everything else is
    /// read-only, or was there when the copy was taken.
    pub(super) fn cover(&self, path: &Path) -> Result<(), MountError> {
        let place = match find(path) {
            Err(Errno::ENOENT) => {
                self.make_place(path)?;
                find(path)
            }
            other => other,
        };
        let place = place.map_err(failed("opening", path))?;
        attach(self.mount.as_fd(), place.as_fd()).map_err(failed("covering", path))
    }

    fn make_place(&self, path: &Path) -> Result<(), MountError> {
        match self.kind {
            Kind::Folder => folder(path),
            Kind::File => {
                if let Some(parent) = path.parent() {
                    folder(parent)?;
                }
                fs::write(path, b"").map_err(failed("making", path))
            }
        }
    }
}

pub(super) fn folder(path: &Path) -> Result<(), MountError> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed("making the folder", path))
}

/// Mounts empty memory.
pub(super) fn memory(path: &Path, flags: MsFlags, options: &str) -> Result<(), MountError> {
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options)).map_err(failed("mounting memory on", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_came_in_the_way_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        fs::create_dir_all(real.join("tree/deep")).unwrap();
        std::os::unix::fs::symlink("tree", real.join("link")).unwrap();
        assert!(find(&real.join("tree/deep")).is_ok());
        for path in ["link", "link/deep"] {
            assert_eq!(find(&real.join(path)).err(), Some(Errno::ELOOP), "{path}");
        }
        assert_eq!(find(Path::new("/proc/self/root/etc")).err(), Some(Errno::ELOOP));
        assert_eq!(find(&real.join("none")).err(), Some(Errno::ENOENT));
    }
}
