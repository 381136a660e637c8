//! `agentbox init`: names the key by which this person approves in their own policy, and makes one where there is none.

use std::{
    fs::{self, OpenOptions},
    io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use agentbox_core::safe;
use agentbox_desk::signature::PublicKey;

use crate::{
    commands::desk::{Fault, inside},
    policy_files::{self, PolicyArguments},
};

/// Public keys in `~/.ssh` that are looked at, and their longest file in bytes.
const MOST_KEYS: usize = 64;
const LONGEST_KEY: u64 = 16 * 1024;

/// Longest line that is read from the terminal, and longest policy file that is added to, in bytes.
const LONGEST_LINE: u64 = 4096;
const LONGEST_POLICY: u64 = 1 << 20;

/// The file of a key that is made here, in `~/.ssh`.
const OWN_KEY: &str = "agentbox_approver";

/// Arguments of `agentbox init`.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArguments {
    /// The public key to approve with, without asking
    #[arg(long, value_name = "FILE.pub")]
    key: Option<PathBuf>,
}

/// Sets it up.
pub(crate) fn run(arguments: &InitArguments) -> ExitCode {
    match init(arguments) {
        Ok(said) => {
            let _ = io::stdout().lock().write_all(said.as_bytes());
            ExitCode::SUCCESS
        }
        Err(fault) => fault.exit(),
    }
}

fn failed(what: String) -> impl FnOnce(io::Error) -> Fault {
    move |error| Fault::Failed(format!("{what}: {error}"))
}

fn init(arguments: &InitArguments) -> Result<String, Fault> {
    if inside().is_some() {
        return Err(Fault::Failed("this is for the person outside the box".to_owned()));
    }
    let workspace = std::env::current_dir().map_err(failed("the working directory".to_owned()))?;
    let arguments_of_policy = PolicyArguments { workspace, ..PolicyArguments::default() };
    let read = || policy_files::read(&arguments_of_policy).map_err(|error| Fault::Failed(error.to_string()));
    let loaded = read()?;
    let [config, _] = &loaded.own_folders;
    let file = config.join("policy.toml");
    if !loaded.policy.settings().approval.approvers.is_empty() {
        return Ok(format!("The policy names an approver already. `{}` is where yours would stand.\n", file.display()));
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).ok_or_else(|| Fault::Failed("HOME is not set".to_owned()))?;
    let key = match &arguments.key {
        Some(key) => {
            let key = std::path::absolute(key).map_err(failed(key.display().to_string()))?;
            fitting(&key).ok_or_else(|| Fault::No(format!("{} is no public key that can sign rulings", key.display())))?;
            key
        }
        None => choose(&home)?,
    };
    let shown = key.strip_prefix(&home).map_or_else(|_| key.display().to_string(), |below| format!("~/{}", below.display()));
    let quoted = toml_string(&shown).ok_or_else(|| Fault::No("the key's path holds characters that a policy cannot; move it".to_owned()))?;
    let lines = format!("[approval]\napprover = [{quoted}]\nown      = [{quoted}]\n");
    add(&file, &lines)?;
    // What was written must be a policy, with the very key in it.
    if read()?.policy.settings().approval.approvers.is_empty() {
        return Err(Fault::Failed(format!("{} was written, and does not count: `agentbox policy check` says why", file.display())));
    }
    Ok(format!(
        "{}: approvals are signed with {shown} from the next box on.\nWhat destroys, and what a protected place holds, then takes `agentbox approve ID` and that key.\n",
        file.display()
    ))
}

/// A string of TOML; `None` for what would need escapes that a path should not have.
fn toml_string(text: &str) -> Option<String> {
    (!text.contains(['"', '\\']) && !text.chars().any(char::is_control)).then(|| format!("\"{text}\""))
}

/// Adds the lines to the person's own policy, or makes it. A section that is there is theirs to change.
fn add(file: &Path, lines: &str) -> Result<(), Fault> {
    let own = |error| failed(file.display().to_string())(error);
    if let Some(folder) = file.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(own)?;
    }
    let mut text = String::new();
    match OpenOptions::new().read(true).open(file) {
        Ok(there) => {
            there.take(LONGEST_POLICY).read_to_string(&mut text).map_err(own)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(own(error)),
    }
    if text.lines().any(|line| line.trim_start().starts_with("[approval]")) {
        return Err(Fault::No(format!("{} has an [approval] section: put these lines into it:\n{lines}", file.display())));
    }
    let before = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let gap = if text.is_empty() { "" } else { "\n" };
    let mut out = OpenOptions::new().create(true).append(true).mode(0o600).open(file).map_err(own)?;
    out.write_all(format!("{before}{gap}{lines}").as_bytes()).and_then(|()| out.sync_all()).map_err(own)
}

/// How good a key is to approve with, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    SecurityKey,
    Passphrase,
    Bare,
}

impl Worth {
    const fn words(self) -> &'static str {
        match self {
            Worth::SecurityKey => "on a security key",
            Worth::Passphrase => "with a passphrase",
            Worth::Bare => "WITHOUT a passphrase: whatever runs as you could sign with it",
        }
    }
}

/// How good the key in this file is; `None` where it cannot sign rulings, or its private half is not here.
fn fitting(public: &Path) -> Option<Worth> {
    let mut text = String::new();
    fs::File::open(public).ok()?.take(LONGEST_KEY).read_to_string(&mut text).ok()?;
    let line = text.lines().next()?;
    PublicKey::parse(line).ok()?;
    let private = public.with_extension("");
    if !private.is_file() {
        return None;
    }
    if line.starts_with("sk-") {
        return Some(Worth::SecurityKey);
    }
    let opened =
        Command::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(&private).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    Some(if opened.is_ok_and(|status| status.success()) { Worth::Bare } else { Worth::Passphrase })
}

#[allow(clippy::print_stderr, reason = "a command's talk goes to stderr")]
fn choose(home: &Path) -> Result<PathBuf, Fault> {
    if !io::stdin().is_terminal() {
        return Err(Fault::No("say which key with --key FILE.pub, or run this in a terminal".to_owned()));
    }
    let entries = fs::read_dir(home.join(".ssh")).into_iter().flatten().flatten().take(MOST_KEYS).map(|entry| entry.path());
    let mut keys: Vec<(Worth, PathBuf)> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "pub")).filter_map(|path| Some((fitting(&path)?, path))).collect();
    keys.sort();
    eprintln!("With which key do you approve? Best is one on a security key, then one with a passphrase that is in no ssh-agent.");
    for (index, (worth, path)) in keys.iter().enumerate() {
        eprintln!("  {}  {}  ({})", index + 1, safe::line(&path.display().to_string(), 200), worth.words());
    }
    eprintln!("  n  a new one, made now, with a passphrase");
    let usual = if keys.first().is_some_and(|(worth, _)| *worth < Worth::Bare) { "1" } else { "n" };
    eprint!("Enter takes {usual}: ");
    let mut line = String::new();
    io::stdin().lock().take(LONGEST_LINE).read_line(&mut line).map_err(failed("reading the terminal".to_owned()))?;
    let word = if line.trim().is_empty() { usual } else { line.trim() };
    if word == "n" {
        return make(home);
    }
    let chosen = word.parse::<usize>().ok().and_then(|number| keys.get(number.checked_sub(1)?));
    chosen.map(|(_, path)| path.clone()).ok_or_else(|| Fault::No("nothing was changed: that is none of them".to_owned()))
}

/// `ssh-keygen` asks for the passphrase itself, on the terminal.
fn make(home: &Path) -> Result<PathBuf, Fault> {
    let folder = home.join(".ssh");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed(folder.display().to_string()))?;
    let key = folder.join(OWN_KEY);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-C", "approvals", "-f"])
        .arg(&key)
        .env("SSH_ASKPASS_REQUIRE", "never")
        .status()
        .map_err(|error| Fault::Failed(format!("ssh-keygen cannot be run: {error}; it comes with the package openssh-client")))?;
    if !made.success() {
        return Err(Fault::No("no key was made".to_owned()));
    }
    Ok(key.with_extension("pub"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_made_or_added_to_and_a_section_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agentbox/policy.toml");
        add(&file, "[approval]\nx = 1\n").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "[approval]\nx = 1\n");
        assert!(matches!(add(&file, "[approval]\n"), Err(Fault::No(why)) if why.contains("put these lines")));
        fs::write(&file, "extends = \"claude\"").unwrap();
        add(&file, "[approval]\n").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "extends = \"claude\"\n\n[approval]\n");
    }

    #[test]
    fn only_plain_paths_are_quoted() {
        assert_eq!(toml_string("~/.ssh/a b.pub").unwrap(), "\"~/.ssh/a b.pub\"");
        for bad in ["a\"b", "a\\b", "a\nb"] {
            assert_eq!(toml_string(bad), None);
        }
    }
}
