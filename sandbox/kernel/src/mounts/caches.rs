//! Layers over the caches of tools: the box writes there, and what is outside stays as it is.
//!
//! Unlike a scratch layer, one that cannot be made does not keep a box from starting: its cache is then read-only, as everything is that
//! has no layer and no place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::errno::Errno;

use super::{
    FenceError, OF_THE_KERNEL, Scratch,
    masks::OURS,
    own_folders,
    place::{Copy, MountError, failed},
    scratch,
};

/// A cache over which no layer could be made, and why.
pub(crate) type Unlayered = (PathBuf, String);

/// A cache, and what comes to lie over it.
pub(super) type Layered = (PathBuf, Copy);

/// Those that need a layer: what lies in a writable tree is the agent's without one. What the policy hides or closes by that very name stays so.
pub(super) fn settled(mut caches: Vec<Scratch>, writable: &[PathBuf], read_only: &[PathBuf], masked: &[PathBuf]) -> Result<Vec<Scratch>, FenceError> {
    let is_no_cache = |path: &Path| {
        path == Path::new("/") || path.starts_with(OURS) || OF_THE_KERNEL.iter().any(|kernel| path.starts_with(kernel)) || own_folders().any(|own| path == own)
    };
    if let Some(cache) = caches.iter().find(|cache| is_no_cache(&cache.tree)) {
        return Err(FenceError::NotToGive { path: cache.tree.clone(), why: "it is no cache of a tool (fix: take it out of `caches`)" });
    }
    caches.retain(|cache| !writable.iter().chain(masked).any(|place| cache.tree.starts_with(place)) && !read_only.contains(&cache.tree));
    Ok(caches)
}

/// Makes the layers, not attached anywhere yet, while everything is still as outside. `caches` are those that have one afterwards.
pub(super) fn layered(caches: &mut Vec<Scratch>) -> Result<(Vec<Layered>, Vec<Unlayered>), MountError> {
    let (mut made, mut unlayered) = (Vec::new(), Vec::new());
    if caches.is_empty() {
        return Ok((made, unlayered));
    }
    let mounted = scratch::mounted()?;
    caches.retain(|cache| match layer(cache, &mounted) {
        Ok(copy) => {
            made.push((cache.tree.clone(), copy));
            true
        }
        Err(error) => {
            unlayered.push((cache.tree.clone(), why(&error)));
            false
        }
    });
    Ok((made, unlayered))
}

fn layer(cache: &Scratch, mounted: &[PathBuf]) -> Result<Copy, MountError> {
    // The kernel takes it, and says of what happens then that it is not defined.
    let own = fs::canonicalize(&cache.upper).map_err(failed("looking for", &cache.upper))?;
    if own.starts_with(&cache.tree) {
        return Err(failed("layering", &cache.tree)(Errno::ELOOP));
    }
    scratch::layered(cache, mounted)
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
