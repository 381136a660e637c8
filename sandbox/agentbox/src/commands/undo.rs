//! `agentbox undo`: brings back what a session destroyed, from the vault.

use std::{
    fmt::Write as _,
    io::{self, BufRead, IsTerminal, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use agentbox_core::safe;
use agentbox_kernel::lease::read_lease;
use agentbox_vault::{
    Kind, Settings, Start, State, Told, Vault, site,
    undo::{Choice, Deed, Made, Plan, Report, Ruling, Standing, Step, Undo},
};
use serde_json::{Value, json};
use time::{OffsetDateTime, PrimitiveDateTime, macros::format_description};

use crate::commands::{
    desk::{Fault, inside},
    diff,
    log::when,
};

/// Longest line that is read from the terminal.
const LONGEST_LINE: u64 = 256;

/// Longest path that is shown, in characters.
const LONGEST_PATH: usize = 300;

/// Steps and reasons that are listed for people; the rest is counted.
const MOST_LINES: usize = 200;

const EMPTY: &str = "The vault is empty: no session has destroyed anything yet.";

/// Arguments of `agentbox undo`.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "flags of a command line are bools for clap")]
pub(crate) struct UndoArguments {
    /// The sessions that can be undone
    #[arg(long, conflicts_with_all = ["diff", "dry_run", "overwrite", "made", "since"])]
    list: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    diff: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Overwrite also what is not from the session or was changed since; it is kept first, as all that is overwritten
    #[arg(long)]
    overwrite: bool,
    /// Take away what the session made, too
    #[arg(long)]
    made: bool,
    /// Only what was done since then: 10m, 2h, 3d ago, or "2026-04-25 09:14" (UTC); of all sessions, where none is named
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// For programs
    #[arg(long)]
    json: bool,
    /// A session as --list names it (the last one, without), and the paths that are to come back (all, without)
    #[arg(value_name = "SESSION|PATH")]
    targets: Vec<String>,
}

/// Undoes.
pub(crate) fn run(arguments: &UndoArguments) -> ExitCode {
    match undo(arguments) {
        Ok(code) => code,
        Err(fault) => fault.exit(),
    }
}

fn undo(arguments: &UndoArguments) -> Result<ExitCode, Fault> {
    let mut out = io::stdout().lock();
    undo_in(&Vaults::open()?, arguments, &mut out)
}

fn undo_in(vaults: &Vaults, arguments: &UndoArguments, out: &mut impl Write) -> Result<ExitCode, Fault> {
    if arguments.list {
        print(out, &vaults.list(arguments.json)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let since = arguments.since.as_deref().map(|text| moment(text, SystemTime::now())).transpose()?;
    let (sessions, only) = vaults.chosen(&arguments.targets, since)?;
    let mut all_well = true;
    for (vault, told) in sessions {
        let made = if arguments.made { Made::Goes } else { Made::Stays };
        let choice = Choice { since: since.unwrap_or(0), only: only.clone(), made };
        let undo = Undo::of(vault, &told.start.session, choice).map_err(failed)?;
        let plan = undo.plan();
        if arguments.diff {
            print(out, &diff::text(&undo, &plan, diff::Direction::Back))?;
        } else if arguments.dry_run {
            print(out, &if arguments.json { plan_json(&undo, &plan) } else { plan_text(&undo, &plan) })?;
        } else {
            let report = undo.apply(&plan, read_lease, &mut answers(arguments)).map_err(failed)?;
            print(out, &if arguments.json { report_json(&undo, &plan, &report) } else { report_text(&undo, &plan, &report) })?;
            all_well &= report.refused.is_empty() && plan.hopeless.is_empty();
        }
    }
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

pub(super) fn failed(error: impl std::error::Error) -> Fault {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    Fault::Failed(text)
}

pub(super) fn print(out: &mut impl Write, text: &str) -> Result<(), Fault> {
    match out.write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Fault::Failed(format!("writing: {error}"))),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Sessions, each with the vault that it is in.
type Chosen<'v> = Vec<(&'v Vault, Told)>;

/// All vaults of this user, and how the sessions in them began, the oldest first.
pub(super) struct Vaults {
    sessions: Vec<(Vault, Start)>,
}

impl Vaults {
    pub(super) fn open() -> Result<Self, Fault> {
        if inside().is_some() {
            return Err(Fault::Failed("the vault is out of every box's reach: this is for a terminal outside".to_owned()));
        }
        let ledger = crate::ledger::folder().map_err(failed)?;
        Self::at(ledger.parent().ok_or_else(|| Fault::Failed("the ledger lies nowhere".to_owned()))?)
    }

    /// Those of which `state`, agentbox's folder below `$XDG_STATE_HOME`, knows.
    fn at(state: &Path) -> Result<Self, Fault> {
        let mut sessions = Vec::new();
        for folder in site::known(state) {
            let vault = Vault::open(&folder, Settings::default()).map_err(failed)?;
            for start in vault.starts().map_err(failed)? {
                sessions.push((vault.clone(), start));
            }
        }
        sessions.sort_by_key(|(_, start)| start.at);
        Ok(Self { sessions })
    }

    /// The sessions that are meant, the newest first, and the paths.
    pub(super) fn chosen(&self, targets: &[String], since: Option<u64>) -> Result<(Chosen<'_>, Vec<PathBuf>), Fault> {
        let named = targets.first().filter(|name| self.sessions.iter().any(|(_, start)| start.session == **name));
        let paths = targets.iter().skip(usize::from(named.is_some()));
        let only = paths.map(|path| absolute(Path::new(path))).collect::<Result<Vec<_>, _>>()?;
        let own = || self.sessions.iter().rev().filter(|(_, start)| start.undoes.is_none());
        // A box whose trees lie on several file systems has a part of its session in the vault of each.
        let name = named.cloned().or_else(|| own().next().filter(|_| since.is_none()).map(|(_, start)| start.session.clone()));
        let mut sessions: Chosen<'_> = Vec::new();
        for (vault, start) in self.sessions.iter().rev() {
            let meant = name.as_ref().map_or(start.undoes.is_none(), |name| start.session == *name);
            if meant {
                sessions.push((vault, vault.told(&start.session).map_err(failed)?));
            }
        }
        if let (None, Some(since)) = (&name, since) {
            sessions.retain(|(_, told)| told.state == State::Running || told.last() >= since);
        }
        if sessions.is_empty() {
            return Err(Fault::No(if self.sessions.is_empty() { EMPTY } else { "no session did anything then" }.to_owned()));
        }
        // What is no session is a path; one that none of them ever had is a slip of the finger.
        if let (None, Some(first), [path, ..]) = (named, targets.first(), only.as_slice())
            && !first.contains('/')
            && !path.exists()
            && !sessions.iter().any(|(_, told)| mentions(told, path))
        {
            return Err(Fault::No(format!("{first} is neither a session nor a path that one of them touched; `agentbox undo --list` lists the sessions")));
        }
        Ok((sessions, only))
    }

    fn list(&self, as_json: bool) -> Result<String, Fault> {
        let mut text = String::new();
        for (vault, start) in &self.sessions {
            let told = vault.told(&start.session).map_err(failed)?;
            text.push_str(&if as_json { row_json(vault, &told) } else { row(&told) });
        }
        if as_json {
            return Ok(text);
        }
        if text.is_empty() {
            return Ok(format!("{EMPTY}\n"));
        }
        Ok(format!("{:18} {:21} {:8} {:>7} {:>9}  WHAT\n{text}", "SESSION", "BEGAN", "STATE", "KEPT", "SIZE"))
    }
}

fn mentions(told: &Told, path: &Path) -> bool {
    told.paths().any(|touched| touched.starts_with(path))
}

/// The path as journals have it: without links, where its folder stands.
fn absolute(path: &Path) -> Result<PathBuf, Fault> {
    let path = std::path::absolute(path).map_err(|error| Fault::Failed(format!("{}: {error}", path.display())))?;
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(plain.pop()),
            std::path::Component::CurDir => {}
            std::path::Component::Prefix(_) | std::path::Component::RootDir | std::path::Component::Normal(_) => plain.push(part),
        }
    }
    let (mut above, mut rest) = (plain.as_path(), PathBuf::new());
    while let (Some(parent), Some(name)) = (above.parent(), above.file_name()) {
        rest = if rest.as_os_str().is_empty() { PathBuf::from(name) } else { Path::new(name).join(rest) };
        if let Ok(parent) = parent.canonicalize() {
            return Ok(parent.join(rest));
        }
        above = parent;
    }
    Ok(plain)
}

/// `10m`, `2h`, `3d`: so long ago; `2026-04-25 09:14` or `2026-04-25`: UTC, as `agentbox log` prints it. Milliseconds since 1970.
pub(super) fn moment(text: &str, now: SystemTime) -> Result<u64, Fault> {
    let wrong = || Fault::No(format!("{text:?} is no time: 10m, 2h or 3d ago, or \"2026-04-25 09:14\" (UTC)"));
    let text = text.trim();
    if let Some((number, unit)) = text.char_indices().last().and_then(|(at, unit)| Some((text.get(..at)?.parse::<u64>().ok()?, unit))) {
        let seconds = match unit {
            's' => Some(1),
            'm' => Some(60),
            'h' => Some(60 * 60),
            'd' => Some(24 * 60 * 60),
            _ => None,
        };
        if let Some(ago) = seconds.and_then(|seconds: u64| number.checked_mul(seconds)) {
            return Ok(millis(now.checked_sub(Duration::from_secs(ago)).unwrap_or(UNIX_EPOCH)));
        }
    }
    let text = text.trim_end_matches('Z').replace('T', " ");
    let full = match text.len() {
        10 => format!("{text} 00:00:00"),
        16 => format!("{text}:00"),
        _ => text,
    };
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let at = PrimitiveDateTime::parse(&full, format).map_err(|_| wrong())?.assume_utc();
    u64::try_from((at - OffsetDateTime::UNIX_EPOCH).whole_milliseconds()).map_err(|_| wrong())
}

fn millis(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// A path as people read it: below the working directory without that.
pub(super) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let short = here.as_deref().and_then(|here| path.strip_prefix(here).ok()).filter(|short| !short.as_os_str().is_empty());
    safe::line(&short.unwrap_or(path).to_string_lossy(), LONGEST_PATH)
}

/// `12 B`, `3.4 kB`, `5.6 MB`.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let (mut tenths, mut unit) = (bytes / 100, "kB");
    for larger in ["MB", "GB", "TB", "PB"] {
        if tenths < 10_000 {
            break;
        }
        (tenths, unit) = (tenths / 1000, larger);
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

fn state_word(told: &Told) -> &'static str {
    match told.state {
        State::Running => "running",
        State::Ended(_) if told.restored() > 0 => "undone",
        State::Ended(_) => "ended",
        State::Died => "died",
    }
}

fn row(told: &Told) -> String {
    let (kept, bytes, lost) = told.counts();
    let lost = if lost == 0 { String::new() } else { format!("  ({lost} not kept)") };
    let about = safe::line(&told.start.about, 80);
    format!("{:18} {:21} {:8} {kept:>7} {:>9}  {about}{lost}\n", told.start.session, when(told.start.at), state_word(told), size(bytes))
}

fn row_json(vault: &Vault, told: &Told) -> String {
    let (kept, bytes, lost) = told.counts();
    let line = json!({
        "session": told.start.session, "at": told.start.at, "state": state_word(told), "kept": kept, "bytes": bytes, "lost": lost,
        "about": told.start.about, "undoes": told.start.undoes, "vault": vault.path(),
    });
    format!("{line}\n")
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Folder => "folder",
        Kind::Link => "link",
        Kind::Fifo => "FIFO",
        Kind::Socket => "socket",
        Kind::Character | Kind::Block => "device",
    }
}

/// What a step does, in the words of a sentence that ends with the path.
fn step_words(step: &Step) -> String {
    let path = shown(&step.path);
    match &step.deed {
        Deed::Restore { kind: Kind::File, .. } => format!("{path}  ({})", size(step.bytes)),
        Deed::Restore { kind, .. } => format!("{path}  ({})", kind_word(*kind)),
        Deed::Rewrite => format!("{path}  ({}, its content)", size(step.bytes)),
        Deed::MoveBack { from } => format!("{path}  (renamed back from {})", shown(from)),
        Deed::Link { to } => format!("{path}  (another name of {})", shown(to)),
        Deed::Facts => format!("{path}  (mode, owner, times, attributes)"),
        Deed::TakeAway => format!("{path}  (made by the session: taken away)"),
    }
}

fn head(undo: &Undo) -> String {
    let start = undo.start();
    format!("session {} of {}: {}\n", start.session, when(start.at), safe::line(&start.about, 120))
}

/// Lines, of which only so many are shown.
fn lines(text: &mut String, all: impl ExactSizeIterator<Item = String>) {
    let more = all.len().saturating_sub(MOST_LINES);
    for line in all.take(MOST_LINES) {
        text.push_str(&line);
        text.push('\n');
    }
    if more > 0 {
        let _ = writeln!(text, "  … and {more} more (--json shows all)");
    }
}

fn hopeless_lines(text: &mut String, plan: &Plan) {
    lines(text, plan.hopeless.iter().map(|(path, why)| format!("  lost       {}: {}", shown(path), safe::line(why, 300))));
}

fn plan_text(undo: &Undo, plan: &Plan) -> String {
    let mut text = head(undo);
    lines(
        &mut text,
        plan.steps.iter().map(|step| {
            let word = match step.standing {
                Standing::Nothing => "restore ",
                Standing::Own => "put back",
                Standing::Other => "CONFLICT",
            };
            format!("  {word}   {}", step_words(step))
        }),
    );
    hopeless_lines(&mut text, plan);
    let conflicts = plan.steps.iter().filter(|step| step.standing == Standing::Other).count();
    let _ = writeln!(text, "{} to do, {conflicts} in conflict, {} lost. Nothing was changed.", plan.steps.len(), plan.hopeless.len());
    text
}

fn report_text(undo: &Undo, plan: &Plan, report: &Report) -> String {
    let mut text = head(undo);
    lines(&mut text, report.done.iter().map(|step| format!("  back       {}", step_words(step))));
    lines(&mut text, report.lacking.iter().map(|(path, what)| format!("  lacking    {}: {}", shown(path), safe::line(what, 300))));
    lines(&mut text, report.refused.iter().map(|(path, why)| format!("  NOT BACK   {}: {}", shown(path), safe::line(why, 300))));
    hopeless_lines(&mut text, plan);
    if plan.steps.is_empty() && plan.hopeless.is_empty() {
        text.push_str("Nothing to bring back: all is as it was.\n");
        return text;
    }
    let _ = write!(text, "{} back", report.done.len());
    for (count, word) in [(report.refused.len(), "not back"), (plan.hopeless.len(), "lost")] {
        if count > 0 {
            let _ = write!(text, ", {count} {word}");
        }
    }
    let kept = report.session.as_ref().map(|session| format!(" What was overwritten is kept: agentbox undo {session}")).unwrap_or_default();
    let _ = writeln!(text, ".{kept}");
    text
}

fn step_json(step: &Step) -> Value {
    let mut value = diff::deed_json(&step.deed);
    if let Some(map) = value.as_object_mut() {
        map.insert("path".to_owned(), json!(step.path.to_string_lossy()));
        map.insert("bytes".to_owned(), json!(step.bytes));
        let standing = match step.standing {
            Standing::Nothing => "nothing",
            Standing::Own => "own",
            Standing::Other => "other",
        };
        map.insert("standing".to_owned(), json!(standing));
    }
    value
}

fn pairs(list: &[(PathBuf, String)]) -> Value {
    list.iter().map(|(path, why)| json!({"path": path.to_string_lossy(), "why": why})).collect()
}

fn plan_json(undo: &Undo, plan: &Plan) -> String {
    let steps: Vec<Value> = plan.steps.iter().map(step_json).collect();
    format!("{}\n", json!({"session": undo.start().session, "steps": steps, "lost": pairs(&plan.hopeless)}))
}

fn report_json(undo: &Undo, plan: &Plan, report: &Report) -> String {
    let done: Vec<Value> = report.done.iter().map(step_json).collect();
    let all = json!({
        "session": undo.start().session, "done": done, "refused": pairs(&report.refused), "lacking": pairs(&report.lacking),
        "lost": pairs(&plan.hopeless), "kept-in": report.session,
    });
    format!("{all}\n")
}

/// Who answers where something else stands: the flag, the person at the terminal, else no.
fn answers(arguments: &UndoArguments) -> impl FnMut(&Step) -> Ruling + use<> {
    let mut rest = arguments.overwrite.then_some(Ruling::Overwrite);
    let person = !arguments.json && io::stdin().is_terminal() && io::stderr().is_terminal();
    move |step| {
        if let Some(ruling) = rest {
            return ruling;
        }
        if !person {
            return Ruling::Leave;
        }
        let (ruling, for_all) = ask(step);
        if for_all {
            rest = Some(ruling);
        }
        ruling
    }
}

#[allow(clippy::print_stderr, reason = "a command's talk goes to stderr")]
fn ask(step: &Step) -> (Ruling, bool) {
    eprint!("{}: what stands there is not from the session, or was changed since. Overwrite it? It is kept first. [y/N, a: all, q: none] ", shown(&step.path));
    let mut line = String::new();
    // An end of input is silence, and silence is no.
    let read = io::stdin().lock().take(LONGEST_LINE).read_line(&mut line);
    match (read, line.trim()) {
        (Ok(1..), "y" | "Y" | "yes") => (Ruling::Overwrite, false),
        (Ok(1..), "a" | "A" | "all") => (Ruling::Overwrite, true),
        (Ok(1..), "q" | "Q") => (Ruling::Leave, true),
        (Ok(0) | Err(_), _) => (Ruling::Leave, true),
        (Ok(_), _) => (Ruling::Leave, false),
    }
}

#[cfg(test)]
#[path = "undo_tests.rs"]
mod tests;
