//! Looks functions up at the server, in the client's own session and between its statements: what they run, and who vouches for them.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::frames::{Body, Malformed};
use crate::meaning::sql::{Code, LONGEST_BODY, Routine, Routines};

/// For so long what was looked up is believed: another session may change it.
const LIFE: Duration = Duration::from_secs(5);

/// Functions that are known at once, and that are asked about at once.
const MOST_NAMES: usize = 256;

/// Functions of these names that a server may have; with more of them the answer is not believed.
const MOST_ROWS: usize = 256;

/// How often functions that functions call are looked up for one statement.
pub(super) const MOST_ROUNDS: usize = 6;

/// Name, schema, language, kind, whether somebody else vouches, body, the standard's body, search path. Everything is told in full,
/// operators too, so that the search path does not steer it. `pg_has_role` is true for a superuser whatever the role.
const QUESTION: &str = "SELECT pg_catalog.lower(p.proname::pg_catalog.text COLLATE pg_catalog.\"C\"), n.nspname, l.lanname, p.prokind, \
    (p.provolatile OPERATOR(pg_catalog.<>) 'v' AND NOT pg_catalog.pg_has_role(session_user, p.proowner, 'MEMBER') \
      AND NOT pg_catalog.pg_has_role(current_user, p.proowner, 'MEMBER') AND p.prokind OPERATOR(pg_catalog.=) 'f' \
      AND (n.nspname OPERATOR(pg_catalog.=) 'pg_catalog' OR NOT EXISTS (SELECT FROM pg_catalog.unnest(p.proargtypes::pg_catalog.oid[]) a(o) \
        JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.o WHERE t.typcategory OPERATOR(pg_catalog.=) ANY ('{A,C,P,S,X}'::pg_catalog.\"char\"[])))), \
    pg_catalog.\"left\"(p.prosrc, 65537), \
    CASE WHEN p.prosrc OPERATOR(pg_catalog.=) '' AND l.lanname OPERATOR(pg_catalog.=) 'sql' AND p.prokind OPERATOR(pg_catalog.<>) 'a' \
      THEN pg_catalog.pg_get_functiondef(p.oid) END, \
    (SELECT pg_catalog.substr(c.t, 13) FROM pg_catalog.unnest(p.proconfig) c(t) WHERE pg_catalog.\"left\"(c.t, 12) OPERATOR(pg_catalog.=) 'search_path=' LIMIT 1) \
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace \
  JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang \
  WHERE pg_catalog.lower(p.proname::pg_catalog.text COLLATE pg_catalog.\"C\") OPERATOR(pg_catalog.=) ANY ('{";

/// The locks of this session on tables, which others must wait for, and how strong they are.
pub(super) const LOCKS: &str = "SELECT pg_catalog.concat(n.nspname, '.', c.relname, ' (', l.mode, ')') FROM pg_catalog.pg_locks l \
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) l.relation JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
  WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND l.granted AND l.mode OPERATOR(pg_catalog.<>) 'AccessShareLock' \
    AND n.nspname OPERATOR(pg_catalog.<>) 'pg_catalog' AND c.relkind OPERATOR(pg_catalog.<>) 'i' ORDER BY 1 LIMIT 20";

/// The text of a row with one column.
pub(super) fn only(row: &[u8]) -> Result<String, Malformed> {
    let mut rest = Body(row);
    if rest.short()? != 1 {
        return Err(Malformed::Long);
    }
    let length = usize::try_from(rest.number()?).map_err(|_| Malformed::Length)?;
    Ok(String::from_utf8_lossy(rest.take(length)?).into_owned())
}

/// What is known of the functions of one session's database.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) routines: Routines,
    since: Instant,
}

impl Known {
    pub(super) fn new() -> Self {
        Self { routines: Routines::default(), since: Instant::now() }
    }

    /// Whether it is too old to be believed, or too much to be kept.
    pub(super) fn is_old(&self) -> bool {
        self.since.elapsed() > LIFE || self.routines.len() > MOST_NAMES
    }

    /// Takes what the server answered when it was asked about these names; `None` where that cannot be read.
    pub(super) fn learn(&mut self, names: &BTreeSet<String>, rows: &[Vec<u8>]) -> Option<()> {
        if rows.len() > MOST_ROWS {
            return None;
        }
        for name in names {
            self.routines.asked(name);
        }
        for row in rows {
            let (key, routine) = routine(row).ok()?;
            self.routines.add(&key, routine);
        }
        Some(())
    }
}

/// The question about those of `names` that can be asked about, and they.
pub(super) fn question(names: &BTreeSet<String>) -> (String, BTreeSet<String>) {
    let is_plain = |name: &&String| !name.is_empty() && name.len() < 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let names: BTreeSet<String> = names.iter().filter(is_plain).take(MOST_NAMES).cloned().collect();
    let list: Vec<&str> = names.iter().map(String::as_str).collect();
    (format!("{QUESTION}{}}}'::pg_catalog.text[]) LIMIT {}", list.join(","), MOST_ROWS + 1), names)
}

/// A row of the answer: the name in lower case, and the routine.
pub(super) fn routine(row: &[u8]) -> Result<(String, Routine), Malformed> {
    let mut rest = Body(row);
    if rest.short()? != 8 {
        return Err(Malformed::Long);
    }
    let mut columns: [Option<&[u8]>; 8] = [None; 8];
    for column in &mut columns {
        let length = rest.number()?;
        *column = if length == u32::MAX { None } else { Some(rest.take(usize::try_from(length).map_err(|_| Malformed::Length)?)?) };
    }
    rest.end()?;
    let [key, schema, language, kind, vouched, body, definition, path] = columns;
    let text = |column: Option<&[u8]>| String::from_utf8_lossy(column.unwrap_or_default()).into_owned();
    let body = body.unwrap_or_default();
    let code = match (language, kind) {
        _ if body.len() > LONGEST_BODY => Code::Unread("a function that is longer than is read"),
        (Some(b"sql"), Some(b"f" | b"p")) => match definition {
            Some(definition) if definition.len() > LONGEST_BODY => Code::Unread("a function that is longer than is read"),
            Some(definition) => Code::Definition(definition.to_vec()),
            None => Code::Sql(body.to_vec()),
        },
        (Some(b"plpgsql"), Some(b"f" | b"p")) => Code::Block(body.to_vec()),
        _ if vouched == Some(b"t") => Code::Vouched,
        (_, Some(b"a" | b"w")) => Code::Unread("a function over rows that is not known to only read"),
        _ => Code::Unread("a function in a language that is not read"),
    };
    Ok((text(key), Routine { schema: text(schema), code, path: path.map(|path| String::from_utf8_lossy(path).into_owned()), mode: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(columns: &[Option<&str>]) -> Vec<u8> {
        let mut row = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
        for column in columns {
            match column {
                Some(text) => {
                    row.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
                    row.extend_from_slice(text.as_bytes());
                }
                None => row.extend_from_slice(&[255; 4]),
            }
        }
        row
    }

    #[test]
    fn only_plain_names_are_asked_about() {
        let names: BTreeSet<String> = ["f", "a'b", "ü", "", "g_1"].map(str::to_owned).into();
        let (text, asked) = question(&names);
        assert!(text.ends_with("ANY ('{f,g_1}'::pg_catalog.text[]) LIMIT 257"), "{text}");
        assert_eq!(asked, ["f", "g_1"].map(str::to_owned).into());
    }

    #[test]
    fn rows_are_read_strictly() {
        let mut known = Known::new();
        let names: BTreeSet<String> = ["f".to_owned()].into();
        let plain = row(&[Some("f"), Some("app"), Some("sql"), Some("f"), Some("f"), Some("SELECT 1"), None, None]);
        assert_eq!(routine(&plain).unwrap().1.code, Code::Sql(b"SELECT 1".to_vec()));
        let foreign = |vouched| routine(&row(&[Some("f"), Some("app"), Some("c"), Some("f"), Some(vouched), Some("f"), None, None])).unwrap().1.code;
        assert_eq!((foreign("t"), matches!(foreign("f"), Code::Unread(_))), (Code::Vouched, true));
        assert!(known.learn(&names, &[plain[..plain.len() - 1].to_vec()]).is_none());
        assert!(known.learn(&names, &vec![plain.clone(); MOST_ROWS + 1]).is_none(), "more than were asked for");
        assert!(known.learn(&names, &[plain]).is_some() && !known.is_old());
    }

    proptest::proptest! {
        #[test]
        fn any_row_is_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = routine(&bytes);
        }
    }
}
