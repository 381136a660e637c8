//! Which control sequences pass from the box to the real terminal. Everything else is dropped.
//!
//! The measure: a sequence may draw, and may ask what has a fixed answer. It may not reach the clipboard, files, programs or other
//! windows, and no answer may hold bytes that the box chose, for answers are typed into the box's input and could be typed elsewhere
//! once the box has ended.

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
    Kept { what: "text", why: "UTF-8 without the C1 controls U+0080 to U+009F" },
    Kept { what: "BEL BS HT LF VT FF CR SO SI", why: "draw, move or ring" },
    Kept { what: "ESC c, ESC 7 8 D E H M N O = > Z, ESC ( ) * + . / # % SP …", why: "reset, save, move, character sets" },
    Kept { what: "CSI …", why: "draws, moves, sets modes, or asks for a fixed answer; but for those below" },
    Kept { what: "CSI 14 t, CSI 16 t, CSI 18 t, CSI 22 t, CSI 23 t", why: "sizes for full-screen programs; keeping a title on the terminal's own stack" },
    Kept { what: "OSC 0, 1, 2", why: "the window's title, printable and cut" },
    Kept { what: "OSC 4, 10, 11, 12, 17, 19, 104, 110, 111, 112, 117, 119", why: "colours; a query answers with hexadecimal digits only" },
    Kept { what: "OSC 8", why: "a link acts only when a person clicks it" },
    Kept { what: "OSC 9 ; 4", why: "progress in the task bar" },
    Kept { what: "OSC 133", why: "marks prompts; carries no text" },
];

/// Whether a CSI sequence passes, by its parameter and intermediate bytes and its final byte.
pub(super) fn csi_passes(parameters: &[u8], last: u8) -> bool {
    match last {
        // Media copy: prints, or sends the screen to the host.
        b'i' => false,
        // Window operations: only sizes and the title's stack; never moving, resizing, or reporting a title.
        b't' => {
            let first = parameters.split(|byte| *byte == b';').next().unwrap_or_default();
            matches!(first, b"14" | b"16" | b"18" | b"22" | b"23")
        }
        // Checksums of what is on the screen.
        b'y' => false,
        // Reports of the terminal's parameters; with `$` it fills a rectangle, which only draws.
        b'x' => parameters.ends_with(b"$"),
        b'w' => !parameters.contains(&b'$'),
        _ => true,
    }
}

/// Whether an OSC string passes.
pub(super) fn osc_passes(body: &[u8]) -> bool {
    let (number, rest) = match body.iter().position(|byte| *byte == b';') {
        Some(at) => (body.get(..at).unwrap_or_default(), body.get(at + 1..).unwrap_or_default()),
        None => (body, &[][..]),
    };
    match number {
        b"0" | b"1" | b"2" => std::str::from_utf8(rest).is_ok_and(|title| title.chars().count() <= LONGEST_TITLE && !title.chars().any(char::is_control)),
        b"4" | b"10" | b"11" | b"12" | b"17" | b"19" | b"104" | b"110" | b"111" | b"112" | b"117" | b"119" => {
            rest.iter().all(|byte| byte.is_ascii_alphanumeric() || b";:/?#,.- ".contains(byte))
        }
        b"8" => std::str::from_utf8(rest).is_ok_and(|link| !link.chars().any(char::is_control)),
        b"9" => rest.strip_prefix(b"4").is_some_and(|rest| rest.iter().all(|byte| byte.is_ascii_digit() || *byte == b';')),
        b"133" => rest.iter().all(|byte| byte.is_ascii_alphanumeric() || b";=_-".contains(byte)),
        _ => false,
    }
}

/// Characters of a title.
const LONGEST_TITLE: usize = 256;

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
}
