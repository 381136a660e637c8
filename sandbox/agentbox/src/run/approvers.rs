//! Reads the keys by which rulings are signed, before the box starts: what the agent does later changes none of them.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use agentbox_core::policy::settings::{Approval, ApproverKey};
use agentbox_desk::signature::{Approvers, BadKeys, KeyText};

/// Longest file of keys, in bytes.
const LONGEST_FILE: u64 = 256 * 1024;

/// Why the keys cannot be used. Nothing could be approved, so nothing starts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoKeys {
    /// A file cannot be read.
    #[error("policy: approval.approver: reading {}: {source}", path.display())]
    Unread {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// What is in it is no key.
    #[error("policy: approval.approver: {0}")]
    Bad(#[from] BadKeys),
}

/// Reads them.
pub(crate) fn read(approval: &Approval) -> Result<Approvers, NoKeys> {
    Ok(Approvers::read(&texts(&approval.approvers)?, &texts(&approval.own)?)?)
}

fn texts(keys: &[ApproverKey]) -> Result<Vec<KeyText>, NoKeys> {
    keys.iter()
        .map(|key| match key {
            ApproverKey::Line(line) => Ok(KeyText { file: None, text: line.clone() }),
            ApproverKey::File(path) => match read_file(path) {
                Ok(text) => Ok(KeyText { file: Some(path.clone()), text }),
                Err(source) => Err(NoKeys::Unread { path: path.clone(), source }),
            },
        })
        .collect()
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(LONGEST_FILE + 1).read_to_string(&mut text)?;
    if u64::try_from(read).is_ok_and(|read| read > LONGEST_FILE) {
        return Err(io::Error::other(format!("it is longer than {LONGEST_FILE} bytes")));
    }
    Ok(text)
}

/// The files with public keys: no agent may put another key into one, for the next box.
pub(crate) fn public_files(approval: &Approval) -> impl Iterator<Item = &Path> {
    approval.approvers.iter().chain(&approval.own).filter_map(|key| match key {
        ApproverKey::File(path) => Some(path.as_path()),
        ApproverKey::Line(_) => None,
    })
}

/// The private keys that lie beside them: no agent may read one, wherever it lies.
pub(crate) fn private_files(approval: &Approval) -> impl Iterator<Item = PathBuf> {
    public_files(approval).filter(|path| path.extension().is_some_and(|extension| extension == "pub")).map(|path| path.with_extension(""))
}
