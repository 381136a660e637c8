//! Hands one message over a socket before anything else is said on it: blocking, bounded, with a deadline.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use agentbox_core::wire;
use serde::{Serialize, de::DeserializeOwned};

/// For the whole message. Commands that print secrets may ask a person; each has a minute of its own.
const PATIENCE: Duration = Duration::from_secs(180);

/// Writes it.
///
/// # Errors
/// The other side has gone, or it is too long for the wire.
pub(super) fn over<T: Serialize>(mut socket: &UnixStream, message: &T) -> io::Result<()> {
    let bytes = wire::encode(message).map_err(io::Error::other)?;
    socket.write_all(&bytes)
}

/// Reads it. Whoever wrote it says nothing else until it is answered, so what is read is this message alone.
///
/// # Errors
/// The other side has gone, is silent, or does not keep to its language.
pub(super) fn receive<T: DeserializeOwned>(mut socket: &UnixStream) -> io::Result<T> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut header = [0; 4];
    socket.read_exact(&mut header)?;
    let length = u32::from_le_bytes(header) as usize;
    if length > wire::LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = header.to_vec();
    bytes.resize(4 + length, 0);
    socket.read_exact(bytes.get_mut(4..).unwrap_or_default())?;
    socket.set_read_timeout(None)?;
    wire::decode(&mut bytes).map_err(io::Error::other)?.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_its_own_message_and_leaves_the_rest() {
        let (one, other) = UnixStream::pair().unwrap();
        over(&one, &vec!["a".to_owned(), "b".to_owned()]).unwrap();
        (&one).write_all(b"rest").unwrap();
        drop(one);
        assert_eq!(receive::<Vec<String>>(&other).unwrap(), ["a", "b"]);
        let mut rest = Vec::new();
        (&other).read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"rest");
        assert!(receive::<Vec<String>>(&other).is_err());
    }
}
