//! What arrives over the network: frames, and every message that a frame can be.

use bytes::Bytes;
use protocol::{
    BootstrapRecord, Frame, FrameReader, Generation, Hello, HelloReply, Request, Response,
    SnapshotChunk, SnapshotOffer, SnapshotReply, decode_configuration, decode_message,
    encode_configuration, encode_message,
};

/// Cuts the bytes into frames, as a stream does, and decodes each frame as everything that it could
/// be. What decodes is encoded and decoded again, which must give the same.
///
/// # Panics
/// If something that was decoded does not survive that.
pub fn run(data: &[u8]) {
    // The first byte says in what pieces the rest arrives.
    let Some((piece, data)) = data.split_first() else { return };
    let mut reader = FrameReader::new();
    for bytes in data.chunks(usize::from(*piece) + 1) {
        reader.extend(bytes);
        while let Ok(Some(frame)) = reader.next_frame() {
            decode_all(&frame);
        }
    }
    let bytes = Bytes::copy_from_slice(data);
    decode_all(&Frame { header: bytes.clone(), body: Bytes::new() });
    if let Ok(configuration) = decode_configuration(data) {
        let again = decode_configuration(&encode_configuration(&configuration));
        assert_eq!(again.as_ref(), Ok(&configuration), "a configuration changed on its way");
    }
    if let Ok(record) = BootstrapRecord::decode(data) {
        let again = BootstrapRecord::decode(&record.encode()).expect("what was encoded decodes");
        assert!(again.encode() == record.encode(), "a bootstrap record changed on its way");
    }
}

fn decode_all(frame: &Frame) {
    let generation = Generation::new([7; 32]);
    if let Ok(hello) = Hello::decode(frame) {
        let again = Hello::decode(&whole(&[hello.encode()]));
        assert_eq!(again.as_ref(), Ok(&hello), "a hello changed on its way");
    }
    if let Ok(reply) = HelloReply::decode(frame) {
        let again = HelloReply::decode(&whole(&[reply.encode()]));
        assert_eq!(again.as_ref(), Ok(&reply), "an answer to a hello changed on its way");
    }
    if let Ok(message) = decode_message(&generation, frame.clone()) {
        let encoded = encode_message(&generation, &message).expect("it was within the limits");
        let again = decode_message(&generation, whole(&encoded));
        assert_eq!(again.as_ref(), Ok(&message), "a message changed on its way");
    }
    if let Ok((id, request, passage)) = Request::decode(frame) {
        let encoded = request.encode_for(id, &passage).expect("it was within the limits");
        let again = Request::decode(&whole(&[encoded]));
        assert_eq!(again, Ok((id, request, passage)), "a request changed on its way");
    }
    if let Ok((id, response)) = Response::decode(frame) {
        let encoded = response.encode(id).expect("it was within the limits");
        let again = Response::decode(&whole(&[encoded]));
        assert_eq!(again, Ok((id, response)), "a response changed on its way");
    }
    let _ = SnapshotOffer::decode(frame);
    let _ = SnapshotChunk::decode(frame.clone());
    let _ = SnapshotReply::decode(frame);
}

/// Reads one frame from what was encoded.
fn whole(chunks: &[Bytes]) -> Frame {
    let mut reader = FrameReader::new();
    for chunk in chunks {
        reader.extend(chunk);
    }
    let frame = reader.next_frame().expect("what was encoded has a prefix that is allowed");
    frame.expect("what was encoded is a whole frame")
}
