//! A person at a real terminal: a pty whose foreground the program under test has.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use nix::{
    pty::{Winsize, openpty},
    unistd::Pid,
};

use crate::process::{DEADLINE, until};

/// A terminal with a program on it.
#[derive(Debug)]
pub struct Person {
    child: Child,
    master: File,
    slave: OwnedFd,
    seen: Arc<Mutex<Vec<u8>>>,
    /// How much of it was already waited for.
    read: usize,
    /// The settings before anything ran on it.
    at_first: String,
}

impl Person {
    /// Starts the program with a terminal of 24 rows and 80 columns as its controlling one.
    ///
    /// # Panics
    /// There is no pty.
    #[must_use]
    pub fn runs(command: &Command) -> Self {
        let pty = openpty(Some(&Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }), None).expect("a pty");
        let at_first = settings(&pty.slave);
        let stdio = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        // `setsid` makes itself leader of a session with this terminal, then becomes the program, under the same number.
        let mut whole = Command::new("setsid");
        whole.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
        whole.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(folder) = command.get_current_dir() {
            whole.current_dir(folder);
        }
        let child = whole.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().expect("it starts");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let master = File::from(pty.master);
        let mut reader = master.try_clone().expect("a descriptor");
        let into = Arc::clone(&seen);
        thread::spawn(move || {
            let mut chunk = vec![0; 64 << 10];
            while let Ok(count @ 1..) = reader.read(&mut chunk) {
                into.lock().expect("nobody panics with it").extend_from_slice(&chunk[..count]);
            }
        });
        Self { child, master, slave: pty.slave, seen, read: 0, at_first }
    }

    /// Types.
    ///
    /// # Panics
    /// The terminal is gone.
    pub fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("the terminal is there");
    }

    /// Waits until this is seen, after what was waited for before.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn sees(&mut self, words: &str) {
        let mut found = None;
        let (seen, read) = (Arc::clone(&self.seen), self.read);
        until(
            &format!("the screen shows {words:?}"),
            || {
                let bytes = seen.lock().expect("no reader panics");
                found = bytes[read..].windows(words.len()).position(|window| window == words.as_bytes());
                found.is_some()
            },
            || self.screen(),
        );
        self.read += found.expect("it was found") + words.len();
    }

    /// All that was seen.
    ///
    /// # Panics
    /// A reader panicked.
    #[must_use]
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("no reader panics")).into_owned()
    }

    /// Drags the window's corner; the kernel tells the foreground.
    ///
    /// # Panics
    /// `stty` fails.
    pub fn resizes(&self, rows: u16, columns: u16) {
        let stdin = Stdio::from(self.slave.try_clone().expect("a descriptor"));
        let done = Command::new("stty").args(["rows", &rows.to_string(), "cols", &columns.to_string()]).stdin(stdin).status().expect("stty runs");
        assert!(done.success());
    }

    /// The program's number.
    ///
    /// # Panics
    /// It has none.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }

    /// Whether the terminal is set as it was before the program ran.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn is_given_back(&self) {
        assert_eq!(settings(&self.slave), self.at_first, "the terminal is not given back as it was");
    }

    /// Waits for its end, and gives its exit code.
    ///
    /// # Panics
    /// It runs on beyond the deadline, or a signal ended it.
    #[must_use]
    #[track_caller]
    pub fn ends(&mut self) -> i32 {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status.code().unwrap_or_else(|| panic!("{status:?}\n{}", self.screen()));
            }
            assert!(Instant::now() < end, "it runs on\n{}", self.screen());
            thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// As `stty -g` tells them.
fn settings(terminal: &OwnedFd) -> String {
    let stdin = Stdio::from(terminal.try_clone().expect("a descriptor"));
    String::from_utf8_lossy(&Command::new("stty").arg("-g").stdin(stdin).output().expect("stty runs").stdout).trim().to_owned()
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
