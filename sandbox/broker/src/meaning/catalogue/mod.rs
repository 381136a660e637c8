//! Providers that publish which operation a method and a path are: the operation's own name tells what the request does.
//!
//! The data are facts of published packages, made by `cargo xtask catalogue`. A path that is not in it is judged by the general rules.

mod book;
mod shelves;

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
static AZURE: Book = Book::new(include_bytes!("azure.bin"));
static CLOUDFLARE: Book = Book::new(include_bytes!("cloudflare.bin"));
static DATADOG: Book = Book::new(include_bytes!("datadog.bin"));
static DIGITALOCEAN: Book = Book::new(include_bytes!("digitalocean.bin"));
static GCP: Book = Book::new(include_bytes!("gcp.bin"));
static GITHUB: Book = Book::new(include_bytes!("github.bin"));
static NETLIFY: Book = Book::new(include_bytes!("netlify.bin"));
static OKTA: Book = Book::new(include_bytes!("okta.bin"));
static VERCEL: Book = Book::new(include_bytes!("vercel.bin"));

/// A provider of the catalogue.
struct Provider {
    /// The first word of its actions.
    name: &'static str,
    /// Whether a host is one of its own, and which service it is.
    service: fn(&str) -> Option<&str>,
    /// Where one host has all services: which a path is of.
    shelf: Option<fn(&Route) -> String>,
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
    Provider { name: "aws", service: aws::full_service, shelf: None, called: aws::service, book: &AWS, names: Names::Whole, by_name: aws::by_name },
    Provider { name: "gcp", service: google, shelf: None, called: whole, book: &GCP, names: Names::Verbs, by_name: by_last_words },
    Provider { name: "github", service: github, shelf: None, called: whole, book: &GITHUB, names: Names::Verbs, by_name: by_last_words },
    Provider {
        name: "azure",
        service: |host| (host == "management.azure.com").then_some(host),
        shelf: Some(shelves::azure),
        called: whole,
        book: &AZURE,
        names: Names::Verbs,
        by_name: by_last_words,
    },
    Provider {
        name: "cloudflare",
        service: |host| (host == "api.cloudflare.com").then_some(host),
        shelf: Some(shelves::first),
        called: whole,
        book: &CLOUDFLARE,
        names: Names::Verbs,
        by_name: by_last_words,
    },
    Provider {
        name: "datadog",
        service: |host| is_datadog(host).then_some(host),
        shelf: Some(shelves::first),
        called: whole,
        book: &DATADOG,
        names: Names::Verbs,
        by_name: by_whole_name,
    },
    Provider {
        name: "digitalocean",
        service: |host| (host == "api.digitalocean.com").then_some(host),
        shelf: Some(shelves::first),
        called: whole,
        book: &DIGITALOCEAN,
        names: Names::Verbs,
        by_name: by_last_words,
    },
    Provider {
        name: "netlify",
        service: |host| (host == "api.netlify.com").then_some(host),
        shelf: Some(shelves::first),
        called: whole,
        book: &NETLIFY,
        names: Names::Verbs,
        by_name: by_whole_name,
    },
    Provider {
        name: "okta",
        service: |host| [".okta.com", ".oktapreview.com", ".okta-emea.com"].iter().any(|end| host.ends_with(end)).then_some(host),
        shelf: Some(shelves::first),
        called: whole,
        book: &OKTA,
        names: Names::Verbs,
        by_name: by_whole_name,
    },
    Provider {
        name: "vercel",
        service: |host| (host == "api.vercel.com").then_some(host),
        shelf: Some(shelves::first),
        called: whole,
        book: &VERCEL,
        names: Names::Verbs,
        by_name: by_whole_name,
    },
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
            "aws" | "azure" => format!("{}.{}.{}", self.provider, self.service, self.operation),
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

/// Datadog's API has a host for each of its sites.
fn is_datadog(host: &str) -> bool {
    host.strip_prefix("api.")
        .is_some_and(|rest| ["datadoghq.com", "datadoghq.eu", "ddog-gov.com"].iter().any(|site| rest == *site || rest.ends_with(&format!(".{site}"))))
}

/// What a name of verb and object says: `deleteProject`, `delete_monitor`.
fn by_whole_name(_service: &str, operation: &str) -> Option<Found> {
    words::effect_of(operation).map(|effect| (effect, format!("it is {}", safe(operation))))
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
        let method = call.head.method.as_str();
        let shelf = provider.shelf.map(|shelf| shelf(&call.route));
        let operation = match &shelf {
            // Azure takes paths in any case.
            Some(shelf) if provider.name == "azure" => provider.book.find(shelf, method, &Route::of(&call.head.target.to_ascii_lowercase())),
            Some(shelf) => provider.book.find(shelf, method, &call.route),
            None => provider.book.find(service, method, &call.route),
        }?;
        let called = match &shelf {
            Some(shelf) => shelf.strip_prefix("microsoft.").unwrap_or(shelf),
            None => (provider.called)(host),
        };
        let named = Named { provider: provider.name, service: called, operation };
        let by_name = (provider.by_name)(called, operation);
        // `GET …/can_delete` is `check_can_delete`: an API that is described as resources reads by GET.
        let by_name =
            by_name.filter(|(effect, _)| provider.shelf.is_none() || *effect < Effect::Destroy || http_rules::effect_of(call.head.method) != Effect::Read);
        let (effect, why) = judge(call, provider.names, by_name);
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
