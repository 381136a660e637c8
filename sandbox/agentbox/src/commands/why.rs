//! `agentbox why`: what was refused last, by which rule, and what to do instead. In a box it asks the broker, outside the running boxes.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, TcpStream, ToSocketAddrs},
    process::ExitCode,
    time::{Duration, Instant},
};

use agentbox_core::{policy::settings, safe};
use agentbox_desk::control::{FromDesk, ToDesk};
use serde_json::{Value, json};

use crate::commands::{
    desk::{Boxes, Fault, inside},
    limits,
    log::when,
};

/// The broker's own name in every box.
pub(crate) const BROKER: &str = "agentbox.internal";

/// How long the broker may take: it is on this machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest answer of the broker, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;

/// What no refusal tells of: a port of the box's own loopback that nobody listens on is refused by the box's kernel.
const DOORS: &str = "\
localhost is the box's own. A service on 127.0.0.1:PORT of the machine outside is reached at the same port if the person runs the box with --forward PORT, a UNIX
socket with --socket PATH; a server in the box is reached from outside with --publish PORT.
";

/// Refusals that are printed for people.
const SHOWN: usize = 10;

/// Arguments of `agentbox why`.
#[derive(Debug, clap::Args)]
pub(crate) struct WhyArguments {
    /// All of it, as a JSON list, newest last
    #[arg(long)]
    json: bool,
    /// Only what speaks of this; of an address on loopback, which door would lead to the machine's; of a word such as `sudo`, `docker` or `sandbox`, what
    /// to do instead
    #[arg(value_name = "HOST[:PORT]|WORD")]
    about: Option<String>,
}

/// Tells.
pub(crate) fn run(arguments: &WhyArguments) -> ExitCode {
    if let Some(told) = arguments.about.as_deref().and_then(limits::about) {
        return match io::stdout().lock().write_all(told.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => Fault::Failed(format!("writing: {error}")).exit(),
        };
    }
    let list = if inside().is_some() { from_broker().map(|list| (list, Asked::Boxes)) } else { from_boxes() };
    let told = list.and_then(|(mut list, asked)| {
        list.sort_by_key(|past| past.get("at").and_then(Value::as_u64));
        if let Some(about) = &arguments.about {
            list.retain(|past| past.to_string().contains(about.as_str()));
        }
        let text = if arguments.json {
            format!("{}\n", Value::Array(list))
        } else {
            let doors = if inside().is_some() { doors(arguments.about.as_deref()) } else { String::new() };
            format!("{}{doors}", told(&list, asked))
        };
        io::stdout().lock().write_all(text.as_bytes()).map_err(|error| Fault::Failed(format!("writing: {error}")))
    });
    told.map_or_else(Fault::exit, |()| ExitCode::SUCCESS)
}

/// Which door would help, for the one address or for any.
fn doors(about: Option<&str>) -> String {
    let everything = || format!("{DOORS}{}", limits::all());
    let Some((host, port)) = about.and_then(|about| about.rsplit_once(':')) else { return everything() };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback());
    match settings::port(port) {
        Ok(port) if is_here => format!(
            "{}:{port} is the box's own. If it is your person's machine that has a service there: it is reached at this address if they run the box with --forward {port}.\n",
            safe::line(host, 60)
        ),
        Ok(_) | Err(_) => everything(),
    }
}

/// Whether there was anybody to ask.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Boxes,
    Nobody,
}

fn from_boxes() -> Result<(Vec<Value>, Asked), Fault> {
    let mut list = Vec::new();
    let boxes = Boxes::find()?;
    let asked = if boxes.is_empty() { Asked::Nobody } else { Asked::Boxes };
    for (_, answer) in boxes.ask_all(&ToDesk::Why) {
        if let FromDesk::Refused(pasts) = answer {
            for past in pasts {
                list.push(serde_json::to_value(past).map_err(|error| Fault::Failed(error.to_string()))?);
            }
        }
    }
    Ok((list, asked))
}

fn from_broker() -> Result<Vec<Value>, Fault> {
    let answer = fetch(BROKER, 80, "/why").map_err(|error| Fault::Failed(format!("the broker of this box does not answer: {error}")))?;
    list_of(&answer).ok_or_else(|| Fault::Failed("the broker of this box answered something else".to_owned()))
}

/// Asks in HTTP/1.0, so that the answer ends with the connection and is not in chunks.
pub(crate) fn fetch(host: &str, port: u16, target: &str) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let address = (host, port).to_socket_addrs()?.next().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {target} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Ok(answer);
        }
        answer.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if answer.len() > LONGEST_ANSWER {
            return Err(io::Error::other("its answer is too long"));
        }
    }
}

/// The list in the body of a 200 answer.
fn list_of(answer: &[u8]) -> Option<Vec<Value>> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = answer.split_at(end + 4);
    let status = std::str::from_utf8(head).ok()?.lines().next()?.split(' ').nth(1)?;
    if status != "200" {
        return None;
    }
    match serde_json::from_slice(body).ok()? {
        Value::Array(list) => Some(list),
        Value::Object(mut object) => match object.remove("refused") {
            Some(Value::Array(list)) => Some(list),
            Some(_) | None => Some(vec![json!(object)]),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn told(list: &[Value], asked: Asked) -> String {
    if asked == Asked::Nobody {
        return "No box runs. `agentbox log` has what was refused in those that have ended.\n".to_owned();
    }
    if list.is_empty() {
        return "Nothing was refused.\n".to_owned();
    }
    let mut out = String::new();
    for past in list.iter().skip(list.len().saturating_sub(SHOWN)) {
        // The broker may put the refusal's fields beside the others.
        let refusal = past.get("refusal").unwrap_or(past);
        let text = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).map(|text| safe::line(text, 500)).filter(|text| !text.is_empty());
        let at = past.get("at").and_then(Value::as_u64).map(when).unwrap_or_default();
        out.push_str(&format!("{at}  {}\n", text(past, "summary").unwrap_or_default()));
        for (label, value) in [
            ("why", text(refusal, "reason")),
            ("what", text(refusal, "operation")),
            ("place", text(refusal, "place")),
            ("rule", text(past, "rule")),
            ("hold", text(refusal, "approval_id")),
            ("do", text(refusal, "guidance")),
        ] {
            if let Some(value) = value {
                out.push_str(&format!("    {label:6}{value}\n"));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_brokers_answer() {
        let answer = b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n[{\"at\":1777108447000,\"summary\":\"POST https://x/\",\"kind\":\"denied\",\"reason\":\"A person said no.\\u001b[2J\",\"guidance\":\"Ask.\"}]";
        let list = list_of(answer).unwrap();
        assert!(told(&[], Asked::Nobody).contains("agentbox log"), "what ended boxes were refused is not denied");
        assert_eq!(told(&list, Asked::Boxes), "2026-04-25 09:14:07Z  POST https://x/\n    why   A person said no.\\u{1b}[2J\n    do    Ask.\n");
        assert_eq!(list_of(b"HTTP/1.0 404 No\r\n\r\n[]"), None);
        assert_eq!(list_of(b"HTTP/1.0 200 OK\r\n\r\nnot json"), None);
        assert_eq!(list_of(b"garbage"), None);
    }

    #[test]
    fn names_the_door_of_a_port_on_loopback() {
        for host in ["127.0.0.1", "localhost", "[::1]", "127.0.0.9"] {
            let told = doors(Some(&format!("{host}:5432")));
            assert!(told.starts_with(&format!("{host}:5432 is the box's own")) && told.contains("--forward 5432"), "{told}");
        }
        for other in [None, Some("localhost"), Some("10.0.0.1:5432"), Some("localhost:0"), Some("localhost:x")] {
            assert!(doors(other).starts_with(DOORS) && doors(other).contains("sudo"));
        }
    }

    #[test]
    fn asks_a_broker() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let broker = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 512];
            let read = stream.read(&mut asked).unwrap();
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n[]").unwrap();
            String::from_utf8_lossy(&asked[..read]).into_owned()
        });
        let answer = fetch("127.0.0.1", port, "/why").unwrap();
        assert_eq!(list_of(&answer), Some(Vec::new()));
        assert!(broker.join().unwrap().starts_with("GET /why HTTP/1.0\r\n"));
    }
}
