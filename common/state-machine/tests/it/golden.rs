//! Bytes of commands, questions and answers: commands stand in logs for ever, so they never change.

use std::sync::Arc;

use bytes::Bytes;
use consensus::{ClusterTime, EntryId};
use state_machine::{
    Batch, CodecError, ENVELOPE_BYTES, Envelope, EnvelopeKind, Host, Kv, KvCommand, KvQuery,
    KvResponse, MemoryStore, OrderedStore as _, Owner, SystemCommand, applied_in,
};

use crate::kit::at;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Bytes {
    let pairs = (0..digits.len()).step_by(2).map(|place| &digits[place..place + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn an_envelope() {
    let envelope = Envelope {
        kind: EnvelopeKind::Machine,
        machine_version: 0x0102_0304,
        session: 5,
        sequence: 6,
        low_water: 7,
        owner: Owner::default(),
        body: text("abc"),
    };
    let expected = "0100000004030201\
                    0500000000000000\
                    0600000000000000\
                    0700000000000000\
                    616263";
    assert_eq!(hex(&envelope.encode()), expected);
    assert_eq!(Envelope::decode(&envelope.encode()).unwrap(), envelope);
}

#[test]
fn an_envelope_of_no_session_around_nothing() {
    let envelope = Envelope::sessionless(Bytes::new());
    assert_eq!(hex(&envelope.encode()), format!("01{}", "00".repeat(ENVELOPE_BYTES - 1)));
    assert_eq!(Envelope::decode(&envelope.encode()).unwrap(), envelope);
}

#[test]
fn an_envelope_of_a_session_and_one_for_the_system() {
    let envelope = Envelope::in_session(5, 6, 7, text("abc"));
    let expected = "0100000000000000050000000000000006000000000000000700000000000000616263";
    assert_eq!(hex(&envelope.encode()), expected);
    assert_eq!(Envelope::decode(&envelope.encode()).unwrap(), envelope);

    let envelope = Envelope::system(&SystemCommand::CloseSession { session: 5 });
    let expected = format!("0101{}01020500000000000000", "00".repeat(ENVELOPE_BYTES - 2));
    assert_eq!(hex(&envelope.encode()), expected);
    assert_eq!(Envelope::decode(&envelope.encode()).unwrap(), envelope);
}

#[test]
fn an_envelope_with_an_owner() {
    let owner = Owner { name: "client a".into(), is_operator: false };
    let envelope = Envelope { owner, ..Envelope::in_session(5, 6, 7, text("abc")) };
    let numbers = "00000000050000000000000006000000000000000700000000000000";
    let expected = format!("02000008{numbers}{}616263", "636c69656e742061");
    assert_eq!(hex(&envelope.encode()), expected);
    assert_eq!(Envelope::decode(&envelope.encode()).unwrap(), envelope);

    let owner = Owner { name: "operator a".into(), is_operator: true };
    let envelope = Envelope { owner, ..envelope };
    assert_eq!(hex(&envelope.encode()[..4]), "0200010a");
    assert_eq!(Envelope::decode(&envelope.encode()).unwrap(), envelope);
    let whole = envelope.encode();
    for end in 0..ENVELOPE_BYTES + 10 {
        assert_eq!(Envelope::decode(&whole.slice(..end)).unwrap_err(), CodecError::Truncated);
    }
}

#[test]
fn an_envelope_with_an_owner_may_be_around_nothing() {
    let owner = Owner { name: "client a".into(), is_operator: false };
    let envelope = Envelope { owner, ..Envelope::in_session(5, 6, 7, Bytes::new()) };
    assert_eq!(Envelope::decode(&envelope.encode()).unwrap(), envelope);
}

/// Or a client could write an owner, and be an operator, where only nodes may.
#[test]
fn an_envelope_of_version_1_has_no_owner_whatever_it_says() {
    let envelope = Envelope::in_session(5, 6, 7, text("client a"));
    let whole = envelope.encode();
    let claims = Bytes::from([&[1, 0, 1, 8][..], &whole[4..]].concat());
    assert_eq!(Envelope::decode(&claims).unwrap(), envelope);
}

#[test]
fn it_matters_whose_the_commands_of_sessions_and_of_the_system_are() {
    let close = Envelope::system(&SystemCommand::CloseSession { session: 5 });
    assert!(close.has_owner());
    assert!(Envelope { session: 5, ..close }.has_owner());
    assert!(Envelope::in_session(5, 6, 7, text("abc")).has_owner());
    assert!(!Envelope::sessionless(text("abc")).has_owner());
}

#[test]
fn an_envelope_of_a_kind_that_is_unknown_is_refused() {
    let whole = Envelope::sessionless(text("abc")).encode();
    let other = Bytes::from([&[1, 2][..], &whole[2..]].concat());
    assert_eq!(Envelope::decode(&other).unwrap_err(), CodecError::Kind(2));
}

#[test]
fn an_envelope_shares_its_body() {
    let bytes = Envelope::sessionless(text("abc")).encode();
    let body = Envelope::decode(&bytes).unwrap().body;
    assert_eq!(body.as_ptr(), bytes[ENVELOPE_BYTES..].as_ptr());
}

#[test]
fn an_envelope_that_is_cut_off_or_of_another_version_is_refused() {
    let whole = Envelope::sessionless(text("abc")).encode();
    for end in 0..ENVELOPE_BYTES {
        let refused = Envelope::decode(&whole.slice(..end)).unwrap_err();
        assert_eq!(refused, CodecError::Truncated, "{end}");
    }
    let other = Bytes::from([&[3][..], &whole[1..]].concat());
    let refused = Envelope::decode(&other).unwrap_err();
    assert_eq!(refused, CodecError::Version(3));
}

/// Nodes of all versions leave it in their stores; version 1 is from before there were digests.
#[test]
fn the_record_of_what_is_applied() {
    let numbers = "070000000000000009000000000000000b00000000000000";
    for (record, digest) in
        [(format!("01{numbers}"), 0), (format!("02{numbers}0201{:012}", 0), 258)]
    {
        let mut batch = Batch::new();
        batch.put(text("\0applied"), unhex(&record));
        let mut store = MemoryStore::new();
        store.write(batch).unwrap();
        assert_eq!(applied_in(&store).unwrap(), (at(7, 9), ClusterTime::new(11)), "{record}");
        let host = Host::open(store, Arc::new(Kv)).unwrap();
        assert_eq!((host.applied(), host.time()), (at(7, 9), ClusterTime::new(11)));
        assert_eq!(host.digest(), digest);
    }
    let nothing = (EntryId::ZERO, ClusterTime::ZERO);
    assert_eq!(applied_in(&MemoryStore::new()).unwrap(), nothing);
}

#[test]
fn commands_of_the_key_value_machine() {
    let (key, value) = (text("k"), text("vw"));
    let swap = |expected, new| KvCommand::CompareAndSwap { key: text("k"), expected, new };
    for (command, expected) in [
        (KvCommand::Put { key: key.clone(), value: value.clone() }, "0101010000006b020000007677"),
        (KvCommand::Delete { key: key.clone() }, "0102010000006b"),
        (swap(None, None), "0103010000006b0000"),
        (swap(None, Some(value.clone())), "0103010000006b0001020000007677"),
        (swap(Some(text("")), Some(value)), "0103010000006b010000000001020000007677"),
        (KvCommand::Increment { key: key.clone(), delta: 258 }, "0104010000006b0201000000000000"),
        (KvCommand::Increment { key, delta: -2 }, "0104010000006bfeffffffffffffff"),
    ] {
        assert_eq!(hex(&command.encode()), expected);
        assert_eq!(KvCommand::decode(&command.encode()).unwrap(), command);
    }
}

#[test]
fn questions_to_the_key_value_machine() {
    let list = KvQuery::List { prefix: text("p"), after: text("pq"), limit: 500 };
    for (query, expected) in [
        (KvQuery::Get { key: text("k") }, "0101010000006b"),
        (list, "01020100000070020000007071f4010000"),
    ] {
        assert_eq!(hex(&query.encode()), expected);
        assert_eq!(KvQuery::decode(&query.encode()).unwrap(), query);
    }
}

#[test]
fn answers_of_the_key_value_machine() {
    let page = KvResponse::Page {
        items: vec![(text("a"), text("x"), 3), (text("b"), text(""), 4)],
        more: true,
    };
    for (response, expected) in [
        (KvResponse::Done { revision: 258 }, "01010201000000000000"),
        (KvResponse::NotFound, "0102"),
        (KvResponse::Differs { revision: 2, actual: text("v") }, "010302000000000000000100000076"),
        (KvResponse::Value { revision: 2, value: text("v") }, "010402000000000000000100000076"),
        (
            page,
            "01050100000002000000\
             010000006101000000780300000000000000\
             0100000062000000000400000000000000",
        ),
        (KvResponse::Refused { reason: "no".into() }, "0106020000006e6f"),
    ] {
        assert_eq!(hex(&response.encode()), expected);
        assert_eq!(KvResponse::decode(&response.encode()).unwrap(), response);
    }
}

#[test]
fn bytes_that_are_no_command_are_refused_precisely() {
    let refuse = |bytes: &'static [u8]| {
        KvCommand::decode(&Bytes::from_static(bytes)).unwrap_err().to_string()
    };
    assert_eq!(refuse(b""), "the bytes are cut off");
    assert_eq!(refuse(b"\x02\x01"), "format version 2 is unknown to this build");
    assert_eq!(refuse(b"\x01\x09"), "kind 9 is unknown");
    assert_eq!(refuse(b"\x01\x02\x02\0\0\0k"), "the bytes are cut off");
    assert_eq!(refuse(b"\x01\x02\xff\xff\xff\xffk"), "the bytes are cut off");
    assert_eq!(refuse(b"\x01\x02\x01\0\0\0kx"), "there are 1 bytes too many");
    assert_eq!(refuse(b"\x01\x03\x01\0\0\0k\x02"), "kind 2 is unknown");
}

/// A page that announces four thousand million items takes no memory for them.
#[test]
fn an_announced_crowd_of_items_is_refused() {
    let bytes = Bytes::from_static(b"\x01\x05\0\0\0\0\xff\xff\xff\xff");
    assert_eq!(KvResponse::decode(&bytes).unwrap_err(), CodecError::Truncated);
}

#[test]
fn no_bytes_make_a_decoder_panic() {
    let seeds = [
        KvCommand::CompareAndSwap {
            key: text("key"),
            expected: Some(text("old")),
            new: Some(text("new")),
        }
        .encode(),
        KvQuery::List { prefix: text("p"), after: text("q"), limit: 9 }.encode(),
        KvResponse::Page { items: vec![(text("a"), text("b"), 1)], more: false }.encode(),
        Envelope::sessionless(text("abc")).encode(),
    ];
    for seed in seeds {
        for at in 0..seed.len() {
            for value in 0..=u8::MAX {
                let mut bytes = seed.to_vec();
                bytes[at] = value;
                for bytes in [Bytes::copy_from_slice(&bytes), Bytes::copy_from_slice(&bytes[..at])]
                {
                    let _ = KvCommand::decode(&bytes);
                    let _ = KvQuery::decode(&bytes);
                    let _ = KvResponse::decode(&bytes);
                    let _ = Envelope::decode(&bytes);
                }
            }
        }
    }
}
