//! Alarms: members whose disks have no room for more data, as all nodes know them. A leader raises
//! and clears them, nobody else; with its member an alarm goes.

use std::collections::BTreeSet;

use consensus::{ClusterTime, LogIndex, NodeId};

use super::keys;
use super::members::present;
use super::query::alarms;
use super::records::{Alarm, encode};
use super::response::SystemResponse;
use crate::envelope::Owner;
use crate::error::HostError;
use crate::store::{Transaction, View};

/// Raises the alarm of a member, or clears it. One that stands already keeps its place and time.
pub(super) fn set(
    transaction: &mut Transaction<'_>,
    (index, time): (LogIndex, ClusterTime),
    by: &Owner,
    member: NodeId,
    raised: bool,
) -> Result<SystemResponse, HostError> {
    // Whatever has come from outside carries the name of a certificate.
    if !by.name.is_empty() {
        let reason = "alarms are raised and cleared by leaders alone".to_owned();
        return Ok(SystemResponse::Refused { reason });
    }
    let key = keys::alarm(member.get());
    if !raised {
        transaction.delete(&key);
        return Ok(SystemResponse::Noted);
    }
    let name = present(transaction)?.remove(&member).map(|member| member.name);
    if let (Some(name), None) = (name, transaction.get(&key)?) {
        let alarm = Alarm { id: member, name, index, time };
        transaction.put(&key, encode(|writer| alarm.write(writer)));
    }
    Ok(SystemResponse::Noted)
}

/// Returns the members that have an alarm.
pub(crate) fn alarmed(view: &dyn View) -> Result<BTreeSet<NodeId>, HostError> {
    Ok(alarms(view)?.into_iter().map(|alarm| alarm.id).collect())
}
