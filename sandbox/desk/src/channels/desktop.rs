//! A notification on the approver's own desktop: a few lines, since others may look over the shoulder, and no button.

use super::in_three_lines;
use crate::Card;

/// Its name in the policy's `approval.channels`.
pub const NAME: &str = "desktop";

/// Summary and lines of what is shown for `card`. In the summary stands nothing of the agent's: some desktops read markup there, too.
#[must_use]
pub fn note(card: &Card) -> (String, String) {
    (format!("agentbox: held {}", card.id), in_three_lines(card))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::courier::tests::card;

    #[test]
    fn it_is_short_and_its_summary_is_ours_alone() {
        let mut card = card();
        card.place = "prod\u{1b}[2J\n<b>uction".to_owned();
        let (summary, body) = note(&card);
        assert_eq!(summary, "agentbox: held earrb0");
        assert_eq!(body.lines().count(), 3, "{body}");
        assert!(body.starts_with("destroy railway.volumeDelete railway:volume/3d2c9a in prod\\u{1b}[2J\\u{a}<b>uction\n"), "{body}");
    }
}
