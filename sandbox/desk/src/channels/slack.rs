//! A chat's incoming webhook as Slack has it (Mattermost, Rocket.Chat and Discord's `/slack` take the same): one short message. The address is the secret.

use agentbox_core::safe;
use serde_json::json;

use super::courier::Post;
use crate::{Card, card::duration};

/// Longest line, in characters.
const LONGEST: usize = 200;

/// What is sent for `card`: the secret is the rest of the address, `T000/B000/SECRET`.
#[must_use]
pub(super) fn post(card: &Card, secret: Option<&str>, _: u64) -> Post {
    let text = format!(
        "*Held:* {} in *{}*\nbox {}, refused in {}\n`agentbox show {}`",
        plain(&card.headline()),
        plain(&card.place),
        plain(&card.session),
        duration(card.left),
        card.id
    );
    // No link is looked up: what the agent names would be fetched by the chat's servers.
    let body = json!({ "text": text, "unfurl_links": false, "unfurl_media": false }).to_string();
    Post { headers: vec![("content-type", "application/json".to_owned())], body: body.into_bytes(), path: secret.map(str::to_owned) }
}

/// Text that means nothing to a chat: no mention, no link, no other letters.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for character in safe::line(text, LONGEST).chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '*' | '_' | '~' | '`' | '@' | '|' => {
                // An invisible joiner takes the character its meaning.
                out.push('\u{2060}');
                out.push(character);
                out.push('\u{2060}');
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::courier::tests::card;

    #[test]
    fn it_is_short_and_mentions_nobody() {
        let mut card = card();
        card.place = "<!channel> @here *x*".to_owned();
        let post = post(&card, Some("T000/B000/SECRET"), 0);
        let told: serde_json::Value = serde_json::from_slice(&post.body).unwrap();
        let text = told["text"].as_str().unwrap();
        assert!(text.starts_with("*Held:* destroy railway.volumeDelete railway:volume/3d2c9a in *&lt;!channel&gt; "), "{text}");
        assert!(!text.contains("<!") && !text.contains("@here") && !text.contains("*x*"), "{text}");
        assert_eq!(post.path.as_deref(), Some("T000/B000/SECRET"));
        assert!(!String::from_utf8_lossy(&post.body).contains("SECRET"));
    }
}
