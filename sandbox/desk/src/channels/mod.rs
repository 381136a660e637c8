//! The ways in which people are told that something waits: one line of the table each.

pub mod courier;
pub mod desktop;
mod email;
mod ntfy;
mod slack;
pub mod web;
mod webhook;

use agentbox_core::safe;

use crate::{
    Card,
    card::{self, duration},
};

/// Whose eyes the supervisor's stderr reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// The terminal that the agent draws on: it must learn nothing but that something waits.
    SharedWithAgent,
    /// A log, a CI page, a terminal of its own.
    Apart,
}

/// A way of telling people.
#[derive(Debug)]
pub struct Channel {
    /// Its name in the policy's `approval.channels`.
    pub name: &'static str,
    /// What it says of a card on a screen.
    pub announce: fn(&Card, Screen) -> String,
}

/// All channels. A policy that names none of them asks nobody, so its holds are refused.
pub const CHANNELS: &[Channel] = &[Channel { name: "terminal", announce: terminal }, Channel { name: "web", announce: web }];

/// The channel of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Channel> {
    CHANNELS.iter().find(|channel| channel.name == name)
}

/// Longest line of [`in_three_lines`], in characters.
const LONGEST: usize = 200;

/// What a small notification holds, for eyes that may be others': what and where, whose, and how to see more.
fn in_three_lines(card: &Card) -> String {
    format!(
        "{} in {}\nbox {}, refused in {}\nagentbox show {}",
        safe::line(&card.headline(), LONGEST),
        safe::line(&card.place, LONGEST),
        safe::line(&card.session, LONGEST),
        duration(card.left),
        card.id
    )
}

/// The page shows it by itself.
fn web(_: &Card, screen: Screen) -> String {
    match screen {
        Screen::SharedWithAgent => "agentbox: held: see the page of `agentbox web`".to_owned(),
        Screen::Apart => "agentbox: an operation waits for a person: see the page of `agentbox web`".to_owned(),
    }
}

fn terminal(shown: &Card, screen: Screen) -> String {
    match screen {
        Screen::SharedWithAgent => "agentbox: held: see `agentbox holds` in another terminal".to_owned(),
        Screen::Apart => card::render(shown, card::Style::Plain),
    }
}
