//! MySQL's commands, each the body of a packet.

use agentbox_core::{Effect, Operation};

use super::{
    super::{Dialect, Said, judge::Judge, name::Name},
    Malformed, little, take,
};

/// Under which name the statement is kept that was prepared last: MariaDB executes it by the number -1.
const LAST: &str = "last";

/// Judges every command of `bytes`.
pub(in super::super) fn judge(bytes: &[u8], said: &Said) -> Vec<Operation> {
    let mut judge = Judge::new(Dialect::MySql, said);
    let (commands, malformed) = crate::mysql::commands(bytes);
    for one in commands {
        if let Err(why) = command(one, &mut judge) {
            judge.unclear(why.to_string());
            break;
        }
    }
    if let Some(why) = malformed {
        judge.unclear(why.to_string());
    }
    judge.finish()
}

/// Judges one command, without its packet's header.
pub(in super::super) fn one(payload: &[u8], said: &Said) -> Vec<Operation> {
    let mut judge = Judge::new(Dialect::MySql, said);
    if let Err(why) = command(payload, &mut judge) {
        judge.unclear(why.to_string());
    }
    judge.finish()
}

fn command(packet: &[u8], judge: &mut Judge<'_>) -> Result<(), Malformed> {
    let (number, body) = packet.split_first().ok_or(Malformed("a packet is empty"))?;
    let mut write = |why: &str, effect: Effect| judge.add_here(effect, "command", why);
    match number {
        0x01 => write("ends the connection", Effect::Read),
        0x02 => write("chooses the database", Effect::Write),
        0x03 => query(body, judge)?,
        0x04 => write("lists columns", Effect::Read),
        0x05 => judge.add(Effect::Write, "create", "database", &Name::of(body), "makes a database"),
        0x06 => judge.add(Effect::Destroy, "drop", "database", &Name::of(body), "removes a database with all that it holds"),
        // The bits of RESET SLAVE and RESET MASTER.
        0x07 if body.first().is_some_and(|what| what & 0xc0 != 0) => write("deletes logs or forgets replication", Effect::Destroy),
        0x07 => write("reloads logs, rights or caches", Effect::Write),
        0x08 => write("stops the server", Effect::Destroy),
        0x09 | 0x0a | 0x0d | 0x0e => write("asks how the server is", Effect::Read),
        0x0c => write("ends a connection", Effect::Write),
        0x11 | 0x1f => write("logs in anew", Effect::Write),
        // What is prepared is judged when it is executed. The server numbers from 1.
        0x16 => {
            write("prepares a statement", Effect::Write);
            let next = (1..=u32::MAX).find(|id| judge.said.prepared(&id.to_string()).is_none()).unwrap_or_default();
            judge.said.to_mut().prepare(&next.to_string(), body);
            judge.said.to_mut().prepare(LAST, body);
        }
        0x17 | 0xfa => {
            let id = little(body.get(..4).ok_or(Malformed("a command ends too soon"))?);
            let id = if id == u64::from(u32::MAX) { LAST.to_owned() } else { id.to_string() };
            match judge.said.prepared(&id).map(<[u8]>::to_vec) {
                Some(text) => judge.text(&text),
                None => judge.unclear("it executes what was prepared under a number that is not known here"),
            }
        }
        0x18..=0x1c => write("steers a prepared statement", Effect::Write),
        0x12..=0x15 | 0x1e => return Err(Malformed("replication is not spoken")),
        0x20 => write("copies the server's data", Effect::Opaque),
        _ => return Err(Malformed("a command is not known")),
    }
    Ok(())
}

/// `COM_QUERY`. Where query attributes were agreed on, a count of parameters and of their sets stands before the text; whether they were
/// agreed on the packet does not tell, and no statement begins with a control character.
fn query(body: &[u8], judge: &mut Judge<'_>) -> Result<(), Malformed> {
    let mut text = body;
    if let [count @ 0..=0xfa, 1, ..] = body {
        if *count != 0 {
            return Err(Malformed("the query has attributes that are not read"));
        }
        take(&mut text, 2)?;
    }
    judge.text(text);
    Ok(())
}
