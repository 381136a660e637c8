//! The far side on loopback: HTTP in the clear and over TLS, HTTP/2, git; it writes down each request that reaches it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    certificates,
    process::until,
    skip::{self, PATH},
};

const HTTP1: &str = include_str!("../stand-ins/origin.py");
const HTTP2: &str = include_str!("../stand-ins/http2.mjs");

/// A far side. It ends with the test.
#[derive(Debug)]
pub struct Origin {
    folder: TempDir,
    servers: Vec<Child>,
    clear: u16,
    tls: u16,
    http2: Option<u16>,
}

impl Origin {
    /// Starts one that speaks HTTP/1.1; `None` where this machine lacks what it takes, which is said.
    #[must_use]
    pub fn start() -> Option<Self> {
        if !skip::have(&["python3", "openssl", "curl", "bash"]) {
            return None;
        }
        let folder = crate::home::folder();
        certificates::make(folder.path());
        fs::create_dir(folder.path().join("git")).expect("git/");
        let (server, line) = serve(folder.path(), "python3", "origin.py", HTTP1);
        let mut ports = line.split_whitespace().map(|port| port.parse().expect("a port"));
        let (clear, tls) = (ports.next().expect("a port"), ports.next().expect("two ports"));
        Some(Self { folder, servers: vec![server], clear, tls, http2: None })
    }

    /// The same, with HTTP/2 as well.
    #[must_use]
    pub fn with_http2() -> Option<Self> {
        if !skip::have(&["node"]) {
            return None;
        }
        let mut origin = Self::start()?;
        let (server, line) = serve(origin.folder.path(), "node", "http2.mjs", HTTP2);
        origin.servers.push(server);
        origin.http2 = Some(line.trim().parse().expect("a port"));
        Some(origin)
    }

    /// Its port in the clear, on loopback.
    #[must_use]
    pub fn clear_port(&self) -> u16 {
        self.clear
    }

    /// Its port over TLS, on loopback.
    #[must_use]
    pub fn tls_port(&self) -> u16 {
        self.tls
    }

    /// Its folder; git repositories are below `git`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The head of a policy: the authority, and the names that lead here. `web.example` speaks in the clear, `tls.example` over TLS, `h2.example` HTTP/2;
    /// `held.example` is `web.example` under another name, of which nothing is said.
    #[must_use]
    pub fn names(&self) -> String {
        let http2 = self.http2.map_or_else(String::new, |port| format!("\"h2.example\" = \"127.0.0.1:{port}\"\n"));
        format!(
            "roots = [\"{}\"]\n[names]\n\"web.example\" = \"127.0.0.1:{clear}\"\n\"held.example\" = \"127.0.0.1:{clear}\"\n\"tls.example\" = \"127.0.0.1:{}\"\n{http2}",
            self.folder.path().join("ca.pem").display(),
            self.tls,
            clear = self.clear,
        )
    }

    /// A policy in which the far side may be read and written, while deletions of `held.example` wait.
    #[must_use]
    pub fn policy(&self) -> String {
        self.policy_with("destroy = \"hold\"", "")
    }

    /// The same with other words for `held.example`, and with other tables at the end.
    #[must_use]
    pub fn policy_with(&self, held: &str, more: &str) -> String {
        format!(
            "extends = \"default\"\n{}[place.open]\nhosts = [\"web.example\", \"tls.example\", \"h2.example\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"allow\"\n\
             [place.guarded]\nhosts = [\"held.example\"]\nread = \"allow\"\nwrite = \"allow\"\n{held}\n{more}\n",
            self.names()
        )
    }

    /// `METHOD TARGET` of each request that reached it, in order.
    ///
    /// # Panics
    /// The log cannot be read.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        fs::read_to_string(self.folder.path().join("requests.log")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// How many of them begin like this.
    #[must_use]
    pub fn count(&self, beginning: &str) -> usize {
        self.requests().iter().filter(|line| line.starts_with(beginning)).count()
    }

    /// Method, target and headers of each request that reached it, a JSON object a line.
    #[must_use]
    pub fn heads(&self) -> String {
        fs::read_to_string(self.folder.path().join("heads.log")).unwrap_or_default()
    }

    /// How many connections reached it over HTTP/1.1's ports, whatever they said.
    #[must_use]
    pub fn connections(&self) -> usize {
        fs::read_to_string(self.folder.path().join("connections.log")).unwrap_or_default().lines().count()
    }

    /// Waits for one that begins like this.
    #[track_caller]
    pub fn hears(&self, beginning: &str) {
        until(&format!("the far side hears {beginning:?}"), || self.count(beginning) > 0, || self.requests().join("\n"));
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Starts a server, and gives the one line that it says when it listens.
///
/// # Panics
/// It does not start.
#[must_use]
pub fn serve(folder: &Path, interpreter: &str, name: &str, source: &str) -> (Child, String) {
    serve_with(folder, interpreter, name, source, &[])
}

/// The same with words for it.
///
/// # Panics
/// It does not start.
#[must_use]
pub fn serve_with(folder: &Path, interpreter: &str, name: &str, source: &str, words: &[&str]) -> (Child, String) {
    fs::write(folder.join(name), source).expect("a server's source");
    let mut server = Command::new(skip::which(interpreter).unwrap_or_else(|| interpreter.into()))
        .arg(name)
        .args(words)
        .current_dir(folder)
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a server starts");
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("a pipe")).read_line(&mut line).expect("it says where it listens");
    assert!(!line.is_empty(), "{name} ended at once");
    (server, line)
}
