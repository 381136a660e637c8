//! Whether a thing would be kept, for the card of a deed that waits: nothing is recorded, and nothing stays in the vault.

use rustix::{
    fs::{self, AtFlags},
    io::Errno,
};

use super::{Session, first_way};
use crate::{
    error::{NotKept, Why},
    facts::{self, Kind},
    keepers::{self, Pass},
    record::Way,
    subject::{Foretold, Subject},
};

/// Under this name an object is tried. None is listed under it, so what a crash leaves is swept.
const TRIED: &str = "tried";

impl Session {
    /// Whether [`Session::keep`] would keep this now. It can be otherwise when the deed comes, since others write to the disk, too.
    ///
    /// # Errors
    /// It would not be kept, and why.
    pub fn would_keep(&self, subject: &Subject<'_>) -> Result<Foretold, NotKept> {
        let (id, mut facts) = facts::look(subject.object).map_err(Why::io("looking at it"))?;
        if self.born(id) {
            return Ok(Foretold::Kept);
        }
        let mut state = self.state();
        match state.known.get(&id) {
            Some(known) if known.lost => return Err(Why::Kind("its first version was lost in this session").into()),
            Some(_) => return Ok(Foretold::Kept),
            None => {}
        }
        if facts.kind != Kind::File || facts.size == 0 || facts.links == 0 {
            return Ok(Foretold::Kept);
        }
        let file = self.opened(subject.object, &mut facts).map_err(Why::Unreadable)?;
        let fits = self.room.has(facts.stored)?;
        let tried = first_way(&mut self.task(&mut state, subject, id, &facts, &file, TRIED), |keeper, task| match keeper.way {
            Way::Copy => keepers::may_copy(task).map_err(Pass::Stop),
            Way::Reflink | Way::Link => {
                (keeper.keep)(task)?;
                fs::unlinkat(task.folder, task.name, AtFlags::empty()).map_err(Pass::io("taking a try back"))
            }
        });
        match tried {
            Ok(_) if fits => Ok(Foretold::Kept),
            Ok(_) => Ok(Foretold::Unsure),
            Err(Why::Io { error: Errno::EXIST, .. }) => Ok(Foretold::Unsure),
            Err(why) => Err(why.into()),
        }
    }
}
