//! Draws a card as text: 80 columns, understandable without colour.

use agentbox_core::safe;

use super::{
    Card,
    lines::{self, Part},
};

/// How a card is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Letters only.
    Plain,
    /// The same letters; headings and dangers stand out.
    Colour,
}

/// Columns of a terminal that nobody has widened.
const WIDE: usize = 80;
/// Columns of the word on the left.
const LABEL: usize = 9;

/// Draws `card`.
#[must_use]
pub fn render(card: &Card, style: Style) -> String {
    let mut page = Page { out: String::new(), style };
    page.headline(card);
    let mut before = Part::Fact;
    for line in lines::lines(card) {
        if line.part == Part::Ruling && before != Part::Ruling {
            page.rule();
        }
        before = line.part;
        page.write(&line);
    }
    page.out
}

struct Page {
    out: String,
    style: Style,
}

impl Page {
    fn rule(&mut self) {
        self.out.push_str(&"-".repeat(WIDE));
        self.out.push('\n');
    }

    fn headline(&mut self, card: &Card) {
        let (state, end) = lines::state(card);
        // Escapes lengthen a hostile name, so it is cut again to what the line has room for.
        let session: String = safe::line(&card.session, 24).chars().take(24).collect();
        let title = format!("{state} {}   box {session}", card.id);
        let gap = WIDE.saturating_sub(width(&title) + width(&end)).max(1);
        let line = format!("{title}{}{end}", " ".repeat(gap));
        self.push_styled(&line);
        self.rule();
    }

    fn write(&mut self, line: &lines::Line) {
        for (index, text) in wrap(&line.text, WIDE - LABEL).into_iter().enumerate() {
            let label = if index == 0 { line.label } else { "" };
            self.out.push_str(&format!("{label:LABEL$}"));
            if line.strong {
                self.push_styled(&text);
            } else {
                self.out.push_str(&text);
                self.out.push('\n');
            }
        }
    }

    fn push_styled(&mut self, line: &str) {
        match self.style {
            Style::Plain => self.out.push_str(line),
            Style::Colour => self.out.push_str(&format!("\u{1b}[1m{line}\u{1b}[0m")),
        }
        self.out.push('\n');
    }
}

/// Columns that a character may take; never fewer than it does. East Asian wide ones start at U+1100.
fn columns(c: char) -> usize {
    if u32::from(c) < 0x1100 { 1 } else { 2 }
}

fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// Breaks at blanks where it can, inside a word where it must.
fn wrap(text: &str, wide: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let gap = usize::from(!line.is_empty());
        if width(&line) + gap + width(word) <= wide {
            if gap == 1 {
                line.push(' ');
            }
            line.push_str(word);
            continue;
        }
        if !line.is_empty() && width(word) <= wide {
            lines.push(std::mem::take(&mut line));
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if width(&line) + columns(c) > wide {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// `14m 32s`, as people say it.
#[must_use]
pub fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s:02}s"),
        (h, m, _) => format!("{h}h {m:02}m"),
    }
}
