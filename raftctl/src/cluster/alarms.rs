//! Alarms in the replicated state: members whose disks have no room for more data.

use client::NodeStatus;

use crate::cluster::remarks::{Remark, list};
use crate::cluster::survey::Survey;
use crate::codes;

/// Says whose disks have no room, as the leader knows it, and whether it refuses data for that.
pub(crate) fn alarms(survey: &Survey, leader: &NodeStatus) -> Option<Remark> {
    if !leader.shortage.is_empty() {
        let names = list(leader.shortage.iter().map(|id| survey.name(*id)));
        let verb = if leader.shortage.len() == 1 { "has" } else { "have" };
        let text = format!(
            "new data is refused: {names} {verb} no room on disk, and the other voters are no \
             majority"
        );
        return Some((text, codes::ALARM));
    }
    // Who answers says it for himself.
    let says = |status: &NodeStatus| !status.no_room.is_empty();
    let silent = leader
        .alarms
        .iter()
        .filter(|id| !survey.answers().any(|status| status.node == **id && says(status)));
    let silent: Vec<_> = silent.copied().collect();
    if silent.is_empty() {
        return None;
    }
    let names = list(silent.iter().map(|id| survey.name(*id)));
    Some((format!("{names}: no room on disk when last heard"), codes::ALARM))
}
