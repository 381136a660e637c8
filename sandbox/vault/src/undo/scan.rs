//! Looking through a session's trees: what the session made, and other names of an inode that nobody told of.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::{Deed, Plan, Standing, Step, Undo, plan::Found};
use crate::{
    facts::{self, Identity, Kind},
    folder,
};

/// Entries that are looked at in all trees together.
const MOST: usize = 5_000_000;

/// Levels below a tree's top.
const DEEPEST: usize = 400;

impl Undo {
    /// Calls `each` for everything in the session's trees, folders before what is in them. `false` from `each` leaves a folder out.
    pub(super) fn walk(&self, each: &mut dyn FnMut(&Path, &Found) -> bool) {
        let mut left = MOST;
        let mut roots: Vec<&Path> = self.told.start.roots.iter().map(|root| root.path()).collect();
        roots.sort_unstable();
        let mut last: Option<&Path> = None;
        for root in roots {
            if last.is_some_and(|last| root.starts_with(last)) {
                continue;
            }
            last = Some(root);
            self.walk_folder(root, 0, &mut left, each);
        }
    }

    fn walk_folder(&self, path: &Path, depth: usize, left: &mut usize, each: &mut dyn FnMut(&Path, &Found) -> bool) {
        if depth > DEEPEST {
            return;
        }
        let Ok(folder) = folder::beneath(self.root.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY) else { return };
        let Ok(mut names) = folder::names(folder.as_fd()) else { return };
        names.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, _) in names {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return;
            }
            let Ok((id, facts)) = facts::look_at(folder.as_fd(), &name) else { continue };
            let (below, found) = (path.join(&name), Found { id, facts });
            if each(&below, &found) && found.facts.kind == Kind::Folder {
                self.walk_folder(&below, depth + 1, left, each);
            }
        }
    }

    /// Everything in the trees that the session made and nobody changed since. What an outsider made during the session is among it.
    /// So are names that the session gave to older things, where those have all their own again.
    pub(super) fn plan_taking_away(&self, plan: &mut Plan, taken: &HashSet<PathBuf>, elsewhere: &HashMap<Identity, BTreeSet<PathBuf>>) {
        let mut made: BTreeMap<PathBuf, Step> = BTreeMap::new();
        let mut add = |path: &Path, found: &Found| {
            let standing = if self.unchanged_since(found) { Standing::Own } else { Standing::Other };
            let step = Step { path: path.to_owned(), deed: Deed::TakeAway, standing, bytes: 0, id: found.id, at: path.to_owned(), stands: Some(found.id) };
            made.insert(path.to_owned(), step);
        };
        self.walk(&mut |path, found| {
            if self.history.born(found.id) && self.choice.has(path) && !taken.contains(path) {
                add(path, found);
            }
            true
        });
        let given =
            elsewhere.iter().flat_map(|(id, paths)| paths.iter().map(|path| (path, Some(*id)))).chain(self.history.made.iter().map(|path| (path, None)));
        for (path, id) in given.filter(|(path, _)| !taken.contains(*path) && self.choice.has(path)) {
            if let Some(found) = self.found(path).filter(|found| id.is_none_or(|id| found.id == id)) {
                add(path, &found);
            }
        }
        // What stands where something comes back goes with that.
        let cleared: HashSet<&Path> = plan.steps.iter().filter(|step| step.makes() && step.stands.is_some()).map(|step| step.at.as_path()).collect();
        let made: Vec<Step> = made.into_values().filter(|step| !cleared.contains(step.path.as_path())).collect();
        plan.steps.extend(made);
    }

    /// Whether a folder stands where a step is to be done.
    #[must_use]
    pub fn is_folder(&self, step: &Step) -> bool {
        self.found(&step.at).is_some_and(|found| found.facts.kind == Kind::Folder)
    }

    /// The names, anywhere in the trees, of inodes that had more of them than records tell of, or that are not where they were moved to.
    pub(super) fn other_names(&self) -> BTreeMap<PathBuf, Identity> {
        let mut told: HashMap<Identity, u32> = HashMap::new();
        let mut wanted: HashSet<Identity> = self.history.through.clone();
        for (path, name) in &self.history.names {
            *told.entry(name.id).or_default() += 1;
            let at = |path: &Path| self.found(path).is_some_and(|found| found.id == name.id);
            if name.now.as_ref().is_some_and(|now| !at(now) && !at(path)) {
                wanted.insert(name.id);
            }
        }
        let several = |id: &Identity, links: u32| links > told.get(id).copied().unwrap_or(0);
        let inodes = self.history.inodes.iter().filter(|(_, inode)| inode.facts.kind != Kind::Folder);
        wanted.extend(inodes.filter(|(id, inode)| inode.facts.links > 1 && several(id, inode.facts.links)).map(|(id, _)| *id));
        let mut names = BTreeMap::new();
        if !wanted.is_empty() {
            self.walk(&mut |path, found| {
                if wanted.contains(&found.id) && !self.history.names.get(path).is_some_and(|name| name.id == found.id) {
                    names.insert(path.to_owned(), found.id);
                }
                true
            });
        }
        names
    }
}
