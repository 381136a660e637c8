//! One look carried out: question by question, each proven to be a read before it leaves.

use agentbox_core::{Destination, Effect, look::Seen, wire::LookRequest};
use http::{HeaderMap, HeaderValue, Request, header};

use super::{Looker, secret, secret::Secret};
use crate::{
    look::{self, Answer, Asked, Bearing, MOST_QUESTIONS, Question, Step},
    meaning::{Body, Head, Scheme, understand},
};

impl Looker {
    /// Looks, and says in one sentence why not where it cannot. No secret is in either.
    pub(crate) async fn look(&self, request: &LookRequest) -> Result<Seen, String> {
        let Some(look) = look::find(&request.resource, &request.destination) else {
            return Err(format!("nobody knows how to look at {} on {}", request.resource, request.destination.host));
        };
        let (name, secret) = secret::for_reading(&self.held, &request.destination)?;
        let asked = Asked { resource: &request.resource, action: &request.action };
        let mut answers: Vec<Answer> = Vec::new();
        for _ in 0..=MOST_QUESTIONS {
            let step = look.next(&asked, &answers).map_err(|error| scrubbed(format!("looking with credential `{name}`: {error}"), secret))?;
            match step {
                Step::Seen(seen) => return without(*seen, secret),
                Step::Ask(question) => {
                    let http = build(&question, &request.destination, secret)?;
                    let answer = self
                        .transport
                        .exchange(&request.destination, http)
                        .await
                        .map_err(|error| scrubbed(format!("looking at {}: {error}", request.destination), secret))?;
                    answers.push(answer);
                }
            }
        }
        Err("the look asked more questions than it may".to_owned())
    }
}

/// The question as a request. It is read first by the reader that judges the agent: what is not plainly a read is not sent.
fn build(question: &Question, destination: &Destination, secret: &Secret) -> Result<Request<bytes::Bytes>, String> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("agentbox/", env!("CARGO_PKG_VERSION"))));
    if let Some(content_type) = question.content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    let head =
        Head { method: &question.method, scheme: Scheme::Https, host: &destination.host, port: destination.port, target: &question.target, headers: &headers };
    let body = if question.body.is_empty() { Body::Absent } else { Body::Whole(&question.body) };
    let meaning = understand(&head, body);
    let reads = |operation: &agentbox_core::Operation| operation.effect == Effect::Read && operation.delegates.is_none() && !operation.yields_credential;
    if !meaning.operations.iter().all(reads) {
        return Err("the look's own question is no plain read, so it was not sent".to_owned());
    }
    let (name, value) = match question.bearing {
        Bearing::Bearer => (header::AUTHORIZATION, format!("Bearer {}", secret.reveal())),
        Bearing::Header(name) => (header::HeaderName::from_static(name), secret.reveal().to_owned()),
    };
    let mut value = HeaderValue::from_str(&value).map_err(|_| "the credential cannot stand in a header".to_owned())?;
    value.set_sensitive(true);
    headers.insert(name, value);
    let mut request = Request::new(question.body.clone());
    *request.method_mut() = question.method.clone();
    *request.uri_mut() = question.target.parse().map_err(|_| "the look's own question has no valid target".to_owned())?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Far sides repeat what they were sent.
fn scrubbed(text: String, secret: &Secret) -> String {
    if secret.is_in(&text) { "the provider's answer repeats the credential, so it is not shown".to_owned() } else { text }
}

fn without(seen: Seen, secret: &Secret) -> Result<Seen, String> {
    let text = serde_json::to_string(&seen).map_err(|_| "what was seen cannot be told".to_owned())?;
    if secret.is_in(&text) { Err("the provider's answer repeats the credential, so it is not shown".to_owned()) } else { Ok(seen) }
}
