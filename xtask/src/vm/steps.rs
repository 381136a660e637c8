//! What is done inside: each step with the user it runs as, and how long it may take.

use std::time::Duration;

use anyhow::{Result, bail};

/// As whom a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum As {
    Root,
    /// An ordinary user without any capability.
    Ordinary,
}

/// What a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// Words for the shell.
    Command(&'static str),
    /// The kernel crate's own tests, with these words for the harness.
    Kernel(&'static str),
    /// A program of end-to-end tests, by cargo's name for it.
    Tests(&'static str),
}

/// When a step is run where none is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// With `--all`, as every night.
    All,
}

impl When {
    /// How long a machine may run.
    pub(super) fn patience(self) -> Duration {
        match self {
            When::Always => Duration::from_secs(560),
            When::All => Duration::from_secs(1800),
        }
    }
}

/// One step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) user: As,
    /// Seconds; far more than it takes, since a machine that emulates another is slow and may be busy.
    pub(super) patience: u32,
    pub(super) run: Run,
    pub(super) when: When,
}

const fn root(name: &'static str, patience: u32, run: Run) -> Step {
    Step { name, user: As::Root, patience, run, when: When::Always }
}

const fn ordinary(name: &'static str, patience: u32, run: Run) -> Step {
    Step { name, user: As::Ordinary, patience, run, when: When::Always }
}

/// End-to-end tests that cost more time than a landing has.
const fn more(name: &'static str) -> Step {
    Step { name, user: As::Root, patience: 300, run: Run::Tests(name), when: When::All }
}

const STEPS: &[Step] = &[
    root("doctor", 60, Run::Command("agentbox doctor")),
    ordinary("doctor-ordinary", 60, Run::Command("agentbox doctor")),
    root("drill", 90, Run::Command("agentbox drill pocketos --patience 4")),
    ordinary("drill-ordinary", 90, Run::Command("agentbox drill pocketos --patience 4")),
    // What is left out times what an emulated machine has no time for, or has nothing to do with the kernel.
    root("fences", 240, Run::Kernel("--skip stopped::tests --skip filter_tests --skip probes:: --skip two_hundred --skip storm_of_orphans")),
    root("probes", 240, Run::Kernel("probes::")),
    root("calls", 120, Run::Kernel("stopped::tests::faults")),
    root("yama", 120, Run::Command("bash /vm/yama.sh")),
    root("kernel-gate", 180, Run::Tests("kernel_gate")),
    root("kernel-judge", 180, Run::Tests("kernel_judge")),
    root("files", 300, Run::Tests("files")),
    Step { name: "kernel-storm", user: As::Root, patience: 300, run: Run::Tests("kernel_storm"), when: When::All },
    more("escapes"),
    more("holds"),
    more("scratch"),
    more("life"),
    more("names"),
    more("pins"),
    more("faults"),
    more("unattended"),
];

/// Those whose name begins so, or with another one behind a comma; else all, or those that every landing runs.
pub(super) fn chosen(only: Option<&str>, when: When) -> Result<Vec<Step>> {
    let is_chosen = |step: &Step| only.map_or(step.when == When::Always || when == When::All, |only| only.split(',').any(|only| step.name.starts_with(only)));
    let steps: Vec<Step> = STEPS.iter().copied().filter(is_chosen).collect();
    if steps.is_empty() {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        bail!("no step is called so; they are: {}", names.join(", "));
    }
    Ok(steps)
}

/// Cargo's words for the test programs that the steps take: its package, and its targets.
pub(super) fn programs(steps: &[Step]) -> Vec<Vec<&'static str>> {
    let mut all = Vec::new();
    if steps.iter().any(|step| matches!(step.run, Run::Kernel(_))) {
        all.push(vec!["--package", "agentbox-kernel", "--lib"]);
    }
    let mut ours = vec!["--package", "agentbox-tests"];
    for step in steps {
        if let Run::Tests(target) = step.run {
            ours.extend(["--test", target]);
        }
    }
    if ours.len() > 2 {
        all.push(ours);
    }
    all
}

/// The script that the machine runs: one call of `step` each, which `inside/init.sh` makes known.
pub(super) fn script(steps: &[Step]) -> String {
    let line = |step: &Step| {
        let user = match step.user {
            As::Root => "root",
            As::Ordinary => "ordinary",
        };
        let command = match step.run {
            Run::Command(words) => words.to_owned(),
            Run::Kernel(words) => format!("cd sandbox/kernel && /vm/tests/agentbox_kernel $SHOW {words}"),
            Run::Tests(target) => format!("cd tests && /vm/tests/{target} $SHOW"),
        };
        format!("step {} {user} {} '{command}'\n", step.name, step.patience)
    };
    steps.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_plain_words_with_names_of_their_own() {
        let script = script(STEPS);
        assert_eq!((script.lines().count(), script.matches('\'').count()), (STEPS.len(), 2 * STEPS.len()));
        assert!(STEPS.iter().all(|step| step.name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
        let names: std::collections::BTreeSet<_> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.len(), STEPS.len());
        assert!(script.starts_with("step doctor root 60 'agentbox doctor'\n"));
    }

    #[test]
    fn what_is_named_is_run_and_what_is_not_needed_is_not_built() {
        let names = |only, when| chosen(only, when).map(|steps| steps.iter().map(|step| step.name).collect::<Vec<_>>());
        assert_eq!(names(Some("holds"), When::Always).unwrap(), ["holds"]);
        assert_eq!(names(Some("probes,kernel"), When::Always).unwrap(), ["probes", "kernel-gate", "kernel-judge", "kernel-storm"]);
        assert!(!names(None, When::Always).unwrap().contains(&"holds") && names(None, When::All).unwrap().len() == STEPS.len());
        assert!(names(Some("nothing"), When::All).is_err());
        assert_eq!(programs(&chosen(Some("drill"), When::Always).unwrap()), Vec::<Vec<&str>>::new());
        assert_eq!(programs(&chosen(Some("holds"), When::Always).unwrap()), [["--package", "agentbox-tests", "--test", "holds"]]);
    }
}
