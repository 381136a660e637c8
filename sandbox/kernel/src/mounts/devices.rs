//! The box's own `/dev`: a few harmless devices, its own terminals, and nothing else.

use std::{
    fs,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::{MetadataExt, symlink},
    },
    path::{Path, PathBuf},
};

use nix::{
    mount::{MsFlags, mount},
    sys::stat::fstat,
};

use super::place::{Copy, MountError, failed, folder, memory};
use crate::sys::mount::Depth;

/// Device files that programs expect; all harmless.
const NODES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// Links in `/dev` that programs expect.
const LINKS: &[(&str, &str)] = &[
    ("pts/ptmx", "/dev/ptmx"),
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// Where `ttyname` finds the box's terminal, which has no name in the box's own `/dev/pts`.
pub(crate) const CONSOLE: &str = "/dev/console";

/// Copies of the machine's devices, taken while they can still be reached.
#[derive(Debug)]
pub(super) struct Devices(Vec<(PathBuf, Copy)>);

impl Devices {
    pub(super) fn take(terminal: Option<BorrowedFd<'_>>) -> Result<Self, MountError> {
        let mut devices = Vec::new();
        for node in NODES.iter().map(Path::new) {
            // A container may lack one; what is not there cannot be given.
            if let Some(copy) = Copy::of(node, Depth::One, 0)? {
                devices.push((node.to_owned(), copy));
            }
        }
        if let Some(copy) = terminal.and_then(console) {
            devices.push((CONSOLE.into(), copy));
        }
        Ok(Self(devices))
    }

    pub(super) fn set_up(&self) -> Result<(), MountError> {
        let dev = Path::new("/dev");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        memory(dev, flags, "mode=0755,size=64k")?;
        for (path, copy) in &self.0 {
            copy.cover(path)?;
        }
        let pts = Path::new("/dev/pts");
        folder(pts)?;
        // No `gid=5`: an ordinary user's box knows no group but his own.
        let options = "newinstance,ptmxmode=0666,mode=0620";
        mount(Some("devpts"), pts, Some("devpts"), flags, Some(options)).map_err(failed("mounting terminals on", pts))?;
        let shm = Path::new("/dev/shm");
        folder(shm)?;
        memory(shm, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=1777,size=2g")?;
        for (target, link) in LINKS {
            symlink(target, link).map_err(failed("linking", Path::new(link)))?;
        }
        let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(None::<&str>, dev, None::<&str>, flags, None::<&str>).map_err(failed("making read-only", dev))
    }
}

/// The terminal's own device file. It was opened in the mounts outside, so it is looked up again by name, and must be the same one.
/// Without it only `ttyname` fails, so nothing here is an error.
fn console(terminal: BorrowedFd<'_>) -> Option<Copy> {
    let path = fs::read_link(format!("/proc/self/fd/{}", terminal.as_raw_fd())).ok()?;
    let found = super::place::find(&path).ok()?;
    let (there, here) = (fstat(terminal).ok()?, fs::metadata(&path).ok()?);
    if (there.st_dev, there.st_ino, there.st_rdev) != (here.dev(), here.ino(), here.rdev()) {
        return None;
    }
    Copy::of_place(found.as_fd(), &path, Depth::One, 0).ok()
}
