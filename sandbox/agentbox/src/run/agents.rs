//! The agents that `agentbox run NAME` knows: which profile fits, and which command starts them.

use std::{
    env,
    ffi::OsString,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// A known agent.
#[derive(Debug)]
pub(crate) struct Agent {
    /// What a person types.
    pub(crate) name: &'static str,
    /// The shipped profile.
    pub(crate) profile: &'static str,
    /// Its commands, the preferred one first.
    commands: &'static [&'static str],
    /// What it is told before a person's own words, which count for more.
    words: &'static [&'static str],
}

/// All of them. Adding one is one line, and a profile in `policies/`.
pub(crate) const AGENTS: &[Agent] = &[
    Agent { name: "aider", profile: "aider", commands: &["aider"], words: &[] },
    Agent { name: "claude", profile: "claude", commands: &["claude"], words: &[] },
    // Its own sandbox mounts, which nothing can in a box; without this each of its commands would fail.
    Agent { name: "codex", profile: "codex", commands: &["codex"], words: &["-c", "sandbox_mode=\"danger-full-access\""] },
    Agent { name: "cursor", profile: "cursor", commands: &["cursor-agent", "cursor"], words: &[] },
    Agent { name: "gemini", profile: "gemini", commands: &["gemini"], words: &[] },
    Agent { name: "opencode", profile: "opencode", commands: &["opencode"], words: &[] },
];

/// The agent with this name.
pub(crate) fn find(name: &str) -> Option<&'static Agent> {
    AGENTS.iter().find(|agent| agent.name == name)
}

impl Agent {
    /// The command that is installed, its program as an absolute path, or what to do.
    pub(crate) fn command(&self) -> Result<Vec<OsString>, String> {
        let path = env::var_os("PATH").unwrap_or_default();
        let program = self
            .commands
            .iter()
            .find_map(|command| find_in(&path, command))
            .map(PathBuf::into_os_string)
            .ok_or_else(|| format!("{} is not installed: {} is not in PATH", self.name, self.commands.join(" or ")))?;
        Ok(std::iter::once(program).chain(self.words.iter().map(OsString::from)).collect())
    }
}

fn find_in(path: &OsString, command: &str) -> Option<PathBuf> {
    env::split_paths(path).map(|folder| folder.join(command)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_executable_and_skips_plain_files() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("a");
        std::fs::create_dir_all(&plain).unwrap();
        std::fs::write(plain.join("tool"), "").unwrap();
        let good = folder.path().join("b");
        std::fs::create_dir_all(&good).unwrap();
        std::fs::write(good.join("tool"), "").unwrap();
        std::fs::set_permissions(good.join("tool"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = env::join_paths([&plain, &good]).unwrap();
        assert_eq!(find_in(&path, "tool"), Some(good.join("tool")));
        assert_eq!(find_in(&path, "missing"), None);
    }
}
