//! Providers whose requests say otherwise than their methods and names: one file each, hosts and rules.

mod databases;
mod developers;
mod facts;
mod google;
mod services;

use agentbox_core::Operation;

use super::{
    BodyWant, Head,
    api::{Api, Reading},
    bodies::Found,
    call::Call,
    http_rules, marks,
    route::Route,
};

/// One provider.
pub(crate) struct Provider {
    /// Its name, the first word of its actions.
    pub(crate) name: &'static str,
    /// Whether a request goes to it.
    pub(crate) is_at: fn(&Head<'_>) -> bool,
    /// What a request does, where the general rules do not tell. `None` leaves it to them.
    pub(crate) judge: fn(&Call<'_>) -> Option<Found>,
}

/// All of them. Adding one is one file and one line.
const PROVIDERS: &[&Provider] = &[
    &google::GOOGLE,
    &developers::GITHUB,
    &developers::HEROKU,
    &developers::TERRAFORM,
    &databases::FIREBASE,
    &databases::POSTGREST,
    &databases::UPSTASH,
    &databases::COSMOS,
    &databases::COUCH,
    &services::TWILIO,
    &services::STRIPE,
    &services::ALERTING,
    &services::KAFKA,
    &services::AZURE,
    &services::LINODE,
    &services::DATADOG,
    &services::VAULT,
    &services::DOCKER,
];

/// Whether a host is this domain or one of its subdomains.
fn is_below(head: &Head<'_>, domain: &str) -> bool {
    head.host.as_str().strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// All providers as one API.
pub(crate) struct Providers;

impl Api for Providers {
    fn wants(&self, _head: &Head<'_>, _route: &Route) -> Option<BodyWant> {
        None
    }

    fn read(&self, call: &Call<'_>) -> Option<Reading> {
        if call.head.headers.contains_key(http::header::UPGRADE) || !call.route.is_plain() {
            return None;
        }
        if let Some((effect, why)) = facts::judge(call) {
            return Some(Reading::one(marks::of_path(Operation::new(effect, http_rules::action(call.head.method), http_rules::resource(call), why), call)));
        }
        let provider = PROVIDERS.iter().find(|provider| (provider.is_at)(call.head))?;
        let (effect, why) = (provider.judge)(call)?;
        let action = format!("{}.{}", provider.name, call.head.method.as_str().to_ascii_lowercase());
        Some(Reading::one(marks::of_path(Operation::new(effect, &action, http_rules::resource(call), why), call)))
    }
}
