//! GraphQL documents that have passed by, under their hash: what a client names later by the hash alone is judged as what it is.
//!
//! A hash is computed here, never believed. What a host was sent stands for that host alone, and the oldest is forgotten first.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use agentbox_core::HostName;

/// Hosts, documents of one host, and bytes of one host that are remembered.
const MOST_HOSTS: usize = 64;
const MOST_DOCUMENTS: usize = 512;
const MOST_BYTES: usize = 1 << 20;

/// Hashes of one host of which a client was told that they are not known.
const MOST_ASKED: usize = 1024;

/// All of one box.
#[derive(Debug, Default)]
pub(crate) struct Documents(Mutex<Hosts>);

#[derive(Debug, Default)]
struct Hosts {
    known: HashMap<(HostName, u16), Host>,
    order: VecDeque<(HostName, u16)>,
}

#[derive(Debug, Default)]
struct Host {
    texts: HashMap<String, Arc<str>>,
    order: VecDeque<String>,
    length: usize,
    asked: HashSet<String>,
}

impl Documents {
    fn at<T>(&self, host: &HostName, port: u16, act: impl FnOnce(&mut Host) -> T) -> T {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (host.clone(), port);
        if !hosts.known.contains_key(&key) {
            if hosts.order.len() >= MOST_HOSTS
                && let Some(oldest) = hosts.order.pop_front()
            {
                hosts.known.remove(&oldest);
            }
            hosts.order.push_back(key.clone());
        }
        act(hosts.known.entry(key).or_default())
    }

    /// A document has passed by whose hash this is, as somebody here has computed.
    pub(super) fn learn(&self, host: &HostName, port: u16, hash: &str, text: &str) {
        if text.len() > MOST_BYTES {
            return;
        }
        let hash = hash.to_ascii_lowercase();
        self.at(host, port, |host| {
            if host.texts.contains_key(&hash) {
                return;
            }
            // Each turn forgets one.
            while host.order.len() >= MOST_DOCUMENTS || host.length + text.len() > MOST_BYTES {
                let Some(oldest) = host.order.pop_front() else { break };
                host.length -= host.texts.remove(&oldest).map_or(0, |text| text.len());
            }
            host.asked.remove(&hash);
            host.length += text.len();
            host.order.push_back(hash.clone());
            host.texts.insert(hash, text.into());
        });
    }

    /// What a hash stands for.
    pub(super) fn find(&self, host: &HostName, port: u16, hash: &str) -> Option<Arc<str>> {
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.known.get(&(host.clone(), port))?.texts.get(&hash.to_ascii_lowercase()).cloned()
    }

    /// Whether a client is asked for the document now: once. One that has no document to send is not asked again.
    pub(crate) fn asks_for(&self, host: &HostName, port: u16, hash: &str) -> bool {
        if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return false;
        }
        let hash = hash.to_ascii_lowercase();
        self.at(host, port, |host| host.asked.len() < MOST_ASKED && host.asked.insert(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    #[test]
    fn the_oldest_is_forgotten_and_each_host_has_its_own() {
        let documents = Documents::default();
        let (one, other) = (host("one.example"), host("other.example"));
        for number in 0..=MOST_DOCUMENTS {
            documents.learn(&one, 443, &format!("{number:064x}"), "{a}");
        }
        assert!(documents.find(&one, 443, &format!("{:064x}", 0)).is_none());
        assert!(documents.find(&one, 443, &format!("{:064X}", 300)).is_some());
        assert!(documents.find(&other, 443, &format!("{:064x}", 300)).is_none() && documents.find(&one, 444, &format!("{:064x}", 300)).is_none());
        documents.learn(&one, 443, &"f".repeat(64), &"x".repeat(MOST_BYTES));
        assert!(documents.find(&one, 443, &format!("{:064x}", 300)).is_none(), "it has no room beside that one");
        for number in 0..=MOST_HOSTS {
            documents.learn(&host(&format!("h{number}.example")), 443, &"a".repeat(64), "{a}");
        }
        assert!(documents.find(&one, 443, &"f".repeat(64)).is_none());
    }

    #[test]
    fn a_document_is_asked_for_once() {
        let documents = Documents::default();
        let (one, hash) = (host("one.example"), "a".repeat(64));
        assert!(documents.asks_for(&one, 443, &hash) && !documents.asks_for(&one, 443, &hash.to_uppercase()));
        assert!(!documents.asks_for(&one, 443, "a hash of another kind"));
        documents.learn(&one, 443, &hash, "{a}");
        assert!(documents.asks_for(&one, 443, &hash), "forgotten meanwhile, say");
    }
}
