//! Questions about the system's part of the state, and their answers.

use bytes::Bytes;
use consensus::ClusterTime;

use super::records::{
    CachedAnswer, ConfigurationRecord, Reservation, Session, SessionAnswers, Tombstone, decode,
};
use super::response::SystemResponse;
use super::sessions::has_expired;
use super::{HISTORY_MAX, RESERVATIONS_MAX, TOMBSTONES_MAX, keys};
use crate::codec::{CodecError, Reader, Writer, begin};
use crate::error::HostError;
use crate::store::View;

/// The most sessions in one page.
pub const SESSIONS_PAGE_MAX: u32 = 1_000;

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
}

/// An answer about the system's part of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemAnswer {
    /// Sessions with their ids.
    Sessions {
        /// The sessions, in order of their ids.
        items: Vec<(u64, Session)>,
        /// The last id that was looked at: the next page begins behind it. Expired sessions are
        /// left out, so it need not be shown.
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
    /// The question makes no sense.
    Refused {
        /// Why.
        reason: String,
    },
}

/// Answers a question from the system's part at a moment.
pub(crate) fn answer(
    view: &dyn View,
    time: ClusterTime,
    query: &SystemQuery,
) -> Result<SystemAnswer, HostError> {
    Ok(match query {
        SystemQuery::Sessions { after, limit } => sessions(view, time, *after, *limit)?,
        SystemQuery::Session { session } => {
            SystemAnswer::Session { found: one_session(view, time, *session)?, time }
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
    })
}

/// Returns the tombstones, in order of the ids.
pub(crate) fn tombstones(view: &dyn View) -> Result<Vec<Tombstone>, HostError> {
    let (all, what) = (keys::tombstones(), "a tombstone");
    records(view, &all.start, &all.end, TOMBSTONES_MAX, what, Tombstone::read)
}

fn sessions(
    view: &dyn View,
    time: ClusterTime,
    after: u64,
    limit: u32,
) -> Result<SystemAnswer, HostError> {
    let limit = limit.clamp(1, SESSIONS_PAGE_MAX) as usize;
    let (from, to) = keys::sessions_after(after);
    let found = view.range(&from, Some(&to), limit + 1)?;
    let more = found.len() > limit;
    let (mut items, mut last) = (Vec::new(), after);
    for (key, value) in found.into_iter().take(limit) {
        let Some(id) = keys::last_number(&key) else { continue };
        last = id;
        let session = decode(&value, Session::read).map_err(HostError::damaged("a session"))?;
        if !has_expired(&session, time) {
            items.push((id, session));
        }
    }
    Ok(SystemAnswer::Sessions { items, last, more, time })
}

fn one_session(
    view: &dyn View,
    time: ClusterTime,
    id: u64,
) -> Result<Option<SessionAnswers>, HostError> {
    let Some(record) = view.get(&keys::session(id))? else {
        return Ok(None);
    };
    let session = decode(&record, Session::read).map_err(HostError::damaged("a session"))?;
    if has_expired(&session, time) {
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
            | SystemResponse::Refused { .. } => continue,
        };
        cached.push(CachedAnswer { sequence, index, bytes });
    }
    Ok(Some(SessionAnswers { session, cached }))
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
            kind => return Err(CodecError::Kind(kind)),
        };
        reader.end()?;
        Ok(answer)
    }
}
