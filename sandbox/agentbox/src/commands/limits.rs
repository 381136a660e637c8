//! What no program can do in a box, whoever is asked, and what to do instead: no refusal tells of it, since the kernel says no by itself.

/// One of them.
struct Limit {
    /// What a person or an agent would ask about, the plainest first.
    words: &'static [&'static str],
    told: &'static str,
}

const LIMITS: &[Limit] = &[
    Limit {
        words: &["sandbox", "bwrap", "bubblewrap", "unshare", "namespace", "userns", "mount", "pivot_root"],
        told: "\
A program's own sandbox that mounts something (bubblewrap, and so Codex's and Claude Code's; unshare --mount; containers without root) cannot be made in a box:
the kernel lets no process change mounts that Landlock holds. The box is the sandbox already, so run the program without its own: codex --sandbox
danger-full-access, chromium --no-sandbox. A sandbox of user namespaces alone (Chromium's, not as root) works where the policy says nested-userns = true.
",
    },
    Limit {
        words: &["sudo", "su", "root", "setuid", "apt", "apt-get", "dnf"],
        told: "\
No program has more rights in a box than the one that started it: sudo, su and whatever else is set-user-id cannot work, and the system is read-only. What takes
root is for the person to do outside. Tools that install below the home or in the workspace (npm, pip in a venv, cargo, uv) work.
",
    },
    Limit {
        words: &["docker", "podman", "container", "containers", "compose", "docker.sock"],
        told: "\
The sockets of Docker and its kin are not in a box, and no policy opens them: whoever speaks there acts with root's rights on the machine. The person starts
containers outside; a port of theirs is reached at the same port if the box is run with --forward PORT.
",
    },
    Limit {
        words: &["signing", "sign", "gpg", "gpgsign", "keys", "ssh-agent"],
        told: "\
Keys in ~/.gnupg and ~/.ssh, and the agents that hold them, are hidden. Where git wants to sign commits: git -c commit.gpgsign=false commit, and the person signs
outside (git rebase --exec 'git commit --amend --no-edit -S').
",
    },
    Limit { words: &["ping", "icmp", "udp", "raw", "traceroute"], told: "Only TCP and the lookup of names lead out of a box: ICMP and other UDP lead nowhere.\n" },
];

/// Of this word, what is told.
pub(super) fn about(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    LIMITS.iter().find(|limit| limit.words.contains(&word.as_str())).map(|limit| limit.told)
}

/// A line that names them all.
pub(super) fn all() -> String {
    let words: Vec<_> = LIMITS.iter().filter_map(|limit| limit.words.first()).copied().collect();
    format!("What no box can do nobody is asked about; `agentbox why WORD` tells what to do instead, WORD being one of: {}.\n", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_words_and_no_two_share_one() {
        let mut words: Vec<_> = LIMITS.iter().flat_map(|limit| limit.words).collect();
        let count = words.len();
        words.sort();
        words.dedup();
        assert_eq!(words.len(), count);
        assert!(words.iter().all(|word| about(word).is_some()) && about("BWRAP").is_some());
        assert!(about("localhost:5432").is_none());
        assert!(LIMITS.iter().all(|limit| limit.words.first().is_some_and(|word| all().contains(word))));
    }
}
