//! `agentbox drill`: replays a real incident against stand-ins on this machine and shows that it is contained.

use std::{io::Write as _, process::ExitCode, time::Duration};

use crate::{
    commands::{desk, run::fail},
    drill::{self, Drill, INCIDENTS, Output, Play},
};

/// Arguments of `agentbox drill`.
#[derive(Debug, clap::Args)]
pub(crate) struct DrillArguments {
    /// Which incident; without it, all are listed
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// The same steps without a box: shows the loss, and exits with 1
    #[arg(long, conflicts_with = "approve")]
    unprotected: bool,
    /// Plays a person who says yes: shows that a yes happens exactly once
    #[arg(long)]
    approve: bool,
    /// Another way to send the same call; `agentbox drill` lists them
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
    /// How many seconds a held call waits for a person
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
    /// One line of JSON on standard output at the end
    #[arg(long)]
    json: bool,
}

/// Plays it.
pub(crate) fn run(arguments: &DrillArguments) -> ExitCode {
    let Some(name) = &arguments.name else { return list() };
    if desk::inside().is_some() {
        return fail("a drill makes a box of its own, and this is one already");
    }
    let Some(incident) = drill::find(name) else {
        let known: Vec<_> = INCIDENTS.iter().map(|incident| incident.name).collect();
        return fail(&format!("no drill is called `{}`; there is {}", agentbox_core::safe::line(name, 60), known.join(", ")));
    };
    let play = if arguments.unprotected {
        Play::Unprotected
    } else if arguments.approve {
        Play::Approve
    } else {
        Play::Silence
    };
    let output = if arguments.json { Output::Json } else { Output::Story };
    (incident.play)(&Drill { play, variant: arguments.variant.clone(), patience: Duration::from_secs(arguments.patience), output })
}

fn list() -> ExitCode {
    let mut text = String::new();
    for incident in INCIDENTS {
        text.push_str(&format!("{}\n    {}\n", incident.name, incident.about));
        for variant in incident.variants {
            text.push_str(&format!("    --variant {:15} {}\n", variant.name, variant.about));
        }
    }
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("writing: {error}")),
    }
}
