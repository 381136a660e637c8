//! What a look changes in a request, and whether a second look is worse than the first. Pure.

use agentbox_core::{
    Destination, Effect, Lineage, Request, ResourceId,
    look::{Loss, Seen, Undo},
};

use super::looks::Found;

/// The operations that a look could say something of, the worst first.
pub(super) fn which(request: &Request, can_look: fn(&ResourceId, &Destination) -> bool) -> Vec<usize> {
    let Some(destination) = &request.destination else { return Vec::new() };
    let mut which: Vec<(Effect, usize)> = request
        .operations
        .iter()
        .enumerate()
        .filter(|(_, operation)| can_look(&operation.resource.id, destination))
        .map(|(index, operation)| (operation.effect, index))
        .collect();
    which.sort_by_key(|(effect, index)| (std::cmp::Reverse(*effect), *index));
    which.into_iter().map(|(_, index)| index).collect()
}

/// Puts what was found into the request: lineages into the operations, the rest into the evidence.
pub(super) fn apply(request: &mut Request, found: Found) {
    let mut seen: Option<Seen> = None;
    let mut unseen = Vec::new();
    for (index, result) in found {
        let Some(operation) = request.operations.get_mut(index) else { continue };
        match result {
            Ok(one) => {
                operation.resource.lineage = place(std::mem::replace(&mut operation.resource.lineage, Lineage::Unknown), &one);
                match &mut seen {
                    None => seen = Some(one),
                    Some(all) => merge(all, one),
                }
            }
            Err(why) => unseen.push(format!("{}: {why}", operation.resource.id)),
        }
    }
    request.evidence.seen = seen;
    request.evidence.unseen = (!unseen.is_empty()).then(|| unseen.join("; "));
}

/// What the request itself says of the lineage stays; a look only adds. One that finds no way up at all places nothing.
fn place(known: Lineage, seen: &Seen) -> Lineage {
    if seen.lineages.is_empty() {
        return known;
    }
    match known {
        Lineage::Unknown => Lineage::Known(seen.lineages.clone()),
        Lineage::Known(mut lines) => {
            // `[[]]` said "nothing but its host"; the look knows better, and both count.
            lines.extend(seen.lineages.iter().filter(|line| !lines.contains(line)).cloned().collect::<Vec<_>>());
            Lineage::Known(lines)
        }
    }
}

/// Adds the sight of a second thing. Its losses carry its id, so that they are never compared with those of the first.
fn merge(all: &mut Seen, one: Seen) {
    all.lineages.extend(one.lineages);
    all.names.extend(one.names);
    let resource = one.resource;
    all.losses.extend(one.losses.into_iter().map(|loss| Loss { what: format!("{} of {resource}", loss.what), ..loss }));
    all.undo = match (std::mem::replace(&mut all.undo, Undo::Unknown), one.undo) {
        (Undo::Yes(a), Undo::Yes(b)) => Undo::Yes(if a == b { a } else { format!("{a}; {resource}: {b}") }),
        (Undo::No(why), _) | (Undo::Yes(_), Undo::No(why)) | (Undo::Unknown, Undo::No(why)) => Undo::No(why),
        (Undo::Unknown, _) | (_, Undo::Unknown) => Undo::Unknown,
    };
}

/// How the world is worse than what was shown, if it is.
pub(super) fn worse(shown: &Request, now: &Request) -> Result<(), String> {
    let (seen, then) = (&now.evidence.seen, &shown.evidence.seen);
    match (seen, then) {
        (Some(seen), Some(then)) if seen.is_worse_than(then) => return Err("it lies elsewhere, or more would be lost".to_owned()),
        (None, Some(_)) => {
            let why = now.evidence.unseen.as_deref().unwrap_or("nobody could look");
            return Err(format!("it could not be looked at again ({why})"));
        }
        // Nobody had seen it, and the approver was told so: knowing more is not worse. The policy is asked again in any case.
        (Some(_), Some(_) | None) | (None, None) => {}
    }
    if now.evidence.unseen.is_some() && shown.evidence.unseen.is_none() {
        return Err("a part of it could not be looked at again".to_owned());
    }
    for (before, after) in shown.operations.iter().zip(&now.operations) {
        if let (Lineage::Known(before), Lineage::Known(after)) = (&before.resource.lineage, &after.resource.lineage)
            && !after.iter().all(|line| before.contains(line))
        {
            return Err("it belongs to something that it did not belong to when it was shown".to_owned());
        }
    }
    Ok(())
}
