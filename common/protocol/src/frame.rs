//! Frames: a prefix of fixed size, a protobuf header, and a body of raw chunks.
//!
//! ```text
//!  0  version u8, 1     4  header u32 bytes      12 bytes, little-endian, then header and body
//!  1  reserved 3 bytes  8  body   u32 bytes
//! ```

use bytes::{Buf, Bytes, BytesMut};

use crate::error::ProtocolError;
use crate::limits::{FRAME_BODY_BYTES_MAX, FRAME_HEADER_BYTES_MAX};

/// The size of a frame's prefix.
pub const FRAME_PREFIX_BYTES: usize = 12;

const VERSION: u8 = 1;

/// A frame as it arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The protobuf header.
    pub header: Bytes,
    /// The body.
    pub body: Bytes,
}

/// Sizes that a prefix announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Bytes of the header.
    pub header: usize,
    /// Bytes of the body.
    pub body: usize,
}

/// Reads a prefix.
///
/// # Errors
/// If the version is unknown or a size is over its limit.
pub fn parse_prefix(bytes: &[u8; FRAME_PREFIX_BYTES]) -> Result<Prefix, ProtocolError> {
    if bytes[0] != VERSION {
        let (found, known) = (u32::from(bytes[0]), u32::from(VERSION));
        return Err(ProtocolError::Version { what: "a frame", found, known });
    }
    let size =
        |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    let limit = |what, found, limit| match found > limit {
        true => Err(ProtocolError::TooLarge { what, found, limit }),
        false => Ok(found),
    };
    Ok(Prefix {
        header: limit("a frame's header", size(4), FRAME_HEADER_BYTES_MAX)?,
        body: limit("a frame's body", size(8), FRAME_BODY_BYTES_MAX)?,
    })
}

/// Encodes prefix and header of a frame whose body has `body_bytes`; the caller writes the body.
///
/// # Errors
/// If a limit is exceeded.
pub(crate) fn encode_frame(
    header: &impl prost::Message,
    body_bytes: usize,
) -> Result<Bytes, ProtocolError> {
    let header_bytes = header.encoded_len();
    for (what, found, limit) in [
        ("a frame's header", header_bytes, FRAME_HEADER_BYTES_MAX),
        ("a frame's body", body_bytes, FRAME_BODY_BYTES_MAX),
    ] {
        if found > limit {
            return Err(ProtocolError::TooLarge { what, found, limit });
        }
    }
    let size = |bytes: usize| u32::try_from(bytes).expect("limits are below 4 GiB").to_le_bytes();
    let mut frame = BytesMut::with_capacity(FRAME_PREFIX_BYTES + header_bytes);
    frame.extend_from_slice(&[VERSION, 0, 0, 0]);
    frame.extend_from_slice(&size(header_bytes));
    frame.extend_from_slice(&size(body_bytes));
    header.encode(&mut frame).expect("the buffer grows");
    Ok(frame.freeze())
}

/// Cuts a stream of bytes into frames, whatever the pieces in which it arrives.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: BytesMut,
}

impl FrameReader {
    /// Makes a reader at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes as they arrive.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns how many bytes the frame that has begun takes in all, as soon as it says so: whoever
    /// counts what others make it keep does so before it is read.
    ///
    /// # Errors
    /// If the prefix is refused; the stream is then of no further use.
    pub fn announced(&self) -> Result<Option<usize>, ProtocolError> {
        let Some(prefix) = self.buffer.first_chunk::<FRAME_PREFIX_BYTES>() else {
            return Ok(None);
        };
        let Prefix { header, body } = parse_prefix(prefix)?;
        Ok(Some(FRAME_PREFIX_BYTES + header + body))
    }

    /// Returns the next frame that is complete.
    ///
    /// # Errors
    /// If the prefix is refused; the stream is then of no further use.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ProtocolError> {
        let Some(prefix) = self.buffer.first_chunk::<FRAME_PREFIX_BYTES>() else {
            return Ok(None);
        };
        let Prefix { header, body } = parse_prefix(prefix)?;
        let whole = FRAME_PREFIX_BYTES + header + body;
        if self.buffer.len() < whole {
            self.buffer.reserve(whole - self.buffer.len());
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(whole).freeze();
        frame.advance(FRAME_PREFIX_BYTES);
        let header = frame.split_to(header);
        Ok(Some(Frame { header, body: frame }))
    }

    /// Says whether the stream may end here.
    pub fn is_between_frames(&self) -> bool {
        self.buffer.is_empty()
    }
}
