//! Who in the box made a connection: found from outside by the socket's addresses, through `/proc`. Slow (milliseconds), so only for the card.
//!
//! What a process says of itself (its name, its command line) is the agent's word. Which process holds the socket is the kernel's.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use agentbox_core::safe;
use nix::unistd::Pid;

use crate::probes::Seen;

/// Processes of the whole machine that are looked at.
const MOST_PROCESSES: usize = 20_000;

/// Descriptors of one process that are looked at.
pub(crate) const MOST_DESCRIPTORS: usize = 4_096;

/// Bytes of the box's socket table.
pub(crate) const MOST_TABLE: usize = 4 << 20;

/// Ancestors that are shown.
const MOST_ANCESTORS: usize = 8;

/// Characters of a command line that are shown.
const LONGEST: usize = 160;

/// From here on a word of a command line could be a secret: only its end is shown.
const SECRET: usize = 16;

/// The same where the words before it say that it is one.
const SHORT_SECRET: usize = 6;

/// The process in the box of `init` that holds the client's end of a connection, and its ancestors, the asker first:
/// `curl (pid 12): curl -sS https://…`. Empty where it cannot be told.
#[must_use]
pub fn of_connection(init: Pid, client: SocketAddr, server: SocketAddr) -> Vec<String> {
    let Some(inode) = inode(init, client, server) else { return Vec::new() };
    let Some(pid) = holder(inode) else { return Vec::new() };
    ancestry(init, pid)
}

/// Who opened a connection by what the kernel's probe saw, and its ancestors, as [`of_connection`] tells them. A process that has ended
/// is told by the name that it had.
#[must_use]
pub fn of_seen(init: Pid, seen: &Seen) -> Vec<String> {
    // One that began after the connection only has the number of the one that opened it.
    if began(seen.pid).is_some_and(|began| began <= seen.at) {
        let line = ancestry(init, seen.pid);
        if !line.is_empty() {
            return line;
        }
    }
    vec![format!("{} (ended since)", safe::line(&seen.comm, 16))]
}

/// When a process began, in nanoseconds of `CLOCK_BOOTTIME`, rounded down to the kernel's ticks.
fn began(pid: i32) -> Option<u64> {
    /// `USER_HZ`: fixed, whatever the kernel's own clock does.
    const TICK: u64 = 10_000_000;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything, so the fields are counted from its end.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse::<u64>().ok()?.checked_mul(TICK)
}

/// The process with this number outside the box and its ancestors, as [`of_connection`] tells them.
#[must_use]
pub fn of_process(init: Pid, pid: i32) -> Vec<String> {
    ancestry(init, pid)
}

fn inode(init: Pid, client: SocketAddr, server: SocketAddr) -> Option<u64> {
    let tables: &[(&str, SocketAddr, SocketAddr)] = &[("tcp", client, server), ("tcp6", mapped(client), mapped(server))];
    tables.iter().find_map(|(table, client, server)| {
        if client.is_ipv4() != (*table == "tcp") {
            return None;
        }
        let text = fs::read_to_string(format!("/proc/{init}/net/{table}")).ok()?;
        let text = text.get(..MOST_TABLE).unwrap_or(&text);
        let (local, remote) = (hexadecimal(*client), hexadecimal(*server));
        text.lines().skip(1).find_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            (words.next()? == local && words.next()? == remote).then(|| words.nth(6)?.parse().ok())?
        })
    })
}

/// IPv4 as a client with an IPv6 socket sees it.
fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// As `/proc/net/tcp` writes an address: words in host order, in hexadecimal.
fn hexadecimal(address: SocketAddr) -> String {
    let word = |bytes: &[u8]| bytes.first_chunk::<4>().map_or_else(String::new, |bytes| format!("{:08X}", u32::from_ne_bytes(*bytes)));
    let host: String = match address.ip() {
        IpAddr::V4(v4) => word(&v4.octets()),
        IpAddr::V6(v6) => v6.octets().chunks(4).map(word).collect(),
    };
    format!("{host}:{:04X}", address.port())
}

/// The first process that has the socket open. A socket's inode is its own on the whole machine.
fn holder(inode: u64) -> Option<i32> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    processes.take(MOST_PROCESSES).find(|pid| {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        descriptors.flatten().take(MOST_DESCRIPTORS).any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link == Path::new(&wanted)))
    })
}

fn ancestry(init: Pid, mut pid: i32) -> Vec<String> {
    let mut line = Vec::new();
    while line.len() < MOST_ANCESTORS && pid != init.as_raw() {
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { break };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default();
        // The number that the agent knows the process by is the last of the list.
        let inside = field("NSpid:").split_whitespace().last().unwrap_or_default().to_owned();
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.push(format!("{} (pid {inside}): {}", safe::line(field("Name:"), 32), words(&command)));
        match field("PPid:").parse() {
            Ok(parent) if parent > 0 => pid = parent,
            Ok(_) | Err(_) => break,
        }
    }
    line
}

/// A command line without what could be a secret in it.
pub(crate) fn words(command: &[u8]) -> String {
    let text = String::from_utf8_lossy(command);
    let shown: Vec<String> = text.split('\0').filter(|word| !word.is_empty()).map(hidden).collect();
    safe::line(&shown.join(" "), LONGEST)
}

/// Shortens every run of characters that tokens are made of, if it is as long as one and holds a digit.
fn hidden(word: &str) -> String {
    let is_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '~');
    let mut out = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let run = rest.find(|c| !is_token(c)).unwrap_or(rest.len());
        let (token, tail) = rest.split_at(run);
        let is_told = says_secret(&out) && token.len() >= SHORT_SECRET;
        if is_told || token.len() >= SECRET && token.bytes().any(|byte| byte.is_ascii_digit()) {
            out.push('…');
            if token.len() >= SECRET {
                out.push_str(token.get(token.len() - 4..).unwrap_or_default());
            }
        } else {
            out.push_str(token);
        }
        let mut characters = tail.chars();
        out.extend(characters.next());
        rest = characters.as_str();
    }
    out
}

/// Whether what stands before says that a secret follows: `Authorization: Bearer `, `--password=`, `X-Api-Key: `.
fn says_secret(before: &str) -> bool {
    const WORDS: &[&str] = &["bearer", "basic", "token", "key", "password", "passwd", "pass", "secret"];
    let before = before.trim_end_matches([' ', ':', '=', '"', '\'']);
    let last = before.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    WORDS.iter().any(|word| last.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_kernel_does() {
        assert_eq!(hexadecimal("127.0.0.1:8080".parse().unwrap()), format!("{:08X}:1F90", u32::from_ne_bytes([127, 0, 0, 1])));
        assert_eq!(hexadecimal("[::1]:443".parse().unwrap()), format!("000000000000000000000000{:08X}:01BB", u32::from_ne_bytes([0, 0, 0, 1])));
    }

    #[test]
    fn secrets_in_a_command_line_are_shortened() {
        assert_eq!(
            words(b"curl\0-H\0Authorization: Bearer abcd1234efgh5678ijkl\0https://api.example.com/v1\0"),
            "curl -H Authorization: Bearer …ijkl https://api.example.com/v1"
        );
        assert_eq!(words(b"curl\0-H\0X-Api-Key: abcdefgh\0--password=hunter2\0"), "curl -H X-Api-Key: … --password=…");
        assert_eq!(words(b"git\0-c\0http.token\0fetch\0"), "git -c http.token fetch");
        assert_eq!(words(b"bash\0-c\0echo\x1b[2J\0"), "bash -c echo\\u{1b}[2J");
    }

    #[test]
    fn a_connection_that_nobody_has_is_nobodys() {
        assert!(of_connection(nix::unistd::getpid(), "192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap()).is_empty());
    }

    #[test]
    fn finds_the_holder_of_a_real_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let parent = nix::unistd::getppid();
        let (from, to) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        let inode = inode(nix::unistd::getpid(), from, to).expect("the socket is in our table");
        assert_eq!(holder(inode), Some(nix::unistd::getpid().as_raw()));
        let line = of_connection(parent, from, to);
        assert!(line[0].contains(&format!("(pid {})", nix::unistd::getpid())), "{line:?}");
    }
}
