//! Killed anywhere, failing anywhere: what is listed is there, what is lost comes back, and the rest is swept.
//!
//! The killed process is this test's own binary, run again for one of the tests below that are ignored otherwise.

use std::{os::unix::process::ExitStatusExt, process::Command};

use super::*;
use crate::{
    crash::{Fault, arm, steps},
    record::{Body, Record},
};

const FOLDER: &str = "AGENTBOX_VAULT_CRASH_FOLDER";
const STEP: &str = "AGENTBOX_VAULT_CRASH_STEP";

/// More steps than any scene has.
const MOST: u64 = 400;

fn scene(folder: &Path) -> Scene {
    Scene::at(folder, Settings::default())
}

fn plant(scene: &Scene) -> Picture {
    for name in ["f", "d/a", "d/b", "g", "h", "big"] {
        scene.write(name, name.repeat(if name == "big" { 50_000 } else { 3 }));
    }
    std::fs::hard_link(scene.path("g"), scene.path("d/g2")).unwrap();
    std::os::unix::fs::symlink("f", scene.path("link")).unwrap();
    scene.picture()
}

/// A little of everything. With a fault armed, keeping may fail; then the deed is left undone, as the gate would.
fn deeds(scene: &Scene, gate: &Gate) {
    for (name, loss) in [("f", Loss::Name), ("big", Loss::Content), ("g", Loss::Content), ("link", Loss::Name), ("d/a", Loss::Name), ("d/g2", Loss::Name)] {
        let path = scene.path(name);
        let Ok(kept) = gate.keep(&path, loss) else { continue };
        match loss {
            Loss::Name => std::fs::remove_file(&path).unwrap(),
            Loss::Content => std::fs::write(&path, "overwritten").unwrap(),
        }
        drop(kept);
    }
    let (h, i) = (scene.path("h"), scene.path("i"));
    let (object, folder) = (object(&h).unwrap(), object(h.parent().unwrap()).unwrap());
    if let Ok(moved) = gate.0.moved(&Move { object: object.as_fd(), from_folder: folder.as_fd(), to_folder: folder.as_fd(), from: &h, to: &i }) {
        std::fs::rename(&h, &i).unwrap();
        drop(moved);
    }
    let _ = gate.0.sync();
}

/// The number of the step at which to be killed, from the environment that the parent made.
fn told() -> (PathBuf, u64) {
    let folder = std::env::var_os(FOLDER).map(PathBuf::from).unwrap();
    (folder, std::env::var(STEP).unwrap().parse().unwrap())
}

#[test]
#[ignore = "run by the tests below, in a process that is killed"]
fn child_keeps() {
    let (folder, chosen) = told();
    let scene = scene(&folder);
    let gate = scene.begin("s1");
    arm(Some((chosen, Fault::Kill)));
    deeds(&scene, &gate);
    drop(gate);
    scene.vault.finish("s1", Duration::from_secs(9)).unwrap();
    std::fs::write(folder.join("done"), steps().to_string()).unwrap();
}

#[test]
#[ignore = "run by the tests below, in a process that is killed"]
fn child_undoes() {
    let (folder, chosen) = told();
    let scene = scene(&folder);
    let undo = Undo::of(&scene.vault, "s1", Choice { made: Made::Goes, ..Choice::default() }).unwrap();
    let plan = undo.plan();
    arm(Some((chosen, Fault::Kill)));
    undo.apply(&plan, LEASE, &mut |_| Ruling::Overwrite).unwrap();
    std::fs::write(folder.join("done"), steps().to_string()).unwrap();
}

/// Runs one of the two. Whether it came to its end.
fn run(test: &str, folder: &Path, step: u64) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--quiet", &format!("tests::crash::{test}")]).env(FOLDER, folder).env(STEP, step.to_string());
    let output = command.output().unwrap();
    let killed = output.status.signal() == Some(9);
    assert!(killed || output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(!killed, folder.join("done").exists());
    !killed
}

/// What is listed is there; nothing else is left after a sweep.
fn check(scene: &Scene) {
    let told = scene.vault.told("s1").unwrap();
    scene.vault.gc().unwrap();
    let session = scene.folder.join("vault/sessions/s1");
    let mut listed: Vec<String> = vec!["journal".to_owned()];
    for record in &told.records {
        if let Record::Kept { facts, body: Body::Object { number, .. }, .. } = record {
            let name = format!("o{number}");
            let found = std::fs::metadata(session.join(&name)).unwrap_or_else(|_| panic!("{name} is listed and not there"));
            assert_eq!(found.len(), facts.size, "{name}");
            listed.push(name);
        }
    }
    let mut there: Vec<String> = std::fs::read_dir(&session).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    there.retain(|name| name != "bytes");
    listed.sort();
    there.sort();
    assert_eq!(listed, there);
}

/// Which times must be as they were.
enum Times {
    All,
    OfFilesOnly,
}

/// Undoes with a yes to everything, and compares.
fn all_back(scene: &Scene, before: &Picture, step: u64, times: Times) {
    let undo = Undo::of(&scene.vault, "s1", Choice { made: Made::Goes, ..Choice::default() }).unwrap();
    let plan = undo.plan();
    assert!(plan.hopeless.is_empty(), "step {step}: {:?}", plan.hopeless);
    let report = undo.apply(&plan, LEASE, &mut |_| Ruling::Overwrite).unwrap();
    assert!(report.refused.is_empty() && report.lacking.is_empty(), "step {step}: {:?} {:?}", report.refused, report.lacking);
    let (mut before, mut after) = (before.clone(), scene.picture());
    match times {
        Times::All => {}
        Times::OfFilesOnly => {
            for thing in before.values_mut().chain(after.values_mut()).filter(|thing| thing.facts.kind == Kind::Folder) {
                thing.facts.mtime = facts::Stamp(0, 0);
            }
        }
    }
    assert_same(&before, &after);
}

#[test]
fn killed_at_any_step_of_keeping() {
    let mut ended = false;
    let mut step = 0;
    while !ended {
        assert!(step < MOST, "it never comes to an end");
        let owner = tempfile::tempdir().unwrap();
        let folder = owner.path().canonicalize().unwrap();
        let scene = scene(&folder);
        let before = plant(&scene);
        ended = run("child_keeps", &folder, step);
        check(&scene);
        all_back(&scene, &before, step, Times::All);
        step += 1;
    }
    assert!(step > 60, "only {step} steps: where are the others?");
}

#[test]
fn killed_at_any_step_of_undoing() {
    let mut ended = false;
    let mut step = 0;
    while !ended {
        assert!(step < MOST, "it never comes to an end");
        let owner = tempfile::tempdir().unwrap();
        let folder = owner.path().canonicalize().unwrap();
        let scene = scene(&folder);
        let before = plant(&scene);
        let gate = scene.begin("s1");
        deeds(&scene, &gate);
        drop(gate);
        scene.vault.finish("s1", Duration::from_secs(9)).unwrap();
        ended = run("child_undoes", &folder, step);
        // The times of folders are the one thing that a second try leaves alone: the first one changed them after the session's end.
        all_back(&scene, &before, step, Times::OfFilesOnly);
        step += 1;
    }
    assert!(step > 40, "only {step} steps: where are the others?");
}

#[test]
fn failing_at_any_step_of_keeping() {
    for error in [Errno::NOSPC, Errno::MFILE, Errno::IO] {
        let mut step = 0;
        loop {
            let scene = Scene::new();
            let before = plant(&scene);
            let gate = scene.begin("s1");
            arm(Some((step, Fault::Error(error))));
            deeds(&scene, &gate);
            let all = steps();
            arm(None);
            drop(gate);
            scene.vault.finish("s1", Duration::from_secs(9)).unwrap();
            check(&scene);
            all_back(&scene, &before, step, Times::All);
            step += 1;
            if step >= all {
                break;
            }
        }
        assert!(step > 40, "only {step} steps with {error}");
    }
}

#[test]
fn after_a_power_cut_what_was_never_synced_is_listed_only_where_it_is_whole() {
    let scene = Scene::new();
    let (first, second, third) = (scene.write("1", "one"), scene.write("2", "two"), scene.write("3", "three"));
    let gate = scene.begin("s1");
    gate.unlink(&first).unwrap();
    gate.0.sync().unwrap();
    gate.overwrite(&second, b"2");
    gate.overwrite(&third, b"3");
    drop(gate);
    // Another boot, and a copy whose blocks never came to the disk.
    let session = scene.folder.join("vault/sessions/s1");
    let journal = session.join("journal");
    let boot = crate::vault::boot();
    assert_eq!(boot.len(), 36);
    let file = std::fs::File::options().read(true).append(true).open(&journal).unwrap();
    let records = crate::journal::read(&file).unwrap().records;
    std::fs::remove_file(&journal).unwrap();
    let file = std::fs::File::options().create_new(true).read(true).append(true).open(&journal).unwrap();
    let mut writer = crate::journal::Writer::new(file);
    for record in records {
        let other = match record {
            Record::Start(start) => Record::Start(crate::Start { boot: "another".to_owned(), ..start }),
            other => other,
        };
        writer.add(&other).unwrap();
    }
    std::fs::File::options().write(true).open(session.join("o1")).unwrap().set_len(0).unwrap();
    let told = scene.vault.told("s1").unwrap();
    let listed: Vec<String> = told
        .records
        .iter()
        .filter_map(
            |record| if let Record::Kept { path, .. } = record { path.path().file_name().map(|name| name.to_string_lossy().into_owned()) } else { None },
        )
        .collect();
    assert_eq!((listed, told.missing), (vec!["1".to_owned(), "3".to_owned()], 1));
}
