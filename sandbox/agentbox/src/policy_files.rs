//! Finds the policy's layers, reads each file once, and keeps which repository's policy a person trusts.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use agentbox_core::{
    Digest, Request,
    policy::{self, Binding, Context, ExampleReport, LayerKind, LayerText, Policy, PolicyError, settings::Published},
};
use serde::{Deserialize, Serialize};

/// The profiles that are shipped. Adding one is one file and one line.
const PROFILES: &[(&str, &str)] = &[
    ("default", include_str!("../../../policies/default.toml")),
    ("cursor", include_str!("../../../policies/cursor.toml")),
    ("claude", include_str!("../../../policies/claude.toml")),
    ("codex", include_str!("../../../policies/codex.toml")),
    ("gemini", include_str!("../../../policies/gemini.toml")),
    ("aider", include_str!("../../../policies/aider.toml")),
    ("opencode", include_str!("../../../policies/opencode.toml")),
    ("ci", include_str!("../../../policies/ci.toml")),
    ("container", include_str!("../../../policies/container.toml")),
];

/// The repository's file.
const REPOSITORY_FILE: &str = "agentbox.toml";

/// Longest file that is read: one byte more than core takes, so that core can say what is wrong with it.
const LONGEST_FILE: u64 = (1 << 20) + 1;

/// Longest `trust.json`: the texts of a few hundred policies.
const LONGEST_TRUST: u64 = 64 << 20;

/// Most folders that are climbed to find `agentbox.toml`; the kernel's longest path has fewer that matter.
const MOST_FOLDERS: usize = 256;

/// Which policy is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolicyArguments {
    /// `--policy`: a file, or the name of a shipped profile; stands in for the user's own file.
    pub(crate) policy: Option<String>,
    /// The shipped profile below all; a known agent brings its own.
    pub(crate) profile: Option<String>,
    /// The workspace.
    pub(crate) workspace: PathBuf,
    /// Doors of the command line, which count as the user's layer.
    pub(crate) doors: Doors,
}

/// What `--forward`, `--publish` and `--socket` say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doors {
    /// Ports of the machine.
    pub(crate) forward: Vec<u16>,
    /// Ports of the box.
    pub(crate) publish: Vec<Published>,
    /// UNIX sockets of the machine.
    pub(crate) sockets: Vec<PathBuf>,
}

/// What an HTTP example (`METHOD URL [BODY]`) would do.
pub(crate) type Decode = fn(&str) -> Result<Request, String>;

/// A policy, and where it came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Ready to judge; its examples hold, unless it was loaded by [`read`].
    pub(crate) policy: Policy,
    /// The files of the three layers as they are shown, and which layer each is.
    pub(crate) layers: Vec<(String, LayerKind)>,
    /// How the examples came out; empty from [`read`].
    pub(crate) examples: Vec<ExampleReport>,
    /// agentbox's own folders (policy; ledger, vault and trust), wherever XDG puts them: no box may see them.
    pub(crate) own_folders: [PathBuf; 2],
}

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyFilesError {
    /// The policy itself is wrong.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A file cannot be used.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody knows where home is.
    #[error("the home folder is not known: set HOME")]
    NoHome,
}

fn file_error(path: &Path, why: impl std::fmt::Display) -> PolicyFilesError {
    PolicyFilesError::File { path: path.display().to_string(), why: why.to_string() }
}

/// Loads the policy and checks its examples.
pub(crate) fn load(arguments: &PolicyArguments, decode: Decode) -> Result<Loaded, PolicyFilesError> {
    let mut loaded = read(arguments)?;
    loaded.examples = loaded.policy.check_examples(&decode)?;
    Ok(loaded)
}

/// Loads the policy without its examples: for `policy test`, which shows how all of them come out.
pub(crate) fn read(arguments: &PolicyArguments) -> Result<Loaded, PolicyFilesError> {
    read_at(&Places::find(&arguments.workspace)?, arguments)
}

fn read_at(places: &Places, arguments: &PolicyArguments) -> Result<Loaded, PolicyFilesError> {
    let mut files = Files { places, read: BTreeMap::new() };
    let context = places.context();
    let mut layers = vec![profile(arguments.profile.as_deref().unwrap_or("default")).map_err(|why| file_error(Path::new("--profile"), why))?];
    if let Some(path) = places.repository() {
        let mut text = files.take(&path, LayerKind::Repository { trusted: false })?;
        let binding = policy::bind(text.clone(), &context, &mut |name, base| files.resolve(name, base))?;
        let trusted = Trust::read(places)?.is_bound(&path, &binding.digest);
        text.kind = LayerKind::Repository { trusted };
        layers.push(text);
    }
    match &arguments.policy {
        Some(name) => layers.push(files.named(name)?),
        None => {
            let own = places.config.join("policy.toml");
            if exists(&own)? {
                layers.push(files.take(&own, LayerKind::User)?);
            }
        }
    }
    let names = layers.iter().map(|layer| (layer.name.clone(), layer.kind)).collect();
    layers.extend(arguments.doors.layer());
    let mut policy = Policy::load(layers.clone(), &context, &mut |name, base| files.resolve(name, base))?;
    let forward = &policy.settings().forward;
    if !forward.is_empty() {
        // Which ports are open is known only now. What their place says by itself lies below all that others say of it, and above the
        // shipped profile, whose examples know nothing of it.
        layers.insert(1, place_of(forward));
        policy = Policy::load(layers, &context, &mut |name, base| files.resolve(name, base))?;
    }
    Ok(Loaded { policy, layers: names, examples: Vec::new(), own_folders: [places.config.clone(), places.state.clone()] })
}

impl Doors {
    /// As a file would say it.
    fn layer(&self) -> Option<LayerText> {
        if self.forward.is_empty() && self.publish.is_empty() && self.sockets.is_empty() {
            return None;
        }
        let forward: Vec<String> = self.forward.iter().map(u16::to_string).collect();
        let publish: Vec<String> = self.publish.iter().map(|door| format!("{}:{}", door.outside, door.inside)).collect();
        let sockets: Vec<String> = self.sockets.iter().map(|path| path.display().to_string()).collect();
        // Strings of Rust are no strings of TOML, those of JSON are.
        let list = |texts: &[String]| serde_json::to_string(texts).unwrap_or_else(|_| "[]".to_owned());
        let text = format!("forward = {}\npublish = {}\nsockets = {}\n", list(&forward), list(&publish), list(&sockets));
        Some(LayerText { name: "the command line".to_owned(), base: PathBuf::from("/"), kind: LayerKind::User, bytes: text.into_bytes() })
    }
}

/// The place of forwarded ports, and what is so there unless somebody says otherwise: a service of one's own is worked with, and what
/// destroys is asked about.
fn place_of(forward: &[u16]) -> LayerText {
    let hosts: Vec<String> = forward.iter().map(|port| format!("\"localhost:{port}\"")).collect();
    let text = format!("[place.host]\nhosts = [{}]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n", hosts.join(", "));
    LayerText { name: "forwarded ports".to_owned(), base: PathBuf::from("/"), kind: LayerKind::Profile, bytes: text.into_bytes() }
}

/// A shipped profile.
fn profile(name: &str) -> Result<LayerText, String> {
    let (name, text) = PROFILES.iter().find(|(known, _)| *known == name).ok_or_else(|| {
        let all: Vec<&str> = PROFILES.iter().map(|(name, _)| *name).collect();
        format!("there is no profile `{name}`; the profiles are: {}", all.join(", "))
    })?;
    Ok(LayerText { name: format!("profile {name}"), base: PathBuf::from("/"), kind: LayerKind::Profile, bytes: text.as_bytes().to_vec() })
}

/// Where things lie.
#[derive(Debug)]
struct Places {
    home: PathBuf,
    workspace: PathBuf,
    config: PathBuf,
    state: PathBuf,
}

impl Places {
    fn find(workspace: &Path) -> Result<Self, PolicyFilesError> {
        let home = std::env::home_dir().filter(|home| home.is_absolute()).ok_or(PolicyFilesError::NoHome)?;
        let workspace = fs::canonicalize(workspace).map_err(|error| file_error(workspace, error))?;
        let xdg = |variable: &str, below: &str| match std::env::var_os(variable).map(PathBuf::from) {
            // The XDG specification: a relative path is to be ignored.
            Some(path) if path.is_absolute() => path.join("agentbox"),
            _ => home.join(below).join("agentbox"),
        };
        let (config, state) = (xdg("XDG_CONFIG_HOME", ".config"), xdg("XDG_STATE_HOME", ".local/state"));
        Ok(Self { home, workspace, config, state })
    }

    fn context(&self) -> Context {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
        Context { home: self.home.clone(), workspace: self.workspace.clone(), started, own_addresses: own_addresses() }
    }

    /// `agentbox.toml` in the workspace or in the nearest folder above it.
    fn repository(&self) -> Option<PathBuf> {
        self.workspace.ancestors().take(MOST_FOLDERS).map(|folder| folder.join(REPOSITORY_FILE)).find(|path| path.symlink_metadata().is_ok())
    }

    /// Short where that is clear; two files never look alike.
    fn shown(&self, path: &Path) -> String {
        match (path.strip_prefix(&self.workspace), path.strip_prefix(&self.home)) {
            (Ok(below), _) => below.display().to_string(),
            (_, Ok(below)) => format!("~/{}", below.display()),
            _ => path.display().to_string(),
        }
    }
}

fn exists(path: &Path) -> Result<bool, PolicyFilesError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        // It may be there: running without it would run weaker.
        Err(error) => Err(file_error(path, error)),
    }
}

/// Each file is read once, so that what trust is bound to is what is used.
struct Files<'a> {
    places: &'a Places,
    read: BTreeMap<PathBuf, Vec<u8>>,
}

impl Files<'_> {
    fn take(&mut self, path: &Path, kind: LayerKind) -> Result<LayerText, PolicyFilesError> {
        let path = fs::canonicalize(path).map_err(|error| file_error(path, error))?;
        let bytes = match self.read.get(&path) {
            Some(bytes) => bytes.clone(),
            None => {
                let bytes = read_bounded(&path, LONGEST_FILE).map_err(|why| file_error(&path, why))?;
                self.read.insert(path.clone(), bytes.clone());
                bytes
            }
        };
        let base = path.parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf);
        Ok(LayerText { name: self.places.shown(&path), base, kind, bytes })
    }

    /// `--policy`: the name of a profile, unless it looks like a path.
    fn named(&mut self, name: &str) -> Result<LayerText, PolicyFilesError> {
        if is_path(name) {
            return self.take(Path::new(name), LayerKind::User);
        }
        let text = profile(name).map_err(|why| file_error(Path::new("--policy"), why))?;
        Ok(LayerText { kind: LayerKind::User, ..text })
    }

    /// `extends`
    fn resolve(&mut self, name: &str, base: &Path) -> Result<LayerText, String> {
        if !is_path(name) {
            return profile(name);
        }
        let path = match name.strip_prefix("~/") {
            Some(below) => self.places.home.join(below),
            None => base.join(name),
        };
        self.take(&path, LayerKind::User).map_err(|error| error.to_string())
    }
}

fn is_path(name: &str) -> bool {
    name.contains('/') || name.ends_with(".toml")
}

fn read_bounded(path: &Path, longest: u64) -> Result<Vec<u8>, String> {
    // A pipe here would make us wait for ever.
    if !fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
        return Err("this is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(longest).read_to_end(&mut bytes)).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The machine's own addresses, from the kernel's tables; what cannot be read is left out (loopback is known anyway).
fn own_addresses() -> Vec<IpAddr> {
    let read = |path: &str| read_proc(path).unwrap_or_default();
    let mut all = own_v4(&read("/proc/net/fib_trie"));
    all.extend(own_v6(&read("/proc/net/if_inet6")));
    all.sort();
    all.dedup();
    all
}

/// A file of /proc says that it is empty, so that its bound is all there is to go by.
fn read_proc(path: &str) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(16 << 20).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `|-- 192.0.2.7` followed by `/32 host LOCAL`
fn own_v4(trie: &str) -> Vec<IpAddr> {
    let mut last = None;
    let mut all = Vec::new();
    for line in trie.lines() {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.trim().parse::<IpAddr>().ok();
        } else if line.starts_with("/32 host LOCAL") {
            all.extend(last);
        }
    }
    all
}

/// 32 hexadecimal digits at the start of each line.
fn own_v6(table: &str) -> Vec<IpAddr> {
    let one = |line: &str| line.get(..32).and_then(|digits| u128::from_str_radix(digits, 16).ok()).map(|bits| IpAddr::V6(bits.into()));
    table.lines().filter_map(one).collect()
}

/// An HTTP example as the broker understands it.
pub(crate) fn decode(example: &str) -> Result<Request, String> {
    let mut words = example.splitn(3, char::is_whitespace);
    let method = words.next().unwrap_or_default();
    let url = words.next().ok_or("the URL is missing")?;
    let body = words.next().map(str::trim).filter(|body| !body.is_empty());
    let mut headers = http::HeaderMap::new();
    if method == "TEXT" && (url.starts_with("wss://") || url.starts_with("ws://")) {
        return agentbox_broker::meaning::websocket_message(url, &headers, agentbox_broker::meaning::MessageKind::Text, body.unwrap_or_default().as_bytes());
    }
    if let Some(body) = body {
        let media = if body.starts_with(['{', '[']) { "application/json" } else { "application/x-www-form-urlencoded" };
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(media));
    }
    agentbox_broker::meaning::request(method, url, &headers, body.map(str::as_bytes))
}

/// What a person trusted, with its text, so that a change can be shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trusted {
    /// Over all files.
    digest: Digest,
    /// Names and texts.
    pub(crate) files: Vec<(String, String)>,
}

/// `trust.json`
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trust {
    /// By the path of `agentbox.toml`.
    trusted: BTreeMap<String, Trusted>,
}

impl Trust {
    fn path(places: &Places) -> PathBuf {
        places.state.join("trust.json")
    }

    fn read(places: &Places) -> Result<Self, PolicyFilesError> {
        let path = Self::path(places);
        let meta = match fs::symlink_metadata(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(file_error(&path, error)),
        };
        // Whoever else can write it could trust in our name.
        let ours = fs::metadata("/proc/self").map(|me| me.uid()).map_err(|error| file_error(Path::new("/proc/self"), error))?;
        if !meta.is_file() || meta.uid() != ours || meta.mode() & 0o077 != 0 {
            return Err(file_error(&path, "must be a file of your own with mode 0600; look at who changed it, or remove it and trust again"));
        }
        let bytes = read_bounded(&path, LONGEST_TRUST).map_err(|why| file_error(&path, why))?;
        serde_json::from_slice(&bytes).map_err(|error| file_error(&path, format!("cannot be read ({error}); remove it and trust again")))
    }

    fn is_bound(&self, path: &Path, digest: &Digest) -> bool {
        self.trusted.get(&key(path)).is_some_and(|trusted| trusted.digest == *digest)
    }

    /// Writes the whole file anew beside the old one and puts it in its place.
    fn write(&self, places: &Places) -> Result<(), PolicyFilesError> {
        let path = Self::path(places);
        let failed = |error: std::io::Error| file_error(&path, error);
        let json = serde_json::to_vec_pretty(self).map_err(|error| file_error(&path, error))?;
        // NamedTempFile makes it with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(&places.state).map_err(failed)?;
        file.write_all(&json).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        File::open(&places.state).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

fn key(path: &Path) -> String {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string()
}

/// A repository's policy before it is trusted.
#[derive(Debug)]
pub(crate) struct Candidate {
    places: Places,
    path: PathBuf,
    /// What would be trusted.
    pub(crate) binding: Binding,
    /// What was trusted before, if it was something else.
    pub(crate) before: Option<Trusted>,
    /// Whether exactly this is trusted already.
    pub(crate) already: bool,
}

impl Candidate {
    /// The repository's policy of a workspace; `None` where there is none.
    pub(crate) fn find(workspace: &Path) -> Result<Option<Self>, PolicyFilesError> {
        let places = Places::find(workspace)?;
        let Some(path) = places.repository() else { return Ok(None) };
        let mut files = Files { places: &places, read: BTreeMap::new() };
        let text = files.take(&path, LayerKind::Repository { trusted: false })?;
        let binding = policy::bind(text, &places.context(), &mut |name, base| files.resolve(name, base))?;
        let trust = Trust::read(&places)?;
        let already = trust.is_bound(&path, &binding.digest);
        let before = trust.trusted.get(&key(&path)).filter(|_| !already).cloned();
        Ok(Some(Self { places, path, binding, before, already }))
    }

    /// As it is shown.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Binds it.
    pub(crate) fn trust(self) -> Result<(), PolicyFilesError> {
        let state = &self.places.state;
        let failed = |error: std::io::Error| file_error(state, error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(failed)?;
        // Two people at two terminals: neither forgets what the other trusted. The lock ends with its file.
        let lock = File::create(state.join("trust.lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut trust = Trust::read(&self.places)?;
        trust.trusted.insert(key(&self.path), Trusted { digest: self.binding.digest, files: self.binding.files });
        trust.write(&self.places)
    }
}

#[cfg(test)]
#[path = "policy_files_tests.rs"]
mod tests;
