//! The budget: what goes, when, and that it is said.

use std::time::SystemTime;

use super::*;
use crate::error::Why;

const BLOCK: usize = 64 * 1024;

fn scene(budget: u64) -> (tempfile::TempDir, Scene) {
    let owner = tempfile::tempdir().unwrap();
    let settings = Settings { budget, retention: Duration::from_secs(3600), ..Settings::default() };
    let scene = Scene::at(&owner.path().canonicalize().unwrap(), settings);
    (owner, scene)
}

/// A session that took one block, ended so long ago.
fn past(scene: &Scene, name: &str, ago: Duration) {
    let path = scene.write(name, vec![name.as_bytes()[0]; BLOCK]);
    let gate = scene.begin(name);
    gate.unlink(&path).unwrap();
    drop(gate);
    scene.vault.finish(name, Duration::from_secs(9)).unwrap();
    let journal = std::fs::File::options().write(true).open(scene.folder.join(format!("vault/sessions/{name}/journal"))).unwrap();
    journal.set_modified(SystemTime::now() - ago).unwrap();
}

#[test]
fn the_oldest_go_first_and_it_is_said() {
    let (_owner, scene) = scene(4 * BLOCK as u64);
    for (name, hours) in [("a", 9), ("b", 8), ("c", 7)] {
        past(&scene, name, Duration::from_secs(hours * 3600));
    }
    let paths = [scene.write("x", vec![1; BLOCK]), scene.write("y", vec![2; BLOCK])];
    let gate = scene.begin("now");
    for path in &paths {
        gate.unlink(path).unwrap();
    }
    drop(gate);
    let summary = scene.vault.finish("now", Duration::from_secs(9)).unwrap();
    assert_eq!(summary.dropped, ["a", "b"], "journals take room too, so two go");
    let mut names = scene.vault.names().unwrap();
    names.sort();
    assert_eq!(names, ["c", "now"]);
    assert_eq!(scene.undo("now", Made::Stays).refused, []);
}

#[test]
fn what_is_to_stay_stays_and_then_nothing_more_is_kept() {
    let (_owner, scene) = scene(4 * BLOCK as u64);
    for name in ["a", "b", "c"] {
        past(&scene, name, Duration::from_secs(60));
    }
    let path = scene.write("x", vec![1; BLOCK]);
    let gate = scene.begin("now");
    assert_eq!(gate.keep(&path, Loss::Name).unwrap_err().why, Why::OverBudget { budget: 4 * BLOCK as u64 });
    assert_eq!(scene.vault.names().unwrap().len(), 4);
    assert_eq!(scene.undo("b", Made::Stays).refused, []);
}

#[test]
fn a_session_that_runs_is_never_dropped() {
    let (_owner, scene) = scene(3 * BLOCK as u64);
    let (first, second, third) = (scene.write("1", vec![1; BLOCK]), scene.write("2", vec![2; BLOCK]), scene.write("3", vec![3; BLOCK]));
    let running = scene.begin("running");
    running.unlink(&first).unwrap();
    let journal = std::fs::File::options().write(true).open(scene.folder.join("vault/sessions/running/journal")).unwrap();
    journal.set_modified(SystemTime::now() - Duration::from_secs(9 * 3600)).unwrap();
    let gate = scene.begin("now");
    gate.unlink(&second).unwrap();
    assert!(matches!(gate.keep(&third, Loss::Name).unwrap_err().why, Why::OverBudget { .. }));
    assert_eq!(scene.vault.names().unwrap().len(), 2);
}

#[test]
fn more_than_the_budget_drops_nothing() {
    let (_owner, scene) = scene(3 * BLOCK as u64);
    past(&scene, "a", Duration::from_secs(9 * 3600));
    let path = scene.write("x", vec![1; 5 * BLOCK]);
    let gate = scene.begin("now");
    assert!(matches!(gate.keep(&path, Loss::Name).unwrap_err().why, Why::OverBudget { .. }));
    assert_eq!(scene.vault.names().unwrap().len(), 2);
}

#[test]
fn gc_takes_remnants_and_unnamed_contents_and_nothing_else() {
    let (_owner, scene) = scene(1 << 30);
    past(&scene, "a", Duration::from_secs(1));
    past(&scene, "b", Duration::from_secs(1));
    let folder = scene.folder.join("vault/sessions");
    std::fs::write(folder.join("a/o7"), "remnant").unwrap();
    std::fs::write(folder.join("a/o0.new"), "remnant").unwrap();
    std::fs::remove_file(folder.join("b/journal")).unwrap();
    let path = scene.write("x", "x");
    let gate = scene.begin("running");
    gate.unlink(&path).unwrap();
    std::fs::write(folder.join("running/o9"), "being made").unwrap();
    let swept = scene.vault.gc().unwrap();
    assert_eq!((swept.remnants, swept.contents), (2 + 2, 1), "{swept:?}");
    assert!(folder.join("running/o9").exists() && folder.join("running/o0").exists());
    assert!(folder.join("a/o0").exists() && !folder.join("b").exists());
    assert_eq!(scene.vault.gc().unwrap(), crate::Swept::default());
    assert_eq!(scene.undo("a", Made::Stays).refused, []);
}

#[test]
fn a_session_that_kept_nothing_is_gone_before_its_folder_is() {
    let (_owner, scene) = scene(1 << 30);
    drop(scene.begin("idle"));
    let path = scene.write("x", "x");
    scene.begin("busy").unlink(&path).unwrap();
    scene.vault.discard("idle").unwrap();
    let left: Vec<String> = scene.vault.sessions().unwrap().into_iter().map(|told| told.start.session).collect();
    assert_eq!(left, ["busy"]);
    assert!(scene.vault.discard("busy").is_err(), "something is kept in it");
    scene.vault.clear("idle").unwrap();
    assert!(scene.vault.clear("busy").is_err() && !scene.folder.join("vault/sessions/idle").exists());
    assert_eq!(scene.undo("busy", Made::Stays).refused, []);
}

#[test]
fn a_vault_that_others_could_reach_is_not_used() {
    let (_owner, scene) = scene(1 << 30);
    let path = scene.folder.join("vault");
    fs::chmod(&path, Mode::from_raw_mode(0o750)).unwrap();
    let error = Vault::open(&path, Settings::default()).unwrap_err().to_string();
    assert!(error.ends_with("its mode is 0750"), "{error}");
    let link = scene.folder.join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(Vault::open(&link, Settings::default()).is_err());
    for name in ["", "A", "a/b", "..", "-a", "a b"] {
        let begin = Begin { name, roots: &[], about: "", undoes: None };
        assert!(scene.vault.begin(&begin, Hands::here(LEASE).unwrap()).is_err(), "{name:?}");
    }
}
