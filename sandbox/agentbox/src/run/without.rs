//! What a box without namespaces has in the place of its own `/tmp`, `/run` and network: a private folder, files of ours, and variables that tell
//! programs of them.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use agentbox_kernel::{
    mounts::FileFence,
    setting::{self, Own, Setting},
    stopped::{Bounds, Reserve},
};

use rustix::fs::{FlockOperation, flock};

use super::{supervise::Voice, trust::OURS};
use crate::{commands::run::chain, files, scratch::open_up};

/// Folders of boxes, in the folder of our state.
const FOLDER: &str = "without";

/// Names over TCP, which can be led to the broker; the rest as in the `resolv.conf` of other boxes.
const RESOLVING: &str = "use-vc timeout:10 attempts:2";

/// Files that other boxes see instead of the machine's: there is no need to hide the machine's own, they only know nothing of the broker.
const NO_SECRETS: &[&str] = &["/etc/resolv.conf", "/etc/hosts"];

/// The folders of one box; removed when it is dropped, or by a later box where the supervisor was killed.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    /// Locked for as long as any process of ours or of the box's beginning lives; none where the file system knows no locks.
    _lock: Option<File>,
    /// For what is made beside secrets.
    reserve: Reserve,
}

impl Place {
    /// Makes it where this machine gives no namespaces; none where it does.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn choose(state: &Path, session: &str, voice: Voice) -> io::Result<Option<Self>> {
        let (chosen, lack) = setting::choose();
        if let Some(lack) = lack {
            voice.say(&format!("agentbox: there are no namespaces here, and no box without them either: {lack}"));
        }
        if chosen == Setting::Namespaces {
            return Ok(None);
        }
        voice.say(&format!("agentbox: warning: {}", setting::WEAKER));
        Self::make(&fs::canonicalize(state)?.join(FOLDER), session).map(Some)
    }

    /// Makes it in the folder of all boxes, and removes what boxes have left there whose supervisor was killed.
    fn make(all: &Path, session: &str) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(all)?;
        // One at a time: a folder that is there and not locked is nobody's.
        let turn = File::open(all)?;
        let has_locks = flock(&turn, FlockOperation::LockExclusive).is_ok();
        let left = if has_locks { left_behind(all) } else { Vec::new() };
        let mut place = Self { folder: all.join(session), _lock: None, reserve: Reserve::default() };
        for made in [place.private(), place.shown()] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(made)?;
        }
        place._lock = locked(&place.folder);
        drop(turn);
        left.iter().for_each(|(folder, _lock)| remove(folder));
        Ok(place)
    }

    fn private(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    pub(super) fn shown(&self) -> PathBuf {
        self.folder.join("ours")
    }

    pub(super) fn own(&self) -> Own {
        Own { private: self.private(), shown: self.shown(), sockets: setting::sockets(), reserve: self.reserve.clone() }
    }

    /// Makes what will be moved to names beside the secrets of writable trees. Names move on one mount alone, and a tree itself is no place for what
    /// another box must not reach: where our state lies on another one, what is made there can be read, and not executed.
    fn make_reserve(&mut self, fence: &FileFence) {
        let hidden: Vec<PathBuf> = fence.masked.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
        let trees = fence.writable.iter().filter_map(|tree| fs::canonicalize(tree).ok());
        let beside = trees.filter(|tree| hidden.iter().any(|secret| secret.starts_with(tree)) && Reserve::reaches(&self.folder, tree)).count();
        for number in 0..beside {
            let folder = self.folder.join(format!("reserve{number}"));
            let made = fs::DirBuilder::new().mode(0o700).create(&folder).and_then(|()| Reserve::make(&folder));
            if let Ok(made) = made {
                self.reserve = std::mem::take(&mut self.reserve).and(made);
            }
        }
    }

    /// Puts the files of ours where the box sees them, and tells it where.
    ///
    /// # Errors
    /// One cannot be written.
    pub(super) fn furnish(&mut self, fence: &mut FileFence, public: &[PathBuf], environment: &mut Vec<(OsString, OsString)>) -> Result<(), String> {
        self.provide(fence, public)?;
        self.make_reserve(fence);
        self.tell(environment);
        Ok(())
    }

    /// Variables in which the box is told of its folders: whatever points into a box's own `/run/agentbox` points here.
    fn tell(&self, environment: &mut Vec<(OsString, OsString)>) {
        let temporary = ["TMPDIR", "TMP", "TEMP"];
        environment.retain(|(name, _)| name != "RES_OPTIONS" && !temporary.iter().any(|known| name == known));
        for (_, value) in environment.iter_mut() {
            if let Ok(rest) = Path::new(value).strip_prefix(OURS) {
                *value = self.shown().join(rest).into_os_string();
            }
        }
        environment.extend(temporary.map(|name| (name.into(), self.private().into_os_string())));
        environment.push(("RES_OPTIONS".into(), RESOLVING.into()));
    }

    /// Writes the files of ours, and hides those of the machine over which another box has something of ours, since nothing can be put over them:
    /// a file with a secret in it would be seen. `public` are files that hold none.
    ///
    /// # Errors
    /// One of ours cannot be written.
    fn provide(&self, fence: &mut FileFence, public: &[PathBuf]) -> Result<(), String> {
        for provided in std::mem::take(&mut fence.provided) {
            if let Ok(name) = provided.path.strip_prefix(OURS) {
                let path = self.shown().join(name);
                let write = || {
                    if let Some(parent) = path.parent() {
                        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
                    }
                    provided.contents.write(fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?)
                };
                write().map_err(|error| format!("writing {}: {}", path.display(), chain(&error)))?;
            } else if !public.contains(&provided.path) && !NO_SECRETS.iter().any(|known| provided.path == Path::new(known)) {
                fence.masked.push(provided.path);
            }
        }
        Ok(())
    }

    /// What the file gate must know.
    pub(super) fn for_the_gate(&self, fence: &FileFence, forward: &[u16]) -> files::Without {
        let real = |path: &PathBuf| fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let writable: Vec<PathBuf> = fence.writable.iter().map(real).collect();
        let within = |path: &PathBuf| writable.iter().any(|tree| path.starts_with(tree));
        let kept = fence.read_only.iter().map(real).filter(within).collect();
        // Only what is there: what the agent makes itself is no secret, as the masks say it.
        let hidden = fence.masked.iter().filter_map(|path| fs::canonicalize(path).ok()).filter(within).collect();
        files::Without {
            bounds: Bounds { writable, kept, hidden, reserve: self.reserve.clone(), private: self.private() },
            forward: forward.to_vec(),
            sockets: fence.sockets.iter().map(real).collect(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// Folders of boxes that nobody has any more, each locked.
fn left_behind(all: &Path) -> Vec<(PathBuf, File)> {
    let there = fs::read_dir(all).into_iter().flatten().flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    there.filter_map(|entry| Some((entry.path(), locked(&entry.path())?))).collect()
}

fn locked(folder: &Path) -> Option<File> {
    let lock = File::open(folder).ok()?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(lock)
}

fn remove(folder: &Path) {
    // A box can make folders that their owner may not enter.
    let _ = open_up(folder, 0);
    let _ = fs::remove_dir_all(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_box_has_left_is_removed_and_what_is_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let all = folder.path().join("without");
        let running = Place::make(&all, "running").unwrap();
        fs::create_dir_all(all.join("killed/tmp/closed")).unwrap();
        fs::set_permissions(all.join("killed/tmp/closed"), std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
        let next = Place::make(&all, "next").unwrap();
        assert!(running.private().is_dir() && next.shown().is_dir() && !all.join("killed").exists());
        drop((running, next));
        assert!(fs::read_dir(&all).unwrap().next().is_none());
    }
}
