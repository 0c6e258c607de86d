//! Revoked certificates: who may revoke, what is remembered, and that it survives.

use crate::kit::{Machine, entry};
use consensus::{ClusterTime, LogIndex, Payload};
use state_machine::{
    Envelope, Owner, REASON_BYTES_MAX, REVOCATIONS_MAX, Revocation, SystemAnswer, SystemCommand,
    SystemQuery, SystemResponse, Viewer,
};

fn operator() -> Owner {
    Owner { name: "operator alice".into(), is_operator: true }
}

fn give(machine: &mut Machine, owner: Owner, command: &SystemCommand) -> SystemResponse {
    let envelope = Envelope { owner, ..Envelope::system(command) };
    let next = machine.host.applied().index.next().get();
    let entry = entry(next, Payload::Command(envelope.encode()));
    let answers = machine.host.apply(&[entry]).unwrap();
    SystemResponse::decode(&answers[0].1).unwrap()
}

fn revoke(holder: &str, until_s: u64, key: Option<[u8; 32]>) -> SystemCommand {
    SystemCommand::Revoke { holder: holder.into(), until_s, key, why: "lost".into() }
}

fn listed(machine: &Machine) -> Vec<Revocation> {
    match machine.host.view().system(Viewer::Operator, &SystemQuery::Revocations).unwrap() {
        SystemAnswer::Revocations { items, .. } => items,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_revoked_stays_so_until_an_operator_forgets_it() {
    let mut machine = Machine::new();
    let give = |machine: &mut Machine, command: &SystemCommand| {
        assert_eq!(give(machine, operator(), command), SystemResponse::Noted);
    };
    give(&mut machine, &revoke("client web", 50, Some([1; 32])));
    give(&mut machine, &revoke("client web", 40, Some([2; 32])));
    give(&mut machine, &revoke("client web", 45, Some([2; 32])));
    let wanted = Revocation {
        holder: "client web".into(),
        until_s: 50,
        keys: vec![[1; 32], [2; 32]],
        why: "lost".into(),
        by: "operator alice".into(),
        index: LogIndex::new(3),
        time: ClusterTime::new(300),
    };
    assert_eq!(listed(&machine), std::slice::from_ref(&wanted));
    // It is news once.
    assert_eq!(machine.host.take_revoked(), Some(vec![wanted]));
    assert_eq!(machine.host.take_revoked(), None);
    give(&mut machine, &SystemCommand::ForgetRevocation { holder: "client web".into() });
    assert_eq!(machine.host.take_revoked(), Some(Vec::new()));
    assert!(listed(&machine).is_empty());
}

#[test]
fn only_operators_revoke_and_only_what_fits() {
    let mut machine = Machine::new();
    let client = Owner { name: "client web".into(), is_operator: false };
    let forget = |holder: &str| SystemCommand::ForgetRevocation { holder: holder.into() };
    let why = "x".repeat(REASON_BYTES_MAX + 1);
    let wordy = SystemCommand::Revoke { holder: "client a".into(), until_s: 1, key: None, why };
    for (owner, command, reason) in [
        (client.clone(), revoke("client a", 1, None), "by operators alone"),
        (Owner::default(), revoke("client a", 1, None), "by operators alone"),
        (client, forget("client a"), "by operators alone"),
        (operator(), forget("client a"), "no certificate of client a is revoked"),
        (operator(), revoke("", 1, None), "a holder has 1 to"),
        (operator(), wordy, "a reason at most"),
    ] {
        let answer = give(&mut machine, owner, &command);
        let SystemResponse::Refused { reason: said } = answer else { panic!("{command:?}") };
        assert!(said.contains(reason), "{said}");
    }
    assert!(listed(&machine).is_empty());
    for number in 0..REVOCATIONS_MAX {
        let command = revoke(&format!("client c{number}"), 1, None);
        assert_eq!(give(&mut machine, operator(), &command), SystemResponse::Noted);
    }
    let full = give(&mut machine, operator(), &revoke("client new", 1, None));
    assert!(matches!(full, SystemResponse::Refused { .. }), "{full:?}");
    let again = give(&mut machine, operator(), &revoke("client c7", 9, None));
    assert_eq!(again, SystemResponse::Noted, "who has a place keeps it");
}
