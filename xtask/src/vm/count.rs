//! `cargo xtask vm --count`: what calls cost in instructions, bare, behind the file gate, with the kernel gate behind that, and where that judges.
//!
//! An emulated processor's time says nothing, but QEMU can let its clock go on by a nanosecond an instruction: then the figures of the bench's
//! own loops are instructions, and the same whatever else this machine does. What waking another processor costs is not in them.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context, Result};

use super::steps::{As, Run, Step, When};

/// The ways, in the order of the table; the first is what the others are measured against.
const WAYS: &[&str] = &["bare", "box", "gate", "judge"];

/// What the columns are called.
const HEADS: &str = "| instructions a call | bare | box | with the kernel gate | where it judges | box over bare | gate over bare | judged over bare |\n\
                     |---|---|---|---|---|---|---|---|\n";

/// Seconds of the machine's own clock, which goes slowly while it works.
const PATIENCE: u32 = 600;

const fn step(name: &'static str, words: &'static str) -> Step {
    Step { name, user: As::Root, patience: PATIENCE, run: Run::Command(words), when: When::All }
}

/// On the disk: in a box `/tmp` is memory. One round before all others is for nothing: it finds the machine still busy with its start.
pub(super) const STEPS: &[Step] = &[
    step(
        "count-bare",
        "mkdir -p /root/count && cd /root/count && probe calls > /dev/null && for part in calls files; do echo \"@@ figures bare $(probe $part)\"; done",
    ),
    step("count-box", "cd /root/count && agentbox run -- sh -c \"for part in calls files; do echo \\\"@@ figures box \\$(probe \\$part)\\\"; done\""),
    step(
        "count-judge",
        "printf \"extends = \\\"default\\\"\\nkernel-gate = \\\"judge\\\"\\n\" > /root/judge.toml && cd /root/count && \
         agentbox run --policy /root/judge.toml -- sh -c \"for part in calls files; do echo \\\"@@ figures judge \\$(probe \\$part)\\\"; done\"",
    ),
    step(
        "count-gate",
        "printf \"extends = \\\"default\\\"\\nrequire = [\\\"kernel-gate\\\"]\\n\" > /root/gate.toml && cd /root/count && \
         agentbox run --policy /root/gate.toml -- sh -c \"for part in calls files; do echo \\\"@@ figures gate \\$(probe \\$part)\\\"; done\"",
    ),
];

/// Figures by way and by what was done.
#[derive(Debug, Default)]
pub(super) struct Figures(BTreeMap<String, BTreeMap<String, f64>>);

impl Figures {
    /// Takes what the probe said in one way; `None` where that is not figures.
    pub(super) fn take(&mut self, way: &str, said: &str) -> Option<()> {
        let figures: BTreeMap<String, f64> = serde_json::from_str(said).ok()?;
        self.0.entry(way.to_owned()).or_default().extend(figures);
        Some(())
    }

    /// One row for each thing that was done.
    ///
    /// # Errors
    /// It was not done in every way.
    pub(super) fn table(&self) -> Result<String> {
        let mut table = HEADS.to_owned();
        for (what, bare) in WAYS.first().and_then(|way| self.0.get(*way)).context("nothing was counted")? {
            let all = WAYS.iter().map(|way| self.0.get(*way).and_then(|figures| figures.get(what)).copied());
            let all = all.collect::<Option<Vec<f64>>>().with_context(|| format!("{what} was not counted in every way"))?;
            let counts: String = all.iter().map(|count| format!(" {count:.0} |")).collect();
            let ratios: String = all.iter().skip(1).map(|count| format!(" {:.2}× |", count / bare)).collect();
            writeln!(table, "| {what} |{counts}{ratios}")?;
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_each_way_costs() {
        let mut figures = Figures::default();
        assert!(figures.table().is_err());
        for (way, count) in [("bare", 100.0), ("box", 250.0), ("gate", 275.0), ("judge", 110.0)] {
            assert!(figures.take(way, "nothing").is_none());
            figures.take(way, &format!("{{\"rename\": {count}}}")).unwrap();
        }
        assert!(figures.table().unwrap().ends_with("| rename | 100 | 250 | 275 | 110 | 2.50× | 2.75× | 1.10× |\n"));
        figures.take("bare", "{\"stat\": 1.0}").unwrap();
        assert!(figures.table().is_err(), "what was not done in every way is no comparison");
    }
}
