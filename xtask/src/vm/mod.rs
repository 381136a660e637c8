//! `cargo xtask vm [KERNEL…] [--all] [--only=STEP] [--count]`: runs the fences and the file gate on the kernels that people have, in QEMU without any help of this machine's own kernel.
//!
//! Debian's cloud kernels are fetched by apt, through their metapackages, and unpacked below `target`. The root that they boot is made of this
//! machine's own programs, of `agentbox` and of test programs as cargo builds them here.

mod archive;
mod count;
mod kernel;
mod machine;
mod modules;
mod root;
mod steps;

use std::{
    path::PathBuf,
    process::{ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

use crate::{
    commands::{cargo, find, is_ci, output, target, tell},
    vm::{
        kernel::Kernel,
        machine::{Clock, Told},
        root::Programs,
        steps::{Step, When},
    },
};

/// The kernels that are tried where none is named: Debian 12's own, which is the oldest that agentbox is for, and the newest in its archive.
const KERNELS: &[&str] = &["6.1", "6.12"];

/// What it takes besides apt.
const NEEDED: &[&str] = &["qemu-system-x86_64", "busybox", "mke2fs", "xz", "apt-get", "apt-cache", "dpkg", "dpkg-query", "ldd", "strip"];

/// Boots every kernel asked for, and counts.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let (options, asked): (Vec<&str>, Vec<&str>) = arguments.iter().map(String::as_str).partition(|argument| argument.starts_with('-'));
    let (mut only, mut when, mut clock) = (None, When::Always, Clock::Real);
    for option in options {
        match option.strip_prefix("--only=") {
            Some(step) => only = Some(step),
            None if option == "--all" => when = When::All,
            None if option == "--count" => (when, clock) = (When::All, Clock::Instructions),
            None => bail!("{option}: the options are `--all`, `--only=STEP` and `--count`"),
        }
    }
    if let Some(why) = lacking() {
        if is_ci() {
            bail!("{why}");
        }
        tell(&format!("SKIPPED: no kernel is booted: {why}"));
        return Ok(ExitCode::SUCCESS);
    }
    let names = if asked.is_empty() { KERNELS.to_vec() } else { asked };
    let folder = target()?.join("vm");
    let kernels = names.iter().map(|name| Kernel::find(name, &folder)).collect::<Result<Vec<_>>>()?;
    let (steps, programs) = match clock {
        Clock::Real => {
            let steps = steps::chosen(only, when)?;
            let programs = programs(&steps)?;
            (steps, programs)
        }
        Clock::Instructions => (count::STEPS.to_vec(), measured()?),
    };
    let image = root::make(&folder, &kernels, &programs, &steps, when.patience())?;

    // Beside each other: they wait more than they work.
    let told: Vec<Result<(Told, Duration)>> = thread::scope(|scope| {
        let boot = |kernel| {
            let (image, folder, steps) = (&image, &folder, &steps);
            scope.spawn(move || {
                let begun = Instant::now();
                machine::boot(kernel, image, folder, steps, clock, when.patience()).map(|told| (told, begun.elapsed()))
            })
        };
        let machines: Vec<_> = kernels.iter().map(boot).collect();
        machines.into_iter().map(|machine| machine.join().unwrap_or_else(|_| Err(anyhow!("a machine's reader panicked")))).collect()
    });
    let mut code = ExitCode::SUCCESS;
    for (kernel, told) in kernels.iter().zip(told) {
        let (told, took) = told?;
        tell(&format!("── Linux {} in {} s\n{}", kernel.release(), took.as_secs(), told.summary()));
        if !told.is_good() {
            code = ExitCode::FAILURE;
        } else if clock == Clock::Instructions {
            tell(&told.figures.table()?);
        }
    }
    Ok(code)
}

/// What this machine has not that it takes.
fn lacking() -> Option<String> {
    if std::env::consts::ARCH != "x86_64" {
        return Some(format!("the kernels are x86-64's, and this machine is {}", std::env::consts::ARCH));
    }
    let missing: Vec<&str> = NEEDED.iter().copied().filter(|program| find(program).is_none()).collect();
    (!missing.is_empty()).then(|| format!("not here: {} (fix: cargo xtask tools, on Debian)", missing.join(", ")))
}

/// Builds `agentbox` and the test programs; they run inside as they do here.
fn programs(steps: &[Step]) -> Result<Programs> {
    let agentbox = built(&["build", "--package", "agentbox", "--bin", "agentbox"])?.pop().context("cargo built no agentbox")?;
    let mut tests = Vec::new();
    for words in steps::programs(steps) {
        tests.extend(built(&[&["test", "--no-run"], words.as_slice()].concat())?);
    }
    Ok(Programs { agentbox, tests, probe: None })
}

/// Builds what is measured, as people have it, and what measures it.
fn measured() -> Result<Programs> {
    let one = |words: &[&str]| built(&[&["build", "--release", "--package"], words].concat())?.pop().with_context(|| format!("cargo built no {words:?}"));
    Ok(Programs { agentbox: one(&["agentbox", "--bin", "agentbox"])?, tests: Vec::new(), probe: Some(one(&["xtask", "--example", "probe"])?) })
}

fn built(arguments: &[&str]) -> Result<Vec<PathBuf>> {
    let text = output(cargo().args(arguments).args(["--locked", "--message-format=json"]).stderr(Stdio::inherit()))?;
    Ok(text.lines().filter_map(executable).collect())
}

/// The program that a line of cargo's tells of.
fn executable(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(PathBuf::from(message.get("executable")?.as_str()?))
}
