//! The text that a ruling's signature is of: plain lines that name exactly one operation of one box, and all that was shown of it.

use std::time::Duration;

use agentbox_core::safe;

use crate::Card;

/// Longest value of a line, in characters.
const VALUE: usize = 300;

/// What is signed to approve `card`, after `typed` was typed, once or for its kind and so long. Both ends make it for themselves, each from the card that it has: where
/// anything differs, the signature does not fit. `None` once the hold no longer waits for rulings.
#[must_use]
pub fn statement(card: &Card, typed: Option<&str>, lasting: Option<Duration>) -> Option<String> {
    let request = card.digest?;
    let mut text = String::from(match lasting {
        None => "agentbox approval 1: let this happen, once\n",
        Some(_) => "agentbox approval 1: let this kind happen in this place, for a time\n",
    });
    let mut line = |label: &str, value: &str| {
        // One line each, whatever the value: nothing in it can begin another.
        text.push_str(&format!("{label}: {}\n", safe::line(value, VALUE)));
    };
    line("box", &card.session);
    line("hold", card.id.as_str());
    line("nonce", &card.nonce);
    line("until", &card.until.to_string());
    line("operation", &card.headline());
    line("place", &card.place);
    if let Some(typed) = typed {
        line("typed", typed);
    }
    if let Some(lasting) = lasting {
        line("for", &format!("{} s", lasting.as_secs()));
    }
    line("request", &request.to_hex());
    line("shown", &card.shown().to_hex());
    Some(text)
}
