//! The box's own `/proc`, and what of `/proc` and `/sys` speaks to the whole machine.
//!
//! Root's box keeps uid 0, and the kernel lets uid 0 read and write many of these files by their mode alone, without any capability. So
//! everything at the top of `/proc` that can be written is read-only, and everything that only its owner may read is empty. The rule is
//! the file's own mode, so that it holds for files which a newer kernel adds.

use std::{
    fs,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
    path::Path,
};

use nix::{
    libc,
    mount::{MsFlags, mount},
};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::{
    masks::Masks,
    place::{Copy, MountError, RDONLY, failed, find},
};
use crate::sys::mount::Depth;

/// Open to all, and yet about the whole machine: its keys, its timers, its memory.
const MASKED: &[&str] = &["kcore", "keys", "key-users", "timer_list", "sched_debug", "scsi", "latency_stats", "acpi"];

/// Where root finds the machine's internals in `/sys`. They are read-only by the mount already.
pub(crate) const MASKED_IN_SYS: &[&str] = &[
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/fs/pstore",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
    // Power readings tell what others compute (CVE-2020-8694).
    "/sys/devices/virtual/powercap",
];

/// Where programs look for their limits.
const GROUPS: &str = "/sys/fs/cgroup";

const READ_BY_OTHERS: u32 = 0o004;
const WRITTEN: u32 = 0o222;

pub(super) fn set_up(masks: &Masks) -> Result<(), MountError> {
    let proc = Path::new("/proc");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), proc, Some("proc"), flags, None::<&str>).map_err(failed("mounting a process table of its own on", proc))?;
    for entry in fs::read_dir(proc).map_err(failed("listing", proc))? {
        let entry = entry.map_err(failed("listing", proc))?;
        let name = entry.file_name();
        // The processes themselves, and `self`, `thread-self`, `mounts`, `net`, which are links to them.
        if name.as_bytes().first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        // Not by following a link, and a file that has gone needs nothing.
        let Ok(meta) = entry.metadata() else { continue };
        let (path, mode) = (entry.path(), meta.permissions().mode());
        if meta.is_symlink() {
            continue;
        }
        if MASKED.iter().any(|masked| name == **masked) || (meta.is_file() && mode & READ_BY_OTHERS == 0) {
            masks.put(&path)?;
        } else if (meta.is_dir() || mode & WRITTEN != 0)
            && let Some(copy) = Copy::of(&path, Depth::Tree, RDONLY)?
        {
            copy.cover(&path)?;
        }
    }
    MASKED_IN_SYS.iter().try_for_each(|path| masks.put(Path::new(path)))?;
    groups(masks)
}

/// The box's own group is the root of what it sees of them, as it is in `/proc/self/cgroup`: it finds its own limits there, and the groups of others are
/// not for the agent to see. Where there are several trees of them, as before cgroup2, or no mount can be had, there is nothing.
fn groups(masks: &Masks) -> Result<(), MountError> {
    let path = Path::new(GROUPS);
    let is_one_tree = find(path).is_ok_and(|place| rustix::fs::fstatfs(place).is_ok_and(|found| found.f_type == libc::CGROUP2_SUPER_MAGIC));
    match own_groups() {
        Ok(own) if is_one_tree => Copy::of_folder(own).cover(path),
        Ok(_) | Err(_) => masks.put(path),
    }
}

fn own_groups() -> Result<OwnedFd, rustix::io::Errno> {
    let tree = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(tree.as_fd())?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(tree.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}
