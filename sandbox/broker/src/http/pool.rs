//! Connections to the far side that may be used again, for what the policy plainly allows. Bounded, keyed by destination.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use agentbox_core::Destination;
use hyper::client::conn::{http1, http2};

use super::body::Through;
use crate::meaning::Scheme;

/// Idle connections to one destination.
const MOST_EACH: usize = 16;

/// Idle connections in all.
const MOST: usize = 128;

/// Most servers close after a minute or more; a connection that is found closed costs a second try.
const IDLE: Duration = Duration::from_secs(45);

type Key = (&'static str, String);

/// A connection that is ready for a request.
#[derive(Debug)]
pub(crate) enum Ready {
    Http1(http1::SendRequest<Through>),
    Http2(http2::SendRequest<Through>),
}

/// The idle ones.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<Key, Vec<(Instant, Ready)>>>,
}

fn key(scheme: Scheme, destination: &Destination) -> Key {
    (scheme.word(), destination.to_string())
}

impl Pool {
    /// A connection that was not closed when last looked at.
    pub(crate) fn take(&self, scheme: Scheme, destination: &Destination) -> Option<Ready> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle.get_mut(&key(scheme, destination))?;
        while let Some((since, ready)) = waiting.pop() {
            match ready {
                Ready::Http2(sender) if !sender.is_closed() => {
                    // Many requests share one: it stays.
                    waiting.push((Instant::now(), Ready::Http2(sender.clone())));
                    return Some(Ready::Http2(sender));
                }
                Ready::Http1(sender) if sender.is_ready() && since.elapsed() < IDLE => return Some(Ready::Http1(sender)),
                Ready::Http1(_) | Ready::Http2(_) => {}
            }
        }
        None
    }

    /// Gives one back.
    pub(crate) fn put(&self, scheme: Scheme, destination: &Destination, ready: Ready) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.values().map(Vec::len).sum::<usize>() >= MOST {
            idle.retain(|_, waiting| {
                waiting.retain(|(since, _)| since.elapsed() < IDLE);
                !waiting.is_empty()
            });
        }
        if idle.values().map(Vec::len).sum::<usize>() >= MOST {
            return;
        }
        let waiting = idle.entry(key(scheme, destination)).or_default();
        if waiting.len() < MOST_EACH {
            waiting.push((Instant::now(), ready));
        }
    }
}
