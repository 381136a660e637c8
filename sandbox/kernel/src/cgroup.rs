//! Limits for the box as a whole, where a cgroup v2 has been delegated to this user.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use agentbox_core::policy::settings::Limits;
use nix::unistd::{Pid, geteuid};

use crate::{
    launch::Probed,
    layer::{Layer, LayerReport},
    rlimits,
};

/// Where cgroup v2 is mounted, alone or beside the old hierarchies.
const MOUNTS: &[&str] = &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// A cgroup of one box; removed with it.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

/// The box's cgroup, where it has one, and why not all that the policy limits holds for the box as a whole.
///
/// Where the policy does not limit processes, a default does, if a cgroup is made anyway, or if the box is root's, whom nothing else bounds.
pub(crate) fn of_the_box(session: &str, limits: &Limits, probes: Probed) -> (Option<Cgroup>, Option<String>) {
    let made_anyway = probes == Probed::Yes || limits.memory.is_some();
    if limits.processes.is_none() && (made_anyway || geteuid().is_root()) {
        let bounded = Limits { processes: Some(rlimits::most_processes()), ..limits.clone() };
        if let Ok(cgroup) = make(session, &bounded) {
            return (Some(cgroup), None);
        }
    }
    match (make(session, limits), probes) {
        (Ok(cgroup), _) => (Some(cgroup), None),
        (Err(why), Probed::Yes) => (plain(session).ok(), Some(why)),
        (Err(why), Probed::No) => (None, Some(why)),
    }
}

/// Makes a cgroup for a box. Only where the policy sets a limit that it can enforce: making and removing one takes
/// milliseconds, and without a limit it enforces nothing.
pub(crate) fn make(session: &str, limits: &Limits) -> Result<Cgroup, String> {
    let controllers: Vec<&str> = [limits.memory.map(|_| "memory"), limits.processes.map(|_| "pids")].into_iter().flatten().collect();
    if controllers.is_empty() {
        return Err("the policy sets no limit that needs one".to_owned());
    }
    let own = own_path().ok_or("no cgroup v2 is mounted")?;
    // A cgroup with processes in it, as ours, cannot hand its controllers on (the rule of "no internal processes"); so where it does not, the
    // box's lies beside ours. In a systemd user session both belong to the user.
    let beside = own.parent().filter(|parent| parent.join("cgroup.controllers").exists());
    let mut reasons = Vec::new();
    for parent in [Some(own.as_path()), beside].into_iter().flatten() {
        match make_in(parent, session, limits, &controllers) {
            Ok(cgroup) => return Ok(cgroup),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(reasons.join("; "))
}

/// Makes a cgroup without limits: what is attached to it sees the box's processes and no others.
pub(crate) fn plain(session: &str) -> Result<Cgroup, String> {
    let path = own_path().ok_or("no cgroup v2 is mounted")?.join(format!("agentbox-{session}"));
    fs::create_dir(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    Ok(Cgroup { path })
}

/// Entries that are looked at for what is left of boxes.
const MOST_SIBLINGS: usize = 1000;

/// Age from which an empty cgroup is no box that is just starting.
const STALE: Duration = Duration::from_secs(120);

/// Removes cgroups of boxes whose supervisor was killed: they are empty, since no box outlives it. One that is not empty the kernel keeps.
pub(crate) fn sweep() {
    let entries = own_path().and_then(|own| fs::read_dir(own).ok());
    for entry in entries.into_iter().flatten().flatten().take(MOST_SIBLINGS) {
        let is_old = entry.metadata().ok().and_then(|meta| meta.modified().ok()).and_then(|at| at.elapsed().ok()).is_some_and(|age| age > STALE);
        if is_old && entry.file_name().to_string_lossy().starts_with("agentbox-") {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn make_in(parent: &Path, session: &str, limits: &Limits, controllers: &[&str]) -> Result<Cgroup, String> {
    let handed_on = fs::read_to_string(parent.join("cgroup.subtree_control")).map_err(|error| format!("{}: {error}", parent.display()))?;
    if let Some(lacking) = controllers.iter().find(|controller| !handed_on.split_whitespace().any(|handed| handed == **controller)) {
        return Err(format!("{} does not hand on `{lacking}`", parent.display()));
    }
    let path = parent.join(format!("agentbox-{session}"));
    let failed = |what: &str, error: &io::Error| format!("cannot {what} {}: {error}", path.display());
    fs::create_dir(&path).map_err(|error| failed("make", &error))?;
    // From here on it is removed when something fails.
    let cgroup = Cgroup { path: path.clone() };
    if let Some(bytes) = limits.memory {
        fs::write(path.join("memory.max"), bytes.to_string()).map_err(|error| failed("limit the memory of", &error))?;
        // What does not fit must not go to the machine's swap instead, where there is one; and a box that is out of memory ends whole, and is
        // not left half killed.
        let _ = fs::write(path.join("memory.swap.max"), "0");
        let _ = fs::write(path.join("memory.oom.group"), "1");
    }
    if let Some(count) = limits.processes {
        fs::write(path.join("pids.max"), count.to_string()).map_err(|error| failed("limit the processes of", &error))?;
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
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its folder, to be born in or to attach to.
    ///
    /// # Errors
    /// It has gone.
    pub fn open(&self) -> io::Result<OwnedFd> {
        fs::File::open(&self.path).map(OwnedFd::from)
    }

    /// Number of the user namespace of the process that is in it first.
    ///
    /// # Errors
    /// There is none, or it has gone.
    pub(crate) fn users(&self) -> io::Result<u32> {
        let all = fs::read_to_string(self.path.join("cgroup.procs"))?;
        let first = all.lines().next().ok_or_else(|| io::Error::other("nobody is in the box's cgroup"))?;
        let number = fs::metadata(format!("/proc/{first}/ns/user"))?.ino();
        u32::try_from(number).map_err(io::Error::other)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> Limits {
        Limits { processes: Some(100), memory: Some(1 << 30), ..Limits::default() }
    }

    /// A folder that looks like a cgroup: the files of the real one cannot be made here, but what is written to them can be seen.
    fn looks_like_one(hands_on: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cgroup.subtree_control"), hands_on).unwrap();
        folder
    }

    #[test]
    fn limits_are_written_where_controllers_are_handed_on() {
        let parent = looks_like_one("cpu memory pids\n");
        let cgroup = make_in(parent.path(), "s1", &both(), &["memory", "pids"]).unwrap();
        let read = |name: &str| fs::read_to_string(cgroup.path.join(name)).unwrap();
        assert_eq!((read("memory.max"), read("memory.swap.max"), read("pids.max")), ("1073741824".to_owned(), "0".to_owned(), "100".to_owned()));
        cgroup.take(Pid::from_raw(42)).unwrap();
        assert_eq!(fs::read_to_string(cgroup.path.join("cgroup.procs")).unwrap(), "42");
    }

    #[test]
    fn a_controller_that_is_not_handed_on_is_named_and_nothing_is_left() {
        let parent = looks_like_one("cpu pids memory_recursiveprot");
        let why = make_in(parent.path(), "s1", &both(), &["memory", "pids"]).unwrap_err();
        assert!(why.ends_with("does not hand on `memory`"), "{why}");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn without_a_limit_there_is_none() {
        assert!(make("s1", &Limits { open_files: Some(3), ..Limits::default() }).unwrap_err().contains("no limit"));
    }

    #[test]
    fn a_real_one_holds() {
        match make(&format!("test-{}", std::process::id()), &both()) {
            Ok(cgroup) => {
                assert_eq!(fs::read_to_string(cgroup.path.join("pids.max")).unwrap().trim(), "100");
                let path = cgroup.path.clone();
                drop(cgroup);
                assert!(!path.exists(), "it is still there");
            }
            Err(why) => println!("SKIPPED: no cgroup is delegated here: {why}"),
        }
    }
}
