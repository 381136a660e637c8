//! What the agent may read where no mounts hide anything: all but the secrets, named one by one, since Landlock only grants.
//!
//! A folder without a secret in it is granted whole. On the way to a secret each neighbour is granted by itself; what comes to be in such a
//! folder later is not readable, and neither is its list of names.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    mounts::{FileFence, MASKED_IN_SYS},
    stopped::Readings,
};

/// Whatever others leave there for each other, the machine's devices, and what speaks to the whole machine.
const NEVER: &[&str] = &["/dev", "/tmp", "/var/tmp", "/run"];

/// What of these programs need all the same. The last are where `/etc/resolv.conf` leads to.
const KEPT: &[&str] = &[
    "/run/current-system",
    "/run/booted-system",
    "/run/opengl-driver",
    "/run/systemd/resolve/stub-resolv.conf",
    "/run/systemd/resolve/resolv.conf",
    "/run/resolvconf/resolv.conf",
    "/run/NetworkManager/resolv.conf",
];

/// Rules beyond this are no policy any more, and would take seconds.
const MOST: usize = 50_000;

/// What is granted for reading.
#[derive(Clone, Debug)]
pub(crate) struct Readable {
    /// These places.
    pub(crate) places: Vec<PathBuf>,
    /// By the file gate besides, what was made in a writable tree beside a secret.
    pub(crate) readings: Readings,
}

/// Why nothing can be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Too many neighbours of secrets.
    #[error("more than {MOST} files and folders lie beside what is to be hidden: without namespaces each would have to be granted by itself")]
    TooMany,
    /// It cannot be listed for another reason than that this user may not.
    #[error("listing {}: {error}", .path.display())]
    List {
        /// Which.
        path: PathBuf,
        /// Why.
        error: String,
    },
}

/// The places to grant, for a settled fence; `shown` are ours.
pub(crate) fn readable(fence: &FileFence, shown: &[PathBuf]) -> Result<Readable, GrantError> {
    let is_in_tree = fence.masked.iter().any(|masked| fence.writable.iter().any(|tree| masked.starts_with(tree)));
    let readings = if is_in_tree { Readings::ByGate } else { Readings::ByKernel };
    let real = |path: &&str| fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(*path));
    let never: Vec<PathBuf> = NEVER.iter().chain(MASKED_IN_SYS).map(real).collect();
    let hidden: Vec<&Path> = fence.masked.iter().chain(&never).map(PathBuf::as_path).collect();
    let secret: Vec<&Path> = fence.masked.iter().map(PathBuf::as_path).collect();
    let mut found = Vec::new();
    grant(Path::new("/"), &hidden, &mut found)?;
    let kept: Vec<PathBuf> = KEPT.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
    for place in fence.writable.iter().chain(&fence.read_only).chain(&fence.sockets).chain(&kept) {
        // The rules follow no link.
        grant(&fs::canonicalize(place).unwrap_or_else(|_| place.clone()), &secret, &mut found)?;
    }
    // Ours lie in a folder that is hidden else.
    found.extend(shown.iter().map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
    found.sort();
    found.dedup();
    Ok(Readable { places: found, readings })
}

fn grant(place: &Path, hidden: &[&Path], found: &mut Vec<PathBuf>) -> Result<(), GrantError> {
    if hidden.iter().any(|path| place.starts_with(path)) {
        return Ok(());
    }
    if !hidden.iter().any(|path| path.starts_with(place)) {
        if found.len() >= MOST {
            return Err(GrantError::TooMany);
        }
        found.push(place.to_owned());
        return Ok(());
    }
    let entries = match fs::read_dir(place) {
        Ok(entries) => entries,
        // What this user may not list, the agent may not either; and what is hidden need not be there.
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(GrantError::List { path: place.to_owned(), error: error.to_string() }),
    };
    for entry in entries.flatten() {
        // A link needs no right, and a rule for it would be one for what it leads to.
        if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
            grant(&entry.path(), hidden, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_a_secret_are_granted_and_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["a/deep", "b/secret", "b/open", "work"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(root.join("b/secret"), root.join("b/link")).unwrap();
        let hidden = [root.join("b/secret")];
        let mut found = Vec::new();
        grant(&root, &hidden.iter().map(PathBuf::as_path).collect::<Vec<_>>(), &mut found).unwrap();
        found.sort();
        assert_eq!(found, ["a", "b/open", "work"].map(|name| root.join(name)));
        let fence = FileFence { writable: vec![root.join("work")], masked: vec![root.join("b/secret")], ..FileFence::default() };
        let Readable { places: all, readings } = readable(&fence, &[]).unwrap();
        assert_eq!(readings, Readings::ByKernel);
        assert!(all.iter().all(|place| !root.join("b/secret").starts_with(place)), "{all:?}");
        assert!(all.contains(&root.join("work")) && !all.iter().any(|place| place == Path::new("/tmp")));
        let within = FileFence { writable: vec![root.join("b")], masked: vec![root.join("b/secret")], ..FileFence::default() };
        let Readable { places, readings } = readable(&within, &[]).unwrap();
        assert_eq!(readings, Readings::ByGate);
        assert!(places.iter().all(|place| !root.join("b/secret").starts_with(place)) && places.contains(&root.join("b/open")), "{places:?}");
    }
}
