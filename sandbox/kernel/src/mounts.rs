//! The box's view of the files: everything as outside but read-only, its places writable, secrets masked, its own `/tmp`, `/run`, `/dev`, `/proc`.

use std::{
    ffi::CString,
    fs::{self, DirBuilder},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::DirBuilderExt, fs::symlink},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::{chdir, pivot_root},
};

use crate::sys::mount::{Depth, attach, open_tree, restrict};

/// A file that agentbox puts into the box.
#[derive(Clone, Debug)]
pub struct Provided {
    /// Where, absolute. It is bound over what is there; where nothing is, it must lie below `/run`.
    pub path: PathBuf,
    /// What.
    pub contents: Vec<u8>,
}

/// What the mounts must enforce. Paths are absolute and without symbolic links in them; those that do not exist are passed over.
#[derive(Clone, Debug, Default)]
pub struct FileFence {
    /// Trees where everything is allowed.
    pub writable: Vec<PathBuf>,
    /// Paths inside writable trees that are read-only.
    pub read_only: Vec<PathBuf>,
    /// Paths that are shown empty.
    pub masked: Vec<PathBuf>,
    /// Files of ours.
    pub provided: Vec<Provided>,
}

/// What could not be done.
#[derive(Debug, thiserror::Error)]
#[error("{what}{}: {source}", .path.as_ref().map(|p| format!(" {}", p.display())).unwrap_or_default())]
pub(crate) struct MountError {
    what: &'static str,
    path: Option<PathBuf>,
    pub(crate) source: io::Error,
}

fn failed<E: Into<io::Error>>(what: &'static str, path: &Path) -> impl FnOnce(E) -> MountError {
    let path = Some(path.to_owned());
    move |error| MountError { what, path, source: error.into() }
}

fn step<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> MountError {
    move |error| MountError { what, path: None, source: error.into() }
}

/// Folders that are the box's own: empty memory, gone with it. Sizes bound what a box can take of the machine's memory.
const PRIVATE: &[(&str, &str)] = &[("/tmp", "mode=1777,size=4g"), ("/run", "mode=0755,size=256m"), ("/var/tmp", "mode=1777,size=4g")];

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

/// Parts of `/proc` that speak to the whole kernel: kuid 0 may write some of them by file mode alone, without any capability.
const PROC_READ_ONLY: &[&str] = &["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi", "/proc/mtrr"];

/// Parts of `/proc` that show the whole machine's memory, keys or timers.
const PROC_MASKED: &[&str] = &["/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/timer_list", "/proc/sched_debug", "/proc/scsi", "/proc/latency_stats"];

/// `MOUNT_ATTR_*` of `linux/mount.h`.
const RDONLY: u64 = 1;
const NOSUID: u64 = 2;
const NODEV: u64 = 4;

/// Folders on which the new tree may be put together; each is there on some system, and what was in it is not needed any more.
const STAGES: &[&str] = &["/tmp", "/mnt", "/run", "/dev"];

/// Where our own files lie in the box.
const OURS: &str = "/run/agentbox";

/// An empty read-only file and folder: what a mask shows.
const EMPTY_FILE: &str = "/run/agentbox/empty";

fn c(path: &Path) -> Result<CString, MountError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| MountError {
        what: "a NUL in a path",
        path: Some(path.to_owned()),
        source: io::ErrorKind::InvalidInput.into(),
    })
}

/// Makes the whole view in the mount namespace that this process is in. PID 1 of the box calls it, with all capabilities there.
pub(crate) fn set_up(fence: &FileFence) -> Result<(), MountError> {
    // Nothing that happens here may reach the mounts outside.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).map_err(step("making the mounts private"))?;
    // Copies of what stays writable are taken while everything still is.
    let mut writable = sorted(&fence.writable);
    writable.retain(|path| path.symlink_metadata().is_ok());
    let mut sources = Vec::new();
    for path in &writable {
        let source = open_tree(&c(path)?, Depth::Tree).map_err(failed("copying the mount of", path))?;
        restrict(source.as_fd(), NOSUID | NODEV).map_err(failed("restricting", path))?;
        sources.push(source);
    }
    let mut nodes = Vec::new();
    for node in NODES.iter().map(Path::new) {
        // A container may lack one; what is not there cannot be given.
        match open_tree(&c(node)?, Depth::One) {
            Ok(source) => nodes.push((node, source)),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(failed("copying the device", node)(errno)),
        }
    }
    enter_copy_of_root()?;
    for (folder, options) in PRIVATE {
        if Path::new(folder).is_dir() {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            mount(Some("tmpfs"), *folder, Some("tmpfs"), flags, Some(*options)).map_err(failed("mounting memory on", Path::new(folder)))?;
        }
    }
    own_devices(&nodes)?;
    own_proc()?;
    folder(Path::new(OURS))?;
    fs::write(EMPTY_FILE, b"").map_err(failed("writing", Path::new(EMPTY_FILE)))?;
    for (path, source) in writable.iter().zip(&sources) {
        if !path.exists() {
            folder(path)?;
        }
        attach(source.as_fd(), &c(path)?).map_err(failed("making writable", path))?;
    }
    for path in sorted(&fence.read_only) {
        if path.symlink_metadata().is_ok_and(|meta| !meta.is_symlink()) {
            let source = open_tree(&c(&path)?, Depth::Tree).map_err(failed("copying the mount of", &path))?;
            restrict(source.as_fd(), RDONLY).map_err(failed("making read-only", &path))?;
            attach(source.as_fd(), &c(&path)?).map_err(failed("making read-only", &path))?;
        }
    }
    for provided in &fence.provided {
        provide(provided)?;
    }
    for path in sorted(&fence.masked) {
        mask(&path)?;
    }
    // Last: what is ours in `/run` cannot be changed any more, by whomever.
    let ours = Path::new(OURS);
    let source = open_tree(&c(ours)?, Depth::Tree).map_err(failed("copying the mount of", ours))?;
    restrict(source.as_fd(), RDONLY).map_err(failed("making read-only", ours))?;
    attach(source.as_fd(), &c(ours)?).map_err(failed("making read-only", ours))
}

/// The folders that a box may write besides the policy's places.
pub(crate) fn private_folders() -> Vec<PathBuf> {
    PRIVATE.iter().map(|(folder, _)| *folder).chain(["/dev/shm"]).map(PathBuf::from).filter(|path| path.is_dir()).collect()
}

/// Shallow paths first, so that what lies deeper is put on top of them.
fn sorted(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut paths = paths.to_vec();
    paths.sort_by_key(|path| path.components().count());
    paths.dedup();
    paths
}

fn enter_copy_of_root() -> Result<(), MountError> {
    let root = open_tree(c"/", Depth::Tree).map_err(step("copying the tree of mounts (open_tree needs Linux 5.2)"))?;
    restrict(root.as_fd(), RDONLY | NOSUID | NODEV).map_err(step("making the tree read-only (mount_setattr needs Linux 5.12)"))?;
    let stage = STAGES.iter().map(Path::new).find(|path| path.is_dir()).ok_or(MountError {
        what: "no folder to build the box in: none of /tmp, /mnt, /run, /dev is there",
        path: None,
        source: io::ErrorKind::NotFound.into(),
    })?;
    attach(root.as_fd(), &c(stage)?).map_err(failed("attaching the tree at", stage))?;
    chdir(stage).map_err(failed("entering", stage))?;
    // With both names the same, the old root ends up on top of the new one, and is taken off there.
    pivot_root(".", ".").map_err(step("changing the root"))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(step("letting go of the old root"))?;
    chdir("/").map_err(step("entering the new root"))
}

fn own_devices(nodes: &[(&Path, OwnedFd)]) -> Result<(), MountError> {
    let dev = Path::new("/dev");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), dev, Some("tmpfs"), flags, Some("mode=0755,size=64k")).map_err(failed("mounting memory on", dev))?;
    for (path, source) in nodes {
        fs::write(path, b"").map_err(failed("making", path))?;
        attach(source.as_fd(), &c(path)?).map_err(failed("binding the device", path))?;
    }
    let pts = Path::new("/dev/pts");
    folder(pts)?;
    let options = "newinstance,ptmxmode=0666,mode=0620";
    mount(Some("devpts"), pts, Some("devpts"), MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, Some(options)).map_err(failed("mounting terminals on", pts))?;
    let shm = Path::new("/dev/shm");
    folder(shm)?;
    mount(Some("tmpfs"), shm, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=1777,size=2g")).map_err(failed("mounting memory on", shm))?;
    for (target, link) in LINKS {
        symlink(target, link).map_err(failed("linking", Path::new(link)))?;
    }
    remount_read_only(dev, flags)
}

fn own_proc() -> Result<(), MountError> {
    let proc = Path::new("/proc");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), proc, Some("proc"), flags, None::<&str>).map_err(failed("mounting a process table of its own on", proc))?;
    for path in PROC_READ_ONLY.iter().map(Path::new).filter(|path| path.exists()) {
        let source = open_tree(&c(path)?, Depth::Tree).map_err(failed("copying the mount of", path))?;
        restrict(source.as_fd(), RDONLY).map_err(failed("making read-only", path))?;
        attach(source.as_fd(), &c(path)?).map_err(failed("making read-only", path))?;
    }
    let null = open_tree_of_null();
    for path in PROC_MASKED.iter().map(Path::new) {
        match path.symlink_metadata() {
            Ok(meta) if meta.is_dir() => empty_folder(path)?,
            Ok(_) => attach(null()?.as_fd(), &c(path)?).map_err(failed("masking", path))?,
            Err(_) => {}
        }
    }
    Ok(())
}

fn open_tree_of_null() -> impl Fn() -> Result<OwnedFd, MountError> {
    || open_tree(c"/dev/null", Depth::One).map_err(step("copying /dev/null"))
}

fn remount_read_only(path: &Path, flags: MsFlags) -> Result<(), MountError> {
    let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>).map_err(failed("making read-only", path))
}

fn folder(path: &Path) -> Result<(), MountError> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed("making the folder", path))
}

fn empty_folder(path: &Path) -> Result<(), MountError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some("mode=0555,size=4k")).map_err(failed("masking", path))
}

fn mask(path: &Path) -> Result<(), MountError> {
    match path.metadata() {
        Ok(meta) if meta.is_dir() => empty_folder(path),
        Ok(_) => {
            let empty = open_tree(&c(Path::new(EMPTY_FILE))?, Depth::One).map_err(step("copying the empty file"))?;
            restrict(empty.as_fd(), RDONLY).map_err(step("making the empty file read-only"))?;
            attach(empty.as_fd(), &c(path)?).map_err(failed("masking", path))
        }
        // Not there, or a link to nowhere: there is nothing to read.
        Err(_) => Ok(()),
    }
}

/// Our files lie in memory; one whose place is somebody else's file is bound over that.
fn provide(provided: &Provided) -> Result<(), MountError> {
    let path = &provided.path;
    if path.starts_with("/run") {
        if let Some(parent) = path.parent() {
            folder(parent)?;
        }
        return fs::write(path, &provided.contents).map_err(failed("writing", path));
    }
    // It may be a link into `/run` (resolv.conf of systemd-resolved), whose target has gone with the old `/run`.
    let real = fs::canonicalize(path).ok().or_else(|| link_target(path));
    let Some(real) = real else { return Ok(()) };
    if real.starts_with("/run") {
        return provide(&Provided { path: real, contents: provided.contents.clone() });
    }
    let name: String = path.to_string_lossy().chars().map(|c| if c == '/' { '-' } else { c }).collect();
    let own = Path::new(OURS).join(format!("file{name}"));
    fs::write(&own, &provided.contents).map_err(failed("writing", &own))?;
    let source = open_tree(&c(&own)?, Depth::One).map_err(failed("copying the mount of", &own))?;
    restrict(source.as_fd(), RDONLY).map_err(failed("making read-only", &own))?;
    attach(source.as_fd(), &c(&real)?).map_err(failed("binding a file over", &real))
}

/// Where a link leads, taken by its words: its target need not exist.
fn link_target(path: &Path) -> Option<PathBuf> {
    let target = fs::read_link(path).ok()?;
    let joined = path.parent()?.join(target);
    let mut clean = PathBuf::new();
    for part in joined.components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            std::path::Component::CurDir => {}
            other => clean.push(other),
        }
    }
    Some(clean)
}
