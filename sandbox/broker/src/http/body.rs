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
use tokio::time::{Sleep, sleep, timeout};

/// How long a client may be silent within a body that must be read before judging.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a streaming body may be silent, either way: half-dead connections must end, and servers that stream events send
/// something every minute or so.
const IDLE: Duration = Duration::from_secs(300);

/// A body on its way through.
#[derive(Debug)]
pub(crate) enum Through {
    /// Nothing, or all of it in memory, with its trailers.
    Whole(Option<Bytes>, Option<HeaderMap>),
    /// What was read ahead, then the rest as it comes.
    Streaming(Option<Bytes>, Incoming, Silence),
}

/// How long a streaming body has been silent.
#[derive(Debug, Default)]
pub(crate) struct Silence(Option<Pin<Box<Sleep>>>);

impl Silence {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.get_or_insert_with(|| Box::pin(sleep(IDLE))).as_mut().poll(cx)
    }
}

/// A body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokeOff {
    #[error(transparent)]
    Connection(#[from] hyper::Error),
    #[error("the body was silent for {n} seconds", n = IDLE.as_secs())]
    Silent,
}

impl Through {
    pub(crate) fn of(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Through::Whole((!bytes.is_empty()).then_some(bytes), None)
    }

    /// A body that is passed on as it comes, behind what was read of it already.
    pub(crate) fn streaming(first: Option<Bytes>, rest: Incoming) -> Self {
        Through::Streaming(first, rest, Silence::default())
    }
}

impl Body for Through {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        match &mut *self {
            Through::Whole(bytes, trailers) => Poll::Ready(bytes.take().map(Frame::data).or_else(|| trailers.take().map(Frame::trailers)).map(Ok)),
            Through::Streaming(first, rest, silence) => match first.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => match Pin::new(rest).poll_frame(cx) {
                    Poll::Ready(frame) => {
                        silence.0 = None;
                        Poll::Ready(frame.map(|frame| frame.map_err(BrokeOff::from)))
                    }
                    Poll::Pending => silence.poll(cx).map(|()| Some(Err(BrokeOff::Silent))),
                },
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Through::Whole(bytes, trailers) => bytes.is_none() && trailers.is_none(),
            Through::Streaming(first, rest, _) => first.is_none() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            // HTTP/1 carries trailers behind chunks only: a length would drop them.
            Through::Whole(_, Some(_)) => SizeHint::default(),
            Through::Whole(bytes, None) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Through::Streaming(first, rest, _) => {
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
