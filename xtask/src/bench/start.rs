//! From the start of a command to its end: `true`, in each way.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::{
    ground::{Ground, Way, shown},
    series::Series,
    table::{Aim, Row, Table, Unit},
};

/// Rounds that are not counted: caches fill.
const WARM_UP: usize = 5;

pub(crate) fn measure(ground: &Ground, rounds: usize) -> Result<Table> {
    let mut series = vec![Series::default(); Way::ALL.len()];
    let mut commands = Vec::new();
    for round in 0..rounds * 10 + WARM_UP {
        for (index, way) in turned(round) {
            let Some(mut command) = ground.command(way, None, &["true"]) else { continue };
            if round == 0 {
                commands.push(shown(&command));
            }
            let begin = Instant::now();
            let status = command.status().with_context(|| format!("{command:?}"))?;
            let took = begin.elapsed().as_secs_f64() * 1e9;
            ensure!(status.success(), "{command:?} ended with {status}");
            if round >= WARM_UP
                && let Some(series) = series.get_mut(index)
            {
                series.push(took);
            }
        }
    }
    Ok(Table {
        title: "Start and end",
        how: "From spawning the command to having its exit code, the box with all its fences, its broker and its ledger taken down again.".to_owned(),
        ways: Way::ALL.map(Way::name).to_vec(),
        rows: vec![
            Row { what: "`true`".to_owned(), unit: Unit::Nanoseconds, series: series.clone(), aim: Some(Aim::AtMost(8e6)) },
            Row { what: "`true`, against bubblewrap".to_owned(), unit: Unit::Nanoseconds, series, aim: Some(Aim::NotMoreThanPeer) },
        ],
        commands,
    })
}

/// All ways, beginning with another one each round: what one leaves behind (a namespace that is taken down) disturbs each alike.
pub(crate) fn turned(round: usize) -> impl Iterator<Item = (usize, Way)> {
    let count = Way::ALL.len();
    Way::ALL.into_iter().enumerate().cycle().skip(round % count).take(count)
}
