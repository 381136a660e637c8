//! All of a policy that is not the table: how people are asked, what the box is made of, which credentials exist.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use crate::HostName;

/// How people are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// How long a hold waits before silence means no.
    pub patience: Duration,
    /// How long the client's connection is held before it is answered "pending".
    pub client_patience: Duration,
    /// Channels by name, in order: `terminal`, …
    pub channels: Vec<String>,
}

impl Default for Approval {
    fn default() -> Self {
        Self { patience: Duration::from_secs(15 * 60), client_patience: Duration::from_secs(100), channels: vec!["terminal".to_owned()] }
    }
}

/// What of the environment goes in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Env {
    /// Globs of variables that pass (secret-shaped ones only by exact name).
    pub pass: Vec<String>,
    /// Variables that are set in the box.
    pub set: BTreeMap<String, String>,
}

/// Limits of the box; `None` leaves the system's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Open files a process.
    pub open_files: Option<u64>,
    /// Bytes of memory for the whole box (cgroup where delegated).
    pub memory: Option<u64>,
    /// Bytes of one file.
    pub file_size: Option<u64>,
    /// Requests and connections at once through the broker.
    pub connections: Option<u64>,
    /// Holds that may wait at once.
    pub holds: Option<u64>,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An environment variable of the supervisor.
    Env(String),
    /// A file.
    File(PathBuf),
    /// The desktop's keyring.
    Keyring(String),
    /// The standard output of a command.
    Command(String),
}

/// A credential that the supervisor holds for the box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRule {
    /// Its name in the policy.
    pub name: String,
    /// Where the secret is read from.
    pub source: Source,
    /// Hosts that may see it.
    pub hosts: Vec<HostName>,
    /// Actions (with `*` at the end) or effects that it may be used for.
    pub allow: Vec<String>,
    /// How long after the start of the box it may be used.
    pub expires: Option<Duration>,
}

/// A path with the place that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath {
    /// Absolute; may hold glob characters.
    pub pattern: PathBuf,
    /// The place.
    pub place: String,
}

/// What the mounts must enforce, from the effective table of file places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Trees where everything is allowed.
    pub writable: Vec<FilePath>,
    /// Paths below a writable tree where writing or destroying is not plainly allowed: mounted read-only.
    pub read_only: Vec<FilePath>,
    /// Paths that the agent may not read: masked.
    pub masked: Vec<FilePath>,
    /// Paths whose cells differ in a way that mounts cannot enforce (write allowed, destroy not):
    /// they need the file gate, and without it the box must not start.
    pub needs_gate: Vec<FilePath>,
}

/// All of a policy that is not the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How people are asked.
    pub approval: Approval,
    /// What of the environment goes in.
    pub env: Env,
    /// Limits of the box.
    pub limits: Limits,
    /// Layers without which it must not start, by their `doctor` names.
    pub require: Vec<String>,
    /// Name to address (with an optional port), for tests and stand-ins.
    pub names: BTreeMap<HostName, (IpAddr, Option<u16>)>,
    /// PEM files with extra upstream roots.
    pub roots: Vec<PathBuf>,
    /// Hosts that are not terminated: opaque.
    pub pass_through: Vec<String>,
    /// Credentials, by name.
    pub credentials: Vec<CredentialRule>,
    /// What the mounts must enforce.
    pub files: Files,
    /// Host ports reachable from the box (next issue).
    pub forward: Vec<String>,
    /// Box ports reachable from the host (next issue).
    pub publish: Vec<String>,
    /// Host sockets reachable from the box (next issue).
    pub sockets: Vec<PathBuf>,
    /// Tool caches, copy-on-write (next issue).
    pub caches: Vec<PathBuf>,
    /// Whether the agent may make user namespaces of its own.
    pub nested_userns: bool,
}
