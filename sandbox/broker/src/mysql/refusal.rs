//! A no in MySQL's words.

use agentbox_core::{Refusal, RefusalKind, safe};

use super::packets::packet;

/// Access denied (ER_SPECIFIC_ACCESS_DENIED_ERROR), and the SQLSTATE that goes with it.
const REFUSED: (u16, &str) = (1227, "42000");

/// An error of no other kind (ER_UNKNOWN_ERROR).
const OTHER: (u16, &str) = (1105, "HY000");

/// In a transaction that was rolled back.
const ROLLED_BACK: (u16, &str) = (1105, "25000");

/// Longest text, in characters; clients keep 511 bytes of it.
const LONGEST: usize = 500;

/// An error's packet with a refusal.
pub(super) fn error(number: u8, refusal: &Refusal) -> Vec<u8> {
    let word = match refusal.kind {
        RefusalKind::Pending => "held",
        RefusalKind::Denied | RefusalKind::Failed => "refused",
        RefusalKind::AlreadyDone => "done already",
    };
    let id = refusal.approval_id.as_deref().map_or_else(String::new, |id| format!(" [{id}]"));
    let place = if refusal.place.is_empty() { String::new() } else { format!(" in the place {}", refusal.place) };
    let text = format!("{word}: {}{id} ({}{place}). {} `agentbox why` tells more.", refusal.reason, refusal.operation, refusal.guidance);
    bytes(number, REFUSED, &text)
}

/// Any other error of ours.
pub(super) fn plain(number: u8, text: &str) -> Vec<u8> {
    bytes(number, OTHER, text)
}

/// What a client is told that goes on in a transaction that was rolled back.
pub(super) fn rolled_back(number: u8) -> Vec<u8> {
    bytes(number, ROLLED_BACK, "the transaction was rolled back while one of its statements waited for a person: nothing of it is done until you say ROLLBACK")
}

/// An error in the place of a greeting, where a state cannot be told yet.
pub(super) fn instead_of_greeting(text: &str) -> Vec<u8> {
    let mut body = vec![0xff];
    body.extend_from_slice(&OTHER.0.to_le_bytes());
    body.extend_from_slice(safe::line(&format!("agentbox: {text}"), LONGEST).as_bytes());
    packet(0, &body)
}

/// The same of a refusal.
pub(super) fn refused_greeting(refusal: &Refusal) -> Vec<u8> {
    let id = refusal.approval_id.as_deref().map_or_else(String::new, |id| format!(" [{id}]"));
    instead_of_greeting(&format!("{}{id}. {}", refusal.reason, refusal.guidance))
}

fn bytes(number: u8, (code, state): (u16, &str), text: &str) -> Vec<u8> {
    let mut body = vec![0xff];
    body.extend_from_slice(&code.to_le_bytes());
    body.push(b'#');
    body.extend_from_slice(state.as_bytes());
    body.extend_from_slice(safe::line(&format!("agentbox: {text}"), LONGEST).as_bytes());
    packet(number, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_reads_all_of_it() {
        let refusal = Refusal {
            kind: RefusalKind::Pending,
            operation: "mysql.drop".into(),
            place: "production".into(),
            reason: "drops a table".into(),
            guidance: "Do not retry.".into(),
            approval_id: Some("h-1".into()),
        };
        let bytes = error(1, &refusal);
        assert_eq!((bytes[3], bytes[4], &bytes[5..7], &bytes[7..13]), (1, 0xff, &[0xcb, 0x04][..], &b"#42000"[..]));
        let text = String::from_utf8_lossy(&bytes[13..]).into_owned();
        assert!(text.starts_with("agentbox: held: drops a table [h-1] (mysql.drop in the place production)"), "{text}");
        assert_eq!(usize::from(bytes[0]) + 256 * usize::from(bytes[1]), bytes.len() - 4);
    }
}
