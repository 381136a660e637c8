//! A no in PostgreSQL's words, and the statement that fails in its place, so that the server's own state is what the client is told.

use agentbox_core::{Refusal, RefusalKind, safe};

use super::frames;

/// Insufficient privilege (PostgreSQL 18, appendix A).
const REFUSED: &str = "42501";

/// What a server answers that is to write in a read-only transaction.
const READ_ONLY: &str = "25006";

/// Longest text of one field, in characters.
const LONGEST: usize = 900;

/// What is sent instead of what was refused, and the error that the client gets.
#[derive(Debug)]
pub(super) struct Refused {
    nonce: String,
    pub(super) bytes: Vec<u8>,
}

impl Refused {
    /// `None` where the system gives no random numbers.
    pub(super) fn new(refusal: &Refusal) -> Option<Self> {
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).ok()?;
        let nonce = nonce.iter().fold("agentbox_refused_".to_owned(), |text, byte| format!("{text}{byte:02x}"));
        Some(Self { nonce, bytes: error("ERROR", refusal) })
    }

    /// A simple query that cannot be parsed.
    pub(super) fn query(&self) -> Vec<u8> {
        frames::of_texts(b'Q', &[self.nonce.as_bytes()], &[])
    }

    /// An `Execute` of a portal that does not exist.
    pub(super) fn execute(&self) -> Vec<u8> {
        frames::of_texts(b'E', &[self.nonce.as_bytes()], &[0; 4])
    }

    /// Whether this error of the server speaks of it. Our word is random, so no other statement's error can.
    pub(super) fn is_answered_by(&self, body: &[u8]) -> bool {
        body.windows(self.nonce.len()).any(|window| window == self.nonce.as_bytes())
    }
}

/// `ErrorResponse` with a refusal.
pub(super) fn error(severity: &str, refusal: &Refusal) -> Vec<u8> {
    let word = match refusal.kind {
        RefusalKind::Pending => "held",
        RefusalKind::Denied | RefusalKind::Failed => "refused",
        RefusalKind::AlreadyDone => "done already",
    };
    let id = refusal.approval_id.as_deref().map_or_else(String::new, |id| format!(" [{id}]"));
    let place = if refusal.place.is_empty() { String::new() } else { format!(" in the place {}", refusal.place) };
    fields(
        severity,
        REFUSED,
        &format!("agentbox: {word}: {}{id}", refusal.reason),
        &format!("The operation is {}{place}.", refusal.operation),
        &format!("{} `agentbox why` tells more.", refusal.guidance),
    )
}

/// An error that ends the connection: something cannot be spoken here.
pub(super) fn fatal(state: &str, message: &str, hint: &str) -> Vec<u8> {
    fields("FATAL", state, &format!("agentbox: {message}"), "", hint)
}

fn fields(severity: &str, state: &str, message: &str, detail: &str, hint: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (letter, text) in [(b'S', severity), (b'V', severity), (b'C', state), (b'M', message), (b'D', detail), (b'H', hint)] {
        if !text.is_empty() {
            body.push(letter);
            body.extend_from_slice(safe::line(text, LONGEST).replace('\0', "").as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    frames::message(b'E', &body)
}

/// An error of a server that refused to write in a read-only transaction of ours, with the reason; `None` for all others.
pub(super) fn read_only(body: &[u8]) -> Option<Vec<u8>> {
    let has_hint = body.split(|byte| *byte == 0).any(|field| field.starts_with(b"H"));
    if state(body) != READ_ONLY || has_hint {
        return None;
    }
    let mut body = body.strip_suffix(b"\0")?.to_vec();
    body.extend_from_slice(
        b"HThe function reads, as far as its definition tells, and nobody has allowed more here: agentbox lets it run in a read-only transaction.\0\0",
    );
    Some(frames::message(b'E', &body))
}

/// The SQLSTATE of an `ErrorResponse`'s body.
pub(super) fn state(body: &[u8]) -> String {
    let field = body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(b"C"));
    field
        .filter(|state| state.len() == 5 && state.iter().all(u8::is_ascii_alphanumeric))
        .map_or_else(|| "an error".to_owned(), |state| String::from_utf8_lossy(state).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> Refusal {
        Refusal {
            kind: RefusalKind::Pending,
            operation: "postgres.drop".into(),
            place: "production".into(),
            reason: "dropping a table waits for a person.".into(),
            guidance: "Do not retry.".into(),
            approval_id: Some("h-1".into()),
        }
    }

    #[test]
    fn a_client_reads_all_of_it() {
        let bytes = error("ERROR", &refusal());
        let head = frames::head(&bytes).unwrap().unwrap();
        assert_eq!((head.kind, head.whole()), (b'E', bytes.len()));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for wanted in ["SERROR\0", "C42501\0", "Magentbox: held: dropping a table", "[h-1]\0", "Dthe".to_uppercase().get(..1).unwrap(), "agentbox why"] {
            assert!(text.contains(wanted), "{wanted}: {text:?}");
        }
        assert_eq!(state(&bytes[5..]), "42501");
    }

    #[test]
    fn its_own_error_is_known_and_no_other() {
        let (one, other) = (Refused::new(&refusal()).unwrap(), Refused::new(&refusal()).unwrap());
        let answer = format!("SERROR\0C34000\0Mportal \"{}\" does not exist\0\0", one.nonce);
        assert!(one.is_answered_by(answer.as_bytes()) && !other.is_answered_by(answer.as_bytes()));
        assert!(one.nonce.len() <= frames::LONGEST_NAME, "a portal's name is cut beyond that");
    }
}
