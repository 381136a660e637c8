//! Decides, and remembers the words: what an operation is, what the policy says of it, what a person ruled.
//!
//! Nothing here acts or does I/O; every other room of the house asks this one.
//! The argument that the types carry: `Request → Judgement { Allow | Deny | Hold } → Granted → commit → Permit → deed`.

pub mod effect;
pub mod fingerprint;
pub mod gate;
pub mod kind;
pub mod ledger;
pub mod look;
pub mod operation;
pub mod permit;
pub mod policy;
pub mod request;
pub mod resource;
pub mod ruling;
pub mod safe;
pub mod verdict;
pub mod wire;

pub use effect::Effect;
pub use gate::Gate;
pub use kind::Lease;
pub use operation::{Action, Delegation, Operation, Reach};
pub use permit::Permit;
pub use request::{Credential, Destination, Digest, Evidence, HostName, Request};
pub use resource::{Lineage, Resource, ResourceId};
pub use verdict::{Granted, Hold, Judgement, Refusal, RefusalKind, Verdict};
