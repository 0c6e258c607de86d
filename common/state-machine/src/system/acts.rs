//! Administrative acts, as values and as bytes. They are in logs and snapshots for ever.

use consensus::{ClusterTime, LogIndex};

use crate::codec::{CodecError, Reader, Writer};

/// The longest description of an act, in bytes.
pub const ACT_WHAT_BYTES_MAX: usize = 512;

/// The longest name of who did it, the longest place that it came from, and the longest reason of a
/// refusal, in bytes.
pub const ACT_TEXT_BYTES_MAX: usize = 255;

/// What somebody did, or wanted to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Random: how it ended is told by this name.
    pub id: [u8; 16],
    /// Who: role and name of the certificate, such as `operator alice`.
    pub who: String,
    /// From where: the address that the connection came from, and the node that passed it on.
    pub from: String,
    /// Which node took it.
    pub node: u64,
    /// What that node's clock said, in seconds since 1970: for people. Nothing is decided by it.
    pub clock_s: u64,
    /// What, in a few words: a noun, a verb, and to what.
    pub what: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// How an act ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// That is not known: it is under way, or whoever did it was gone before it could be told.
    Asked,
    /// It is done.
    Done,
    /// It had no effect.
    Refused {
        /// Why.
        reason: String,
    },
}

/// An act, and where it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedAct {
    /// The entry that noted it first.
    pub index: LogIndex,
    /// When that was, in cluster time.
    pub time: ClusterTime,
    /// The act.
    pub act: Act,
}

/// How much the audit holds, and what it has dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditTotals {
    /// Acts that are remembered.
    pub acts: u64,
    /// What they take, in bytes.
    pub bytes: u64,
    /// Acts that were dropped, as there were too many behind them.
    pub dropped: u64,
}

impl Act {
    /// Says whether all texts are within their limits.
    pub(crate) fn is_bounded(&self) -> bool {
        let reason = match &self.outcome {
            Outcome::Asked | Outcome::Done => 0,
            Outcome::Refused { reason } => reason.len(),
        };
        [self.who.len(), self.from.len(), reason].iter().all(|bytes| *bytes <= ACT_TEXT_BYTES_MAX)
            && self.what.len() <= ACT_WHAT_BYTES_MAX
    }

    pub(crate) fn write(&self, writer: Writer) -> Writer {
        let writer = writer.raw(&self.id).bytes(self.who.as_bytes()).bytes(self.from.as_bytes());
        let writer = writer.u64(self.node).u64(self.clock_s).bytes(self.what.as_bytes());
        match &self.outcome {
            Outcome::Asked => writer.u8(0),
            Outcome::Done => writer.u8(1),
            Outcome::Refused { reason } => writer.u8(2).bytes(reason.as_bytes()),
        }
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            id: reader.array()?,
            who: reader.text()?,
            from: reader.text()?,
            node: reader.u64()?,
            clock_s: reader.u64()?,
            what: reader.text()?,
            outcome: match reader.u8()? {
                0 => Outcome::Asked,
                1 => Outcome::Done,
                2 => Outcome::Refused { reason: reader.text()? },
                kind => return Err(CodecError::Kind(kind)),
            },
        })
    }
}

impl AuditedAct {
    pub(crate) fn write(&self, writer: Writer) -> Writer {
        self.act.write(writer.u64(self.index.get()).u64(self.time.get()))
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            index: LogIndex::new(reader.u64()?),
            time: ClusterTime::new(reader.u64()?),
            act: Act::read(reader)?,
        })
    }
}

impl AuditTotals {
    pub(crate) fn write(self, writer: Writer) -> Writer {
        writer.u64(self.acts).u64(self.bytes).u64(self.dropped)
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self { acts: reader.u64()?, bytes: reader.u64()?, dropped: reader.u64()? })
    }
}
