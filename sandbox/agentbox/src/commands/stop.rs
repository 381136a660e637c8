//! `agentbox stop`, `agentbox resume` and `agentbox revoke`: ends a running box, lets a frozen one go on, ends what was approved for a time.

use std::{io::Write, process::ExitCode};

use agentbox_core::safe;
use agentbox_desk::control::{FromDesk, ToDesk};

use crate::commands::desk::{Boxes, Fault, ask};

/// Arguments of `agentbox stop`, `agentbox resume` and `agentbox revoke`.
#[derive(Debug, clap::Args)]
pub(crate) struct BoxArguments {
    /// The box's name, as `agentbox ps` prints it
    #[arg(value_name = "BOX")]
    session: String,
}

/// Ends it.
pub(crate) fn stop(arguments: &BoxArguments) -> ExitCode {
    tell(arguments, &ToDesk::Stop)
}

/// Ends every yes for a kind.
pub(crate) fn revoke(arguments: &BoxArguments) -> ExitCode {
    tell(arguments, &ToDesk::Revoke)
}

/// Lets it go on.
pub(crate) fn resume(arguments: &BoxArguments) -> ExitCode {
    tell(arguments, &ToDesk::Resume)
}

fn tell(arguments: &BoxArguments, message: &ToDesk) -> ExitCode {
    let told = || {
        let boxes = Boxes::find()?;
        let session = boxes.named(&arguments.session)?;
        match ask(session, message)? {
            FromDesk::Done(said) => Ok(said),
            FromDesk::No(why) => Err(Fault::No(why)),
            FromDesk::Holds { .. }
            | FromDesk::Card(_)
            | FromDesk::Ruled(_)
            | FromDesk::Refused(_)
            | FromDesk::Running(_)
            | FromDesk::Names(_)
            | FromDesk::Credentials(_) => Err(Fault::Failed("the box answered something else".to_owned())),
        }
    };
    match told() {
        Ok(said) => {
            let _ = std::io::stdout().lock().write_all(format!("{}\n", safe::line(&said, 300)).as_bytes());
            ExitCode::SUCCESS
        }
        Err(fault) => fault.exit(),
    }
}
