//! The policy: a table of place × effect, its exceptions, and what the box needs to know before it starts.

mod address;
mod assemble;
mod check;
mod example;
mod explain;
mod files;
mod judge;
mod keys;
mod layers;
mod parse;
mod pattern;
mod raw;
mod read;
pub mod settings;
mod source;
mod table;
#[cfg(test)]
mod tests;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

pub use example::ExampleReport;
pub use explain::{CellExplained, CredentialExplained, Explanation, PlaceExplained, RuleExplained};
pub use keys::LAYERS;
pub use layers::{Binding, bind};
pub use settings::{Settings, Spoken};

use crate::{
    Destination, Granted, Hold, HostName, Judgement, Refusal, RefusalKind, Request, Verdict,
    verdict::{Because, Confirm, Denied},
};
use judge::{Circumstances, Outcome};
use pattern::HostPattern;
use table::Table;

/// Which of the three layers a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// Shipped, from `policies/`.
    Profile,
    /// The repository's `agentbox.toml`, whose loosening counts only once a person trusts it.
    Repository {
        /// Whether `agentbox policy trust` has bound this very text and all that it extends.
        trusted: bool,
    },
    /// The user's own, which wins; `--policy FILE` counts as this.
    User,
}

/// The text of one layer, read by the caller.
#[derive(Clone, Debug)]
pub struct LayerText {
    /// As shown in errors. Two files never have the same.
    pub name: String,
    /// The folder that its relative paths start from.
    pub base: PathBuf,
    /// Which layer.
    pub kind: LayerKind,
    /// The file's bytes: may be anything.
    pub bytes: Vec<u8>,
}

/// What the policy's words are resolved against.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// What `~` means.
    pub home: PathBuf,
    /// What `.` means for a profile or the user's layer: the workspace.
    pub workspace: PathBuf,
    /// For `expires`: when the box was started, Unix time in milliseconds.
    pub started: u64,
    /// The machine's own addresses: part of the built-in place `local`.
    pub own_addresses: Vec<IpAddr>,
}

/// A policy that cannot be used, with line, column, caret and hint in its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(pub String);

/// Finds what `extends` names: a profile's name, or a path relative to the extending file's folder.
pub type Resolve<'a> = dyn FnMut(&str, &Path) -> Result<LayerText, String> + 'a;

/// A compiled policy. Plain data: it may be shared, and crosses to the broker by fork.
#[derive(Clone, Debug)]
pub struct Policy {
    /// One, or two where a repository's layer is not trusted: with it and without it. The strictest answer counts.
    tables: Vec<Table>,
    settings: Settings,
    warnings: Vec<String>,
    examples: Vec<example::Example>,
    pass_through: Vec<HostPattern>,
    protocols: Vec<(HostPattern, Spoken)>,
    context: Context,
    environment: Option<String>,
}

impl Policy {
    /// Reads the layers, loosest first: profile, repository, user.
    ///
    /// The examples are not checked here, since what an HTTP request means is the broker's knowledge: see [`Policy::check_examples`].
    ///
    /// # Errors
    /// Whatever is wrong with any of them.
    pub fn load(layers: Vec<LayerText>, context: &Context, resolve: &mut Resolve<'_>) -> Result<Self, PolicyError> {
        let all = layers::expand(layers, context, resolve)?;
        assemble::assemble(&all, context)
    }

    /// What is likely not meant, for `policy check` and the start of a box.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// All that is not the table.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Binds the box to one environment: what belongs to another is denied, and so is every use of another's credentials. They keep
    /// their rules: it is by these that the box is shown placeholders in the secrets' place.
    ///
    /// # Errors
    /// The policy names no such environment; the names that it has.
    pub fn bind_to_environment(&mut self, name: &str) -> Result<(), Vec<String>> {
        let of_places = self.tables.iter().flat_map(|table| &table.places).filter_map(|place| place.environment.as_deref());
        let of_credentials = self.settings.credentials.iter().filter_map(|credential| credential.environment.as_deref());
        let mut known: Vec<String> = of_places.chain(of_credentials).map(str::to_owned).collect();
        known.sort();
        known.dedup();
        if !known.iter().any(|known| known == name) {
            return Err(known);
        }
        self.settings.files = files::derive(&self.tables, Some(name), &self.settings.caches);
        self.environment = Some(name.to_owned());
        Ok(())
    }

    /// The one judgement. The strictest of all operations decides.
    pub fn judge(&self, request: Request) -> Judgement {
        self.judge_at(request, now())
    }

    /// As [`Policy::judge`], at another time: Unix time in milliseconds.
    pub fn judge_at(&self, request: Request, now: u64) -> Judgement {
        let outcome = self.outcome(&request, now);
        let because = outcome.because();
        match outcome.voice.verdict {
            Verdict::Allow => Judgement::Allow(Granted::by_policy(request, because)),
            Verdict::Hold => {
                let mut terms = outcome.terms(&self.settings.approval);
                let scheme = request.worst().map_or("", |operation| operation.resource.id.scheme());
                if terms.confirm == Confirm::Name && self.tables.iter().any(|table| table.is_shared(scheme, &because.place)) {
                    terms.confirm = Confirm::PlaceAndName;
                }
                Judgement::Hold(Box::new(Hold::by_policy(request, because, terms)))
            }
            Verdict::Deny => {
                let refusal = Refusal {
                    kind: RefusalKind::Denied,
                    operation: because.action.clone(),
                    place: because.place.clone(),
                    reason: because.reason.clone(),
                    guidance: outcome.guidance(request.destination.as_ref().map(|destination| destination.port)),
                    approval_id: None,
                };
                Judgement::Deny(Box::new(Denied { request, because, refusal }))
            }
        }
    }

    /// What would be said of a request, without the right to act on it: for `classify`, `why` and `policy test`.
    #[must_use]
    pub fn preview(&self, request: &Request) -> (Verdict, Because) {
        let outcome = self.outcome(request, now());
        (outcome.voice.verdict, outcome.because())
    }

    /// As [`Policy::preview`], without why.
    #[must_use]
    pub fn verdict(&self, request: &Request) -> Verdict {
        self.outcome(request, now()).voice.verdict
    }

    fn outcome<'t>(&'t self, request: &'t Request, now: u64) -> Outcome<'t> {
        let mapped = request.destination.as_ref().is_some_and(|destination| self.settings.names.contains_key(&destination.host));
        let circumstances =
            Circumstances { own: &self.context.own_addresses, started: self.context.started, now, mapped, environment: self.environment.as_deref() };
        judge_all(&self.tables, request, circumstances)
    }

    /// Whether a connection to this very address may be made for this destination: `Deny` where the address is near
    /// and nobody named it, else `Allow` (the request itself is judged by [`Policy::judge`]).
    ///
    /// Call it with the address that is about to be connected to, whatever the name was resolved to before.
    #[must_use]
    pub fn allows_address(&self, destination: &Destination, address: IpAddr) -> Verdict {
        if !address::is_near(address, &self.context.own_addresses) {
            return Verdict::Allow;
        }
        if let Some((mapped, _)) = self.settings.names.get(&destination.host) {
            return if mapped.to_canonical() == address.to_canonical() { Verdict::Allow } else { Verdict::Deny };
        }
        let named = self.tables.iter().all(|table| table.names_host(destination) || table.names_address(address, destination.port));
        if named { Verdict::Allow } else { Verdict::Deny }
    }

    /// Whether a place lists this very address, or a range that holds it, for this port. An address that the box was not
    /// given by a name and that no place lists is opaque.
    #[must_use]
    pub fn lists_address(&self, address: IpAddr, port: u16) -> bool {
        self.tables.iter().all(|table| table.lists_address(address, port))
    }

    /// Whether the user said that connections to this host are passed on without being understood: they are opaque.
    #[must_use]
    pub fn passes_through(&self, destination: &Destination) -> bool {
        self.pass_through.iter().any(|pattern| pattern.fits(destination))
    }

    /// What the policy says is spoken at a host, where neither its port nor a client's first bytes tell.
    #[must_use]
    pub fn spoken(&self, destination: &Destination) -> Option<Spoken> {
        self.protocols.iter().find(|(pattern, _)| pattern.fits(destination)).map(|(_, spoken)| *spoken)
    }

    /// The host names that places list. Whoever can resolve them tells the answers to [`Policy::learn_addresses`], so
    /// that a place is found under another name or the bare address as well.
    #[must_use]
    pub fn host_names(&self) -> Vec<HostName> {
        let mut names: Vec<HostName> = self.tables.iter().flat_map(Table::exact_names).filter_map(|name| HostName::parse(name).ok()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Those of [`Policy::host_names`] that a protected place lists: whoever goes there by another name, or by the bare address, must be
    /// found all the same, so these are worth resolving before the box starts. Names that the policy itself maps are known already.
    #[must_use]
    pub fn protected_host_names(&self) -> Vec<HostName> {
        let mut names: Vec<HostName> = self.tables.iter().flat_map(Table::protected_names).filter_map(|name| HostName::parse(name).ok()).collect();
        names.sort();
        names.dedup();
        names.retain(|name| name.address().is_none() && !self.settings.names.contains_key(name));
        names
    }

    /// Takes the addresses of one of the policy's names. It can only make judgements stricter.
    pub fn learn_addresses(&mut self, name: &HostName, addresses: &[IpAddr]) {
        for table in &mut self.tables {
            table.learn(name.as_str(), addresses);
        }
    }

    /// The credentials that the supervisor holds for the box.
    #[must_use]
    pub fn credential_rules(&self) -> &[settings::CredentialRule] {
        &self.settings.credentials
    }

    /// Checks every example. `decode` says what an HTTP example (`METHOD URL [BODY]`) would do; the other form is understood here.
    ///
    /// # Errors
    /// The first example that comes out differently, or cannot be read, with its line and a caret.
    pub fn check_examples(&self, decode: &dyn Fn(&str) -> Result<Request, String>) -> Result<Vec<ExampleReport>, PolicyError> {
        self.examples.iter().map(|example| example.check(self, decode)).collect()
    }

    /// As [`Policy::check_examples`], but tells of all of them, also of those that fail.
    #[must_use]
    pub fn try_examples(&self, decode: &dyn Fn(&str) -> Result<Request, String>) -> Vec<ExampleReport> {
        self.examples.iter().map(|example| example.report(self, decode)).collect()
    }

    /// How many examples there are.
    #[must_use]
    pub fn example_count(&self) -> usize {
        self.examples.len()
    }

    /// The effective table, with the origin of every cell.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        explain::explain(self)
    }
}

fn judge_all<'t>(tables: &'t [Table], request: &'t Request, circumstances: Circumstances<'_>) -> Outcome<'t> {
    let mut outcomes = tables.iter().map(|table| table.judge(request, circumstances));
    let first = outcomes.next().unwrap_or_else(Outcome::without_policy);
    outcomes.fold(first, Outcome::or_stricter)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
