//! Makes text that came from the agent, or from the far side, safe to show a person.

/// Whether a character could move the cursor, reorder text, or hide something.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}' | '\u{F0000}'..='\u{10FFFF}' | '\u{E000}'..='\u{F8FF}')
}

/// Marks that a terminal draws over the character before them; a tall stack of them covers other lines.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036F}' | '\u{0483}'..='\u{0489}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}' | '\u{FE20}'..='\u{FE2F}')
}

/// Marks on one character that are shown as they are: no living orthography needs more.
const MOST_MARKS: usize = 2;

fn escape_into(out: &mut String, c: char) {
    let stacked = is_mark(c) && out.chars().rev().take_while(|before| is_mark(*before)).count() >= MOST_MARKS;
    match c {
        '\t' => out.push(' '),
        c if stacked || is_dangerous(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        c => out.push(c),
    }
}

/// One line of at most `longest` characters; line breaks, control, bidi and invisible characters are shown as escapes.
#[must_use]
pub fn line(text: &str, longest: usize) -> String {
    // Nearly all are.
    if text.len() <= longest && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return text.to_owned();
    }
    let mut out = String::new();
    for (shown, c) in text.chars().enumerate() {
        if shown >= longest {
            out.push('…');
            break;
        }
        escape_into(&mut out, c);
    }
    out
}

/// Several lines of at most `wide` characters each, at most `high` of them.
#[must_use]
pub fn block(text: &str, wide: usize, high: usize) -> String {
    let mut lines: Vec<String> = text.lines().take(high).map(|l| line(l, wide)).collect();
    if text.lines().nth(high).is_some() {
        lines.push("…".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{block, line};

    #[test]
    fn escapes_what_could_move_or_hide() {
        assert_eq!(line("a\u{1b}[2Jb", 80), "a\\u{1b}[2Jb");
        assert_eq!(line("x\u{202e}y\u{200b}z\n", 80), "x\\u{202e}y\\u{200b}z\\u{a}");
        assert_eq!(line("été 日本", 80), "été 日本");
        assert_eq!(line("a\u{300}\u{301}\u{302}", 80), "a\u{300}\u{301}\\u{302}");
    }

    #[test]
    fn cuts() {
        assert_eq!(line("abcdef", 3), "abc…");
        assert_eq!(block("a\nb\nc", 5, 2), "a\nb\n…");
    }
}
