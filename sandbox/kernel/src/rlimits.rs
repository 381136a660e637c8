//! Resource limits of the processes in a box.

use agentbox_core::policy::settings::Limits;
use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, rlim_t, setrlimit},
    unistd::geteuid,
};

use crate::setting::Setting;

/// A crash must not be written anywhere.
///
/// One byte rather than none: a limit of 0 still feeds a crash handler that `core_pattern` names, which runs as root outside
/// the box on data that the agent chose; a limit of exactly 1 is the kernel's word for "not even that" (core(5), do_coredump).
const NO_CORE: rlim_t = 1;

/// A limit that could not be set.
#[derive(Debug, thiserror::Error)]
#[error("cannot set the limit of {what}")]
pub struct RlimitError {
    /// Which.
    pub what: &'static str,
    /// What the kernel said.
    pub source: Errno,
}

/// Sets the policy's limits on this process and all that it will start; soft and hard alike, never above what was inherited.
///
/// Memory, connections and holds are not set here: memory is the cgroup's, the others the broker's and the desk's.
/// `processes` counts all processes of the user in this user namespace, which for an ordinary user's box are those of the box.
///
/// # Errors
/// The kernel refused a limit.
pub fn apply(limits: &Limits) -> Result<(), RlimitError> {
    no_core()?;
    lower("processes", Resource::RLIMIT_NPROC, limits.processes)?;
    lower("open files", Resource::RLIMIT_NOFILE, limits.open_files)?;
    lower("file size", Resource::RLIMIT_FSIZE, limits.file_size)
}

/// Processes and threads of a box where the policy does not say: no day's work needs so many, and a fork bomb ends at it.
const MOST_PROCESSES: u64 = 16_384;

/// Where the kernel says how many the whole machine can have.
const OF_THE_MACHINE: [&str; 2] = ["/proc/sys/kernel/threads-max", "/proc/sys/kernel/pid_max"];

/// The default: on a small machine half of what it can have, so that as many are left to its user.
pub(crate) fn most_processes() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    OF_THE_MACHINE.iter().filter_map(|path| read(path)).map(|most| (most / 2).max(1)).fold(MOST_PROCESSES, u64::min)
}

/// The limits with the default where it means the box alone: in a user namespace of its own the kernel counts that one's processes. Elsewhere it
/// would count all that the user runs, and root it never bounds.
pub(crate) fn with_default(limits: Limits, setting: Setting) -> Limits {
    if setting == Setting::Without || limits.processes.is_some() || geteuid().is_root() {
        return limits;
    }
    Limits { processes: Some(most_processes()), ..limits }
}

/// No core file and no crash handler, for good.
///
/// # Errors
/// The kernel refused.
pub fn no_core() -> Result<(), RlimitError> {
    lower("core files", Resource::RLIMIT_CORE, Some(NO_CORE))
}

fn lower(what: &'static str, resource: Resource, wanted: Option<u64>) -> Result<(), RlimitError> {
    let Some(wanted) = wanted else { return Ok(()) };
    let (_, most) = getrlimit(resource).map_err(|source| RlimitError { what, source })?;
    let limit = wanted.min(most);
    setrlimit(resource, limit, limit).map_err(|source| RlimitError { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::in_child;

    #[test]
    fn limits_hold_and_are_never_raised() {
        let trial = in_child(|| {
            let limits = Limits { open_files: Some(20), file_size: Some(4096), processes: Some(u64::MAX), ..Limits::default() };
            let (_, most) = getrlimit(Resource::RLIMIT_NPROC).map_err(|e| e.to_string())?;
            apply(&limits).map_err(|e| e.to_string())?;
            let read = |r| getrlimit(r).map_err(|e| e.to_string());
            for (resource, wanted) in
                [(Resource::RLIMIT_NOFILE, 20), (Resource::RLIMIT_FSIZE, 4096), (Resource::RLIMIT_NPROC, most), (Resource::RLIMIT_CORE, NO_CORE)]
            {
                if read(resource)? != (wanted, wanted) {
                    return Err(format!("{resource:?} is {:?}", read(resource)?));
                }
            }
            let mut open = Vec::new();
            for _ in 0..40 {
                match std::fs::File::open("/dev/null") {
                    Ok(file) => open.push(file),
                    Err(error) if error.raw_os_error() == Some(libc::EMFILE) => return Ok(String::new()),
                    Err(error) => return Err(error.to_string()),
                }
            }
            Err("forty files are open".to_owned())
        });
        assert_eq!(trial.result(), Ok(String::new()));
    }

    #[test]
    fn no_limits_leave_the_systems() {
        let trial = in_child(|| {
            let before = getrlimit(Resource::RLIMIT_NOFILE);
            apply(&Limits::default()).map_err(|e| e.to_string())?;
            if before == getrlimit(Resource::RLIMIT_NOFILE) { Ok(String::new()) } else { Err("changed".to_owned()) }
        });
        assert_eq!(trial.result(), Ok(String::new()));
    }
}
