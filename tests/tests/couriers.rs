//! Cards that are carried elsewhere: to a real receiver over TLS, signed, with a token, and without anything depending on it.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use agentbox_tests::{Home, Origin, process::until};
use serde_json::Value;

/// Writes each request that it is sent to `carried`, one JSON a line, and whether its signature is good by Python's own arithmetic.
const RECEIVER: &str = r#"
import base64, hashlib, hmac, http.server, json, ssl, sys
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        told = f'{self.headers["webhook-id"]}.{self.headers["webhook-timestamp"]}.'.encode() + body
        tag = base64.b64encode(hmac.new(b"between us", told, hashlib.sha256).digest()).decode()
        line = {"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}, "body": body.decode(), "good": self.headers["webhook-signature"] == "v1," + tag}
        with open("carried", "a") as out: out.write(json.dumps(line) + "\n")
        self.send_response(500 if self.path == "/broken" else 200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain("cert.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

struct Receiver(Child);

impl Receiver {
    fn start(origin: &Origin) -> (Self, u16) {
        let mut child =
            Command::new("python3").args(["-c", RECEIVER]).current_dir(origin.folder()).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("python3");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("its port");
        (Self(child), line.trim().parse().expect("a port"))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn carried(origin: &Origin) -> Vec<Value> {
    let text = fs::read_to_string(origin.folder().join("carried")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_card_is_carried_signed_and_nothing_waits_for_it() {
    let Some(origin) = Origin::start() else { return };
    let (_receiver, port) = Receiver::start(&origin);
    let more = "[approval]\nchannels = [\"ops\", \"chat\", \"phone\", \"broken\", \"nowhere\", \"silent\"]\n\
                [channel.ops]\ntype = \"webhook\"\nurl = \"https://db.example/hook?x=1\"\nsecret = \"env:OPS_SECRET\"\n\
                [channel.chat]\ntype = \"slack\"\nurl = \"https://db.example/services\"\nsecret = \"env:CHAT_SECRET\"\n\
                [channel.phone]\ntype = \"ntfy\"\nurl = \"https://db.example/topic\"\nsecret = \"file:~/token\"\n\
                [channel.broken]\ntype = \"ntfy\"\nurl = \"https://db.example/broken\"\n\
                [channel.nowhere]\ntype = \"ntfy\"\nurl = \"https://127.0.0.1:1/x\"\n\
                [channel.silent]\ntype = \"ntfy\"\nurl = \"https://db.example/silent\"\nsecret = \"env:NOT_SET\"\n";
    let policy = origin.policy_with("destroy = \"hold\"", more).replacen("[names]\n", &format!("[names]\n\"db.example\" = \"127.0.0.1:{port}\"\n"), 1);
    let home = Home::new(&policy);
    home.write("home/token", "tk_phone\n");
    let script = "printenv OPS_SECRET; curl -s -w ' %{http_code}\\n' -X DELETE http://held.example/volumes/1; echo end";
    let mut command = home.script(&[], script);
    let going = agentbox_tests::Going::start(command.env("OPS_SECRET", "between us").env("CHAT_SECRET", "T0/B0/secretchat"));
    let id = home.hold();
    until("four posts have come", || carried(&origin).len() == 4, || format!("{:?} {}", carried(&origin), going.err()));
    let all = carried(&origin);
    let of = |path: &str| all.iter().find(|one| one["path"] == path).unwrap_or_else(|| panic!("no {path}: {all:?}"));
    let hook = of("/hook?x=1");
    assert_eq!(hook["good"], true, "{hook}");
    let told: Value = serde_json::from_str(hook["body"].as_str().expect("a body")).expect("JSON");
    assert_eq!(
        (told["type"].as_str(), told["data"]["id"].as_str(), told["data"]["place"].as_str()),
        (Some("agentbox.held"), Some(id.as_str()), Some("guarded"))
    );
    let note = of("/topic");
    assert_eq!(note["headers"]["authorization"], "Bearer tk_phone");
    assert!(note["body"].as_str().is_some_and(|body| body.contains("destroy http.delete") && body.contains(&id)), "{note}");
    let chat = of("/services/T0/B0/secretchat");
    assert!(chat["body"].as_str().is_some_and(|body| body.contains("Held:") && body.contains(&id)), "{chat}");
    // What came of each is in the ledger; none of the secrets is, nor has the agent seen one.
    let log = || home.log();
    until("all is noted", || log().matches("told by").count() == 5, log);
    let log = log();
    for words in ["told by ops: 200", "told by chat: 200", "told by phone: 200", "NOT told by broken: it answers 500", "NOT told by nowhere"] {
        assert!(log.contains(words), "{words}: {log}");
    }
    assert!(going.err().contains("the channel silent tells nobody: NOT_SET is not set"), "{}", going.err());
    let ledger = home.outside(&["log", "--json"]).ended(0).out();
    for text in [&ledger, &going.err(), &going.out()] {
        assert!(!text.contains("between us") && !text.contains("tk_phone") && !text.contains("secretchat"), "{text}");
    }
    home.outside(&["deny", &id]).ended(0);
    going.says("end");
}

/// A relay that takes letters only from who has logged in, over TLS; each goes to `letters`, with whom it is from and for.
const RELAY: &str = r#"
import json, ssl, sys
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, SMTP
class Keep:
    async def handle_DATA(self, server, session, envelope):
        line = {"from": envelope.mail_from, "to": envelope.rcpt_tos, "letter": envelope.content.decode(), "tls": session.ssl is not None, "user": session.login_data}
        with open("letters", "a") as out: out.write(json.dumps(line) + "\n")
        return "250 taken"
def known(server, session, envelope, mechanism, data):
    good = (data.login, data.password) == (b"agentbox", b"mail pass word")
    return AuthResult(success=good, handled=False, auth_data=data.login.decode())
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain("cert.pem", "key.pem")
class Relay(Controller):
    def factory(self):
        return SMTP(self.handler, hostname="relay.test", tls_context=context, require_starttls=True, authenticator=known, auth_required=True, auth_require_tls=True)
relay = Relay(Keep(), hostname="127.0.0.1", port=int(sys.argv[1])); relay.start()
print("listens", flush=True)
sys.stdin.read()
"#;

#[test]
fn a_letter_is_handed_to_a_real_relay() {
    let Some(origin) = Origin::start() else { return };
    if !agentbox_tests::skip::python_has("aiosmtpd") {
        return;
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let mut relay = Command::new("/usr/bin/python3");
    relay.args(["-c", RELAY, &port.to_string()]).current_dir(origin.folder()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut relay = Receiver(relay.spawn().expect("python3"));
    let mut line = String::new();
    BufReader::new(relay.0.stdout.take().expect("a pipe")).read_line(&mut line).expect("it listens");
    let letter = |name: &str, url: &str, secret: &str| {
        format!(
            "[channel.{name}]\ntype = \"email\"\nurl = \"{url}\"\nfrom = \"agentbox@example.com\"\nto = [\"anna@example.com\", \"ben@example.com\"]\nuser = \"agentbox\"\nsecret = \"env:{secret}\"\n"
        )
    };
    let more = format!(
        "[approval]\nchannels = [\"mail\", \"wrong\", \"other\"]\n{}{}{}",
        letter("mail", "smtp://db.example", "MAIL_PASSWORD"),
        letter("wrong", "smtp://db.example", "WRONG_PASSWORD"),
        // A certificate for another name is no relay of ours.
        letter("other", "smtp://relay.example", "MAIL_PASSWORD")
    );
    let names = format!("[names]\n\"db.example\" = \"127.0.0.1:{port}\"\n\"relay.example\" = \"127.0.0.1:{port}\"\n");
    let home = Home::new(&origin.policy_with("destroy = \"hold\"", &more).replacen("[names]\n", &names, 1));
    let mut command = home.script(&[], "curl -s -X DELETE http://held.example/volumes/1; echo end");
    let going = agentbox_tests::Going::start(command.env("MAIL_PASSWORD", "mail pass word").env("WRONG_PASSWORD", "no"));
    let id = home.hold();
    let log = || home.log();
    until("all is noted", || log().matches("told by").count() == 3, || format!("{} {}", log(), going.err()));
    let log = log();
    for words in ["told by mail: 250", "NOT told by wrong: the relay answers 535 to the log-in", "NOT told by other: TLS with relay.example"] {
        assert!(log.contains(words), "{words}: {log}");
    }
    let letters = fs::read_to_string(origin.folder().join("letters")).expect("a letter");
    assert_eq!(letters.lines().count(), 1, "{letters}");
    let told: Value = serde_json::from_str(&letters).expect("JSON");
    assert_eq!(
        (told["from"].as_str(), told["to"].as_array().map(Vec::len), told["tls"].as_bool()),
        (Some("agentbox@example.com"), Some(2), Some(true)),
        "{told}"
    );
    // Read as a mail program reads it, by Python's own parser.
    let mut read = Command::new("python3");
    read.args(["-c", "import email, email.policy, json, sys; m = email.message_from_string(json.loads(sys.stdin.read())['letter'], policy=email.policy.default); print(m['subject']); print(m['to']); print(m.get_content())"]);
    let read = agentbox_tests::Going::with_input(&mut read, letters.as_bytes()).finish().ended(0).out();
    assert!(read.contains(&format!("agentbox: held {id}: destroy http.delete")) && read.contains("ben@example.com") && read.contains("/volumes/1"), "{read}");
    assert!(read.contains(&format!("agentbox approve {id}")), "the letter is the card: {read}");
    for text in [&log, &going.err(), &home.outside(&["log", "--json"]).ended(0).out()] {
        assert!(!text.contains("mail pass word"), "{text}");
    }
    home.outside(&["deny", &id]).ended(0);
    going.says("end");
}

/// A program that ends with the test, and the one line that it says first.
fn saying(command: &mut Command) -> (Receiver, String) {
    let mut child = Receiver(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts"));
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().expect("a pipe")).read_line(&mut line).expect("its line");
    (child, line.trim().to_owned())
}

#[test]
fn a_notification_is_shown_by_a_real_desktop_as_it_is_meant() {
    let Some(origin) = Origin::start() else { return };
    if !agentbox_tests::skip::have(&["Xvfb", "dbus-daemon", "dbus-send", "dunst"]) {
        return;
    }
    let (_screen, number) = saying(Command::new("Xvfb").args(["-displayfd", "1", "-screen", "0", "640x480x8", "-nolisten", "tcp"]));
    let address = format!("unix:path={}", origin.folder().join("bus").display());
    let (bus, _) = saying(Command::new("dbus-daemon").args(["--session", "--nofork", "--print-address=1"]).arg(format!("--address={address}")));
    let at_the_bus = |command: &mut Command| {
        command.env("DBUS_SESSION_BUS_ADDRESS", &address).env("DISPLAY", format!(":{number}"));
    };
    let shown = origin.folder().join("shown");
    let mut dunst = Command::new("dunst");
    at_the_bus(dunst.arg("-print").stdin(Stdio::null()).stdout(fs::File::create(&shown).expect("a file")).stderr(Stdio::null()));
    let _dunst = Receiver(dunst.spawn().expect("dunst starts"));
    let mut asks = Command::new("dbus-send");
    asks.args(["--session", "--print-reply", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.NameHasOwner", "string:org.freedesktop.Notifications"]);
    at_the_bus(&mut asks);
    until("the desktop is there", || asks.output().is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains("boolean true")), String::new);
    let home = Home::new(&origin.policy_with("destroy = \"hold\"", "[approval]\nchannels = [\"desktop\"]"));
    let delete = "curl -s -X DELETE";
    let mut command = home.script(&[], &format!("{delete} 'http://held.example/a&lt;b/1'; {delete} http://held.example/2; echo end"));
    at_the_bus(&mut command);
    let going = agentbox_tests::Going::start(&mut command);
    let id = home.hold();
    let log = || home.log();
    until("it is noted", || log().contains("told by desktop: notification "), || format!("{} {}", log(), going.err()));
    let told = fs::read_to_string(&shown).expect("what dunst prints");
    for line in [format!("summary: 'agentbox: held {id}'"), format!("agentbox show {id}"), "urgency: CRITICAL".to_owned(), "actions: {}".to_owned()] {
        assert!(told.contains(&line), "{line}: {told}");
    }
    // What a path has of markup is read as nothing but itself.
    assert!(told.contains("/a&amp;lt;b/1 in guarded\n"), "{told}");
    // A desktop that has gone keeps nobody waiting, and the ledger says it.
    drop(bus);
    home.outside(&["deny", &id]).ended(0);
    let second = home.hold();
    until("it is noted", || log().contains("NOT told by desktop: the session's bus has gone"), log);
    home.outside(&["deny", &second]).ended(0);
    going.says("end");
    // And one that was never there is told at the start.
    let ended = home.run("echo ran").ended(0);
    assert!(ended.err().contains("the channel desktop tells nobody: nobody answers at the session's bus"), "{}", ended.err());
}
