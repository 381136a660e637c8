//! `agentbox deny`: refuses one waiting operation; the reason reaches the agent.

use std::{io::Write, process::ExitCode};

use agentbox_desk::control::{FromDesk, ToDesk, Via};

use crate::commands::desk::{Boxes, Fault, ask};

/// Arguments of `agentbox deny`.
#[derive(Debug, clap::Args)]
pub(crate) struct DenyArguments {
    /// The hold's name, as `agentbox holds` prints it
    #[arg(value_name = "HOLD")]
    id: String,
    /// Why: one sentence that the agent is told
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    because: String,
}

/// Denies it.
pub(crate) fn run(arguments: &DenyArguments) -> ExitCode {
    match deny(arguments) {
        Ok(said) => {
            let _ = std::io::stdout().lock().write_all(said.as_bytes());
            ExitCode::SUCCESS
        }
        Err(fault) => fault.exit(),
    }
}

fn deny(arguments: &DenyArguments) -> Result<String, Fault> {
    let boxes = Boxes::find()?;
    let (session, card) = boxes.must_have(&arguments.id)?;
    let id = card.id;
    match ask(session, &ToDesk::Deny { id: id.clone(), because: arguments.because.clone(), via: Via::Terminal })? {
        FromDesk::Ruled(_) => Ok(format!("{id} is refused.\n")),
        FromDesk::No(why) => Err(Fault::No(why)),
        FromDesk::Holds { .. }
        | FromDesk::Card(_)
        | FromDesk::Refused(_)
        | FromDesk::Running(_)
        | FromDesk::Names(_)
        | FromDesk::Credentials(_)
        | FromDesk::Done(_) => Err(Fault::Failed("the box answered something else".to_owned())),
    }
}
