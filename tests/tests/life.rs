//! What a command in the box finds: exit codes, descriptors, its own processes and folders, nothing secret; and what agentbox says when it cannot start.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, os::unix::fs::symlink};

use agentbox_tests::{
    Home, Who,
    binary::agentbox,
    home::exists,
    process::{Going, finish, until},
    skip,
};

const PLAIN: &str = "extends = \"default\"\n";

#[test]
fn a_command_ends_as_it_would_outside() {
    for who in Who::each() {
        let home = Home::of(who, PLAIN);
        for (script, code) in [("true", 0), ("exit 7", 7), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -SEGV $$", 139), ("kill -KILL $$", 137)] {
            let ended = finish(&mut home.boxed(&[], &["bash", "-c", script])).ended(code);
            assert_eq!(ended.err(), "", "{script}");
        }
        finish(&mut home.boxed(&[], &["/nowhere/at/all"])).ended(127);
        let ended = finish(&mut home.boxed(&[], &["/etc/hosts"])).ended(126);
        assert!(ended.err().contains("/etc/hosts"), "{}", ended.err());
    }
}

#[test]
fn five_megabytes_come_out_as_they_went_in() {
    let home = Home::new(PLAIN);
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let ended = Going::with_input(&mut home.boxed(&[], &["cat"]), &bytes).finish().ended(0);
    assert!(ended.stdout == bytes, "{} bytes came out", ended.stdout.len());
}

#[test]
fn each_descriptor_is_its_own() {
    let home = Home::new(PLAIN);
    let script = "cat; echo to-stderr >&2; [ -t 0 ] || [ -t 1 ] || [ -t 2 ] || echo no-terminal; ls /proc/self/fd | tr '\\n' ' '";
    let ended = Going::with_input(&mut home.boxed(&[], &["bash", "-c", script]), b"from-stdin\n").finish().ended(0);
    // `ls` itself has one more open: the folder that it lists.
    assert_eq!(ended.out(), "from-stdin\nno-terminal\n0 1 2 3 ");
    assert_eq!(ended.err(), "to-stderr\n");
}

#[test]
fn only_what_the_policy_names_of_the_environment_goes_in() {
    let home = Home::new("extends = \"default\"\n[env]\npass = [\"MY_*\", \"MY_API_TOKEN\"]\nset = { ADDED = \"1\" }\n");
    let mut command = home.boxed(&[], &["env"]);
    command.envs([
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI"),
        ("RAILWAY_TOKEN", "secret-1"),
        ("MY_OWN", "seen"),
        ("MY_PASSWORD", "secret-2"),
        ("MY_API_TOKEN", "named"),
        ("MY_URL", "postgres://user:secret-3@db/"),
        ("OTHER", "not-named"),
        ("HTTPS_PROXY", "http://127.0.0.1:9"),
        ("LD_PRELOAD", "/nowhere.so"),
    ]);
    let out = finish(&mut command).ended(0).out();
    let lines: Vec<&str> = out.lines().collect();
    // The folder of the program under test comes last, so that `agentbox why` is found and nothing else is hidden.
    let own = agentbox_tests::binary::agentbox().parent().expect("a folder").display();
    for there in [&format!("PATH={}:{own}", skip::PATH)[..], "MY_OWN=seen", "MY_API_TOKEN=named", "ADDED=1", "LANG=C.UTF-8"] {
        assert!(lines.contains(&there), "{there} is missing:\n{out}");
    }
    for secret in ["wJalrXUtnFEMI", "secret-1", "secret-2", "secret-3", "not-named", "HTTPS_PROXY", "nowhere.so"] {
        assert!(!out.contains(secret), "{secret} went in:\n{out}");
    }
    assert!(out.contains("AGENTBOX_SESSION="), "{out}");
}

#[test]
fn secrets_are_not_there_and_nothing_but_the_workspace_can_be_written() {
    for who in Who::each() {
        let home = Home::of(who, PLAIN);
        home.write("home/.ssh/id_ed25519", "PRIVATE-KEY-MATERIAL\n");
        home.write("home/.netrc", "PRIVATE-KEY-MATERIAL\n");
        home.write("home/.bashrc", "# plain\n");
        home.write("work/file", "old\n");
        let outside = home.path("outside");
        let ended = home.run(&format!(
            "cat ~/.ssh/id_ed25519 ~/.netrc ~/.ssh/../.ssh/id_ed25519 2>/dev/null; ls -A ~/.ssh 2>/dev/null; grep -rs PRIVATE-KEY ~ .. ; \
             echo to-its-own-tmp >'{}'; for path in /etc/x /usr/bin/x /x ~/x ~/.bashrc /proc/sys/kernel/hostname /sys/x /dev/x; do \
                 if echo changed 2>/dev/null >\"$path\"; then echo \"wrote $path\"; fi; done 2>/dev/null; \
             echo new > file && cat file && mkdir folder && echo fine",
            outside.display()
        ));
        assert_eq!(ended.clone().ended(0).out(), "new\nfine\n", "{}", ended.err());
        assert!(!exists(&outside));
        assert_eq!(fs::read_to_string(home.path("home/.bashrc")).expect("it is there"), "# plain\n");
        assert_eq!(fs::read_to_string(home.path("work/file")).expect("it is there"), "new\n");
    }
}

#[test]
fn a_link_in_the_workspace_leads_nowhere_secret() {
    let home = Home::new(PLAIN);
    home.write("home/.ssh/id_ed25519", "PRIVATE-KEY-MATERIAL\n");
    symlink(home.path("home/.ssh"), home.path("work/keys")).expect("a link");
    symlink(home.path("home"), home.path("work/home")).expect("a link");
    let out = home
        .run("cat keys/id_ed25519 home/.ssh/id_ed25519; ln -s \"$HOME/.ssh/id_ed25519\" made; cat made; ln \"$HOME/.ssh/id_ed25519\" hard; cat hard; echo done")
        .ended(0)
        .out();
    assert_eq!(out, "done\n");
}

#[test]
fn its_temporary_folders_and_processes_are_its_own() {
    let home = Home::new(PLAIN);
    let marker = std::env::temp_dir().join(format!("agentbox-marker-{}", std::process::id()));
    fs::write(&marker, "outside").expect("a file outside");
    let shown = marker.display();
    let script = format!(
        "cat '{shown}' 2>/dev/null; for folder in /tmp /var/tmp /dev/shm /run; do echo inside >$folder/made-in-the-box && echo wrote; done; \
         echo 1:$(tr '\\0' ' ' </proc/1/cmdline | grep -c agentbox); ls -d /proc/[0-9]* | wc -l; kill -0 {} 2>/dev/null && echo reached",
        std::process::id()
    );
    let out = home.run(&script).ended(1).out();
    fs::remove_file(&marker).expect("it is there");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "wrote", "{out}");
    assert!(!out.contains("reached") && !out.contains("outside"), "{out}");
    let seen: usize = lines.last().expect("a count").trim().parse().expect("a number");
    assert!(seen < 10, "{out}");
    for folder in ["/tmp", "/var/tmp", "/dev/shm", "/run"] {
        assert!(!exists(&std::path::Path::new(folder).join("made-in-the-box")), "{folder} is shared with the box");
    }
}

#[test]
fn nothing_outlives_the_box() {
    let home = Home::new(PLAIN);
    let ended = home
        .run("(trap '' TERM HUP INT; setsid sleep 300 </dev/null >/dev/null 2>&1 & disown; nohup sleep 300 >/dev/null 2>&1 &) ; echo $$ >mark; exit 3")
        .ended(3);
    assert_eq!(ended.err(), "");
    // It ended although they were there; and no process with this home as its folder is left.
    let work = home.path("work");
    let left = || -> Vec<String> {
        let folders = fs::read_dir("/proc").expect("/proc").filter_map(|entry| Some(entry.ok()?.path()));
        let here = folders.filter(|process| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&work)));
        here.filter_map(|process| fs::read_to_string(process.join("comm")).ok()).collect()
    };
    let agents: Vec<String> = left().into_iter().filter(|name| !name.starts_with("agentbox")).collect();
    assert!(agents.is_empty(), "{agents:?}");
    // Ours tell the caller first, and then clear away what the box has left.
    until("ours have gone, too", || left().is_empty(), || format!("{:?}", left()));
}

#[test]
fn the_agent_reaches_neither_policy_nor_ledger_nor_control_socket() {
    for who in Who::each() {
        let home = Home::of(who, PLAIN);
        home.write("work/agentbox.toml", "extends = \"default\"\n");
        home.write("config/agentbox/policy.toml", "# THE-USERS-POLICY\n");
        let script = format!(
            "cat '{}'/agentbox/* 2>/dev/null; ls -A '{}'/agentbox '{}'/agentbox 2>/dev/null; \
             for command in holds 'approve abcdef' 'deny abcdef' 'show abcdef'; do $AGENTBOX $command >/dev/null 2>&1 && echo \"$command answered\"; done; \
             env -u AGENTBOX_SESSION $AGENTBOX holds 2>/dev/null | grep -v 'Nothing waits.'; \
             (echo x >agentbox.toml) 2>/dev/null && echo policy written; rm -f agentbox.toml 2>/dev/null && echo policy removed; mv agentbox.toml other 2>/dev/null && echo policy moved; \
             (echo x >'{}') 2>/dev/null && echo policy written; touch '{}'/agentbox/x 2>/dev/null && echo state written; \
             $AGENTBOX holds 2>&1 | grep -o 'for the person outside'",
            home.path("config").display(),
            home.path("state").display(),
            home.path("runtime").display(),
            home.path("policy.toml").display(),
            home.path("state").display(),
        );
        let ended = home.run(&script);
        assert_eq!(ended.out(), "for the person outside\n", "{}", ended.err());
        assert_eq!(fs::read_to_string(home.path("work/agentbox.toml")).expect("it is there"), "extends = \"default\"\n");
        assert!(!exists(&home.path("state/agentbox/x")));
    }
}

#[test]
fn in_itself_it_says_why_not() {
    let home = Home::new(PLAIN);
    let ended = home.run("$AGENTBOX run -- echo nested").ended(125);
    assert_eq!(ended.out(), "");
    let said = ended.err();
    assert!(said.contains("already in a box"), "{said}");
}

#[test]
fn a_policy_that_cannot_be_read_stops_it_with_a_caret() {
    for (policy, words) in [
        ("extends = \"default\"\n[place.api]\nhosts = [\"a.example\"]\nraed = \"allow\"\n", &["policy.toml:4", "raed", "^", "read"][..]),
        ("extends = \"default\"\n[place.api]\nhosts = [\"a.example\"]\nread = \"maybe\"\n", &["policy.toml:4", "^", "allow"]),
        ("extends = \"default\"\n[place.api\n", &["policy.toml:2", "^"]),
        ("extends = \"no-such-profile\"\n", &["no-such-profile"]),
    ] {
        let home = Home::new(policy);
        let ended = home.run("echo started").ended(125);
        assert_eq!(ended.out(), "");
        for word in words {
            assert!(ended.err().contains(word), "{word:?} is missing in\n{}", ended.err());
        }
    }
    let home = Home::new(PLAIN);
    let ended = finish(&mut home.agentbox(&["run", "--policy", "/nowhere.toml", "--", "true"])).ended(125);
    assert!(ended.err().contains("/nowhere.toml"), "{}", ended.err());
}

#[test]
fn a_layer_that_is_required_and_missing_stops_it() {
    let home = Home::new("extends = \"default\"\nrequire = [\"landlock>=99\"]\n");
    let ended = home.run("echo started").ended(125);
    assert_eq!(ended.out(), "");
    assert!(ended.err().contains("landlock"), "{}", ended.err());
}

#[test]
fn a_command_line_that_is_wrong_is_its_own_failure() {
    let home = Home::new(PLAIN);
    finish(&mut home.agentbox(&["run"])).ended(125);
    finish(&mut home.agentbox(&["rnu"])).ended(125);
    let ended = finish(&mut home.agentbox(&["run", "cluade"])).ended(125);
    assert!(ended.err().contains("claude"), "{}", ended.err());
    assert!(agentbox().is_file());
}

/// Forks until it may not, and says how often and what the kernel answered.
const BOMB: &str = r#"python3 -c "
import os, signal
count = 0
try:
    while count < 3000:
        if os.fork() == 0:
            signal.pause()
        count += 1
    print('unbounded')
except OSError as error:
    print(count, error.errno)
""#;

#[test]
fn a_fork_bomb_ends_in_the_box() {
    let read = |path: &str| std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let machine = ["/proc/sys/kernel/threads-max", "/proc/sys/kernel/pid_max"].map(read);
    let expected = machine.into_iter().flatten().map(|most| most / 2).chain([16_384]).min();
    if !skip::have(&["setpriv", "python3"]) {
        return;
    }
    // Root is bound by nothing but a cgroup of its own.
    let who = Who::each().pop().expect("somebody");
    let home = Home::of(who, "extends = \"default\"\n");
    assert_eq!(home.run("ulimit -Hu").ended(0).out().trim().parse().ok(), expected);
    let home = Home::of(who, "extends = \"default\"\n[limits]\nprocesses = 60\n");
    let ended = home.run(BOMB).ended(0).out();
    let (count, errno) = ended.trim().split_once(' ').unwrap_or_else(|| panic!("{ended}"));
    assert!(count.parse::<u32>().is_ok_and(|count| count < 60) && errno == "11", "{ended}");
}
