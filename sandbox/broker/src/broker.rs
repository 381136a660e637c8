//! What all connections of one box share, and what is known of a destination before anything is asked about it.

use std::sync::Arc;

use agentbox_core::{Destination, Digest, Effect, Evidence, HostName, Operation, Refusal, RefusalKind, Request, Resource, ResourceId, Verdict, policy::Policy};

use crate::{
    authority::Authority,
    dns::Reading,
    http::{Pool, Room, Twice, carrier::Carrier},
    line::Line,
    meaning::Documents,
    names::Names,
    postgres::Keys,
    redis::Scripts,
    refusals::Refusals,
    secrets::Issued,
    upstream::{Connector, UpstreamError},
};

/// The name under which the broker itself answers in the box.
pub const OWN_NAME: &str = "agentbox.internal";

/// The name of the machine itself, as far as ports of it are forwarded to the box.
pub(crate) const HERE: &str = "localhost";

/// The shared things.
pub(crate) struct Broker {
    pub(crate) policy: Arc<Policy>,
    pub(crate) line: Box<dyn Line>,
    pub(crate) connector: Connector,
    pub(crate) pool: Arc<Pool>,
    pub(crate) keys: Keys,
    /// What the agent has instead of secrets.
    pub(crate) issued: Issued,
    /// The way to the process that holds the secrets, where there are any.
    pub(crate) carrier: Option<Carrier>,
    pub(crate) scripts: Scripts,
    /// Documents of GraphQL that have passed by.
    pub(crate) documents: Documents,
    pub(crate) room: Room,
    pub(crate) authority: Authority,
    pub(crate) names: Arc<Names>,
    pub(crate) refusals: Refusals,
    pub(crate) twice: Twice,
    pub(crate) own: HostName,
}

impl Broker {
    /// The destination with its addresses, where they may be found out before anybody said yes: else a name made up by the agent
    /// would carry its secret outside as a question to a name server.
    pub(crate) async fn addressed(&self, destination: &Destination) -> Destination {
        let may_ask = self.connector.mapped(&destination.host).is_some() || reading(&self.policy, &destination.host) == Reading::Allowed;
        if !destination.addresses.is_empty() || !may_ask {
            return destination.clone();
        }
        // What cannot be resolved cannot be reached either: the way out says so in its own words.
        self.resolved(destination).await.unwrap_or_else(|_| destination.clone())
    }

    /// The destination with its addresses; behind the network's proxy there are none.
    pub(crate) async fn resolved(&self, destination: &Destination) -> Result<Destination, UpstreamError> {
        if !destination.addresses.is_empty() || self.connector.is_proxied(destination) {
            return Ok(destination.clone());
        }
        let addresses = self.connector.resolve(destination).await?.into_iter().map(|address| address.ip()).collect();
        Ok(Destination { addresses, ..destination.clone() })
    }

    /// Whether the client went to a bare address that we did not hand out and that no place lists: then nobody knows what is behind it.
    pub(crate) fn is_unlisted(&self, destination: &Destination) -> bool {
        destination.host.address().is_some_and(|address| !self.policy.lists_address(address, destination.port))
            && self.connector.mapped(&destination.host).is_none()
    }
}

/// Remembers for `agentbox why` that a name was denied.
pub(crate) fn denied(broker: &Arc<Broker>) -> Box<dyn Fn(&HostName) + Send + Sync> {
    let broker = broker.clone();
    Box::new(move |name| {
        let refusal = Refusal {
            kind: RefusalKind::Denied,
            operation: "dns.lookup".to_owned(),
            place: String::new(),
            reason: format!("{name} is a host that the policy denies, so the box is told that there is no such name"),
            guidance: "Do not look for another way to it; if the task needs it, ask the person to name it in a place of the policy.".to_owned(),
            approval_id: None,
        };
        broker.refusals.remember(&format!("looking up {name}"), &refusal);
    })
}

/// Whether a name may be asked about outside: only where a plain read of that host is allowed.
pub(crate) fn reading(policy: &Policy, name: &HostName) -> Reading {
    if policy.settings().names.contains_key(name) {
        return Reading::Silent;
    }
    let destination = Destination { host: name.clone(), port: 443, addresses: Vec::new() };
    let resource = Resource::rooted(ResourceId::new("http", &format!("{destination}/")));
    let question = Request {
        operations: vec![Operation::new(Effect::Read, "http.get", resource, "a plain read")],
        destination: Some(destination),
        digest: Digest::of([]),
        evidence: Evidence::default(),
    };
    match policy.preview(&question).0 {
        Verdict::Allow => Reading::Allowed,
        Verdict::Hold => Reading::Silent,
        // Denied on the web's port, but some place speaks of it by name: perhaps of another port.
        Verdict::Deny if policy.host_names().contains(name) => Reading::Silent,
        Verdict::Deny => Reading::Denied,
    }
}
