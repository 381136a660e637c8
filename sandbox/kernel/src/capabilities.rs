//! Takes every capability from a process, and the ways to get one back.

use caps::{CapSet, errors::CapsError};
use nix::errno::Errno;

use crate::sys;

/// SECBIT_NOROOT, SECBIT_NO_SETUID_FIXUP, SECBIT_KEEP_CAPS cleared, SECBIT_NO_CAP_AMBIENT_RAISE; each of the four with its lock.
///
/// NOROOT: running a program as uid 0 gives it nothing. NO_SETUID_FIXUP: no change of uid brings anything back.
const SECUREBITS: libc::c_ulong = 0b1110_1111;

/// No kernel numbers its capabilities beyond a 64-bit set; the last one today is 40.
const MOST_CAPABILITIES: u8 = 64;

/// What could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum CapabilitiesError {
    /// `prctl(PR_CAPBSET_DROP)`.
    #[error("cannot take capability {0} out of the bounding set")]
    Bounding(u8, #[source] Errno),
    /// `prctl(PR_SET_SECUREBITS)`.
    #[error("cannot lock the securebits")]
    Securebits(#[source] Errno),
    /// `capset(2)` or `prctl(PR_CAP_AMBIENT)`.
    #[error("cannot clear the capability sets: {0}")]
    Sets(CapsError),
    /// They are still there.
    #[error("capabilities are left after dropping them")]
    Left,
}

/// Drops all capabilities of this thread from every set, and locks the doors through which they could come back.
///
/// Securebits and the bounding set need CAP_SETPCAP. A process that never had it (an ordinary user's) cannot change them, and need not:
/// with empty sets and no_new_privs neither can give it anything. That is the only failure that is passed over.
///
/// # Errors
/// Something could not be taken.
pub fn drop_all() -> Result<(), CapabilitiesError> {
    lock_doors()?;
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).map_err(CapabilitiesError::Sets)?;
    }
    // The ambient set is not asked for: the kernel keeps it within the two others, and it takes a call for each capability.
    for set in [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        if !caps::read(None, set).map_err(CapabilitiesError::Sets)?.is_empty() {
            return Err(CapabilitiesError::Left);
        }
    }
    Ok(())
}

/// Locks the doors alone: what this thread and those that it starts have, they keep until they drop it. A part of [`drop_all`].
///
/// # Errors
/// As there.
pub(crate) fn lock_doors() -> Result<(), CapabilitiesError> {
    let may = caps::has_cap(None, CapSet::Effective, caps::Capability::CAP_SETPCAP).map_err(CapabilitiesError::Sets)?;
    if may {
        sys::prctl::set_securebits(SECUREBITS).map_err(CapabilitiesError::Securebits)?;
        empty_bounding_set()?;
    }
    Ok(())
}

/// By number, not by the list of the `caps` crate: a newer kernel may have one that the list does not know.
fn empty_bounding_set() -> Result<(), CapabilitiesError> {
    for capability in 0..MOST_CAPABILITIES {
        match sys::prctl::bounding_set_has(capability) {
            Ok(true) => sys::prctl::drop_from_bounding_set(capability).map_err(|e| CapabilitiesError::Bounding(capability, e))?,
            Ok(false) => {}
            // Beyond the kernel's last.
            Err(Errno::EINVAL) => break,
            Err(error) => return Err(CapabilitiesError::Bounding(capability, error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::in_child;

    fn status(field: &str) -> Result<String, String> {
        let text = std::fs::read_to_string("/proc/self/status").map_err(|e| e.to_string())?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
        Ok(line.trim_start_matches(':').trim().to_owned())
    }

    #[test]
    fn nothing_is_left() {
        let root = nix::unistd::geteuid().is_root();
        let trial = in_child(move || {
            drop_all().map_err(|e| e.to_string())?;
            let mut fields = vec!["CapInh", "CapPrm", "CapEff", "CapAmb"];
            if root {
                fields.push("CapBnd");
            }
            for field in fields {
                let value = status(field)?;
                if !value.trim_start_matches('0').is_empty() {
                    return Err(format!("{field} is {value}"));
                }
            }
            // Twice is as once.
            drop_all().map_err(|e| e.to_string())?;
            Ok(String::new())
        });
        assert_eq!(trial.result(), Ok(String::new()));
    }

    #[test]
    fn running_a_program_as_root_brings_nothing_back() {
        if !nix::unistd::geteuid().is_root() {
            println!("SKIPPED: only root could get capabilities back by running a program");
            return;
        }
        let trial = in_child(|| {
            drop_all().map_err(|e| e.to_string())?;
            if sys::prctl::securebits() != Ok(SECUREBITS) {
                return Err("the securebits are not as wanted".to_owned());
            }
            let out = std::process::Command::new("grep").args(["CapEff", "/proc/self/status"]).output().map_err(|e| e.to_string())?;
            Ok(String::from_utf8_lossy(&out.stdout).split_whitespace().last().unwrap_or_default().to_owned())
        });
        assert_eq!(trial.result(), Ok("0000000000000000".to_owned()));
    }
}
