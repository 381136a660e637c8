//! Refs that move or go: forward, or away from commits that nothing else reaches.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{
    super::{
        id::Id,
        meaning::{Meaning, called, counted, in_reflog},
        refs::{self, Line, Logs, Value, is_tracking},
        store::Without,
        trouble::Trouble,
        walk::{Lost, comes_from, lost},
    },
    Case, frame,
};

/// What becomes of one ref.
struct Change {
    name: String,
    before: Option<Value>,
    after: Option<Value>,
}

impl Case<'_> {
    pub(super) fn ref_removed(&mut self, name: &str) -> Result<Meaning, Trouble> {
        let before = match refs::loose(&self.git, self.hash, &self.below) {
            Err(Trouble::Malformed(_)) => return Ok(Meaning::destroy("git.ref.delete", format!("{}, whose value cannot be read, would go", called(name)))),
            other => other?,
        };
        let after = refs::packed_of(&self.git, self.hash)?.remove(name).map(Value::Object);
        self.changed(vec![Change { name: name.to_owned(), before, after }])
    }

    pub(super) fn ref_replaced(&mut self, name: &str, bytes: &[u8]) -> Result<Meaning, Trouble> {
        let before = match refs::loose(&self.git, self.hash, &self.below)? {
            Some(value) => Some(value),
            None => refs::packed_of(&self.git, self.hash)?.remove(name).map(Value::Object),
        };
        let after = match refs::value(self.hash, bytes) {
            Ok(value) => value,
            Err(_) if before.is_none() => {
                return Ok(Meaning::write("git.ref.create", format!("{} comes to be, with a value that git will not understand", called(name))));
            }
            Err(_) => return Ok(Meaning::destroy("git.ref.delete", format!("{} would get a value that git will not understand", called(name)))),
        };
        self.changed(vec![Change { name: name.to_owned(), before, after: Some(after) }])
    }

    pub(super) fn packed_replaced(&mut self, bytes: &[u8]) -> Result<Meaning, Trouble> {
        let mut before = refs::packed_of(&self.git, self.hash)?;
        let mut after = refs::packed(self.hash, bytes)?;
        let (mut changes, mut hidden) = (Vec::new(), Vec::new());
        for name in before.keys().chain(after.keys()).cloned().collect::<BTreeSet<String>>() {
            let (before, after) = (before.remove(&name), after.remove(&name));
            if before == after {
            } else if refs::loose(&self.git, self.hash, Path::new(&name))?.is_none() {
                changes.push(Change { name, before: before.map(Value::Object), after: after.map(Value::Object) });
            } else {
                hidden.extend(before);
            }
        }
        if let Some(meaning) = self.hidden_gone(&hidden)? {
            return Ok(meaning);
        }
        self.changed(changes)
    }

    /// A loose ref hides a packed one, and a loose one may come to be without being judged. So the packed value of
    /// before may be the last that knows it, unless git moved the ref and noted it in the reflog.
    fn hidden_gone(&mut self, hidden: &[Id]) -> Result<Option<Meaning>, Trouble> {
        if hidden.is_empty() {
            return Ok(None);
        }
        let mut kept: Vec<Id> = refs::all(&self.git, self.hash, &mut self.budget)?.values().filter_map(Value::object).collect();
        let logs = refs::logs(&self.git, self.hash, Logs::Steady, &mut self.budget)?;
        kept.extend(logs.into_iter().flat_map(|(_, lines)| lines).flat_map(Line::ids));
        let lost = lost(&mut self.store(), hidden, &kept)?;
        if lost.is_empty() || self.is_own(&lost) {
            return Ok(None);
        }
        let reason = format!("packed-refs would lose what it had before a file took a ref's place, and with it {}", counted(&lost).0);
        Ok(Some(Meaning::destroy("git.ref.rewind", reason).with_lost(&lost)))
    }

    pub(super) fn standing_removed(&mut self) -> Result<Meaning, Trouble> {
        if self.below == Path::new("HEAD") {
            return Ok(frame());
        }
        let before = refs::loose(&self.git, self.hash, &self.below)?;
        self.left(before, None)
    }

    pub(super) fn standing_replaced(&mut self, bytes: &[u8]) -> Result<Meaning, Trouble> {
        let Ok(after) = refs::value(self.hash, bytes) else {
            return Ok(Meaning::destroy(
                "git.directory.remove",
                "HEAD would get a value that git will not understand, and the repository would no longer be one",
            ));
        };
        let before = refs::loose(&self.git, self.hash, &self.below)?;
        self.left(before, Some(after))
    }

    /// HEAD, or the note of work put aside, stands on something else from now on.
    fn left(&mut self, before: Option<Value>, after: Option<Value>) -> Result<Meaning, Trouble> {
        let Some(Value::Object(old)) = before else {
            return Ok(Meaning::write("git.head.switch", "another branch or commit is checked out"));
        };
        let name = self.below.to_string_lossy().into_owned();
        let change = Change { name, before: Some(Value::Object(old)), after };
        let lost = self.lost_by(&[&change], &old, &BTreeMap::new())?;
        if lost.is_empty() || self.is_own(&lost) {
            return Ok(Meaning::write("git.head.switch", "another branch or commit is checked out"));
        }
        let (count, them) = counted(&lost);
        let reflog = in_reflog(self.reflog_has(&old, None)?, &old);
        let reason = format!("{count} on no branch would be left behind, and nothing else reaches {them}; {reflog}");
        Ok(Meaning::destroy("git.head.leave", reason).with_lost(&lost))
    }

    /// The worst of what becomes of some refs at once.
    fn changed(&mut self, changes: Vec<Change>) -> Result<Meaning, Trouble> {
        let mut worst = Meaning::write("git.ref.same", "no ref changes its value");
        let all: Vec<&Change> = changes.iter().collect();
        let mut known = None;
        for change in &changes {
            let meaning = self.one(change, &all, &mut known)?;
            if meaning.effect > worst.effect || worst.action == "git.ref.same" {
                worst = meaning;
            }
        }
        Ok(worst)
    }

    fn one(&mut self, change: &Change, all: &[&Change], known: &mut Option<BTreeMap<String, Value>>) -> Result<Meaning, Trouble> {
        let called = called(&change.name);
        let old = match (&change.before, &change.after) {
            (None, None) => return Ok(Meaning::write("git.nothing", "nothing is there")),
            (None, Some(_)) => {
                self.known.made.insert(change.name.clone());
                return Ok(Meaning::write("git.ref.create", format!("{called} comes to be")));
            }
            (before, after) if before == after => return Ok(Meaning::write("git.ref.same", format!("{called} keeps its value"))),
            (Some(Value::Symbolic(_)), _) => return Ok(Meaning::write("git.ref.symbolic", format!("{called}, which only stands for another ref, changes"))),
            (Some(Value::Object(old)), _) => *old,
        };
        if let Some(Value::Object(new)) = &change.after {
            let mut store = self.store();
            if store.object(new, Without::Nothing)?.is_none() {
                return Ok(Meaning::destroy("git.ref.delete", format!("{called} would point to {}, which is not in this repository", new.short())));
            }
            let here = store.object(&old, Without::Nothing)?.is_some();
            if here && lost(&mut store, &[old], &[*new])?.is_empty() || !here && comes_from(&mut store, *new, &old)? {
                return Ok(Meaning::write("git.ref.forward", format!("{called} moves forward from {} to {}", old.short(), new.short())));
            }
        }
        if known.is_none() {
            *known = Some(refs::all(&self.git, self.hash, &mut self.budget)?);
        }
        let refs = known.clone().unwrap_or_default();
        let lost = match self.lost_by(all, &old, &refs) {
            Ok(lost) => lost,
            Err(trouble) => return Ok(Meaning::unclear(action(change), &says(change, &called, &old), &trouble)),
        };
        self.weighed(change, &called, &old, lost)
    }

    /// Weighs a ref that goes, or moves to what does not come from its old value.
    fn weighed(&mut self, change: &Change, called: &str, old: &Id, lost: Vec<Lost>) -> Result<Meaning, Trouble> {
        let says = says(change, called, old);
        let own = self.is_own(&lost);
        if is_tracking(&change.name) && (lost.is_empty() || own || !self.was_local(&lost)?) {
            return Ok(Meaning::write("git.ref.tracking", format!("{says}: what another repository had when it was asked")));
        }
        if lost.is_empty() || own {
            let kept = if lost.is_empty() { "other refs keep all its commits" } else { "all that it leaves behind was made in this session" };
            // A name that was there before the session is worth a question even when its commits are kept.
            if change.after.is_none() && !self.known.made.contains(&change.name) {
                return Ok(Meaning::destroy("git.ref.delete", format!("{says}; {kept}")).with_lost(&lost));
            }
            let action = if change.after.is_none() { "git.ref.delete" } else { "git.ref.move" };
            return Ok(Meaning::write(action, format!("{says}; {kept}")));
        }
        let reflog = self.reflog_has(old, change.after.is_none().then_some(change.name.as_str()))?;
        let (count, them) = counted(&lost);
        let reason = format!("{says} and leaves behind {count}: nothing else reaches {them}; {}", in_reflog(reflog, old));
        Ok(Meaning::destroy(action(change), reason).with_lost(&lost))
    }

    /// What nothing reaches once these changes are done. Empty `refs` are read.
    fn lost_by(&mut self, changes: &[&Change], old: &Id, refs: &BTreeMap<String, Value>) -> Result<Vec<Lost>, Trouble> {
        let mut kept = if refs.is_empty() { refs::all(&self.git, self.hash, &mut self.budget)? } else { refs.clone() };
        for change in changes {
            kept.remove(&change.name);
        }
        let mut ids: Vec<Id> = kept.values().filter_map(Value::object).collect();
        ids.extend(changes.iter().filter_map(|change| change.after.as_ref().and_then(Value::object)));
        if changes.iter().any(|change| change.name == "refs/stash" && change.after.is_some()) {
            // The older entries of the stash are kept by its reflog, and by nothing else.
            let log = self.git.read(Path::new("logs/refs/stash"), refs::LARGEST_LOG, "a reflog")?;
            ids.extend(refs::log(self.hash, &log.unwrap_or_default()).into_iter().flat_map(Line::ids));
        }
        let mut store = self.store();
        if store.object(old, Without::Nothing)?.is_none() {
            return Err(Trouble::Incomplete);
        }
        lost(&mut store, &[*old], &ids)
    }

    /// Whether all these are the agent's own.
    pub(super) fn is_own(&self, lost: &[Lost]) -> bool {
        lost.iter().all(|lost| self.known.own.contains(&lost.id))
    }

    /// Whether a reflog names an object; `gone` is a ref whose own reflog goes with it.
    fn reflog_has(&mut self, id: &Id, gone: Option<&str>) -> Result<bool, Trouble> {
        let gone = gone.map(|name| Path::new("logs").join(name));
        let logs = refs::logs(&self.git, self.hash, Logs::All, &mut self.budget)?;
        Ok(logs.into_iter().any(|(path, lines)| Some(&path) != gone.as_ref() && lines.into_iter().flat_map(Line::ids).any(|named| named == *id)))
    }

    /// Whether any of these was once on a branch here, by its reflog. A repository without reflogs cannot tell.
    fn was_local(&mut self, lost: &[Lost]) -> Result<bool, Trouble> {
        let logs = refs::logs(&self.git, self.hash, Logs::All, &mut self.budget)?;
        let local = logs.into_iter().filter(|(path, _)| !path.strip_prefix("logs").ok().and_then(Path::to_str).is_some_and(is_tracking));
        let known: BTreeSet<Id> = local.flat_map(|(_, lines)| lines).flat_map(Line::ids).collect();
        Ok(known.is_empty() || lost.iter().any(|lost| known.contains(&lost.id)))
    }
}

const fn action(change: &Change) -> &'static str {
    if change.after.is_none() { "git.ref.delete" } else { "git.ref.rewind" }
}

fn says(change: &Change, called: &str, old: &Id) -> String {
    match &change.after {
        None => format!("{called}, at {}, goes", old.short()),
        Some(Value::Object(new)) => format!("{called} moves from {} to {}", old.short(), new.short()),
        Some(Value::Symbolic(_)) => format!("{called}, at {}, becomes a name for another ref", old.short()),
    }
}
