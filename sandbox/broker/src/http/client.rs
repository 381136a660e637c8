//! Sends a judged request on, as it was parsed, and gives the answer back as it comes.

use std::{sync::Arc, time::Duration};

use agentbox_core::Destination;
use http::{Request, Response, Uri, Version, header, uri::PathAndQuery};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::timeout;

use super::{
    body::Through,
    pool::{Pool, Ready},
};
use crate::{
    meaning::Scheme,
    upstream::{Alpn, Connector, UpstreamError, UpstreamStream},
};

/// From the last byte of the request to the head of the answer. Model APIs think for minutes.
const ANSWER: Duration = Duration::from_secs(600);

/// Largest head of an answer, and most headers in it.
const LARGEST_HEAD: usize = 256 << 10;
const MOST_HEADERS: usize = 256;

/// Flow control windows for HTTP/2 bodies: large enough for a gigabit over a continent.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// How often a busy HTTP/2 connection is asked whether it lives, and how long it may take to say so.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(20);

/// Whether a used connection may carry the request. What somebody was asked about, or what destroys, goes over a fresh one:
/// only there is it known that nothing was sent when sending failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    Allowed,
    Never,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Request,
    /// A WebSocket's opening, for which there is HTTP/1.1 alone: afterwards the connection is nobody else's.
    Upgrade,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// Nothing was sent.
    #[error(transparent)]
    Unreachable(#[from] UpstreamError),
    /// It may have been sent: nobody knows whether it was done.
    #[error("{0} broke off before it answered: {1}")]
    Broken(Destination, String),
    /// It was sent, and no answer came.
    #[error("{0} did not answer within {n} seconds", n = ANSWER.as_secs())]
    Silent(Destination),
}

/// The request as it goes out, before the connection's version is known.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) parts: http::request::Parts,
    pub(crate) body: Through,
}

/// The way out for HTTP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'a> {
    pub(crate) connector: &'a Connector,
    pub(crate) pool: &'a Arc<Pool>,
    pub(crate) scheme: Scheme,
    pub(crate) destination: &'a Destination,
    /// What the client speaks: in the clear nothing else tells whether the far side speaks HTTP/2 (gRPC does).
    pub(crate) version: super::Version,
    pub(crate) purpose: Purpose,
}

impl Client<'_> {
    /// A connection for one request, and whether it was used before.
    pub(crate) async fn connection(&self, reuse: Reuse) -> Result<(Ready, bool), UpstreamError> {
        if reuse == Reuse::Allowed
            && let Some(ready) = self.pool.take(self.scheme, self.destination)
        {
            return Ok((ready, true));
        }
        self.fresh().await.map(|ready| (ready, false))
    }

    async fn fresh(&self) -> Result<Ready, UpstreamError> {
        let alpn = match self.purpose {
            Purpose::Request => Alpn::Any,
            Purpose::Upgrade => Alpn::Http1,
        };
        let stream = match self.scheme {
            Scheme::Http => UpstreamStream::Clear(self.connector.connect_tcp(self.destination).await?),
            Scheme::Https => UpstreamStream::Tls(Box::new(self.connector.connect_tls(self.destination, alpn).await?)),
        };
        let failed = |error: hyper::Error| UpstreamError::Tls(self.destination.clone(), error.to_string());
        let prior = self.scheme == Scheme::Http && self.version == super::Version::Http2;
        if stream.is_http2() || prior {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                // A shared connection that died quietly would hold every later request until its deadline.
                .keep_alive_interval(PING)
                .keep_alive_timeout(PONG)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_header_list_size(u32::try_from(LARGEST_HEAD).unwrap_or(u32::MAX))
                .handshake(TokioIo::new(stream))
                .await
                .map_err(failed)?;
            tokio::spawn(connection);
            return Ok(Ready::Http2(sender));
        }
        let (sender, connection) =
            http1::Builder::new().max_headers(MOST_HEADERS).max_buf_size(LARGEST_HEAD).handshake(TokioIo::new(stream)).await.map_err(failed)?;
        match self.purpose {
            Purpose::Request => tokio::spawn(connection),
            Purpose::Upgrade => tokio::spawn(connection.with_upgrades()),
        };
        Ok(Ready::Http1(sender))
    }

    /// Sends over `ready`; a used connection that turns out closed before a byte was written is replaced once.
    pub(crate) async fn send(&self, ready: Ready, was_used: bool, reuse: Reuse, outgoing: Outgoing) -> Result<Response<Incoming>, Unanswered> {
        let broken = |error: &hyper::Error| Unanswered::Broken(self.destination.clone(), reason(error));
        match ready {
            Ready::Http1(mut sender) => {
                let request = self.shaped(outgoing, Version::HTTP_11);
                match timeout(ANSWER, sender.try_send_request(request)).await {
                    Err(_) => Err(Unanswered::Silent(self.destination.clone())),
                    Ok(Ok(response)) => {
                        if reuse == Reuse::Allowed {
                            self.keep(sender);
                        }
                        Ok(response)
                    }
                    Ok(Err(mut error)) => match error.take_message() {
                        Some(unsent) if was_used => {
                            let (parts, body) = unsent.into_parts();
                            let fresh = self.fresh().await?;
                            Box::pin(self.send(fresh, false, reuse, Outgoing { parts, body })).await
                        }
                        Some(_) | None => Err(broken(error.error())),
                    },
                }
            }
            Ready::Http2(mut sender) => {
                let request = self.shaped(outgoing, Version::HTTP_2);
                if reuse == Reuse::Allowed && !was_used {
                    self.pool.put(self.scheme, self.destination, Ready::Http2(sender.clone()));
                }
                match timeout(ANSWER, sender.try_send_request(request)).await {
                    Err(_) => Err(Unanswered::Silent(self.destination.clone())),
                    Ok(Ok(response)) => Ok(response),
                    Ok(Err(mut error)) => match error.take_message() {
                        Some(unsent) if was_used => {
                            let (parts, body) = unsent.into_parts();
                            let fresh = self.fresh().await?;
                            Box::pin(self.send(fresh, false, reuse, Outgoing { parts, body })).await
                        }
                        Some(_) | None => Err(broken(error.error())),
                    },
                }
            }
        }
    }

    /// The connection comes back once the answer's body has been read to its end.
    fn keep(&self, mut sender: http1::SendRequest<Through>) {
        let (pool, scheme, destination) = (self.pool.clone(), self.scheme, self.destination.clone());
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                pool.put(scheme, &destination, Ready::Http1(sender));
            }
        });
    }

    /// The request in the form of the connection's version.
    fn shaped(&self, outgoing: Outgoing, version: Version) -> Request<Through> {
        let Outgoing { mut parts, body } = outgoing;
        let target = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let default = match self.scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        let authority = if self.destination.port == default {
            self.destination.to_string().rsplit_once(':').map_or_else(String::new, |(host, _)| host.to_owned())
        } else {
            self.destination.to_string()
        };
        parts.version = version;
        parts.headers.remove(header::HOST);
        if version == Version::HTTP_2 {
            let uri = Uri::builder().scheme(self.scheme.word()).authority(authority).path_and_query(target).build();
            parts.uri = uri.unwrap_or_default();
        } else {
            parts.uri = Uri::from(target);
            if let Ok(host) = authority.parse() {
                parts.headers.insert(header::HOST, host);
            }
        }
        Request::from_parts(parts, body)
    }
}

/// hyper's own words; none of the far side's bytes are in them.
fn reason(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    // Libraries send their readers to their manuals; whoever reads this has another concern.
    let told = text.split(": https://").next().unwrap_or_default();
    agentbox_core::safe::line(told, 200)
}
