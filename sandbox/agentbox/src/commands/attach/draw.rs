//! A moment of a box as text: one line a thing, each cut to a terminal's width.

use agentbox_core::safe;
use agentbox_desk::{
    card::{duration, unix_now},
    control::BoxState,
};

use super::picture::Picture;
use crate::commands::{holds, log};

/// Columns of a line; what a terminal has at least, and people read.
const WIDTH: usize = 120;

/// Levels of the tree that are shown as such.
const DEEPEST: usize = 12;

/// The whole picture.
pub(super) fn text(picture: &Picture) -> String {
    let running = &picture.running;
    let state = match running.state {
        BoxState::Running => "running",
        BoxState::Frozen => "FROZEN",
    };
    let age = duration(unix_now().saturating_sub(running.started));
    let mut out = format!("{} {state} for {age}, {} refused: {}\n", safe::line(&running.session, 24), running.refused, safe::line(&running.command, 80));
    out.push_str("\nPROCESSES\n");
    for process in &picture.processes {
        let command = if process.command.is_empty() { &process.name } else { &process.command };
        out.push_str(&cut(&format!("{:>7}  {}{command}", process.pid, "  ".repeat(process.depth.min(DEEPEST)))));
        for to in &process.connected {
            out.push_str(&cut(&format!("{:>7}  {}  → {to}", "", "  ".repeat(process.depth.min(DEEPEST)))));
        }
    }
    if picture.more_processes > 0 {
        out.push_str(&format!("         and {} more\n", picture.more_processes));
    }
    out.push_str("\nWAITING\n");
    for row in &picture.holds {
        out.push_str(&cut(&holds::row(row)));
    }
    if picture.holds.is_empty() {
        out.push_str("  nothing\n");
    }
    if picture.more_holds > 0 {
        out.push_str(&format!("  and {} more\n", picture.more_holds));
    }
    out.push_str("\nLAST\n");
    for recent in &picture.recent {
        let at = log::when(recent.at);
        let time = at.split(' ').nth(1).unwrap_or(&at);
        let operation = recent.operation.as_ref().map_or_else(String::new, |operation| format!("  ({operation})"));
        out.push_str(&cut(&format!("  {time}  {:8}  {}{operation}", log::word(&recent.event), recent.summary)));
    }
    if picture.recent.is_empty() {
        out.push_str("  nothing\n");
    }
    out
}

fn cut(line: &str) -> String {
    format!("{}\n", safe::line(line, WIDTH))
}
