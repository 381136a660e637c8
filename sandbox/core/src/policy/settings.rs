//! All of a policy that is not the table: how people are asked, what the box is made of, which credentials exist.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::HostName;

/// A protocol of a database that neither a port nor a client's first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// MySQL and MariaDB: the server speaks first.
    MySql,
    /// Redis, with its inline commands, which look like HTTP's.
    Redis,
}

impl Spoken {
    /// As in the policy.
    pub(super) fn named(word: &str) -> Option<Self> {
        match word {
            "mysql" | "mariadb" => Some(Spoken::MySql),
            "redis" => Some(Spoken::Redis),
            _ => None,
        }
    }
}

/// A key that may sign rulings, as the policy names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApproverKey {
    /// A file with public keys, one a line, as `ssh-keygen` writes them.
    File(PathBuf),
    /// The key itself: `ssh-ed25519 AAAA… comment`.
    Line(String),
}

/// What a yes without a signature settles, from loose to strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unsigned {
    /// Whatever one approver may.
    Everything,
    /// Reads and writes in places that are not protected.
    Reversible,
    /// Nothing.
    Nothing,
}

/// How people are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// How long a hold waits before silence means no.
    pub patience: Duration,
    /// How long the client's connection is held before it is answered "pending".
    pub client_patience: Duration,
    /// How long a statement may wait while its transaction keeps locks from others; then the transaction is rolled back.
    pub hold_in_transaction: Duration,
    /// Channels by name, in order: `terminal`, …
    pub channels: Vec<String>,
    /// Whose signatures count.
    pub approvers: Vec<ApproverKey>,
    /// Which keys are those of who starts boxes under this policy.
    pub own: Vec<ApproverKey>,
    /// What a yes without a signature settles.
    pub unsigned: Unsigned,
}

impl Default for Approval {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(15 * 60),
            client_patience: Duration::from_secs(100),
            hold_in_transaction: Duration::from_secs(20),
            channels: vec!["terminal".to_owned()],
            approvers: Vec::new(),
            own: Vec::new(),
            unsigned: Unsigned::Everything,
        }
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
    /// Holds of one kind that may wait at once.
    pub alike: Option<u64>,
    /// Destroying operations within ten seconds that freeze the box.
    pub burst: Option<u64>,
}

impl Limits {
    /// Requests and connections at once where the policy does not say.
    pub const CONNECTIONS: u64 = 2048;
    /// Holds at once where the policy does not say.
    pub const HOLDS: u64 = 32;
    /// Holds of one kind at once where the policy does not say.
    pub const ALIKE: u64 = 8;
    /// Destroying operations that are one burst where the policy does not say.
    pub const BURST: u64 = 12;
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An environment variable of the supervisor.
    Env(String),
    /// A file.
    File(PathBuf),
    /// The standard output of a command.
    Command(String),
    /// An entry of the desktop's keyring (Secret Service), by its attributes.
    Keyring(Vec<(String, String)>),
    /// A field of a secret in a Vault's key/value store, version 2.
    Vault {
        /// Where the store is mounted.
        mount: String,
        /// The secret's path in it.
        path: String,
        /// The field.
        field: String,
    },
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
    /// Variables of the box that hold its placeholder, besides the one that the secret is read from.
    pub env: Vec<String>,
    /// Files in which the box sees its placeholder instead of the secret, besides the one that the secret is read from; absolute.
    pub files: Vec<PathBuf>,
    /// The environment that it is for; a box of another one has a placeholder that is denied everywhere.
    pub environment: Option<String>,
}

impl CredentialRule {
    /// The variables of the box that hold its placeholder.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let source = match &self.source {
            Source::Env(name) => Some(name.as_str()),
            Source::File(_) | Source::Command(_) | Source::Keyring(_) | Source::Vault { .. } => None,
        };
        source.into_iter().chain(self.env.iter().map(String::as_str))
    }

    /// The files in which the box sees its placeholder.
    pub fn shown_in(&self) -> impl Iterator<Item = &Path> {
        let source = match &self.source {
            Source::File(path) => Some(path.as_path()),
            Source::Env(_) | Source::Command(_) | Source::Keyring(_) | Source::Vault { .. } => None,
        };
        source.into_iter().chain(self.files.iter().map(PathBuf::as_path))
    }
}

/// How a courier writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CourierKind {
    /// The whole card as JSON, signed.
    Webhook,
    /// A short notification.
    Ntfy,
    /// A message by a chat's incoming webhook, whose address is its secret.
    Slack,
    /// A letter by a mail relay, which [`CourierRule::mail`] addresses.
    Email,
}

/// How a relay is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailCloth {
    /// TLS from the first byte.
    Tls,
    /// TLS once both have agreed to it.
    StartTls,
}

/// Whose letters a relay is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// How it is spoken to.
    pub cloth: MailCloth,
    /// The sender's address.
    pub from: String,
    /// The addresses of those who are told.
    pub to: Vec<String>,
    /// As whom one logs in there; the secret is the password.
    pub user: Option<String>,
}

/// A channel that carries cards elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CourierRule {
    /// Its name in the policy and in `approval.channels`.
    pub name: String,
    /// How it writes.
    pub kind: CourierKind,
    /// Where to; always over TLS.
    pub destination: crate::Destination,
    /// Path and query.
    pub target: String,
    /// Where it writes letters.
    pub mail: Option<Mail>,
    /// Its key or token: from a variable or a file.
    pub secret: Option<Source>,
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
    /// Paths below a writable tree or in a cache where writing or destroying is not plainly allowed: mounted read-only.
    pub read_only: Vec<FilePath>,
    /// Paths that the agent may not read: masked.
    pub masked: Vec<FilePath>,
    /// Writable paths where destroying is not plainly allowed: the file gate asks there.
    pub gated: Vec<FilePath>,
}

/// A port of the box that the machine may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// On the machine, on loopback only.
    pub outside: u16,
    /// In the box.
    pub inside: u16,
}

/// Reads `5432`.
///
/// # Errors
/// It is no port.
pub fn port(text: &str) -> Result<u16, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| *port != 0 && digits).ok_or_else(|| format!("`{}` is no port: write a number from 1 to 65535", crate::safe::line(text, 40)))
}

/// Reads `3000`, or `8080:3000` for port 8080 of the machine and 3000 of the box.
///
/// # Errors
/// It is neither.
pub fn published(text: &str) -> Result<Published, String> {
    match text.split_once(':') {
        Some((outside, inside)) => Ok(Published { outside: port(outside)?, inside: port(inside)? }),
        None => port(text).map(|port| Published { outside: port, inside: port }),
    }
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
    /// Channels that carry cards elsewhere.
    pub couriers: Vec<CourierRule>,
    /// What the mounts must enforce.
    pub files: Files,
    /// TCP ports on the machine's own loopback that the box may reach at the same port of its own; judged as the place `host`.
    pub forward: Vec<u16>,
    /// TCP ports on the box's loopback that the machine may reach on its own.
    pub publish: Vec<Published>,
    /// UNIX sockets of the machine that the box may connect to; what is said on them is not judged.
    pub sockets: Vec<PathBuf>,
    /// Tool caches, copy-on-write for each project.
    pub caches: Vec<PathBuf>,
    /// Folders that are made before the box starts, where they are missing.
    pub folders: Vec<PathBuf>,
    /// Whether the agent may make user namespaces of its own.
    pub nested_userns: bool,
    /// What the kernel gate does, where there is one.
    pub kernel_gate: KernelGate,
}

/// What the kernel's own hooks do about files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelGate {
    /// They refuse what only the file gate may do; where the policy requires them.
    #[default]
    Refuse,
    /// They leave to the kernel what is opened for writing and removed of the box's own works, and send the rest to the file gate. It requires them.
    Judge,
}

/// Words in a variable's name that say it holds a secret.
const SECRET_WORDS: &[&str] = &[
    "TOKEN",
    "KEY",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "AUTH",
    "PRIVATE",
    "COOKIE",
    "JWT",
    "DSN",
    "DATABASE_URL",
    "CONNECTION_STRING",
    "SIGNATURE",
    "WEBHOOK",
];

impl Env {
    /// What of `variables` goes in, with what is set on top. What looks like a secret goes in only by its exact name.
    pub fn filter(&self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
        let mut kept: Vec<(OsString, OsString)> =
            variables.into_iter().filter(|(name, value)| self.passes(name, value) && !name.to_str().is_some_and(|name| self.set.contains_key(name))).collect();
        kept.extend(self.set.iter().map(|(name, value)| (name.into(), value.into())));
        kept
    }

    fn passes(&self, name: &OsStr, value: &OsStr) -> bool {
        let Some(name) = name.to_str() else { return false };
        let exact = self.pass.iter().any(|pattern| pattern == name);
        exact || (!is_secret(name, value) && self.pass.iter().any(|pattern| pattern.contains('*') && star_matches(pattern, name)))
    }
}

/// Whether a variable's name or value looks like a secret.
fn is_secret(name: &str, value: &OsStr) -> bool {
    let name = name.to_ascii_uppercase();
    if SECRET_WORDS.iter().any(|word| name.contains(word)) || name.split('_').any(|part| part == "PAT" || part == "PW" || part == "PWD" && name != "PWD") {
        return true;
    }
    // scheme://user:password@host
    let value = value.to_string_lossy();
    value.match_indices("://").any(|(at, separator)| {
        let authority = value.get(at + separator.len()..).unwrap_or_default().split(['/', ' ', '?', '#']).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    })
}

/// Whether `pattern`, in which each `*` stands for anything, matches all of `text`. Its time is bounded by the product of both lengths.
fn star_matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(pass: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
        let env = Env { pass: pass.iter().map(|p| (*p).to_owned()).collect(), set: BTreeMap::new() };
        env.filter(variables.iter().map(|(n, v)| (n.into(), v.into()))).into_iter().map(|(n, _)| n.into_string().unwrap()).collect()
    }

    #[test]
    fn only_what_is_named_goes_in() {
        let there = [("PATH", "/bin"), ("LC_ALL", "C"), ("LC_", "x"), ("XLC_A", ""), ("HOME", "/h")];
        assert_eq!(filter(&["PATH", "LC_*"], &there), ["PATH", "LC_ALL", "LC_"]);
        assert!(filter(&[], &there).is_empty());
    }

    #[test]
    fn secrets_need_their_exact_name() {
        let there = [
            ("GITHUB_TOKEN", "x"),
            ("API_KEY", "x"),
            ("MY_SECRET_X", "x"),
            ("db_password", "x"),
            ("SSH_AUTH_SOCK", "x"),
            ("DB", "postgres://u:p@h/d"),
            ("GH_PAT", "x"),
            ("PLAIN", "http://h/a:b@c"),
        ];
        assert_eq!(filter(&["*"], &there), ["PLAIN"]);
        assert_eq!(filter(&["GITHUB_TOKEN", "DB"], &there), ["GITHUB_TOKEN", "DB"]);
    }

    #[test]
    fn what_is_set_wins() {
        let env = Env { pass: vec!["A".into()], set: [("A".to_owned(), "new".to_owned())].into() };
        assert_eq!(env.filter([("A".into(), "old".into())]), [(OsString::from("A"), OsString::from("new"))]);
    }

    #[test]
    fn stars() {
        for (pattern, text, fits) in [
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*b*c", "axbyc", true),
            ("*", "", true),
            ("a*", "b", false),
            ("a*a", "a", false),
            ("*ab", "aab", true),
        ] {
            assert_eq!(star_matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
