//! What calls mean once the functions that they call were looked up.

use std::sync::Arc;

use agentbox_core::Effect;

use super::{Code, Considered, Dialect, Routine, Routines, Said, consider};

fn routine(schema: &str, code: Code) -> Routine {
    Routine { schema: schema.to_owned(), code, path: None, mode: None }
}

fn sql(text: &str) -> Code {
    Code::Sql(text.as_bytes().to_vec())
}

fn block(text: &str) -> Code {
    Code::Block(text.as_bytes().to_vec())
}

fn looked_up(all: &[(&str, Routine)]) -> Said {
    let mut routines = Routines::default();
    for (key, routine) in all {
        routines.add(key, routine.clone());
    }
    let mut said = Said::new();
    said.database = Some("shop".to_owned());
    said.look_up(Arc::new(routines));
    said
}

fn found(said: &Said, text: &str) -> Considered {
    consider(Dialect::PostgreSql, text.as_bytes(), said)
}

fn worst(said: &Said, text: &str) -> Effect {
    found(said, text).operations.iter().map(|operation| operation.effect).max().unwrap()
}

#[test]
fn a_call_is_what_the_body_does() {
    let said = looked_up(&[
        ("reads", routine("app", sql("SELECT count(*) FROM t"))),
        ("deletes", routine("app", block("BEGIN DELETE FROM t; END"))),
        ("both", routine("app", block("DECLARE n int; BEGIN SELECT count(*) INTO n FROM t; PERFORM app.deletes(); RETURN n; END"))),
        ("counts", routine("app", block("DECLARE n int; BEGIN SELECT count(*) INTO n FROM t; RETURN n; END"))),
        ("makes", routine("app", sql("SELECT 1 AS a INTO newtable"))),
        ("builds", routine("app", block("BEGIN EXECUTE 'DELETE FROM ' || tab; END"))),
        ("composes", routine("app", block("BEGIN EXECUTE 'INSERT INTO ' || tab; END"))),
        ("delete_count", routine("app", sql("SELECT count(*) FROM t"))),
        ("purge_built", routine("app", block("BEGIN EXECUTE cmd; END"))),
        ("reaches", routine("app", block("BEGIN PERFORM dblink_exec('host=x', 'DELETE FROM t'); END"))),
        ("kills", routine("app", sql("SELECT pg_terminate_backend(1)"))),
        ("copies", routine("app", block("BEGIN COPY t TO PROGRAM 'sh'; END"))),
        (
            "modern",
            routine(
                "app",
                Code::Definition(
                    b"CREATE OR REPLACE FUNCTION app.modern()\n RETURNS bigint\n LANGUAGE sql\nBEGIN ATOMIC\n SELECT count(*) FROM t;\nEND".to_vec(),
                ),
            ),
        ),
        (
            "modern_loss",
            routine(
                "app",
                Code::Definition(b"CREATE OR REPLACE FUNCTION app.modern_loss()\n RETURNS void\n LANGUAGE sql\nBEGIN ATOMIC\n DELETE FROM t;\nEND".to_vec()),
            ),
        ),
        ("vouched", routine("public", Code::Vouched)),
        ("unread", routine("public", Code::Unread("a function in a language that is not read"))),
    ]);
    for (call, effect) in [
        ("app.reads()", Effect::Read),
        ("app.counts()", Effect::Read),
        ("app.deletes()", Effect::Destroy),
        ("app.both()", Effect::Destroy),
        ("app.makes()", Effect::Write),
        ("app.builds()", Effect::Destroy),
        ("app.composes()", Effect::Write),
        ("app.delete_count()", Effect::Read),
        ("app.purge_built()", Effect::Opaque),
        ("app.reaches()", Effect::Destroy),
        ("app.kills()", Effect::Write),
        ("app.copies()", Effect::Destroy),
        ("app.modern_loss()", Effect::Destroy),
        ("vouched()", Effect::Read),
        ("unread()", Effect::Write),
    ] {
        let worst = worst(&said, &format!("SELECT {call}"));
        let is_as_bad = worst == effect || effect == Effect::Destroy && worst == Effect::Opaque;
        assert!(is_as_bad, "{call}: {worst:?} {:?}", found(&said, &format!("SELECT {call}")).operations);
    }
    assert_eq!(worst(&said, "SELECT app.modern()"), Effect::Read, "{:?}", found(&said, "SELECT app.modern()").operations);
}

#[test]
fn every_one_of_that_name_counts_and_a_schema_chooses() {
    let said = looked_up(&[("f", routine("app", sql("SELECT 1"))), ("f", routine("evil", sql("DELETE FROM t")))]);
    assert_eq!(worst(&said, "SELECT f()"), Effect::Destroy);
    assert_eq!(worst(&said, "SELECT app.f()"), Effect::Read);
    assert_eq!(worst(&said, "SELECT evil.f()"), Effect::Destroy);
    assert_eq!(worst(&said, "SELECT \"F\"()"), Effect::Destroy);
    let considered = found(&said, "SELECT app.f(), other.f(), g()");
    assert_eq!(considered.wondered.iter().map(String::as_str).collect::<Vec<_>>(), ["g"]);
    assert_eq!(considered.leaned.len(), 1, "{:?}", considered.leaned);
}

#[test]
fn what_the_session_defines_hides_no_older_one() {
    let mut said = looked_up(&[("f", routine("app", sql("DELETE FROM t")))]);
    said.observe(Dialect::PostgreSql, b"CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'");
    assert_eq!(worst(&said, "SELECT f()"), Effect::Destroy);
}

#[test]
fn functions_that_call_each_other_end() {
    let many = (0..300).map(|number| format!("f{number}()")).collect::<Vec<_>>().join(", ");
    let mut all = vec![("g".to_owned(), routine("app", sql(&format!("SELECT {many}"))))];
    for number in 0..300 {
        all.push((format!("f{number}"), routine("app", sql("SELECT app.g(), app.g()"))));
    }
    let all: Vec<(&str, Routine)> = all.iter().map(|(name, routine)| (name.as_str(), routine.clone())).collect();
    let said = looked_up(&all);
    assert_eq!(worst(&said, "SELECT app.g()"), Effect::Write, "more than are read are judged by their names");
    let said = looked_up(&[("a", routine("app", sql("SELECT app.b(), app.b()"))), ("b", routine("app", sql("SELECT app.a(), app.a()")))]);
    assert_eq!(worst(&said, "SELECT app.a()"), Effect::Read);
}

#[test]
fn a_search_path_of_its_own_places_its_names() {
    let own = Routine { path: Some("billing, pg_temp".to_owned()), ..routine("app", sql("UPDATE t SET a = 1 WHERE id = 2")) };
    let considered = found(&looked_up(&[("f", own)]), "SELECT app.f()");
    let update = considered.operations.iter().find(|operation| operation.action.as_str() == "postgres.update").unwrap();
    assert!(format!("{:?}", update.resource).contains("schema/billing"), "{update:?}");
}

#[test]
fn nobody_looks_up_where_nobody_can() {
    let mut said = Said::new();
    said.database = Some("shop".to_owned());
    let considered = found(&said, "SELECT f()");
    assert!(considered.wondered.is_empty() && considered.leaned.is_empty());
    assert_eq!(worst(&said, "SELECT f()"), Effect::Write);
}

#[test]
fn of_mysql_a_body_only_makes_a_call_stricter() {
    let of = |body: &str, mode: &str| Routine { mode: Some(mode.to_owned()), ..routine("shop", block(body)) };
    let said = looked_up(&[
        ("tidy", of("BEGIN DELETE FROM orders; RETURN 1; END", "")),
        ("hides", of("BEGIN /*!50000 DELETE FROM orders */; RETURN 1; END", "")),
        ("nests", of("RETURN tidy() + 1", "")),
        ("counts", of("BEGIN DECLARE n INT; SELECT COUNT(*) INTO n FROM orders; RETURN n; END", "")),
        ("quotes", of("BEGIN SET @x = \"a; DELETE FROM orders; --\"; RETURN 1; END", "")),
        ("shut", Routine { code: Code::Unread("not shown"), ..of("", "") }),
    ]);
    let worst = |text: &str| consider(Dialect::MySql, text.as_bytes(), &said).operations.iter().map(|operation| operation.effect).max().unwrap();
    for text in ["SELECT tidy()", "SELECT shop.tidy()", "SELECT hides()", "SELECT nests()", "SELECT * FROM t WHERE a = tidy()"] {
        assert_eq!(worst(text), Effect::Destroy, "{text}");
    }
    for text in ["SELECT counts()", "SELECT quotes()", "SELECT shut()", "SELECT other.tidy()"] {
        assert_eq!(worst(text), Effect::Write, "{text}");
    }
    assert_eq!(worst("SELECT CONCAT('tidy()')"), Effect::Read);
    assert_eq!(worst("CALL tidy()"), Effect::Opaque, "a procedure is another one");
    assert!(consider(Dialect::MySql, b"SELECT unheard()", &said).wondered.contains("unheard"));
}
