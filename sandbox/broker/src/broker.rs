//! What all connections of one box share.

use std::sync::Arc;

use agentbox_core::{HostName, policy::Policy};

use crate::{authority::Authority, http::Pool, line::Line, names::Names, refusals::Refusals, upstream::Connector};

/// The name under which the broker itself answers in the box.
pub const OWN_NAME: &str = "agentbox.internal";

/// The shared things.
pub(crate) struct Broker {
    pub(crate) policy: Arc<Policy>,
    pub(crate) line: Box<dyn Line>,
    pub(crate) connector: Connector,
    pub(crate) pool: Arc<Pool>,
    pub(crate) authority: Authority,
    pub(crate) names: Arc<Names>,
    pub(crate) refusals: Refusals,
    pub(crate) own: HostName,
}
