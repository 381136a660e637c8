//! Channels that carry a card to somewhere else. They bring nothing back: who is told goes to the desk and rules there.

use agentbox_core::policy::settings::CourierKind;

use super::{email, ntfy, slack, webhook};
use crate::Card;

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Names in lower case, and values of ASCII: of the request, or of the letter.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// What comes behind the policy's own path: an address that is a secret.
    pub path: Option<String>,
}

/// What a courier of this kind sends for `card`: with its secret, at `at` (Unix time in seconds).
#[must_use]
pub fn post(kind: CourierKind, card: &Card, secret: Option<&str>, at: u64) -> Post {
    match kind {
        CourierKind::Webhook => webhook::post(card, secret, at),
        CourierKind::Ntfy => ntfy::post(card, secret, at),
        CourierKind::Slack => slack::post(card, secret, at),
        CourierKind::Email => email::post(card, at),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Instant;

    use crate::{
        Card, WaitingRoom,
        card::About,
        example,
        room::{Asker, Bounds, Deed},
        signature::Approvers,
    };

    /// A card as any other.
    pub(crate) fn card() -> Card {
        let mut room = WaitingRoom::new(Bounds::default(), Box::new(|| Some(12_345_678)));
        let now = Instant::now();
        let deeds = room.arrive(example::hold(1), Asker(1), now);
        let [Deed::Opened(id)] = &deeds[..] else { panic!("{deeds:?}") };
        Card::of(&room.one(id, now).unwrap(), &About::new("b1", Approvers::default()))
    }
}
