//! Whatever is encoded is decoded as the same value, in whatever pieces the bytes arrive.

use crate::kit::{GENERATION, any, at, entry, frame};
use bytes::Bytes;
use consensus::{Body, LogIndex, Message, Payload, ReadRound, Term};
use proptest::collection::vec;
use proptest::test_runner::Config;
use proptest::{prop_assert, prop_assert_eq, proptest};
use protocol::limits::{COMMAND_BYTES_MAX, ENTRIES_PER_FRAME_MAX};
use protocol::{
    BootstrapRecord, FRAME_PREFIX_BYTES, Frame, FrameReader, Hello, HelloReply, Passage, Request,
    Response, decode_configuration, decode_entry, decode_message, encode_configuration,
    encode_entry, encode_message,
};

proptest! {
    #![proptest_config(Config { cases: 512, failure_persistence: None, ..Config::default() })]

    #[test]
    fn entries(generation in any::generation(), entries in vec(any::entry(), 0..5)) {
        let mut bytes = Vec::new();
        for entry in &entries {
            let encoded = encode_entry(&generation, entry);
            prop_assert_eq!(&encoded, &encode_entry(&generation, entry), "always the same bytes");
            bytes.extend_from_slice(&encoded.header);
            bytes.extend_from_slice(&encoded.payload);
        }
        let mut bytes = Bytes::from(bytes);
        for entry in &entries {
            prop_assert_eq!(&decode_entry(&generation, &mut bytes).unwrap(), entry);
        }
        prop_assert!(bytes.is_empty());
    }

    #[test]
    fn configurations(configuration in any::configuration()) {
        let bytes = encode_configuration(&configuration);
        prop_assert_eq!(decode_configuration(&bytes).unwrap(), configuration);
    }

    #[test]
    fn founding_records(record in any::record(), other in any::record()) {
        let decoded = BootstrapRecord::decode(&record.encode()).unwrap();
        prop_assert_eq!(decoded.generation(), record.generation());
        prop_assert_eq!(record == other, record.generation() == other.generation());
        prop_assert_eq!(decoded, record);
    }

    #[test]
    fn messages_between_replicas(generation in any::generation(), message in any::message()) {
        let chunks = encode_message(&generation, &message).unwrap();
        prop_assert_eq!(decode_message(&generation, frame(&chunks)).unwrap(), message);
    }

    #[test]
    fn hellos_and_their_answers(hello in any::hello(), reply in any::hello_reply()) {
        prop_assert_eq!(Hello::decode(&frame(&[hello.encode()])).unwrap(), hello);
        prop_assert_eq!(HelloReply::decode(&frame(&[reply.encode()])).unwrap(), reply);
    }

    #[test]
    fn requests(
        id in proptest::num::u64::ANY,
        request in any::request(),
        passage in any::passage(),
    ) {
        let encoded = request.encode_for(id, &passage).unwrap();
        prop_assert_eq!(Request::decode(&frame(&[encoded])).unwrap(), (id, request, passage));
    }

    #[test]
    fn responses_with_status_and_log(id in proptest::num::u64::ANY, response in any::response()) {
        let encoded = response.encode(id).unwrap();
        prop_assert_eq!(Response::decode(&frame(&[encoded])).unwrap(), (id, response));
    }

    #[test]
    fn a_stream_in_any_pieces(
        messages in vec(any::message(), 1..6),
        sizes in vec(1_usize..900, 1..40),
    ) {
        let encode = |message| encode_message(&GENERATION, message).unwrap();
        let stream: Vec<u8> = messages.iter().flat_map(encode).flatten().collect();
        let mut stream = Bytes::from(stream);
        let (mut reader, mut found) = (FrameReader::new(), Vec::new());
        for size in sizes.iter().cycle() {
            if stream.is_empty() {
                break;
            }
            reader.extend(&stream.split_to((*size).min(stream.len())));
            while let Some(frame) = reader.next_frame().unwrap() {
                found.push(decode_message(&GENERATION, frame).unwrap());
            }
        }
        prop_assert!(reader.is_between_frames());
        prop_assert_eq!(found, messages);
    }
}

#[test]
fn the_largest_command_makes_the_journey() {
    let command = Bytes::from(vec![7; COMMAND_BYTES_MAX]);
    let request = Request::Propose { command: command.clone() };
    let encoded = request.encode(u64::MAX).unwrap();
    let decoded = Request::decode(&frame(&[encoded])).unwrap();
    assert_eq!(decoded, (u64::MAX, request, Passage::Direct));
    let entries = vec![entry(1, 1, Payload::Command(command)); 7];
    let body = Body::AppendEntries {
        prev: at(0, 0),
        entries,
        commit: LogIndex::ZERO,
        round: ReadRound::ZERO,
    };
    let message = Message { term: Term::new(1), body };
    let chunks = encode_message(&GENERATION, &message).unwrap();
    assert_eq!(decode_message(&GENERATION, frame(&chunks)).unwrap(), message);
}

#[test]
fn as_many_entries_as_a_frame_may_carry_make_the_journey() {
    let entries = vec![entry(1, 1, Payload::Noop); ENTRIES_PER_FRAME_MAX];
    let (commit, round) = (LogIndex::ZERO, ReadRound::ZERO);
    let body = Body::AppendEntries { prev: at(0, 0), entries, commit, round };
    let message = Message { term: Term::new(1), body };
    let chunks = encode_message(&GENERATION, &message).unwrap();
    assert_eq!(decode_message(&GENERATION, frame(&chunks)).unwrap(), message);
}

/// Encoding shares the payload, and decoding shares a large one with the frame; a small one is
/// copied out, or a cached entry would keep the whole frame alive.
#[test]
fn large_payloads_are_shared_and_small_ones_are_not_kept_by_the_frame() {
    for (size, shared) in [(100, false), (100_000, true)] {
        let payload = Bytes::from(vec![1; size]);
        let encoded = encode_entry(&GENERATION, &entry(1, 1, Payload::Command(payload.clone())));
        assert_eq!(encoded.payload.as_ptr(), payload.as_ptr());
        let whole = Bytes::from([&encoded.header[..], &encoded.payload].concat());
        let decoded = decode_entry(&GENERATION, &mut whole.clone()).unwrap();
        let Payload::Command(found) = decoded.payload else { panic!("a command") };
        assert_eq!(whole.as_ptr_range().contains(&found.as_ptr()), shared, "{size} bytes");
    }
}

#[test]
fn an_empty_stream_and_an_unfinished_frame_are_told_apart() {
    let mut reader = FrameReader::new();
    assert_eq!(reader.next_frame().unwrap(), None);
    assert!(reader.is_between_frames());
    let encoded = Request::Status.encode(1).unwrap();
    reader.extend(&encoded[..FRAME_PREFIX_BYTES + 1]);
    assert_eq!(reader.next_frame().unwrap(), None);
    assert!(!reader.is_between_frames());
    reader.extend(&encoded[FRAME_PREFIX_BYTES + 1..]);
    let Frame { header, body } = reader.next_frame().unwrap().unwrap();
    assert_eq!((header.len(), body.len()), (0, encoded.len() - FRAME_PREFIX_BYTES));
    assert!(reader.is_between_frames());
}
