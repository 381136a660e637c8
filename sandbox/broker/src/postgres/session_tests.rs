//! What a session knows, in whatever order messages and answers come.

use super::*;

fn session() -> Session {
    Session::new(Facts::new("shop", "u"))
}

fn parse(session: &mut Session, name: &str, text: &'static str) {
    session.sent(Awaited::Parse(name.to_owned(), Statement::new(Bytes::from_static(text.as_bytes()))), Fate::Pass);
}

fn texts(session: &Session, name: &str) -> Vec<String> {
    session.could_be(name).iter().map(|statement| String::from_utf8(statement.text.to_vec()).unwrap()).collect()
}

#[test]
fn a_name_is_what_the_server_confirmed() {
    let mut session = session();
    parse(&mut session, "", "DELETE FROM t");
    assert_eq!(texts(&session, ""), ["DELETE FROM t"], "in the same batch it is what it will be");
    session.sent(Awaited::Sync, Fate::Pass);
    session.heard(b'1', b"").unwrap();
    session.heard(b'Z', b"I").unwrap();
    // The second one is skipped by the server, since what comes before it fails.
    session.sent(Awaited::Bind(String::new(), None), Fate::Pass);
    parse(&mut session, "", "SELECT 1");
    session.sent(Awaited::Sync, Fate::Pass);
    assert_eq!(texts(&session, ""), ["SELECT 1", "DELETE FROM t"], "both are possible until it is answered");
    session.heard(b'E', b"SERROR\0C26000\0\0").unwrap();
    assert_eq!(texts(&session, ""), ["DELETE FROM t"]);
    session.heard(b'Z', b"I").unwrap();
    assert!(session.is_settled());
}

#[test]
fn after_an_error_the_server_skips_to_sync() {
    let mut session = session();
    session.sent(Awaited::Bind(String::new(), None), Fate::Pass);
    session.heard(b'E', b"C26000\0\0").unwrap();
    session.sent(Awaited::Execute(None), Fate::Pass);
    session.sent(Awaited::Query(Statement::new(Bytes::from_static(b"SELECT 1"))), Fate::Pass);
    session.sent(Awaited::Sync, Fate::Pass);
    assert_eq!(session.heard(b'Z', b"T"), Ok(Heard::Pass));
    assert!(session.rests_in_transaction());
    assert_eq!(session.heard(b'Z', b"T"), Err(Lost::Unasked('Z')));
}

#[test]
fn what_was_not_asked_is_no_answer() {
    for kind in [b'1', b'2', b'D', b'G', b'W', b'v', b'R'] {
        let mut session = session();
        session.sent(Awaited::Sync, Fate::Pass);
        assert_eq!(session.heard(kind, b""), Err(Lost::Unasked(char::from(kind))));
    }
    // Rows are taken only where the statement asks for them.
    let mut session = session();
    session.sent(Awaited::Query(Statement::new(Bytes::from_static(b"SELECT 1"))), Fate::Pass);
    assert_eq!(session.heard(b'G', b""), Err(Lost::Unasked('G')));
}

#[test]
fn a_sync_that_is_sent_with_a_copy_is_dropped_by_the_server() {
    let mut session = session();
    session.sent(Awaited::Execute(Some(Statement::new(Bytes::from_static(b"COPY t FROM STDIN")))), Fate::Pass);
    session.sent(Awaited::Sync, Fate::Pass);
    assert_eq!(session.copy_in(), CopyIn::Perhaps);
    session.heard(b'G', b"").unwrap();
    assert_eq!(session.copy_in(), CopyIn::Yes);
    session.rows_ended();
    session.sent(Awaited::Sync, Fate::Pass);
    session.heard(b'C', b"COPY 1\0").unwrap();
    session.heard(b'Z', b"I").unwrap();
    assert!(session.is_settled());
    assert_eq!(session.copy_in(), CopyIn::No);
}

#[test]
fn sql_may_take_a_name_that_the_protocol_had() {
    let mut session = session();
    parse(&mut session, "x", "SELECT 1");
    session.sent(Awaited::Sync, Fate::Pass);
    session.heard(b'1', b"").unwrap();
    session.heard(b'Z', b"I").unwrap();
    assert_eq!(texts(&session, "x"), ["SELECT 1"]);
    session.sent(Awaited::Query(Statement::new(Bytes::from_static(b"DEALLOCATE x; PREPARE x AS DELETE FROM t"))), Fate::Pass);
    assert!(texts(&session, "x").is_empty(), "it is not known any more");
    session.heard(b'E', b"C42601\0\0").unwrap();
    session.heard(b'Z', b"I").unwrap();
    // The answer to an earlier message is not believed where a later one on its way changes the name.
    parse(&mut session, "y", "SELECT 1");
    session.sent(Awaited::Sync, Fate::Pass);
    session.sent(Awaited::Query(Statement::new(Bytes::from_static(b"DEALLOCATE y; PREPARE y AS DELETE FROM t; COMMIT; SELECT 1/0"))), Fate::Pass);
    session.heard(b'1', b"").unwrap();
    assert!(texts(&session, "y").is_empty());
}

proptest::proptest! {
    #[test]
    fn no_order_of_messages_breaks_it(steps in proptest::collection::vec((0u8..10, 0usize..12), 0..120)) {
        let mut session = session();
        for (what, which) in steps {
            match what {
                0 => parse(&mut session, ["", "a"][which % 2], ["SELECT 1", "COPY t FROM STDIN", "PREPARE a AS DELETE FROM t"][which % 3]),
                1 => session.sent(Awaited::Bind(String::new(), None), Fate::Pass),
                2 => session.sent(Awaited::Execute(session.could_be("a").pop()), Fate::Pass),
                3 => session.sent(Awaited::Sync, Fate::Pass),
                4 => session.sent(Awaited::Query(Statement::new(Bytes::from_static(b"SET search_path = a"))), Fate::Pass),
                5 => session.sent(Awaited::Close(Thing::Statement, "a".to_owned()), Fate::Pass),
                _ => {
                    let kind = b"12tTCDGZE3In"[which];
                    let _ = session.heard(kind, if kind == b'Z' { b"I" } else { b"SELECT 1\0" });
                }
            }
            let total: usize = session.statements.values().map(|statement| statement.text.len()).sum();
            let parsing = session.awaited.iter().filter(|entry| matches!(entry.awaited, Awaited::Parse(..))).count();
            proptest::prop_assert_eq!((total, parsing), (session.text, session.parsing));
        }
    }
}

#[test]
fn what_was_found_counts_only_with_the_facts_that_it_was_found_with() {
    let mut session = session();
    let found = |session: &Session, statement: &Statement| {
        let considered = session.consider(statement);
        // Whatever is remembered, it is what reading it anew tells.
        let anew = session.facts.consider(&statement.text, statement.steers, !session.is_settled());
        assert_eq!(considered.operations, anew.operations);
        considered
    };
    let delete = Statement::new(Bytes::from_static(b"DELETE FROM t WHERE id = 1"));
    let first = found(&session, &delete);
    assert!(Arc::ptr_eq(&first, &found(&session, &delete)), "nothing has changed");
    // A transaction changes nothing of what a text means.
    session.sent(Awaited::Query(Statement::new(Bytes::from_static(b"BEGIN"))), Fate::Pass);
    let under_way = found(&session, &delete);
    session.heard(b'C', b"BEGIN\0").unwrap();
    session.heard(b'Z', b"T").unwrap();
    assert!(Arc::ptr_eq(&first, &found(&session, &delete)) && !Arc::ptr_eq(&first, &under_way));
    // Where names are looked up decides which table it is.
    session.heard(b'S', b"search_path\0live\0").unwrap();
    let moved = found(&session, &delete);
    assert_ne!(moved.operations, first.operations);
    // What a name was prepared for, and what a function does, likewise.
    let execute = Statement::new(Bytes::from_static(b"EXECUTE x"));
    let unknown = found(&session, &execute);
    for text in [&b"PREPARE x AS SELECT 1"[..], b"DEALLOCATE x", b"PREPARE x AS DROP TABLE t"] {
        session.sent(Awaited::Query(Statement::new(Bytes::from_static(text))), Fate::Pass);
        found(&session, &execute);
        session.heard(b'C', b"PREPARE\0").unwrap();
        session.heard(b'Z', b"T").unwrap();
        found(&session, &execute);
    }
    assert_ne!(found(&session, &execute).operations, unknown.operations);
    let call = Statement::new(Bytes::from_static(b"SELECT archive()"));
    let by_name = found(&session, &call);
    session.facts.change().look_up(Arc::new(crate::meaning::sql::Routines::default()));
    assert!(!Arc::ptr_eq(&by_name, &found(&session, &call)));
    // A backslash has two readings while a setting could change, and one afterwards.
    let quoted = Statement::new(Bytes::from_static(br"SELECT 'a\', '; DROP TABLE t; --'"));
    session.heard(b'S', b"standard_conforming_strings\0on\0").unwrap();
    let worst = |considered: &Considered| considered.operations.iter().map(|operation| operation.effect).max().unwrap();
    assert_eq!(worst(&found(&session, &quoted)), agentbox_core::Effect::Read);
    session.sent(Awaited::Query(Statement::new(Bytes::from_static(b"SELECT 1"))), Fate::Pass);
    assert_eq!(worst(&found(&session, &quoted)), agentbox_core::Effect::Destroy);
    session.heard(b'C', b"SELECT\0").unwrap();
    session.heard(b'Z', b"T").unwrap();
    assert_eq!(worst(&found(&session, &quoted)), agentbox_core::Effect::Read);
}
