//! What work on files costs: single calls that the file gate does in the agent's place, and whole commands.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{
    ground::{Ground, Way, shown},
    series::Series,
    start::turned,
    table::{Aim, Row, Table, Unit},
};
use crate::commands::succeed;

/// Single calls, and what is aimed at where caller and gate share a processor.
const LOOPS: &[(&str, f64)] = &[("create+unlink", 3.0), ("rename", 3.0), ("open for writing", 3.0), ("chmod", 3.0)];

/// Commands, and what is aimed at.
const WORK: &[(&str, f64)] = &[
    ("untar 20,000 files", 1.5),
    ("rm -rf 20,000 files", 1.5),
    ("git clone", 1.2),
    ("git status", 1.2),
    ("git commit", 1.2),
    ("cp -r 100 sources", 1.5),
    ("make of 100 files", 1.1),
    ("python start", 1.1),
    (NPM, 1.5),
];

/// Not every machine has npm.
const NPM: &str = "npm install offline";

type Found = BTreeMap<String, Vec<Series>>;

pub(crate) fn calls(ground: &Ground, rounds: usize) -> Result<Table> {
    let probe = ground.probe.as_os_str();
    let mut commands = Vec::new();
    let spread = gathered(ground, rounds, &[probe, "files".as_ref()], &[], &mut commands)?;
    let pinned = gathered(ground, rounds, &[probe, "files".as_ref()], &["taskset", "--cpu-list", "0"], &mut commands)?;
    let mut rows = rows(pinned, LOOPS, ", on one processor", |most| Some(Aim::TimesAtMost(most)));
    rows.extend(self::rows(spread, LOOPS, "", |_| None));
    Ok(Table {
        title: "Calls on files",
        how: "Each is stopped, judged and done by the file gate's process. How long that takes depends on where the kernel wakes it: on the caller's processor, or on another one, which first has to leave its sleep.".to_owned(),
        ways: Way::ALL.map(Way::name).to_vec(),
        rows,
        commands,
    })
}

pub(crate) fn work(ground: &Ground, rounds: usize) -> Result<Table> {
    let stock = stock(ground.folder())?;
    let mut commands = Vec::new();
    let words = [ground.probe.as_os_str(), "work".as_ref(), stock.as_os_str()];
    let found = gathered(ground, rounds.div_ceil(2), &words, &[], &mut commands)?;
    let npm = if found.contains_key(NPM) { "npm installs 40 packages of 20 files each from archives on this machine." } else { "npm is not on this machine." };
    Ok(Table {
        title: "Whole commands",
        how: format!("Run one after the other in the workspace; the box stands already. {npm}"),
        ways: Way::ALL.map(Way::name).to_vec(),
        rows: rows(found, WORK, "", |most| Some(Aim::TimesAtMost(most))),
        commands,
    })
}

fn rows(mut found: Found, names: &[(&str, f64)], suffix: &str, aim: impl Fn(f64) -> Option<Aim>) -> Vec<Row> {
    let row =
        |(name, most): &(&str, f64)| Some(Row { what: format!("{name}{suffix}"), unit: Unit::Nanoseconds, series: found.remove(*name)?, aim: aim(*most) });
    names.iter().filter_map(row).collect()
}

/// Runs the probe in every way, so many rounds; `before` stands before each command.
fn gathered(ground: &Ground, rounds: usize, words: &[&std::ffi::OsStr], before: &[&str], commands: &mut Vec<String>) -> Result<Found> {
    let mut found = Found::new();
    for round in 0..rounds {
        for (index, way) in turned(round) {
            let Some(plain) = ground.command(way, None, words) else { continue };
            let mut command = prefixed(before, plain);
            if round == 0 {
                commands.push(shown(&command));
            }
            let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().with_context(|| format!("{command:?}"))?;
            ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            let figures: BTreeMap<String, f64> = serde_json::from_slice(&output.stdout)?;
            for (name, value) in figures {
                let series = found.entry(name).or_insert_with(|| vec![Series::default(); Way::ALL.len()]);
                if let Some(series) = series.get_mut(index) {
                    series.push(value);
                }
            }
        }
    }
    Ok(found)
}

fn prefixed(before: &[&str], command: Command) -> Command {
    let Some((first, rest)) = before.split_first() else { return command };
    let mut whole = Command::new(first);
    whole.args(rest).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        whole.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            whole.env(name, value);
        }
    }
    whole.stdin(Stdio::null());
    whole
}

/// What the commands work on: a tar archive, a repository, sources, packages.
fn stock(folder: &Path) -> Result<std::path::PathBuf> {
    let stock = folder.join("stock");
    let script = r#"set -e
mkdir files sources repository
for folder in $(seq 100); do mkdir files/$folder; for file in $(seq 200); do echo $file > files/$folder/$file; done; done
tar cf files.tar files; rm -rf files
git -C repository init --quiet
for file in $(seq 500); do echo $file > repository/file-$file; done
git -C repository add .; git -C repository -c user.name=b -c user.email=b@example.com commit --quiet --message all
mkdir -p packages/package
for file in $(seq 19); do echo "exports.n = $file;" > packages/package/$file.js; done
for number in $(seq 40); do
    echo "{\"name\": \"p$number\", \"version\": \"1.0.0\"}" > packages/package/package.json
    tar czf packages/p$number.tgz -C packages package
done
rm -r packages/package"#;
    fs::create_dir(&stock)?;
    succeed(Command::new("sh").args(["-c", script]).current_dir(&stock))?;
    let mut makefile = "all:".to_owned();
    for number in 0..100 {
        fs::write(stock.join(format!("sources/f{number}.c")), format!("int f{number}(void) {{ return {number}; }}\n"))?;
        let _ = write!(makefile, " f{number}.o");
    }
    fs::write(stock.join("sources/Makefile"), makefile + "\n")?;
    let packages =
        (1..=40).map(|number| (format!("p{number}"), serde_json::json!(format!("file:{}", stock.join(format!("packages/p{number}.tgz")).display()))));
    let project = serde_json::json!({"name": "project", "version": "1.0.0", "dependencies": packages.collect::<serde_json::Map<_, _>>()});
    fs::write(stock.join("packages/package.json"), project.to_string())?;
    Ok(stock)
}
