//! The process that holds the credentials: started before the box, it says what the box sees instead of them.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io,
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    path::Path,
    sync::Arc,
};

use agentbox_broker::looker::{self, Lines, LookerConfig};
use agentbox_core::{policy::Policy, safe, wire::Issued};
use agentbox_kernel::{
    mounts::{FileFence, Provided},
    process::{Child, First, fork_child},
    selfguard::{self, Role},
};

use super::{hand, supervise::Voice};
use crate::commands::run::chain;

/// The process, and our end of its line for releases.
pub(super) type Keeper = (Child, UnixStream);

/// The socket between broker and holder, where the policy has credentials: the broker's end first.
pub(super) fn line(policy: &Policy) -> io::Result<Option<(UnixStream, UnixStream)>> {
    if policy.credential_rules().is_empty() { Ok(None) } else { UnixStream::pair().map(Some) }
}

/// Starts it; none where the policy has no credentials. `environment` is what the box would have.
pub(super) fn start(policy: &Arc<Policy>, line: Option<UnixStream>, environment: &[(OsString, OsString)], voice: Voice) -> Result<Option<Keeper>, String> {
    let Some(broker) = line else { return Ok(None) };
    let (ours, releases) = UnixStream::pair().map_err(|error| chain(&error))?;
    let credentials = policy.credential_rules().to_vec();
    let variables: Vec<(String, String)> =
        environment.iter().filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()))).collect();
    let policy = policy.clone();
    let keep = [broker.as_raw_fd(), releases.as_raw_fd()];
    let body = move |socket| {
        let mut config = LookerConfig::new(credentials, policy);
        let issued = config.read_secrets(&variables);
        let said = hand::over(&socket, &issued).and_then(|()| hand::over(&broker, &issued.placeholders));
        if let Err(error) = said {
            voice.say(&format!("agentbox: the credentials cannot be used: {error}"));
            return 1;
        }
        if let Err(error) = selfguard::guard(Role::Looker) {
            voice.say(&format!("agentbox: the process of the credentials cannot be fenced, so none is used: {}", chain(&error)));
            return 1;
        }
        looker::run(config.with_lines(Lines { broker, releases }), socket)
    };
    let child = fork_child(First::Parent, &keep, body).map_err(|error| chain(&error))?;
    Ok(Some((child, ours)))
}

/// Puts the placeholders where the box sees them: into its environment, and over the files that hold the secrets.
///
/// A variable or a file whose placeholder could not be made is not shown at all.
pub(super) fn show(
    policy: &Policy,
    keeper: Option<Keeper>,
    environment: &mut Vec<(OsString, OsString)>,
    fence: &mut FileFence,
    voice: Voice,
) -> Result<Option<Keeper>, String> {
    let Some((child, releases)) = keeper else { return Ok(None) };
    let issued: Issued = hand::receive(&child.socket).map_err(|error| format!("the process of the credentials did not start: {error}"))?;
    for warning in &issued.warnings {
        voice.say(&format!("agentbox: warning: {}", safe::line(warning, 300)));
    }
    let rules = policy.credential_rules();
    let named: BTreeSet<&str> = rules.iter().flat_map(|rule| rule.variables()).chain(issued.variables.iter().map(|(name, _)| name.as_str())).collect();
    // What is not text could not be looked through.
    environment.retain(|(name, value)| value.to_str().is_some() && name.to_str().is_some_and(|name| !named.contains(name)));
    environment.extend(issued.variables.into_iter().map(|(name, value)| (name.into(), value.into())));
    // Masked as well, below what is shown: a mask is watched, and one that falls, since somebody outside replaced the file, ends the box.
    fence.masked.extend(rules.iter().flat_map(|rule| rule.shown_in()).filter_map(real));
    // The placeholder takes the place of the file itself, also where a link leads to it.
    fence
        .provided
        .extend(issued.files.into_iter().map(|(path, text)| Provided { path: real(&path).unwrap_or(path), contents: Arc::new(text.into_bytes().into()) }));
    Ok(Some((child, releases)))
}

fn real(path: &Path) -> Option<std::path::PathBuf> {
    std::fs::canonicalize(path).ok()
}
