//! `agentbox scratch`: what boxes wrote into layers: shown, made real, or dropped.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use agentbox_core::safe;
use agentbox_kernel::lease::read_lease;
use agentbox_vault::{Begin, Hands, Settings, Vault, site};
use serde_json::json;

use super::{
    desk::{Fault, inside},
    undo::failed,
};
use crate::{
    run::supervise::session_name,
    scratch::{
        self, Box, Layers,
        apply::{self, Conflicts, Report},
        changes::{self, Change},
    },
};

/// Lines that are listed for people; the rest is counted.
const MOST_LINES: usize = 500;

/// Longest path that is shown, in characters.
const LONGEST_PATH: usize = 300;

/// How long hashing may take of what was kept; the rest is hashed when it is asked for.
const HASHING: Duration = Duration::from_millis(200);

/// What to do with layers.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ScratchCommand {
    /// The layers that wait to be applied or dropped
    List {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// What a layer would change: A made, M changed, D removed
    Diff {
        /// For programs
        #[arg(long)]
        json: bool,
        /// A box as `list` names it; not needed where there is one
        session: Option<String>,
    },
    /// Make a layer real; what that loses is kept, and `agentbox undo` brings it back
    Apply {
        /// Also over what others changed since the box began; it is kept first
        #[arg(long)]
        overwrite: bool,
        /// A box as `list` names it; not needed where there is one
        session: Option<String>,
    },
    /// Throw a layer away
    Drop {
        /// A box as `list` names it
        session: String,
    },
}

/// Does it.
pub(crate) fn run(command: &ScratchCommand) -> ExitCode {
    match answer(command) {
        Ok(code) => code,
        Err(fault) => fault.exit(),
    }
}

fn answer(command: &ScratchCommand) -> Result<ExitCode, Fault> {
    if inside().is_some() {
        return Err(Fault::Failed("layers are out of every box's reach: this is for a terminal outside".to_owned()));
    }
    let ledger = crate::ledger::folder().map_err(failed)?;
    let state = ledger.parent().ok_or_else(|| Fault::Failed("the ledger lies nowhere".to_owned()))?;
    let all = scratch::all(state).map_err(failed)?;
    match command {
        ScratchCommand::List { json } => say(&if *json { list_json(&all) } else { list_text(&all) })?,
        ScratchCommand::Diff { json, session } => {
            let layers = chosen(all, session.as_deref())?;
            let (found, cut) = changes::of(&layers).map_err(failed)?;
            say(&if *json { json!({"session": layers.about.session, "changes": found, "more": cut}).to_string() + "\n" } else { diff_text(&found, cut) })?;
        }
        ScratchCommand::Apply { overwrite, session } => {
            let layers = over(chosen(all, session.as_deref())?)?;
            return applied(layers, state, if *overwrite { Conflicts::AreOverwritten } else { Conflicts::Stay });
        }
        ScratchCommand::Drop { session } => {
            let layers = over(chosen(all, Some(session))?)?;
            layers.drop_all().map_err(failed)?;
            say("dropped\n")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn say(text: &str) -> Result<(), Fault> {
    io::stdout().lock().write_all(text.as_bytes()).map_err(failed)
}

fn chosen(all: Vec<Layers>, session: Option<&str>) -> Result<Layers, Fault> {
    let several = all.len() > 1;
    let mut meant = all.into_iter().filter(|layers| session.is_none_or(|name| layers.about.session == name));
    match (meant.next(), session) {
        (Some(_), None) if several => Err(Fault::Failed("several layers wait: say which, as `agentbox scratch list` names them".to_owned())),
        (Some(layers), _) => Ok(layers),
        (None, Some(name)) => Err(Fault::Failed(format!("no layer is called {}; `agentbox scratch list` names them", safe::line(name, 60)))),
        (None, None) => Err(Fault::Failed("no layer waits".to_owned())),
    }
}

fn over(layers: Layers) -> Result<Layers, Fault> {
    match layers.is_running() {
        Box::IsOver => Ok(layers),
        Box::Runs => Err(Fault::Failed("its box still runs; when it has ended, its layer can be applied or dropped".to_owned())),
    }
}

fn shown(path: &Path) -> String {
    safe::line(&path.to_string_lossy(), LONGEST_PATH)
}

fn list_text(all: &[Layers]) -> String {
    if all.is_empty() {
        return "No layer waits. `agentbox run --scratch -- COMMAND` makes one.\n".to_owned();
    }
    let mut text = String::new();
    for layers in all {
        let state = match layers.is_running() {
            Box::Runs => "runs",
            Box::IsOver => "waits",
        };
        let trees: Vec<String> = layers.about.trees.iter().map(|tree| shown(tree)).collect();
        let _ = writeln!(text, "{}  {state:<5}  {}  in {}", layers.about.session, safe::line(&layers.about.command, 80), trees.join(", "));
    }
    text
}

fn list_json(all: &[Layers]) -> String {
    let one = |layers: &Layers| json!({"session": layers.about.session, "command": layers.about.command, "trees": layers.about.trees, "running": layers.is_running() == Box::Runs});
    json!(all.iter().map(one).collect::<Vec<_>>()).to_string() + "\n"
}

fn diff_text(found: &[Change], cut: bool) -> String {
    let mut text = String::new();
    for change in found.iter().take(MOST_LINES) {
        let _ = writeln!(text, "{}  {}", change.effect.letter(), shown(&change.path));
    }
    if found.len() > MOST_LINES {
        let _ = writeln!(text, "and {}{} more", if cut { "at least " } else { "" }, found.len() - MOST_LINES);
    }
    if found.is_empty() {
        text.push_str("nothing is changed in it\n");
    }
    text
}

fn applied(layers: Layers, state: &Path, conflicts: Conflicts) -> Result<ExitCode, Fault> {
    let Some(tree) = layers.about.trees.first() else { return Err(Fault::Failed("it is over no tree".to_owned())) };
    let site = site::choose(tree, state, &layers.about.trees).map_err(failed)?;
    let vault = Vault::open(&site.folder, Settings::default()).map_err(failed)?;
    let name = session_name().map_err(failed)?;
    let about = format!("scratch apply {}", layers.about.session);
    let begin = Begin { name: &name, roots: &layers.about.trees, about: &about, undoes: None };
    let session = vault.begin(&begin, Hands::here(read_lease).map_err(failed)?).map_err(failed)?;
    let report = apply::apply(&layers, &session, conflicts);
    session.sync().map_err(failed)?;
    drop(session);
    let summary = vault.finish(&name, HASHING).map_err(failed)?;
    let mut text = told(&report, &layers);
    for (path, why) in summary.lost.iter().take(MOST_LINES) {
        let _ = writeln!(text, "NOT kept: {}: {}", shown(path.path()), safe::line(why, 200));
    }
    let _ = writeln!(text, "to take it back: agentbox undo --made {name}");
    if report.conflicts.is_empty() && report.failed.is_empty() {
        layers.drop_all().map_err(failed)?;
        say(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    say(&text)?;
    Ok(ExitCode::from(1))
}

fn told(report: &Report, layers: &Layers) -> String {
    let mut text = format!("applied: {} made, {} changed, {} removed\n", report.made, report.changed, report.removed);
    let list = |text: &mut String, paths: &mut dyn Iterator<Item = (&PathBuf, String)>| {
        for (path, why) in paths.take(MOST_LINES) {
            let _ = writeln!(text, "  {}{why}", shown(path));
        }
    };
    if !report.conflicts.is_empty() {
        let _ = writeln!(text, "{} left alone, since others changed them after the box began:", report.conflicts.len());
        list(&mut text, &mut report.conflicts.iter().map(|path| (path, String::new())));
        let _ = writeln!(
            text,
            "over them all the same: agentbox scratch apply --overwrite {0}; or forget the rest: agentbox scratch drop {0}",
            layers.about.session
        );
    }
    if !report.failed.is_empty() {
        let _ = writeln!(text, "{} could not be applied, and stay in the layer:", report.failed.len());
        list(&mut text, &mut report.failed.iter().map(|(path, why)| (path, format!(": {}", safe::line(why, 200)))));
    }
    text
}
