//! The judgement: which places an operation is in, and the strictest word that any of them has on it.

use std::{net::IpAddr, time::Duration};

use super::{
    parse::LOCAL,
    settings::{Approval, Unsigned},
    table::{COLUMNS, Cell, Place, Rule, Step, Table, column},
};
use crate::{
    Credential, Destination, Effect, Lineage, Operation, Reach, Request, Resource, ResourceId, Verdict, safe,
    verdict::{Because, Confirm, Presence, Quorum, Terms},
};

/// Most lines of ancestry that are followed; a thing with more is treated as one that nobody has looked up.
const MOST_LINES: usize = 64;

/// Most ancestors in one line, likewise.
const DEEPEST_LINE: usize = 64;

/// Deeper than any host.
const RESOURCE_DEPTH: u32 = 1_000_000;

/// Of a place that a thing could be in, where nobody has looked.
const GUESSED: u32 = RESOURCE_DEPTH - 1;

/// Everything besides the table that a judgement needs.
#[derive(Clone, Copy)]
pub(super) struct Circumstances<'a> {
    /// The machine's own addresses.
    pub(super) own: &'a [IpAddr],
    /// Unix time in milliseconds when the box was started.
    pub(super) started: u64,
    /// Unix time in milliseconds.
    pub(super) now: u64,
    /// Whether `names` says which address the destination has.
    pub(super) mapped: bool,
    /// The environment that the box is bound to.
    pub(super) environment: Option<&'a str>,
}

impl Circumstances<'_> {
    fn is_over(&self, expires: Option<Duration>) -> bool {
        expires.is_some_and(|expires| u128::from(self.now) >= u128::from(self.started) + expires.as_millis())
    }
}

/// What speaks where no place does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Floor {
    File,
    Host,
}

impl Floor {
    const fn verdict(self, effect: Effect) -> Verdict {
        match (self, effect) {
            (Self::File, Effect::Read) => Verdict::Allow,
            (Self::File, Effect::Write | Effect::Destroy | Effect::Opaque) => Verdict::Deny,
            (Self::Host, Effect::Read | Effect::Write | Effect::Destroy | Effect::Opaque) => Verdict::Hold,
        }
    }
}

/// One way up from the thing to the floor.
#[derive(Debug)]
pub(super) struct Line<'t> {
    /// The most specific first.
    pub(super) steps: Vec<Step<'t>>,
    pub(super) floor: Floor,
    /// The thing's ancestors in this line, for rules that name one.
    ancestors: &'t [ResourceId],
}

/// Why a voice says what it says.
#[derive(Clone, Copy, Debug)]
enum Why<'t> {
    Cell(&'t Cell),
    Floor(Floor),
    Rule(&'t Rule),
    YieldsSecret,
    Foreign(&'t Credential),
    Beyond(&'t Credential, &'t str),
    /// It belongs to this environment, which is not the box's.
    Elsewhere(&'t str),
}

/// One answer, with who gave it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice<'t> {
    pub(super) verdict: Verdict,
    pub(super) place: Option<&'t Place>,
    why: Why<'t>,
    /// The effect that it was judged by.
    effect: Effect,
    /// Set where the thing's ancestry was not known.
    unplaced: bool,
    /// Set where it speaks of what another party could do.
    delegated: bool,
}

impl<'t> Line<'t> {
    pub(super) fn new(steps: Vec<Step<'t>>, floor: Floor) -> Self {
        Self { steps, floor, ancestors: &[] }
    }
}

impl<'t> Voice<'t> {
    /// Stricter first; of equals, a protected place speaks before another.
    fn rank(&self) -> (Verdict, bool) {
        (self.verdict, self.place.is_some_and(|place| place.protected))
    }

    pub(super) fn or_stricter(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    /// The place in whose section the word stands; `None` for the floor.
    pub(super) fn spoken_by(&self) -> Option<String> {
        match self.why {
            Why::Cell(cell) => Some(cell.owner.to_string()),
            Why::Floor(_) => Some("floor".to_owned()),
            Why::Rule(_) | Why::YieldsSecret | Why::Foreign(_) | Why::Beyond(..) | Why::Elsewhere(_) => None,
        }
    }

    /// Where the word comes from: for explain.
    pub(super) fn origin(&self) -> String {
        match self.why {
            Why::Cell(cell) => cell.origin.to_string(),
            Why::Floor(_) => "floor".to_owned(),
            Why::Rule(rule) => rule.origin.to_string(),
            Why::YieldsSecret | Why::Foreign(_) | Why::Beyond(..) | Why::Elsewhere(_) => String::new(),
        }
    }
}

/// What an operation is judged as, for rules and cells.
#[derive(Clone, Copy)]
struct Asked<'t> {
    operation: &'t Operation,
    effect: Effect,
}

/// The answer on a whole request: the worst voice, who it is about, and what approvers must do.
pub(super) struct Outcome<'t> {
    pub(super) voice: Voice<'t>,
    pub(super) operation: Option<&'t Operation>,
    demands: Demands,
}

/// What the places want of their approvers.
#[derive(Clone, Copy)]
struct Demands {
    approvers: u8,
    confirm: Confirm,
    quorum: Quorum,
    /// Whether it may be settled by an account's word where the policy settles only what can be taken back so.
    weight: Weight,
    /// The longest time for which a yes may cover more of the same.
    lease: Duration,
}

/// How much hangs on a yes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// It can be taken back, and no protected place is touched.
    Reversible,
    /// Else.
    Grave,
}

impl Demands {
    const NONE: Self = Self { approvers: 1, confirm: Confirm::Plain, quorum: Quorum::Anybody, weight: Weight::Reversible, lease: Duration::MAX };

    fn stronger(self, other: Self) -> Self {
        Self {
            approvers: self.approvers.max(other.approvers),
            confirm: self.confirm.max(other.confirm),
            quorum: self.quorum.max(other.quorum),
            weight: self.weight.max(other.weight),
            lease: self.lease.min(other.lease),
        }
    }

    fn presence(self, unsigned: Unsigned) -> Presence {
        // One account is one person, however many programs it runs.
        let several = self.approvers > 1 || self.quorum == Quorum::SomebodyElse;
        let wanted = match unsigned {
            Unsigned::Everything => several,
            Unsigned::Reversible => several || self.confirm == Confirm::Name || self.weight == Weight::Grave,
            Unsigned::Nothing => true,
        };
        if wanted { Presence::Signature } else { Presence::Account }
    }
}

impl<'t> Outcome<'t> {
    /// Without any table nothing is allowed.
    pub(super) fn without_policy() -> Self {
        let voice = Voice { verdict: Verdict::Deny, ..floor_voice(Floor::Host, Effect::Opaque) };
        Self { voice, operation: None, demands: Demands { weight: Weight::Grave, ..Demands::NONE } }
    }

    pub(super) fn or_stricter(self, other: Self) -> Self {
        let demands = self.demands.stronger(other.demands);
        let worse = if other.voice.rank() > self.voice.rank() { other } else { self };
        Self { demands, ..worse }
    }

    pub(super) fn terms(&self, approval: &Approval) -> Terms {
        let Demands { approvers, confirm, quorum, lease, .. } = self.demands;
        // Who types the name of one thing has not named the others.
        let lease = if confirm == Confirm::Name || lease == Duration::MAX { Duration::ZERO } else { lease };
        Terms { approvers: approvers.max(1), confirm, presence: self.demands.presence(approval.unsigned), quorum, lease, patience: approval.patience }
    }
}

impl Table {
    /// Judges every operation; the strictest decides.
    pub(super) fn judge<'t>(&'t self, request: &'t Request, circumstances: Circumstances<'_>) -> Outcome<'t> {
        let hosts = request.destination.as_ref().map(|destination| self.host_lines(destination, circumstances.own, circumstances.mapped));
        let mut worst: Option<Outcome<'t>> = None;
        for operation in &request.operations {
            let outcome = self.judge_one(operation, request, hosts.as_deref(), circumstances);
            worst = Some(match worst {
                Some(before) => before.or_stricter(outcome),
                None => outcome,
            });
        }
        worst.unwrap_or_else(|| self.judge_nothing(hosts.as_deref()))
    }

    /// A request in which no operation was found could be any: opaque, in the strictest place of all.
    fn judge_nothing<'t>(&'t self, hosts: Option<&[Vec<Step<'t>>]>) -> Outcome<'t> {
        let lines = hosts.unwrap_or_default().iter().cloned().chain(self.everywhere());
        let mut outcome =
            Outcome { voice: floor_voice(Floor::Host, Effect::Opaque), operation: None, demands: Demands { weight: Weight::Grave, ..Demands::NONE } };
        for steps in lines {
            let line = Line { steps, floor: Floor::Host, ancestors: &[] };
            outcome = outcome.or_stricter(hear(&line, weigh(&line, Effect::Opaque, None, Secret::Kept), None));
        }
        outcome
    }

    fn judge_one<'t>(
        &'t self,
        operation: &'t Operation,
        request: &'t Request,
        hosts: Option<&[Vec<Step<'t>>]>,
        circumstances: Circumstances<'_>,
    ) -> Outcome<'t> {
        let asked = Asked { operation, effect: operation.effect };
        let (lines, unplaced) = self.lines(&operation.resource, request, hosts);
        let secret = if operation.yields_credential { Secret::HandedOut } else { Secret::Kept };
        let mut outcome: Option<Outcome<'t>> = None;
        let mut add = |new: Outcome<'t>| {
            outcome = Some(match outcome.take() {
                Some(before) => before.or_stricter(new),
                None => new,
            });
        };
        for line in &lines {
            let rule = self.rule_for(line, asked, circumstances);
            let mut voice = weigh(line, asked.effect, rule, secret);
            voice.unplaced = unplaced;
            for credential in &request.evidence.credentials {
                if let Some(alarm) = self.alarm(line, operation, credential, request.destination.as_ref(), circumstances) {
                    voice = voice.or_stricter(alarm);
                }
            }
            if let Some(elsewhere) = elsewhere(line, asked.effect, if unplaced { Placed::Guessed } else { Placed::Known }, circumstances.environment) {
                voice = voice.or_stricter(elsewhere);
            }
            add(hear(line, voice, Some(operation)));
        }
        if let Some(delegation) = &operation.delegates {
            let asked = Asked { operation, effect: Effect::Opaque };
            for line in self.reach(&delegation.reach) {
                let rule = self.rule_for(&line, asked, circumstances);
                let mut voice = weigh(&line, asked.effect, rule, Secret::Kept);
                // Where another party could reach is a guess as well.
                if let Some(elsewhere) = elsewhere(&line, asked.effect, Placed::Reached, circumstances.environment) {
                    voice = voice.or_stricter(elsewhere);
                }
                voice.delegated = true;
                add(hear(&line, voice, Some(operation)));
            }
        }
        outcome.unwrap_or_else(|| Outcome {
            voice: floor_voice(Floor::Host, Effect::Opaque),
            operation: Some(operation),
            demands: Demands { weight: Weight::Grave, ..Demands::NONE },
        })
    }

    /// All lines of a resource, and whether its place had to be guessed.
    pub(super) fn lines<'t>(&'t self, resource: &'t Resource, request: &'t Request, hosts: Option<&[Vec<Step<'t>>]>) -> (Vec<Line<'t>>, bool) {
        let scheme = resource.id.scheme();
        let path = resource.id.path();
        let nowhere = [Vec::new()];
        if scheme == "file" && hosts.is_none() {
            return if is_plain(path) {
                (vec![Line { steps: self.path_steps(path), floor: Floor::File, ancestors: &[] }], false)
            } else {
                // `..`, a relative path, or none at all: it could be any file.
                let mut lines: Vec<Line<'t>> = self
                    .places
                    .iter()
                    .filter(|place| !place.paths.is_empty())
                    .map(|place| Line { steps: vec![Step { depth: 0, place }], floor: Floor::File, ancestors: &[] })
                    .collect();
                lines.push(Line { steps: Vec::new(), floor: Floor::File, ancestors: &[] });
                (lines, true)
            };
        }
        let hosts = hosts.filter(|hosts| !hosts.is_empty()).unwrap_or(&nowhere);
        let seen = request.evidence.seen.as_ref().filter(|seen| seen.resource == resource.id);
        let known: &[Vec<ResourceId>] = match &resource.lineage {
            Lineage::Known(lines) => lines,
            Lineage::Unknown => &[],
        };
        let looked: &[Vec<ResourceId>] = seen.map_or(&[], |seen| &seen.lineages);
        let count = known.len() + looked.len();
        let bounded = (1..=MOST_LINES).contains(&count) && known.iter().chain(looked).all(|line| line.len() <= DEEPEST_LINE);
        let mut own = Vec::new();
        self.resource_steps(scheme, path, resource.id.as_str(), RESOURCE_DEPTH, &mut own);
        let names: &[(ResourceId, String)] = seen.map_or(&[], |seen| &seen.names);
        if let Some(seen) = seen {
            self.called(&resource.id, &seen.name, RESOURCE_DEPTH, &mut own);
        }
        let mut lines = Vec::new();
        if bounded {
            for ancestors in known.iter().chain(looked) {
                let mut steps = own.clone();
                let mut depth = RESOURCE_DEPTH;
                for ancestor in ancestors {
                    depth -= 1;
                    self.resource_steps(ancestor.scheme(), ancestor.path(), ancestor.as_str(), depth, &mut steps);
                    for (_, name) in names.iter().filter(|(id, _)| id == ancestor) {
                        self.called(ancestor, name, depth, &mut steps);
                    }
                }
                lines.extend(hosts.iter().map(|host| Line { steps: steps.iter().chain(host).copied().collect(), floor: Floor::Host, ancestors }));
            }
            return (lines, false);
        }
        // Nobody has looked: by its host alone, and by every place that it could be in.
        for host in hosts {
            lines.push(Line { steps: own.iter().chain(host).copied().collect(), floor: Floor::Host, ancestors: &[] });
            for place in self.could_be(scheme) {
                let step = Step { depth: GUESSED, place };
                lines.push(Line { steps: own.iter().chain([&step]).chain(host).copied().collect(), floor: Floor::Host, ancestors: &[] });
            }
        }
        (lines, true)
    }

    /// Places that list a thing by what people call it: `railway:environment/production` for `railway:environment/9f2…`.
    fn called<'t>(&'t self, id: &ResourceId, name: &str, depth: u32, steps: &mut Vec<Step<'t>>) {
        if name.is_empty() || name.contains('/') {
            return;
        }
        let kind = id.path().rfind('/').and_then(|slash| id.path().get(..=slash)).unwrap_or_default();
        self.called_steps(id.scheme(), kind, &super::pattern::escaped(name.as_bytes()), depth, steps);
    }

    fn reach<'t>(&'t self, reach: &'t Reach) -> Vec<Line<'t>> {
        let line = |steps| Line { steps, floor: Floor::Host, ancestors: &[] };
        if let Reach::Hosts(hosts) = reach
            && !hosts.is_empty()
            && hosts.len() <= MOST_LINES
            && let Some(lines) = hosts.iter().map(|host| self.far_host(host)).collect::<Option<Vec<_>>>()
        {
            return lines.into_iter().flatten().map(line).collect();
        }
        self.everywhere().into_iter().map(line).collect()
    }

    fn far_host<'t>(&'t self, host: &str) -> Option<Vec<Vec<Step<'t>>>> {
        let (name, port) = super::pattern::split_port(host).ok()?;
        Some(self.far_lines(&crate::HostName::parse(name).ok()?, port))
    }

    /// The first rule that speaks of this operation in this line.
    fn rule_for<'t>(&'t self, line: &Line<'_>, asked: Asked<'_>, circumstances: Circumstances<'_>) -> Option<&'t Rule> {
        self.rules.iter().find(|rule| rule.speaks_of(line, asked) && !circumstances.is_over(rule.expires))
    }

    /// Whether a credential is where it does not belong, or used for what it is not meant for.
    fn alarm<'t>(
        &'t self,
        line: &Line<'t>,
        operation: &Operation,
        credential: &'t Credential,
        destination: Option<&Destination>,
        circumstances: Circumstances<'_>,
    ) -> Option<Voice<'t>> {
        let voice = |place, why| Voice { verdict: Verdict::Hold, place, why, effect: operation.effect, unplaced: false, delegated: false };
        for step in &line.steps {
            if let Some(belong) = &step.place.credentials
                && !(credential.issued && belong.contains(&credential.name))
            {
                return Some(voice(Some(step.place), Why::Foreign(credential)));
            }
            // A protected place need not list its credentials: what this box was not given does not belong there.
            if step.place.protected && !credential.issued {
                return Some(voice(Some(step.place), Why::Foreign(credential)));
            }
        }
        let bound = self.credentials.get(&credential.name).filter(|_| credential.issued)?;
        let elsewhere = destination.is_none_or(|destination| !bound.hosts.contains(&destination.host));
        let fits = |words: &Vec<super::pattern::Glob>| {
            words.iter().any(|word| {
                let is_effect = matches!(word, super::pattern::Glob::Exact(word) if word == operation.effect.word());
                is_effect || (operation.effect != Effect::Opaque && word.matches(operation.action.as_str()))
            })
        };
        let place = line.steps.first().map(|step| step.place);
        let is_anothers = circumstances.environment.is_some_and(|own| bound.environment.as_deref().is_some_and(|other| other != own));
        if is_anothers {
            Some(Voice { verdict: Verdict::Deny, ..voice(place, Why::Beyond(credential, "it is of another environment than this box")) })
        } else if elsewhere {
            // Nothing there could use its placeholder, and nobody would send it by mistake alone.
            Some(Voice { verdict: Verdict::Deny, ..voice(place, Why::Beyond(credential, "it is not for this host")) })
        } else if circumstances.is_over(bound.expires) {
            Some(voice(place, Why::Beyond(credential, "its time is over")))
        } else if bound.allow.as_ref().is_some_and(|words| !fits(words)) {
            Some(voice(place, Why::Beyond(credential, "it is not for this operation")))
        } else {
            None
        }
    }
}

/// An absolute path that names one place in the tree.
fn is_plain(path: &str) -> bool {
    path.starts_with('/') && !path.split('/').any(|part| part == ".." || part == ".")
}

impl Rule {
    fn speaks_of(&self, line: &Line<'_>, asked: Asked<'_>) -> bool {
        let operation = asked.operation;
        let effect = match self.effect {
            Some(effect) if effect == asked.effect => true,
            // What is not understood could destroy: a stricter rule covers it, a looser one must say so.
            Some(Effect::Destroy) => asked.effect == Effect::Opaque && self.verdict != Verdict::Allow,
            Some(Effect::Read | Effect::Write | Effect::Opaque) => false,
            None => asked.effect != Effect::Opaque || self.verdict != Verdict::Allow,
        };
        effect
            && self.operation.as_ref().is_none_or(|glob| glob.matches(operation.action.as_str()))
            && self.place.as_ref().is_none_or(|name| line.steps.iter().any(|step| step.place.name == *name))
            && self
                .resource
                .as_ref()
                .is_none_or(|pattern| std::iter::once(&operation.resource.id).chain(line.ancestors).any(|id| pattern.matches(id.scheme(), id.path())))
    }
}

/// Whether the answer hands out a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Secret {
    Kept,
    HandedOut,
}

fn floor_voice<'t>(floor: Floor, effect: Effect) -> Voice<'t> {
    Voice { verdict: floor.verdict(effect), place: None, why: Why::Floor(floor), effect, unplaced: false, delegated: false }
}

/// The word of one line.
///
/// Two answers are carried upward side by side: what the table alone says (`plain`), and what it says with the rule put
/// in the place of every cell that the rule may loosen (`ruled`). A protected place that the rule does not name speaks
/// by the plain one, so that nothing deeper and no unnamed exception loosens it.
pub(super) fn weigh<'t>(line: &Line<'t>, effect: Effect, rule: Option<&'t Rule>, secret: Secret) -> Voice<'t> {
    let voice = |verdict, place, why| Voice { verdict, place, why, effect, unplaced: false, delegated: false };
    let named = |place: &Place| rule.is_some_and(|rule| rule.place.as_ref() == Some(&place.name));
    // Where the named place stands in this line; a rule without a place reaches all of it.
    let reach = match rule {
        Some(Rule { place: Some(name), .. }) => line.steps.iter().filter(|step| step.place.name == *name).map(|step| step.depth).max(),
        Some(_) => Some(u32::MAX),
        None => None,
    };
    let by_rule = |place| rule.map(|rule| voice(rule.verdict, place, Why::Rule(rule)));
    let mut plain = floor_voice(line.floor, effect);
    let mut ruled = by_rule(None).unwrap_or(plain);
    let mut protected: Option<Voice<'t>> = None;
    let mut rest = line.steps.as_slice();
    while let Some(last) = rest.last() {
        let start = rest.partition_point(|step| step.depth > last.depth);
        let (shallow_last, group) = rest.split_at_checked(start).unwrap_or((&[], rest));
        let mut group_plain: Option<Voice<'t>> = None;
        let mut group_ruled: Option<Voice<'t>> = None;
        for step in group {
            let place = step.place;
            let cell = place.cell(effect).map(|cell| voice(cell.verdict, Some(place), Why::Cell(cell)));
            let by_table = cell.unwrap_or(plain);
            let loosened = named(place) || (!place.protected && reach.is_some_and(|reach| step.depth < reach));
            let with_rule = match (cell, loosened) {
                (Some(_), true) => by_rule(Some(place)).unwrap_or(by_table),
                (Some(cell), false) => cell,
                (None, _) => ruled,
            };
            group_plain = Some(group_plain.map_or(by_table, |other| other.or_stricter(by_table)));
            group_ruled = Some(group_ruled.map_or(with_rule, |other| other.or_stricter(with_rule)));
            if place.protected {
                let mut word = if named(place) { with_rule } else { Voice { place: Some(place), ..by_table } };
                if secret == Secret::HandedOut && !named(place) && word.verdict < Verdict::Hold {
                    word = voice(Verdict::Hold, Some(place), Why::YieldsSecret);
                }
                protected = Some(protected.map_or(word, |other| other.or_stricter(word)));
            }
        }
        plain = group_plain.unwrap_or(plain);
        ruled = group_ruled.unwrap_or(ruled);
        rest = shallow_last;
    }
    let mut word = ruled;
    if let Some(protected) = protected {
        word = word.or_stricter(protected);
    }
    // A rule that is stricter than the table always counts.
    if let Some(strict) = by_rule(line.steps.first().map(|step| step.place))
        && strict.verdict > word.verdict
    {
        word = strict;
    }
    word
}

/// How it is known where a line leads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    Known,
    /// It is one of the lines that it could be.
    Guessed,
    /// It is one that another party could reach.
    Reached,
}

/// What a box that is bound to an environment is told of a line through another one: no. Where the thing's place was guessed it is a
/// question, and reading asks none: one host often serves every environment.
pub(super) fn elsewhere<'t>(line: &Line<'t>, effect: Effect, placed: Placed, environment: Option<&str>) -> Option<Voice<'t>> {
    let own = environment?;
    let mut word: Option<Voice<'t>> = None;
    for step in &line.steps {
        let Some(other) = step.place.environment.as_deref().filter(|other| *other != own) else { continue };
        let guess = match placed {
            Placed::Known => false,
            // The host and the thing itself are known; the place between them was guessed.
            Placed::Guessed => line.floor == Floor::File || step.depth == GUESSED,
            Placed::Reached => true,
        };
        let verdict = match (guess, effect) {
            (false, _) => Verdict::Deny,
            (true, Effect::Read) => continue,
            (true, Effect::Write | Effect::Destroy | Effect::Opaque) => Verdict::Hold,
        };
        let voice = Voice { verdict, place: Some(step.place), why: Why::Elsewhere(other), effect, unplaced: guess, delegated: false };
        word = Some(word.map_or(voice, |word| word.or_stricter(voice)));
    }
    word
}

/// A line's word with what its approvers must do.
fn hear<'t>(line: &Line<'t>, voice: Voice<'t>, operation: Option<&'t Operation>) -> Outcome<'t> {
    let mut demands = Demands::NONE;
    // What is allowed beside it is part of the same yes.
    let takes_back = matches!(voice.effect, Effect::Read | Effect::Write)
        && matches!(voice.why, Why::Cell(_) | Why::Floor(_) | Why::Rule(_))
        && operation.is_some_and(|operation| matches!(operation.effect, Effect::Read | Effect::Write) && !operation.yields_credential);
    if !takes_back {
        demands.weight = Weight::Grave;
    }
    if voice.verdict == Verdict::Hold {
        for step in &line.steps {
            let Place { approvers, confirm, quorum, .. } = *step.place;
            let weight = if step.place.protected { Weight::Grave } else { Weight::Reversible };
            // A protected place must let it itself.
            let lease = if step.place.protected { step.place.lease.unwrap_or_default() } else { Duration::MAX };
            demands = demands.stronger(Demands { approvers, confirm, quorum, weight, lease });
        }
        let told = matches!(voice.why, Why::Cell(_) | Why::Rule(_)) && voice.effect != Effect::Opaque && !voice.unplaced;
        let lease = voice.place.and_then(|place| place.lease).filter(|_| told).unwrap_or_default();
        demands.lease = demands.lease.min(lease);
    }
    Outcome { voice, operation, demands }
}

impl Outcome<'_> {
    /// In words for the card, the ledger and `why`.
    pub(super) fn because(&self) -> Because {
        let action = self.operation.map_or("unknown", |operation| operation.action.as_str());
        let resource = self.operation.map_or("something unknown", |operation| operation.resource.id.as_str());
        let place = self.voice.place.map_or("floor", |place| &place.name);
        let word = self.voice.verdict.word();
        let cell = COLUMNS.get(column(self.voice.effect)).copied().unwrap_or_default();
        let rule = match self.voice.why {
            Why::Cell(_) if place == LOCAL => "built-in place `local` = \"deny\"".to_owned(),
            Why::Cell(from) => format!("place.{} {cell} = \"{word}\" ({})", from.owner, from.origin),
            Why::Floor(Floor::File) => "the floor: files may be read, not changed".to_owned(),
            Why::Floor(Floor::Host) => "the floor: everything at a host that no place names is held".to_owned(),
            Why::Rule(rule) => format!("rule \"{}\" = \"{word}\" ({})", safe::line(&rule.name, 120), rule.origin),
            Why::YieldsSecret => {
                format!("place.{place} is protected, and the answer hands out a secret ({})", self.voice.place.map_or("", |place| &place.origin))
            }
            Why::Foreign(_) => match self.voice.place.map(|place| (&place.credentials, &place.credentials_origin, &place.origin)) {
                Some((Some(_), listed, _)) => format!("place.{place} credentials ({listed})"),
                Some((None, _, origin)) => format!("place.{place} is protected, and this box was not given the credential ({origin})"),
                None => format!("place.{place} credentials"),
            },
            Why::Beyond(credential, _) => format!("credential.{}", safe::line(&credential.name, 64)),
            Why::Elsewhere(other) => {
                format!("place.{place} environment = \"{}\" ({})", safe::line(other, 64), self.voice.place.map_or("", |place| &place.origin))
            }
        };
        Because { action: action.to_owned(), place: place.to_owned(), rule, reason: self.reason(place, action, resource, cell) }
    }

    fn reason(&self, place: &str, action: &str, resource: &str, cell: &str) -> String {
        let does = match self.voice.verdict {
            Verdict::Allow => "is allowed",
            Verdict::Hold => "waits for a person",
            Verdict::Deny => "is denied",
        };
        let what = format!("{action} on {}", safe::line(resource, 160));
        let opaque = if self.voice.effect == Effect::Opaque { "cannot be understood, which is judged as destroy, and " } else { "" };
        let mut reason = match self.voice.why {
            Why::Cell(_) if place == LOCAL => {
                "this address is on the machine itself or on its own network, which a policy must name before it can be reached".to_owned()
            }
            Why::Cell(_) => format!("{what} {opaque}{does}: in {place}, {cell} is \"{}\"", self.voice.verdict),
            Why::Floor(Floor::File) => format!("{what} {does}: no place of the policy says otherwise, and files outside all places may only be read"),
            Why::Floor(Floor::Host) => format!("{what} {opaque}{does}: no place of the policy names this host"),
            Why::Rule(rule) => format!("{what} {opaque}{does} by the rule \"{}\"", safe::line(&rule.name, 120)),
            Why::YieldsSecret => format!("{what} {does}: its answer hands out a secret of {place}, which is protected"),
            Why::Foreign(credential) => format!(
                "{what} {does}: the credential in it ({}, {}) is not one that this box was given for {place}",
                safe::line(&credential.name, 240),
                safe::line(&credential.position, 80)
            ),
            Why::Elsewhere(other) => {
                format!("{what} {does}: {place} belongs to the environment {}, and this box was started for another one", safe::line(other, 64))
            }
            Why::Beyond(credential, why) => format!("{what} {does}: the credential {} is used beyond what it is for, {why}", safe::line(&credential.name, 80)),
        };
        if self.voice.delegated
            && let Some(delegation) = self.operation.and_then(|operation| operation.delegates.as_ref())
        {
            reason.push_str(&format!(
                "; it makes another party act ({}), so it counts as opaque wherever that party could reach",
                safe::line(&delegation.why, 160)
            ));
        }
        if self.voice.unplaced {
            reason.push_str("; nobody could tell where it belongs, so the strictest place that it could be in decides");
        }
        reason
    }

    /// One sentence for the agent: what to do instead.
    pub(super) fn guidance(&self, port: Option<u16>) -> String {
        let near = self.voice.place.is_some_and(|place| &*place.name == LOCAL);
        if near && let Some(port) = port {
            return format!(
                "Do not look for another way to this address. If it is a service of the machine itself, ask the person to run with `--forward {port}`: it is then \
                 localhost:{port} in the box. Any other address they must name in a place of the policy."
            );
        }
        let text = match self.voice.verdict {
            _ if near => "Do not look for another way to this address; if the task needs it, ask the person to name it in a place of the policy.",
            Verdict::Deny => "Do not look for another way to do it; go on without it, or ask the person who started this box to change the policy.",
            Verdict::Allow | Verdict::Hold => "A person must approve exactly this operation; tell them, and repeat the same request after they have.",
        };
        text.to_owned()
    }
}
