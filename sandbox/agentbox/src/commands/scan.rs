//! `agentbox scan`: secrets that lie in the workspace, with file and line, and the policy that would make each a credential.

use std::{
    collections::VecDeque,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use agentbox_core::safe;
use serde_json::{Value, json};

use crate::{
    commands::{desk::Fault, log::when},
    scan::{Find, Kind, files, find},
};

/// Files and folders that are looked at; more are said.
const MOST: usize = 200_000;

/// Finds that are listed.
const LISTED: usize = 1000;

/// Arguments of `agentbox scan`.
#[derive(Debug, clap::Args)]
pub(crate) struct ScanArguments {
    /// Where to look; the working directory where nothing is said
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// A find and where it lies.
struct Lies {
    path: PathBuf,
    find: Find,
}

/// Looks. Exit 1 where something was found, as `grep` the other way round: a check that fails when secrets lie about.
pub(crate) fn run(arguments: &ScanArguments) -> ExitCode {
    match scan(arguments) {
        Ok((found, said)) => {
            let _ = io::stdout().lock().write_all(said.as_bytes());
            if found == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(fault) => fault.exit(),
    }
}

fn scan(arguments: &ScanArguments) -> Result<(usize, String), Fault> {
    let mut ahead: VecDeque<PathBuf> =
        if arguments.paths.is_empty() { VecDeque::from([PathBuf::from(".")]) } else { arguments.paths.iter().cloned().collect() };
    for path in &ahead {
        fs::symlink_metadata(path).map_err(|error| Fault::Failed(format!("{}: {error}", path.display())))?;
    }
    let (mut all, mut seen, mut cut) = (Vec::new(), 0, false);
    while let Some(path) = ahead.pop_front() {
        seen += 1;
        if seen > MOST || all.len() >= LISTED {
            cut = true;
            break;
        }
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            ahead.extend(files::below(&path));
        } else if meta.is_file()
            && let Some(text) = files::text(&path)
        {
            all.extend(find(&text).into_iter().map(|find| Lies { path: path.clone(), find }));
        }
    }
    all.truncate(LISTED);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut out = if arguments.json { all.iter().map(|lies| format!("{}\n", machine(lies, now))).collect() } else { told(&all, now) };
    if cut && !arguments.json {
        out.push_str("Not everything was looked at.\n");
    }
    Ok((all.len(), out))
}

fn machine(lies: &Lies, now: u64) -> Value {
    let Find { line, kind, ends, variable, hosts, claims, .. } = &lies.find;
    json!({
        "path": lies.path.display().to_string(), "line": line, "kind": kind.name(), "ends": ends, "variable": variable, "for": hosts,
        "expires": claims.expires, "expired": claims.expires.map(|at| at < now), "scope": claims.scope, "certain": kind.is_certain(), "offer": offer(lies),
    })
}

fn told(all: &[Lies], now: u64) -> String {
    if all.is_empty() {
        return "No secret was found.\n".to_owned();
    }
    let mut out = String::new();
    for lies in all {
        let Find { line, kind, ends, claims, .. } = &lies.find;
        let sure = if kind.is_certain() { "" } else { "perhaps " };
        out.push_str(&format!("{}:{line}: {sure}{}, ends in …{ends}\n", shown(&lies.path), kind.name()));
        if let Some(at) = claims.expires {
            let word = if at < now { "expired" } else { "expires" };
            out.push_str(&format!("    {word} {}\n", when(at.saturating_mul(1000))));
        }
        if let Some(scope) = &claims.scope {
            out.push_str(&format!("    may do: {}\n", safe::line(scope, 200)));
        }
    }
    let offers: Vec<String> = all.iter().filter(|lies| lies.find.kind.is_certain()).map(offer).collect();
    if !offers.is_empty() {
        out.push_str("\nEach would be out of the agent's sight as a credential. Put it elsewhere (a file that the policy masks, or one that `command` reads), and then in ~/.config/agentbox/policy.toml:\n\n");
        let mut printed: Vec<&String> = Vec::new();
        for offer in &offers {
            if !printed.contains(&offer) {
                out.push_str(offer);
                out.push('\n');
                printed.push(offer);
            }
        }
    }
    out
}

/// A section of a policy for one find.
fn offer(lies: &Lies) -> String {
    let Find { variable, hosts, .. } = &lies.find;
    let name: String = variable.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let hosts = if hosts.is_empty() { "[\"HOST\"]".to_owned() } else { json!(hosts).to_string() };
    format!(
        "[credential.{}]\nsource  = \"env:{variable}\"\nfor     = {hosts}\nallow   = [\"read\"]   # and what today's task needs: the token itself can do more\nexpires = \"8h\"\nfiles   = [{}]\n",
        name.trim_matches('-'),
        json!(fs::canonicalize(&lies.path).unwrap_or_else(|_| lies.path.clone()).display().to_string())
    )
}

fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    safe::line(text.strip_prefix("./").unwrap_or(&text), 300)
}

/// The name of what it is.
impl Kind {
    fn name(&self) -> &str {
        match self {
            Self::Token(format) => format.name,
            Self::PrivateKey => "private key",
            Self::WebToken => "JSON Web Token",
            Self::UrlPassword => "password in a URL",
            Self::Random => "a random value in the place of a secret",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_where_and_offers_a_credential_that_the_policy_takes() {
        let folder = tempfile::tempdir().unwrap();
        let secret = format!("ghp_{}", "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5");
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/.env"), format!("A=1\nGH_TOKEN={secret}\n")).unwrap();
        let arguments = ScanArguments { paths: vec![folder.path().to_owned()], json: false };
        let (count, said) = scan(&arguments).unwrap();
        assert!(count == 1 && said.contains("deep/.env:2: GitHub token, ends in …3fG5") && !said.contains(&secret), "{said}");
        let toml = said.split_once("[credential.").map(|(_, rest)| format!("[credential.{rest}")).unwrap();
        assert!(toml.contains("source  = \"env:GH_TOKEN\"") && toml.contains("api.github.com"), "{toml}");
        let layer =
            agentbox_core::policy::LayerText { name: "t".into(), base: "/".into(), kind: agentbox_core::policy::LayerKind::User, bytes: toml.into_bytes() };
        agentbox_core::policy::Policy::load(vec![layer], &agentbox_core::policy::Context::default(), &mut |name, _| Err(format!("no {name}"))).unwrap();
        let (_, said) = scan(&ScanArguments { json: true, ..arguments }).unwrap();
        let row: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
        assert_eq!((row["line"].as_u64(), row["certain"].as_bool(), row["ends"].as_str()), (Some(2), Some(true), Some("3fG5")));
        let (count, said) = scan(&ScanArguments { paths: vec![folder.path().join("deep")], json: false }).map(|(count, _)| (count, String::new())).unwrap();
        assert!(count == 1 && said.is_empty());
    }
}
