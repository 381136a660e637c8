//! Secrets that are read from a desktop's keyring and from a Vault: the far side sees them, the box does not.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use agentbox_tests::{
    Finished, Home, Origin,
    process::{finish, until},
    skip,
};
use tempfile::TempDir;

const SECRET: &str = "ghp_0123456789abcdefghijklmnopqrstuvwx56";

/// What a box does with it, and what may be seen of it.
fn used(origin: &Origin, home: &Home, finished: &Finished) {
    let (out, err) = (finished.out(), finished.err());
    assert!(out.contains("TOKEN ghp_") && out.contains("200"), "{out}\n{err}");
    for text in [out, err, home.outside(&["log", "--json"]).ended(0).out()] {
        assert!(!text.contains(SECRET), "{text}");
    }
    assert!(origin.heads().contains(&format!("\"Bearer {SECRET}\"")), "{}", origin.heads());
}

fn policy(origin: &Origin, source: &str, more: &str) -> String {
    origin.policy_with("destroy = \"allow\"", &format!("[credential.api]\nsource = \"{source}\"\nfor = [\"tls.example\"]\nenv = [\"API_TOKEN\"]\n{more}"))
}

const CALL: &str = "echo \"TOKEN $API_TOKEN\"; curl -sS -o /dev/null -w '%{http_code}\\n' -H \"Authorization: Bearer $API_TOKEN\" https://tls.example/x";

fn unattended(home: &Home) -> Command {
    home.script(&["--unattended", "--exit-code", "agent"], CALL)
}

struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A session bus with an unlocked keyring that nobody else uses.
struct Keyring {
    folder: TempDir,
    address: String,
    _bus: Ends,
    _keyring: Ends,
}

impl Keyring {
    fn start() -> Option<Self> {
        if !skip::have(&["dbus-daemon", "gnome-keyring-daemon", "secret-tool"]) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let address = format!("unix:path={}", folder.path().join("bus").display());
        // Without services to start: who asks before the keyring is there would be given another one, which is locked.
        let rules = "<policy context='default'><allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/><allow own='*'/></policy>";
        let configuration = folder.path().join("bus.conf");
        fs::write(&configuration, format!("<busconfig><type>session</type><listen>{address}</listen>{rules}</busconfig>")).expect("bus.conf");
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--nofork", "--print-address=1", "--config-file"]).arg(&configuration).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut bus = Ends(bus.spawn().expect("a bus"));
        let mut told = String::new();
        BufReader::new(bus.0.stdout.take().expect("a pipe")).read_line(&mut told).expect("its address");
        let mut keyring = Command::new("gnome-keyring-daemon");
        keyring.args(["--foreground", "--unlock", "--components=secrets"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut keyring = Ends(in_session(&mut keyring, &folder, &address).spawn().expect("a keyring"));
        std::io::Write::write_all(&mut keyring.0.stdin.take().expect("a pipe"), b"a pass phrase").expect("it reads");
        let ring = Self { folder, address, _bus: bus, _keyring: keyring };
        until("the keyring takes an entry", || ring.stores(), String::new);
        Some(ring)
    }

    fn stores(&self) -> bool {
        let mut tool = Command::new("secret-tool");
        tool.args(["store", "--label=a test", "service", "github", "account", "me"]).stdin(Stdio::piped()).stderr(Stdio::null());
        let mut tool = in_session(&mut tool, &self.folder, &self.address).spawn().expect("secret-tool");
        let _ = std::io::Write::write_all(&mut tool.stdin.take().expect("a pipe"), SECRET.as_bytes());
        tool.wait().is_ok_and(|status| status.success())
    }
}

fn in_session<'c>(command: &'c mut Command, folder: &TempDir, address: &str) -> &'c mut Command {
    command.env("DBUS_SESSION_BUS_ADDRESS", address).env("HOME", folder.path()).env("XDG_DATA_HOME", folder.path()).env("XDG_RUNTIME_DIR", folder.path())
}

#[test]
fn a_keyrings_entry() {
    let Some(origin) = Origin::start() else { return };
    let Some(keyring) = Keyring::start() else { return };
    let home = Home::new(&policy(&origin, "keyring:service=github account=me", ""));
    let finished = finish(unattended(&home).env("DBUS_SESSION_BUS_ADDRESS", &keyring.address)).ended(0);
    used(&origin, &home, &finished);
    // What is not there is said, and is no secret.
    let home = Home::new(&policy(&origin, "keyring:service=other", ""));
    let finished = finish(unattended(&home).env("DBUS_SESSION_BUS_ADDRESS", &keyring.address)).ended(0);
    assert!(finished.err().contains("the keyring gave nothing") && finished.out().starts_with("TOKEN \n"), "{}{}", finished.out(), finished.err());
}

/// Vault's API as far as it is spoken: a key/value store of version 2, over TLS.
const VAULT: &str = r#"
import http.server, json, ssl
class Vault(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        known = self.headers["x-vault-token"] == "hvs.the-persons-own" and self.headers["x-vault-request"] == "true"
        team = self.headers["x-vault-namespace"] == "team"
        value = {"data": {"data": {"token": SECRET, "number": 7}, "metadata": {"version": 3}}, "lease_duration": 0}
        status, body = (403, {"errors": ["permission denied"]}) if not known else (200, value) if team and self.path == "/v1/secret/data/apps/github" else (404, {"errors": []})
        body = json.dumps(body).encode()
        self.send_response(status); self.send_header("content-type", "application/json"); self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Vault)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain("cert.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

#[test]
fn a_vaults_field() {
    let Some(origin) = Origin::start() else { return };
    let mut server = Command::new("python3");
    server.args(["-c", &format!("SECRET = {SECRET:?}\n{VAULT}")]).current_dir(origin.folder()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut server = Ends(server.spawn().expect("python3"));
    let mut port = String::new();
    BufReader::new(server.0.stdout.take().expect("a pipe")).read_line(&mut port).expect("its port");
    let run = |source: &str, token: Option<&str>, address: &str| {
        let home = Home::new(&policy(&origin, source, ""));
        let mut command = unattended(&home);
        command.env("VAULT_ADDR", address).env("VAULT_NAMESPACE", "team");
        match token {
            Some(token) => command.env("VAULT_TOKEN", token),
            // As `vault login` leaves it.
            None => {
                home.write("home/.vault-token", "hvs.the-persons-own\n");
                &mut command
            }
        };
        let finished = finish(&mut command).ended(0);
        (home, finished)
    };
    let address = format!("https://127.0.0.1:{}", port.trim());
    for token in [Some("hvs.the-persons-own"), None] {
        let (home, finished) = run("vault:secret/apps/github#token", token, &address);
        used(&origin, &home, &finished);
        assert!(!finished.out().contains("hvs."), "{}", finished.out());
    }
    for (source, token, address, said) in [
        ("vault:secret/apps/github#token", Some("hvs.other"), address.as_str(), "says no"),
        ("vault:secret/apps/none#token", Some("hvs.the-persons-own"), &address, "has no secret secret/apps/none"),
        ("vault:secret/apps/github#number", Some("hvs.the-persons-own"), &address, "no text in its field number"),
        ("vault:secret/apps/github#token", Some("hvs.the-persons-own"), "http://127.0.0.1:1", "not sent in the clear"),
        ("vault:secret/apps/github#token", Some("hvs.the-persons-own"), "https://127.0.0.1:1", "cannot connect"),
    ] {
        let (_, finished) = run(source, token, address);
        assert!(finished.err().contains(said) && finished.out().starts_with("TOKEN \n"), "{said}: {}{}", finished.out(), finished.err());
    }
}
