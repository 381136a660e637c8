//! Tests of the card: whole outputs, honest and hostile.

use std::time::Instant;

use agentbox_core::{
    Credential, Delegation, Operation, Reach, Resource, ResourceId,
    look::{Loss, Seen, Undo},
    wire,
};

use super::*;
use crate::{
    WaitingRoom, example,
    room::{Asker, Bounds, Deed},
};

fn card_of(hold: agentbox_core::Hold) -> Card {
    let mut room = WaitingRoom::new(Bounds::default(), Box::new(|| Some(12_345_678)));
    let now = Instant::now();
    let deeds = room.arrive(hold, Asker(1), now);
    let [Deed::Opened(id)] = &deeds[..] else { panic!("{deeds:?}") };
    Card::of(&room.one(id, now).unwrap(), &About::new("b7f3", Approvers::default()))
}

fn seen() -> Seen {
    let production = ResourceId::new("railway", "environment/production");
    let project = ResourceId::new("railway", "project/55aa");
    Seen {
        resource: ResourceId::new("railway", "volume/3d2c9a"),
        name: "pgdata".to_owned(),
        lineages: vec![vec![production, project.clone()], vec![ResourceId::new("railway", "environment/9f2e"), project.clone()]],
        names: vec![(project, "shop".to_owned()), (ResourceId::new("railway", "environment/9f2e"), "staging".to_owned())],
        losses: vec![
            Loss { what: "backups".to_owned(), count: Some(7), detail: "inside the volume itself; newest 2026-04-24, oldest 2026-01-25".to_owned() },
            Loss { what: "bytes".to_owned(), count: None, detail: "41.2 GB used".to_owned() },
        ],
        undo: Undo::No("the backups are deleted with the volume".to_owned()),
    }
}

fn assert_fits(page: &str) {
    for line in page.lines() {
        assert!(line.chars().count() <= 80, "too wide: {line:?}");
        assert!(!line.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c)), "unsafe: {line:?}");
    }
}

#[test]
fn the_card_of_the_incident() {
    let page = render(&card_of(example::hold_with(seen())), Style::Plain);
    assert_fits(&page);
    let expected = include_str!("incident.txt");
    assert_eq!(page, expected, "\n{page}");
}

#[test]
fn the_card_of_what_nobody_could_look_at() {
    let mut request = example::request(1, "vault");
    request.evidence.unseen = Some("railway:volume/3d2c9a: no answer within 10 s".to_owned());
    request.evidence.credentials.clear();
    request.evidence.who.clear();
    let page = render(&card_of(example::hold_of(request)), Style::Plain);
    assert_fits(&page);
    let expected = include_str!("unseen.txt");
    assert_eq!(page, expected, "\n{page}");
}

fn hostile() -> agentbox_core::Hold {
    let bad = format!("\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}evil\u{2066}\nAPPROVED\r\u{85}{}", "A\u{202e}".repeat(10_000));
    // Operations are shorter: what comes over the wire is a megabyte at most.
    let short: String = bad.chars().take(700).collect();
    let mut request = example::request(1, "production");
    let mut worst = Operation::new(agentbox_core::Effect::Opaque, &short, Resource::rooted(ResourceId::new("railway", &short)), short.clone());
    worst.delegates = Some(Delegation { reach: Reach::Hosts(vec![short.clone(); 8]), why: short.clone() });
    worst.yields_credential = true;
    request.operations = vec![worst; 256];
    let evidence = &mut request.evidence;
    evidence.summary = bad.clone();
    evidence.excerpt = vec![bad.clone(); 100].join("\n");
    evidence.who = vec![bad.clone(); 64];
    evidence.credentials = vec![Credential { position: bad.clone(), name: bad.clone(), issued: false }; 64];
    evidence.unseen = Some(bad.clone());
    let id = ResourceId::new("railway", &bad);
    evidence.seen = Some(Seen {
        resource: id.clone(),
        name: bad.clone(),
        lineages: vec![vec![id.clone(); 16]; 64],
        names: vec![(id, bad.clone())],
        losses: vec![Loss { what: bad.clone(), count: Some(u64::MAX), detail: bad.clone() }; 64],
        undo: Undo::Yes(bad),
    });
    example::hold_of(request)
}

#[test]
fn hostile_text_neither_moves_nor_hides_anything() {
    let card = card_of(hostile());
    let page = render(&card, Style::Plain);
    assert_fits(&page);
    // The parts that a person decides by are all there, however long the rest.
    for word in ["HELD ", "OPAQUE", "FOREIGN credential", "NOBODY COULD LOOK", "and 244 more operations", "agentbox deny"] {
        assert!(page.contains(word), "{word} is missing in\n{page}");
    }
    assert!(!page.lines().any(|line| line.starts_with("APPROVED")), "{page}");
    assert!(page.lines().count() < 1000, "{} lines", page.lines().count());
}

#[test]
fn colour_adds_only_weight() {
    let card = card_of(hostile());
    let coloured = render(&card, Style::Colour);
    assert_eq!(coloured.replace("\u{1b}[1m", "").replace("\u{1b}[0m", ""), render(&card, Style::Plain));
}

#[test]
fn the_worst_card_fits_a_message() {
    let card = card_of(hostile());
    let bytes = wire::encode(&card).unwrap();
    assert!(bytes.len() < wire::LONGEST);
    let mut buffer = bytes;
    assert_eq!(wire::decode::<Card>(&mut buffer).unwrap(), Some(card.clone()));
    let rows = vec![card.row(); crate::control::MOST_ROWS];
    assert!(wire::encode(&crate::control::FromDesk::Holds { rows, more: 1 }).is_ok());
    let json = serde_json::to_string(&card).unwrap();
    assert!(!json.contains(['\u{202e}', '\u{2066}', '\u{1b}']));
}

#[test]
fn a_card_that_was_forged_on_the_way_is_made_safe_when_drawn() {
    let mut card = card_of(example::hold_with(seen()));
    card.reason = "fine\u{1b}[2J\u{202e}".to_owned();
    card.session = "\u{1b}c".repeat(100);
    card.excerpt = "a\u{1b}[A\u{1b}[A".to_owned();
    assert_fits(&render(&card, Style::Plain));
}
