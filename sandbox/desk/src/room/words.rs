//! What an asker is told when it does not get through. No secrets, one sentence each, and what to do instead.

use agentbox_core::{Refusal, RefusalKind, verdict::Because};

use crate::HoldId;

fn refusal(kind: RefusalKind, because: &Because, id: Option<&HoldId>, reason: String, guidance: &str) -> Refusal {
    Refusal {
        kind,
        operation: because.action.clone(),
        place: because.place.clone(),
        reason,
        guidance: guidance.to_owned(),
        approval_id: id.map(|id| id.as_str().to_owned()),
    }
}

const NOT_AROUND: &str = "Do not try another way to do the same thing; tell the person you work for, and go on with something else.";

pub(super) fn pending(because: &Because, id: &HoldId) -> Refusal {
    let guidance = format!(
        "Nothing was sent. Once a person has approved {id}, the very same request passes once; until then do something else, and do not try another way."
    );
    refusal(RefusalKind::Pending, because, Some(id), format!("This waits for a person's approval under the name {id}."), &guidance)
}

pub(super) fn silence(because: &Because, id: &HoldId) -> Refusal {
    refusal(RefusalKind::Denied, because, Some(id), "Nobody approved it in time, so it is refused.".to_owned(), NOT_AROUND)
}

pub(super) fn forgotten(because: &Because, id: &HoldId) -> Refusal {
    refusal(
        RefusalKind::Denied,
        because,
        Some(id),
        "It was approved, but the approval was not used in time.".to_owned(),
        "Nothing was sent. Ask again, and a person is asked again.",
    )
}

pub(super) fn denied(because: &Because, id: &HoldId, why: &str) -> Refusal {
    let reason = if why.is_empty() { "A person said no.".to_owned() } else { format!("A person said no, because: {why}") };
    refusal(RefusalKind::Denied, because, Some(id), reason, NOT_AROUND)
}

pub(super) fn voided(because: &Because, id: &HoldId, worse: &str) -> Refusal {
    refusal(
        RefusalKind::Denied,
        because,
        Some(id),
        format!("It was approved, but the world has changed since it was shown: {worse}"),
        "Nothing was sent. Ask again, and a person is shown how things are now.",
    )
}

pub(super) fn already_done(because: &Because, id: &HoldId) -> Refusal {
    refusal(
        RefusalKind::AlreadyDone,
        because,
        Some(id),
        "An identical request waited under the same approval, and that one was sent.".to_owned(),
        "Do not repeat it. Look at what is there now before you go on.",
    )
}

pub(super) fn lost(because: &Because, id: &HoldId, why: &str) -> Refusal {
    refusal(
        RefusalKind::Failed,
        because,
        Some(id),
        format!("It was approved, but not sent: {why}"),
        "Nothing was sent, and the approval is used up. Ask again, and a person is asked again.",
    )
}

pub(super) fn stopped(because: &Because, id: &HoldId, why: &str) -> Refusal {
    refusal(RefusalKind::Denied, because, Some(id), format!("It is refused: {why}"), "Nothing was sent.")
}

pub(super) fn too_many(because: &Because, most: usize) -> Refusal {
    refusal(
        RefusalKind::Denied,
        because,
        None,
        format!("Too many operations wait for a person already ({most})."),
        "Wait until some of them are ruled on, then ask again, one at a time.",
    )
}

pub(super) fn too_many_alike(because: &Because, most: usize) -> Refusal {
    refusal(
        RefusalKind::Denied,
        because,
        None,
        format!("Too many operations of this kind wait for a person already ({most}); this one was only counted."),
        "Stop asking for more of them. Wait until those that wait are ruled on, or tell the person you work for what all of them are for.",
    )
}

pub(super) fn too_many_askers(because: &Because, id: &HoldId, most: usize) -> Refusal {
    refusal(
        RefusalKind::Denied,
        because,
        None,
        format!("Too many identical requests wait for the approval {id} already ({most})."),
        "One of them is enough: an approval lets only one through.",
    )
}

pub(super) fn two_readings(because: &Because) -> Refusal {
    refusal(
        RefusalKind::Failed,
        because,
        None,
        "The same request was understood in two ways, so it cannot be shown to a person.".to_owned(),
        "This is a fault of agentbox; please report it.",
    )
}

pub(super) fn number_taken(because: &Because) -> Refusal {
    refusal(RefusalKind::Failed, because, None, "Two questions came under the same number.".to_owned(), "This is a fault of agentbox; please report it.")
}

pub(super) fn nameless(because: &Because) -> Refusal {
    refusal(
        RefusalKind::Failed,
        because,
        None,
        "The system gave no random bits to name the hold with.".to_owned(),
        "Ask again; if it stays so, tell the person who started this box.",
    )
}
