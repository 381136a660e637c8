//! What stands on the two sides of a step, for people to compare: as it was before the session, and as it is now.

use std::os::fd::AsFd;

use rustix::{
    fs::{self, OFlags},
    io,
};

use super::{Deed, Step, Undo};
use crate::{facts, facts::Kind, folder, record::Body};

/// One side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// Nothing.
    Nothing,
    /// A file with this content.
    Content(Vec<u8>),
    /// A file that is larger than what was asked for: its bytes.
    Large(u64),
    /// A link, and where it leads.
    Target(Vec<u8>),
    /// Something else.
    Other(Kind),
    /// It cannot be shown, and why.
    Hidden(String),
}

impl Undo {
    /// What the step brings back. Of a content at most so many bytes are read, and all of them verified.
    #[must_use]
    pub fn before(&self, step: &Step, most: u64) -> Side {
        match &step.deed {
            Deed::Restore { .. } | Deed::Rewrite => {}
            Deed::Link { .. } | Deed::MoveBack { .. } | Deed::Facts | Deed::TakeAway => return Side::Nothing,
        }
        let Some(inode) = self.history.inodes.get(&step.id) else { return Side::Nothing };
        match (inode.facts.kind, &inode.body) {
            (Kind::File, _) if inode.facts.size > most => Side::Large(inode.facts.size),
            (Kind::File, _) => match self.content(step.id).and_then(|content| content.bytes().map_err(|error| error.to_string())) {
                Ok(bytes) => Side::Content(bytes),
                Err(why) => Side::Hidden(why),
            },
            (Kind::Link, Some(Ok(Body::Target(target)))) => Side::Target(target.0.clone()),
            (kind, _) => Side::Other(kind),
        }
    }

    /// What stands there now.
    #[must_use]
    pub fn now(&self, step: &Step, most: u64) -> Side {
        let Some(here) = self.found(&step.at) else { return Side::Nothing };
        let hidden = |error: io::Errno| Side::Hidden(error.to_string());
        match here.facts.kind {
            Kind::File if here.facts.size > most => Side::Large(here.facts.size),
            Kind::File => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
                let file = match folder::beneath(self.root.as_fd(), &step.at, flags) {
                    Ok(file) => file,
                    Err(error) => return hidden(error),
                };
                match facts::look(file.as_fd()) {
                    Ok((id, facts)) if id == here.id && facts.kind == Kind::File => {
                        super::content::read(file.as_fd(), here.facts.size).map_or_else(hidden, Side::Content)
                    }
                    Ok(_) => Side::Hidden("it changes".to_owned()),
                    Err(error) => hidden(error),
                }
            }
            Kind::Link => {
                let target = folder::parent(self.root.as_fd(), &step.at).and_then(|(folder, name)| fs::readlinkat(&folder, name, Vec::new()));
                target.map_or_else(hidden, |target| Side::Target(target.into_bytes()))
            }
            kind @ (Kind::Folder | Kind::Fifo | Kind::Socket | Kind::Character | Kind::Block) => Side::Other(kind),
        }
    }
}
