//! From a person's yes to the answer in the agent's hands.

use std::{
    collections::BTreeMap,
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

pub(crate) fn measure(ground: &Ground, rounds: usize) -> Result<Table> {
    let far = FarSide::start(ground)?;
    let mut series = Series::default();
    let mut commands = Vec::new();
    for round in 0..rounds * 3 {
        let words = [&ground.probe.display().to_string(), "near", "held.example:443", "held.example", "/run/agentbox/ca.pem", "delete", "1"];
        let mut command = ground.command(Way::Agentbox, Some(&far.policy), &words).context("no way")?;
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let ruled = hold(ground).and_then(|id| {
            let mut approve = ground.own(&["approve", &id, "--confirm", "yes"]);
            if round == 0 {
                commands = vec![shown(&command), shown(ground.own(&["approve", "ID", "--confirm", "yes"]).stdout(Stdio::null()))];
            }
            let begin = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e9;
            let status = quiet(&mut approve).status()?;
            ensure!(status.success(), "approve ended with {status}");
            Ok(begin)
        });
        let output = child.wait_with_output()?;
        let begin = ruled?;
        ensure!(output.status.success(), "the held request: {}", String::from_utf8_lossy(&output.stderr));
        let figures: BTreeMap<String, f64> = serde_json::from_slice(&output.stdout)?;
        series.push(figures.get("delete").context("no time")? - begin);
    }
    Ok(Table {
        title: "Approval",
        how: "From spawning `agentbox approve` to the answer of the far side in the agent's hands: the command's own start, the ruling and the grant on disk before the deed, a fresh connection with its TLS handshake, the request, the answer.".to_owned(),
        ways: vec!["agentbox"],
        rows: vec![Row { what: "approve → answer".to_owned(), unit: Unit::Nanoseconds, series: vec![series], aim: Some(Aim::AtMost(5e6)) }],
        commands,
    })
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
