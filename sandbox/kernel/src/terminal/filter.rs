//! Takes out of a terminal's output what could act on the person's machine. Works on any split of the stream, in bounded memory.

use super::sequences::{csi_passes, osc_passes};

/// Longest CSI sequence; the longest honest one is a colour with a dozen parameters.
const LONGEST_CSI: usize = 128;

/// Longest OSC string that may pass: a link.
const LONGEST_OSC: usize = 4096;

/// Bytes that an unterminated string may swallow before text is text again: else one stray byte could blind the person for good.
const MOST_SWALLOWED: usize = 1 << 20;

/// The filter's state between two chunks.
#[derive(Debug, Default)]
pub struct Filter {
    state: State,
    /// Bytes of the sequence that is under way.
    held: Vec<u8>,
    /// Continuation bytes of a UTF-8 character that are still to come.
    continuation: u8,
    swallowed: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After 0xC2: a C1 control in UTF-8, or a character.
    C2,
    Escape,
    /// ESC and intermediate bytes.
    EscapeIntermediate,
    Csi,
    /// Inside OSC, kept until its end shows whether it passes.
    Osc,
    /// Inside any other string: swallowed.
    Swallow,
    /// ESC inside a string: its end, or a new sequence.
    OscEscape,
    SwallowEscape,
    /// 0xC2 inside a string.
    OscC2,
    SwallowC2,
}

impl Filter {
    /// Filters `bytes` and appends what may pass to `out`.
    pub fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some((byte, tail)) = rest.split_first() {
            if self.state == State::Text && self.continuation == 0 {
                // The common case in one go: what cannot begin a sequence.
                let plain = rest.iter().take_while(|byte| is_plain(**byte)).count();
                if plain > 0 {
                    let (text, more) = rest.split_at(plain);
                    out.extend_from_slice(text);
                    rest = more;
                    continue;
                }
            }
            self.byte(*byte, out);
            rest = tail;
        }
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        match self.state {
            State::Text => self.text(byte, out),
            State::C2 => {
                self.state = State::Text;
                if (0x80..0xa0).contains(&byte) {
                    self.c1(byte);
                } else if (0xa0..0xc0).contains(&byte) {
                    out.extend_from_slice(&[0xc2, byte]);
                } else {
                    // Not the character that 0xC2 began: the stray byte is dropped, this one begins anew.
                    self.text(byte, out);
                }
            }
            State::Escape => self.escape(byte, out),
            State::EscapeIntermediate => match byte {
                0x20..=0x2f if self.held.len() < LONGEST_CSI => self.held.push(byte),
                0x30..=0x7e => {
                    self.held.push(byte);
                    self.flush(out);
                }
                _ => self.restart(byte, out),
            },
            State::Csi => match byte {
                0x20..=0x3f if self.held.len() < LONGEST_CSI => self.held.push(byte),
                0x40..=0x7e => {
                    let parameters = self.held.get(2..).unwrap_or_default();
                    if csi_passes(parameters, byte) {
                        self.held.push(byte);
                        self.flush(out);
                    } else {
                        self.drop_held();
                    }
                }
                // Controls inside a sequence act at once on real terminals; here they wait for no one and are dropped with it.
                _ => self.restart(byte, out),
            },
            State::Osc => self.osc(byte, out),
            State::OscEscape => {
                self.state = State::Text;
                if byte == b'\\' { self.end_osc(out) } else { self.after_escape(byte, out) }
            }
            State::OscC2 => {
                self.state = State::Osc;
                if byte == 0x9c {
                    self.end_osc(out);
                } else if (0x80..0xa0).contains(&byte) {
                    // Another control inside the string ends it, and it does not pass.
                    self.drop_held();
                    self.c1(byte);
                } else {
                    self.hold(0xc2);
                    self.osc(byte, out);
                }
            }
            State::Swallow => self.swallow(byte),
            State::SwallowEscape => {
                self.state = State::Text;
                if byte != b'\\' {
                    self.after_escape(byte, out);
                }
            }
            State::SwallowC2 => {
                self.state = State::Swallow;
                if byte == 0x9c { self.drop_held() } else { self.swallow(byte) }
            }
        }
    }

    fn text(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.continuation > 0 {
            if (0x80..0xc0).contains(&byte) {
                self.continuation -= 1;
                out.push(byte);
                return;
            }
            self.continuation = 0;
        }
        match byte {
            0x1b => {
                self.state = State::Escape;
                self.held.clear();
                self.held.push(byte);
            }
            0xc2 => self.state = State::C2,
            0xc3..=0xdf => self.lead(byte, 1, out),
            0xe0..=0xef => self.lead(byte, 2, out),
            0xf0..=0xf4 => self.lead(byte, 3, out),
            // A C1 control of one byte, which terminals in an 8-bit mode obey.
            0x80..=0x9f => self.c1(byte),
            0x07..=0x0f | 0x20..=0x7e => out.push(byte),
            // ENQ makes a terminal type its answerback; the rest has no use in output.
            _ => {}
        }
    }

    fn lead(&mut self, byte: u8, continuation: u8, out: &mut Vec<u8>) {
        self.continuation = continuation;
        out.push(byte);
    }

    /// A C1 control: never passed on. Those that begin a sequence or string take it with them.
    fn c1(&mut self, byte: u8) {
        self.held.clear();
        match byte {
            0x90 | 0x98 | 0x9d..=0x9f => self.begin(State::Swallow),
            0x9b => {
                // As if it were written ESC [, but it cannot pass: a final byte that is always dropped follows from an empty introducer.
                self.begin(State::Swallow);
                self.swallowed = MOST_SWALLOWED.saturating_sub(LONGEST_CSI);
            }
            _ => self.state = State::Text,
        }
    }

    fn begin(&mut self, state: State) {
        self.state = state;
        self.swallowed = 0;
    }

    fn escape(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            b'[' => {
                self.held.push(byte);
                self.state = State::Csi;
            }
            b']' => {
                self.held.clear();
                self.begin(State::Osc);
            }
            // DCS (tmux passthrough, sixel, terminal queries), SOS, PM, APC (images from files), and screen's title.
            b'P' | b'X' | b'^' | b'_' | b'k' => {
                self.held.clear();
                self.begin(State::Swallow);
            }
            0x20..=0x2f => {
                self.held.push(byte);
                self.state = State::EscapeIntermediate;
            }
            0x30..=0x7e => {
                self.held.push(byte);
                self.flush(out);
            }
            _ => self.restart(byte, out),
        }
    }

    fn after_escape(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.held.clear();
        self.held.push(0x1b);
        self.state = State::Escape;
        self.escape(byte, out);
    }

    fn osc(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            0x07 => self.end_osc(out),
            0x1b => self.state = State::OscEscape,
            0xc2 => self.state = State::OscC2,
            // CAN and SUB abort a string.
            0x18 | 0x1a => self.drop_held(),
            _ => self.hold(byte),
        }
    }

    fn hold(&mut self, byte: u8) {
        if self.held.len() < LONGEST_OSC {
            self.held.push(byte);
        } else {
            self.held.clear();
            self.state = State::Swallow;
        }
    }

    fn end_osc(&mut self, out: &mut Vec<u8>) {
        if osc_passes(&self.held) {
            out.extend_from_slice(b"\x1b]");
            out.extend_from_slice(&self.held);
            out.extend_from_slice(b"\x1b\\");
        }
        self.drop_held();
    }

    fn swallow(&mut self, byte: u8) {
        self.swallowed += 1;
        match byte {
            0x07 | 0x18 | 0x1a => self.drop_held(),
            0x1b => self.state = State::SwallowEscape,
            0xc2 => self.state = State::SwallowC2,
            _ if self.swallowed >= MOST_SWALLOWED => self.drop_held(),
            _ => {}
        }
    }

    /// A sequence that broke off: it is dropped, and `byte` begins anew.
    fn restart(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.drop_held();
        self.text(byte, out);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.held);
        self.drop_held();
    }

    fn drop_held(&mut self) {
        self.held.clear();
        self.state = State::Text;
    }
}

/// ASCII that draws or moves and can begin nothing.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x07..=0x0d | 0x20..=0x7e)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Filter::default().pass(bytes, &mut out);
        out
    }

    fn passes(text: &str) {
        assert_eq!(String::from_utf8_lossy(&filtered(text.as_bytes())), text, "must pass unchanged");
    }

    fn drops(bytes: &[u8]) {
        let mut framed = b"<".to_vec();
        framed.extend_from_slice(bytes);
        framed.extend_from_slice(b">");
        assert_eq!(String::from_utf8_lossy(&filtered(&framed)), "<>", "must be dropped: {bytes:?}");
    }

    #[test]
    fn what_programs_draw_with_passes() {
        passes("plain\ttext\r\nünïcödé 日本語 🙂 \u{a0}\u{bf}\n\x07\x08");
        passes("\x1b[1;38;2;10;20;30m\x1b[48;5;201mcolour\x1b[0m\x1b[4:3m");
        passes("\x1b[?1049h\x1b[2J\x1b[H\x1b[?25l\x1b[?2004h\x1b[?1006h\x1b[?2026h\x1b[>1u\x1b[<u\x1b[6n\x1b[c\x1b[>c\x1b[>q");
        passes("\x1b7\x1b8\x1bM\x1bc\x1b(B\x1b)0\x1b#8\x1b=\x1b>\x1b[!p\x1b[18t\x1b[22;0t");
        passes("\x1b]0;title\x1b\\\x1b]11;?\x1b\\\x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\\x1b]133;A\x1b\\\x1b]9;4;1;50\x1b\\");
    }

    #[test]
    fn what_could_act_is_dropped() {
        drops(b"\x1b]52;c;aGVsbG8=\x07");
        drops(b"\x1b]52;c;?\x1b\\");
        drops(b"\x9d52;c;aGVsbG8=\x07");
        drops("\u{9d}52;c;aGVsbG8=\u{9c}".as_bytes());
        drops(b"\x1b]1337;File=name=x:AAAA\x07");
        drops(b"\x1b]50;font\x07");
        drops(b"\x1b]7;file://h/x\x07");
        drops(b"\x1b]9;you have mail\x07");
        drops(b"\x1b]777;notify;a;b\x07");
        drops(b"\x1bPtmux;\x1b\x1b]52;c;aGVsbG8=\x07");
        drops(b"\x1bP@kitty-cmd{}\x1b\\");
        drops(b"\x1bP$qm\x1b\\");
        drops(b"\x1bP+q544e\x1b\\");
        drops(b"\x1b_Gf=100,t=f;L2V0Yw==\x1b\\");
        drops(b"\x1b^private\x1b\\");
        drops(b"\x1bXstring\x1b\\");
        drops(b"\x1bktitle\x1b\\");
        drops(b"\x1b[21t");
        drops(b"\x1b[20t");
        drops(b"\x1b[3;0;0t");
        drops(b"\x1b[5i");
        drops(b"\x1b[1;1;1;1;1;1*y");
        drops(b"\x1b[1$w");
        drops(b"\x05");
        drops("\u{85}\u{84}".as_bytes());
    }

    #[test]
    fn a_title_with_controls_or_of_great_length_is_dropped() {
        drops("\x1b]2;a\tb\x07".as_bytes());
        drops(format!("\x1b]2;{}\x07", "x".repeat(300)).as_bytes());
    }

    #[test]
    fn an_unterminated_string_does_not_blind_for_ever() {
        let mut bytes = b"\x1b]52;c;".to_vec();
        bytes.extend(std::iter::repeat_n(b'A', LONGEST_OSC + MOST_SWALLOWED + 10));
        bytes.extend_from_slice(b"visible");
        assert!(filtered(&bytes).ends_with(b"visible"));
        assert_eq!(filtered(b"\x1b]52;c;AAA\x18visible"), b"visible");
        assert_eq!(filtered(b"\x1bPxyz\x1b[1mvisible"), b"\x1b[1mvisible");
    }

    #[test]
    fn a_nested_escape_begins_anew() {
        assert_eq!(filtered(b"\x1b\x1b[1m"), b"\x1b[1m");
        assert_eq!(filtered(b"\x1b[12\x1b[1m"), b"\x1b[1m");
        assert_eq!(filtered(b"\x1b]0;a\x1b]52;c;x\x07b"), b"b");
    }

    proptest::proptest! {
        #[test]
        fn any_split_gives_the_same(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400), cuts in proptest::collection::vec(0usize..400, 0..8)) {
            let whole = filtered(&bytes);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut filter = Filter::default();
            let mut parts = Vec::new();
            let mut from = 0;
            for cut in cuts {
                filter.pass(&bytes[from..cut], &mut parts);
                from = cut;
            }
            filter.pass(&bytes[from..], &mut parts);
            proptest::prop_assert_eq!(whole, parts);
        }

        #[test]
        fn filtering_twice_changes_nothing_and_no_introducer_is_left(pieces in proptest::collection::vec(piece(), 0..40)) {
            let once = filtered(&pieces.concat());
            proptest::prop_assert_eq!(&filtered(&once), &once);
            for introducer in [&b"\x1bP"[..], b"\x1b_", b"\x1b^", b"\x1bX", b"\x1bk", b"\x1b]5", b"\x1b]1337", b"\xc2\x9d"] {
                proptest::prop_assert!(!once.windows(introducer.len()).any(|window| window == introducer));
            }
        }

        #[test]
        fn text_passes_unchanged(text in "[ -~\u{a0}-\u{ffff}\u{10000}-\u{10ffff}]{0,200}") {
            proptest::prop_assert_eq!(filtered(text.as_bytes()), text.as_bytes());
        }
    }

    fn piece() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        proptest::prop_oneof![
            proptest::collection::vec(proptest::num::u8::ANY, 0..6),
            proptest::sample::select(vec![
                &b"\x1b"[..],
                b"\x1b]",
                b"\x1b[",
                b"\x1bP",
                b"\x1b\\",
                b"\x07",
                b"52;c;QQ==",
                b"0;title",
                b"tmux;",
                b"\x9d",
                b"\xc2",
                b"\x9c",
                b"1;2m",
                b"text",
                b"\x18",
                b"k",
            ])
            .prop_map(<[u8]>::to_vec),
        ]
    }

    use proptest::strategy::Strategy as _;
}
