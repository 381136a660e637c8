//! Reflogs that are cut or go: a loss when they are the last to know a commit.

use std::collections::BTreeSet;

use super::{
    super::{
        id::Id,
        meaning::{Meaning, commits},
        refs::{self, Value},
        store::Without,
        trouble::Trouble,
        walk::lost,
    },
    Case,
};

impl Case<'_> {
    pub(super) fn log_removed(&mut self) -> Result<Meaning, Trouble> {
        self.log_cut(&[])
    }

    pub(super) fn log_replaced(&mut self, bytes: &[u8]) -> Result<Meaning, Trouble> {
        let left = refs::log(self.hash, bytes);
        self.log_cut(&left)
    }

    fn log_cut(&mut self, left: &[Id]) -> Result<Meaning, Trouble> {
        let before = self.git.read(&self.below, refs::LARGEST_LOG, "a reflog")?.unwrap_or_default();
        let mut gone: BTreeSet<Id> = refs::log(self.hash, &before).into_iter().collect();
        for id in left {
            gone.remove(id);
        }
        if gone.is_empty() {
            return Ok(Meaning::write("git.reflog.trim", "a reflog is written anew and still names the same commits"));
        }
        let mut kept: BTreeSet<Id> = refs::all(&self.git, self.hash, &mut self.budget)?.values().filter_map(Value::object).collect();
        kept.extend(left);
        let below = self.below.clone();
        let others = refs::logs(&self.git, self.hash, &mut self.budget)?;
        kept.extend(others.into_iter().filter(|(path, _)| *path != below).flat_map(|(_, ids)| ids));
        let mut store = self.store();
        let mut from = Vec::new();
        for id in gone {
            // What is gone already is not lost by this.
            if !kept.contains(&id) && store.object(&id, Without::Nothing)?.is_some() {
                from.push(id);
            }
        }
        let kept: Vec<Id> = kept.into_iter().collect();
        let lost = lost(&mut store, &from, &kept)?;
        if lost.is_empty() {
            return Ok(Meaning::write("git.reflog.trim", "a reflog is cut, and refs or other reflogs keep all the commits it named"));
        }
        if self.is_own(&lost) {
            return Ok(Meaning::write("git.reflog.trim", "a reflog is cut, and all that it was the last to name was made in this session"));
        }
        let reason = format!("the reflog {} is the last to name {}", agentbox_core::safe::line(&below.to_string_lossy(), 72), commits(lost.len()));
        Ok(Meaning::destroy("git.reflog.remove", reason).with_lost(&lost))
    }
}
