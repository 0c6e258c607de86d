//! Bytes of the system's commands, answers, questions and records: commands stand in logs and
//! records in snapshots for ever, so they never change.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consensus::{
    ClusterTime, Configuration, EntryId, Incarnation, LogIndex, Majority, Member, NodeId, Term,
    Voters,
};
use state_machine::{
    Act, Alarm, AuditTotals, AuditedAct, CachedAnswer, CodecError, ConfigurationRecord, Outcome,
    Reservation, Revocation, Session, SessionAnswers, SystemAnswer, SystemCommand, SystemQuery,
    SystemResponse, Tombstone,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn id(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

fn act(outcome: Outcome) -> Act {
    Act {
        id: [5; 16],
        who: "o a".into(),
        from: "h:1".into(),
        node: 2,
        clock_s: 7,
        what: "x".into(),
        outcome,
    }
}

#[test]
fn commands() {
    let nonce: [u8; 16] = std::array::from_fn(|at| u8::try_from(at).unwrap());
    let register = SystemCommand::RegisterSession { nonce, name: "ab".into() };
    for (command, expected) in [
        (register, "0101000102030405060708090a0b0c0d0e0f020000006162"),
        (SystemCommand::CloseSession { session: 258 }, "01020201000000000000"),
        (SystemCommand::ReserveId { name: "n4".into(), above: 0 }, "0103020000006e34"),
        (
            SystemCommand::ReserveId { name: "n4".into(), above: 258 },
            "0105020000006e340201000000000000",
        ),
        (SystemCommand::SetAlarm { member: id(2), raised: true }, "0104020000000000000001"),
        (SystemCommand::SetAlarm { member: id(2), raised: false }, "0104020000000000000000"),
        (
            SystemCommand::Revoke {
                holder: "node 2".into(),
                until_s: 258,
                key: Some([0xab; 32]),
                why: "lost".into(),
            },
            concat!(
                "0128060000006e6f646520320201000000000000",
                "01abababababababababababababababababababababababababababababababab",
                "040000006c6f7374"
            ),
        ),
        (
            SystemCommand::Revoke {
                holder: "node 2".into(),
                until_s: 258,
                key: None,
                why: String::new(),
            },
            "0128060000006e6f64652032020100000000000000\
             00000000",
        ),
        (SystemCommand::ForgetRevocation { holder: "node 2".into() }, "0129060000006e6f64652032"),
        (
            SystemCommand::Note(act(Outcome::Refused { reason: "no".into() })),
            "013205050505050505050505050505050505030000006f206103000000683a31\
             0200000000000000070000000000000001000000780202\
             0000006e6f",
        ),
    ] {
        assert_eq!(hex(&command.encode()), expected);
        assert_eq!(SystemCommand::decode(&command.encode()).unwrap(), command);
    }
}

#[test]
fn answers_to_commands() {
    let response = Bytes::from_static(b"abc");
    for (answer, expected) in [
        (SystemResponse::Answer { index: 2, response }, "0101020000000000000003000000616263"),
        (SystemResponse::AnswerNotKept { index: 2 }, "01020200000000000000"),
        (SystemResponse::SessionExpired { session: 3 }, "01030300000000000000"),
        (SystemResponse::Forgotten { low_water: 4 }, "01040400000000000000"),
        (SystemResponse::BeyondWindow { low_water: 5 }, "01050500000000000000"),
        (SystemResponse::Registered { session: 6 }, "01060600000000000000"),
        (SystemResponse::Closed, "0107"),
        (SystemResponse::Reserved { id: 7 }, "01080700000000000000"),
        (
            SystemResponse::Ended { low_water: 2, highest: 4, missing: vec![3] },
            "010a0200000000000000040000000000000001000000\
             0300000000000000",
        ),
        (SystemResponse::Refused { reason: "no".into() }, "0109020000006e6f"),
        (SystemResponse::Noted, "010b"),
    ] {
        assert_eq!(hex(&answer.encode()), expected);
        assert_eq!(SystemResponse::decode(&answer.encode()).unwrap(), answer);
    }
}

#[test]
fn questions() {
    for (query, expected) in [
        (SystemQuery::Sessions { after: 1, limit: 2 }, "0101010000000000000002000000"),
        (SystemQuery::Session { session: 3 }, "01020300000000000000"),
        (SystemQuery::History, "0103"),
        (SystemQuery::Tombstones, "0104"),
        (SystemQuery::Revocations, "0128"),
        (SystemQuery::Reservations, "0105"),
        (SystemQuery::Effects { index: 5 }, "01060500000000000000"),
        (SystemQuery::Alarms, "0107"),
        (SystemQuery::Audit { after: 1, limit: 2 }, "0132010000000000000002000000"),
    ] {
        assert_eq!(hex(&query.encode()), expected);
        assert_eq!(SystemQuery::decode(&query.encode()).unwrap(), query);
    }
}

fn session() -> Session {
    Session {
        owner: "c d".into(),
        name: "ab".into(),
        registered: ClusterTime::new(1),
        active: ClusterTime::new(2),
        low_water: 3,
        highest: 4,
    }
}

fn history() -> [ConfigurationRecord; 2] {
    let member = |incarnation, name: &str, address: &str| Member {
        incarnation: Incarnation::new(incarnation),
        name: name.into(),
        address: address.into(),
    };
    let members =
        BTreeMap::from([(id(1), member(0xb, "n1", "h:1")), (id(2), member(0xc, "n2", "h:2"))]);
    let record = |index, voters, learners| ConfigurationRecord {
        id: EntryId { term: Term::new(7), index: LogIndex::new(index) },
        time: ClusterTime::new(9),
        configuration: Configuration::new(voters, learners, members.clone()).unwrap(),
    };
    let stable = Voters::Stable(Majority::new([id(1)]));
    let joint =
        Voters::Joint { outgoing: Majority::new([id(1)]), incoming: Majority::new([id(2)]) };
    [record(1, stable, BTreeSet::from([id(2)])), record(2, joint, BTreeSet::from([id(1)]))]
}

/// Sessions, configurations, tombstones and reservations are stored with these same fields.
#[test]
fn answers_to_questions() {
    let fields = "020000006162\
                  0100000000000000020000000000000003000000000000000400000000000000\
                  03000000632064";
    let (one, time) = (1_u64, ClusterTime::new(5));
    let number = |number: u64| hex(&number.to_le_bytes());
    let items = vec![(one, session())];
    let cached = vec![
        CachedAnswer { sequence: 3, index: 8, bytes: Some(6) },
        CachedAnswer { sequence: 4, index: 9, bytes: None },
    ];
    let found = Some(SessionAnswers { session: session(), cached });
    let kept = format!("{}{}0106000000{}{}00", number(3), number(8), number(4), number(9));
    let tombstone = Tombstone {
        id: id(3),
        incarnation: Incarnation::new(0xd),
        name: "n3".into(),
        index: LogIndex::new(4),
        time,
    };
    let alarm = Alarm { id: id(2), name: "n2".into(), index: LogIndex::new(6), time };
    let reservation = Reservation { name: "n4".into(), id: 4, index: LogIndex::new(6), time };
    let members = "02000000\
                   01000000000000000b00000000000000020000006e3103000000683a31\
                   02000000000000000c00000000000000020000006e3203000000683a32";
    let list = |ids: &[u64]| -> String {
        let count = u32::try_from(ids.len()).unwrap().to_le_bytes();
        hex(&count) + &ids.iter().map(|id| number(*id)).collect::<String>()
    };
    let place = |index| format!("{}{}{}", number(7), number(index), number(9));
    for (answer, expected) in [
        (
            SystemAnswer::Sessions { items, last: 2, more: true, time },
            format!("0101{}{}0101000000{}{fields}", number(5), number(2), number(1)),
        ),
        (SystemAnswer::Session { found: None, time }, format!("0102{}00", number(5))),
        (
            SystemAnswer::Session { found, time },
            format!("0102{}01{fields}02000000{kept}", number(5)),
        ),
        (
            SystemAnswer::History(history().to_vec()),
            format!(
                "010302000000{}{members}{}00{}{}{members}{}01{}{}",
                place(1),
                list(&[1]),
                list(&[2]),
                place(2),
                list(&[2]),
                list(&[1]),
                list(&[1]),
            ),
        ),
        (
            SystemAnswer::Tombstones(vec![tombstone]),
            format!(
                "010401000000{}{}020000006e33{}{}",
                number(3),
                number(13),
                number(4),
                number(5)
            ),
        ),
        (
            SystemAnswer::Reservations(vec![reservation]),
            format!("010501000000020000006e34{}{}{}", number(4), number(6), number(5)),
        ),
        (
            SystemAnswer::Alarms { items: vec![alarm], time },
            format!("0108{}01000000{}020000006e32{}{}", number(5), number(2), number(6), number(5)),
        ),
        (SystemAnswer::Refused { reason: "no".into() }, "0106020000006e6f".to_owned()),
    ] {
        assert_eq!(hex(&answer.encode()), expected);
        assert_eq!(SystemAnswer::decode(&answer.encode()).unwrap(), answer);
    }
}

#[test]
fn answers_about_revocations() {
    let (index, time) = (LogIndex::new(6), ClusterTime::new(5));
    let (holder, why, by) = ("node 2".into(), "no".into(), "x".into());
    let keys = vec![[0xcd; 32]];
    let revocation = Revocation { holder, until_s: 7, keys, why, by, index, time };
    let answer = SystemAnswer::Revocations { items: vec![revocation], time };
    let number = |number: u64| hex(&number.to_le_bytes());
    let key = "cd".repeat(32);
    let head = format!("0128{}01000000060000006e6f64652032{}", number(5), number(7));
    let tail = format!("020000006e6f0100000078{}{}", number(6), number(5));
    let expected = format!("{head}01000000{key}{tail}");
    assert_eq!(hex(&answer.encode()), expected);
    assert_eq!(SystemAnswer::decode(&answer.encode()).unwrap(), answer);
}

#[test]
fn acts_in_an_answer() {
    let (number, time) = (|number: u64| hex(&number.to_le_bytes()), ClusterTime::new(5));
    let answer = SystemAnswer::Audit {
        items: vec![AuditedAct { index: LogIndex::new(6), time, act: act(Outcome::Done) }],
        more: true,
        totals: AuditTotals { acts: 1, bytes: 2, dropped: 3 },
        time,
    };
    let expected = format!(
        "0132{}01{}{}{}01000000{}{}{}030000006f206103000000683a31{}{}010000007801",
        number(5),
        number(1),
        number(2),
        number(3),
        number(6),
        number(5),
        "05".repeat(16),
        number(2),
        number(7)
    );
    assert_eq!(hex(&answer.encode()), expected);
    assert_eq!(SystemAnswer::decode(&answer.encode()).unwrap(), answer);
}

#[test]
fn bytes_that_make_no_sense_are_refused_precisely() {
    let refuse = |bytes: &'static [u8]| SystemCommand::decode(&Bytes::from_static(bytes));
    assert_eq!(refuse(b"\x01\x09"), Err(CodecError::Kind(9)));
    assert_eq!(refuse(b"\x01\x03\x01\0\0\0\xff"), Err(CodecError::Text));
    assert_eq!(refuse(b"\x01\x01short"), Err(CodecError::Truncated));
    assert_eq!(refuse(b"\x01\x02\0\0\0\0\0\0\0\0x"), Err(CodecError::Trailing(1)));
    let nobody = Bytes::from([&b"\x01\x04\x01\0\0\0"[..], &[0; 40]].concat());
    assert_eq!(SystemAnswer::decode(&nobody), Err(CodecError::Members));
    let crowd = Bytes::from_static(b"\x01\x05\xff\xff\xff\xff");
    assert_eq!(SystemAnswer::decode(&crowd), Err(CodecError::Truncated));
}

#[test]
fn no_bytes_make_a_decoder_panic() {
    let seeds = [
        SystemAnswer::History(history().to_vec()).encode(),
        SystemAnswer::Sessions {
            items: vec![(1, session())],
            last: 1,
            more: false,
            time: ClusterTime::ZERO,
        }
        .encode(),
        SystemCommand::RegisterSession { nonce: [1; 16], name: "n".into() }.encode(),
        SystemResponse::Answer { index: 1, response: Bytes::from_static(b"x") }.encode(),
    ];
    for seed in seeds {
        for at in 0..seed.len() {
            for value in 0..=u8::MAX {
                let mut bytes = seed.to_vec();
                bytes[at] = value;
                for bytes in [Bytes::copy_from_slice(&bytes), Bytes::copy_from_slice(&bytes[..at])]
                {
                    let _ = SystemCommand::decode(&bytes);
                    let _ = SystemResponse::decode(&bytes);
                    let _ = SystemQuery::decode(&bytes);
                    let _ = SystemAnswer::decode(&bytes);
                }
            }
        }
    }
}
