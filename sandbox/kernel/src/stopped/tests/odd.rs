//! A table of odd calls: each must fail, or succeed, as it does without the gate, and leave the same behind.

use super::*;

const ODD: &str = include_str!("odd.py");

fn the_same(ground: &Path) {
    let outcome = |gate: Gate| {
        let (_keep, folder) = ground_in(ground);
        let script = folder.join("odd.py");
        fs::write(&script, ODD).unwrap();
        let inner = folder.join("w");
        fs::create_dir(&inner).unwrap();
        let mut command = Command::new("bash");
        command.args(["-c", &format!("exec python3 -B {0}/odd.py > {0}/out 2> {0}/err", folder.display())]).current_dir(&inner);
        let ended = matches!(gate.run(&mut command), WaitStatus::Exited(_, 0));
        let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert!(ended, "{}", text("err"));
        // The two grounds have different names of the same length.
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        text("out").lines().map(|line| line.replace(&name, "GROUND")).collect::<Vec<_>>()
    };
    let bare = outcome(Gate::Absent);
    assert!(bare.len() > 2000, "the table is whole: {}", bare.len());
    for gate in [Gate::Judges, Gate::FindsAllFree] {
        let gated = outcome(gate);
        let differ: Vec<String> =
            bare.iter().zip(&gated).filter(|(bare, gated)| bare != gated).take(40).map(|(bare, gated)| format!("bare  {bare}\ngated {gated}")).collect();
        assert!(differ.is_empty() && bare.len() == gated.len(), "{gate:?}: {} lines, {} gated; {}", bare.len(), gated.len(), differ.join("\n"));
    }
}

#[test]
fn odd_calls_end_as_they_do_elsewhere() {
    let (_keep, folder) = ground();
    the_same(&folder);
}

#[test]
fn odd_calls_of_an_ordinary_user_end_as_they_do_elsewhere() {
    as_somebody(the_same);
}
