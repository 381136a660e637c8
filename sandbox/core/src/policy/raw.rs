//! What one policy file says, read and checked word by word, before the layers are laid upon each other.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use super::{
    pattern::{Glob, HostPattern, PathPattern, ResourcePattern},
    settings::{ApproverKey, CourierRule, KernelGate, Limits, Published, Source as SecretSource, Spoken, Unsigned},
    source::{Mark, Source},
};
use crate::{Effect, HostName, Verdict, verdict::Confirm};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) mark: Mark,
}

/// `[place.NAME]`
#[derive(Clone, Debug)]
pub(super) struct RawPlace {
    pub(super) mark: Mark,
    pub(super) paths: Vec<At<PathPattern>>,
    pub(super) hosts: Vec<At<HostPattern>>,
    pub(super) resources: Vec<At<ResourcePattern>>,
    /// read, write, destroy
    pub(super) cells: [Option<At<Verdict>>; 3],
    pub(super) protected: Option<At<bool>>,
    pub(super) approvers: Option<At<u8>>,
    pub(super) confirm: Option<At<Confirm>>,
    pub(super) somebody_else: Option<At<bool>>,
    pub(super) lease: Option<Duration>,
    pub(super) credentials: Option<Vec<At<String>>>,
    pub(super) environment: Option<At<String>>,
}

/// `[credential.NAME]`
#[derive(Clone, Debug)]
pub(super) struct RawCredential {
    pub(super) mark: Mark,
    pub(super) source: SecretSource,
    pub(super) hosts: Vec<HostName>,
    pub(super) allow: Option<Vec<String>>,
    pub(super) expires: Option<Duration>,
    pub(super) env: Vec<String>,
    pub(super) files: Vec<PathBuf>,
    pub(super) environment: Option<String>,
}

/// `[[rule]]`
#[derive(Clone, Debug)]
pub(super) struct RawRule {
    pub(super) mark: Mark,
    pub(super) name: String,
    pub(super) place: Option<At<String>>,
    pub(super) operation: Option<Glob>,
    pub(super) effect: Option<Effect>,
    pub(super) resource: Option<ResourcePattern>,
    pub(super) verdict: Verdict,
    pub(super) expires: Option<Duration>,
}

/// `[[example]]`
#[derive(Clone, Debug)]
pub(super) struct RawExample {
    pub(super) mark: Mark,
    pub(super) operation: String,
    pub(super) verdict: Verdict,
}

/// One file.
#[derive(Debug)]
pub(super) struct RawLayer {
    pub(super) source: Arc<Source>,
    pub(super) extends: Option<At<String>>,
    pub(super) places: BTreeMap<String, RawPlace>,
    pub(super) credentials: BTreeMap<String, RawCredential>,
    pub(super) couriers: BTreeMap<String, CourierRule>,
    pub(super) rules: Vec<RawRule>,
    pub(super) examples: Vec<RawExample>,
    pub(super) patience: Option<Duration>,
    pub(super) client_patience: Option<Duration>,
    pub(super) hold_in_transaction: Option<Duration>,
    pub(super) channels: Vec<At<String>>,
    pub(super) approvers: Vec<At<ApproverKey>>,
    pub(super) own: Vec<At<ApproverKey>>,
    pub(super) unsigned: Option<Unsigned>,
    pub(super) require: Vec<String>,
    pub(super) limits: Limits,
    pub(super) env_pass: Vec<String>,
    pub(super) env_set: BTreeMap<String, String>,
    pub(super) names: BTreeMap<HostName, (IpAddr, Option<u16>)>,
    pub(super) roots: Vec<PathBuf>,
    pub(super) pass_through: Vec<At<HostPattern>>,
    pub(super) protocols: Vec<(HostPattern, Spoken)>,
    pub(super) forward: Vec<u16>,
    pub(super) publish: Vec<Published>,
    pub(super) sockets: Vec<PathBuf>,
    pub(super) caches: Vec<At<PathBuf>>,
    pub(super) folders: Vec<PathBuf>,
    pub(super) nested_userns: Option<bool>,
    pub(super) kernel_gate: Option<KernelGate>,
}
