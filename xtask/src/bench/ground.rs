//! Where the bench takes place: programs built for release, folders of its own, and the ways of running a command.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::commands::{cargo, find, succeed, target};

/// A way of running a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Bare,
    Bubblewrap,
    Agentbox,
}

impl Way {
    pub(crate) const ALL: [Way; 3] = [Way::Bare, Way::Bubblewrap, Way::Agentbox];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Bare => "bare",
            Way::Bubblewrap => "bubblewrap",
            Way::Agentbox => "agentbox",
        }
    }
}

/// What bubblewrap is told, so that its box has as many namespaces and folders of its own as ours has.
const BUBBLEWRAP: &[&str] = &[
    "--unshare-all",
    "--die-with-parent",
    "--new-session",
    "--ro-bind",
    "/",
    "/",
    "--dev",
    "/dev",
    "--proc",
    "/proc",
    "--tmpfs",
    "/tmp",
    "--tmpfs",
    "/var/tmp",
    "--tmpfs",
    "/run",
];

/// The folders and programs.
pub(crate) struct Ground {
    folder: TempDir,
    pub(crate) agentbox: PathBuf,
    pub(crate) probe: PathBuf,
    bubblewrap: Option<PathBuf>,
}

impl Ground {
    /// Builds the programs, and makes the folders beside them: not below `/tmp`, which is memory in a box.
    pub(crate) fn prepare() -> Result<Self> {
        let target = target()?;
        if target.starts_with("/tmp") {
            bail!("the box has a /tmp of its own and would not see the probe in {}: run the bench with another CARGO_TARGET_DIR", target.display());
        }
        succeed(cargo().args(["build", "--release", "--locked", "--package", "agentbox"]))?;
        succeed(cargo().args(["build", "--release", "--locked", "--package", "xtask", "--example", "probe"]))?;
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(&target)?;
        for name in ["workspace", "state", "config", "run"] {
            fs::DirBuilder::new().mode(0o700).create(folder.path().join(name))?;
        }
        let at = |name: &str| {
            let path = target.join("release").join(name);
            path.exists().then_some(path.clone()).with_context(|| format!("{} was not built", path.display()))
        };
        Ok(Self { folder, agentbox: at("agentbox")?, probe: at("examples/probe")?, bubblewrap: find("bwrap") })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    /// A command in that way, silent; none where this machine does not have the way.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, way: Way, policy: Option<&Path>, words: &[A]) -> Option<Command> {
        let workspace = self.workspace();
        let mut command = match way {
            Way::Bare => {
                let mut command = Command::new(words.first()?.as_ref());
                command.args(words.iter().skip(1).map(AsRef::as_ref));
                command
            }
            Way::Bubblewrap => {
                let mut command = Command::new(self.bubblewrap.as_ref()?);
                command.args(BUBBLEWRAP).arg("--bind").arg(&workspace).arg(&workspace).arg("--chdir").arg(&workspace);
                command.args(words.iter().map(AsRef::as_ref));
                command
            }
            Way::Agentbox => {
                let mut command = self.own(&["run"]);
                if let Some(policy) = policy {
                    command.arg("--policy").arg(policy);
                }
                command.arg("--").args(words.iter().map(AsRef::as_ref));
                command
            }
        };
        command.current_dir(&workspace).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Some(command)
    }

    /// agentbox itself, with folders of its own, so that the user's ledger and policy are not touched.
    pub(crate) fn own(&self, words: &[&str]) -> Command {
        let mut command = self.at_home(&self.agentbox);
        command.args(words);
        command
    }

    /// The same in a terminal: what is written to its standard input are keys, and its standard output is the screen.
    pub(crate) fn in_terminal(&self, words: &[&str]) -> Command {
        let mut command = self.at_home("script");
        command.args(["--quiet", "--return", "--command"]).arg(format!("'{}' {}", self.agentbox.display(), words.join(" "))).arg("/dev/null");
        command
    }

    fn at_home(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.workspace());
        for (variable, folder) in [("XDG_STATE_HOME", "state"), ("XDG_CONFIG_HOME", "config"), ("XDG_RUNTIME_DIR", "run")] {
            command.env(variable, self.folder.path().join(folder));
        }
        command
    }
}

/// A command as a person would type it, without our own folders.
pub(crate) fn shown(command: &Command) -> String {
    let name = |word: &OsStr| {
        let text = word.to_string_lossy();
        match text.rsplit_once("/release/").or_else(|| text.rsplit_once("/examples/")) {
            Some((_, last)) => last.trim_start_matches("examples/").to_owned(),
            None => match text.split_once("/bench-") {
                Some((_, rest)) => rest.split_once('/').map_or("FOLDER".to_owned(), |(_, last)| last.to_uppercase().replace('/', "-")),
                None => text.into_owned(),
            },
        }
    };
    std::iter::once(command.get_program()).chain(command.get_args()).map(name).collect::<Vec<_>>().join(" ")
}
