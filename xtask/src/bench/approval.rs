//! From a person's yes to the answer in the agent's hands: from Enter at a card that is shown, and with the start of the command before it.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    ground::{Ground, Way, shown},
    series::Series,
    table::{Aim, Row, Table, Unit},
    wire::FarSide,
};

/// For a hold to appear.
const PATIENCE: Duration = Duration::from_secs(20);

/// What `agentbox approve` says last before it waits for a person's word.
const ASKS: &[u8] = b"type yes: ";

/// Longest text that it says before.
const LONGEST: usize = 64 << 10;

/// Where the time begins.
#[derive(Clone, Copy)]
enum Yes {
    /// At Enter: the card is shown and the word is typed.
    Enter,
    /// At the start of the command that is given the word.
    Command,
}

pub(crate) fn measure(ground: &Ground, rounds: usize) -> Result<Table> {
    let far = FarSide::start(ground)?;
    let (mut by_enter, mut by_command) = (Series::default(), Series::default());
    for round in 0..rounds * 3 {
        let (first, second) = if round % 2 == 0 { (Yes::Enter, Yes::Command) } else { (Yes::Command, Yes::Enter) };
        for yes in [first, second] {
            let series = match yes {
                Yes::Enter => &mut by_enter,
                Yes::Command => &mut by_command,
            };
            series.push(once(ground, &far, yes)?);
        }
    }
    let row = |what: &str, series| Row { what: what.to_owned(), unit: Unit::Nanoseconds, series: vec![series], aim: Some(Aim::AtMost(5e6)) };
    Ok(Table {
        title: "Approval",
        how: "To the answer of the far side in the agent's hands: the ruling, a fresh connection with its TLS handshake, the grant and the beginning of the deed on disk by one sync, the request, the answer. \
              Once from Enter at `agentbox approve` that has shown the card, in a terminal (`script`); once from spawning `agentbox approve` with its word, the command's own start included."
            .to_owned(),
        ways: vec!["agentbox"],
        rows: vec![row("Enter at the card → answer", by_enter), row("start of `approve` → answer", by_command)],
        commands: vec![
            shown(&held(ground, &far)?),
            shown(&ground.own(&["approve", "ID"])),
            shown(&ground.own(&["approve", "ID", "--confirm", "yes"])),
        ],
    })
}

fn held(ground: &Ground, far: &FarSide) -> Result<Command> {
    let words = [&ground.probe.display().to_string(), "near", "held.example:443", "held.example", "/run/agentbox/ca.pem", "delete", "1"];
    ground.command(Way::Agentbox, Some(&far.policy), &words).context("no way")
}

/// One held request, approved: nanoseconds.
fn once(ground: &Ground, far: &FarSide, yes: Yes) -> Result<f64> {
    let child = held(ground, far)?.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let ruled = hold(ground).and_then(|id| match yes {
        Yes::Enter => entered(&mut ground.in_terminal(&["approve", &id])),
        Yes::Command => {
            let begin = now()?;
            let status = quiet(&mut ground.own(&["approve", &id, "--confirm", "yes"])).status()?;
            ensure!(status.success(), "approve ended with {status}");
            Ok(begin)
        }
    });
    let output = child.wait_with_output()?;
    let begin = ruled?;
    ensure!(output.status.success(), "the held request: {}", String::from_utf8_lossy(&output.stderr));
    let figures: BTreeMap<String, f64> = serde_json::from_slice(&output.stdout)?;
    Ok(figures.get("delete").context("no time")? - begin)
}

/// Types the word once it is asked for, and says when.
fn entered(approve: &mut Command) -> Result<f64> {
    let mut child = approve.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let (mut keys, mut screen) = (child.stdin.take().context("no keys")?, child.stdout.take().context("no screen")?);
    let mut said = Vec::new();
    while !said.windows(ASKS.len()).any(|words| words == ASKS) {
        let mut piece = [0; 4096];
        let read = screen.read(&mut piece)?;
        ensure!(read > 0 && said.len() < LONGEST, "approve does not ask: {}", String::from_utf8_lossy(&said));
        said.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
    let begin = now()?;
    keys.write_all(b"yes\n")?;
    screen.read_to_end(&mut said)?;
    let status = child.wait()?;
    ensure!(status.success(), "approve ended with {status}: {}", String::from_utf8_lossy(&said));
    Ok(begin)
}

/// Nanoseconds of Unix time.
fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e9)
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// The one that waits.
fn hold(ground: &Ground) -> Result<String> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let output = ground.own(&["holds", "--json"]).stdin(Stdio::null()).stderr(Stdio::null()).output()?;
        if let Some(line) = output.stdout.split(|byte| *byte == b'\n').find(|line| !line.is_empty()) {
            let card: serde_json::Value = serde_json::from_slice(line)?;
            return Ok(card.get("id").and_then(|id| id.as_str()).context("a card without an id")?.to_owned());
        }
        sleep(Duration::from_millis(20));
    }
    bail!("nothing was held")
}
