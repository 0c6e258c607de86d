//! Bytes that are not what they should be: a precise error, and never a panic.

use crate::kit::{GENERATION, any, at, command, entry, frame, hello, record, stable};
use bytes::Bytes;
use consensus::{Body, LogIndex, Message, Payload, ReadRound, Term};
use proptest::collection::vec;
use proptest::prelude::Strategy;
use proptest::test_runner::Config;
use proptest::{prop_assert, proptest};
use protocol::limits::{
    BATCH_COMMANDS_MAX, COMMAND_BYTES_MAX, ENTRIES_PER_FRAME_MAX, FRAME_BODY_BYTES_MAX,
    FRAME_HEADER_BYTES_MAX, NAME_BYTES_MAX,
};
use protocol::{
    BootstrapRecord, FRAME_PREFIX_BYTES, Frame, FrameReader, Generation, Hello, HelloReply,
    ProtocolError, Request, Response, decode_configuration, decode_entry, decode_message,
    encode_configuration, encode_entry, encode_message, parse_prefix, peek_entry,
};

/// Gives the bytes to every decoder there is: none may panic.
fn decode_all(header: &Bytes, body: &Bytes) {
    let frame = Frame { header: header.clone(), body: body.clone() };
    let _ = decode_message(&GENERATION, frame.clone());
    let _ = Hello::decode(&frame);
    let _ = HelloReply::decode(&frame);
    let _ = Request::decode(&frame);
    let _ = Response::decode(&frame);
    for bytes in [header, body] {
        let _ = decode_configuration(bytes);
        let _ = BootstrapRecord::decode(bytes);
        let _ = peek_entry(bytes);
        let _ = decode_entry(&GENERATION, &mut bytes.clone());
        let _ = Generation::from_slice(bytes);
    }
}

fn flat(chunks: Vec<Bytes>) -> Vec<u8> {
    chunks.into_iter().flatten().collect()
}

/// A frame of any kind, whole.
fn valid_frame() -> impl Strategy<Value = Vec<u8>> {
    proptest::prop_oneof![
        any::message().prop_map(|message| flat(encode_message(&GENERATION, &message).unwrap())),
        any::hello().prop_map(|hello| hello.encode().to_vec()),
        any::hello_reply().prop_map(|reply| reply.encode().to_vec()),
        any::request().prop_map(|request| request.encode(7).unwrap().to_vec()),
        any::response().prop_map(|response| response.encode(7).unwrap().to_vec()),
    ]
}

proptest! {
    #![proptest_config(Config { cases: 4_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn random_bytes_never_panic(
        header in vec(proptest::num::u8::ANY, 0..200),
        body in vec(proptest::num::u8::ANY, 0..200),
    ) {
        decode_all(&header.into(), &body.into());
    }

    #[test]
    fn random_streams_never_panic(mut bytes in vec(proptest::num::u8::ANY, 0..300), lead in 0..3) {
        // A right version leads further in.
        if lead > 0 && bytes.len() > 12 {
            bytes[..12].copy_from_slice(&[1, 0, 0, 0, 20, 0, 0, 0, 9, 0, 0, 0]);
        }
        let mut reader = FrameReader::new();
        reader.extend(&bytes);
        while let Ok(Some(frame)) = reader.next_frame() {
            decode_all(&frame.header, &frame.body);
        }
    }

    #[test]
    fn damaged_frames_never_panic(
        mut bytes in valid_frame(),
        damage in vec((proptest::num::usize::ANY, proptest::num::u8::ANY), 1..5),
        cut in proptest::option::of(proptest::num::usize::ANY),
    ) {
        for (at, value) in damage {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        let end = cut.map_or(bytes.len(), |cut| cut % bytes.len());
        let mut reader = FrameReader::new();
        reader.extend(&bytes[..end]);
        while let Ok(Some(frame)) = reader.next_frame() {
            decode_all(&frame.header, &frame.body);
        }
    }

    /// The checksum notices what became of an entry on its way, but for the reserved last bytes.
    #[test]
    fn a_flipped_bit_of_an_entry_is_noticed(
        entry in any::entry(),
        bit in proptest::num::usize::ANY,
    ) {
        let encoded = encode_entry(&GENERATION, &entry);
        let mut bytes = [&encoded.header[..], &encoded.payload].concat();
        let bit = bit % (8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        match decode_entry(&GENERATION, &mut Bytes::from(bytes)) {
            Err(_) => {}
            Ok(found) => prop_assert!(false, "bit {} went unnoticed: {:?}", bit, found),
        }
    }
}

fn prefix(version: u8, header: usize, body: usize) -> [u8; FRAME_PREFIX_BYTES] {
    let mut prefix = [0; FRAME_PREFIX_BYTES];
    prefix[0] = version;
    prefix[4..8].copy_from_slice(&u32::try_from(header).unwrap().to_le_bytes());
    prefix[8..].copy_from_slice(&u32::try_from(body).unwrap().to_le_bytes());
    prefix
}

#[test]
fn a_frame_over_a_limit_is_refused_by_its_prefix_alone() {
    assert!(parse_prefix(&prefix(1, FRAME_HEADER_BYTES_MAX, FRAME_BODY_BYTES_MAX)).is_ok());
    let whole = u32::MAX as usize;
    for (header, body, expected) in [
        (FRAME_HEADER_BYTES_MAX + 1, 0, "a frame's header is 262145, at most 262144 is allowed"),
        (0, FRAME_BODY_BYTES_MAX + 1, "a frame's body is 8388609, at most 8388608 is allowed"),
        (whole, 0, "a frame's header is 4294967295, at most 262144 is allowed"),
        (0, whole, "a frame's body is 4294967295, at most 8388608 is allowed"),
    ] {
        let mut reader = FrameReader::new();
        reader.extend(&prefix(1, header, body));
        let refused = reader.next_frame().unwrap_err();
        assert!(matches!(refused, ProtocolError::TooLarge { .. }));
        assert_eq!(refused.to_string(), expected);
    }
}

#[test]
fn frames_over_a_limit_are_not_made_either() {
    let command = Bytes::from(vec![0; FRAME_BODY_BYTES_MAX + 1]);
    let refused = Request::Propose { command }.encode(1).unwrap_err();
    assert!(matches!(refused, ProtocolError::TooLarge { limit: FRAME_BODY_BYTES_MAX, .. }));
    let append = |entries| {
        let (commit, round) = (LogIndex::ZERO, ReadRound::ZERO);
        let body = Body::AppendEntries { prev: at(0, 0), entries, commit, round };
        encode_message(&GENERATION, &Message { term: Term::new(1), body })
    };
    let many = vec![entry(1, 1, Payload::Noop); ENTRIES_PER_FRAME_MAX + 1];
    let refused = append(many).unwrap_err().to_string();
    assert_eq!(refused, "the number of entries in a frame is 8193, at most 8192 is allowed");
    let large = vec![entry(1, 1, command_of(COMMAND_BYTES_MAX)); 9];
    assert!(append(large).unwrap_err().to_string().starts_with("a frame's body is "));
}

fn command_of(size: usize) -> Payload {
    Payload::Command(Bytes::from(vec![0; size]))
}

#[test]
fn an_unknown_version_is_refused_by_its_number() {
    let refused = parse_prefix(&prefix(2, 0, 0)).unwrap_err();
    assert_eq!(refused.to_string(), "a frame has format version 2, this build knows 1");

    let mut header = encode_entry(&GENERATION, &entry(1, 1, Payload::Noop)).header;
    header[0] = 3;
    let refused = peek_entry(&header).unwrap_err();
    assert_eq!(refused.to_string(), "an entry has format version 3, this build knows 2");

    let mut bytes = encode_configuration(&stable(&[1], &[])).to_vec();
    bytes[0] = 4;
    let refused = decode_configuration(&bytes).unwrap_err();
    assert_eq!(refused.to_string(), "a configuration has format version 4, this build knows 1");

    let mut bytes = record().encode().to_vec();
    bytes[1] = 5;
    let refused = BootstrapRecord::decode(&bytes).unwrap_err();
    assert_eq!(refused.to_string(), "a bootstrap record has format version 5, this build knows 1");
}

#[test]
fn an_entry_of_another_history_is_refused() {
    let encoded = encode_entry(&GENERATION, &entry(7, 9, command(b"abc")));
    let whole = Bytes::from([&encoded.header[..], &encoded.payload].concat());
    let other = Generation::new([0xac; 32]);
    let refused = decode_entry(&other, &mut whole.clone()).unwrap_err();
    assert!(matches!(&refused, ProtocolError::Checksum { what, .. } if what == "entry 9@t7"));
    let stored = format!("{:08x} stored", encoded.checksum());
    assert!(refused.to_string().ends_with(&stored), "{refused}");
    assert!(decode_entry(&GENERATION, &mut whole.clone()).is_ok());
}

#[test]
fn an_entry_that_is_cut_off_or_too_large_is_refused_before_it_is_read() {
    let encoded = encode_entry(&GENERATION, &entry(7, 9, command(b"abc")));
    let whole = [&encoded.header[..], &encoded.payload].concat();
    for end in 0..whole.len() {
        let mut cut = Bytes::copy_from_slice(&whole[..end]);
        let refused = decode_entry(&GENERATION, &mut cut).unwrap_err();
        assert!(matches!(refused, ProtocolError::Truncated { .. }), "{end}: {refused}");
    }
    let mut header = encoded.header;
    header[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let refused = peek_entry(&header).unwrap_err().to_string();
    assert_eq!(refused, "an entry's payload is 4294967295, at most 2097152 is allowed");
}

#[test]
fn a_message_with_more_or_fewer_bytes_than_its_entries_is_refused() {
    let body = Body::AppendEntries {
        prev: at(6, 8),
        entries: vec![entry(7, 9, command(b"abc"))],
        commit: LogIndex::ZERO,
        round: ReadRound::ZERO,
    };
    let chunks = encode_message(&GENERATION, &Message { term: Term::new(7), body }).unwrap();
    let Frame { header, body } = frame(&chunks);
    let decode = |body: Bytes| {
        let frame = Frame { header: header.clone(), body };
        decode_message(&GENERATION, frame).unwrap_err().to_string()
    };
    let more = Bytes::from([&body[..], b"xy"].concat());
    let trailing = "the last entry is followed by 2 bytes that belong to nothing";
    assert_eq!(decode(more), trailing);
    let cut = "an entry's payload is cut off: 3 bytes announced, 2 there";
    assert_eq!(decode(body.slice(..body.len() - 1)), cut);
    assert_eq!(decode(Bytes::new()), "an entry is cut off: 48 bytes announced, 0 there");
}

#[test]
fn a_message_without_entries_has_no_body() {
    let vote = Message { term: Term::new(1), body: Body::TimeoutNow { last: at(1, 1) } };
    let Frame { header, .. } = frame(&encode_message(&GENERATION, &vote).unwrap());
    let frame = Frame { header, body: Bytes::from_static(b"x") };
    let refused = decode_message(&GENERATION, frame).unwrap_err();
    assert_eq!(refused, ProtocolError::Trailing { what: "a message", extra: 1 });
}

#[test]
fn an_announced_crowd_of_entries_takes_no_memory() {
    // Field 6 is AppendEntries, its field 2 the number of entries.
    let header = Bytes::from_static(&[0x32, 6, 0x10, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    let refused = decode_message(&GENERATION, Frame { header, body: Bytes::new() }).unwrap_err();
    let expected = "the number of entries in a frame is 4294967295, at most 8192 is allowed";
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn a_batch_of_commands_is_counted_before_it_is_kept() {
    let batch = |bytes: &[u8]| {
        let commands = vec![Bytes::from(vec![0; bytes.len() - 4])];
        let encoded = Request::Batch { commands }.encode(1).unwrap().to_vec();
        let at = encoded.len() - bytes.len();
        let changed = [&encoded[..at], bytes].concat();
        Request::decode(&frame(&[changed.into()])).map_err(|error| error.to_string())
    };
    let empty = 0_u32.to_le_bytes();
    assert!(batch(&empty.repeat(BATCH_COMMANDS_MAX)).is_ok());
    let crowd = "a batch of commands is 1025, at most 1024 is allowed".to_owned();
    assert_eq!(batch(&empty.repeat(1_000_000)), Err(crowd.clone()));
    let cut = "a batch of commands is cut off: 4294967295 bytes announced, 2 there".to_owned();
    assert_eq!(batch(&[0xff, 0xff, 0xff, 0xff, 1, 2]), Err(cut));
    let cut = "a batch of commands is cut off: 4 bytes announced, 1 there".to_owned();
    assert_eq!(batch(&[0, 0, 0, 0, 9]), Err(cut));
    let commands = vec![Bytes::new(); BATCH_COMMANDS_MAX + 1];
    assert_eq!(Request::Batch { commands }.encode(1).unwrap_err().to_string(), crowd);
    let none = Request::Batch { commands: Vec::new() }.encode(1).unwrap_err().to_string();
    assert_eq!(none, "a command in a batch is missing");
}

#[test]
fn a_hello_of_another_shape_is_refused() {
    let refuse = |hello: Hello| Hello::decode(&frame(&[hello.encode()])).unwrap_err().to_string();
    let long = Hello { software: "x".repeat(NAME_BYTES_MAX + 1), ..hello() };
    assert_eq!(refuse(long), "a software version is 65, at most 64 is allowed");
    let empty = Frame { header: Bytes::new(), body: Bytes::new() };
    let refused = Hello::decode(&empty).unwrap_err().to_string();
    assert_eq!(refused, "a cluster id makes no sense: it has 0 bytes, not 16");
    let refused = HelloReply::decode(&empty).unwrap_err().to_string();
    assert_eq!(refused, "the outcome of a hello is missing");
    // Field 2 is the refusal, its field 1 the code.
    let header = Bytes::from_static(&[0x12, 2, 0x08, 99]);
    let refused = HelloReply::decode(&Frame { header, body: Bytes::new() }).unwrap_err();
    assert_eq!(refused.to_string(), "a refusal's code has the unknown value 99");
}

#[test]
fn a_configuration_that_contradicts_itself_is_refused() {
    let decode = |bytes: &[u8]| decode_configuration(bytes).unwrap_err().to_string();
    assert_eq!(decode(&[]), "a configuration is cut off: 1 bytes announced, 0 there");
    let member = [0x0a, 2, 0x08, 1];
    let twice = [&[1][..], &member, &member, &[0x12, 1, 1]].concat();
    assert_eq!(decode(&twice), "a configuration makes no sense: node 1 is described twice");
    let stranger = [&[1][..], &member, &[0x12, 1, 2]].concat();
    let expected = "a configuration makes no sense: node 2 has a role but is not described";
    assert_eq!(decode(&stranger), expected);
    let nobody = [&[1][..], &member, &[0x12, 1, 0]].concat();
    assert_eq!(decode(&nobody), "a node id has the unknown value 0");
}

/// 0 stood for "no vote" and for a node as well: who had voted for that node voted once more.
#[test]
fn no_bytes_make_a_node_0_museum_a5() {
    let described = |id: &'static [u8]| [&[0x0a, id.len() as u8][..], id].concat();
    let (one, zero, unnamed) = (described(&[0x08, 1]), described(&[0x08, 0]), described(&[]));
    let right = [&[1][..], &one, &[0x12, 1, 1]].concat();
    assert!(decode_configuration(&right).is_ok());
    // Voters are field 2, the outgoing ones 3, learners 4.
    for (place, wrong) in [
        ("a member", [&[1][..], &zero, &[0x12, 1, 1]].concat()),
        ("a member that is not numbered", [&[1][..], &unnamed, &[0x12, 1, 1]].concat()),
        ("a voter", [&[1][..], &one, &[0x12, 1, 0]].concat()),
        ("one voter of two", [&[1][..], &one, &[0x12, 2, 1, 0]].concat()),
        ("an outgoing voter", [&[1][..], &one, &[0x12, 1, 1, 0x1a, 1, 0]].concat()),
        ("a learner", [&[1][..], &one, &[0x12, 1, 1, 0x22, 1, 0]].concat()),
    ] {
        let refused = decode_configuration(&wrong).map_err(|error| error.to_string());
        assert_eq!(refused, Err("a node id has the unknown value 0".into()), "{place}");
    }
    // In a greeting 0 is a node that has no number yet: nobody, and not node 0.
    let nobody = Hello { node: None, ..hello() };
    assert_eq!(Hello::decode(&frame(&[nobody.encode()])).unwrap().node, None);
}

#[test]
fn a_request_with_a_record_or_a_configuration_that_makes_no_sense_is_refused() {
    let asked = |request: &Request, from: &[u8], to: &[u8]| {
        let encoded = request.encode(1).unwrap().to_vec();
        let at = encoded.windows(from.len()).position(|bytes| bytes == from).unwrap();
        let changed = [&encoded[..at], to, &encoded[at + from.len()..]].concat();
        Request::decode(&frame(&[changed.into()])).unwrap_err().to_string()
    };
    let known = record().encode();
    let newer = [&known[..1], &[5], &known[2..]].concat();
    let wanted = "a bootstrap record has format version 5, this build knows 1";
    assert_eq!(asked(&Request::Bootstrap { record: record() }, &known, &newer), wanted);
    assert_eq!(asked(&Request::Join { record: record() }, &known, &newer), wanted);
    let target = stable(&[1], &[]);
    let known = encode_configuration(&target);
    let newer = [&[4], &known[1..]].concat();
    let wanted = "a configuration has format version 4, this build knows 1";
    assert_eq!(asked(&Request::Reconfigure { target, expected_index: 1 }, &known, &newer), wanted);
}
