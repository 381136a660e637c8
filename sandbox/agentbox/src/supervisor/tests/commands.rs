//! The real commands against a real supervisor, each as its own process.

use std::process::{Command, Stdio};

use agentbox_core::RefusalKind;
use clap::{Args, FromArgMatches};

use super::bench::*;
use crate::commands;

/// Set for the child process: the command's words, one a line.
const CHILD: &str = "AGENTBOX_TEST_COMMAND";

fn parse<A: Args + FromArgMatches>(words: &[&str]) -> A {
    A::from_arg_matches(&A::augment_args(clap::Command::new("agentbox")).get_matches_from(words)).unwrap()
}

#[test]
fn child_that_runs_a_command() {
    let Ok(words) = std::env::var(CHILD) else { return };
    let words: Vec<&str> = words.lines().collect();
    // The test harness has begun a line.
    println!();
    let code = match words[0] {
        "holds" => commands::holds::run(&parse(&words)),
        "show" => commands::show::run(&parse(&words)),
        "approve" => commands::approve::run(&parse(&words)),
        "deny" => commands::deny::run(&parse(&words)),
        "why" => commands::why::run(&parse(&words)),
        "log" => commands::log::run(&parse(&words)),
        other => panic!("{other}"),
    };
    println!("\ncode: {code:?}");
}

struct Said {
    out: String,
    err: String,
    code: u8,
}

fn agentbox_in(bench: &Bench, words: &[&str], more: &[(&str, &str)]) -> Said {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "supervisor::tests::commands::child_that_runs_a_command", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, words.join("\n")).env("XDG_RUNTIME_DIR", bench.runtime_dir()).env_remove("AGENTBOX_SESSION").envs(more.iter().copied());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let code = (0..=255).find(|code| out.contains(&format!("code: {:?}", std::process::ExitCode::from(*code)))).expect("a code");
    Said { out, err: String::from_utf8(output.stderr).unwrap(), code }
}

fn agentbox(bench: &Bench, words: &[&str]) -> Said {
    agentbox_in(bench, words, &[])
}

#[test]
fn holds_show_and_approve() {
    let mut bench = Bench::new(Setting::default());
    assert!(agentbox(&bench, &["holds"]).out.contains("Nothing waits."));
    bench.ask(1, deletion(1));
    let id = bench.hold(1);
    let holds = agentbox(&bench, &["holds"]);
    assert!(holds.code == 0 && holds.out.contains(&format!("{id}  waiting")) && holds.out.contains("destroy railway.volumeDelete pgdata"), "{}", holds.out);
    let json = agentbox(&bench, &["holds", "--json"]);
    let line = json.out.lines().find(|line| line.starts_with('{')).unwrap();
    let card: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((card["id"].as_str(), card["losses"][0]["count"].as_u64()), (Some(id.as_str()), Some(7)));
    let shown = agentbox(&bench, &["show", &id.as_str().to_uppercase()]);
    assert!(shown.code == 0 && shown.out.contains("IMPOSSIBLE: the backups go with it"), "{}", shown.out);
    // Not by accident: no terminal, no word; the wrong word; no such hold.
    for (words, why) in [
        (vec!["approve", id.as_str()], "not approved"),
        (vec!["approve", id.as_str(), "--confirm", "yes"], "not approved"),
        (vec!["approve", "zzzzzz", "--confirm", "production/pgdata"], "nothing waits"),
        (vec!["approve", "../etc", "--confirm", "production/pgdata"], "six letters"),
    ] {
        let said = agentbox(&bench, &words);
        assert!(said.code == 1 && said.err.contains(why), "{words:?}: {} {}", said.code, said.err);
    }
    bench.quiet();
    let said = agentbox(&bench, &["approve", id.as_str(), "--confirm", "production/pgdata"]);
    assert!(said.code == 0 && said.out.contains("is approved") && said.err.contains("DESTROY railway.volumeDelete"), "{}{}", said.out, said.err);
    bench.permitted(1);
}

#[test]
fn deny_why_and_log() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, deletion(1));
    let id = bench.hold(1);
    let said = agentbox(&bench, &["deny", id.as_str(), "--because", "use staging"]);
    assert!(said.code == 0 && said.out.contains("is refused"));
    assert_eq!(bench.refused(1).reason, "A person said no, because: use staging");
    let why = agentbox(&bench, &["why"]);
    assert!(why.code == 0 && why.out.contains("use staging"), "{}", why.out);
    let json = agentbox(&bench, &["why", "--json"]);
    let list: serde_json::Value = serde_json::from_str(json.out.lines().find(|line| line.starts_with('[')).unwrap()).unwrap();
    assert_eq!(list[0]["refusal"]["kind"], "denied");
    // The ledger's folder is where the commands look for it.
    let state = bench.runtime_dir().join("state/agentbox");
    std::fs::create_dir_all(&state).unwrap();
    std::os::unix::fs::symlink(bench.ledger(), state.join("ledger")).unwrap();
    let home = bench.runtime_dir().join("state");
    let state = [("XDG_STATE_HOME", home.to_str().unwrap())];
    let log = agentbox_in(&bench, &["log"], &state);
    assert!(log.code == 0 && log.out.contains("HELD") && log.out.contains("use staging"), "{}", log.out);
    let none = agentbox_in(&bench, &["log", "--session", "another"], &state);
    assert!(none.code == 0 && !none.out.contains("HELD"));
    let verified = agentbox_in(&bench, &["log", "--verify"], &state);
    assert!(verified.code == 0 && verified.out.contains("each sealed to the one before"), "{}{}", verified.out, verified.err);
    let text = std::fs::read_to_string(bench.entries_file()).unwrap();
    std::fs::write(bench.entries_file(), text.replace("production", "procuction")).unwrap();
    let verified = agentbox_in(&bench, &["log", "--verify"], &state);
    assert!(verified.code == 1 && verified.err.contains("broken"), "{}", verified.err);
    std::fs::write(bench.entries_file(), text).unwrap();
}

#[test]
fn in_a_box_they_are_refused() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, deletion(1));
    let id = bench.hold(1);
    for words in [vec!["holds"], vec!["show", id.as_str()], vec!["approve", id.as_str(), "--confirm", "production/pgdata"], vec!["deny", id.as_str()]] {
        let said = agentbox_in(&bench, &words, &[("AGENTBOX_SESSION", "b1")]);
        assert!(said.code == 125 && said.err.contains("outside the box"), "{words:?}: {} {}", said.code, said.err);
    }
    bench.quiet();
}

#[test]
fn a_client_in_its_own_namespaces_rules_on_nothing() {
    let mut bench = Bench::new(Setting::default());
    bench.ask(1, deletion(1));
    let id = bench.hold(1);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--pid", "--fork"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "supervisor::tests::commands::child_that_runs_a_command", "--nocapture"]);
    command.env(CHILD, format!("approve\n{id}\n--confirm\nproduction/pgdata")).env("XDG_RUNTIME_DIR", bench.runtime_dir()).env_remove("AGENTBOX_SESSION");
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !out.contains("code: ") {
        println!("SKIPPED: no namespaces here: {err}");
        return;
    }
    assert!(!out.contains("is approved"), "{out}{err}");
    bench.quiet();
    let (outcome, entries) = bench.end();
    assert_eq!(outcome.refused[0].refusal.kind, RefusalKind::Denied);
    // As root in its own user namespace it may not even reach the folder; where it does, the ledger tells.
    let told = entries.iter().any(|entry| entry.draft.note.contains("refused at the control socket"));
    assert!(told || err.contains("belongs to uid") || err.contains("Permission denied") || err.contains("nothing waits"), "{err}\n{entries:#?}");
}
