//! `agentbox approve`: shows the card, wants a deliberate act, and lets exactly that operation through, once.

use std::{
    io::{BufRead, IsTerminal, Read, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use agentbox_core::{safe, verdict::Presence};
use agentbox_desk::{
    Card, HoldId,
    card::duration,
    control::{FromDesk, RuledWord, ToDesk, Via},
};

use crate::commands::{
    desk::{Boxes, Fault, ask},
    show, sign,
};

/// What is typed where no name is asked for.
pub(crate) const YES: &str = "yes";

/// Longest line that is read from the terminal.
const LONGEST_LINE: u64 = 4096;

/// Arguments of `agentbox approve`.
#[derive(Debug, clap::Args)]
pub(crate) struct ApproveArguments {
    /// The hold's name, as `agentbox holds` prints it
    #[arg(value_name = "HOLD")]
    id: String,
    /// For scripts: what would be typed, that is the resource's name where it is asked for, else `yes`
    #[arg(long, value_name = "TEXT")]
    confirm: Option<String>,
    /// Not this once only: this kind in this place for so long, like 30m. Only where the policy lets it (`lease`)
    #[arg(long = "for", value_name = "TIME", value_parser = lasting)]
    lasting: Option<Duration>,
    /// Sign it, also where no signature is asked for
    #[arg(long)]
    sign: bool,
    /// The SSH key to sign with; without it, the first of the policy's keys that is here
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// `90s`, `30m`, `2h`.
fn lasting(text: &str) -> Result<Duration, String> {
    let seconds = text.char_indices().last().and_then(|(at, unit)| {
        let number: u64 = text.get(..at)?.parse().ok()?;
        number.checked_mul(match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => return None,
        })
    });
    seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs).ok_or_else(|| "write a number and s, m or h, like 30m".to_owned())
}

/// Approves it.
pub(crate) fn run(arguments: &ApproveArguments) -> ExitCode {
    match approve(arguments) {
        Ok(said) => {
            say(&format!("{said}\n"));
            ExitCode::SUCCESS
        }
        Err(fault) => fault.exit(),
    }
}

/// The result is data: it goes to stdout. The card and the question are talk.
fn say(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

#[allow(clippy::print_stderr, reason = "a command's talk goes to stderr")]
fn approve(arguments: &ApproveArguments) -> Result<String, Fault> {
    let boxes = Boxes::find()?;
    let (session, card) = boxes.must_have(&arguments.id)?;
    eprint!("{}", show::drawn(&card, &std::io::stderr()));
    let Some(digest) = card.digest else {
        return Err(Fault::No(format!("{} is approved already", card.id)));
    };
    let wanted = card.wants.typed.clone().unwrap_or_else(|| YES.to_owned());
    let typed = match &arguments.confirm {
        Some(text) => text.clone(),
        None => ask_person(&card, &wanted, arguments.lasting)?,
    };
    if typed != wanted {
        return Err(Fault::No(format!("not approved: to approve it, type {wanted}")));
    }
    let typed = card.wants.typed.is_some().then_some(typed);
    let signs = arguments.sign || arguments.key.is_some() || card.wants.presence == Presence::Signature;
    let signature = if signs { Some(sign::sign(&card, typed.as_deref(), arguments.lasting, arguments.key.as_deref())?) } else { None };
    let message = ToDesk::Approve {
        id: card.id.clone(),
        card: digest,
        typed,
        lasting: arguments.lasting.map(|lasting| lasting.as_secs()),
        via: Via::Terminal,
        signature,
    };
    match ask(session, &message)? {
        FromDesk::Ruled(word) => Ok(told(&card.id, word)),
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

#[allow(clippy::print_stderr, reason = "a command's talk goes to stderr")]
fn ask_person(card: &Card, wanted: &str, lasting: Option<Duration>) -> Result<String, Fault> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(Fault::No("not approved: approving is done in a terminal, or deliberately with --confirm".to_owned()));
    }
    let how = lasting.map_or_else(|| "once".to_owned(), |lasting| format!("and all of its kind in {} for {}", card.place, duration(lasting.as_secs())));
    eprint!("\nTo let {} happen, {how}, type {}: ", card.id, safe::line(wanted, usize::MAX));
    let mut line = String::new();
    let read = input.lock().take(LONGEST_LINE).read_line(&mut line);
    read.map_err(|error| Fault::Failed(format!("reading the terminal: {error}")))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

pub(crate) fn told(id: &HoldId, word: RuledWord) -> String {
    match word {
        RuledWord::Approved => format!("{} is approved: it is looked at once more, and sent if nothing is worse than shown.", id),
        RuledWord::Kept { seconds } => {
            format!("{} is approved. Nobody waits for it at the moment: the next identical request passes, once, within {}.", id, duration(seconds))
        }
        RuledWord::NeedsMore { have, want } => format!("{}: {have} of {want} people have approved; it still waits.", id),
        RuledWord::Denied => format!("{} is refused.", id),
    }
}
