//! Looking through a session's trees: what the session made, and other names of an inode that nobody told of.

use std::{
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
    pub(crate) fn walk(&self, each: &mut dyn FnMut(&Path, &Found) -> bool) {
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
    pub(super) fn plan_taking_away(&self, plan: &mut Plan) {
        let mut made: Vec<Step> = Vec::new();
        self.walk(&mut |path, found| {
            if self.history.born(found.id) && self.choice.has(path) && !self.history.names.contains_key(path) {
                let standing = if self.unchanged_since(found) { Standing::Own } else { Standing::Other };
                made.push(Step { path: path.to_owned(), deed: Deed::TakeAway, standing, bytes: 0, id: found.id, stands: Some(found.id) });
            }
            true
        });
        // What is in a folder before the folder.
        made.reverse();
        plan.steps.extend(made);
    }

    /// A name of an inode anywhere in the trees.
    pub(super) fn other_name(&self, id: Identity) -> Option<PathBuf> {
        let mut name = None;
        self.walk(&mut |path, found| {
            if name.is_none() && found.id == id {
                name = Some(path.to_owned());
            }
            name.is_none()
        });
        name
    }
}
