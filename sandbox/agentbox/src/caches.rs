//! The caches of tools, copy-on-write for each project: where the layers lie, who uses them, and when they go.
//!
//! A box sees `~/.cargo`, `~/.npm` and the like through overlayfs. What it writes there lands in a folder of its project, out of every box's
//! reach, and the next box of the same project finds it again. What the user builds with outside is never written to: a package that an agent
//! had prepared there would be run with the user's rights.
//!
//! `caches/PROJECT/SLOT/TREE/{upper,work}`, in which a tree is the home, for all caches in it, or else a cache. A layer is for one box at a
//! time; a second box of the same project takes the next slot. Projects are told apart by the folder in which a box starts.
//!
//! The layers are mounted so that nothing in them is brought to the disk before the kernel does so by itself. Else each `fsync` in a cache
//! would cost what it costs, and the end of each box would wait until all that anybody has written to that disk is on it. So a layer that
//! was in use when the machine went down may hold half a file, and goes.

use std::{
    cell::LazyCell,
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use agentbox_core::safe;
use agentbox_kernel::{
    mounts::{CacheLayer, FileFence, Scratch},
    real::Real,
};
use rustix::fs::{AtFlags, CWD, FlockOperation, StatxFlags, flock, statx};

use crate::{
    run::supervise::Voice,
    scratch::{DEEPEST, layer, open_up},
};

/// The folder of all of them below `$XDG_STATE_HOME/agentbox`.
const FOLDER: &str = "caches";

/// In a slot: locked while a box uses it, and the path of its project.
const LOCK: &str = "project";

/// In a slot: since when the machine was running when a box began with it last, as the kernel names that.
const BOOT: &str = "boot";
const THIS_BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// In the folder for overlayfs's use: there while a layer is mounted that is not brought to the disk, and after that until somebody takes it
/// away who knows that all is well. It is mounted no more before.
const MARK: &str = "work/incompat";

/// A folder for overlayfs's use after the box: each mount wants an empty one.
const GONE: &str = "gone";

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
pub(crate) struct InUse {
    /// What counts is that it is open.
    _lock: Option<File>,
    works: Vec<PathBuf>,
}

impl InUse {
    /// What is of no more use when this has been dropped: for [`take_away`].
    pub(crate) fn remnants(&self) -> Vec<PathBuf> {
        self.works.iter().map(|work| work.with_file_name(GONE)).collect()
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        for work in &self.works {
            // Where folders go, their blocks are given back to the disk, for which somebody would wait here; so only the name goes.
            if fs::rename(work, work.with_file_name(GONE)).is_err() {
                // Where the mark stays, the next box takes it away, unless the machine went down in between.
                let _ = unmark(work);
            }
        }
    }
}

/// Removes what ended boxes left of layers, which nobody uses.
pub(crate) fn take_away(remnants: &[PathBuf]) {
    for folder in remnants {
        // What stays is for the next box's end.
        let _ = remove(folder);
    }
}

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
    // No cache of packages: what a browser without a window writes while it runs.
    ("chromium", ".config/chromium-headless"),
    ("google-chrome", ".config/google-chrome-headless"),
];

/// Makes the caches that are not there yet, as their tools would at their first start: only of tools that are installed.
pub(crate) fn make_missing(caches: &[PathBuf], home: &Path, path: &OsStr) {
    let folders = LazyCell::new(|| {
        // In a usual PATH every second one is not there, or is another one's link.
        let mut real = Real::default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(path).filter_map(|folder| real.of(&folder).ok()).collect();
        folders.sort();
        folders.dedup();
        folders
    });
    let is_installed = |program: &str| folders.iter().any(|folder| folder.join(program).is_file());
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
pub(crate) fn lay(
    fence: &mut FileFence,
    state: &Path,
    workspace: &Path,
    caches: &[PathBuf],
    environment: &[(OsString, OsString)],
    voice: Voice,
) -> io::Result<InUse> {
    let variable = |name: &str| environment.iter().find_map(|(known, value)| (known == name).then_some(value));
    let home = variable("HOME").map(Path::new);
    if let (Some(home), Some(path)) = (home, variable("PATH")) {
        make_missing(caches, home, path);
    }
    let trees = trees(caches, home, &fence.writable);
    let (layers, in_use, lost) = prepare(state, workspace, trees)?;
    if lost {
        voice.say("agentbox: what this project's boxes had put into caches is gone: one was at it when the machine went down");
    }
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

/// Those caches that are there and need a layer, by the tree over which that lies.
fn trees(caches: &[PathBuf], home: Option<&Path>, writable: &[PathBuf]) -> Vec<(PathBuf, Vec<PathBuf>)> {
    let mut real = Real::default();
    let mut found: Vec<PathBuf> = caches.iter().filter_map(|path| real.of(path).ok()).filter(|path| path.is_dir()).collect();
    found.sort();
    found.dedup();
    found.retain(|cache| !writable.iter().any(|place| cache.starts_with(place)));
    // One within another has the other's layer.
    let all = found.clone();
    found.retain(|cache| !all.iter().any(|other| other != cache && cache.starts_with(other)));
    let home = home.and_then(|home| fs::canonicalize(home).ok()).and_then(|home| Some((mount(&home)?, home)));
    let mut trees: Vec<(PathBuf, Vec<PathBuf>)> = Vec::new();
    for cache in found {
        // A layer shows nothing that is mounted in its tree.
        let tree = home.as_ref().filter(|(at, home)| cache.starts_with(home) && mount(&cache) == Some(*at)).map_or(&cache, |(_, home)| home).clone();
        match trees.iter_mut().find(|(known, _)| *known == tree) {
            Some((_, of_it)) => of_it.push(cache),
            None => trees.push((tree, vec![cache])),
        }
    }
    trees
}

/// The mount in which a folder lies; none before Linux 5.8.
fn mount(folder: &Path) -> Option<u64> {
    let found = statx(CWD, folder, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
    (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id)
}

/// Makes what a box's layers need. The last part tells whether what was in them had to go.
///
/// # Errors
/// It cannot be made.
fn prepare(state: &Path, workspace: &Path, trees: Vec<(PathBuf, Vec<PathBuf>)>) -> io::Result<(Vec<CacheLayer>, InUse, bool)> {
    if trees.is_empty() {
        return Ok((Vec::new(), InUse { _lock: None, works: Vec::new() }, false));
    }
    let (slot, lock) = free_slot(&state.join(FOLDER).join(name(workspace)), workspace)?;
    let this_boot = fs::read(THIS_BOOT)?;
    let is_since = fs::read(slot.join(BOOT)).is_ok_and(|boot| boot == this_boot);
    let (mut layers, mut lost) = (Vec::new(), false);
    for (tree, caches) in trees {
        let folder = slot.join(name(&tree));
        let (upper, work) = (folder.join("upper"), folder.join("work"));
        if !is_since && is_marked(&work)? {
            remove(&folder)?;
            lost = true;
        } else {
            unmark(&work)?;
        }
        let scratch = if upper.is_dir() && work.is_dir() { Scratch { tree, upper, work } } else { layer(&tree, upper, work)? };
        layers.push(CacheLayer { layer: scratch, caches });
    }
    if !is_since {
        fs::write(slot.join(BOOT), this_boot)?;
    }
    let works = layers.iter().map(|layer| layer.layer.work.clone()).collect();
    Ok((layers, InUse { _lock: Some(lock), works }, lost))
}

/// Whether a box that was not ended well, or still runs, has this layer.
fn is_marked(work: &Path) -> io::Result<bool> {
    enter(work)?;
    work.join(MARK).try_exists()
}

/// Takes the mark away.
fn unmark(work: &Path) -> io::Result<()> {
    enter(work)?;
    match remove(&work.join(MARK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Overlayfs lets nobody enter its own folders, not even their owner.
fn enter(work: &Path) -> io::Result<()> {
    match fs::set_permissions(work.join("work"), fs::Permissions::from_mode(0o700)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// A box can make folders that their owner may not enter; so does overlayfs.
fn remove(folder: &Path) -> io::Result<()> {
    open_up(folder, 0)?;
    fs::remove_dir_all(folder)
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
        let text = workspace.as_os_str().as_encoded_bytes();
        // Mostly it is there already, and to cut a file gives its block back to the disk.
        if !fs::read(&path).is_ok_and(|known| known == text) {
            lock.set_len(0)?;
            lock.write_all(text)?;
        }
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
        remove(&self.folder)?;
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
        let trees = || trees(&caches, None, &[real.join("work")]);
        let (first, held, _) = prepare(&real.join("state"), &real.join("work"), trees()).unwrap();
        let seen: Vec<&PathBuf> = first.iter().flat_map(|layer| &layer.caches).collect();
        assert_eq!(seen, [&real.join("cargo"), &real.join("npm")]);
        let (second, _held, _) = prepare(&real.join("state"), &real.join("work"), trees()).unwrap();
        assert_ne!(first[0].layer.upper, second[0].layer.upper);
        drop(held);
        let (again, _held, _) = prepare(&real.join("state"), &real.join("work"), trees()).unwrap();
        assert_eq!(first[0].layer.upper, again[0].layer.upper);
        let (other, _held, _) = prepare(&real.join("state"), &real.join("elsewhere"), trees()).unwrap();
        assert_ne!(first[0].layer.upper, other[0].layer.upper);
    }

    #[test]
    fn the_caches_of_a_home_have_one_layer_and_others_their_own() {
        let (_folder, real, caches) = ground();
        let elsewhere = tempfile::tempdir().unwrap();
        let other = elsewhere.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&other, real.join("linked")).unwrap();
        let named: Vec<PathBuf> = caches.into_iter().chain([real.join("linked"), PathBuf::from("/proc")]).collect();
        let found = trees(&named, Some(&real), &[real.join("work")]);
        assert!(found.contains(&(real.clone(), vec![real.join("cargo"), real.join("npm")])), "{found:?}");
        assert!(found.contains(&(other.clone(), vec![other.clone()])), "{found:?}");
        assert!(found.contains(&(PathBuf::from("/proc"), vec![PathBuf::from("/proc")])), "{found:?}");
        assert_eq!(trees(&["/proc".into()], Some(Path::new("/")), &[]), [(PathBuf::from("/proc"), vec![PathBuf::from("/proc")])], "another mount");
    }

    #[test]
    fn a_layer_goes_that_was_in_use_when_the_machine_went_down() {
        let (_folder, real, caches) = ground();
        let (state, work) = (real.join("state"), real.join("work"));
        let start = || prepare(&state, &work, trees(&caches, Some(&real), &[real.join("work")])).unwrap();
        let (layers, held, lost) = start();
        let layer = layers[0].layer.clone();
        fs::write(layer.upper.join("file"), b"half").unwrap();
        let mount = || {
            fs::create_dir_all(layer.work.join(MARK).join("volatile/dirty")).unwrap();
            for closed in ["work/incompat/volatile", "work/incompat", "work"] {
                fs::set_permissions(layer.work.join(closed), fs::Permissions::from_mode(0o0)).unwrap();
            }
        };
        mount();
        let remnants = held.remnants();
        drop(held);
        assert!(!lost && !layer.work.join(MARK).exists(), "ended well");
        assert!(remnants.iter().all(|folder| folder.exists()));
        take_away(&remnants);
        assert!(!remnants.is_empty() && remnants.iter().all(|folder| !folder.exists()));

        // Not ended by us, but the machine goes on.
        mount();
        let (_, held, lost) = start();
        assert!(!lost && !layer.work.join(MARK).exists() && layer.upper.join("file").exists());

        let boot = layer.upper.parent().and_then(Path::parent).unwrap().join(BOOT);
        drop(held);
        fs::write(&boot, b"another").unwrap();
        let (_, held, lost) = start();
        assert!(!lost && layer.upper.join("file").exists(), "nothing was in use");
        drop(held);

        mount();
        fs::write(&boot, b"another").unwrap();
        let (_, _held, lost) = start();
        assert!(lost && layer.upper.is_dir() && !layer.upper.join("file").exists());
    }

    #[test]
    fn what_is_old_goes_and_what_is_in_use_stays() {
        let (_folder, real, caches) = ground();
        let state = real.join("state");
        let (_, held, _) = prepare(&state, &real.join("work"), trees(&caches, None, &[])).unwrap();
        let (_, other, _) = prepare(&state, &real.join("other"), trees(&caches, None, &[])).unwrap();
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
