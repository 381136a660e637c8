//! Browsers in a box, as they come: they trust the box's authority, and a site's own text is what they show.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;

use agentbox_tests::{Home, Origin, Who, skip};

const FIREFOX: &str = include_str!("../stand-ins/firefox.py");

/// Chromium without what it would tell its makers.
const CHROMIUM: &str =
    "timeout 100 chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync";

#[test]
fn chromium_by_a_database_of_its_own() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["chromium"]) {
        return;
    }
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        // Where people's own roots lie, and their keys.
        home.write("home/.pki/nssdb/key4.db", "THE-USERS-KEYS");
        home.write("home/.local/share/pki/nssdb/key4.db", "THE-USERS-KEYS");
        // The second time with the profile of the first, which knows another box's authority.
        let script = format!(
            "grep -rs THE-USERS-KEYS ~; rm -rf ~/.pki/nssdb 2>/dev/null; echo x 2>/dev/null >~/.pki/new || echo closed; \
             {CHROMIUM} --user-data-dir=$PWD/profile --dump-dom https://tls.example/gather/1 2>log | grep -o gathered || cat log"
        );
        for round in ["first", "second"] {
            let ended = home.run(&script).ended(0);
            assert_eq!(ended.out(), "closed\ngathered\n", "{who:?}, the {round} time: {}", ended.err());
        }
        let kept = fs::read_to_string(home.path("home/.pki/nssdb/key4.db")).expect("it is there");
        assert_eq!((kept.as_str(), fs::read_dir(home.path("home/.pki/nssdb")).expect("it is there").count()), ("THE-USERS-KEYS", 1));
    }
}

#[test]
fn chromium_where_nobody_has_started_one_before() {
    let Some(origin) = Origin::start() else { return };
    if !skip::have(&["chromium"]) {
        return;
    }
    let home = Home::new(&origin.policy());
    let ended = home.run(&format!("{CHROMIUM} --dump-dom https://tls.example/gather/1 2>log | grep -o gathered || cat log")).ended(0);
    assert_eq!(ended.out(), "gathered\n", "{}", ended.err());
    // As such a browser makes it, and empty.
    assert_eq!(fs::read_dir(home.path("home/.pki")).expect("a folder").count(), 0);
}

#[test]
fn what_the_database_holds_is_read_by_others_as_well() {
    if !skip::have(&["certutil", "sqlite3"]) {
        return;
    }
    let home = Home::new("extends = \"default\"\n");
    fs::create_dir(home.path("home/.pki")).expect("a folder");
    // The box's own: more may be put in, as mkcert does.
    let script = "set -e; cd ~/.pki/nssdb; sqlite3 cert9.db 'PRAGMA integrity_check'; \
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /tmp/k -subj /CN=another -out /tmp/c 2>/dev/null; \
        certutil -A -d sql:$PWD -t C,, -n another -i /tmp/c; certutil -L -d sql:$PWD | grep -c 'C,,'; sqlite3 cert9.db 'PRAGMA integrity_check'; \
        certutil -L -d sql:$PWD -n \"agentbox, the box's own authority\" -a | openssl x509 -noout -fingerprint -sha256 >/tmp/a; \
        openssl x509 -noout -fingerprint -sha256 -in /run/agentbox/ca.pem | cmp - /tmp/a && echo same";
    let ended = home.run(script);
    assert_eq!(ended.out(), "ok\n2\nok\nsame\n", "{}", ended.err());
}

#[test]
fn firefox_by_its_administrators_policy() {
    let Some(origin) = Origin::start() else { return };
    if !(skip::have(&["firefox-esr"]) && skip::python_has("websockets")) {
        return;
    }
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        home.write("work/firefox.py", FIREFOX);
        let script =
            "timeout 120 /usr/bin/python3 firefox.py https://tls.example/gather/1; ls /usr/lib/firefox-esr/distribution/searchplugins >/dev/null && echo kept";
        let ended = home.run(script).ended(0);
        assert_eq!(ended.out(), "gathered\nkept\n", "{who:?}: {}", ended.err());
    }
}
