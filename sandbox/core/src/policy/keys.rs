//! Every key of the policy file, section by section: what the parser accepts, and what schema and documentation must name.

/// Top level.
pub(super) const TOP: &[&str] = &[
    "extends",
    "place",
    "credential",
    "channel",
    "rule",
    "example",
    "approval",
    "require",
    "limits",
    "env",
    "names",
    "roots",
    "pass-through",
    "protocols",
    "forward",
    "publish",
    "sockets",
    "caches",
    "folders",
    "nested-userns",
    "kernel-gate",
];
/// `[place.NAME]`
pub(super) const PLACE: &[&str] =
    &["paths", "hosts", "resources", "read", "write", "destroy", "protected", "approvers", "confirm", "somebody-else", "lease", "credentials", "environment"];
/// `[credential.NAME]`
pub(super) const CREDENTIAL: &[&str] = &["source", "for", "allow", "expires", "env", "files", "environment"];
/// `[channel.NAME]`
pub(super) const CHANNEL: &[&str] = &["type", "url", "secret", "from", "to", "user"];
/// `[[rule]]`
pub(super) const RULE: &[&str] = &["name", "place", "operation", "effect", "resource", "verdict", "expires"];
/// `[[example]]`
pub(super) const EXAMPLE: &[&str] = &["operation", "verdict"];
/// `[approval]`
pub(super) const APPROVAL: &[&str] = &["patience", "client-patience", "hold-in-transaction", "channels", "approver", "own", "unsigned"];
/// `[limits]`
pub(super) const LIMITS: &[&str] = &["processes", "open-files", "memory", "file-size", "connections", "holds", "alike", "burst"];
/// `[env]`
pub(super) const ENV: &[&str] = &["pass", "set"];

/// Channels that this version has.
pub(super) const CHANNELS: &[&str] = &["terminal", "web", "desktop"];

/// What `kernel-gate` may be.
pub(super) const KERNEL_GATES: &[&str] = &["refuse", "judge"];

/// What `require` may name besides `landlock>=N`: the layers of `agentbox doctor`.
pub const LAYERS: &[&str] = &[
    "user-namespace",
    "mount-namespace",
    "pid-namespace",
    "network-namespace",
    "ipc-namespace",
    "uts-namespace",
    "landlock",
    "seccomp",
    "file-gate",
    "cgroup",
    "connect-probes",
    "kernel-gate",
];
