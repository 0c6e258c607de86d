//! Alarms of members whose disks have no room: who raises them, what is remembered, when they go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::kit::{Machine, entry};
use consensus::{
    ClusterTime, Configuration, Incarnation, LogIndex, Majority, Member, NodeId, Payload, Voters,
};
use state_machine::{
    Alarm, Envelope, Host, Kv, Owner, SystemAnswer, SystemCommand, SystemQuery, SystemResponse,
    Viewer,
};

fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn next(machine: &Machine) -> u64 {
    machine.host.applied().index.next().get()
}

fn members(machine: &mut Machine, ids: &[u64]) {
    let member = |number: &u64| {
        let (name, address) = (format!("n{number}"), format!("h{number}:1"));
        (id(*number), Member { incarnation: Incarnation::new(*number), name, address })
    };
    let members: BTreeMap<NodeId, Member> = ids.iter().map(member).collect();
    let voters = Voters::Stable(Majority::new(members.keys().copied()));
    let configuration = Configuration::new(voters, BTreeSet::new(), members).unwrap();
    let entry = entry(next(machine), Payload::Configuration(configuration));
    machine.host.apply(&[entry]).unwrap();
}

fn set_by(machine: &mut Machine, owner: Owner, number: u64, raised: bool) -> SystemResponse {
    let command = SystemCommand::SetAlarm { member: id(number), raised };
    let envelope = Envelope { owner, ..Envelope::system(&command) };
    let entry = entry(next(machine), Payload::Command(envelope.encode()));
    let answers = machine.host.apply(&[entry]).unwrap();
    SystemResponse::decode(&answers[0].1).unwrap()
}

fn set(machine: &mut Machine, number: u64, raised: bool) {
    assert_eq!(set_by(machine, Owner::default(), number, raised), SystemResponse::Noted);
}

fn alarms(machine: &Machine) -> Vec<Alarm> {
    match machine.host.view().system(Viewer::Own("client c"), &SystemQuery::Alarms).unwrap() {
        SystemAnswer::Alarms { items, .. } => items,
        other => panic!("{other:?}"),
    }
}

/// The members with an alarm, as the list has them and as the host tells them.
fn alarmed(machine: &Machine) -> Vec<u64> {
    let listed: Vec<NodeId> = alarms(machine).into_iter().map(|alarm| alarm.id).collect();
    assert!(machine.host.alarms().iter().eq(&listed), "{listed:?}");
    listed.into_iter().map(NodeId::get).collect()
}

#[test]
fn an_alarm_stands_from_its_first_entry_until_it_is_cleared() {
    let mut machine = Machine::new();
    members(&mut machine, &[1, 2, 3]);
    set(&mut machine, 2, true);
    set(&mut machine, 2, true);
    set(&mut machine, 3, true);
    let (index, time) = (LogIndex::new(2), ClusterTime::new(200));
    assert_eq!(alarms(&machine)[0], Alarm { id: id(2), name: "n2".into(), index, time });
    assert_eq!(alarmed(&machine), [2, 3]);
    set(&mut machine, 2, false);
    set(&mut machine, 2, false);
    assert_eq!(alarmed(&machine), [3]);
    set(&mut machine, 2, true);
    assert_eq!(alarms(&machine)[0].index, LogIndex::new(7));
}

#[test]
fn with_its_member_an_alarm_goes_and_strangers_have_none() {
    let mut machine = Machine::new();
    members(&mut machine, &[1, 2, 3]);
    set(&mut machine, 3, true);
    set(&mut machine, 4, true);
    assert_eq!(alarmed(&machine), [3]);
    members(&mut machine, &[1, 2]);
    assert_eq!(alarmed(&machine), [0_u64; 0]);
    set(&mut machine, 3, true);
    assert_eq!(alarmed(&machine), [0_u64; 0], "it was on its way");
}

#[test]
fn nobody_with_a_certificate_raises_or_clears_one() {
    let mut machine = Machine::new();
    members(&mut machine, &[1, 2, 3]);
    set(&mut machine, 2, true);
    for (name, is_operator) in [("client eve", false), ("operator o", true), ("node 1", false)] {
        let owner = Owner { name: name.into(), is_operator };
        for (number, raised) in [(2, false), (3, true)] {
            let answer = set_by(&mut machine, owner.clone(), number, raised);
            assert!(matches!(answer, SystemResponse::Refused { .. }), "{answer:?}");
        }
    }
    assert_eq!(alarmed(&machine), [2]);
}

#[test]
fn news_are_told_once_and_all_that_stands_after_a_start() {
    let mut machine = Machine::new();
    assert_eq!(machine.host.take_alarms(), None);
    members(&mut machine, &[1, 2, 3]);
    assert_eq!(machine.host.take_alarms(), None);
    set(&mut machine, 2, true);
    assert_eq!(machine.host.take_alarms(), Some([id(2)].into()));
    set(&mut machine, 2, true);
    assert_eq!(machine.host.take_alarms(), None, "nothing new");
    let mut again = Host::open(machine.host.store().clone(), Arc::new(Kv)).unwrap();
    assert_eq!(again.take_alarms(), Some([id(2)].into()));
    members(&mut machine, &[1]);
    assert_eq!(machine.host.take_alarms(), Some(BTreeSet::new()));
}
