//! Boxes whose writes go into a layer: where the layers lie, and who may touch them.
//!
//! A box that runs with `--scratch` sees its writable trees through overlayfs. What it writes, changes or removes lands in a folder of the
//! user's state, out of every box's reach, and the trees stay as they were until a person applies the layer or drops it.

pub(crate) mod apply;
pub(crate) mod changes;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use agentbox_kernel::mounts::Scratch;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// The folder of all layers below `$XDG_STATE_HOME/agentbox`.
const FOLDER: &str = "scratch";

/// What a layer is about, in its folder.
const ABOUT: &str = "about.json";

/// Longest such file that is read, in bytes.
const LONGEST_ABOUT: u64 = 1 << 20;

/// The form of what lies in a layer's folder.
const FORMAT: u32 = 1;

/// What a person wants to know of a box whose layers these are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    format: u32,
    /// The box.
    pub(crate) session: String,
    /// What ran in it.
    pub(crate) command: String,
    /// The trees, each with a folder of its number.
    pub(crate) trees: Vec<PathBuf>,
}

/// The layers of one box.
#[derive(Debug)]
pub(crate) struct Layers {
    folder: PathBuf,
    pub(crate) about: About,
    /// When the box began, by the clock of file systems: seconds and nanoseconds. What is younger was changed by others meanwhile.
    began: (i64, i64),
    /// Locked by the box for as long as it runs.
    lock: File,
}

/// One tree, and the folder that holds what was written to it.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) tree: PathBuf,
    pub(crate) upper: PathBuf,
}

fn upper(folder: &Path, number: usize) -> PathBuf {
    folder.join(number.to_string()).join("upper")
}

/// Makes the folders for a box that is about to begin. They are the box's until the file that comes back is closed.
///
/// # Errors
/// They cannot be made.
pub(crate) fn prepare(state: &Path, session: &str, command: String, trees: &[PathBuf]) -> io::Result<(Vec<Scratch>, Layers)> {
    let folder = state.join(FOLDER).join(session);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let about = About { format: FORMAT, session: session.to_owned(), command, trees: trees.to_vec() };
    let text = serde_json::to_vec(&about).map_err(|_| io::Error::other("a tree's name is no text, and cannot be written down"))?;
    let mut lock = OpenOptions::new().write(true).read(true).create_new(true).mode(0o600).open(folder.join(ABOUT))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    lock.write_all(&text)?;
    let layered = |(number, tree): (usize, &PathBuf)| layer(tree, upper(&folder, number), folder.join(number.to_string()).join("work"));
    let scratch = trees.iter().enumerate().map(layered).collect::<io::Result<_>>()?;
    let began = stamp(&lock)?;
    Ok((scratch, Layers { folder, about, began, lock }))
}

fn stamp(file: &File) -> io::Result<(i64, i64)> {
    let meta = file.metadata()?;
    Ok((meta.mtime(), meta.mtime_nsec()))
}

/// All layers of this user, the oldest first.
pub(crate) fn all(state: &Path) -> io::Result<Vec<Layers>> {
    let entries = match fs::read_dir(state.join(FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    // A folder without a readable note is one that is being made, or was left in the making.
    let mut found: Vec<Layers> = entries.flatten().filter_map(|entry| Layers::open(entry.path()).ok()).collect();
    found.sort_by_key(|layers| layers.began);
    Ok(found)
}

/// Whether a box still writes to its layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Box {
    Runs,
    IsOver,
}

impl Layers {
    fn open(folder: PathBuf) -> io::Result<Self> {
        let lock = File::open(folder.join(ABOUT))?;
        let mut text = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(&lock, LONGEST_ABOUT), &mut text)?;
        let about: About = serde_json::from_slice(&text)?;
        if about.format != FORMAT {
            return Err(io::Error::other("another version of agentbox made it"));
        }
        let began = stamp(&lock)?;
        Ok(Self { folder, about, began, lock })
    }

    /// Whether its box runs. One that is over cannot begin anew; while this value lives, nobody else applies or drops the layers.
    pub(crate) fn is_running(&self) -> Box {
        match flock(&self.lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Box::IsOver,
            Err(_) => Box::Runs,
        }
    }

    pub(crate) fn trees(&self) -> impl Iterator<Item = Tree> {
        self.about.trees.iter().enumerate().map(|(number, tree)| Tree { tree: tree.clone(), upper: upper(&self.folder, number) })
    }

    pub(crate) fn began(&self) -> (i64, i64) {
        self.began
    }

    /// Throws the layers away.
    ///
    /// # Errors
    /// Something of them stays.
    pub(crate) fn drop_all(self) -> io::Result<()> {
        // A box can make folders that their owner may not enter; so does overlayfs.
        open_up(&self.folder, 0)?;
        fs::remove_dir_all(&self.folder)
    }
}

/// Makes the folders of one layer, which are not there yet.
pub(crate) fn layer(tree: &Path, upper: PathBuf, work: PathBuf) -> io::Result<Scratch> {
    for folder in [&upper, &work] {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // The tree's own root is shown with the mode and owner of the layer's.
    let root = fs::metadata(tree)?;
    fs::set_permissions(&upper, fs::Permissions::from_mode(root.mode() & 0o7777))?;
    let _ = std::os::unix::fs::chown(&upper, Some(root.uid()), Some(root.gid()));
    Ok(Scratch { tree: tree.to_owned(), upper, work })
}

/// Folders in each other that are gone through; no path that a program can name is deeper.
pub(crate) const DEEPEST: usize = 2048;

pub(crate) fn open_up(folder: &Path, depth: usize) -> io::Result<()> {
    if depth > DEEPEST {
        return Ok(());
    }
    let meta = folder.symlink_metadata()?;
    if meta.mode() & 0o700 != 0o700 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path(), depth + 1)?;
        }
    }
    Ok(())
}
