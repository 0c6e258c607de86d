//! The audit: what is noted, by whom, how it ends, and what is dropped.

use std::sync::Arc;

use consensus::{ClusterTime, LogIndex, Payload};
use state_machine::{
    ACT_TEXT_BYTES_MAX, ACT_WHAT_BYTES_MAX, AUDIT_ACTS_MAX, AUDIT_BYTES_MAX, AUDIT_PAGE_MAX, Act,
    AuditTotals, AuditedAct, Envelope, Host, Kv, Outcome, Owner, SystemAnswer, SystemCommand,
    SystemQuery, SystemResponse, Viewer,
};

use crate::kit::{Machine, entry, system_part};

fn act(number: u64, what: &str, outcome: Outcome) -> Act {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    Act {
        id,
        who: "operator o".into(),
        from: "h:1".into(),
        node: 1,
        clock_s: 7,
        what: what.into(),
        outcome,
    }
}

fn note_by(machine: &mut Machine, owner: Owner, act: Act) -> SystemResponse {
    let index = machine.host.applied().index.next().get();
    let envelope = Envelope { owner, ..Envelope::system(&SystemCommand::Note(act)) };
    let entry = entry(index, Payload::Command(envelope.encode()));
    let answers = machine.host.apply(&[entry]).unwrap();
    SystemResponse::decode(&answers[0].1).unwrap()
}

fn note(machine: &mut Machine, act: Act) {
    assert_eq!(note_by(machine, Owner::default(), act), SystemResponse::Noted);
}

fn page(machine: &Machine, after: u64, limit: u32) -> (Vec<AuditedAct>, bool, AuditTotals) {
    let query = SystemQuery::Audit { after, limit };
    match machine.host.view().system(Viewer::Operator, &query).unwrap() {
        SystemAnswer::Audit { items, more, totals, .. } => (items, more, totals),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_act_keeps_its_place_and_time_when_its_end_is_told_once() {
    let mut machine = Machine::new();
    note(&mut machine, act(1, "member remove n2", Outcome::Asked));
    note(&mut machine, act(2, "leader transfer n3", Outcome::Asked));
    note(&mut machine, act(1, "member remove n2", Outcome::Done));
    note(&mut machine, act(1, "x", Outcome::Refused { reason: "too late".into() }));
    let (items, more, totals) = page(&machine, 0, 10);
    let (index, time) = (LogIndex::new(1), ClusterTime::new(100));
    let first = AuditedAct { index, time, act: act(1, "member remove n2", Outcome::Done) };
    assert_eq!(items[0], first);
    assert_eq!((items.len(), more, totals.acts, totals.dropped), (2, false, 2, 0));
    assert_eq!(items[1].act.outcome, Outcome::Asked);
    // Another one's act is not ended by who only knows its name.
    let foreign = Act { who: "operator eve".into(), ..act(2, "x", Outcome::Done) };
    note(&mut machine, foreign);
    assert_eq!(page(&machine, 1, 10).0, items[1..]);
}

#[test]
fn nobody_with_a_certificate_notes_anything_and_only_operators_read() {
    let mut machine = Machine::new();
    for (name, is_operator) in [("client eve", false), ("operator o", true), ("node 1", false)] {
        let owner = Owner { name: name.into(), is_operator };
        let answer = note_by(&mut machine, owner, act(1, "x", Outcome::Done));
        assert!(matches!(answer, SystemResponse::Refused { .. }), "{answer:?}");
    }
    assert_eq!(page(&machine, 0, 10).2, AuditTotals::default());
    let query = SystemQuery::Audit { after: 0, limit: 1 };
    let answer = machine.host.view().system(Viewer::Own("client c"), &query).unwrap();
    assert!(matches!(answer, SystemAnswer::Refused { .. }), "{answer:?}");
}

#[test]
fn what_is_over_a_limit_is_refused() {
    let mut machine = Machine::new();
    let long = |bytes: usize| "x".repeat(bytes + 1);
    let good = act(1, "x", Outcome::Done);
    for over in [
        Act { who: long(ACT_TEXT_BYTES_MAX), ..good.clone() },
        Act { from: long(ACT_TEXT_BYTES_MAX), ..good.clone() },
        Act { what: long(ACT_WHAT_BYTES_MAX), ..good.clone() },
        Act { outcome: Outcome::Refused { reason: long(ACT_TEXT_BYTES_MAX) }, ..good.clone() },
    ] {
        let answer = note_by(&mut machine, Owner::default(), over);
        assert!(matches!(answer, SystemResponse::Refused { .. }), "{answer:?}");
    }
    assert_eq!(page(&machine, 0, 10).2, AuditTotals::default());
}

/// Thousands of snapshots by one certificate made the bootstrap and every operator's act be
/// forgotten.
#[test]
fn nobody_makes_the_acts_of_others_be_forgotten() {
    let mut machine = Machine::new();
    let by = |who: &str, number| Act { who: who.into(), ..act(number, "x", Outcome::Done) };
    for number in 0..10 {
        note(&mut machine, by("operator ann", number));
        note(&mut machine, by("node 1", 100 + number));
    }
    for number in 0..AUDIT_ACTS_MAX + 5 {
        note(&mut machine, by("backup cron", 1_000 + number));
    }
    let (items, _, totals) = page(&machine, 0, AUDIT_PAGE_MAX);
    assert_eq!((totals.acts, totals.dropped), (AUDIT_ACTS_MAX, 25));
    let of = |who: &str| items.iter().filter(|item| item.act.who == who).count();
    assert_eq!((of("operator ann"), of("node 1")), (10, 10));
    assert_eq!(items[20].act.id, by("backup cron", 1_025).id, "its own oldest are gone");
}

/// A few long ones drove out many short ones, whose owner had done most by number.
#[test]
fn nobody_makes_the_acts_of_others_be_forgotten_by_long_ones() {
    let mut machine = Machine::new();
    let long = "x".repeat(ACT_WHAT_BYTES_MAX);
    let by = |who: &str, number, what| Act { who: who.into(), ..act(number, what, Outcome::Done) };
    for number in 0..1_500 {
        note(&mut machine, by("operator ann", number, "member add n4=10.0.0.4:7400"));
    }
    for number in 0..4_000 {
        note(&mut machine, by("operator mallory", 10_000 + number, &long));
    }
    let (mut after, mut of_ann) = (0, 0);
    loop {
        let (items, more, totals) = page(&machine, after, AUDIT_PAGE_MAX);
        assert!(totals.dropped > 1_000, "{totals:?}");
        of_ann += items.iter().filter(|item| item.act.who == "operator ann").count();
        after = items.last().map_or(after, |item| item.index.get());
        if !more {
            break;
        }
    }
    assert_eq!(of_ann, 1_500);
}

#[test]
fn the_oldest_acts_are_dropped_and_counted_by_number_and_by_bytes() {
    let mut machine = Machine::new();
    for number in 0..AUDIT_ACTS_MAX + 3 {
        note(&mut machine, act(number, "x", Outcome::Done));
    }
    let (items, more, totals) = page(&machine, 0, AUDIT_PAGE_MAX);
    assert_eq!((totals.acts, totals.dropped), (AUDIT_ACTS_MAX, 3));
    assert_eq!((items[0].index, more), (LogIndex::new(4), true));
    // Their names go as well: what is left is two records an act, and the totals.
    let stored = |machine: &Machine| {
        let records = system_part(machine.host.store());
        records.iter().filter(|(key, _)| [50, 51].contains(&key[1])).count() as u64
    };
    assert_eq!(stored(&machine), 2 * AUDIT_ACTS_MAX);

    for number in 0..AUDIT_ACTS_MAX {
        let what = "x".repeat(ACT_WHAT_BYTES_MAX);
        note(&mut machine, act(1_000_000 + number, &what, Outcome::Asked));
        assert!(page(&machine, 0, 1).2.bytes <= AUDIT_BYTES_MAX);
    }
    let (_, _, totals) = page(&machine, 0, 1);
    assert!(totals.acts < AUDIT_ACTS_MAX, "{totals:?}");
    assert_eq!(totals.acts + totals.dropped, 2 * AUDIT_ACTS_MAX + 3);
    assert_eq!(stored(&machine), 2 * totals.acts);
    // An end is longer than none, and counts.
    let last = 1_000_000 + AUDIT_ACTS_MAX - 1;
    let what = "x".repeat(ACT_WHAT_BYTES_MAX);
    let reason = "y".repeat(ACT_TEXT_BYTES_MAX);
    note(&mut machine, act(last, &what, Outcome::Refused { reason }));
    let after = page(&machine, 0, 1).2;
    assert!(after.bytes <= AUDIT_BYTES_MAX);
    let records = system_part(machine.host.store());
    let counted: u64 =
        records.iter().filter(|(key, _)| key[1] == 50).map(|(_, value)| value.len() as u64).sum();
    assert_eq!(after.bytes, counted);
}

#[test]
fn acts_may_take_exactly_the_bytes_that_there_are() {
    let mut machine = Machine::new();
    let totals = |machine: &Machine| page(machine, 0, 1).2;
    let mut next = 0;
    let mut add = |machine: &mut Machine, what_bytes: u64| {
        next += 1;
        let what = "x".repeat(usize::try_from(what_bytes).unwrap());
        note(machine, act(next, &what, Outcome::Done));
    };
    add(&mut machine, 0);
    let bare = totals(&machine).bytes;
    let full = bare + ACT_WHAT_BYTES_MAX as u64;
    while AUDIT_BYTES_MAX - totals(&machine).bytes >= 2 * full {
        add(&mut machine, ACT_WHAT_BYTES_MAX as u64);
    }
    let half = (AUDIT_BYTES_MAX - totals(&machine).bytes) / 2;
    add(&mut machine, half - bare);
    let rest = AUDIT_BYTES_MAX - totals(&machine).bytes;
    add(&mut machine, rest - bare);
    let found = totals(&machine);
    assert_eq!((found.bytes, found.dropped), (AUDIT_BYTES_MAX, 0));
    add(&mut machine, 0);
    assert_eq!(totals(&machine).dropped, 1);
}

#[test]
fn there_are_more_acts_only_if_some_are_left() {
    let mut machine = Machine::new();
    for number in 1..=3 {
        note(&mut machine, act(number, "x", Outcome::Done));
    }
    let seen = |after, limit| {
        let (items, more, _) = page(&machine, after, limit);
        (items.len(), more)
    };
    assert_eq!([seen(0, 2), seen(0, 3), seen(0, 4)], [(2, true), (3, false), (3, false)]);
    assert_eq!([seen(2, 1), seen(3, 1)], [(1, false), (0, false)]);
    assert_eq!(seen(0, 0), (1, true), "a page of none would never end");
}

#[test]
fn an_end_behind_the_drop_of_its_act_begins_a_new_record() {
    let mut machine = Machine::new();
    note(&mut machine, act(1, "first", Outcome::Asked));
    for number in 10..10 + AUDIT_ACTS_MAX {
        note(&mut machine, act(number, "x", Outcome::Done));
    }
    note(&mut machine, act(1, "first", Outcome::Done));
    let (items, _, totals) = page(&machine, AUDIT_ACTS_MAX + 1, 5);
    assert_eq!((items.len(), items[0].act.what.as_str(), totals.dropped), (1, "first", 2));
}

#[test]
fn the_audit_is_in_the_state_after_a_start() {
    let mut machine = Machine::new();
    note(&mut machine, act(1, "x", Outcome::Done));
    let before = page(&machine, 0, 10);
    let again = Host::open(machine.host.store().clone(), Arc::new(Kv)).unwrap();
    let query = SystemQuery::Audit { after: 0, limit: 10 };
    let found = again.view().system(Viewer::Operator, &query).unwrap();
    let SystemAnswer::Audit { items, more, totals, .. } = found else { panic!("{found:?}") };
    assert_eq!((items, more, totals), before);
}
