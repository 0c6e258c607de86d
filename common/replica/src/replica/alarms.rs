//! What becomes of members without room on their disks: they tell the leader, and it refuses data
//! while too few have room.

use consensus::{Body, Input as Raw, Message, NodeId, Outgoing, RequestId, RoleKind, Timestamp};

use crate::input::Purpose;
use crate::lanes::{Alarm, Reply, RoomLevel};
use crate::replica::Replica;

impl Replica {
    /// Returns the members that have an alarm in the state that is applied here.
    pub fn alarms(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.alarms.raised().iter().copied()
    }

    /// Returns the voters without room, if a leader refuses data for it: those with room are no
    /// quorum. As this node knows it.
    pub fn shortage(&self) -> Option<Vec<NodeId>> {
        self.alarms.shortage(self.raft.term(), self.raft.configuration())
    }

    /// Says whether a member's disk takes data, as far as this node knows.
    pub fn has_room(&self, id: NodeId) -> bool {
        !self.alarms.lacks(self.raft.term(), id)
    }

    /// Refuses a command of so many bytes for want of room, on this leader's disk or on those of
    /// too many others. One that frees space is taken for longer.
    pub(super) fn refuses_for_room(
        &mut self,
        now: Timestamp,
        request: RequestId,
        (bytes, purpose): (usize, Purpose),
    ) -> bool {
        let frees = purpose != Purpose::Data;
        let under_way_bytes = self.under_way_bytes() + bytes;
        let refused = match self.room.refuses(now, under_way_bytes, frees) {
            Some(deletions) => Some((deletions, Vec::new())),
            None if frees => None,
            None => self.shortage().map(|voters| (true, voters)),
        };
        let is_refused = refused.is_some();
        let reply = |(deletions, voters)| Reply::NoRoom { request, deletions, voters };
        self.reply.extend(refused.map(reply));
        is_refused
    }

    /// Takes what a member says of its disk; gives back all other messages.
    pub(super) fn hear_room(&mut self, raw: Raw) -> Option<Raw> {
        let Raw::Receive { from, incarnation, message } = &raw else {
            return Some(raw);
        };
        let Body::Room { lacks } = message.body else {
            return Some(raw);
        };
        let term = self.raft.term();
        if message.term == term
            && self.raft.leads()
            && self.raft.configuration().recognises(*from, *incarnation)
        {
            self.alarms.heard(term, *from, lacks);
        }
        None
    }

    /// Tells the leader of this node's disk; a leader returns what is to be changed in the log.
    pub(super) fn tell_room(&mut self, now: Timestamp, send: &mut Vec<Outgoing>) -> Vec<Alarm> {
        let Self { raft, alarms, room, .. } = self;
        let (id, term) = (raft.id(), raft.term());
        let lacks = room.level() == RoomLevel::Short;
        if raft.leads() {
            return alarms.wanted(now, (term, id), raft.configuration(), lacks);
        }
        let status = raft.status();
        let leader = status.leader.filter(|_| status.role == RoleKind::Follower);
        if let Some(to) = leader
            && let Some(body) = alarms.report(now, (term, id, to), lacks)
        {
            send.push(Outgoing::Message { to, message: Message { term, body } });
        }
        Vec::new()
    }
}
