//! Where a box without namespaces may change something: there is no mount that would refuse it elsewhere.
//!
//! A deed is done here only in the writable trees, and beside what is kept in them. All else is left to the kernel, which asks Landlock about its
//! own copy of the call: the agent's domain grants it the private folder and the plain devices, and nothing else. What Landlock has no right for
//! (modes, owners, times, attributes) is done here in the private folder too, and refused elsewhere.

use std::path::{Path, PathBuf};

use nix::{errno::Errno, fcntl::RenameFlags, sys::stat::SFlag};

use super::{
    deed::{Act, Open, Target},
    read::Read,
    reserve::Reserve,
    resolve::{Object, Spot},
    world::World,
};

/// The places, absolute and without links.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Trees that the agent may change, through the gate.
    pub writable: Vec<PathBuf>,
    /// Places in them that it may not.
    pub kept: Vec<PathBuf>,
    /// Secrets in them, which it may not even read. Landlock grants none of the folders above one, only what lay beside the way to it at the
    /// start; so that what is made there later can be read, it is opened here.
    pub hidden: Vec<PathBuf>,
    /// What is moved to names that are made beside them.
    pub reserve: Reserve,
    /// The folder in which Landlock lets it do everything.
    pub private: PathBuf,
}

/// What a path lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Region {
    Given,
    Private,
    Elsewhere,
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doer {
    Gate,
    Kernel,
}

impl Bounds {
    pub(super) fn region(&self, path: &Path) -> Region {
        if path.starts_with(&self.private) {
            return Region::Private;
        }
        // Of two that lie within each other the deeper one counts.
        let depth = |places: &[PathBuf]| places.iter().filter(|place| path.starts_with(place)).map(|place| place.components().count()).max();
        if depth(&self.writable) > depth(&self.kept).max(depth(&self.hidden)) { Region::Given } else { Region::Elsewhere }
    }

    /// Whether a thing must stay where it is: what is kept or hidden lies in it or is it, or it is a whole tree. A secret that came to lie in a
    /// folder which Landlock grants could be read there.
    fn holds_kept(&self, path: &Path) -> bool {
        self.kept.iter().chain(&self.hidden).chain(&self.writable).any(|kept| kept.starts_with(path))
    }

    fn name(&self, spot: &Spot, world: &World) -> Result<(Region, PathBuf), Errno> {
        let path = spot.path(world)?;
        Ok((self.region(&path), path))
    }

    fn thing(&self, object: &Object, world: &World) -> Result<Region, Errno> {
        Ok(self.region(&world.path_of(object.held()?)?))
    }

    /// Whether a secret lies somewhere below a folder.
    pub(super) fn hides_below(&self, folder: &Path) -> bool {
        self.hidden.iter().any(|hidden| hidden.starts_with(folder))
    }

    /// Whether this is opened here for reading.
    pub(super) fn is_read_here(&self, object: &Object, world: &World) -> Result<bool, Errno> {
        let has_name = matches!(object.kind(), SFlag::S_IFREG | SFlag::S_IFDIR) && object.stat.links > 0;
        Ok(!self.hidden.is_empty() && has_name && self.thing(object, world)? == Region::Given)
    }

    /// A name that is made, removed or moved.
    fn moved(&self, spot: &Spot, world: &World) -> Result<Region, Errno> {
        let (region, path) = self.name(spot, world)?;
        if region == Region::Given && self.holds_kept(&path) { Err(Errno::EBUSY) } else { Ok(region) }
    }

    /// Who does this, or what refuses it.
    pub(super) fn doer(&self, act: &Act, world: &World) -> Result<Doer, Errno> {
        let by_gate = |region| if region == Region::Given { Doer::Gate } else { Doer::Kernel };
        match act {
            Act::Open(Open { target: Target::Free(spot), .. }) | Act::MakeFolder { spot, .. } | Act::MakeLink { spot, .. } | Act::MakeNode { spot, .. } => {
                self.name(spot, world).map(|(region, _)| by_gate(region))
            }
            Act::Open(Open { target: Target::Object(object, _), .. }) => match object.kind() {
                SFlag::S_IFREG | SFlag::S_IFIFO | SFlag::S_IFDIR if object.stat.links > 0 => self.thing(object, world).map(by_gate),
                // A device, or what has no name any more: the kernel knows best whose it is.
                _ => Ok(Doer::Kernel),
            },
            Act::Open(Open { target: Target::Control(_), .. }) => Ok(Doer::Kernel),
            Act::Remove { spot, .. } => self.moved(spot, world).map(by_gate),
            Act::Rename { from, to, flags } => match (self.moved(from, world)?, self.moved(to, world)?) {
                (Region::Given, Region::Given) => Ok(Doer::Gate),
                (Region::Given, Region::Private) | (Region::Private, Region::Given) if !flags.contains(RenameFlags::RENAME_EXCHANGE) => Err(Errno::EXDEV),
                (Region::Given | Region::Private | Region::Elsewhere, _) => Ok(Doer::Kernel),
            },
            Act::Link { object, to, .. } => match self.name(to, world)?.0 {
                Region::Given if object.stat.links > 0 && self.thing(object, world)? == Region::Given => Ok(Doer::Gate),
                Region::Given => Err(Errno::EXDEV),
                Region::Private | Region::Elsewhere => Ok(Doer::Kernel),
            },
            Act::Truncate { object, .. } if object.stat.links > 0 => self.thing(object, world).map(by_gate),
            Act::Truncate { .. } => Ok(Doer::Kernel),
            // The descriptor was judged when it was opened.
            Act::Change { .. } => Ok(Doer::Gate),
            Act::Attributes { object, .. } => {
                // By its descriptor only: nobody else's is reached, see `resolve`.
                let unnamed = object.stat.links == 0 || world.path_of(object.held()?)?.is_relative();
                match self.thing(object, world)? {
                    Region::Given | Region::Private => Ok(Doer::Gate),
                    Region::Elsewhere if unnamed => Ok(Doer::Gate),
                    Region::Elsewhere => Err(Errno::EROFS),
                }
            }
        }
    }
}

/// What reading comes to where there are bounds.
pub(super) fn bounded(act: Act, world: &World) -> Result<Read, Errno> {
    match world.bounds().map(|bounds| bounds.doer(&act, world)).transpose()? {
        None | Some(Doer::Gate) => Ok(Read::Act(act)),
        Some(Doer::Kernel) => Ok(Read::GoOn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deeper_place_counts() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        let bounds = Bounds {
            writable: paths(&["/w", "/w/.git/hooks/mine"]),
            kept: paths(&["/w/.git/hooks", "/w/.git/config"]),
            hidden: paths(&["/w/deep/secrets"]),
            reserve: Reserve::default(),
            private: "/s/tmp".into(),
        };
        for (path, region) in [
            ("/w/a", Region::Given),
            ("/w", Region::Given),
            ("/w/.git/hooks", Region::Elsewhere),
            ("/w/.git/hooks/pre-commit", Region::Elsewhere),
            ("/w/.git/hooks/mine/x", Region::Given),
            ("/w/.git/configuration", Region::Given),
            ("/w/deep/secrets/key", Region::Elsewhere),
            ("/w/deep/secrets", Region::Elsewhere),
            ("/w/deep/other", Region::Given),
            ("/s/tmp/x", Region::Private),
            ("/s/x", Region::Elsewhere),
            ("/wide", Region::Elsewhere),
            ("pipe:[12]", Region::Elsewhere),
        ] {
            assert_eq!(bounds.region(Path::new(path)), region, "{path}");
        }
        for (path, holds) in [("/w", true), ("/w/.git", true), ("/w/.git/config", true), ("/w/.git/refs", false), ("/w/src", false), ("/w/deep", true)] {
            assert_eq!(bounds.holds_kept(Path::new(path)), holds, "{path}");
        }
    }
}
