//! Real Redis clients in a box, against a real server: ordinary work passes untouched, what destroys waits, and the session stays usable.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use agentbox_tests::{
    Home, Redis, Who,
    process::{finish, until},
    redis::PASSWORD,
    skip,
};

/// Python as Debian brings it, with its driver.
const PYTHON: &str = "/usr/bin/python3";

fn has_driver() -> bool {
    let there =
        std::process::Command::new(PYTHON).args(["-c", "import redis"]).stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success());
    if !there {
        skip::skip("not installed: python3-redis");
    }
    there
}

#[test]
fn redis_cli_works_as_outside_in_the_clear_and_over_tls() {
    let Some(server) = Redis::start() else { return };
    for who in Who::each() {
        let home = Home::of(who, &server.policy(""));
        for host in ["-h db.example", "-h tls.example --tls"] {
            let text = format!(
                "R='redis-cli {host}'; $R SET a 'x y'; $R GET a; $R -3 HSET h f 1 g 2; $R -3 HGETALL h; $R INCR n; $R LRANGE nothing 0 -1; $R BLPOP nothing 0.01; \
                 $R -n 1 DEL a n; $R EVAL 'return redis.call(\"GET\", KEYS[1])' 1 a; $R GET h; printf 'PING\\nECHO \"a b\"\\n' | $R; \
                 $R -n 1 SET gone 1; $R -n 1 FLUSHDB; REDISCLI_AUTH={PASSWORD} $R --user agent ACL WHOAMI; $R --scan"
            );
            let out = home.run(&text).ended(0).out();
            for wanted in ["OK\nx y\n", "f 1\ng 2\n", "\n0\nx y\n", "WRONGTYPE", "PONG\na b\n", "agent\n"] {
                assert!(out.contains(wanted), "{host} {wanted:?}: {out}");
            }
            assert_eq!(server.tells(&["-n", "1", "DBSIZE"]), "0");
        }
        home.outside(&["log", "--verify"]).ended(0);
        assert!(!home.log().contains(PASSWORD));
    }
}

const WORK: &str = r#"
import os, redis, threading, time, hashlib
db = redis.Redis(host="db.example", socket_timeout=50)
pipe = db.pipeline(transaction=False)
for number in range(10000):
    pipe.set(f"key:{number}", "v" * (number % 50))
assert pipe.execute() == [True] * 10000
pipe = db.pipeline(transaction=False)
for number in range(10000):
    pipe.get(f"key:{number}")
assert [len(value) for value in pipe.execute()] == [number % 50 for number in range(10000)]
with db.pipeline(transaction=True) as pipe:
    pipe.watch("key:1")
    pipe.multi()
    pipe.incr("count").lpush("list", "a", "b").lrange("list", 0, -1)
    assert pipe.execute() == [1, 2, [b"b", b"a"]]
with db.pipeline(transaction=True) as pipe:
    pipe.set("s", "x").lpush("s", "y").get("s")
    got = pipe.execute(raise_on_error=False)
    assert got[0] is True and "WRONGTYPE" in str(got[1]) and got[2] == b"x", got
big = os.urandom(40 << 20)
db.set("big", big)
assert hashlib.md5(db.get("big")).digest() == hashlib.md5(big).digest()
db.setex("mid", 100, big[:3 << 20])
assert db.get("mid") == big[:3 << 20]
sub = db.pubsub()
sub.subscribe("news", "more"); sub.psubscribe("ne*")
seen = []
def listen():
    for message in sub.listen():
        seen.append((message["type"], message["data"]))
        if message["data"] == b"end": break
listener = threading.Thread(target=listen); listener.start()
while db.pubsub_numpat() < 1 or dict(db.pubsub_numsub("news"))[b"news"] < 1: time.sleep(0.02)
db.publish("news", "hello"); db.publish("more", "end")
listener.join(30)
assert [data for kind, data in seen if kind in ("message", "pmessage")] == [b"hello", b"hello", b"end"], seen
sub.unsubscribe(); sub.punsubscribe()
def push():
    time.sleep(0.3); redis.Redis(host="db.example").rpush("queue", "job")
threading.Thread(target=push).start()
assert db.blpop("queue", timeout=30) == (b"queue", b"job")
script = db.register_script("redis.call('SET', KEYS[1], ARGV[1]); return redis.call('GET', KEYS[1])")
assert script(keys=["scripted"], args=["1"]) == b"1" and script(keys=["scripted"], args=["2"]) == b"2"
assert redis.Redis(host="db.example").evalsha(script.sha, 1, "scripted", "3") == b"3"
secure = redis.Redis(host="tls.example", ssl=True, ssl_ca_certs=os.environ["SSL_CERT_FILE"])
assert secure.get("scripted") == b"3"
stream = db.xadd("stream", {"a": 1})
assert db.xread({"stream": 0}, block=1000)[0][1][0][0] == stream
other = redis.Redis(host="db.example", db=1)
other.set("x", 1); assert other.delete("x") == 1 and other.flushdb()
print("worked")
"#;

#[test]
fn ordinary_work_passes_untouched() {
    let Some(server) = Redis::start() else { return };
    if !has_driver() {
        return;
    }
    let home = Home::new(&server.policy(""));
    home.write("work/work.py", WORK);
    let ended = finish(&mut home.script(&["--unattended"], &format!("{PYTHON} work.py")));
    assert_eq!((ended.code, ended.out().as_str()), (0, "worked\n"), "{}", ended.err());
    assert_eq!(server.tells(&["STRLEN", "big"]), (40 << 20).to_string());
    // Mass insertion as Redis's own tool does it.
    let text = "for n in $(seq 2000); do printf '*3\\r\\n$3\\r\\nSET\\r\\n$5\\r\\nm%04d\\r\\n$1\\r\\nx\\r\\n' $n; done | redis-cli -h db.example --pipe";
    let out = home.run(text).ended(0).out();
    assert!(out.contains("errors: 0, replies: 2000"), "{out}");
}

#[test]
fn what_destroys_waits_and_passes_once() {
    let Some(server) = Redis::start() else { return };
    for who in Who::each() {
        let home = Home::of(who, &server.policy(""));
        for (command, action, place) in
            [("FLUSHALL", "redis.flushall", "databases"), ("FLUSHDB", "redis.flushdb", "production"), ("DEL doomed", "redis.del", "production")]
        {
            server.cli(&["SET", "doomed", "1"]).ended(0);
            let going = home.start(&format!("printf '{command}\\nPING\\n' | redis-cli -h db.example; echo end"));
            let cards = home.waiting(1);
            let id = cards[0]["id"].as_str().expect("an id").to_owned();
            let operation = &cards[0]["operations"][0];
            assert_eq!((operation["effect"].as_str(), operation["action"].as_str()), (Some("destroy"), Some(action)), "{cards:?}");
            assert_eq!(cards[0]["place"].as_str(), Some(place), "{cards:?}");
            let card = home.outside(&["show", &id]).ended(0).out();
            assert!(card.contains(command) && card.contains("redis://db.example:6379/0") && card.contains("redis-cli"), "{card}");
            assert_eq!(server.tells(&["EXISTS", "doomed"]), "1", "nothing is sent before the yes");
            home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
            going.says("end");
            assert!(going.out().contains("PONG"), "{}", going.out());
            assert_eq!(server.tells(&["EXISTS", "doomed"]), "0");
        }
        // One yes is worth one deed.
        server.cli(&["SET", "doomed", "1"]).ended(0);
        let going = home.start("redis-cli -h db.example FLUSHALL; echo end");
        let id = home.hold();
        home.outside(&["deny", &id, "--because", "not today"]).ended(0);
        going.says("end");
        assert!(going.out().contains("AGENTBOX refused: A person said no, because: not today"), "{}", going.out());
        assert_eq!(server.tells(&["EXISTS", "doomed"]), "1");
        home.outside(&["log", "--verify"]).ended(0);
    }
}

const REFUSED: &str = r#"
import redis
db = redis.Redis(host="db.example", single_connection_client=True)
db.set("a", 1)
pipe = db.pipeline(transaction=False)
pipe.set("b", 2).delete("a").get("b").flushdb().get("a")
print(pipe.execute(raise_on_error=False), flush=True)
# A transaction is asked about as a whole, and done or undone as a whole.
def transaction():
    with db.pipeline(transaction=True) as pipe:
        pipe.set("b", 3).delete("a").set("c", 4).delete("b")
        try:
            print(pipe.execute(), flush=True)
        except redis.RedisError as error:
            print("refused", error, flush=True)
transaction()
print(db.mget("a", "b", "c"), flush=True)
transaction()
print(db.mget("a", "b", "c"), flush=True)
try:
    db.eval("return redis.call('DEL', KEYS[1])", 1, "c")
except redis.RedisError as error:
    print("refused", error, flush=True)
print(db.get("c"), db.ping())
"#;

/// The one that waits once this other one is done with: what was approved is listed until it is fetched.
fn next(home: &Home, before: &str) -> String {
    let mut id = String::new();
    until(
        "another one waits",
        || {
            id = home.hold();
            id != before
        },
        || home.log(),
    );
    id
}

#[test]
fn a_no_leaves_the_session_usable_and_a_transaction_is_one_question() {
    let Some(server) = Redis::start() else { return };
    if !has_driver() {
        return;
    }
    let home = Home::new(&server.policy(""));
    home.write("work/refused.py", REFUSED);
    let going = home.start(&format!("{PYTHON} refused.py; $AGENTBOX why"));
    for _ in 0..2 {
        let id = home.hold();
        home.outside(&["deny", &id, "--because", "not today"]).ended(0);
    }
    let mut last = String::new();
    for answer in [&["deny", "--because", "nor this"][..], &["approve", "--confirm", "yes"]] {
        let id = next(&home, &last);
        let card = home.outside(&["show", &id]).ended(0).out();
        assert!(card.contains("DEL a") && card.contains("DEL b") && card.contains("EXEC of 2 commands"), "{card}");
        home.outside(&[&answer[..1], &[&id], &answer[1..]].concat()).ended(0);
        last = id;
    }
    let id = next(&home, &last);
    home.outside(&["deny", &id, "--because", "no script"]).ended(0);
    let ended = going.finish().ended(0);
    let out = ended.out();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("[True, ResponseError('AGENTBOX refused: A person said no, because: not today"), "{out}");
    assert!(lines[0].contains("b'2', ResponseError(") && lines[0].ends_with("b'1']"), "{out}");
    assert!(lines[1].starts_with("refused") && lines[1].contains("nor this"), "{out}");
    assert_eq!(lines[2], "[b'1', b'2', None]", "{out}");
    assert_eq!(lines[3], "[True, 1, True, 1]", "{out}");
    assert_eq!(lines[4], "[None, None, b'4']", "{out}");
    assert!(lines[5].contains("no script") && lines[6] == "b'4' True", "{out}");
    assert!(out.contains("redis://"), "why tells it: {out}");
}

/// Not as drivers speak, but as somebody who looks for a way around.
const TRICKS: &str = include_str!("../stand-ins/redis.py");

#[test]
fn tricks_of_the_protocol_destroy_nothing() {
    let Some(server) = Redis::start() else { return };
    for number in 0..10 {
        server.cli(&["SET", &format!("kept:{number}"), "1"]).ended(0);
    }
    let home = Home::new(&server.policy(""));
    home.write("work/tricks.py", TRICKS);
    let ended = finish(&mut home.script(&["--unattended"], "python3 tricks.py"));
    let out = ended.out();
    assert_eq!(server.tells(&["DBSIZE"]), "10", "{out}");
    assert!(!out.contains("hangs") && !out.contains("fails"), "{out} {}", ended.err());
    let ends: Vec<&str> = out.lines().filter(|line| line.ends_with("ended")).map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(ends, ["lax_ends", "lax_lengths", "negative", "after_monitor"], "{out}");
    assert_eq!(out.lines().count(), 18, "{out}");
    assert_eq!(ended.code, 77, "something was refused: {}", ended.err());
}

#[test]
fn a_foreign_password_is_asked_about_before_it_is_shown() {
    let Some(server) = Redis::start() else { return };
    let policy = server.policy("").replace("\"tls.example\"]\nread", "\"tls.example\"]\ncredentials = []\nread");
    let home = Home::new(&policy);
    home.write("work/secret", &format!("{PASSWORD}\n"));
    let going = home.start("read -r REDISCLI_AUTH < secret; export REDISCLI_AUTH; redis-cli -h db.example --user agent PING; echo end");
    let id = home.hold();
    let card = home.outside(&["show", &id]).ended(0).out();
    assert!(card.contains("Redis password of the user agent") && !card.contains(PASSWORD), "{card}");
    home.outside(&["deny", &id, "--because", "whose is it"]).ended(0);
    going.says("end");
    assert!(going.out().contains("PONG") || going.err().contains("whose is it"), "{} {}", going.out(), going.err());
    assert!(!home.log().contains(PASSWORD));
}
