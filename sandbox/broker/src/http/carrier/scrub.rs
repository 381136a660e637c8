//! Answers go back without the secret, whoever repeats it: in headers, and in bodies that are not encoded.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};

use super::super::body::{BrokeOff, Through};
use crate::secrets::{Stream, Swaps};

/// Puts placeholders into a header map.
pub(super) fn headers(headers: &mut HeaderMap, swaps: &Swaps) {
    for value in headers.values_mut() {
        if let Some(new) = swaps.in_bytes(value.as_bytes()) {
            *value = HeaderValue::from_bytes(&new).unwrap_or_else(|_| HeaderValue::from_static("agentbox-took-it-out"));
        }
    }
}

/// A body in which placeholders stand for secrets.
pub(super) struct Scrubbed {
    inner: Through,
    swaps: Arc<Swaps>,
    stream: Stream,
    ended: bool,
    trailers: Option<HeaderMap>,
}

impl Scrubbed {
    pub(super) fn new(inner: Through, swaps: Arc<Swaps>) -> Self {
        Self { inner, swaps, stream: Stream::default(), ended: false, trailers: None }
    }
}

impl Body for Scrubbed {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        let this = self.get_mut();
        // Each turn takes a frame of the far side; one whose bytes are all kept back is followed by another or by the end.
        loop {
            if this.ended {
                return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) => {
                        let piece = this.stream.piece(&this.swaps, piece);
                        if !piece.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(piece))));
                        }
                    }
                    Err(frame) => {
                        let mut trailers = frame.into_trailers().unwrap_or_default();
                        headers(&mut trailers, &this.swaps);
                        this.trailers = Some(trailers);
                    }
                },
                Poll::Ready(Some(Err(error))) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    this.ended = true;
                    if let Some(rest) = this.stream.rest() {
                        return Poll::Ready(Some(Ok(Frame::data(rest))));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        (self.ended || self.inner.is_end_stream()) && self.trailers.is_none() && self.stream.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.swaps.keep_lengths() { self.inner.size_hint() } else { SizeHint::default() }
    }
}
