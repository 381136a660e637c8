//! Runs other programs, and talks.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// Talk, on stderr.
#[allow(clippy::print_stderr, reason = "a chore's talk goes to stderr")]
pub(crate) fn say(what: &str) {
    eprintln!("{what}");
}

/// What was asked for, on stdout.
#[allow(clippy::print_stdout, reason = "what a chore was asked for goes to stdout")]
pub(crate) fn tell(what: &str) {
    println!("{what}");
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// The cargo that runs us, in the root of the repository.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What cargo told us of xtask's own package: build scripts that look at it (ring's) would have all that hangs on them built anew, here and then again
    // by whoever calls cargo directly.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR") {
        command.env_remove(name);
    }
    command
}

/// Runs it, and takes any other end than exit code 0 as an error.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// What it writes to stdout, where it ends with exit code 0.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> Result<PathBuf> {
    let metadata = output(cargo().args(["metadata", "--format-version=1", "--no-deps", "--locked"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    metadata.get("target_directory").and_then(|folder| folder.as_str()).map(PathBuf::from).context("cargo metadata names no target folder")
}

/// The program of that name in PATH, or in the folders where system tools lie for everybody but an ordinary user's PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    found(program).next()
}

/// The same among every user's programs: the tests' boxes have no others, and none in this user's home.
pub(crate) fn find_for_all(program: &str) -> Option<PathBuf> {
    let home = env::home_dir().filter(|home| home != Path::new("/"));
    found(program).find(|file| !home.as_ref().is_some_and(|home| file.starts_with(home)))
}

fn found(program: &str) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from)).collect();
    folders.into_iter().map(move |folder| folder.join(program)).filter(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether this is CI, where nothing may be missing.
pub(crate) fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == OsStr::new("true") || value == OsStr::new("1"))
}

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    own_status("Uid:").is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
}

/// A field of `/proc/self/status`.
pub(crate) fn own_status(field: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix(field)).map(|value| value.trim().to_owned())
}
