//! What is done inside: each step with the user it runs as, and how long it may take.

use anyhow::{Result, bail};

/// As whom a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum As {
    Root,
    /// An ordinary user without any capability.
    Ordinary,
}

/// One step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) user: As,
    /// Seconds; far more than it takes, since a machine that emulates another is slow and may be busy.
    pub(super) patience: u32,
    /// Words for the shell in the folder of the repository.
    pub(super) command: &'static str,
}

/// The mount point of the box's cgroups, the kernel's programs and all that an installed system has comes before the first one (`inside/init.sh`).
const STEPS: &[Step] = &[
    Step { name: "doctor", user: As::Root, patience: 60, command: "agentbox doctor" },
    Step { name: "doctor-ordinary", user: As::Ordinary, patience: 60, command: "agentbox doctor" },
    Step { name: "drill", user: As::Root, patience: 90, command: "agentbox drill pocketos --patience 4" },
    Step { name: "drill-ordinary", user: As::Ordinary, patience: 90, command: "agentbox drill pocketos --patience 4" },
    Step {
        name: "fences",
        user: As::Root,
        patience: 240,
        command: "cd sandbox/kernel && /vm/tests/agentbox_kernel $SHOW --skip stopped::tests --skip filter_tests --skip two_hundred --skip storm_of_orphans",
    },
    Step { name: "calls", user: As::Root, patience: 240, command: "cd sandbox/kernel && /vm/tests/agentbox_kernel $SHOW stopped::tests::faults" },
    Step { name: "kernel-gate", user: As::Root, patience: 120, command: "cd tests && /vm/tests/kernel_gate $SHOW" },
    Step { name: "scratch", user: As::Root, patience: 240, command: "cd tests && /vm/tests/scratch $SHOW" },
    Step { name: "files", user: As::Root, patience: 240, command: "cd tests && /vm/tests/files $SHOW" },
    Step { name: "holds", user: As::Root, patience: 240, command: "cd tests && /vm/tests/holds $SHOW" },
    Step { name: "escapes", user: As::Root, patience: 240, command: "cd tests && /vm/tests/escapes $SHOW" },
];

/// All steps, or those whose name begins so.
pub(super) fn chosen(only: Option<&str>) -> Result<Vec<Step>> {
    let steps: Vec<Step> = STEPS.iter().copied().filter(|step| only.is_none_or(|only| step.name.starts_with(only))).collect();
    if steps.is_empty() {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        bail!("no step is called so; they are: {}", names.join(", "));
    }
    Ok(steps)
}

/// The script that the machine runs: one call of `step` each, which `inside/init.sh` makes known.
pub(super) fn script(steps: &[Step]) -> String {
    let line = |step: &Step| {
        let user = match step.user {
            As::Root => "root",
            As::Ordinary => "ordinary",
        };
        format!("step {} {user} {} '{}'\n", step.name, step.patience, step.command)
    };
    steps.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_plain_words() {
        let plain = |text: &str| !text.contains(['\'', '\n']);
        assert!(STEPS.iter().all(|step| plain(step.command) && step.name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
        assert_eq!(chosen(Some("doctor")).unwrap().len(), 2);
        assert!(chosen(Some("nothing")).is_err());
        assert!(script(&chosen(Some("doctor-o")).unwrap()).starts_with("step doctor-ordinary ordinary 60 'agentbox doctor'\n"));
    }
}
