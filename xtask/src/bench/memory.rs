//! Memory that all processes of a box hold while the agent sleeps: their shares of pages (PSS), without the agent's own.

use std::{
    collections::BTreeMap,
    fs,
    process::Child,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    ground::{Ground, Way, shown},
    series::Series,
    table::{Aim, Row, Table, Unit},
};

/// Until everything is idle: what was grouped is written, what is warmed up is warm.
const SETTLE: Duration = Duration::from_millis(1500);

/// For the box to come up.
const PATIENCE: Duration = Duration::from_secs(20);

/// The agent's stand-in; an odd number, by which it is known.
const SLEEP: &[&str] = &["sleep", "31.4159"];

pub(crate) fn measure(ground: &Ground, rounds: usize) -> Result<Table> {
    let ways = [Way::Bubblewrap, Way::Agentbox];
    let mut series = vec![Series::default(); ways.len()];
    let mut commands = Vec::new();
    for round in 0..rounds.min(5) {
        for (index, way) in ways.into_iter().enumerate() {
            let Some(mut command) = ground.command(way, None, SLEEP) else { continue };
            if round == 0 {
                commands.push(shown(&command));
            }
            let mut child = command.spawn()?;
            let measured = held(&child);
            let _ = child.kill();
            let _ = child.wait();
            if let Some(series) = series.get_mut(index) {
                series.push(measured?);
            }
        }
    }
    Ok(Table {
        title: "Memory",
        how: "The sum of `Pss` in `/proc/PID/smaps_rollup` over all processes of the box but the agent's, idle: what only the start needed has been given back by then, of the program's own file as mappings of pages that the page cache keeps. Other copies of the same program share their pages, and then it is less.".to_owned(),
        ways: ways.map(Way::name).to_vec(),
        rows: vec![Row { what: "all our processes".to_owned(), unit: Unit::Bytes, series, aim: Some(Aim::AtMost(f64::from(8 << 20))) }],
        commands,
    })
}

fn held(child: &Child) -> Result<f64> {
    let end = Instant::now() + PATIENCE;
    loop {
        let family = family(child.id())?;
        if family.iter().any(|pid| is_the_agent(*pid)) {
            break;
        }
        if Instant::now() > end {
            bail!("the box did not come up");
        }
        sleep(Duration::from_millis(20));
    }
    sleep(SETTLE);
    let mut sum = 0.0;
    for pid in family(child.id())?.into_iter().filter(|pid| !is_the_agent(*pid)) {
        sum += pss(pid)?;
    }
    Ok(sum)
}

/// The process and all that descend from it.
fn family(first: u32) -> Result<Vec<u32>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).and_then(|text| text.trim().parse::<u32>().ok());
        parents.insert(pid, parent.unwrap_or(0));
    }
    let mut found = vec![first];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(pid, of)| **of == parent && !found.contains(pid)).map(|(pid, _)| *pid).collect::<Vec<_>>());
        next += 1;
    }
    Ok(found)
}

fn is_the_agent(pid: u32) -> bool {
    let wanted: Vec<u8> = SLEEP.iter().flat_map(|word| word.bytes().chain([0])).collect();
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == wanted)
}

fn pss(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    // Our processes are not dumpable: of an ordinary user's, only root may read it.
    let text = fs::read_to_string(&path).with_context(|| format!("{path} (measured as root only)"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024.0)
}
