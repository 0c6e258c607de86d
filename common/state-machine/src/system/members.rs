//! Who was a member: the history of configurations, tombstones of those that were removed, and
//! node ids that are reserved before a certificate names them.

use std::collections::BTreeMap;

use bytes::Bytes;
use consensus::{ClusterTime, Configuration, EntryId, LogIndex, Member, NodeId};

use super::keys;
use super::records::{
    ConfigurationRecord, Reservation, Tombstone, decode, encode, read_members, write_members,
};
use super::response::SystemResponse;
use crate::codec::Reader;
use crate::error::HostError;
use crate::store::Transaction;

/// The most configurations that are remembered; the oldest is forgotten.
pub const HISTORY_MAX: usize = 100;

/// The most tombstones; the one with the lowest id is forgotten. Its id is not reused all the same.
pub(crate) const TOMBSTONES_MAX: usize = 4_096;

/// The most names with a reserved id.
pub const RESERVATIONS_MAX: usize = 1_024;

/// The most ids that are skipped at a time, as used by nodes that this state does not know.
const IDS_SKIPPED_MAX: u64 = 1 << 20;

/// The longest name that an id is reserved for, in bytes; as long as a member's may be.
pub const RESERVED_NAME_BYTES_MAX: usize = 64;

/// Notes a configuration that is applied, and buries the members that it no longer names.
pub(crate) fn record_configuration(
    transaction: &mut Transaction<'_>,
    id: EntryId,
    time: ClusterTime,
    configuration: &Configuration,
) -> Result<(), HostError> {
    let record = ConfigurationRecord { id, time, configuration: configuration.clone() };
    transaction.put(&keys::history(id.index.get()), encode(|writer| record.write(writer)));
    let all = keys::histories();
    trim(transaction, &all.start, &all.end, HISTORY_MAX)?;

    // An id that was given by hand a second time is that of a member, whatever was before.
    for id in configuration.members().keys() {
        transaction.delete(&keys::tombstone(id.get()));
    }
    let mut members = present(transaction)?;
    members.extend(configuration.members().iter().map(|(id, member)| (*id, member.clone())));
    // During a change, those that leave still count.
    if !configuration.voters().is_joint() {
        let stays = |id: &NodeId| configuration.member(*id).is_some();
        let (staying, leaving) = members.into_iter().partition(|(id, _)| stays(id));
        bury(transaction, id.index, time, leaving)?;
        members = staying;
    }
    transaction.put(keys::MEMBERS, encode(|writer| write_members(writer, &members)));
    let named = members.keys().map(|id| id.get()).max().unwrap_or(0);
    let highest = highest(transaction)?.max(named);
    transaction.put(keys::HIGHEST_ID, encode(|writer| writer.u64(highest)));
    Ok(())
}

/// Reserves an id above all that were ever seen here, and above `above`, or finds the one that the
/// name has already.
pub(super) fn reserve(
    transaction: &mut Transaction<'_>,
    (index, time): (LogIndex, ClusterTime),
    name: String,
    above: u64,
) -> Result<SystemResponse, HostError> {
    let refused = |reason: String| Ok(SystemResponse::Refused { reason });
    let size = name.len();
    if !(1..=RESERVED_NAME_BYTES_MAX).contains(&size) {
        return refused(format!("a name has 1 to {RESERVED_NAME_BYTES_MAX} bytes, not {size}"));
    }
    let key = keys::reservation(&name);
    if let Some(found) = transaction.get(&key)? {
        let found = reservation(&found)?;
        return Ok(SystemResponse::Reserved { id: found.id });
    }
    if let Some(id) = present(transaction)?.iter().find(|(_, member)| member.name == name) {
        return refused(format!("node {} is called {name} already", id.0));
    }
    let highest = highest(transaction)?;
    if above > highest.saturating_add(IDS_SKIPPED_MAX) {
        return refused(format!("the highest id here is {highest}: {above} is too far above it"));
    }
    make_way(transaction)?;
    let Some(id) = highest.max(above).checked_add(1) else {
        return refused("there are no ids left".into());
    };
    let record = Reservation { name, id, index, time };
    transaction.put(&key, encode(|writer| record.write(writer)));
    transaction.put(keys::HIGHEST_ID, encode(|writer| writer.u64(id)));
    Ok(SystemResponse::Reserved { id })
}

/// Forgets the oldest reservation where there are as many as may be. Its id is never given again,
/// and its name gets another one if it is asked for anew. Those of members stay.
fn make_way(transaction: &mut Transaction<'_>) -> Result<(), HostError> {
    let all = keys::reservations();
    let found = transaction.range(&all.start, &all.end, RESERVATIONS_MAX)?;
    if found.len() < RESERVATIONS_MAX {
        return Ok(());
    }
    let members = present(transaction)?;
    let mut oldest = None;
    for (key, value) in found {
        let Reservation { id, index, .. } = reservation(&value)?;
        let is_member = NodeId::new(id).is_some_and(|id| members.contains_key(&id));
        if !is_member && oldest.as_ref().is_none_or(|(least, _)| index < *least) {
            oldest = Some((index, key));
        }
    }
    if let Some((_, key)) = oldest {
        transaction.delete(&key);
    }
    Ok(())
}

fn bury(
    transaction: &mut Transaction<'_>,
    index: LogIndex,
    time: ClusterTime,
    leaving: BTreeMap<NodeId, Member>,
) -> Result<(), HostError> {
    for (id, Member { incarnation, name, .. }) in leaving {
        let tombstone = Tombstone { id, incarnation, name, index, time };
        transaction.delete(&keys::alarm(id.get()));
        transaction.put(&keys::tombstone(id.get()), encode(|writer| tombstone.write(writer)));
        // A name that is used again gets another id.
        let all = keys::reservations();
        for (key, found) in transaction.range(&all.start, &all.end, RESERVATIONS_MAX)? {
            if reservation(&found)?.id == id.get() {
                transaction.delete(&key);
            }
        }
        let all = keys::tombstones();
        trim(transaction, &all.start, &all.end, TOMBSTONES_MAX)?;
    }
    Ok(())
}

/// Deletes the first key of a range that holds one too many.
fn trim(
    transaction: &mut Transaction<'_>,
    from: &[u8],
    to: &[u8],
    limit: usize,
) -> Result<(), HostError> {
    let found = transaction.range(from, to, limit + 1)?;
    if let Some((first, _)) = found.first().filter(|_| found.len() > limit) {
        transaction.delete(first);
    }
    Ok(())
}

pub(super) fn present(
    transaction: &Transaction<'_>,
) -> Result<BTreeMap<NodeId, Member>, HostError> {
    match transaction.get(keys::MEMBERS)? {
        Some(bytes) => {
            decode(&bytes, read_members).map_err(HostError::damaged("the present members"))
        }
        None => Ok(BTreeMap::new()),
    }
}

fn highest(transaction: &Transaction<'_>) -> Result<u64, HostError> {
    match transaction.get(keys::HIGHEST_ID)? {
        Some(bytes) => {
            decode(&bytes, Reader::u64).map_err(HostError::damaged("the highest node id"))
        }
        None => Ok(0),
    }
}

fn reservation(bytes: &Bytes) -> Result<Reservation, HostError> {
    decode(bytes, Reservation::read).map_err(HostError::damaged("a reserved id"))
}
