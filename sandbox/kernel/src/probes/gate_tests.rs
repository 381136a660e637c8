//! The kernel gate on this kernel, where it lets the programs be loaded: real deeds of real processes in a real cgroup.

use std::{
    fs,
    fs::OpenOptions,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    thread,
    time::Duration,
};

use nix::{sys::wait::waitpid, unistd::Pid};

use super::{Gate, NOBODYS, gate, holder, try_gate};
use crate::cgroup::Cgroup;

pub(super) const DEEDS: &str = include_str!("gate_deeds.py");

/// What only the file gate may do.
const REFUSED: &[&str] = &[
    "unlink",
    "rmdir",
    "rename",
    "over",
    "link",
    "truncate",
    "ftruncate",
    "write",
    "cut",
    "mode",
    "owner",
    "now",
    "times",
    "attribute",
    "unset",
    "acl",
    "ring",
    "worker",
];

/// What loses nothing.
const FREE: &[&str] = &["read", "made", "folder", "symlink", "nameless", "null", "queue"];

/// How often it is tried whether the programs are gone: other tests' children live for some seconds, under emulation for more.
const TRIES: u32 = 60;

/// A cgroup, and files that were there before.
pub(super) struct Ground {
    cgroup: Cgroup,
    folder: PathBuf,
    _kept: tempfile::TempDir,
}

impl Ground {
    pub(super) fn new(name: &str, within: &Path) -> Self {
        let cgroup = crate::cgroup::plain(&format!("{name}-{}", std::process::id())).unwrap();
        let kept = tempfile::Builder::new().prefix("agentbox-gate-").tempdir_in(within).unwrap();
        let folder = kept.path().canonicalize().unwrap();
        fs::create_dir(folder.join("folder")).unwrap();
        for name in ["kept", "other", "open"] {
            fs::write(folder.join(name), "precious").unwrap();
        }
        fs::write(folder.join("deeds.py"), DEEDS).unwrap();
        Self { cgroup, folder, _kept: kept }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    fn load(&self) -> gate::Guard {
        gate::load(&self.cgroup.open().unwrap(), NOBODYS, Gate::Refuses).unwrap()
    }

    /// What is run by a process of the cgroup.
    pub(super) fn script(&self, command: &str) -> Command {
        // The descriptor is had before the cgroup is entered: what is done through it is looked at as well.
        let script = format!("exec 3<>open && echo $$ > {}/cgroup.procs && exec {command}", self.cgroup.path().display());
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).current_dir(&self.folder);
        bash
    }

    /// What became of each deed.
    pub(super) fn deeds(&self) -> String {
        let output = self.script("timeout 50 python3 -B deeds.py .").output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// With the programs gone. A child that another test of this process forked meanwhile has our descriptors until it becomes another program
    /// or ends, and the kernel lets go of the programs with the last of them.
    fn is_free(&self) {
        let mut said = String::new();
        for _ in 0..TRIES {
            let _ = fs::create_dir(self.folder.join("folder"));
            said = self.deeds();
            if ["rename ENOENT\n", "rmdir passed\n", "ftruncate passed\n"].iter().all(|line| said.contains(line)) {
                return;
            }
            thread::sleep(Duration::from_secs(1));
        }
        panic!("the programs still refuse {TRIES} tries after they were let go: {said}");
    }

    pub(super) fn is_whole(&self) {
        for name in ["kept", "other", "open"] {
            assert_eq!(fs::read_to_string(self.folder.join(name)).unwrap(), "precious", "{name}");
        }
    }
}

/// Asked once, since the trial has a cgroup of its own. Where it is known that it is here, it must be.
pub(super) fn is_here() -> bool {
    static HERE: OnceLock<Result<(), String>> = OnceLock::new();
    let here = HERE.get_or_init(try_gate);
    if let Err(why) = here {
        assert!(std::env::var_os("AGENTBOX_EXPECTS").is_none_or(|expected| expected != "kernel-gate"), "{why}");
        println!("SKIPPED: no kernel gate here: {why}");
    }
    here.is_ok()
}

/// On a file system on a disk, and in memory that is not the box's.
#[test]
fn nothing_past_the_file_gate() {
    if !is_here() {
        return;
    }
    for (name, within) in [("gate", "."), ("gate-memory", "/dev/shm")] {
        let ground = Ground::new(name, Path::new(within));
        let mut probes = ground.load();
        let said = ground.deeds();
        for deed in REFUSED {
            assert!(said.contains(&format!("{deed} EPERM\n")), "{within}: {deed}: {said}");
        }
        for deed in FREE {
            assert!(said.contains(&format!("{deed} passed\n")), "{within}: {deed}: {said}");
        }
        ground.is_whole();
        let told = probes.refused();
        assert!(told.len() >= REFUSED.len(), "{told:#?}");
        for words in [
            "tried to remove `kept`",
            "tried to remove the folder `folder`",
            "tried to open for writing `kept`",
            "tried to cut short `open`",
            "tried to rename `other`",
            "tried to change the times of `kept`",
            "tried to change an attribute of `other`",
        ] {
            assert!(told.iter().any(|line| line.contains(words)), "{words}: {told:#?}");
        }
        assert!(
            told.iter().all(|line| (line.starts_with("python3 (process ") || line.starts_with("iou-wrk-")) && line.ends_with("the kernel gate refused it")),
            "{told:#?}"
        );

        // Who is not of the box does as ever.
        let kept = ground.folder.join("kept");
        OpenOptions::new().write(true).open(&kept).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
        fs::rename(&kept, ground.folder.join("moved")).unwrap();
        fs::remove_file(ground.folder.join("moved")).unwrap();
        assert!(probes.refused().is_empty());

        // And with the programs gone, the cgroup's processes too.
        drop(probes);
        ground.is_free();
    }
}

#[test]
fn the_gate_stays_until_the_box_has_ended() {
    if !is_here() {
        return;
    }
    let ground = Ground::new("gate-held", Path::new("."));
    let probes = ground.load();
    let mut supervisor = Command::new("sleep").arg("1000").spawn().unwrap();
    let mut living = ground.script("sleep 1000").spawn().unwrap();
    while fs::read_to_string(ground.cgroup.path().join("cgroup.procs")).unwrap().is_empty() {
        std::thread::yield_now();
    }
    let holder = holder::fork_for(&ground.cgroup.open().unwrap(), Pid::from_raw(i32::try_from(supervisor.id()).unwrap()), &[]).unwrap();

    // The process that loaded them has ended.
    drop(probes);
    let said = ground.deeds();
    for deed in REFUSED {
        assert!(said.contains(&format!("{deed} EPERM\n")), "{deed}: {said}");
    }
    ground.is_whole();

    // And the supervisor.
    supervisor.kill().unwrap();
    assert_eq!(living.wait().unwrap().signal(), Some(9), "the box is ended");
    waitpid(holder, None).unwrap();
    supervisor.wait().unwrap();
    // Now nobody holds them any more.
    fs::remove_file(ground.folder.join("kept")).unwrap();
    ground.is_free();
}
