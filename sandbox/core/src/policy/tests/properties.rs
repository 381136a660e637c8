//! Precedence, tried with tables that nobody thought of.

use proptest::{prelude::*, sample::select};

use super::*;

const SCHEMES: &[&str] = &["r", "s"];
const HOSTS: &[&str] = &["a.example", "b.a.example", "c.example", "192.0.2.1", "10.0.0.1", "127.0.0.1"];
const HOST_PATTERNS: &[&str] = &["a.example", "a.example:443", "*.a.example", "*.example", "*", "192.0.2.0/24", "192.0.2.1", "10.0.0.0/8", "127.0.0.1"];
const THINGS: &[&str] = &["t/1", "t/2", "env/p", "env/q"];
const THING_PATTERNS: &[&str] = &["t/1", "t/2", "env/p", "env/q", "env/*", "*", "t/*"];
const PATHS: &[&str] = &["/w/a", "/w/a/b", "/w/.git/x", "/home/u/.ssh/id", "/etc/passwd"];
const PATH_PATTERNS: &[&str] = &[".", "a", "a/b", "**/b", ".git", "~/.ssh", "/etc", "/"];
const ACTIONS: &[&str] = &["x.read", "x.drop", "y.make"];
const ACTION_PATTERNS: &[&str] = &["*", "x.*", "x.drop", "y.make", "*.drop"];
const WORDS: &[&str] = &["allow", "hold", "deny"];
const NAMES: &[&str] = &["p1", "p2", "p3"];

#[derive(Clone, Debug)]
struct APlace {
    name: &'static str,
    hosts: Vec<&'static str>,
    things: Vec<(&'static str, &'static str)>,
    paths: Vec<&'static str>,
    cells: [Option<&'static str>; 3],
    protected: Option<bool>,
    approvers: Option<u8>,
}

#[derive(Clone, Debug)]
struct ARule {
    place: Option<&'static str>,
    operation: Option<&'static str>,
    effect: Option<&'static str>,
    thing: Option<&'static str>,
    verdict: &'static str,
}

fn a_place() -> impl Strategy<Value = APlace> {
    let cell = || prop::option::of(select(WORDS));
    (
        select(NAMES),
        prop::collection::vec(select(HOST_PATTERNS), 0..3),
        prop::collection::vec((select(SCHEMES), select(THING_PATTERNS)), 0..3),
        prop::collection::vec(select(PATH_PATTERNS), 0..3),
        [cell(), cell(), cell()],
        prop::option::of(any::<bool>()),
        prop::option::of(1_u8..4),
    )
        .prop_map(|(name, hosts, things, paths, cells, protected, approvers)| APlace { name, hosts, things, paths, cells, protected, approvers })
}

fn a_rule() -> impl Strategy<Value = ARule> {
    (
        prop::option::of(select(NAMES)),
        prop::option::of(select(ACTION_PATTERNS)),
        prop::option::of(select(vec!["read", "write", "destroy", "opaque"])),
        prop::option::of(select(THING_PATTERNS)),
        select(WORDS),
    )
        .prop_map(|(place, operation, effect, thing, verdict)| ARule { place, operation, effect, thing, verdict })
}

/// As a file. Every name is defined, so that every rule finds its place.
fn write(places: &[APlace], rules: &[ARule]) -> String {
    let list = |items: Vec<String>| format!("[{}]", items.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(","));
    let mut text = String::new();
    for name in NAMES {
        text.push_str(&format!("[place.{name}]\n"));
        let Some(place) = places.iter().find(|place| place.name == *name) else { continue };
        text.push_str(&format!("hosts = {}\n", list(place.hosts.iter().map(|host| (*host).to_owned()).collect())));
        text.push_str(&format!("resources = {}\n", list(place.things.iter().map(|(scheme, thing)| format!("{scheme}:{thing}")).collect())));
        text.push_str(&format!("paths = {}\n", list(place.paths.iter().map(|path| (*path).to_owned()).collect())));
        for (word, cell) in ["read", "write", "destroy"].iter().zip(place.cells) {
            if let Some(cell) = cell {
                text.push_str(&format!("{word} = {cell:?}\n"));
            }
        }
        match (place.protected, place.approvers) {
            (_, Some(approvers)) => text.push_str(&format!("approvers = {approvers}\n")),
            (Some(protected), None) => text.push_str(&format!("protected = {protected}\n")),
            (None, None) => {}
        }
    }
    for rule in rules {
        text.push_str(&format!("[[rule]]\nname = \"r\"\nverdict = {:?}\n", rule.verdict));
        let pairs = [
            ("place", rule.place.map(str::to_owned)),
            ("operation", rule.operation.map(str::to_owned)),
            ("effect", rule.effect.map(str::to_owned)),
            ("resource", rule.thing.map(|thing| format!("r:{thing}"))),
        ];
        for (key, value) in pairs {
            if let Some(value) = value {
                text.push_str(&format!("{key} = {value:?}\n"));
            }
        }
    }
    text
}

fn a_policy() -> impl Strategy<Value = String> {
    (prop::collection::vec(a_place(), 0..4), prop::collection::vec(a_rule(), 0..4)).prop_map(|(places, rules)| write(&places, &rules))
}

fn an_effect() -> impl Strategy<Value = Effect> {
    select(Effect::ALL.to_vec())
}

fn a_thing() -> impl Strategy<Value = ResourceId> {
    (select(SCHEMES), select(THINGS)).prop_map(|(scheme, thing)| id(&format!("{scheme}:{thing}")))
}

fn a_request() -> impl Strategy<Value = Request> {
    let lineage = prop_oneof![Just(Lineage::Unknown), prop::collection::vec(prop::collection::vec(a_thing(), 0..3), 0..3).prop_map(Lineage::Known),];
    let remote = (
        an_effect(),
        select(ACTIONS),
        a_thing(),
        lineage,
        select(HOSTS),
        any::<bool>(),
        prop::option::of(prop_oneof![Just(Reach::Anywhere), Just(Reach::Hosts(vec!["b.a.example".into()]))]),
    )
        .prop_map(|(effect, action, thing, lineage, host, yields, reach)| {
            let mut request = ask(effect, action, Resource { id: thing, lineage }, Some(to(host, 443)));
            request.operations[0].yields_credential = yields;
            request.operations[0].delegates = reach.map(|reach| Delegation { reach, why: "x".into() });
            request
        });
    let file = (an_effect(), select(PATHS)).prop_map(|(effect, path)| on_file(effect, path));
    prop_oneof![3 => remote, 1 => file]
}

/// The strictest that any protected place on any line of the request says by itself, or leaves to what is less specific.
fn strictest_protected(policy: &Policy, request: &Request) -> Verdict {
    let mut strictest = Verdict::Allow;
    for table in &policy.tables {
        let hosts = request.destination.as_ref().map(|destination| table.host_lines(destination, &[], false));
        for operation in &request.operations {
            let (lines, _) = table.lines(&operation.resource, request, hosts.as_deref());
            for line in &lines {
                for step in line.steps.iter().filter(|step| step.place.protected) {
                    let from_here = std::iter::once(*step).chain(line.steps.iter().copied().filter(|other| other.depth < step.depth)).collect();
                    let alone = judge::Line::new(from_here, line.floor);
                    strictest = strictest.max(judge::weigh(&alone, operation.effect, None, judge::Secret::Kept).verdict);
                }
            }
        }
    }
    strictest
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_looser_than_the_strictest_protected_place(places in prop::collection::vec(a_place(), 0..4), unnamed in prop::collection::vec(a_rule(), 0..4), request in a_request()) {
        // Rules without a place loosen nothing that is protected.
        let rules: Vec<ARule> = unnamed.into_iter().map(|rule| ARule { place: None, ..rule }).collect();
        let policy = user(&write(&places, &rules));
        let least = strictest_protected(&policy, &request);
        prop_assert!(verdict(&policy, request) >= least);
    }

    #[test]
    fn an_environment_never_loosens(policy in a_policy(), name in select(NAMES), other in select(NAMES), request in a_request()) {
        let text = format!("{policy}\n[place.x-{name}]\nhosts = [\"x.example\"]\nenvironment = \"own\"\n");
        let before = load(vec![layer(LayerKind::Profile, &text), layer(LayerKind::User, &format!("[place.{other}]\nenvironment = \"other\""))]);
        let mut after = before.clone();
        prop_assert!(after.bind_to_environment("own").is_ok());
        prop_assert!(verdict(&after, request.clone()) >= verdict(&before, request));
    }

    #[test]
    fn an_untrusted_layer_never_loosens(profile in a_policy(), repository in a_policy(), own in a_policy(), request in a_request()) {
        let without = load(vec![layer(LayerKind::Profile, &profile), layer(LayerKind::User, &own)]);
        let with = load(vec![layer(LayerKind::Profile, &profile), layer(LayerKind::Repository { trusted: false }, &repository), layer(LayerKind::User, &own)]);
        prop_assert!(verdict(&with, request.clone()) >= verdict(&without, request));
    }

    #[test]
    fn a_stricter_cell_never_loosens(policy in a_policy(), name in select(NAMES), column in select(vec!["read", "write", "destroy"]), request in a_request()) {
        // On top of whatever is there, one cell becomes `deny`.
        let before = load(vec![layer(LayerKind::Profile, &policy)]);
        let after = load(vec![layer(LayerKind::Profile, &policy), layer(LayerKind::User, &format!("[place.{name}]\n{column} = \"deny\""))]);
        prop_assert!(verdict(&after, request.clone()) >= verdict(&before, request));
    }

    #[test]
    fn a_stricter_rule_of_the_user_never_loosens(policy in a_policy(), operation in select(ACTION_PATTERNS), request in a_request()) {
        let before = load(vec![layer(LayerKind::Profile, &policy)]);
        let after = load(vec![layer(LayerKind::Profile, &policy), layer(LayerKind::User, &format!("[[rule]]\nname=\"no\"\noperation=\"{operation}\"\nverdict=\"deny\""))]);
        prop_assert!(verdict(&after, request.clone()) >= verdict(&before, request));
    }

    #[test]
    fn another_line_of_ancestry_never_loosens(policy in a_policy(), request in a_request(), parents in prop::collection::vec(a_thing(), 0..3)) {
        let policy = user(&policy);
        let mut more = request.clone();
        if let Lineage::Known(lines) = &mut more.operations[0].resource.lineage && !lines.is_empty() {
            lines.push(parents);
            prop_assert!(verdict(&policy, more) >= verdict(&policy, request));
        }
    }

    #[test]
    fn knowing_less_never_loosens(policy in a_policy(), request in a_request()) {
        let policy = user(&policy);
        let mut less = request.clone();
        // One line with at most one parent: the thing could be anywhere once that is forgotten.
        if let Lineage::Known(lines) = &request.operations[0].resource.lineage && lines.iter().all(|line| line.len() <= 1 && line.iter().all(|parent| parent.scheme() == request.operations[0].resource.id.scheme())) && !lines.is_empty() && request.destination.is_some() && policy.tables[0].rules.is_empty() {
            less.operations[0].resource.lineage = Lineage::Unknown;
            prop_assert!(verdict(&policy, less) >= verdict(&policy, request));
        }
    }

    #[test]
    fn another_operation_or_fact_never_loosens(policy in a_policy(), request in a_request(), other in a_request()) {
        let policy = user(&policy);
        let mut more = request.clone();
        more.operations.extend(other.operations);
        prop_assert!(verdict(&policy, more) >= verdict(&policy, request.clone()));
        let mut facts = request.clone();
        facts.operations[0].yields_credential = true;
        facts.operations[0].delegates = Some(Delegation { reach: Reach::Anywhere, why: String::new() });
        prop_assert!(verdict(&policy, facts) >= verdict(&policy, request));
    }

    #[test]
    fn mounts_are_never_looser_than_the_judgement(profile in a_policy(), repository in a_policy(), path in select(PATHS)) {
        let policy = load(vec![layer(LayerKind::Profile, &profile), layer(LayerKind::Repository { trusted: false }, &repository)]);
        let files = &policy.settings().files;
        // What is gated is writable, and asked about. The deepest entry decides; of equals, the strictest.
        let lists = [(&files.writable, 0), (&files.read_only, 1), (&files.gated, 1), (&files.masked, 2)];
        let entries = lists.iter().flat_map(|(list, state)| list.iter().map(|entry| (entry, *state))).filter_map(|(entry, state)| {
            let pattern = pattern::PathPattern::parse(entry.pattern.to_str()?, Path::new("/"), Path::new("/home/u")).ok()?;
            pattern.matches(path).then_some((pattern.depth, state))
        });
        let found: Vec<(u32, i32)> = entries.collect();
        let masked = found.iter().any(|(_, state)| *state == 2);
        let writable = !masked && found.iter().max().is_some_and(|(_, state)| *state == 0);
        let allowed = |effect| verdict(&policy, on_file(effect, path)) == Verdict::Allow;
        prop_assert!(!writable || (allowed(Effect::Write) && allowed(Effect::Destroy)), "writable, and judged otherwise");
        let ruled = policy.tables.iter().flat_map(|table| &table.rules).any(|rule| rule.place.is_none() && rule.verdict != Verdict::Allow);
        prop_assert!(masked || ruled || allowed(Effect::Read), "readable, and judged otherwise");
    }

    #[test]
    fn any_bytes_give_a_policy_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = try_load(vec![LayerText { name: "x".into(), base: "/w".into(), kind: LayerKind::User, bytes }]);
    }

    #[test]
    fn nearly_right_files_give_a_policy_or_an_error(text in a_policy(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = text.into_bytes();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Err(error) = try_load(vec![LayerText { name: "x".into(), base: "/w".into(), kind: LayerKind::User, bytes }]) {
            prop_assert!(error.0.starts_with("x:"), "{}", error.0);
        }
    }
}
