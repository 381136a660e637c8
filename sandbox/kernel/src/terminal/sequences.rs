//! Which control sequences pass from the box to the real terminal. Everything else is dropped.
//!
//! The measure: a sequence may draw, and may ask what has a fixed answer. It may not reach the clipboard, files, programs or other
//! windows, nor lead the terminal into a mode in which it reads bytes otherwise than the filter does. No answer may hold text that the
//! box chose, for answers are typed, and could be typed elsewhere once the box has ended; numbers are the most that an answer repeats.

use std::borrow::Cow;

use agentbox_core::safe;

/// A line of the table in `docs/terminal.md`.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// The kind and its selector, as written in the documentation.
    pub what: &'static str,
    /// Why it may pass.
    pub why: &'static str,
}

/// What passes, for the documentation.
pub const KEPT: &[Kept] = &[
    Kept { what: "text", why: "UTF-8 without the C1 controls U+0080 to U+009F; a byte that is no UTF-8 becomes U+FFFD" },
    Kept { what: "BEL BS HT LF VT FF CR SO SI", why: "draw, move or ring" },
    Kept { what: "ESC 6 7 8 9 c D E H M N O = > Z \\\\", why: "save, move, reset, keypad; what kind of terminal" },
    Kept { what: "ESC ( ) * + - . / …, ESC # 3 to 8, ESC % G", why: "character sets, double height, UTF-8" },
    Kept { what: "CSI … @ A B C D E F G H I J K L M P S T X Z ` a b d e f g m r s u", why: "move, erase, scroll, colour" },
    Kept {
        what: "CSI … c, CSI > … c q, CSI = … c, CSI 5 n, CSI 6 n, CSI ? 6 n, CSI ? 996 n",
        why: "what kind of terminal, where the cursor is, dark or light",
    },
    Kept {
        what: "CSI 4 h l, CSI 34 h l, CSI ! p, CSI SP q, CSI \" q, CSI ? … J K, CSI ? … c",
        why: "insert mode, soft reset, shapes of the cursor, protected text",
    },
    Kept {
        what: "CSI ? 1 5 6 7 8 9 12 25 45 47 66 69 1000 1002 to 1007 1010 1011 1015 1016 1034 1036 1039 1047 1048 1049 2004 2026 2027 2031 2048 h l r s",
        why: "keys, cursor, other screen, mouse, focus, bracketed paste, synchronized updates, reports of size and theme",
    },
    Kept { what: "CSI … $ p, CSI ? … $ p", why: "whether a mode is set: answers with numbers" },
    Kept { what: "CSI > … m n u, CSI ? m u, CSI = … u, CSI < … u", why: "how keys are told apart (xterm's and kitty's)" },
    Kept { what: "CSI SP @ A, CSI ' } ~, CSI $ r t v x z {, CSI * x", why: "columns and rectangles: draw from what is given" },
    Kept { what: "CSI 14 t, CSI 16 t, CSI 18 t, CSI 22 t, CSI 23 t", why: "sizes for full-screen programs; keeping a title on the terminal's own stack" },
    Kept { what: "OSC 0, 1, 2", why: "the window's title, made safe and cut" },
    Kept { what: "OSC 4, 10, 11, 12, 17, 19, 104, 110, 111, 112, 117, 119", why: "colours; a query answers with numbers" },
    Kept { what: "OSC 8", why: "a link to http or https acts only when a person clicks it" },
    Kept { what: "OSC 9 ; 4", why: "progress in the task bar" },
    Kept { what: "OSC 133 ; letter", why: "marks prompts; carries no text" },
];

/// Digits of a parameter. Coordinates of 99999 are in use; a repeat count of ten digits has hung terminals.
const LONGEST_PARAMETER: usize = 5;

/// Characters of a title.
const LONGEST_TITLE: usize = 256;

/// What the parameters of a form may be.
#[derive(Clone, Copy)]
enum Takes {
    Anything,
    /// The first is one of these.
    First(&'static [u32]),
    /// Each is one of these.
    Only(&'static [u32]),
}

/// Kinds of CSI: the mark before the parameters, the bytes between them and the final byte, and the final bytes.
struct Form(&'static [u8], &'static [u8], &'static [u8], Takes);

/// DEC's private modes. Not here: 2 and 38 (VT52 and Tektronix: other languages), 3 and 40 (resize), 18 and 19 (printing), 1001 (stalls the terminal),
/// 1041 and 1044 (selection to the clipboard), 1042 and 1043 (raise the window), 5522 (paste by protocol).
const MODES: &[u32] = &[
    1, 5, 6, 7, 8, 9, 12, 25, 45, 47, 66, 69, 1000, 1002, 1003, 1004, 1005, 1006, 1007, 1010, 1011, 1015, 1016, 1034, 1036, 1039, 1047, 1048, 1049, 2004, 2026,
    2027, 2031, 2048,
];

const FORMS: &[Form] = &[
    Form(b"", b"", b"@ABCDEFGHIJKLMPSTXZ`abcdefgmrsu", Takes::Anything),
    Form(b"", b"", b"n", Takes::First(&[5, 6])),
    Form(b"", b"", b"hl", Takes::Only(&[4, 34])),
    Form(b"", b"", b"t", Takes::First(&[14, 16, 18, 22, 23])),
    Form(b"", b"!", b"p", Takes::Anything),
    Form(b"", b" ", b"q@A", Takes::Anything),
    Form(b"", b"\"", b"q", Takes::Anything),
    Form(b"", b"'", b"}~", Takes::Anything),
    Form(b"", b"$", b"prtvxz{", Takes::Anything),
    Form(b"", b"*", b"x", Takes::Anything),
    Form(b"?", b"", b"hlrs", Takes::Only(MODES)),
    Form(b"?", b"", b"JKcmu", Takes::Anything),
    Form(b"?", b"", b"n", Takes::First(&[6, 996])),
    Form(b"?", b"$", b"p", Takes::Anything),
    Form(b">", b"", b"cqmnu", Takes::Anything),
    Form(b"=", b"", b"cu", Takes::Anything),
    Form(b"<", b"", b"u", Takes::Anything),
];

/// Whether a CSI sequence passes, by what stands between `ESC [` and its final byte.
pub(super) fn csi_passes(body: &[u8], last: u8) -> bool {
    let (mark, rest) = body.split_at(body.iter().take_while(|byte| b"<=>?".contains(byte)).count());
    let (parameters, between) = rest.split_at(rest.iter().take_while(|byte| byte.is_ascii_digit() || b":;".contains(byte)).count());
    let numbers = || parameters.split(|byte| b":;".contains(byte));
    if numbers().any(|number| number.len() > LONGEST_PARAMETER) {
        return false;
    }
    let is = |wanted: &[u32], number: &[u8]| std::str::from_utf8(number).is_ok_and(|text| text.parse().is_ok_and(|number: u32| wanted.contains(&number)));
    let Some(Form(_, _, _, takes)) = FORMS.iter().find(|form| form.0 == mark && form.1 == between && form.2.contains(&last)) else { return false };
    match takes {
        // Of five parameters it would be the mouse's highlighting, which stalls the terminal until it is answered.
        Takes::Anything => last != b'T' || numbers().count() <= 1,
        Takes::First(wanted) => numbers().next().is_some_and(|number| is(wanted, number)),
        Takes::Only(wanted) => numbers().all(|number| is(wanted, number)),
    }
}

/// Whether ESC and this byte pass.
pub(super) fn escape_passes(last: u8) -> bool {
    b"6789cDEHMNO=>Z\\".contains(&last)
}

/// Whether ESC, these bytes and a final one pass.
pub(super) fn intermediate_passes(between: &[u8], last: u8) -> bool {
    match between {
        // Some sets have a name of two bytes.
        [b'(' | b')' | b'*' | b'+' | b'-' | b'.' | b'/'] | [b'(' | b')' | b'*' | b'+', b'"' | b'%' | b'&'] => {
            last.is_ascii_alphanumeric() || b"<=>".contains(&last)
        }
        [b'#'] => (b'3'..=b'8').contains(&last),
        // `ESC % @` leaves UTF-8, and harmless characters would turn into C1 controls.
        [b'%'] => last == b'G',
        _ => false,
    }
}

/// The OSC string that passes in place of this one, if any does.
pub(super) fn osc_passes(body: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut parts = body.splitn(2, |byte| *byte == b';');
    let (number, rest) = (parts.next().unwrap_or_default(), parts.next());
    let text = rest.unwrap_or_default();
    let is_number = |part: &[u8]| !part.is_empty() && part.len() <= LONGEST_PARAMETER && part.iter().all(u8::is_ascii_digit);
    let is_colour = |part: &[u8]| part == b"?" || part.iter().all(|byte| byte.is_ascii_alphanumeric() || b":/#,.- ".contains(byte));
    let mut fields = text.split(|byte| *byte == b';');
    let passes = match number {
        b"0" | b"1" | b"2" => {
            let title = safe::line(std::str::from_utf8(text).ok()?, LONGEST_TITLE);
            return Some(Cow::Owned([number, b";", title.as_bytes()].concat()));
        }
        b"4" => fields.clone().step_by(2).all(is_number) && fields.skip(1).step_by(2).all(is_colour),
        b"10" | b"11" | b"12" | b"17" | b"19" => fields.all(is_colour),
        b"104" | b"110" | b"111" | b"112" | b"117" | b"119" => text.is_empty() || fields.all(is_number),
        b"8" => {
            let (_, link) = text.split_at_checked(text.iter().position(|byte| *byte == b';')? + 1)?;
            text.iter().all(|byte| (0x20..0x7f).contains(byte)) && (link.is_empty() || link.starts_with(b"http://") || link.starts_with(b"https://"))
        }
        b"9" => fields.next() == Some(b"4") && fields.all(|part| part.is_empty() || is_number(part)),
        b"133" => fields.next().is_some_and(|kind| matches!(kind, [b'A'..=b'Z'])) && fields.all(is_number),
        _ => false,
    };
    passes.then_some(Cow::Borrowed(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_the_same() {
        let page = include_str!("../../../../docs/terminal.md");
        let section = page.split("## What passes").nth(1).and_then(|rest| rest.split("## ").next()).unwrap();
        let rows: Vec<(&str, &str)> =
            section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")).filter(|(what, _)| *what != "passes").collect();
        let table: Vec<(&str, &str)> = KEPT.iter().map(|kept| (kept.what, kept.why)).collect();
        assert_eq!(rows, table);
    }

    /// The modes of the table of the documentation, its ranges spelt out.
    #[test]
    fn the_documented_modes_are_those_that_pass() {
        let row = KEPT.iter().find(|kept| kept.what.starts_with("CSI ? 1 5")).unwrap().what;
        let mut words = row.strip_prefix("CSI ? ").unwrap().split(' ').peekable();
        let mut documented = Vec::new();
        while let Some(word) = words.next() {
            let Ok(number) = word.parse::<u32>() else { continue };
            documented.push(number);
            if words.next_if_eq(&"to").is_some() {
                let last: u32 = words.next().unwrap().parse().unwrap();
                documented.extend(number + 1..=last);
            }
        }
        assert_eq!(documented, MODES);
        for mode in 0..10_000 {
            assert_eq!(csi_passes(format!("?{mode}").as_bytes(), b'h'), documented.contains(&mode), "{mode}");
        }
    }

    /// Every final byte with every mark and no or one byte between: what passes is what the documentation says, letter by letter.
    #[test]
    fn every_form_that_passes_is_documented() {
        let documented: String = KEPT.iter().filter(|kept| kept.what.starts_with("CSI")).map(|kept| format!(", {}", kept.what)).collect();
        let rows: Vec<&str> = documented.split(", ").collect();
        for mark in ["", "<", "=", ">", "?"] {
            for between in ["", " ", "!", "\"", "#", "$", "%", "&", "'", "(", ")", "*", "+", ",", "-", ".", "/"] {
                for last in 0x40..0x7f_u8 {
                    let passes = ["", "1", "4", "5", "6", "14", "996"].iter().any(|number| csi_passes(format!("{mark}{number}{between}").as_bytes(), last));
                    let letter = char::from(last).to_string();
                    let named = rows.iter().any(|row| {
                        let words: Vec<&str> = row.split(' ').skip(1).collect();
                        let marks = words.first().is_some_and(|word| ["<", "=", ">", "?"].contains(word));
                        let mark_fits = if mark.is_empty() { !marks } else { words.first() == Some(&mark) };
                        let name = if between == " " { "SP" } else { between };
                        let signs = words.iter().find(|word| ["SP", "!", "\"", "$", "*", "'"].contains(word));
                        mark_fits && signs.copied().unwrap_or_default() == name && words.contains(&letter.as_str())
                    });
                    assert_eq!(passes, named, "CSI {mark} {between} {letter}");
                }
            }
        }
    }
}
