//! The broker's side of one request with a credential: asks, hands it over with its token, and tells how it ended.

use agentbox_core::{Effect, RefusalKind, Request as Question, Verdict};
use http::{Response, StatusCode, request::Parts};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::{
    super::{
        asking::{Outcome, Right, permit, refusal, still_fits},
        body::Through,
        canonical::Known,
        serve::{Facts, Version, back, plain, refused, unreachable},
    },
    ask::Carrier,
    message::{BodyKind, Carried, Cloth, Connection, MARK, MINTED, REFUSED, UNREACHABLE, Way, texts},
};
use crate::{
    broker::Broker,
    meaning::{ReplyStyle, Scheme},
};

/// Longest sentence of the process that holds the credentials.
const LONGEST_SENTENCE: usize = 4096;

/// What is handed over.
pub(crate) struct Ware<'a> {
    pub(crate) question: Question,
    pub(crate) parts: &'a Parts,
    pub(crate) target: &'a str,
    pub(crate) body: Through,
    pub(crate) known: Known<'a>,
    pub(crate) style: ReplyStyle,
}

/// The rest of the story of a request, once its question is made.
pub(crate) async fn pass(broker: &Broker, carrier: &Carrier, facts: &Facts, version: Version, ware: Ware<'_>) -> Result<Response<Through>, Response<Through>> {
    let Ware { question, parts, target, body, known, style } = ware;
    let summary = question.evidence.summary.clone();
    let no = |why: &str| {
        let no = refusal(RefusalKind::Denied, "credential", "", why, "Do not look for another credential; tell the person who started this box.");
        refused(broker, style, &summary, &no)
    };
    let headers = texts(&parts.headers).ok_or_else(|| plain(StatusCode::BAD_REQUEST, "agentbox_refused", "a header is not text"))?;
    // What somebody was asked about goes over a fresh connection: only there is it known that nothing was sent when sending failed.
    let plainly = broker.policy.preview(&question).0 == Verdict::Allow && question.worst().is_some_and(|worst| worst.effect <= Effect::Write);
    let to = question.destination.clone().unwrap_or_else(|| facts.destination.clone());
    let by_name = to.addresses.is_empty().then(|| question.clone());
    let asked = tokio::select! {
        biased;
        () = facts.gone() => return Err(gone()),
        asked = permit(broker, question) => asked,
    };
    let promise = match asked {
        Ok(Right::Promised(promise)) => promise,
        // The supervisor alone can release a credential: see `permit`.
        Ok(Right::Plain(_)) => return Err(no("a credential was not asked about")),
        Err(refusal) => return Err(refused(broker, style, &summary, &refusal)),
    };
    let destination = match broker.resolved(&to).await {
        Ok(destination) => destination,
        Err(error) => {
            promise.forgo(&format!("nothing was sent: {error}"));
            return Err(unreachable(&error));
        }
    };
    if let Some(question) = by_name
        && let Err(refusal) = still_fits(broker, question, &destination)
    {
        promise.forgo(&format!("nothing was sent: {}", refusal.reason));
        return Err(refused(broker, style, &summary, &refusal));
    }
    let carried = Carried {
        ask: promise.number(),
        nonce: promise.nonce().to_owned(),
        method: parts.method.as_str().to_owned(),
        cloth: match facts.scheme {
            Scheme::Http => Cloth::Clear,
            Scheme::Https => Cloth::Tls,
        },
        destination,
        target: target.to_owned(),
        headers,
        body: match known {
            Known::Whole(_) => BodyKind::Whole,
            Known::Partly(nonce) => BodyKind::Partly(nonce),
        },
        way: match version {
            Version::Http1 => Way::Http1,
            Version::Http2 => Way::Http2,
        },
        connection: if plainly { Connection::Any } else { Connection::Fresh },
        certificate: facts.issued_certificate().map(str::to_owned),
    };
    let answer = tokio::select! {
        biased;
        () = facts.gone() => return Err(gone()),
        answer = carrier.send(&carried, body) => answer,
    };
    let mut response = match answer {
        Ok(response) => response,
        Err(why) => {
            Outcome::of(broker, promise.handed_over()).tell(&why);
            return Err(plain(StatusCode::BAD_GATEWAY, "agentbox_upstream", &why));
        }
    };
    let Some(mark) = response.headers().get(MARK).map(|mark| mark.as_bytes().to_vec()) else {
        let tokens =
            response.headers_mut().remove(MINTED).and_then(|count| count.to_str().ok().map(|count| format!(", placeholders for {count} of its tokens")));
        Outcome::of(broker, promise.handed_over()).tell(&format!("answered {}{}", response.status().as_u16(), tokens.unwrap_or_default()));
        return Ok(back(response));
    };
    let why = sentence(response).await;
    if mark == UNREACHABLE.as_bytes() {
        promise.forgo(&format!("nothing was sent: {why}"));
        return Err(plain(StatusCode::BAD_GATEWAY, "agentbox_upstream", &why));
    }
    Outcome::of(broker, promise.handed_over()).tell(&why);
    if mark == REFUSED.as_bytes() { Err(no(&why)) } else { Err(plain(StatusCode::BAD_GATEWAY, "agentbox_upstream", &why)) }
}

fn gone() -> Response<Through> {
    plain(StatusCode::BAD_REQUEST, "agentbox_refused", "the client has gone")
}

async fn sentence(response: Response<Incoming>) -> String {
    let body = http_body_util::Limited::new(response.into_body(), LONGEST_SENTENCE).collect().await;
    body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_else(|_| "it did not say why".to_owned())
}
