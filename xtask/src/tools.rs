//! `cargo xtask tools`: installs what the tests need by package name where it may, and says what is there, what came, and what could not be had.

use std::process::{Command, ExitCode, Stdio};

use anyhow::Result;

use crate::{
    commands::{cargo, find, is_ci, is_root, tell},
    packages::{TOOLS, Tool},
};

/// Parts of the Rust toolchain that the landing guard calls.
const COMPONENTS: &[(&str, &str)] = &[("fmt", "rustfmt"), ("clippy", "clippy")];

pub(crate) fn run(_: &[String]) -> Result<ExitCode> {
    let (there, missing): (Vec<&Tool>, Vec<&Tool>) = TOOLS.iter().partition(|tool| tool.is_there());
    tell(&format!("there already: {}", names(&there)));
    let of = |prefix: &str| missing.iter().copied().filter(|tool| tool.package.starts_with(prefix)).collect::<Vec<&Tool>>();
    let (of_npm, of_pip) = (of(NPM), of(PIP));
    let of_debian: Vec<&Tool> = missing.iter().copied().filter(|tool| !tool.package.starts_with(NPM) && !tool.package.starts_with(PIP)).collect();
    if !of_debian.is_empty() && is_root() && find("apt-get").is_some() {
        install(&of_debian);
    }
    if !of_npm.is_empty() && is_root() && find("npm").is_some() {
        npm_install(&of_npm);
    }
    if !of_pip.is_empty() && is_root() {
        pip_install(&of_pip);
    }
    let (installed, lacking): (Vec<&Tool>, Vec<&Tool>) = missing.into_iter().partition(|tool| tool.is_there());
    if !installed.is_empty() {
        tell(&format!("installed: {}", names(&installed)));
    }
    let unready = components();
    if lacking.is_empty() && unready.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    tell("missing:");
    for tool in &lacking {
        tell(&format!("  {:<24} package {:<16} {}", tool.name, tool.package, tool.why));
    }
    for component in &unready {
        tell(&format!("  {component:<24} rustup component add {component}"));
    }
    let all = || lacking.iter().map(|tool| tool.package);
    let of_npm: Vec<&str> = all().filter(|package| package.starts_with(NPM)).collect();
    let of_debian: Vec<&str> = all().filter(|package| !package.starts_with(NPM) && !package.starts_with(PIP)).collect();
    for package in all().filter(|package| package.starts_with(PIP)) {
        tell(&format!("with pip: sudo python3 -m venv {VENV} && sudo {VENV}/bin/pip install '{}'", package.trim_start_matches(PIP)));
    }
    if !of_debian.is_empty() {
        tell(&format!("on Debian and Ubuntu: sudo apt-get install -y --no-install-recommends {}", of_debian.join(" ")));
    }
    if !of_npm.is_empty() {
        let packages: Vec<_> = of_npm.iter().map(|package| package.trim_start_matches(NPM)).collect();
        tell(&format!("with npm: sudo npm install -g {}", packages.join(" ")));
    }
    tell("tests that need what is missing print SKIPPED");
    Ok(if is_ci() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What stands before the name of a package of npm's.
const NPM: &str = "npm:";

/// The same of pip's.
const PIP: &str = "pip:";

/// Where pip's packages lie: the system's Python is its distribution's.
const VENV: &str = "/usr/local/lib/agentbox-tools";

fn pip_install(missing: &[&Tool]) {
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package.trim_start_matches(PIP)).collect();
    tell(&format!("pip install {}", packages.join(" ")));
    let quiet = |command: &mut Command| command.stdin(Stdio::null()).stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    let made = quiet(Command::new("/usr/bin/python3").args(["-m", "venv", VENV]));
    if !(made && quiet(Command::new(format!("{VENV}/bin/pip")).args(["install", "-q"]).args(&packages))) {
        tell(&format!("pip could not install {}", packages.join(" ")));
    }
}

/// For the whole machine, from wherever its npm is told to fetch.
fn npm_install(missing: &[&Tool]) {
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package.trim_start_matches(NPM)).collect();
    tell(&format!("npm install -g {}", packages.join(" ")));
    let run = Command::new("npm").args(["install", "-g", "--no-audit", "--no-fund", "--loglevel=error"]).args(&packages).stdin(Stdio::null()).status();
    if !run.is_ok_and(|status| status.success()) {
        tell(&format!("npm could not install {}", packages.join(" ")));
    }
}

fn names(tools: &[&Tool]) -> String {
    if tools.is_empty() {
        return "nothing".to_owned();
    }
    tools.iter().map(|tool| tool.name).collect::<Vec<_>>().join(", ")
}

/// All in one go; where that fails, one by one, so that one package which a distribution does not have takes no other with it.
fn install(missing: &[&Tool]) {
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    tell(&format!("apt-get install {}", packages.join(" ")));
    apt_get(&["update", "-qq"]);
    let words = ["install", "-y", "-qq", "--no-install-recommends"];
    let together: Vec<&str> = words.into_iter().chain(packages.iter().copied()).collect();
    if apt_get(&together) {
        return;
    }
    for package in packages {
        if !apt_get(&words.into_iter().chain([package]).collect::<Vec<_>>()) {
            tell(&format!("apt-get could not install {package}"));
        }
    }
}

fn apt_get(arguments: &[&str]) -> bool {
    let run = Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

/// Adds what is lacking of the toolchain; gives what could not be added.
fn components() -> Vec<&'static str> {
    let is_there =
        |command: &str| cargo().args([command, "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    let mut lacking = Vec::new();
    for (command, component) in COMPONENTS {
        if is_there(command) {
            continue;
        }
        let _ = Command::new("rustup").args(["component", "add", component]).status();
        if is_there(command) {
            tell(&format!("installed: {component}"));
        } else {
            lacking.push(*component);
        }
    }
    lacking
}
