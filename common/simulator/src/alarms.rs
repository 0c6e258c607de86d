//! Alarms of members whose disks have no room, and what must therefore be so.

use std::collections::BTreeSet;

use consensus::{NodeId, Payload, RequestId};
use replica::{Alarm, Input, Purpose, ROOM_STEADY_NS, RoomLevel};
use state_machine::{Envelope, SystemCommand};

use crate::broken::Broken;
use crate::coverage::Met;
use crate::liveness::SERVICE_NS;
use crate::node::{Late, Node};
use crate::quorum::{decides, votes};
use crate::rooms::{Fill, frees_space};
use crate::world::{Happening, World};

/// Marks the names of what leaders propose by themselves; those of clients stay below.
const ALARM: u64 = 1 << 60;

/// Says whether a request is a leader's own.
pub(crate) fn is_alarm(request: RequestId) -> bool {
    request.get() >> 60 == ALARM >> 60
}

impl World {
    /// Leaders propose alarms by themselves, and are not told what becomes of that.
    pub(crate) fn alarm_lanes(&mut self, node: usize, alarms: Vec<Alarm>) {
        for alarm in alarms {
            self.coverage.meet(match alarm.raised {
                true => Met::AlarmRaised,
                false => Met::AlarmCleared,
            });
            let life = self.nodes[node].life;
            self.after(1, Happening::Alarm { node, life, alarm });
        }
    }

    /// One is proposed.
    pub(crate) fn alarm(&mut self, node: usize, life: u32, alarm: Alarm) -> Result<(), Broken> {
        let Alarm { member, raised } = alarm;
        self.rooms.alarms += 1;
        let request = RequestId::new(ALARM | self.rooms.alarms);
        let command = Envelope::system(&SystemCommand::SetAlarm { member, raised }).encode();
        let propose = Input::Propose { request, command, purpose: Purpose::Alarm };
        self.if_alive(node, life, Late::Ask(propose))
    }

    /// Tells a replica of the alarms in its state, if it knows of others.
    pub(crate) fn tell_alarms(&mut self, at: usize) -> Result<(), Broken> {
        let place = &self.nodes[at];
        let raised = place.host.alarms().clone();
        let Some(replica) = place.replica.as_ref() else {
            return Ok(());
        };
        if replica.alarms().eq(raised.iter().copied()) {
            return Ok(());
        }
        self.step(at, Input::Alarms { raised })
    }

    /// A leader takes no data while voters without an alarm do not decide, as its state has told it
    /// before this turn. What it is told in a turn may come behind what it took.
    pub(crate) fn heeds_alarms(&self, node: usize, write: &consensus::Write) -> Result<(), Broken> {
        let place = &self.nodes[node];
        let Some(replica) = place.replica.as_ref().filter(|replica| replica.raft().leads()) else {
            return Ok(());
        };
        let adds = |payload: &Payload| match payload {
            Payload::Command(command) => !frees_space(command),
            Payload::Noop | Payload::Configuration(_) => false,
        };
        let changes = write.append.iter().any(|entry| match entry.payload {
            Payload::Configuration(_) => true,
            Payload::Noop | Payload::Command(_) => false,
        });
        // What it took as another leader's may hold anything.
        let term = replica.raft().term();
        let own = |entry: &&consensus::Entry| entry.id.term == term && adds(&entry.payload);
        let Some(entry) = write.append.iter().find(own).filter(|_| !changes) else {
            return Ok(());
        };
        let alarmed = &place.room.alarmed;
        let now: BTreeSet<NodeId> = replica.alarms().collect();
        let voters = replica.raft().configuration().voters();
        if [alarmed, &now].into_iter().any(|known| decides(voters, |id| !known.contains(&id))) {
            return Ok(());
        }
        let why = format!("node {} appends {} with alarms of {alarmed:?}", place.id, entry.id);
        Err(Broken::new("alarms keep data away", why))
    }

    /// A leader refuses a command for the disks of others: those with room must not decide.
    pub(crate) fn refused_for_alarms(
        &mut self,
        node: usize,
        named: &[NodeId],
    ) -> Result<(), Broken> {
        self.coverage.meet(Met::NoRoomElsewhere);
        self.rooms.refused_for_others += 1;
        let place = &self.nodes[node];
        let raft = place.replica.as_ref().expect("it was stepped").raft();
        // A change of members may come in the same turn, behind what is refused.
        let in_force = [place.room.configuration.as_ref(), Some(raft.configuration())];
        let is_right = in_force.into_iter().flatten().any(|known| {
            let decide = decides(known.voters(), |id| !named.contains(&id));
            !decide && named.iter().all(|id| votes(known, *id))
        });
        if !is_right {
            let why = format!("node {} refuses one for the disks of {named:?}", place.id);
            return Err(Broken::new("one full disk stops nobody", why));
        }
        Ok(())
    }

    /// The disks of a healed core fill up, but for the leader's: the log tells all of it, and data
    /// is refused if those with room do not decide. With room, all alarms go.
    pub(crate) fn refuse_for_others(&mut self) -> Result<(), Broken> {
        let Some((leader, _)) = self.healed_leader() else {
            return Ok(());
        };
        let replica = self.nodes[leader].replica.as_ref().expect("it leads");
        let configuration = replica.raft().configuration().clone();
        let counts = |node: &Node| configuration.recognises(node.id, node.incarnation);
        let full: Vec<usize> = self.core.iter().copied().filter(|node| *node != leader).collect();
        let members: BTreeSet<NodeId> = full
            .iter()
            .map(|at| &self.nodes[*at])
            .filter(|node| counts(node))
            .map(|n| n.id)
            .collect();
        for node in full {
            self.rooms.fill[node] = Fill::Short;
        }
        let stops = !decides(configuration.voters(), |id| !members.contains(&id));
        let refused = self.rooms.refused_for_others;
        self.until(SERVICE_NS, "alarms of full disks", |world| {
            let Some((leader, _)) = world.healed_leader() else { return Ok(false) };
            if stops {
                world.ask(leader, false)?;
            }
            let mut all = world.core.iter().map(|at| &world.nodes[*at]).filter(|node| counts(node));
            let known = all.all(|node| members.is_subset(node.host.alarms()));
            // Another leader may have no room itself, and says so first.
            let moved = world.rooms.fill[leader] != Fill::Room;
            Ok(known && (!stops || moved || world.rooms.refused_for_others > refused))
        })?;
        if stops {
            self.coverage.meet(Met::CoreAlarmed);
        }
        for node in self.core.clone() {
            self.rooms.fill[node] = Fill::Room;
        }
        self.until(SERVICE_NS, "the end of alarms", |world| {
            let core = || world.core.iter().map(|at| &world.nodes[*at]).filter(|node| counts(node));
            let ids: BTreeSet<NodeId> = core().map(|node| node.id).collect();
            let roomy = |node: &Node| {
                node.replica.as_ref().is_some_and(|replica| replica.room() < RoomLevel::Short)
            };
            Ok(core().all(|node| roomy(node) && ids.is_disjoint(node.host.alarms())))
        })?;
        let steady = self.now.after(ROOM_STEADY_NS);
        while self.turn(steady)? {}
        Ok(())
    }
}
