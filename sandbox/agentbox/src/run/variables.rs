//! The variables of a box: those that the policy passes on, and ours.

use std::{collections::BTreeSet, ffi::OsString, path::Path};

use agentbox_core::policy::Policy;

use super::trust;
use crate::commands::run::SESSION_VARIABLE;

/// All of them.
pub(super) fn environment(policy: &Policy, session: &str) -> Vec<(OsString, OsString)> {
    let mut variables = policy.settings().env.filter(std::env::vars_os());
    // Ours win: a proxy is of no use in the box, and the box's trust is ours to tell.
    let ours: Vec<(OsString, OsString)> = trust::variables().chain([(SESSION_VARIABLE.into(), session.into())]).collect();
    let names: BTreeSet<&OsString> = ours.iter().map(|(name, _)| name).collect();
    variables.retain(|(name, _)| !names.contains(name) && !is_proxy(name));
    variables.extend(ours);
    add_own_folder(&mut variables);
    variables
}

/// `agentbox why` must be found in the box, also where the person started agentbox by its path.
fn add_own_folder(variables: &mut [(OsString, OsString)]) {
    let Some(folder) = std::env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned)) else { return };
    let Some((_, path)) = variables.iter_mut().find(|(name, _)| name == "PATH") else { return };
    // Last, so that it hides no program of the person's.
    if !std::env::split_paths(path).any(|entry| entry == folder || entry.join("agentbox").is_file()) {
        path.push(":");
        path.push(folder);
    }
}

fn is_proxy(name: &OsString) -> bool {
    name.to_str().is_some_and(|name| matches!(name.to_ascii_lowercase().as_str(), "http_proxy" | "https_proxy" | "all_proxy" | "ftp_proxy"))
}
