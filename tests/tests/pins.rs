//! Clients that refuse the box's certificate, and clients that try QUIC first, through a real box.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use agentbox_tests::{Home, Origin, Who};

#[test]
fn why_names_the_host_that_a_client_pins_and_the_line_that_helps() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        // A client with an authority of its own: it refuses ours, three times.
        let script = "openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=own -out own.pem 2>/dev/null; \
            for i in 1 2 3; do curl -s --cacert own.pem --capath /nowhere https://tls.example/pinned; echo \"code $?\"; done; \"$AGENTBOX\" why";
        let out = home.run(script).ended(0).out();
        assert_eq!(out.matches("code 60").count(), 3, "{out}");
        assert_eq!(out.matches("this client pins its certificates: tls.example:443").count(), 1, "told once a minute: {out}");
        assert!(out.contains("pass-through = [\"tls.example\"]"), "{out}");
        assert_eq!(origin.count("GET /pinned"), 0);
    }
}

const QUIC: &str = r#"
import socket, time
quic = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
quic.settimeout(5)
start = time.monotonic()
try:
    quic.connect((socket.gethostbyname("tls.example"), 443))
    quic.send(bytes([0xc0, 0, 0, 0, 1]) + bytes(1195))
    quic.recv(1500)
    print("answered")
except OSError as error:
    print(type(error).__name__, time.monotonic() - start < 1)
"#;

#[test]
fn quic_is_refused_at_once_so_that_clients_fall_back() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        home.write("work/quic.py", QUIC);
        let ended = home.run("python3 quic.py");
        assert_eq!(ended.out(), "ConnectionRefusedError True\n", "{}", ended.err());
    }
}

#[test]
fn a_client_that_offers_only_http_1_0_is_served() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let out = home.run("curl -sS --fail-with-body --http1.0 https://tls.example/old").ended(0).out();
    assert!(out.contains("/old") && out.contains("sha256"), "{out}");
}
