//! `agentbox holds`: the operations that wait for a person, of all boxes of this user.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use agentbox_core::safe;
use agentbox_desk::{
    Card,
    card::{Row, duration},
    control::{FromDesk, ToDesk},
    room::Phase,
};

use crate::commands::desk::{Boxes, Fault};

/// How often `--watch` looks again.
const AGAIN: Duration = Duration::from_secs(1);

/// Arguments of `agentbox holds`.
#[derive(Debug, clap::Args)]
pub(crate) struct HoldsArguments {
    /// Whole cards as JSON, one a line
    #[arg(long)]
    json: bool,
    /// Full-screen, ruled on by keys; where the output is no terminal, the list every second
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

/// Lists what waits.
pub(crate) fn run(arguments: &HoldsArguments) -> ExitCode {
    let result = if arguments.json {
        json()
    } else if arguments.watch {
        watch()
    } else {
        Boxes::find().and_then(|boxes| print(&table(&rows(&boxes))))
    };
    result.map_or_else(|fault| fault.exit(), |()| ExitCode::SUCCESS)
}

fn watch() -> Result<(), Fault> {
    if std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
        return super::watch::run();
    }
    loop {
        let boxes = Boxes::find()?;
        print(&table(&rows(&boxes)))?;
        std::thread::sleep(AGAIN);
    }
}

fn json() -> Result<(), Fault> {
    let boxes = Boxes::find()?;
    for row in rows(&boxes).0 {
        // One that ended between the list and the question is simply not there any more.
        if let Some((_, card)) = boxes.card(&row.id)? {
            print(&line(&card)?)?;
        }
    }
    Ok(())
}

fn line(card: &Card) -> Result<String, Fault> {
    serde_json::to_string(card).map(|line| format!("{line}\n")).map_err(|error| Fault::Failed(error.to_string()))
}

fn print(text: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Fault::Failed(format!("writing: {error}")))
}

/// The rows of all boxes, and how many more there are.
pub(crate) fn rows(boxes: &Boxes) -> (Vec<Row>, usize) {
    let mut all = Vec::new();
    let mut others = 0;
    for (_, answer) in boxes.ask_all(&ToDesk::List) {
        if let FromDesk::Holds { rows, more } = answer {
            all.extend(rows);
            others += more;
        }
    }
    (all, others)
}

fn table((rows, more): &(Vec<Row>, usize)) -> String {
    if rows.is_empty() {
        return "Nothing waits.\n".to_owned();
    }
    let mut out = format!("{:6}  {:9}  {:8}  {:12}  {}\n", "HOLD", "STATE", "LEFT", "PLACE", "WHAT");
    for row in rows {
        out.push_str(&self::row(row));
        out.push('\n');
    }
    if *more > 0 {
        out.push_str(&format!("and {more} more\n"));
    }
    out.push_str("\n`agentbox show HOLD` shows all that is known of one.\n");
    out
}

/// One line.
pub(crate) fn row(row: &Row) -> String {
    let state = match row.phase {
        Phase::Waiting => "waiting",
        Phase::Looking => "looking",
        Phase::Kept => "approved",
        Phase::Passing => "passing",
    };
    let foreign = if row.foreign { "  FOREIGN CREDENTIAL" } else { "" };
    let folded = if row.folded > 0 { format!("  (and {} more of this kind refused)", row.folded) } else { String::new() };
    let (place, what) = (safe::line(&row.place, 60), safe::line(&row.headline, 300));
    format!("{:6}  {state:9}  {:8}  {place:12}  {what}{foreign}{folded}", row.id.as_str(), duration(row.left))
}

#[cfg(test)]
mod tests {
    use agentbox_desk::HoldId;

    use super::*;

    #[test]
    fn a_whole_table() {
        assert_eq!(table(&(Vec::new(), 0)), "Nothing waits.\n");
        let row = Row {
            id: HoldId::spell(0),
            session: "b1".to_owned(),
            phase: Phase::Waiting,
            headline: "destroy railway.volumeDelete pg\u{1b}[2Jdata".to_owned(),
            place: "production".to_owned(),
            foreign: true,
            askers: 1,
            folded: 0,
            waited: 3,
            left: 897,
        };
        let expected = "\
HOLD    STATE      LEFT      PLACE         WHAT
000000  waiting    14m 57s   production    destroy railway.volumeDelete pg\\u{1b}[2Jdata  FOREIGN CREDENTIAL
and 2 more

`agentbox show HOLD` shows all that is known of one.
";
        assert_eq!(table(&(vec![row], 2)), expected);
    }
}
