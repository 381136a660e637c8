//! The opening of a WebSocket: judged as the request that it is, made anew towards the far side, and agreed to only if the far side does.

use std::{sync::Arc, time::SystemTime};

use agentbox_core::{Effect, RefusalKind, safe};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::{
    handshake::{self, Offer},
    tunnel::{Opened, Tunnel},
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
    meaning::{self, Dialect, Head},
};

/// Longest summary line, in characters.
const LONGEST_SUMMARY: usize = 300;

/// The story of one opening. An error is an answer as well: why there is no WebSocket.
pub(crate) async fn open(broker: &Arc<Broker>, facts: &Arc<Facts>, slot: &Slot, request: Request<Incoming>) -> Result<Response<Through>, Response<Through>> {
    let summary = safe::line(&format!("WebSocket {}://{}{}", facts.scheme.word(), facts.destination, request.uri().path()), LONGEST_SUMMARY);
    let malformed = |status: StatusCode, why: &str| {
        broker.refusals.remember(&summary, &refusal(RefusalKind::Failed, "websocket.malformed", "", why, "Send it in the usual form."));
        plain(status, "agentbox_refused", why)
    };
    let offer = Offer::read(&request).map_err(|(status, why)| malformed(status, why))?;
    let (mut parts, body) = request.into_parts();
    if !body.is_end_stream() {
        return Err(malformed(StatusCode::BAD_REQUEST, "a WebSocket's opening request with a body"));
    }
    head::strip(&mut parts.headers);
    handshake::strip(&mut parts.headers);
    parts.headers.remove(header::EXPECT);
    parts.headers.remove(header::HOST);
    let headers = parts.headers.clone();
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    let head =
        Head { method: &Method::GET, scheme: facts.scheme, host: &facts.destination.host, port: facts.destination.port, target: &target, headers: &headers };
    let is_kubernetes = meaning::opens_stream(&head);
    let question = upgrade::question(broker, facts, &summary, &head, "websocket").await;
    let digest = question.digest;
    let style = if is_kubernetes { meaning::ReplyStyle::Kubernetes } else { meaning::ReplyStyle::Json };
    // What flows into a container is never read: whoever said yes to an opening that is not understood said yes to that.
    let is_free = is_kubernetes && question.worst().is_some_and(|worst| worst.effect == Effect::Opaque);
    // A placeholder of another host is denied by the policy, in its own words.
    if question.evidence.credentials.iter().any(|credential| credential.issued) && broker.policy.preview(&question).0 != agentbox_core::Verdict::Deny {
        let why = "a credential is not put into a WebSocket in this version";
        return Err(refused(broker, style, &summary, &refusal(RefusalKind::Denied, "websocket.open", "", why, "Ask the person who started this box.")));
    }
    let prepared = tokio::select! {
        biased;
        () = facts.gone() => return Err(plain(StatusCode::BAD_REQUEST, "agentbox_refused", "the client has gone")),
        prepared = prepare(broker, facts, Version::Http1, question, Purpose::Upgrade) => prepared,
    };
    let Prepared { permit, reuse, outcome, destination, ready, was_used } = match prepared {
        Ok(prepared) => prepared,
        Err(Unprepared::Refused(refusal)) => {
            if is_kubernetes {
                broker.twice.remember(&facts.destination, &target, &refusal);
            }
            return Err(refused(broker, style, &summary, &refusal));
        }
        Err(Unprepared::Unreachable(error)) => return Err(unreachable(&error)),
    };
    let key =
        handshake::ask(&mut parts.headers).map_err(|_| plain(StatusCode::SERVICE_UNAVAILABLE, "agentbox_denied", "the system gives no random numbers"))?;
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
    let is_changed = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    let free = if is_free && is_changed {
        Some(outcome.lasting(broker))
    } else {
        outcome.tell(&format!("answered {}", answer.status().as_u16()));
        None
    };
    if !is_changed {
        return Ok(back(answer));
    }
    let wrong = |why: &str| plain(StatusCode::BAD_GATEWAY, "agentbox_upstream", why);
    let agreed = offer.agreed(&key, answer.headers()).map_err(wrong)?;
    let mut told = answer.headers().clone();
    let far = match timeout(CHANGING, hyper::upgrade::on(answer)).await {
        Ok(Ok(far)) => far,
        Ok(Err(_)) | Err(_) => return Err(wrong("the far side broke off behind its yes")),
    };
    head::strip(&mut told);
    handshake::strip(&mut told);
    told.remove(header::CONTENT_LENGTH);
    told.remove(header::SEC_WEBSOCKET_PROTOCOL);
    let mut response = Response::new(Through::of(Bytes::new()));
    *response.status_mut() = offer.accept(&mut told);
    if let Some(protocol) = agreed.protocol.as_deref().and_then(|protocol| HeaderValue::from_str(protocol).ok()) {
        told.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    *response.headers_mut() = told;
    let dialect = Dialect::agreed(agreed.protocol.as_deref());
    let opened = Opened { broker: broker.clone(), facts: facts.clone(), destination, target, headers, dialect };
    slot.put(upgrade::Tunnel::WebSocket(Tunnel { far: TokioIo::new(far), opened, free }));
    Ok(response)
}
