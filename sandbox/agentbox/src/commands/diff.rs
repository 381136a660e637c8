//! `agentbox diff`: what a session did to the files, as they stand now: made, changed, destroyed, moved.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, process::ExitCode, time::Duration};

use agentbox_core::safe;
use agentbox_vault::{
    Kind,
    undo::{Choice, Deed, Made, Plan, Side, Standing, Step, Undo},
};
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use crate::commands::{
    desk::Fault,
    undo::{Vaults, failed, moment, print, shown, size},
};

/// Largest file that is compared line by line.
const LARGEST: u64 = 1 << 20;

/// How long one comparison may take; after that it is coarser.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longest line that is shown, in characters.
const LONGEST_LINE: usize = 500;

/// Lines of one file that are shown.
const MOST_LINES: usize = 2000;

/// Lines around a change.
const AROUND: usize = 3;

/// How much of a file decides whether it is text.
const LOOKED_AT: usize = 8000;

/// Arguments of `agentbox diff`.
#[derive(Debug, clap::Args)]
pub(crate) struct DiffArguments {
    /// Only which files, without their lines
    #[arg(long)]
    summary: bool,
    /// Only what was done since then: 10m, 2h, 3d ago, or "2026-04-25 09:14" (UTC)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// For programs
    #[arg(long)]
    json: bool,
    /// A session as `agentbox undo --list` names it (the last one, without), and paths (all, without)
    #[arg(value_name = "SESSION|PATH")]
    targets: Vec<String>,
}

/// Which way the lines are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From before the session to now.
    Forth,
    /// From now to before the session.
    Back,
}

/// Compares.
pub(crate) fn run(arguments: &DiffArguments) -> ExitCode {
    match compare(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => fault.exit(),
    }
}

fn compare(arguments: &DiffArguments) -> Result<(), Fault> {
    let vaults = Vaults::open()?;
    let since = arguments.since.as_deref().map(|text| moment(text, std::time::SystemTime::now())).transpose()?;
    let (sessions, only) = vaults.chosen(&arguments.targets, since)?;
    for (vault, told) in sessions {
        let choice = Choice { since: since.unwrap_or(0), only: only.clone(), made: Made::Goes };
        let undo = Undo::of(vault, &told.start.session, choice).map_err(failed)?;
        let plan = undo.plan();
        let text = match (arguments.json, arguments.summary) {
            (true, _) => as_json(&undo, &plan),
            (false, true) => summary(&undo, &plan),
            (false, false) => text(&undo, &plan, Direction::Forth),
        };
        print(&mut std::io::stdout().lock(), &text)?;
    }
    Ok(())
}

/// What was done to a thing, told from what it would take to undo it.
fn word(step: &Step) -> &'static str {
    match (&step.deed, step.standing) {
        (Deed::Restore { .. }, Standing::Nothing) | (Deed::Link { .. }, Standing::Nothing) => "destroyed",
        (Deed::Restore { .. } | Deed::Link { .. }, Standing::Own | Standing::Other) | (Deed::Rewrite, _) => "changed",
        (Deed::MoveBack { .. }, _) => "moved",
        (Deed::Facts, _) => "metadata",
        (Deed::TakeAway, _) => "made",
    }
}

/// The parts of a step that only its deed has.
pub(super) fn deed_json(deed: &Deed) -> Value {
    match deed {
        Deed::Restore { kind, way } => json!({"deed": "restore", "kind": kind, "kept-by": way}),
        Deed::Rewrite => json!({"deed": "rewrite"}),
        Deed::MoveBack { from } => json!({"deed": "move-back", "from": from.to_string_lossy()}),
        Deed::Link { to } => json!({"deed": "link", "to": to.to_string_lossy()}),
        Deed::Facts => json!({"deed": "metadata"}),
        Deed::TakeAway => json!({"deed": "take-away"}),
    }
}

fn as_json(undo: &Undo, plan: &Plan) -> String {
    let changes: Vec<Value> = plan
        .steps
        .iter()
        .map(|step| {
            let to = if let Deed::MoveBack { from } = &step.deed { json!(from.to_string_lossy()) } else { Value::Null };
            json!({"change": word(step), "path": step.path.to_string_lossy(), "to": to, "bytes": step.bytes})
        })
        .collect();
    let lost: Vec<Value> = plan.hopeless.iter().map(|(path, why)| json!({"path": path.to_string_lossy(), "why": why})).collect();
    format!("{}\n", json!({"session": undo.start().session, "changes": changes, "lost": lost}))
}

/// The lines of the summary. What is inside a folder that was made, or inside `.git`, is counted.
fn summary(undo: &Undo, plan: &Plan) -> String {
    let mut text = format!("session {}: {}\n", undo.start().session, safe::line(&undo.start().about, 120));
    let mut inside: BTreeMap<&Path, usize> = BTreeMap::new();
    let folders: Vec<&Path> = plan.steps.iter().filter(|step| step.deed == Deed::TakeAway && undo.is_folder(step)).map(|step| step.path.as_path()).collect();
    let mut rows: Vec<(&Path, String)> = Vec::new();
    for step in &plan.steps {
        if let Some(above) = counted_in(step, &folders) {
            *inside.entry(above).or_default() += 1;
            continue;
        }
        let more = match (&step.deed, undo.now(step, 0)) {
            (Deed::MoveBack { from }, _) => format!("  → {}", shown(from)),
            (Deed::Restore { kind: Kind::File, .. }, _) if step.standing == Standing::Nothing => format!("  ({}, kept)", size(step.bytes)),
            (Deed::TakeAway, Side::Large(bytes)) => format!("  ({})", size(bytes)),
            _ => String::new(),
        };
        rows.push((&step.path, format!("{:10} {}{more}", word(step), shown(&step.path))));
    }
    for (path, row) in rows {
        let more = inside.remove(path).map(|count| format!("/ and {count} in it")).unwrap_or_default();
        let _ = writeln!(text, "{row}{more}");
    }
    for (path, count) in inside {
        let _ = writeln!(text, "{:10} {}: {count} files", "in", shown(path));
    }
    for (path, why) in &plan.hopeless {
        let _ = writeln!(text, "{:10} {}: {}", "LOST", shown(path), safe::line(why, 300));
    }
    if plan.steps.is_empty() && plan.hopeless.is_empty() {
        text.push_str("Nothing differs from how it was.\n");
    }
    text
}

/// The folder in whose line a step is counted, if it has none of its own.
fn counted_in<'p>(step: &'p Step, made: &[&'p Path]) -> Option<&'p Path> {
    let git = step.path.ancestors().skip(1).filter(|above| above.file_name().is_some_and(|name| name == ".git")).last();
    git.or_else(|| step.path.ancestors().skip(1).filter(|above| made.contains(above)).last())
}

/// The summary, and the lines of every text file that changed.
pub(super) fn text(undo: &Undo, plan: &Plan, direction: Direction) -> String {
    let mut text = summary(undo, plan);
    for step in plan.steps.iter().filter(|step| word(step) == "changed" && counted_in(step, &[]).is_none()) {
        let (before, now) = (undo.before(step, LARGEST), undo.now(step, LARGEST));
        let (old, new) = match direction {
            Direction::Forth => (before, now),
            Direction::Back => (now, before),
        };
        text.push_str(&file(&shown(&step.path), &old, &new));
    }
    text
}

fn file(path: &str, old: &Side, new: &Side) -> String {
    let mut text = format!("\n--- {path}\n+++ {path}\n");
    match (old, new) {
        (Side::Content(old), Side::Content(new)) if is_text(old) && is_text(new) => {
            text.push_str(&hunks(&String::from_utf8_lossy(old), &String::from_utf8_lossy(new)))
        }
        (old, new) => {
            let _ = writeln!(text, "{} became {}", side(old), side(new));
        }
    }
    text
}

fn is_text(bytes: &[u8]) -> bool {
    !bytes.iter().take(LOOKED_AT).any(|byte| *byte == 0)
}

fn side(side: &Side) -> String {
    match side {
        Side::Nothing => "nothing".to_owned(),
        Side::Content(bytes) => format!("{} of {}", size(bytes.len() as u64), if is_text(bytes) { "text" } else { "binary" }),
        Side::Large(bytes) => format!("{}, too much to compare", size(*bytes)),
        Side::Target(target) => format!("a link to {}", safe::line(&String::from_utf8_lossy(target), 200)),
        Side::Other(Kind::Folder) => "a folder".to_owned(),
        Side::Other(Kind::File | Kind::Link | Kind::Fifo | Kind::Socket | Kind::Character | Kind::Block) => "a special file".to_owned(),
        Side::Hidden(why) => format!("something that cannot be shown ({})", safe::line(why, 200)),
    }
}

fn hunks(old: &str, new: &str) -> String {
    let mut text = String::new();
    let compared = TextDiff::configure().timeout(PATIENCE).diff_lines(old, new);
    let mut left = MOST_LINES;
    for hunk in compared.unified_diff().context_radius(AROUND).iter_hunks() {
        let _ = writeln!(text, "{}", hunk.header());
        for change in hunk.iter_changes() {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            let Some(less) = left.checked_sub(1) else {
                text.push_str("… and more\n");
                return text;
            };
            left = less;
            let line = change.value().trim_end_matches(['\n', '\r']);
            let _ = writeln!(text, "{sign}{}", safe::line(line, LONGEST_LINE));
            if change.missing_newline() {
                text.push_str("\\ No newline at end of file\n");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_what_cannot_be_shown_as_lines() {
        let text = |text: &str| Side::Content(text.as_bytes().to_vec());
        assert_eq!(
            file("f", &text("a\nb\nc\n"), &text("a\nB\u{1b}[2J\nc")),
            "\n--- f\n+++ f\n@@ -1,3 +1,3 @@\n a\n-b\n-c\n+B\\u{1b}[2J\n+c\n\\ No newline at end of file\n"
        );
        assert_eq!(file("f", &Side::Content(vec![0; 1200]), &Side::Large(5_000_000)), "\n--- f\n+++ f\n1.2 kB of binary became 5.0 MB, too much to compare\n");
        assert_eq!(file("f", &Side::Target(b"x\n".to_vec()), &Side::Nothing), "\n--- f\n+++ f\na link to x\\u{a} became nothing\n");
    }
}
