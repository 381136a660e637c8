//! The kernel gate on this kernel, where it lets the programs be loaded: real deeds of real processes in a real cgroup.

use std::{fs, fs::OpenOptions, process::Command, thread, time::Duration};

use super::{load, try_gate};

const DEEDS: &str = include_str!("gate_deeds.py");

/// What only the file gate may do.
const REFUSED: &[&str] = &["unlink", "rmdir", "rename", "over", "link", "truncate", "ftruncate", "write", "cut", "mode", "owner", "ring", "worker"];

/// What loses nothing.
const FREE: &[&str] = &["read", "made", "folder", "symlink", "nameless", "null", "queue"];

/// How often it is tried whether the programs are gone: other tests' children live for some seconds, under emulation for more.
const TRIES: u32 = 60;

#[test]
fn nothing_past_the_file_gate() {
    if let Err(why) = try_gate() {
        println!("SKIPPED: no kernel gate here: {why}");
        return;
    }
    let cgroup = crate::cgroup::plain(&format!("gate-{}", std::process::id())).unwrap();
    let (mut probes, files) = load::load(&cgroup.open().unwrap(), 1, false, load::Wanted::FilesToo).unwrap();
    files.unwrap();
    // On a file system of its own kind, not in memory.
    let ground = tempfile::Builder::new().prefix("agentbox-gate-").tempdir_in(".").unwrap();
    let folder = ground.path().canonicalize().unwrap();
    fs::create_dir(folder.join("folder")).unwrap();
    for name in ["kept", "other", "open"] {
        fs::write(folder.join(name), "precious").unwrap();
    }
    fs::write(folder.join("deeds.py"), DEEDS).unwrap();
    // The descriptor is had before the cgroup is entered: what is done through it is looked at as well.
    let run = || {
        let script = format!("exec 3<>open && echo $$ > {}/cgroup.procs && exec timeout 50 python3 -B deeds.py .", cgroup.path().display());
        let output = Command::new("bash").args(["-c", &script]).current_dir(&folder).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };

    let said = run();
    for deed in REFUSED {
        assert!(said.contains(&format!("{deed} EPERM\n")), "{deed}: {said}");
    }
    for deed in FREE {
        assert!(said.contains(&format!("{deed} passed\n")), "{deed}: {said}");
    }
    for name in ["kept", "other", "open"] {
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), "precious", "{name}");
    }
    let told = probes.refused();
    assert!(told.len() >= REFUSED.len(), "{told:#?}");
    for words in [
        "tried to remove `kept`",
        "tried to remove the folder `folder`",
        "tried to open for writing `kept`",
        "tried to cut short `open`",
        "tried to rename `other`",
    ] {
        assert!(told.iter().any(|line| line.contains(words)), "{words}: {told:#?}");
    }
    assert!(
        told.iter().all(|line| (line.starts_with("python3 (process ") || line.starts_with("iou-wrk-")) && line.ends_with("the kernel gate refused it")),
        "{told:#?}"
    );

    // Who is not of the box does as ever.
    OpenOptions::new().write(true).open(folder.join("kept")).unwrap();
    fs::rename(folder.join("kept"), folder.join("moved")).unwrap();
    fs::remove_file(folder.join("moved")).unwrap();
    assert!(probes.refused().is_empty());

    // And with the programs gone, the cgroup's processes too. A child that another test of this process forked meanwhile has our
    // descriptors until it becomes another program or ends, and the kernel lets go of the programs with the last of them.
    drop(probes);
    let mut said = String::new();
    for _ in 0..TRIES {
        let _ = fs::create_dir(folder.join("folder"));
        said = run();
        if ["rename ENOENT\n", "rmdir passed\n", "ftruncate passed\n"].iter().all(|line| said.contains(line)) {
            return;
        }
        thread::sleep(Duration::from_secs(1));
    }
    panic!("the programs still refuse {TRIES} tries after they were let go: {said}");
}
