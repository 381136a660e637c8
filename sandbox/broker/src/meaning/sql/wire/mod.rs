//! The bytes of the wire, decoded strictly: what does not parse to its last byte is opaque. The frames of MySQL and Redis are read by those
//! who relay them, so that there is one reader of each.

mod mongo;
mod mysql;
mod postgres;
mod redis;

pub(super) use mongo::{judge as mongo, message as mongo_message};
pub(super) use mysql::{judge as mysql, one as mysql_command};
pub(super) use postgres::judge as postgres;
pub(super) use redis::words as redis_words;

/// Why bytes were not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// Takes `count` bytes off the front.
fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Result<&'b [u8], Malformed> {
    let (front, rest) = bytes.split_at_checked(count).ok_or(Malformed("a message ends too soon"))?;
    *bytes = rest;
    Ok(front)
}

/// Takes a text that ends in a zero byte.
fn take_text<'b>(bytes: &mut &'b [u8]) -> Result<&'b [u8], Malformed> {
    let length = bytes.iter().position(|byte| *byte == 0).ok_or(Malformed("a text does not end"))?;
    let text = take(bytes, length)?;
    take(bytes, 1)?;
    Ok(text)
}

/// A number of up to eight bytes, the lowest first.
fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// A number of up to eight bytes, the highest first.
fn big(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// A length that the machine can count.
fn length(number: u64) -> Result<usize, Malformed> {
    usize::try_from(number).map_err(|_| Malformed("a length is too long"))
}
