//! The effective table: for every place and effect the verdict, where it was written, and which place it was left to.

use serde::Serialize;

use super::{
    Policy,
    judge::{Floor, Line, Placed, Secret, elsewhere, weigh},
    pattern::HostKind,
    settings::{CredentialRule, Source},
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
    /// The environment that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
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

/// One credential; never its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CredentialExplained {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub origin: String,
    /// Where its secret is read from: `env:NAME`, `file:PATH`; of a command, that it is one.
    pub source: String,
    /// Hosts that may see it.
    #[serde(rename = "for")]
    pub hosts: Vec<String>,
    /// Actions or effects that it may be used for.
    pub allow: Vec<String>,
    /// Seconds after the start of the box.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_seconds: Option<u64>,
    /// The environment that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Whether a box of the environment that was asked about is denied every use of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub denied: bool,
}

/// The whole table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// By name; at last the built-in `local`.
    pub places: Vec<PlaceExplained>,
    /// By name.
    pub credentials: Vec<CredentialExplained>,
    /// In the order in which they are asked.
    pub rules: Vec<RuleExplained>,
    /// What happens where no place says anything.
    pub floor: Vec<String>,
    /// What is likely not meant.
    pub warnings: Vec<String>,
}

pub(super) fn explain(policy: &Policy) -> Explanation {
    let Some(full) = policy.tables.first() else {
        return Explanation { places: Vec::new(), credentials: Vec::new(), rules: Vec::new(), floor: Vec::new(), warnings: Vec::new() };
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
    let mut credentials: Vec<_> = policy.settings.credentials.iter().map(|rule| explain_credential(policy, full, rule)).collect();
    credentials.sort_by(|a, b| a.name.cmp(&b.name));
    Explanation {
        places,
        credentials,
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
        let all = policy.tables.iter().flat_map(|table| effective(table, &place.name, effect, policy.environment.as_deref()));
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
        environment: place.environment.as_deref().map(|name| crate::safe::line(name, 64)),
        credentials: place.credentials.clone(),
        cells: cells.collect(),
    }
}

fn explain_credential(policy: &Policy, table: &Table, rule: &CredentialRule) -> CredentialExplained {
    CredentialExplained {
        name: crate::safe::line(&rule.name, 64),
        origin: table.credentials.get(&rule.name).map_or_else(String::new, |bound| bound.origin.to_string()),
        source: match &rule.source {
            Source::Env(name) => crate::safe::line(&format!("env:{name}"), 200),
            Source::File(path) => crate::safe::line(&format!("file:{}", path.display()), 200),
            // A line of a shell may have a secret in it.
            Source::Command(_) => "command".to_owned(),
            Source::Keyring(attributes) => {
                let words: Vec<String> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
                crate::safe::line(&format!("keyring:{}", words.join(" ")), 200)
            }
            Source::Vault { mount, path, field } => crate::safe::line(&format!("vault:{mount}/{path}#{field}"), 200),
        },
        hosts: rule.hosts.iter().map(ToString::to_string).collect(),
        allow: rule.allow.iter().map(|word| crate::safe::line(word, 100)).collect(),
        expires_seconds: rule.expires.map(|expires| expires.as_secs()),
        environment: rule.environment.as_deref().map(|name| crate::safe::line(name, 64)),
        denied: policy.environment.as_deref().is_some_and(|own| rule.environment.as_deref().is_some_and(|other| other != own)),
    }
}

/// What the table says of each thing that the place names: verdict, origin, and the place that spoke; in a box of `environment`, where one is given.
pub(super) fn effective(table: &Table, name: &str, effect: Effect, environment: Option<&str>) -> Vec<(Verdict, String, Option<String>)> {
    if *name == *table.local.name {
        return vec![(Verdict::Deny, "built in".to_owned(), None)];
    }
    let Some(place) = table.place(name) else { return Vec::new() };
    lines(table, place)
        .iter()
        .map(|line| {
            let voice = weigh(line, effect, None, Secret::Kept);
            let voice = elsewhere(line, effect, Placed::Known, environment).map_or(voice, |other| voice.or_stricter(other));
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
