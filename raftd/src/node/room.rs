//! The room on the disks: on this node's, and alarms of all members.

use std::collections::BTreeSet;

use consensus::{NodeId, RequestId, Timestamp};
use replica::{Alarm, Input, Purpose, RoomAction};
use state_machine::{Envelope, SystemCommand};

use crate::node::Node;
use crate::room;

/// The name of what a leader proposes by itself; no client's.
const OWN: RequestId = RequestId::new(0);

impl Node {
    /// Tells the replica how much room there is on the disk.
    pub(crate) fn measure_room(&mut self, now: Timestamp) {
        if let Some(space) = room::measured(&self.gauges) {
            self.replica.step(now, Input::Space(space));
        }
    }

    /// Tells people of this node's disk, and has alarms raised and cleared. These have no owner:
    /// what comes from a certificate has one.
    pub(super) fn room(&mut self, now: Timestamp, actions: &[RoomAction], alarms: Vec<Alarm>) {
        for action in actions {
            match action {
                RoomAction::Tell { before, level } => room::tell(*before, *level, &self.gauges),
                RoomAction::Flush => self.apply.flush(),
            }
        }
        for Alarm { member, raised } in alarms {
            let command = Envelope::system(&SystemCommand::SetAlarm { member, raised }).encode();
            self.replica
                .step(now, Input::Propose { request: OWN, command, purpose: Purpose::Alarm });
        }
    }

    /// Other members than before have an alarm in the state that is applied.
    pub(super) fn alarmed(&mut self, now: Timestamp, raised: Option<BTreeSet<NodeId>>) {
        let Some(raised) = raised else { return };
        let before: BTreeSet<NodeId> = self.replica.alarms().collect();
        for id in raised.symmetric_difference(&before) {
            room::tell_alarm(&self.name(*id), raised.contains(id));
        }
        self.replica.step(now, Input::Alarms { raised });
    }

    /// Says why a command is refused for want of room: on this leader's disk, or on those of these
    /// voters.
    pub(super) fn no_room(&self, deletions: bool, voters: &[NodeId]) -> String {
        if voters.is_empty() {
            return room::refusal(deletions, &self.gauges);
        }
        let names: Vec<String> = voters.iter().map(|id| self.name(*id)).collect();
        room::shortage(&names)
    }

    /// Returns what people call a node.
    fn name(&self, id: NodeId) -> String {
        let member = self.replica.raft().configuration().member(id);
        member.map_or_else(|| format!("node {id}"), |member| member.name.clone())
    }
}
