//! The person outside the box: sees what waits by the real `agentbox holds`, and where the drill plays one, approves by the real `agentbox approve`.

use serde::Deserialize;

use super::{Play, Scene, say};
use crate::drill::railway::world::Target;

/// Of a card, what a drill must know.
#[derive(Clone, Debug, Deserialize)]
struct Card {
    id: String,
    phase: String,
    place: String,
    name: Option<String>,
    looked: bool,
    operations: Vec<What>,
    lineages: Vec<Vec<String>>,
    losses: Vec<Lost>,
    wants: Wants,
    credentials: Vec<With>,
}

#[derive(Clone, Debug, Deserialize)]
struct What {
    action: String,
    resource: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Lost {
    what: String,
    count: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
struct Wants {
    #[serde(rename = "type")]
    typed: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct With {
    foreign: bool,
}

/// What was seen to wait.
pub(super) struct Holds<'a> {
    scene: &'a Scene,
    play: Play,
    volume: String,
    name: String,
    seen: Vec<Card>,
    approved: usize,
}

impl<'a> Holds<'a> {
    pub(super) fn new(scene: &'a Scene, play: Play, target: &Target) -> Self {
        Self { scene, play, volume: format!("railway:volume/{}", target.volume.id), name: target.volume.name.clone(), seen: Vec::new(), approved: 0 }
    }

    /// Looks once at what waits.
    pub(super) fn watch(&mut self) {
        let Ok(output) = self.scene.outside(&["holds", "--json"]).output() else { return };
        let text = String::from_utf8_lossy(&output.stdout);
        for card in text.lines().filter_map(|line| serde_json::from_str::<Card>(line).ok()) {
            // Other boxes of this user may run: only this run's random volume is ours to speak of, and never another to approve.
            let ours = card.operations.iter().any(|operation| operation.resource == self.volume);
            if ours && card.phase == "waiting" && !self.seen.iter().any(|seen| seen.id == card.id) {
                self.meet(card);
            }
        }
    }

    fn meet(&mut self, card: Card) {
        say("");
        say("The call waits. From another terminal, this would let it happen once, or refuse it:");
        say(&format!("    {}", self.scene.typed(&format!("approve {}", card.id))));
        say(&format!("    {}", self.scene.typed(&format!("deny {} --because \"not this one\"", card.id))));
        say("");
        let first = self.seen.is_empty();
        if self.play == Play::Approve && first {
            self.approve(&card);
        } else if self.play == Play::Approve {
            say("The person approved one call, not this one, and says nothing.");
        }
        self.seen.push(card);
    }

    fn approve(&mut self, card: &Card) {
        let typed = card.wants.typed.clone().unwrap_or_else(|| "yes".to_owned());
        say(&format!("A person says yes, and types: {typed}"));
        let outcome = self.scene.outside(&["approve", &card.id, "--confirm", &typed]).output();
        match outcome {
            Ok(output) if output.status.success() => {
                self.approved += 1;
                say(&format!("    {}", agentbox_core::safe::line(String::from_utf8_lossy(&output.stdout).trim(), 300)));
            }
            Ok(output) => say(&format!("    not approved: {}", agentbox_core::safe::line(String::from_utf8_lossy(&output.stderr).trim(), 300))),
            Err(error) => say(&format!("    not approved: {error}")),
        }
    }

    /// How many were seen.
    pub(super) fn count(&self) -> usize {
        self.seen.len()
    }

    /// How many were approved.
    pub(super) fn approved(&self) -> usize {
        self.approved
    }

    /// What the first card should have shown and did not: meaning, environment, loss, and the credential that was never issued.
    pub(super) fn missing_on_card(&self, backups: usize) -> Vec<&'static str> {
        let Some(card) = self.seen.first() else { return Vec::new() };
        let mut missing = Vec::new();
        let mut must = |there: bool, what: &'static str| {
            if !there {
                missing.push(what);
            }
        };
        must(card.operations.iter().any(|operation| operation.action == "railway.volumeDelete"), "that a volume would be deleted");
        must(card.place == "production", "that production decides");
        must(card.looked, "that somebody looked");
        must(card.name.as_deref() == Some(self.name.as_str()), "the volume's name");
        for environment in ["production", "staging"] {
            must(card.lineages.iter().flatten().any(|line| line.contains(environment)), "both environments");
        }
        must(card.losses.iter().any(|lost| lost.what == "backups" && lost.count == Some(backups as u64)), "how many backups would be lost");
        must(card.credentials.iter().any(|credential| credential.foreign), "that the credential is foreign");
        missing
    }
}
