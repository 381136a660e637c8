//! Bodies: read as far as they must be understood, streamed beyond.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

/// How long a client may be silent within a body that must be read before judging.
const PATIENCE: Duration = Duration::from_secs(60);

/// A body on its way through.
#[derive(Debug)]
pub(crate) enum Through {
    /// Nothing, or all of it in memory, with its trailers.
    Whole(Option<Bytes>, Option<HeaderMap>),
    /// What was read ahead, then the rest as it comes.
    Streaming(Option<Bytes>, Incoming),
}

impl Through {
    pub(crate) fn of(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Through::Whole((!bytes.is_empty()).then_some(bytes), None)
    }
}

impl Body for Through {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Through::Whole(bytes, trailers) => Poll::Ready(bytes.take().map(Frame::data).or_else(|| trailers.take().map(Frame::trailers)).map(Ok)),
            Through::Streaming(first, rest) => match first.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => Pin::new(rest).poll_frame(cx),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Through::Whole(bytes, trailers) => bytes.is_none() && trailers.is_none(),
            Through::Streaming(first, rest) => first.is_none() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Through::Whole(bytes, _) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Through::Streaming(first, rest) => {
                let ahead = first.as_ref().map_or(0, |bytes| bytes.len() as u64);
                let rest = rest.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower().saturating_add(ahead));
                if let Some(upper) = rest.upper() {
                    hint.set_upper(upper.saturating_add(ahead));
                }
                hint
            }
        }
    }
}

/// What reading ahead gave.
#[derive(Debug)]
pub(crate) enum Read {
    /// All of it.
    Whole(Bytes, Option<HeaderMap>),
    /// It goes on beyond the bound.
    TooLong(Bytes, Incoming),
}

/// The body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error("the client sent nothing of its body for {n} seconds", n = PATIENCE.as_secs())]
    Silent,
    #[error("the request's body broke off or is malformed")]
    Broken,
}

/// Reads up to `most` bytes.
pub(crate) async fn read(mut body: Incoming, most: usize) -> Result<Read, Unread> {
    let mut bytes = BytesMut::new();
    let mut trailers = None;
    loop {
        match timeout(PATIENCE, body.frame()).await {
            Err(_) => return Err(Unread::Silent),
            Ok(None) => return Ok(Read::Whole(bytes.freeze(), trailers)),
            Ok(Some(Err(_))) => return Err(Unread::Broken),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    bytes.extend_from_slice(&data);
                    if bytes.len() > most {
                        return Ok(Read::TooLong(bytes.freeze(), body));
                    }
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
        }
    }
}
