//! Real MariaDB clients in a box, against a real server: ordinary work passes untouched, what destroys waits, and the session stays usable.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use agentbox_tests::{Going, Home, MariaDb, Who, process::finish, skip};

/// Python as Debian brings it, with its driver.
const PYTHON: &str = "/usr/bin/python3";

/// Tables to work with.
const TABLES: &str = "USE shop; CREATE TABLE t (id INT PRIMARY KEY, name TEXT); INSERT INTO t SELECT seq, CONCAT('n', seq) FROM seq_1_to_100; \
    CREATE TABLE wide (id INT PRIMARY KEY AUTO_INCREMENT, body LONGBLOB, nothing INT); INSERT INTO wide (body) SELECT REPEAT(CHAR(seq), 5000) FROM seq_1_to_300; \
    CREATE VIEW v AS SELECT * FROM t";

fn ready() -> Option<MariaDb> {
    let server = MariaDb::start()?;
    server.owner(TABLES).ended(0);
    Some(server)
}

fn has_driver() -> bool {
    let there =
        std::process::Command::new(PYTHON).args(["-c", "import pymysql"]).stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success());
    if !there {
        skip::skip("not installed: python3-pymysql");
    }
    there
}

/// A script with the client's environment, in the box.
fn script(database: &str, text: &str) -> String {
    format!("{}{text}", MariaDb::client(database))
}

fn start(home: &Home, text: &str) -> Going {
    home.start(&script("shop", text))
}

#[test]
fn the_client_works_as_outside_in_the_clear_and_over_tls() {
    let Some(server) = ready() else { return };
    for who in Who::each() {
        let home = Home::of(who, &server.policy(""));
        for (mode, is_tls) in [("--skip-ssl", false), ("--ssl", true), ("--ssl --ssl-verify-server-cert --ssl-ca=$SSL_CERT_FILE", true)] {
            let text = format!(
                "$M {mode} -e \"SHOW STATUS LIKE 'Ssl_cipher'; SELECT COUNT(*) FROM t; UPDATE t SET name = 'x' WHERE id = 1; SELECT ROW_COUNT(); \
                 SELECT name FROM t WHERE id = 1; /*!50000 SELECT 'version' */; SELECT DATABASE(); USE other; SELECT DATABASE()\"; $M {mode} -u modern -e 'SELECT CURRENT_USER()'"
            );
            let out = home.run(&script("shop", &text)).ended(0).out();
            assert!(out.contains("\n100\n") && out.contains("\nx\nversion\nshop\nother\nmodern@%\n"), "{mode}: {out}");
            assert_eq!(out.contains("TLS_"), is_tls, "{mode}: {out}");
        }
        // Errors of the server are the server's.
        let ended = home.run(&script("shop", "$M -e 'SELECT nothing FROM nowhere'")).ended(1);
        assert!(ended.err().contains("ERROR 1146 (42S02)"), "{}", ended.err());
        let ended = home.run(&script("shop", "MYSQL_PWD=wrong $M -e 'SELECT 1'")).ended(1);
        assert!(ended.err().contains("ERROR 1045 (28000)"), "{}", ended.err());
        home.outside(&["log", "--verify"]).ended(0);
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let Some(server) = ready() else { return };
    let policy: String = server.policy("").lines().filter(|line| !line.starts_with("roots")).map(|line| format!("{line}\n")).collect();
    let home = Home::new(&policy);
    let ended = home.run(&script("shop", "$M --ssl -e 'SELECT 1'")).ended(1);
    assert!(ended.err().contains("roots"), "{}", ended.err());
}

const WORK: &str = r#"
import os, pymysql
def connect(**more):
    return pymysql.connect(host="db.example", user="agent", password=os.environ["MYSQL_PWD"], database="shop", autocommit=True, **more)
db = connect(local_infile=True, client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS)
cursor = db.cursor()
for number in range(300):
    cursor.execute("SELECT name FROM t WHERE id = %s", [number % 100 + 1])
    assert len(cursor.fetchall()) == 1
    cursor.execute("UPDATE t SET name = %s WHERE id = %s", ["ü\\'\"" + str(number), number % 100 + 1])
    cursor.execute("INSERT INTO t VALUES (%s, 'a')", [1000 + number])
cursor.execute("SELECT name FROM t WHERE id = 100")
assert cursor.fetchone() == ("ü\\'\"299",)
cursor.execute("SELECT 1; SELECT 2, 3; UPDATE t SET name = 'z' WHERE id = 5; SELECT name FROM t WHERE id = 5")
got = [cursor.fetchall()]
while cursor.nextset():
    got.append(cursor.fetchall())
assert got == [((1,),), ((2, 3),), (), (("z",),)], got
text = "b" * 12_000_000
cursor.execute("INSERT INTO wide (id, body) VALUES (9000, %s)", [text])
cursor.execute("SELECT body FROM wide WHERE id = 9000")
assert cursor.fetchone()[0] == text.encode()
cursor.execute("SELECT REPEAT('y', 40000000)")
assert len(cursor.fetchone()[0]) == 40_000_000
with open("rows.csv", "w") as rows:
    rows.writelines(f"{number},row {number}\n" for number in range(5000, 25000))
cursor.execute("LOAD DATA LOCAL INFILE 'rows.csv' INTO TABLE t FIELDS TERMINATED BY ','")
cursor.execute("SELECT COUNT(*) FROM t WHERE id >= 5000")
assert cursor.fetchone() == (20000,)
streamed = connect(cursorclass=pymysql.cursors.SSCursor).cursor()
streamed.execute("SELECT body FROM wide ORDER BY id")
assert sum(len(row[0]) for row in streamed) > 13_000_000
db.begin()
cursor.execute("UPDATE t SET name = 'gone' WHERE id = 2")
db.rollback()
cursor.execute("SELECT name FROM t WHERE id = 2"); assert cursor.fetchone()[0] != "gone"
db.select_db("other"); cursor.execute("SELECT DATABASE()"); assert cursor.fetchone() == ("other",)
db.ping(reconnect=False)
print("worked")
"#;

#[test]
fn ordinary_work_passes_untouched() {
    let Some(server) = ready() else { return };
    if !has_driver() {
        return;
    }
    let home = Home::new(&server.policy(""));
    home.write("work/work.py", WORK);
    let ended = finish(&mut home.script(&["--unattended"], &script("shop", &format!("{PYTHON} work.py"))));
    assert_eq!((ended.code, ended.out().as_str()), (0, "worked\n"), "{}", ended.err());
}

/// The last line says when it was made.
fn undated(dump: &str) -> String {
    dump.lines().filter(|line| !line.starts_with("-- Dump completed") && !line.starts_with("-- Host:")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_dump_is_the_same_and_goes_back_in() {
    let Some(server) = ready() else { return };
    let outside = undated(&finish(&mut server.outside("mariadb-dump", &["--single-transaction", "--hex-blob", "shop"])).ended(0).out());
    let home = Home::new(&server.policy(""));
    let dump = "mariadb-dump --no-defaults -h db.example -u agent --single-transaction --hex-blob shop";
    let inside = undated(&home.run(&script("shop", dump)).ended(0).out());
    assert!(inside.len() > 2_500_000, "{} bytes", inside.len());
    assert!(inside == outside, "the dump differs");
    // Into the other database, where tables may be dropped.
    home.run(&script("other", &format!("{dump} | $M"))).ended(0);
    let sum = |database: &str| server.tells(&format!("SELECT COUNT(*), SUM(LENGTH(body)), MD5(GROUP_CONCAT(MD5(body))) FROM {database}.wide"));
    assert!(sum("other").starts_with("300\t") && sum("other") == sum("shop"), "{}", sum("other"));
}

#[test]
fn what_destroys_waits_and_passes_once() {
    let Some(server) = ready() else { return };
    for (who, text, action, left) in [
        (Who::Me, "DROP TABLE gone", "mysql.drop", "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'gone'"),
        (Who::Me, "TRUNCATE gone", "mysql.truncate", "SELECT COUNT(*) FROM shop.gone"),
        (Who::each()[Who::each().len() - 1], "DELETE FROM gone", "mysql.delete", "SELECT COUNT(*) FROM shop.gone"),
        (Who::Me, "/*!50000 DROP DATABASE doomed */", "mysql.drop", "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'doomed'"),
    ] {
        server.owner("CREATE DATABASE IF NOT EXISTS doomed; CREATE TABLE IF NOT EXISTS shop.gone (id INT); INSERT INTO shop.gone VALUES (1)").ended(0);
        let home = Home::of(who, &server.policy(""));
        let going = start(&home, &format!("$M -e '{text}; SELECT COUNT(*) FROM t'; echo end"));
        let cards = home.waiting(1);
        let id = cards[0]["id"].as_str().expect("an id").to_owned();
        let operation = &cards[0]["operations"][0];
        assert_eq!((operation["effect"].as_str(), operation["action"].as_str()), (Some("destroy"), Some(action)), "{cards:?}");
        let card = home.outside(&["show", &id]).ended(0).out();
        assert!(card.contains("mysql://agent@db.example:3306/shop") && card.contains("mariadb"), "{card}");
        assert_ne!(server.tells(left), "0", "nothing is sent before the yes");
        home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
        going.says("end");
        assert_eq!(going.out(), "100\nend\n", "{}", going.err());
        assert_eq!(server.tells(left), "0");
        assert!(home.log().contains(action), "{}", home.log());
        home.outside(&["log", "--verify"]).ended(0);
    }
}

/// Functions that were there before the agent came; what one runs is told by its body alone.
const FUNCTIONS: &[&str] = &[
    "FUNCTION shop.tidy() RETURNS INT MODIFIES SQL DATA BEGIN DELETE FROM kept; RETURN 1; END",
    "FUNCTION shop.outer_one() RETURNS INT MODIFIES SQL DATA RETURN tidy() + 1",
    "FUNCTION shop.how_many() RETURNS INT READS SQL DATA BEGIN DECLARE n INT; SELECT COUNT(*) INTO n FROM kept; RETURN n; END",
];

#[test]
fn a_function_is_judged_by_its_body() {
    let Some(server) = ready() else { return };
    server.owner("CREATE TABLE shop.kept (id INT); INSERT INTO shop.kept VALUES (1), (2)").ended(0);
    for function in FUNCTIONS {
        server.owner(&format!("DELIMITER //\nCREATE DEFINER = 'agent'@'%' {function}//")).ended(0);
    }
    let home = Home::new(&server.policy(""));
    for call in ["SELECT tidy()", "SELECT outer_one()", "SELECT shop.tidy() FROM t LIMIT 1"] {
        let going = start(&home, &format!("$M -e '{call}'; $M -e 'SELECT how_many()'; echo end"));
        let id = home.hold();
        let card = home.outside(&["show", &id]).ended(0).out();
        assert!(card.contains("in the function tidy"), "{call}: {card}");
        assert_eq!(server.tells("SELECT COUNT(*) FROM shop.kept"), "2", "{call}: nothing is sent before the yes");
        home.outside(&["deny", &id]).ended(0);
        going.says("end");
        assert_eq!(going.out(), "2\nend\n", "{call}: {}", going.err());
    }
    // An answer of the server's own stands between the client's: the session stays in step, and the yes does it.
    let going = start(&home, "$M -e 'SELECT how_many(); SELECT tidy(); SELECT how_many(); SELECT 7'; echo end");
    let id = home.hold();
    home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
    going.says("end");
    assert_eq!(going.out(), "2\n1\n0\n7\nend\n", "{}", going.err());
}

const REFUSED: &str = r#"
import os, pymysql
db = pymysql.connect(host="db.example", user="agent", password=os.environ["MYSQL_PWD"], database="shop", autocommit=True)
cursor = db.cursor()
for text in ["DELETE FROM t", "SELECT 1 /*!50000 INTO @x */; TRUNCATE t", "DROP TABLE t"]:
    try:
        cursor.execute(text)
        print("done", text)
    except pymysql.Error as error:
        print(error.args[0], error.args[1], flush=True)
    cursor.execute("SELECT COUNT(*) FROM t")
    print(cursor.fetchone()[0], flush=True)
"#;

#[test]
fn a_no_leaves_the_session_usable() {
    let Some(server) = ready() else { return };
    if !has_driver() {
        return;
    }
    let home = Home::new(&server.policy(""));
    home.write("work/refused.py", &REFUSED.replace("autocommit=True)", "autocommit=True, client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS)"));
    let going = start(&home, &format!("{PYTHON} refused.py; $AGENTBOX why"));
    for _ in 0..3 {
        let id = home.hold();
        home.outside(&["deny", &id, "--because", "not today"]).ended(0);
    }
    let ended = going.finish().ended(0);
    let out = ended.out();
    let lines: Vec<&str> = out.lines().collect();
    for pair in lines[..6].chunks(2) {
        assert!(
            pair[0].starts_with("1227 agentbox: refused: A person said no, because: not today") && pair[0].contains("agentbox why") && pair[1] == "100",
            "{out}"
        );
    }
    assert!(out.contains("mysql://agent@db.example"), "why tells it: {out}");
}

const WAITS: &str = r#"
import os, pymysql
db = pymysql.connect(host="db.example", user="agent", password=os.environ["MYSQL_PWD"], database="shop")
cursor = db.cursor()
def attempt(text):
    try:
        cursor.execute(text)
        return text.split()[0] + " done"
    except pymysql.Error as error:
        return str(error.args[0]) + " " + error.args[1][:40]
print(attempt("UPDATE t SET name = 'locked' WHERE id = 3"), flush=True)
print(attempt("DELETE FROM t"), flush=True)
print(attempt("INSERT INTO t VALUES (5000, 'stray')"), flush=True)
print(attempt("COMMIT"), flush=True)
print(attempt("SELECT name FROM t WHERE id = 3"), cursor.fetchone(), flush=True)
db.rollback()
db.autocommit(True)
print(attempt("DELETE FROM t"), flush=True)
"#;

#[test]
fn a_statement_of_a_transaction_waits_a_while_and_frees_its_locks() {
    let Some(server) = ready() else { return };
    if !has_driver() {
        return;
    }
    let home = Home::new(&server.policy(""));
    home.write("work/waits.py", WAITS);
    let going = start(&home, &format!("{PYTHON} waits.py; echo end"));
    let id = home.hold();
    let card = home.outside(&["show", &id]).ended(0).out();
    let words: Vec<&str> = card.split_whitespace().filter(|word| *word != "|").collect();
    assert!(words.join(" ").contains("locks on rows of t keep others waiting"), "{card}");
    assert_eq!(server.tells("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_rows_modified = 1"), "1", "the transaction is open");
    going.says("SELECT done ('n3',)");
    assert_eq!(server.tells("SELECT COUNT(*) FROM shop.t WHERE id = 5000"), "0");
    // Nobody has said yes: the hold is the same one, and one yes is worth one deletion.
    let cards = home.waiting(1);
    assert_eq!(cards[0]["id"].as_str(), Some(id.as_str()));
    home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
    going.says("end");
    let out = going.out();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "UPDATE done", "{out}");
    assert!(lines[1].starts_with("1227 agentbox: held: "), "{out}");
    assert!(lines[2].starts_with("1105 agentbox: the transaction was rolled") && lines[3].starts_with("1105 "), "{out}");
    assert_eq!(lines[5], "DELETE done", "{out}");
    assert_eq!(server.tells("SELECT COUNT(*) FROM shop.t"), "0");
}

/// Not as drivers speak, but as somebody who looks for a way around.
const TRICKS: &str = include_str!("../stand-ins/mysql.py");

#[test]
fn tricks_of_the_protocol_destroy_nothing() {
    let Some(server) = ready() else { return };
    let home = Home::new(&server.policy(""));
    home.write("work/tricks.py", TRICKS);
    let ended = finish(&mut home.script(&["--unattended"], &script("shop", "python3 tricks.py")));
    let out = ended.out();
    assert_eq!(server.tells("SELECT COUNT(*) FROM shop.t"), "100", "{out} {}", ended.err());
    assert!(!out.contains("hangs") && !out.contains("fails"), "{out} {}", ended.err());
    assert_eq!(out.lines().count(), 16, "{out} {}", ended.err());
    let ends: Vec<&str> = out.lines().filter(|line| line.ends_with("ended")).map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(ends, ["compression", "out_of_order"], "{out}");
    assert_eq!(ended.code, 77, "something was refused: {}", ended.err());
}

#[test]
fn a_foreign_password_is_asked_about_before_it_is_shown() {
    let Some(server) = ready() else { return };
    let policy = server.policy("").replace("[\"db.example\"]\n", "[\"db.example\"]\ncredentials = []\n");
    let home = Home::new(&policy);
    let going = start(&home, "$M -e 'SELECT 1' 2>&1; echo end");
    let id = home.hold();
    let card = home.outside(&["show", &id]).ended(0).out();
    assert!(card.contains("MySQL password of the user agent"), "{card}");
    home.outside(&["deny", &id, "--because", "whose is it"]).ended(0);
    going.says("end");
    assert!(going.out().contains("whose is it"), "{}", going.out());
}

#[test]
fn a_server_that_is_not_there_is_told_in_mysqls_words() {
    let Some(server) = ready() else { return };
    let home = Home::new(&server.policy("").replace("127.0.0.1:", "127.0.0.2:"));
    let ended = home.run(&script("shop", "$M -e 'SELECT 1'")).ended(1);
    assert!(ended.err().contains("agentbox: cannot connect"), "{}", ended.err());
}

#[test]
fn another_port_is_spoken_at_where_the_policy_says_so() {
    let Some(server) = ready() else { return };
    let home = Home::new(&server.policy("[protocols]\n\"db.example:3307\" = \"mysql\""));
    let out = home.run(&script("shop", "$M -P 3307 -e 'SELECT 41 + 1; SELECT COUNT(*) FROM t'")).ended(0).out();
    assert_eq!(out, "42\n100\n");
}
