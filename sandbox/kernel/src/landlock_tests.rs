//! The policy of fences against every ABI: what is refused really, what is said to be done by others, and what must not start.

use std::{fs, io::ErrorKind, os::unix::net::UnixListener};

use super::*;
use crate::{layer::LayerStatus, trial::in_child};

fn plan(writable: &Path, abi: Abi) -> LandlockPlan {
    let devices = ["/dev/null", "/dev/tty", "/dev/pts"].map(PathBuf::from).into_iter().filter(|p| p.exists()).collect();
    LandlockPlan { readable: vec!["/".into()], writable: vec![writable.to_owned()], gated: Vec::new(), judged: Vec::new(), devices, tcp: Tcp::Free, abi }
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}

/// A tree with a writable and another folder, a file in each.
fn tree() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let tree = tempfile::tempdir().unwrap();
    let (ours, other) = (tree.path().join("ours"), tree.path().join("other"));
    for folder in [&ours, &other] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("file"), "kept").unwrap();
    }
    (tree, ours, other)
}

fn kernel_abi() -> Option<u32> {
    let abi = offered();
    if let Err(absence) = abi {
        println!("SKIPPED: {absence}");
    }
    abi.ok()
}

fn denied<T>(what: &str, result: std::io::Result<T>, kinds: &[ErrorKind]) -> Result<(), String> {
    match result {
        Err(error) if kinds.contains(&error.kind()) => Ok(()),
        Err(error) => Err(format!("{what}: {error}")),
        Ok(_) => Err(format!("{what} was allowed")),
    }
}

/// What must hold in a domain of this ABI, tried.
fn check(abi: u32, ours: &Path, other: &Path) -> Result<(), String> {
    const NO: &[ErrorKind] = &[ErrorKind::PermissionDenied];
    let file = other.join("file");
    fs::read(&file).map_err(|e| format!("reading: {e}"))?;
    denied("opening for writing", fs::OpenOptions::new().write(true).open(&file), NO)?;
    denied("appending", fs::OpenOptions::new().append(true).open(&file), NO)?;
    denied("creating", fs::File::create(other.join("new")), NO)?;
    denied("making a folder", fs::create_dir(other.join("folder")), NO)?;
    denied("removing", fs::remove_file(&file), NO)?;
    denied("renaming", fs::rename(&file, other.join("moved")), NO)?;
    denied("a symlink", std::os::unix::fs::symlink("x", other.join("link")), NO)?;
    denied("a socket", UnixListener::bind(other.join("socket")), NO)?;
    let across = &[ErrorKind::PermissionDenied, ErrorKind::CrossesDevices];
    denied("renaming out", fs::rename(ours.join("file"), other.join("in")), across)?;
    denied("renaming in", fs::rename(&file, ours.join("in")), across)?;
    denied("linking in", fs::hard_link(&file, ours.join("linked")), across)?;
    if abi >= 3 {
        denied("truncating", nix::unistd::truncate(&file, 0).map_err(Into::into), NO)?;
    }
    // Ours stays ours.
    fs::write(ours.join("new"), "new").map_err(|e| format!("writing in the writable place: {e}"))?;
    fs::rename(ours.join("new"), ours.join("newer")).map_err(|e| format!("renaming in the writable place: {e}"))?;
    fs::create_dir(ours.join("deep")).map_err(|e| format!("a folder in the writable place: {e}"))?;
    if abi >= 2 {
        fs::rename(ours.join("newer"), ours.join("deep/newer")).map_err(|e| format!("moving in the writable place: {e}"))?;
    }
    fs::write("/dev/null", "x").map_err(|e| format!("/dev/null: {e}"))?;
    let ran = std::process::Command::new("true").status().map_err(|e| format!("running a program: {e}"))?;
    if !ran.success() {
        return Err("true is false".to_owned());
    }
    if abi >= 6 {
        let outside = nix::unistd::getppid();
        match nix::sys::signal::kill(outside, None) {
            Err(nix::errno::Errno::EPERM) => {}
            other => return Err(format!("a signal to the outside: {other:?}")),
        }
    }
    Ok(())
}

#[test]
fn every_abi_of_this_kernel_denies_what_it_says() {
    let Some(newest) = kernel_abi() else { return };
    for abi in 1..=newest {
        let (_tree, ours, other) = tree();
        let trial = in_child(|| {
            let report = restrict(&plan(&ours, Abi::Emulated(abi))).map_err(text)?;
            if report != super::report(abi) {
                return Err("the report is of another ABI".to_owned());
            }
            check(abi, &ours, &other)?;
            Ok(String::new())
        });
        assert_eq!(trial.result(), Ok(String::new()), "ABI {abi}");
        assert_eq!(fs::read_to_string(other.join("file")).unwrap(), "kept");
    }
}

#[test]
fn abstract_sockets_outside_are_out_of_reach() {
    use std::os::linux::net::SocketAddrExt;
    let Some(newest) = kernel_abi() else { return };
    if newest < 6 {
        println!("SKIPPED: ABI {newest} has no scope for abstract sockets; the network namespace does it");
        return;
    }
    let name = format!("agentbox-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _outside = UnixListener::bind_addr(&address).unwrap();
    let (_tree, ours, _) = tree();
    let trial = in_child(|| {
        let _report = restrict(&plan(&ours, Abi::Kernel)).map_err(text)?;
        denied("connecting", std::os::unix::net::UnixStream::connect_addr(&address), &[ErrorKind::PermissionDenied])?;
        Ok(String::new())
    });
    assert_eq!(trial.result(), Ok(String::new()));
}

#[test]
fn terminals_answer_and_nodes_cannot_be_made() {
    let Some(_) = kernel_abi() else { return };
    let (_tree, ours, _) = tree();
    let trial = in_child(|| {
        let mut plan = plan(&ours, Abi::Kernel);
        plan.devices.extend(["/dev/ptmx".into()]);
        let _report = restrict(&plan).map_err(text)?;
        let terminal = nix::pty::posix_openpt(nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_NOCTTY).map_err(|e| format!("ptmx: {e}"))?;
        nix::pty::grantpt(&terminal).map_err(|e| format!("grantpt: {e}"))?;
        nix::pty::unlockpt(&terminal).map_err(|e| format!("unlockpt, an ioctl on a device: {e}"))?;
        let node = nix::sys::stat::mknod(&ours.join("node"), nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::all(), nix::sys::stat::makedev(1, 3));
        match node {
            Err(nix::errno::Errno::EACCES | nix::errno::Errno::EPERM) => Ok(String::new()),
            other => Err(format!("a device node: {other:?}")),
        }
    });
    assert_eq!(trial.result(), Ok(String::new()));
}

#[test]
fn an_abi_that_is_not_offered_is_refused_twice() {
    let Some(newest) = kernel_abi() else { return };
    let (_tree, ours, _) = tree();
    for asked in [0, newest + 1, 99] {
        let trial = in_child(|| match restrict(&plan(&ours, Abi::Emulated(asked))) {
            Err(LandlockError::NotOffered { .. }) => Ok(String::new()),
            other => Err(format!("{other:?}")),
        });
        assert_eq!(trial.result(), Ok(String::new()), "ABI {asked}");
    }
    // And if our own check were wrong, the crate's hard requirement refuses a right that the kernel does not know.
    for abi in newest + 1..=NEWEST {
        let (newer, known) = (Rights::of(abi), Rights::of(newest));
        if newer.handled == known.handled {
            continue;
        }
        assert!(matches!(newer.ruleset(Tcp::Free), Err(LandlockError::Refused(_))), "rights of ABI {abi} were taken by ABI {newest}");
    }
}

#[test]
fn a_missing_place_does_not_start() {
    let Some(_) = kernel_abi() else { return };
    let (_tree, ours, _) = tree();
    let trial = in_child(|| match restrict(&plan(&ours.join("missing"), Abi::Kernel)) {
        Err(LandlockError::Place { .. }) => Ok(String::new()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(trial.result(), Ok(String::new()));
}

#[test]
fn runs_the_policy_of_fences_against_emulated_abis() {
    for abi in 1..=NEWEST {
        let lacks: Vec<_> = lacking(abi).collect();
        for right in &lacks {
            assert!(right.gap == Gap::Closed || !right.instead.is_empty(), "ABI {abi}: nothing narrows `{}`", right.what);
            assert!(!right.instead.contains(&Layer::Landlock), "Landlock cannot stand in for itself");
            assert!(
                right.instead.iter().all(|layer| layer.is_essential()),
                "ABI {abi}: `{}` leans on a layer that may be missing: {:?}",
                right.what,
                right.instead
            );
        }
        let report = report(abi);
        assert!(report.holds());
        match &report.status {
            LayerStatus::Enforced => assert!(lacks.iter().all(|right| right.gap == Gap::Unused), "ABI {abi} is called whole"),
            LayerStatus::Partial { why } => {
                for right in lacks.iter().filter(|right| right.gap != Gap::Unused && !right.instead.is_empty()) {
                    assert!(why.contains(right.what), "ABI {abi}: the report does not say `{}`", right.what);
                    assert!(right.instead.iter().all(|layer| why.contains(layer.name())), "ABI {abi}: the report does not say who does it");
                }
            }
            LayerStatus::Missing { .. } => panic!("ABI {abi} is called missing"),
        }
    }
    assert_eq!(report(NEWEST).status, LayerStatus::Enforced);
    // Debian 12: no truncate, ioctl, scopes, socket files.
    assert_eq!(lacking(2).map(|right| right.since).collect::<Vec<_>>(), [3, 4, 5, 6, 6, 9, 10]);
}

#[test]
fn every_right_of_the_crate_is_accounted_for() {
    for abi in 1..=NEWEST {
        let (before, now) = (Rights::of(abi - 1), Rights::of(abi));
        let brings = before.handled != now.handled || before.scoped != now.scoped;
        assert!(!brings || RIGHTS.iter().any(|right| right.since == abi), "ABI {abi} brings rights that RIGHTS does not name");
    }
    let all = Rights::of(NEWEST);
    assert!(all.handled.contains(all.read | all.write | all.device | all.look));
    assert!(!all.write.intersects(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::ResolveUnix | AccessFs::IoctlDev));
    assert!(!all.look.intersects(AccessFs::Execute | AccessFs::WriteFile));
}
