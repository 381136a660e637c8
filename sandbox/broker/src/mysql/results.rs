//! Where an answer of the server ends: rows are followed packet by packet and not gathered.

use super::packets::{Body, FULL, Head, Malformed};

/// What the server says of a session with each answer (`mysql_com.h`).
pub(super) const IN_TRANSACTION: u64 = 1;
const MORE_RESULTS: u64 = 8;
const CURSOR: u64 = 64;

/// What was asked, as far as it decides how the answer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A text that may ask for a file of the client's.
    QueryWithFile,
    /// Any other text, a prepared statement, or what is answered alike.
    Query,
    Prepare,
    /// Rows of a cursor, or the columns of a table.
    Rows,
    /// One packet of text.
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    First,
    Columns(u64),
    ColumnsEnd,
    Rows,
    /// Parameters, and the columns that come after them.
    Parameters(u64, u64),
    ParametersEnd(u64),
    /// Columns of a prepared statement.
    Described(u64),
    DescribedEnd,
}

/// How an answer ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) ok: bool,
    /// What the server says of the session, where it did.
    pub(super) status: Option<u64>,
    /// For the ledger.
    pub(super) outcome: String,
}

/// What comes after a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    More,
    /// The client sends a file, and after it more comes.
    File,
    Ended(Ended),
}

/// Follows the answer to one command.
#[derive(Debug)]
pub(super) struct Answer {
    asked: Asked,
    state: State,
    /// Agreed on: columns end with nothing, and rows with a packet as that of success.
    without_eof: bool,
    /// The packet at hand goes on one that was full.
    continues: bool,
    /// The number of the statement that was prepared, once it is known.
    pub(super) statement: Option<u32>,
}

impl Answer {
    pub(super) fn new(asked: Asked, without_eof: bool) -> Self {
        let state = if asked == Asked::Rows { State::Rows } else { State::First };
        Self { asked, state, without_eof, continues: false, statement: None }
    }

    /// Whether the whole packet must be handed to [`Answer::heard`], of which this is the first byte.
    pub(super) fn wants(&self, head: Head, first: Option<u8>) -> bool {
        if self.continues {
            return false;
        }
        match self.state {
            State::First => self.asked != Asked::Text,
            State::ColumnsEnd | State::ParametersEnd(_) | State::DescribedEnd => true,
            State::Rows => self.ends_rows(head, first),
            State::Columns(_) | State::Parameters(..) | State::Described(_) => first == Some(0xff),
        }
    }

    fn ends_rows(&self, head: Head, first: Option<u8>) -> bool {
        match first {
            Some(0xff) => true,
            // A row begins so only where its first value has 16 MiB or more.
            Some(0xfe) => head.length < if self.without_eof { FULL } else { 9 },
            _ => false,
        }
    }

    /// Whether the packet at hand is a row.
    pub(super) fn is_row(&self, head: Head, first: Option<u8>) -> bool {
        self.state == State::Rows && !self.ends_rows(head, first)
    }

    /// A packet: all of its body where it was wanted, else its first byte.
    pub(super) fn heard(&mut self, head: Head, body: &[u8]) -> Result<Then, Malformed> {
        let continues = std::mem::replace(&mut self.continues, head.length == FULL);
        if continues {
            return Ok(Then::More);
        }
        let first = body.first().copied();
        if first == Some(0xff) && self.asked != Asked::Text {
            return error(body).map(Then::Ended);
        }
        match (self.state, first) {
            (State::First, _) if self.asked == Asked::Text => Ok(Then::Ended(Ended { ok: true, status: None, outcome: "the server answered".to_owned() })),
            (State::First, Some(0)) if self.asked == Asked::Prepare => self.prepared(body),
            (State::First, Some(0)) => self.success(body),
            // The old form of success, of commands without rows.
            (State::First, Some(0xfe)) if head.length < 9 => self.end_of_rows(body),
            (State::First, Some(0xfb)) if self.asked == Asked::QueryWithFile => Ok(Then::File),
            (State::First, Some(_)) if matches!(self.asked, Asked::Query | Asked::QueryWithFile) => {
                let mut rest = Body(body);
                let columns = rest.counted()?;
                if columns == 0 || !rest.0.is_empty() {
                    return Err(Malformed::Answer);
                }
                self.state = State::Columns(columns);
                Ok(Then::More)
            }
            (State::Columns(left), Some(_)) => {
                self.state = match left {
                    2.. => State::Columns(left - 1),
                    _ if self.without_eof => State::Rows,
                    _ => State::ColumnsEnd,
                };
                Ok(Then::More)
            }
            (State::ColumnsEnd, Some(0xfe)) => {
                let status = eof(body)?;
                if status & CURSOR != 0 {
                    return Ok(self.ended(status, "the server opened a cursor".to_owned()));
                }
                self.state = State::Rows;
                Ok(Then::More)
            }
            (State::Rows, _) if !self.ends_rows(head, first) => Ok(Then::More),
            (State::Rows, _) => self.end_of_rows(body),
            (State::Parameters(left, columns), Some(_)) => {
                self.state = match left {
                    2.. => State::Parameters(left - 1, columns),
                    _ if self.without_eof => return Ok(self.describe(columns)),
                    _ => State::ParametersEnd(columns),
                };
                Ok(Then::More)
            }
            (State::ParametersEnd(columns), Some(0xfe)) => {
                eof(body)?;
                Ok(self.describe(columns))
            }
            (State::Described(left), Some(_)) => {
                self.state = match left {
                    2.. => State::Described(left - 1),
                    _ if self.without_eof => return Ok(Then::Ended(was_prepared())),
                    _ => State::DescribedEnd,
                };
                Ok(Then::More)
            }
            (State::DescribedEnd, Some(0xfe)) => {
                eof(body)?;
                Ok(Then::Ended(was_prepared()))
            }
            (
                State::First
                | State::Columns(_)
                | State::ColumnsEnd
                | State::Parameters(..)
                | State::ParametersEnd(_)
                | State::Described(_)
                | State::DescribedEnd,
                _,
            ) => Err(Malformed::Answer),
        }
    }

    fn success(&mut self, body: &[u8]) -> Result<Then, Malformed> {
        let (rows, status) = ok(body)?;
        Ok(self.ended(status, format!("the server answered: {rows} rows")))
    }

    fn end_of_rows(&mut self, body: &[u8]) -> Result<Then, Malformed> {
        let status = if self.without_eof && body.len() >= 7 { ok(body)?.1 } else { eof(body)? };
        Ok(self.ended(status, "the server answered with rows".to_owned()))
    }

    fn ended(&mut self, status: u64, outcome: String) -> Then {
        if status & MORE_RESULTS != 0 {
            self.state = State::First;
            return Then::More;
        }
        Then::Ended(Ended { ok: true, status: Some(status), outcome })
    }

    fn prepared(&mut self, body: &[u8]) -> Result<Then, Malformed> {
        let mut rest = Body(body);
        rest.byte()?;
        self.statement = u32::try_from(rest.number(4)?).ok();
        let (columns, parameters) = (rest.number(2)?, rest.number(2)?);
        if parameters > 0 {
            self.state = State::Parameters(parameters, columns);
            return Ok(Then::More);
        }
        Ok(self.describe(columns))
    }

    fn describe(&mut self, columns: u64) -> Then {
        if columns == 0 {
            return Then::Ended(was_prepared());
        }
        self.state = State::Described(columns);
        Then::More
    }
}

fn was_prepared() -> Ended {
    Ended { ok: true, status: None, outcome: "the server prepared it".to_owned() }
}

/// A packet of success: rows, and what the session is.
pub(super) fn ok(body: &[u8]) -> Result<(u64, u64), Malformed> {
    let mut rest = Body(body);
    rest.byte()?;
    let rows = rest.counted()?;
    rest.counted()?;
    Ok((rows, rest.number(2)?))
}

fn eof(body: &[u8]) -> Result<u64, Malformed> {
    let mut rest = Body(body);
    rest.byte()?;
    rest.number(2)?;
    let status = rest.number(2)?;
    if rest.0.is_empty() { Ok(status) } else { Err(Malformed::Answer) }
}

fn error(body: &[u8]) -> Result<Ended, Malformed> {
    let mut rest = Body(body);
    rest.byte()?;
    let code = rest.number(2)?;
    // MariaDB's reports of progress, which are not agreed on.
    if code == 0xffff {
        return Err(Malformed::Answer);
    }
    Ok(Ended { ok: false, status: None, outcome: format!("the server answered error {code}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &[u8] = &[0, 3, 0, 2, 0, 0, 0];
    const OK_MORE: &[u8] = &[0, 3, 0, 10, 0, 0, 0];
    const EOF: &[u8] = &[0xfe, 0, 0, 1, 0];
    const EOF_MORE: &[u8] = &[0xfe, 0, 0, 9, 0];
    const EOF_OK: &[u8] = &[0xfe, 0, 0, 1, 0, 0, 0];
    const COLUMN: &[u8] = b"\x03def";
    const ROW: &[u8] = b"\x01x";
    const ERROR: &[u8] = b"\xff\x15\x04#28000no";

    /// Hands the packets over; gives the number of the one with which it ended.
    fn follow(asked: Asked, without_eof: bool, packets: &[&[u8]]) -> Result<Option<(usize, Ended)>, Malformed> {
        let mut answer = Answer::new(asked, without_eof);
        for (number, body) in packets.iter().enumerate() {
            let head = Head { length: body.len(), number: 0 };
            let part = if answer.wants(head, body.first().copied()) { body } else { &body[..body.len().min(1)] };
            if let Then::Ended(ended) = answer.heard(head, part)? {
                return Ok(Some((number + 1, ended)));
            }
        }
        Ok(None)
    }

    #[test]
    fn every_answer_ends_where_it_ends() {
        for (asked, without_eof, packets) in [
            (Asked::Query, false, &[OK][..]),
            (Asked::Query, false, &[ERROR]),
            (Asked::Query, false, &[b"\x02", COLUMN, COLUMN, EOF, ROW, ROW, EOF]),
            (Asked::Query, true, &[b"\x02", COLUMN, COLUMN, ROW, ROW, EOF_OK]),
            (Asked::Query, true, &[b"\x01", COLUMN, ROW, ERROR]),
            (Asked::Query, false, &[b"\x01", COLUMN, EOF, ROW, EOF_MORE, OK_MORE, b"\x01", COLUMN, EOF, EOF]),
            (Asked::Query, false, &[b"\x01", COLUMN, &[0xfe, 0, 0, 0x41, 0]]),
            (Asked::Rows, false, &[ROW, EOF]),
            (Asked::Rows, true, &[EOF_OK]),
            (Asked::Text, false, &[b"Uptime: 1"]),
            (Asked::Prepare, false, &[b"\0\x07\0\0\0\x01\0\x02\0\0\0\0", COLUMN, COLUMN, EOF, COLUMN, EOF]),
            (Asked::Prepare, true, &[b"\0\x07\0\0\0\x01\0\x02\0\0\0\0", COLUMN, COLUMN, COLUMN]),
            (Asked::Prepare, true, &[b"\0\x07\0\0\0\0\0\0\0\0\0\0"]),
            (Asked::Prepare, true, &[ERROR]),
        ] {
            let ended = follow(asked, without_eof, packets).unwrap();
            assert_eq!(ended.as_ref().map(|(count, _)| *count), Some(packets.len()), "{asked:?} {without_eof} {packets:?}");
            assert_eq!(ended.unwrap().1.ok, *packets.last().unwrap() != ERROR);
        }
        assert_eq!(follow(Asked::Query, false, &[b"\xfb/etc/passwd"]), Err(Malformed::Answer), "nobody asked for a file");
        assert_eq!(Answer::new(Asked::QueryWithFile, true).heard(Head { length: 5, number: 1 }, b"\xfbfile"), Ok(Then::File));
    }

    #[test]
    fn a_value_that_is_longer_than_a_packet_ends_nothing() {
        let mut answer = Answer::new(Asked::Rows, true);
        let full = Head { length: FULL, number: 1 };
        assert!(!answer.wants(full, Some(0xfe)));
        assert_eq!(answer.heard(full, &[0xfe]), Ok(Then::More));
        // What goes on it may begin with anything.
        let rest = Head { length: 7, number: 2 };
        assert!(!answer.wants(rest, Some(0xff)));
        assert_eq!(answer.heard(rest, &[0xff]), Ok(Then::More));
        assert!(answer.wants(rest, Some(0xfe)));
    }

    proptest::proptest! {
        #[test]
        fn any_answer_is_followed_or_refused(packets in proptest::collection::vec(proptest::collection::vec(proptest::sample::select(vec![0u8, 1, 2, 9, 0xfb, 0xfe, 0xff]), 0..14), 0..20), without_eof in proptest::bool::ANY, which in 0usize..5) {
            let asked = [Asked::Query, Asked::QueryWithFile, Asked::Prepare, Asked::Rows, Asked::Text][which];
            let packets: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
            let _ = follow(asked, without_eof, &packets);
        }
    }
}
