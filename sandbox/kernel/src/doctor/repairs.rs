//! What `doctor --fix` can set right by itself: a file that the system reads at its start, and the command that makes it count now.

use std::path::{Path, PathBuf};

use super::fixes::Settings;

/// One thing to set right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// What it does, for whoever must allow it.
    pub what: String,
    /// The file that is written.
    pub file: PathBuf,
    /// What is written.
    pub contents: String,
    /// What makes it count at once.
    pub command: Vec<String>,
}

/// Where AppArmor looks for profiles.
const PROFILE: &str = "/etc/apparmor.d/agentbox";

/// Where sysctl settings are kept.
const SYSCTL: &str = "/etc/sysctl.d/60-agentbox.conf";

/// What can be set right on this machine for the program at this path.
#[must_use]
pub fn repairs(program: &Path) -> Vec<Repair> {
    of(Settings::read(), program)
}

fn of(settings: Settings, program: &Path) -> Vec<Repair> {
    let mut repairs = Vec::new();
    let mut lines = Vec::new();
    if settings.debian_switch == Some(0) {
        lines.push("kernel.unprivileged_userns_clone = 1");
    }
    if settings.most_namespaces == Some(0) {
        lines.push("user.max_user_namespaces = 15000");
    }
    if !lines.is_empty() {
        repairs.push(Repair {
            what: format!("lets ordinary users make user namespaces ({})", lines.join(", ")),
            file: SYSCTL.into(),
            contents: format!("# Written by `agentbox doctor --fix`: a box of an ordinary user is a user namespace.\n{}\n", lines.join("\n")),
            command: ["sysctl", "--load", SYSCTL].map(str::to_owned).to_vec(),
        });
    }
    if settings.apparmor_restricts.is_some_and(|value| value != 0)
        && let Some(path) = quoted(program)
    {
        repairs.push(Repair {
            what: format!("lets {path} make user namespaces; all other programs stay restricted"),
            file: PROFILE.into(),
            contents: format!(
                "# Written by `agentbox doctor --fix`. It confines nothing: agentbox builds its own fences, for which it needs a user namespace.\n\
                 abi <abi/4.0>,\ninclude <tunables/global>\n\nprofile agentbox {path} flags=(unconfined) {{\n  userns,\n\n  include if exists <local/agentbox>\n}}\n"
            ),
            command: ["apparmor_parser", "--replace", PROFILE].map(str::to_owned).to_vec(),
        });
    }
    repairs
}

/// A path as AppArmor reads it; none for one that its language cannot tell apart from a pattern.
fn quoted(program: &Path) -> Option<String> {
    let text = program.to_str()?;
    let plain = text.starts_with('/') && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+ ".contains(c));
    plain.then(|| format!("\"{text}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_machine_needs_nothing() {
        let open = Settings { debian_switch: Some(1), most_namespaces: Some(60_000), apparmor_restricts: Some(0), ..Settings::default() };
        assert_eq!(of(open, Path::new("/usr/bin/agentbox")), []);
        assert_eq!(of(Settings::default(), Path::new("/usr/bin/agentbox")), []);
    }

    #[test]
    fn apparmor_gets_a_profile_for_this_program_alone() {
        let ubuntu = Settings { apparmor_restricts: Some(1), ..Settings::default() };
        let [repair] = of(ubuntu, Path::new("/opt/agent box/agentbox")).try_into().unwrap();
        assert_eq!(repair.file, Path::new(PROFILE));
        assert!(repair.contents.contains("profile agentbox \"/opt/agent box/agentbox\" flags=(unconfined) {\n  userns,\n"), "{}", repair.contents);
        assert_eq!(repair.command, ["apparmor_parser", "--replace", PROFILE]);
        for pattern in ["/opt/*/agentbox", "/opt/{a,b}/agentbox", "/opt/a\"b", "agentbox"] {
            assert_eq!(of(ubuntu, Path::new(pattern)), [], "{pattern}");
        }
    }

    #[test]
    fn switches_that_are_off_share_a_file() {
        let closed = Settings { debian_switch: Some(0), most_namespaces: Some(0), ..Settings::default() };
        let [repair] = of(closed, Path::new("/usr/bin/agentbox")).try_into().unwrap();
        assert!(repair.contents.ends_with("kernel.unprivileged_userns_clone = 1\nuser.max_user_namespaces = 15000\n"), "{}", repair.contents);
    }
}
