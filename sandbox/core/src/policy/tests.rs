//! Tests of the whole policy: layers, precedence, trust, rules, credentials.

mod approvals;
mod bad_input;
mod environments;
mod pages;
mod precedence;
mod properties;
mod words;

use std::path::{Path, PathBuf};

use super::*;
use crate::{Credential, Delegation, Digest, Effect, Evidence, Lineage, Operation, Reach, Resource, ResourceId};

pub(super) fn context() -> Context {
    Context { home: "/home/u".into(), workspace: "/w".into(), started: 1_000, own_addresses: vec!["203.0.113.9".parse().unwrap()] }
}

pub(super) fn layer(kind: LayerKind, text: &str) -> LayerText {
    let name = match kind {
        LayerKind::Profile => "profile.toml",
        LayerKind::Repository { .. } => "agentbox.toml",
        LayerKind::User => "user.toml",
    };
    LayerText { name: name.into(), base: "/w".into(), kind, bytes: text.into() }
}

/// Resolves the shipped profiles, and nothing else.
pub(super) fn shipped(name: &str, _: &Path) -> Result<LayerText, String> {
    let text = match name {
        "default" => include_str!("../../../../policies/default.toml"),
        "cursor" => include_str!("../../../../policies/cursor.toml"),
        "claude" => include_str!("../../../../policies/claude.toml"),
        "codex" => include_str!("../../../../policies/codex.toml"),
        "gemini" => include_str!("../../../../policies/gemini.toml"),
        "aider" => include_str!("../../../../policies/aider.toml"),
        "opencode" => include_str!("../../../../policies/opencode.toml"),
        "ci" => include_str!("../../../../policies/ci.toml"),
        "container" => include_str!("../../../../policies/container.toml"),
        _ => return Err(format!("there is no profile `{name}`")),
    };
    Ok(LayerText { name: format!("profile {name}"), base: PathBuf::from("/"), kind: LayerKind::Profile, bytes: text.into() })
}

pub(super) fn try_load(layers: Vec<LayerText>) -> Result<Policy, PolicyError> {
    Policy::load(layers, &context(), &mut shipped)
}

pub(super) fn load(layers: Vec<LayerText>) -> Policy {
    try_load(layers).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn user(text: &str) -> Policy {
    load(vec![layer(LayerKind::User, text)])
}

pub(super) fn id(text: &str) -> ResourceId {
    ResourceId::try_from(text.to_owned()).unwrap()
}

pub(super) fn to(host: &str, port: u16) -> Destination {
    Destination { host: HostName::parse(host).unwrap(), port, addresses: Vec::new() }
}

pub(super) fn ask(effect: Effect, action: &str, resource: Resource, destination: Option<Destination>) -> Request {
    Request { operations: vec![Operation::new(effect, action, resource, "test")], destination, digest: Digest::of([]), evidence: Evidence::default() }
}

/// An operation on a whole host.
pub(super) fn at_host(effect: Effect, host: &str, port: u16) -> Request {
    ask(effect, "http.any", Resource::rooted(ResourceId::new("http", &format!("{host}:{port}"))), Some(to(host, port)))
}

pub(super) fn on_file(effect: Effect, path: &str) -> Request {
    ask(effect, "file.any", Resource::rooted(ResourceId::file(Path::new(path))), None)
}

/// An operation on a thing with these lines of ancestry, at a host which no place lists but `*`.
pub(super) fn on_thing(effect: Effect, action: &str, thing: &str, lines: &[&[&str]]) -> Request {
    let lineage = Lineage::Known(lines.iter().map(|line| line.iter().map(|parent| id(parent)).collect()).collect());
    ask(effect, action, Resource { id: id(thing), lineage }, Some(to("backboard.railway.com", 443)))
}

pub(super) fn verdict(policy: &Policy, request: Request) -> Verdict {
    verdict_at(policy, request, 1_000)
}

pub(super) fn verdict_at(policy: &Policy, request: Request, now: u64) -> Verdict {
    match policy.judge_at(request, now) {
        Judgement::Allow(_) => Verdict::Allow,
        Judgement::Hold(_) => Verdict::Hold,
        Judgement::Deny(_) => Verdict::Deny,
    }
}

pub(super) fn because(policy: &Policy, request: Request) -> Because {
    match policy.judge_at(request, 1_000) {
        Judgement::Allow(granted) => granted.because().clone(),
        Judgement::Hold(hold) => hold.because().clone(),
        Judgement::Deny(denied) => denied.because.clone(),
    }
}

pub(super) fn credential(name: &str, issued: bool) -> Credential {
    Credential { position: "authorization header (Bearer)".into(), name: name.into(), issued }
}

pub(super) fn delegating(reach: Reach) -> Request {
    let mut request = at_host(Effect::Write, "api.anthropic.com", 443);
    request.operations[0].delegates = Some(Delegation { reach, why: "the model may fetch pages".into() });
    request
}
