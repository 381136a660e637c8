//! A person's browser: real Chromium, driven line by line.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::process::{DEADLINE, until};

/// Chromium, with a person's hands. Each answer comes within the script's own deadline.
pub struct Browser {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    _folder: tempfile::TempDir,
}

impl Browser {
    /// Starts it, on an empty page.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/stand-ins/browser.py");
        let mut child = Command::new("python3").arg(script).current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3");
        let (to, from) = (child.stdin.take(), BufReader::new(child.stdout.take().expect("a pipe")));
        let mut browser = Self { child, to, from, _folder: folder };
        assert_eq!(browser.answer(), "ready");
        browser
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("an answer");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// What comes of one command of `stand-ins/browser.py`.
    ///
    /// # Panics
    /// The browser complains.
    #[track_caller]
    pub fn tell(&mut self, command: &Value) -> Value {
        writeln!(self.to.as_ref().expect("a pipe"), "{command}").expect("it listens");
        let answer = self.answer();
        assert!(answer.get("error").is_none(), "{command}: {answer}");
        answer
    }

    /// The same where it is a text.
    ///
    /// # Panics
    /// It is none, or the browser complains.
    #[track_caller]
    pub fn text(&mut self, command: &Value) -> String {
        let answer = self.tell(command);
        answer.as_str().unwrap_or_else(|| panic!("{command}: {answer}")).to_owned()
    }

    /// Waits until the page has these words.
    ///
    /// # Panics
    /// It never does.
    #[track_caller]
    pub fn comes_to_show(&mut self, words: &str) {
        let mut seen = String::new();
        // While a page loads itself again there may be no body for a moment.
        until(
            &format!("it shows {words:?}"),
            || {
                seen = self.tell(&json!({"eval": "document.body ? document.body.innerText : ''"})).as_str().unwrap_or_default().to_owned();
                seen.contains(words)
            },
            String::new,
        );
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends at the end of its input, and the browser with it: killed first, it would leave the browser behind.
        drop(self.to.take());
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
