//! Making room: what is renamed back is lifted out of the way first, what stands in its place is kept and removed.

use std::{collections::HashSet, ffi::OsStr, os::fd::AsFd, path::Path};

use rustix::{
    fs::{self, AtFlags, OFlags, RenameFlags},
    io::Errno,
};

use super::{
    Deed, Standing, Step,
    apply::{Doer, words},
    place::{Spare, beside, is_left_over},
};
use crate::{
    crash::step,
    facts::{self, Identity, Kind},
    folder,
    record::Loss,
    subject::{Move, Subject},
};

impl Doer<'_> {
    /// Sees to it that nothing stands at the step's path: what does is kept and removed.
    pub(super) fn clear(&mut self, planned: &Step) -> Result<(), String> {
        let (folder, name) = self.parent(&planned.path)?;
        let here = match facts::look_at(folder.as_fd(), name) {
            Ok((id, _)) => id,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(format!("what stands there cannot be looked at: {error}")),
        };
        if planned.standing == Standing::Nothing || planned.stands != Some(here) {
            return Err("something else stands there than when it was planned".to_owned());
        }
        self.remove(&planned.path, here)
    }

    /// Removes what an undo that was killed left beside the places of these steps.
    pub(super) fn sweep(&self, steps: &[&Step]) {
        let folders: HashSet<&Path> = steps.iter().filter_map(|step| step.path.parent()).collect();
        for path in folders {
            let opened = folder::beneath(self.undo.root.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY);
            let Ok(names) = opened.and_then(|opened| folder::names(opened.as_fd())) else { continue };
            for (name, _) in names.iter().filter(|(name, _)| is_left_over(name)) {
                let left = path.join(name);
                // What cannot be removed is in nobody's way.
                let _ = self.undo.found(&left).map(|found| self.remove(&left, found.id));
            }
        }
    }

    /// Takes everything that will be renamed back to a name beside all trees that may go before, the deepest first: then no step is in
    /// the way of another.
    pub(super) fn lift(&mut self, steps: &[&Step]) {
        let mut moves: Vec<(&Path, Identity)> = Vec::new();
        for step in steps {
            if let Deed::MoveBack { from } = &step.deed {
                moves.push((from, step.id));
            }
        }
        moves.sort_by(|a, b| b.0.cmp(a.0));
        for (from, id) in moves {
            let above = from.parent().unwrap_or(from);
            let root = self.undo.told.start.roots.iter().map(|root| root.path()).find(|root| above.starts_with(root)).unwrap_or(above);
            if !self.lifted.contains_key(root)
                && let Some(found) = self.undo.found(root)
            {
                self.lifted.insert(root.to_owned(), found.facts);
            }
            // Another file system may be mounted in the tree. Where it fails altogether, the step itself says so.
            let _ = self.put_aside(from, id, root).or_else(|_| self.put_aside(from, id, above));
        }
    }

    fn put_aside(&mut self, path: &Path, id: Identity, into: &Path) -> Result<(), String> {
        let (folder, name) = self.parent(path)?;
        let target = folder::beneath(self.undo.root.as_fd(), into, OFlags::PATH | OFlags::DIRECTORY).map_err(words("it cannot be put aside"))?;
        let object = self.object(&folder, name).map_err(words("it cannot be put aside"))?;
        if facts::identity(&object).ok() != Some(id) {
            return Err("something else stands there than when it was planned".to_owned());
        }
        let session = &self.session;
        let spare = beside(Spare::Held, |spare| {
            let to = into.join(spare);
            let told = Move { object: object.as_fd(), from_folder: folder.as_fd(), to_folder: target.as_fd(), from: path, to: &to };
            let mark = session.moved(&told).map_err(|_| Errno::IO)?;
            let renamed = fs::renameat_with(&folder, name, &target, spare, RenameFlags::NOREPLACE);
            match renamed {
                Ok(()) => drop(mark),
                Err(_) => mark.failed(),
            }
            renamed
        });
        let spare = spare.map_err(words("it cannot be put aside"))?;
        self.moved.push((path.to_owned(), into.join(spare)));
        Ok(())
    }

    /// Keeps what stands at a path, with all that is in it, and removes it.
    pub(super) fn remove(&self, path: &Path, id: Identity) -> Result<(), String> {
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
            let spare = beside(Spare::Gone, |spare| fs::renameat_with(&folder, name, &folder, spare, RenameFlags::NOREPLACE))?;
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
}
