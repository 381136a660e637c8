//! The keys of this box's sessions: a request to cancel goes on only with one of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use agentbox_core::Destination;

use super::frames::Key;

/// Where a session is, and whether it was reached over TLS.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// With the address that was connected to.
    pub(super) destination: Destination,
    pub(super) cloth: super::Cloth,
}

/// Of all sessions that live. The number of connections bounds it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys(Arc<Mutex<HashMap<Key, Known>>>);

/// A session's entry; dropped, it is gone.
#[derive(Debug)]
pub(super) struct Lives {
    keys: Keys,
    key: Key,
}

impl Keys {
    pub(super) fn add(&self, key: Key, known: Known) -> Lives {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), known);
        Lives { keys: self.clone(), key }
    }

    /// The session of this key, if it went to the same host.
    pub(super) fn find(&self, key: &Key, destination: &Destination) -> Option<Known> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()?;
        (known.destination.host == destination.host && known.destination.port == destination.port).then_some(known)
    }
}

impl Drop for Lives {
    fn drop(&mut self) {
        self.keys.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
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
        let lives = keys.add(key.clone(), Known { destination: to("db.example"), cloth: super::super::Cloth::Clear });
        assert!(keys.find(&key, &to("db.example")).is_some());
        assert!(keys.find(&key, &to("other.example")).is_none());
        assert!(keys.find(&Key(Bytes::from_static(b"\0\0\0\x07abce")), &to("db.example")).is_none());
        drop(lives);
        assert!(keys.find(&key, &to("db.example")).is_none());
    }
}
