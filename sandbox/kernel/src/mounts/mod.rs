//! The box's view of the files: everything as outside but read-only, its places writable, secrets masked, its own `/tmp`, `/run`, `/dev`, `/proc`.

mod caches;
mod contents;
pub(crate) mod devices;
mod furnished;
mod kernel_files;
pub(crate) mod list;
mod masks;
mod pins;
mod place;
mod scratch;
pub(crate) mod sockets;
pub mod watch;

use std::{
    fs::{self, DirBuilder},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::DirBuilderExt,
    },
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::{chdir, geteuid, pivot_root},
};

pub use self::{
    caches::CacheLayer,
    contents::Contents,
    furnished::{Entry, Furnished, Rest},
    scratch::Scratch,
};
pub(crate) use self::{caches::Unlayered, kernel_files::MASKED_IN_SYS, place::MountError};
use self::{
    devices::Devices,
    masks::{Masks, OURS},
    place::{Copy, NODEV, NOSUID, RDONLY, failed, find, memory, step},
    watch::MaskWatch,
};
use crate::{
    real::Real,
    sys::mount::{Depth, attach, open_tree, restrict},
};

/// A file that agentbox puts into the box.
#[derive(Clone, Debug)]
pub struct Provided {
    /// Where, absolute. It is bound over what is there; where nothing is, and it lies outside of the box's own folders, it is left out.
    pub path: PathBuf,
    /// What. Where several are the same, they share it, and it is written once.
    pub contents: Arc<Contents>,
}

/// What the mounts must enforce. Paths are absolute; those that do not exist are passed over. Of two that lie within each other the deeper one counts.
#[derive(Clone, Debug, Default)]
pub struct FileFence {
    /// Trees where everything is allowed.
    pub writable: Vec<PathBuf>,
    /// Paths inside writable trees that are read-only.
    pub read_only: Vec<PathBuf>,
    /// Paths that are shown empty.
    pub masked: Vec<PathBuf>,
    /// Socket files of others that may be connected to: seen where they lie, while all others are masked.
    pub sockets: Vec<PathBuf>,
    /// Files of ours.
    pub provided: Vec<Provided>,
    /// Folders with something of ours in them that is not there outside. One that shows the rest of itself lies in no place of the agent's.
    pub furnished: Vec<Furnished>,
    /// Layers over writable trees, which then stay as they are: over all of them, or over none.
    pub scratch: Vec<Scratch>,
    /// Layers over the caches of tools, which are only read otherwise. Where one cannot be made, its tree is read-only, as it would be without.
    pub caches: Vec<CacheLayer>,
}

/// A place that no policy can give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FenceError {
    /// It is the kernel's, or the box's own.
    #[error("{} cannot be writable: {why}", .path.display())]
    NotToGive {
        /// Which.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// A socket that cannot be opened to the box.
    #[error("{} cannot be opened to the box: {why} ({})", .path.display(), .mask.display())]
    Masked {
        /// Which.
        path: PathBuf,
        /// What hides it.
        mask: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// The masked names cannot be watched.
    #[error("the masks cannot be watched: inotify: {0}")]
    Watch(Errno),
    /// It cannot be looked at.
    #[error("{}: {error}", .path.display())]
    Look {
        /// Which.
        path: PathBuf,
        /// Why.
        error: String,
    },
}

/// Folders that are the box's own: empty memory, gone with it. Sizes bound what a box can take of the machine's memory.
const PRIVATE: &[(&str, &str)] = &[("/tmp", "mode=1777,size=4g"), ("/var/tmp", "mode=1777,size=4g")];

/// One more, in which our own files lie.
const RUN: (&str, &str) = ("/run", "mode=0755,size=256m");

const FLAGS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// Memory of the box's own as well, made with its devices.
const SHARED_MEMORY: &str = "/dev/shm";

fn own_folders() -> impl Iterator<Item = &'static Path> {
    PRIVATE.iter().chain([&RUN]).map(|(folder, _)| Path::new(*folder)).chain([Path::new(SHARED_MEMORY)])
}

/// What of `/run` programs need, and only to read: on NixOS all of them lie there.
const KEPT_OF_RUN: &[&str] = &["/run/current-system", "/run/booted-system", "/run/opengl-driver"];

/// What speaks to the kernel.
const OF_THE_KERNEL: &[&str] = &["/dev", "/proc", "/sys"];

/// Whether what lies there does. Some people have their work in memory, as others have it below `/tmp`.
fn is_of_the_kernel(path: &Path) -> bool {
    OF_THE_KERNEL.iter().any(|kernel| path.starts_with(kernel)) && !path.starts_with(SHARED_MEMORY)
}

/// Folders on which the new tree may be put together; each is there on some system, and what was in it is not needed any more.
const STAGES: &[&str] = &["/tmp", "/mnt", "/run", "/dev"];

impl FileFence {
    /// The caches that have a layer.
    pub(crate) fn cached(&self) -> impl Iterator<Item = &PathBuf> {
        self.caches.iter().flat_map(|layer| &layer.caches)
    }

    /// The same with every path as it really is, without symbolic links; done outside, by the launcher. And a watch on the masked names that
    /// was there before they were looked at, so that none comes to be in between.
    ///
    /// # Errors
    /// A place is to be writable that cannot be, or nothing can be watched.
    pub(crate) fn settled(self) -> Result<(Self, MaskWatch), FenceError> {
        let mut real = Real::default();
        let mut settle = |paths: &[PathBuf]| settled(paths.iter().map(|path| (path, real.of(path))));
        let writable = settle(&self.writable)?;
        for path in &writable {
            let refuse = |why| Err(FenceError::NotToGive { path: path.clone(), why });
            if path == Path::new("/") {
                return refuse("it is everything (fix: run agentbox in a folder of its own)");
            }
            if is_of_the_kernel(path) {
                return refuse("what lies there speaks to the kernel");
            }
            if path.starts_with(OURS) || own_folders().any(|own| path == own) {
                return refuse("the box has one of its own there (fix: run agentbox in a folder below)");
            }
        }
        let read_only = settle(&self.read_only)?;
        let sockets = settle(&self.sockets)?;
        let mut watch = MaskWatch::start().map_err(FenceError::Watch)?;
        let masked = settled(self.masked.iter().zip(watch.hidden(&self.masked, &writable)))?;
        watch.also_read_only(&read_only, &writable);
        // A tree without a layer would be written to itself.
        if let Some(bare) = writable.iter().find(|path| !self.scratch.is_empty() && !self.scratch.iter().any(|scratch| scratch.tree == **path)) {
            return Err(FenceError::NotToGive { path: bare.clone(), why: "there is no layer for it" });
        }
        let caches = caches::settled(self.caches, &writable, &read_only, &masked)?;
        if let Some((socket, mask)) = sockets.iter().find_map(|socket| Some((socket, masked.iter().find(|mask| socket.starts_with(mask))?))) {
            let why = "it is a secret of the policy, or lies in one, and is not seen in the box";
            return Err(FenceError::Masked { path: socket.clone(), mask: mask.clone(), why });
        }
        Ok((Self { writable, read_only, masked, sockets, provided: self.provided, furnished: self.furnished, scratch: self.scratch, caches }, watch))
    }
}

/// What these paths were found to be, each once.
fn settled<'a>(found: impl Iterator<Item = (&'a PathBuf, io::Result<PathBuf>)>) -> Result<Vec<PathBuf>, FenceError> {
    let mut settled = Vec::new();
    for (path, real) in found {
        match real {
            Ok(real) => settled.push(real),
            // Not there, or not for this user's eyes, with which the agent looks as well.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied) => {}
            Err(error) => return Err(FenceError::Look { path: path.clone(), error: error.to_string() }),
        }
    }
    settled.sort();
    settled.dedup();
    Ok(settled)
}

/// What comes to lie at a path.
#[derive(Debug)]
enum Layer<'a> {
    /// Memory of the box's own.
    Memory(&'static str),
    /// A copy of what is outside, writable or not.
    Outside(Copy),
    /// A mount of what lies there already in the box.
    Itself,
    /// Nothing.
    Mask,
    /// What is there or nothing, and something of ours.
    Furnished(&'a Furnished),
}

/// Makes the whole view in the mount namespace that this process is in. PID 1 of the box calls it, with all capabilities there, and with
/// a fence that is settled. Of its caches those stay that have a layer now; the others are told, and are read-only.
pub(crate) fn set_up(fence: &mut FileFence, sockets: &[PathBuf], terminal: Option<BorrowedFd<'_>>) -> Result<Vec<Unlayered>, MountError> {
    // Nothing that happens here may reach the mounts outside, and nothing that is mounted outside later comes in.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).map_err(step("making the mounts private"))?;
    // Copies are taken while everything is still as outside.
    let (caches, unlayered) = caches::layered(&mut fence.caches)?;
    let layers = layers(fence, caches)?;
    let devices = Devices::take(terminal)?;
    enter_copy_of_root()?;
    devices.set_up()?;
    // Before the rest, because masks are made of what lies in it. Nothing that a policy may give lies above it.
    memory(Path::new(RUN.0), FLAGS, RUN.1)?;
    // XDG_RUNTIME_DIR as programs expect it, and empty.
    let runtime = Path::new(RUN.0).join("user").join(geteuid().to_string());
    DirBuilder::new().recursive(true).mode(0o700).create(&runtime).map_err(failed("making the folder", &runtime))?;
    let masks = Masks::set_up()?;
    kernel_files::set_up(&masks)?;
    // The tree is put together from the root down, so that what lies deeper comes to lie on top.
    for (path, layer) in &layers {
        match layer {
            Layer::Memory(options) => memory(path, FLAGS, options)?,
            Layer::Outside(copy) => copy.cover(path)?,
            Layer::Itself => {
                if let Some(copy) = Copy::of(path, Depth::Tree, NOSUID | NODEV)? {
                    copy.cover(path)?;
                }
            }
            Layer::Mask => masks.put(path)?,
            Layer::Furnished(furnished) => furnished.put(&masks)?,
        }
    }
    for path in sockets {
        masks.put(path)?;
    }
    let mut written = Vec::new();
    for provided in &fence.provided {
        provide(provided, &mut written)?;
    }
    masks.seal().map(|()| unlayered)
}

fn layers(fence: &FileFence, caches: Vec<caches::Layered>) -> Result<Vec<(PathBuf, Layer<'_>)>, MountError> {
    let mut layers = Vec::new();
    for (path, options) in PRIVATE {
        let path = Path::new(path);
        // Where it is a link to another of them, that one is enough.
        if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
            layers.push((path.to_owned(), Layer::Memory(options)));
        }
    }
    let outside = |path: &Path, attributes| Copy::of(path, Depth::Tree, attributes);
    let mounted = if fence.scratch.is_empty() { Vec::new() } else { scratch::mounted()? };
    for path in &fence.writable {
        if let Some(scratch) = fence.scratch.iter().find(|scratch| scratch.tree == *path) {
            layers.push((path.clone(), Layer::Outside(scratch::layered(scratch, &mounted)?)));
            continue;
        }
        layers.extend(outside(path, NOSUID | NODEV)?.map(|copy| (path.clone(), Layer::Outside(copy))));
    }
    layers.extend(caches.into_iter().map(|(tree, copy)| (tree, Layer::Outside(copy))));
    let is_written = |path: &Path| fence.writable.iter().any(|tree| path.starts_with(tree));
    let is_cached = |path: &Path| fence.cached().any(|cache| path.starts_with(cache));
    for path in pins::pins(fence) {
        if !fence.scratch.is_empty() || (is_cached(&path) && !is_written(&path)) {
            // The folder outside would be written to.
            layers.push((path, Layer::Itself));
            continue;
        }
        layers.extend(outside(&path, NOSUID | NODEV)?.map(|copy| (path, Layer::Outside(copy))));
    }
    let kept = KEPT_OF_RUN.iter().map(PathBuf::from);
    for path in fence.read_only.iter().chain(&fence.sockets).cloned().chain(kept) {
        // Elsewhere everything is read-only already.
        let needed = is_written(&path) || is_cached(&path) || own_folders().any(|own| path.starts_with(own) && path != own);
        if needed {
            layers.extend(outside(&path, RDONLY | NOSUID | NODEV)?.map(|copy| (path, Layer::Outside(copy))));
        }
    }
    // The box's own /proc has none of the processes outside.
    let masked = fence.masked.iter().filter(|path| !is_process(path));
    layers.extend(masked.map(|path| (path.clone(), Layer::Mask)));
    // One that shows the rest of a folder would show what is not the agent's to see, or keep what is the agent's from being written.
    let is_fit = |folder: &Path| !is_written(folder) && !is_cached(folder) && !fence.masked.iter().any(|mask| folder.starts_with(mask));
    let furnished = fence.furnished.iter().filter(|furnished| match furnished.rest {
        Rest::Hidden => fence.masked.contains(&furnished.folder),
        Rest::Shown => is_fit(&furnished.folder),
    });
    layers.extend(furnished.map(|furnished| (furnished.folder.clone(), Layer::Furnished(furnished))));
    // Stable: of several at the same path the mask, which was added last, lies on top.
    layers.sort_by_key(|(path, _)| path.components().count());
    Ok(layers)
}

fn is_process(path: &Path) -> bool {
    path.strip_prefix("/proc")
        .is_ok_and(|rest| matches!(rest.components().next(), Some(Component::Normal(name)) if name.as_encoded_bytes().iter().all(u8::is_ascii_digit)))
}

/// The folders that a box may write besides the policy's places.
pub(crate) fn private_folders() -> Vec<PathBuf> {
    own_folders().filter(|path| path.is_dir()).map(PathBuf::from).collect()
}

/// A folder over which mounts may lie while the box is built.
fn stage() -> Result<&'static Path, MountError> {
    STAGES.iter().map(Path::new).find(|path| path.is_dir()).ok_or(MountError {
        what: "no folder to build the box in: none of /tmp, /mnt, /run, /dev is there",
        path: None,
        source: io::ErrorKind::NotFound.into(),
    })
}

fn enter_copy_of_root() -> Result<(), MountError> {
    let old = find(Path::new("/")).map_err(step("opening the root"))?;
    let root = open_tree(old.as_fd(), Depth::Tree).map_err(step("copying the tree of mounts (open_tree needs Linux 5.2)"))?;
    restrict(root.as_fd(), RDONLY | NOSUID | NODEV).map_err(step("making the tree read-only (mount_setattr needs Linux 5.12)"))?;
    let stage = stage()?;
    let place = find(stage).map_err(failed("opening", stage))?;
    attach(root.as_fd(), place.as_fd()).map_err(failed("attaching the tree at", stage))?;
    chdir(stage).map_err(failed("entering", stage))?;
    // With both names the same, the old root ends up on top of the new one, and is taken off there.
    pivot_root(".", ".").map_err(step("changing the root"))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(step("letting go of the old root"))?;
    chdir("/").map_err(step("entering the new root"))
}

/// Our files lie in memory of ours, and are bound over what is there.
fn provide<'a>(provided: &'a Provided, written: &mut Vec<(&'a Arc<Contents>, PathBuf)>) -> Result<(), MountError> {
    let path = &provided.path;
    if path.starts_with(OURS) {
        if let Some(parent) = path.parent() {
            place::folder(parent)?;
        }
        provided.contents.put(path).map_err(failed("writing", path))?;
        written.push((&provided.contents, path.clone()));
        return Ok(());
    }
    let name: String = path.to_string_lossy().chars().map(|c| if c == '/' { '-' } else { c }).collect();
    let same = written.iter().find(|(contents, _)| Arc::ptr_eq(contents, &provided.contents));
    let own = match same {
        Some((_, own)) => own.clone(),
        None => {
            let own = Path::new(OURS).join(name.trim_start_matches('-'));
            provided.contents.put(&own).map_err(failed("writing", &own))?;
            own
        }
    };
    // It may be a link into `/run` (resolv.conf of systemd-resolved), whose target has gone with the old `/run`.
    let Some(real) = fs::canonicalize(path).ok().or_else(|| link_target(path)) else { return Ok(()) };
    let is_ours_to_make = own_folders().any(|folder| real.starts_with(folder));
    if find(&real).is_err() && !is_ours_to_make {
        return Ok(());
    }
    let Some(copy) = Copy::of(&own, Depth::One, 0)? else { return Ok(()) };
    copy.cover(&real)
}

/// Where a link leads, taken by its words: its target need not exist. A path that is no link leads to itself.
fn link_target(path: &Path) -> Option<PathBuf> {
    let joined = match fs::read_link(path) {
        Ok(target) => path.parent()?.join(target),
        Err(_) => path.to_owned(),
    };
    let mut clean = PathBuf::new();
    for part in joined.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    Some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_policy_can_give_is_refused_with_its_reason() {
        for path in ["/", "/proc", "/dev/shm", "/sys/fs", "/tmp", "/run"] {
            let fence = FileFence { writable: vec![path.into()], ..FileFence::default() };
            assert!(matches!(fence.settled(), Err(FenceError::NotToGive { .. })), "{path} was given");
        }
    }

    #[test]
    fn paths_are_settled_outside() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        fs::create_dir(real.join("tree")).unwrap();
        std::os::unix::fs::symlink(real.join("tree"), real.join("link")).unwrap();
        let fence = FileFence { writable: vec![real.join("link"), real.join("tree"), real.join("missing")], ..FileFence::default() };
        assert_eq!(fence.settled().unwrap().0.writable, [real.join("tree")]);
    }

    #[test]
    fn processes_are_told_from_files() {
        assert!(is_process(Path::new("/proc/1/environ")));
        assert!(!is_process(Path::new("/proc/sys/kernel")) && !is_process(Path::new("/proc")) && !is_process(Path::new("/srv/1")));
    }
}
