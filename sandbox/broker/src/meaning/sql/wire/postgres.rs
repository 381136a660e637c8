//! PostgreSQL's messages from the client: a letter, a length, a body.

use agentbox_core::{Effect, Operation};

use super::{
    super::{Dialect, Said, judge::Judge},
    Malformed, big, take, take_text,
};

/// Codes of the untyped first messages: TLS, GSS, cancel, protocol 3.
const TLS: u64 = 80_877_103;
const GSS: u64 = 80_877_104;
const CANCEL: u64 = 80_877_102;

/// Judges every message of `bytes`.
pub(in super::super) fn judge(bytes: &[u8], said: &Said) -> Vec<Operation> {
    let mut judge = Judge::new(Dialect::PostgreSql, said);
    if let Err(why) = messages(bytes, &mut judge) {
        judge.unclear(why.to_string());
    }
    judge.finish()
}

fn messages(bytes: &[u8], judge: &mut Judge<'_>) -> Result<(), Malformed> {
    let mut rest = bytes;
    if rest.first() == Some(&0) {
        let size = super::length(big(take(&mut rest, 4)?))?;
        let mut body = take(&mut rest, size.checked_sub(4).ok_or(Malformed("a length is too short"))?)?;
        let code = big(take(&mut body, 4)?);
        match code {
            TLS | GSS => judge.add_here(Effect::Read, "connect", "asks for encryption"),
            CANCEL => judge.add_here(Effect::Write, "cancel", "cancels a statement"),
            _ if code >> 16 == 3 && contains(body, b"replication\0") => return Err(Malformed("replication is not spoken")),
            _ if code >> 16 == 3 => judge.add_here(Effect::Write, "connect", "logs in"),
            _ => return Err(Malformed("the protocol is not known")),
        }
    }
    // The portal that was bound last, by name, and the statement that it has.
    let mut portals: std::collections::BTreeMap<Vec<u8>, Vec<u8>> = std::collections::BTreeMap::new();
    // Each turn takes at least five bytes.
    while !rest.is_empty() {
        let kind = take(&mut rest, 1)?.first().copied().unwrap_or(0);
        let size = super::length(big(take(&mut rest, 4)?))?;
        let mut body = take(&mut rest, size.checked_sub(4).ok_or(Malformed("a length is too short"))?)?;
        match kind {
            b'Q' => {
                let text = take_text(&mut body)?;
                judge.text(text);
            }
            b'P' => {
                let name = String::from_utf8_lossy(take_text(&mut body)?).into_owned();
                let text = take_text(&mut body)?;
                judge.said.to_mut().prepare(&name, text);
                judge.add_here(Effect::Write, "prepare", "prepares a statement, which is judged when it is executed");
                // Types of parameters.
                body = &[];
            }
            b'B' => {
                let portal = take_text(&mut body)?.to_vec();
                let statement = take_text(&mut body)?.to_vec();
                portals.insert(portal, statement);
                judge.add_here(Effect::Write, "bind", "binds values");
                body = &[];
            }
            b'E' => {
                let portal = take_text(&mut body)?;
                // A portal that was not bound in these bytes may be a cursor or was bound before: under the unnamed one lies what was prepared last.
                let statement = portals.get(portal).map_or(portal, Vec::as_slice);
                let text = judge.said.prepared(&String::from_utf8_lossy(statement)).map(<[u8]>::to_vec);
                match text {
                    Some(text) => judge.text(&text),
                    None => judge.unclear("it executes what was prepared under a name that is not known here"),
                }
                take(&mut body, 4)?;
            }
            b'F' => {
                judge.unclear("it calls a function by its number");
                body = &[];
            }
            b'D' | b'H' | b'S' | b'X' | b'C' | b'p' => {
                judge.add_here(Effect::Read, "protocol", "steers the protocol");
                body = &[];
            }
            b'd' | b'c' | b'f' => {
                judge.add_here(Effect::Write, "copy", "hands rows over");
                body = &[];
            }
            _ => return Err(Malformed("a message is not known")),
        }
        if !body.is_empty() {
            return Err(Malformed("a message is longer than what it says"));
        }
    }
    Ok(())
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}
