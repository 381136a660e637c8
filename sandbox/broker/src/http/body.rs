//! Bodies: read as far as they must be understood, streamed beyond.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep, timeout, timeout_at},
};

use super::envelopes::Envelopes;

/// How long a client may be silent within a body that must be read before judging.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a streaming body may be silent, either way: half-dead connections must end, and servers that stream events send
/// something every minute or so.
pub(super) const IDLE: Duration = Duration::from_secs(300);

/// The same for calls of gRPC and its kin: who waits for events is told nothing while there are none, and the connection below is asked
/// whether it lives.
pub(super) const IDLE_CALL: Duration = Duration::from_secs(3600);

/// A body on its way through.
#[derive(Debug)]
pub(crate) enum Through {
    /// Nothing, or all of it in memory, with its trailers.
    Whole(Option<Bytes>, Option<HeaderMap>),
    /// What was read ahead, then the rest as it comes.
    Streaming(Option<Bytes>, Incoming, Rest),
}

/// What becomes of trailers.
pub(crate) enum Tail {
    Passed,
    /// Passed where this finds that they change nothing about what was judged; else the body breaks off.
    Judged(Box<dyn Fn(&HeaderMap) -> bool + Send + Sync>),
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tail::Passed => "Passed",
            Tail::Judged(_) => "Judged",
        })
    }
}

/// What is seen to while the rest of a body comes: how long it may be silent, that it keeps to its framing, and what becomes of its end.
#[derive(Debug)]
pub(crate) struct Rest {
    timer: Option<Pin<Box<Sleep>>>,
    patience: Duration,
    envelopes: Option<Envelopes>,
    tail: Tail,
}

impl Rest {
    pub(crate) fn new(patience: Duration, tail: Tail) -> Self {
        Self { timer: None, patience, envelopes: None, tail }
    }

    /// The body is one of messages in envelopes, of which this much was read.
    pub(crate) fn enveloped(self, envelopes: Envelopes) -> Self {
        Self { envelopes: Some(envelopes), ..self }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let patience = self.patience;
        self.timer.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx)
    }

    fn check(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BrokeOff> {
        match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => match &mut self.envelopes {
                Some(envelopes) => envelopes.take(data).map(|()| frame).map_err(|_| BrokeOff::NoEnvelope),
                None => Ok(frame),
            },
            (None, Some(trailers)) => match &self.tail {
                Tail::Judged(fits) if !fits(trailers) => Err(BrokeOff::Trailers),
                Tail::Judged(_) | Tail::Passed => Ok(frame),
            },
            (None, None) => Ok(frame),
        }
    }
}

/// A body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokeOff {
    #[error(transparent)]
    Connection(#[from] hyper::Error),
    #[error("the body was silent for too long")]
    Silent,
    #[error("the body is not made of the messages that its type promises")]
    NoEnvelope,
    #[error("trailers that would make another request of the one that was judged")]
    Trailers,
}

impl Through {
    pub(crate) fn of(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Through::Whole((!bytes.is_empty()).then_some(bytes), None)
    }

    /// All of it, where it lies in memory and has no trailers.
    pub(crate) fn known(&self) -> Option<&[u8]> {
        match self {
            Through::Whole(bytes, None) => Some(bytes.as_deref().unwrap_or_default()),
            Through::Whole(_, Some(_)) | Through::Streaming(..) => None,
        }
    }

    /// The same behind some bytes.
    pub(crate) fn behind(self, bytes: &[u8]) -> Self {
        let joined = |rest: Option<Bytes>| Some(Bytes::from([bytes, rest.as_deref().unwrap_or_default()].concat()));
        match self {
            Through::Whole(rest, trailers) => Through::Whole(joined(rest), trailers),
            Through::Streaming(first, rest, seen_to) => Through::Streaming(joined(first), rest, seen_to),
        }
    }

    /// A body that is passed on as it comes, behind what was read of it already.
    pub(crate) fn streaming(first: Option<Bytes>, rest: Incoming, tail: Tail) -> Self {
        Through::Streaming(first, rest, Rest::new(IDLE, tail))
    }
}

impl Body for Through {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        match &mut *self {
            Through::Whole(bytes, trailers) => Poll::Ready(bytes.take().map(Frame::data).or_else(|| trailers.take().map(Frame::trailers)).map(Ok)),
            Through::Streaming(first, rest, seen_to) => match first.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => match Pin::new(rest).poll_frame(cx) {
                    Poll::Ready(frame) => {
                        seen_to.timer = None;
                        Poll::Ready(frame.map(|frame| seen_to.check(frame?)))
                    }
                    Poll::Pending => seen_to.poll(cx).map(|()| Some(Err(BrokeOff::Silent))),
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

/// Room for bodies that are read before judging, of all requests together: held ones keep theirs until they are answered.
#[derive(Debug)]
pub(crate) struct Room(Arc<Semaphore>);

/// In all. Thirty of the longest bodies, or thousands of usual ones.
const ROOM: usize = 256 << 20;

/// What is taken at once.
const SHARE: usize = 64 << 10;

/// A part of the room; dropped, it is free again.
#[derive(Debug, Default)]
pub(crate) struct Share(Option<OwnedSemaphorePermit>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ROOM / SHARE)))
    }
}

impl Room {
    /// Takes room for `length` bytes in all.
    pub(crate) fn take(&self, share: &mut Share, length: usize) -> Result<(), Unread> {
        self.grow(share, length)
    }

    fn grow(&self, share: &mut Share, length: usize) -> Result<(), Unread> {
        while share.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits) * SHARE < length {
            let more = self.0.clone().try_acquire_owned().map_err(|_| Unread::NoRoom)?;
            match &mut share.0 {
                Some(have) => have.merge(more),
                None => share.0 = Some(more),
            }
        }
        Ok(())
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

/// What comes of itself within this moment counts as sent at once: a client of one message sends it with its head.
const MOMENT: Duration = Duration::from_millis(250);

/// And ends its body together with it, or right behind: who has sent something and then nothing for so long goes on later.
const PAUSE: Duration = Duration::from_millis(20);

/// Reads what comes within a moment, up to `most` bytes; nothing where nothing is wanted.
pub(crate) async fn read_soon(mut body: Incoming, most: usize, room: &Room, share: &mut Share) -> Result<Read, Unread> {
    let mut bytes = BytesMut::new();
    if most == 0 {
        return Ok(Read::TooLong(bytes.freeze(), body));
    }
    let end = Instant::now() + MOMENT;
    loop {
        let until = if bytes.is_empty() { end } else { end.min(Instant::now() + PAUSE) };
        match timeout_at(until, body.frame()).await {
            Err(_) => return Ok(Read::TooLong(bytes.freeze(), body)),
            Ok(None) => return Ok(Read::Whole(bytes.freeze(), None)),
            Ok(Some(Err(_))) => return Err(Unread::Broken),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    room.grow(share, bytes.len() + data.len())?;
                    bytes.extend_from_slice(&data);
                    if bytes.len() > most {
                        return Ok(Read::TooLong(bytes.freeze(), body));
                    }
                }
                Err(frame) => return Ok(Read::Whole(bytes.freeze(), frame.into_trailers().ok())),
            },
        }
    }
}

/// The body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error("the client sent nothing of its body for {n} seconds", n = PATIENCE.as_secs())]
    Silent,
    #[error("the request's body broke off or is malformed")]
    Broken,
    #[error("too many large requests wait already")]
    NoRoom,
}

/// Reads up to `most` bytes, and takes the room for them.
pub(crate) async fn read(mut body: Incoming, most: usize, room: &Room, share: &mut Share) -> Result<Read, Unread> {
    let mut bytes = BytesMut::new();
    let mut trailers = None;
    loop {
        match timeout(PATIENCE, body.frame()).await {
            Err(_) => return Err(Unread::Silent),
            Ok(None) => return Ok(Read::Whole(bytes.freeze(), trailers)),
            Ok(Some(Err(_))) => return Err(Unread::Broken),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    room.grow(share, bytes.len() + data.len())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_ends_and_comes_back() {
        let room = Room::default();
        let (mut first, mut second) = (Share::default(), Share::default());
        room.grow(&mut first, ROOM - SHARE).unwrap();
        room.grow(&mut second, SHARE).unwrap();
        assert!(matches!(room.grow(&mut second, SHARE + 1), Err(Unread::NoRoom)));
        drop(first);
        room.grow(&mut second, SHARE + 1).unwrap();
    }
}
