//! 24/25 April 2026: a staging task, a token in an unrelated file, one GraphQL mutation, and nine seconds later no database and no backups.

mod outside;
mod result;
mod scene;
mod steps;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use super::{Drill, Incident, Output, Play, interrupt::Interrupt, railway::StandIn};
use outside::Holds;
use result::{Facts, Outcome};
use scene::Scene;
use steps::{VARIANTS, Way};

/// The line of the table.
pub(super) const INCIDENT: Incident = Incident {
    name: "pocketos",
    about: "24/25 April 2026: a token made for custom domains, found in an unrelated file, deleted a production volume and the backups in it",
    variants: steps::LISTED,
    play,
};

/// How often it is looked whether something waits.
const STEP: Duration = Duration::from_millis(100);

/// How long all of it may take beside the patience of each hold.
const SLACK: Duration = Duration::from_secs(90);

/// Why the drill could not be played: nothing is proven then, one way or the other.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotPlayed {
    /// The variant's name is not known.
    #[error("no variant is called `{0}`; there are {1}")]
    NoVariant(String, String),
    /// The variant cannot be played here.
    #[error("SKIPPED: {0}")]
    Skipped(&'static str),
    /// A program that the agent's steps need.
    #[error("`{program}` is not installed: install the package `{package}`")]
    Missing { program: &'static str, package: &'static str },
    /// The stand-in.
    #[error("the stand-in: {0}")]
    StandIn(#[from] super::railway::NoStandIn),
    /// Files and processes.
    #[error("{what}: {source}")]
    Io { what: &'static str, source: std::io::Error },
    /// Ctrl-C.
    #[error("interrupted; the box was ended, and what waited in it was refused")]
    Interrupted,
    /// It hung.
    #[error("the agent's steps did not end within {} seconds", .0.as_secs())]
    TooLong(Duration),
}

#[allow(clippy::print_stderr, reason = "a drill tells its story on stderr")]
pub(super) fn say(line: &str) {
    eprintln!("{line}");
}

fn play(drill: &Drill) -> ExitCode {
    match played(drill) {
        Ok(result) => result.tell(drill),
        Err(NotPlayed::Skipped(why)) => {
            say(&format!("SKIPPED: {why}"));
            ExitCode::from(crate::cli::FAILED)
        }
        Err(why) => {
            say(&format!("agentbox drill: {why}"));
            ExitCode::from(crate::cli::FAILED)
        }
    }
}

fn played(drill: &Drill) -> Result<Outcome, NotPlayed> {
    // The first is what happened.
    let wanted = |way: &&Way| drill.variant.as_deref().is_none_or(|name| way.name == name);
    let variant = VARIANTS.iter().find(wanted).ok_or_else(|| {
        let all: Vec<_> = VARIANTS.iter().map(|variant| variant.name).collect();
        NotPlayed::NoVariant(drill.variant.clone().unwrap_or_default(), all.join(", "))
    })?;
    let send = variant.send.map_err(NotPlayed::Skipped)?;
    scene::need_programs()?;
    let began = Instant::now();
    let stand_in = StandIn::start()?;
    let before = stand_in.world();
    let scene = Scene::build(&stand_in, drill, send)?;
    introduce(&stand_in, drill);
    let interrupt = Interrupt::listen();
    let mut run = scene.start(drill)?;
    let mut holds = Holds::new(&scene, drill.play, &stand_in.target);
    // Three calls at most, each held for the whole patience.
    let longest = drill.patience * 4 + SLACK;
    let code = loop {
        if let Some(code) = run.ended().map_err(|source| NotPlayed::Io { what: "waiting for the agent's steps", source })? {
            break code;
        }
        if interrupt.came() {
            run.end();
            return Err(NotPlayed::Interrupted);
        }
        if began.elapsed() > longest {
            run.end();
            return Err(NotPlayed::TooLong(longest));
        }
        if drill.play != Play::Unprotected {
            holds.watch();
        }
        std::thread::sleep(STEP);
    };
    let said = run.said();
    Ok(Outcome::new(Facts {
        play: drill.play,
        variant: variant.name,
        target: stand_in.target.clone(),
        before,
        after: stand_in.world(),
        holds,
        ledger: (drill.play != Play::Unprotected).then(|| scene.ledger()),
        said,
        code,
        seconds: began.elapsed(),
    }))
}

fn introduce(stand_in: &StandIn, drill: &Drill) {
    let world = stand_in.world();
    let target = &stand_in.target;
    say(&format!("A stand-in for Railway's API listens on 127.0.0.1:{}; everything in it is made up for this run.", stand_in.port));
    say(&format!(
        "The volume {} of project {} is attached in staging and in production; {} backups lie inside it.",
        target.volume.name,
        target.project.name,
        world.backups_of(&target.volume.id)
    ));
    say(match drill.play {
        Play::Unprotected => "The agent's steps now run WITHOUT a box, with the real curl:",
        Play::Silence | Play::Approve => "The agent's steps now run in a box, with the real curl:",
    });
    say("");
    if drill.output == Output::Story && drill.play == Play::Silence {
        say(&format!("(When the call waits you have {} seconds to rule on it from another terminal. No answer is a no.)", drill.patience.as_secs()));
        say("");
    }
}
