//! `agentbox log`: the ledger, every decision, each entry sealed to the one before.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
    process::ExitCode,
};

use agentbox_core::{
    ledger::{Entry, Event},
    safe,
};
use time::{OffsetDateTime, macros::format_description};

use crate::{
    commands::desk::Fault,
    ledger::{
        self,
        read::{self, Line, Lines, Report},
    },
};

/// Arguments of `agentbox log`.
#[derive(Debug, clap::Args)]
pub(crate) struct LogArguments {
    /// Check every entry against its seal, and the end against the anchor; exit code 1 when anything is wrong
    #[arg(long)]
    verify: bool,
    /// The entries as they are in the file, one a line
    #[arg(long, conflicts_with = "verify")]
    json: bool,
    /// Only the entries of one box
    #[arg(long, value_name = "SESSION", conflicts_with = "verify")]
    session: Option<String>,
}

/// Prints the ledger, or checks it.
pub(crate) fn run(arguments: &LogArguments) -> ExitCode {
    let folder = match ledger::folder() {
        Ok(folder) => folder,
        Err(error) => return Fault::Failed(error.to_string()).exit(),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let result = if arguments.verify { verify(&folder, &mut out) } else { print(arguments, &folder, &mut out) };
    match result.and_then(|()| out.flush().map_err(|error| writing(&error))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            let _ = out.flush();
            fault.exit()
        }
    }
}

fn writing(error: &io::Error) -> Fault {
    Fault::Failed(format!("writing: {error}"))
}

fn verify(folder: &Path, out: &mut impl Write) -> Result<(), Fault> {
    let report = read::verify(folder).map_err(|error| Fault::No(error.to_string()))?;
    out.write_all(report_text(&report).as_bytes()).map_err(|error| writing(&error))?;
    match report.problem {
        None => Ok(()),
        Some(problem) => Err(Fault::No(format!("the ledger is broken: {problem}"))),
    }
}

fn report_text(report: &Report) -> String {
    let mut text = format!("{} entries, each sealed to the one before; the anchor vouches for {}.\n", report.entries, report.anchored.min(report.entries));
    if report.unsynced() > 0 {
        text.push_str(&format!("Unsynced tail: {} entries after the anchor, perhaps not on disk yet.\n", report.unsynced()));
    }
    text.push_str(&format!("Head: {}\n", report.seal));
    text
}

fn print(arguments: &LogArguments, folder: &Path, out: &mut impl Write) -> Result<(), Fault> {
    let failed = |error: &dyn std::fmt::Display| Fault::Failed(error.to_string());
    let Some(file) = read::open(folder).map_err(|error| failed(&error))? else { return Ok(()) };
    let mut lines = Lines::from(&file, 0);
    while let Some(line) = lines.next().map_err(|error| failed(&error))? {
        let entry = match &line {
            Line::Whole { bytes, at } => serde_json::from_slice::<Entry>(bytes).map_err(|_| *at),
            // A box is writing it at this moment, or a crash left it: `--verify` tells which.
            Line::Torn { .. } => continue,
            Line::TooLong { at } => Err(*at),
        };
        let entry = entry.map_err(|at| Fault::No(format!("the line at byte {at} is no entry; see `agentbox log --verify`")))?;
        if arguments.session.as_ref().is_some_and(|session| *session != entry.draft.session) {
            continue;
        }
        let text = if arguments.json { serde_json::to_string(&entry).map(|line| format!("{line}\n")).map_err(|error| failed(&error))? } else { row(&entry) };
        out.write_all(text.as_bytes()).map_err(|error| writing(&error))?;
    }
    Ok(())
}

fn row(entry: &Entry) -> String {
    let draft = &entry.draft;
    let word = word(&draft.event);
    let mut parts: Vec<String> = Vec::new();
    if let Some(hold) = &draft.hold {
        parts.push(format!("[{}]", safe::line(hold, 16)));
    }
    if !draft.summary.is_empty() {
        parts.push(safe::line(&draft.summary, 200));
    }
    if let Some(worst) = draft.operations.first() {
        let more = draft.operations.len() - 1;
        parts.push(if more == 0 { format!("({})", safe::line(worst, 200)) } else { format!("({} +{more})", safe::line(worst, 200)) });
    }
    if let Some(because) = &draft.because {
        parts.push(format!("by {}", safe::line(&because.rule, 200)));
    }
    parts.extend(draft.rulings.iter().take(8).map(|ruling| safe::line(ruling, 100)));
    if !draft.note.is_empty() {
        parts.push(safe::line(&draft.note, 400));
    }
    format!("{:>6}  {}  {:8}  {:8}  {}\n", entry.sequence, when(entry.at), safe::line(&draft.session, 16), word, parts.join("  "))
}

/// What happened, in a word.
pub(crate) fn word(event: &Event) -> &'static str {
    match event {
        Event::SessionStarted => "started",
        Event::SessionEnded => "ended",
        Event::Allowed => "allowed",
        Event::Denied => "DENIED",
        Event::Held => "HELD",
        Event::Approved => "APPROVED",
        Event::Begun => "begun",
        Event::Voided => "VOIDED",
        Event::Noted => "noted",
    }
}

/// `2026-04-25 09:14:07Z`.
pub(crate) fn when(millis: u64) -> String {
    let seconds = i64::try_from(millis / 1000).unwrap_or(i64::MAX);
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|at| at.format(format).ok()).unwrap_or_else(|| format!("{seconds}s"))
}

#[cfg(test)]
mod tests {
    use agentbox_core::{ledger::Draft, verdict::Because};

    use super::*;

    #[test]
    fn a_whole_row() {
        let because = Because {
            action: "railway.volumeDelete".to_owned(),
            place: "production".to_owned(),
            rule: "place.production destroy = \"hold\"".to_owned(),
            reason: "r".to_owned(),
        };
        let draft = Draft {
            summary: "POST https://backboard.railway.com/graphql/v2 \u{1b}]0;x".to_owned(),
            operations: vec!["destroy railway.volumeDelete railway:volume/3d2c".to_owned(), "read a b:c".to_owned()],
            because: Some(because),
            rulings: vec!["uid:1000 by terminal".to_owned()],
            hold: Some("k7m2qp".to_owned()),
            ..Draft::new(Event::Approved, "b1")
        };
        let entry = Entry::seal(draft, 7, 1_777_108_447_000, agentbox_core::ledger::GENESIS);
        assert_eq!(
            row(&entry),
            "     7  2026-04-25 09:14:07Z  b1        APPROVED  [k7m2qp]  POST https://backboard.railway.com/graphql/v2 \\u{1b}]0;x  \
             (destroy railway.volumeDelete railway:volume/3d2c +1)  by place.production destroy = \"hold\"  uid:1000 by terminal\n"
        );
    }
}
