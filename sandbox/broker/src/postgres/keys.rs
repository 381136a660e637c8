//! What outlives one connection: the keys of this box's sessions, with one of which alone a request to cancel goes on, and the log-in that was refused last.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use agentbox_core::{Destination, Digest, Refusal, RefusalKind};

use super::frames::Key;

/// Where a session is, and whether it was reached over TLS.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// With the address that was connected to.
    pub(super) destination: Destination,
    pub(super) cloth: crate::session::Cloth,
}

/// How long a refused log-in is refused again without asking: libpq repeats it in the clear at once where TLS was only preferred, and nobody should
/// have to say no twice.
const AGAIN: Duration = Duration::from_secs(5);

/// Of all sessions that live. The number of connections bounds it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    sessions: Arc<Mutex<HashMap<Key, Known>>>,
    refused: Arc<Mutex<Option<(Digest, Instant, Refusal)>>>,
}

/// A session's entry; dropped, it is gone.
#[derive(Debug)]
pub(super) struct Lives {
    keys: Keys,
    key: Key,
}

impl Keys {
    pub(super) fn add(&self, key: Key, known: Known) -> Lives {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), known);
        Lives { keys: self.clone(), key }
    }

    /// A log-in was refused by a person or the policy.
    pub(crate) fn refused(&self, digest: Digest, refusal: &Refusal) {
        if refusal.kind == RefusalKind::Denied {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some((digest, Instant::now(), refusal.clone()));
        }
    }

    /// The refusal of the very same log-in, a moment ago.
    pub(crate) fn was_refused(&self, digest: &Digest) -> Option<Refusal> {
        let last = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(known, since, _)| known == digest && since.elapsed() < AGAIN).map(|(.., refusal)| refusal.clone())
    }

    /// The session of this key, if it went to the same host.
    pub(super) fn find(&self, key: &Key, destination: &Destination) -> Option<Known> {
        let known = self.sessions.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()?;
        (known.destination.host == destination.host && known.destination.port == destination.port).then_some(known)
    }
}

impl Drop for Lives {
    fn drop(&mut self) {
        self.keys.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use agentbox_core::HostName;
    use bytes::Bytes;

    use super::*;

    #[test]
    fn only_the_keys_of_living_sessions_of_that_host() {
        let to = |host: &str| Destination { host: HostName::parse(host).unwrap(), port: 5432, addresses: Vec::new() };
        let keys = Keys::default();
        let key = Key(Bytes::from_static(b"\0\0\0\x07abcd"));
        let lives = keys.add(key.clone(), Known { destination: to("db.example"), cloth: crate::session::Cloth::Clear });
        assert!(keys.find(&key, &to("db.example")).is_some());
        assert!(keys.find(&key, &to("other.example")).is_none());
        assert!(keys.find(&Key(Bytes::from_static(b"\0\0\0\x07abce")), &to("db.example")).is_none());
        drop(lives);
        assert!(keys.find(&key, &to("db.example")).is_none());
    }
}
