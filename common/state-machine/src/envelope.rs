//! The envelope around every command: it is replicated and stored for ever, so it is fixed from
//! the first version on.
//!
//! ```text
//!  0  version u8, 1     8  session    u64       24  low-water u64
//!  1  reserved 3 bytes 16  sequence   u64       32  the machine's own bytes
//!  4  machine version u32                           all little-endian
//! ```

use bytes::Bytes;

use crate::codec::{CodecError, Reader};

/// The size of an envelope around nothing.
pub const ENVELOPE_BYTES: usize = 32;

/// A command with what is needed to apply it exactly once (§6.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The version of the machine's behaviour that the client speaks to; 0 is any.
    pub machine_version: u32,
    /// The client's session; 0 is none, and then a retry may be applied twice.
    pub session: u64,
    /// The command's number in its session.
    pub sequence: u64,
    /// All answers below this number have arrived: they need not be kept any more.
    pub low_water: u64,
    /// What the machine is told.
    pub body: Bytes,
}

impl Envelope {
    /// Wraps a command of no session.
    pub fn sessionless(body: Bytes) -> Self {
        Self { machine_version: 0, session: 0, sequence: 0, low_water: 0, body }
    }

    /// Encodes the envelope.
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(ENVELOPE_BYTES + self.body.len());
        bytes.extend_from_slice(&[1, 0, 0, 0]);
        bytes.extend_from_slice(&self.machine_version.to_le_bytes());
        for number in [self.session, self.sequence, self.low_water] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.body);
        bytes.into()
    }

    /// Decodes an envelope; the body shares the bytes.
    ///
    /// # Errors
    /// If it is cut off or of another version.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let mut reader = Reader(bytes.clone());
        match reader.u8()? {
            1 => {}
            version => return Err(CodecError::Version(version)),
        }
        for _ in 0..3 {
            reader.u8()?;
        }
        Ok(Self {
            machine_version: reader.u32()?,
            session: reader.u64()?,
            sequence: reader.u64()?,
            low_water: reader.u64()?,
            body: reader.0,
        })
    }
}
