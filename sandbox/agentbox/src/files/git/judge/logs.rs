//! Reflogs that are cut or go: a loss when they are the last to know a commit.

use std::{collections::BTreeSet, path::Path, time::SystemTime};

use super::{
    super::{
        folder::whole,
        id::Id,
        meaning::{Meaning, counted},
        refs::{self, Line, Logs, Value},
        store::Without,
        trouble::Trouble,
        walk::lost,
    },
    Case,
};

/// How long git keeps lines that only the reflog knows, unless told otherwise (`gc.reflogExpireUnreachable`, 30 days).
/// Its housekeeping, which ordinary commands start by themselves, drops older ones; only those of the stash never.
const GIT_KEEPS: i64 = 30 * 24 * 60 * 60;

impl Case<'_> {
    pub(super) fn log_removed(&mut self) -> Result<Meaning, Trouble> {
        self.log_cut(&[])
    }

    pub(super) fn log_replaced(&mut self, bytes: &[u8]) -> Result<Meaning, Trouble> {
        let left = refs::log(self.hash, bytes);
        self.log_cut(&left)
    }

    fn log_cut(&mut self, left: &[Line]) -> Result<Meaning, Trouble> {
        const WHAT: &str = "a reflog";
        let before = self.git.file_of_now(&self.below, WHAT)?.map(|(file, _)| whole(file, refs::LARGEST_LOG, WHAT)).transpose()?.unwrap_or_default();
        let before: Vec<Line> = fresh(&self.below, refs::log(self.hash, &before)).collect();
        // A line that is dated anew counts as gone: later it could pass for expired.
        let known: BTreeSet<(Option<Id>, i64)> = before.iter().map(|line| (line.after, line.time)).collect();
        let left: BTreeSet<Id> = left.iter().filter(|line| known.contains(&(line.after, line.time))).copied().flat_map(Line::ids).collect();
        let gone: BTreeSet<Id> = before.into_iter().flat_map(Line::ids).filter(|id| !left.contains(id)).collect();
        if gone.is_empty() {
            return Ok(Meaning::write("git.reflog.trim", "a reflog is written anew and still names all commits that git would keep in it"));
        }
        let mut kept: BTreeSet<Id> = refs::all(&self.git, self.hash, &mut self.budget)?.values().filter_map(Value::object).collect();
        kept.extend(left);
        let below = self.below.clone();
        let others = refs::logs(&self.git, self.hash, Logs::Steady, &mut self.budget)?;
        kept.extend(others.into_iter().filter(|(path, _)| *path != below).flat_map(|(path, lines)| fresh(&path, lines)).flat_map(Line::ids));
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
            return Ok(Meaning::write("git.reflog.trim", "a reflog is cut, and all that it was the last to name was made by the agent itself"));
        }
        let reason = format!("the reflog {} is the last to name {}", agentbox_core::safe::line(&below.to_string_lossy(), 72), counted(&lost).0);
        Ok(Meaning::destroy("git.reflog.remove", reason).with_lost(&lost))
    }
}

/// The lines that git would keep.
fn fresh(path: &Path, lines: Vec<Line>) -> impl Iterator<Item = Line> + use<> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().and_then(|now| i64::try_from(now.as_secs()).ok());
    let expired = now.filter(|_| path != Path::new("logs/refs/stash")).map(|now| now - GIT_KEEPS);
    lines.into_iter().filter(move |line| expired.is_none_or(|expired| line.time > expired))
}
