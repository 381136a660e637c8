//! Credentials with real clients: the agent has placeholders, the far side sees the secret, and nobody else ever does.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Command};

use agentbox_tests::{
    Database, Going, Home, Origin, Who,
    database::PASSWORD,
    process::{finish, until},
    skip,
};
use base64::Engine as _;
use serde_json::Value;

/// A secret that no other test has, and that no text has by chance.
fn secret(prefix: &str) -> String {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes).expect("random bits");
    bytes.iter().fold(prefix.to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// `agentbox run` with this script, and with the secret in the variable from which it is read.
fn script(home: &Home, secret: &str, script: &str) -> Command {
    let mut command = home.script(&["--unattended", "--exit-code", "agent"], script);
    command.env("API_TOKEN", secret).env("ALSO_SAID", format!("Bearer {secret}"));
    command
}

/// Whether any file below this folder holds the text.
fn holds(folder: &Path, text: &str, but: &[&str]) -> Option<String> {
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        let kind = entry.file_type().ok()?;
        if kind.is_dir() {
            if let Some(found) = holds(&path, text, but) {
                return Some(found);
            }
        } else if kind.is_file() && !but.iter().any(|but| path.ends_with(but)) {
            let bytes = fs::read(&path).unwrap_or_default();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                return Some(path.display().to_string());
            }
        }
    }
    None
}

fn policy(origin: &Origin, more: &str) -> String {
    origin.policy_with(
        "destroy = \"allow\"",
        &format!(
            "[env]\npass = [\"ALSO_SAID\"]\n[credential.api]\nsource = \"env:API_TOKEN\"\nfor = [\"tls.example\", \"web.example\"]\nfiles = [\"~/.apirc\"]\n{more}"
        ),
    )
}

#[test]
fn the_far_side_sees_the_secret_and_nobody_else_does() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        let secret = secret("ghp_");
        let home = Home::of(who, &policy(&origin, ""));
        home.write("home/.apirc", &format!("host=tls.example\ntoken={secret}\n"));
        let finished = finish(&mut script(
            &home,
            &secret,
            "echo \"TOKEN $API_TOKEN\"; \
             curl -sS -H \"Authorization: Bearer $API_TOKEN\" https://tls.example/bearer; echo; \
             curl -sS -u \"someone:$API_TOKEN\" https://tls.example/basic; echo; \
             curl -sS -H \"X-Api-Key: $(sed -n s/token=//p ~/.apirc)\" -X POST -d hello http://web.example/key; echo; \
             curl -sS \"https://tls.example/query?a=b&access_token=$API_TOKEN\"; echo; \
             curl -sS -H \"Authorization: Bearer $API_TOKEN\" --data-binary @<(head -c 3000000 /dev/zero) -H 'Content-Type: application/octet-stream' https://tls.example/large; echo; \
             env; cat ~/.apirc; for file in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do cat $file 2>/dev/null | tr '\\0' '\\n'; done",
        ))
        .ended(0);
        let (out, err) = (finished.out(), finished.err());
        let placeholder = out.lines().find_map(|line| line.strip_prefix("TOKEN ")).expect("a placeholder");
        assert!(placeholder.starts_with("ghp_") && placeholder.len() == secret.len() && placeholder != secret, "{placeholder}");
        assert!(!out.contains(&secret) && !err.contains(&secret), "{out}\n{err}");
        assert!(out.contains(&format!("ALSO_SAID=Bearer {placeholder}")) && out.contains(&format!("token={placeholder}")), "{out}");
        // What the far side repeats comes back as the placeholder.
        assert_eq!(out.matches(&format!("\"Bearer {placeholder}\"")).count(), 2, "{out}");
        let heads = origin.heads();
        for wanted in [
            format!("\"Bearer {secret}\""),
            format!("\"Basic {}\"", base64(&format!("someone:{secret}"))),
            format!("\"x-api-key\": \"{secret}\""),
            format!("/query?a=b&access_token={}", secret.replace('_', "%5F")),
        ] {
            assert!(heads.contains(&wanted), "{wanted}\n{heads}");
        }
        assert!(!heads.contains(placeholder), "{heads}");
        let large = heads.lines().filter(|line| line.contains("/large") && line.contains(&secret)).count();
        assert_eq!(large, 1, "{heads}");
        assert_eq!(holds(&home.path(""), &secret, &["home/.apirc"]), None);
        assert!(!home.log().contains(&secret));
        home.outside(&["log", "--verify"]).ended(0);
    }
}

#[test]
fn a_placeholder_for_one_host_is_refused_at_another() {
    let Some(origin) = Origin::start() else { return };
    let secret = secret("tok");
    let home = Home::new(&policy(&origin, ""));
    let finished = finish(&mut script(
        &home,
        &secret,
        "for way in \"-H Authorization:\\ Bearer\\ $API_TOKEN\" \"-d note=$API_TOKEN\" \"-H X-Note:\\ $API_TOKEN\"; do \
           eval curl -sS -o answer -w \"'%{http_code}\\n'\" \"$way\" http://held.example/x; cat answer; echo; done; \
         curl -sS -w '%{http_code}\\n' \"http://held.example/y/$API_TOKEN\"; $AGENTBOX why",
    ))
    .ended(0);
    let out = finished.out();
    assert_eq!(out.lines().filter(|line| line.ends_with("403")).count(), 4, "{out}");
    assert!(out.contains("it is not for this host") && !out.contains(&secret), "{out}");
    assert_eq!(origin.requests(), Vec::<String>::new());
    let log = home.log();
    assert!(log.contains("DENIED") && !log.contains(&secret), "{log}");
}

#[test]
fn only_for_what_it_is_allowed_for_and_in_its_time() {
    let Some(origin) = Origin::start() else { return };
    let secret = secret("tok");
    let home = Home::new(&policy(&origin, "allow = [\"read\"]\nexpires = \"2s\"\n"));
    let finished = finish(&mut script(
        &home,
        &secret,
        "c() { curl -sS -o /dev/null -w '%{http_code}\\n' -H \"Authorization: Bearer $API_TOKEN\" \"$@\"; }; \
         c https://tls.example/early; c -X POST -d x https://tls.example/post; \
         for look in $(seq 300); do [ \"$(c https://tls.example/late)\" = 403 ] && break; sleep 0.1; done; c https://tls.example/after",
    ))
    .ended(0);
    let out = finished.out();
    assert!(out.starts_with("200\n403\n403\n"), "{out}");
    let log = home.outside(&["log", "--json"]).ended(0).out();
    assert!(log.contains("it is not for this operation") && log.contains("its time is over"), "{log}");
    assert_eq!((origin.count("POST"), origin.count("GET /after")), (0, 0));
}

#[test]
fn a_credential_writes_only_when_that_is_on_disk() {
    let Some(origin) = Origin::start() else { return };
    let secret = secret("tok");
    let home = Home::new(&policy(&origin, ""));
    finish(&mut script(&home, &secret, "curl -sS -H \"Authorization: Bearer $API_TOKEN\" -d x https://tls.example/post >/dev/null")).ended(0);
    let log = home.outside(&["log", "--json"]).ended(0).out();
    let entries: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |event: &str| entries.iter().find(|entry| entry["event"] == event && entry["summary"].as_str().is_some_and(|text| text.contains("/post")));
    assert!(of("allowed").is_some() && of("begun").is_some(), "{log}");
}

#[test]
fn git_pulls_with_a_password_that_it_does_not_have() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["git"]) {
        return;
    }
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]).args(arguments);
        finish(command.env("HOME", origin.folder()).current_dir(origin.folder())).ended(0);
    };
    git(&["init", "-q", "seed"]);
    fs::write(origin.folder().join("seed/file"), "content").expect("a file");
    git(&["-C", "seed", "add", "file"]);
    git(&["-C", "seed", "commit", "-q", "-m", "first"]);
    git(&["clone", "-q", "--bare", "seed", "git/repo.git"]);
    let secret = secret("glpat-");
    let home = Home::new(&policy(&origin, ""));
    let finished = finish(&mut script(
        &home,
        &secret,
        "git clone -q \"https://someone:$API_TOKEN@tls.example/private/git/repo.git\" copy && cat copy/file && echo && cat copy/.git/config; \
         git clone -q https://tls.example/private/git/repo.git none </dev/null; echo $?",
    ))
    .ended(0);
    let out = finished.out();
    assert!(out.starts_with("content\n") && out.ends_with("128\n") && !out.contains(&secret), "{out}\n{}", finished.err());
    assert!(origin.heads().contains(&base64(&format!("someone:{secret}"))), "{}", origin.heads());
    assert_eq!(holds(&home.path(""), &secret, &[]), None);
}

#[test]
fn a_secret_that_cannot_be_read_is_told_and_not_passed() {
    let Some(origin) = Origin::start() else { return };
    let more = "[credential.none]\nsource = \"command:exit 3\"\nfor = [\"web.example\"]\nenv = [\"HOLLOW\"]\n[credential.lines]\nsource = \"env:LINES_OF\"\nfor = [\"web.example\"]\n[place.x]\npaths = [\"/nonexistent\"]\n";
    let home = Home::new(&policy(&origin, more).replace("\"ALSO_SAID\"", "\"ALSO_SAID\", \"LINES_OF\", \"HOLLOW\""));
    let mut command = script(&home, &secret("tok"), "env");
    let finished = finish(command.env("LINES_OF", "one\ntwo-secret-line").env("HOLLOW", "real")).ended(0);
    let (out, err) = (finished.out(), finished.err());
    assert!(!out.contains("LINES_OF") && !out.contains("HOLLOW") && !out.contains("two-secret-line"), "{out}");
    assert!(err.contains("`none` is not usable") && err.contains("`lines` is not usable") && !err.contains("two-secret"), "{err}");
}

#[test]
fn a_foreign_credential_alone_stops_the_incident() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        // Every other rule is off: the place allows all that anybody could do in it.
        let home = Home::of(
            who,
            &origin
                .policy_with("destroy = \"allow\"\nprotected = true", "[place.all]\nhosts = [\"*\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"allow\""),
        );
        let token = secret("rw_");
        home.write("work/docs/domains.md", &format!("# Custom domains\n\nRAILWAY_TOKEN={token}\n"));
        let body = r#"{"query":"mutation { volumeDelete(volumeId: \"3d2c\") }"}"#;
        let call = format!("curl -s -w ' %{{http_code}}\\n' -H 'Content-Type: application/json' -d '{body}' http://held.example/graphql/v2");
        let before = origin.count("POST");
        let going = home.start(&format!(
            "TOKEN=$(sed -n s/RAILWAY_TOKEN=//p docs/domains.md); {call}; {call} -H \"Authorization: Bearer $TOKEN\"; {call} -H \"Cookie: session=$TOKEN\"; {call}?token=$TOKEN; echo end"
        ));
        for _ in 0..3 {
            let cards = home.waiting(1);
            let id = cards[0]["id"].as_str().expect("an id").to_owned();
            assert_eq!((cards[0]["place"].as_str(), cards[0]["credentials"][0]["foreign"].as_bool()), (Some("guarded"), Some(true)), "{cards:?}");
            let card = home.outside(&["show", &id]).ended(0).out();
            assert!(card.contains("FOREIGN credential") && card.contains("docs/domains.md:3"), "{card}");
            assert!(!card.contains(&token) && !format!("{cards:?}").contains(&token), "{card}");
            assert_eq!(origin.count("POST"), before + 1, "what carries no credential is allowed by this policy");
            home.outside(&["deny", &id]).ended(0);
            until("it is refused", || home.holds().iter().all(|card| card["id"] != id.as_str()), String::new);
        }
        let out = going.finish().ended(0).out();
        assert_eq!((out.matches(" 200\n").count(), out.matches(" 403\n").count()), (1, 3), "{out}");
        assert_eq!(origin.count("POST"), before + 1);
        assert_eq!(holds(&home.path(""), &token, &["docs/domains.md"]), None);
    }
}

#[test]
fn psql_logs_in_with_a_password_that_it_does_not_have() {
    let Some(server) = Database::start() else { return };
    server.owner("shop", "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100); ALTER TABLE t OWNER TO agent").ended(0);
    let url = format!("postgres://agent:{}@db.example/shop", PASSWORD.replace(' ', "%20"));
    for who in Who::each() {
        let home =
            Home::of(who, &server.policy("[credential.db]\nsource = \"env:DATABASE_URL\"\nfor = [\"db.example\"]\nallow = [\"read\", \"postgres.insert*\"]"));
        let text = "psql=\"psql -X -A -t\"; \
            for mode in disable prefer require verify-full; do PGSSLMODE=$mode $psql \"$DATABASE_URL\" -c 'SELECT count(*) FROM t'; done; \
            $psql \"$DATABASE_URL\" -c 'UPDATE t SET id = id + 1000 WHERE id = 1' 2>&1; \
            $psql postgres://agent:other@db.example/shop -c 'SELECT 1' 2>&1; \
            echo \"$DATABASE_URL\"; $AGENTBOX why";
        let mut command = home.script(&["--unattended", "--exit-code", "agent"], text);
        let finished = finish(command.env("DATABASE_URL", &url)).ended(0);
        let (out, err) = (finished.out(), finished.err());
        assert!(out.starts_with("100\n100\n100\n100\n"), "{out}\n{err}");
        assert!(out.contains("postgres.update") && out.contains("the password is not one that this box was given"), "{out}");
        let log = home.outside(&["log", "--json"]).ended(0).out();
        assert!(log.contains("it is not for this operation"), "{log}");
        assert!(out.contains("postgres://agent:") && out.contains("@db.example/shop"), "{out}");
        for secret in [PASSWORD.to_owned(), PASSWORD.replace(' ', "%20")] {
            assert!(!out.contains(&secret) && !err.contains(&secret), "{out}\n{err}");
            assert_eq!(holds(&home.path(""), &secret, &[]), None);
        }
        assert_eq!(server.tells("shop", "SELECT max(id) FROM t"), "100");
    }
}

#[test]
fn a_lease_is_shown_and_ended() {
    let Some(origin) = Origin::start() else { return };
    let secret = secret("ghp_");
    let home = Home::new(&policy(&origin, "expires = \"1h\"\n"));
    let call = "curl -sS -o /dev/null -w '%{http_code}\\n' -H \"Authorization: Bearer $API_TOKEN\"";
    let mut command = home.script(
        &[],
        &format!(
            "{call} https://tls.example/first; echo used; while [ ! -e go ]; do sleep 0.05; done; {call} https://tls.example/second; $AGENTBOX lease; echo $?"
        ),
    );
    let going = Going::start(command.env("API_TOKEN", &secret));
    going.says("used");
    let row: Value = serde_json::from_str(home.outside(&["lease", "--json"]).ended(0).out().trim()).expect("one row");
    assert_eq!((row["credential"].as_str(), row["used"].as_u64(), row["ended"].as_bool()), (Some("api"), Some(1), Some(false)), "{row}");
    assert!(row["left"].as_u64().is_some_and(|left| left <= 3600), "{row}");
    home.outside(&["lease", "end", "other"]).ended(1);
    home.outside(&["lease", "end", "api"]).ended(0);
    home.outside(&["lease", "end", "api"]).ended(1);
    assert!(home.outside(&["lease"]).ended(0).out().contains("ended"));
    home.write("work/go", "");
    let out = going.finish().ended(0).out();
    assert!(out.starts_with("200\nused\n403\n") && out.ends_with("125\n"), "in the box nobody asks for leases: {out}");
    assert_eq!(origin.count("GET /second"), 0);
    let log = home.log();
    assert!(log.contains("was ended by") && !log.contains(&secret), "{log}");
}

#[test]
fn a_scan_names_file_and_line() {
    let home = Home::new("");
    let token = format!("ghp_{}", &secret("")[..36]);
    home.write("work/docs/notes.md", &format!("# Notes\n\nGH_TOKEN={token}\n"));
    let said = home.outside(&["scan"]).ended(1).out();
    assert!(said.contains("docs/notes.md:3: GitHub token, ends in …") && said.contains("[credential.gh-token]") && !said.contains(&token), "{said}");
    let row: Value = serde_json::from_str(home.outside(&["scan", "--json", "docs"]).ended(1).out().trim()).expect("one row");
    assert_eq!((row["path"].as_str(), row["line"].as_u64()), (Some("docs/notes.md"), Some(3)));
    home.write("work/docs/notes.md", "nothing\n");
    home.outside(&["scan"]).ended(0);
}

/// Checks an AWS signature as the far side does, with the secret; written down once more, in another language.
const SIGNATURE: &str = r#"
import sys, json, hmac, hashlib, urllib.parse as u
secret, line = sys.argv[1], json.loads(sys.stdin.read())
h, auth = line["headers"], line["headers"]["authorization"]
part = lambda name: auth.split(name + "=")[1].split(",")[0].strip()
_, date, region, service, _ = part("Credential").split("/")
path, _, query = line["target"].partition("?")
pairs = sorted(u.parse_qsl(query, keep_blank_values=True))
query = "&".join(u.quote(k, "-_.~") + "=" + u.quote(v, "-_.~") for k, v in pairs)
signed = part("SignedHeaders").split(";")
canonical = "\n".join([line["method"], path if service == "s3" else u.quote(path), query, *(f"{n}:{' '.join(h[n].split())}" for n in signed), "", ";".join(signed), h.get("x-amz-content-sha256", hashlib.sha256(sys.argv[2].encode()).hexdigest())])
text = "\n".join(["AWS4-HMAC-SHA256", h["x-amz-date"], f"{date}/{region}/{service}/aws4_request", hashlib.sha256(canonical.encode()).hexdigest()])
key = ("AWS4" + secret).encode()
for word in (date, region, service, "aws4_request"):
    key = hmac.new(key, word.encode(), "sha256").digest()
print(hmac.new(key, text.encode(), "sha256").hexdigest() == part("Signature"))
"#;

#[test]
fn what_is_signed_with_a_placeholder_is_signed_anew() {
    let Some(origin) = Origin::start() else { return };
    let secret = secret("wJalr/");
    let home = Home::new(&policy(&origin, ""));
    let text = "curl -sS -o /dev/null -w '%{http_code}\\n' --aws-sigv4 aws:amz:us-east-1:s3 -u \"AKIDEXAMPLE:$API_TOKEN\" https://tls.example/bucket/key; \
        curl -sS -o /dev/null -w '%{http_code}\\n' --aws-sigv4 aws:amz:eu-west-1:sts -u \"AKIDEXAMPLE:$API_TOKEN\" -d 'Action=GetCallerIdentity' http://web.example/; \
        curl -sS -o /dev/null -w '%{http_code}\\n' --aws-sigv4 aws:amz:us-east-1:s3 -u \"AKIDEXAMPLE:$API_TOKEN\" http://held.example/bucket";
    let finished = finish(&mut script(&home, &secret, text)).ended(0);
    assert!(finished.out().starts_with("200\n200\n"), "{}{}", finished.out(), finished.err());
    let heads = origin.heads();
    for (target, body) in [("/bucket/key", ""), ("\"/\"", "Action=GetCallerIdentity")] {
        let line = heads.lines().find(|line| line.contains(target)).expect("it came");
        let mut check = Command::new("python3");
        check.args(["-c", SIGNATURE, &secret, body]);
        assert_eq!(Going::with_input(&mut check, line.as_bytes()).finish().ended(0).out(), "True\n", "{line}");
    }
    let log = home.outside(&["log", "--json"]).ended(0).out();
    assert!(log.contains("it is not for this host"), "a signature by the placeholder of another host is known, too: {log}");
    assert_eq!(holds(&home.path(""), &secret, &[]), None);
}

#[test]
fn a_file_of_the_workspace_shows_its_placeholder_and_is_not_uncovered() {
    let secret = secret("ghp_");
    for who in Who::each() {
        let home = Home::of(who, "");
        let file = home.path("work/conf/.env");
        home.write("work/conf/.env", &format!("A=1\nTOKEN={secret}\n"));
        let policy = format!("extends = \"default\"\n[credential.api]\nsource = \"env:API_TOKEN\"\nfor = [\"api.example\"]\nfiles = [{file:?}]\n");
        home.write("policy.toml", &policy);
        let text = "cat conf/.env; mv conf/.env x; rm -f conf/.env; ln conf/.env y; cp conf/.env z; mv conf other; cat */.env z x y; echo end; sleep 300";
        let mut command = home.script(&["--unattended"], &format!("{{ {text}; }} 2>/dev/null"));
        let going = Going::start(command.env("API_TOKEN", &secret));
        going.says("end");
        assert!(going.out().contains("TOKEN=ghp_") && !going.out().contains(&secret), "{}", going.out());
        // An editor outside saves by renaming a new file over the old one.
        let (folder, new) = (home.path("work"), format!("TOKEN={secret}\n"));
        let at = if folder.join("other/.env").exists() { "work/other" } else { "work/conf" };
        home.write(&format!("{at}/.new"), &new);
        fs::rename(home.path(&format!("{at}/.new")), home.path(&format!("{at}/.env"))).expect("a rename");
        let finished = going.finish().ended(137);
        assert!(finished.err().contains("no longer hidden from the agent") && !finished.out().contains(&secret), "{}", finished.err());
    }
}
