//! Resolves the names of protected places before the box starts, so that they are found under another name and by their bare address.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{IpAddr, ToSocketAddrs as _},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use agentbox_core::{HostName, policy::Policy};
use agentbox_kernel::process::{First, fork_child};

/// For all names together: a resolver that is slower leaves a name to be matched by its letters alone, which is said.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Names that are resolved; a policy with more matches the rest by their letters.
const MOST: usize = 64;

/// Bytes of the answer.
const LONGEST: u64 = 256 << 10;

/// Teaches the policy the addresses of its protected hosts. Gives what could not be found, one sentence each.
pub(crate) fn learn(policy: &mut Policy) -> Vec<String> {
    let names = policy.protected_host_names();
    if names.is_empty() {
        return Vec::new();
    }
    let found = resolve(names.iter().take(MOST).cloned().collect());
    let mut missing = Vec::new();
    for name in names {
        match found.get(name.as_str()).filter(|addresses| !addresses.is_empty()) {
            Some(addresses) => policy.learn_addresses(&name, addresses),
            None => missing.push(format!("{name} of a protected place does not resolve now: it is recognised by this name only, not by its addresses")),
        }
    }
    missing
}

/// In a process of its own, since the resolver needs threads to keep a deadline, and this process must have none when it forks.
fn resolve(names: Vec<HostName>) -> BTreeMap<String, Vec<IpAddr>> {
    let body = move |mut socket: std::os::unix::net::UnixStream| {
        let (sender, receiver) = mpsc::channel();
        for name in names {
            let sender = sender.clone();
            thread::spawn(move || {
                let addresses: Vec<IpAddr> = (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default();
                let _ = sender.send((name.as_str().to_owned(), addresses));
            });
        }
        drop(sender);
        let end = Instant::now() + PATIENCE;
        let mut found = BTreeMap::new();
        while let Ok((name, addresses)) = receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
            found.insert(name, addresses);
        }
        let told = serde_json::to_vec(&found).map(|bytes| socket.write_all(&bytes));
        u8::from(!matches!(told, Ok(Ok(()))))
    };
    let Ok(child) = fork_child(First::Parent, &[], body) else { return BTreeMap::new() };
    let mut bytes = Vec::new();
    let _ = child.socket.set_read_timeout(Some(PATIENCE * 2));
    let _ = (&child.socket).take(LONGEST).read_to_end(&mut bytes);
    child.kill();
    child.reap();
    serde_json::from_slice(&bytes).unwrap_or_default()
}
