//! A webhook: the whole card as JSON, signed as "Standard Webhooks" has it (id, timestamp and body, HMAC-SHA256), so that its receiver can tell it from anybody else's.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;
use serde_json::json;

use super::courier::Post;
use crate::Card;

/// What is sent for `card` at `at` (Unix time in seconds). A secret may be base64 behind `whsec_`, as the standard writes it.
#[must_use]
pub(super) fn post(card: &Card, secret: Option<&str>, at: u64) -> Post {
    let body = json!({ "type": "agentbox.held", "timestamp": at, "data": card }).to_string();
    let id = format!("agentbox-{}-{}", card.session, card.id);
    let mut headers = vec![("content-type", "application/json".to_owned()), ("webhook-id", id.clone()), ("webhook-timestamp", at.to_string())];
    if let Some(secret) = secret {
        let key = secret.strip_prefix("whsec_").and_then(|base64| STANDARD.decode(base64).ok()).unwrap_or_else(|| secret.as_bytes().to_vec());
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), format!("{id}.{at}.{body}").as_bytes());
        headers.push(("webhook-signature", format!("v1,{}", STANDARD.encode(tag))));
    }
    Post { headers, body: body.into_bytes(), path: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::courier::tests::card;

    #[test]
    fn it_is_signed_as_the_standard_has_it() {
        let post = post(&card(), Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), 1_614_265_330);
        let header = |name: &str| post.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()).unwrap();
        let body = String::from_utf8(post.body.clone()).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        let tag = STANDARD.decode(header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
        hmac::verify(&key, format!("{}.1614265330.{body}", header("webhook-id")).as_bytes(), &tag).unwrap();
        let told: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((told["type"].as_str(), told["data"]["place"].as_str()), (Some("agentbox.held"), Some("production")));
    }

    #[test]
    fn the_standards_own_example() {
        // From the specification: the id, time and body that it signs with this secret.
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        let tag = hmac::sign(&key, b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}");
        assert_eq!(STANDARD.encode(tag), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
