//! The audit: who did which administrative act, when and from where, as all nodes know it.
//!
//! A leader notes an act before it does it, and how it ended afterwards; what other nodes do by
//! themselves they let the leader note. Nobody with a certificate writes here. What is kept is
//! bounded twice, in acts and in bytes; the oldest of whoever did most goes first, and is counted:
//! nobody makes the acts of others be forgotten by many of his own.

use bytes::Bytes;
use consensus::{ClusterTime, LogIndex};

use super::acts::{Act, AuditTotals, AuditedAct, Outcome};
use super::keys;
use super::records::{decode, encode};
use super::response::SystemResponse;
use crate::codec::Reader;
use crate::envelope::Owner;
use crate::error::HostError;
use crate::store::{Pair, Transaction, View};

/// The most acts that are remembered; the oldest of whoever did most is dropped.
pub const AUDIT_ACTS_MAX: u64 = 4_096;

/// The most bytes that remembered acts take; the same is dropped then.
pub const AUDIT_BYTES_MAX: u64 = 1 << 20;

/// How many acts are looked at together.
const PAGE: usize = 64;

/// The most acts in one answer.
pub const AUDIT_PAGE_MAX: u32 = 500;

/// Notes an act, or how one that is noted has ended: that is said once.
pub(super) fn note(
    transaction: &mut Transaction<'_>,
    (index, time): (LogIndex, ClusterTime),
    by: &Owner,
    act: Act,
) -> Result<SystemResponse, HostError> {
    // Whatever has come from outside carries the name of a certificate.
    if !by.name.is_empty() {
        let reason = "acts are noted by leaders alone".to_owned();
        return Ok(SystemResponse::Refused { reason });
    }
    if !act.is_bounded() {
        let reason = "the act is over a limit".to_owned();
        return Ok(SystemResponse::Refused { reason });
    }
    match transaction.get(&keys::act(&act.id))? {
        Some(at) => end(transaction, &at, act)?,
        None => add(transaction, &AuditedAct { index, time, act })?,
    }
    Ok(SystemResponse::Noted)
}

/// Notes how an act ended, if that is not known yet.
fn end(transaction: &mut Transaction<'_>, at: &Bytes, act: Act) -> Result<(), HostError> {
    let index = decode(at, Reader::u64).map_err(HostError::damaged("the place of an act"))?;
    let Some(record) = transaction.get(&keys::audit(index))? else {
        return Ok(());
    };
    let mut known = audited(&record)?;
    if known.act.outcome != Outcome::Asked || known.act.who != act.who {
        return Ok(());
    }
    known.act.outcome = act.outcome;
    let renewed = encode(|writer| known.write(writer));
    let mut totals = totals(transaction)?;
    totals.bytes = totals.bytes.saturating_sub(bytes(&record)) + bytes(&renewed);
    let (before, now) = (weight(&record), weight(&renewed));
    transaction.put(&keys::audit(index), renewed);
    weigh(transaction, &act.who, |all| all.saturating_sub(before) + now)?;
    shrink(transaction, totals)
}

fn add(transaction: &mut Transaction<'_>, act: &AuditedAct) -> Result<(), HostError> {
    let index = act.index.get();
    let record = encode(|writer| act.write(writer));
    let mut totals = totals(transaction)?;
    totals.acts += 1;
    totals.bytes += bytes(&record);
    transaction.put(&keys::act(&act.act.id), encode(|writer| writer.u64(index)));
    let more = weight(&record);
    transaction.put(&keys::audit(index), record);
    weigh(transaction, &act.act.who, |all| all + more)?;
    shrink(transaction, totals)
}

/// Drops acts until what is left is within both limits.
fn shrink(transaction: &mut Transaction<'_>, mut totals: AuditTotals) -> Result<(), HostError> {
    while totals.acts > AUDIT_ACTS_MAX || totals.bytes > AUDIT_BYTES_MAX {
        let Some((key, record)) = least(transaction)? else { break };
        let act = audited(&record)?.act;
        transaction.delete(&keys::act(&act.id));
        transaction.delete(&key);
        weigh(transaction, &act.who, |all| all.saturating_sub(weight(&record)))?;
        totals.acts = totals.acts.saturating_sub(1);
        totals.bytes = totals.bytes.saturating_sub(bytes(&record));
        totals.dropped += 1;
    }
    transaction.put(keys::AUDIT_TOTALS, encode(|writer| totals.write(writer)));
    Ok(())
}

/// Returns what an act counts for where it is asked whose are dropped: acts are bounded in number
/// and in bytes, and neither many short ones nor a few long ones may drive out those of others.
fn weight(record: &[u8]) -> u64 {
    record.len() as u64 + AUDIT_BYTES_MAX / AUDIT_ACTS_MAX
}

/// Returns what is dropped first: the oldest act of whoever did most, of several the first by name.
fn least(transaction: &Transaction<'_>) -> Result<Option<Pair>, HostError> {
    let all = keys::actors();
    let limit = usize::try_from(AUDIT_ACTS_MAX).unwrap_or(usize::MAX);
    let (mut most, mut busiest) = (0, None);
    for (key, value) in transaction.range(&all.start, &all.end, limit)? {
        let all = decode(&value, Reader::u64).map_err(HostError::damaged("the weight of acts"))?;
        if all > most {
            (most, busiest) = (all, Some(key));
        }
    }
    let all = keys::audits();
    let mut from = all.start.to_vec();
    loop {
        let found = transaction.range(&from, &all.end, PAGE)?;
        let next = found.last().map(|(key, _)| [key, &[0][..]].concat());
        for (key, record) in found {
            let who = keys::actor(&audited(&record)?.act.who);
            if busiest.as_ref().is_none_or(|busiest| **busiest == *who) {
                return Ok(Some((key, record)));
            }
        }
        let Some(next) = next else { return Ok(None) };
        from = next;
    }
}

/// Changes what the acts of somebody that are remembered count for.
fn weigh(
    transaction: &mut Transaction<'_>,
    who: &str,
    change: impl Fn(u64) -> u64,
) -> Result<(), HostError> {
    let key = keys::actor(who);
    let known = transaction.get(&key)?.map(|all| decode(&all, Reader::u64)).transpose();
    let all = change(known.map_err(HostError::damaged("the weight of acts"))?.unwrap_or(0));
    match all {
        0 => transaction.delete(&key),
        all => transaction.put(&key, encode(|writer| writer.u64(all))),
    }
    Ok(())
}

/// Returns a page of acts behind an index, whether there are more, and what there is in all.
pub(super) fn page(
    view: &dyn View,
    after: u64,
    limit: u32,
) -> Result<(Vec<AuditedAct>, bool, AuditTotals), HostError> {
    let limit = limit.clamp(1, AUDIT_PAGE_MAX) as usize;
    let (from, to) = keys::audits_after(after);
    let found = view.range(&from, Some(&to), limit + 1)?;
    let items = found.iter().take(limit).map(|(_, record)| audited(record));
    let items = items.collect::<Result<Vec<_>, _>>()?;
    let totals = stored(view.get(keys::AUDIT_TOTALS)?)?;
    Ok((items, found.len() > limit, totals))
}

fn totals(transaction: &Transaction<'_>) -> Result<AuditTotals, HostError> {
    stored(transaction.get(keys::AUDIT_TOTALS)?)
}

fn stored(record: Option<Bytes>) -> Result<AuditTotals, HostError> {
    let read = |bytes| decode(&bytes, AuditTotals::read);
    let found = record.map(read).transpose();
    Ok(found.map_err(HostError::damaged("how many acts there are"))?.unwrap_or_default())
}

fn audited(record: &Bytes) -> Result<AuditedAct, HostError> {
    decode(record, AuditedAct::read).map_err(HostError::damaged("an act"))
}

fn bytes(record: &Bytes) -> u64 {
    record.len() as u64
}
