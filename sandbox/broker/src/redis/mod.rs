//! Redis between a client in the box and a server: every command is parsed whole, judged by what it means, and sent on as it was parsed.
//!
//! What is refused is replaced by a command that no server knows, so that its transaction is truly aborted and its answers stay in order.

mod answers;
mod commands;
mod keyed;
mod refusal;
mod relay;
mod replies;
mod scripts;
mod serve;
mod session;
mod transaction;
mod words;

pub(crate) use commands::{array, whole as commands};
pub(crate) use scripts::Scripts;
pub(crate) use serve::serve;

/// The bytes read as commands and as answers, whole and cut where the first of them says.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let (cut, bytes) = bytes.split_first().map_or((1, bytes), |(cut, bytes)| (usize::from(*cut).max(1), bytes));
    let (mut decoder, mut scanner) = (commands::Decoder::default(), replies::Scanner::default());
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    let (mut commands, mut answers) = (true, true);
    for piece in bytes.chunks(cut) {
        if commands {
            asked.extend_from_slice(piece);
        }
        // Each turn takes at least a byte.
        while commands {
            let taken = match decoder.read(&asked) {
                Ok(commands::Found::Nothing(length) | commands::Found::Array(length, _) | commands::Found::Line(length, _)) => length,
                Ok(commands::Found::More) => break,
                Ok(commands::Found::Long(_)) | Err(_) => {
                    commands = false;
                    break;
                }
            };
            assert!(taken > 0 && taken <= asked.len(), "nothing is taken that is not there");
            asked.drain(..taken);
        }
        if answers {
            answered.extend_from_slice(piece);
        }
        while answers {
            match scanner.next(&answered) {
                Ok(Some(piece)) => {
                    assert!(piece.length > 0 && piece.length <= answered.len(), "nothing is taken that is not there");
                    answered.drain(..piece.length);
                }
                Ok(None) => break,
                Err(_) => answers = false,
            }
        }
    }
}
