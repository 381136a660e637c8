//! `agentbox ps`: the running boxes of this user.

use std::{io::Write, process::ExitCode};

use agentbox_core::safe;
use agentbox_desk::{
    card::{duration, unix_now},
    control::{BoxState, FromDesk, Running, ToDesk},
};

use crate::commands::desk::{Boxes, Fault};

/// Arguments of `agentbox ps`.
#[derive(Debug, clap::Args)]
pub(crate) struct PsArguments {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Lists them.
pub(crate) fn run(arguments: &PsArguments) -> ExitCode {
    list(arguments).map_or_else(Fault::exit, |()| ExitCode::SUCCESS)
}

fn list(arguments: &PsArguments) -> Result<(), Fault> {
    let boxes = Boxes::find()?;
    let mut running: Vec<Running> = boxes
        .ask_all(&ToDesk::Describe)
        .into_iter()
        .filter_map(|(_, answer)| if let FromDesk::Running(running) = answer { Some(*running) } else { None })
        .collect();
    running.sort_by_key(|one| one.started);
    let mut out = String::new();
    if arguments.json {
        for one in &running {
            out.push_str(&serde_json::to_string(one).map_err(|error| Fault::Failed(error.to_string()))?);
            out.push('\n');
        }
    } else {
        out = table(&running, unix_now());
    }
    std::io::stdout().lock().write_all(out.as_bytes()).map_err(|error| Fault::Failed(format!("writing: {error}")))
}

fn table(running: &[Running], now: u64) -> String {
    if running.is_empty() {
        return "No box runs.\n".to_owned();
    }
    let mut out = format!("{:10}  {:8}  {:8}  {:5}  {:7}  {}\n", "BOX", "STATE", "FOR", "HOLDS", "REFUSED", "COMMAND");
    for one in running {
        let state = match one.state {
            BoxState::Running => "running",
            BoxState::Frozen => "FROZEN",
        };
        let (session, command) = (safe::line(&one.session, 24), safe::line(&one.command, 100));
        let age = duration(now.saturating_sub(one.started));
        let lasting = |(kind, left): &(String, u64)| format!("{:10}    allowed for {}: {}\n", "", duration(*left), safe::line(kind, 200));
        out.push_str(&format!("{session:10}  {state:8}  {age:8}  {:5}  {:7}  {command}\n", one.holds, one.refused));
        out.extend(one.leases.iter().map(lasting));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_table() {
        assert_eq!(table(&[], 7), "No box runs.\n");
        let one = Running {
            session: "5f3a9c1d22".to_owned(),
            command: "claude \u{1b}[2J".to_owned(),
            workspace: "/w".to_owned(),
            pid: 7,
            started: 1000,
            state: BoxState::Frozen,
            unattended: false,
            leases: vec![("destroy http.delete in staging".to_owned(), 61)],
            holds: 2,
            refused: 3,
        };
        let expected = "\
BOX         STATE     FOR       HOLDS  REFUSED  COMMAND
5f3a9c1d22  FROZEN    1m 05s        2        3  claude \\u{1b}[2J
              allowed for 1m 01s: destroy http.delete in staging
";
        assert_eq!(table(&[one], 1065), expected);
    }
}
