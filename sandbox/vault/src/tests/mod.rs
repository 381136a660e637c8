//! What the vault's tests share: a gate that keeps before each deed, and pictures of trees.

mod boxed;
mod crash;
mod disks;
mod keeping;
mod random;
mod retention;
mod undoing;

use std::{
    collections::BTreeMap,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{self, AtFlags, Mode, OFlags, RenameFlags},
    io::Errno,
};

use crate::{
    facts::{self, Facts, Identity, Kind},
    folder,
    record::Loss,
    session::{Kept, Session},
    settings::Settings,
    subject::{Hands, Move, Subject},
    undo::{Choice, Made, Report, Ruling, Undo},
    vault::{Begin, Vault},
};

pub(super) const LEASE: crate::TakeLease = agentbox_kernel::lease::read_lease;

/// A workspace and a vault beside it.
pub(super) struct Scene {
    pub(super) folder: PathBuf,
    _owner: Option<tempfile::TempDir>,
    pub(super) vault: Vault,
}

impl Scene {
    pub(super) fn new() -> Self {
        let owner = tempfile::tempdir().unwrap();
        let folder = owner.path().canonicalize().unwrap();
        Self { _owner: Some(owner), ..Self::at(&folder, Settings::default()) }
    }

    pub(super) fn at(folder: &Path, settings: Settings) -> Self {
        std::fs::create_dir_all(folder.join("work")).unwrap();
        let vault = Vault::open(&folder.join("vault"), settings).unwrap();
        Self { folder: folder.to_owned(), _owner: None, vault }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join("work").join(name)
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// What stood before is old: the clock of the file system has moved on.
    pub(super) fn begin(&self, name: &str) -> Gate {
        std::thread::sleep(Duration::from_millis(12));
        let begin = Begin { name, roots: &[self.folder.join("work")], about: "a test", undoes: None };
        let gate = Gate(self.vault.begin(&begin, Hands::here(LEASE).unwrap()).unwrap());
        std::thread::sleep(Duration::from_millis(12));
        gate
    }

    pub(super) fn picture(&self) -> Picture {
        picture(&self.folder.join("work"))
    }

    pub(super) fn undo(&self, session: &str, made: Made) -> Report {
        let choice = Choice { made, ..Choice::default() };
        let undo = Undo::of(&self.vault, session, choice).unwrap();
        undo.apply(&undo.plan(), LEASE, &mut |_| Ruling::Leave).unwrap()
    }

    /// Finishes, undoes all, and insists on everything.
    pub(super) fn back(&self, gate: Gate, before: &Picture) {
        let name = gate.0.name().to_owned();
        drop(gate);
        self.vault.finish(&name, Duration::from_secs(60)).unwrap();
        let report = self.undo(&name, Made::Goes);
        let steps: Vec<String> = report.done.iter().map(|step| format!("{} {:?} over {:?}", step.path.display(), step.deed, step.standing)).collect();
        assert!(report.refused.is_empty() && report.lacking.is_empty(), "{:?}\n{:?}\n{}", report.refused, report.lacking, steps.join("\n"));
        assert_same(before, &self.picture());
    }
}

/// Does what a gate does: keep, then act, then say how it went.
pub(super) struct Gate(pub(super) Session);

pub(super) fn opened(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
}

pub(super) fn object(path: &Path) -> Result<OwnedFd, Errno> {
    opened(path, OFlags::PATH | OFlags::NOFOLLOW)
}

fn done(kept: Kept<'_>, deed: Result<(), Errno>) -> Result<(), Errno> {
    match deed {
        Ok(()) => drop(kept),
        Err(_) => kept.failed(),
    }
    deed
}

impl Gate {
    pub(super) fn keep(&self, path: &Path, loss: Loss) -> Result<Kept<'_>, crate::NotKept> {
        let (object, folder) = (object(path).unwrap(), object(path.parent().unwrap()).unwrap());
        self.0.keep(&Subject { object: object.as_fd(), folder: Some(folder.as_fd()), path, loss })
    }

    pub(super) fn unlink(&self, path: &Path) -> Result<(), Errno> {
        let kept = self.keep(path, Loss::Name).unwrap();
        let folder = object(path.parent().unwrap())?;
        let flags =
            if object(path).is_ok_and(|object| facts::look(object.as_fd()).unwrap().1.kind == Kind::Folder) { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        done(kept, fs::unlinkat(&folder, path.file_name().unwrap(), flags))
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), Errno> {
        let same = |other: &OwnedFd| facts::identity(other).ok() == object(from).ok().and_then(|from| facts::identity(from).ok());
        if object(to).is_ok_and(|to| same(&to)) {
            return fs::rename(from, to);
        }
        let victim = object(to).ok().map(|_| self.keep(to, Loss::Name).unwrap());
        let (object, from_folder, to_folder) = (object(from)?, self::object(from.parent().unwrap())?, self::object(to.parent().unwrap())?);
        let told = Move { object: object.as_fd(), from_folder: from_folder.as_fd(), to_folder: to_folder.as_fd(), from, to };
        let moved = self.0.moved(&told).unwrap();
        let deed = fs::rename(from, to);
        if let Some(victim) = victim {
            let _ = done(victim, deed);
        }
        done(moved, deed)
    }

    pub(super) fn exchange(&self, one: &Path, other: &Path) -> Result<(), Errno> {
        let (first, second) = (object(one)?, object(other)?);
        let (from_folder, to_folder) = (object(one.parent().unwrap())?, object(other.parent().unwrap())?);
        let told = Move { object: first.as_fd(), from_folder: from_folder.as_fd(), to_folder: to_folder.as_fd(), from: one, to: other };
        let kept = self.0.exchanged(&told, second.as_fd()).unwrap();
        done(kept, fs::renameat_with(fs::CWD, one, fs::CWD, other, RenameFlags::EXCHANGE))
    }

    /// Writes in place, as `open(O_TRUNC)` and as an editor of parts does.
    pub(super) fn overwrite(&self, path: &Path, content: &[u8]) {
        let kept = self.keep(path, Loss::Content).unwrap();
        let file = std::fs::OpenOptions::new().write(true).truncate(true).open(path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, content, 0).unwrap();
        drop(kept);
    }

    pub(super) fn link(&self, from: &Path, to: &Path) -> Result<(), Errno> {
        let (object, folder) = (object(from)?, object(to.parent().unwrap())?);
        let kept = self.0.linked(object.as_fd(), folder.as_fd(), to).unwrap();
        done(kept, fs::link(from, to))
    }

    /// What the kernel lets pass without asking: making something under a free name.
    pub(super) fn make(&self, path: &Path, deed: impl FnOnce(&Path) -> Result<(), Errno>) -> Result<(), Errno> {
        let folder = object(path.parent().unwrap())?;
        self.0.made(folder.as_fd(), path).unwrap();
        deed(path)
    }

    /// Removes a whole tree, as `rm -rf` does.
    pub(super) fn remove_all(&self, path: &Path) {
        for inner in picture(path).keys().rev() {
            self.unlink(inner).unwrap();
        }
    }

    /// Any change of metadata.
    pub(super) fn change(&self, path: &Path, deed: impl FnOnce(&Path) -> Result<(), Errno>) {
        let object = object(path).unwrap();
        let kept = self.0.changed_metadata(object.as_fd(), path).unwrap();
        let _ = done(kept, deed(path));
    }
}

/// One thing in a tree, with all that must come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thing {
    pub(super) facts: Facts,
    pub(super) content: Vec<u8>,
    /// The first path of the same inode: hard links.
    pub(super) group: PathBuf,
}

pub(super) type Picture = BTreeMap<PathBuf, Thing>;

pub(super) fn picture(top: &Path) -> Picture {
    let (mut picture, mut groups) = (Picture::new(), BTreeMap::new());
    take(top, &mut picture, &mut groups);
    picture
}

fn take(path: &Path, picture: &mut Picture, groups: &mut BTreeMap<u64, PathBuf>) {
    let object = object(path).unwrap();
    let (Identity { ino, .. }, mut facts) = facts::look(object.as_fd()).unwrap();
    let mut content = Vec::new();
    match facts.kind {
        Kind::File | Kind::Folder => {
            let file = opened(path, OFlags::RDONLY | OFlags::NOATIME).or_else(|_| opened(path, OFlags::RDONLY)).unwrap();
            facts::look_inside(file.as_fd(), &mut facts).unwrap();
            if facts.kind == Kind::File {
                content = std::fs::read(path).unwrap();
            }
        }
        Kind::Link => content = std::fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec(),
        Kind::Fifo | Kind::Socket | Kind::Character | Kind::Block => {}
    }
    // What cannot be set, and what looking changes.
    facts.ctime = facts::Stamp(0, 0);
    facts.atime = facts::Stamp(0, 0);
    facts.stored = 0;
    if facts.kind == Kind::Folder {
        (facts.size, facts.links) = (0, 0);
        let opened = opened(path, OFlags::RDONLY | OFlags::DIRECTORY).unwrap();
        for (name, _) in folder::names(opened.as_fd()).unwrap() {
            take(&path.join(name), picture, groups);
        }
    }
    let group = groups.entry(ino).or_insert_with(|| path.to_owned()).clone();
    picture.insert(path.to_owned(), Thing { facts, content, group });
}

/// The same, but for the order in which names of one inode were met.
pub(super) fn assert_same(before: &Picture, after: &Picture) {
    let names = |picture: &Picture| picture.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(before), names(after));
    let groups = |picture: &Picture| {
        let mut groups: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
        for (path, thing) in picture {
            groups.entry(thing.group.clone()).or_default().push(path.clone());
        }
        groups
            .into_values()
            .filter(|paths| paths.len() > 1)
            .map(|mut paths| {
                paths.sort();
                paths
            })
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(groups(before), groups(after), "hard links");
    for (path, thing) in before {
        let now = &after[path];
        assert_eq!(thing.facts, now.facts, "{}", path.display());
        assert!(thing.content == now.content, "the content of {}", path.display());
    }
}
