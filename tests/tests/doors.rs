//! The doors of a box: services of the machine judged like any other, servers of the box on the machine's loopback, named UNIX sockets; all else stays shut.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixListener,
    thread,
    time::Duration,
};

use agentbox_tests::{Database, Going, Home, Origin, Who, database::PASSWORD, process::finish, process::until, skip};

/// For one answer on loopback.
const PATIENCE: Duration = Duration::from_secs(20);

/// A port that nobody listens on a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

const UNATTENDED: [&str; 3] = ["--unattended", "--exit-code", "agent"];

#[test]
fn a_forwarded_port_is_judged_as_the_place_host() {
    let Some(origin) = Origin::start() else { return };
    let port = origin.clear_port();
    let text = port.to_string();
    for who in Who::each() {
        let home = Home::of(who, "extends = \"default\"\n");
        let before = origin.count("DELETE");
        let options = [&["--forward", &text], &UNATTENDED[..]].concat();
        let script = format!(
            "for name in 127.0.0.1 localhost '[::1]'; do curl -sg -w ' %{{http_code}}\\n' http://$name:{port}/plain; done; \
             curl -s -w ' %{{http_code}}\\n' -X DELETE http://localhost:{port}/volumes/1; $AGENTBOX why; \
             curl -s --max-time 5 -o /dev/null http://127.0.0.1:{}/; echo other $?",
            origin.tls_port()
        );
        let ended = finish(&mut home.script(&options, &script)).ended(0);
        let out = ended.out();
        let lines: Vec<&str> = out.lines().collect();
        for line in &lines[..3] {
            assert!(line.contains("\"target\": \"/plain\"") && line.ends_with(" 200"), "{out}{}", ended.err());
        }
        assert!(lines[3].ends_with(" 403") && lines[3].contains("\"place\":\"host\""), "{out}");
        assert!(out.contains(&format!("DELETE http://localhost:{port}/volumes/1")), "{out}");
        assert!(out.ends_with("other 7\n"), "another port of the machine is not there: {out}");
        assert_eq!(origin.count("DELETE"), before);
    }
}

#[test]
fn the_policy_says_what_may_be_done_there() {
    let Some(origin) = Origin::start() else { return };
    let port = origin.clear_port();
    let home = Home::new(&format!("extends = \"default\"\nforward = [\"{port}\"]\n[place.host]\nwrite = \"deny\"\ndestroy = \"allow\"\n"));
    let script = format!("for method in GET POST DELETE; do curl -s -o /dev/null -w '%{{http_code}} ' -X $method http://localhost:{port}/x; done");
    assert_eq!(finish(&mut home.script(&UNATTENDED, &script)).ended(0).out(), "200 403 200 ");
    // Without the door nothing listens there, and `why` says which door would help.
    let home = Home::new("extends = \"default\"\n");
    let script = format!("curl -s http://127.0.0.1:{port}/; echo $?; $AGENTBOX why; $AGENTBOX why 127.0.0.1:{port}");
    let out = home.run(&script).ended(0).out();
    assert!(out.starts_with("7\n") && out.contains("--forward PORT") && out.contains(&format!("--forward {port}.")), "{out}");
    let ended = finish(&mut home.boxed(&["--forward", "0"], &["true"]));
    assert!(ended.code != 0 && ended.err().contains("is no port"), "{}", ended.err());
}

#[test]
fn the_machines_own_address_names_the_door_that_would_help() {
    if !skip::have(&["curl", "bash"]) {
        return;
    }
    let home = Home::new("extends = \"default\"\n");
    let script = "curl -s http://10.11.12.13:5432/; echo; $AGENTBOX why";
    let out = finish(&mut home.script(&UNATTENDED, script)).ended(0).out();
    assert!(out.contains("--forward 5432") && out.contains("localhost:5432"), "{out}");
}

#[test]
fn a_forwarded_database_is_judged_statement_by_statement() {
    let Some(server) = Database::start() else { return };
    server.owner("shop", "CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2); ALTER TABLE t OWNER TO agent").ended(0);
    let port = server.port().to_string();
    let home = Home::new("extends = \"default\"\n");
    let script = format!(
        "export PGPASSWORD='{PASSWORD}' PGSSLMODE=disable; psql -X -A -t -h localhost -p {port} -U agent shop \
         -c 'SELECT count(*) FROM t' -c 'INSERT INTO t VALUES (3)' -c 'DROP TABLE t' -c 'SELECT count(*) FROM t' 2>&1"
    );
    let out = finish(&mut home.script(&[&["--forward", &port], &UNATTENDED[..]].concat(), &script)).out();
    assert!(out.starts_with("2\nINSERT 0 1\nERROR:  agentbox") && out.trim_end().ends_with("\n3"), "{out}");
    assert_eq!(server.tells("shop", "SELECT count(*) FROM t"), "3");
}

/// One request on loopback; `None` where nobody listens.
fn get(port: u16, host: &str) -> Option<String> {
    let mut stream = TcpStream::connect((host, port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(b"GET /page HTTP/1.0\r\n\r\n").expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// The local addresses, in the kernel's hexadecimal, that somebody listens at on this port.
fn listening(port: u16) -> Vec<String> {
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        found.extend(text.lines().skip(1).filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, _, state) = (words.next()?, words.next()?, words.next()?);
            let (address, of) = local.split_once(':')?;
            (state == "0A" && u16::from_str_radix(of, 16).ok()? == port).then(|| address.to_owned())
        }));
    }
    found
}

fn serving(home: &Home, options: &[&str], bind: &str, inside: u16) -> Going {
    home.write("work/page", "from the box\n");
    let class =
        if bind.contains(':') { "class S(http.server.ThreadingHTTPServer): address_family = socket.AF_INET6" } else { "S = http.server.ThreadingHTTPServer" };
    home.write(
        "work/serve.py",
        &format!("import http.server, socket\n{class}\nserver = S(('{bind}', {inside}), http.server.SimpleHTTPRequestHandler)\nprint('listening', flush=True)\nserver.serve_forever()\n"),
    );
    let going = Going::start(&mut home.script(options, "exec python3 serve.py"));
    going.says("listening");
    going
}

#[test]
fn a_published_port_is_reached_on_loopback_and_nothing_else_is() {
    if !skip::have(&["python3", "bash"]) {
        return;
    }
    for who in Who::each() {
        for bind in ["127.0.0.1", "0.0.0.0", "::1"] {
            let (outside, inside) = (free_port(), free_port());
            let home = Home::of(who, "extends = \"default\"\n");
            let going = serving(&home, &["--publish", &format!("{outside}:{inside}")], bind, inside);
            let answer = get(outside, "127.0.0.1").expect("it is published");
            assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("from the box\n"), "{bind}: {answer}");
            if TcpListener::bind("[::1]:0").is_ok() {
                assert!(get(outside, "::1").expect("on both").ends_with("from the box\n"));
            }
            assert!(get(inside, "127.0.0.1").is_none(), "no other port of the box is there");
            let all = listening(outside);
            assert!(!all.is_empty() && all.iter().all(|address| address == "0100007F" || address == "00000000000000000000000001000000"), "{all:?}");
            // Many at once, each to its own end.
            let threads: Vec<_> = (0..20).map(|_| thread::spawn(move || get(outside, "127.0.0.1"))).collect();
            for one in threads {
                assert!(one.join().expect("it does not panic").is_some_and(|answer| answer.ends_with("from the box\n")));
            }
            drop(going);
            until("the port is closed with the box", || listening(outside).is_empty(), String::new);
        }
    }
}

#[test]
fn a_published_port_that_cannot_be_had_refuses_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let home = Home::new("extends = \"default\"\n");
    let ended = finish(&mut home.boxed(&["--publish", &port.to_string()], &["true"])).ended(125);
    assert!(ended.err().contains("listens there already") && ended.err().contains("OUTSIDE:INSIDE"), "{}", ended.err());
    let ended = finish(&mut home.boxed(&["--publish", "8123", "--forward", "8123"], &["true"])).ended(125);
    assert!(ended.err().contains("both forwarded and published"), "{}", ended.err());
}

const CONNECT: &str = r#"
import socket, sys
one = socket.socket(socket.AF_UNIX)
try:
    one.connect(sys.argv[1])
    print(one.recv(100).decode())
except OSError as error:
    print(type(error).__name__)
"#;

#[test]
fn a_named_socket_is_opened_and_no_other() {
    if !skip::have(&["python3", "bash"]) {
        return;
    }
    for who in Who::each() {
        let home = Home::of(who, "extends = \"default\"\n");
        home.write("work/connect.py", CONNECT);
        // One that lies where the box has memory of its own, and one in a folder that it can read.
        let paths = [home.path("runtime/service.sock"), home.path("home/other.sock")];
        for path in &paths {
            let listener = UnixListener::bind(path).expect("a socket");
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("its mode");
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let _ = stream.and_then(|mut stream| stream.write_all(b"hello from outside"));
                }
            });
        }
        let texts: Vec<&str> = paths.iter().map(|path| path.to_str().expect("a plain path")).collect();
        let script = format!("for path in {} {}; do python3 connect.py $path; done", texts[0], texts[1]);
        let out = home.run(&script).ended(0).out();
        assert!(!out.contains("hello") && out.lines().count() == 2, "{out}");
        for (path, others) in [(texts[0], texts[1]), (texts[1], texts[0])] {
            let script = format!("python3 connect.py {path}; python3 connect.py {others}");
            let ended = finish(&mut home.script(&["--socket", path], &script)).ended(0);
            let out = ended.out();
            assert!(out.starts_with("hello from outside\n") && out.matches("hello").count() == 1, "{out}{}", ended.err());
        }
    }
}

#[test]
fn dockers_socket_is_refused_with_its_reason() {
    let home = Home::new("extends = \"default\"\n");
    let path = home.path("home/docker.sock");
    let _listener = UnixListener::bind(&path).expect("a socket");
    std::os::unix::fs::symlink(&path, home.path("home/harmless.sock")).expect("a link");
    for name in ["home/docker.sock", "home/harmless.sock"] {
        let ended = finish(&mut home.boxed(&["--socket", home.path(name).to_str().expect("a plain path")], &["true"])).ended(125);
        assert!(ended.err().contains("not opened to a box") && ended.err().contains("Docker"), "{}", ended.err());
    }
    home.write("policy.toml", "extends = \"default\"\nsockets = [\"/var/run/docker.sock\"]\n");
    // The others of our processes are on their way already, at this moment or that, and none of them has a reason of its own.
    for _ in 0..5 {
        let ended = finish(&mut home.boxed(&[], &["true"])).ended(125);
        assert!(ended.err().contains("Docker") && ended.err().lines().count() == 1, "{}", ended.err());
    }
}
