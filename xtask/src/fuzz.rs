//! `cargo xtask fuzz [--seconds N] [--corpora FOLDER] [TARGET…]`: every decoder of hostile bytes under libFuzzer and the address sanitiser.
//!
//! What is found lies in `tests/fuzz/crashes/TARGET` afterwards, where the ordinary tests try it again and again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::commands::{find, output, root, say, succeed, target, tell};

/// Where the targets lie.
const FOLDER: &str = "tests/fuzz";

/// The program that builds and runs them.
const PROGRAM: (&str, &str) = ("cargo-fuzz", "0.13.2");

/// How long each runs, where nobody says.
const SECONDS: u64 = 600;

/// Most memory of a target in MiB, longest time for one input in seconds, longest input in bytes.
const BOUNDS: (u32, u32, u32) = (2048, 10, 1 << 16);

/// Most seeds of one target.
const MOST_SEEDS: usize = 3000;

/// What is asked for.
struct Wish {
    seconds: u64,
    corpora: Option<PathBuf>,
    targets: Vec<String>,
}

/// Runs them one after the other.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let wish = Wish::read(arguments)?;
    let Some(compiler) = nightly() else {
        say("SKIPPED: fuzzing takes a nightly compiler: rustup toolchain install nightly");
        return Ok(ExitCode::SUCCESS);
    };
    let folder = target()?.join("fuzz");
    let program = install(&folder)?;
    let mut failed = Vec::new();
    for name in &wish.targets {
        let corpus = folder.join("corpus").join(name);
        fs::create_dir_all(&corpus)?;
        let seeds = wish.corpora.as_deref().map_or(Ok(0), |rows| seed(name, rows, &corpus))?;
        tell(&format!("── {name}: {} s, {seeds} seeds", wish.seconds));
        let crashes = root().join(FOLDER).join("crashes").join(name);
        fs::create_dir_all(&crashes)?;
        let (memory, patience, longest) = BOUNDS;
        let status = Command::new(&program)
            .current_dir(root())
            .env("RUSTUP_TOOLCHAIN", &compiler)
            .env("CARGO_TARGET_DIR", folder.join("target"))
            .args(["fuzz", "run", "--fuzz-dir", FOLDER, "--release", "--debug-assertions", name])
            .arg(&corpus)
            .arg("--")
            .args([&format!("-max_total_time={}", wish.seconds), &format!("-rss_limit_mb={memory}"), &format!("-timeout={patience}")])
            .args([&format!("-max_len={longest}"), "-print_final_stats=1", &format!("-artifact_prefix={}/", crashes.display())])
            .status()?;
        // An empty folder is nothing to commit.
        let _ = fs::remove_dir(&crashes);
        if !status.success() {
            failed.push(name.as_str());
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    tell(&format!("something was found in: {}; see {FOLDER}/crashes", failed.join(", ")));
    Ok(ExitCode::FAILURE)
}

impl Wish {
    fn read(arguments: &[String]) -> Result<Self> {
        let mut wish = Self { seconds: SECONDS, corpora: std::env::var_os("AGENTBOX_CORPORA").map(PathBuf::from), targets: Vec::new() };
        let known = targets()?;
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--seconds" => wish.seconds = rest.next().context("--seconds takes a number")?.parse().context("--seconds takes a number")?,
                "--corpora" => wish.corpora = Some(rest.next().context("--corpora takes a folder")?.into()),
                name if known.iter().any(|known| known == name) => wish.targets.push(name.to_owned()),
                other => bail!("no target is called `{other}`; there are {}", known.join(", ")),
            }
        }
        if wish.targets.is_empty() {
            wish.targets = known;
        }
        Ok(wish)
    }
}

fn targets() -> Result<Vec<String>> {
    let mut names: Vec<String> =
        fs::read_dir(root().join(FOLDER).join("targets"))?.filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

/// The name of an installed nightly compiler.
fn nightly() -> Option<String> {
    find("rustup")?;
    let list = output(Command::new("rustup").args(["toolchain", "list"])).ok()?;
    list.lines().filter_map(|line| line.split_whitespace().next()).find(|name| name.starts_with("nightly")).map(str::to_owned)
}

fn install(folder: &Path) -> Result<PathBuf> {
    let (name, version) = PROGRAM;
    let program = folder.join("bin").join(name);
    if !program.exists() {
        tell(&format!("── building {name} {version}"));
        succeed(Command::new("cargo").args(["install", "--quiet", "--locked", "--root"]).arg(folder).arg(format!("{name}@{version}")))?;
    }
    Ok(program)
}

/// Makes seeds of labelled rows, in the shape that the target reads.
fn seed(target: &str, rows: &Path, into: &Path) -> Result<usize> {
    let files: &[&str] = match target {
        "request" => &["api_hard.jsonl", "api_semantic.jsonl", "api.jsonl"],
        "statement" => &["sql_hard.jsonl", "sql.jsonl"],
        _ => return Ok(0),
    };
    let mut count = 0;
    for file in files {
        let Ok(text) = fs::read_to_string(rows.join(file)) else { continue };
        for line in text.lines() {
            let row: Value = serde_json::from_str(line)?;
            let Some(seed) = (if target == "request" { request(&row) } else { statement(&row) }) else { continue };
            if count == MOST_SEEDS {
                return Ok(count);
            }
            fs::write(into.join(format!("row-{count}")), seed)?;
            count += 1;
        }
    }
    Ok(count)
}

fn request(row: &Value) -> Option<String> {
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    let mut seed = format!("{} {}\n", text("method")?, text("url")?);
    for (name, value) in row.get("headers").and_then(Value::as_object).into_iter().flatten() {
        seed.push_str(&format!("{name}: {}\n", value.as_str()?));
    }
    seed.push('\n');
    if text("body_encoding") == Some("utf8") {
        seed.push_str(text("body").unwrap_or_default());
    }
    Some(seed)
}

fn statement(row: &Value) -> Option<String> {
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    (text("engine")? == "sql").then_some(())?;
    Some(format!("{}\n{}", text("dialect")?, text("sql")?))
}
