//! A connection that cannot be looked into: asked about as a whole, relayed within bounds where somebody said yes.

use std::{io, time::Duration};

use agentbox_core::{Destination, Digest, Effect, Evidence, Operation, Request, Resource, ResourceId};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::{broker::Broker, client_stream::Presence};

/// What an opaque connection may carry each way, and how long: its permit says "everything this credential can do there", and must end.
const BYTES: u64 = 1 << 30;
const TIME: Duration = Duration::from_secs(3600);

/// The action of an SSH connection.
pub(crate) const SSH: &str = "ssh.connection";

/// What a connection is that cannot be looked into, as one operation.
pub(crate) fn whole_connection(destination: &Destination, action: &str, why: &str) -> Operation {
    let id = ResourceId::new("connection", &destination.to_string());
    Operation::new(Effect::Opaque, action, Resource::rooted(id), why)
}

/// What an agent can do whose git wanted SSH. In the box git's own configuration may be read-only, so the line is one that needs none.
fn by_https(destination: &Destination) -> String {
    let host = &destination.host;
    format!(
        "For git, go by HTTPS, where each fetch and push is judged by what it does: `git -c url.https://{host}/.insteadOf=git@{host}: -c url.https://{host}/.insteadOf=ssh://git@{host}/ …`; for good, outside the box: `git config --global url.https://{host}/.insteadOf git@{host}:`."
    )
}

/// Asks, and relays.
pub(crate) async fn opaque<S>(stream: S, presence: &Presence, broker: &Broker, destination: Destination, action: &str, why: &str) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // The same connection again is the same question: an approval that came too late for one lets the next one through, once.
    let digest = Digest::of([b"connection", destination.to_string().as_bytes(), action.as_bytes()]);
    let summary = format!("an {} connection to {destination}", if action == SSH { "SSH" } else { "opaque" });
    let question = Request {
        operations: vec![whole_connection(&destination, action, why)],
        destination: Some(broker.addressed(&destination).await),
        digest,
        evidence: Evidence {
            summary: summary.clone(),
            connection: presence.connection(),
            process: None,
            excerpt: "everything that this client's credential can do there, for up to an hour and 1 GiB".to_owned(),
            ..Evidence::default()
        },
    };
    let asked = question.destination.clone().unwrap_or(destination);
    let answer = tokio::select! {
        biased;
        () = presence.gone() => return Ok(()),
        answer = broker.line.ask(question) => answer,
    };
    let promise = match answer {
        Ok(promise) => promise,
        Err(mut refusal) => {
            if action == SSH {
                refusal.guidance = format!("{} {}", by_https(&asked), refusal.guidance);
            }
            broker.refusals.remember(&summary, &refusal);
            return Ok(());
        }
    };
    let mut upstream = match broker.connector.connect_tcp(&asked).await {
        Ok(upstream) => upstream,
        Err(error) => {
            promise.forgo(&format!("nothing was sent: {error}"));
            return Ok(());
        }
    };
    let ask = promise.number();
    let ended = |outcome: &str| broker.line.done(ask, outcome);
    let permit = match promise.redeem().await {
        Ok(permit) => permit,
        Err(refusal) => {
            broker.refusals.remember(&summary, &refusal);
            return Ok(());
        }
    };
    if permit.consume(&digest, std::time::SystemTime::now()).is_err() {
        ended("nothing was sent: the permit had expired");
        return Ok(());
    }
    let (reader, mut writer) = tokio::io::split(stream);
    let (up_reader, mut up_writer) = upstream.split();
    let mut out = reader.take(BYTES);
    let mut back = up_reader.take(BYTES);
    let relayed = timeout(TIME, async {
        let there = async {
            let count = tokio::io::copy(&mut out, &mut up_writer).await;
            let _ = up_writer.shutdown().await;
            count
        };
        let here = async {
            let count = tokio::io::copy(&mut back, &mut writer).await;
            let _ = writer.shutdown().await;
            count
        };
        tokio::join!(there, here)
    })
    .await;
    match relayed {
        Ok((there, here)) => ended(&format!("{} bytes sent, {} bytes received", there.unwrap_or(0), here.unwrap_or(0))),
        Err(_) => ended("cut after its hour"),
    }
    Ok(())
}
