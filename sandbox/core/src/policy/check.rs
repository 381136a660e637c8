//! What is allowed to stand in a policy, but is likely not meant.

use super::{
    explain::effective,
    files,
    layers::Layered,
    pattern::HostKind,
    settings::Unsigned,
    table::{COLUMNS, Place, Rule, Table},
};
use crate::{Effect, Verdict, safe, verdict::Quorum};

pub(super) fn warnings(layers: &[&Layered], tables: &[Table], warnings: &mut Vec<String>) {
    untrusted(layers, warnings);
    let Some(table) = tables.first() else { return };
    let keys = layers.iter().filter(|layer| !layer.is_untrusted()).any(|layer| !layer.raw.approvers.is_empty());
    let own = layers.iter().filter(|layer| !layer.is_untrusted()).any(|layer| !layer.raw.own.is_empty());
    unsigned(layers, keys, warnings);
    for place in &table.places {
        inherited(table, place, warnings);
        empty(place, warnings);
        if place.approvers > 1 && !keys {
            warnings.push(format!(
                "{}: place `{}` wants {} approvers, and `approval.approver` names no keys by which they could be told apart: what is held there can only be denied.",
                place.origin, place.name, place.approvers
            ));
        }
        if place.quorum == Quorum::SomebodyElse && !(keys && own) {
            warnings.push(format!(
                "{}: place `{}` wants somebody else than who started the box, and `approval.approver` and `approval.own` do not say whose key is whose: what is held there can only be denied.",
                place.origin, place.name
            ));
        }
    }
    for (index, rule) in table.rules.iter().enumerate() {
        never(table, rule, table.rules.get(..index).unwrap_or_default(), warnings);
        wide(table, rule, warnings);
        unfenced(rule, warnings);
    }
    for (name, bound) in &table.credentials {
        let wide = bound.allow.as_ref().is_none_or(|words| words.iter().any(super::pattern::Glob::is_everything));
        if wide {
            warnings.push(format!("{}: credential `{name}` may be used for everything that the table allows: say in `allow` what it is for.", bound.origin));
        }
    }
}

fn untrusted(layers: &[&Layered], warnings: &mut Vec<String>) {
    if let Some(layer) = layers.iter().rfind(|layer| layer.is_untrusted()) {
        warnings.push(format!(
            "{} is not trusted: it may tighten, but what it loosens does not count. `agentbox policy trust` shows what it says and binds it.",
            layer.raw.source.name
        ));
    }
}

/// Signatures that are wanted by somebody whose keys do not count.
fn unsigned(layers: &[&Layered], keys: bool, warnings: &mut Vec<String>) {
    let asks = |layer: &&&Layered| !layer.raw.approvers.is_empty() || layer.raw.unsigned.is_some_and(|unsigned| unsigned != Unsigned::Everything);
    if let Some(layer) = layers.iter().find(asks).filter(|_| !keys) {
        warnings.push(format!(
            "{}: it wants rulings to be signed, and no layer that counts names an approver's key: what wants a signature can only be denied.",
            layer.raw.source.name
        ));
    }
}

/// A place that says something of its own, but leaves an effect to the place for everything.
fn inherited(table: &Table, place: &Place, warnings: &mut Vec<String>) {
    let catches_all = |place: &Place| place.hosts.iter().any(|pattern| pattern.kind == HostKind::Any);
    if catches_all(place) || !place.is_remote() {
        return;
    }
    for (word, effect) in COLUMNS.iter().zip([Effect::Read, Effect::Write, Effect::Destroy]) {
        if place.cell(effect).is_some() {
            continue;
        }
        let from = effective(table, &place.name, effect, None).into_iter().find_map(|(verdict, _, from)| {
            let from = from?;
            let other = table.place(&from)?;
            catches_all(other).then_some((from, verdict))
        });
        if let Some((from, verdict)) = from {
            warnings.push(format!(
                "{}: place `{}` leaves `{word}` open, so it inherits \"{verdict}\" from `{from}`, which is for every host (\"*\").",
                place.origin, place.name
            ));
        }
    }
}

fn empty(place: &Place, warnings: &mut Vec<String>) {
    if place.hosts.is_empty() && place.paths.is_empty() && place.resources.is_empty() {
        warnings.push(format!("{}: place `{}` names no paths, hosts or resources: nothing is ever in it.", place.origin, place.name));
    }
    if place.cells.iter().all(Option::is_none) {
        warnings.push(format!("{}: place `{}` says nothing of read, write or destroy.", place.origin, place.name));
    }
}

/// A rule that an earlier one always hides, or whose action no operation has.
fn never(table: &Table, rule: &Rule, before: &[Rule], warnings: &mut Vec<String>) {
    let name = safe::line(&rule.name, 120);
    let hides = |earlier: &&Rule| {
        earlier.expires.is_none()
            && earlier.place.as_ref().is_none_or(|place| rule.place.as_ref() == Some(place))
            && match (earlier.effect, rule.effect) {
                // Without an effect, a rule that allows leaves out what cannot be understood.
                (None, other) => earlier.verdict != Verdict::Allow || !matches!(other, Some(Effect::Opaque)),
                (Some(mine), Some(theirs)) => mine == theirs,
                (Some(_), None) => false,
            }
            && earlier.operation.as_ref().is_none_or(|mine| rule.operation.as_ref().is_some_and(|theirs| mine.covers(theirs)))
            && earlier
                .resource
                .as_ref()
                .is_none_or(|mine| rule.resource.as_ref().is_some_and(|theirs| mine.scheme == theirs.scheme && mine.path.covers(&theirs.path)))
    };
    if let Some(earlier) = before.iter().find(hides) {
        warnings.push(format!(
            "{}: rule \"{name}\" can never match: rule \"{}\" ({}) comes before it and covers it.",
            rule.origin,
            safe::line(&earlier.name, 120),
            earlier.origin
        ));
    }
    if let Some(operation) = &rule.operation
        && operation.text().chars().any(|c| !(c.is_ascii_alphanumeric() || "._-*?[]{},!\\".contains(c)))
    {
        warnings.push(format!("{}: rule \"{name}\" can never match: an operation's name has letters, digits, '.', '_' and '-'.", rule.origin));
    }
    let place = rule.place.as_ref().and_then(|name| table.place(name));
    if let Some(place) = place
        && place.hosts.is_empty()
        && place.paths.is_empty()
        && place.resources.is_empty()
    {
        warnings.push(format!("{}: rule \"{name}\" can never match: nothing is ever in place `{}`.", rule.origin, place.name));
    }
}

/// Mounts hide only what a place names.
fn unfenced(rule: &Rule, warnings: &mut Vec<String>) {
    if rule.place.is_none() && files::speaks_of_files(rule, Effect::Read) {
        warnings.push(format!(
            "{}: rule \"{}\" speaks of reading files as well, and this version hides only files that a place names: give the rule a place, or an operation.",
            rule.origin,
            safe::line(&rule.name, 120)
        ));
    }
}

/// An allowance wider than any reason for it.
fn wide(table: &Table, rule: &Rule, warnings: &mut Vec<String>) {
    let all_operations = rule.operation.as_ref().is_none_or(super::pattern::Glob::is_everything);
    let only_reads = rule.effect == Some(Effect::Read);
    if rule.verdict != Verdict::Allow || !all_operations || only_reads || rule.resource.is_some() {
        return;
    }
    let name = safe::line(&rule.name, 120);
    match rule.place.as_ref().and_then(|name| table.place(name)) {
        Some(place) if place.protected => warnings.push(format!(
            "{}: rule \"{name}\" allows every operation in `{}`, which is protected: name the operation that the reason is about.",
            rule.origin, place.name
        )),
        None => warnings.push(format!("{}: rule \"{name}\" allows every operation in every place that is not protected.", rule.origin)),
        Some(_) => {}
    }
}
