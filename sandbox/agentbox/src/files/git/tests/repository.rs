//! Repositories to try things on, made by real git.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use tempfile::TempDir;

/// A folder with a repository `work`, its far side `far.git`, and whatever a test adds.
pub(super) struct Stage {
    _keep: TempDir,
    /// The folder that everything is in.
    pub(super) root: PathBuf,
    /// The work tree.
    pub(super) work: PathBuf,
}

/// What is made before each test, all in the year 2020.
///
/// `main` has four commits, of which the far side has three; `topic` one of its own, `merged` none, and there are a light
/// tag and an annotated one.
const SETUP: &str = "
git init -q --bare -b main ../far.git
git init -q -b main .
git remote add origin ../far.git
for n in 1 2 3; do seq $((n * 100)) > file; echo $n > file$n; git add .; git commit -qm \"Change $n\"; done
git push -q -u origin main
git tag light
git tag -a noted -m 'A noted one'
git branch merged HEAD~1
git checkout -q -b topic HEAD~1; echo t > topic; git add .; git commit -qm 'Work on the topic'
git checkout -q main; echo 4 > file4; git add .; git commit -qm 'Change 4'
";

/// Sets what makes git behave the same everywhere.
pub(super) fn settle(command: &mut Command, folder: &Path) {
    command.current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", folder).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("LC_ALL", "C");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
    }
    command.env("GIT_EDITOR", "true").env("GIT_MERGE_AUTOEDIT", "no").env("GIT_TERMINAL_PROMPT", "0");
    let settings = [("protocol.file.allow", "always"), ("gc.auto", "0"), ("maintenance.auto", "false"), ("advice.detachedHead", "false")];
    command.env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (number, (key, value)) in settings.iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{number}"), key).env(format!("GIT_CONFIG_VALUE_{number}"), value);
    }
}

impl Stage {
    /// Copies the repositories, which are made once.
    pub(super) fn new() -> Self {
        static MADE: OnceLock<Stage> = OnceLock::new();
        let made = MADE.get_or_init(|| Self::with(SETUP));
        let keep = tempfile::tempdir().unwrap();
        let root = keep.path().canonicalize().unwrap();
        let copied = Command::new("cp").arg("-a").arg(made.root.join(".")).arg(&root).status().unwrap();
        assert!(copied.success());
        Self { _keep: keep, work: root.join("work"), root }
    }

    /// Makes a folder `work` and runs a script in it, in the year 2020.
    pub(super) fn with(script: &str) -> Self {
        let keep = tempfile::tempdir().unwrap();
        let root = keep.path().canonicalize().unwrap();
        let work = root.join("work");
        std::fs::create_dir(&work).unwrap();
        let stage = Self { _keep: keep, root, work };
        stage.before(script);
        stage
    }

    /// Runs a script in the work tree as if it were 2020.
    pub(super) fn before(&self, script: &str) {
        self.shell(script, Some("2020-02-02T02:02:02Z"));
    }

    /// Runs a script in the work tree now.
    pub(super) fn now(&self, script: &str) {
        self.shell(script, None);
    }

    fn shell(&self, script: &str, date: Option<&str>) {
        let mut command = Command::new("sh");
        settle(&mut command, &self.work);
        if let Some(date) = date {
            command.env("GIT_AUTHOR_DATE", date).env("GIT_COMMITTER_DATE", date);
        }
        let done = command.args(["-e", "-c", script]).output().unwrap();
        assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// The first line that a command prints.
    pub(super) fn says(&self, line: &str) -> String {
        let mut command = Command::new("sh");
        settle(&mut command, &self.work);
        let done = command.args(["-c", line]).output().unwrap();
        String::from_utf8(done.stdout).unwrap().lines().next().unwrap_or_default().to_owned()
    }
}
