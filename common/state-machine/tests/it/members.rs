//! The system's memory of members: configurations, tombstones, reserved ids.

use std::collections::{BTreeMap, BTreeSet};

use crate::kit::{Machine, entry};
use consensus::{
    Configuration, Entry, Incarnation, LogIndex, Majority, Member, NodeId, Payload, Voters,
};
use state_machine::{
    ConfigurationRecord, Envelope, HISTORY_MAX, RESERVATIONS_MAX, RESERVED_NAME_BYTES_MAX,
    Reservation, SystemAnswer, SystemCommand, SystemQuery, SystemResponse, Tombstone, Viewer,
};

fn ids(ids: &[u64]) -> impl Iterator<Item = NodeId> + '_ {
    ids.iter().map(|id| NodeId::new(*id).unwrap())
}

fn configuration(voters: Voters, learners: &[u64]) -> Configuration {
    let learners: BTreeSet<NodeId> = ids(learners).collect();
    let describe = |id: NodeId| {
        let (name, address) = (format!("n{id}"), format!("h{id}:1"));
        (id, Member { incarnation: Incarnation::new(100 + id.get()), name, address })
    };
    let named: BTreeSet<NodeId> = voters.iter().chain(learners.iter().copied()).collect();
    let members: BTreeMap<NodeId, Member> = named.into_iter().map(describe).collect();
    Configuration::new(voters, learners, members).unwrap()
}

fn stable(voters: &[u64], learners: &[u64]) -> Configuration {
    configuration(Voters::Stable(Majority::new(ids(voters))), learners)
}

fn joint(outgoing: &[u64], incoming: &[u64], learners: &[u64]) -> Configuration {
    let (outgoing, incoming) = (Majority::new(ids(outgoing)), Majority::new(ids(incoming)));
    configuration(Voters::Joint { outgoing, incoming }, learners)
}

fn next(machine: &Machine) -> u64 {
    machine.host.applied().index.next().get()
}

fn change(machine: &mut Machine, configuration: Configuration) -> Entry {
    let entry = entry(next(machine), Payload::Configuration(configuration));
    assert_eq!(machine.host.apply(std::slice::from_ref(&entry)).unwrap(), []);
    entry
}

fn reserve(machine: &mut Machine, name: &str) -> SystemResponse {
    reserve_above(machine, name, 0)
}

fn reserve_above(machine: &mut Machine, name: &str, above: u64) -> SystemResponse {
    let command = SystemCommand::ReserveId { name: name.into(), above };
    let payload = Payload::Command(Envelope::system(&command).encode());
    let entry = entry(next(machine), payload);
    let answers = machine.host.apply(&[entry]).unwrap();
    SystemResponse::decode(&answers[0].1).unwrap()
}

fn history(machine: &Machine) -> Vec<ConfigurationRecord> {
    match machine.host.view().system(Viewer::Operator, &SystemQuery::History).unwrap() {
        SystemAnswer::History(items) => items,
        other => panic!("{other:?}"),
    }
}

fn tombstones(machine: &Machine) -> Vec<Tombstone> {
    match machine.host.view().system(Viewer::Operator, &SystemQuery::Tombstones).unwrap() {
        SystemAnswer::Tombstones(items) => items,
        other => panic!("{other:?}"),
    }
}

fn reservations(machine: &Machine) -> Vec<Reservation> {
    match machine.host.view().system(Viewer::Operator, &SystemQuery::Reservations).unwrap() {
        SystemAnswer::Reservations(items) => items,
        other => panic!("{other:?}"),
    }
}

/// The ids of the removed, and where they were.
fn removed(machine: &Machine) -> Vec<(u64, u64)> {
    tombstones(machine).iter().map(|stone| (stone.id.get(), stone.index.get())).collect()
}

#[test]
fn configurations_are_remembered_as_they_were() {
    let mut machine = Machine::new();
    let changes = [stable(&[1, 2], &[3]), joint(&[1, 2], &[1, 3], &[2]), stable(&[1, 3], &[2])];
    let entries = changes.map(|one| change(&mut machine, one));
    let expected: Vec<ConfigurationRecord> = entries
        .iter()
        .map(|entry| {
            let Payload::Configuration(configuration) = entry.payload.clone() else { panic!() };
            ConfigurationRecord { id: entry.id, time: entry.stamp, configuration }
        })
        .collect();
    assert_eq!(history(&machine), expected);
    assert_eq!(tombstones(&machine), [], "they all stay");
}

#[test]
fn the_oldest_configuration_is_forgotten() {
    let mut machine = Machine::new();
    let first = next(&machine);
    for _ in 0..HISTORY_MAX + 3 {
        change(&mut machine, stable(&[1], &[]));
    }
    let found = history(&machine);
    assert_eq!(found.len(), HISTORY_MAX);
    assert_eq!(found[0].id.index.get(), first + 3);
}

#[test]
fn a_member_has_a_tombstone_once_a_stable_configuration_does_not_name_it() {
    let mut machine = Machine::new();
    change(&mut machine, stable(&[1, 2, 3], &[4]));
    // Node 4 is left out at once, node 3 at the end.
    change(&mut machine, joint(&[1, 2, 3], &[1, 2], &[]));
    assert_eq!(removed(&machine), [], "a change may still be undone");
    let last = change(&mut machine, stable(&[1, 2], &[]));
    let at = last.id.index.get();
    assert_eq!(removed(&machine), [(3, at), (4, at)]);
    let stone = &tombstones(&machine)[0];
    assert_eq!((stone.name.as_str(), stone.incarnation), ("n3", Incarnation::new(103)));
    assert_eq!(stone.time, last.stamp);
    change(&mut machine, stable(&[1], &[2]));
    assert_eq!(removed(&machine), [(3, at), (4, at)]);
}

#[test]
fn a_learner_that_comes_and_goes_leaves_a_tombstone() {
    let mut machine = Machine::new();
    for learners in [&[][..], &[2], &[]] {
        change(&mut machine, stable(&[1], learners));
    }
    assert_eq!(removed(&machine), [(2, 3)]);
}

#[test]
fn a_member_that_is_named_again_has_no_tombstone() {
    let mut machine = Machine::new();
    for voters in [&[1, 2][..], &[1], &[1, 2]] {
        change(&mut machine, stable(voters, &[]));
    }
    assert_eq!(removed(&machine), []);
    change(&mut machine, stable(&[1], &[]));
    assert_eq!(removed(&machine), [(2, 4)]);
    assert_eq!(machine.host.view().tombstones().unwrap(), tombstones(&machine));
}

#[test]
fn an_id_is_reserved_by_name_above_all_that_were_seen() {
    let mut machine = Machine::new();
    change(&mut machine, stable(&[1, 2, 7], &[]));
    assert_eq!(reserve(&mut machine, "n8"), SystemResponse::Reserved { id: 8 });
    assert_eq!(reserve(&mut machine, "n9"), SystemResponse::Reserved { id: 9 });
    assert_eq!(reserve(&mut machine, "n8"), SystemResponse::Reserved { id: 8 }, "its own");
    let [first, second] = reservations(&machine).try_into().unwrap();
    assert_eq!((first.name.as_str(), first.id, first.index), ("n8", 8, LogIndex::new(2)));
    assert_eq!((second.name.as_str(), second.id, second.index), ("n9", 9, LogIndex::new(3)));
}

#[test]
fn an_id_is_never_reserved_again_after_its_member_was_removed() {
    let mut machine = Machine::new();
    change(&mut machine, stable(&[1, 2], &[]));
    assert_eq!(reserve(&mut machine, "n3"), SystemResponse::Reserved { id: 3 });
    change(&mut machine, stable(&[1, 2], &[3]));
    assert_eq!(reserve(&mut machine, "n3"), SystemResponse::Reserved { id: 3 }, "it is its own");
    change(&mut machine, stable(&[1, 2], &[]));
    assert_eq!(reservations(&machine), []);
    assert_eq!(reserve(&mut machine, "n3"), SystemResponse::Reserved { id: 4 });
    change(&mut machine, stable(&[1], &[]));
    assert_eq!(reserve(&mut machine, "other"), SystemResponse::Reserved { id: 5 });
}

#[test]
fn a_name_that_a_member_bears_or_that_is_no_name_is_refused() {
    let mut machine = Machine::new();
    change(&mut machine, stable(&[1, 2], &[]));
    let long = "x".repeat(RESERVED_NAME_BYTES_MAX + 1);
    for (name, why) in [
        ("n2", "node 2 is called n2 already"),
        ("", "a name has 1 to 64 bytes, not 0"),
        (&long, "a name has 1 to 64 bytes, not 65"),
    ] {
        assert_eq!(reserve(&mut machine, name), SystemResponse::Refused { reason: why.into() });
    }
    assert_eq!(reserve(&mut machine, "n3"), SystemResponse::Reserved { id: 3 }, "none was used up");
}

#[test]
fn reservations_are_bounded() {
    let mut machine = Machine::new();
    change(&mut machine, stable(&[1], &[]));
    for number in 0..RESERVATIONS_MAX {
        reserve(&mut machine, &format!("name {number}"));
    }
    // The oldest makes way that is no member's; its id never comes twice.
    change(&mut machine, stable(&[1, 2], &[]));
    let next = RESERVATIONS_MAX as u64 + 2;
    for more in 0..3 {
        let reserved = reserve(&mut machine, &format!("more {more}"));
        assert_eq!(reserved, SystemResponse::Reserved { id: next + more });
    }
    assert_eq!(reserve(&mut machine, "name 0"), SystemResponse::Reserved { id: 2 }, "a member's");
    assert_eq!(reserve(&mut machine, "name 4"), SystemResponse::Reserved { id: 6 }, "not so old");
    assert_eq!(reserve(&mut machine, "name 1"), SystemResponse::Reserved { id: next + 3 });
}

#[test]
fn entries_in_one_batch_or_in_many_make_the_same_state() {
    let entries: Vec<Entry> = (1..)
        .zip([stable(&[1, 2], &[3]), joint(&[1, 2], &[1, 3], &[]), stable(&[1, 3], &[])])
        .map(|(index, configuration)| entry(index, Payload::Configuration(configuration)))
        .collect();
    let (mut together, mut apart) = (Machine::new(), Machine::new());
    together.host.apply(&entries).unwrap();
    for entry in entries {
        apart.host.apply(&[entry]).unwrap();
    }
    assert_eq!(removed(&together), [(2, 3)]);
    assert_eq!(together.system_part(), apart.system_part());
}

/// A cluster that was restored from a backup gave the id of a node that was added behind it to
/// another one, for which the certificate of the first one counted.
#[test]
fn an_id_is_above_those_that_are_known_elsewhere() {
    let mut machine = Machine::new();
    assert_eq!(reserve_above(&mut machine, "n8", 7), SystemResponse::Reserved { id: 8 });
    assert_eq!(
        reserve_above(&mut machine, "n8", 20),
        SystemResponse::Reserved { id: 8 },
        "its own"
    );
    assert_eq!(reserve_above(&mut machine, "n9", 3), SystemResponse::Reserved { id: 9 });
    let refused = reserve_above(&mut machine, "n10", u64::MAX);
    assert!(matches!(refused, SystemResponse::Refused { .. }), "{refused:?}");
    assert_eq!(reserve(&mut machine, "n10"), SystemResponse::Reserved { id: 10 });
}
