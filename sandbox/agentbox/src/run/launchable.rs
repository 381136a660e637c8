//! What a box leaves behind that will later run outside with the user's rights: changed build scripts and hooks, new executables.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Entries that are looked at.
const MOST_ENTRIES: usize = 50_000;

/// The end of a box waits for it: a part of the time that the box ran, within these bounds.
const PART: u32 = 8;
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(250);

/// Folders within folders.
const DEEPEST: usize = 24;

/// Findings that are kept; more are counted.
const MOST_FOUND: usize = 1_000;

/// Files that tools run by their name, wherever they lie.
const SCRIPTS: &[&str] = &[
    ".envrc",
    ".gitlab-ci.yml",
    ".npmrc",
    ".pre-commit-config.yaml",
    ".tool-versions",
    ".yarnrc",
    ".yarnrc.yml",
    "azure-pipelines.yml",
    "build.gradle",
    "build.gradle.kts",
    "build.rs",
    "Cargo.toml",
    "CMakeLists.txt",
    "compose.yaml",
    "compose.yml",
    "conftest.py",
    "default.nix",
    "docker-compose.yml",
    "Dockerfile",
    "flake.nix",
    "Gemfile",
    "GNUmakefile",
    "Jenkinsfile",
    "justfile",
    "Justfile",
    "Makefile",
    "makefile",
    "mise.toml",
    "noxfile.py",
    "package.json",
    "pnpm-workspace.yaml",
    "pom.xml",
    "pyproject.toml",
    "Rakefile",
    "settings.gradle",
    "settings.gradle.kts",
    "setup.cfg",
    "setup.py",
    "shell.nix",
    "sitecustomize.py",
    "Taskfile.yml",
    "tox.ini",
    "Vagrantfile",
];

/// Folders all of whose files are run, or say what is run.
const HOOKS: &[&str] = &[".circleci", ".devcontainer", ".github/workflows", ".husky", ".idea", ".vscode", ".git/hooks", ".cargo"];

/// Folders that are too large to look into, and whose content is made by tools from what is looked at.
const SKIPPED: &[&str] = &["node_modules", "target", "objects", ".venv", "__pycache__"];

/// Why somebody should look at a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// A tool runs it, or does what it says.
    Script,
    /// It has an executable bit.
    Executable,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) files: Vec<(PathBuf, Why)>,
    /// Whether there was more than could be looked at.
    pub(crate) cut: bool,
}

/// What in these trees was changed since then and will be run by somebody.
pub(crate) fn changed(trees: &[PathBuf], since: SystemTime) -> Found {
    let ran = SystemTime::now().duration_since(since).unwrap_or_default();
    // The kernel's time stamps are up to one tick behind the clock.
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(Duration::from_millis(20));
    let mut walk = Walk { since, left: MOST_ENTRIES, end: Instant::now() + (ran / PART).clamp(SHORTEST, LONGEST), found: Found::default() };
    for tree in trees {
        walk.folder(tree, tree, 0);
    }
    walk.found.files.sort();
    walk.found
}

struct Walk {
    since: Duration,
    left: usize,
    end: Instant,
    found: Found,
}

impl Walk {
    fn folder(&mut self, tree: &Path, folder: &Path, depth: usize) {
        if depth > DEEPEST {
            self.found.cut = true;
            return;
        }
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            if self.left == 0 || self.found.files.len() >= MOST_FOUND || Instant::now() > self.end {
                self.found.cut = true;
                return;
            }
            self.left -= 1;
            // Neither follows a link.
            let (Ok(kind), path) = (entry.file_type(), entry.path()) else { continue };
            if kind.is_dir() {
                if !SKIPPED.iter().any(|name| entry.file_name() == *name) {
                    self.folder(tree, &path, depth + 1);
                }
                continue;
            }
            // Git's own examples of hooks run only when they are renamed.
            if !kind.is_file() || path.extension().is_some_and(|end| end == "sample") && folder.ends_with(".git/hooks") {
                continue;
            }
            let Ok(meta) = entry.metadata() else { continue };
            if at(meta.ctime(), meta.ctime_nsec()).max(at(meta.mtime(), meta.mtime_nsec())) < self.since {
                continue;
            }
            let why = if is_script(tree, &path) {
                Why::Script
            } else if meta.mode() & 0o111 != 0 {
                Why::Executable
            } else {
                continue;
            };
            self.found.files.push((path, why));
        }
    }
}

fn at(seconds: i64, nanoseconds: i64) -> Duration {
    Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanoseconds).unwrap_or(0))
}

fn is_script(tree: &Path, path: &Path) -> bool {
    let named = path.file_name().is_some_and(|name| SCRIPTS.iter().any(|script| name == *script));
    let inside = path.strip_prefix(tree).unwrap_or(path);
    // A hook folder may lie in a project below the workspace.
    let hooked = inside.ancestors().skip(1).any(|folder| HOOKS.iter().any(|hook| folder.ends_with(hook)));
    named || hooked
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(found: &Found, root: &Path) -> Vec<(String, Why)> {
        found.files.iter().map(|(path, why)| (path.strip_prefix(root).unwrap().display().to_string(), *why)).collect()
    }

    #[test]
    fn tells_what_will_run_and_nothing_else() {
        let ground = tempfile::tempdir().unwrap();
        let root = ground.path().canonicalize().unwrap();
        for (file, mode) in [
            ("Makefile", 0o644),
            ("web/package.json", 0o644),
            ("web/node_modules/x/package.json", 0o644),
            ("sub/.git/hooks/pre-commit", 0o644),
            ("sub/.git/hooks/pre-push.sample", 0o755),
            (".github/workflows/ci.yml", 0o644),
            ("tool", 0o755),
            ("notes.md", 0o644),
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink("/usr/bin", root.join("link")).unwrap();
        let found = changed(std::slice::from_ref(&root), SystemTime::now() - Duration::from_secs(60));
        let expected = [
            (".github/workflows/ci.yml", Why::Script),
            ("Makefile", Why::Script),
            ("sub/.git/hooks/pre-commit", Why::Script),
            ("tool", Why::Executable),
            ("web/package.json", Why::Script),
        ];
        assert_eq!(names(&found, &root), expected.map(|(name, why)| (name.to_owned(), why)));
        assert!(!found.cut);
        let later = changed(std::slice::from_ref(&root), SystemTime::now() + Duration::from_secs(60));
        assert!(later.files.is_empty(), "{later:?}");
    }

    #[test]
    fn a_tree_without_end_is_cut_and_said_to_be() {
        let ground = tempfile::tempdir().unwrap();
        let mut deep = ground.path().to_owned();
        for _ in 0..DEEPEST + 3 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        assert!(changed(&[ground.path().to_owned()], SystemTime::now() - Duration::from_secs(60)).cut);
    }
}
