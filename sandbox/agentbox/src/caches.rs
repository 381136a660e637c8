//! The caches of tools, copy-on-write for each project: where the layers lie, who uses them, and when they go.
//!
//! A box sees `~/.cargo`, `~/.npm` and the like through overlayfs. What it writes there lands in a folder of its project, out of every box's
//! reach, and the next box of the same project finds it again. What the user builds with outside is never written to: a package that an agent
//! had prepared there would be run with the user's rights.
//!
//! `caches/PROJECT/SLOT/CACHE/{upper,work}`. A layer is for one box at a time; a second box of the same project takes the next slot. Projects
//! are told apart by the folder in which a box starts.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use agentbox_core::safe;
use agentbox_kernel::mounts::{FileFence, Scratch};
use rustix::fs::{FlockOperation, flock};

use crate::scratch::{DEEPEST, layer, open_up};

/// The folder of all of them below `$XDG_STATE_HOME/agentbox`.
const FOLDER: &str = "caches";

/// In a slot: locked while a box uses it, and the path of its project.
const LOCK: &str = "project";

/// Longest path that is read from it, in bytes.
const LONGEST: u64 = 4096;

/// Characters of a line that are shown of names, and of a reason.
const SHOWN: usize = 300;

/// Boxes of one project at once that have layers over caches.
const MOST_SLOTS: usize = 64;

/// Whatever no box has used for so long is dropped.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// What all layers together may take of the disk; beyond, those go first that were not used for longest.
const BUDGET: u64 = 20 << 30;

/// How often that is looked after.
const TIDIED: Duration = Duration::from_hours(24);

/// Holds the layers of one box: they are its own until this is dropped.
#[derive(Debug)]
pub(crate) struct InUse(#[expect(dead_code, reason = "what counts is that it is open")] Option<File>);

/// Tools that stop where they cannot make their cache, and the cache's path below the home. A box cannot make it, since that is outside.
const MADE_BY: &[(&str, &str)] = &[
    ("npm", ".npm"),
    ("pnpm", ".local/share/pnpm"),
    ("bun", ".bun"),
    ("cargo", ".cargo"),
    ("uv", ".local/share/uv"),
    ("go", "go"),
    ("gradle", ".gradle"),
    ("mvn", ".m2"),
    ("bundle", ".bundle"),
    ("dotnet", ".nuget"),
    ("composer", ".composer"),
];

/// Makes the caches that are not there yet, as their tools would at their first start: only of tools that are installed.
pub(crate) fn make_missing(caches: &[PathBuf], home: &Path, path: &OsStr) {
    let is_installed = |program: &str| std::env::split_paths(path).any(|folder| folder.join(program).is_file());
    for cache in caches.iter().filter(|cache| fs::symlink_metadata(cache).is_err()) {
        let Ok(below) = cache.strip_prefix(home) else { continue };
        let wanted = below == Path::new(".cache") || MADE_BY.iter().any(|(program, folder)| below == Path::new(folder) && is_installed(program));
        if wanted {
            // Where it cannot be made, the tool would not have made it either.
            let _ = DirBuilder::new().recursive(true).mode(0o700).create(cache);
        }
    }
}

/// Gives a box its layers.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn lay(fence: &mut FileFence, state: &Path, workspace: &Path, caches: &[PathBuf], environment: &[(OsString, OsString)]) -> io::Result<InUse> {
    let variable = |name: &str| environment.iter().find_map(|(known, value)| (known == name).then_some(value));
    if let (Some(home), Some(path)) = (variable("HOME"), variable("PATH")) {
        make_missing(caches, Path::new(home), path);
    }
    let (layers, in_use) = prepare(state, workspace, caches, &fence.writable)?;
    fence.caches = layers;
    Ok(in_use)
}

/// What is said of caches that have no layer: a line for each reason.
pub(crate) fn unlayered(caches: &[(PathBuf, String)]) -> Vec<String> {
    let mut reasons: Vec<&str> = caches.iter().map(|(_, why)| why.as_str()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let line = |why: &str| {
        let names: Vec<_> = caches.iter().filter(|(_, other)| other == why).map(|(cache, _)| cache.to_string_lossy()).collect();
        format!("agentbox: no layer over caches, which are read-only in this box: {}: {}", safe::line(&names.join(", "), SHOWN), safe::line(why, SHOWN))
    };
    reasons.into_iter().map(line).collect()
}

/// Makes what a box's layers need, for those caches that are there.
///
/// # Errors
/// It cannot be made.
pub(crate) fn prepare(state: &Path, workspace: &Path, caches: &[PathBuf], writable: &[PathBuf]) -> io::Result<(Vec<Scratch>, InUse)> {
    let mut trees: Vec<PathBuf> = caches.iter().filter(|path| path.is_dir()).filter_map(|path| fs::canonicalize(path).ok()).collect();
    trees.sort();
    trees.dedup();
    trees.retain(|tree| !writable.iter().any(|place| tree.starts_with(place)));
    // One within another has the other's layer.
    let all = trees.clone();
    trees.retain(|tree| !all.iter().any(|other| other != tree && tree.starts_with(other)));
    if trees.is_empty() {
        return Ok((Vec::new(), InUse(None)));
    }
    let (slot, lock) = free_slot(&state.join(FOLDER).join(name(workspace)), workspace)?;
    let layered = |tree: &PathBuf| {
        let folder = slot.join(name(tree));
        let (upper, work) = (folder.join("upper"), folder.join("work"));
        if upper.is_dir() && work.is_dir() { Ok(Scratch { tree: tree.clone(), upper, work }) } else { layer(tree, upper, work) }
    };
    let layers = trees.iter().map(layered).collect::<io::Result<_>>()?;
    Ok((layers, InUse(Some(lock))))
}

/// A folder's name for a path.
fn name(path: &Path) -> String {
    let hash = blake3::hash(path.as_os_str().as_encoded_bytes());
    hash.to_hex().chars().take(32).collect()
}

fn free_slot(project: &Path, workspace: &Path) -> io::Result<(PathBuf, File)> {
    for number in 0..MOST_SLOTS {
        let slot = project.join(number.to_string());
        DirBuilder::new().recursive(true).mode(0o700).create(&slot)?;
        let path = slot.join(LOCK);
        let mut lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        // It may have been dropped between the two lines above.
        if fs::metadata(&path).ok().map(|meta| meta.ino()) != Some(lock.metadata()?.ino()) {
            continue;
        }
        lock.set_len(0)?;
        lock.write_all(workspace.as_os_str().as_encoded_bytes())?;
        // When it was used last.
        lock.set_modified(SystemTime::now())?;
        return Ok((slot, lock));
    }
    Err(io::Error::other(format!("{MOST_SLOTS} boxes of this project run at once")))
}

/// The layers of one slot.
#[derive(Debug)]
pub(crate) struct Slot {
    folder: PathBuf,
    /// Whose they are.
    pub(crate) project: PathBuf,
    /// When a box began with them last.
    pub(crate) used: SystemTime,
    lock: File,
}

/// All of this user, the least used first.
///
/// # Errors
/// They cannot be looked through.
pub(crate) fn all(state: &Path) -> io::Result<Vec<Slot>> {
    let mut found = Vec::new();
    for project in entries(&state.join(FOLDER))? {
        for folder in entries(&project)? {
            found.extend(Slot::open(folder));
        }
    }
    found.sort_by_key(|slot| slot.used);
    Ok(found)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        found => Ok(found?.flatten().map(|entry| entry.path()).collect()),
    }
}

impl Slot {
    fn open(folder: PathBuf) -> Option<Self> {
        use std::os::unix::ffi::OsStringExt as _;
        let lock = File::open(folder.join(LOCK)).ok()?;
        let mut text = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(&lock, LONGEST), &mut text).ok()?;
        let used = lock.metadata().and_then(|meta| meta.modified()).ok()?;
        Some(Self { folder, project: OsString::from_vec(text).into(), used, lock })
    }

    /// What it takes of the disk, in bytes.
    pub(crate) fn size(&self) -> u64 {
        let (mut total, mut left) = (0, vec![(self.folder.clone(), 0)]);
        while let Some((folder, depth)) = left.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let Ok(meta) = entry.metadata() else { continue };
                total += meta.blocks() * 512;
                if meta.is_dir() && depth < DEEPEST {
                    left.push((entry.path(), depth + 1));
                }
            }
        }
        total
    }

    /// Throws it away, unless a box uses it. Whether it did.
    ///
    /// # Errors
    /// Something of it stays.
    pub(crate) fn drop_it(self) -> io::Result<bool> {
        if flock(&self.lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(false);
        }
        // A box can make folders that their owner may not enter; so does overlayfs.
        open_up(&self.folder, 0)?;
        fs::remove_dir_all(&self.folder)?;
        if let Some(project) = self.folder.parent() {
            // Where it was the last one.
            let _ = fs::remove_dir(project);
        }
        Ok(true)
    }
}

/// Whether it is time to look after what all of them take.
pub(crate) fn is_tidy_due(state: &Path) -> bool {
    let stamp = stamp(state);
    match fs::metadata(&stamp).and_then(|meta| meta.modified()) {
        Ok(then) => SystemTime::now() > then + TIDIED,
        Err(_) => {
            // There is nothing old on the first day.
            let _ = File::create(stamp);
            false
        }
    }
}

fn stamp(state: &Path) -> PathBuf {
    state.join(FOLDER).join("tidied")
}

/// So that nobody who reads a pipe of the box waits for this process.
pub(crate) fn leave_the_streams() {
    if let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = (nix::unistd::dup2_stdin(&null), nix::unistd::dup2_stdout(&null), nix::unistd::dup2_stderr(&null));
    }
}

/// Drops what was not used for long, and what is beyond the budget. It can take long, and may be cut off at any point.
pub(crate) fn tidy(state: &Path) -> io::Result<()> {
    let stamp = File::options().write(true).open(stamp(state))?;
    if flock(&stamp, FlockOperation::NonBlockingLockExclusive).is_err() {
        // Another is at it.
        return Ok(());
    }
    let now = SystemTime::now();
    let slots: Vec<(u64, Slot)> = all(state)?.into_iter().map(|slot| (slot.size(), slot)).collect();
    let mut total: u64 = slots.iter().map(|(size, _)| size).sum();
    for (size, slot) in slots {
        let is_old = now.duration_since(slot.used).is_ok_and(|age| age > KEPT);
        if (is_old || total > BUDGET) && slot.drop_it().unwrap_or(false) {
            total -= size;
        }
    }
    stamp.set_modified(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ground() -> (tempfile::TempDir, PathBuf, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        for name in ["cargo/registry", "npm", "work"] {
            fs::create_dir_all(real.join(name)).unwrap();
        }
        let caches = ["cargo", "cargo/registry", "npm", "none", "work"].map(|name| real.join(name)).to_vec();
        (folder, real, caches)
    }

    #[test]
    fn a_project_finds_its_layers_again_and_two_boxes_share_none() {
        let (_folder, real, caches) = ground();
        let writable = [real.join("work")];
        let (first, held) = prepare(&real.join("state"), &real.join("work"), &caches, &writable).unwrap();
        let trees: Vec<&PathBuf> = first.iter().map(|layer| &layer.tree).collect();
        assert_eq!(trees, [&real.join("cargo"), &real.join("npm")]);
        let (second, _held) = prepare(&real.join("state"), &real.join("work"), &caches, &writable).unwrap();
        assert_ne!(first[0].upper, second[0].upper);
        drop(held);
        let (again, _held) = prepare(&real.join("state"), &real.join("work"), &caches, &writable).unwrap();
        assert_eq!(first[0].upper, again[0].upper);
        let (other, _held) = prepare(&real.join("state"), &real.join("elsewhere"), &caches, &writable).unwrap();
        assert_ne!(first[0].upper, other[0].upper);
    }

    #[test]
    fn what_is_old_goes_and_what_is_in_use_stays() {
        let (_folder, real, caches) = ground();
        let state = real.join("state");
        let (_, held) = prepare(&state, &real.join("work"), &caches, &[]).unwrap();
        let (_, other) = prepare(&state, &real.join("other"), &caches, &[]).unwrap();
        for slot in all(&state).unwrap() {
            File::options().write(true).open(slot.folder.join(LOCK)).unwrap().set_modified(SystemTime::now() - KEPT * 2).unwrap();
        }
        drop(other);
        assert!(!is_tidy_due(&state), "not on the first day");
        tidy(&state).unwrap();
        assert_eq!(all(&state).unwrap().into_iter().map(|slot| slot.project).collect::<Vec<_>>(), [real.join("work")]);
        drop(held);
        assert!(!is_tidy_due(&state), "once a day");
        File::options().write(true).open(stamp(&state)).unwrap().set_modified(SystemTime::now() - TIDIED * 2).unwrap();
        assert!(is_tidy_due(&state));
        tidy(&state).unwrap();
        assert!(!is_tidy_due(&state));
        let left = all(&state).unwrap();
        assert!(left.is_empty(), "an old one that is in use no more goes too: {left:?}");
    }

    #[test]
    fn only_the_caches_of_installed_tools_are_made() {
        let (_folder, real, _) = ground();
        let home = real.join("home");
        fs::write(real.join("npm/npm"), b"").unwrap();
        fs::create_dir(&home).unwrap();
        let caches: Vec<PathBuf> = [".npm", ".cargo", ".cache", "elsewhere"].iter().map(|name| home.join(name)).collect();
        make_missing(&caches, &home, real.join("npm").as_os_str());
        let made: Vec<bool> = caches.iter().map(|cache| cache.is_dir()).collect();
        assert_eq!(made, [true, false, true, false]);
    }
}
