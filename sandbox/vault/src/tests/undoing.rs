//! What comes back, and what is asked first.

use super::*;

#[test]
fn a_removed_tree_comes_back() {
    let scene = Scene::new();
    for number in 0..5 {
        scene.write(&format!("d/e{number}/f"), format!("{number}"));
    }
    scene.write("d/empty", "");
    std::os::unix::fs::symlink("e1/f", scene.path("d/link")).unwrap();
    let before = scene.picture();
    let gate = scene.begin("s1");
    for path in before.keys().rev() {
        if path.starts_with(scene.path("d")) {
            gate.unlink(path).unwrap();
        }
    }
    assert!(!scene.path("d").exists());
    scene.back(gate, &before);
}

#[test]
fn an_overwritten_file_comes_back() {
    let scene = Scene::new();
    let path = scene.write("f", "one");
    let before = scene.picture();
    let gate = scene.begin("s1");
    gate.overwrite(&path, b"two");
    gate.overwrite(&path, b"three");
    scene.back(gate, &before);
}
