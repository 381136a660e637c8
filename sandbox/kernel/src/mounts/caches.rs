//! Layers over the caches of tools: the box writes there, and what is outside stays as it is.
//!
//! Unlike a scratch layer, one that cannot be made does not keep a box from starting: its cache is then read-only, as everything is that
//! has no layer and no place.

use std::{
    fs,
    os::fd::{AsFd as _, BorrowedFd},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
};

use super::{
    FenceError, Scratch, is_of_the_kernel,
    masks::OURS,
    own_folders,
    place::{Copy, MountError, below, failed, find},
    scratch::{self, Syncs},
    stage,
};
use crate::sys::mount::{Depth, attach};

/// One layer, and the caches that it is for. To mount one takes about a millisecond, so that there is one for the home rather than one for
/// each cache: of what else lies in its tree the box sees nothing through it.
#[derive(Clone, Debug)]
pub struct CacheLayer {
    /// Over what it lies, and where what is written goes.
    pub layer: Scratch,
    /// The caches: that tree itself, or folders in it.
    pub caches: Vec<PathBuf>,
}

/// A cache over which no layer could be made, and why.
pub(crate) type Unlayered = (PathBuf, String);

/// A cache, and what comes to lie over it.
pub(super) type Layered = (PathBuf, Copy);

/// Those that need a layer: what lies in a writable tree is the agent's without one. What the policy hides or closes by that very name stays so.
pub(super) fn settled(mut layers: Vec<CacheLayer>, writable: &[PathBuf], read_only: &[PathBuf], masked: &[PathBuf]) -> Result<Vec<CacheLayer>, FenceError> {
    let is_no_cache = |path: &Path| path == Path::new("/") || path.starts_with(OURS) || is_of_the_kernel(path) || own_folders().any(|own| path == own);
    if let Some(cache) = layers.iter().flat_map(|layer| &layer.caches).find(|cache| is_no_cache(cache)) {
        return Err(FenceError::NotToGive { path: cache.clone(), why: "it is no cache of a tool (fix: take it out of `caches`)" });
    }
    for layer in &mut layers {
        layer.caches.retain(|cache| !writable.iter().chain(masked).any(|place| cache.starts_with(place)) && !read_only.contains(cache));
    }
    layers.retain(|layer| !layer.caches.is_empty());
    Ok(layers)
}

/// Makes the layers, not attached anywhere yet, while everything is still as outside. Those caches stay in `layers` that have one afterwards.
pub(super) fn layered(layers: &mut Vec<CacheLayer>) -> Result<(Vec<Layered>, Vec<Unlayered>), MountError> {
    let (mut made, mut unlayered) = (Vec::new(), Vec::new());
    if layers.is_empty() {
        return Ok((made, unlayered));
    }
    let mounted = scratch::mounted()?;
    for CacheLayer { layer, caches } in layers.iter_mut() {
        // The kernel takes it, and says of what happens then that it is not defined.
        let own = fs::canonicalize(&layer.upper).map_err(failed("looking for", &layer.upper))?;
        caches.retain(|cache| {
            let fit = if own.starts_with(cache) { Err(failed("layering", cache)(Errno::ELOOP)) } else { scratch::is_whole(cache, &mounted) };
            fit.map_err(|error| unlayered.push((cache.clone(), why(&error)))).is_ok()
        });
        if caches.is_empty() {
            continue;
        }
        match each(layer, caches)? {
            Ok(copies) => made.extend(caches.iter().cloned().zip(copies)),
            Err(error) => unlayered.extend(caches.drain(..).map(|cache| (cache, why(&error)))),
        }
    }
    layers.retain(|layer| !layer.caches.is_empty());
    Ok((made, unlayered))
}

/// A copy of the layer's mount for each cache, which shows that cache alone. Where there can be none, the caches are read-only; where the layer stays in sight
/// as a whole, there is no box: the agent would see through it what is hidden from it elsewhere.
fn each(layer: &Scratch, caches: &[PathBuf]) -> Result<Result<Vec<Copy>, MountError>, MountError> {
    let whole = match scratch::overlay(layer, Syncs::Never) {
        Ok(whole) => whole,
        Err(error) => return Ok(Err(error)),
    };
    if let [cache] = caches
        && *cache == layer.tree
    {
        return Ok(Ok(vec![Copy::of_folder(whole)]));
    }
    // Of a part of a mount a copy is taken only where that is attached (before Linux 6.15), for which any folder does: this namespace is the
    // box's, and nothing runs in it yet.
    let stage = stage()?;
    let place = find(stage).map_err(failed("opening", stage))?;
    if let Err(error) = attach(whole.as_fd(), place.as_fd()) {
        return Ok(Err(failed("attaching the layer at", stage)(error)));
    }
    let copies = caches.iter().map(|cache| copy(whole.as_fd(), layer, cache)).collect();
    umount2(stage, MntFlags::MNT_DETACH).map_err(failed("letting go of the layer at", stage))?;
    Ok(copies)
}

fn copy(whole: BorrowedFd<'_>, layer: &Scratch, cache: &Path) -> Result<Copy, MountError> {
    let name = cache.strip_prefix(&layer.tree).map_err(|_| failed("layering", cache)(Errno::EXDEV))?;
    let part = below(whole, name).map_err(failed("opening in the layer", cache))?;
    Copy::of_place(part.as_fd(), cache, Depth::One, 0)
}

/// What a person can do something about. Overlayfs says it in the kernel's log, and here only by a number.
fn why(error: &MountError) -> String {
    match error.source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ELOOP) => "agentbox's own state lies in it (fix: move $XDG_STATE_HOME out of it, or take it out of `caches`)".to_owned(),
        Some(Errno::EINVAL) => {
            "the file system of agentbox's state can carry no layer, being one itself or on a network (fix: let $XDG_STATE_HOME lead to a disk)".to_owned()
        }
        Some(Errno::ENODEV) => "this kernel has no overlayfs (fix: modprobe overlay)".to_owned(),
        Some(Errno::EPERM) => "this kernel or a security module refuses overlayfs in a user namespace (it takes Linux 5.11)".to_owned(),
        _ => error.to_string(),
    }
}
