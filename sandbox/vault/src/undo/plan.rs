//! The plan: what would have to be done now, told from what the session recorded and what stands there.

use std::{
    collections::{BTreeMap, HashSet},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::{Deed, Made, Plan, Standing, Step, Undo, content::readable, set::has};
use crate::{
    facts::{self, Facts, Identity, Kind, Stamp},
    folder,
    history::{Name, below},
    record::{Body, Print},
};

/// Entries of a folder that is in the way, all levels together, that are looked at before it is taken for somebody else's.
const MOST_IN_THE_WAY: usize = 1_000_000;

/// Levels of it.
const DEEPEST: usize = 200;

/// What stands somewhere.
pub(super) struct Found {
    pub(super) id: Identity,
    pub(super) facts: Facts,
}

/// The renames that the plan has so far, so that what they carry along is looked for where it still is.
#[derive(Default)]
struct Moves(Vec<(PathBuf, PathBuf)>);

impl Moves {
    /// Where that is now which the moves would bring to `path`.
    fn still_at(&self, path: &Path) -> PathBuf {
        let mut path = path.to_owned();
        for (from, to) in self.0.iter().rev() {
            if path == *to {
                path.clone_from(from);
            } else if let Some(before) = below(&path, to, from) {
                path = before;
            }
        }
        path
    }
}

impl Undo {
    /// Looks at everything that the session touched and says what it takes to bring it back. Changes nothing.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        let mut moves = Moves::default();
        let moving: HashSet<Identity> = self.history.names.values().filter(|name| name.now.is_some()).map(|name| name.id).collect();
        for (path, name) in &self.history.names {
            let chosen = self.choice.has(path) || name.now.as_deref().is_some_and(|now| self.choice.has(now));
            if chosen {
                self.plan_name(&mut plan, &mut moves, &moving, path, name);
            }
        }
        match self.choice.made {
            Made::Stays => {}
            Made::Goes => self.plan_taking_away(&mut plan),
        }
        self.plan_folders(&mut plan, &moves);
        plan
    }

    fn plan_name(&self, plan: &mut Plan, moves: &mut Moves, moving: &HashSet<Identity>, path: &Path, name: &Name) {
        let wanted = self.history.inodes.get(&name.id);
        let here = self.found(&moves.still_at(path));
        if let Some(here) = here.as_ref().filter(|here| here.id == name.id) {
            self.plan_change(plan, path, name, here, &moves.still_at(path));
            return;
        }
        let standing = match &here {
            None => Standing::Nothing,
            // It will have left by then.
            Some(here) if moving.contains(&here.id) && !self.history.born(here.id) && self.leaves(here.id, path) => Standing::Nothing,
            Some(here) => self.standing(&moves.still_at(path), here),
        };
        let stands = here.as_ref().map(|here| here.id);
        let elsewhere = name.now.as_deref().filter(|now| *now != path).and_then(|now| Some((now, self.found(now).filter(|found| found.id == name.id)?)));
        if let Some((from, there)) = elsewhere {
            let deed = Deed::MoveBack { from: from.to_owned() };
            plan.steps.push(Step { path: path.to_owned(), deed, standing, bytes: 0, id: name.id, stands });
            moves.0.push((from.to_owned(), path.to_owned()));
            self.plan_change(plan, path, name, &there, from);
            return;
        }
        let Some(wanted) = wanted else {
            plan.hopeless.push((path.to_owned(), "it was moved, and is not where it was moved to".to_owned()));
            return;
        };
        let way = match &wanted.body {
            Some(Ok(Body::Object { way, .. })) => Some(*way),
            Some(Ok(Body::None | Body::Target(_))) => None,
            Some(Err(why)) => {
                plan.hopeless.push((path.to_owned(), format!("it was not kept: {why}")));
                return;
            }
            None if name.kind == Kind::Folder => None,
            None => {
                plan.hopeless.push((path.to_owned(), "it is gone, and only its metadata was kept".to_owned()));
                return;
            }
        };
        if let Some(here) = here.as_ref().filter(|_| self.is_like_before(name, &moves.still_at(path))) {
            if self.facts_differ(&moves.still_at(path), &wanted.facts, here) {
                plan.steps.push(Step { path: path.to_owned(), deed: Deed::Facts, standing: Standing::Own, bytes: 0, id: name.id, stands });
            }
            return;
        }
        let deed = Deed::Restore { kind: wanted.facts.kind, way };
        let bytes = if wanted.facts.kind == Kind::File { wanted.facts.size } else { 0 };
        plan.steps.push(Step { path: path.to_owned(), deed, standing, bytes, id: name.id, stands });
    }

    /// The thing itself is there, or will be: what of it changed?
    fn plan_change(&self, plan: &mut Plan, path: &Path, name: &Name, here: &Found, at: &Path) {
        let Some(wanted) = self.history.inodes.get(&name.id) else { return };
        let standing = self.standing(at, here);
        let step = |deed, bytes| Step { path: path.to_owned(), deed, standing, bytes, id: name.id, stands: Some(here.id) };
        if here.facts.kind == Kind::File
            && let Some(body) = &wanted.body
            && !facts::unchanged(&wanted.facts, &here.facts)
        {
            match body {
                Ok(body) => match self.same_content(name.id, at) {
                    Ok(true) => {}
                    Ok(false) => {
                        let way = if let Body::Object { way, .. } = body { Some(*way) } else { None };
                        let deed = if here.facts.links > 1 { Deed::Rewrite } else { Deed::Restore { kind: Kind::File, way } };
                        plan.steps.push(step(deed, wanted.facts.size));
                        return;
                    }
                    Err(why) => {
                        plan.hopeless.push((path.to_owned(), why));
                        return;
                    }
                },
                Err(why) => {
                    plan.hopeless.push((path.to_owned(), format!("it was overwritten, and not kept: {why}")));
                    return;
                }
            }
        }
        if self.facts_differ(at, &wanted.facts, here) {
            plan.steps.push(step(Deed::Facts, 0));
        }
    }

    /// Whether what stands at a path is the same as what stood there, although it is another inode.
    fn is_like_before(&self, name: &Name, at: &Path) -> bool {
        let (Some(wanted), Some(here)) = (self.history.inodes.get(&name.id), self.found(at)) else { return false };
        if wanted.facts.kind != here.facts.kind {
            return false;
        }
        match here.facts.kind {
            // What was in it comes back by its own records.
            Kind::Folder => true,
            Kind::File => wanted.facts.links <= 1 && self.same_content(name.id, at).unwrap_or(false),
            Kind::Link => matches!(&wanted.body, Some(Ok(Body::Target(target))) if self.target(at).as_ref() == Some(&target.0)),
            Kind::Fifo | Kind::Socket => true,
            Kind::Character | Kind::Block => wanted.facts.device == here.facts.device,
        }
    }

    fn target(&self, path: &Path) -> Option<Vec<u8>> {
        let (folder, name) = folder::parent(self.root.as_fd(), path).ok()?;
        rustix::fs::readlinkat(&folder, name, Vec::new()).ok().map(std::ffi::CString::into_bytes)
    }

    /// Whether the file at a path has the content that was kept of this inode.
    fn same_content(&self, id: Identity, at: &Path) -> Result<bool, String> {
        let (folder, name) = folder::parent(self.root.as_fd(), at).map_err(|error| error.to_string())?;
        let content = self.content(id)?;
        let file = match readable(folder.as_fd(), name) {
            Ok(file) => file,
            Err(_) => return Ok(false),
        };
        content.is_in(file.as_fd()).map_err(|error| format!("what stands there cannot be read: {error}"))
    }

    fn facts_differ(&self, at: &Path, wanted: &Facts, here: &Found) -> bool {
        let mut now = here.facts.clone();
        if matches!(now.kind, Kind::File | Kind::Folder)
            && let Ok((folder, name)) = folder::parent(self.root.as_fd(), at)
            && let Ok(file) = readable(folder.as_fd(), name)
        {
            let _ = facts::look_inside(file.as_fd(), &mut now);
        }
        // The time of a folder is set at the end, and only where nobody else has changed it.
        if now.kind == Kind::Folder {
            now.mtime = wanted.mtime;
        }
        !has(wanted, &now)
    }

    pub(super) fn found(&self, path: &Path) -> Option<Found> {
        let (folder, name) = folder::parent(self.root.as_fd(), path).ok()?;
        let (id, facts) = facts::look_at(folder.as_fd(), name).ok()?;
        Some(Found { id, facts })
    }

    /// Whether another name's plan takes this inode away from a path.
    fn leaves(&self, id: Identity, path: &Path) -> bool {
        self.history.names.iter().any(|(first, name)| name.id == id && first != path && name.now.as_deref() == Some(path) && self.choice.has(first))
    }

    /// Whose it is that stands somewhere.
    fn standing(&self, at: &Path, here: &Found) -> Standing {
        let mut left = MOST_IN_THE_WAY;
        if self.is_own(at, here, 0, &mut left) { Standing::Own } else { Standing::Other }
    }

    fn is_own(&self, at: &Path, here: &Found, depth: usize, left: &mut usize) -> bool {
        *left = left.saturating_sub(1);
        if *left == 0 || depth > DEEPEST {
            return false;
        }
        let as_left = || self.history.left.get(at).is_some_and(|left| *left == Some(Print::of(here.id, &here.facts)));
        if here.facts.kind != Kind::Folder {
            return as_left() || self.unchanged_since(here);
        }
        if !as_left() && !self.unchanged_since(here) {
            return false;
        }
        let opened = folder::beneath(self.root.as_fd(), at, OFlags::RDONLY | OFlags::DIRECTORY);
        let Ok(names) = opened.and_then(|opened| folder::names(opened.as_fd())) else { return false };
        names.iter().all(|(name, _)| {
            let path = at.join(name);
            self.found(&path).is_some_and(|found| self.is_own(&path, &found, depth + 1, left))
        })
    }

    /// Whether the session made a thing, and nobody changed it after its end.
    pub(super) fn unchanged_since(&self, here: &Found) -> bool {
        self.history.born(here.id) && self.history.until.is_some_and(|until: Stamp| here.facts.ctime <= until)
    }

    /// Folders get their times back where they were as the session left them, or were gone.
    fn plan_folders(&self, plan: &mut Plan, moves: &Moves) {
        let restored: HashSet<&Path> = plan.steps.iter().map(|step| step.path.as_path()).collect();
        let parents: HashSet<&Path> = plan.steps.iter().filter_map(|step| step.path.parent()).collect();
        let mut folders: BTreeMap<PathBuf, Identity> = BTreeMap::new();
        let own = self.history.names.iter().filter(|(_, name)| name.kind == Kind::Folder).map(|(path, name)| (path, name.id));
        for (path, id) in self.history.folders.iter().map(|(path, id)| (path, *id)).chain(own) {
            if !restored.contains(path.as_path()) && !parents.contains(path.as_path()) {
                continue;
            }
            let unchanged = match self.found(&moves.still_at(path)) {
                None => true,
                Some(here) if here.facts.kind != Kind::Folder => restored.contains(path.as_path()),
                Some(here) => self.history.until.is_some_and(|until| here.facts.ctime <= until),
            };
            if unchanged {
                folders.entry(path.clone()).or_insert(id);
            }
        }
        // The deepest first: setting one does not change another, but all are set after the last change in them.
        plan.folders = folders.into_iter().rev().collect();
    }
}
