//! The page in a real browser: log-in by the link, live view, approving and refusing, what a foreign page tries, and that nothing else is loaded.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use agentbox_tests::{
    Going, Home, Origin,
    browser::Browser,
    process::{finish, until},
    skip,
};
use serde_json::{Value, json};

const DELETE: &str = "curl -s -w ' %{http_code}\\n' -X DELETE http://held.example/volumes/";

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

/// The page of a home, with the person logged in.
fn logged_in(home: &Home) -> (Going, Browser, String) {
    let web = Going::start(&mut home.agentbox(&["web"]));
    web.says("/login?link=");
    let link = web.out().lines().find(|line| line.starts_with("http://")).expect("a link").to_owned();
    let mut browser = Browser::start();
    assert!(browser.text(&json!({"goto": link})).contains("Open the approvals desk"));
    browser.text(&json!({"click": "button"}));
    browser.comes_to_show("Nothing waits.");
    (web, browser, link)
}

/// What a reader with weak eyes, a keyboard or a screen reader would stumble over: text that stands out too little (WCAG 2, level AA), fields and
/// tables without names, ids twice, headings that skip a level, what is clickable and cannot be reached, text that runs out of the window.
const OBSTACLES: &str = include_str!("../stand-ins/obstacles.js");

/// Looks for obstacles by day and by night, on a desk and on a telephone. `AGENTBOX_PICTURES` names a folder for pictures of what was looked at.
#[track_caller]
fn can_be_read(browser: &mut Browser, name: &str) {
    for scheme in ["dark", "light"] {
        assert_eq!(browser.tell(&json!({"scheme": scheme})), json!(true));
        for (wide, high) in [(360, 900), (1024, 860)] {
            browser.tell(&json!({"wide": wide, "high": high}));
            let obstacles = browser.tell(&json!({"eval": OBSTACLES}));
            assert_eq!(obstacles, json!([]), "{name}, {scheme}, {wide} wide");
            if let Some(folder) = std::env::var_os("AGENTBOX_PICTURES") {
                let file = std::path::Path::new(&folder).join(format!("{name}-{scheme}-{wide}.png"));
                browser.tell(&json!({"shot": file}));
            }
        }
    }
}

#[test]
fn everybody_can_read_the_page() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["chromium", "python3"]) {
        return;
    }
    let home = Home::new(&origin.policy_with("destroy = \"hold\"\nconfirm = \"name\"", ""));
    let (_web, mut browser, _) = logged_in(&home);
    let going = home.start(&format!(
        "$AGENTBOX ask 'The volume looks unused; I would like to remove it.'; {DELETE}1 -H 'Authorization: Bearer 0123456789abcdef0123456789abcdef'; {DELETE}2; echo end"
    ));
    let id = home.hold();
    browser.comes_to_show(&id);
    can_be_read(&mut browser, "list");
    browser.tell(&json!({"click": format!("a[href$='{id}']")}));
    browser.comes_to_show("FOREIGN credential");
    can_be_read(&mut browser, "card");
    // All that the terminal's card says stands here too, in its order: the same words, drawn otherwise.
    browser.tell(&json!({"eval": "document.querySelector('details').open = true"}));
    can_be_read(&mut browser, "card-open");
    let page = browser.text(&json!({"eval": "document.querySelector('article').textContent"}));
    let page: String = page.split_whitespace().collect();
    let card = home.outside(&["show", &id]).ended(0).out();
    let mut from = 0;
    for line in card.lines().skip(2).filter(|line| !line.starts_with("---")) {
        let words: String = line.split_whitespace().collect();
        let at = page[from..].find(&words).unwrap_or_else(|| panic!("{line:?} is not on the page, or not in its place: {page}"));
        from += at + words.len();
    }
    browser.text(&json!({"type": ["input[name=because]", "it is in use"]}));
    home.outside(&["deny", &id]).ended(0);
    let second = home.hold();
    home.outside(&["deny", &second]).ended(0);
    going.finish().ended(0);
    browser.comes_to_show("Something has changed: load the page again");
    can_be_read(&mut browser, "changed");
}

/// A signature of the text that the page shows, by a key that is not in the browser.
fn signed(home: &Home, browser: &mut Browser, key: &str) -> String {
    let text = browser.text(&json!({"eval": "document.querySelector('pre[aria-label=\"The text to sign\"]').textContent"}));
    home.write("home/statement", &text);
    let line = format!("ssh-keygen -Y sign -n agentbox-approval -f ../home/{key} <../home/statement");
    finish(home.program("bash").args(["-c", &line])).ended(0).out()
}

#[test]
fn two_people_approve_on_the_page_and_what_has_run_out_is_gone() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["chromium", "python3", "ssh-keygen"]) {
        return;
    }
    let home = Home::new("");
    for name in ["anna", "bela"] {
        finish(home.program("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", &format!("../home/{name}")])).ended(0);
    }
    let keys = ["anna", "bela"].map(|name| format!("{:?}", home.path(&format!("home/{name}.pub")))).join(", ");
    let approval = format!("[approval]\napprover = [{keys}]\npatience = \"40s\"");
    home.write("policy.toml", &origin.policy_with("destroy = \"hold\"\napprovers = 2\nconfirm = \"name\"", &approval));
    let (_web, mut browser, _) = logged_in(&home);
    let going = home.start(&format!("{DELETE}1; echo first; {DELETE}2; echo end"));
    let id = home.hold();
    browser.comes_to_show(&id);
    browser.tell(&json!({"click": format!("a[href$='{id}']")}));
    browser.comes_to_show("2 different people must approve. So far: nobody.");
    let here = browser.text(&json!({"eval": "location.href"}));
    let word = browser.text(&json!({"eval": "document.querySelector('form[action$=approve] label b').textContent"}));
    assert_eq!(word, "guarded/1");
    let approve = |browser: &mut Browser, key: &str, typed: &str| {
        browser.text(&json!({"goto": here}));
        let signature = signed(&home, browser, key);
        browser.text(&json!({"type": ["input[name=typed]", typed]}));
        browser.text(&json!({"type": ["textarea", signature]}));
        browser.text(&json!({"click": "form[action$=approve] button"}))
    };
    let said = approve(&mut browser, "anna", "yes");
    assert!(said.contains("Not approved: to approve it, type"), "{said}");
    let said = approve(&mut browser, "anna", &word);
    assert!(said.contains("1 of 2 people have approved"), "{said}");
    // The same person again is still one person.
    let said = approve(&mut browser, "anna", &word);
    assert!(!said.contains("is approved") && origin.count("DELETE") == 0, "{said}");
    let said = browser.text(&json!({"goto": here}));
    assert!(said.contains("So far: ") && said.contains("(anna)") && !said.contains("(bela)"), "{said}");
    can_be_read(&mut browser, "two");
    let said = approve(&mut browser, "bela", &word);
    assert!(said.contains("is approved"), "{said}");
    going.says("first");
    origin.hears("DELETE /volumes/1");
    // The second is left to run out: the page says so by itself, and its form has nothing to approve any more.
    let second = home.hold();
    browser.text(&json!({"goto": here.replace(&id, &second)}));
    browser.text(&json!({"type": ["input[name=typed]", "whatever"]}));
    browser.comes_to_show("Something has changed");
    let said = browser.text(&json!({"click": "form[action$=approve] button"}));
    assert!(said.contains("Nothing waits under this name any more."), "{said}");
    going.says("end");
    assert_eq!(origin.count("DELETE"), 1);
}

#[test]
fn a_flood_is_one_line_on_the_page() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["chromium", "python3"]) {
        return;
    }
    let home = Home::new(&origin.policy());
    let (_web, mut browser, _) = logged_in(&home);
    let going = home.start("for i in $(seq 60); do curl -s -o /dev/null -X DELETE http://held.example/volumes/$i & done; wait; echo end");
    // Eight of a kind are shown, the others are counted on the last of them.
    browser.comes_to_show("(and 52 more of this kind refused)");
    let rows = browser.tell(&json!({"eval": "document.querySelectorAll('tbody tr').length"}));
    assert_eq!(rows, json!(8));
    can_be_read(&mut browser, "flood");
    for card in home.waiting(8) {
        home.outside(&["deny", card["id"].as_str().expect("an id")]).ended(0);
    }
    going.says("end");
    browser.comes_to_show("Nothing waits.");
    assert_eq!(origin.count("DELETE"), 0);
}

#[test]
fn a_person_rules_in_a_real_browser() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["chromium", "python3"]) {
        return;
    }
    let home = Home::new(&origin.policy());
    let (_web, mut browser, link) = logged_in(&home);
    let ours = link[..link.find("/login").expect("its path")].to_owned();
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
