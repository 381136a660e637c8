//! What a stopped call means to the policy: for each thing that it touches an operation, with its effect.

use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use agentbox_core::{Digest, Effect, Evidence, Operation, Request, Resource, ResourceId, policy::Policy, safe};

use super::git;

/// Characters of a path that are shown.
const SHOWN: usize = 300;

/// What would be done to one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    /// Its name is removed.
    Remove,
    /// A folder's name is removed.
    RemoveFolder,
    /// Another file takes its name.
    Replace,
    /// It gets another name, or is exchanged with what has it.
    Move,
    /// It is opened for writing where it stands.
    Overwrite,
    /// It is cut short.
    Truncate,
    /// Parts of its content are taken out or moved.
    Punch,
    /// It gets one more name.
    Link,
    /// It comes to be.
    Make,
    /// Its mode, owner, times, flags or attributes change.
    Describe,
}

impl Act {
    fn action(self) -> &'static str {
        match self {
            Self::Remove => "file.unlink",
            Self::RemoveFolder => "file.rmdir",
            Self::Replace => "file.replace",
            Self::Move => "file.rename",
            Self::Overwrite => "file.overwrite",
            Self::Truncate => "file.truncate",
            Self::Punch => "file.punch",
            Self::Link => "file.link",
            Self::Make => "file.create",
            Self::Describe => "file.metadata",
        }
    }

    /// Whether what was there is there no more afterwards, under this name at least.
    pub(crate) fn loses(self) -> bool {
        match self {
            Self::Remove | Self::RemoveFolder | Self::Replace | Self::Move | Self::Overwrite | Self::Truncate | Self::Punch => true,
            Self::Link | Self::Make | Self::Describe => false,
        }
    }
}

/// Since when a thing is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Since {
    /// It was there when the box began: somebody may miss it.
    Before,
    /// It was made in this box: the agent's own.
    Session,
    /// It is not there yet.
    Nothing,
}

/// One thing that a call touches.
#[derive(Clone, Debug)]
pub(crate) struct Touch {
    pub(crate) act: Act,
    pub(crate) since: Since,
    /// As the agent sees it, which is as the user does.
    pub(crate) path: PathBuf,
    /// Of what would be lost, in bytes; nothing for an empty file.
    pub(crate) size: u64,
    /// Device and inode.
    pub(crate) identity: (u64, u64),
}

/// The effect of one touch, with the reason in a sentence.
fn effect(touch: &Touch) -> (Effect, &'static str) {
    match (touch.act, touch.since) {
        (_, Since::Session) => (Effect::Write, "it was made in this box"),
        (Act::Overwrite | Act::Truncate | Act::Punch, Since::Before) if touch.size == 0 => (Effect::Write, "nothing is in it"),
        (Act::Overwrite, _) => (Effect::Destroy, "opening a file for writing can destroy all that is in it"),
        (Act::Truncate | Act::Punch, _) => (Effect::Destroy, "it destroys what is in the file"),
        (Act::Remove, _) => (Effect::Destroy, "it removes the file"),
        (Act::RemoveFolder, _) => (Effect::Destroy, "it removes the folder"),
        (Act::Replace, _) => (Effect::Destroy, "another file takes its place"),
        (Act::Move, _) => (Effect::Destroy, "it is not found under this name any more"),
        // One more name is a way to the same content that another place's cells would judge.
        (Act::Link, _) => (Effect::Destroy, "through another name its content can be destroyed"),
        (Act::Make, _) => (Effect::Write, "nothing was there"),
        (Act::Describe, _) => (Effect::Write, "its content stays"),
    }
}

/// The question that a call asks.
///
/// `beneath` are places with cells of their own below a folder that is touched: whatever happens to the folder happens to them.
pub(crate) fn request(touches: &[Touch], beneath: &[PathBuf], pid: i32, summary: &str) -> Request {
    let mut operations: Vec<Operation> = touches.iter().map(operation).collect();
    operations.extend(beneath.iter().map(|path| {
        Operation::new(Effect::Destroy, "file.rename", resource(path), "a folder above it is moved, and takes it along")
    }));
    let digest = Digest::of(touches.iter().flat_map(|touch| {
        let (dev, ino) = touch.identity;
        [touch.act.action().as_bytes().to_vec(), touch.path.as_os_str().as_bytes().to_vec(), dev.to_le_bytes().to_vec(), ino.to_le_bytes().to_vec()]
    }).collect::<Vec<_>>().iter().map(Vec::as_slice));
    let evidence = Evidence { summary: safe::line(summary, SHOWN), process: Some(pid), ..Evidence::default() };
    Request { operations, destination: None, digest, evidence }
}

fn operation(touch: &Touch) -> Operation {
    let (effect, reason) = effect(touch);
    if let Some(meaning) = git::meaning_of(touch) {
        return Operation::new(meaning.effect.min(effect.max(meaning.effect)), &meaning.action, resource(&touch.path), meaning.reason);
    }
    Operation::new(effect, touch.act.action(), resource(&touch.path), reason)
}

fn resource(path: &Path) -> Resource {
    Resource::rooted(ResourceId::new("file", &path.to_string_lossy()))
}
