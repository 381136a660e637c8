//! `agentbox show`: the card of one waiting operation.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use agentbox_desk::{Card, card};

use crate::commands::desk::{Boxes, Fault};

/// Arguments of `agentbox show`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArguments {
    /// The hold's name, as `agentbox holds` prints it
    #[arg(value_name = "HOLD")]
    id: String,
    /// The card as JSON
    #[arg(long)]
    json: bool,
}

/// Shows it.
pub(crate) fn run(arguments: &ShowArguments) -> ExitCode {
    show(arguments).map_or_else(Fault::exit, |()| ExitCode::SUCCESS)
}

fn show(arguments: &ShowArguments) -> Result<(), Fault> {
    let boxes = Boxes::find()?;
    let (_, card) = boxes.must_have(&arguments.id)?;
    let out = std::io::stdout();
    let text = if arguments.json {
        let json = serde_json::to_string(&card).map_err(|error| Fault::Failed(error.to_string()))?;
        format!("{json}\n")
    } else {
        drawn(&card, &out)
    };
    out.lock().write_all(text.as_bytes()).map_err(|error| Fault::Failed(format!("writing: {error}")))
}

/// The card as it fits what it is written to.
pub(crate) fn drawn(card: &Card, to: &impl IsTerminal) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    card::render(card, if to.is_terminal() && !plain { card::Style::Colour } else { card::Style::Plain })
}
