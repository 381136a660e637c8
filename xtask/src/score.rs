//! `cargo xtask score [FILE…]`: how well `agentbox classify` tells what destroys from what does not, on labelled rows.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::commands::{cargo, root, succeed, target, tell};

/// Where the labelled rows lie when nobody says where: beside the project.
const CORPORA: &str = "../shared/corpora";

/// The files that are scored; the others there are command lines, which are run in boxes and not judged as text.
const FILES: &[&str] = &["api.jsonl", "api_hard.jsonl", "api_semantic.jsonl", "sql.jsonl", "sql_hard.jsonl"];

/// How many groups of a kind are told: the worst.
const WORST: usize = 8;

/// What was counted in one group of rows.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    must_hold: usize,
    held: usize,
    must_pass: usize,
    disturbed: usize,
}

impl Count {
    fn recall(self) -> f64 {
        share(self.held, self.must_hold).unwrap_or(1.0)
    }

    fn false_alarms(self) -> f64 {
        share(self.disturbed, self.must_pass).unwrap_or(0.0)
    }

    fn told(self) -> String {
        format!(
            "recall {:.4} ({}/{})   false alarms {:.4} ({}/{})",
            self.recall(),
            self.held,
            self.must_hold,
            self.false_alarms(),
            self.disturbed,
            self.must_pass
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are small")]
fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Runs the task. `--misses` tells each row that was judged wrongly; other arguments are files of rows.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let shows = arguments.iter().any(|argument| argument == "--misses");
    let mut files: Vec<PathBuf> = arguments.iter().filter(|argument| !argument.starts_with("--")).map(PathBuf::from).collect();
    if files.is_empty() {
        files = FILES.iter().map(|name| root().join(CORPORA).join(name)).filter(|path| path.exists()).collect();
    }
    if files.is_empty() {
        bail!("there are no labelled rows in {CORPORA}: name files of them, one JSON object a line, with `expect`");
    }
    succeed(cargo().args(["build", "--quiet", "--locked", "--release", "--package", "agentbox"]))?;
    let agentbox = target()?.join("release/agentbox");
    for file in &files {
        score(&agentbox, file, shows)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn score(agentbox: &Path, file: &Path, shows: bool) -> anyhow::Result<()> {
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let rows = lines(&bytes).with_context(|| format!("{}", file.display()))?;
    let begun = std::time::Instant::now();
    let told = classify(agentbox, bytes)?;
    let took = begun.elapsed();
    if told.len() != rows.len() {
        bail!("{} rows went in and {} came out", rows.len(), told.len());
    }
    let mut all = Count::default();
    let mut groups: BTreeMap<(&str, String), Count> = BTreeMap::new();
    let mut wrong = String::new();
    for (row, told) in rows.iter().zip(&told) {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
        let expected: Vec<&str> = row.get("expect").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let effect = told.get("effect").and_then(Value::as_str).unwrap_or_default();
        let is_held = matches!(effect, "destroy" | "opaque");
        let Some(count) = counted(&expected, is_held) else { continue };
        add(&mut all, count);
        for kind in ["provider", "engine", "dialect", "protocol", "severity"].iter().filter(|kind| !text(kind).is_empty()) {
            add(groups.entry((kind, text(kind).to_owned())).or_default(), count);
        }
        if shows && errors(count) > 0 {
            let kind = if count.must_hold > 0 { "MISSED" } else { "DISTURBED" };
            let what = if text("sql").is_empty() { format!("{} {}", text("method"), text("url")) } else { text("sql").to_owned() };
            let reason = told.get("reason").and_then(Value::as_str).unwrap_or_default();
            let short = |text: &str| text.chars().take(160).collect::<String>().replace('\n', " ");
            let _ = writeln!(wrong, "    {kind} {} · {} · {} => {effect}: {reason}", text("id"), short(&what), short(text("why")));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of rows are small")]
    let rate = rows.len() as f64 / took.as_secs_f64();
    tell(&format!("{}: {} rows, {rate:.0} a second, start included", file.display(), rows.len()));
    tell(&format!("  all                      {}", all.told()));
    let mut kinds: BTreeMap<&str, Vec<(String, Count)>> = BTreeMap::new();
    for ((kind, name), count) in groups {
        kinds.entry(kind).or_default().push((name, count));
    }
    for (kind, mut counts) in kinds {
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(errors(*count)));
        let many = counts.len();
        for (name, count) in counts.into_iter().take(WORST) {
            tell(&format!("  {kind:<10} {name:<14.14} {}", count.told()));
        }
        if many > WORST {
            tell(&format!("  {kind:<10} and {} more with fewer errors", many - WORST));
        }
    }
    tell(wrong.trim_end());
    Ok(())
}

fn errors(count: Count) -> usize {
    count.must_hold - count.held + count.disturbed
}

/// What a row says to the count; `None` where either answer is right.
fn counted(expected: &[&str], is_held: bool) -> Option<Count> {
    match expected {
        ["hold"] => Some(Count { must_hold: 1, held: usize::from(is_held), ..Count::default() }),
        ["pass"] => Some(Count { must_pass: 1, disturbed: usize::from(is_held), ..Count::default() }),
        _ => None,
    }
}

fn add(to: &mut Count, count: Count) {
    to.must_hold += count.must_hold;
    to.held += count.held;
    to.must_pass += count.must_pass;
    to.disturbed += count.disturbed;
}

fn lines(bytes: &[u8]) -> anyhow::Result<Vec<Value>> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .map(|line| serde_json::from_slice(line).context("a row is not JSON"))
        .collect()
}

fn classify(agentbox: &Path, rows: Vec<u8>) -> anyhow::Result<Vec<Value>> {
    let mut child = Command::new(agentbox).arg("classify").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("no way to write to classify")?;
    // On a thread of its own: it answers while it reads.
    let writer = std::thread::spawn(move || input.write_all(&rows));
    let output = child.wait_with_output()?;
    writer.join().map_err(|_| anyhow::anyhow!("the writer failed"))??;
    if !output.status.success() {
        bail!("classify ended with {}", output.status);
    }
    lines(&output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_answer_may_be_right() {
        assert!(counted(&["hold", "pass"], true).is_none());
        let missed = counted(&["hold"], false).unwrap();
        assert_eq!((missed.must_hold, missed.held, errors(missed)), (1, 0, 1));
        let disturbed = counted(&["pass"], true).unwrap();
        assert_eq!((disturbed.must_pass, disturbed.disturbed, errors(disturbed)), (1, 1, 1));
        assert!((disturbed.recall() - 1.0).abs() < f64::EPSILON);
    }
}
