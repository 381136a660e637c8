//! Tests of the waiting room: each arrow of its picture, and then any order of events.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use agentbox_core::{
    RefusalKind,
    ruling::{Decision, Proof, Ruling, Whose},
};
use proptest::prelude::*;

use super::*;
use crate::example;

const PATIENCE: Duration = Duration::from_secs(15 * 60);

fn counting_bits() -> Bits {
    let mut next = 0;
    Box::new(move || {
        next += 1;
        Some(next)
    })
}

fn room() -> WaitingRoom {
    WaitingRoom::new(Bounds::default(), counting_bits())
}

fn yes(room: &WaitingRoom, id: &HoldId, who: &str) -> Ruling {
    let digest = room.card_digest(id).unwrap_or_else(|| Digest::of([]));
    let typed = room.one(id, Instant::now()).map(|waits| waits.confirm_name.to_owned());
    let proof = Proof::Signed { whose: Whose::Untold, statement: String::new(), signature: String::new() };
    Ruling { approver: who.to_owned(), proof, channel: "terminal".to_owned(), digest, typed, lasting: None, decision: Decision::Approve }
}

fn no(because: &str) -> Ruling {
    Ruling {
        approver: "uid:1".to_owned(),
        proof: Proof::Peer,
        channel: "terminal".to_owned(),
        digest: Digest::of([]),
        typed: None,
        lasting: None,
        decision: Decision::Deny(because.to_owned()),
    }
}

fn opened(deeds: &[Deed]) -> HoldId {
    match deeds {
        [Deed::Opened(id)] => id.clone(),
        other => panic!("{other:?}"),
    }
}

fn refused(deeds: &[Deed]) -> Vec<(u64, RefusalKind)> {
    deeds.iter().filter_map(|deed| if let Deed::Refuse(asker, refusal) = deed { Some((asker.0, refusal.kind)) } else { None }).collect()
}

fn passed(deeds: &[Deed]) -> Vec<u64> {
    deeds.iter().filter_map(|deed| if let Deed::Pass(_, asker, _) = deed { Some(asker.0) } else { None }).collect()
}

fn end(deeds: &[Deed]) -> Option<End> {
    deeds.iter().find_map(|deed| if let Deed::Ended(ended) = deed { Some(ended.how.clone()) } else { None })
}

#[test]
fn one_of_the_joined_passes_and_the_others_are_told() {
    let (mut room, now) = (room(), Instant::now());
    let id = opened(&room.arrive(example::hold(1), Asker(1), now));
    assert!(matches!(room.arrive(example::hold(1), Asker(2), now)[..], [Deed::Joined(_, Asker(2))]));
    let ruling = yes(&room, &id, "uid:1");
    let (ruled, deeds) = room.rule(&id, ruling, now);
    assert_eq!(ruled, Ok(Ruled::Approved));
    assert!(matches!(&deeds[..], [Deed::LookAgain(_)]));
    assert_eq!(passed(&room.looked(&id, Ok(()), now)), [1]);
    // Looking twice, or ruling again, lets nobody else through.
    assert!(room.looked(&id, Ok(()), now).is_empty());
    let again = yes(&room, &id, "uid:1");
    assert_eq!(room.rule(&id, again, now).0, Err(NotRuled::TooLate(id.clone())));
    assert_eq!(room.rule(&id, no(""), now).0, Err(NotRuled::TooLate(id.clone())));
    let deeds = room.spent(&id);
    assert_eq!(refused(&deeds), [(2, RefusalKind::AlreadyDone)]);
    assert_eq!(end(&deeds), Some(End::Spent));
    // The same request afterwards is a new question.
    assert_ne!(opened(&room.arrive(example::hold(1), Asker(3), now)), id);
}

#[test]
fn silence_is_no() {
    let (mut room, now) = (room(), Instant::now());
    let id = opened(&room.arrive(example::hold(1), Asker(1), now));
    room.arrive(example::hold(1), Asker(2), now + PATIENCE - Duration::from_secs(1)).clear();
    let late = yes(&room, &id, "uid:1");
    let (ruled, deeds) = room.rule(&id, late, now + PATIENCE);
    assert_eq!(ruled, Err(NotRuled::Unknown(id)));
    // The first one was told "pending" when its own patience ended; here both come at once.
    assert!(refused(&deeds).iter().all(|(_, kind)| *kind == RefusalKind::Denied));
    assert_eq!(end(&deeds), Some(End::Silence));
    assert_eq!(room.next_deadline(), None);
}

#[test]
fn a_tired_client_is_told_pending_and_the_next_one_passes_once() {
    let (mut room, now) = (room(), Instant::now());
    let id = opened(&room.arrive(example::hold(1), Asker(1), now));
    assert_eq!(room.next_deadline(), Some(now + Duration::from_secs(100)));
    let deeds = room.tick(now + Duration::from_secs(100));
    let [Deed::Refuse(Asker(1), refusal)] = &deeds[..] else { panic!("{deeds:?}") };
    assert_eq!((refusal.kind, refusal.approval_id.as_deref()), (RefusalKind::Pending, Some(id.as_str())));
    let later = now + PATIENCE - Duration::from_secs(1);
    let ruling = yes(&room, &id, "uid:1");
    assert_eq!(room.rule(&id, ruling, later).0, Ok(Ruled::Kept { lasts: SHORTEST_PASSAGE }));
    let deeds = room.arrive(example::hold(1), Asker(2), later);
    assert!(matches!(&deeds[..], [Deed::Joined(_, Asker(2)), Deed::LookAgain(_)]), "{deeds:?}");
    // A third comes while the world is looked at: it waits like any other.
    assert!(matches!(room.arrive(example::hold(1), Asker(3), later)[..], [Deed::Joined(_, Asker(3))]));
    assert_eq!(passed(&room.looked(&id, Ok(()), later)), [2]);
    assert_eq!(refused(&room.spent(&id)), [(3, RefusalKind::AlreadyDone)]);
}

#[test]
fn a_kept_passage_ends() {
    let (mut room, now) = (room(), Instant::now());
    let id = opened(&room.arrive(example::hold(1), Asker(1), now));
    room.gone(Asker(1));
    let ruling = yes(&room, &id, "uid:1");
    assert_eq!(room.rule(&id, ruling, now).0, Ok(Ruled::Kept { lasts: PATIENCE }));
    let deeds = room.arrive(example::hold(1), Asker(2), now + PATIENCE);
    assert_eq!(end(&deeds), Some(End::Forgotten));
    assert!(matches!(deeds.last(), Some(Deed::Opened(new)) if *new != id), "{deeds:?}");
}

#[test]
fn a_kept_passage_can_be_taken_back() {
    let (mut room, now) = (room(), Instant::now());
    let id = opened(&room.arrive(example::hold(1), Asker(1), now));
    room.gone(Asker(1));
    let ruling = yes(&room, &id, "uid:1");
    assert!(room.rule(&id, ruling, now).0.is_ok());
    let (ruled, deeds) = room.rule(&id, no("I was wrong"), now);
    assert_eq!(ruled, Ok(Ruled::Denied));
    assert_eq!(end(&deeds), Some(End::Denied { by: "uid:1".to_owned(), channel: "terminal".to_owned(), because: "I was wrong".to_owned() }));
}

#[test]
fn a_no_reaches_all_with_its_reason_made_safe() {
    let (mut room, now) = (room(), Instant::now());
    let id = opened(&room.arrive(example::hold(1), Asker(1), now));
    room.arrive(example::hold(1), Asker(2), now).clear();
    let (_, deeds) = room.rule(&id, no("not \u{1b}[2Jproduction"), now);
    assert_eq!(refused(&deeds), [(1, RefusalKind::Denied), (2, RefusalKind::Denied)]);
    let Deed::Refuse(_, refusal) = &deeds[0] else { panic!() };
    assert_eq!(refusal.reason, "A person said no, because: not \\u{1b}[2Jproduction");
}

#[test]
fn who_has_gone_gets_nothing() {
    let (mut room, now) = (room(), Instant::now());
    let id = opened(&room.arrive(example::hold(1), Asker(1), now));
    room.arrive(example::hold(1), Asker(2), now).clear();
    let ruling = yes(&room, &id, "uid:1");
    assert!(room.rule(&id, ruling, now).0.is_ok());
    room.gone(Asker(1));
    assert_eq!(passed(&room.looked(&id, Ok(()), now)), [2]);
    let deeds = room.lost(&id, "the asker had gone");
    assert!(refused(&deeds).is_empty());
    assert!(matches!(end(&deeds), Some(End::Lost(_))));
}

#[test]
fn a_lost_permit_is_not_said_to_be_done() {
    let (mut room, now) = (room(), Instant::now());
    let id = opened(&room.arrive(example::hold(1), Asker(1), now));
    room.arrive(example::hold(1), Asker(2), now).clear();
    let ruling = yes(&room, &id, "uid:1");
    assert!(room.rule(&id, ruling, now).0.is_ok());
    assert_eq!(passed(&room.looked(&id, Ok(()), now)), [1]);
    let deeds = room.tick(now + PASSING);
    assert_eq!(refused(&deeds), [(2, RefusalKind::Failed)]);
    assert!(room.spent(&id).is_empty());
}

#[test]
fn a_worse_world_voids_it() {
    let (mut room, now) = (room(), Instant::now());
    let id = opened(&room.arrive(example::hold(1), Asker(1), now));
    let ruling = yes(&room, &id, "uid:1");
    assert!(room.rule(&id, ruling, now).0.is_ok());
    let deeds = room.looked(&id, Err("3 more backups would be lost".to_owned()), now);
    assert_eq!(refused(&deeds), [(1, RefusalKind::Denied)]);
    assert_eq!(end(&deeds), Some(End::Voided("3 more backups would be lost".to_owned())));
}

#[test]
fn two_people_and_a_name_where_the_place_wants_them() {
    let (mut room, now) = (room(), Instant::now());
    let id = opened(&room.arrive(example::hold_of(example::request(1, "vault")), Asker(1), now));
    let unnamed = Ruling { typed: Some("something".to_owned()), ..yes(&room, &id, "uid:1") };
    assert!(matches!(room.rule(&id, unnamed, now).0, Err(NotRuled::Unfit(Unsettled::NotConfirmed(name))) if name == "vault/3d2c9a"));
    let other_card = Ruling { digest: Digest::of([]), ..yes(&room, &id, "uid:1") };
    assert_eq!(room.rule(&id, other_card, now).0, Err(NotRuled::Unfit(Unsettled::OtherDigest)));
    for _ in 0..2 {
        let same = yes(&room, &id, "uid:1");
        assert_eq!(room.rule(&id, same, now).0, Ok(Ruled::NeedsMore { have: 1, want: 2 }));
    }
    let second = yes(&room, &id, "uid:2");
    assert_eq!(room.rule(&id, second, now).0, Ok(Ruled::Approved));
}

#[test]
fn floods_are_refused() {
    let now = Instant::now();
    let mut room = WaitingRoom::new(Bounds { holds: 2, askers: 2, ..Bounds::default() }, counting_bits());
    opened(&room.arrive(example::hold(1), Asker(1), now));
    opened(&room.arrive(example::hold(2), Asker(2), now));
    assert_eq!(refused(&room.arrive(example::hold(3), Asker(3), now)), [(3, RefusalKind::Denied)]);
    room.arrive(example::hold(1), Asker(4), now).clear();
    assert_eq!(refused(&room.arrive(example::hold(1), Asker(5), now)), [(5, RefusalKind::Denied)]);
    assert_eq!(refused(&room.arrive(example::hold(2), Asker(4), now)), [(4, RefusalKind::Failed)]);
}

#[test]
fn one_digest_with_two_meanings_does_not_join() {
    let (mut room, now) = (room(), Instant::now());
    opened(&room.arrive(example::hold(1), Asker(1), now));
    let mut other = example::request(1, "production");
    other.operations[0].action = agentbox_core::Action::new("railway.environmentDelete");
    assert_eq!(refused(&room.arrive(example::hold_of(other), Asker(2), now)), [(2, RefusalKind::Failed)]);
}

#[test]
fn without_random_bits_nothing_waits() {
    let mut room = WaitingRoom::new(Bounds::default(), Box::new(|| None));
    assert_eq!(refused(&room.arrive(example::hold(1), Asker(1), Instant::now())), [(1, RefusalKind::Failed)]);
    // Bits that repeat do not name two holds alike.
    let mut room = WaitingRoom::new(Bounds::default(), Box::new(|| Some(7)));
    opened(&room.arrive(example::hold(1), Asker(1), Instant::now()));
    assert_eq!(refused(&room.arrive(example::hold(2), Asker(2), Instant::now())), [(2, RefusalKind::Failed)]);
}

#[derive(Clone, Debug)]
enum Step {
    Arrive { number: u8 },
    Approve { which: usize, who: u8 },
    ApproveWrongCard { which: usize },
    Deny { which: usize },
    Looked { which: usize, same: bool },
    Spent { which: usize },
    Lost { which: usize },
    Gone { which: usize },
    Wait { seconds: u16 },
    RefuseAll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0_u8..3).prop_map(|number| Step::Arrive { number }),
        4 => (0_usize..6, 0_u8..2).prop_map(|(which, who)| Step::Approve { which, who }),
        1 => (0_usize..6).prop_map(|which| Step::ApproveWrongCard { which }),
        1 => (0_usize..6).prop_map(|which| Step::Deny { which }),
        4 => (0_usize..6, prop::bool::weighted(0.8)).prop_map(|(which, same)| Step::Looked { which, same }),
        2 => (0_usize..6).prop_map(|which| Step::Spent { which }),
        1 => (0_usize..6).prop_map(|which| Step::Lost { which }),
        2 => (0_usize..12).prop_map(|which| Step::Gone { which }),
        3 => (0_u16..400).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::RefuseAll),
    ]
}

/// What must be true after any order of events, kept beside the room.
#[derive(Default)]
struct Watcher {
    ids: Vec<HoldId>,
    opened: BTreeMap<HoldId, Instant>,
    approved: BTreeMap<HoldId, Instant>,
    over: BTreeSet<HoldId>,
    passes: BTreeMap<HoldId, u32>,
    asked: BTreeMap<u64, u8>,
    answers: BTreeMap<u64, u32>,
    gone: BTreeSet<u64>,
    now: Option<Instant>,
}

impl Watcher {
    fn see(&mut self, deeds: Vec<Deed>) {
        let now = self.now.unwrap();
        for deed in deeds {
            match deed {
                Deed::Opened(id) => {
                    assert!(self.opened.insert(id.clone(), now).is_none());
                    self.ids.push(id);
                }
                Deed::Joined(id, _) | Deed::LookAgain(id) | Deed::Leased(id, _) => assert!(!self.over.contains(&id)),
                Deed::Refuse(Asker(asker), _) => self.answer(asker),
                Deed::Pass(id, Asker(asker), granted) => {
                    self.answer(asker);
                    assert!(!self.over.contains(&id), "passed after its end");
                    let passes = self.passes.entry(id.clone()).or_default();
                    *passes += 1;
                    assert_eq!(*passes, 1, "an approval let two through");
                    let approved = self.approved.get(&id).expect("passed without an approval");
                    assert!(*approved < self.opened[&id] + PATIENCE, "approved after patience");
                    assert!(now < *approved + PATIENCE.max(SHORTEST_PASSAGE), "passed after the approval's time");
                    assert_eq!(granted.request().digest, example::request(self.asked[&asker], "production").digest, "another request passed");
                }
                Deed::Ended(ended) => assert!(self.over.insert(ended.id.clone()), "ended twice"),
            }
        }
    }

    fn answer(&mut self, asker: u64) {
        assert!(!self.gone.contains(&asker), "who has gone was answered");
        let answers = self.answers.entry(asker).or_default();
        *answers += 1;
        assert_eq!(*answers, 1, "answered twice");
    }

    fn id(&self, which: usize) -> Option<HoldId> {
        self.ids.iter().rev().nth(which).cloned()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_order_of_events_lets_two_through(steps in prop::collection::vec(step(), 1..60)) {
        let mut now = Instant::now();
        let mut room = WaitingRoom::new(Bounds { holds: 2, askers: 3, ..Bounds::default() }, counting_bits());
        let mut watcher = Watcher { now: Some(now), ..Watcher::default() };
        let mut next = 0;
        for step in steps {
            match step {
                Step::Arrive { number } => {
                    next += 1;
                    watcher.asked.insert(next, number);
                    let deeds = room.arrive(example::hold(number), Asker(next), now);
                    watcher.see(deeds);
                }
                Step::Approve { which, who } => if let Some(id) = watcher.id(which) {
                    let ruling = yes(&room, &id, &format!("uid:{who}"));
                    let (ruled, deeds) = room.rule(&id, ruling, now);
                    if matches!(ruled, Ok(Ruled::Approved | Ruled::Kept { .. })) {
                        prop_assert!(watcher.approved.insert(id, now).is_none(), "approved twice");
                    }
                    watcher.see(deeds);
                },
                Step::ApproveWrongCard { which } => if let Some(id) = watcher.id(which) {
                    let ruling = Ruling { digest: Digest::of([]), ..yes(&room, &id, "uid:9") };
                    let (ruled, deeds) = room.rule(&id, ruling, now);
                    prop_assert!(ruled.is_err());
                    watcher.see(deeds);
                },
                Step::Deny { which } => if let Some(id) = watcher.id(which) {
                    let (ruled, deeds) = room.rule(&id, no("no"), now);
                    watcher.see(deeds);
                    prop_assert_eq!(ruled.is_ok() || watcher.over.contains(&id), ruled.is_ok() || !matches!(ruled, Err(NotRuled::TooLate(_))));
                },
                Step::Looked { which, same } => if let Some(id) = watcher.id(which) {
                    let deeds = room.looked(&id, if same { Ok(()) } else { Err("worse".to_owned()) }, now);
                    watcher.see(deeds);
                },
                Step::Spent { which } => if let Some(id) = watcher.id(which) {
                    let deeds = room.spent(&id);
                    watcher.see(deeds);
                },
                Step::Lost { which } => if let Some(id) = watcher.id(which) {
                    let deeds = room.lost(&id, "lost");
                    watcher.see(deeds);
                },
                Step::Gone { which } => {
                    let asker = next.saturating_sub(which as u64);
                    room.gone(Asker(asker));
                    if !watcher.answers.contains_key(&asker) {
                        watcher.gone.insert(asker);
                    }
                }
                Step::Wait { seconds } => {
                    now += Duration::from_secs(u64::from(seconds));
                    watcher.now = Some(now);
                    let deeds = room.tick(now);
                    watcher.see(deeds);
                    prop_assert!(room.next_deadline().is_none_or(|due| due > now));
                }
                Step::RefuseAll => {
                    let deeds = room.refuse_all("interrupted");
                    watcher.see(deeds);
                }
            }
            prop_assert!(room.all(now).count() <= 2);
        }
        let deeds = room.refuse_all("the box has ended");
        watcher.see(deeds);
        for asker in watcher.asked.keys() {
            prop_assert!(watcher.gone.contains(asker) || watcher.answers.contains_key(asker), "{asker} was never answered");
        }
        prop_assert_eq!(watcher.over.len(), watcher.opened.len());
    }
}

/// A thousand at once: whatever a list, a card or a ruling takes, a person does not wait for it, and every asker gets the answer to its own question.
#[test]
fn a_thousand_wait_and_each_gets_its_own_answer() {
    const MANY: u64 = 1000;
    let mut room = WaitingRoom::new(Bounds { holds: 1000, alike: 1000, ..Bounds::default() }, counting_bits());
    let now = Instant::now();
    let mut ids = Vec::new();
    for number in 0..MANY {
        let mut request = example::request(0, "production");
        request.digest = Digest::of([number.to_le_bytes().as_slice()]);
        ids.push(opened(&room.arrive(example::hold_of(request), Asker(number), now)));
    }
    let mut one_more = example::request(0, "production");
    one_more.digest = Digest::of([b"one more".as_slice()]);
    assert_eq!(refused(&room.arrive(example::hold_of(one_more), Asker(MANY), now)).len(), 1, "the bound holds");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    let mut answers: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    // From the middle outwards, so that no order helps.
    let order = (0..MANY).map(|number| (number * 617 + 500) % MANY);
    for number in order {
        let id = &ids[usize::try_from(number).unwrap()];
        let listed = room.all(now).count();
        assert!(listed > 0 && room.one(id, now).is_some());
        let deeds = match number % 3 {
            0 => {
                let ruling = yes(&room, id, "uid:1");
                let (ruled, deeds) = room.rule(id, ruling, now);
                assert_eq!(ruled, Ok(Ruled::Approved));
                assert!(matches!(&deeds[..], [Deed::LookAgain(_)]));
                let mut deeds = room.looked(id, Ok(()), now);
                deeds.extend(room.spent(id));
                deeds
            }
            1 => {
                let (ruled, deeds) = room.rule(id, no("not now"), now);
                assert_eq!(ruled, Ok(Ruled::Denied));
                deeds
            }
            _ => Vec::new(),
        };
        for asker in passed(&deeds) {
            answers.entry(asker).or_default().push("passed");
        }
        for (asker, _) in refused(&deeds) {
            answers.entry(asker).or_default().push("denied");
        }
    }
    for (asker, kind) in refused(&room.tick(now + PATIENCE)) {
        assert!(matches!(kind, RefusalKind::Denied | RefusalKind::Pending), "{asker}");
        answers.entry(asker).or_default().push("silence");
    }
    for number in 0..MANY {
        let wanted = ["passed", "denied", "silence"][usize::try_from(number % 3).unwrap()];
        assert_eq!(answers.remove(&number).as_deref(), Some(&[wanted][..]), "{number}");
    }
    assert!(answers.is_empty() && room.all(now).count() == 0, "{answers:?}");
}
