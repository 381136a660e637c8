//! What a client asks for, by the first byte of a command.

use super::{
    packets::{Body, Malformed},
    results::Asked,
};

/// A command, as far as it decides what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command<'b> {
    Quit,
    Query(&'b [u8]),
    Prepare(&'b [u8]),
    /// A prepared statement, by its number; with one set of values or with many.
    Execute(u32),
    Fetch(u32),
    /// A part of a value, which has no answer.
    LongData,
    /// Has no answer, either.
    Close(u32),
    Database(&'b [u8]),
    ChangeUser,
    ResetConnection,
    /// Judged by its number alone.
    Other(Asked),
    NotSpoken(&'static str),
}

impl<'b> Command<'b> {
    /// Reads the body of a command, or of a command's first packet.
    pub(super) fn of(body: &'b [u8]) -> Result<Self, Malformed> {
        let (number, rest) = body.split_first().ok_or(Malformed::Short)?;
        let statement = || Body(rest).number(4).map(|id| u32::try_from(id).unwrap_or(u32::MAX));
        Ok(match number {
            0x01 => Command::Quit,
            0x02 => Command::Database(rest),
            0x03 => Command::Query(rest),
            0x04 => Command::Other(Asked::Rows),
            0x09 => Command::Other(Asked::Text),
            // CREATE_DB, DROP_DB, REFRESH, SHUTDOWN, PROCESS_INFO, PROCESS_KILL, DEBUG, PING, STMT_RESET, SET_OPTION.
            0x05..=0x08 | 0x0a | 0x0c..=0x0e | 0x1a | 0x1b => Command::Other(Asked::Query),
            0x11 => Command::ChangeUser,
            0x12 | 0x14 | 0x15 | 0x1e => Command::NotSpoken("replication is not spoken through the box: it hands out the whole of the data"),
            0x16 => Command::Prepare(rest),
            0x17 | 0xfa => Command::Execute(statement()?),
            0x18 => Command::LongData,
            0x19 => Command::Close(statement()?),
            0x1c => Command::Fetch(statement()?),
            0x1f => Command::ResetConnection,
            _ => Command::NotSpoken("the command is not spoken through the box"),
        })
    }
}

/// Who a connection changes to: `COM_CHANGE_USER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change<'b> {
    pub(super) user: &'b [u8],
    pub(super) database: &'b [u8],
    pub(super) collation: u64,
    pub(super) plugin: &'b [u8],
}

impl<'b> Change<'b> {
    /// Reads what follows the command's number.
    pub(super) fn read(body: &'b [u8]) -> Result<Self, Malformed> {
        let mut rest = Body(body);
        let user = rest.text()?;
        let length = usize::from(rest.byte()?);
        rest.take(length)?;
        let database = rest.text()?;
        let collation = rest.number(2).unwrap_or(0);
        Ok(Self { user, database, collation, plugin: rest.last_text() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_by_its_number() {
        assert_eq!(Command::of(b"\x03SELECT 1"), Ok(Command::Query(b"SELECT 1")));
        assert_eq!(Command::of(b"\x17\x05\0\0\0rest"), Ok(Command::Execute(5)));
        assert_eq!(Command::of(b"\x17\x05\0"), Err(Malformed::Short));
        assert_eq!(Command::of(b""), Err(Malformed::Short));
        for number in [0x00, 0x0b, 0x0f, 0x10, 0x12, 0x13, 0x14, 0x15, 0x1d, 0x1e, 0x20, 0xfe] {
            assert!(matches!(Command::of(&[number]), Ok(Command::NotSpoken(_))), "{number}");
        }
        let change = Change::read(b"u\0\x02abshop\0\x2d\0mysql_native_password\0").unwrap();
        assert_eq!((change.user, change.database, change.collation, change.plugin), (&b"u"[..], &b"shop"[..], 45, &b"mysql_native_password"[..]));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
            let _ = (Command::of(&bytes), Change::read(&bytes));
        }
    }
}
