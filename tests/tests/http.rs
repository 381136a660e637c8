//! Real HTTP clients through the box: curl in both versions and both cloths, large bodies, many at once, events as they come.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use agentbox_tests::{
    Home, Origin, Who,
    home::processes,
    process::{status, until},
};
use serde_json::Value;

/// What the broker may hold at most, in KiB, whatever passes through it.
const MOST_MEMORY: u64 = 64 << 10;

const GIB: u64 = 1 << 30;

fn json(text: &str) -> Value {
    serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn curl_in_the_clear_and_over_tls() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        for base in ["http://web.example", "https://tls.example"] {
            let facts = json(&home.run(&format!("curl -sS --fail-with-body {base}/plain?a=b")).ended(0).out());
            assert_eq!((facts["method"].as_str(), facts["target"].as_str()), (Some("GET"), Some("/plain?a=b")));
            let facts = json(&home.run(&format!("printf 'name=value' | curl -sS --fail-with-body {base}/form --data-binary @-")).ended(0).out());
            assert_eq!((facts["method"].as_str(), facts["size"].as_u64()), (Some("POST"), Some(10)));
            let facts = json(&home.run(&format!("curl -sS --fail-with-body --no-alpn --http1.0 {base}/old")).ended(0).out());
            assert_eq!(facts["target"], "/old");
            let head = home.run(&format!("curl -sS --fail-with-body -I {base}/head")).ended(0).out();
            assert!(head.starts_with("HTTP/") && head.to_lowercase().contains("content-length: 5"), "{head}");
        }
    }
}

#[test]
fn the_far_sides_certificate_is_verified_and_the_box_has_its_own() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let said = home.run("curl -sv https://tls.example/ 2>&1 >/dev/null | grep -i 'issuer:'").ended(0).out();
    assert!(said.contains("agentbox") && !said.contains("authority of a test"), "{said}");
    // Without the policy's own root nobody vouches for the far side.
    let policy: String = origin.policy().lines().filter(|line| !line.starts_with("roots")).map(|line| format!("{line}\n")).collect();
    let home = Home::new(&policy);
    let out = home.run("curl -sk -w ' %{http_code}' https://tls.example/untrusted").ended(0).out();
    assert!(out.ends_with(" 502") && out.contains("agentbox_upstream") && out.contains("certificate"), "{out}");
    assert_eq!(origin.count("GET /untrusted"), 0);
}

#[test]
fn curl_speaks_http2_to_the_end() {
    let Some(origin) = Origin::with_http2() else { return };
    let home = Home::new(&origin.policy());
    let out = home.run("curl -sS --fail-with-body --http2 -w '\\n%{http_version}\\n' https://h2.example/two").ended(0).out();
    let mut lines = out.lines();
    let facts = json(lines.next().expect("a body"));
    assert_eq!((facts["version"].as_str(), facts["target"].as_str(), lines.next()), (Some("h2"), Some("/two"), Some("2")));
    // Several streams of one connection, with bodies.
    let script = "head -c 3000000 /dev/zero >big; curl -sS --fail-with-body --http2 --parallel --parallel-immediate $(for i in 1 2 3 4 5 6 7 8; do echo -T big https://h2.example/up-$i; done)";
    let out = home.run(script).ended(0).out();
    assert_eq!(out.matches("\"size\":3000000").count(), 8, "{out}");
    // A client that speaks HTTP/1.1 to a far side that speaks only HTTP/2, and the other way round.
    let out = home
        .run("curl -sS --http1.1 -w ' %{http_code}' https://h2.example/mixed; curl -sS --http2 -w ' %{http_code} %{http_version}' https://tls.example/mixed")
        .ended(0)
        .out();
    assert_eq!(out.matches(" 200").count(), 2, "{out}");
}

#[test]
fn keep_alive_chunks_and_expectations() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let script = "head -c 300000 /dev/zero >big; \
        curl -sS --fail-with-body -w '%{num_connects}\\n' -o /dev/null https://tls.example/1 -o /dev/null https://tls.example/2 -o /dev/null https://tls.example/3; \
        curl -sS --fail-with-body -H 'Transfer-Encoding: chunked' -H 'Content-Type: application/octet-stream' --data-binary @big https://tls.example/chunked; echo; \
        curl -sS --fail-with-body -H 'Expect: 100-continue' -H 'Content-Type: application/octet-stream' --data-binary @big http://web.example/expected; echo; \
        curl -sS --fail-with-body --compressed http://web.example/compressed; echo";
    let out = home.run(script).ended(0).out();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..3], ["1", "0", "0"], "{out}");
    assert_eq!((json(lines[3])["size"].as_u64(), json(lines[4])["size"].as_u64()), (Some(300_000), Some(300_000)));
    assert_eq!(json(lines[5])["target"], "/compressed");
}

#[test]
fn a_gibibyte_goes_up_and_comes_down_in_little_memory() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let script = format!(
        "head -c {GIB} /dev/zero | curl -sS --fail-with-body -T - -H 'Content-Type: application/octet-stream' https://tls.example/up; echo; \
         curl -sS --fail-with-body https://tls.example/bytes/{GIB} | wc -c; echo transferred; read -r _ </dev/stdin || sleep 60"
    );
    let going = home.start(&script);
    let broker = processes(going.pid()).broker;
    going.says("transferred");
    let peak = status(broker, "VmHWM").expect("the broker is there");
    let out = going.out();
    drop(going);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(json(lines[0])["size"].as_u64(), Some(GIB), "{out}");
    assert_eq!(lines[1], GIB.to_string(), "{out}");
    let peak: u64 = peak.trim_end_matches("kB").trim().parse().expect("a number of KiB");
    assert!(peak < MOST_MEMORY, "the broker held {peak} KiB");
}

/// All of them are at the far side at the same time: it answers none before the last has come.
const THOUSAND: &str = r#"
import asyncio
async def one(number):
    reader, writer = await asyncio.open_connection("web.example", 80)
    writer.write(f"GET /gather/1000?{number} HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"gathered")
async def main():
    done = await asyncio.gather(*[one(number) for number in range(1000)])
    print(sum(done))
asyncio.run(main())
"#;

#[test]
fn a_thousand_requests_at_once() {
    let Some(origin) = Origin::start() else { return };
    for who in Who::each() {
        let home = Home::of(who, &origin.policy());
        home.write("work/thousand.py", THOUSAND);
        let ended = home.run("ulimit -n 4096; python3 thousand.py");
        assert_eq!(ended.out(), "1000\n", "{}", ended.err());
    }
}

const EVENTS: &str = r#"
import http.client
stream = http.client.HTTPSConnection("tls.example")
stream.request("GET", "/events", headers={"Accept": "text/event-stream"})
answer = stream.getresponse()
assert answer.headers["content-type"] == "text/event-stream", answer.headers
seen = []
for line in answer:
    if line.startswith(b"data: "):
        number = line[6:].decode().strip()
        seen.append(number)
        other = http.client.HTTPSConnection("tls.example")
        other.request("GET", "/seen/" + number)
        other.getresponse().read()
print(",".join(seen))
"#;

#[test]
fn events_arrive_one_by_one() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    home.write("work/events.py", EVENTS);
    let ended = home.run("python3 events.py");
    assert_eq!(ended.out(), "0,1,2,3,4\n", "{}", ended.err());
}

#[test]
fn proxies_requests_inside_are_refused() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new(&origin.policy());
    let script = "curl -s -w ' %{http_code}\\n' --proxy http://web.example:80 http://tls.example/absolute; curl -s -w '%{http_connect}\\n' -p --proxy http://web.example:80 http://tls.example/tunnel; true";
    let out = home.run(script).ended(0).out();
    assert!(!out.contains("200"), "{out}");
    assert_eq!(origin.requests(), Vec::<String>::new());
    until("nothing came late", || true, String::new);
}
