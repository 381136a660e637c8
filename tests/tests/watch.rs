//! `holds --watch` on a real terminal, in tmux: approve and refuse by keys, resize, wide characters, hostile text, and the terminal as it was.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use agentbox_tests::{
    Home, Origin,
    process::{finish, until},
    skip,
};

/// A tmux server of its own, with one window.
struct Tmux<'a> {
    home: &'a Home,
    socket: String,
}

impl<'a> Tmux<'a> {
    fn start(home: &'a Home, command: &str) -> Self {
        let socket = home.path("home/tmux").display().to_string();
        let tmux = Self { home, socket };
        tmux.tell(&["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", command]);
        tmux
    }

    fn tell(&self, words: &[&str]) -> String {
        let mut command = self.home.program("tmux");
        finish(command.env("LC_ALL", "C.UTF-8").args(["-S", &self.socket]).args(words)).ended(0).out()
    }

    fn keys(&self, keys: &[&str]) {
        self.tell(&[&["send-keys"], keys].concat());
    }

    fn screen(&self) -> String {
        self.tell(&["capture-pane", "-p"])
    }

    #[track_caller]
    fn shows(&self, words: &str) {
        until(&format!("the screen shows {words:?}"), || self.screen().contains(words), || self.screen());
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        let mut command = self.home.program("tmux");
        let _ = finish(command.args(["-S", &self.socket, "kill-server"]));
    }
}

#[test]
fn a_person_rules_by_keys() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["tmux"]) {
        return;
    }
    let home = Home::new(&origin.policy());
    let tmux = Tmux::start(&home, &format!("echo before; '{}' holds --watch; echo after; sleep 300", agentbox_tests::binary::agentbox().display()));
    tmux.shows("Nothing waits.");
    let each = "curl -s -w ' %{http_code}\\n' -X DELETE";
    let going = home.start(&format!(
        "$AGENTBOX ask '日本語のボリューム'; {each} 'http://held.example/a/%1b%5b2J%e2%80%ae' & wait; $AGENTBOX ask 'and this'; {each} http://held.example/b; echo end"
    ));
    let first = home.hold();
    tmux.shows(&first);
    tmux.keys(&["Enter"]);
    tmux.shows("DESTROY http.delete");
    tmux.shows("日本語のボリューム");
    // A smaller terminal shows less, and the last line still says what to do.
    tmux.tell(&["resize-window", "-x", "60", "-y", "12"]);
    tmux.shows("a approve   d refuse");
    until(
        "it is scrolled",
        || {
            tmux.keys(&["Down"]);
            tmux.screen().contains("agentbox deny")
        },
        || tmux.screen(),
    );
    tmux.tell(&["resize-window", "-x", "100", "-y", "40"]);
    tmux.shows("DESTROY http.delete");
    // Not the word; then away from it; then the word.
    tmux.keys(&["a", "n", "o", "Enter"]);
    tmux.shows("not approved: to approve it, type yes");
    tmux.keys(&["a", "y", "e", "Escape"]);
    assert_eq!(origin.count("DELETE"), 0);
    tmux.keys(&["a", "y", "e", "x", "BSpace", "s", "Enter"]);
    origin.hears("DELETE /a/");
    let mut second = String::new();
    until(
        "the next one waits",
        || {
            second = home.holds().first().map(|card| card["id"].as_str().unwrap_or_default().to_owned()).unwrap_or_default();
            !second.is_empty() && second != first
        },
        String::new,
    );
    tmux.shows(&format!("{second}  waiting"));
    tmux.keys(&["Enter"]);
    tmux.shows("http://held.example:80/b");
    tmux.keys(&["d", "w", "r", "o", "n", "g", "Space", "é", "Enter"]);
    let out = going.finish().ended(0).out();
    assert!(out.contains("wrong é"), "{out}");
    assert_eq!(origin.count("DELETE"), 1);
    tmux.shows("Nothing waits.");
    tmux.keys(&["q"]);
    tmux.shows("after");
    // The first screen is back, and lines are typed as before.
    tmux.shows("before");
}
