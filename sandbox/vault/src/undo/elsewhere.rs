//! What another session keeps: two boxes may write the same files, and what one has moved the other one can have lost.

use std::collections::{HashMap, HashSet};

use super::Undo;
use crate::{
    facts::{Identity, Kind},
    history::{Inode, Second, called_off},
    record::{Body, Digest, Record},
    session::object_name,
    sessions::{State, Told},
};

impl Undo {
    /// Looks for the contents of files that this session only moved and that are gone, in the sessions that went on after it had begun. What cannot be
    /// read there is not found, and is told as gone.
    pub(super) fn look_elsewhere(&mut self) {
        let is_kept = |id: &Identity| self.history.inodes.get(id).is_some_and(|inode| inode.body.is_some());
        let stands = |path: &std::path::Path, id: Identity| self.found(path).is_some_and(|here| here.id == id);
        let names = self.history.names.iter().filter(|(_, name)| name.kind != Kind::Folder && !is_kept(&name.id));
        let gone: HashSet<Identity> = names
            .filter(|(path, name)| !stands(path, name.id) && !name.now.as_deref().is_some_and(|now| stands(now, name.id)))
            .map(|(_, name)| name.id)
            .collect();
        if gone.is_empty() {
            return;
        }
        for session in self.vault.names().unwrap_or_default() {
            if session == self.told.start.session {
                continue;
            }
            let Ok(mut told) = self.vault.told(&session) else { continue };
            if told.last() < self.told.start.at || !kept(&told).any(|(id, ..)| gone.contains(&id)) {
                continue;
            }
            // What an object hashes to is found out once a session is over.
            if told.state != State::Running
                && self.vault.seal(&session).is_ok()
                && let Ok(sealed) = self.vault.told(&session)
            {
                told = sealed;
            }
            let digests: HashMap<u64, Digest> =
                told.records.iter().filter_map(|record| if let Record::Hashed { number, digest } = record { Some((*number, *digest)) } else { None }).collect();
            for (id, facts, body) in kept(&told).filter(|(id, ..)| gone.contains(id)) {
                let body = match body {
                    Body::Object { number, way, digest } => {
                        Body::Object { number: *number, way: *way, digest: digest.or_else(|| digests.get(number).copied()) }
                    }
                    other @ (Body::None | Body::Target(_)) => other.clone(),
                };
                let object = (facts.size, facts.mtime);
                let inode = self.history.inodes.entry(id).or_insert_with(|| Inode { facts: facts.clone(), body: None, object, doubtful: false, by: None });
                if inode.body.is_none() {
                    inode.facts.size = facts.size;
                    (inode.body, inode.object, inode.doubtful, inode.by) = (Some(Ok(body)), object, false, Some(session.clone()));
                }
            }
        }
    }

    /// What became of a thing that has no place of its own; none: nothing of it is lost.
    pub(super) fn told_of(&self, id: Identity, second: &Second) -> Option<String> {
        let what = match &self.history.inodes.get(&id)?.body {
            // Its metadata alone.
            None => return None,
            Some(Err(why)) => format!("it was not kept: {why}"),
            Some(Ok(Body::Object { number, .. })) => {
                format!("its content is kept in {}", self.vault.path().join("sessions").join(&self.told.start.session).join(object_name(*number)).display())
            }
            Some(Ok(Body::Target(target))) => format!("it was a link to {}", target.path().display()),
            Some(Ok(Body::None)) if second.kind == Kind::File => "it was empty".to_owned(),
            Some(Ok(Body::None)) => "there was nothing in it to be kept".to_owned(),
        };
        Some(format!(
            "a second thing from before the session, which somebody else had brought there, was lost under this name, and where it belongs is not known; {what}"
        ))
    }
}

/// What a session keeps of deeds that happened.
fn kept(told: &Told) -> impl Iterator<Item = (Identity, &crate::facts::Facts, &Body)> {
    let off = called_off(&told.records);
    told.records.iter().enumerate().filter_map(move |(number, record)| match record {
        Record::Kept { id, facts, body, .. } if !off.contains(&number) => Some((*id, facts, body)),
        _ => None,
    })
}
