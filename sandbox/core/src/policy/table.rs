//! The compiled table: places by host, address, path and resource, and the rules in the order in which they are asked.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use super::{
    address,
    parse::LOCAL,
    pattern::{Glob, HostKind, HostPattern, PathPattern, ResourcePattern, masked},
    raw::RawLayer,
};
use crate::{
    Destination, Effect, HostName, Verdict,
    verdict::{Confirm, Quorum},
};

/// A cell of the table and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) verdict: Verdict,
    /// The place in whose section it stands.
    pub(super) owner: Arc<str>,
    pub(super) origin: Arc<str>,
}

/// A place, all layers laid upon each other.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) name: Arc<str>,
    pub(super) origin: Arc<str>,
    /// read, write, destroy
    pub(super) cells: [Option<Cell>; 3],
    pub(super) protected: bool,
    pub(super) approvers: u8,
    pub(super) confirm: Confirm,
    pub(super) quorum: Quorum,
    pub(super) lease: Option<Duration>,
    pub(super) credentials: Option<Vec<String>>,
    pub(super) credentials_origin: Arc<str>,
    pub(super) hosts: Vec<HostPattern>,
    pub(super) paths: Vec<PathPattern>,
    pub(super) resources: Vec<ResourcePattern>,
    /// The environment that it belongs to: denied in a box of another one.
    pub(super) environment: Option<Arc<str>>,
}

/// Which cell an effect is judged by.
pub(super) const fn column(effect: Effect) -> usize {
    match effect {
        Effect::Read => 0,
        Effect::Write => 1,
        Effect::Destroy | Effect::Opaque => 2,
    }
}

/// The words of the columns.
pub(super) const COLUMNS: [&str; 3] = ["read", "write", "destroy"];

impl Place {
    pub(super) fn cell(&self, effect: Effect) -> Option<&Cell> {
        self.cells.get(column(effect)).and_then(Option::as_ref)
    }

    /// Whether another party's network could reach it.
    pub(super) fn is_remote(&self) -> bool {
        !self.hosts.is_empty() || !self.resources.is_empty()
    }
}

/// An exception.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) origin: Arc<str>,
    pub(super) place: Option<Arc<str>>,
    pub(super) operation: Option<Glob>,
    pub(super) effect: Option<Effect>,
    pub(super) resource: Option<ResourcePattern>,
    pub(super) verdict: Verdict,
    pub(super) expires: Option<Duration>,
}

/// What a credential may be used for.
#[derive(Clone, Debug)]
pub(super) struct CredentialBound {
    pub(super) hosts: Vec<HostName>,
    pub(super) allow: Option<Vec<Glob>>,
    pub(super) expires: Option<Duration>,
    pub(super) origin: Arc<str>,
    /// The environment that it is for: of no use in a box of another one.
    pub(super) environment: Option<String>,
}

/// The widest ranges that are near as a whole: 10.0.0.0/8 and fc00::/7.
const WIDEST_NEAR_V4: u8 = 8;
/// See [`WIDEST_NEAR_V4`].
const WIDEST_NEAR_V6: u8 = 7;

/// Schemes whose resources are a host or a connection to it, not a thing behind it.
const WHOLE_HOSTS: &[&str] = &["http", "tcp", "tls", "host"];

/// More specific than any host pattern, less than any resource.
const ABOVE_HOSTS: u32 = 100_000;

/// One place on the way from a thing to the floor; a larger depth is more specific.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'t> {
    pub(super) depth: u32,
    pub(super) place: &'t Place,
}

#[derive(Clone, Debug)]
struct HostEntry {
    place: usize,
    rank: u32,
    port: Option<u16>,
}

/// One table. Lookups never walk all patterns but the globs and the address ranges.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) places: Vec<Place>,
    pub(super) rules: Vec<Rule>,
    pub(super) credentials: BTreeMap<String, CredentialBound>,
    pub(super) local: Place,
    names: HashMap<String, Vec<HostEntry>>,
    suffixes: HashMap<String, Vec<HostEntry>>,
    any: Vec<HostEntry>,
    ranges: Vec<(HostPattern, usize)>,
    addresses: HashMap<IpAddr, Vec<HostEntry>>,
    /// Addresses of the policy's own names, as they were resolved.
    resolved: HashMap<IpAddr, Vec<HostEntry>>,
    paths: HashMap<String, Vec<(usize, usize)>>,
    exact_resources: HashMap<String, Vec<usize>>,
    glob_resources: Vec<(usize, usize)>,
}

impl Table {
    /// Lays the layers upon each other, loosest first.
    pub(super) fn build(layers: &[&RawLayer]) -> Self {
        let mut merged: BTreeMap<&str, Place> = BTreeMap::new();
        let mut said: BTreeMap<&str, bool> = BTreeMap::new();
        for layer in layers {
            for (name, raw) in &layer.places {
                let place = merged.entry(name).or_insert_with(|| blank(name, &raw.mark.label));
                place.hosts.extend(raw.hosts.iter().map(|at| at.value.clone()));
                place.paths.extend(raw.paths.iter().map(|at| at.value.clone()));
                place.resources.extend(raw.resources.iter().map(|at| at.value.clone()));
                for (cell, new) in place.cells.iter_mut().zip(&raw.cells) {
                    if let Some(new) = new {
                        *cell = Some(Cell { verdict: new.value, owner: Arc::clone(&place.name), origin: Arc::clone(&new.mark.label) });
                    }
                }
                if let Some(approvers) = &raw.approvers {
                    place.approvers = approvers.value;
                    place.protected = true;
                }
                if let Some(confirm) = &raw.confirm {
                    place.confirm = confirm.value;
                    place.protected = true;
                }
                if let Some(somebody_else) = &raw.somebody_else {
                    place.quorum = if somebody_else.value { Quorum::SomebodyElse } else { Quorum::Anybody };
                    place.protected = true;
                }
                place.lease = raw.lease.or(place.lease);
                if let Some(environment) = &raw.environment {
                    place.environment = Some(environment.value.as_str().into());
                }
                if let Some(protected) = &raw.protected {
                    said.insert(name, protected.value);
                }
                if let Some(names) = &raw.credentials {
                    place.credentials.get_or_insert_default().extend(names.iter().map(|at| at.value.clone()));
                    place.credentials_origin = names.first().map_or_else(|| Arc::clone(&raw.mark.label), |first| Arc::clone(&first.mark.label));
                }
            }
        }
        for (name, protected) in said {
            if let Some(place) = merged.get_mut(name) {
                place.protected = protected;
            }
        }
        let mut table = Self::empty(merged.into_values().collect());
        table.index();
        // The later layer wins, so its rules are asked first.
        for rule in layers.iter().rev().flat_map(|layer| &layer.rules) {
            table.rules.push(Rule {
                name: rule.name.clone(),
                origin: Arc::clone(&rule.mark.label),
                place: rule.place.as_ref().map(|at| at.value.as_str().into()),
                operation: rule.operation.clone(),
                effect: rule.effect,
                resource: rule.resource.clone(),
                verdict: rule.verdict,
                expires: rule.expires,
            });
        }
        for (name, raw) in layers.iter().flat_map(|layer| &layer.credentials) {
            let allow = raw.allow.as_ref().map(|words| words.iter().filter_map(|word| Glob::parse(word).ok()).collect());
            table.credentials.insert(
                name.clone(),
                CredentialBound {
                    hosts: raw.hosts.clone(),
                    allow,
                    expires: raw.expires,
                    origin: Arc::clone(&raw.mark.label),
                    environment: raw.environment.clone(),
                },
            );
        }
        table
    }

    fn empty(places: Vec<Place>) -> Self {
        let mut local = blank(LOCAL, "built in");
        local.cells = std::array::from_fn(|_| Some(Cell { verdict: Verdict::Deny, owner: LOCAL.into(), origin: "built in".into() }));
        local.protected = true;
        Self {
            places,
            rules: Vec::new(),
            credentials: BTreeMap::new(),
            local,
            names: HashMap::new(),
            suffixes: HashMap::new(),
            any: Vec::new(),
            ranges: Vec::new(),
            addresses: HashMap::new(),
            resolved: HashMap::new(),
            paths: HashMap::new(),
            exact_resources: HashMap::new(),
            glob_resources: Vec::new(),
        }
    }

    fn index(&mut self) {
        for (number, place) in self.places.iter().enumerate() {
            for pattern in &place.hosts {
                let entry = HostEntry { place: number, rank: pattern.rank(), port: pattern.port };
                match &pattern.kind {
                    HostKind::Name(name) => self.names.entry(name.clone()).or_default().push(entry),
                    HostKind::Below(suffix) => self.suffixes.entry(suffix.clone()).or_default().push(entry),
                    HostKind::Any => self.any.push(entry),
                    HostKind::Address(address) => self.addresses.entry(*address).or_default().push(entry),
                    HostKind::Range(..) => self.ranges.push((pattern.clone(), number)),
                }
            }
            for (index, pattern) in place.paths.iter().enumerate() {
                self.paths.entry(pattern.prefix.clone()).or_default().push((number, index));
            }
            for (index, pattern) in place.resources.iter().enumerate() {
                match &pattern.path {
                    Glob::Exact(path) => self.exact_resources.entry(format!("{}:{path}", pattern.scheme)).or_default().push(number),
                    Glob::Prefix(_) | Glob::Full(..) => self.glob_resources.push((number, index)),
                }
            }
        }
    }

    /// Every exact name that a place lists, for whoever can resolve them.
    pub(super) fn exact_names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Those of them that a protected place lists.
    pub(super) fn protected_names(&self) -> impl Iterator<Item = &str> {
        let is_protected = |entry: &HostEntry| self.places.get(entry.place).is_some_and(|place| place.protected);
        self.names.iter().filter(move |(_, entries)| entries.iter().any(is_protected)).map(|(name, _)| name.as_str())
    }

    /// Takes the addresses of one of the policy's names.
    pub(super) fn learn(&mut self, name: &str, addresses: &[IpAddr]) {
        let Some(entries) = self.names.get(name) else { return };
        for address in addresses {
            self.resolved.entry(address.to_canonical()).or_default().extend(entries.iter().cloned());
        }
    }

    fn steps<'t>(&'t self, entries: &[HostEntry], port: Option<u16>, steps: &mut Vec<Step<'t>>) {
        for entry in entries {
            if (entry.port.is_none() || port.is_none() || entry.port == port)
                && let Some(place) = self.places.get(entry.place)
            {
                steps.push(Step { depth: entry.rank, place });
            }
        }
    }

    fn any_steps(&self, port: Option<u16>) -> Vec<Step<'_>> {
        let mut steps = Vec::new();
        self.steps(&self.any, port, &mut steps);
        steps
    }

    /// Places that list the name itself (`true`), or a wildcard over it.
    fn name_steps<'t>(&'t self, name: &str, port: Option<u16>, steps: &mut Vec<Step<'t>>) -> bool {
        if let Some(entries) = self.names.get(name) {
            self.steps(entries, port, steps);
        }
        let exact = !steps.is_empty();
        let mut rest = name;
        while let Some(dot) = rest.find('.') {
            let suffix = rest.get(dot..).unwrap_or_default();
            if let Some(entries) = self.suffixes.get(suffix) {
                self.steps(entries, port, steps);
            }
            rest = rest.get(dot + 1..).unwrap_or_default();
        }
        exact
    }

    /// Places that list the address, or a range that holds it. `true` where one of them names it closely enough that it
    /// may be near: a range as wide as `0.0.0.0/0` says no more than `*` does.
    fn address_steps<'t>(&'t self, address: IpAddr, port: Option<u16>, steps: &mut Vec<Step<'t>>) -> bool {
        if let Some(entries) = self.addresses.get(&address) {
            self.steps(entries, port, steps);
        }
        let mut named = !steps.is_empty();
        for (pattern, number) in &self.ranges {
            if let HostKind::Range(range, bits) = pattern.kind
                && range.is_ipv4() == address.is_ipv4()
                && masked(address, bits) == range
                && let Some(place) = self.places.get(*number)
            {
                named |= bits >= if range.is_ipv4() { WIDEST_NEAR_V4 } else { WIDEST_NEAR_V6 };
                steps.push(Step { depth: pattern.rank(), place });
            }
        }
        named
    }

    /// Whether a place lists this destination's very name, so that it may be near.
    pub(super) fn names_host(&self, destination: &Destination) -> bool {
        self.names
            .get(destination.host.as_str())
            .is_some_and(|entries| entries.iter().any(|entry| entry.port.is_none() || entry.port == Some(destination.port)))
    }

    /// Whether a place lists this address, or a range that holds it and is near as a whole, for this port.
    pub(super) fn names_address(&self, address: IpAddr, port: u16) -> bool {
        let mut steps = Vec::new();
        self.address_steps(address.to_canonical(), Some(port), &mut steps)
    }

    /// Whether any place but those for every host lists this address, however widely.
    pub(super) fn lists_address(&self, address: IpAddr, port: u16) -> bool {
        let mut steps = Vec::new();
        self.address_steps(address.to_canonical(), Some(port), &mut steps);
        !steps.is_empty()
    }

    /// Every line of places that a destination has: one by its name, one by each address that a place lists, and the
    /// built-in one where it is near and not named.
    pub(super) fn host_lines(&self, destination: &Destination, own: &[IpAddr], mapped: bool) -> Vec<Vec<Step<'_>>> {
        let port = Some(destination.port);
        let name = destination.host.as_str();
        let literal = destination.host.address();
        let mut lines = Vec::new();
        let mut by_name = Vec::new();
        let exact = literal.is_none() && self.name_steps(name, port, &mut by_name);
        let named = exact || mapped;
        let mut listed = !by_name.is_empty();
        let mut near = literal.is_none() && !named && address::is_near_name(name);
        for address in destination.addresses.iter().copied().chain(literal) {
            let mut given = false;
            for meaning in address::meanings(address) {
                let mut steps = Vec::new();
                let closely = self.address_steps(meaning, port, &mut steps);
                if !steps.is_empty() {
                    given |= closely && meaning == address.to_canonical();
                    listed = true;
                    lines.push(steps);
                }
                // Another name of a host that the policy lists: it can only tighten, since many hosts may share an address.
                if let Some(entries) = self.resolved.get(&meaning) {
                    let mut steps = Vec::new();
                    self.steps(entries, port, &mut steps);
                    if !steps.is_empty() {
                        lines.push(steps);
                    }
                }
            }
            near |= !named && !given && address::is_near(address, own);
        }
        if !by_name.is_empty() || !listed {
            lines.push(by_name);
        }
        if near {
            lines.push(vec![Step { depth: ABOVE_HOSTS, place: &self.local }]);
        }
        let any = self.any_steps(port);
        for line in &mut lines {
            line.extend(any.iter().copied());
            line.sort_by_key(|step| std::cmp::Reverse(step.depth));
        }
        lines
    }

    /// The lines of a host that somebody else would reach from elsewhere; without a port, those of any port.
    pub(super) fn far_lines(&self, name: &HostName, port: Option<u16>) -> Vec<Vec<Step<'_>>> {
        let mut steps = Vec::new();
        match name.address() {
            Some(address) => self.address_steps(address.to_canonical(), port, &mut steps),
            None => self.name_steps(name.as_str(), port, &mut steps),
        };
        let any = self.any_steps(port);
        if port.is_some() || steps.is_empty() {
            steps.extend(any);
            steps.sort_by_key(|step| std::cmp::Reverse(step.depth));
            return vec![steps];
        }
        // Which of them applies cannot be told: each alone.
        steps.into_iter().map(|step| std::iter::once(step).chain(any.iter().copied()).collect()).collect()
    }

    /// The places for every host.
    pub(super) fn far_lines_of_anything(&self) -> Vec<Step<'_>> {
        self.any_steps(None)
    }

    /// One line for every place that another party could reach.
    pub(super) fn everywhere(&self) -> Vec<Vec<Step<'_>>> {
        let any = self.any_steps(None);
        let one = |place| std::iter::once(Step { depth: ABOVE_HOSTS, place }).chain(any.iter().copied()).collect();
        let mut lines: Vec<Vec<Step<'_>>> = self.places.iter().filter(|place| place.is_remote()).map(one).collect();
        if any.is_empty() {
            lines.push(Vec::new());
        }
        lines
    }

    /// The places along a path, the deepest first.
    pub(super) fn path_steps(&self, path: &str) -> Vec<Step<'_>> {
        let mut steps = Vec::new();
        let mut tree = path.trim_end_matches('/');
        loop {
            for (number, index) in self.paths.get(tree).into_iter().flatten() {
                if let Some(place) = self.places.get(*number)
                    && let Some(pattern) = place.paths.get(*index)
                    && pattern.matches(path)
                {
                    steps.push(Step { depth: pattern.depth, place });
                }
            }
            match tree.rfind('/') {
                Some(slash) => tree = tree.get(..slash).unwrap_or_default(),
                None => break,
            }
        }
        steps
    }

    /// The places that list this very resource.
    pub(super) fn resource_steps<'t>(&'t self, scheme: &str, path: &str, whole: &str, depth: u32, steps: &mut Vec<Step<'t>>) {
        if self.exact_resources.is_empty() && self.glob_resources.is_empty() {
            return;
        }
        for number in self.exact_resources.get(whole).into_iter().flatten() {
            if let Some(place) = self.places.get(*number) {
                steps.push(Step { depth, place });
            }
        }
        for (number, index) in &self.glob_resources {
            if let Some(place) = self.places.get(*number)
                && place.resources.get(*index).is_some_and(|pattern| pattern.matches(scheme, path))
            {
                steps.push(Step { depth, place });
            }
        }
    }

    /// The places that list a resource whose last part is `name`, as people call it, in any case of letters.
    pub(super) fn called_steps<'t>(&'t self, scheme: &str, kind: &str, name: &str, depth: u32, steps: &mut Vec<Step<'t>>) {
        for place in &self.places {
            let called = place.resources.iter().filter(|pattern| pattern.scheme == scheme).any(|pattern| match &pattern.path {
                Glob::Exact(path) => path.strip_prefix(kind).is_some_and(|last| last.eq_ignore_ascii_case(name)),
                Glob::Prefix(_) | Glob::Full(..) => pattern.path.matches(&format!("{kind}{name}")),
            });
            if called {
                steps.push(Step { depth, place });
            }
        }
    }

    /// The places where an unplaced resource of this scheme could be. What is only known as a host or a connection could
    /// be anything behind it.
    pub(super) fn could_be<'t>(&'t self, scheme: &'t str) -> impl Iterator<Item = &'t Place> {
        let anything = WHOLE_HOSTS.contains(&scheme);
        self.places.iter().filter(move |place| place.resources.iter().any(|pattern| anything || pattern.scheme == scheme))
    }

    /// Whether another place than this could hold a thing of this scheme under the same name. That anything could be behind `*` says nothing.
    pub(super) fn is_shared(&self, scheme: &str, place: &str) -> bool {
        let named = |other: &Place| match scheme {
            "file" => !other.paths.is_empty(),
            _ => other.hosts.iter().any(|host| host.kind != HostKind::Any),
        };
        self.places.iter().filter(|other| named(other)).chain(self.could_be(scheme)).any(|other| *other.name != *place)
    }

    pub(super) fn place(&self, name: &str) -> Option<&Place> {
        self.places.iter().find(|place| &*place.name == name)
    }
}

fn blank(name: &str, origin: &str) -> Place {
    Place {
        name: name.into(),
        origin: origin.into(),
        cells: [None, None, None],
        protected: false,
        approvers: 1,
        confirm: Confirm::Plain,
        quorum: Quorum::Anybody,
        lease: None,
        credentials: None,
        credentials_origin: origin.into(),
        hosts: Vec::new(),
        paths: Vec::new(),
        resources: Vec::new(),
        environment: None,
    }
}
