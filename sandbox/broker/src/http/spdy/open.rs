//! The opening of a stream: judged as the request that it is, made anew towards the far side, and agreed to only if the far side does.

use std::{sync::Arc, time::SystemTime};

use agentbox_core::{Effect, RefusalKind, Verdict, safe};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version as HttpVersion, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::{
    NAME, is_asked,
    tunnel::{Inwards, Tunnel},
};
use crate::{
    broker::Broker,
    http::{
        asking::{Prepared, Unprepared, client, prepare, refusal},
        body::Through,
        client::{Outgoing, Purpose},
        head,
        serve::{Facts, Version, back, plain, refused, unanswered, unreachable},
        upgrade::{self, CHANGING, Slot},
    },
    meaning::{self, Head, ReplyStyle},
};

/// Longest summary line, in characters.
const LONGEST_SUMMARY: usize = 300;

/// The story of one opening. An error is an answer as well: why there is no stream.
pub(crate) async fn open(broker: &Arc<Broker>, facts: &Arc<Facts>, slot: &Slot, request: Request<Incoming>) -> Result<Response<Through>, Response<Through>> {
    let (mut parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    let summary = format!("{} {}://{}{}", parts.method, facts.scheme.word(), facts.destination, meaning::without_secrets(&target));
    let summary = safe::line(&summary, LONGEST_SUMMARY);
    let malformed = |status: StatusCode, why: &str| {
        broker.refusals.remember(&summary, &refusal(RefusalKind::Failed, "http.malformed", "", why, "Send it in the usual form."));
        plain(status, "agentbox_refused", why)
    };
    if parts.version != HttpVersion::HTTP_11 || !says_upgrade(&parts.headers) || !body.is_end_stream() {
        return Err(malformed(StatusCode::BAD_REQUEST, "Upgrade without a Connection header that says so, or with a body"));
    }
    head::strip(&mut parts.headers);
    parts.headers.remove(header::EXPECT);
    parts.headers.remove(header::HOST);
    parts.headers.remove(header::CONTENT_LENGTH);
    let headers = parts.headers.clone();
    let method = parts.method.clone();
    let head = Head { method: &method, scheme: facts.scheme, host: &facts.destination.host, port: facts.destination.port, target: &target, headers: &headers };
    if !meaning::opens_stream(&head) {
        return Err(malformed(
            StatusCode::NOT_IMPLEMENTED,
            "Upgrade to SPDY/3.1 where Kubernetes has no stream is refused: what flows afterwards cannot be judged",
        ));
    }
    let style = ReplyStyle::Kubernetes;
    if let Some(refusal) = broker.twice.take(&facts.destination, &target) {
        return Err(refused(broker, style, &summary, &refusal));
    }
    let question = upgrade::question(broker, facts, &summary, &head, NAME).await;
    let digest = question.digest;
    let inwards = if question.worst().is_some_and(|worst| worst.effect == Effect::Opaque) { Inwards::Anything } else { Inwards::Nothing };
    // A placeholder of another host is denied by the policy, in its own words.
    if question.evidence.credentials.iter().any(|credential| credential.issued) && broker.policy.preview(&question).0 != Verdict::Deny {
        let why = "a credential is not put into a stream of Kubernetes in this version";
        return Err(refused(broker, style, &summary, &refusal(RefusalKind::Denied, "k8s.stream", "", why, "Ask the person who started this box.")));
    }
    let prepared = tokio::select! {
        biased;
        () = facts.gone() => return Err(plain(StatusCode::BAD_REQUEST, "agentbox_refused", "the client has gone")),
        prepared = prepare(broker, facts, Version::Http1, question, Purpose::Upgrade) => prepared,
    };
    let Prepared { permit, reuse, outcome, destination, ready, was_used } = match prepared {
        Ok(prepared) => prepared,
        Err(Unprepared::Refused(refusal)) => return Err(refused(broker, style, &summary, &refusal)),
        Err(Unprepared::Unreachable(error)) => return Err(unreachable(&error)),
    };
    change(&mut parts.headers);
    if let Err(unfit) = permit.consume(&digest, SystemTime::now()) {
        outcome.tell(&format!("nothing was sent: {unfit}"));
        return Err(plain(StatusCode::FORBIDDEN, "agentbox_denied", &unfit.to_string()));
    }
    let client = client(broker, facts, Version::Http1, &destination, Purpose::Upgrade);
    let answer = match client.send(ready, was_used, reuse, Outgoing { parts, body: Through::Whole(None, None) }).await {
        Ok(answer) => answer,
        Err(error) => {
            outcome.tell(&error.to_string());
            return Err(unanswered(&error));
        }
    };
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        outcome.tell(&format!("answered {}", answer.status().as_u16()));
        return Ok(back(answer));
    }
    let yes = outcome.lasting(broker);
    let wrong = |why: &str| plain(StatusCode::BAD_GATEWAY, "agentbox_upstream", why);
    if !is_asked(answer.headers()) || !says_upgrade(answer.headers()) {
        return Err(wrong("the far side changed to another protocol than SPDY/3.1"));
    }
    let mut told = answer.headers().clone();
    let far = match timeout(CHANGING, hyper::upgrade::on(answer)).await {
        Ok(Ok(far)) => far,
        Ok(Err(_)) | Err(_) => return Err(wrong("the far side broke off behind its yes")),
    };
    head::strip(&mut told);
    told.remove(header::CONTENT_LENGTH);
    change(&mut told);
    let mut response = Response::new(Through::of(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = told;
    slot.put(upgrade::Tunnel::Spdy(Tunnel { far: TokioIo::new(far), inwards, yes }));
    Ok(response)
}

fn change(headers: &mut http::HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(NAME));
}

fn says_upgrade(headers: &http::HeaderMap) -> bool {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case("upgrade"))
}
