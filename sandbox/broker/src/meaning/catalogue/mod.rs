//! Providers that publish which operation a method and a path are: the operation's own name tells what the request does.
//!
//! The data are facts of published packages, made by `cargo xtask catalogue`. A path that is not in it is judged by the general rules.

mod book;

use agentbox_core::{Effect, Operation};

use super::{
    BodyWant, Head,
    api::{Api, Reading},
    aws,
    bodies::Found,
    call::Call,
    http_rules::{self, safe},
    marks,
    route::Route,
    words,
};
use book::Book;

static AWS: Book = Book::new(include_bytes!("aws.bin"));
static GCP: Book = Book::new(include_bytes!("gcp.bin"));
static GITHUB: Book = Book::new(include_bytes!("github.bin"));

/// A provider of the catalogue.
struct Provider {
    /// The first word of its actions.
    name: &'static str,
    /// Which of its services a host is.
    service: fn(&str) -> Option<&str>,
    /// What that service is called for people.
    called: fn(&str) -> &str,
    book: &'static Book,
    names: Names,
    /// What the operation's name says.
    by_name: fn(&str, &str) -> Option<Found>,
}

/// What a provider's names are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// `DeleteRolePolicy`: verb and object.
    Whole,
    /// `roles.delete`: a verb, of what stands before it.
    Verbs,
}

/// All of them. Adding one is its data and a line.
const PROVIDERS: &[Provider] = &[
    Provider { name: "aws", service: aws::full_service, called: aws::service, book: &AWS, names: Names::Whole, by_name: aws::by_name },
    Provider { name: "gcp", service: google, called: whole, book: &GCP, names: Names::Verbs, by_name: by_last_words },
    Provider { name: "github", service: github, called: whole, book: &GITHUB, names: Names::Verbs, by_name: by_last_words },
];

/// An operation of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named<'a> {
    provider: &'static str,
    service: &'a str,
    operation: &'static str,
}

impl Named<'_> {
    /// `aws.lambda.DeleteFunction`, `gcp.compute.instances.delete`, `github.repos.delete`.
    fn action(&self) -> String {
        match self.provider {
            "aws" => format!("aws.{}.{}", self.service, self.operation),
            provider => format!("{provider}.{}", self.operation),
        }
    }
}

/// `compute` of `compute.googleapis.com`, of `europe-west1-aiplatform.googleapis.com` its last word, of `x.europe-west1.rep.…` its first.
fn google(host: &str) -> Option<&str> {
    let name = host.strip_suffix(".googleapis.com")?;
    let name = name.strip_suffix(".mtls").unwrap_or(name);
    let name = name.strip_suffix(".rep").and_then(|name| name.split('.').next()).unwrap_or(name);
    let is_region = |part: &str| part.ends_with(|c: char| c.is_ascii_digit()) && part.contains('-');
    Some(match name.rsplit_once('-') {
        Some((region, service)) if is_region(region) => service,
        _ => name,
    })
}

fn whole(host: &str) -> &str {
    host
}

fn github(host: &str) -> Option<&str> {
    (host == "api.github.com").then_some("api")
}

/// What the last word of `compute.instances.delete` says of the one before.
fn by_last_words(_service: &str, operation: &str) -> Option<Found> {
    let (above, last) = operation.rsplit_once('.').unwrap_or(("", operation));
    let around = words::split(above.rsplit('.').next().unwrap_or_default());
    let last = words::split(last);
    // What is exported lands in a place that the request names, and a query may be any statement.
    if last.first().is_some_and(|first| matches!(first.as_str(), "export" | "query")) {
        return None;
    }
    let said = |effect| (effect, format!("it is {}", safe(operation)));
    if last.iter().map(String::as_str).eq(["test", "iam", "permissions"]) {
        return Some(said(Effect::Read));
    }
    words::of_words(&last, &around).map(said)
}

/// The catalogue as one API.
pub(crate) struct Catalogue;

impl Api for Catalogue {
    fn wants(&self, _head: &Head<'_>, _route: &Route) -> Option<BodyWant> {
        None
    }

    fn read(&self, call: &Call<'_>) -> Option<Reading> {
        // A path with two readings is two operations.
        if call.head.headers.contains_key(http::header::UPGRADE) || !call.route.is_plain() {
            return None;
        }
        let host = call.head.host.as_str();
        let (provider, service) = PROVIDERS.iter().find_map(|provider| Some((provider, (provider.service)(host)?)))?;
        let operation = provider.book.find(service, call.head.method.as_str(), &call.route)?;
        let called = (provider.called)(host);
        let named = Named { provider: provider.name, service: called, operation };
        let (effect, why) = judge(call, provider.names, (provider.by_name)(called, operation));
        let done = Operation::new(effect, &named.action(), http_rules::resource(call), why);
        // By the path as well, for what the name does not tell.
        Some(Reading::one(marks::of_path(marks::of_call(done, operation), call)))
    }
}

/// The stricter of what the request's own words say and what the operation's name says; but a whole name goes before the path of a DELETE.
fn judge(call: &Call<'_>, names: Names, by_name: Option<Found>) -> Found {
    let method = call.head.method;
    let deletes = http_rules::effect_of(method) == Effect::Destroy;
    let Some(named) = by_name else { return http_rules::found(call) };
    match (http_rules::said(call), named.0) {
        (Some(said @ (Effect::Opaque | Effect::Destroy, _)), _) => said,
        (Some(said), Effect::Destroy | Effect::Opaque) => match (deletes, names) {
            // That a DELETE only parts two that remain is told by its path, where the name is no more than `delete`.
            (true, Names::Verbs) => said,
            (true, Names::Whole) | (false, _) => named,
        },
        (Some(said), Effect::Read | Effect::Write) => said,
        (None, Effect::Destroy | Effect::Opaque) => named,
        // No description makes a DELETE a read.
        (None, Effect::Write) if !deletes || names == Names::Whole => named,
        (None, Effect::Read) if !deletes => named,
        (None, Effect::Read | Effect::Write) => http_rules::by_method(method),
    }
}

#[cfg(test)]
mod tests;
