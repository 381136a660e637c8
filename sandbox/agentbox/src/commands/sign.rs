//! How a person signs a ruling: with their own key, by `ssh-keygen -Y sign`, on their own terminal. No command of its own.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use agentbox_core::safe;
use agentbox_desk::{
    Card,
    signature::{LONGEST_SIGNATURE, NAMESPACE, PublicKey, statement},
};

use super::desk::Fault;

/// Public keys in `~/.ssh` that are looked through.
const MOST_KEYS: usize = 256;

/// Longest public key file that is looked at, in bytes.
const LONGEST_KEY: u64 = 16 * 1024;

/// Signs what `card` asks for. Asks on the terminal for the passphrase, the PIN or the touch that the key wants.
///
/// No ssh-agent is asked: it would sign for whatever runs as the same user.
pub(crate) fn sign(card: &Card, typed: Option<&str>, lasting: Option<Duration>, key: Option<&Path>) -> Result<String, Fault> {
    let text = statement(card, typed, lasting).ok_or_else(|| Fault::No(format!("{} is approved already", card.id)))?;
    let key = match key {
        Some(key) => private(key),
        None => find(card)?,
    };
    warn_of_a_bare_key(&key);
    let mut child = keygen()
        .args(["-Y", "sign", "-n", NAMESPACE, "-f"])
        .arg(&key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Fault::Failed(format!("ssh-keygen cannot be run: {error}; it comes with the package openssh-client")))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(text.as_bytes()).map_err(|error| Fault::Failed(format!("telling ssh-keygen what to sign: {error}")))?;
    }
    let mut signature = String::new();
    if let Some(output) = child.stdout.take() {
        let read = output.take(LONGEST_SIGNATURE as u64).read_to_string(&mut signature);
        read.map_err(|error| Fault::Failed(format!("reading the signature: {error}")))?;
    }
    let status = child.wait().map_err(|error| Fault::Failed(format!("waiting for ssh-keygen: {error}")))?;
    if status.success() { Ok(signature) } else { Err(Fault::No(format!("not approved: ssh-keygen did not sign with {}", shown(&key)))) }
}

/// `ssh-keygen`, without anything that could sign or answer in the person's place.
fn keygen() -> Command {
    let mut command = Command::new("ssh-keygen");
    command.env_remove("SSH_AUTH_SOCK").env("SSH_ASKPASS_REQUIRE", "never");
    command
}

/// Said, not refused: it is the person's own key, and a script's in tests. But it proves little.
#[allow(clippy::print_stderr, reason = "a command's talk goes to stderr")]
fn warn_of_a_bare_key(key: &Path) {
    let opened = keygen().args(["-y", "-P", "", "-f"]).arg(key).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).output();
    // A security key's file has no secret in it.
    let on_a_security_key = |line: &[u8]| line.starts_with(b"sk-");
    if opened.is_ok_and(|output| output.status.success() && !on_a_security_key(&output.stdout)) {
        eprintln!("agentbox: warning: {} has no passphrase: whatever runs as you can sign with it. `ssh-keygen -p -f` sets one", shown(key));
    }
}

fn shown(path: &Path) -> String {
    safe::line(&path.display().to_string(), 200)
}

/// The private key's file, whichever of the two was named.
fn private(key: &Path) -> PathBuf {
    if key.extension().is_some_and(|extension| extension == "pub") { key.with_extension("") } else { key.to_owned() }
}

/// A key of this person that the policy names: beside the policy's own file, else in `~/.ssh`.
fn find(card: &Card) -> Result<PathBuf, Fault> {
    let signers = &card.wants.signers;
    if signers.is_empty() {
        return Err(Fault::No("the policy names no key that could sign: `approval.approver`".to_owned()));
    }
    let beside = signers.iter().filter_map(|signer| signer.file.as_deref()).map(private);
    if let Some(key) = beside.into_iter().find(|key| key.is_file()) {
        return Ok(key);
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let entries = std::fs::read_dir(home.join(".ssh")).into_iter().flatten().take(MOST_KEYS).flatten();
    let names = |path: &Path| -> Option<String> {
        let mut text = String::new();
        std::fs::File::open(path).ok()?.take(LONGEST_KEY).read_to_string(&mut text).ok()?;
        PublicKey::parse(text.lines().next()?).ok().map(|(key, _)| key.fingerprint())
    };
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pub") && private(path).is_file())
        .find(|path| names(path).is_some_and(|name| signers.iter().any(|signer| signer.fingerprint == name)))
        .map(|path| private(&path))
        .ok_or_else(|| {
            let names: Vec<String> = signers.iter().take(4).map(|signer| format!("{} {}", signer.name, signer.fingerprint)).collect();
            Fault::No(format!("none of the policy's keys is here; say which with --key FILE. It may be signed with: {}", names.join(", ")))
        })
}
