//! Messages that stand in a frame's body.

use bytes::Bytes;

use crate::error::ProtocolError;
use crate::frame::{Frame, encode_frame};

/// Requests and answers carry values of up to a megabyte, so the protobuf message stands in the
/// frame's body, whose limit is the larger one.
pub(crate) fn encode_in_body(message: &impl prost::Message) -> Result<Bytes, ProtocolError> {
    let size = message.encoded_len();
    let prefix = encode_frame(&(), size)?;
    let mut frame = Vec::with_capacity(prefix.len() + size);
    frame.extend_from_slice(&prefix);
    message.encode_raw(&mut frame);
    Ok(frame.into())
}

pub(crate) fn decode_from_body<M: prost::Message + Default>(
    what: &'static str,
    frame: &Frame,
) -> Result<M, ProtocolError> {
    if !frame.header.is_empty() {
        return Err(ProtocolError::Trailing { what, extra: frame.header.len() });
    }
    M::decode(frame.body.clone()).map_err(|source| ProtocolError::Malformed { what, source })
}
