//! Functions of a real PostgreSQL, called through a box: what they do is what their definitions say, and the server enforces that they only read.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use agentbox_tests::{Database, Going, Home, process::until, skip};

/// Made by somebody else than the agent.
const ROUTINES: &str = "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT g, 'n' || g FROM generate_series(1, 100) g; \
    GRANT ALL ON t TO agent; CREATE SCHEMA app; GRANT ALL ON SCHEMA app TO agent; CREATE TABLE app.notes (said text); GRANT ALL ON app.notes TO agent; \
    CREATE FUNCTION app.total() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.t'; \
    CREATE FUNCTION app.modern() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT app.total() + 1; END; \
    CREATE FUNCTION app.counted(wanted int) RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE n bigint; BEGIN \
      SELECT count(*) INTO n FROM public.t WHERE id <= wanted; IF n > 0 THEN RETURN n + app.total(); END IF; RETURN 0; END $$; \
    CREATE FUNCTION app.archive() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.t; RETURN 1; END $$; \
    CREATE FUNCTION app.indirect() RETURNS void LANGUAGE sql AS 'SELECT app.archive()'; \
    CREATE FUNCTION app.note(text) RETURNS void LANGUAGE sql AS 'INSERT INTO app.notes (said) VALUES ($1)'; \
    CREATE FUNCTION app.composed(text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'INSERT INTO app.' || $1; END $$; \
    CREATE PROCEDURE app.tell() LANGUAGE sql AS 'INSERT INTO app.notes (said) VALUES (''told'')'; \
    CREATE FUNCTION app.total(text) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.t'; \
    CREATE VIEW app.v AS SELECT app.archive(); GRANT SELECT ON app.v TO agent; \
    CREATE FUNCTION app.looks() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM (SELECT v.* FROM app.v) x WHERE x.archive IS NOT NULL'; \
    CREATE VIEW app.w AS SELECT set_config('transaction_read_only', 'off', false) s; GRANT SELECT ON app.w TO agent; \
    CREATE FUNCTION app.opens() RETURNS text LANGUAGE sql AS 'SELECT min(s) FROM app.w'; \
    CREATE EXTENSION cube";

fn ready() -> Option<Database> {
    let database = Database::start()?;
    database.owner("shop", ROUTINES).ended(0);
    Some(database)
}

/// A policy in which the database `shop` may be read, and all else waits.
fn reading(server: &Database) -> String {
    let whole = server.policy("");
    let open = "resources = [\"postgres:database/shop\"]\nread = \"allow\"\nwrite = \"allow\"";
    assert!(whole.contains(open), "{whole}");
    whole.replace(open, &open.replace("write = \"allow\"", "write = \"hold\""))
}

fn script(text: &str) -> String {
    format!("{}{text}", Database::client("shop"))
}

fn psql(statements: &str) -> String {
    script(&format!("psql -X -A -t 2>&1 <<'SQL'\n{statements}\nSQL\n"))
}

fn count(server: &Database) -> String {
    server.tells("shop", "SELECT count(*) FROM t")
}

#[test]
fn where_only_reading_is_granted_functions_that_read_run() {
    let Some(server) = ready() else { return };
    let home = Home::new(&reading(&server));
    // Outside a transaction and in one; the client sees its own transaction and no other.
    let text = "SELECT app.total();\nSELECT app.modern();\n  select app.counted(7), app.total('x') ;\nSELECT cube_dim('(1,2)'::cube);\n\\echo state :LAST_ERROR_SQLSTATE\n\
        BEGIN;\nSELECT app.counted(1);\nSAVEPOINT s;\nSELECT app.total();\nROLLBACK TO s;\nSELECT count(*) FROM t;\nCOMMIT;\nSELECT 1/0;\nSELECT app.total() + 1/(app.total() - 100);\nSELECT 'usable ' || app.total();";
    let out = home.run(&psql(text)).ended(0).out();
    let lines: Vec<&str> = out.lines().filter(|line| !line.is_empty()).collect();
    let wanted = [
        "100",
        "101",
        "107|100",
        "2",
        "state 00000",
        "BEGIN",
        "101",
        "SAVEPOINT",
        "100",
        "ROLLBACK",
        "100",
        "COMMIT",
        "ERROR:  division by zero",
        "ERROR:  division by zero",
        "usable 100",
    ];
    assert_eq!(lines, wanted, "{out}");
    let log = home.log();
    assert!(log.contains("SELECT app.counted(1)") && !log.contains("held"), "{log}");
}

#[test]
fn what_a_function_does_is_what_is_asked_about() {
    let Some(server) = ready() else { return };
    let home = Home::new(&reading(&server));
    for (statement, action, effect) in [
        ("SELECT app.archive()", "postgres.delete", "destroy"),
        ("SELECT app.indirect()", "postgres.delete", "destroy"),
        ("SELECT app.note('x')", "postgres.insert", "write"),
        ("SELECT app.composed('notes (said) VALUES (1)')", "postgres.call", "write"),
        ("CALL app.tell()", "postgres.insert", "write"),
        ("SELECT app.total(); SELECT app.note('y')", "postgres.insert", "write"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT app.total()", "postgres.call", "write"),
    ] {
        let going = home.start(&psql(&format!("{statement};\nSELECT 'after ' || count(*) FROM t;").replace("; SELECT app.note", "\\; SELECT app.note")));
        let id = home.hold();
        let cards = home.waiting(1);
        let told = cards[0]["operations"].as_array().expect("operations");
        let is_told = told.iter().any(|operation| operation["action"] == action && operation["effect"] == effect);
        assert!(is_told, "{statement}: {told:?}");
        home.outside(&["deny", &id, "--because", "not today"]).ended(0);
        going.says("after 100");
    }
    assert_eq!((count(&server).as_str(), server.tells("shop", "SELECT count(*) FROM app.notes").as_str()), ("100", "0"));
    // A yes is worth one call, as ever.
    let going = home.start(&psql("SELECT app.archive();\nSELECT 'after ' || count(*) FROM t;"));
    let id = home.hold();
    home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
    going.says("after 0");
}

#[test]
fn what_a_function_destroys_waits_where_writing_is_free() {
    let Some(server) = ready() else { return };
    let home = Home::new(&server.policy(""));
    let going = home.start(&psql("SELECT app.note('free');\nSELECT app.indirect();\nSELECT 'after ' || count(*) FROM t;"));
    let id = home.hold();
    let card = home.outside(&["show", &id]).ended(0).out();
    assert!(card.contains("postgres.delete") && card.contains("archive"), "{card}");
    home.outside(&["deny", &id, "--because", "not today"]).ended(0);
    going.says("after 100");
    assert_eq!(server.tells("shop", "SELECT said FROM app.notes"), "free");
}

#[test]
fn what_no_definition_shows_the_server_refuses() {
    let Some(server) = ready() else { return };
    let home = Home::new(&reading(&server));
    // A view hides a call, and another one lets go of the transaction's mode.
    let text = "SELECT app.looks();\nSELECT app.opens();\nSELECT app.opens(), app.looks();\nBEGIN;\nSELECT app.looks();\nROLLBACK;\nBEGIN;\nSELECT app.opens(), app.looks();\nROLLBACK;\n\
        SHOW transaction_read_only;\nSELECT 'after ' || app.total();";
    let out = home.run(&psql(text)).ended(0).out();
    assert_eq!(out.matches("cannot execute DELETE in a read-only transaction").count(), 2, "{out}");
    assert_eq!(out.matches("HINT:  The function reads, as far as its definition tells").count(), 2, "{out}");
    assert_eq!(out.matches("read-write mode").count(), 3, "{out}");
    assert!(out.ends_with("off\nafter 100\n"), "{out}");
    assert_eq!(count(&server), "100");
}

#[test]
fn a_function_that_changes_while_somebody_thinks_is_not_called() {
    let Some(server) = ready() else { return };
    let home = Home::new(&reading(&server));
    let going = home.start(&psql("SELECT app.note('x');\nSELECT 'after ' || count(*) FROM t;"));
    let id = home.hold();
    server.owner("shop", "CREATE OR REPLACE FUNCTION app.note(text) RETURNS void LANGUAGE sql AS 'DELETE FROM public.t'").ended(0);
    home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
    going.says("after 100");
    assert!(going.out().contains("has changed since it was asked about"), "{}", going.out());
}

const DRIVER: &str = r#"
import psycopg
db = psycopg.connect("")
for number in range(10):
    assert db.execute("SELECT app.counted(%s)", [number]).fetchone() == (number and number + 100,)
    assert db.info.transaction_status.name == "INTRANS"
db.rollback()
db.autocommit = True
for number in range(10):
    assert db.execute("SELECT app.counted(%s)", [number], prepare=True).fetchone() == (number and number + 100,)
    assert db.info.transaction_status.name == "IDLE"
try:
    db.execute("SELECT app.looks() + %s", [1])
except psycopg.Error as error:
    print(error.sqlstate, db.info.transaction_status.name)
with db.pipeline():
    cursors = [db.execute("SELECT app.counted(%s)", [number]) for number in range(1, 30)]
    plain = db.execute("SELECT count(*) FROM t")
assert [cursor.fetchone() for cursor in cursors] == [(number + 100,) for number in range(1, 30)] and plain.fetchone() == (100,)
print(db.execute("SELECT count(*) FROM t").fetchone())
"#;

/// By hand: a portal of which the rest is fetched when the read-only transaction has ended, and a simple query amid a batch.
const TRICKS: &str = r##"
exec(open("speaks.py").read().split("# Each gives the session")[0])
def states(heard):
    return [body.split(b"C", 1)[1][:5].decode() for kind, body in heard if kind == b"E"] + [body.decode() for kind, body in heard if kind == b"Z"]
def E1(portal):
    return b"E", portal.encode() + b"\0" + struct.pack(">I", 1)
db = Session()
db.send(P("q", "SELECT app.total() FROM generate_series(1, 3)"), B("rest", "q"), E1("rest"), S)
print(states(db.until(b"Z")))
db.send(E1("rest"), S)
print(states(db.until(b"Z")))
db.send(Q("BEGIN"))
print(states(db.until(b"Z")))
db.send(B("rest", "q"), E1("rest"), S)
print(states(db.until(b"Z")))
db.send(E1("rest"), S)
print(states(db.until(b"Z")))
db.send(Q("ROLLBACK"))
print(states(db.until(b"Z")))
db.send(P("", "SELECT 41 + 1"), S)
db.until(b"Z")
db.send(B("x", "q"), E("x"), S)
db.until(b"Z")
db.send(B("", ""), E(""), S)
heard = db.until(b"Z")
print(b"42" in b"".join(body for kind, body in heard if kind == b"D"), states(heard))
"##;

#[test]
fn drivers_see_their_own_transactions_alone() {
    let Some(server) = ready() else { return };
    let home = Home::new(&reading(&server));
    home.write("work/speaks.py", include_str!("../stand-ins/postgres.py"));
    home.write("work/tricks.py", TRICKS);
    server.owner("shop", "GRANT USAGE ON SCHEMA app TO tricky; GRANT SELECT ON t TO tricky").ended(0);
    let out = home.run(&script("/usr/bin/python3 tricks.py")).ended(0).out();
    assert_eq!(out, "['I']\n['34000', 'I']\n['T']\n['T']\n['34000', 'E']\n['I']\nTrue ['I']\n");
    let drivers = std::process::Command::new("/usr/bin/python3").args(["-c", "import psycopg"]).stderr(std::process::Stdio::null()).status();
    if !drivers.is_ok_and(|status| status.success()) {
        return skip::skip("not installed: python3-psycopg");
    }
    home.write("work/driver.py", DRIVER);
    let going: Going = home.start(&script("/usr/bin/python3 driver.py 2>&1; echo end"));
    going.says("end");
    assert_eq!(going.out(), "25006 IDLE\n(100,)\nend\n");
    until(
        "no session is left in a transaction",
        || server.tells("shop", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'agent' AND state LIKE 'idle in%'") == "0",
        || going.err(),
    );
}
