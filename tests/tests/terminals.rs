//! A person at a real terminal: job control inside and outside, window size, Ctrl-C, exit codes, the settings given back.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{process::Command, thread, time::Duration};

use agentbox_tests::{Home, Origin, Who, binary, process::until, skip, terminal::Person};
use nix::sys::signal::{Signal, kill};

const PLAIN: &str = "extends = \"default\"\n";

fn have() -> bool {
    skip::have(&["bash", "setsid", "stty", "sleep", "cat"])
}

fn shell(home: &Home) -> Command {
    home.boxed(&[], &["bash", "--norc", "--noprofile", "--noediting", "-i"])
}

#[test]
fn a_shell_in_the_box_has_job_control() {
    if !have() {
        return;
    }
    for who in Who::each() {
        let home = Home::of(who, PLAIN);
        let mut person = Person::runs(&shell(&home));
        person.sees("bash-");
        person.types("PS1='agent> '; tty; set -o | grep monitor\r");
        person.sees("/dev/");
        person.sees("monitor        \ton");
        person.sees("agent> ");
        person.types("echo ready; cat\r");
        person.sees("\nready");
        person.types("echoed\r");
        person.sees("echoed\r\nechoed");
        person.types("\u{1a}");
        person.sees("Stopped");
        person.types("jobs\r");
        person.sees("[1]+  Stopped");
        person.types("fg\r");
        person.sees("fg\r\ncat\r\n");
        person.types("again\r");
        person.sees("again\r\nagain");
        person.types("\u{3}");
        person.sees("agent> ");
        person.types("echo code:$?\r");
        person.sees("code:130");
        person.sees("agent> ");
        person.types("sleep 300 &\r");
        person.sees("[1] ");
        person.types("kill %1; wait; echo reaped\r");
        person.sees("Terminated");
        person.types("exit 9\r");
        assert_eq!(person.ends(), 9);
    }
}

#[test]
fn the_windows_size_follows() {
    if !have() {
        return;
    }
    let home = Home::new(PLAIN);
    let mut person = Person::runs(&home.boxed(&[], &["bash", "-c", "trap 'echo told' WINCH; while ! [ -e end ]; do stty size; sleep 0.05; done; exit 4"]));
    person.sees("24 80");
    person.resizes(31, 99);
    person.sees("31 99");
    person.resizes(50, 132);
    person.sees("50 132");
    home.write("work/end", "");
    assert_eq!(person.ends(), 4);
    assert!(person.screen().contains("told"), "{}", person.screen());
}

#[test]
fn a_single_command_stops_and_goes_on() {
    if !have() {
        return;
    }
    for who in Who::each() {
        let home = Home::of(who, PLAIN);
        let policy = home.path("policy.toml");
        let mut outer = home.program("bash");
        outer.args(["--norc", "-m", "-c", "stty -g; \"$@\"; echo stopped:$?; stty -g; fg; echo ended:$?; stty -g", "outer"]);
        outer.arg(binary::agentbox()).args(["run", "--policy"]).arg(policy).args(["--", "bash", "-c", "echo ready; exec cat"]);
        let mut person = Person::runs(&outer);
        person.sees("ready");
        person.types("one\r");
        person.sees("one\r\none");
        person.types("\u{1a}");
        // 128 and SIGSTOP or SIGTSTP.
        person.sees("stopped:14");
        // What `fg` says of the job.
        person.sees("$@");
        person.types("two\r");
        person.sees("two\r\ntwo");
        person.types("\u{4}");
        person.sees("ended:0");
        assert_eq!(person.ends(), 0);
        let screen = person.screen();
        let settings: Vec<&str> =
            screen.lines().map(str::trim).filter(|line| line.len() > 40 && line.chars().all(|c| c.is_ascii_hexdigit() || c == ':')).collect();
        assert_eq!(settings.len(), 3, "{screen}");
        assert!(settings.iter().all(|line| *line == settings[0]), "the terminal is not given back as it was: {settings:?}");
    }
}

#[test]
fn ctrl_z_at_any_moment_of_the_start_stops_it_or_does_nothing() {
    if !have() {
        return;
    }
    let home = Home::new(PLAIN);
    for milliseconds in 0..30 {
        let mut person = Person::runs(&home.boxed(&[], &["bash", "-c", "echo ready; sleep 0.1; echo done"]));
        thread::sleep(Duration::from_millis(milliseconds));
        person.types("\u{1a}");
        // Where it did stop, it goes on.
        let pid = person.pid();
        until(
            "it goes on",
            || {
                let _ = kill(pid, Signal::SIGCONT);
                person.screen().contains("done")
            },
            || format!("after {milliseconds} ms: {}", person.screen()),
        );
        assert_eq!(person.ends(), 0, "after {milliseconds} ms: {}", person.screen());
    }
}

#[test]
fn under_a_shell_outside_it_is_a_job_like_any_other() {
    if !have() {
        return;
    }
    let home = Home::new(PLAIN);
    let boxed = home.boxed(&[], &["bash", "-c", "echo begun; while read -r line; do echo \"<$line>\"; done; exit 6"]);
    let mut words: Vec<String> = vec![boxed.get_program().to_string_lossy().into_owned()];
    words.extend(boxed.get_args().map(|word| format!("'{}'", word.to_string_lossy())));
    let mut outer = home.program("bash");
    outer.args(["--norc", "--noprofile", "--noediting", "-i"]);
    let mut person = Person::runs(&outer);
    person.sees("bash-");
    person.types("PS1='outer> '\r");
    person.types(&format!("{}\r", words.join(" ")));
    person.sees("begun\r\n");
    person.types("one\r");
    person.sees("<one>");
    person.types("\u{1a}");
    person.sees("Stopped");
    person.types("echo outer-$((40+2)); jobs\r");
    person.sees("outer-42");
    person.sees("[1]+  Stopped");
    person.types("fg\r");
    person.types("two\r");
    person.sees("<two>");
    person.types("\u{4}");
    person.sees("outer> ");
    person.types("echo code:$?\r");
    person.sees("code:6");
    // In the background it does not take the terminal; Ctrl-C does not reach it, and it can be ended.
    person.types(&format!("{} </dev/null >background 2>&1 &\r", words.join(" ")));
    person.types("wait %1; echo background:$?\r");
    person.sees("background:6");
    person.types("exit\r");
    assert_eq!(person.ends(), 0);
}

#[test]
fn ctrl_c_and_ctrl_backslash_end_a_command() {
    if !have() {
        return;
    }
    let home = Home::new(PLAIN);
    for (key, code) in [("\u{3}", 130), ("\u{1c}", 131)] {
        let mut person = Person::runs(&home.boxed(&[], &["bash", "-c", "ulimit -c 0; echo begun; sleep 300"]));
        person.sees("begun");
        person.types(key);
        assert_eq!(person.ends(), code);
        person.is_given_back();
    }
}

#[test]
fn much_output_comes_whole_and_in_order() {
    if !have() {
        return;
    }
    let home = Home::new(PLAIN);
    let mut person = Person::runs(&home.boxed(&[], &["bash", "-c", "seq 1 300000; echo last-line"]));
    assert_eq!(person.ends(), 0);
    person.sees("last-line");
    let screen = person.screen();
    let mut lines = screen.lines();
    for number in 1..=300_000_u32 {
        assert_eq!(lines.next().map(str::parse), Some(Ok(number)), "after {}", number - 1);
    }
}

#[test]
fn what_would_reach_through_the_terminal_is_dropped() {
    if !have() {
        return;
    }
    let home = Home::new(PLAIN);
    // The clipboard, a title report, a device's answer-back, tmux's passthrough; a colour passes.
    let script = r"printf 'A\033]52;c;ZXZpbA==\007B\033[21tC\033[6nD\033Ptmux;\033\033]52;c;ZXZpbA==\007\033\\E\033[31mred\033[0m\n'";
    let mut person = Person::runs(&home.boxed(&[], &["bash", "-c", script]));
    assert_eq!(person.ends(), 0);
    person.sees("red");
    let screen = person.screen();
    for forbidden in ["]52;", "ZXZpbA", "[21t", "tmux;"] {
        assert!(!screen.contains(forbidden), "{forbidden} passed: {screen:?}");
    }
    assert!(screen.contains("\u{1b}[31mred"), "{screen:?}");
}

#[test]
fn the_agents_terminal_is_its_own() {
    if !have() {
        return;
    }
    let home = Home::new(PLAIN);
    let script = "import fcntl, termios, os\ntry:\n    fcntl.ioctl(0, termios.TIOCSTI, b'x')\n    print('pushed')\nexcept OSError as error:\n    print('refused', error.errno)\nprint(len(os.listdir('/dev/pts')))\n";
    home.write("work/push.py", script);
    if !skip::have(&["python3"]) {
        return;
    }
    let mut person = Person::runs(&home.boxed(&[], &["python3", "push.py"]));
    assert_eq!(person.ends(), 0);
    person.sees("refused 1\r\n");
}

#[test]
fn the_terminal_only_says_that_something_is_held() {
    let Some(origin) = Origin::start() else { return };
    if !have() {
        return;
    }
    let home = Home::new(&origin.policy());
    let mut person = Person::runs(&home.boxed(&[], &["curl", "-s", "-X", "DELETE", "http://held.example/volumes/1"]));
    person.sees("agentbox holds");
    let screen = person.screen();
    assert!(!screen.contains("agentbox approve"), "the card does not belong on the agent's terminal: {screen}");
    let id = home.hold();
    person.types("\u{3}");
    assert_eq!(person.ends(), 130);
    home.outside(&["approve", &id, "--confirm", "yes"]).ended(1);
    assert_eq!(origin.count("DELETE"), 0);
}

#[test]
fn a_person_reads_the_card_and_types_yes() {
    let Some(origin) = Origin::start() else { return };
    if !have() {
        return;
    }
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        let before = origin.count("DELETE");
        let going = home.start("curl -s -o /dev/null -w '%{http_code}\\n' -X DELETE http://held.example/volumes/1");
        let id = home.hold();
        // Anything else than the word is a no to the question, and leaves the hold as it is.
        let mut person = Person::runs(&home.agentbox(&["approve", &id]));
        person.sees("http://held.example:80/volumes/1");
        person.sees("type yes: ");
        person.types("no\r");
        assert_eq!(person.ends(), 1);
        assert_eq!(origin.count("DELETE"), before);
        let mut person = Person::runs(&home.agentbox(&["approve", &id]));
        person.sees("type yes: ");
        person.types("yes\r");
        assert_eq!(person.ends(), 0);
        assert_eq!(going.finish().ended(0).out(), "200\n");
        assert_eq!(origin.count("DELETE"), before + 1);
    }
}
