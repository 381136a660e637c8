//! Real PostgreSQL clients in a box, against a real server: ordinary work passes untouched, what destroys waits, and the session stays usable.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use agentbox_tests::{
    Database, Going, Home, Who,
    home::processes,
    process::{finish, status},
    skip,
};

/// What the broker may hold at most, in KiB, whatever passes through it.
const MOST_MEMORY: u64 = 64 << 10;

/// Python as Debian brings it, with its drivers.
const PYTHON: &str = "/usr/bin/python3";

/// Tables to work with.
const TABLES: &str = "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT g, 'n' || g FROM generate_series(1, 100) g; GRANT ALL ON t TO agent; ALTER TABLE t OWNER TO agent";

fn ready() -> Option<Database> {
    let database = Database::start()?;
    database.owner("shop", TABLES).ended(0);
    Some(database)
}

fn has_drivers() -> bool {
    let there = std::process::Command::new(PYTHON)
        .args(["-c", "import psycopg, asyncpg"])
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !there {
        skip::skip("not installed: python3-psycopg, python3-asyncpg");
    }
    there
}

/// A script with the client's environment, in the box.
fn script(database: &str, text: &str) -> String {
    format!("{}{text}", Database::client(database))
}

fn start(home: &Home, database: &str, text: &str) -> Going {
    home.start(&script(database, text))
}

#[test]
fn psql_works_as_outside_in_the_clear_and_over_tls() {
    let Some(server) = ready() else { return };
    for who in Who::each() {
        let home = Home::of(who, &server.policy(""));
        let modes: &[&str] = if who == Who::Me { &["disable", "prefer", "require", "verify-full"] } else { &["prefer"] };
        for mode in modes {
            let text = format!(
                "PGSSLMODE={mode} psql -X -A -t -v ON_ERROR_STOP=1 -c 'SELECT count(*) FROM t' -c \"UPDATE t SET name = 'x' WHERE id = 1\" -c '\\d t' -c '\\conninfo'"
            );
            let out = home.run(&script("shop", &text)).ended(0).out();
            assert!(out.starts_with("100\nUPDATE 1\n") && out.contains("id|integer"), "{out}");
            assert_eq!(out.contains("SSL connection"), *mode != "disable", "{mode}: {out}");
        }
        // Errors of the server are the server's.
        let ended = home.run(&script("shop", "psql -X -v ON_ERROR_STOP=1 -c 'SELECT nothing FROM nowhere'")).ended(1);
        assert!(ended.err().contains("relation \"nowhere\" does not exist"), "{}", ended.err());
        let ended = home.run(&script("shop", "PGPASSWORD=wrong psql -X -c 'SELECT 1'")).ended(2);
        assert!(ended.err().contains("password authentication failed"), "{}", ended.err());
    }
}

#[test]
fn what_the_server_has_not_the_box_does_not_pretend() {
    let Some(server) = ready() else { return };
    server.owner("postgres", "ALTER SYSTEM SET ssl = off").ended(0);
    server.owner("postgres", "SELECT pg_reload_conf()").ended(0);
    let home = Home::new(&server.policy(""));
    let out = home.run(&script("shop", "PGSSLMODE=prefer psql -X -A -t -c 'SELECT 1' -c '\\conninfo'")).ended(0).out();
    assert!(out.starts_with("1\n") && !out.contains("SSL connection"), "{out}");
    let ended = home.run(&script("shop", "PGSSLMODE=require psql -X -c 'SELECT 1'")).ended(2);
    assert!(ended.err().contains("server does not support SSL"), "{}", ended.err());
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let Some(server) = ready() else { return };
    let policy: String = server.policy("").lines().filter(|line| !line.starts_with("roots")).map(|line| format!("{line}\n")).collect();
    let home = Home::new(&policy);
    let ended = home.run(&script("shop", "PGSSLMODE=require psql -X -c 'SELECT 1'")).ended(2);
    assert!(ended.err().contains("roots"), "{}", ended.err());
    // Binding the password to the server's certificate cannot work, and says so.
    let home = Home::new(&server.policy(""));
    let ended = home.run(&script("shop", "psql -X -c 'SELECT 1' 'sslmode=require channel_binding=require'")).ended(2);
    assert!(ended.err().contains("channel binding"), "{}", ended.err());
    let ended = home.run(&script("shop", "psql -X -c 'SELECT 1' 'sslmode=require channel_binding=prefer'")).ended(2);
    assert!(ended.err().contains("channel_binding=disable"), "{}", ended.err());
}

#[test]
fn pgbench_completes_in_all_its_modes() {
    let Some(server) = Database::start() else { return };
    let home = Home::new(&server.policy(""));
    // Its own start drops and empties tables that are not there yet.
    finish(&mut server.outside("pgbench", "shop", &["-i", "-q", "-I", "tgp"])).ended(0);
    for mode in ["simple", "extended", "prepared"] {
        let text = format!("pgbench -n -M {mode} -c 4 -t 25 2>&1");
        let out = home.run(&script("shop", &text)).ended(0).out();
        assert!(out.contains("100/100") && !out.contains("ERROR"), "{mode}: {out}");
    }
    let total = server.tells("shop", "SELECT count(*) FROM pgbench_history");
    assert_eq!(total, "300");
    assert_eq!(server.tells("shop", "SELECT (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history)"), "t");
}

/// Newer ones begin and end with a random word for psql.
fn without_nonce(dump: &str) -> String {
    dump.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_dump_is_the_same_and_goes_back_in() {
    let Some(server) = ready() else { return };
    let things = "SELECT lo_from_bytea(4711, decode(repeat('ab', 9000), 'hex')); ALTER LARGE OBJECT 4711 OWNER TO agent; CREATE SCHEMA app AUTHORIZATION agent; \
        CREATE TABLE app.wide AS SELECT g id, repeat('x', 5000) body, null::int nothing FROM generate_series(1, 500) g; ALTER TABLE app.wide OWNER TO agent; \
        CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE VIEW app.v AS SELECT * FROM t; ALTER VIEW app.v OWNER TO agent";
    server.owner("shop", things).ended(0);
    let outside = without_nonce(&finish(&mut server.outside("pg_dump", "shop", &[])).ended(0).out());
    let home = Home::new(&server.policy(""));
    let inside = without_nonce(&home.run(&script("shop", "pg_dump")).ended(0).out());
    assert!(inside.len() > 2_500_000, "{} bytes", inside.len());
    assert!(inside == outside, "the dump differs");
    // Into another database, rows by COPY and all, and out of it again.
    let ended = home.run(&script("shop", "pg_dump -O -x | psql -X -q -v ON_ERROR_STOP=1 -d other"));
    ended.ended(0);
    assert_eq!(server.tells("other", "SELECT count(*) || ' ' || sum(length(body)) FROM app.wide"), "500 2500000");
    assert_eq!(server.tells("other", "SELECT length(lo_get(4711))"), "9000");
}

#[test]
fn rows_stream_both_ways_in_little_memory() {
    let Some(server) = ready() else { return };
    server.owner("shop", "CREATE UNLOGGED TABLE bulk (body text); ALTER TABLE bulk OWNER TO agent").ended(0);
    let home = Home::new(&server.policy(""));
    let text = "psql -X -q -c \"COPY (SELECT repeat('x', 100000) FROM generate_series(1, 1000)) TO STDOUT\" | psql -X -q -c '\\copy bulk FROM STDIN'; \
        psql -X -A -t -c \"SELECT repeat('y', 50000000)\" | wc -c; echo transferred; sleep 60";
    let going = start(&home, "shop", text);
    let broker = processes(going.pid()).broker;
    going.says("transferred");
    let peak = status(broker, "VmHWM").expect("the broker is there");
    let peak: u64 = peak.trim_end_matches("kB").trim().parse().expect("a number of KiB");
    assert!(peak < MOST_MEMORY, "the broker held {peak} KiB");
    assert!(going.out().contains("50000001"), "{}", going.out());
    drop(going);
    assert_eq!(server.tells("shop", "SELECT count(*) || ' ' || sum(length(body)) FROM bulk"), "1000 100000000");
}

#[test]
fn what_destroys_waits_and_passes_once() {
    let Some(server) = ready() else { return };
    for who in Who::each() {
        let home = Home::of(who, &server.policy(""));
        server.owner("shop", "CREATE TABLE IF NOT EXISTS doomed (id int); ALTER TABLE doomed OWNER TO agent").ended(0);
        let going = start(&home, "shop", "psql -X -A -t -c 'DROP TABLE doomed' -c 'SELECT count(*) FROM t'; echo end");
        let cards = home.waiting(1);
        let id = cards[0]["id"].as_str().expect("an id").to_owned();
        let operation = &cards[0]["operations"][0];
        assert_eq!(
            (cards[0]["place"].as_str(), operation["effect"].as_str(), operation["action"].as_str()),
            (Some("production"), Some("destroy"), Some("postgres.drop")),
            "{cards:?}"
        );
        let card = home.outside(&["show", &id]).ended(0).out();
        assert!(card.contains("DROP TABLE doomed") && card.contains("postgres://agent@db.example:5432/shop") && card.contains("psql"), "{card}");
        assert_eq!(server.tells("shop", "SELECT to_regclass('doomed') IS NOT NULL"), "t", "nothing is sent before the yes");
        home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
        going.says("end");
        assert_eq!(going.out(), "DROP TABLE\n100\nend\n");
        drop(going);
        assert_eq!(server.tells("shop", "SELECT to_regclass('doomed') IS NULL"), "t");
        assert!(home.log().contains("postgres.drop"), "{}", home.log());
        home.outside(&["log", "--verify"]).ended(0);
    }
}

#[test]
fn a_no_leaves_the_session_usable() {
    let Some(server) = ready() else { return };
    let home = Home::new(&server.policy(""));
    let text = "psql -X -A -t 2>&1 <<'SQL'\n\\set VERBOSITY verbose\n\
        DELETE FROM t;\nSELECT 'after ' || count(*) FROM t;\n\
        BEGIN;\nUPDATE t SET name = 'y' WHERE id = 2;\nTRUNCATE t;\nSELECT 'not reached';\nROLLBACK;\nSELECT 'name ' || name FROM t WHERE id = 2;\n\
        WITH d AS (DELETE FROM t RETURNING *) SELECT count(*) FROM d;\n\
        DO $$ BEGIN DELETE FROM t; END $$;\n\
        PREPARE p AS DELETE FROM t;\nEXECUTE p;\n\
        SELECT 'last ' || count(*) FROM t;\nSQL\n$AGENTBOX why";
    let mut finished = start(&home, "shop", text);
    for _ in 0..5 {
        let id = home.hold();
        home.outside(&["deny", &id, "--because", "not today"]).ended(0);
    }
    let ended = std::mem::replace(&mut finished, Going::start(&mut std::process::Command::new("true"))).finish().ended(0);
    let out = ended.out();
    for wanted in ["after 100", "name n2", "last 100", "42501", "not today", "current transaction is aborted", "HINT:  ", "agentbox why", "PREPARE"] {
        assert!(out.contains(wanted), "{wanted}: {out}");
    }
    assert!(!out.contains("not reached") && out.matches("42501").count() == 5, "{out}");
    assert_eq!(server.tells("shop", "SELECT count(*) FROM t"), "100");
}

const PREPARED: &str = r#"
import os, psycopg
db = psycopg.connect("", autocommit=True)
assert db.execute("SELECT %s::int + 1", [41]).fetchone() == (42,)
for number in range(10):
    db.execute("UPDATE t SET name = %s WHERE id = %s", ["ü\\" + str(number), number], prepare=True)
with db.pipeline():
    cursors = [db.execute("SELECT id FROM t WHERE id = %s", [number]) for number in range(1, 60)]
assert [cursor.fetchone() for cursor in cursors] == [(number,) for number in range(1, 60)]
# The statement is prepared freely, and judged when it is executed.
try:
    db.execute("DELETE FROM t WHERE true", prepare=True)
    print("deleted")
except psycopg.Error as error:
    print(error.sqlstate, error.diag.message_primary)
    assert "agentbox why" in error.diag.message_hint
print(db.execute("SELECT count(*) FROM t").fetchone())
# In a pipeline all behind the refused one is skipped, and the next transaction works.
try:
    with db.pipeline():
        db.execute("INSERT INTO t VALUES (1000, 'a')")
        db.execute("TRUNCATE t")
        db.execute("INSERT INTO t VALUES (1001, 'b')")
except psycopg.Error as error:
    print(error.sqlstate)
print(db.execute("SELECT count(*) FROM t").fetchone())
with db.transaction():
    try:
        with db.transaction():
            db.execute("DROP TABLE t")
    except psycopg.Error as error:
        print(error.sqlstate)
    print(db.execute("SELECT count(*) FROM t").fetchone())
with db.cursor().copy("COPY t FROM STDIN") as copy:
    for number in range(2000, 22000):
        copy.write_row((number, "row \\ of a ü"))
print(db.execute("SELECT count(*) FROM t").fetchone())
try:
    db.execute("COPY t FROM PROGRAM 'echo 1'")
except psycopg.Error as error:
    print(error.sqlstate)
"#;

#[test]
fn pipelines_and_prepared_statements() {
    let Some(server) = ready() else { return };
    if !has_drivers() {
        return;
    }
    let home = Home::new(&server.policy(""));
    home.write("work/prepared.py", PREPARED);
    let going = start(&home, "shop", &format!("{PYTHON} prepared.py"));
    for _ in 0..4 {
        let id = home.hold();
        home.outside(&["deny", &id, "--because", "no"]).ended(0);
    }
    let ended = going.finish();
    assert_eq!(ended.code, 0, "{} {}", ended.out(), ended.err());
    let out = ended.out();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("42501 agentbox: refused"), "{out}");
    assert_eq!(lines[1..], ["(100,)", "42501", "(100,)", "42501", "(100,)", "(20100,)", "42501"], "{out}");
    assert_eq!(server.tells("shop", "SELECT count(*) FROM t"), "20100");
}

const ASYNCPG: &str = r#"
import asyncio, asyncpg, os
async def main():
    db = await asyncpg.connect(host=os.environ["PGHOST"], user=os.environ["PGUSER"], password=os.environ["PGPASSWORD"], database="shop", ssl="prefer")
    statement = await db.prepare("DELETE FROM t WHERE id >= $1")
    assert await db.fetchval("SELECT count(*) FROM t") == 100
    await db.executemany("INSERT INTO t VALUES ($1, $2)", [(number, "x" * 200) for number in range(200, 1200)])
    print(await db.fetchval("SELECT count(*) FROM t"))
    big = "b" * 3_000_000
    await db.execute("UPDATE t SET name = $1 WHERE id = 200", big)
    assert await db.fetchval("SELECT length(name) FROM t WHERE id = 200") == 3_000_000
    print("asks", flush=True)
    await statement.fetch(200)
    print(await db.fetchval("SELECT count(*) FROM t"))
    await db.close()
asyncio.run(main())
"#;

#[test]
fn a_statement_that_was_prepared_long_ago_is_judged_when_it_runs() {
    let Some(server) = ready() else { return };
    if !has_drivers() {
        return;
    }
    let home = Home::new(&server.policy(""));
    home.write("work/later.py", ASYNCPG);
    let going = start(&home, "shop", &format!("{PYTHON} later.py"));
    going.says("asks");
    let id = home.hold();
    let card = home.outside(&["show", &id]).ended(0).out();
    assert!(card.contains("DELETE FROM t WHERE id >= $1") && card.contains("$1 = "), "{card}");
    assert_eq!(server.tells("shop", "SELECT count(*) FROM t"), "1100");
    home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
    let ended = going.finish();
    assert_eq!(ended.out(), "1100\nasks\n100\n", "{}", ended.err());
}

const WAITS: &str = r#"
import psycopg
db, other = psycopg.connect("sslmode=disable"), psycopg.connect("", autocommit=True)
db.execute("SAVEPOINT s")
db.execute("INSERT INTO u VALUES (%s)", [2])
db.execute("SAVEPOINT s2")
try:
    db.execute("DELETE FROM u WHERE id <> %s", [7], prepare=True)
except psycopg.Error as error:
    print(error.sqlstate, db.info.transaction_status.name)
print(other.execute("SELECT count(*) FROM pg_locks WHERE relation = 'u'::regclass").fetchone()[0], "locks")
db.rollback()
print(db.execute("SELECT count(*) FROM u").fetchone())
"#;

#[test]
fn a_statement_of_a_transaction_waits_a_while_and_frees_its_locks() {
    let Some(server) = ready() else { return };
    let patience = "[approval]\nhold-in-transaction = \"4s\"\n";
    let home = Home::new(&server.policy(patience));
    let text = "psql -X -A -t 2>&1 <<'SQL'\nBEGIN;\nUPDATE t SET name = 'locked' WHERE id = 3;\nSAVEPOINT s;\nDELETE FROM t;\nINSERT INTO t VALUES (5000, 'stray');\nROLLBACK TO s;\nCOMMIT;\n\
        SELECT 'name ' || name FROM t WHERE id = 3;\nDELETE FROM t;\nSELECT 'left ' || count(*) FROM t;\nSQL\n";
    let going = start(&home, "shop", text);
    server.owner("shop", "CREATE TABLE u (id int); INSERT INTO u VALUES (1); ALTER TABLE u OWNER TO agent").ended(0);
    // The same by a driver that prepares what it sends.
    let other = Home::new(&server.policy(patience));
    other.write("work/waits.py", WAITS);
    let driver = has_drivers().then(|| start(&other, "shop", &format!("{PYTHON} waits.py")));
    let id = home.hold();
    let card = home.outside(&["show", &id]).ended(0).out();
    let words: Vec<&str> = card.split_whitespace().filter(|word| *word != "|").collect();
    assert!(words.join(" ").contains("rolled back after 4 seconds"), "{card}");
    assert!(words.join(" ").contains("locks on public.t (RowExclusiveLock) keep others waiting"), "{card}");
    assert_eq!(
        server.tells("shop", "SELECT count(*) > 0 FROM pg_locks WHERE relation = 't'::regclass AND mode = 'RowExclusiveLock'"),
        "t",
        "the transaction is open"
    );
    going.says("rolled back");
    going.says("name n3");
    // Nobody has said yes: the hold is the same one, and one yes is worth one deletion.
    let cards = home.waiting(1);
    assert_eq!(cards[0]["id"].as_str(), Some(id.as_str()));
    assert_eq!(server.tells("shop", "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass"), "0");
    home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
    let out = going.finish().ended(0).out();
    assert!(out.contains("left 0") && out.contains("DELETE 100") && out.contains("current transaction is aborted"), "{out}");
    assert!(!out.contains("INSERT 0 1"), "nothing of a transaction that failed is done: {out}");
    if let Some(driver) = driver {
        let ended = driver.finish();
        assert_eq!(ended.out(), "42501 INERROR\n0 locks\n(1,)\n", "{}", ended.err());
    }
}

#[test]
fn cancelling_reaches_the_own_session() {
    let Some(server) = ready() else { return };
    let home = Home::new(&server.policy(""));
    let text = "timeout -s INT 1 psql -X -c 'SELECT pg_sleep(50)' 2>&1; echo end";
    let out = home.run(&script("shop", text)).ended(0).out();
    assert!(out.contains("canceling statement due to user request"), "{out}");
}

#[test]
fn replication_and_foreign_credentials() {
    let Some(server) = ready() else { return };
    let home = Home::new(&server.policy(""));
    let ended = home.run(&script("shop", "psql -X -c 'IDENTIFY_SYSTEM' 'replication=database'")).ended(2);
    assert!(ended.err().contains("replication is not spoken"), "{}", ended.err());
    // A place that lists its credentials: any other is shown to nobody before a person says so.
    let policy = server.policy("").replace("[\"postgres:database/shop\"]\n", "[\"postgres:database/shop\"]\ncredentials = []\n");
    let home = Home::new(&policy);
    let going = start(&home, "shop", "psql -X -c 'SELECT 1' 2>&1; echo end");
    let id = home.hold();
    let card = home.outside(&["show", &id]).ended(0).out();
    assert!(card.contains("PostgreSQL password of the user agent"), "{card}");
    home.outside(&["deny", &id, "--because", "whose is it"]).ended(0);
    going.says("end");
    assert!(going.out().contains("whose is it"), "{}", going.out());
}

/// Not as drivers speak, but as somebody who looks for a way around.
const TRICKS: &str = include_str!("../stand-ins/postgres.py");

#[test]
fn tricks_of_the_protocol_destroy_nothing() {
    let Some(server) = ready() else { return };
    server.owner("shop", "SELECT lo_create(4712)").ended(0);
    let home = Home::new(&server.policy(""));
    home.write("work/tricks.py", TRICKS);
    let ended = finish(&mut home.script(&["--unattended"], &format!("{PYTHON} tricks.py")));
    let out = ended.out();
    assert_eq!(server.tells("shop", "SELECT count(*) FROM t"), "100", "{out}");
    assert_eq!(server.tells("shop", "SELECT count(*) FROM pg_largeobject_metadata WHERE oid = 4712"), "1", "{out}");
    assert!(!out.contains("hangs") && out.lines().count() == 18, "{out} {}", ended.err());
    // What is no message ends the connection; after a refusal it goes on.
    let ends: Vec<&str> = out.lines().filter(|line| line.ends_with("ended")).map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(ends, ["long_names", "within_a_copy", "two_texts", "other_letters"], "{out}");
    assert!(!out.contains("fails on"), "{out}");
    assert_eq!(ended.code, 77, "something was refused: {}", ended.err());
}
