//! The envelope around every command: it is replicated and stored for ever, so it is fixed from
//! the first version on.
//!
//! ```text
//!  0  version u8, 1       4  machine version u32    24  low-water u64
//!  1  kind    u8          8  session         u64    32  the receiver's own bytes
//!  2  reserved 2 bytes   16  sequence        u64        all little-endian
//! ```

use bytes::Bytes;

use crate::codec::{CodecError, Reader};

/// The size of an envelope around nothing.
pub const ENVELOPE_BYTES: usize = 32;

/// Who a command is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EnvelopeKind {
    /// The replicated machine; its bytes are its own.
    #[default]
    Machine,
    /// The system's part of the state: a [`crate::SystemCommand`].
    System,
}

/// A command with what is needed to apply it exactly once (§6.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Who it is for.
    pub kind: EnvelopeKind,
    /// The version of the machine's behaviour that the client speaks to; 0 is any.
    pub machine_version: u32,
    /// The client's session; 0 is none, and then a retry may be applied twice.
    pub session: u64,
    /// The command's number in its session.
    pub sequence: u64,
    /// All answers below this number have arrived: they need not be kept any more. 0 says nothing.
    pub low_water: u64,
    /// What the receiver is told.
    pub body: Bytes,
}

impl Envelope {
    /// Wraps a machine's command of no session.
    pub fn sessionless(body: Bytes) -> Self {
        let kind = EnvelopeKind::Machine;
        Self { kind, machine_version: 0, session: 0, sequence: 0, low_water: 0, body }
    }

    /// Wraps a machine's command of a session.
    pub fn in_session(session: u64, sequence: u64, low_water: u64, body: Bytes) -> Self {
        Self { session, sequence, low_water, ..Self::sessionless(body) }
    }

    /// Encodes the envelope.
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(ENVELOPE_BYTES + self.body.len());
        let kind = match self.kind {
            EnvelopeKind::Machine => 0,
            EnvelopeKind::System => 1,
        };
        bytes.extend_from_slice(&[1, kind, 0, 0]);
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
    /// If it is cut off, of another version or of a kind that this build does not know.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let mut reader = Reader(bytes.clone());
        match reader.u8()? {
            1 => {}
            version => return Err(CodecError::Version(version)),
        }
        let kind = match reader.u8()? {
            0 => EnvelopeKind::Machine,
            1 => EnvelopeKind::System,
            kind => return Err(CodecError::Kind(kind)),
        };
        let _reserved: [u8; 2] = reader.array()?;
        Ok(Self {
            kind,
            machine_version: reader.u32()?,
            session: reader.u64()?,
            sequence: reader.u64()?,
            low_water: reader.u64()?,
            body: reader.0,
        })
    }
}
