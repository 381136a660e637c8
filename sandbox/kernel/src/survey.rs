//! What runs in a box, seen from outside through `/proc`: its processes, and where each is connected to.
//!
//! Names and command lines are the agent's word; parents, numbers and sockets are the kernel's.

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use agentbox_core::safe;
use nix::unistd::Pid;

use crate::lineage::{MOST_DESCRIPTORS, MOST_TABLE, words};

/// Processes that are told; more are counted.
const MOST: usize = 256;

/// Connections of one process that are told.
const MOST_CONNECTIONS: usize = 32;

/// A process of the box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number outside.
    pub pid: i32,
    /// Its number in the box.
    pub inside: i32,
    /// How deep below the box's PID 1.
    pub depth: usize,
    /// Its name.
    pub name: String,
    /// Its command line, without what could be a secret.
    pub command: String,
    /// Where its sockets are connected to, as the box sees it.
    pub connected: Vec<SocketAddr>,
}

/// The box's PID 1 among the children of its supervisor: it has a number of its own inside.
#[must_use]
pub fn init_of(supervisor: Pid) -> Option<Pid> {
    children(supervisor.as_raw()).into_iter().find(|pid| numbers(*pid).len() > 1).map(Pid::from_raw)
}

/// All processes of the box, each after its parent, and how many more there are.
#[must_use]
pub fn of_box(init: Pid) -> (Vec<Process>, usize) {
    let mut waiting: Vec<(i32, usize)> = children(init.as_raw()).into_iter().rev().map(|pid| (pid, 0)).collect();
    let (mut found, mut more) = (Vec::new(), 0);
    let mut table: Option<HashMap<u64, SocketAddr>> = None;
    // Each turn takes one process that was there; one that forks for ever is counted up to the bound twice over.
    while let Some((pid, depth)) = waiting.pop() {
        if found.len() >= MOST {
            more += 1;
            if more >= MOST * 16 {
                break;
            }
            continue;
        }
        let Some(inside) = numbers(pid).last().copied() else { continue };
        // Of the box's network the table is the same, whichever of its processes is asked.
        let table = table.get_or_insert_with(|| connections(pid));
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let command = words(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default());
        found.push(Process { pid, inside, depth, name: safe::line(name.trim_end(), 32), command, connected: connected(pid, table) });
        waiting.extend(children(pid).into_iter().rev().map(|pid| (pid, depth + 1)));
    }
    (found, more)
}

fn children(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().take(MOST);
    let mut all: Vec<i32> = threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|text| text.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>())
        .collect();
    all.sort_unstable();
    all
}

/// A process's numbers, from outside to inside.
fn numbers(pid: i32) -> Vec<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn connected(pid: i32, table: &HashMap<u64, SocketAddr>) -> Vec<SocketAddr> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let links = descriptors.flatten().take(MOST_DESCRIPTORS).filter_map(|entry| fs::read_link(entry.path()).ok());
    let inodes = links.filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok());
    let mut all: Vec<SocketAddr> = inodes.filter_map(|inode| table.get(&inode).copied()).take(MOST_CONNECTIONS).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The TCP connections of a process's network that are open or being opened: each socket's other end.
fn connections(pid: i32) -> HashMap<u64, SocketAddr> {
    let mut found = HashMap::new();
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        let text = text.get(..MOST_TABLE).unwrap_or(&text);
        found.extend(text.lines().skip(1).filter_map(row));
    }
    found
}

/// A row of `/proc/net/tcp`: the socket's inode and the other end.
fn row(line: &str) -> Option<(u64, SocketAddr)> {
    let words: Vec<&str> = line.split_whitespace().take(10).collect();
    let [_, _, remote, state, .., inode] = words.as_slice() else { return None };
    // ESTABLISHED, SYN_SENT.
    if !matches!(*state, "01" | "02") {
        return None;
    }
    Some((inode.parse().ok()?, address(remote)?))
}

/// As `/proc/net/tcp` writes an address: words in host order, in hexadecimal.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(host.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip: IpAddr = match host.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (index, place) in bytes.chunks_mut(4).enumerate() {
                place.copy_from_slice(&word(index * 8)?);
            }
            let v6 = Ipv6Addr::from(bytes);
            v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        assert_eq!(address(&format!("{}:01BB", word([127, 0, 0, 1]))), "127.0.0.1:443".parse().ok());
        let mapped = format!("{}{}{}{}:0050", word([0; 4]), word([0; 4]), word([0, 0, 255, 255]), word([10, 0, 0, 7]));
        assert_eq!(address(&mapped), "10.0.0.7:80".parse().ok());
        for bad in ["", ":", "7F:1", "zzzzzzzz:1", "0100007F"] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }

    #[test]
    fn finds_what_this_very_process_does() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(to).unwrap();
        let pid = nix::unistd::getpid().as_raw();
        assert!(connected(pid, &connections(pid)).contains(&to));
        drop(client);
        let (all, more) = of_box(nix::unistd::getppid());
        let me = all.iter().find(|process| process.pid == pid).expect("the parent has us");
        assert_eq!((me.inside, more), (*numbers(pid).last().unwrap(), 0));
    }
}
