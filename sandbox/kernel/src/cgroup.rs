//! Limits for the box as a whole, where a cgroup v2 has been delegated to this user.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use agentbox_core::policy::settings::Limits;
use nix::unistd::Pid;

use crate::layer::{Layer, LayerReport};

/// Where cgroup v2 is mounted, alone or beside the old hierarchies.
const MOUNTS: &[&str] = &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// A cgroup of one box; removed with it.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

/// Makes a cgroup below our own. Only where the policy sets a limit that it can enforce: making and removing one takes
/// milliseconds, and without a limit it enforces nothing.
pub(crate) fn make(session: &str, limits: &Limits) -> Result<Cgroup, String> {
    if limits.memory.is_none() && limits.processes.is_none() {
        return Err("the policy sets no limit that needs one".to_owned());
    }
    let own = own_path().ok_or("no cgroup v2 is mounted")?;
    let path = own.join(format!("agentbox-{session}"));
    let failed = |what: &str, error: &io::Error| format!("{what} {}: {error}", path.display());
    fs::create_dir(&path).map_err(|error| failed("cannot make", &error))?;
    let cgroup = Cgroup { path: path.clone() };
    if let Some(bytes) = limits.memory {
        fs::write(path.join("memory.max"), bytes.to_string()).map_err(|error| failed("cannot limit the memory of", &error))?;
        // A box that is out of memory ends whole, and is not left half killed.
        let _ = fs::write(path.join("memory.oom.group"), "1");
    }
    if let Some(count) = limits.processes {
        fs::write(path.join("pids.max"), count.to_string()).map_err(|error| failed("cannot limit the processes of", &error))?;
    }
    Ok(cgroup)
}

/// The cgroup that this process is in.
pub(crate) fn own_path() -> Option<PathBuf> {
    let lines = fs::read_to_string("/proc/self/cgroup").ok()?;
    let relative = lines.lines().find_map(|line| line.strip_prefix("0::"))?.trim_start_matches('/').to_owned();
    MOUNTS.iter().map(Path::new).find(|mount| mount.join("cgroup.controllers").exists()).map(|mount| mount.join(relative))
}

/// What is said where there is none.
pub(crate) fn missing(why: &str) -> LayerReport {
    LayerReport::missing(Layer::Cgroup, why, "run in a systemd user session with delegation: `systemd-run --user --scope -p Delegate=yes agentbox run …`")
}

impl Cgroup {
    /// Moves a process into it.
    pub(crate) fn take(&self, pid: Pid) -> io::Result<()> {
        fs::write(self.path.join("cgroup.procs"), pid.to_string())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}
