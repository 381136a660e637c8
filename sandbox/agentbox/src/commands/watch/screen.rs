//! What the full-screen page shows and what its keys do. Pure: it is told what waits and which key was pressed.

use agentbox_core::safe;
use agentbox_desk::{
    Card, HoldId,
    card::{Row, Style, duration, render},
    room::Phase,
};

/// Longest text that is typed, in characters.
const LONGEST: usize = 400;

/// A key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Enter,
    /// Escape, or the left arrow.
    Back,
    Erase,
    /// Ctrl-C, Ctrl-D.
    Quit,
    Char(char),
}

/// What somebody outside must do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Fetch this card.
    Open(HoldId),
    /// Approve what was shown, with what was typed.
    Approve(Box<Card>, String),
    /// Refuse it, for this reason.
    Deny(HoldId, String),
    /// The page closes.
    Quit,
}

/// What is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Typing {
    Nothing,
    Word(String),
    Reason(String),
}

/// The page.
pub(super) struct Screen {
    rows: Vec<Row>,
    more: usize,
    selected: usize,
    card: Option<Box<Card>>,
    scroll: usize,
    typing: Typing,
    /// What was last said, until the next key.
    said: String,
}

/// One line as it is written: cut to the screen, and whether it stands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) look: Look,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Strong,
    Selected,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { rows: Vec::new(), more: 0, selected: 0, card: None, scroll: 0, typing: Typing::Nothing, said: String::new() }
    }

    /// What waits now. The selection stays on its hold, not on its line.
    pub(super) fn rows(&mut self, (rows, more): (Vec<Row>, usize)) {
        let chosen = self.rows.get(self.selected).map(|row| row.id.clone());
        self.selected = chosen.and_then(|id| rows.iter().position(|row| row.id == id)).unwrap_or(0);
        (self.rows, self.more) = (rows, more);
    }

    /// The hold whose card is shown.
    pub(super) fn shown(&self) -> Option<&HoldId> {
        self.card.as_ref().map(|card| &card.id)
    }

    /// The card of the hold that is shown, or that it is over.
    pub(super) fn card(&mut self, id: &HoldId, card: Option<Card>) {
        match card {
            // Times go on; all else stays as it was read, so that what is approved is what was read.
            Some(card) => {
                if self.card.as_ref().is_some_and(|old| old.id == card.id && old.shown() != card.shown()) {
                    self.typing = Typing::Nothing;
                    "It has changed: look at it again.".clone_into(&mut self.said);
                }
                self.card = Some(Box::new(card));
            }
            None => {
                self.card = None;
                self.typing = Typing::Nothing;
                self.said = format!("{id} does not wait any more.");
            }
        }
    }

    pub(super) fn say(&mut self, text: &str) {
        self.said = safe::line(text, 300);
    }

    pub(super) fn key(&mut self, key: Key) -> Option<Deed> {
        if key == Key::Quit {
            return Some(Deed::Quit);
        }
        match std::mem::replace(&mut self.typing, Typing::Nothing) {
            Typing::Nothing => {
                self.said.clear();
                self.moves(&key)
            }
            Typing::Word(text) => self.types(key, text, Typing::Word, |card, text| Deed::Approve(Box::new(card), text)),
            Typing::Reason(text) => self.types(key, text, Typing::Reason, |card, text| Deed::Deny(card.id, text)),
        }
    }

    fn types(&mut self, key: Key, mut text: String, again: fn(String) -> Typing, done: fn(Card, String) -> Deed) -> Option<Deed> {
        match key {
            Key::Enter => return self.card.as_deref().cloned().map(|card| done(card, text)),
            Key::Back => return None,
            Key::Erase => {
                text.pop();
            }
            Key::Char(c) if text.chars().count() < LONGEST && !c.is_control() => text.push(c),
            Key::Char(_) | Key::Up | Key::Down | Key::PageUp | Key::PageDown | Key::Quit => {}
        }
        self.typing = again(text);
        None
    }

    fn moves(&mut self, key: &Key) -> Option<Deed> {
        if let Some(card) = &self.card {
            match key {
                Key::Up => self.scroll = self.scroll.saturating_sub(1),
                Key::Down => self.scroll += 1,
                Key::PageUp => self.scroll = self.scroll.saturating_sub(10),
                Key::PageDown => self.scroll += 10,
                Key::Back | Key::Char('q') => {
                    self.card = None;
                    self.scroll = 0;
                }
                Key::Char('a') if card.phase == Phase::Waiting => self.typing = Typing::Word(String::new()),
                Key::Char('d') => self.typing = Typing::Reason(String::new()),
                Key::Char(_) | Key::Enter | Key::Erase | Key::Quit => {}
            }
            return None;
        }
        match key {
            Key::Up | Key::Char('k') => self.selected = self.selected.saturating_sub(1),
            Key::Down | Key::Char('j') => self.selected = (self.selected + 1).min(self.rows.len().saturating_sub(1)),
            Key::Enter => return self.rows.get(self.selected).map(|row| Deed::Open(row.id.clone())),
            Key::Char('q') => return Some(Deed::Quit),
            Key::Char(_) | Key::PageUp | Key::PageDown | Key::Back | Key::Erase | Key::Quit => {}
        }
        None
    }

    /// The whole page for a screen of this size; never wider, never higher.
    pub(super) fn draw(&mut self, wide: usize, high: usize) -> Vec<Line> {
        let body = high.saturating_sub(2);
        let mut lines = match &self.card {
            None => self.list(),
            Some(card) => {
                let all: Vec<Line> = render(card, Style::Plain).lines().map(|line| plain(line.to_owned())).collect();
                self.scroll = self.scroll.min(all.len().saturating_sub(body));
                all.into_iter().skip(self.scroll).collect()
            }
        };
        lines.truncate(body);
        lines.resize(body, plain(String::new()));
        lines.push(Line { text: self.said.clone(), look: Look::Strong });
        lines.push(self.prompt());
        lines.truncate(high);
        lines.into_iter().map(|line| Line { text: cut(&line.text, wide), ..line }).collect()
    }

    fn list(&self) -> Vec<Line> {
        let mut lines = vec![Line { text: format!("{:6}  {:9}  {:8}  {:12}  WHAT", "HOLD", "STATE", "LEFT", "PLACE"), look: Look::Strong }];
        if self.rows.is_empty() {
            lines.push(plain("Nothing waits.".to_owned()));
        }
        for (index, row) in self.rows.iter().enumerate() {
            let state = match row.phase {
                Phase::Waiting => "waiting",
                Phase::Looking => "looking",
                Phase::Kept => "approved",
                Phase::Passing => "passing",
            };
            let foreign = if row.foreign { "FOREIGN CREDENTIAL  " } else { "" };
            let folded = if row.folded > 0 { format!("  (and {} more refused)", row.folded) } else { String::new() };
            let (place, what) = (safe::line(&row.place, 60), safe::line(&row.headline, 300));
            let text = format!("{:6}  {state:9}  {:8}  {place:12}  {foreign}{what}{folded}", row.id.as_str(), duration(row.left));
            lines.push(Line { text, look: if index == self.selected { Look::Selected } else { Look::Plain } });
        }
        if self.more > 0 {
            lines.push(plain(format!("and {} more", self.more)));
        }
        lines
    }

    fn prompt(&self) -> Line {
        let text = match (&self.typing, &self.card) {
            (Typing::Word(text), Some(card)) => {
                let word = card.wants.typed.as_deref().unwrap_or("yes");
                format!("To let it happen, once, type {} and Enter (Esc: no): {text}", safe::line(word, 80))
            }
            (Typing::Reason(text), _) => format!("Why not? The agent is told (Enter: refuse, Esc: back): {text}"),
            (Typing::Nothing, Some(card)) if card.phase == Phase::Waiting => "a approve   d refuse   Up/Down scroll   Esc back".to_owned(),
            (Typing::Nothing, Some(_)) => "d stop it   Up/Down scroll   Esc back".to_owned(),
            (Typing::Nothing | Typing::Word(_), None) => "Up/Down choose   Enter look   q quit".to_owned(),
        };
        Line { text, look: Look::Strong }
    }
}

fn plain(text: String) -> Line {
    Line { text, look: Look::Plain }
}

/// As much as fits; East Asian wide characters take two columns, and so may whatever comes after them.
fn cut(text: &str, wide: usize) -> String {
    let mut columns = 0;
    text.chars()
        .take_while(|c| {
            columns += if u32::from(*c) < 0x1100 { 1 } else { 2 };
            columns <= wide
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u32, headline: &str) -> Row {
        Row {
            id: HoldId::spell(number),
            session: "b1".to_owned(),
            phase: Phase::Waiting,
            headline: headline.to_owned(),
            place: "production".to_owned(),
            foreign: number == 1,
            askers: 1,
            folded: 0,
            waited: 1,
            left: 60,
        }
    }

    fn texts(screen: &mut Screen, wide: usize, high: usize) -> Vec<String> {
        screen.draw(wide, high).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn it_fits_every_screen_whatever_it_shows() {
        let mut screen = Screen::new();
        screen.rows((vec![row(1, "destroy \u{1b}[2J日本語日本語日本語"), row(2, &"x".repeat(500))], 3));
        for (wide, high) in [(0, 0), (1, 1), (10, 3), (80, 24), (300, 100)] {
            let lines = texts(&mut screen, wide, high);
            assert!(lines.len() <= high, "{wide}x{high}");
            for line in lines {
                assert!(!line.chars().any(char::is_control), "{line:?}");
                assert!(line.chars().map(|c| if u32::from(c) < 0x1100 { 1 } else { 2 }).sum::<usize>() <= wide, "{line:?}");
            }
        }
        assert!(texts(&mut screen, 200, 24)[1].contains("FOREIGN CREDENTIAL"));
    }

    #[test]
    fn the_selection_stays_on_its_hold() {
        let mut screen = Screen::new();
        screen.rows((vec![row(1, "a"), row(2, "b"), row(3, "c")], 0));
        assert_eq!(screen.key(Key::Down), None);
        screen.rows((vec![row(2, "b"), row(3, "c")], 0));
        assert_eq!(screen.key(Key::Enter), Some(Deed::Open(HoldId::spell(2))));
        assert_eq!(screen.key(Key::Char('q')), Some(Deed::Quit));
        screen.rows((Vec::new(), 0));
        assert_eq!(screen.key(Key::Enter), None);
        assert!(texts(&mut screen, 80, 24).join("\n").contains("Nothing waits."));
    }
}
