//! A home of its own for each test, and the commands that are run in it.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    binary,
    process::{Finished, Going, children, finish, status, until},
    skip::{self, PATH},
};

/// An ordinary user for tests that run as root; no account is needed.
const NOBODY: u32 = 65534;

/// As whom agentbox is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// As the test itself.
    Me,
    /// As an ordinary user, where the test runs as root.
    Ordinary,
}

impl Who {
    /// Both where the test runs as root; else there is only one.
    #[must_use]
    pub fn each() -> Vec<Self> {
        if nix::unistd::geteuid().is_root() && skip::which("setpriv").is_some() { vec![Who::Me, Who::Ordinary] } else { vec![Who::Me] }
    }
}

/// A home, with a working directory, a policy, and XDG folders that nobody else uses.
#[derive(Debug)]
pub struct Home {
    folder: TempDir,
    who: Who,
    setting: Setting,
}

/// What agentbox finds where it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    /// What this machine has.
    Here,
    /// No namespaces: a filter refuses them, as systemd's does.
    WithoutNamespaces,
    /// The same, and nobody's descriptors are to be had: a filter as Docker's.
    AsInDocker,
    /// No namespaces, and nobody's memory is to be read.
    WithTooLittle,
}

/// Puts that filter on itself and becomes the command.
const REFUSING: &str = "refusing.py";

/// A temporary folder that others may walk through.
pub(crate) fn folder() -> TempDir {
    folder_in(&std::env::temp_dir())
}

fn folder_in(parent: &Path) -> TempDir {
    let folder = tempfile::Builder::new().prefix("agentbox-test-").tempdir_in(parent).expect("a temporary folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
    folder
}

/// A port on loopback that nobody listens on.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

impl Home {
    /// One for the test's own user, with this policy.
    #[must_use]
    pub fn new(policy: &str) -> Self {
        Self::of(Who::Me, policy)
    }

    /// One for this user.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn of(who: Who, policy: &str) -> Self {
        Self::within(folder(), who, policy)
    }

    /// One for this user, in a new folder of that one.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn below(parent: &Path, who: Who, policy: &str) -> Self {
        Self::within(folder_in(parent), who, policy)
    }

    fn within(folder: TempDir, who: Who, policy: &str) -> Self {
        let home = Self { folder, who, setting: Setting::Here };
        for name in ["home", "work", "config", "state", "runtime"] {
            fs::create_dir(home.path(name)).expect("a folder");
        }
        fs::set_permissions(home.path("runtime"), fs::Permissions::from_mode(0o700)).expect("its mode");
        home.write("policy.toml", policy);
        if who == Who::Ordinary {
            for name in ["", "home", "work", "config", "state", "runtime", "policy.toml"] {
                chown(home.path(name), Some(NOBODY), Some(NOBODY)).expect("root may give away");
            }
        }
        home
    }

    /// From now on agentbox is started where namespaces are refused.
    pub fn lose_namespaces(&mut self) {
        self.write(REFUSING, include_str!("../stand-ins/without-namespaces.py"));
        self.setting = Setting::WithoutNamespaces;
    }

    /// One for this user, where namespaces are refused.
    #[must_use]
    pub fn without_namespaces(who: Who, policy: &str) -> Self {
        let mut home = Self::of(who, policy);
        home.lose_namespaces();
        home
    }

    /// One for this user, where namespaces are refused, and what a box without them needs as well.
    #[must_use]
    pub fn with_too_little(who: Who, policy: &str) -> Self {
        let mut home = Self::without_namespaces(who, policy);
        home.setting = Setting::WithTooLittle;
        home
    }

    /// One for this user, where namespaces are refused, and each as somebody else does that.
    #[must_use]
    pub fn each_without_namespaces(who: Who, policy: &str) -> Vec<Self> {
        [Setting::WithoutNamespaces, Setting::AsInDocker]
            .into_iter()
            .map(|setting| {
                let mut home = Self::without_namespaces(who, policy);
                home.setting = setting;
                home
            })
            .collect()
    }

    /// What lies in it: `home`, `work`, `config`, `state`, `runtime`, `policy.toml`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into it, with the folders that it takes.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("its folder");
        fs::write(&path, text).expect("a file");
        if self.who == Who::Ordinary {
            for made in path.ancestors().take_while(|made| *made != self.folder.path()) {
                chown(made, Some(NOBODY), Some(NOBODY)).expect("root may give away");
            }
        }
    }

    /// Any program, as this home's user, in its working directory and environment.
    #[must_use]
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match self.who {
            Who::Me => Command::new(program),
            Who::Ordinary => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(program);
                command
            }
        };
        command.current_dir(self.path("work")).env_clear().envs([("PATH", PATH), ("LANG", "C.UTF-8"), ("TERM", "xterm"), ("SHELL", "/bin/bash")]);
        for (name, folder) in [("HOME", "home"), ("XDG_CONFIG_HOME", "config"), ("XDG_STATE_HOME", "state"), ("XDG_RUNTIME_DIR", "runtime")] {
            command.env(name, self.path(folder));
        }
        command
    }

    /// `agentbox` with these arguments.
    #[must_use]
    pub fn agentbox(&self, arguments: &[&str]) -> Command {
        let mut command = match self.setting {
            Setting::Here => self.program(binary::agentbox()),
            setting @ (Setting::WithoutNamespaces | Setting::AsInDocker | Setting::WithTooLittle) => {
                let mut command = self.program("python3");
                command.arg(self.path(REFUSING));
                command.args(match setting {
                    Setting::AsInDocker => Some("--no-getfd"),
                    Setting::WithTooLittle => Some("--no-reading"),
                    Setting::Here | Setting::WithoutNamespaces => None,
                });
                command.arg(binary::agentbox());
                command
            }
        };
        command.args(arguments);
        command
    }

    /// `agentbox run OPTIONS -- COMMAND`, with this home's policy.
    #[must_use]
    pub fn boxed(&self, options: &[&str], command: &[&str]) -> Command {
        let policy = self.path("policy.toml");
        let policy = policy.to_str().expect("a plain path");
        self.agentbox(&[&["run", "--policy", policy], options, &["--"], command].concat())
    }

    /// A script in the box, which is given the path of agentbox as `$AGENTBOX`, to its end.
    #[must_use]
    #[track_caller]
    pub fn run(&self, script: &str) -> Finished {
        finish(&mut self.script(&[], script))
    }

    /// A script in the box, begun.
    #[must_use]
    #[track_caller]
    pub fn start(&self, script: &str) -> Going {
        Going::start(&mut self.script(&[], script))
    }

    /// The command that runs a script in the box.
    #[must_use]
    pub fn script(&self, options: &[&str], script: &str) -> Command {
        let line = format!("AGENTBOX='{}'; {script}", binary::agentbox().display());
        self.boxed(options, &["bash", "-c", &line])
    }

    /// `agentbox` with these arguments, outside the box, to its end.
    #[must_use]
    #[track_caller]
    pub fn outside(&self, arguments: &[&str]) -> Finished {
        finish(&mut self.agentbox(arguments))
    }

    /// The cards of what waits.
    ///
    /// # Panics
    /// `agentbox holds` fails.
    #[must_use]
    #[track_caller]
    pub fn holds(&self) -> Vec<Value> {
        self.outside(&["holds", "--json"]).ended(0).out().lines().map(|line| serde_json::from_str(line).expect("a card is JSON")).collect()
    }

    /// Waits until this many operations wait, and gives their cards.
    #[must_use]
    #[track_caller]
    pub fn waiting(&self, count: usize) -> Vec<Value> {
        let mut cards = Vec::new();
        until(
            &format!("{count} operations wait"),
            || {
                cards = self.holds();
                cards.len() == count
            },
            || self.outside(&["log"]).out(),
        );
        cards
    }

    /// Waits until one operation waits, and gives its number.
    ///
    /// # Panics
    /// Its card has none.
    #[must_use]
    #[track_caller]
    pub fn hold(&self) -> String {
        self.waiting(1)[0]["id"].as_str().expect("a card has an id").to_owned()
    }

    /// Waits until an operation waits that was not `seen` yet, and gives its number. What was permitted is listed for as long as it lasts.
    ///
    /// # Panics
    /// None comes.
    #[must_use]
    #[track_caller]
    pub fn another_hold(&self, seen: &mut BTreeSet<String>) -> String {
        let mut new = None;
        let look = || {
            new = self.holds().iter().filter_map(|card| card["id"].as_str().map(str::to_owned)).find(|id| !seen.contains(id));
            new.is_some()
        };
        until("another operation waits", look, || self.outside(&["log"]).out());
        let new = new.expect("it was found");
        seen.insert(new.clone());
        new
    }

    /// The ledger, as `agentbox log` tells it.
    #[must_use]
    pub fn log(&self) -> String {
        self.outside(&["log"]).out()
    }
}

/// The processes of a running box.
#[derive(Clone, Copy, Debug)]
pub struct Processes {
    /// What the user started.
    pub shim: Pid,
    /// Its child.
    pub supervisor: Pid,
    /// What hostile bytes are read by.
    pub broker: Pid,
    /// PID 1 of the box.
    pub init: Pid,
}

/// Finds the processes of a box by what the kernel says of them.
///
/// # Panics
/// They do not come to be.
#[must_use]
pub fn processes(shim: Pid) -> Processes {
    let mut found = None;
    let look = || {
        let supervisor = *children(shim).first()?;
        let (inner, outer): (Vec<_>, Vec<_>) =
            children(supervisor).into_iter().partition(|pid| status(*pid, "NSpid").is_some_and(|ids| ids.split_whitespace().count() > 1));
        // Where a filter lies on everybody there is no namespace, and init is the child of the file gate's process.
        let has_filter = status(supervisor, "Seccomp").is_some_and(|mode| mode.trim() == "2");
        let without = || outer.iter().filter(|_| has_filter).find_map(|pid| children(*pid).first().copied());
        Some(Processes { shim, supervisor, broker: *outer.first()?, init: inner.first().copied().or_else(without)? })
    };
    until(
        "the processes of a box are there",
        || {
            found = look();
            found.is_some()
        },
        String::new,
    );
    found.expect("it was found")
}

/// Whether a process is gone, or only waits to be reaped.
#[must_use]
pub fn is_gone(pid: Pid) -> bool {
    status(pid, "State").is_none_or(|state| state.starts_with('Z') || state.starts_with('X'))
}

/// Whether a path exists.
#[must_use]
pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
