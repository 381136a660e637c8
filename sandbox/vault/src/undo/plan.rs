//! The plan: what would have to be done now, told from what the session recorded and what stands there.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
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
struct Moves {
    /// From, by where they go.
    to: HashMap<PathBuf, PathBuf>,
    from: HashSet<PathBuf>,
}

impl Moves {
    fn add(&mut self, from: PathBuf, to: PathBuf) {
        self.from.insert(from.clone());
        self.to.insert(to, from);
    }

    /// Where that is now which will be at `path` when all of them are done; nowhere where it will have left.
    fn still_at(&self, path: &Path) -> Option<PathBuf> {
        for above in path.ancestors() {
            // The nearest decides: it is told by where it is now, whatever moves above it.
            if let Some(from) = self.to.get(above) {
                return if above == path { Some(from.clone()) } else { below(path, above, from) };
            }
            if self.from.contains(above) {
                return None;
            }
        }
        Some(path.to_owned())
    }
}

/// What the plan knows of where things stand.
struct Ground {
    moves: Moves,
    /// All old names, also those that no record tells of.
    names: BTreeMap<PathBuf, Name>,
    /// The same by inode, but for folders, which have one name.
    own: HashMap<Identity, Vec<PathBuf>>,
    /// Where the inode of a name may stand besides its old names.
    elsewhere: HashMap<Identity, BTreeSet<PathBuf>>,
    /// Places where an inode stands by right, or from which it will be taken.
    taken: HashSet<PathBuf>,
}

impl Undo {
    /// Looks at everything that the session touched and says what it takes to bring it back. Changes nothing.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let mut plan = Plan { others: self.other_names(), ..Plan::default() };
        let mut ground =
            Ground { moves: Moves::default(), names: self.history.names.clone(), own: HashMap::new(), elsewhere: HashMap::new(), taken: HashSet::new() };
        let several = |id: &Identity| self.history.inodes.get(id).is_some_and(|inode| inode.facts.links > 1);
        for (path, id) in &plan.others {
            let kind = self.history.inodes.get(id).map_or(Kind::File, |inode| inode.facts.kind);
            let by_session = self.history.made.contains(path) || self.history.names.values().any(|name| name.now.as_ref() == Some(path));
            if !by_session && kind != Kind::Folder && (several(id) || self.history.through.contains(id)) {
                // Written through another name: what the inode had comes back under this one too.
                ground.names.entry(self.history.in_the_beginning(path)).or_insert(Name { id: *id, kind, now: Some(path.clone()), at: 0 });
            }
            ground.elsewhere.entry(*id).or_default().insert(path.clone());
        }
        for name in self.history.names.values() {
            ground.elsewhere.entry(name.id).or_default().extend(name.now.clone());
        }
        let names = ground.names.clone();
        for (path, name) in names.iter().filter(|(_, name)| name.kind != Kind::Folder) {
            ground.own.entry(name.id).or_default().push(path.clone());
        }
        let (folders, others): (Vec<_>, Vec<_>) = names.iter().filter(|(path, name)| self.chosen(path, name)).partition(|(_, name)| name.kind == Kind::Folder);
        // Folders first: what is renamed carries along what is in it. Then what stands where it did, what stands elsewhere, what is gone.
        let mut gone: Vec<(&PathBuf, &Name)> = Vec::new();
        for (path, name) in folders {
            if !self.plan_standing(&mut plan, &mut ground, path, name) && !self.plan_move(&mut plan, &mut ground, path, name) {
                gone.push((path, name));
            }
        }
        let mut missing = others;
        missing.retain(|(path, name)| !self.plan_standing(&mut plan, &mut ground, path, name));
        missing.retain(|(path, name)| !self.plan_move(&mut plan, &mut ground, path, name));
        gone.extend(missing);
        for (path, name) in gone {
            self.plan_gone(&mut plan, &mut ground, path, name);
        }
        self.plan_seconds(&mut plan, &mut ground);
        // What will have been taken away by then is in nobody's way.
        for step in plan.steps.iter_mut().filter(|step| step.makes()) {
            if step.standing != Standing::Nothing && (ground.moves.from.contains(&step.at) || ground.moves.still_at(&step.path).is_none()) {
                (step.standing, step.stands) = (Standing::Nothing, None);
            }
        }
        match self.choice.made {
            Made::Stays => {}
            Made::Goes => self.plan_taking_away(&mut plan, &ground.taken, &ground.elsewhere),
        }
        self.plan_folders(&mut plan, &ground.moves);
        plan.steps.sort_by(|a, b| a.path.cmp(&b.path));
        plan
    }

    fn chosen(&self, path: &Path, name: &Name) -> bool {
        self.choice.has(path) || name.now.as_deref().is_some_and(|now| self.choice.has(now))
    }

    /// Whether the thing stands under its old name; then what of it changed.
    fn plan_standing(&self, plan: &mut Plan, ground: &mut Ground, path: &Path, name: &Name) -> bool {
        let Some(at) = ground.moves.still_at(path) else { return false };
        let Some(here) = self.found(&at).filter(|here| here.id == name.id) else { return false };
        ground.taken.insert(at.clone());
        self.plan_change(plan, path, name, &here, &at);
        true
    }

    /// Whether the thing stands elsewhere, by no right, and can be renamed back.
    fn plan_move(&self, plan: &mut Plan, ground: &mut Ground, path: &Path, name: &Name) -> bool {
        let is = |path: &Path| self.found(path).filter(|found| found.id == name.id);
        let mut candidates = ground.elsewhere.get(&name.id).into_iter().flatten().filter(|from| !ground.taken.contains(*from));
        let Some((from, there)) = candidates.find_map(|from| Some((from.clone(), is(from)?))) else { return false };
        let at = ground.moves.still_at(path);
        plan.steps.push(self.step(path, at.as_deref(), name, Deed::MoveBack { from: from.clone() }));
        self.plan_change(plan, path, name, &there, &from);
        ground.taken.insert(from.clone());
        ground.moves.add(from, path.to_owned());
        true
    }

    fn step(&self, path: &Path, at: Option<&Path>, name: &Name, deed: Deed) -> Step {
        let here = at.and_then(|at| self.found(at));
        let standing = at.zip(here.as_ref()).map_or(Standing::Nothing, |(at, here)| self.standing(at, here));
        let bytes = match (&deed, self.history.inodes.get(&name.id)) {
            (Deed::Restore { kind: Kind::File, .. }, Some(inode)) => inode.facts.size,
            (Deed::Restore { .. } | Deed::Rewrite | Deed::Link { .. } | Deed::MoveBack { .. } | Deed::Facts | Deed::TakeAway, _) => 0,
        };
        Step { path: path.to_owned(), deed, standing, bytes, id: name.id, at: at.unwrap_or(path).to_owned(), stands: here.map(|here| here.id) }
    }

    fn plan_gone(&self, plan: &mut Plan, ground: &mut Ground, path: &Path, name: &Name) {
        let at = ground.moves.still_at(path);
        let is = |path: &Path| self.found(path).filter(|found| found.id == name.id);
        let mut own = ground.own.get(&name.id).into_iter().flatten().filter(|other| *other != path);
        if let Some(to) = own.find(|other| ground.moves.to.contains_key(*other) || ground.moves.still_at(other).is_some_and(|at| is(&at).is_some())) {
            plan.steps.push(self.step(path, at.as_deref(), name, Deed::Link { to: to.clone() }));
            return;
        }
        let mut hopeless = |why: String| plan.hopeless.push((path.to_owned(), why));
        let Some(wanted) = self.history.inodes.get(&name.id) else {
            return hopeless("it was moved, and is not where it was moved to".to_owned());
        };
        let way = match &wanted.body {
            Some(Ok(Body::Object { way, .. })) => Some(*way),
            Some(Ok(Body::None | Body::Target(_))) => None,
            Some(Err(why)) => return hopeless(format!("it was not kept: {why}")),
            None if name.kind == Kind::Folder => None,
            None => return hopeless("it is gone, and only its metadata was kept".to_owned()),
        };
        if let Some(at) = at.as_deref().filter(|at| !ground.moves.from.contains(*at) && self.is_like_before(name, at)) {
            ground.taken.insert(at.to_owned());
            if self.found(at).is_some_and(|here| self.facts_differ(at, &wanted.facts, &here)) {
                plan.steps.push(self.step(path, Some(at), name, Deed::Facts));
            }
            return;
        }
        plan.steps.push(self.step(path, at.as_deref(), name, Deed::Restore { kind: wanted.facts.kind, way }));
    }

    /// What was lost under a name that is another thing's.
    fn plan_seconds(&self, plan: &mut Plan, ground: &mut Ground) {
        let has_name: HashSet<Identity> = self.history.names.values().map(|name| name.id).collect();
        let mut seconds: Vec<_> = self.history.seconds.iter().filter(|(id, second)| !has_name.contains(id) && self.choice.has(&second.path)).collect();
        seconds.sort_by(|(_, one), (_, other)| one.path.cmp(&other.path));
        for (id, second) in seconds {
            let is_free = !plan.steps.iter().any(|step| step.makes() && step.path == second.path);
            if let Some(here) = self.found(&second.path).filter(|here| is_free && here.id == *id) {
                // It stands there still.
                ground.taken.insert(second.path.clone());
                let name = Name { id: *id, kind: second.kind, now: Some(second.path.clone()), at: second.at };
                self.plan_change(plan, &second.path, &name, &here, &second.path);
            } else if let Some(why) = self.told_of(*id, second) {
                plan.hopeless.push((second.path.clone(), why));
            }
        }
    }

    /// The thing itself is there, or will be: what of it changed?
    fn plan_change(&self, plan: &mut Plan, path: &Path, name: &Name, here: &Found, at: &Path) {
        let Some(wanted) = self.history.inodes.get(&name.id) else { return };
        // Under whatever name it was reached first.
        if here.facts.links > 1 && plan.steps.iter().rev().any(|step| step.id == name.id && matches!(step.deed, Deed::Rewrite | Deed::Facts)) {
            return;
        }
        let standing = self.standing(at, here);
        let step = |deed, bytes| Step { path: path.to_owned(), deed, standing, bytes, id: name.id, at: at.to_owned(), stands: Some(here.id) };
        if here.facts.kind == Kind::File
            && let Some(body) = &wanted.body
            && !facts::unchanged(&wanted.facts, &here.facts)
        {
            let same = match body {
                Ok(_) => self.same_content(name.id, at),
                Err(why) => Err(format!("it was overwritten, and not kept: {why}")),
            };
            match same {
                Ok(true) => {}
                Ok(false) => {
                    plan.steps.push(step(Deed::Rewrite, wanted.facts.size));
                    return;
                }
                // Kept for a deed that did not happen, and let go of again.
                Err(_) if wanted.doubtful => {}
                Err(why) => {
                    plan.hopeless.push((path.to_owned(), why));
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
        // With several names it matters which inode it is.
        if here.facts.kind != Kind::Folder && (wanted.facts.links > 1 || here.facts.links > 1) {
            return false;
        }
        match here.facts.kind {
            // What was in it comes back by its own records.
            Kind::Folder => true,
            Kind::File => self.same_content(name.id, at).unwrap_or(false),
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

    /// Whose it is that stands somewhere.
    pub(super) fn standing(&self, at: &Path, here: &Found) -> Standing {
        let mut left = MOST_IN_THE_WAY;
        if self.is_own(at, here, 0, &mut left) { Standing::Own } else { Standing::Other }
    }

    fn is_own(&self, at: &Path, here: &Found, depth: usize, left: &mut usize) -> bool {
        *left = left.saturating_sub(1);
        if *left == 0 || depth > DEEPEST {
            return false;
        }
        let as_left = || self.history.left.contains(&Print::of(here.id, &here.facts));
        if !as_left() && !self.unchanged_since(here) {
            return false;
        }
        if here.facts.kind != Kind::Folder {
            return true;
        }
        let opened = folder::beneath(self.root.as_fd(), at, OFlags::RDONLY | OFlags::DIRECTORY);
        let Ok(names) = opened.and_then(|opened| folder::names(opened.as_fd())) else { return false };
        names.iter().all(|(name, _)| {
            let path = at.join(name);
            self.found(&path).is_some_and(|found| self.is_own(&path, &found, depth + 1, left))
        })
    }

    /// Whether nobody changed, renamed or linked a thing after the session's end.
    pub(super) fn unchanged_since(&self, here: &Found) -> bool {
        self.history.until.is_some_and(|until: Stamp| here.facts.ctime <= until)
    }

    /// Folders get their times back where they were as the session left them, or were gone.
    fn plan_folders(&self, plan: &mut Plan, moves: &Moves) {
        let restored: HashSet<&Path> = plan.steps.iter().map(|step| step.path.as_path()).collect();
        let parents: HashSet<&Path> = plan.steps.iter().filter_map(|step| step.path.parent()).collect();
        let mut folders: BTreeMap<PathBuf, Identity> = BTreeMap::new();
        let own = self.history.names.iter().filter(|(_, name)| name.kind == Kind::Folder).map(|(path, name)| (path, name.id));
        for (path, id) in self.history.folders.iter().map(|(path, id)| (path, *id)).chain(own) {
            if !self.choice.has(path) && !restored.contains(path.as_path()) && !parents.contains(path.as_path()) {
                continue;
            }
            let unchanged = match moves.still_at(path).and_then(|at| self.found(&at)) {
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
