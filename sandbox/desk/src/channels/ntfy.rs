//! ntfy: one short notification, without what only the approver should read. A topic may be anybody's to read.

use super::{courier::Post, in_three_lines};
use crate::Card;

/// What is sent for `card`: the secret is an access token.
#[must_use]
pub(super) fn post(card: &Card, secret: Option<&str>, _: u64) -> Post {
    // A header holds ASCII; what else a name has stands in the body.
    let mut headers = vec![("title", format!("agentbox: held {}", card.id)), ("priority", "high".to_owned()), ("tags", "raised_hand".to_owned())];
    if let Some(token) = secret {
        headers.push(("authorization", format!("Bearer {token}")));
    }
    Post { headers, body: in_three_lines(card).into_bytes(), path: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::courier::tests::card;

    #[test]
    fn it_is_short_and_says_nothing_that_only_the_approver_should_read() {
        let post = post(&card(), Some("tk_x"), 0);
        let body = String::from_utf8(post.body).unwrap();
        assert_eq!(body, "destroy railway.volumeDelete railway:volume/3d2c9a in production\nbox b1, refused in 15m 00s\nagentbox show earrb0");
        assert!(post.headers.contains(&("authorization", "Bearer tk_x".to_owned())));
        assert!(post.headers.iter().all(|(_, value)| value.is_ascii()));
    }
}
