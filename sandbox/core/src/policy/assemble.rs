//! From the layers to one policy: what references what, which settings count, what the table becomes.

use std::collections::BTreeSet;

use super::{
    Context, LayerKind, Policy, PolicyError, check,
    example::Example,
    files,
    layers::{Layered, stack},
    raw::RawLayer,
    settings::{Approval, CredentialRule, Env, KernelGate, Limits, Settings, Unsigned},
    source::nearest,
    table::Table,
};

pub(super) fn assemble(all: &[Layered], context: &Context) -> Result<Policy, PolicyError> {
    let full = stack(all, &|_| true);
    let raw = |stack: &[&Layered]| Table::build(&stack.iter().map(|layer| layer.raw.as_ref()).collect::<Vec<_>>());
    references(&full)?;
    let has_untrusted = all.iter().any(Layered::is_untrusted);
    let counted = if has_untrusted { stack(all, &|layer| !layer.is_untrusted()) } else { full.clone() };
    let mut tables = vec![raw(&full)];
    if has_untrusted {
        tables.push(raw(&counted));
    }
    let mut settings = settings(&counted);
    if has_untrusted {
        tighten(&mut settings, &full);
    }
    let mut warnings = Vec::new();
    settings.files = files::derive(&tables, None, &settings.caches);
    let pass_through = counted.iter().flat_map(|layer| &layer.raw.pass_through).map(|at| at.value.clone()).collect();
    // The last layer that speaks of a host decides.
    let protocols = counted.iter().rev().flat_map(|layer| layer.raw.protocols.iter().cloned()).collect();
    check::warnings(&full, &tables, &mut warnings);
    let examples = examples(&full, &tables);
    Ok(Policy { tables, settings, warnings, examples, pass_through, protocols, context: context.clone(), environment: None })
}

/// Every name that is spoken of must be somebody's.
fn references(full: &[&Layered]) -> Result<(), PolicyError> {
    let places: BTreeSet<&str> = full.iter().flat_map(|layer| layer.raw.places.keys()).map(String::as_str).collect();
    let credentials: BTreeSet<&str> = full.iter().flat_map(|layer| layer.raw.credentials.keys()).map(String::as_str).collect();
    let meant = |word: &str, words: &BTreeSet<&str>| nearest(word, words.iter().copied()).map(|meant| format!("did you mean \"{meant}\"?"));
    let channels: BTreeSet<&str> =
        full.iter().flat_map(|layer| layer.raw.couriers.keys()).map(String::as_str).chain(super::keys::CHANNELS.iter().copied()).collect();
    for layer in full {
        for channel in &layer.raw.channels {
            if !channels.contains(channel.value.as_str()) {
                let hint = format!("the channels are: {}, and what [channel.NAME] names", super::keys::CHANNELS.join(", "));
                return Err(channel.mark.error(&format!("there is no channel `{}`", channel.value), Some(&hint)));
            }
        }
        for place in layer.raw.rules.iter().filter_map(|rule| rule.place.as_ref()) {
            if !places.contains(place.value.as_str()) {
                return Err(place.mark.error(&format!("there is no place `{}`", place.value), meant(&place.value, &places).as_deref()));
            }
        }
        for name in layer.raw.places.values().filter_map(|place| place.credentials.as_ref()).flatten() {
            if !credentials.contains(name.value.as_str()) {
                return Err(name.mark.error(&format!("there is no credential `{}`", name.value), meant(&name.value, &credentials).as_deref()));
            }
        }
        for place in layer.raw.places.values() {
            let asks = place
                .approvers
                .as_ref()
                .filter(|approvers| approvers.value > 1)
                .map(|at| &at.mark)
                .or(place.confirm.as_ref().map(|at| &at.mark))
                .or(place.somebody_else.as_ref().map(|at| &at.mark));
            if let (Some(mark), Some(unprotected)) = (asks, place.protected.as_ref().filter(|protected| !protected.value)) {
                return Err(unprotected.mark.error(
                    &format!(
                        "a place that asks its approvers for more (line {}) cannot be unprotected: a deeper place could loosen it",
                        mark.source.position(mark.range.start).0
                    ),
                    Some("take `protected = false` out, or `approvers`, `confirm` and `somebody-else`"),
                ));
            }
        }
    }
    Ok(())
}

/// Appends what is not there yet.
fn add<T: Clone + PartialEq>(all: &mut Vec<T>, new: impl IntoIterator<Item = T>) {
    for item in new {
        if !all.contains(&item) {
            all.push(item);
        }
    }
}

fn settings(layers: &[&Layered]) -> Settings {
    let mut settings = Settings { approval: Approval { channels: Vec::new(), ..Approval::default() }, env: Env::default(), ..Settings::default() };
    for layer in layers {
        let raw: &RawLayer = &layer.raw;
        lay_approval(&mut settings.approval, raw);
        add(&mut settings.approval.channels, raw.channels.iter().map(|at| at.value.clone()));
        add(&mut settings.approval.approvers, raw.approvers.iter().map(|at| at.value.clone()));
        add(&mut settings.approval.own, raw.own.iter().map(|at| at.value.clone()));
        add(&mut settings.env.pass, raw.env_pass.iter().cloned());
        settings.env.set.extend(raw.env_set.clone());
        lay_limits(&mut settings.limits, &raw.limits);
        add(&mut settings.require, raw.require.iter().cloned());
        settings.names.extend(raw.names.clone());
        add(&mut settings.roots, raw.roots.iter().cloned());
        add(&mut settings.pass_through, raw.pass_through.iter().map(|at| at.value.to_string()));
        add(&mut settings.forward, raw.forward.iter().copied());
        add(&mut settings.publish, raw.publish.iter().copied());
        add(&mut settings.sockets, raw.sockets.iter().cloned());
        add(&mut settings.caches, raw.caches.iter().map(|at| at.value.clone()));
        add(&mut settings.folders, raw.folders.iter().cloned());
        settings.nested_userns = raw.nested_userns.unwrap_or(settings.nested_userns);
        settings.kernel_gate = raw.kernel_gate.unwrap_or(settings.kernel_gate);
        for (name, courier) in &raw.couriers {
            settings.couriers.retain(|old| old.name != *name);
            settings.couriers.push(courier.clone());
        }
        for (name, credential) in &raw.credentials {
            settings.credentials.retain(|old| old.name != *name);
            settings.credentials.push(CredentialRule {
                name: name.clone(),
                source: credential.source.clone(),
                hosts: credential.hosts.clone(),
                allow: credential.allow.clone().unwrap_or_else(|| vec!["*".to_owned()]),
                expires: credential.expires,
                env: credential.env.clone(),
                files: credential.files.clone(),
                environment: credential.environment.clone(),
            });
        }
    }
    // A policy that names keys wants them used, unless it says otherwise.
    let unsigned = layers.iter().rev().find_map(|layer| layer.raw.unsigned);
    let wanted = if settings.approval.approvers.is_empty() { Unsigned::Everything } else { Unsigned::Reversible };
    settings.approval.unsigned = unsigned.unwrap_or(wanted);
    if settings.approval.channels.is_empty() {
        settings.approval.channels = Approval::default().channels;
    }
    settings
}

fn lay_approval(approval: &mut Approval, raw: &RawLayer) {
    approval.patience = raw.patience.unwrap_or(approval.patience);
    approval.client_patience = raw.client_patience.unwrap_or(approval.client_patience);
    approval.hold_in_transaction = raw.hold_in_transaction.unwrap_or(approval.hold_in_transaction);
}

/// `choose` is given what counts so far, also where that is only the default, and what a layer says.
fn each_limit(limits: &mut Limits, new: &Limits, choose: impl Fn(Option<u64>, u64) -> u64) {
    let each = [
        (&mut limits.processes, new.processes, None),
        (&mut limits.open_files, new.open_files, None),
        (&mut limits.memory, new.memory, None),
        (&mut limits.file_size, new.file_size, None),
        (&mut limits.connections, new.connections, Some(Limits::CONNECTIONS)),
        (&mut limits.holds, new.holds, Some(Limits::HOLDS)),
        (&mut limits.alike, new.alike, Some(Limits::ALIKE)),
        (&mut limits.burst, new.burst, Some(Limits::BURST)),
    ];
    for (old, new, default) in each {
        if let Some(new) = new {
            *old = Some(choose(old.or(default), new));
        }
    }
}

fn lay_limits(limits: &mut Limits, new: &Limits) {
    each_limit(limits, new, |_, new| new);
}

/// What an untrusted layer may still do to the settings: want more layers, lower limits, shorten patience, close namespaces.
fn tighten(settings: &mut Settings, full: &[&Layered]) {
    for layer in full.iter().filter(|layer| layer.is_untrusted()) {
        let raw = &layer.raw;
        add(&mut settings.require, raw.require.iter().cloned());
        each_limit(&mut settings.limits, &raw.limits, |old, new| old.map_or(new, |old| old.min(new)));
        settings.approval.patience = raw.patience.map_or(settings.approval.patience, |new| new.min(settings.approval.patience));
        settings.approval.client_patience = raw.client_patience.map_or(settings.approval.client_patience, |new| new.min(settings.approval.client_patience));
        settings.approval.hold_in_transaction =
            raw.hold_in_transaction.map_or(settings.approval.hold_in_transaction, |new| new.min(settings.approval.hold_in_transaction));
        // Its keys do not count, but that signatures are wanted does: where nobody else names a key, nothing can be approved.
        let wanted = if raw.approvers.is_empty() { Unsigned::Everything } else { Unsigned::Reversible };
        settings.approval.unsigned = settings.approval.unsigned.max(raw.unsigned.unwrap_or(wanted));
        settings.nested_userns &= raw.nested_userns.unwrap_or(true);
        // Judging takes a layer away from below the file gate.
        if raw.kernel_gate == Some(KernelGate::Refuse) {
            settings.kernel_gate = KernelGate::Refuse;
        }
    }
}

/// Each layer's examples, with the table as it is up to that layer.
fn examples(full: &[&Layered], tables: &[Table]) -> Vec<Example> {
    let mut all = Vec::new();
    for (index, layer) in full.iter().enumerate() {
        if layer.raw.examples.is_empty() {
            continue;
        }
        let below = full.get(..=index).unwrap_or_default();
        let raw = |layers: Vec<&Layered>| Table::build(&layers.into_iter().map(|layer| layer.raw.as_ref()).collect::<Vec<_>>());
        let own: Vec<Table> = if index + 1 == full.len() {
            tables.to_vec()
        } else {
            let mut own = vec![raw(below.to_vec())];
            if below.iter().any(|layer| layer.is_untrusted()) {
                own.push(raw(below.iter().copied().filter(|layer| !layer.is_untrusted()).collect()));
            }
            own
        };
        let own = std::sync::Arc::new(own);
        all.extend(
            layer
                .raw
                .examples
                .iter()
                .map(|example| Example::new(example, std::sync::Arc::clone(&own), layer.brought_by == LayerKind::Repository { trusted: false })),
        );
    }
    all
}
