//! Watches from outside whether a mask still covers what it was put over.
//!
//! A mask covers a file, not its name. Editors save by renaming a new file over the old one; the mask goes away with the old one, and the
//! box sees the new. The watch notices a new file at a masked name, and whoever holds it ends the box. What is inside of a masked *folder*
//! may change as it likes, which is why a policy does better to mask the folder.
//!
//! A masked name that is not there at the start is watched too, unless it lies in a tree that the agent may write: there the agent makes
//! such a file itself, and it is no secret.

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::{OsStr, OsString},
    fmt, fs, io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use agentbox_core::safe;
use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor},
};

use crate::{
    layer::{Layer, LayerReport},
    real::Real,
};

/// Reads of the kernel's queue in one go; what is left makes the descriptor readable again.
const ROUNDS: usize = 16;

/// Characters of a path that a person is shown.
const SHOWN: usize = 300;

/// What a mount over a name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    /// The agent does not see it.
    Hidden,
    /// The agent does not change it. git, for one, replaces its `config` by rename(2), and the mount falls off.
    Kept,
}

/// A mount covers its file no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallen {
    path: PathBuf,
    guard: Guard,
    why: &'static str,
}

impl fmt::Display for Fallen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = safe::line(&self.path.to_string_lossy(), SHOWN);
        let (state, again) = match self.guard {
            Guard::Hidden => ("hidden from the agent", "hide"),
            Guard::Kept => ("kept from being changed by the agent", "guard"),
        };
        write!(f, "{path} is no longer {state}, because it {}; the box has been ended. Start it again to {again} the new one.", self.why)
    }
}

/// A name that must keep leading to the file that was masked.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    guard: Guard,
    /// What the mask lies on, by device and inode. None: there was nothing, or it has been removed.
    masked: Option<(u64, u64)>,
    /// The folder that is watched: the parent, or the deepest one that is there.
    folder: Option<WatchDescriptor>,
    /// The name in that folder whose coming matters.
    name: OsString,
}

/// Folders on which watches hang: most names of a policy lie in the same ones. For one pass; a folder that goes takes its watch along.
#[derive(Debug, Default)]
struct Hung(HashMap<PathBuf, Result<WatchDescriptor, Errno>>);

/// What was at a name when its watch hung.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// Or nobody knows.
    Something,
}

/// All of them.
#[derive(Debug)]
pub struct MaskWatch {
    inotify: Inotify,
    watched: RefCell<Vec<Watched>>,
    /// Names that cannot be watched.
    unwatched: Vec<PathBuf>,
}

impl MaskWatch {
    /// One that watches nothing yet.
    ///
    /// # Errors
    /// No watch can be had at all.
    pub(crate) fn start() -> Result<Self, Errno> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Self { inotify, watched: RefCell::default(), unwatched: Vec::new() })
    }

    /// Watches these names, of which those below a writable tree need not be there, and tells what each of them really is. Each is looked at
    /// only when its watch hangs: what comes to be before that is found, and what does later is noticed.
    pub(crate) fn hidden(&mut self, names: &[PathBuf], writable: &[PathBuf]) -> Vec<io::Result<PathBuf>> {
        let mut found = Vec::with_capacity(names.len());
        // No folder that somebody followed before a watch hung on it: it may lead elsewhere by now.
        let (mut hung, mut real) = (Hung::default(), Real::default());
        for name in names {
            if writable.iter().any(|tree| name.starts_with(tree))
                && let Err(error) = real.of(name)
            {
                found.push(Err(error));
                continue;
            }
            // The name itself too: a link may be made to lead elsewhere.
            let is = match self.watch(name.clone(), Guard::Hidden, &mut hung) {
                Seen::Nothing => Err(io::ErrorKind::NotFound.into()),
                Seen::Something => real.of(name),
            };
            if let Some(target) = is.as_ref().ok().filter(|target| *target != name) {
                self.watch(target.clone(), Guard::Hidden, &mut hung);
            }
            found.push(is);
        }
        found
    }

    /// Watches read-only places as well, where they lie in writable trees: elsewhere nothing can be written, whatever is there. Call it
    /// before the mounts are made.
    pub(crate) fn also_read_only(&mut self, places: &[PathBuf], writable: &[PathBuf]) {
        let mut hung = Hung::default();
        for path in places.iter().filter(|path| writable.iter().any(|tree| path.starts_with(tree) && *path != tree)) {
            // What is not there is not guarded, and the end of the run tells of it.
            if identity(path).is_some() {
                self.watch(path.clone(), Guard::Kept, &mut hung);
            }
        }
    }

    fn watch(&mut self, path: PathBuf, guard: Guard, hung: &mut Hung) -> Seen {
        let mut one = Watched { path, guard, masked: None, folder: None, name: OsString::new() };
        if self.hang(&mut one, hung).is_err() {
            self.unwatched.push(one.path);
            return Seen::Something;
        }
        one.masked = identity(&one.path);
        let seen = if one.masked.is_some() { Seen::Something } else { Seen::Nothing };
        self.watched.get_mut().push(one);
        seen
    }

    /// Where nothing is mounted: what cannot be watched, if there is any.
    pub(crate) fn unwatched(&self) -> Option<LayerReport> {
        let report = self.report();
        let crate::layer::LayerStatus::Partial { why } = report.status else { return None };
        Some(LayerReport::partial(Layer::Landlock, why))
    }

    /// Partial where a name cannot be watched: its folder may not be read, or the user has no watches left.
    pub(crate) fn report(&self) -> LayerReport {
        match self.unwatched.first() {
            None => LayerReport::enforced(Layer::MountNamespace),
            Some(path) => {
                let (path, more) = (safe::line(&path.to_string_lossy(), SHOWN), self.unwatched.len() - 1);
                LayerReport::partial(Layer::MountNamespace, format!("{path} and {more} more masked names cannot be watched: a new file there would be seen"))
            }
        }
    }

    /// Hangs the watch on the deepest folder that is there.
    fn hang(&self, one: &mut Watched, hung: &mut Hung) -> Result<(), Errno> {
        let what = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let mut below = one.path.as_path();
        while let Some(folder) = below.parent() {
            let known = hung.0.get(folder).copied();
            let answer = known.unwrap_or_else(|| self.inotify.add_watch(folder, what));
            if known.is_none() {
                hung.0.insert(folder.to_owned(), answer);
            }
            match answer {
                Ok(descriptor) => {
                    one.folder = Some(descriptor);
                    one.name = below.file_name().unwrap_or(OsStr::new("")).to_owned();
                    return Ok(());
                }
                Err(Errno::ENOENT | Errno::ENOTDIR) => below = folder,
                Err(errno) => return Err(errno),
            }
        }
        // The root itself is masked, which no policy says.
        Err(Errno::EINVAL)
    }

    /// Tells whether a mask has fallen. Call it when the descriptor is readable.
    pub(crate) fn fallen(&self) -> Option<Fallen> {
        for _ in 0..ROUNDS {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN | Errno::EINTR) => return None,
                Err(_) => return self.any("cannot be watched any more"),
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    return self.any("may have been replaced: too much changed at once");
                }
                if let Some(fallen) = self.judge(event.wd, event.mask, event.name.as_deref()) {
                    return Some(fallen);
                }
            }
        }
        None
    }

    fn any(&self, why: &'static str) -> Option<Fallen> {
        self.watched.borrow().first().map(|one| Fallen { path: one.path.clone(), guard: one.guard, why })
    }

    fn judge(&self, folder: WatchDescriptor, what: AddWatchFlags, name: Option<&OsStr>) -> Option<Fallen> {
        self.watched.borrow_mut().iter_mut().filter(|one| one.folder == Some(folder)).find_map(|one| self.judge_one(one, what, name))
    }

    fn judge_one(&self, one: &mut Watched, what: AddWatchFlags, name: Option<&OsStr>) -> Option<Fallen> {
        let fallen = |one: &Watched, why| Some(Fallen { path: one.path.clone(), guard: one.guard, why });
        let ours = name == Some(one.name.as_os_str());
        if ours && what.contains(AddWatchFlags::IN_DELETE) {
            // The number of a removed file is given to the next one: it proves nothing from now on.
            one.masked = None;
        }
        let came = ours && what.intersects(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO);
        let moved = what.intersects(AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_IGNORED | AddWatchFlags::IN_UNMOUNT);
        if !came && !moved {
            return None;
        }
        // First the watch on the folder that is there now, then the look: what comes in between makes an event.
        if self.hang(one, &mut Hung::default()).is_err() {
            return fallen(one, "cannot be watched any more");
        }
        match (identity(&one.path), one.masked) {
            (None, _) => None,
            // Moved away and back: the mask has gone along.
            (Some(now), Some(then)) if now == then && !what.contains(AddWatchFlags::IN_CREATE) => None,
            (Some(_), Some(_)) => fallen(one, "was replaced by a new file outside"),
            (Some(_), None) => fallen(one, "was made outside after the box had started"),
        }
    }
}

impl AsFd for MaskWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// Of what is there, without following a link. What cannot be looked at is there all the same: only absence is absence.
fn identity(path: &Path) -> Option<(u64, u64)> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Some((meta.dev(), meta.ino())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
        Err(_) => Some((0, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ground {
        _folder: tempfile::TempDir,
        path: PathBuf,
    }

    fn ground() -> Ground {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        fs::create_dir(path.join("aws")).unwrap();
        fs::write(path.join("env"), "old").unwrap();
        fs::write(path.join("aws/key"), "old").unwrap();
        Ground { _folder: folder, path }
    }

    fn watch(ground: &Ground) -> MaskWatch {
        hidden(&["env", "aws", "later/deep/key"].map(|name| ground.path.join(name)), &[])
    }

    fn hidden(names: &[PathBuf], writable: &[PathBuf]) -> MaskWatch {
        let mut watch = MaskWatch::start().unwrap();
        watch.hidden(names, writable);
        watch
    }

    fn after(change: impl FnOnce(&Path)) -> Option<String> {
        let ground = ground();
        let watch = watch(&ground);
        assert_eq!(watch.report(), LayerReport::enforced(Layer::MountNamespace));
        change(&ground.path);
        watch.fallen().map(|fallen| format!("{} {}", fallen.path.strip_prefix(&ground.path).unwrap().display(), fallen.why))
    }

    #[test]
    fn what_leaves_a_mask_in_place_is_no_fall() {
        assert_eq!(after(|_| {}), None);
        assert_eq!(after(|at| fs::write(at.join("env"), "in place").unwrap()), None);
        assert_eq!(after(|at| fs::write(at.join("aws/new"), "inside").unwrap()), None);
        assert_eq!(after(|at| fs::write(at.join("other"), "beside").unwrap()), None);
        assert_eq!(after(|at| fs::remove_file(at.join("env")).unwrap()), None);
        assert_eq!(after(|at| fs::create_dir(at.join("later")).unwrap()), None);
        let away_and_back = |at: &Path| {
            fs::rename(at.join("env"), at.join("kept")).unwrap();
            fs::rename(at.join("kept"), at.join("env")).unwrap();
        };
        assert_eq!(after(away_and_back), None);
    }

    #[test]
    fn a_new_file_at_a_masked_name_is_noticed() {
        let saved = |at: &Path| {
            fs::write(at.join(".env.swp"), "new").unwrap();
            fs::rename(at.join(".env.swp"), at.join("env")).unwrap();
        };
        assert_eq!(after(saved).as_deref(), Some("env was replaced by a new file outside"));
        let removed_and_made = |at: &Path| {
            fs::remove_file(at.join("env")).unwrap();
            fs::write(at.join("env"), "new").unwrap();
        };
        assert_eq!(after(removed_and_made).as_deref(), Some("env was made outside after the box had started"));
        let another_folder = |at: &Path| {
            fs::rename(at.join("aws"), at.join("aws.old")).unwrap();
            fs::create_dir(at.join("aws")).unwrap();
        };
        assert_eq!(after(another_folder).as_deref(), Some("aws was replaced by a new file outside"));
    }

    #[test]
    fn a_secret_that_comes_later_is_noticed_however_deep() {
        let ground = ground();
        let watch = watch(&ground);
        fs::create_dir(ground.path.join("later")).unwrap();
        assert_eq!(watch.fallen(), None);
        fs::create_dir(ground.path.join("later/deep")).unwrap();
        assert_eq!(watch.fallen(), None);
        fs::write(ground.path.join("later/deep/key"), "new").unwrap();
        let said = watch.fallen().unwrap().to_string();
        assert!(said.contains("later/deep/key is no longer hidden from the agent, because it was made outside"), "{said}");
        // All at once, faster than the watch can follow.
        let ground = self::ground();
        let watch = self::watch(&ground);
        fs::create_dir_all(ground.path.join("later/deep")).unwrap();
        fs::write(ground.path.join("later/deep/key"), "new").unwrap();
        assert!(watch.fallen().is_some());
    }

    #[test]
    fn what_the_agent_may_make_is_not_watched() {
        let ground = ground();
        let path = ground.path.join("new");
        let watch = hidden(std::slice::from_ref(&path), std::slice::from_ref(&ground.path));
        fs::write(&path, "the agent's").unwrap();
        assert_eq!(watch.fallen(), None);
    }

    #[test]
    fn a_link_that_is_made_to_lead_elsewhere_is_noticed() {
        let ground = ground();
        let link = ground.path.join("link");
        std::os::unix::fs::symlink("env", &link).unwrap();
        let watch = hidden(std::slice::from_ref(&link), &[]);
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("aws/key", &link).unwrap();
        assert!(watch.fallen().is_some());
    }

    #[test]
    fn a_read_only_file_that_is_replaced_outside_is_noticed() {
        let ground = ground();
        let places = ["env", "aws", "none"].map(|name| ground.path.join(name));
        let start = || {
            let mut watch = MaskWatch::start().unwrap();
            watch.also_read_only(&places, std::slice::from_ref(&ground.path));
            watch
        };
        let watch = start();
        fs::write(ground.path.join("env"), "in place").unwrap();
        fs::write(ground.path.join("none"), "the agent's").unwrap();
        assert_eq!(watch.fallen(), None);
        fs::write(ground.path.join("env.lock"), "new").unwrap();
        fs::rename(ground.path.join("env.lock"), ground.path.join("env")).unwrap();
        let said = watch.fallen().unwrap().to_string();
        assert!(said.contains("env is no longer kept from being changed by the agent, because it was replaced"), "{said}");
        let watch = start();
        fs::rename(ground.path.join("aws"), ground.path.join("away")).unwrap();
        fs::create_dir(ground.path.join("aws")).unwrap();
        assert!(watch.fallen().is_some());
        // Where nothing can be written there is nothing to notice.
        let mut watch = MaskWatch::start().unwrap();
        watch.also_read_only(&places, &[ground.path.join("elsewhere")]);
        fs::rename(ground.path.join("away"), ground.path.join("env")).unwrap_err();
        fs::remove_file(ground.path.join("env")).unwrap();
        fs::write(ground.path.join("env"), "new").unwrap();
        assert_eq!(watch.fallen(), None);
    }
}
