//! Doing what the plan says, each step looked at again where it is done.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, AtFlags, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{
    Deed, Plan, Standing, Step, Undo,
    content::Content,
    place::{Stuff, beside, missing, put},
    set::{set, set_times},
};
use crate::{
    crash::step,
    error::VaultError,
    facts::{self, Identity, Kind},
    folder,
    history::below,
    record::{Body, Loss, Record, now},
    session::{Hands, Move, Session, Subject, TakeLease},
    vault::Begin,
};

/// What a person says to something that is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It is kept, and overwritten.
    Overwrite,
    /// It stays, and the thing is not brought back.
    Leave,
}

/// What an undo did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Steps that were done.
    pub done: Vec<Step>,
    /// Steps that were not done, and why.
    pub refused: Vec<(PathBuf, String)>,
    /// Things that are back, but not with all their metadata.
    pub lacking: Vec<(PathBuf, String)>,
    /// The session in the vault that keeps what was overwritten.
    pub session: String,
}

/// The order in which kinds of steps are done: renames make the paths right for all others.
fn order(deed: &Deed) -> u8 {
    match deed {
        Deed::MoveBack { .. } => 0,
        Deed::Rewrite => 1,
        Deed::Restore { .. } => 2,
        Deed::TakeAway => 3,
        Deed::Facts => 4,
    }
}

struct Doer<'u> {
    undo: &'u Undo,
    session: Session,
    moved: Vec<(PathBuf, PathBuf)>,
    placed: HashMap<Identity, PathBuf>,
    /// Folders that were made: they get their facts when everything is in them.
    made: Vec<(PathBuf, Option<Identity>)>,
    report: Report,
}

impl Undo {
    /// Does it. `ask` is called for every step in whose way something stands that is not the session's own.
    ///
    /// # Errors
    /// Nothing could be done, because what is overwritten could not be kept. Single steps that fail are in the report.
    pub fn apply(&self, plan: &Plan, lease: TakeLease, ask: &mut dyn FnMut(&Step) -> Ruling) -> Result<Report, VaultError> {
        let session = self.begin(lease)?;
        let name = session.name().to_owned();
        let mut doer = Doer { undo: self, session, moved: Vec::new(), placed: HashMap::new(), made: Vec::new(), report: Report::default() };
        let mut steps: Vec<&Step> = plan.steps.iter().collect();
        steps.sort_by_key(|step| order(&step.deed));
        for step in steps {
            if step.standing == Standing::Other && ask(step) == Ruling::Leave {
                doer.report.refused.push((step.path.clone(), "something stands there that is not from the session, or was changed since".to_owned()));
                continue;
            }
            match doer.act(step) {
                Ok(lacking) => {
                    doer.report.lacking.extend(lacking.into_iter().map(|what| (step.path.clone(), what)));
                    doer.report.done.push(step.clone());
                }
                Err(why) => doer.report.refused.push((step.path.clone(), why)),
            }
        }
        doer.set_folders(plan);
        let Doer { session, mut report, .. } = doer;
        drop(session);
        self.vault.finish(&name, std::time::Duration::from_secs(2))?;
        if !report.done.is_empty() && !matches!(self.told.state, crate::sessions::State::Running) {
            self.vault.note(&self.told.start.session, &Record::Restored { at: now(), by: name.clone() })?;
        }
        report.session = name;
        Ok(report)
    }

    fn begin(&self, lease: TakeLease) -> Result<Session, VaultError> {
        let roots: Vec<PathBuf> = self.told.start.roots.iter().map(|root| root.path().to_owned()).collect();
        let about = format!("undo of {}", self.told.start.session);
        let mut number = now();
        loop {
            let hands = Hands::here(lease).map_err(crate::vault::io_error("opening / and /proc", self.vault.path()))?;
            let name = format!("undo-{number:x}");
            let begin = Begin { name: &name, roots: &roots, about: &about, undoes: Some(&self.told.start.session) };
            match self.vault.begin(&begin, hands) {
                Err(VaultError::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists && number < now() + 1000 => number += 1,
                other => return other,
            }
        }
    }
}

fn words(what: &str) -> impl Fn(Errno) -> String + '_ {
    move |error| format!("{what}: {error}")
}

impl Doer<'_> {
    fn act(&mut self, planned: &Step) -> Result<Vec<String>, String> {
        match &planned.deed {
            Deed::MoveBack { from } => self.move_back(planned, &self.carried(from)),
            Deed::Rewrite => self.rewrite(planned),
            Deed::Restore { .. } => self.restore(planned),
            Deed::TakeAway => self.take_away(planned),
            Deed::Facts => self.facts(planned),
        }
    }

    /// Where a path is after the renames that were done.
    fn carried(&self, path: &Path) -> PathBuf {
        let mut path = path.to_owned();
        for (from, to) in &self.moved {
            if path == *from {
                path.clone_from(to);
            } else if let Some(now) = below(&path, from, to) {
                path = now;
            }
        }
        path
    }

    fn parent<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr), String> {
        folder::parent(self.undo.root.as_fd(), path).map_err(|error| match error {
            Errno::LOOP | Errno::NOTDIR => "a link or a file stands where one of its folders was".to_owned(),
            _ => format!("its folder cannot be opened: {error}"),
        })
    }

    fn object(&self, folder: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
        fs::openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    }

    /// Makes the folders that are missing on the way to a path, with the facts that they had.
    fn make_way(&mut self, path: &Path) -> Result<(), String> {
        let root = self.undo.root.as_fd();
        for folder in missing(path, |folder| folder::beneath(root, folder, OFlags::PATH).is_ok()) {
            let (parent, name) = self.parent(folder)?;
            let history = &self.undo.history;
            let id = history.names.get(folder).map(|name| name.id).or_else(|| history.folders.get(folder).copied());
            let done = match id.and_then(|id| history.inodes.get(&id)) {
                Some(inode) => put(parent.as_fd(), name, &inode.facts, &Stuff::Kind).map(drop),
                None => fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)),
            };
            done.map_err(words("one of its folders cannot be made"))?;
            self.made.push((folder.to_owned(), id));
        }
        Ok(())
    }

    fn move_back(&mut self, planned: &Step, from: &Path) -> Result<Vec<String>, String> {
        self.make_way(&planned.path)?;
        let (from_folder, from_name) = self.parent(from)?;
        let object = self.object(&from_folder, from_name).map_err(words("it is not there any more"))?;
        if facts::identity(&object).ok() != Some(planned.id) {
            return Err("something else stands there where it was moved to".to_owned());
        }
        self.clear(planned)?;
        let (to_folder, to_name) = self.parent(&planned.path)?;
        let told = Move { object: object.as_fd(), from_folder: from_folder.as_fd(), to_folder: to_folder.as_fd(), from, to: &planned.path };
        let kept = self.session.moved(&told).map_err(|error| error.to_string())?;
        let renamed = step("move back").and_then(|()| fs::renameat_with(&from_folder, from_name, &to_folder, to_name, RenameFlags::NOREPLACE));
        match renamed {
            Ok(()) => drop(kept),
            Err(error) => {
                kept.failed();
                return Err(format!("it cannot be moved back: {error}"));
            }
        }
        self.moved.push((from.to_owned(), planned.path.clone()));
        self.placed.insert(planned.id, planned.path.clone());
        Ok(Vec::new())
    }

    /// Sees to it that nothing stands at the step's path: what does is kept and removed, or, where another step will move it, put aside.
    fn clear(&mut self, planned: &Step) -> Result<(), String> {
        let (folder, name) = self.parent(&planned.path)?;
        let here = match facts::look_at(folder.as_fd(), name) {
            Ok((id, _)) => id,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(format!("what stands there cannot be looked at: {error}")),
        };
        if planned.standing == Standing::Nothing && planned.stands == Some(here) && planned.id != here {
            return self.put_aside(&planned.path, &folder, name, here);
        }
        if planned.standing == Standing::Nothing || planned.stands != Some(here) {
            return Err("something else stands there than when it was planned".to_owned());
        }
        self.remove(&planned.path, here)
    }

    fn put_aside(&mut self, path: &Path, folder: &OwnedFd, name: &OsStr, id: Identity) -> Result<(), String> {
        let object = self.object(folder, name).map_err(words("it cannot be put aside"))?;
        let mut kept = None;
        let session = &self.session;
        let spare = beside(|spare| {
            let to = path.with_file_name(spare);
            let told = Move { object: object.as_fd(), from_folder: folder.as_fd(), to_folder: folder.as_fd(), from: path, to: &to };
            let mark = session.moved(&told).map_err(|_| Errno::IO)?;
            match fs::renameat_with(folder, name, folder, spare, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    kept = Some(mark);
                    Ok(())
                }
                Err(error) => {
                    mark.failed();
                    Err(error)
                }
            }
        });
        let spare = spare.map_err(words("it cannot be put aside"))?;
        drop(kept);
        debug_assert!(facts::identity(&object).ok() == Some(id));
        self.moved.push((path.to_owned(), path.with_file_name(spare)));
        Ok(())
    }

    /// Keeps what stands at a path, with all that is in it, and removes it.
    fn remove(&self, path: &Path, id: Identity) -> Result<(), String> {
        let (folder, name) = self.parent(path)?;
        let object = self.object(&folder, name).map_err(words("what stands there cannot be opened"))?;
        let (here, facts) = facts::look(object.as_fd()).map_err(words("what stands there cannot be looked at"))?;
        if here != id {
            return Err("something else stands there than a moment ago".to_owned());
        }
        if facts.kind == Kind::Folder {
            let opened =
                folder::beneath(self.undo.root.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(words("what stands there cannot be read"))?;
            for (inner, _) in folder::names(opened.as_fd()).map_err(words("what stands there cannot be read"))? {
                let (inner_id, _) = facts::look_at(opened.as_fd(), &inner).map_err(words("what is in it cannot be looked at"))?;
                self.remove(&path.join(inner), inner_id)?;
            }
        }
        let subject = Subject { object: object.as_fd(), folder: Some(folder.as_fd()), path, loss: Loss::Name };
        let kept = self.session.keep(&subject).map_err(|error| format!("what stands there is {error}, so it is left alone"))?;
        let flags = if facts.kind == Kind::Folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        // Out of reach of its name first: what is removed is then the very thing that was kept, or nothing.
        let removed = step("remove what stands there").and_then(|()| {
            let spare = beside(|spare| fs::renameat_with(&folder, name, &folder, spare, RenameFlags::NOREPLACE))?;
            if facts::look_at(folder.as_fd(), OsStr::new(&spare)).is_ok_and(|(there, _)| there == id) {
                return fs::unlinkat(&folder, &spare, flags);
            }
            fs::renameat_with(&folder, &spare, &folder, name, RenameFlags::NOREPLACE)?;
            Err(Errno::BUSY)
        });
        match removed {
            Ok(()) => Ok(()),
            Err(error) => {
                kept.failed();
                Err(format!("what stands there cannot be removed: {error}"))
            }
        }
    }

    fn rewrite(&mut self, planned: &Step) -> Result<Vec<String>, String> {
        let content = self.undo.content(planned.id)?;
        let inode = self.undo.history.inodes.get(&planned.id).ok_or("nothing of it was kept")?;
        let (folder, name) = self.parent(&planned.path)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = fs::openat(&folder, name, flags, Mode::empty()).map_err(words("it cannot be opened"))?;
        if facts::identity(&file).ok() != Some(planned.id) {
            return Err("something else stands there than when it was planned".to_owned());
        }
        let subject = Subject { object: file.as_fd(), folder: None, path: &planned.path, loss: Loss::Content };
        let kept = self.session.keep(&subject).map_err(|error| format!("what is in it is {error}, so it is left alone"))?;
        step("rewrite").and_then(|()| content.write(file.as_fd())).and_then(|()| fs::fdatasync(&file)).map_err(words("it cannot be written"))?;
        drop(kept);
        self.placed.insert(planned.id, planned.path.clone());
        Ok(set(folder.as_fd(), name, &inode.facts))
    }

    fn restore(&mut self, planned: &Step) -> Result<Vec<String>, String> {
        let inode = self.undo.history.inodes.get(&planned.id).ok_or("nothing of it was kept")?;
        self.make_way(&planned.path)?;
        if inode.facts.kind == Kind::Folder && self.made.iter().any(|(path, _)| *path == planned.path) {
            return Ok(Vec::new());
        }
        let (folder, name) = self.parent(&planned.path)?;
        // Whatever can fail without changing anything comes before what is there is removed.
        let content: Option<Content> = match inode.facts.kind {
            Kind::File => Some(self.undo.content(planned.id)?),
            Kind::Folder | Kind::Link | Kind::Fifo | Kind::Socket | Kind::Character | Kind::Block => None,
        };
        let other = match &content {
            Some(content) if inode.facts.links > 1 => self.other_name(planned, content),
            Some(_) | None => None,
        };
        let stuff = match (&other, &content, &inode.body) {
            (Some((at, name)), _, _) => Stuff::Name(at, name),
            (None, Some(content), _) => Stuff::Content(content),
            (None, None, Some(Ok(Body::Target(target)))) => Stuff::Target(&target.0),
            (None, None, _) => Stuff::Kind,
        };
        self.clear(planned)?;
        let told = put(folder.as_fd(), name, &inode.facts, &stuff).map_err(words("it cannot be put in its place"))?;
        let _ = self.session.made(folder.as_fd(), &planned.path);
        self.placed.insert(planned.id, planned.path.clone());
        if inode.facts.kind == Kind::Folder {
            self.made.push((planned.path.clone(), Some(planned.id)));
        }
        Ok(told)
    }

    /// Another name that the same inode had and that stands there with the same content.
    fn other_name(&self, planned: &Step, content: &Content) -> Option<(OwnedFd, std::ffi::OsString)> {
        let history = &self.undo.history;
        let placed = self.placed.get(&planned.id).cloned();
        let told = || {
            history
                .names
                .iter()
                .filter(|(_, name)| name.id == planned.id)
                .filter_map(|(_, name)| name.now.clone())
                .map(|now| self.carried(&now))
                .collect::<Vec<_>>()
        };
        let mut tried = HashSet::new();
        for path in placed.into_iter().chain(told()).chain(std::iter::once_with(|| self.undo.other_name(planned.id)).flatten()) {
            if path == planned.path || !tried.insert(path.clone()) {
                continue;
            }
            let Ok((folder, name)) = folder::parent(self.undo.root.as_fd(), &path) else { continue };
            let Ok(file) = super::content::readable(folder.as_fd(), name) else { continue };
            if facts::look(file.as_fd()).is_ok_and(|(_, facts)| facts.kind == Kind::File) && content.is_in(file.as_fd()).unwrap_or(false) {
                return Some((folder, name.to_owned()));
            }
        }
        None
    }

    fn take_away(&mut self, planned: &Step) -> Result<Vec<String>, String> {
        let (folder, name) = self.parent(&planned.path)?;
        match facts::look_at(folder.as_fd(), name) {
            Ok((id, facts)) if id == planned.id => {
                if facts.kind == Kind::Folder {
                    let opened = folder::beneath(self.undo.root.as_fd(), &planned.path, OFlags::RDONLY | OFlags::DIRECTORY);
                    let inside = opened.and_then(|opened| folder::names(opened.as_fd())).map_err(words("it cannot be read"))?;
                    if !inside.is_empty() {
                        return Err("something is in it that stays".to_owned());
                    }
                }
                self.remove(&planned.path, id).map(|()| Vec::new())
            }
            // Carried away with a folder, or gone: nothing to take.
            Ok(_) | Err(Errno::NOENT) => Ok(Vec::new()),
            Err(error) => Err(format!("it cannot be looked at: {error}")),
        }
    }

    fn facts(&mut self, planned: &Step) -> Result<Vec<String>, String> {
        let inode = self.undo.history.inodes.get(&planned.id).ok_or("nothing of it was kept")?;
        let (folder, name) = self.parent(&planned.path)?;
        let object = self.object(&folder, name).map_err(words("it cannot be opened"))?;
        let (id, now) = facts::look(object.as_fd()).map_err(words("it cannot be looked at"))?;
        if planned.stands != Some(id) || now.kind != inode.facts.kind {
            return Err("something else stands there than when it was planned".to_owned());
        }
        let _ = self.session.changed_metadata(object.as_fd(), &planned.path).map_err(|error| error.to_string())?;
        Ok(set(folder.as_fd(), name, &inode.facts))
    }

    fn set_folders(&mut self, plan: &Plan) {
        self.made.sort_by(|a, b| b.0.cmp(&a.0));
        for (path, id) in &self.made {
            let Some(inode) = id.and_then(|id| self.undo.history.inodes.get(&id)) else { continue };
            match self.parent(path) {
                Ok((folder, name)) => {
                    let lacking = set(folder.as_fd(), name, &inode.facts);
                    self.report.lacking.extend(lacking.into_iter().map(|what| (path.clone(), what)));
                }
                Err(why) => self.report.lacking.push((path.clone(), why)),
            }
        }
        for (path, id) in &plan.folders {
            let Some(inode) = self.undo.history.inodes.get(id) else { continue };
            let done = self.parent(path).and_then(|(folder, name)| {
                let (_, now) = facts::look_at(folder.as_fd(), name).map_err(words("a folder's times cannot be set"))?;
                if now.kind != Kind::Folder {
                    return Ok(());
                }
                set_times(folder.as_fd(), name, &inode.facts).map_err(words("a folder's times cannot be set"))
            });
            if let Err(why) = done {
                self.report.lacking.push((path.clone(), why));
            }
        }
    }
}
