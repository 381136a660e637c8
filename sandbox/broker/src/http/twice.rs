//! A no to one way of opening a stream, for the other way: clients of Kubernetes try SPDY by themselves when a WebSocket was refused, and
//! nobody should be asked about one thing twice.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use agentbox_core::{Destination, Digest, Refusal};

/// A client tries its other way at once.
const FRESH: Duration = Duration::from_secs(10);

/// How many are remembered.
const MOST: usize = 64;

/// The last ones.
#[derive(Debug, Default)]
pub(crate) struct Twice(Mutex<VecDeque<(Instant, Digest, Refusal)>>);

fn key(destination: &Destination, target: &str) -> Digest {
    Digest::of([destination.to_string().as_bytes(), target.as_bytes()])
}

impl Twice {
    /// Remembers a no.
    pub(crate) fn remember(&self, destination: &Destination, target: &str, refusal: &Refusal) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.truncate(MOST - 1);
        last.push_front((Instant::now(), key(destination, target), refusal.clone()));
    }

    /// The no that this was told a moment ago. It counts once.
    pub(crate) fn take(&self, destination: &Destination, target: &str) -> Option<Refusal> {
        let key = key(destination, target);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|(at, _, _)| at.elapsed() < FRESH);
        let at = last.iter().position(|(_, known, _)| *known == key)?;
        last.remove(at).map(|(_, _, refusal)| refusal)
    }
}

#[cfg(test)]
mod tests {
    use agentbox_core::{HostName, RefusalKind};

    use super::*;
    use crate::http::refusal;

    #[test]
    fn a_no_counts_once_and_for_the_same_thing() {
        let to = Destination { host: HostName::parse("a.example").unwrap(), port: 443, addresses: Vec::new() };
        let twice = Twice::default();
        twice.remember(&to, "/exec?command=ls", &refusal(RefusalKind::Denied, "k8s.exec", "", "no", ""));
        assert!(twice.take(&to, "/exec?command=rm").is_none());
        assert!(twice.take(&Destination { port: 444, ..to.clone() }, "/exec?command=ls").is_none());
        assert!(twice.take(&to, "/exec?command=ls").is_some());
        assert!(twice.take(&to, "/exec?command=ls").is_none());
        for _ in 0..200 {
            twice.remember(&to, "/", &refusal(RefusalKind::Denied, "k8s.exec", "", "no", ""));
        }
        assert_eq!(twice.0.lock().unwrap().len(), MOST);
    }
}
