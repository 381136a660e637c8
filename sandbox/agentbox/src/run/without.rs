//! What a box without namespaces has in the place of its own `/tmp`, `/run` and network: a private folder, files of ours, and variables that tell
//! programs of them.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use agentbox_kernel::{
    mounts::FileFence,
    setting::{self, Own, Setting},
    stopped::Bounds,
};

use super::{supervise::Voice, trust::OURS};
use crate::{commands::run::chain, files, scratch::open_up};

/// Folders of boxes, in the folder of our state.
const FOLDER: &str = "without";

/// Names over TCP, which can be led to the broker; the rest as in the `resolv.conf` of other boxes.
const RESOLVING: &str = "use-vc timeout:10 attempts:2";

/// Files that other boxes see instead of the machine's: there is no need to hide the machine's own, they only know nothing of the broker.
const NO_SECRETS: &[&str] = &["/etc/resolv.conf", "/etc/hosts"];

/// The folders of one box; removed when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
}

impl Place {
    /// Makes it where this machine gives no namespaces; none where it does.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn choose(state: &Path, session: &str, voice: Voice) -> io::Result<Option<Self>> {
        if setting::choose() == Setting::Namespaces {
            return Ok(None);
        }
        voice.say(&format!("agentbox: warning: {}", setting::WEAKER));
        Self::make(&fs::canonicalize(state)?.join(FOLDER).join(session)).map(Some)
    }

    fn make(folder: &Path) -> io::Result<Self> {
        let place = Self { folder: folder.to_owned() };
        for made in [place.private(), place.shown()] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(made)?;
        }
        Ok(place)
    }

    fn private(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    fn shown(&self) -> PathBuf {
        self.folder.join("ours")
    }

    pub(super) fn own(&self) -> Own {
        Own { private: self.private(), shown: self.shown() }
    }

    /// Puts the files of ours where the box sees them, and tells it where.
    ///
    /// # Errors
    /// One cannot be written.
    pub(super) fn furnish(&self, fence: &mut FileFence, public: &[PathBuf], environment: &mut Vec<(OsString, OsString)>) -> Result<(), String> {
        self.provide(fence, public)?;
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
                    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(&provided.contents)
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
        let within = |path: &&PathBuf| fence.writable.iter().any(|tree| path.starts_with(tree));
        let real = |path: &PathBuf| fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let kept = fence.read_only.iter().map(real).collect::<Vec<_>>().iter().filter(within).cloned().collect();
        files::Without {
            bounds: Bounds { writable: fence.writable.iter().map(real).collect(), kept, private: self.private() },
            forward: forward.to_vec(),
            sockets: fence.sockets.iter().map(real).collect(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A box can make folders that their owner may not enter.
        let _ = open_up(&self.folder, 0);
        let _ = fs::remove_dir_all(&self.folder);
    }
}
