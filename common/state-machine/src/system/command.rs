//! What the system is told through the log: version, kind, fields. These bytes stand in logs for
//! ever, so they never change.

use bytes::Bytes;
use consensus::NodeId;

use super::acts::Act;
use super::records::read_id;
use crate::codec::{CodecError, Writer, begin};
use crate::envelope::{Envelope, EnvelopeKind};

/// The longest name of a session, in bytes.
pub const SESSION_NAME_BYTES_MAX: usize = 64;

/// Changes the system's part of the state. Each may be applied twice without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemCommand {
    /// Opens a session, whose id is the index of this entry (§6.3).
    RegisterSession {
        /// Random: a repeated registration is known by it, and finds its session (museum J13).
        nonce: [u8; 16],
        /// What people call the client, at most [`SESSION_NAME_BYTES_MAX`]; may be empty.
        name: String,
    },
    /// Ends a session; its answers are forgotten. None of its commands is applied behind it.
    CloseSession {
        /// The session's id.
        session: u64,
    },
    /// Reserves a node id that was never used. The same name gets the same id until a member with
    /// that id has been removed.
    ReserveId {
        /// What the node will be called.
        name: String,
        /// The id is above this one as well: the highest that who asks knows of. A state that was
        /// restored from a backup does not know of those that were given behind it.
        above: u64,
    },
    /// Raises or clears the alarm of a member whose disk has no room for more data. Only a leader
    /// gives it.
    SetAlarm {
        /// The member.
        member: NodeId,
        /// Whether it has one from now on.
        raised: bool,
    },
    /// Revokes certificates: all of a holder that begin at a moment or before. Only an operator
    /// gives it.
    Revoke {
        /// Role and name, such as `client web`.
        holder: String,
        /// The last beginning of a certificate that is revoked, in seconds since 1970.
        until_s: u64,
        /// The SHA-256 of a public key whose certificates are revoked, whenever they begin.
        key: Option<[u8; 32]>,
        /// Why, for people.
        why: String,
    },
    /// Lets the certificates of a holder count again.
    ForgetRevocation {
        /// Role and name.
        holder: String,
    },
    /// Notes an administrative act, or how it ended. Only a leader gives it.
    Note(Act),
}

impl SystemCommand {
    /// Encodes the command.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::RegisterSession { nonce, name } => {
                Writer::new(1).raw(nonce).bytes(name.as_bytes()).done()
            }
            Self::CloseSession { session } => Writer::new(2).u64(*session).done(),
            Self::ReserveId { name, above: 0 } => Writer::new(3).bytes(name.as_bytes()).done(),
            Self::ReserveId { name, above } => {
                Writer::new(5).bytes(name.as_bytes()).u64(*above).done()
            }
            Self::SetAlarm { member, raised } => {
                Writer::new(4).u64(member.get()).u8(u8::from(*raised)).done()
            }
            Self::Revoke { holder, until_s, key, why } => {
                let writer = Writer::new(40).bytes(holder.as_bytes()).u64(*until_s);
                let writer = match key {
                    Some(key) => writer.u8(1).raw(key),
                    None => writer.u8(0),
                };
                writer.bytes(why.as_bytes()).done()
            }
            Self::ForgetRevocation { holder } => Writer::new(41).bytes(holder.as_bytes()).done(),
            Self::Note(act) => act.write(Writer::new(50)).done(),
        }
    }

    /// Decodes a command.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (kind, mut reader) = begin(bytes)?;
        let command = match kind {
            1 => Self::RegisterSession { nonce: reader.array()?, name: reader.text()? },
            2 => Self::CloseSession { session: reader.u64()? },
            3 => Self::ReserveId { name: reader.text()?, above: 0 },
            5 => Self::ReserveId { name: reader.text()?, above: reader.u64()? },
            4 => Self::SetAlarm { member: read_id(&mut reader)?, raised: reader.u8()? != 0 },
            40 => Self::Revoke {
                holder: reader.text()?,
                until_s: reader.u64()?,
                key: match reader.u8()? {
                    0 => None,
                    1 => Some(reader.array()?),
                    kind => return Err(CodecError::Kind(kind)),
                },
                why: reader.text()?,
            },
            41 => Self::ForgetRevocation { holder: reader.text()? },
            50 => Self::Note(Act::read(&mut reader)?),
            kind => return Err(CodecError::Kind(kind)),
        };
        reader.end()?;
        Ok(command)
    }
}

impl Envelope {
    /// Wraps a command for the system. Each of them may be applied twice without harm.
    pub fn system(command: &SystemCommand) -> Self {
        Self { kind: EnvelopeKind::System, ..Self::sessionless(command.encode()) }
    }
}
