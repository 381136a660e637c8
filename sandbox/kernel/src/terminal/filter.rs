//! Takes out of a terminal's output what could act on the person's machine. Works on any split of the stream, in bounded memory.
//!
//! What comes out is whole characters and whole sequences of `sequences`, nothing else: the real terminal is never left inside a sequence, so whatever
//! was dropped before, it reads the next byte as the filter does.

use super::sequences::{csi_passes, escape_passes, intermediate_passes, osc_passes};

/// Longest CSI sequence; the longest honest one is a colour with a dozen parameters.
const LONGEST_CSI: usize = 256;

/// Longest OSC string that may pass: a link.
const LONGEST_OSC: usize = 4096;

/// Bytes that one dropped sequence may swallow before text is text again: else one stray byte could blind the person for good.
const MOST_SWALLOWED: usize = 1 << 20;

/// Bytes that are looked at in one go; the compiler makes vector instructions of it.
const STRIDE: usize = 32;

/// What terminals show for bytes that are no character.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Hexadecimal digits of the Linux console's palette sequence, which has no end of its own.
const PALETTE: usize = 7;

/// The filter's state between two chunks.
#[derive(Debug, Default)]
pub struct Filter {
    state: State,
    /// Bytes of the character or sequence that is under way.
    held: Vec<u8>,
    /// Bytes of the dropped sequence that is under way.
    swallowed: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// Inside a character of several bytes.
    Character,
    /// After ESC, and intermediate bytes if any.
    Escape,
    Csi,
    /// Inside a CSI sequence that is too long.
    SwallowCsi,
    /// Inside OSC, kept until its end shows whether it passes.
    Osc,
    /// Inside any other string.
    Swallow,
    /// ESC inside a string: its end, or a new sequence.
    OscEscape,
    SwallowEscape,
}

/// What stands at the beginning of some bytes.
enum Character {
    /// A character of this many bytes.
    Whole(usize),
    /// The beginning of one.
    Partial,
    /// So many bytes that are none.
    Broken(usize),
    /// A C1 control: a sequence's introducer in another spelling.
    Control,
}

impl Filter {
    /// Filters `bytes` and appends what may pass to `out`.
    pub fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while let [byte, tail @ ..] = rest {
            let done = if self.state == State::Text { text(rest) } else { 0 };
            let (passes, more) = rest.split_at(done);
            out.extend_from_slice(passes);
            if done > 0 {
                rest = more;
            } else {
                self.byte(*byte, out);
                rest = tail;
            }
        }
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        match self.state {
            State::Text => self.text(byte, out),
            State::Character => self.character(byte, out),
            State::Escape => self.escape(byte, out),
            State::Csi => match byte {
                0x20..=0x3f if self.held.len() < LONGEST_CSI => self.held.push(byte),
                0x20..=0x3f => self.begin(State::SwallowCsi),
                0x40..=0x7e => {
                    let passes = csi_passes(self.held.get(2..).unwrap_or_default(), byte);
                    self.end(byte, passes, out);
                }
                // Terminals obey a control inside a sequence; here it breaks it off, and what follows is text.
                _ => self.restart(byte, out),
            },
            State::SwallowCsi => match byte {
                0x20..=0x3f => self.swallow(),
                0x40..=0x7e => self.drop_held(),
                _ => self.restart(byte, out),
            },
            State::Osc => match byte {
                0x07 => self.end_osc(b"\x07", out),
                0x1b => self.state = State::OscEscape,
                // CAN and SUB abort a string.
                0x18 | 0x1a => self.drop_held(),
                _ if self.held.len() < LONGEST_OSC => self.hold(byte),
                _ => self.begin(State::Swallow),
            },
            State::Swallow => match byte {
                0x07 | 0x18 | 0x1a => self.drop_held(),
                0x1b => self.state = State::SwallowEscape,
                _ => self.swallow(),
            },
            State::OscEscape if byte == b'\\' => self.end_osc(b"\x1b\\", out),
            State::SwallowEscape if byte == b'\\' => self.drop_held(),
            // Any other sequence ends the string, which then does not pass.
            State::OscEscape | State::SwallowEscape => {
                self.restart(0x1b, out);
                self.escape(byte, out);
            }
        }
    }

    fn text(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            0x1b => {
                self.held.push(byte);
                self.state = State::Escape;
            }
            0x80.. => {
                self.state = State::Character;
                self.character(byte, out);
            }
            _ if is_plain(byte) => out.push(byte),
            // ENQ makes a terminal type its answerback; the rest has no use in output.
            _ => {}
        }
    }

    fn character(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.held.push(byte);
        match character(&self.held) {
            Character::Partial => {}
            Character::Whole(_) => {
                out.extend_from_slice(&self.held);
                self.drop_held();
            }
            Character::Control => self.drop_held(),
            Character::Broken(length) => {
                out.extend_from_slice(REPLACEMENT);
                // At most the last byte is left: those before it were a good beginning.
                let last = self.held.get(length).copied();
                self.drop_held();
                if let Some(byte) = last {
                    self.text(byte, out);
                }
            }
        }
    }

    fn escape(&mut self, byte: u8, out: &mut Vec<u8>) {
        let between = self.held.get(1..).unwrap_or_default();
        match byte {
            0x20..=0x2f if self.held.len() < LONGEST_CSI => self.held.push(byte),
            0x30..=0x7e if !between.is_empty() => {
                let passes = intermediate_passes(between, byte);
                self.end(byte, passes, out);
            }
            b'[' => {
                self.held.push(byte);
                self.state = State::Csi;
            }
            b']' => self.begin(State::Osc),
            // DCS (tmux's passthrough, sixel, queries), SOS, PM, APC (pictures from files), and screen's title.
            b'P' | b'X' | b'^' | b'_' | b'k' => self.begin(State::Swallow),
            0x30..=0x7e => self.end(byte, escape_passes(byte), out),
            _ => self.restart(byte, out),
        }
    }

    /// A string, or a sequence that is only dropped.
    fn begin(&mut self, state: State) {
        self.held.clear();
        self.swallowed = 0;
        self.state = state;
    }

    fn hold(&mut self, byte: u8) {
        self.held.push(byte);
        // The Linux console's own: they have no end, and what follows is text.
        match self.held.as_slice() {
            [b'R'] => self.drop_held(),
            [b'P', digits @ ..] if digits.len() == PALETTE => self.drop_held(),
            _ => {}
        }
    }

    fn end(&mut self, byte: u8, passes: bool, out: &mut Vec<u8>) {
        if passes {
            out.extend_from_slice(&self.held);
            out.push(byte);
        }
        self.drop_held();
    }

    fn end_osc(&mut self, end: &[u8], out: &mut Vec<u8>) {
        if let Some(passes) = osc_passes(&self.held) {
            out.extend_from_slice(b"\x1b]");
            out.extend_from_slice(&passes);
            out.extend_from_slice(end);
        }
        self.drop_held();
    }

    fn swallow(&mut self) {
        self.swallowed += 1;
        if self.swallowed >= MOST_SWALLOWED {
            self.drop_held();
        }
    }

    /// A sequence that broke off is dropped, and `byte` begins anew.
    fn restart(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.drop_held();
        self.text(byte, out);
    }

    fn drop_held(&mut self) {
        self.held.clear();
        self.state = State::Text;
    }
}

/// ASCII that draws or moves and can begin nothing.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x07..=0x0f | 0x20..=0x7e)
}

/// How many bytes from the beginning are text that passes as it is.
fn text(bytes: &[u8]) -> usize {
    let mut done = 0;
    loop {
        let rest = bytes.get(done..).unwrap_or_default();
        done += STRIDE * rest.chunks_exact(STRIDE).take_while(|chunk| chunk.iter().fold(true, |all, byte| all & is_plain(*byte))).count();
        let rest = bytes.get(done..).unwrap_or_default();
        done += rest.iter().take(STRIDE).take_while(|byte| is_plain(**byte)).count();
        match bytes.get(done..) {
            Some(rest @ [0xc2..=0xf4, ..]) => match character(rest) {
                Character::Whole(length) => done += length,
                Character::Partial | Character::Broken(_) | Character::Control => return done,
            },
            Some([byte, ..]) if is_plain(*byte) => {}
            _ => return done,
        }
    }
}

/// Looks at a character of several bytes, as strictly as the standard has it: an overlong spelling of a control is none.
fn character(bytes: &[u8]) -> Character {
    let length = match bytes {
        [0xc2..=0xdf, ..] => 2,
        [0xe0..=0xef, ..] => 3,
        [0xf0..=0xf4, ..] => 4,
        _ => return Character::Broken(1),
    };
    let bytes = bytes.get(..length).unwrap_or(bytes);
    match (std::str::from_utf8(bytes), bytes) {
        (Ok(_), [0xc2, 0x80..=0x9f]) => Character::Control,
        (Ok(_), _) => Character::Whole(length),
        (Err(error), _) => error.error_len().map_or(Character::Partial, Character::Broken),
    }
}

#[cfg(test)]
impl Filter {
    pub(super) fn held_capacity(&self) -> usize {
        self.held.capacity()
    }
}
