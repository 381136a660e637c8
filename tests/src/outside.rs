//! What lies outside a box that attacks are made on: a victim, an origin, a canary, socket files, a supervisor.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use serde_json::Value;

use crate::{
    certificates,
    home::{Home, Processes, Who, processes},
    process::{Going, children, finish, until},
    skip::PATH,
};

/// Bytes of the file that must not change, as the bypass scripts expect them.
const VICTIM: usize = 65_536;

/// The folder of the bypass scripts, where it is there: `AGENTBOX_SHARED`, else `../shared` beside the repository.
#[must_use]
pub fn bypass_scripts() -> Option<PathBuf> {
    shared("bypass", "README.md")
}

/// The folder of the labelled rows, where it is there.
#[must_use]
pub fn corpora() -> Option<PathBuf> {
    shared("corpora", "shell_hard.jsonl")
}

fn shared(folder: &str, mark: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let shared = env::var_os("AGENTBOX_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from);
    let folder = shared.join(folder);
    folder.join(mark).is_file().then(|| folder.canonicalize().ok()).flatten()
}

/// The folder of our own attacks.
#[must_use]
pub fn escapes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("escapes")
}

/// The names of the scripts in a folder, in order; without the folders in it.
///
/// # Panics
/// It cannot be listed.
#[must_use]
pub fn scripts(folder: &Path) -> Vec<String> {
    let is_script = |name: &str| [".c", ".py", ".sh"].iter().any(|end| name.ends_with(end));
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("the scripts")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_script(name) && name != "run_all.py")
        .collect();
    names.sort();
    names
}

/// A home with something to attack outside it.
#[derive(Debug)]
pub struct Outside {
    /// Whose box it is.
    pub home: Home,
    /// What was started: ports and paths.
    pub things: Value,
    child: Child,
    _stdin: ChildStdin,
}

impl Outside {
    /// Puts everything up. `policy` is added to one that lets `origin.example` and `allowed.example` be read and written, and holds what destroys.
    ///
    /// # Panics
    /// It cannot be.
    #[must_use]
    pub fn new(who: Who, policy: &str, bypass: Option<&Path>) -> Self {
        let home = Home::of(who, "");
        let root = home.path("");
        certificates::make(&root);
        // The home is seen in the box, and is nobody's workspace: read-only.
        symlink("home/protected", root.join("protected")).expect("a link");
        for name in ["home/protected/victim", "work/victim/victim"] {
            home.write(name, &"A".repeat(VICTIM));
        }
        home.write("home/.ssh/id_ed25519", "the user's key");
        home.write("home/.bashrc", "# the user's own");
        for folder in ["home/protected", "home/.ssh", "work/victim"] {
            give(&home, &home.path(folder));
        }
        let mut command = Command::new("python3");
        command.arg("-B").arg(escapes().join("lib/outside.py")).arg(&root).arg(root.join("cert.pem")).arg(root.join("key.pem"));
        command.args(bypass.map(|folder| folder.join("lib")));
        let mut child = command.env("PATH", PATH).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 runs");
        let stdin = child.stdin.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let things: Value = serde_json::from_str(&line).expect("what outside.py has put up");
        // Where nightly runs try the same attacks in boxes whose kernel gate judges: as root, since nobody else has it.
        let is_judged = who == Who::Me && std::env::var_os("AGENTBOX_JUDGED").is_some() && nix::unistd::geteuid().is_root();
        let gate = if is_judged { "kernel-gate = \"judge\"\n" } else { "" };
        let policy = format!(
            "extends = \"default\"\n{gate}roots = [{:?}]\n[names]\n\"origin.example\" = \"127.0.0.1:{}\"\n\"allowed.example\" = \"127.0.0.1:{}\"\n\
             \"canary.example\" = \"127.0.0.1:{}\"\n[place.stand-in]\nhosts = [\"origin.example\", \"allowed.example\", \"canary.example\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n{policy}",
            root.join("ca.pem"),
            things["origin"],
            things["tls"],
            things["canary"],
        );
        home.write("policy.toml", &policy);
        Self { home, things, child, _stdin: stdin }
    }

    /// A thing's path or name.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.things[name].as_str().expect("a text")
    }

    /// Copies scripts into the workspace, and builds those in C with the compiler outside.
    ///
    /// # Panics
    /// One does not build.
    pub fn bring(&self, from: &Path, to: &str) {
        let into = self.home.path("work").join(to);
        fs::create_dir_all(into.join("lib")).expect("a folder");
        fs::create_dir_all(into.join("built")).expect("a folder");
        for name in scripts(from) {
            fs::copy(from.join(&name), into.join(&name)).expect("a copy");
            if name.ends_with(".c") {
                let built = into.join("built").join(&name);
                finish(Command::new("gcc").args(["-O1", "-w", "-o"]).arg(built).arg(from.join(&name)).arg("-lpthread").env("PATH", PATH)).ended(0);
            }
        }
        for name in scripts(&from.join("lib")) {
            fs::copy(from.join("lib").join(&name), into.join("lib").join(&name)).expect("a copy");
        }
    }

    /// Gives the workspace to the box's user, whoever wrote into it.
    ///
    /// # Panics
    /// It cannot be given.
    pub fn give_workspace(&self) {
        give(&self.home, &self.home.path("work"));
    }

    /// The same, and what was made unreadable stays so.
    ///
    /// # Panics
    /// It cannot be given.
    pub fn give_workspace_without_modes(&self) {
        let (owner, path) = (fs::metadata(self.home.path("home")).expect("the home"), self.home.path("work"));
        std::os::unix::fs::lchown(&path, Some(owner.uid()), Some(owner.gid())).expect("it is given");
    }

    /// Gives what lies in `home/protected`.
    ///
    /// # Panics
    /// It cannot be given.
    pub fn give_protected(&self) {
        give(&self.home, &self.home.path("home/protected"));
    }

    /// The victim's content is whole.
    ///
    /// # Panics
    /// It cannot be read.
    #[must_use]
    pub fn is_whole(&self, victim: &str) -> bool {
        fs::read(self.home.path(victim)).is_ok_and(|bytes| bytes.len() == VICTIM && bytes.iter().all(|byte| *byte == b'A'))
    }

    /// What was touched that nothing in a box may touch.
    #[must_use]
    pub fn touched(&self) -> String {
        fs::read_to_string(self.home.path("touched.log")).unwrap_or_default()
    }

    /// The requests that reached the origin, a JSON line each.
    #[must_use]
    pub fn reached(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.home.path("origin.log")).unwrap_or_default();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What every attack is told, as a shell reads it.
    #[must_use]
    pub fn environment(&self) -> String {
        let home = self.home.path("home");
        let mut text = String::new();
        let mut set = |name: &str, value: &str| text.push_str(&format!("export {name}='{value}'\n"));
        let socket = self.text("socket");
        set("BYPASS_WRITABLE", self.home.path("work").to_str().expect("a plain path"));
        set("OUTSIDE_CANARY", &format!("127.0.0.1:{}", self.things["canary"]));
        set("BYPASS_HELPER_SOCK", socket);
        set("BYPASS_INSIDE_SOCK", self.text("inside"));
        set("BYPASS_ABSTRACT", self.text("abstract"));
        set("BYPASS_ORIGIN", "origin.example:80");
        set("BYPASS_TLS_ORIGIN", "allowed.example:443");
        set("BYPASS_HOME", home.to_str().expect("a plain path"));
        set("BYPASS_SECRET_FILE", home.join(".ssh/id_ed25519").to_str().expect("a plain path"));
        set("BYPASS_LOGDIR", self.home.path("state").join("agentbox").to_str().expect("a plain path"));
        set("BYPASS_TIMEOUT", "5");
        // What a user's session has: the box must not lead to them.
        set("SSH_AUTH_SOCK", socket);
        set("DOCKER_HOST", &format!("unix://{socket}"));
        set("DBUS_SESSION_BUS_ADDRESS", &format!("unix:path={socket}"));
        text
    }

    /// What is known only when the box runs: its processes and its control socket. Written into the workspace as `late.env`.
    ///
    /// # Panics
    /// The box has none.
    pub fn tell_of(&self, box_: Processes, more: &str) {
        let folder = self.home.path("runtime").join("agentbox");
        let sockets = || {
            let entries = fs::read_dir(&folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
            entries.filter(|path| path.symlink_metadata().is_ok_and(|meta| std::os::unix::fs::FileTypeExt::is_socket(&meta.file_type()))).collect::<Vec<_>>()
        };
        until("the control socket is there", || !sockets().is_empty(), String::new);
        let socket = sockets().pop().expect("it is there");
        let text = format!(
            "export AGENTBOX='{}'\nexport BYPASS_SUPERVISOR_PID={}\nexport BYPASS_BROKER_PID={}\nexport BYPASS_INIT_PID={}\nexport BYPASS_APPROVE_SOCK='{}'\n{more}",
            crate::binary::agentbox().display(),
            box_.supervisor,
            box_.broker,
            box_.init,
            socket.display()
        );
        self.home.write("work/late.env.new", &text);
        fs::rename(self.home.path("work/late.env.new"), self.home.path("work/late.env")).expect("renamed");
    }

    /// Starts a script of `lib/` in a box that has a terminal of its own, and tells it of the box.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn attack(&self, options: &[&str], script: &str, more: &str) -> Going {
        self.give_workspace();
        // The terminal is that of script(1): the box's shim is its child's child.
        let inner = self.home.script(options, script);
        let words: Vec<String> = std::iter::once(inner.get_program()).chain(inner.get_args()).map(|word| quote(&word.to_string_lossy())).collect();
        let mut outer = Command::new("script");
        outer.args(["-q", "-e", "-f", "-c", &format!("exec {}", words.join(" ")), "/dev/null"]).env_clear();
        outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(self.home.path("work"));
        let going = Going::start(&mut outer);
        let mut shim = None;
        until(
            "the shim is there",
            || {
                shim = children(going.pid()).first().copied();
                shim.is_some_and(|pid| !children(pid).is_empty())
            },
            || going.out(),
        );
        self.tell_of(processes(shim.expect("it is there")), more);
        going
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// For `sh -c`.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Gives a tree to the home's user, where that is another than the test's.
fn give(home: &Home, folder: &Path) {
    use std::os::unix::fs::lchown;
    let owner = fs::metadata(home.path("home")).expect("the home");
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        let meta = path.symlink_metadata().expect("it is there");
        if meta.uid() != owner.uid() {
            lchown(&path, Some(owner.uid()), Some(owner.gid())).expect("root may give away");
        }
        if meta.is_dir() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
            left.extend(fs::read_dir(&path).expect("a folder").filter_map(|entry| Some(entry.ok()?.path())));
        }
    }
}
