//! Where connections wanted to go, in a box that has no network of its own: the file gate makes them in the client's place, and tells it here first.
//!
//! A connection of which nothing was told is none of the box's, and is dropped.

use std::{
    collections::HashMap,
    io::{self, Read as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    sync::{Mutex, PoisonError},
};

use agentbox_core::wire::Origin;

/// Told and not yet come; more than connections can wait in the kernel for us.
const MOST: usize = 16_384;

/// A line is shorter.
const LONGEST: usize = 512;

/// The line to the file gate, and what it has told.
#[derive(Debug)]
pub(crate) struct Origins(Mutex<Told>);

#[derive(Debug)]
struct Told {
    line: UnixStream,
    /// What came of a line that has not ended.
    begun: Vec<u8>,
    expected: HashMap<(bool, u16), SocketAddr>,
}

impl Origins {
    /// Of this line.
    ///
    /// # Errors
    /// It cannot be read without waiting.
    pub(crate) fn new(line: UnixStream) -> io::Result<Self> {
        line.set_nonblocking(true)?;
        Ok(Self(Mutex::new(Told { line, begun: Vec::new(), expected: HashMap::new() })))
    }

    /// Where the client with this address wanted to go. It counts once.
    pub(crate) fn of(&self, client: SocketAddr) -> Option<SocketAddr> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !client.ip().to_canonical().is_loopback() {
            return None;
        }
        // What belongs to a connection that stands was told before it stood.
        told.hear();
        told.expected.remove(&(client.ip().to_canonical().is_ipv6(), client.port()))
    }
}

impl Told {
    fn hear(&mut self) {
        let mut block = [0; 4096];
        while let Ok(length @ 1..) = self.line.read(&mut block) {
            self.begun.extend_from_slice(block.get(..length).unwrap_or_default());
            while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.begun.drain(..=end).collect();
                if let Ok(Origin { port, v6, to }) = serde_json::from_slice(&line) {
                    if self.expected.len() >= MOST {
                        self.expected.clear();
                    }
                    self.expected.insert((v6, port), to);
                }
            }
            if self.begun.len() > LONGEST {
                self.begun.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_was_told_counts_once_and_nothing_else_counts() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let origins = Origins::new(ours).unwrap();
        let client: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        assert_eq!(origins.of(client), None);
        let to: SocketAddr = "192.0.2.1:443".parse().unwrap();
        let mut line = serde_json::to_vec(&Origin { port: 4000, v6: false, to }).unwrap();
        line.push(b'\n');
        // In two parts, as a stream may bring them.
        let (first, second) = line.split_at(7);
        theirs.write_all(first).unwrap();
        assert_eq!(origins.of(client), None);
        theirs.write_all(second).unwrap();
        theirs.write_all(b"nonsense\n").unwrap();
        assert_eq!(origins.of("[::1]:4000".parse().unwrap()), None, "another family is another port");
        assert_eq!(origins.of("192.0.2.7:4000".parse().unwrap()), None, "nobody comes from elsewhere");
        assert_eq!(origins.of("[::ffff:127.0.0.1]:4000".parse().unwrap()), Some(to));
        assert_eq!(origins.of(client), None, "it counts once");
    }
}
