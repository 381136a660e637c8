//! Looks stored functions up at the server, between a session's statements: what their bodies do counts beside their names.
//!
//! It only ever makes a call stricter: what is not shown to the session, or is written in another tongue, is judged by its name as before.

use std::collections::BTreeSet;

use crate::meaning::sql::{Code, LONGEST_BODY, Routine, Routines};

/// Functions that are asked about at once.
const MOST_NAMES: usize = 256;

/// Functions of these names that a server may have; with more of them the answer is not believed.
pub(super) const MOST_ROWS: usize = 256;

/// How often functions that functions call are looked up for one statement.
pub(super) const MOST_ROUNDS: usize = 6;

/// Name, schema, body and the mode that it is read in. In hexadecimal digits, so that the session's character set does not steer it.
const QUESTION: &str = "SELECT HEX(CONVERT(LOWER(ROUTINE_NAME) USING utf8mb4)), HEX(CONVERT(ROUTINE_SCHEMA USING utf8mb4)), \
    HEX(CONVERT(LEFT(ROUTINE_DEFINITION, 65537) USING utf8mb4)), HEX(CONVERT(SQL_MODE USING utf8mb4)) \
  FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = 'FUNCTION' AND ROUTINE_NAME IN (";

/// Takes what the server answered when it was asked about these names; `None` where that cannot be read.
pub(super) fn learn(known: &mut Routines, names: &BTreeSet<String>, rows: &[Vec<Option<Vec<u8>>>]) -> Option<()> {
    if rows.len() > MOST_ROWS {
        return None;
    }
    let found: Vec<(String, Routine)> = rows.iter().map(|row| routine(row)).collect::<Option<_>>()?;
    for name in names {
        known.asked(name);
    }
    for (key, routine) in found {
        known.add(&key, routine);
    }
    Some(())
}

/// The question about those of `names` that can be asked about; nothing where there is none.
pub(super) fn question(names: &BTreeSet<String>) -> Option<String> {
    let is_plain =
        |name: &&String| !name.is_empty() && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'));
    let list: Vec<String> = names.iter().filter(is_plain).take(MOST_NAMES).map(|name| format!("'{name}'")).collect();
    (!list.is_empty()).then(|| format!("{QUESTION}{}) LIMIT {}", list.join(","), MOST_ROWS + 1))
}

/// A row of the answer: the name in lower case, and the routine.
fn routine(row: &[Option<Vec<u8>>]) -> Option<(String, Routine)> {
    let [name, schema, body, mode] = row else { return None };
    let text = |column: &Option<Vec<u8>>| String::from_utf8(plain(column.as_deref()?)?).ok();
    let code = match body {
        // Whoever may not see it is shown nothing.
        None => Code::Unread("a function whose body the server does not show"),
        Some(digits) => match plain(digits)? {
            long if long.len() > LONGEST_BODY => Code::Unread("a function that is longer than is read"),
            body => Code::Block(body),
        },
    };
    Some((text(name)?, Routine { schema: text(schema)?, code, path: None, mode: Some(text(mode)?) }))
}

/// The bytes that hexadecimal digits stand for.
fn plain(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then_some(())?;
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Option<Vec<u8>> {
        Some(text.bytes().flat_map(|byte| format!("{byte:02X}").into_bytes()).collect())
    }

    #[test]
    fn only_plain_names_are_asked_about() {
        let names: BTreeSet<String> = ["f", "a'b", "ü", "", "g_1"].map(str::to_owned).into();
        let text = question(&names).unwrap();
        assert!(text.ends_with("IN ('f','g_1') LIMIT 257"), "{text}");
        assert_eq!(question(&["a'b".to_owned()].into()), None);
    }

    #[test]
    fn rows_are_read_or_nothing_is_believed() {
        let mut known = Routines::default();
        let names: BTreeSet<String> = ["f".to_owned()].into();
        let row = |body| vec![hex("f"), hex("shop"), body, hex("STRICT_TRANS_TABLES")];
        assert_eq!(learn(&mut known, &names, &[row(hex("RETURN 1"))]), Some(()));
        assert_eq!(learn(&mut known, &names, &[row(None)]), Some(()), "a body that is not shown");
        assert_eq!(learn(&mut known, &names, &[row(Some(b"4G".to_vec()))]), None);
        assert_eq!(learn(&mut known, &names, &[row(Some(b"4".to_vec()))]), None);
        assert_eq!(learn(&mut known, &names, &[vec![hex("f")]]), None);
        assert_eq!(learn(&mut known, &names, &[row(None), Vec::new()]), None, "an answer that was too long");
        assert_eq!(learn(&mut known, &names, &vec![row(hex("RETURN 1")); MOST_ROWS + 1]), None);
    }
}
