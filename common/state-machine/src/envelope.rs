//! The envelope around every command: it is replicated and stored for ever, so it is fixed from
//! the first version on.
//!
//! ```text
//!  0  version u8, 1 or 2   4  machine version u32    24  low-water u64
//!  1  kind    u8           8  session         u64    32  the owner, in version 2
//!  2  flags   u8          16  sequence        u64        the receiver's own bytes
//!  3  bytes of the owner                                 all little-endian
//! ```
//!
//! A client writes version 1, without flags and owner. The node that takes a command of a session
//! or of the system makes version 2 of it: the owner is whom the client's certificate names, and
//! nobody can write it himself. It is replicated, so that all nodes judge alike whose a session is.

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

/// The owner is an operator.
const BY_OPERATOR: u8 = 1;

/// Whose a command is, as the certificate says that it came with.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Role and name, such as `client web`, at most 255 bytes; empty is nobody.
    pub name: String,
    /// An operator may end the sessions of others.
    pub is_operator: bool,
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
    /// Whose it is; nobody's until a node has taken it.
    pub owner: Owner,
    /// What the receiver is told.
    pub body: Bytes,
}

impl Envelope {
    /// Wraps a machine's command of no session.
    pub fn sessionless(body: Bytes) -> Self {
        let kind = EnvelopeKind::Machine;
        let owner = Owner::default();
        Self { kind, machine_version: 0, session: 0, sequence: 0, low_water: 0, owner, body }
    }

    /// Wraps a machine's command of a session.
    pub fn in_session(session: u64, sequence: u64, low_water: u64, body: Bytes) -> Self {
        Self { session, sequence, low_water, ..Self::sessionless(body) }
    }

    /// Says whether a command is for the system, by a look at its first bytes.
    pub(crate) fn is_system(bytes: &Bytes) -> bool {
        matches!(bytes.get(..2), Some([1 | 2, 1]))
    }

    /// Says whether it matters whose the command is: it names a session, or is for the system.
    pub fn has_owner(&self) -> bool {
        self.session != 0 || self.kind == EnvelopeKind::System
    }

    /// Encodes the envelope.
    ///
    /// # Panics
    /// If the owner's name is longer than 255 bytes.
    pub fn encode(&self) -> Bytes {
        let owner = self.owner.name.as_bytes();
        let mut bytes = Vec::with_capacity(ENVELOPE_BYTES + owner.len() + self.body.len());
        let kind = match self.kind {
            EnvelopeKind::Machine => 0,
            EnvelopeKind::System => 1,
        };
        let owner_bytes = u8::try_from(owner.len()).expect("certificates have short names");
        let flags = if self.owner.is_operator { BY_OPERATOR } else { 0 };
        let version = if self.owner == Owner::default() { 1 } else { 2 };
        bytes.extend_from_slice(&[version, kind, flags, owner_bytes]);
        bytes.extend_from_slice(&self.machine_version.to_le_bytes());
        for number in [self.session, self.sequence, self.low_water] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(owner);
        bytes.extend_from_slice(&self.body);
        bytes.into()
    }

    /// Decodes an envelope; the body shares the bytes.
    ///
    /// # Errors
    /// If it is cut off, of another version or of a kind that this build does not know.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let mut reader = Reader(bytes.clone());
        let version = reader.u8()?;
        if !(1..=2).contains(&version) {
            return Err(CodecError::Version(version));
        }
        let kind = match reader.u8()? {
            0 => EnvelopeKind::Machine,
            1 => EnvelopeKind::System,
            kind => return Err(CodecError::Kind(kind)),
        };
        let [flags, owner_bytes] = reader.array()?;
        let machine_version = reader.u32()?;
        let (session, sequence) = (reader.u64()?, reader.u64()?);
        let low_water = reader.u64()?;
        let owner = match version {
            // Of version 1 these two bytes say nothing.
            1 => Owner::default(),
            _ => Owner {
                name: reader.short_text(usize::from(owner_bytes))?,
                is_operator: flags & BY_OPERATOR != 0,
            },
        };
        let body = reader.0;
        Ok(Self { kind, machine_version, session, sequence, low_water, owner, body })
    }
}
