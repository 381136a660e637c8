//! `agentbox ask`: inside a box, the agent says in its own words why it wants what waits. The card shows it, marked as the agent's words.

use std::{io::Write as _, process::ExitCode};

use crate::commands::{
    desk::{Fault, inside},
    why,
};

/// Longest text that is sent, in characters; the card shows fewer.
const LONGEST: usize = 1000;

/// Arguments of `agentbox ask`.
#[derive(Debug, clap::Args)]
pub(crate) struct AskArguments {
    /// One sentence: what it is for
    #[arg(value_name = "TEXT", required = true)]
    text: Vec<String>,
}

/// Says it.
pub(crate) fn run(arguments: &AskArguments) -> ExitCode {
    match say(&arguments.text.join(" ")) {
        Ok(()) => {
            let _ = std::io::stdout().lock().write_all(b"Said. It stands on the cards of what waits, as your own words; it decides nothing.\n");
            ExitCode::SUCCESS
        }
        Err(fault) => fault.exit(),
    }
}

fn say(text: &str) -> Result<(), Fault> {
    if inside().is_none() {
        return Err(Fault::Failed("this is for the agent inside a box".to_owned()));
    }
    let text: String = text.chars().take(LONGEST).collect();
    if text.trim().is_empty() {
        return Err(Fault::No("there is nothing to say".to_owned()));
    }
    let target: String = text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect();
    let failed = |error: std::io::Error| Fault::Failed(format!("the broker of this box does not answer: {error}"));
    let answer = why::fetch(why::BROKER, 80, &format!("/ask?text={target}")).map_err(failed)?;
    if answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200") {
        Ok(())
    } else {
        Err(Fault::Failed("the broker of this box answered something else".to_owned()))
    }
}
