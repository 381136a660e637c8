//! Real incidents, replayed on this machine against stand-ins: the agent's very steps, a careful user's policy, and a look at the world afterwards.

mod chance;
mod interrupt;
mod pocketos;
mod railway;

use std::{process::ExitCode, time::Duration};

/// How a drill is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Play {
    /// In the box, and nobody answers: silence must be a no.
    Silence,
    /// In the box, and a person says yes.
    Approve,
    /// Without the box: what happened then.
    Unprotected,
}

/// What is asked of a drill.
#[derive(Clone, Debug)]
pub(crate) struct Drill {
    /// How it is played.
    pub(crate) play: Play,
    /// Which way the call is sent; an incident's first variant is what happened.
    pub(crate) variant: Option<String>,
    /// How long a held call waits for a person.
    pub(crate) patience: Duration,
    /// A line of JSON on standard output at the end.
    pub(crate) output: Output,
}

/// For whom the result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// A person: the story only.
    Story,
    /// A machine: the story on stderr, one line of JSON on stdout.
    Json,
}

/// One way to send the call.
#[derive(Debug)]
pub(crate) struct Variant {
    /// What `--variant` takes.
    pub(crate) name: &'static str,
    /// One line on it.
    pub(crate) about: &'static str,
}

/// An incident that can be replayed.
#[derive(Debug)]
pub(crate) struct Incident {
    /// What a person types.
    pub(crate) name: &'static str,
    /// When it happened, and what.
    pub(crate) about: &'static str,
    /// Ways to send the call; the first is what happened.
    pub(crate) variants: &'static [Variant],
    /// Plays it.
    pub(crate) play: fn(&Drill) -> ExitCode,
}

/// All of them. Adding one is one line, and a folder beside this file.
pub(crate) const INCIDENTS: &[Incident] = &[pocketos::INCIDENT];

/// The incident with this name.
pub(crate) fn find(name: &str) -> Option<&'static Incident> {
    INCIDENTS.iter().find(|incident| incident.name == name)
}
