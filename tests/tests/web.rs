//! The page, by curl as a browser would and as an attacker would: log-in, card, approving and refusing without a script, and what is not let in.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use agentbox_tests::{
    Going, Home, Origin, Who,
    process::{finish, until},
    skip,
};

const DELETE: &str = "curl -s -w ' %{http_code}\\n' -X DELETE http://held.example/volumes/1";

/// The page of a home, and a browser that keeps its cookies in a file.
struct Page<'a> {
    home: &'a Home,
    _going: Going,
    origin: String,
    link: String,
}

impl<'a> Page<'a> {
    fn open(home: &'a Home) -> Self {
        let going = Going::start(&mut home.agentbox(&["web"]));
        going.says("/login?link=");
        let said = going.out();
        let url = said.lines().find(|line| line.starts_with("http://")).expect("a link").to_owned();
        let (origin, rest) = url.split_at(url.find("/login").expect("its path"));
        Self { home, _going: going, origin: origin.to_owned(), link: rest.to_owned() }
    }

    /// What the answer is, with its head.
    fn curl(&self, arguments: &[&str], path: &str) -> String {
        let mut command = self.home.program("curl");
        command.args(["-s", "-i", "--max-time", "20", "-c", "../home/jar", "-b", "../home/jar"]).args(arguments).arg(format!("{}{path}", self.origin));
        finish(&mut command).ended(0).out()
    }

    fn post(&self, fields: &[(&str, &str)], path: &str) -> String {
        let origin = format!("Origin: {}", self.origin);
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut arguments = vec!["-H", origin.as_str()];
        for field in &fields {
            arguments.extend(["--data-urlencode", field]);
        }
        self.curl(&arguments, path)
    }

    /// Logs in, and gives the secret path.
    fn enter(&self) -> String {
        let secret = self.link.rsplit('=').next().expect("a secret");
        let answer = self.post(&[("link", secret)], "/login");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let cookie = answer.lines().find(|line| line.to_lowercase().starts_with("set-cookie:")).expect("a cookie");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        between(&answer, "url=/", "/\"").to_owned()
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let start = text.find(before).unwrap_or_else(|| panic!("no {before:?} in {text}")) + before.len();
    let rest = &text[start..];
    &rest[..rest.find(after).unwrap_or_else(|| panic!("no {after:?} in {rest}"))]
}

fn field<'a>(page: &'a str, name: &str) -> &'a str {
    between(page, &format!("name=\"{name}\" value=\""), "\"")
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn a_person_approves_and_refuses_in_a_browser_without_a_script() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        let before = origin.count("DELETE");
        let home = Home::of(who, &origin.policy());
        let going = home.start(&format!("{DELETE}; {DELETE}; echo end"));
        let id = home.hold();
        let page = Page::open(&home);
        // The link alone shows a button; whatever fetches it ahead uses nothing up.
        for _ in 0..2 {
            assert!(page.curl(&[], &page.link).contains("<button>"));
        }
        let path = page.enter();
        assert_eq!(status(&page.post(&[("link", page.link.rsplit('=').next().expect("a secret"))], "/login")), 403, "once");
        let list = page.curl(&[], &format!("/{path}/"));
        assert!(list.contains(&format!("href=\"hold/{id}\"")) && list.contains("guarded"), "{list}");
        let card = page.curl(&[], &format!("/{path}/hold/{id}"));
        assert!(card.contains("DESTROY http.delete") && !card.contains("<script>"), "{card}");
        let (stamp, shown) = (field(&card, "stamp"), field(&card, "shown"));
        let approve = format!("/{path}/hold/{id}/approve");
        // Not the word, another form, a card that is not this one.
        assert_eq!(status(&page.post(&[("stamp", stamp), ("shown", shown), ("typed", "y")], &approve)), 422);
        assert_eq!(status(&page.post(&[("stamp", "0"), ("shown", shown), ("typed", "yes")], &approve)), 403);
        assert_eq!(status(&page.post(&[("stamp", stamp), ("shown", "0"), ("typed", "yes")], &approve)), 409);
        assert_eq!(origin.count("DELETE"), before);
        let said = page.post(&[("stamp", stamp), ("shown", shown), ("typed", "yes")], &approve);
        assert!(status(&said) == 200 && said.contains("is approved"), "{said}");
        going.says(" 200\n");
        assert_eq!(origin.count("DELETE"), before + 1);
        let mut second = String::new();
        until(
            "the next one waits",
            || {
                second = home.holds().first().map(|card| card["id"].as_str().unwrap_or_default().to_owned()).unwrap_or_default();
                !second.is_empty() && second != id
            },
            String::new,
        );
        let card = page.curl(&[], &format!("/{path}/hold/{second}"));
        let said = page.post(&[("stamp", field(&card, "stamp")), ("because", "once <b>was</b> enough")], &format!("/{path}/hold/{second}/deny"));
        assert_eq!(status(&said), 200, "{said}");
        let out = going.finish().ended(0).out();
        assert!(out.contains("once <b>was</b> enough"), "{out}");
        assert_eq!(origin.count("DELETE"), before + 1);
        assert!(home.log().contains("by web"), "{}", home.log());
    }
}

#[test]
fn nobody_else_is_let_in() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let going = home.start(&format!("{DELETE}; echo end; sleep 300"));
    let id = home.hold();
    let page = Page::open(&home);
    let path = page.enter();
    let root = format!("/{path}/");
    let card_path = format!("/{path}/hold/{id}");
    let card = page.curl(&[], &card_path);
    let (stamp, shown) = (field(&card, "stamp").to_owned(), field(&card, "shown").to_owned());
    let form = format!("stamp={stamp}&shown={shown}&typed=yes");
    let approve = format!("{card_path}/approve");
    let own = format!("Origin: {}", page.origin);
    // DNS rebinding: the browser believes that it speaks to another name.
    for host in ["evil.example", "evil.example:80", "127.0.0.1", "localhost"] {
        assert_eq!(status(&page.curl(&["-H", &format!("Host: {host}")], &root)), 421, "{host}");
    }
    // Without the cookie, with another one, under another path.
    let bare = |arguments: &[&str], target: &str| {
        let mut command = home.program("curl");
        finish(command.args(["-s", "-i", "--max-time", "20"]).args(arguments).arg(format!("{}{target}", page.origin))).ended(0).out()
    };
    assert_eq!(status(&bare(&[], &root)), 403);
    assert_eq!(status(&bare(&["-b", "agentbox-desk=0123"], &root)), 403);
    assert_eq!(status(&bare(&["-H", &own, "-d", &form], &approve)), 403);
    for target in ["/", "/00000000000000000000000000000000/", "/login", "/login?link=", "/login?link=0", &format!("/{path}")] {
        let answer = page.curl(&[], target);
        assert_eq!(status(&answer), 403, "{target}: {answer}");
    }
    // Cross-site request forgery, also from another port of this very host: the cookie goes along, the origin tells.
    for origin in ["Origin: null", "Origin: http://evil.example", "Origin: http://127.0.0.1:1", "Origin: http://localhost:1", "X-Nothing: there"] {
        assert_eq!(status(&page.curl(&["-H", origin, "-d", &form], &approve)), 403, "{origin}");
    }
    assert_eq!(status(&page.curl(&["-H", &own, "-H", "Sec-Fetch-Site: same-site", "-d", &form], &approve)), 403);
    // Nothing changes by a GET, however it looks.
    assert_ne!(status(&page.curl(&[], &format!("{approve}?{form}"))), 200);
    assert_eq!(status(&page.curl(&["-X", "PUT", "-H", &own], &approve)), 405);
    // A form that is too long, or says a thing twice.
    assert_eq!(status(&page.curl(&["-H", &own, "-d", &format!("{form}&because={}", "x".repeat(40_000))], &approve)), 400);
    assert_eq!(status(&page.curl(&["-H", &own, "-d", &format!("{form}&typed=yes")], &approve)), 400);
    // It cannot be framed, loads nothing foreign, and is kept nowhere.
    for target in [&root, &card_path, &format!("{root}style.css"), &"/".to_owned()] {
        let answer = page.curl(&[], target).to_lowercase();
        for wanted in [
            "frame-ancestors 'none'",
            "default-src 'none'",
            "x-frame-options: deny",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "referrer-policy: same-origin",
        ] {
            assert!(answer.contains(wanted), "{target} lacks {wanted}: {answer}");
        }
        assert!(!answer.contains("unsafe-inline") && !answer.contains("https://"), "{answer}");
    }
    assert_eq!(home.hold(), id, "it still waits");
    assert_eq!(origin.count("DELETE"), 0);
    home.outside(&["deny", &id]).ended(0);
    going.says("end");
    // Only for this machine.
    let said = home.outside(&["web", "--listen", "0.0.0.0:0"]).ended(125);
    assert!(said.err().contains("no loopback address"), "{}", said.err());
}

#[test]
fn the_live_view_tells_of_a_new_hold() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let page = Page::open(&home);
    let path = page.enter();
    let mut command = home.program("curl");
    command.args(["-s", "-N", "--max-time", "60", "-b", "../home/jar"]).arg(format!("{}/{path}/events", page.origin));
    let events = Going::start(&mut command);
    events.says("data: ");
    let going = home.start(&format!("{DELETE}; echo end"));
    let id = home.hold();
    until("it is told", || events.out().matches("data: ").count() == 2, || events.out());
    home.outside(&["deny", &id]).ended(0);
    going.says("end");
    until("its end is told", || events.out().matches("data: ").count() == 3, || events.out());
}

#[test]
fn hostile_text_is_no_markup_and_a_signature_is_taken_from_the_page() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["ssh-keygen"]) {
        return;
    }
    let home = Home::new("");
    let key = home.path("home/key");
    finish(home.program("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "<i>anna</i>", "-f"]).arg(&key)).ended(0);
    home.write("policy.toml", &origin.policy_with("destroy = \"hold\"", &format!("[approval]\napprover = [\"{}.pub\"]", key.display())));
    let going =
        home.start("$AGENTBOX ask '<script>alert(1)</script>\"'; curl -s -w ' %{http_code}\\n' -X DELETE 'http://held.example/%3Cimg%20src=x%3E'; echo end");
    let id = home.hold();
    let page = Page::open(&home);
    let path = page.enter();
    let card = page.curl(&[], &format!("/{path}/hold/{id}"));
    assert!(card.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && card.contains("&lt;i&gt;anna"), "{card}");
    for markup in ["<script>alert", "<i>anna", "<img"] {
        assert!(!card.contains(markup), "{markup}: {card}");
    }
    let (stamp, shown) = (field(&card, "stamp"), field(&card, "shown"));
    let approve = format!("/{path}/hold/{id}/approve");
    // The account's word, which is all that the page has, is not enough.
    let said = page.post(&[("stamp", stamp), ("shown", shown), ("typed", "yes"), ("signature", "")], &approve);
    assert!(status(&said) == 409 && said.contains("wants a signature"), "{said}");
    let text = between(&card, "aria-label=\"The text to sign\">", "</pre>")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&");
    home.write("home/statement", &text);
    let line = format!("ssh-keygen -Y sign -n agentbox-approval -f '{}' <../home/statement", key.display());
    let signature = finish(home.program("bash").args(["-c", &line])).ended(0).out();
    // A browser sends a text area's lines with CR LF.
    let said = page.post(&[("stamp", stamp), ("shown", shown), ("typed", "yes"), ("signature", &signature.replace('\n', "\r\n"))], &approve);
    assert!(status(&said) == 200 && said.contains("is approved"), "{said}");
    going.says(" 200\n");
}

/// The worst case: the agent has read the link on its owner's screen.
#[test]
fn an_agent_that_knows_the_link_does_not_get_to_the_page() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        let page = Page::open(&home);
        let (_, address) = page.origin.split_once("//").expect("a scheme");
        let (_, port) = address.rsplit_once(':').expect("a port");
        let secret = page.link.rsplit('=').next().expect("a secret");
        let entrances: Vec<String> =
            ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.1.2.3", "[::ffff:127.0.0.1]", "10.0.2.2", "host.docker.internal", "host"]
                .iter()
                .map(|host| format!("'http://{host}:{port}/login'"))
                .collect();
        let script = format!(
            "for url in {}; do curl -s -i --max-time 5 -H 'Host: {address}' -H 'Origin: {}' -d link={secret} \"$url\" & done; wait; \
             for proxy in \"$HTTP_PROXY\" \"$http_proxy\"; do [ -z \"$proxy\" ] || curl -s -i --max-time 5 -x \"$proxy\" -d link={secret} {}/login; done; echo end",
            entrances.join(" "),
            page.origin,
            page.origin
        );
        for doors in [&["--unattended"][..], &["--unattended", "--forward", port]] {
            let said = finish(&mut home.script(doors, &script)).out();
            assert!(said.ends_with("end\n"), "{said}");
            assert!(!said.to_lowercase().contains("set-cookie") && !said.contains("url=/"), "{doors:?}: {said}");
        }
        // The link was not used up, and still is its owner's.
        let _ = page.enter();
    }
}
