//! Doing what the plan says, each step looked at again where it is done.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    ffi::OsStr,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{
    Deed, Plan, Standing, Step, Undo,
    content::Content,
    place::{Stuff, missing, put},
    set::{set, set_times},
};
use crate::{
    crash::step,
    error::VaultError,
    facts::{self, Facts, Identity, Kind},
    folder,
    history::below,
    record::{Body, Loss, Record, now},
    session::Session,
    subject::{Hands, Move, Subject, TakeLease},
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
    /// The session in the vault that keeps what was overwritten, if anything was.
    pub session: Option<String>,
}

/// The order of steps: what appears somewhere by its path, folders before what is in them; other names when what they name is there;
/// then what is changed where it stands, and what goes, folders after what is in them.
fn order(step: &Step) -> (u8, &Path, Reverse<&Path>) {
    let none = Path::new("");
    match &step.deed {
        Deed::MoveBack { .. } | Deed::Restore { .. } => (0, &step.path, Reverse(none)),
        Deed::Link { .. } => (1, &step.path, Reverse(none)),
        Deed::Rewrite => (2, &step.path, Reverse(none)),
        Deed::TakeAway => (3, none, Reverse(&step.path)),
        Deed::Facts => (4, &step.path, Reverse(none)),
    }
}

pub(super) struct Doer<'u> {
    pub(super) undo: &'u Undo,
    others: &'u BTreeMap<PathBuf, Identity>,
    pub(super) session: Session,
    pub(super) moved: Vec<(PathBuf, PathBuf)>,
    placed: HashMap<Identity, PathBuf>,
    /// Folders that were made: they get their facts when everything is in them.
    made: Vec<(PathBuf, Option<(Identity, Facts)>)>,
    /// Folders that things were lifted into, as they were before.
    pub(super) lifted: HashMap<PathBuf, Facts>,
    report: Report,
}

impl Undo {
    /// Does it. `ask` is called for every step in whose way something stands that is not the session's own.
    ///
    /// # Errors
    /// Nothing could be done, because what is overwritten could not be kept. Single steps that fail are in the report.
    pub fn apply(&self, plan: &Plan, lease: TakeLease, ask: &mut dyn FnMut(&Step) -> Ruling) -> Result<Report, VaultError> {
        if plan.steps.is_empty() && plan.folders.is_empty() {
            return Ok(Report::default());
        }
        let session = self.begin(lease)?;
        let name = session.name().to_owned();
        let mut doer = Doer {
            undo: self,
            others: &plan.others,
            session,
            moved: Vec::new(),
            placed: HashMap::new(),
            made: Vec::new(),
            lifted: HashMap::new(),
            report: Report::default(),
        };
        let mut steps: Vec<&Step> = plan.steps.iter().collect();
        steps.sort_by(|a, b| order(a).cmp(&order(b)));
        // All is asked before anything is done.
        steps.retain(|step| {
            let stays = step.standing == Standing::Other && ask(step) == Ruling::Leave;
            if stays {
                doer.report.refused.push((step.path.clone(), "something stands there that is not from the session, or was changed since".to_owned()));
            }
            !stays
        });
        doer.sweep(&steps);
        doer.lift(&steps);
        for step in steps {
            match doer.act(step) {
                Ok(lacking) => {
                    doer.report.lacking.extend(lacking.into_iter().map(|what| (step.path.clone(), what)));
                    doer.report.done.push(step.clone());
                }
                Err(why) => doer.report.refused.push((step.path.clone(), why)),
            }
        }
        doer.set_folders(plan);
        doer.sync();
        let Doer { session, mut report, .. } = doer;
        drop(session);
        self.vault.finish(&name, std::time::Duration::from_secs(2))?;
        if !report.done.is_empty() && !matches!(self.told.state, crate::sessions::State::Running) {
            self.vault.note(&self.told.start.session, &Record::Restored { at: now(), by: name.clone() })?;
        }
        if self.vault.changed_something(&name)? {
            report.session = Some(name);
        } else {
            self.vault.forget(&name)?;
        }
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

pub(super) fn words(what: &str) -> impl Fn(Errno) -> String + '_ {
    move |error| format!("{what}: {error}")
}

impl Doer<'_> {
    fn act(&mut self, planned: &Step) -> Result<Vec<String>, String> {
        match &planned.deed {
            Deed::MoveBack { from } => self.move_back(planned, &self.carried(from)),
            Deed::Rewrite => self.rewrite(planned),
            Deed::Restore { .. } => self.restore(planned),
            Deed::Link { to } => self.link(planned, &self.carried(to)).or_else(|_| self.restore(planned)),
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

    pub(super) fn parent<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr), String> {
        folder::parent(self.undo.root.as_fd(), path).map_err(|error| match error {
            Errno::LOOP | Errno::NOTDIR => "a link or a file stands where one of its folders was".to_owned(),
            _ => format!("its folder cannot be opened: {error}"),
        })
    }

    pub(super) fn object(&self, folder: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
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
                Some(inode) => put(parent.as_fd(), name, &inode.facts, &Stuff::Kind).map(|(made, _)| Some((made, inode.facts.clone()))),
                None => fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)).map(|()| None),
            };
            let done = done.map_err(words("one of its folders cannot be made"))?;
            self.made.push((folder.to_owned(), done));
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
                return Err(format!("it cannot be moved back from {}: {error}", from.display()));
            }
        }
        self.moved.push((from.to_owned(), planned.path.clone()));
        self.placed.insert(planned.id, planned.path.clone());
        Ok(Vec::new())
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
        step("rewrite").and_then(|()| content.write(file.as_fd())).map_err(words("it cannot be written"))?;
        drop(kept);
        self.placed.insert(planned.id, planned.path.clone());
        Ok(set(folder.as_fd(), name, planned.id, &inode.facts))
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
        let several = inode.facts.links > 1 && inode.facts.kind != Kind::Folder;
        let other = if several { self.other_name(planned, inode.facts.kind, content.as_ref()) } else { None };
        let stuff = match (&other, &content, &inode.body) {
            (Some((at, name)), _, _) => Stuff::Name(at, name),
            (None, Some(content), _) => Stuff::Content(content),
            (None, None, Some(Ok(Body::Target(target)))) => Stuff::Target(&target.0),
            (None, None, _) => Stuff::Kind,
        };
        self.clear(planned)?;
        let (id, told) = put(folder.as_fd(), name, &inode.facts, &stuff).map_err(words("it cannot be put in its place"))?;
        let _ = self.session.made(folder.as_fd(), &planned.path);
        let told = if matches!(stuff, Stuff::Name(..)) { set(folder.as_fd(), name, id, &inode.facts) } else { told };
        self.placed.insert(planned.id, planned.path.clone());
        if inode.facts.kind == Kind::Folder {
            self.made.push((planned.path.clone(), Some((id, inode.facts.clone()))));
        }
        Ok(told)
    }

    fn link(&mut self, planned: &Step, to: &Path) -> Result<Vec<String>, String> {
        // Written anew under its other name, it is that which this is a name of.
        let to = self.placed.get(&planned.id).map_or(to, PathBuf::as_path).to_owned();
        self.make_way(&planned.path)?;
        let (at, other) = self.parent(&to)?;
        let (id, facts) = facts::look_at(at.as_fd(), other).map_err(words("its other name cannot be looked at"))?;
        if id != planned.id && !self.placed.contains_key(&planned.id) {
            return Err("something else stands where its other name was".to_owned());
        }
        self.clear(planned)?;
        let (folder, name) = self.parent(&planned.path)?;
        put(folder.as_fd(), name, &facts, &Stuff::Name(&at, other)).map_err(words("it cannot be linked"))?;
        let _ = self.session.linked(self.object(&folder, name).map_err(words("it cannot be opened"))?.as_fd(), folder.as_fd(), &planned.path);
        Ok(Vec::new())
    }

    /// Another name that the same inode had and that stands there with the same content.
    fn other_name(&self, planned: &Step, kind: Kind, content: Option<&Content>) -> Option<(OwnedFd, std::ffi::OsString)> {
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
        let others = || self.others.iter().filter(|(_, id)| **id == planned.id).map(|(path, _)| self.carried(path)).collect::<Vec<_>>();
        let mut tried = HashSet::new();
        for path in placed.clone().into_iter().chain(told()).chain(others()) {
            if path == planned.path || !tried.insert(path.clone()) {
                continue;
            }
            let Ok((folder, name)) = folder::parent(self.undo.root.as_fd(), &path) else { continue };
            // One that was restored a moment ago has another number, and is looked at no further than this.
            if !facts::look_at(folder.as_fd(), name).is_ok_and(|(id, facts)| facts.kind == kind && (id == planned.id || Some(&path) == placed.as_ref())) {
                continue;
            }
            let same = |content: &Content| super::content::readable(folder.as_fd(), name).and_then(|file| content.is_in(file.as_fd()));
            if content.is_none_or(|content| same(content).unwrap_or(false)) {
                return Some((folder, name.to_owned()));
            }
        }
        None
    }

    fn take_away(&mut self, planned: &Step) -> Result<Vec<String>, String> {
        let path = self.carried(&planned.path);
        let Ok((folder, name)) = folder::parent(self.undo.root.as_fd(), &path) else {
            // It went with the folder that it was in.
            return Ok(Vec::new());
        };
        match facts::look_at(folder.as_fd(), name) {
            Ok((id, facts)) if id == planned.id => {
                if facts.kind == Kind::Folder {
                    let opened = folder::beneath(self.undo.root.as_fd(), &path, OFlags::RDONLY | OFlags::DIRECTORY);
                    let inside = opened.and_then(|opened| folder::names(opened.as_fd())).map_err(words("it cannot be read"))?;
                    if !inside.is_empty() {
                        return Err("something is in it that stays".to_owned());
                    }
                }
                self.remove(&path, id).map(|()| Vec::new())
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
        Ok(set(folder.as_fd(), name, id, &inode.facts))
    }

    /// Puts everything on disk at once: one file after the other would take a hundred times as long, and until then the vault has it all.
    fn sync(&mut self) {
        for root in &self.undo.told.start.roots {
            let Ok(opened) = folder::beneath(self.undo.root.as_fd(), root.path(), OFlags::RDONLY) else { continue };
            if let Err(error) = fs::syncfs(&opened) {
                self.report.lacking.push((root.path().to_owned(), format!("it may not be on disk yet: {error}")));
            }
        }
    }

    fn set_folders(&mut self, plan: &Plan) {
        self.made.sort_by(|a, b| b.0.cmp(&a.0));
        for (path, made) in &self.made {
            let Some((id, facts)) = made else { continue };
            match self.parent(path) {
                Ok((folder, name)) => {
                    let lacking = set(folder.as_fd(), name, *id, facts);
                    self.report.lacking.extend(lacking.into_iter().map(|what| (path.clone(), what)));
                }
                Err(why) => self.report.lacking.push((path.clone(), why)),
            }
        }
        for (path, facts) in &self.lifted {
            if let Ok((folder, name)) = self.parent(path) {
                let _ = set_times(folder.as_fd(), name, facts);
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
