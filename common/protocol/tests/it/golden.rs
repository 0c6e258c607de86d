//! Bytes that must never change: they stand on disks, in other versions and in other languages.
//!
//! A test that fails here means a new version of a format, not a new constant.

use crate::kit::{
    GENERATION, at, command, configuration, entry, frame, hello, hex, majority, record, stable,
};
use bytes::Bytes;
use consensus::{
    Body, Chain, ClusterTime, Entry, LogIndex, Message, Payload, ReadRound, ReadTicket, Term,
    Voters,
};
use protocol::{
    Applied, BootstrapRecord, CertificateAnswer, CertificateId, CertificateRequest,
    CertificatesRead, ConfigurationAnswer, ConfigurationRequest, Consistency, ErrorCode,
    ErrorReply, HelloReply, LeaderHint, Outcome, Passage, RefusalCode, Reloaded, Request, Response,
    Setting, SettingChange, SettingSource, chain, decode_configuration, decode_entry,
    decode_message, encode_configuration, encode_entry, encode_message, peek_entry,
};

const MEMBER_1: &str = "0a1b08011101100000000000001a026e31220a686f7374313a37343030";
const MEMBER_2: &str = "0a1b08021102100000000000001a026e32220a686f7374323a37343030";
const MEMBER_3: &str = "0a1b08031103100000000000001a026e33220a686f7374333a37343030";

fn bytes(hex: &str) -> Bytes {
    let digit = |digit: u8| (digit as char).to_digit(16).unwrap() as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Returns a length below 16,384 as protobuf writes it.
fn varint(length: usize) -> String {
    match length {
        0..128 => format!("{length:02x}"),
        _ => format!("{:02x}{:02x}", length % 128 + 128, length / 128),
    }
}

#[track_caller]
fn check_entry(payload: Payload, header: &str, body: &str) {
    let entry = entry(7, 9, payload);
    let encoded = encode_entry(&GENERATION, &entry);
    assert_eq!((hex(&encoded.header), hex(&encoded.payload)), (header.into(), body.into()));
    let mut bytes = bytes(&format!("{header}{body}"));
    assert_eq!(encoded.len(), bytes.len());
    let peeked = peek_entry(&bytes).unwrap();
    assert_eq!((peeked.id, peeked.payload_bytes), (entry.id, body.len() / 2));
    assert_eq!((peeked.stamp, peeked.checksum()), (entry.stamp, encoded.checksum()));
    assert_eq!(decode_entry(&GENERATION, &mut bytes).unwrap(), entry);
    assert!(bytes.is_empty());
}

#[test]
fn an_entry_without_contents_is_a_header() {
    let header = "0201000000000000\
                  0700000000000000\
                  0900000000000000\
                  0403020100000000\
                  8877665544332211\
                  00000000f11000d7";
    check_entry(Payload::Noop, header, "");
}

#[test]
fn a_command_stands_behind_its_header() {
    let header = "0202000003000000\
                  0700000000000000\
                  0900000000000000\
                  0403020100000000\
                  8877665544332211\
                  b73f4b363258adef";
    check_entry(command(b"abc"), header, "616263");
}

#[test]
fn a_configuration_stands_behind_its_header() {
    let header = "0203000041000000\
                  0700000000000000\
                  0900000000000000\
                  0403020100000000\
                  8877665544332211\
                  4d4ed185000ae7eb";
    let body = format!("01{MEMBER_1}{MEMBER_2}120101220102");
    check_entry(Payload::Configuration(stable(&[1], &[2])), header, &body);
}

#[test]
fn a_joint_configuration_names_the_incoming_and_the_outgoing_voters() {
    let voters = Voters::Joint { outgoing: majority(&[1, 2]), incoming: majority(&[2, 3]) };
    let configuration = configuration(voters, &[1]);
    let expected = format!("01{MEMBER_1}{MEMBER_2}{MEMBER_3}120202031a020102220101");
    assert_eq!(hex(&encode_configuration(&configuration)), expected);
    assert_eq!(decode_configuration(&bytes(&expected)).unwrap(), configuration);
}

/// The same entry has another checksum in another history.
#[test]
fn the_generation_is_part_of_an_entrys_checksum() {
    let entry = entry(7, 9, command(b"abc"));
    let other = protocol::Generation::new([0xac; 32]);
    let ours = encode_entry(&GENERATION, &entry);
    let theirs = encode_entry(&other, &entry);
    assert_eq!(ours.header[..44], theirs.header[..44]);
    assert_ne!(ours.checksum(), theirs.checksum());
}

/// Nodes compare them, so all versions must make the same.
#[test]
fn a_chain_value_follows_from_the_one_before_and_the_entry() {
    let before = Chain::new(0x1122_3344_5566_7788);
    let entry = entry(7, 9, command(b"abc"));
    assert_eq!(chain(before, &entry), Chain::new(0x0cbc_e497_6faf_d7ef));
    let encoded = encode_entry(&GENERATION, &entry);
    assert_eq!(encoded.chain(before), chain(before, &entry), "whatever the generation");
    let others = [
        (Chain::new(1), entry.clone()),
        (before, Entry { stamp: ClusterTime::new(1), ..entry.clone() }),
        (before, Entry { payload: command(b"abd"), ..entry.clone() }),
        (before, Entry { payload: Payload::Noop, ..entry.clone() }),
        (before, Entry { id: at(8, 9), ..entry.clone() }),
        (before, Entry { id: at(7, 10), ..entry.clone() }),
    ];
    for (behind, other) in others {
        assert_ne!(chain(behind, &other), chain(before, &entry), "{other:?} behind {behind}");
    }
}

#[test]
fn a_founding_record_and_its_hash() {
    let expected = format!(
        "08011210303132333435363738396162636465661a5c{MEMBER_1}{MEMBER_2}{MEMBER_3}\
         120301020322026b762801"
    );
    let record = record();
    assert_eq!(hex(&record.encode()), expected);
    assert_eq!(BootstrapRecord::decode(&bytes(&expected)).unwrap(), record);
    let generation = "f2b5c52f91619810d1bb465ee9b05c233e5441ca868f57797bc4dc0ede6eb21d";
    assert_eq!(record.generation().to_string(), generation);
    assert_eq!(record.generation().short(), "f2b5..b21d");
}

#[test]
fn a_founding_record_that_continues_another_history_has_another_hash() {
    let record = BootstrapRecord { parent: Some(GENERATION), ..record() };
    let encoded = record.encode();
    assert!(hex(&encoded).ends_with(&format!("22026b7628013220{}", "ab".repeat(32))));
    assert_eq!(BootstrapRecord::decode(&encoded).unwrap(), record);
    let generation = "1f5da16a1c9b9241a6b0fbfe977059b272c55fbb39481532baa34caa5c9b4ba1";
    assert_eq!(record.generation().to_string(), generation);
}

#[test]
fn a_hello_and_both_answers() {
    let fields = format!(
        "08011210303132333435363738396162636465661a20{}\
         20032988776655443322113100ffeeddccbbaa993a05302e312e30",
        "ab".repeat(32)
    );
    let prefix = "010000005100000000000000";
    assert_eq!(hex(&hello().encode()), format!("{prefix}{fields}"));
    let accepted = HelloReply::Accepted(hello()).encode();
    assert_eq!(hex(&accepted), format!("0100000053000000000000000a51{fields}"));
    let refused = HelloReply::Refused { code: RefusalCode::Role, reason: "no".into() };
    assert_eq!(hex(&refused.encode()), "0100000008000000000000001206080612026e6f");
}

#[test]
fn a_message_with_an_entry_is_a_prefix_a_header_and_the_entry() {
    let body = Body::AppendEntries {
        prev: at(6, 8),
        entries: vec![entry(7, 9, command(b"abc"))],
        commit: LogIndex::new(5),
        round: ReadRound::new(4),
    };
    let message = Message { term: Term::new(7), body };
    let chunks = encode_message(&GENERATION, &message).unwrap();
    let expected = [
        "0100000010000000330000000807320c0a0408061008100118052004",
        "0202000003000000070000000000000009000000000000000403020100000000\
         8877665544332211b73f4b363258adef",
        "616263",
    ];
    assert_eq!(chunks.iter().map(|chunk| hex(chunk)).collect::<Vec<_>>(), expected);
    let whole = bytes(&expected.concat());
    assert_eq!(decode_message(&GENERATION, frame(&[whole])).unwrap(), message);
}

#[test]
fn a_request_and_an_error_stand_in_the_body() {
    let request = Request::Propose { command: Bytes::from_static(b"abc") };
    let expected = "01000000000000000800000008ac021203616263";
    assert_eq!(hex(&request.encode(300).unwrap()), expected);
    let response = Response::Error(ErrorReply {
        code: ErrorCode::NotLeader,
        message: "no".into(),
        leader: Some(LeaderHint { id: 2, name: "n2".into(), address: "h:1".into() }),
        outcome: Outcome::Unknown,
    });
    let expected = "01000000000000001a00000008ac02\
                    3a15080112026e6f1a0b080212026e321a03683a312001";
    assert_eq!(hex(&response.encode(300).unwrap()), expected);
}

#[test]
fn a_request_says_how_it_travels() {
    let on_behalf = |from: &str, certificate| Passage::OnBehalf {
        identity: "x".into(),
        from: from.into(),
        certificate,
    };
    let transfer =
        |passage: &Passage| hex(&Request::Transfer { to: 2 }.encode_for(1, passage).unwrap());
    let direct = "010000000000000004000000".to_owned() + "08014802";
    assert_eq!(transfer(&Passage::Direct), direct);
    assert_eq!(hex(&Request::Transfer { to: 2 }.encode(1).unwrap()), direct);
    assert_eq!(
        transfer(&Passage::Within { within_ms: 1 }),
        "010000000000000007000000".to_owned() + "08014802c80c01"
    );
    assert_eq!(
        transfer(&Passage::MayForward { within_ms: 0 }),
        "010000000000000006000000".to_owned() + "080148026000"
    );
    assert_eq!(
        transfer(&on_behalf("", None)),
        "010000000000000007000000".to_owned() + "080148026a0178"
    );
    assert_eq!(
        transfer(&on_behalf("h:1", None)),
        "01000000000000000d000000".to_owned() + "080148026a0178ea0803683a31"
    );
    let certificate = CertificateId { not_before_s: 5, key: [7; 32] };
    assert_eq!(
        transfer(&on_behalf("", Some(certificate))),
        "01000000000000002d000000".to_owned() + "080148026a0178f00805fa0820" + &"07".repeat(32)
    );
    let note = Request::Note { command: Bytes::from_static(b"ab") };
    assert_eq!(
        hex(&note.encode(1).unwrap()),
        "010000000000000007000000".to_owned() + "0801e208026162"
    );
}

#[test]
fn a_batch_of_commands_and_what_became_of_each() {
    let commands = ["ab", ""].map(Bytes::from).to_vec();
    assert_eq!(
        hex(&Request::Batch { commands }.encode(1).unwrap())[24..],
        "0801c20c0a02000000616200000000".to_owned()
    );
    let applied = Applied { index: 5, response: Bytes::from_static(b"r") };
    let refused = ErrorReply {
        code: ErrorCode::Busy,
        message: "no".into(),
        leader: None,
        outcome: Outcome::NotApplied,
    };
    let outcomes = vec![Ok(applied), Err(refused)];
    assert_eq!(
        hex(&Response::Batch { outcomes }.encode(1).unwrap())[24..],
        "0801c20c130a070a0508051201720a08120608031202".to_owned() + "6e6f"
    );
}

#[test]
fn requests_about_certificates_and_their_answers() {
    let request = |request: CertificateRequest| {
        hex(&Request::Certificate(request).encode(1).unwrap())[24..].to_owned()
    };
    // Field 110 of the request, and 1 to 3 in it.
    assert_eq!(request(CertificateRequest::Show), "0801f206020801");
    assert_eq!(request(CertificateRequest::Request), "0801f206021001");
    let (certificate, authorities) = ("c".to_owned(), "a".to_owned());
    let install = CertificateRequest::Install { certificate, authorities };
    assert_eq!(request(install), "0801f206081a060a0163120161");
    let answer = |answer: CertificateAnswer| {
        hex(&Response::Certificate(answer).encode(1).unwrap())[24..].to_owned()
    };
    assert_eq!(answer(CertificateAnswer::Request(Bytes::from_static(b"r"))), "0801f20603120172");
    let certificate = Bytes::from_static(b"c");
    let in_use = CertificateAnswer::InUse { certificate, authorities: "a".into() };
    assert_eq!(answer(in_use), "0801f206080a060a0163120161");
}

#[test]
fn requests_about_the_configuration_and_their_answers() {
    let request = |request: ConfigurationRequest| {
        hex(&Request::Configuration(request).encode(1).unwrap())[24..].to_owned()
    };
    // Field 180 of the request, and 1 to 3 in it.
    assert_eq!(request(ConfigurationRequest::Show), "0801a20b020801");
    assert_eq!(request(ConfigurationRequest::Reload), "0801a20b021001");
    assert_eq!(request(ConfigurationRequest::Check), "0801a20b021801");
    let answer = |answer: ConfigurationAnswer| {
        hex(&Response::Configuration(answer).encode(1).unwrap())[24..].to_owned()
    };
    let setting = Setting {
        name: "n".to_owned(),
        value: "v".to_owned(),
        source: SettingSource::Flag("f".to_owned()),
        is_live: true,
        next: Some(("w".to_owned(), "g".to_owned())),
    };
    let settings = vec![setting];
    let shown = ConfigurationAnswer::Shown { file: "x".into(), settings, refused: "y".into() };
    let wire = "0a016e120176180322016628013201773a0167";
    assert_eq!(answer(shown), format!("0801a20b1d0a1b0a01781213{wire}1a0179"));
    let change = |name: &str| SettingChange {
        name: name.to_owned(),
        before: "b".to_owned(),
        after: "a".to_owned(),
    };
    let reloaded = ConfigurationAnswer::Reloaded(Reloaded {
        file: "x".into(),
        refused: "y".into(),
        changed: vec![change("c")],
        waiting: vec![change("w")],
        certificates: CertificatesRead::Replaced(5),
    });
    let (changed, waiting) = ("0a01631201621a0161", "0a01771201621a0161");
    let body = format!("0a01781201791a09{changed}2209{waiting}28023005");
    assert_eq!(answer(reloaded), format!("0801a20b221220{body}"));
}

#[test]
fn requests_about_members_carry_a_record_or_a_configuration() {
    let body = |bytes: &Bytes| hex(bytes)[24..].to_owned();
    let wire = hex(&record().encode());
    let size = varint(record().encode().len());
    let bootstrap = Request::Bootstrap { record: record() }.encode(1).unwrap();
    assert_eq!(body(&bootstrap), format!("080132{size}{wire}"));
    let join = Request::Join { record: record() }.encode(1).unwrap();
    assert_eq!(body(&join), format!("08013a{size}{wire}"));
    let target = encode_configuration(&record().configuration);
    let change_bytes =
        [format!("0a{}{}", varint(target.len()), hex(&target)), "1009".into()].concat();
    let change =
        Request::Reconfigure { target: record().configuration, expected_index: 9 }.encode(1);
    let size = varint(change_bytes.len() / 2);
    assert_eq!(body(&change.unwrap()), format!("080142{size}{change_bytes}"));
}

#[test]
fn a_question_says_how_new_its_answer_must_be() {
    let ask = |consistency| {
        let query = Bytes::from_static(b"q");
        hex(&Request::Query { query, consistency }.encode(1).unwrap())
    };
    assert_eq!(
        ask(Consistency::Linearizable),
        "010000000000000007000000".to_owned() + "08011a030a0171"
    );
    assert_eq!(
        ask(Consistency::Stale),
        "010000000000000009000000".to_owned() + "08011a050a01711001"
    );
    assert_eq!(
        ask(Consistency::AtLeast(0)),
        "010000000000000009000000".to_owned() + "08011a050a01711800"
    );
    assert_eq!(
        ask(Consistency::AtLeast(9)),
        "010000000000000009000000".to_owned() + "08011a050a01711809"
    );
}

#[test]
fn an_answer_tells_its_age() {
    let answer = |age_ms| {
        let response = Bytes::from_static(b"r");
        hex(&Response::Answer { index: 5, response, age_ms }.encode(1).unwrap())
    };
    assert_eq!(answer(None), "010000000000000009000000".to_owned() + "08011a050805120172");
    assert_eq!(answer(Some(7)), "01000000000000000b000000".to_owned() + "08011a0708051201721807");
}

#[test]
fn a_question_for_a_read_index_and_its_answers() {
    let said = |body| {
        let message = Message { term: Term::new(7), body };
        let chunks = encode_message(&GENERATION, &message).unwrap();
        assert_eq!(chunks.len(), 1);
        assert_eq!(decode_message(&GENERATION, frame(&chunks)).unwrap(), message);
        hex(&chunks[0])
    };
    let ticket = ReadTicket::new(3);
    assert_eq!(
        said(Body::ReadIndex { ticket }),
        "010000000600000000000000".to_owned() + "08075a020803"
    );
    let reply = |index| said(Body::ReadIndexReply { ticket, index });
    assert_eq!(reply(None), "010000000600000000000000".to_owned() + "080762020803");
    let known = Some(LogIndex::new(9));
    assert_eq!(reply(known), "010000000800000000000000".to_owned() + "0807620408031009");
}
