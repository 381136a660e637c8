//! A no in Redis's words, and the command that fails in its place, so that the server's own state is what the client is told.

use agentbox_core::{Refusal, RefusalKind, safe};

use super::commands::array;

/// Longest text, in characters.
const LONGEST: usize = 900;

/// A command that no server knows, with a random name: a transaction in which it stands is aborted by the server itself.
pub(super) fn stand_in() -> Option<Vec<u8>> {
    let mut nonce = [0; 12];
    getrandom::fill(&mut nonce).ok()?;
    let name = nonce.iter().fold("agentbox_refused_".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    Some(array(&[name.as_bytes()]))
}

/// A refusal as an error of the protocol.
pub(super) fn error(refusal: &Refusal) -> Vec<u8> {
    let word = match refusal.kind {
        RefusalKind::Pending => "held",
        RefusalKind::Denied | RefusalKind::Failed => "refused",
        RefusalKind::AlreadyDone => "done already",
    };
    let id = refusal.approval_id.as_deref().map_or_else(String::new, |id| format!(" [{id}]"));
    let place = if refusal.place.is_empty() { String::new() } else { format!(" in the place {}", refusal.place) };
    plain(&format!("{word}: {}{id} ({}{place}). {} `agentbox why` tells more.", refusal.reason, refusal.operation, refusal.guidance))
}

/// Any other error of ours.
pub(super) fn plain(text: &str) -> Vec<u8> {
    format!("-AGENTBOX {}\r\n", safe::line(text, LONGEST)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_line_whatever_is_in_it() {
        let refusal = Refusal {
            kind: RefusalKind::Pending,
            operation: "redis.flushall".into(),
            place: "production".into(),
            reason: "loses\r\n+OK\r\nwhat is stored".into(),
            guidance: "Do not retry.".into(),
            approval_id: Some("h-1".into()),
        };
        let line = String::from_utf8(error(&refusal)).unwrap();
        assert!(line.starts_with("-AGENTBOX held: ") && line.contains("[h-1] (redis.flushall in the place production)"), "{line}");
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
    }
}
