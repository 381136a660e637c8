//! The effective table: for every place and effect the verdict, where it was written, and which place it was left to.

use serde::Serialize;

use super::{
    Policy,
    judge::{Floor, Line, Secret, weigh},
    pattern::HostKind,
    table::{COLUMNS, Place, Step, Table},
};
use crate::{
    Destination, Effect, HostName, Verdict,
    verdict::{Confirm, Quorum},
};

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CellExplained {
    /// `read`, `write` or `destroy`.
    pub effect: String,
    /// What happens.
    pub verdict: Verdict,
    /// `agentbox.toml:12`, `floor`, or `built in`.
    pub origin: String,
    /// The place that it was left to, where it is not this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// One place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlaceExplained {
    /// Its name.
    pub name: String,
    /// Where it is defined.
    pub origin: String,
    /// What is in it, as in the file.
    pub holds: Vec<String>,
    /// Whether nothing deeper loosens it.
    pub protected: bool,
    /// People who must say yes to what is held.
    pub approvers: u8,
    /// How they confirm.
    pub confirm: Confirm,
    /// Who must be among them.
    pub quorum: Quorum,
    /// The only credentials that belong here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Vec<String>>,
    /// read, write, destroy.
    pub cells: Vec<CellExplained>,
}

/// One exception, in the order in which they are asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleExplained {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub origin: String,
    /// Only in this place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Only these actions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Only this effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// Only this resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// What happens.
    pub verdict: Verdict,
    /// Seconds after the start of the box.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_seconds: Option<u64>,
}

/// The whole table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// By name; at last the built-in `local`.
    pub places: Vec<PlaceExplained>,
    /// In the order in which they are asked.
    pub rules: Vec<RuleExplained>,
    /// What happens where no place says anything.
    pub floor: Vec<String>,
    /// What is likely not meant.
    pub warnings: Vec<String>,
}

pub(super) fn explain(policy: &Policy) -> Explanation {
    let Some(full) = policy.tables.first() else {
        return Explanation { places: Vec::new(), rules: Vec::new(), floor: Vec::new(), warnings: Vec::new() };
    };
    let places = full.places.iter().chain([&full.local]).map(|place| explain_place(policy, place)).collect();
    let rules = full.rules.iter().map(|rule| RuleExplained {
        name: crate::safe::line(&rule.name, 200),
        origin: rule.origin.to_string(),
        place: rule.place.as_ref().map(|place| place.to_string()),
        operation: rule.operation.as_ref().map(super::pattern::Glob::text),
        effect: rule.effect,
        resource: rule.resource.as_ref().map(super::pattern::ResourcePattern::text),
        verdict: rule.verdict,
        expires_seconds: rule.expires.map(|expires| expires.as_secs()),
    });
    Explanation {
        places,
        rules: rules.collect(),
        floor: vec!["files: read allow, write deny, destroy deny".to_owned(), "hosts: read hold, write hold, destroy hold".to_owned()],
        warnings: policy.warnings.clone(),
    }
}

fn explain_place(policy: &Policy, place: &Place) -> PlaceExplained {
    let holds = place
        .paths
        .iter()
        .map(|pattern| pattern.whole.display().to_string())
        .chain(place.hosts.iter().map(ToString::to_string))
        .chain(place.resources.iter().map(super::pattern::ResourcePattern::text))
        .map(|text| crate::safe::line(&text, 200))
        .collect();
    let cells = COLUMNS.iter().zip([Effect::Read, Effect::Write, Effect::Destroy]).map(|(word, effect)| {
        let all = policy.tables.iter().flat_map(|table| effective(table, &place.name, effect));
        let (verdict, origin, from) = all.max_by_key(|(verdict, ..)| *verdict).unwrap_or((Verdict::Deny, "floor".to_owned(), None));
        CellExplained { effect: (*word).to_owned(), verdict, origin, from: from.filter(|from| **from != *place.name) }
    });
    PlaceExplained {
        name: place.name.to_string(),
        origin: place.origin.to_string(),
        holds,
        protected: place.protected,
        approvers: place.approvers,
        confirm: place.confirm,
        quorum: place.quorum,
        credentials: place.credentials.clone(),
        cells: cells.collect(),
    }
}

/// What the table says of each thing that the place names: verdict, origin, and the place that spoke.
pub(super) fn effective(table: &Table, name: &str, effect: Effect) -> Vec<(Verdict, String, Option<String>)> {
    if *name == *table.local.name {
        return vec![(Verdict::Deny, "built in".to_owned(), None)];
    }
    let Some(place) = table.place(name) else { return Vec::new() };
    lines(table, place)
        .iter()
        .map(|line| {
            let voice = weigh(line, effect, None, Secret::Kept);
            (voice.verdict, voice.origin(), voice.spoken_by())
        })
        .collect()
}

/// One line for each thing that a place names.
fn lines<'t>(table: &'t Table, place: &'t Place) -> Vec<Line<'t>> {
    let mut lines = Vec::new();
    for pattern in &place.paths {
        let mut steps = table.path_steps(if pattern.prefix.is_empty() { "/" } else { &pattern.prefix });
        if pattern.globs.is_some() {
            steps.push(Step { depth: pattern.depth, place });
            steps.sort_by_key(|step| std::cmp::Reverse(step.depth));
        }
        lines.push(Line::new(steps, Floor::File));
    }
    for pattern in &place.hosts {
        let probe = match &pattern.kind {
            HostKind::Name(name) => HostName::parse(name).ok(),
            HostKind::Below(suffix) => HostName::parse(&format!("any{suffix}")).ok(),
            HostKind::Address(address) | HostKind::Range(address, _) => HostName::parse(&address.to_string()).ok(),
            HostKind::Any => None,
        };
        match probe {
            Some(host) => {
                let destination = Destination { host, port: pattern.port.unwrap_or(443), addresses: Vec::new() };
                lines.extend(table.host_lines(&destination, &[], true).into_iter().map(|steps| Line::new(steps, Floor::Host)));
            }
            None => lines.push(Line::new(vec![Step { depth: 0, place }], Floor::Host)),
        }
    }
    if !place.resources.is_empty() {
        // Their hosts are not known here: what the place leaves open falls to whatever host is asked.
        let any = table.far_lines_of_anything();
        lines.push(Line::new(std::iter::once(Step { depth: u32::MAX, place }).chain(any).collect(), Floor::Host));
    }
    lines
}
