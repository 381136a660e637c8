//! A letter with the card, for those whom the policy names: plain text, in which nothing can be clicked or is fetched.

use agentbox_core::safe;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use super::courier::Post;
use crate::{Card, card};

/// Longest subject, in characters.
const LONGEST: usize = 120;

/// Bytes of an encoded word (RFC 2047: 75 with what stands around it), before their encoding.
const WORD: usize = 42;

/// Bytes of a line of the body, before their encoding (RFC 2045: 76 after it).
const LINE: usize = 57;

/// What is written for `card` at `at` (Unix time in seconds).
#[must_use]
pub(super) fn post(shown: &Card, at: u64) -> Post {
    let date = i64::try_from(at).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()).and_then(|at| at.format(&Rfc2822).ok());
    let headers = vec![
        ("subject", words(&safe::line(&format!("agentbox: held {}: {} in {}", shown.id, shown.headline(), shown.place), LONGEST))),
        ("date", date.unwrap_or_default()),
        ("message-id", format!("<{}.{}.{at}@agentbox.invalid>", plain(&shown.id.to_string()), plain(&shown.session))),
        // No out-of-office note answers it.
        ("auto-submitted", "auto-generated".to_owned()),
        ("mime-version", "1.0".to_owned()),
        ("content-type", "text/plain; charset=utf-8".to_owned()),
        ("content-transfer-encoding", "base64".to_owned()),
    ];
    let text = card::render(shown, card::Style::Plain);
    // In base64 no line of the text can end the letter, be too long, or be changed on its way.
    let body: Vec<String> = text.as_bytes().chunks(LINE).map(|line| STANDARD.encode(line)).collect();
    Post { headers, body: (body.join("\r\n") + "\r\n").into_bytes(), path: None }
}

/// A subject of ASCII, each line short enough.
fn words(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for character in text.chars() {
        if word.len() + character.len_utf8() > WORD {
            words.push(std::mem::take(&mut word));
        }
        word.push(character);
    }
    words.push(word);
    words.iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word))).collect::<Vec<_>>().join("\r\n ")
}

fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::courier::tests::card;

    #[test]
    fn a_letter_holds_the_card_and_nothing_of_it_is_a_header() {
        let mut card = card();
        card.place = "pro\r\nBcc: evil@example.com\r\n.\r\nдuction".to_owned();
        let post = post(&card, 1_614_265_330);
        let header = |name: &str| post.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()).unwrap();
        assert_eq!(header("date"), "Thu, 25 Feb 2021 15:02:10 +0000");
        let subject = header("subject");
        assert!(subject.lines().all(|line| line.len() <= 76 && line.trim().starts_with("=?utf-8?B?")), "{subject}");
        assert!(post.headers.iter().all(|(_, value)| value.is_ascii()));
        let body = String::from_utf8(post.body).unwrap();
        assert!(body.lines().all(|line| line.len() <= 76));
        let text = STANDARD.decode(body.replace("\r\n", "")).unwrap();
        assert!(String::from_utf8(text).unwrap().contains("volumeDelete"));
    }
}
