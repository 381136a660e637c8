//! The network as the box sees it: names, both families, bare addresses, datagrams, and its own loopback.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use agentbox_tests::{Home, Origin, Who, process::until};

/// A question of one type for one name, over UDP or TCP, without a library: the answer's code and how many records it has.
const ASK: &str = r#"
import random, socket, struct, sys
def ask(name, kind, tcp=False, server="192.0.2.53"):
    query = struct.pack(">HHHHHH", random.randrange(65536), 0x0100, 1, 0, 0, 0)
    query += b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0" + struct.pack(">HH", kind, 1)
    if tcp:
        s = socket.create_connection((server, 53), timeout=20)
        s.sendall(struct.pack(">H", len(query)) + query)
        size = struct.unpack(">H", s.recv(2, socket.MSG_WAITALL))[0]
        answer = s.recv(size, socket.MSG_WAITALL)
    else:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(20)
        s.connect((server, 53))
        s.send(query)
        answer = s.recv(4096)
    assert answer[:2] == query[:2]
    return answer[3] & 15, struct.unpack(">H", answer[6:8])[0]
"#;

#[test]
fn names_are_answered_over_both_and_in_both_families() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        let questions = format!(
            "{ASK}\nprint(ask('web.example', 1), ask('web.example', 28), ask('web.example', 1, tcp=True), ask('web.example', 28, tcp=True))\n\
             print(ask('web.example', 1, server='8.8.8.8'), ask('web.example', 1, tcp=True, server='9.9.9.9'))\n\
             print(ask('nowhere.invalid', 1)[0], ask('nowhere.invalid', 1, tcp=True)[0])\n"
        );
        home.write("work/ask.py", &questions);
        assert_eq!(home.run("python3 ask.py").ended(0).out(), "(0, 1) (0, 1) (0, 1) (0, 1)\n(0, 1) (0, 1)\n3 3\n");
        let out = home.run("getent ahosts web.example | awk '{print $1}' | sort -u | wc -l; getent hosts nowhere.invalid; echo $?; curl -sS http://nowhere.invalid/ 2>&1; echo $?").ended(0).out();
        assert!(out.starts_with("2\n2\n") && out.contains("resolve host") && out.ends_with("6\n"), "{out}");
    }
}

#[test]
fn both_families_reach_the_same_host() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let out = home
        .run("for family in -4 -6; do curl $family -fsS -o /dev/null -w '%{remote_ip} %{http_code}\\n' https://tls.example/family; done; curl -fsS -6 -g -o /dev/null -w '%{http_code}\\n' -H 'Host: tls.example' --connect-to tls.example:443:[$(getent ahostsv6 tls.example | head -1 | cut -d' ' -f1)]:443 https://tls.example/literal")
        .ended(0)
        .out();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].ends_with(" 200") && lines[1].ends_with(" 200") && lines[1].contains(':') && lines[2] == "200", "{out}");
    assert_eq!((origin.count("GET /family"), origin.count("GET /literal")), (2, 1));
}

#[test]
fn a_bare_address_is_no_way_round_a_name() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy_with("destroy = \"hold\"", "[approval]\npatience = \"1s\"\nclient-patience = \"1s\""));
    let port = origin.names();
    let port = port.split("127.0.0.1:").nth(1).and_then(|rest| rest.split('"').next()).expect("a port");
    let script = format!(
        "for url in http://127.0.0.1:{port}/direct 'http://[::1]:{port}/direct' 'http://[::ffff:127.0.0.1]:{port}/direct' http://0.0.0.0:{port}/direct http://10.0.0.1/direct http://169.254.169.254/latest/meta-data 'http://[fd00::1]/direct' 'http://[2001:db8::1]/direct'; do \
         curl -gs -m 20 -o /dev/null -w '%{{http_code}}\\n' \"$url\"; done; true"
    );
    let out = home.run(&script).ended(0).out();
    assert!(!out.contains("200") && out.lines().count() == 8, "{out}");
    assert_eq!(origin.requests(), Vec::<String>::new());
}

#[test]
fn datagrams_are_refused_at_once() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        let script = r#"
import errno, socket
for family, address in ((socket.AF_INET, ("web.example", 443)), (socket.AF_INET6, ("web.example", 443)), (socket.AF_INET, ("1.1.1.1", 123)), (socket.AF_INET6, ("2001:db8::1", 443))):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(30)
    s.connect(address)
    try:
        s.send(b"\xc3quic")
        s.recv(100)
        print("answered")
    except OSError as error:
        print(errno.errorcode.get(error.errno, error))
"#;
        home.write("work/quic.py", script);
        assert_eq!(home.run("python3 quic.py").ended(0).out(), "ECONNREFUSED\n".repeat(4));
    }
}

#[test]
fn the_boxs_own_loopback_is_its_own_and_works() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        home.write("work/page", "from the box\n");
        let script = "python3 -m http.server --bind 127.0.0.1 3000 >/dev/null 2>&1 & python3 -m http.server --bind :: 3001 >/dev/null 2>&1 & \
            for url in http://127.0.0.1:3000/page http://localhost:3000/page 'http://[::1]:3001/page'; do \
                for try in $(seq 100); do curl -gfs $url && break; sleep 0.1; done; done; kill %1 %2; curl -s http://127.0.0.1:3999/; echo $?";
        assert_eq!(home.run(script).ended(0).out(), "from the box\nfrom the box\nfrom the box\n7\n");
    }
}

#[test]
fn other_protocols_are_judged_as_a_whole() {
    let Some(origin) = Origin::start() else { return };
    for destroy in ["allow", "deny"] {
        let policy = origin.policy_with(&format!("destroy = \"{destroy}\""), "").replacen("\"held.example\"]", "\"held.example\", \"held.example:2525\"]", 1);
        let home = Home::new(&policy);
        let script = "import socket\ns = socket.create_connection(('held.example', 2525))\ns.settimeout(30)\ns.sendall(b'\\x16\\x00\\x01PING' * 50)\ns.shutdown(socket.SHUT_WR)\ntry:\n    s.recv(1000)\nexcept OSError:\n    pass\nprint('over')\n";
        home.write("work/other.py", script);
        let before = origin.connections();
        assert_eq!(home.run("timeout 40 python3 other.py").ended(0).out(), "over\n");
        if destroy == "allow" {
            until("it reaches the far side", || origin.connections() > before, || home.log());
        }
        assert_eq!(origin.connections() - before, usize::from(destroy == "allow"), "{destroy}: {}", home.log());
    }
}
