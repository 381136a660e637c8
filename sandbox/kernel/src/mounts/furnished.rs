//! Folders in which the box sees something more than there is outside: where a program looks for a file of ours that has no place yet.
//!
//! Nothing can be made in a folder outside, so the whole folder is covered by one of ours that has the same things in it, and one more. A
//! folder that is hidden anyway has that one alone.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, symlink},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    masks::Masks,
    place::{Copy, MountError, NODEV, NOSUID, RDONLY, failed, folder},
};
use crate::sys::mount::Depth;

/// Things in a folder, each of which is mounted anew; the folder of a program's installation has thirty.
const MOST: usize = 128;

/// What is seen in such a folder besides ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// What is there.
    Shown,
    /// Nothing, as a mask shows it.
    Hidden,
}

/// What of ours is in it.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A file that nobody in the box can change.
    File(Arc<Vec<u8>>),
    /// A link to a folder in memory of the box's own, in which it may do what it likes, and which has this file at the start.
    Own {
        /// Where, in one of the box's own folders.
        folder: PathBuf,
        /// The file's name.
        name: &'static str,
        /// What is in it.
        contents: Arc<Vec<u8>>,
    },
}

/// A folder with more in it. One that is not there is passed over.
#[derive(Clone, Debug)]
pub struct Furnished {
    /// Which, absolute and without links.
    pub folder: PathBuf,
    /// What else is in it.
    pub rest: Rest,
    /// Where below it ours is: a name, or one in folders that are made.
    pub at: PathBuf,
    /// What.
    pub entry: Entry,
}

impl Furnished {
    /// Puts it over the folder in the box.
    pub(super) fn put(&self, masks: &Masks) -> Result<(), MountError> {
        if !self.folder.is_dir() {
            return Ok(());
        }
        let kept = match self.rest {
            Rest::Shown => match things(&self.folder)? {
                Some(things) => things,
                // A program then does not find what is ours; that is all.
                None => return Ok(()),
            },
            Rest::Hidden => Vec::new(),
        };
        let own = masks.fresh_folder()?;
        let place = own.join(&self.at);
        if let Some(above) = place.parent() {
            folder(above)?;
        }
        match &self.entry {
            Entry::File(contents) => fs::write(&place, contents.as_slice()).map_err(failed("writing", &place))?,
            Entry::Own { folder, name, contents } => {
                // For this user alone, as programs make it that keep keys there.
                fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("making the folder", folder))?;
                let file = folder.join(name);
                fs::write(&file, contents.as_slice()).map_err(failed("writing", &file))?;
                symlink(folder, &place).map_err(failed("making the link", &place))?;
            }
        }
        let Some(copy) = Copy::of(&own, Depth::One, 0)? else { return Ok(()) };
        for (name, thing) in &kept {
            if let Thing::Link(target) = thing {
                let link = own.join(name);
                symlink(target, &link).map_err(failed("making the link", &link))?;
            }
        }
        copy.cover(&self.folder)?;
        for (name, thing) in kept {
            if let Thing::Mount(copy) = thing {
                copy.cover(&self.folder.join(name))?;
            }
        }
        Ok(())
    }
}

enum Thing {
    Mount(Copy),
    Link(PathBuf),
}

/// What is in a folder; none where that is too much.
fn things(folder: &Path) -> Result<Option<Vec<(PathBuf, Thing)>>, MountError> {
    let mut things = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("reading the folder", folder))? {
        let entry = entry.map_err(failed("reading the folder", folder))?;
        if things.len() == MOST {
            return Ok(None);
        }
        let (name, path) = (PathBuf::from(entry.file_name()), entry.path());
        let is_link = entry.file_type().map_err(failed("looking at", &path))?.is_symlink();
        if is_link {
            things.push((name, Thing::Link(fs::read_link(&path).map_err(failed("reading the link", &path))?)));
        } else if let Some(copy) = Copy::of(&path, Depth::Tree, RDONLY | NOSUID | NODEV)? {
            things.push((name, Thing::Mount(copy)));
        }
    }
    Ok(Some(things))
}
