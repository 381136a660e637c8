//! Finds Debian's cloud kernels through their metapackages, and unpacks them below `target`; nothing is installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::commands::{is_root, output, say, succeed};

/// Metapackages: the suite's own kernel, and others that are named after their version.
const METAPACKAGES: &str = r"^linux-image-([0-9.]+-)?cloud-amd64$";

/// What a kernel's package is called before and behind its release.
const IMAGE: (&str, &str) = ("linux-image-", "-cloud-amd64");

/// An unpacked kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    /// Its line: `6.1`.
    line: String,
    /// As `uname -r` says it.
    release: String,
    /// `boot` and `lib/modules` lie in it.
    folder: PathBuf,
}

impl Kernel {
    /// The newest of this line (`6.1`) that apt's metapackages lead to, fetched where it is not there yet.
    pub(super) fn find(line: &str, below: &Path) -> Result<Self> {
        let package = match package_of(line)? {
            Some(package) => package,
            None if is_root() => {
                // A fresh machine has no lists yet.
                succeed(Command::new("apt-get").args(["update", "-qq"]))?;
                package_of(line)?.with_context(|| unknown(line))?
            }
            None => bail!("{}", unknown(line)),
        };
        let release = package.strip_prefix(IMAGE.0).unwrap_or(&package).to_owned();
        let folder = below.join("kernels").join(&release);
        if !folder.join("boot").is_dir() {
            fetch(&package, &folder).with_context(|| format!("fetching {package}"))?;
        }
        Ok(Self { line: line.to_owned(), release, folder })
    }

    /// Its line: `6.1`.
    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// As `uname -r` says it.
    pub(super) fn release(&self) -> &str {
        &self.release
    }

    /// The image to boot.
    pub(super) fn image(&self) -> PathBuf {
        self.folder.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The folder of its modules.
    pub(super) fn modules(&self) -> PathBuf {
        self.folder.join("lib/modules").join(&self.release)
    }
}

fn unknown(line: &str) -> String {
    format!("apt knows no metapackage of a cloud kernel {line}: it comes with Debian's main and security archives")
}

/// The package of the kernel that a metapackage asks for, of this line.
fn package_of(line: &str) -> Result<Option<String>> {
    let metapackages = output(Command::new("apt-cache").args(["search", "--names-only", METAPACKAGES]))?;
    for metapackage in metapackages.lines().filter_map(|line| line.split_whitespace().next()) {
        let depends = output(Command::new("apt-cache").args(["depends", metapackage]))?;
        if let Some(image) = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")).find(|name| is_of(name, line)) {
            return Ok(Some(image.to_owned()));
        }
    }
    Ok(None)
}

/// Whether `linux-image-6.12.111+deb12-cloud-amd64` is of the line 6.12; a metapackage is not.
fn is_of(package: &str, line: &str) -> bool {
    let release = package.strip_prefix(IMAGE.0).and_then(|rest| rest.strip_suffix(IMAGE.1));
    release.and_then(|release| release.strip_prefix(line)).is_some_and(|rest| rest.starts_with('.'))
}

/// Into a folder that gets its name only when it is whole.
fn fetch(package: &str, folder: &Path) -> Result<()> {
    say(&format!("fetching {package}"));
    let part = folder.with_file_name(format!("{package}.part"));
    if part.exists() {
        fs::remove_dir_all(&part)?;
    }
    let (download, unpacked) = (part.join("download"), part.join("unpacked"));
    fs::create_dir_all(&download)?;
    succeed(Command::new("apt-get").args(["download", "-qq", package]).current_dir(&download))?;
    let file = fs::read_dir(&download)?.next().context("apt-get downloaded nothing")??.path();
    succeed(Command::new("dpkg").arg("-x").arg(file).arg(&unpacked))?;
    // Debian 12 has its modules in /lib, later ones in /usr/lib.
    if !unpacked.join("lib").exists() {
        fs::rename(unpacked.join("usr/lib"), unpacked.join("lib"))?;
    }
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::rename(&unpacked, folder)?;
    fs::remove_dir_all(&part).context("removing what was downloaded")
}

#[cfg(test)]
mod tests {
    use super::is_of;

    #[test]
    fn a_line_is_told_by_its_first_two_numbers() {
        assert!(is_of("linux-image-6.1.0-56-cloud-amd64", "6.1"));
        assert!(is_of("linux-image-6.12.111+deb12-cloud-amd64", "6.12"));
        assert!(!is_of("linux-image-6.12.111+deb12-cloud-amd64", "6.1"));
        assert!(!is_of("linux-image-6.1-cloud-amd64", "6.1"), "a metapackage");
        assert!(!is_of("linux-image-6.1.0-56-amd64", "6.1"), "not a cloud kernel");
    }
}
