//! The bytes between the shim and the supervisor: two a message, a kind and a value.

use super::super::control::Exit;

/// Length of every message.
pub const LENGTH: usize = 2;

/// Shim to supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromShim {
    /// Send this signal to the agent; SIGINT also refuses what waits for a person.
    Signal(u8),
}

/// Supervisor to shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToShim {
    /// The agent was stopped (Ctrl-Z): so is the shim, that the user's shell may take over.
    Stopped,
    /// The box has ended: exit with this code.
    Ended(Exit),
}

impl FromShim {
    /// As bytes.
    #[must_use]
    pub fn encode(self) -> [u8; LENGTH] {
        match self {
            FromShim::Signal(number) => [b'S', number],
        }
    }

    /// From bytes; `None` for what no shim sends.
    #[must_use]
    pub fn decode(bytes: [u8; LENGTH]) -> Option<Self> {
        match bytes {
            [b'S', number] if (1..=64).contains(&number) => Some(FromShim::Signal(number)),
            _ => None,
        }
    }
}

impl ToShim {
    /// As bytes.
    #[must_use]
    pub fn encode(self) -> [u8; LENGTH] {
        match self {
            ToShim::Stopped => [b'T', 0],
            ToShim::Ended(Exit::Code(code)) => [b'X', code],
            ToShim::Ended(Exit::Signal(number)) => [b'K', number],
        }
    }

    /// From bytes; `None` for what no supervisor sends.
    #[must_use]
    pub fn decode(bytes: [u8; LENGTH]) -> Option<Self> {
        match bytes {
            [b'T', 0] => Some(ToShim::Stopped),
            [b'X', code] => Some(ToShim::Ended(Exit::Code(code))),
            [b'K', number] => Some(ToShim::Ended(Exit::Signal(number))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_comes_back_and_nothing_else_is_one() {
        for message in [ToShim::Stopped, ToShim::Ended(Exit::Code(0)), ToShim::Ended(Exit::Code(255)), ToShim::Ended(Exit::Signal(9))] {
            assert_eq!(ToShim::decode(message.encode()), Some(message));
        }
        assert_eq!(FromShim::decode(FromShim::Signal(15).encode()), Some(FromShim::Signal(15)));
        assert_eq!(FromShim::decode([b'S', 0]), None);
        assert_eq!(FromShim::decode([b'S', 65]), None);
        assert_eq!(ToShim::decode([0, 0]), None);
    }
}
