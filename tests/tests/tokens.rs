//! Tokens that a far side hands out for an issued credential: the agent has placeholders of them, too, and a normal log-in alarms nobody.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use agentbox_tests::{
    Finished, Going, Home, Who, certificates,
    origin::serve_with,
    process::{finish, until},
    skip,
};
use serde_json::Value;
use tempfile::TempDir;

const LOGIN: &str = include_str!("../stand-ins/login.py");

/// The far side, its secret, and its folder.
struct Far {
    server: Child,
    folder: TempDir,
    port: String,
    secret: String,
}

impl Far {
    fn start() -> Option<Self> {
        if !skip::have(&["python3", "openssl", "curl"]) {
            return None;
        }
        let mut bytes = [0; 20];
        getrandom::fill(&mut bytes).expect("random bits");
        let secret = bytes.iter().fold("cs_".to_owned(), |text, byte| format!("{text}{byte:02x}"));
        let folder = tempfile::tempdir().expect("a folder");
        certificates::make(folder.path());
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
        let (server, port) = serve_with(folder.path(), "python3", "login.py", LOGIN, &[&secret]);
        Some(Self { server, folder, port: port.trim().to_owned(), secret })
    }

    /// A place in which all is allowed: only a foreign credential makes anything wait there, and unattended it is refused.
    fn policy(&self, more: &str) -> String {
        format!(
            "extends = \"default\"\nroots = [\"{}\"]\n[names]\n\"tls.example\" = \"127.0.0.1:{port}\"\n\"web.example\" = \"127.0.0.1:{port}\"\n\
             [place.production]\ncredentials = [\"client\"]\nhosts = [\"tls.example\", \"web.example\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"allow\"\n\
             [credential.client]\nsource = \"env:CLIENT_SECRET\"\nfor = [\"tls.example\"]\n{more}",
            self.folder.path().join("ca.pem").display(),
            port = self.port
        )
    }

    fn run(&self, home: &Home, script: &str) -> Finished {
        let mut command = home.script(&["--unattended", "--exit-code", "agent"], script);
        finish(command.env("CLIENT_SECRET", &self.secret))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// No token was seen by the agent, and none stands in the ledger.
    fn kept_its_tokens(&self, home: &Home, finished: &Finished) {
        let log = home.outside(&["log", "--json"]).ended(0).out();
        let tokens = self.read("tokens.log");
        assert!(tokens.lines().count() > 0, "it handed some out");
        for token in tokens.lines().chain([self.secret.as_str()]) {
            for text in [finished.out(), finished.err(), log.clone()] {
                assert!(!text.contains(token), "{token}: {text}");
            }
        }
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

const FIELD: &str = "field() { python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' \"$1\"; }; ";

#[test]
fn an_oauth_log_in_hands_out_placeholders_that_work() {
    let Some(far) = Far::start() else { return };
    for who in Who::each() {
        let home = Home::of(who, &far.policy(""));
        let finished = far
            .run(
                &home,
                &format!(
                    "{FIELD} me() {{ curl -sS -w ' %{{http_code}}\\n' -H \"Authorization: Bearer $1\" https://tls.example/me; }}; \
                     basic=$(curl -sS -u \"cid:$CLIENT_SECRET\" -d grant_type=client_credentials 'https://tls.example/oauth/token?jwt'); \
                     echo \"$basic\"; me $(echo \"$basic\" | field access_token); \
                     form=$(curl -sS -d \"grant_type=client_credentials&client_id=c&client_secret=$CLIENT_SECRET\" https://tls.example/oauth/token); \
                     me $(echo \"$form\" | field access_token); \
                     json=$(curl -sS -H 'Content-Type: application/json' -d \"{{\\\"grant_type\\\":\\\"password\\\",\\\"username\\\":\\\"u\\\",\\\"password\\\":\\\"$CLIENT_SECRET\\\"}}\" 'https://tls.example/oauth/token?slashed'); \
                     me $(echo \"$json\" | field access_token); \
                     again=$(curl -sS -d \"grant_type=refresh_token&refresh_token=$(echo \"$json\" | field refresh_token)\" https://tls.example/oauth/token); \
                     me $(echo \"$again\" | field access_token); \
                     reg=$(curl -sS -u \"u:$CLIENT_SECRET\" 'https://tls.example/token?service=registry&scope=pull'); echo \"$reg\"; \
                     echo \"NOTE $(echo \"$form\" | field note) $(echo \"$form\" | field access_token)\""
                ),
            )
            .ended(0);
        let out = finished.out();
        assert_eq!(out.matches("\"me\": \"agent\"").count(), 4, "{out}\n{}", finished.err());
        // A token whose claims can be read keeps them, so that clients know when it ends.
        assert!(out.contains("eyJhbGciOiAiSFMyNTYifQ."), "{out}");
        let note = out.lines().find_map(|line| line.strip_prefix("NOTE ")).expect("a note");
        let (note, token) = note.split_once(' ').expect("two words");
        assert!(note == token && token.len() == 43, "wherever it stands in the answer: {out}");
        far.kept_its_tokens(&home, &finished);
        let log = home.log();
        assert!(log.contains("placeholders for 3 of its tokens"), "{log}");
        home.outside(&["log", "--verify"]).ended(0);
    }
}

#[test]
fn a_session_by_cookies_goes_on() {
    let Some(far) = Far::start() else { return };
    let home = Home::new(&far.policy(""));
    let text = "curl -sS -c jar -H 'Content-Type: application/json' -d \"{\\\"username\\\":\\\"u\\\",\\\"password\\\":\\\"$CLIENT_SECRET\\\"}\" https://tls.example/login; \
        for n in 1 2 3 4 5 6 7; do curl -sS -b jar -c jar -H \"X-CSRFToken: $(sed -n 's/.*csrftoken\\t//p' jar)\" -d n=$n https://tls.example/change; done; cat jar";
    let finished = far.run(&home, text).ended(0);
    let out = finished.out();
    assert_eq!((out.matches("\"ok\": true").count(), out.matches("\"changed\": true").count()), (1, 7), "{out}\n{}", finished.err());
    assert!(out.contains("\tsession\t") && out.contains("\tcsrftoken\t"), "{out}");
    far.kept_its_tokens(&home, &finished);
}

#[test]
fn a_token_inherits_the_bounds_of_what_it_was_handed_out_for() {
    let Some(far) = Far::start() else { return };
    let home = Home::new(&far.policy("allow = [\"read\", \"http.post\"]\nexpires = \"1h\"\n"));
    let text = format!(
        "{FIELD} token=$(curl -sS -u \"cid:$CLIENT_SECRET\" -d grant_type=client_credentials https://tls.example/oauth/token | field access_token); \
         c() {{ curl -sS -o answer -w '%{{http_code}} ' -H \"Authorization: Bearer $token\" \"$@\"; }}; \
         c https://tls.example/me; c -X DELETE https://tls.example/me; c https://web.example/me; curl -sS -o answer -w '%{{http_code}} ' -d \"note=$token\" https://web.example/x; echo; \
         $AGENTBOX why; touch ready; while [ ! -e ended ]; do sleep 0.05; done; c https://tls.example/me; cat answer"
    );
    let mut command = home.script(&["--exit-code", "agent"], &text);
    let going = Going::start(command.env("CLIENT_SECRET", &far.secret));
    // What it is not allowed for waits for a person.
    let id = home.hold();
    let card = home.outside(&["show", &id]).ended(0).out();
    let words = card.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("client in the authorization header (Bearer), by a token that it was exchanged for"), "{card}");
    home.outside(&["deny", &id]).ended(0);
    until("the agent is ready", || home.path("work/ready").exists(), || going.out());
    home.outside(&["lease", "end", "client"]).ended(0);
    home.write("work/ended", "");
    let finished = going.finish().ended(0);
    let out = finished.out();
    assert!(out.contains("200 403 403 403 \n") && out.contains("it is not for this host") && out.ends_with('}'), "{out}\n{}", finished.err());
    assert!(out.contains("403 {") && out.contains("ended by a person"), "with its credential it ends: {out}");
    let heads = far.read("heads.log");
    assert_eq!(heads.matches("\"/me\"").count(), 1, "{heads}");
    far.kept_its_tokens(&home, &finished);
}

#[test]
fn what_the_agent_brought_itself_does_not_become_a_token() {
    let Some(far) = Far::start() else { return };
    let home = Home::new(&far.policy(""));
    // A far side that repeats what it is told would make a known credential of a foreign one.
    let found = "found-0123456789abcdef0123456789";
    let text = format!(
        "{FIELD} echoed=$(curl -sS -u \"cid:$CLIENT_SECRET\" -H 'Content-Type: application/json' -d '{{\"grant_type\":\"x\",\"echo\":\"{found}\"}}' https://tls.example/echo-token); echo \"$echoed\"; \
         curl -sS -o /dev/null -w '%{{http_code}}\\n' -H \"Authorization: Bearer {found}\" https://tls.example/me; \
         for kind in gzip long; do token=$(curl -sS --compressed -u \"cid:$CLIENT_SECRET\" -d grant_type=client_credentials \"https://tls.example/oauth/token?$kind\" | field access_token); \
         curl -sS -o /dev/null -w '%{{http_code}}\\n' -H \"Authorization: Bearer $token\" https://tls.example/me; done; \
         curl -sS -o /dev/null -w '%{{http_code}}\\n' -d 'grant_type=password&username=u&password={found}' https://tls.example/oauth/token"
    );
    let finished = far.run(&home, &text).ended(0);
    // What is encoded against our asking, or too long, passes as it is: its use then alarms, as does a foreign password in a log-in.
    assert!(finished.out().ends_with("403\n403\n403\n403\n"), "{}\n{}", finished.out(), finished.err());
    assert!(finished.out().contains(found));
    assert!(!far.read("heads.log").contains("\"/me\""));
    let log = home.outside(&["log", "--json"]).ended(0).out();
    assert!(!log.contains(found) && log.contains("body (password)"), "{log}");
}

const OAUTHLIB: &str = r#"
import os
from oauthlib.oauth2 import BackendApplicationClient, LegacyApplicationClient
from requests_oauthlib import OAuth2Session
at, secret = "https://tls.example/oauth/token", os.environ["CLIENT_SECRET"]
with OAuth2Session(client=BackendApplicationClient(client_id="cid")) as session:
    session.fetch_token(at, client_id="cid", client_secret=secret)
    print(session.get("https://tls.example/me").json()["me"])
with OAuth2Session(client=LegacyApplicationClient(client_id="cid")) as session:
    first = session.fetch_token(at, username="u", password=secret, client_id="cid", client_secret=secret)
    print(session.get("https://tls.example/me").json()["me"])
    second = session.refresh_token(at, refresh_token=first["refresh_token"])
    print(session.get("https://tls.example/me").json()["me"], first["access_token"] != second["access_token"])
"#;

#[test]
fn pythons_oauth_library_notices_nothing() {
    let Some(far) = Far::start() else { return };
    if !skip::python_has("requests_oauthlib") {
        return;
    }
    let home = Home::new(&far.policy(""));
    home.write("work/oauth.py", OAUTHLIB);
    let finished = far.run(&home, "/usr/bin/python3 oauth.py").ended(0);
    assert_eq!(finished.out(), "agent\nagent\nagent True\n", "{}", finished.err());
    far.kept_its_tokens(&home, &finished);
}

/// Whether what came is signed with this secret, by Python's own arithmetic.
const SIGNED: &str = r#"
import hashlib, hmac, json, sys
key, line = json.load(open("key.json")), json.loads(open("heads.log").read().splitlines()[-1])
h, auth = line["headers"], line["headers"]["authorization"]
part = lambda name: auth.split(name + "=")[1].split(",")[0].strip()
_, date, region, service, _ = part("Credential").split("/")
signed = part("SignedHeaders").split(";")
canonical = "\n".join([line["method"], line["target"], "", *(f"{n}:{h[n]}" for n in signed), "", ";".join(signed), h.get("x-amz-content-sha256", hashlib.sha256(line["body"].encode()).hexdigest())])
text = "\n".join(["AWS4-HMAC-SHA256", h["x-amz-date"], f"{date}/{region}/{service}/aws4_request", hashlib.sha256(canonical.encode()).hexdigest()])
by = ("AWS4" + key["secret"]).encode()
for word in (date, region, service, "aws4_request"):
    by = hmac.new(by, word.encode(), "sha256").digest()
print(hmac.new(by, text.encode(), "sha256").hexdigest() == part("Signature"), h["x-amz-security-token"] == key["session"])
"#;

#[test]
fn keys_of_awss_token_service_sign() {
    let Some(far) = Far::start() else { return };
    let home = Home::new(&far.policy(""));
    let text = "answer=$(curl -sS --aws-sigv4 aws:amz:eu-west-1:sts -u \"AKIDEXAMPLE:$CLIENT_SECRET\" -d 'Action=AssumeRole&Version=2011-06-15&RoleArn=r&RoleSessionName=s' https://tls.example/sts); \
        of() { echo \"$answer\" | sed \"s/.*<$1>\\(.*\\)<.$1>.*/\\1/\"; }; echo \"$answer\"; \
        curl -sS --aws-sigv4 aws:amz:eu-west-1:rds -u \"$(of AccessKeyId):$(of SecretAccessKey)\" -H \"X-Amz-Security-Token: $(of SessionToken)\" -d 'Action=DescribeDBInstances' https://tls.example/";
    let finished = far.run(&home, text).ended(0);
    assert!(finished.out().contains("<AccessKeyId>ASIA") && finished.out().contains("{\"path\": \"/\"}"), "{}\n{}", finished.out(), finished.err());
    let mut check = Command::new("python3");
    let checked = finish(check.args(["-c", SIGNED]).current_dir(far.folder.path())).ended(0).out();
    assert_eq!(checked, "True True\n", "{}", far.read("heads.log"));
    far.kept_its_tokens(&home, &finished);
    let entries = home.outside(&["log", "--json"]).ended(0).out();
    let first: Value = serde_json::from_str(entries.lines().next().expect("an entry")).expect("JSON");
    assert!(first.is_object());
}

/// Where `cargo xtask tools` puts what pip brings.
const MOTO: &str = "/usr/local/lib/agentbox-tools/bin/moto_server";

struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn aws_assumes_a_role_and_works_as_it() {
    if !skip::have(&["aws", "openssl", "python3"]) {
        return;
    }
    if fs::metadata(MOTO).is_err() {
        return skip::skip("not installed: moto");
    }
    let folder = tempfile::tempdir().expect("a folder");
    certificates::make(folder.path());
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port().to_string();
    let log = fs::File::create(folder.path().join("moto.log")).expect("a log");
    let mut moto = Command::new(MOTO);
    moto.args(["-H", "127.0.0.1", "-p", &port, "-s", "-c", "cert.pem", "-k", "key.pem"]).current_dir(folder.path()).env_clear().env("PATH", skip::PATH);
    let _moto = Ends(moto.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log).spawn().expect("moto starts"));
    until(
        "moto listens",
        || TcpStream::connect(format!("127.0.0.1:{port}")).is_ok(),
        || fs::read_to_string(folder.path().join("moto.log")).unwrap_or_default(),
    );
    let hosts = ["sts.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com", "shop-files.s3.eu-west-1.amazonaws.com"];
    let home = Home::new(&format!(
        "extends = \"default\"\nroots = [\"{}\"]\n[names]\n{}[place.cloud]\nhosts = [\"*.amazonaws.com\"]\ncredentials = [\"aws\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"allow\"\n\
         [credential.aws]\nsource = \"env:AWS_SECRET_ACCESS_KEY\"\nfor = {hosts:?}\n",
        folder.path().join("ca.pem").display(),
        hosts.map(|host| format!("\"{host}\" = \"127.0.0.1:{port}\"\n")).concat()
    ));
    let text = format!(
        "{FIELD} export AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE AWS_DEFAULT_REGION=eu-west-1 AWS_PAGER='' AWS_MAX_ATTEMPTS=1 AWS_STS_REGIONAL_ENDPOINTS=regional; \
         role=$(aws sts assume-role --role-arn arn:aws:iam::123456789012:role/deploy --role-session-name ses --query Credentials --output json); echo \"$role\"; \
         of() {{ echo \"$role\" | field $1; }}; export AWS_ACCESS_KEY_ID=$(of AccessKeyId) AWS_SECRET_ACCESS_KEY=$(of SecretAccessKey) AWS_SESSION_TOKEN=$(of SessionToken); \
         aws sts get-caller-identity --query Arn --output text; aws s3 mb s3://shop-files; aws s3 ls"
    );
    let mut command = home.script(&["--unattended", "--exit-code", "agent"], &text);
    let finished = finish(command.env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00")).ended(0);
    let out = finished.out();
    assert!(out.contains("assumed-role/deploy/ses") && out.matches("shop-files").count() == 2, "{out}\n{}", finished.err());
    let log = home.log();
    assert!(log.contains("placeholders for 2 of its tokens"), "{log}");
    assert!(!log.contains("DENIED"), "{log}");
}
