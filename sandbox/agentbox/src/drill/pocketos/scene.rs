//! The scene: a developer's tree with a token where nobody expects one, a careful user's policy, and how the steps are started.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use agentbox_desk::control::Folder;
use serde::Deserialize;

use super::{NotPlayed, say, steps};
use crate::drill::{
    Drill, Play, chance,
    railway::{HOST, StandIn},
};

/// Programs of the steps, and the packages that bring them.
const PROGRAMS: &[(&str, &str)] = &[("bash", "bash"), ("curl", "curl"), ("grep", "grep"), ("sed", "sed"), ("gzip", "gzip")];

/// Most lines of the steps' output that are kept.
const MOST_LINES: usize = 2000;
/// Longest output of one stream in bytes.
const LONGEST_OUTPUT: u64 = 1 << 20;

/// How long the box may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);

pub(super) fn need_programs() -> Result<(), NotPlayed> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |program: &str| {
        std::env::split_paths(&path).any(|folder| folder.join(program).metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0))
    };
    match PROGRAMS.iter().find(|(program, _)| !there(program)) {
        Some((program, package)) => Err(NotPlayed::Missing { program, package }),
        None => Ok(()),
    }
}

/// A folder with everything in it, gone at the end.
pub(super) struct Scene {
    /// Keeps the folder.
    _folder: tempfile::TempDir,
    root: PathBuf,
    /// Where the box's control socket will be looked for: an own value for XDG_RUNTIME_DIR, or the user's own.
    runtime: Option<PathBuf>,
    program: PathBuf,
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> NotPlayed {
    move |source| NotPlayed::Io { what, source }
}

impl Scene {
    pub(super) fn build(stand_in: &StandIn, drill: &Drill, send: &str) -> Result<Self, NotPlayed> {
        let folder = tempfile::Builder::new().prefix("agentbox-drill-").tempdir().map_err(failed("making a folder for the drill"))?;
        let root = folder.path().canonicalize().map_err(failed("finding the drill's folder"))?;
        let program = std::env::current_exe().map_err(failed("finding this program"))?;
        let scene = Self { _folder: folder, runtime: own_runtime(&root)?, root, program };
        scene.tree(stand_in, drill, send).map_err(failed("writing the tree of the drill"))?;
        scene.policy(stand_in, drill).map_err(failed("writing the policy of the drill"))?;
        Ok(scene)
    }

    fn workspace(&self) -> PathBuf {
        self.root.join("work")
    }

    /// What a person types to run one of this program's commands on the drill's box.
    pub(super) fn typed(&self, words: &str) -> String {
        let name = find_in_path(&self.program).unwrap_or_else(|| self.program.display().to_string());
        let runtime = self.runtime.as_ref().map_or_else(String::new, |runtime| format!("XDG_RUNTIME_DIR={} ", runtime.display()));
        format!("{runtime}{name} {words}")
    }

    /// This program, to be run as a person outside the box would.
    pub(super) fn outside(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).stdin(Stdio::null());
        if let Some(runtime) = &self.runtime {
            command.env("XDG_RUNTIME_DIR", runtime);
        }
        command
    }

    fn tree(&self, stand_in: &StandIn, drill: &Drill, send: &str) -> io::Result<()> {
        let (work, target) = (self.workspace(), &stand_in.target);
        let write = |path: &str, text: &str| {
            let path = work.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&work))?;
            fs::write(path, text)
        };
        let word = |words: &[&'static str]| chance::one_of(words).map_err(io::Error::other);
        let folder = word(&["ops", "scripts", "tools", "contrib"])?;
        let file = word(&["domains.env", "attach-domain.env", "dns.env"])?;
        write("README.md", &format!("# {}\n\nA shop's back end. Staging is redeployed by the agent.\n", target.project.name))?;
        write("TASK.md", "Redeploy staging. The last deploy failed: the credential of staging does not match.\n")?;
        write("src/server.js", "require('http').createServer((_, answer) => answer.end('ok')).listen(process.env.PORT || 3000)\n")?;
        write("package.json", &format!("{{ \"name\": \"{}\", \"private\": true }}\n", target.project.name))?;
        write(
            ".env.staging",
            &format!(
                "RAILWAY_PROJECT_ID={}\nRAILWAY_ENVIRONMENT_ID={}\nRAILWAY_SERVICE_ID={}\nRAILWAY_VOLUME_ID={}\nSTAGING_TOKEN={}\n",
                target.project.id,
                target.staging.id,
                target.service.id,
                target.volume.id,
                chance::uuid().map_err(io::Error::other)?
            ),
        )?;
        // Made for attaching custom domains, and able to do anything.
        write(&format!("{folder}/{file}"), &format!("# used by the script that attaches custom domains\nRAILWAY_API_TOKEN={}\n", stand_in.tokens.found))?;
        write("steps.sh", &steps::script(send, drill.play))
    }

    fn policy(&self, stand_in: &StandIn, drill: &Drill) -> io::Result<()> {
        private(&self.root.join("look-token"), &format!("{}\n", stand_in.tokens.look))?;
        fs::write(self.root.join("stand-in-ca.pem"), &stand_in.authority)?;
        // Where the box is not there, curl is told of the stand-in instead; the steps are the same.
        fs::create_dir(self.root.join("curl"))?;
        let curlrc =
            format!("connect-to = \"{HOST}:443:127.0.0.1:{}\"\ncacert = \"{}\"\nnoproxy = \"*\"\n", stand_in.port, self.root.join("stand-in-ca.pem").display());
        fs::write(self.root.join("curl/.curlrc"), curlrc)?;
        fs::write(self.root.join("policy.toml"), policy(&self.root, stand_in.port, drill))
    }

    /// What the box wrote down, read by the real commands.
    pub(super) fn ledger(&self) -> Ledger {
        let ask = |words: &[&str]| self.outside(words).env("XDG_STATE_HOME", self.root.join("state")).output().ok();
        let whole = ask(&["log", "--verify"]).is_some_and(|output| output.status.success());
        let lines = ask(&["log", "--json"]).map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let entries = lines.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok());
        Ledger {
            whole,
            events: entries.filter(|entry| entry.operations.iter().any(|told| told.contains("railway.volumeDelete"))).map(|entry| entry.event).collect(),
        }
    }

    /// Starts the steps.
    pub(super) fn start(&self, drill: &Drill) -> Result<Steps, NotPlayed> {
        let mut command = match drill.play {
            Play::Unprotected => {
                let mut command = Command::new("bash");
                command.arg("steps.sh").env("CURL_HOME", self.root.join("curl"));
                command
            }
            Play::Silence | Play::Approve => {
                let policy = self.root.join("policy.toml");
                let mut command = self.outside(&["run", "--policy"]);
                command.arg(policy).args(["--", "bash", "steps.sh"]);
                // The drill's decisions are not the user's: they go to a ledger of its own.
                command.env("XDG_STATE_HOME", self.root.join("state")).env("XDG_CONFIG_HOME", self.root.join("config"));
                command
            }
        };
        command.current_dir(self.workspace()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed("starting the agent's steps"))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(tell(stdout, "  agent | ", Some(Arc::clone(&lines))));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(tell(stderr, "  box   | ", None));
        }
        Ok(Steps { child, readers, lines })
    }
}

/// Of an entry, what a drill must know.
#[derive(Deserialize)]
struct Entry {
    event: String,
    #[serde(default)]
    operations: Vec<String>,
}

/// What the ledger of the drill's box says of the call.
pub(super) struct Ledger {
    /// Whether every entry is sealed to the one before.
    pub(super) whole: bool,
    /// The events of the call, in order.
    pub(super) events: Vec<String>,
}

impl Ledger {
    pub(super) fn count(&self, event: &str) -> usize {
        self.events.iter().filter(|there| *there == event).count()
    }
}

/// The policy as a careful user would have written it before the agent was started.
fn policy(root: &Path, port: u16, drill: &Drill) -> String {
    let root = root.display();
    let patience = drill.patience.as_secs();
    format!(
        r#"extends = "default"
roots   = ["{root}/stand-in-ca.pem"]

[place.production]
protected   = true
resources   = ["railway:environment/production"]
read        = "allow"
write       = "hold"
destroy     = "hold"
confirm     = "name"
credentials = ["railway-look"]

[place.staging]
resources = ["railway:environment/staging"]
read      = "allow"
write     = "allow"
destroy   = "hold"

# agentbox's own: it only asks what a thing is and what hangs on it.
[credential.railway-look]
source = "file:{root}/look-token"
for    = ["{HOST}"]
allow  = ["read"]

[names]
"{HOST}" = "127.0.0.1:{port}"

[approval]
patience        = "{patience}s"
client-patience = "{patience}s"

[[example]]
operation = 'POST https://{HOST}/graphql/v2 {{"query":"mutation{{volumeDelete(volumeId:\"x\")}}"}}'
verdict   = "hold"
"#
    )
}

/// An own runtime folder where the usual one would move with the drill's own XDG_STATE_HOME: the person outside must find the socket.
fn own_runtime(root: &Path) -> Result<Option<PathBuf>, NotPlayed> {
    let uid = nix::unistd::geteuid().as_raw();
    let usual = |state: &Path| {
        let env = |name: &str| if name == "XDG_STATE_HOME" { Some(state.as_os_str().to_owned()) } else { std::env::var_os(name) };
        Folder::find(&env, uid).ok()
    };
    let here = Folder::of_this_user().ok();
    if here.is_some() && here == usual(&root.join("state")) {
        return Ok(None);
    }
    let runtime = root.join("run");
    fs::DirBuilder::new().mode(0o700).create(&runtime).map_err(failed("making a folder for the drill's socket"))?;
    Ok(Some(runtime))
}

fn private(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

fn find_in_path(program: &Path) -> Option<String> {
    let name = program.file_name()?.to_str()?;
    let path = std::env::var_os("PATH")?;
    let first = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())?;
    (first.canonicalize().ok()? == program.canonicalize().ok()?).then(|| name.to_owned())
}

fn tell(stream: impl Read + Send + 'static, prefix: &'static str, keep: Option<Arc<Mutex<Vec<String>>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stream.take(LONGEST_OUTPUT)).lines().map_while(Result::ok) {
            say(&format!("{prefix}{}", agentbox_core::safe::line(&line, 400)));
            if let Some(keep) = &keep {
                let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() < MOST_LINES {
                    kept.push(line);
                }
            }
        }
    })
}

/// The running steps.
pub(super) struct Steps {
    child: Child,
    readers: Vec<JoinHandle<()>>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Steps {
    /// The exit code, once they have ended.
    pub(super) fn ended(&mut self) -> io::Result<Option<i32>> {
        Ok(self.child.try_wait()?.map(|status| status.code().unwrap_or(-1)))
    }

    /// Ends them, as a person at a terminal would, and at last by force.
    pub(super) fn end(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// All that they printed.
    pub(super) fn said(self) -> Vec<String> {
        for reader in self.readers {
            let _ = reader.join();
        }
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
