//! What the system's part holds, as values and as bytes. They are in snapshots for ever.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consensus::{ClusterTime, Configuration, EntryId, Incarnation, LogIndex, Majority, Member};
use consensus::{NodeId, Term, Voters};

use crate::codec::{CodecError, Reader, Writer, begin};

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose it is: role and name of the certificate that registered it.
    pub owner: String,
    /// What people call the client.
    pub name: String,
    /// When it was registered, in cluster time.
    pub registered: ClusterTime,
    /// When it was last active, in cluster time; a sixtieth of the timeout late at most.
    pub active: ClusterTime,
    /// All commands below this number have been answered, as the client says.
    pub low_water: u64,
    /// The highest number that was applied; 0 is none.
    pub highest: u64,
}

/// A session as it is kept, with what nobody else is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptSession {
    /// The client's random name for the registration.
    pub(crate) nonce: [u8; 16],
    /// All else.
    pub(crate) session: Session,
}

/// The session, and what of its commands is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionAnswers {
    /// The session.
    pub session: Session,
    /// Commands that were applied, whose answers are kept, in order.
    pub cached: Vec<CachedAnswer>,
}

/// An answer that is kept for a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedAnswer {
    /// The command's number in its session.
    pub sequence: u64,
    /// Where the command stands in the log.
    pub index: u64,
    /// How long the machine's answer is, in bytes; `None` if it was too long to keep.
    pub bytes: Option<u32>,
}

/// An alarm: the disk of this member has no room for more data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The member.
    pub id: NodeId,
    /// Its name at that time.
    pub name: String,
    /// The entry that raised it.
    pub index: LogIndex,
    /// When that was, in cluster time.
    pub time: ClusterTime,
}

/// Certificates of a holder that count no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Role and name, such as `client web`.
    pub holder: String,
    /// Those that begin then or before are revoked, in seconds since 1970.
    pub until_s: u64,
    /// And those for these keys, whenever they begin: the SHA-256 of each.
    pub keys: Vec<[u8; 32]>,
    /// Why, for people; may be empty.
    pub why: String,
    /// Who revoked them.
    pub by: String,
    /// The last entry that did.
    pub index: LogIndex,
    /// When that was, in cluster time.
    pub time: ClusterTime,
}

/// A node id that is reserved for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The name.
    pub name: String,
    /// The id.
    pub id: u64,
    /// The entry that reserved it.
    pub index: LogIndex,
    /// When that was, in cluster time.
    pub time: ClusterTime,
}

/// A member that was removed: its id is never used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Its id.
    pub id: NodeId,
    /// Its data directory.
    pub incarnation: Incarnation,
    /// What it was called.
    pub name: String,
    /// The first stable configuration without it.
    pub index: LogIndex,
    /// When that was, in cluster time.
    pub time: ClusterTime,
}

/// A configuration that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigurationRecord {
    /// Its entry.
    pub id: EntryId,
    /// When it was made, in cluster time.
    pub time: ClusterTime,
    /// The members and their roles.
    pub configuration: Configuration,
}

impl SessionAnswers {
    /// Returns the numbers between the low-water mark and the highest that were not applied: they
    /// may still come.
    pub fn missing(&self) -> Vec<u64> {
        let applied: BTreeSet<u64> = self.cached.iter().map(|cached| cached.sequence).collect();
        let open = self.session.low_water..=self.session.highest;
        open.filter(|sequence| !applied.contains(sequence)).collect()
    }
}

impl Session {
    pub(crate) fn write(&self, writer: Writer) -> Writer {
        writer
            .bytes(self.name.as_bytes())
            .u64(self.registered.get())
            .u64(self.active.get())
            .u64(self.low_water)
            .u64(self.highest)
            .bytes(self.owner.as_bytes())
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, CodecError> {
        let session = Self::read_old(reader)?;
        Ok(Self { owner: reader.text()?, ..session })
    }

    fn read_old(reader: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            owner: String::new(),
            name: reader.text()?,
            registered: ClusterTime::new(reader.u64()?),
            active: ClusterTime::new(reader.u64()?),
            low_water: reader.u64()?,
            highest: reader.u64()?,
        })
    }
}

impl KeptSession {
    pub(crate) fn encode(&self) -> Bytes {
        self.session.write(Writer::new(2).raw(&self.nonce)).done()
    }

    /// Also decodes the records of versions before sessions had an owner: nobody's.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (kind, mut reader) = begin(bytes)?;
        let nonce = reader.array()?;
        let session = match kind {
            1 => Session::read_old(&mut reader)?,
            2 => Session::read(&mut reader)?,
            kind => return Err(CodecError::Kind(kind)),
        };
        reader.end()?;
        Ok(Self { nonce, session })
    }
}

impl CachedAnswer {
    pub(crate) fn write(&self, writer: Writer) -> Writer {
        let writer = writer.u64(self.sequence).u64(self.index);
        match self.bytes {
            Some(bytes) => writer.u8(1).u32(bytes),
            None => writer.u8(0),
        }
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, CodecError> {
        let (sequence, index) = (reader.u64()?, reader.u64()?);
        let bytes = match reader.u8()? {
            0 => None,
            1 => Some(reader.u32()?),
            kind => return Err(CodecError::Kind(kind)),
        };
        Ok(Self { sequence, index, bytes })
    }
}

impl Reservation {
    pub(crate) fn write(&self, writer: Writer) -> Writer {
        let writer = writer.bytes(self.name.as_bytes()).u64(self.id);
        writer.u64(self.index.get()).u64(self.time.get())
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            name: reader.text()?,
            id: reader.u64()?,
            index: LogIndex::new(reader.u64()?),
            time: ClusterTime::new(reader.u64()?),
        })
    }
}

impl Tombstone {
    pub(crate) fn write(&self, writer: Writer) -> Writer {
        let writer = writer.u64(self.id.get()).u64(self.incarnation.get());
        writer.bytes(self.name.as_bytes()).u64(self.index.get()).u64(self.time.get())
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            id: read_id(reader)?,
            incarnation: Incarnation::new(reader.u64()?),
            name: reader.text()?,
            index: LogIndex::new(reader.u64()?),
            time: ClusterTime::new(reader.u64()?),
        })
    }
}

impl Alarm {
    pub(crate) fn write(&self, writer: Writer) -> Writer {
        let writer = writer.u64(self.id.get()).bytes(self.name.as_bytes());
        writer.u64(self.index.get()).u64(self.time.get())
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            id: read_id(reader)?,
            name: reader.text()?,
            index: LogIndex::new(reader.u64()?),
            time: ClusterTime::new(reader.u64()?),
        })
    }
}

impl Revocation {
    pub(crate) fn write(&self, writer: Writer) -> Writer {
        let writer = writer.bytes(self.holder.as_bytes()).u64(self.until_s);
        let writer = writer.list(self.keys.iter(), |writer, key| writer.raw(key));
        let writer = writer.bytes(self.why.as_bytes()).bytes(self.by.as_bytes());
        writer.u64(self.index.get()).u64(self.time.get())
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            holder: reader.text()?,
            until_s: reader.u64()?,
            keys: reader.list(Reader::array)?,
            why: reader.text()?,
            by: reader.text()?,
            index: LogIndex::new(reader.u64()?),
            time: ClusterTime::new(reader.u64()?),
        })
    }
}

impl ConfigurationRecord {
    pub(crate) fn write(&self, writer: Writer) -> Writer {
        let (outgoing, incoming) = self.configuration.voters().halves();
        let writer = writer.u64(self.id.term.get()).u64(self.id.index.get()).u64(self.time.get());
        let writer = write_members(writer, self.configuration.members());
        let writer = write_ids(writer, incoming.iter());
        let writer = match outgoing {
            Some(outgoing) => write_ids(writer.u8(1), outgoing.iter()),
            None => writer.u8(0),
        };
        write_ids(writer, self.configuration.learners().iter().copied())
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, CodecError> {
        let (term, index) = (Term::new(reader.u64()?), LogIndex::new(reader.u64()?));
        let time = ClusterTime::new(reader.u64()?);
        let members = read_members(reader)?;
        let incoming = Majority::new(reader.list(read_id)?);
        let voters = match reader.u8()? {
            0 => Voters::Stable(incoming),
            1 => Voters::Joint { outgoing: Majority::new(reader.list(read_id)?), incoming },
            kind => return Err(CodecError::Kind(kind)),
        };
        let learners = reader.list(read_id)?.into_iter().collect();
        let id = EntryId { term, index };
        if members.is_empty() && !voters.is_joint() {
            return Ok(Self { id, time, configuration: Configuration::unknown() });
        }
        let configuration =
            Configuration::new(voters, learners, members).map_err(|_| CodecError::Members)?;
        Ok(Self { id, time, configuration })
    }
}

pub(super) fn write_members(writer: Writer, members: &BTreeMap<NodeId, Member>) -> Writer {
    writer.list(members.iter(), |writer, (id, member)| {
        let writer = writer.u64(id.get()).u64(member.incarnation.get());
        writer.bytes(member.name.as_bytes()).bytes(member.address.as_bytes())
    })
}

pub(super) fn read_members(reader: &mut Reader) -> Result<BTreeMap<NodeId, Member>, CodecError> {
    let members = reader.list(|reader| {
        let id = read_id(reader)?;
        let incarnation = Incarnation::new(reader.u64()?);
        Ok((id, Member { incarnation, name: reader.text()?, address: reader.text()? }))
    })?;
    Ok(members.into_iter().collect())
}

fn write_ids(writer: Writer, ids: impl Iterator<Item = NodeId>) -> Writer {
    let ids: Vec<NodeId> = ids.collect();
    writer.list(ids.into_iter(), |writer, id| writer.u64(id.get()))
}

pub(super) fn read_id(reader: &mut Reader) -> Result<NodeId, CodecError> {
    NodeId::new(reader.u64()?).ok_or(CodecError::Members)
}

/// Encodes a record of the store: version, kind 1, fields.
pub(super) fn encode(write: impl FnOnce(Writer) -> Writer) -> Bytes {
    write(Writer::new(1)).done()
}

/// Decodes a record of the store.
pub(super) fn decode<T>(
    bytes: &Bytes,
    read: impl FnOnce(&mut Reader) -> Result<T, CodecError>,
) -> Result<T, CodecError> {
    let (kind, mut reader) = begin(bytes)?;
    if kind != 1 {
        return Err(CodecError::Kind(kind));
    }
    let record = read(&mut reader)?;
    reader.end()?;
    Ok(record)
}
