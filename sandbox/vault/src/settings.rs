//! How much is kept, and for how long.

use std::time::Duration;

/// Limits of a vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes on disk for everything in the vault, on a small file system a fifth of it. What a link keeps alive counts.
    pub budget: u64,
    /// Largest file that is copied, in bytes on disk, where it can be neither reflinked nor linked.
    pub copy_file: u64,
    /// Bytes that one session may copy.
    pub copy_session: u64,
    /// Bytes on the vault's file system that no copy takes; on a small one a twentieth of it.
    pub floor: u64,
    /// How long a finished session is certain to stay. After that it goes when its room is needed.
    pub retention: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            budget: 20 * 1024 * MIB,
            copy_file: 512 * MIB,
            copy_session: 4 * 1024 * MIB,
            floor: 512 * MIB,
            retention: Duration::from_secs(14 * 24 * 60 * 60),
        }
    }
}
