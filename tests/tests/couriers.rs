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
