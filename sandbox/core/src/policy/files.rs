//! What the mounts must enforce: each path that the policy names, sorted by what may be done there.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    judge::{Floor, Line, Placed, Secret, elsewhere, weigh},
    pattern::{Glob, PathPattern, is_below},
    settings::{FilePath, Files},
    table::{Rule, Step, Table},
};
use crate::{Effect, Verdict};

struct Entry<'t> {
    pattern: &'t PathPattern,
    place: String,
    /// read, write, destroy: the strictest of all tables.
    cells: [Verdict; 3],
}

/// Sorts the paths of all tables; `caches` can be written as well, in a layer. The file gate asks about what destroys. What only writes it does not see, so a `hold` of that counts as no.
pub(super) fn derive(tables: &[Table], environment: Option<&str>, caches: &[PathBuf]) -> Files {
    let mut entries: BTreeMap<(u32, PathBuf), Entry<'_>> = BTreeMap::new();
    for table in tables {
        for place in &table.places {
            for pattern in &place.paths {
                let key = (pattern.depth, pattern.whole.clone());
                entries.entry(key).or_insert_with(|| Entry { pattern, place: place.name.to_string(), cells: cells(tables, pattern, environment) });
            }
        }
    }
    let is = |entry: &Entry<'_>| {
        let [read, write, destroy] = entry.cells.map(|verdict| verdict == Verdict::Allow);
        (read, write, destroy)
    };
    let mut files = Files::default();
    let writable_trees: Vec<&PathPattern> = entries.values().filter(|entry| matches!(is(entry), (true, true, _))).map(|entry| entry.pattern).collect();
    for ((_, whole), entry) in &entries {
        let path = FilePath { pattern: whole.clone(), place: entry.place.clone() };
        let is_inside = || {
            writable_trees.iter().any(|tree| tree.whole != entry.pattern.whole && is_below(&entry.pattern.prefix, &tree.prefix))
                || caches.iter().any(|cache| Path::new(&entry.pattern.prefix).starts_with(cache))
        };
        match is(entry) {
            (false, _, _) => files.masked.push(path),
            (true, true, true) => files.writable.push(path),
            (true, true, false) => files.gated.push(path),
            (true, false, _) if is_inside() => files.read_only.push(path),
            // Outside of what can be written everything is read-only anyway.
            (true, false, _) => {}
        }
    }
    files
}

fn cells(tables: &[Table], pattern: &PathPattern, environment: Option<&str>) -> [Verdict; 3] {
    [Effect::Read, Effect::Write, Effect::Destroy]
        .map(|effect| tables.iter().map(|table| cell(table, pattern, effect, environment)).max().unwrap_or(Verdict::Deny))
}

fn cell(table: &Table, pattern: &PathPattern, effect: Effect, environment: Option<&str>) -> Verdict {
    let mut steps = table.path_steps(if pattern.prefix.is_empty() { "/" } else { &pattern.prefix });
    if pattern.globs.is_some() {
        // The literal part alone does not match; the places that list this very pattern do.
        let same = |place: &&super::table::Place| place.paths.iter().any(|other| other.whole == pattern.whole);
        steps.extend(table.places.iter().filter(same).map(|place| Step { depth: pattern.depth, place }));
        steps.sort_by_key(|step| std::cmp::Reverse(step.depth));
    }
    let line = Line::new(steps, Floor::File);
    if elsewhere(&line, effect, Placed::Known, environment).is_some() {
        return Verdict::Deny;
    }
    let by_rules = table.rules.iter().filter(|rule| tightens_files(rule, &line, effect)).map(|rule| rule.verdict).max();
    weigh(&line, effect, None, Secret::Kept).verdict.max(by_rules.unwrap_or(Verdict::Allow))
}

/// Whether a rule could forbid this effect on files here. Mounts know neither actions nor time, so what might apply does.
fn tightens_files(rule: &Rule, line: &Line<'_>, effect: Effect) -> bool {
    speaks_of_files(rule, effect) && rule.place.as_ref().is_none_or(|name| line.steps.iter().any(|step| step.place.name == *name))
}

/// Whether a rule could forbid this effect on some file.
pub(super) fn speaks_of_files(rule: &Rule, effect: Effect) -> bool {
    let action = match &rule.operation {
        None => true,
        Some(Glob::Exact(word)) => word.starts_with("file."),
        Some(Glob::Prefix(prefix)) => prefix.starts_with("file.") || "file.".starts_with(prefix.as_str()),
        Some(glob @ Glob::Full(..)) => glob.matches("file.open") || glob.matches("file.unlink") || glob.text().starts_with("file."),
    };
    rule.verdict != Verdict::Allow && action && rule.effect.is_none_or(|wanted| wanted == effect) && rule.resource.is_none()
}
