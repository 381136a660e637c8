//! The messages between our own processes: length-prefixed, versioned, bounded JSON. The I/O is the callers'.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Digest, Refusal, Request, ResourceId,
    look::Seen,
    permit::{Redeemed, Token},
};

/// Raised whenever a message changes its shape; both ends are the same binary, so a difference is a fault.
pub const VERSION: u8 = 6;

/// Longest message in bytes. The longest honest one is a request with a full excerpt and 256 operations.
pub const LONGEST: usize = 1 << 20;

/// The file gate's questions have numbers from here on, the broker's are below: both speak to one supervisor.
pub const FILES_FROM: u64 = 1 << 63;

/// File gate to broker, a line each, where the box has no network of its own: who is about to connect, and where it wanted to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The client's port on loopback.
    pub port: u16,
    /// Whether it comes over IPv6.
    pub v6: bool,
    /// Where it wanted to go.
    pub to: std::net::SocketAddr,
}

/// Broker, or file gate, to supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToSupervisor {
    /// Please judge this; `ask` names it in the answers.
    Ask {
        /// Chosen by the broker, unique in the session.
        ask: u64,
        /// What would be done.
        request: Box<Request>,
    },
    /// The client of `ask` has gone: do not permit it.
    Gone {
        /// The one it named.
        ask: u64,
    },
    /// About to act: strike this token.
    Redeem {
        /// The one it named.
        ask: u64,
        /// The token's nonce.
        nonce: String,
        /// The digest of what is about to be sent.
        digest: Digest,
    },
    /// Plain allowances that the broker judged itself, for the ledger.
    Record {
        /// In order.
        drafts: Vec<crate::ledger::Draft>,
    },
    /// The agent's own words for the card, as `agentbox ask` gave them.
    Said {
        /// Anything; cut and made safe by who shows it.
        text: String,
    },
    /// The next name that the box has asked for: people see it in the place of the address that stands for it.
    Named {
        /// A host's name.
        name: String,
    },
    /// File gate alone: calls are refused that nobody was asked about, since nothing can be done at this time.
    Hindered {
        /// What is in the way; made safe.
        why: String,
    },
    /// A deed ended: for the ledger and for who else waits on the same hold.
    Done {
        /// The one it named.
        ask: u64,
        /// `200`, `connection reset`; made safe.
        outcome: String,
    },
}

/// Supervisor to broker, or to the file gate.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToBroker {
    /// Yes: redeem this before the deed.
    Permitted {
        /// The one that was asked.
        ask: u64,
        /// One use.
        token: Token,
    },
    /// No.
    Refused {
        /// The one that was asked.
        ask: u64,
        /// For the agent.
        refusal: Refusal,
    },
    /// A file's refusal, which the file gate's caller was told as an errno: `agentbox why` in the box asks the broker.
    Told {
        /// `remove /home/u/work/x`.
        summary: String,
        /// In words.
        refusal: Refusal,
    },
    /// The token was unspent and the entry is on disk: act now.
    Redeemed {
        /// The one that was asked.
        ask: u64,
        /// Proof.
        proof: Redeemed,
    },
}

/// Supervisor to the looker, the process that holds credentials and never sees the agent's bytes.
#[derive(Debug, Serialize, Deserialize)]
pub struct LookRequest {
    /// Names the answer.
    pub id: u64,
    /// What to look at; its text was made safe by [`ResourceId`].
    pub resource: ResourceId,
    /// Where the operation would go.
    pub destination: crate::Destination,
    /// The operation's action.
    pub action: String,
}

/// Looker to supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub struct LookAnswer {
    /// The one that was asked.
    pub id: u64,
    /// What was found, or why nothing was.
    pub seen: Result<Seen, String>,
}

/// Looker to supervisor, once and before anything else: what the box sees in the place of the secrets. No secret is in it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Issued {
    /// By which the broker knows a credential again.
    pub placeholders: Vec<Placeholder>,
    /// Variables of the box, name and value: those that hold a placeholder, and those that held a secret.
    pub variables: Vec<(String, String)>,
    /// Files that the box sees otherwise, path and text.
    pub files: Vec<(std::path::PathBuf, String)>,
    /// Sentences for the person who starts the box.
    pub warnings: Vec<String>,
}

/// What the agent has instead of a secret: worth nothing outside of its box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placeholder {
    /// The credential's name in the policy.
    pub name: String,
    /// The text.
    pub text: String,
}

/// Looker to supervisor: about to send with a credential; strike this token.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The broker's question.
    pub ask: u64,
    /// The token's nonce.
    pub nonce: String,
    /// Of what the looker is about to send, computed by itself.
    pub digest: Digest,
}

/// Supervisor to looker.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// The one that was asked.
    pub ask: u64,
    /// The credentials that were judged with it and may be put in, or why nothing may be sent.
    pub credentials: Result<Vec<String>, String>,
}

/// A message that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BadMessage {
    /// Longer than [`LONGEST`].
    #[error("a message of {0} bytes is longer than {LONGEST}")]
    TooLong(usize),
    /// From another version.
    #[error("message version {0}, this program speaks {VERSION}")]
    OtherVersion(u8),
    /// Not what was expected.
    #[error("not a message: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Bytes before the body: four of length (little endian, of what follows them) and one of version.
pub const HEADER: usize = 5;

/// Encodes a message with its header.
///
/// # Errors
/// It would be longer than [`LONGEST`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, BadMessage> {
    let body = serde_json::to_vec(message)?;
    let length = body.len() + 1;
    if length > LONGEST {
        return Err(BadMessage::TooLong(length));
    }
    let length = u32::try_from(length).map_err(|_| BadMessage::TooLong(body.len()))?;
    let mut bytes = Vec::with_capacity(body.len() + HEADER);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.push(VERSION);
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// Takes the first whole message off the front of `buffer`, if it is there.
///
/// # Errors
/// The peer does not speak our language: the connection must end.
pub fn decode<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> Result<Option<T>, BadMessage> {
    let Some((head, _)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*head) as usize;
    if length == 0 || length > LONGEST {
        return Err(BadMessage::TooLong(length));
    }
    let Some(whole) = buffer.get(4..4 + length) else { return Ok(None) };
    let Some((version, body)) = whole.split_first() else { return Ok(None) };
    if *version != VERSION {
        return Err(BadMessage::OtherVersion(*version));
    }
    let message = serde_json::from_slice(body)?;
    buffer.drain(..4 + length);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_and_leaves_the_rest() {
        let mut bytes = encode(&ToSupervisor::Gone { ask: 7 }).unwrap();
        bytes.extend_from_slice(&[9, 9]);
        assert!(matches!(decode::<ToSupervisor>(&mut bytes), Ok(Some(ToSupervisor::Gone { ask: 7 }))));
        assert_eq!(bytes, [9, 9]);
    }

    #[test]
    fn partial_is_none_and_long_is_refused() {
        let bytes = encode(&ToSupervisor::Gone { ask: 7 }).unwrap();
        for cut in 0..bytes.len() {
            assert!(matches!(decode::<ToSupervisor>(&mut bytes[..cut].to_vec()), Ok(None)));
        }
        assert!(matches!(decode::<ToSupervisor>(&mut vec![255, 255, 255, 255]), Err(BadMessage::TooLong(_))));
        let mut other = bytes.clone();
        other[4] = 9;
        assert!(matches!(decode::<ToSupervisor>(&mut other), Err(BadMessage::OtherVersion(9))));
    }
}
