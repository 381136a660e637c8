//! `agentbox attach`: what a running box does, live: its processes and where they are connected to, what waits, what was decided last.
//!
//! It only looks: what waits is ruled on with `approve` and `deny`.

mod draw;
mod picture;

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use agentbox_core::safe;

use self::picture::Picture;
use crate::commands::desk::{Boxes, Fault};

/// How often it is looked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Arguments of `agentbox attach`.
#[derive(Debug, clap::Args)]
pub(crate) struct AttachArguments {
    /// The box's name, as `agentbox ps` tells it; not needed where only one runs
    #[arg(value_name = "BOX")]
    session: Option<String>,
    /// One JSON object a line, every second
    #[arg(long)]
    json: bool,
    /// Look once
    #[arg(long)]
    once: bool,
}

/// Looks, until the box ends.
pub(crate) fn run(arguments: &AttachArguments) -> ExitCode {
    watch(arguments).map_or_else(Fault::exit, |()| ExitCode::SUCCESS)
}

fn watch(arguments: &AttachArguments) -> Result<(), Fault> {
    let boxes = Boxes::find()?;
    let session = boxes.only(arguments.session.as_deref())?;
    let is_screen = std::io::stdout().is_terminal() && !arguments.json && !arguments.once;
    loop {
        let picture = match Picture::take(session) {
            Ok(picture) => picture,
            Err(fault) => {
                // One that ends answers no more, and takes its socket away a moment later.
                std::thread::sleep(AGAIN);
                if session.socket.exists() {
                    return Err(fault);
                }
                return say(&format!("The box {} has ended.\n", safe::line(&session.name, 40)), arguments.json);
            }
        };
        let text = if arguments.json {
            serde_json::to_string(&picture).map(|line| format!("{line}\n")).map_err(|error| Fault::Failed(error.to_string()))?
        } else {
            draw::text(&picture)
        };
        // Home, the new picture, and what was below the old one away: without a flicker.
        let text = if is_screen { format!("\u{1b}[H{}\u{1b}[J", text.replace('\n', "\u{1b}[K\n")) } else { text };
        print(&text)?;
        if arguments.once {
            return Ok(());
        }
        std::thread::sleep(AGAIN);
    }
}

fn say(text: &str, is_json: bool) -> Result<(), Fault> {
    if is_json { Ok(()) } else { print(text) }
}

fn print(text: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Fault::Failed(format!("writing: {error}")))
}
