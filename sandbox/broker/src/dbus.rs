//! One notification on the desktop, by D-Bus (org.freedesktop.Notifications): a client that knows three calls and nothing else, for the process that
//! carries cards. The bus is joined before that process is fenced, which then can join no other.

use std::{
    io::{self, Read as _, Write as _},
    os::{linux::net::SocketAddrExt as _, unix::net},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

/// How long the bus itself may take while the box starts.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longest line of the log-in.
const LONGEST_LINE: usize = 4096;

/// Longest message that is read; what a desktop answers is far shorter.
const LONGEST: usize = 64 << 10;

/// Messages of others that are passed over before the answer must have come.
const PASSED_OVER: usize = 64;

const BUS: Callee = Callee { name: "org.freedesktop.DBus", path: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus" };
const DESKTOP: Callee = Callee { name: "org.freedesktop.Notifications", path: "/org/freedesktop/Notifications", interface: "org.freedesktop.Notifications" };

/// Who is called.
struct Callee {
    name: &'static str,
    path: &'static str,
    interface: &'static str,
}

/// The session's bus, joined.
#[derive(Debug)]
pub struct Bus(net::UnixStream);

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// One line; never markup.
    pub summary: String,
    /// Lines of plain text.
    pub body: String,
    /// How long it may stay.
    pub lasts: Duration,
}

impl Bus {
    /// Joins the bus that `variable` names, as programs of the desktop do.
    ///
    /// # Errors
    /// One sentence.
    pub fn join(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let addresses = variable("DBUS_SESSION_BUS_ADDRESS").filter(|text| !text.is_empty());
        let addresses = addresses.or_else(|| variable("XDG_RUNTIME_DIR").map(|folder| format!("unix:path={folder}/bus")));
        let addresses = addresses.ok_or("neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR says where the session's bus is")?;
        let stream = addresses.split(';').find_map(|address| net::UnixStream::connect_addr(&socket(address)?).ok());
        let mut stream = stream.ok_or("nobody answers at the session's bus")?;
        log_in(&mut stream).map_err(|error| format!("the session's bus does not let this user in: {error}"))?;
        Ok(Self(stream))
    }

    /// Goes on with it in a runtime.
    ///
    /// # Errors
    /// The socket cannot be watched.
    pub fn open(self) -> io::Result<Desktop> {
        self.0.set_nonblocking(true)?;
        Ok(Desktop { stream: UnixStream::from_std(self.0)?, serial: 1, buffer: Vec::new(), is_whole: true })
    }
}

/// The desktop, as far as it is needed.
#[derive(Debug)]
pub struct Desktop {
    stream: UnixStream,
    serial: u32,
    buffer: Vec<u8>,
    /// No message is half written.
    is_whole: bool,
}

impl Desktop {
    /// Shows it, and gives its number.
    ///
    /// # Errors
    /// One sentence.
    pub async fn show(&mut self, note: &Note) -> Result<u32, String> {
        let capabilities = self.call(&DESKTOP, "GetCapabilities", Body::default()).await?;
        let text = if capabilities.strings()?.iter().any(|word| word == "body-markup") { escaped(&note.body) } else { note.body.clone() };
        let mut body = Body { signature: "susssasa{sv}i", bytes: Vec::new() };
        body.string("agentbox");
        body.number(0);
        body.string("dialog-warning");
        body.string(&note.summary);
        body.string(&text);
        // No buttons: what a courier brings back counts for nothing.
        body.number(0);
        // Hints: that it is urgent, and that nothing of it is kept by who shows it.
        let mut hints = Body::default();
        hints.string("urgency");
        hints.bytes.extend([1, b'y', 0, 2]);
        hints.align(8);
        hints.string("transient");
        hints.bytes.extend([1, b'b', 0]);
        hints.number(1);
        let length = u32::try_from(hints.bytes.len()).map_err(|_| "hints of absurd length".to_owned())?;
        body.number(length);
        body.align(8);
        body.bytes.extend(hints.bytes);
        body.number(u32::try_from(note.lasts.as_millis()).unwrap_or(u32::MAX).min(i32::MAX.unsigned_abs()));
        self.call(&DESKTOP, "Notify", body).await?.number()
    }

    async fn call(&mut self, callee: &Callee, member: &str, body: Body) -> Result<Message, String> {
        let gone = |error: io::Error| format!("the session's bus has gone: {error}");
        if !std::mem::replace(&mut self.is_whole, false) {
            return Err("the session's bus did not take a message in time".to_owned());
        }
        self.serial = self.serial.wrapping_add(1).max(2);
        let serial = self.serial;
        self.stream.write_all(&message(serial, callee, member, &body)).await.map_err(gone)?;
        self.is_whole = true;
        for _ in 0..PASSED_OVER {
            let told = loop {
                match Message::take(&mut self.buffer)? {
                    Some(told) => break told,
                    None if self.stream.read_buf(&mut self.buffer).await.map_err(gone)? == 0 => return Err(gone(io::ErrorKind::UnexpectedEof.into())),
                    None => {}
                }
            };
            if told.answers == Some(serial) {
                return told.or_error();
            }
        }
        Err("the session's bus speaks of other things and does not answer".to_owned())
    }
}

/// `unix:path=…` and `unix:abstract=…`, with their escapes; others lead off this machine or start something.
fn socket(address: &str) -> Option<net::SocketAddr> {
    let mut keys = address.strip_prefix("unix:")?.split(',').filter_map(|pair| pair.split_once('='));
    keys.find_map(|(key, value)| match key {
        "path" => net::SocketAddr::from_pathname(std::str::from_utf8(&unescaped(value)?).ok()?).ok(),
        "abstract" => net::SocketAddr::from_abstract_name(unescaped(value)?).ok(),
        _ => None,
    })
}

fn unescaped(value: &str) -> Option<Vec<u8>> {
    let mut parts = value.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(part.get(2..)?.as_bytes());
    }
    Some(bytes)
}

/// Says who we are, which the kernel confirms, and takes a name on the bus, all within the patience: a bus that says a little now and then is no bus.
fn log_in(stream: &mut net::UnixStream) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let read = |stream: &mut net::UnixStream, piece: &mut [u8]| {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(piece)? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            count => Ok(count),
        }
    };
    stream.set_write_timeout(Some(PATIENCE))?;
    let who: String = nix::unistd::geteuid().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
    stream.write_all(format!("\0AUTH EXTERNAL {who}\r\n").as_bytes())?;
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        read(stream, &mut byte)?;
        line.extend(byte);
        if line.len() > LONGEST_LINE {
            return Err(io::Error::other("a line without an end"));
        }
    }
    if !line.starts_with(b"OK ") {
        return Err(io::Error::other("it refuses the log-in"));
    }
    stream.write_all(b"BEGIN\r\n")?;
    stream.write_all(&message(1, &BUS, "Hello", &Body::default()))?;
    let mut buffer = Vec::new();
    loop {
        match Message::take(&mut buffer).map_err(io::Error::other)? {
            Some(told) if told.answers == Some(1) => return told.or_error().map(drop).map_err(io::Error::other),
            // The signal that says which name we have.
            Some(_) => {}
            None => {
                let mut piece = [0; 1024];
                let count = read(stream, &mut piece)?;
                buffer.extend_from_slice(piece.get(..count).unwrap_or_default());
            }
        }
    }
}

/// Text that means itself where a desktop reads markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What is sent, little-endian.
#[derive(Default)]
struct Body {
    signature: &'static str,
    bytes: Vec<u8>,
}

impl Body {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: u32) {
        self.align(4);
        self.bytes.extend(number.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        // No string holds a zero byte, which would end it early.
        let text = text.replace('\0', "");
        self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }
}

/// One call as bytes: the header's fields are path, interface, member, destination and the body's signature.
fn message(serial: u32, callee: &Callee, member: &str, body: &Body) -> Vec<u8> {
    let mut fields = Body::default();
    for (code, kind, text) in [(1, b'o', callee.path), (2, b's', callee.interface), (3, b's', member), (6, b's', callee.name)] {
        fields.align(8);
        fields.bytes.extend([code, 1, kind, 0]);
        fields.string(text);
    }
    if !body.signature.is_empty() {
        fields.align(8);
        fields.bytes.extend([8, 1, b'g', 0, u8::try_from(body.signature.len()).unwrap_or(u8::MAX)]);
        fields.bytes.extend(body.signature.as_bytes());
        fields.bytes.push(0);
    }
    // Little-endian, a call, no flags, version 1.
    let mut out = Body { signature: "", bytes: vec![b'l', 1, 0, 1] };
    out.number(u32::try_from(body.bytes.len()).unwrap_or(u32::MAX));
    out.number(serial);
    out.number(u32::try_from(fields.bytes.len()).unwrap_or(u32::MAX));
    out.bytes.extend(fields.bytes);
    out.align(8);
    out.bytes.extend(&body.bytes);
    out.bytes
}

/// What is received.
#[derive(Debug)]
struct Message {
    is_error: bool,
    /// The call that it answers.
    answers: Option<u32>,
    error: String,
    body: Vec<u8>,
}

impl Message {
    /// Takes the first whole message off the front.
    fn take(buffer: &mut Vec<u8>) -> Result<Option<Self>, String> {
        let bad = || "the session's bus does not speak as it should".to_owned();
        let Some(&[order, kind, _, version, ..]) = buffer.first_chunk::<16>() else { return Ok(None) };
        if (order, version) != (b'l', 1) {
            return Err(bad());
        }
        let number = |at: usize| Reader { bytes: buffer, at }.number().map(|number| number as usize);
        let (body, fields) = (number(4).ok_or_else(bad)?, number(12).ok_or_else(bad)?);
        if body > LONGEST || fields > LONGEST {
            return Err(bad());
        }
        let begins = (16 + fields).next_multiple_of(8);
        if buffer.len() < begins + body {
            return Ok(None);
        }
        let rest = buffer.split_off(begins + body);
        let whole = std::mem::replace(buffer, rest);
        let mut told = Self { is_error: kind == 3, answers: None, error: String::new(), body: whole.get(begins..).unwrap_or_default().to_vec() };
        let mut reader = Reader { bytes: whole.get(..16 + fields).unwrap_or_default(), at: 16 };
        while reader.at < reader.bytes.len() {
            reader.align(8);
            match reader.array::<4>().ok_or_else(bad)? {
                [5, 1, b'u', 0] => told.answers = Some(reader.number().ok_or_else(bad)?),
                [4, 1, b's', 0] => told.error = reader.string().ok_or_else(bad)?,
                [_, 1, b's' | b'o', 0] => drop(reader.string().ok_or_else(bad)?),
                [_, 1, b'u', 0] => drop(reader.number().ok_or_else(bad)?),
                [_, 1, b'g', 0] => {
                    let [length] = reader.array::<1>().ok_or_else(bad)?;
                    reader.at += usize::from(length) + 1;
                }
                _ => return Err(bad()),
            }
        }
        Ok(Some(told))
    }

    fn or_error(self) -> Result<Self, String> {
        if self.is_error { Err(format!("the desktop answers {}", agentbox_core::safe::line(&self.error, 100))) } else { Ok(self) }
    }

    fn number(&self) -> Result<u32, String> {
        Reader { bytes: &self.body, at: 0 }.number().ok_or_else(|| "the desktop answers something else".to_owned())
    }

    fn strings(&self) -> Result<Vec<String>, String> {
        let mut reader = Reader { bytes: &self.body, at: 0 };
        let mut strings = Vec::new();
        let read = reader.number().and_then(|length| {
            let end = reader.at.checked_add(length as usize)?;
            while reader.at < end {
                strings.push(reader.string()?);
            }
            Some(())
        });
        read.map(|()| strings).ok_or_else(|| "the desktop answers something else".to_owned())
    }
}

/// Reads what was received; nothing beyond its end.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let array = *self.bytes.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(array)
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4);
        self.array().map(u32::from_le_bytes)
    }

    fn string(&mut self) -> Option<String> {
        let length = self.number()? as usize;
        let text = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length + 1;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_as_the_specification_has_it() {
        let bytes = message(1, &BUS, "Hello", &Body::default());
        assert_eq!(bytes.get(..16), Some([b'l', 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0x6d, 0, 0, 0].as_slice()));
        assert_eq!(bytes.len() % 8, 0);
        // As it stands in every capture of a log-in.
        assert_eq!(bytes.get(16..46), Some(b"\x01\x01o\x00\x15\x00\x00\x00/org/freedesktop/DBus\x00".as_slice()));
    }

    #[test]
    fn where_the_bus_is() {
        assert!(socket("unix:path=/run/user/1000/bus").is_some_and(|to| to.as_pathname() == Some("/run/user/1000/bus".as_ref())));
        assert!(socket("unix:path=/tmp/a%20b,guid=00").is_some_and(|to| to.as_pathname() == Some("/tmp/a b".as_ref())));
        assert!(socket("unix:guid=1,abstract=/tmp/dbus-X").is_some_and(|to| to.as_abstract_name() == Some(b"/tmp/dbus-X")));
        for other in ["tcp:host=localhost,port=1", "unixexec:path=/bin/sh", "launchd:env=X", "unix:tmpdir=/tmp", "unix:path=%zz", "", "unix:path"] {
            assert!(socket(other).is_none(), "{other}");
        }
    }

    /// An answer: to which call, of which kind, and its body.
    fn answer(serial: u32, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut fields = Body::default();
        fields.bytes.extend([5, 1, b'u', 0]);
        fields.number(serial);
        fields.align(8);
        fields.bytes.extend([7, 1, b's', 0]);
        fields.string("org.freedesktop.Notifications");
        fields.align(8);
        fields.bytes.extend([8, 1, b'g', 0, 2, b'a', b's', 0]);
        let mut out = Body { signature: "", bytes: vec![b'l', kind, 1, 1] };
        out.number(u32::try_from(body.len()).unwrap());
        out.number(9);
        out.number(u32::try_from(fields.bytes.len()).unwrap());
        out.bytes.extend(fields.bytes);
        out.align(8);
        out.bytes.extend(body);
        out.bytes
    }

    #[test]
    fn answers_are_read_whole_and_what_is_none_is_an_error() {
        let mut words = Body::default();
        words.string("body");
        words.string("body-markup");
        let mut body = Body::default();
        body.number(u32::try_from(words.bytes.len()).unwrap());
        body.bytes.extend(words.bytes);
        let whole = answer(7, 2, &body.bytes);
        for cut in 0..whole.len() {
            assert!(Message::take(&mut whole[..cut].to_vec()).is_ok_and(|none| none.is_none()), "{cut}");
        }
        let mut two = [whole.clone(), whole.clone()].concat();
        let told = Message::take(&mut two).unwrap().unwrap();
        assert_eq!((told.answers, told.strings().unwrap(), two.len()), (Some(7), vec!["body".to_owned(), "body-markup".to_owned()], whole.len()));
        assert!(Message::take(&mut answer(7, 3, &[])).unwrap().unwrap().or_error().is_err());
        // Whatever bytes come, none is read beyond its end, and no message is longer than is believed.
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                if let Ok(Some(told)) = Message::take(&mut changed) {
                    let _ = (told.strings(), told.number());
                }
            }
        }
        let mut long = whole;
        long[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Message::take(&mut long).is_err());
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), plausible: bool, address: String) {
            let mut bytes = bytes;
            if plausible && bytes.len() >= 16 {
                // A head that is believed, with lengths that may be.
                bytes[..4].copy_from_slice(&[b'l', 2, 0, 1]);
                bytes[5..8].fill(0);
                bytes[13..16].fill(0);
            }
            let before = bytes.len();
            if let Ok(Some(told)) = Message::take(&mut bytes) {
                assert!(bytes.len() < before, "a message takes what it is made of");
                let _ = (told.strings(), told.number());
            }
            let _ = (socket(&address), socket(&format!("unix:path={address}")));
        }
    }

    #[test]
    fn a_bus_that_says_a_little_now_and_then_is_left() {
        let (mut ours, mut theirs) = net::UnixStream::pair().unwrap();
        let trickle = std::thread::spawn(move || {
            while theirs.write_all(b"O").is_ok() {
                std::thread::sleep(PATIENCE / 40);
            }
        });
        assert!(matches!(log_in(&mut ours).unwrap_err().kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock));
        drop(ours);
        trickle.join().unwrap();
    }
}
