//! Examples: statements about the policy, checked against it whenever it is loaded.

use std::{path::Path, sync::Arc};

use serde::Serialize;

use super::{Policy, PolicyError, judge::Circumstances, judge_all, pattern, raw::RawExample, read::absolute, source::Mark, table::Table};
use crate::{Destination, Digest, Effect, Evidence, HostName, Lineage, Operation, Request, Resource, ResourceId, Verdict, safe};

/// Most `@` lines of one example.
const MOST_LINES: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Example {
    mark: Mark,
    text: String,
    wanted: Verdict,
    /// The table as it is up to the example's own layer.
    tables: Arc<Vec<Table>>,
    untrusted: bool,
}

/// How one example came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExampleReport {
    /// `agentbox.toml:12`
    pub origin: String,
    /// As in the file, made safe.
    pub operation: String,
    /// What the file says.
    pub wanted: Verdict,
    /// What came out of its own layer and those under it; `None` where it could not be read.
    pub got: Option<Verdict>,
    /// What the whole policy says.
    pub effective: Option<Verdict>,
    /// Whether its layer's loosening counts. If not, it may come out stricter than it says.
    pub trusted: bool,
    /// The place that decided.
    pub place: String,
    /// Why.
    pub reason: String,
}

impl ExampleReport {
    /// Whether it is as the file says, or stricter because the file is not trusted.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.got.is_some_and(|got| got == self.wanted || (!self.trusted && got > self.wanted))
    }
}

impl Example {
    pub(super) fn new(raw: &RawExample, tables: Arc<Vec<Table>>, untrusted: bool) -> Self {
        Self { mark: raw.mark.clone(), text: raw.operation.clone(), wanted: raw.verdict, tables, untrusted }
    }

    pub(super) fn report(&self, policy: &Policy, decode: &dyn Fn(&str) -> Result<Request, String>) -> ExampleReport {
        let request = self.request(policy, decode);
        let mut report = ExampleReport {
            origin: self.mark.label.to_string(),
            operation: safe::line(&self.text, 200),
            wanted: self.wanted,
            got: None,
            effective: None,
            trusted: !self.untrusted,
            place: String::new(),
            reason: String::new(),
        };
        match request {
            Ok(request) => {
                let mapped = request.destination.as_ref().is_some_and(|destination| policy.settings.names.contains_key(&destination.host));
                // Examples speak of the moment when the box starts, so that they do not change with the clock.
                let started = policy.context.started;
                let circumstances = Circumstances { own: &policy.context.own_addresses, started, now: started, mapped, environment: None };
                let outcome = judge_all(&self.tables, &request, circumstances);
                let because = outcome.because();
                report.got = Some(outcome.voice.verdict);
                report.effective = Some(judge_all(&policy.tables, &request, circumstances).voice.verdict);
                report.place = because.place;
                report.reason = because.reason;
            }
            Err(why) => report.reason = safe::line(&why, 300),
        }
        report
    }

    pub(super) fn check(&self, policy: &Policy, decode: &dyn Fn(&str) -> Result<Request, String>) -> Result<ExampleReport, PolicyError> {
        let report = self.report(policy, decode);
        match report.got {
            Some(_) if report.holds() => Ok(report),
            Some(got) => Err(self.mark.error(&format!("this example comes out as \"{got}\", and is said to be \"{}\"\n{}", self.wanted, report.reason), None)),
            None => Err(self.mark.error(
                &format!("this example cannot be read: {}", report.reason),
                Some("write METHOD URL [BODY], or: effect action resource [@parent>grandparent …]"),
            )),
        }
    }

    fn request(&self, policy: &Policy, decode: &dyn Fn(&str) -> Result<Request, String>) -> Result<Request, String> {
        let first = self.text.split_whitespace().next().unwrap_or_default();
        if !first.is_empty() && first.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
            return decode(&self.text);
        }
        let base = self.mark.source.base.as_path();
        let base = if self.mark.source.kind == super::LayerKind::Profile || self.mark.source.kind == super::LayerKind::User {
            policy.context.workspace.as_path()
        } else {
            base
        };
        plain(&self.text, base, &policy.context.home)
    }
}

/// `effect action resource [@parent>grandparent …]`
fn plain(text: &str, base: &Path, home: &Path) -> Result<Request, String> {
    let mut words = text.split_whitespace();
    let mut next = |what: &str| words.next().ok_or_else(|| format!("the {what} is missing"));
    let word = next("effect")?;
    let effect =
        Effect::ALL.into_iter().find(|effect| effect.word() == word).ok_or_else(|| format!("`{word}` is no effect, and no HTTP method in capitals"))?;
    let action = next("action")?.to_owned();
    let id = resource(next("resource")?, base, home)?;
    let mut destination = host_of(&id)?;
    let mut lines = Vec::new();
    for word in words.take(MOST_LINES) {
        let line = word.strip_prefix('@').ok_or_else(|| format!("`{word}`: after the resource come lines of ancestry, each with @ in front"))?;
        if line.starts_with("http:") {
            destination = host_of(&resource(line, base, home)?)?;
            continue;
        }
        lines.push(line.split('>').map(|parent| resource(parent, base, home)).collect::<Result<Vec<_>, _>>()?);
    }
    let rooted = matches!(id.scheme(), "file" | "http");
    let lineage = match (lines.is_empty(), rooted) {
        (true, true) => Lineage::Known(vec![Vec::new()]),
        (true, false) => Lineage::Unknown,
        (false, _) => Lineage::Known(lines),
    };
    let operation = Operation::new(effect, &action, Resource { id, lineage }, "an example of the policy");
    Ok(Request { operations: vec![operation], destination, digest: Digest::of([text.as_bytes()]), evidence: Evidence::default() })
}

fn resource(text: &str, base: &Path, home: &Path) -> Result<ResourceId, String> {
    let (scheme, path) = text.split_once(':').ok_or_else(|| format!("`{text}` is no resource: write scheme:path"))?;
    if scheme == "file" {
        let path = absolute(path, base, home)?;
        return ResourceId::try_from(format!("file:{}", pattern::escaped_path(path.as_os_str().as_encoded_bytes()))).map_err(str::to_owned);
    }
    ResourceId::try_from(text.to_owned()).map_err(|why| format!("`{text}`: {why}"))
}

/// The destination that an `http:HOST:PORT/…` resource names.
fn host_of(id: &ResourceId) -> Result<Option<Destination>, String> {
    if id.scheme() != "http" {
        return Ok(None);
    }
    let authority = id.path().split('/').next().unwrap_or_default();
    let (host, port) = pattern::split_port(authority)?;
    let host = HostName::parse(host).map_err(|why| format!("`{authority}`: {why}"))?;
    Ok(Some(Destination { host, port: port.unwrap_or(443), addresses: Vec::new() }))
}
