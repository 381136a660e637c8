//! The bytes between the shim and the supervisor: two a message, a kind and a value.

use crate::control::Exit;

/// Length of every message.
pub const LENGTH: usize = 2;

/// Shim to supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromShim {
    /// Send this signal to the agent; SIGINT also refuses what waits for a person.
    Signal(u8),
    /// The agent has the real terminal from now on: bring it to the foreground of its own, and let it go on.
    Foreground,
}

/// Supervisor to shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToShim {
    /// The agent was stopped (Ctrl-Z): so is the shim, that the user's shell may take over.
    Stopped,
    /// The agent was stopped since it wants to read or set the terminal and is not in its foreground.
    WantsTerminal,
    /// The box has ended: exit with this code.
    Ended(Exit),
}

impl FromShim {
    /// As bytes.
    #[must_use]
    pub fn encode(self) -> [u8; LENGTH] {
        match self {
            FromShim::Signal(number) => [b'S', number],
            FromShim::Foreground => [b'F', 0],
        }
    }

    /// From bytes; `None` for what no shim sends.
    #[must_use]
    pub fn decode(bytes: [u8; LENGTH]) -> Option<Self> {
        match bytes {
            [b'S', number] if (1..=64).contains(&number) => Some(FromShim::Signal(number)),
            [b'F', 0] => Some(FromShim::Foreground),
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
            ToShim::WantsTerminal => [b'W', 0],
            ToShim::Ended(Exit::Code(code)) => [b'X', code],
            ToShim::Ended(Exit::Signal(number)) => [b'K', number],
        }
    }

    /// From bytes; `None` for what no supervisor sends.
    #[must_use]
    pub fn decode(bytes: [u8; LENGTH]) -> Option<Self> {
        match bytes {
            [b'T', 0] => Some(ToShim::Stopped),
            [b'W', 0] => Some(ToShim::WantsTerminal),
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
        let mut known = Vec::new();
        for message in [ToShim::Stopped, ToShim::WantsTerminal].into_iter().chain((0..=255).flat_map(|n| [Exit::Code(n), Exit::Signal(n)]).map(ToShim::Ended)) {
            assert_eq!(ToShim::decode(message.encode()), Some(message));
            known.push(message.encode());
        }
        let mut sent = Vec::new();
        for message in (1..=64).map(FromShim::Signal).chain([FromShim::Foreground]) {
            assert_eq!(FromShim::decode(message.encode()), Some(message));
            sent.push(message.encode());
        }
        for bytes in (0..=255).flat_map(|kind| (0..=255).map(move |value| [kind, value])) {
            assert_eq!(ToShim::decode(bytes).is_some(), known.contains(&bytes), "{bytes:?}");
            assert_eq!(FromShim::decode(bytes).is_some(), sent.contains(&bytes), "{bytes:?}");
        }
    }
}
