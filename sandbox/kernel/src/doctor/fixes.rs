//! From a refusal to the exact thing to do about it.

use std::fs;

use nix::errno::Errno;

/// What a container must be given back.
const IN_A_CONTAINER: &str = "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined …   \
     (Podman: podman run --security-opt seccomp=unconfined --security-opt unmask=ALL …; Kubernetes: securityContext.seccompProfile.type: Unconfined, procMount: Unmasked)";

fn sysctl(path: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/{path}")).ok()?.trim().parse().ok()
}

/// What of this machine's settings explains a refusal. Read once, so that the choice below is a plain function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// `kernel.unprivileged_userns_clone`, a patch of Debian's and Arch's older kernels.
    pub(super) debian_switch: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns`, Ubuntu 23.10 and later.
    pub(super) apparmor_restricts: Option<u64>,
    /// `user.max_user_namespaces`.
    pub(super) most_namespaces: Option<u64>,
    /// Whether we are in a container.
    pub(super) container: Container,
    /// Whether the kernel was built with user namespaces at all.
    pub(super) built: Built,
}

/// Whether somebody else has already put us in a box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Container {
    /// No sign of it.
    #[default]
    None,
    /// A seccomp filter is on us, and nobody left a mark: a service of systemd, or a container that is well hidden.
    Filtered,
    /// Docker, Podman or Kubernetes left their mark.
    Marked,
}

/// Whether a thing is part of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Built {
    /// It is.
    #[default]
    In,
    /// It is not.
    Out,
}

impl Settings {
    pub(super) fn read() -> Self {
        let marked = ["/.dockerenv", "/run/.containerenv", "/run/secrets/kubernetes.io"].iter().any(|mark| fs::exists(mark).unwrap_or(false));
        let filtered = fs::read_to_string("/proc/self/status").is_ok_and(|status| status.lines().any(|line| line == "Seccomp:\t2"));
        Self {
            debian_switch: sysctl("kernel/unprivileged_userns_clone"),
            apparmor_restricts: sysctl("kernel/apparmor_restrict_unprivileged_userns"),
            most_namespaces: sysctl("user/max_user_namespaces"),
            container: match (marked, filtered) {
                (true, _) => Container::Marked,
                (false, true) => Container::Filtered,
                (false, false) => Container::None,
            },
            built: if fs::exists("/proc/self/ns/user").unwrap_or(true) { Built::In } else { Built::Out },
        }
    }

    /// What to do when a user namespace is refused, or is given without power.
    pub(super) fn for_user_namespace(self, errno: Option<Errno>) -> String {
        if self.built == Built::Out {
            return "use a kernel with CONFIG_USER_NS=y".to_owned();
        }
        if self.debian_switch == Some(0) {
            return "sudo sysctl -w kernel.unprivileged_userns_clone=1   (to keep it: the same line in /etc/sysctl.d/60-agentbox.conf)".to_owned();
        }
        if self.most_namespaces == Some(0) || errno == Some(Errno::ENOSPC) || errno == Some(Errno::EUSERS) {
            return "sudo sysctl -w user.max_user_namespaces=15000   (to keep it: the same line in /etc/sysctl.d/60-agentbox.conf)".to_owned();
        }
        if self.apparmor_restricts.is_some_and(|value| value != 0) {
            return "sudo agentbox doctor --fix   (writes an AppArmor profile that lets this program make user namespaces; for all programs: \
                 sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0)"
                .to_owned();
        }
        match self.container {
            Container::Marked => IN_A_CONTAINER.to_owned(),
            // A runner of CI is often such a service, and there is then no container whose options could be changed.
            Container::Filtered => format!(
                "a seccomp filter on this process refuses it. If a service of systemd started it: RestrictNamespaces=no in its [Service], and no @mount in \
                 SystemCallFilter=~… (`systemctl edit UNIT`). If a container did: {IN_A_CONTAINER}"
            ),
            Container::None => "a security module or a chroot refuses it: look at `journalctl -k -g DENIED` and run agentbox outside of chroots".to_owned(),
        }
    }

    /// What to do when `/proc` cannot be mounted in a new PID namespace.
    pub(super) fn for_proc(self) -> String {
        match self.container {
            Container::Filtered | Container::Marked => {
                "the container's own /proc is masked, and the kernel then gives no full one: docker run --security-opt systempaths=unconfined … \
                 (Podman: podman run --security-opt unmask=ALL …; Kubernetes: securityContext.procMount: Unmasked)"
                    .to_owned()
            }
            Container::None => "something is mounted over parts of /proc: `grep /proc/ /proc/mounts` shows it; unmount it".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_machine_gets_its_own_line() {
        let fix = |settings: Settings, errno| settings.for_user_namespace(errno);
        let plain = Settings::default();
        assert!(fix(Settings { debian_switch: Some(0), ..plain }, Some(Errno::EPERM)).starts_with("sudo sysctl -w kernel.unprivileged_userns_clone=1"));
        assert!(fix(Settings { most_namespaces: Some(0), ..plain }, Some(Errno::ENOSPC)).starts_with("sudo sysctl -w user.max_user_namespaces="));
        assert!(fix(Settings { most_namespaces: Some(1), ..plain }, Some(Errno::ENOSPC)).contains("max_user_namespaces"));
        let ubuntu = Settings { apparmor_restricts: Some(1), debian_switch: Some(1), most_namespaces: Some(60_000), ..plain };
        assert!(fix(ubuntu, None).starts_with("sudo agentbox doctor --fix"));
        assert!(
            fix(Settings { apparmor_restricts: Some(0), container: Container::Marked, ..plain }, Some(Errno::EPERM)).starts_with("docker run --security-opt")
        );
        let filtered = fix(Settings { container: Container::Filtered, ..plain }, Some(Errno::EPERM));
        assert!(filtered.contains("RestrictNamespaces=no") && filtered.contains("docker run --security-opt"), "{filtered}");
        assert!(fix(Settings { built: Built::Out, ..plain }, Some(Errno::EINVAL)).contains("CONFIG_USER_NS"));
        assert!(fix(plain, Some(Errno::EPERM)).contains("chroot"));
        assert!(Settings { container: Container::Marked, ..plain }.for_proc().contains("systempaths=unconfined"));
    }
}
