//! `cargo xtask catalogue [--check]`: which operation a method and a path are, at providers that publish it, as compact data.
//!
//! Only facts are taken from the published packages: method, path, name. What a name means is decided where requests are judged.

mod aws;
mod azure;
mod cloudflare;
mod datadog;
mod digitalocean;
mod github;
mod google;
mod netlify;
mod okta;
mod sources;
mod vercel;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use flate2::{Compression, write::DeflateEncoder};

use crate::commands::{output, root, succeed, target, tell};

/// Where the data lies.
const FOLDER: &str = "sandbox/broker/src/meaning/catalogue";

/// A provider.
struct Provider {
    /// Its name: the first word of its actions, and of its file.
    name: &'static str,
    /// Packages and their versions.
    packages: &'static [(&'static str, &'static str)],
    /// When those versions were taken.
    taken: &'static str,
    /// Puts one of them into a folder.
    fetch: fn(&str, &str, &Path) -> Result<()>,
    /// Reads them.
    read: fn(&Path) -> Result<Operations>,
}

/// All of them. Adding one is one file and one line.
const PROVIDERS: &[&Provider] = &[
    &aws::AWS,
    &google::GOOGLE,
    &github::GITHUB,
    &azure::AZURE,
    &cloudflare::CLOUDFLARE,
    &datadog::DATADOG,
    &digitalocean::DIGITALOCEAN,
    &netlify::NETLIFY,
    &okta::OKTA,
    &vercel::VERCEL,
];

impl Provider {
    /// `botocore 1.44.8`.
    fn source(&self) -> String {
        self.packages.iter().map(|(package, version)| format!("{package} {version}")).collect::<Vec<_>>().join(", ")
    }
}

/// What one provider offers: by service.
#[derive(Default)]
struct Operations {
    services: BTreeMap<String, BTreeSet<Operation>>,
}

/// One operation.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Operation {
    method: String,
    /// `/a/*/b`, where `*` is a part of a segment and `**` is any number of segments.
    path: String,
    name: String,
}

impl Operations {
    /// Adds one; what is not made of plain words is left out.
    fn add(&mut self, service: &str, method: &str, path: &str, name: &str) {
        let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if [service, method, path, name].into_iter().all(is_plain) && path.starts_with('/') {
            let operation = Operation { method: method.to_owned(), path: path.to_owned(), name: name.to_owned() };
            self.services.entry(service.to_owned()).or_default().insert(operation);
        }
    }

    /// The file: a line of heading, one of the source, an index of services, an empty line, and a compressed block for each.
    fn encode(&self, provider: &Provider) -> Result<Vec<u8>> {
        let mut index = String::new();
        let mut blocks = Vec::new();
        for (service, operations) in &self.services {
            let mut text = String::new();
            for Operation { method, path, name } in operations {
                text.push_str(&format!("{method} {path} {name}\n"));
            }
            let begin = blocks.len();
            let mut encoder = DeflateEncoder::new(&mut blocks, Compression::best());
            encoder.write_all(text.as_bytes())?;
            encoder.finish()?;
            index.push_str(&format!("{service} {begin} {}\n", blocks.len() - begin));
        }
        let source = provider.source();
        let mut file = format!("agentbox catalogue 1\n{} from {source}, {}\n{index}\n", provider.name, provider.taken).into_bytes();
        file.extend_from_slice(&blocks);
        Ok(file)
    }
}

/// Writes or compares.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let is_check = arguments.iter().any(|argument| argument == "--check");
    let folder = target()?.join("catalogue");
    for provider in PROVIDERS {
        let source = provider.source();
        let unpacked = folder.join(provider.name);
        // What was fetched last time, by its versions.
        if fs::read_to_string(unpacked.join("whole")).ok().as_deref() != Some(&source) {
            if unpacked.exists() {
                fs::remove_dir_all(&unpacked)?;
            }
            fs::create_dir_all(&unpacked)?;
            for (package, version) in provider.packages {
                // Packages of one name space may not lie in one folder.
                let into = if provider.packages.len() > 1 { unpacked.join(package) } else { unpacked.clone() };
                fs::create_dir_all(&into)?;
                (provider.fetch)(package, version, &into).with_context(|| format!("fetching {package} {version}"))?;
            }
            fs::write(unpacked.join("whole"), &source)?;
        }
        let operations = (provider.read)(&unpacked).with_context(|| format!("reading {source}"))?;
        let count: usize = operations.services.values().map(BTreeSet::len).sum();
        let made = operations.encode(provider)?;
        let file: PathBuf = root().join(FOLDER).join(format!("{}.bin", provider.name));
        tell(&format!("{}: {count} operations of {} services, {} bytes", provider.name, operations.services.len(), made.len()));
        if !is_check {
            fs::write(&file, &made)?;
        } else if fs::read(&file)? != made {
            bail!("{} is not what {source} makes: run `cargo xtask catalogue` and commit it", file.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A package of PyPI, unpacked.
fn from_pypi(package: &str, version: &str, into: &Path) -> Result<()> {
    succeed(
        Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--root-user-action=ignore", "--no-deps", "--no-compile", "--target"])
            .arg(into)
            .arg(format!("{package}=={version}")),
    )
}

/// A package of npm, unpacked.
fn from_npm(package: &str, version: &str, into: &Path) -> Result<()> {
    output(Command::new("npm").current_dir(into).args(["pack", "--silent", &format!("{package}@{version}")]))?;
    let archive = fs::read_dir(into)?.filter_map(|entry| Some(entry.ok()?.path())).find(|path| path.extension().is_some_and(|ending| ending == "tgz"));
    succeed(Command::new("tar").current_dir(into).arg("-xzf").arg(archive.context("npm packed nothing")?))
}

/// `/a/{name}/b` as `/a/*/b`; what may hold slashes becomes `**`.
fn pattern(template: &str) -> String {
    let mut pattern = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        pattern.push_str(before);
        let (name, behind) = after.split_once('}').unwrap_or((after, ""));
        let is_greedy = name.ends_with('+') || name.starts_with('+') || name.ends_with('*');
        pattern.push_str(if is_greedy { "**" } else { "*" });
        rest = behind;
    }
    pattern.push_str(rest);
    pattern
}

/// The same operation in all versions is told once: `/v1beta1/…` as `/*/…`.
fn any_version(path: &str) -> String {
    let is_version = |segment: &str| {
        matches!(segment, "alpha" | "beta")
            || (segment.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) && !segment.contains([':', '*']))
    };
    let mut seen = false;
    let parts: Vec<&str> = path
        .split('/')
        .map(|segment| {
            let first = !seen && is_version(segment);
            seen |= first;
            if first { "*" } else { segment }
        })
        .collect();
    parts.join("/")
}
