//! `agentbox policy`: check, explain, test and trust the policy.
#![allow(clippy::print_stderr, reason = "a command's talk goes to stderr")]

use std::{
    io::{BufRead, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use agentbox_core::{
    policy::{CredentialExplained, Explanation, LayerKind, PlaceExplained},
    safe,
};

use crate::policy_files::{self, Candidate, PolicyArguments, PolicyFilesError};

/// The policy is wrong, or an example does not hold.
const WRONG: u8 = 1;

/// What to do with the policy.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum PolicyCommand {
    /// Read it whole, and warn of what is likely not meant
    Check(Which),
    /// The effective table, with the origin of every cell
    Explain(ExplainArguments),
    /// Run its examples and show how each comes out
    Test(Which),
    /// Show what the repository's policy says, and let what it loosens count
    Trust(TrustArguments),
}

/// Which policy.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// A policy file or the name of a shipped profile; counts as the user's layer
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
    /// The shipped profile below all
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The workspace
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    workspace: PathBuf,
    /// For machines
    #[arg(long)]
    json: bool,
}

/// Arguments of `agentbox policy explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArguments {
    #[command(flatten)]
    which: Which,
    /// As a box that is started with `--env NAME` is judged
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
}

/// Arguments of `agentbox policy trust`.
#[derive(Debug, clap::Args)]
pub(crate) struct TrustArguments {
    /// The workspace whose agentbox.toml is meant
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    workspace: PathBuf,
    /// Trust without being asked
    #[arg(long)]
    yes: bool,
}

impl Which {
    fn arguments(&self) -> PolicyArguments {
        PolicyArguments { policy: self.policy.clone(), profile: self.profile.clone(), workspace: self.workspace.clone(), ..PolicyArguments::default() }
    }
}

/// Data for whoever reads us; if they have seen enough, that is no fault.
fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.trim_end_matches('\n').as_bytes()).and_then(|()| out.write_all(b"\n"));
}

/// Answers `agentbox policy …`.
pub(crate) fn run(command: &PolicyCommand) -> ExitCode {
    let answer = match command {
        PolicyCommand::Check(which) => check(which),
        PolicyCommand::Explain(arguments) => explain(arguments),
        PolicyCommand::Test(which) => test(which),
        PolicyCommand::Trust(arguments) => trust(arguments),
    };
    match answer {
        Ok(code) => code,
        Err(error) => {
            let is_json = match command {
                PolicyCommand::Check(which) | PolicyCommand::Explain(ExplainArguments { which, .. }) | PolicyCommand::Test(which) => which.json,
                PolicyCommand::Trust(_) => false,
            };
            if is_json {
                data(&serde_json::json!({ "ok": false, "error": error.to_string() }).to_string());
            }
            eprintln!("agentbox: {error}");
            match error {
                PolicyFilesError::Policy(_) => ExitCode::from(WRONG),
                PolicyFilesError::File { .. } | PolicyFilesError::NoHome => ExitCode::from(crate::cli::FAILED),
            }
        }
    }
}

fn layer_word(kind: LayerKind) -> &'static str {
    match kind {
        LayerKind::Profile => "profile",
        LayerKind::Repository { trusted: true } => "repository, trusted",
        LayerKind::Repository { trusted: false } => "repository, not trusted",
        LayerKind::User => "user",
    }
}

fn check(which: &Which) -> Result<ExitCode, PolicyFilesError> {
    let loaded = policy_files::load(&which.arguments(), policy_files::decode)?;
    let mut warnings = loaded.policy.warnings().to_vec();
    for report in &loaded.examples {
        if let (Some(got), Some(effective)) = (report.got, report.effective)
            && got != effective
            // Profiles are there to be changed.
            && !report.origin.starts_with("profile ")
        {
            warnings
                .push(format!("{}: this example says \"{}\", and a later layer makes it \"{effective}\": {}", report.origin, report.wanted, report.operation));
        }
    }
    if which.json {
        let layers: Vec<_> = loaded.layers.iter().map(|(name, kind)| serde_json::json!({ "file": name, "layer": layer_word(*kind) })).collect();
        data(&serde_json::json!({ "ok": true, "layers": layers, "examples": loaded.examples.len(), "warnings": warnings }).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    for (name, kind) in &loaded.layers {
        data(&format!("{name} ({})", layer_word(*kind)));
    }
    data(&format!("{} examples hold", loaded.examples.len()));
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    Ok(ExitCode::SUCCESS)
}

fn explain(ExplainArguments { which, env }: &ExplainArguments) -> Result<ExitCode, PolicyFilesError> {
    let mut loaded = policy_files::load(&which.arguments(), policy_files::decode)?;
    if let Some(name) = env
        && let Err(why) = super::run::bind(&mut loaded, name)
    {
        eprintln!("agentbox: {why}");
        return Ok(ExitCode::from(WRONG));
    }
    let explanation = loaded.policy.explain();
    if which.json {
        data(&serde_json::to_string_pretty(&explanation).unwrap_or_default());
    } else {
        data(&table(&explanation));
    }
    Ok(ExitCode::SUCCESS)
}

fn table(explanation: &Explanation) -> String {
    let mut out = String::new();
    for place in &explanation.places {
        out.push_str(&heading(place));
        for cell in &place.cells {
            let from = cell.from.as_ref().map_or_else(String::new, |from| format!("from {from}, "));
            out.push_str(&format!("  {:<8} {:<6} {from}{}\n", cell.effect, cell.verdict.word(), cell.origin));
        }
        out.push('\n');
    }
    if !explanation.credentials.is_empty() {
        out.push_str("credentials, of which the box has placeholders\n");
    }
    for credential in &explanation.credentials {
        out.push_str(&credential_line(credential));
    }
    if !explanation.rules.is_empty() {
        out.push_str("rules, the first match wins\n");
    }
    for rule in &explanation.rules {
        let mut conditions = Vec::new();
        conditions.extend(rule.place.as_ref().map(|place| format!("in {place}")));
        conditions.extend(rule.effect.map(|effect| format!("that {effect}")));
        conditions.extend(rule.resource.as_ref().map(|resource| format!("on {resource}")));
        conditions.extend(rule.expires_seconds.map(|seconds| format!("for {seconds} s")));
        let operation = rule.operation.as_deref().unwrap_or("every operation");
        out.push_str(&format!("  {:<6} {operation} {}  \"{}\" {}\n", rule.verdict.word(), conditions.join(" "), rule.name, rule.origin));
    }
    out.push_str("the floor, where no place says anything\n");
    for line in &explanation.floor {
        out.push_str(&format!("  {line}\n"));
    }
    out
}

fn credential_line(credential: &CredentialExplained) -> String {
    let mut conditions = vec![format!("for {}", credential.hosts.join(", "))];
    conditions.extend(credential.environment.as_ref().map(|name| format!("of the environment {name}")));
    conditions.extend(credential.expires_seconds.map(|seconds| format!("for {seconds} s")));
    let may = if credential.denied { "denied everywhere: the box is of another environment".to_owned() } else { credential.allow.join(", ") };
    format!("  {} from {} {}: {may}  {}\n", credential.name, credential.source, conditions.join(" "), credential.origin)
}

fn heading(place: &PlaceExplained) -> String {
    /// More than this does not fit a line.
    const SHOWN: usize = 4;
    let mut out = place.name.clone();
    if place.protected {
        out.push_str(", protected");
    }
    if place.approvers > 1 {
        out.push_str(&format!(", {} approvers", place.approvers));
    }
    if place.confirm == agentbox_core::verdict::Confirm::Name {
        out.push_str(", the name is typed");
    }
    if place.quorum == agentbox_core::verdict::Quorum::SomebodyElse {
        out.push_str(", somebody else than who started the box");
    }
    if let Some(environment) = &place.environment {
        out.push_str(&format!(", of the environment {environment}"));
    }
    let mut holds: Vec<String> = place.holds.iter().take(SHOWN).cloned().collect();
    if place.holds.len() > SHOWN {
        holds.push(format!("and {} more", place.holds.len() - SHOWN));
    }
    if !holds.is_empty() {
        out.push_str(&format!("\n  {}", holds.join(", ")));
    }
    if let Some(credentials) = &place.credentials {
        out.push_str(&format!("\n  credentials: {}", if credentials.is_empty() { "none".to_owned() } else { credentials.join(", ") }));
    }
    out.push('\n');
    out
}

fn test(which: &Which) -> Result<ExitCode, PolicyFilesError> {
    let loaded = policy_files::read(&which.arguments())?;
    let reports = loaded.policy.try_examples(&policy_files::decode);
    let failed = reports.iter().filter(|report| !report.holds()).count();
    if which.json {
        data(&serde_json::json!({ "ok": failed == 0, "examples": reports }).to_string());
    } else {
        for report in &reports {
            let got = report.got.map_or("unreadable", agentbox_core::Verdict::word);
            let mark = match report.holds() {
                true if report.got == Some(report.wanted) => "ok      ",
                // What an untrusted file loosens does not count.
                true => "stricter",
                false => "FAILED  ",
            };
            data(&format!("{mark} {:<5} {got:<10} {}  {}", report.wanted.word(), report.origin, report.operation));
            if !report.holds() {
                data(&format!("         {}", report.reason));
            }
        }
        eprintln!("{} examples, {failed} failed", reports.len());
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(WRONG) })
}

fn trust(arguments: &TrustArguments) -> Result<ExitCode, PolicyFilesError> {
    let Some(candidate) = Candidate::find(&arguments.workspace)? else {
        eprintln!("agentbox: there is no agentbox.toml here or above");
        return Ok(ExitCode::from(WRONG));
    };
    let name = safe::line(&candidate.name(), 300);
    if candidate.already {
        eprintln!("{name} is trusted as it is");
        return Ok(ExitCode::SUCCESS);
    }
    show(&candidate);
    if !arguments.yes && !asked(&name) {
        eprintln!("not trusted: it may tighten, and what it loosens does not count");
        return Ok(ExitCode::from(WRONG));
    }
    candidate.trust()?;
    eprintln!("{name} is trusted; any change to it, or to what it extends, asks again");
    Ok(ExitCode::SUCCESS)
}

/// Shows every file that would be bound; where an older one was, what changed.
fn show(candidate: &Candidate) {
    let before = candidate.before.as_ref().map(|before| before.files.as_slice()).unwrap_or_default();
    for (name, text) in &candidate.binding.files {
        let old = before.iter().find(|(old, _)| old == name).map(|(_, text)| text.as_str());
        match old {
            Some(old) if old == text => data(&format!("--- {name} (as before)")),
            Some(old) => {
                data(&format!("--- {name} (what changed)"));
                changes(old, text).iter().for_each(|line| data(line));
            }
            None if name.starts_with("profile ") => data(&format!("--- {name} (shipped with agentbox)")),
            None => {
                data(&format!("--- {name}"));
                text.lines().for_each(|line| data(&format!("  {}", safe::line(line, 500))));
            }
        }
    }
    for (name, _) in before.iter().filter(|(old, _)| !candidate.binding.files.iter().any(|(name, _)| name == old)) {
        data(&format!("--- {name} (no longer extended)"));
    }
}

/// A deliberate act at a terminal.
fn asked(name: &str) -> bool {
    let input = std::io::stdin();
    if !input.is_terminal() {
        eprintln!("agentbox: nobody is at this terminal to be asked; read it, then use --yes");
        return false;
    }
    eprint!("\nType \"trust\" to let what {name} loosens count: ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    input.lock().read_line(&mut answer).is_ok() && answer.trim() == "trust"
}

/// The lines that went (`-`) and came (`+`), in order.
fn changes(old: &str, new: &str) -> Vec<String> {
    /// Beyond this many lines the middle is shown as replaced whole: comparing takes the square of it.
    const MOST: usize = 2_000;
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count().min(old.len().min(new.len()) - head);
    let old = old.get(head..old.len() - tail).unwrap_or_default();
    let new = new.get(head..new.len() - tail).unwrap_or_default();
    let gone = |line: &str| format!("- {}", safe::line(line, 500));
    let came = |line: &str| format!("+ {}", safe::line(line, 500));
    if old.len() > MOST || new.len() > MOST {
        return old.iter().map(|line| gone(line)).chain(new.iter().map(|line| came(line))).collect();
    }
    // Length of the longest common part from (i, j) on.
    let width = new.len() + 1;
    let mut common = vec![0_u32; (old.len() + 1) * width];
    let at = |common: &[u32], i: usize, j: usize| common.get(i * width + j).copied().unwrap_or(0);
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let value = if a == b { at(&common, i + 1, j + 1) + 1 } else { at(&common, i + 1, j).max(at(&common, i, j + 1)) };
            if let Some(slot) = common.get_mut(i * width + j) {
                *slot = value;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    loop {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => (i, j) = (i + 1, j + 1),
            (Some(a), Some(_)) if at(&common, i + 1, j) >= at(&common, i, j + 1) => {
                out.push(gone(a));
                i += 1;
            }
            (_, Some(b)) => {
                out.push(came(b));
                j += 1;
            }
            (Some(a), None) => {
                out.push(gone(a));
                i += 1;
            }
            (None, None) => return out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_the_lines_that_went_and_came() {
        assert!(changes("a\nb\n", "a\nb\n").is_empty());
        assert_eq!(changes("a\nb\nc\n", "a\nx\nc\n"), ["- b", "+ x"]);
        assert_eq!(changes("", "a\n"), ["+ a"]);
        assert_eq!(changes("a\na\n", "a\n"), ["- a"]);
        assert_eq!(changes("a\nb\nc\nd", "b\nd\ne"), ["- a", "- c", "+ e"]);
        assert_eq!(changes("x", "\u{1b}[2J"), ["- x", "+ \\u{1b}[2J"]);
    }
}
