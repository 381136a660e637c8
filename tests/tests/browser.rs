//! The page in a real browser: log-in by the link, live view, approving and refusing, what a foreign page tries, and that nothing else is loaded.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Instant,
};

use agentbox_tests::{
    Going, Home, Origin,
    process::{DEADLINE, until},
    skip,
};
use serde_json::{Value, json};

const DELETE: &str = "curl -s -w ' %{http_code}\\n' -X DELETE http://held.example/volumes/";

/// Chromium, with a person's hands. Each answer comes within the script's own deadline.
struct Browser {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    _folder: tempfile::TempDir,
}

impl Browser {
    fn start() -> Self {
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

    #[track_caller]
    fn tell(&mut self, command: &Value) -> Value {
        writeln!(self.to.as_ref().expect("a pipe"), "{command}").expect("it listens");
        let answer = self.answer();
        assert!(answer.get("error").is_none(), "{command}: {answer}");
        answer
    }

    #[track_caller]
    fn text(&mut self, command: &Value) -> String {
        let answer = self.tell(command);
        answer.as_str().unwrap_or_else(|| panic!("{command}: {answer}")).to_owned()
    }

    #[track_caller]
    fn comes_to_show(&mut self, words: &str) {
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
            thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A page of somebody else's, on another port of the same host: it frames ours, and sends a form to it.
fn attacker(target: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        // As many as one test asks for; the thread ends with the test's process.
        for stream in listener.incoming().take(64).flatten() {
            let mut stream = stream;
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or(0);
            let framed = String::from_utf8_lossy(&head[..read]).starts_with("GET /frame");
            let body = if framed {
                format!("<body>mine<iframe id=f src=\"{target}\"></iframe></body>")
            } else {
                format!(
                    "<body>mine<form method=post action=\"{target}\"><input name=typed value=yes><input name=stamp value=0><input name=shown value=0><button>go</button></form></body>"
                )
            };
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        }
    });
    format!("http://{address}")
}

#[test]
fn a_person_rules_in_a_real_browser() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["chromium", "python3"]) {
        return;
    }
    let home = Home::new(&origin.policy());
    let web = Going::start(&mut home.agentbox(&["web"]));
    web.says("/login?link=");
    let link = web.out().lines().find(|line| line.starts_with("http://")).expect("a link").to_owned();
    let ours = link[..link.find("/login").expect("its path")].to_owned();
    let mut browser = Browser::start();
    assert!(browser.text(&json!({"goto": link})).contains("Open the approvals desk"));
    browser.text(&json!({"click": "button"}));
    browser.comes_to_show("Nothing waits.");
    // The live view: nobody loads anything again.
    let going = home.start(&format!("$AGENTBOX ask '<img src=http://127.0.0.1:1/x onerror=alert(1)>'; {DELETE}1; {DELETE}2; echo end"));
    let first = home.hold();
    browser.comes_to_show(&first);
    browser.tell(&json!({"click": format!("a[href$='{first}']")}));
    browser.comes_to_show("DESTROY http.delete");
    // Lines are broken at 80 columns.
    let card = browser.text(&json!({"eval": "document.body.innerText"})).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(card.contains("DESTROY http.delete") && card.contains("<img src=http://127.0.0.1:1/x onerror=alert(1)>"), "{card}");
    let here = browser.text(&json!({"eval": "location.href"}));
    // Somebody else's page, with the person logged in: its form is refused, and its frame stays empty.
    let foreign = attacker(format!("{here}/approve"));
    assert!(browser.text(&json!({"goto": format!("{foreign}/form")})).contains("mine"));
    assert!(browser.text(&json!({"click": "button"})).contains("This did not come from this page"));
    assert!(browser.text(&json!({"goto": format!("{}/frame", attacker(here.clone()))})).contains("mine"));
    let facts = browser.tell(&json!({}));
    let complaints = facts["complaints"].to_string();
    assert!(
        complaints.contains("frame-ancestors")
            || complaints.contains("X-Frame-Options")
            || complaints.contains("Refused to")
            || complaints.contains("violates"),
        "{complaints}"
    );
    assert_eq!(origin.count("DELETE"), 0);
    // The person, by hand.
    browser.text(&json!({"goto": here}));
    assert_eq!(browser.text(&json!({"type": ["input[name=typed]", "no"]})), "no");
    assert!(browser.text(&json!({"click": "form[action$=approve] button"})).contains("type yes"));
    browser.text(&json!({"goto": here}));
    browser.text(&json!({"type": ["input[name=typed]", "yes"]}));
    assert!(browser.text(&json!({"click": "form[action$=approve] button"})).contains("is approved"));
    origin.hears("DELETE /volumes/1");
    let mut second = String::new();
    until(
        "the next one waits",
        || {
            second = home.holds().first().map(|card| card["id"].as_str().unwrap_or_default().to_owned()).unwrap_or_default();
            !second.is_empty() && second != first
        },
        String::new,
    );
    browser.text(&json!({"goto": here.replace(&first, &second)}));
    // Every field has its label, and the page its language and title: what a screen reader needs.
    let unlabelled =
        browser.tell(&json!({"eval": "[...document.querySelectorAll('input:not([type=hidden]),textarea')].filter(field => field.labels.length === 0).length"}));
    assert_eq!(
        (unlabelled, browser.text(&json!({"eval": "document.documentElement.lang + ' ' + document.title"}))),
        (json!(0), format!("en agentbox: {second}"))
    );
    browser.text(&json!({"type": ["input[name=because]", "not this one – really"]}));
    assert!(browser.text(&json!({"click": "form[action$=deny] button"})).contains("is refused"));
    let out = going.finish().ended(0).out();
    assert!(out.contains("not this one – really"), "{out}");
    assert_eq!(origin.count("DELETE"), 1);
    // Whatever was loaded came from our page, or from the pages that the test itself opened; the picture is the browser's own, in a frame that it left empty.
    let facts = browser.tell(&json!({}));
    for url in facts["requests"].as_array().expect("a list").iter().filter_map(Value::as_str) {
        assert!(
            url.starts_with(&ours)
                || url.starts_with("http://127.0.0.1:") && !url.contains(":1/x")
                || ["about:", "data:"].iter().any(|own| url.starts_with(own)),
            "{url}"
        );
    }
}
