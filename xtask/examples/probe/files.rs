//! Work on files, in the working directory: loops over single calls, and whole commands as people run them.

use std::{
    fs::{self, OpenOptions, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};

use crate::{Figures, calls::batches};

/// Calls that the file gate sees, in nanoseconds a call.
pub(crate) fn loops() -> Result<Figures> {
    let folder = std::env::current_dir()?;
    let (one, other) = (folder.join("probe-one"), folder.join("probe-other"));
    fs::write(&one, "x")?;
    let mut at_one = true;
    let figures = [
        (
            "create+unlink",
            batches(500, &mut || {
                fs::File::create(&other)?;
                Ok(fs::remove_file(&other)?)
            })?,
        ),
        (
            "rename",
            batches(500, &mut || {
                let (from, to) = if at_one { (&one, &other) } else { (&other, &one) };
                at_one = !at_one;
                Ok(fs::rename(from, to)?)
            })?,
        ),
        ("open for writing", batches(500, &mut || OpenOptions::new().write(true).open(if at_one { &one } else { &other }).map(drop).map_err(Into::into))?),
        ("chmod", batches(500, &mut || Ok(fs::set_permissions(if at_one { &one } else { &other }, Permissions::from_mode(0o600))?))?),
    ];
    fs::remove_file(if at_one { one } else { other })?;
    Ok(figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Whole commands, in nanoseconds each. `stock` holds `files.tar`, `repository`, `sources` and `packages`.
pub(crate) fn work(stock: &Path) -> Result<Figures> {
    let mut figures = Figures::new();
    let mut timed = |name: &str, words: &[&str]| -> Result<()> {
        let (first, rest) = words.split_first().context("a command")?;
        let begin = Instant::now();
        let status = Command::new(first).args(rest).stdout(Stdio::null()).status().with_context(|| (*first).to_owned())?;
        figures.insert(name.to_owned(), begin.elapsed().as_secs_f64() * 1e9);
        ensure!(status.success(), "{words:?}: {status}");
        Ok(())
    };
    let at = |name: &str| stock.join(name).display().to_string();
    timed("untar 20,000 files", &["tar", "xf", &at("files.tar")])?;
    timed("rm -rf 20,000 files", &["rm", "-rf", "files"])?;
    timed("git clone", &["git", "clone", "--quiet", "--no-hardlinks", &at("repository"), "clone"])?;
    timed("git status", &["git", "-C", "clone", "status", "--short"])?;
    fs::write("clone/file-1", "changed")?;
    timed("git commit", &["git", "-C", "clone", "-c", "user.name=b", "-c", "user.email=b@example.com", "commit", "--quiet", "--all", "--message", "one"])?;
    timed("cp -r 100 sources", &["cp", "-r", &at("sources"), "build"])?;
    timed("make of 100 files", &["make", "--quiet", "-j2", "-C", "build"])?;
    timed("python start", &["python3", "-S", "-c", "pass"])?;
    // Not everybody has it; the bench then says so.
    if Command::new("npm").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        fs::create_dir("project")?;
        fs::copy(stock.join("packages/package.json"), "project/package.json")?;
        let words = "npm install --offline --no-audit --no-fund --ignore-scripts --silent --cache npm-cache --prefix project";
        timed("npm install offline", &words.split(' ').collect::<Vec<_>>())?;
        for left in ["project", "npm-cache"] {
            fs::remove_dir_all(left)?;
        }
    }
    for left in ["clone", "build"] {
        fs::remove_dir_all(left)?;
    }
    Ok(figures)
}
