//! What ordinary work costs in the box: system calls in loops, in the workspace.

use std::{collections::BTreeMap, process::Stdio};

use anyhow::{Context, Result, ensure};

use super::{
    ground::{Ground, Way, shown},
    series::Series,
    start::turned,
    table::{Aim, Row, Table, Unit},
};

/// What is measured, and what is aimed at. None of these is stopped.
const CALLS: &[(&str, f64)] = &[("getpid", 1.25), ("stat", 1.05), ("open+close", 1.4), ("write", 1.05), ("connect+accept", 1.3), ("fork+exec", 1.05)];

pub(crate) fn measure(ground: &Ground, rounds: usize) -> Result<Table> {
    let mut found: BTreeMap<&str, Vec<Series>> = CALLS.iter().map(|(name, _)| (*name, vec![Series::default(); Way::ALL.len()])).collect();
    let mut commands = Vec::new();
    for round in 0..rounds {
        for (index, way) in turned(round) {
            let words = [ground.probe.as_os_str(), "calls".as_ref()];
            let Some(mut command) = ground.command(way, None, &words) else { continue };
            if round == 0 {
                commands.push(shown(&command));
            }
            let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().with_context(|| format!("{command:?}"))?;
            ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            let figures: BTreeMap<String, f64> = serde_json::from_slice(&output.stdout)?;
            for (name, series) in &mut found {
                let value = figures.get(*name).with_context(|| format!("no {name}"))?;
                if let Some(series) = series.get_mut(index) {
                    series.push(*value);
                }
            }
        }
    }
    let rows = CALLS.iter().filter_map(|(name, most)| {
        Some(Row { what: (*name).to_owned(), unit: Unit::Nanoseconds, series: found.remove(name)?, aim: Some(Aim::TimesAtMost(*most)) })
    });
    Ok(Table {
        title: "System calls",
        how: "Loops of one program in the workspace; each number is the median over fifteen batches. The box pays for two seccomp filters and Landlock; bubblewrap as run here has neither. Connections are to a server in the same box.".to_owned(),
        ways: Way::ALL.map(Way::name).to_vec(),
        rows: rows.collect(),
        commands,
    })
}
