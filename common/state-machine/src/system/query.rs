//! Questions about the system's part of the state, and their answers.

use bytes::Bytes;
use consensus::{ClusterTime, LogIndex};

use super::acts::{AuditTotals, AuditedAct};
use super::records::{
    Alarm, CachedAnswer, ConfigurationRecord, KeptSession, Reservation, Revocation, Session,
    SessionAnswers, Tombstone, decode,
};
use super::response::SystemResponse;
use super::revocations::revocations;
use super::sessions::{SESSIONS_MAX, has_expired};
use super::{HISTORY_MAX, RESERVATIONS_MAX, TOMBSTONES_MAX, audit, keys};
use crate::codec::{CodecError, Reader, Writer, begin};
use crate::error::HostError;
use crate::store::View;

/// The most sessions in one page.
pub const SESSIONS_PAGE_MAX: u32 = 1_000;

/// More alarms than there can be members.
const ALARMS_MAX: usize = 65_536;

/// Asks about the system's part of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemQuery {
    /// A page of sessions, in order of their ids.
    Sessions {
        /// Only those with higher ids; 0 for the first page.
        after: u64,
        /// At most so many.
        limit: u32,
    },
    /// One session, and which of its answers are kept.
    Session {
        /// Its id.
        session: u64,
    },
    /// The last configurations.
    History,
    /// Members that were removed.
    Tombstones,
    /// Node ids that are reserved.
    Reservations,
    /// The digest of what applying did, behind an entry.
    Effects {
        /// The entry.
        index: u64,
    },
    /// Members whose disks have no room for more data.
    Alarms,
    /// Certificates that count no more.
    Revocations,
    /// A page of administrative acts, in the order of the log; for operators.
    Audit {
        /// Only those that were noted behind this entry; 0 for the first page.
        after: u64,
        /// At most so many.
        limit: u32,
    },
}

/// Who asks, and so which sessions there are for him.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewer<'a> {
    /// An operator: all sessions.
    Operator,
    /// Any other identity: its own, by the owner's name.
    Own(&'a str),
}

impl Viewer<'_> {
    fn sees(self, session: &Session) -> bool {
        match self {
            Self::Operator => true,
            Self::Own(name) => session.owner == name,
        }
    }
}

/// An answer about the system's part of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemAnswer {
    /// Sessions with their ids.
    Sessions {
        /// The sessions, in order of their ids.
        items: Vec<(u64, Session)>,
        /// The id that the next page begins behind: the last one shown.
        last: u64,
        /// Whether there are more behind the last.
        more: bool,
        /// Cluster time at the moment of the answer.
        time: ClusterTime,
    },
    /// The session, if there is one with that id.
    Session {
        /// The session.
        found: Option<SessionAnswers>,
        /// Cluster time at the moment of the answer.
        time: ClusterTime,
    },
    /// The last configurations, in order.
    History(Vec<ConfigurationRecord>),
    /// Members that were removed, in order of their ids.
    Tombstones(Vec<Tombstone>),
    /// Reserved ids, in order of the names.
    Reservations(Vec<Reservation>),
    /// Members whose disks have no room for more data.
    Alarms {
        /// The alarms, in order of the members' ids.
        items: Vec<Alarm>,
        /// Cluster time at the moment of the answer.
        time: ClusterTime,
    },
    /// Certificates that count no more.
    Revocations {
        /// What is revoked, in order of the holders.
        items: Vec<Revocation>,
        /// Cluster time at the moment of the answer.
        time: ClusterTime,
    },
    /// Administrative acts.
    Audit {
        /// The acts, in the order of the log.
        items: Vec<AuditedAct>,
        /// Whether there are more behind the last.
        more: bool,
        /// What there is in all.
        totals: AuditTotals,
        /// Cluster time at the moment of the answer.
        time: ClusterTime,
    },
    /// The question makes no sense.
    Refused {
        /// Why.
        reason: String,
    },
    /// What is known of digests behind entries.
    Effects {
        /// All of them are known from this entry on ..
        first: LogIndex,
        /// .. up to this one, which is applied.
        last: LogIndex,
        /// The one that was asked for, if it is known.
        digest: Option<u64>,
        /// Those that are stored with the state, from the entry that was asked for on: the first
        /// few.
        stored: Vec<(LogIndex, u64)>,
    },
}

/// Answers a question of `viewer` from the system's part at a moment.
pub(crate) fn answer(
    view: &dyn View,
    time: ClusterTime,
    viewer: Viewer<'_>,
    query: &SystemQuery,
) -> Result<SystemAnswer, HostError> {
    Ok(match query {
        SystemQuery::Sessions { after, limit } => sessions((view, time), viewer, *after, *limit)?,
        SystemQuery::Session { session } => {
            SystemAnswer::Session { found: one_session(view, time, viewer, *session)?, time }
        }
        SystemQuery::History => {
            let what = "a configuration of the history";
            let all = keys::histories();
            let read = ConfigurationRecord::read;
            SystemAnswer::History(records(view, &all.start, &all.end, HISTORY_MAX, what, read)?)
        }
        SystemQuery::Tombstones => SystemAnswer::Tombstones(tombstones(view)?),
        SystemQuery::Reservations => {
            let (what, all, max) = ("a reserved id", keys::reservations(), RESERVATIONS_MAX);
            let read = Reservation::read;
            SystemAnswer::Reservations(records(view, &all.start, &all.end, max, what, read)?)
        }
        SystemQuery::Alarms => SystemAnswer::Alarms { items: alarms(view)?, time },
        SystemQuery::Revocations => SystemAnswer::Revocations { items: revocations(view)?, time },
        SystemQuery::Audit { after, limit } if viewer == Viewer::Operator => {
            let (items, more, totals) = audit::page(view, *after, *limit)?;
            SystemAnswer::Audit { items, more, totals, time }
        }
        SystemQuery::Audit { .. } => {
            let reason = "only an operator's certificate allows to read the audit".to_owned();
            SystemAnswer::Refused { reason }
        }
        SystemQuery::Effects { .. } => unreachable!("the host knows them"),
    })
}

/// Returns the tombstones, in order of the ids.
pub(crate) fn tombstones(view: &dyn View) -> Result<Vec<Tombstone>, HostError> {
    let (all, what) = (keys::tombstones(), "a tombstone");
    records(view, &all.start, &all.end, TOMBSTONES_MAX, what, Tombstone::read)
}

/// Returns the alarms, in order of the members' ids.
pub(super) fn alarms(view: &dyn View) -> Result<Vec<Alarm>, HostError> {
    let all = keys::alarms();
    records(view, &all.start, &all.end, ALARMS_MAX, "an alarm", Alarm::read)
}

fn sessions(
    (view, time): (&dyn View, ClusterTime),
    viewer: Viewer<'_>,
    after: u64,
    limit: u32,
) -> Result<SystemAnswer, HostError> {
    let limit = limit.clamp(1, SESSIONS_PAGE_MAX) as usize;
    let (mut items, mut looked) = (Vec::new(), after);
    // What is left out must not show in how the pages are cut either. There are few at all.
    while items.len() <= limit {
        let (from, to) = keys::sessions_after(looked);
        let found = view.range(&from, Some(&to), limit)?;
        for (key, value) in &found {
            let Some(id) = keys::last_number(key) else { continue };
            looked = id;
            let session = kept_session(value)?;
            if !has_expired(&session, time) && viewer.sees(&session) {
                items.push((id, session));
            }
        }
        if found.len() < limit {
            break;
        }
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().map_or(after, |(id, _)| *id);
    Ok(SystemAnswer::Sessions { items, last, more, time })
}

fn one_session(
    view: &dyn View,
    time: ClusterTime,
    viewer: Viewer<'_>,
    id: u64,
) -> Result<Option<SessionAnswers>, HostError> {
    let Some(record) = view.get(&keys::session(id))? else {
        return Ok(None);
    };
    let session = kept_session(&record)?;
    if has_expired(&session, time) || !viewer.sees(&session) {
        return Ok(None);
    }
    let mut cached = Vec::new();
    for sequence in session.low_water..=session.highest {
        let Some(answer) = view.get(&keys::answer(id, sequence))? else { continue };
        let answer = SystemResponse::decode(&answer)
            .map_err(HostError::damaged("an answer of a session"))?;
        let (index, bytes) = match answer {
            SystemResponse::Answer { index, response } => {
                (index, Some(u32::try_from(response.len()).unwrap_or(u32::MAX)))
            }
            SystemResponse::AnswerNotKept { index } => (index, None),
            SystemResponse::SessionExpired { .. }
            | SystemResponse::Forgotten { .. }
            | SystemResponse::BeyondWindow { .. }
            | SystemResponse::Registered { .. }
            | SystemResponse::Closed
            | SystemResponse::Ended { .. }
            | SystemResponse::Reserved { .. }
            | SystemResponse::Noted
            | SystemResponse::Refused { .. } => continue,
        };
        cached.push(CachedAnswer { sequence, index, bytes });
    }
    Ok(Some(SessionAnswers { session, cached }))
}

/// Shows whose each session is.
pub(crate) fn owners(view: &dyn View, mut show: impl FnMut(u64, &str)) -> Result<(), HostError> {
    let (from, to) = keys::sessions_after(0);
    let limit = usize::try_from(SESSIONS_MAX).unwrap_or(usize::MAX);
    for (key, value) in view.range(&from, Some(&to), limit)? {
        if let Some(id) = keys::last_number(&key) {
            show(id, &kept_session(&value)?.owner);
        }
    }
    Ok(())
}

fn kept_session(record: &Bytes) -> Result<Session, HostError> {
    let kept = KeptSession::decode(record).map_err(HostError::damaged("a session"))?;
    Ok(kept.session)
}

fn records<T>(
    view: &dyn View,
    from: &[u8],
    to: &[u8],
    limit: usize,
    what: &'static str,
    read: fn(&mut Reader) -> Result<T, CodecError>,
) -> Result<Vec<T>, HostError> {
    let found = view.range(from, Some(to), limit)?;
    found.iter().map(|(_, value)| decode(value, read).map_err(HostError::damaged(what))).collect()
}

impl SystemQuery {
    /// Encodes the question.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Sessions { after, limit } => Writer::new(1).u64(*after).u32(*limit).done(),
            Self::Session { session } => Writer::new(2).u64(*session).done(),
            Self::History => Writer::new(3).done(),
            Self::Tombstones => Writer::new(4).done(),
            Self::Reservations => Writer::new(5).done(),
            Self::Effects { index } => Writer::new(6).u64(*index).done(),
            Self::Alarms => Writer::new(7).done(),
            Self::Revocations => Writer::new(40).done(),
            Self::Audit { after, limit } => Writer::new(50).u64(*after).u32(*limit).done(),
        }
    }

    /// Decodes a question.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (kind, mut reader) = begin(bytes)?;
        let query = match kind {
            1 => Self::Sessions { after: reader.u64()?, limit: reader.u32()? },
            2 => Self::Session { session: reader.u64()? },
            3 => Self::History,
            4 => Self::Tombstones,
            5 => Self::Reservations,
            6 => Self::Effects { index: reader.u64()? },
            7 => Self::Alarms,
            40 => Self::Revocations,
            50 => Self::Audit { after: reader.u64()?, limit: reader.u32()? },
            kind => return Err(CodecError::Kind(kind)),
        };
        reader.end()?;
        Ok(query)
    }
}

impl SystemAnswer {
    /// Encodes the answer.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Sessions { items, last, more, time } => {
                let item =
                    |writer: Writer, (id, session): &(u64, Session)| session.write(writer.u64(*id));
                let writer = Writer::new(1).u64(time.get()).u64(*last).u8(u8::from(*more));
                writer.list(items.iter(), item).done()
            }
            Self::Session { found, time } => {
                let writer = Writer::new(2).u64(time.get());
                match found {
                    None => writer.u8(0).done(),
                    Some(SessionAnswers { session, cached }) => {
                        let writer = session.write(writer.u8(1));
                        writer.list(cached.iter(), |writer, one| one.write(writer)).done()
                    }
                }
            }
            Self::History(items) => {
                Writer::new(3).list(items.iter(), |writer, item| item.write(writer)).done()
            }
            Self::Tombstones(items) => {
                Writer::new(4).list(items.iter(), |writer, item| item.write(writer)).done()
            }
            Self::Reservations(items) => {
                Writer::new(5).list(items.iter(), |writer, item| item.write(writer)).done()
            }
            Self::Refused { reason } => Writer::new(6).bytes(reason.as_bytes()).done(),
            Self::Alarms { items, time } => {
                let writer = Writer::new(8).u64(time.get());
                writer.list(items.iter(), |writer, item| item.write(writer)).done()
            }
            Self::Revocations { items, time } => {
                let writer = Writer::new(40).u64(time.get());
                writer.list(items.iter(), |writer, item| item.write(writer)).done()
            }
            Self::Audit { items, more, totals, time } => {
                let writer = totals.write(Writer::new(50).u64(time.get()).u8(u8::from(*more)));
                writer.list(items.iter(), |writer, item| item.write(writer)).done()
            }
            Self::Effects { first, last, digest, stored } => {
                let writer = Writer::new(7).u64(first.get()).u64(last.get());
                let writer = match digest {
                    Some(digest) => writer.u8(1).u64(*digest),
                    None => writer.u8(0),
                };
                let item = |writer: Writer, (index, digest): &(LogIndex, u64)| {
                    writer.u64(index.get()).u64(*digest)
                };
                writer.list(stored.iter(), item).done()
            }
        }
    }

    /// Decodes an answer.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (kind, mut reader) = begin(bytes)?;
        let answer = match kind {
            1 => {
                let time = ClusterTime::new(reader.u64()?);
                let (last, more) = (reader.u64()?, reader.u8()? != 0);
                let items = reader.list(|reader| Ok((reader.u64()?, Session::read(reader)?)))?;
                Self::Sessions { items, last, more, time }
            }
            2 => {
                let time = ClusterTime::new(reader.u64()?);
                let found = match reader.u8()? {
                    0 => None,
                    1 => {
                        let session = Session::read(&mut reader)?;
                        Some(SessionAnswers { session, cached: reader.list(CachedAnswer::read)? })
                    }
                    kind => return Err(CodecError::Kind(kind)),
                };
                Self::Session { found, time }
            }
            3 => Self::History(reader.list(ConfigurationRecord::read)?),
            4 => Self::Tombstones(reader.list(Tombstone::read)?),
            5 => Self::Reservations(reader.list(Reservation::read)?),
            6 => Self::Refused { reason: reader.text()? },
            8 => {
                let time = ClusterTime::new(reader.u64()?);
                Self::Alarms { items: reader.list(Alarm::read)?, time }
            }
            50 => {
                let (time, more) = (ClusterTime::new(reader.u64()?), reader.u8()? != 0);
                let totals = AuditTotals::read(&mut reader)?;
                Self::Audit { items: reader.list(AuditedAct::read)?, more, totals, time }
            }
            7 => Self::Effects {
                first: LogIndex::new(reader.u64()?),
                last: LogIndex::new(reader.u64()?),
                digest: match reader.u8()? {
                    0 => None,
                    1 => Some(reader.u64()?),
                    kind => return Err(CodecError::Kind(kind)),
                },
                stored: reader.list(|reader| Ok((LogIndex::new(reader.u64()?), reader.u64()?)))?,
            },
            40 => {
                let time = ClusterTime::new(reader.u64()?);
                Self::Revocations { items: reader.list(Revocation::read)?, time }
            }
            kind => return Err(CodecError::Kind(kind)),
        };
        reader.end()?;
        Ok(answer)
    }
}
