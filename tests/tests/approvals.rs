//! Signed approvals with real keys, real ssh-keygen and a real ssh-agent: the person's key outside, and every way to it from inside.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, process::Command};

use agentbox_tests::{
    Home, Origin, Who,
    process::{finish, until},
    skip,
    terminal::Person,
};
use serde_json::Value;

/// A deletion that waits; its answer and its status, on one line.
const DELETE: &str = "curl -s -w ' %{http_code}\\n' -X DELETE http://held.example/volumes/1";

/// A home whose policy names the key `home/.ssh/id_ed25519`, which has this passphrase.
fn signing_home(who: Who, origin: &Origin, passphrase: &str, more: &str) -> Home {
    let home = Home::of(who, "");
    let key = home.path("home/.ssh/id_ed25519");
    home.write("home/.ssh/config", "");
    home.write("policy.toml", &origin.policy_with("destroy = \"hold\"", &format!("[approval]\napprover = [\"{}.pub\"]\n{more}", key.display())));
    make_key(&home, "home/.ssh/id_ed25519", passphrase);
    home
}

fn make_key(home: &Home, name: &str, passphrase: &str) {
    let path = home.path(name);
    finish(home.program("ssh-keygen").args(["-q", "-t", "ed25519", "-C", "anna", "-N", passphrase, "-f"]).arg(&path)).ended(0);
}

#[test]
fn a_signature_lets_it_through_once_and_the_ledger_proves_it() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["ssh-keygen"]) {
        return;
    }
    for who in Who::each() {
        let home = signing_home(who, &origin, "", "");
        let before = origin.count("DELETE");
        let going = home.start(&format!("{DELETE}; echo end; sleep 300"));
        let id = home.hold();
        let card = home.outside(&["show", &id]).ended(0).out();
        assert!(card.contains("and to sign, with the key of anna"), "{card}");
        // A key that the policy does not name.
        make_key(&home, "home/other", "");
        let other = home.path("home/other");
        let said = home.outside(&["approve", &id, "--confirm", "yes", "--key", other.to_str().expect("plain")]).ended(1).err();
        assert!(said.contains("none of the policy's approvers"), "{said}");
        assert_eq!(origin.count("DELETE"), before);
        // Its own is found beside the file that the policy names. That it has no passphrase is said.
        let said = home.outside(&["approve", &id, "--confirm", "yes"]).ended(0).err();
        assert!(said.contains("has no passphrase"), "{said}");
        going.says("end");
        assert!(going.out().contains(" 200\n"), "{}", going.out());
        assert_eq!(origin.count("DELETE"), before + 1);
        drop(going);
        home.outside(&["log", "--verify"]).ended(0);
        verify_with_openssh(&home);
    }
}

/// Whoever has the ledger and the public key can check the ruling, without this program.
fn verify_with_openssh(home: &Home) {
    let log = home.outside(&["log", "--json"]).ended(0).out();
    let approved = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).find(|entry| entry["event"] == "approved");
    let approved = approved.expect("an entry of the approval");
    assert!(approved["rulings"][0].as_str().is_some_and(|ruling| ruling.contains("(anna) by terminal")), "{approved}");
    let (text, signature) = (approved["signatures"][0]["statement"].as_str().expect("text"), approved["signatures"][0]["signature"].as_str().expect("text"));
    assert!(text.contains("operation: destroy http.delete http:held.example:80/volumes/1\n"), "{text}");
    let key = fs::read_to_string(home.path("home/.ssh/id_ed25519.pub")).expect("the public key");
    home.write("home/allowed", &format!("anna {key}"));
    home.write("home/signature", signature);
    home.write("home/statement", text);
    let verify = |file: &str| {
        let line = format!("ssh-keygen -Y verify -n agentbox-approval -I anna -f ../home/allowed -s ../home/signature <{file}");
        finish(home.program("bash").args(["-c", &line]))
    };
    verify("../home/statement").ended(0);
    home.write("home/statement", &text.replace("destroy", "read"));
    assert_ne!(verify("../home/statement").code, 0);
}

#[test]
fn the_passphrase_is_asked_on_the_persons_own_terminal_also_where_an_agent_has_the_key() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["ssh-keygen", "ssh-agent", "ssh-add", "setsid"]) {
        return;
    }
    let home = signing_home(Who::Me, &origin, "open sesame", "");
    let agent = Agent::start(&home, "home/.ssh/id_ed25519", "open sesame");
    let going = home.start(&format!("{DELETE}; echo end; sleep 300"));
    let id = home.hold();
    let mut person = Person::runs(home.agentbox(&["approve", &id]).env("SSH_AUTH_SOCK", &agent.socket));
    person.sees("type yes: ");
    person.types("yes\r");
    person.sees("Enter passphrase");
    assert_eq!(origin.count("DELETE"), 0, "the agent has the key, and was asked");
    person.types("open sesame\r");
    going.says("end");
    assert!(going.out().contains(" 200\n"), "{}", going.out());
    // No terminal, and so nobody who knows it: nothing is signed.
    let more = home.start(&format!("{DELETE}; echo end"));
    let id = home.hold();
    let mut command = home.agentbox(&["approve", &id, "--confirm", "yes"]);
    finish(
        Command::new("setsid")
            .arg("--wait")
            .arg(command.env("SSH_AUTH_SOCK", &agent.socket).get_program())
            .args(command.get_args())
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))),
    )
    .ended(1);
    assert_eq!(home.hold(), id);
    drop(more);
    assert_eq!(origin.count("DELETE"), 1);
}

/// A real ssh-agent that holds a key. It ends with the test.
struct Agent {
    child: std::process::Child,
    socket: std::path::PathBuf,
}

impl Agent {
    fn start(home: &Home, key: &str, passphrase: &str) -> Self {
        let socket = home.path("home/agent.sock");
        let child = home.program("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(std::process::Stdio::null()).spawn().expect("ssh-agent");
        until("the agent listens", || socket.exists(), String::new);
        home.write("home/askpass", &format!("#!/bin/sh\necho '{passphrase}'\n"));
        let askpass = home.path("home/askpass");
        fs::set_permissions(&askpass, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
        let mut add = home.program("ssh-add");
        add.arg(home.path(key)).env("SSH_AUTH_SOCK", &socket).env("SSH_ASKPASS", &askpass).env("SSH_ASKPASS_REQUIRE", "force");
        finish(&mut add).ended(0);
        Self { child, socket }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Run in the box, with the hold waiting: each line is a way to the yes. It prints what got through, and then `tried`.
const WAYS: &str = r#"
text="agentbox approval 1: let this happen, once"
try() { echo "$text" | timeout 5 ssh-keygen -Y sign -n agentbox-approval "$@" >/dev/null 2>&1 && echo "THROUGH: signed by $*"; }
# the approver's key, where the user keeps it, and where the policy's file lies in the workspace
try -f "$HOME/.ssh/id_ed25519"; try -f team/key; try -f team/key.pub
for file in "$HOME/.ssh/id_ed25519" team/key; do grep -q PRIVATE "$file" 2>/dev/null && echo "THROUGH: reads $file"; done
# another key in its place, for the next box
for file in team/key.pub; do
    (echo x >>"$file") 2>/dev/null && echo "THROUGH: writes $file"
    mv "$file" "$file.old" 2>/dev/null && echo "THROUGH: moves $file"
    rm -f "$file" 2>/dev/null; [ -e "$file" ] || echo "THROUGH: removes $file"
done
mv team elsewhere 2>/dev/null && echo "THROUGH: moves the folder of the key"
# the user's ssh-agent, by its name in the environment and by its path
for socket in "$SSH_AUTH_SOCK" "$HOME/agent.sock"; do
    SSH_AUTH_SOCK=$socket timeout 5 ssh-add -l >/dev/null 2>&1 && echo "THROUGH: the agent at $socket"
    SSH_AUTH_SOCK=$socket try -f team/key.pub
done
# the control socket, by all its names, with the box's mark and without it
for folder in "$RUNTIME" /run/user/"$(id -u)" /run/agentbox; do
    for socket in "$folder"/agentbox/*.sock "$folder"/*.sock; do [ -S "$socket" ] && echo "THROUGH: sees $socket"; done
    for mark in "$AGENTBOX_SESSION" ""; do
        AGENTBOX_SESSION=$mark XDG_RUNTIME_DIR=$folder "$AGENTBOX" approve aaaaaa --confirm yes </dev/null >/dev/null 2>&1 && echo "THROUGH: approve"
    done
done
env -u AGENTBOX_SESSION XDG_RUNTIME_DIR="$RUNTIME" "$AGENTBOX" holds --json 2>/dev/null | grep -q '"id"' && echo "THROUGH: holds"
# the processes outside, by /proc
for pid in $OUTSIDE; do
    for file in environ mem maps root/etc/passwd cwd/. fd/0; do [ -r "/proc/$pid/$file" ] && grep -qs agentbox "/proc/$pid/cmdline" && echo "THROUGH: /proc/$pid/$file"; done
done
# tmux, X11, Wayland, D-Bus: somebody else's terminal or desktop could be typed into
timeout 5 tmux -S "$HOME/tmux.sock" send-keys "touch $PWD/typed" Enter 2>/dev/null && echo "THROUGH: tmux"
for name in DISPLAY WAYLAND_DISPLAY DBUS_SESSION_BUS_ADDRESS XAUTHORITY TMUX; do printenv "$name" >/dev/null && echo "THROUGH: \$$name"; done
# the ledger and the policy
for path in "$STATE" "$CONFIG"; do ls "$path"/* >/dev/null 2>&1 && echo "THROUGH: lists $path"; done
echo tried
"#;

#[test]
fn nothing_in_the_box_says_yes_to_itself() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["ssh-keygen", "ssh-agent", "ssh-add", "tmux"]) {
        return;
    }
    for who in Who::each() {
        // The policy's key lies in the workspace, as a team's might, and its private half carelessly beside it.
        let home = signing_home(who, &origin, "", "[env]\npass = [\"SSH_AUTH_SOCK\", \"PATH\", \"HOME\"]");
        home.write("work/team/note", "");
        make_key(&home, "work/team/key", "");
        let policy = fs::read_to_string(home.path("policy.toml")).expect("the policy");
        let mine = home.path("home/.ssh/id_ed25519.pub");
        home.write("policy.toml", &policy.replace("approver = [", &format!("approver = [\"{}\", ", home.path("work/team/key.pub").display())));
        assert!(mine.exists());
        let agent = Agent::start(&home, "home/.ssh/id_ed25519", "");
        let tmux = home.path("home/tmux.sock");
        finish(home.program("tmux").args(["-f", "/dev/null", "-S"]).arg(&tmux).args(["new-session", "-d", "sh"])).ended(0);
        let outside = std::process::id();
        let script = format!(
            "RUNTIME='{}' STATE='{}' CONFIG='{}' OUTSIDE='{outside}'; ({DELETE} >answer) & sleep 1; {WAYS} wait",
            home.path("runtime").display(),
            home.path("state/agentbox").display(),
            home.path("config/agentbox").display(),
        );
        let mut command = home.script(&[], &script);
        command.env("SSH_AUTH_SOCK", &agent.socket).env("DISPLAY", ":7").env("TMUX", &tmux).env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere");
        let going = agentbox_tests::Going::start(&mut command);
        let id = home.hold();
        going.says("tried");
        assert!(!going.out().contains("THROUGH"), "{who:?}\n{}", going.out());
        assert_eq!(home.hold(), id, "it still waits");
        assert_eq!(origin.count("DELETE"), 0);
        home.outside(&["deny", &id]).ended(0);
        let _ = going.finish();
        let _ = finish(home.program("tmux").arg("-S").arg(&tmux).arg("kill-server"));
        assert!(!home.path("work/typed").exists());
        assert!(fs::read_to_string(home.path("work/team/key.pub")).expect("the key").contains("ssh-ed25519"));
    }
}

#[test]
fn what_is_no_key_refuses_the_start() {
    let home = Home::new("extends = \"default\"\n[approval]\napprover = [\"~/nowhere.pub\"]\n");
    let said = home.run("echo ran").ended(125);
    assert!(said.err().contains("nowhere.pub") && !said.out().contains("ran"), "{}", said.err());
    home.write("home/nowhere.pub", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    let said = home.run("echo ran").ended(125);
    assert!(said.err().contains("no line of a public key") && !said.out().contains("ran"), "{}", said.err());
}

#[test]
fn init_names_a_key_and_makes_one_where_there_is_none() {
    if !skip::have(&["ssh-keygen"]) {
        return;
    }
    let home = Home::new("");
    // No terminal, and no key named: nothing is changed.
    assert!(home.outside(&["init"]).ended(1).err().contains("--key"));
    let mut person = Person::runs(&home.agentbox(&["init"]));
    person.sees("Enter takes n: ");
    person.types("\r");
    person.sees("Enter passphrase");
    person.types("open sesame\r");
    person.sees("Enter same passphrase again");
    person.types("open sesame\r");
    person.sees("approvals are signed with ~/.ssh/agentbox_approver.pub");
    let policy = fs::read_to_string(home.path("config/agentbox/policy.toml")).expect("the policy");
    assert_eq!(policy, "[approval]\napprover = [\"~/.ssh/agentbox_approver.pub\"]\nown      = [\"~/.ssh/agentbox_approver.pub\"]\n");
    home.outside(&["policy", "check"]).ended(0);
    assert!(home.outside(&["init"]).ended(0).out().contains("names an approver already"));
    // Another person, who has one.
    let other = Home::new("");
    other.write("home/.ssh/config", "");
    make_key(&other, "home/.ssh/id_ed25519", "secret");
    let mut person = Person::runs(&other.agentbox(&["init"]));
    person.sees("id_ed25519.pub  (with a passphrase)");
    person.sees("Enter takes 1: ");
    person.types("\r");
    person.sees("approvals are signed with ~/.ssh/id_ed25519.pub");
}
