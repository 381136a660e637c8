//! `agentbox holds --watch` on a terminal: what waits, full-screen, ruled on by keys alone. It works over SSH.
//!
//! Drawn by hand: one list, one card, one line to type in. A library for it would weigh more than all the rest of the desk.

mod screen;

use std::{
    io::{self, Read as _, Write as _},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use agentbox_core::verdict::Presence;
use agentbox_desk::{
    Card, HoldId,
    control::{FromDesk, ToDesk, Via},
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::termios::{self, SetArg, Termios},
};

use super::{
    approve,
    desk::{Boxes, Fault, ask},
    holds, sign,
};
use screen::{Deed, Key, Line, Look, Screen};

/// How often it looks again.
const AGAIN: Duration = Duration::from_secs(1);

/// So long after an escape the rest of a key's bytes may take; over a slow line they come together all the same.
const REST: Duration = Duration::from_millis(60);

/// Bytes that are read at once.
const CHUNK: usize = 1024;

/// The other screen, and back.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";

/// The terminal as it was; it is so again when this is dropped.
struct Raw {
    before: Termios,
}

impl Raw {
    fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = termios::tcgetattr(stdin.as_fd())?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(stdin.as_fd(), SetArg::TCSADRAIN, &raw)?;
        write(ENTER)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = write(LEAVE);
        let _ = termios::tcsetattr(io::stdin().as_fd(), SetArg::TCSADRAIN, &self.before);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn failed(error: io::Error) -> Fault {
    Fault::Failed(format!("the terminal: {error}"))
}

/// Runs until it is closed.
pub(crate) fn run() -> Result<(), Fault> {
    let mut boxes = Boxes::find()?;
    let mut raw = Some(Raw::enter().map_err(failed)?);
    let mut screen = Screen::new();
    let mut looked: Option<Instant> = None;
    loop {
        if looked.is_none_or(|at| at.elapsed() >= AGAIN) {
            boxes = Boxes::find()?;
            look(&boxes, &mut screen)?;
            looked = Some(Instant::now());
        }
        show(&mut screen).map_err(failed)?;
        for key in keys(AGAIN).map_err(failed)? {
            match screen.key(key) {
                None => {}
                Some(Deed::Quit) => return Ok(()),
                Some(Deed::Open(id)) => {
                    let card = boxes.card(&id)?.map(|(_, card)| card);
                    screen.card(&id, card);
                }
                Some(Deed::Deny(id, because)) => {
                    let message = ToDesk::Deny { id: id.clone(), because, via: Via::Terminal };
                    let said = told(&boxes, &id, &message, |word| approve::told(&id, word));
                    screen.say(&said);
                    looked = None;
                }
                Some(Deed::Approve(card, typed)) => {
                    // ssh-keygen speaks to the person on this very terminal.
                    let signs = card.wants.presence == Presence::Signature;
                    if signs {
                        raw = None;
                    }
                    let said = approves(&boxes, &card, &typed).unwrap_or_else(|fault| match fault {
                        Fault::No(why) | Fault::Failed(why) => why,
                    });
                    if signs {
                        drop(raw.take());
                        raw = Some(Raw::enter().map_err(failed)?);
                    }
                    screen.say(&said);
                    looked = None;
                }
            }
        }
    }
}

fn look(boxes: &Boxes, screen: &mut Screen) -> Result<(), Fault> {
    screen.rows(holds::rows(boxes));
    if let Some(id) = screen.shown().cloned() {
        let card = boxes.card(&id)?.map(|(_, card)| card);
        screen.card(&id, card);
    }
    Ok(())
}

fn approves(boxes: &Boxes, card: &Card, typed: &str) -> Result<String, Fault> {
    let wanted = card.wants.typed.as_deref().unwrap_or(approve::YES);
    if typed != wanted {
        return Err(Fault::No(format!("not approved: to approve it, type {wanted}")));
    }
    let digest = card.digest.ok_or_else(|| Fault::No(format!("{} is approved already", card.id)))?;
    let typed = card.wants.typed.is_some().then(|| typed.to_owned());
    let signature = if card.wants.presence == Presence::Signature { Some(sign::sign(card, typed.as_deref(), None, None)?) } else { None };
    let message = ToDesk::Approve { id: card.id.clone(), card: digest, typed, lasting: None, via: Via::Terminal, signature };
    Ok(told(boxes, &card.id, &message, |word| approve::told(&card.id, word)))
}

fn told(boxes: &Boxes, id: &HoldId, message: &ToDesk, ruled: impl Fn(agentbox_desk::control::RuledWord) -> String) -> String {
    let answer = boxes.card(id).and_then(|found| match found {
        Some((session, _)) => ask(session, message),
        None => Err(Fault::No(format!("{id} does not wait any more"))),
    });
    match answer {
        Ok(FromDesk::Ruled(word)) => ruled(word),
        Ok(FromDesk::No(why)) | Err(Fault::No(why) | Fault::Failed(why)) => why,
        Ok(
            FromDesk::Holds { .. }
            | FromDesk::Card(_)
            | FromDesk::Refused(_)
            | FromDesk::Running(_)
            | FromDesk::Names(_)
            | FromDesk::Done(_)
            | FromDesk::Credentials(_),
        ) => "the box answered something else".to_owned(),
    }
}

fn show(screen: &mut Screen) -> io::Result<()> {
    let (wide, high) = size();
    let mut page = String::from("\u{1b}[H");
    for (index, Line { text, look }) in screen.draw(wide, high).into_iter().enumerate() {
        if index > 0 {
            page.push_str("\r\n");
        }
        match look {
            Look::Plain => page.push_str(&text),
            Look::Strong => page.push_str(&format!("\u{1b}[1m{text}\u{1b}[0m")),
            Look::Selected => page.push_str(&format!("\u{1b}[7m{text}\u{1b}[0m")),
        }
        page.push_str("\u{1b}[K");
    }
    page.push_str("\u{1b}[J");
    write(&page)
}

/// Columns and rows; those of a terminal that says nothing of itself are 80 and 24.
fn size() -> (usize, usize) {
    agentbox_kernel::terminal::size_of(io::stdout().as_fd()).map_or((80, 24), |(wide, high)| (usize::from(wide), usize::from(high)))
}

fn ready(patience: Duration) -> io::Result<bool> {
    let stdin = io::stdin();
    let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)], patience) {
        Ok(count) => Ok(count > 0),
        // A new size, for one: it is drawn anew.
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// The keys that were pressed, at most those of one read; none when nothing came in time.
fn keys(patience: Duration) -> io::Result<Vec<Key>> {
    if !ready(patience)? {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; CHUNK];
    // The descriptor itself: std would read ahead into a buffer of its own, which poll does not see.
    let mut file = std::fs::File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut count = file.read(&mut bytes)?;
    if count == 0 {
        return Ok(vec![Key::Quit]);
    }
    if bytes.get(..count) == Some(&[0x1b]) && ready(REST)? {
        let rest = bytes.get_mut(count..).unwrap_or_default();
        count += file.read(rest)?;
    }
    Ok(read(bytes.get(..count).unwrap_or_default()))
}

fn read(mut bytes: &[u8]) -> Vec<Key> {
    const SEQUENCES: &[(&[u8], Key)] = &[
        (b"\x1b[A", Key::Up),
        (b"\x1bOA", Key::Up),
        (b"\x1b[B", Key::Down),
        (b"\x1bOB", Key::Down),
        (b"\x1b[D", Key::Back),
        (b"\x1bOD", Key::Back),
        (b"\x1b[5~", Key::PageUp),
        (b"\x1b[6~", Key::PageDown),
    ];
    let mut keys = Vec::new();
    while let Some(first) = bytes.first().copied() {
        if let Some((sequence, key)) = SEQUENCES.iter().find(|(sequence, _)| bytes.starts_with(sequence)) {
            keys.push(key.clone());
            bytes = bytes.get(sequence.len()..).unwrap_or_default();
            continue;
        }
        let mut taken = 1;
        match first {
            0x03 | 0x04 => keys.push(Key::Quit),
            b'\r' | b'\n' => keys.push(Key::Enter),
            0x7f | 0x08 => keys.push(Key::Erase),
            // Some other sequence: what follows is none of our keys, and must not be taken for letters.
            0x1b if matches!(bytes.get(1), Some(b'[' | b'O')) => {
                let end = bytes.iter().skip(2).position(|byte| (0x40..=0x7e).contains(byte));
                taken = end.map_or(bytes.len(), |end| end + 3);
            }
            0x1b => keys.push(Key::Back),
            0x00..=0x1f => {}
            _ => {
                let (valid, rest) = match std::str::from_utf8(bytes) {
                    Ok(text) => (text, 0),
                    Err(error) => (std::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default(), 1),
                };
                match valid.chars().next() {
                    Some(c) => {
                        keys.push(Key::Char(c));
                        taken = c.len_utf8();
                    }
                    None => taken = rest.max(1),
                }
            }
        }
        bytes = bytes.get(taken..).unwrap_or_default();
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_keys_and_leaves_out_what_is_none() {
        use Key::{Back, Char, Down, Enter, Erase, PageDown, Quit, Up};
        assert_eq!(read(b"a\x1b[A\x1bOB\r\x7f\x03"), [Char('a'), Up, Down, Enter, Erase, Quit]);
        assert_eq!(read("日é".as_bytes()), [Char('日'), Char('é')]);
        assert_eq!(read(b"\x1b"), [Back]);
        assert_eq!(read(b"\x1b[200~yes\x1b[201~\x1b[6~"), [Char('y'), Char('e'), Char('s'), PageDown]);
        assert_eq!(read(b"\xff\xfea\x1b["), [Char('a')]);
        assert_eq!(read(b"\x1b[1;5C"), []);
    }
}
