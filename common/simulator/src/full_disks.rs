//! Disks that fill up and have room again, and what must therefore be so.

use consensus::{Payload, Timestamp};
use replica::{Input, ROOM_STEADY_NS, RoomAction, RoomLevel, Space, room_above};

use crate::broken::Broken;
use crate::coverage::Met;
use crate::faults::MS;
use crate::liveness::SERVICE_NS;
use crate::rooms::{Fill, LEAST, NEEDED, frees_space};
use crate::world::{Happening, World};

impl World {
    /// Begins to measure all disks, if they fill up in this seed.
    pub(crate) fn measure_all(&mut self) {
        for node in 0..self.nodes.len() {
            if self.rooms.fill_up {
                self.after(1, Happening::Measure { node });
            }
        }
    }

    /// A disk is measured; now and then it has filled up, or has room again.
    pub(crate) fn measure(&mut self, node: usize) -> Result<(), Broken> {
        let next = self.rooms.rng.between(100, 900) * MS;
        self.after(next, Happening::Measure { node });
        if !self.faults_over && self.rooms.rng.permille(100) {
            self.fill_up(node);
        }
        let place = &self.nodes[node];
        if !place.is_up() || place.paused {
            return Ok(());
        }
        let space = self.rooms.measure(node);
        self.step(node, Input::Space(space))
    }

    /// What a node was told of its disk in a turn counts from then on.
    pub(crate) fn note_room(&mut self, node: usize, now: Timestamp, told: Option<(Space, u64)>) {
        let room = &mut self.nodes[node].room;
        if let Some((space, least_bytes)) = told {
            (room.space, room.told_now) = (Some(space), false);
            // Who stood still is told at once of a disk that was full meanwhile, and is not.
            if least_bytes < room_above(NEEDED) + room.most() {
                room.since = None;
            }
        }
        if let Some(space) = room.space {
            let since = room.since.unwrap_or(now);
            let has_room = space.usable_bytes >= room_above(NEEDED) + room.most();
            room.since = has_room.then_some(since);
        }
        let replica = self.nodes[node].replica.as_ref();
        let alarmed = replica.map(|replica| replica.alarms().collect()).unwrap_or_default();
        let configuration = replica.map(|replica| replica.raft().configuration().clone());
        self.nodes[node].room.alarmed = alarmed;
        self.nodes[node].room.configuration = configuration;
    }

    fn fill_up(&mut self, node: usize) {
        let fill = self.rooms.redraw();
        if self.rooms.rng.permille(300) {
            self.rooms.fill.fill(fill);
            if fill != Fill::Room {
                self.coverage.meet(Met::DisksFull);
            }
        } else {
            self.rooms.fill[node] = fill;
            if fill != Fill::Room {
                self.coverage.meet(Met::DiskFull);
            }
        }
    }

    /// What a node appends must have room: nothing at the end, and before that only what frees
    /// space, if this node leads.
    pub(crate) fn has_room_for(
        &mut self,
        node: usize,
        write: &consensus::Write,
    ) -> Result<(), Broken> {
        let place = &self.nodes[node];
        let told = place.room.space.filter(|_| !place.room.told_now);
        let Some(space) = told.filter(|space| space.usable_bytes < NEEDED) else {
            return Ok(());
        };
        let at_its_end = space.usable_bytes < LEAST;
        let leads = place.replica.as_ref().is_some_and(|replica| replica.raft().leads());
        for entry in &write.append {
            let Payload::Command(command) = &entry.payload else {
                if at_its_end && leads {
                    self.coverage.meet(Met::ElectedWithoutRoom);
                }
                continue;
            };
            if at_its_end || (leads && !frees_space(command)) {
                let why = format!("node {} appends {} with {space:?}", place.id, entry.id);
                return Err(Broken::new("a full disk takes no more data", why));
            }
            if leads {
                self.coverage.meet(Met::Freed);
            }
        }
        Ok(())
    }

    /// A node refuses a command for want of room: it must have none, or not for long.
    pub(crate) fn refused_for_room(&mut self, node: usize, deletions: bool) -> Result<(), Broken> {
        self.coverage.meet(Met::NoRoom);
        let place = &self.nodes[node];
        // The command may have been looked at before the clock was read again in this turn.
        let now = place.turns.began;
        let most = place.room.most();
        let has_room = place.room.space.is_some_and(|space| space.usable_bytes >= NEEDED + most);
        let steady = place.room.since.is_some_and(|since| now.since(since) >= ROOM_STEADY_NS);
        let steady = steady && has_room;
        let is_at_end =
            |spare: u64| place.room.space.is_some_and(|s| s.usable_bytes < LEAST + spare);
        let is_wrong = if deletions { is_at_end(0) } else { !is_at_end(most) };
        if !place.room.told_now && (steady || is_wrong) {
            let why = format!("node {} refuses one with {:?}", place.id, place.room);
            return Err(Broken::new("a disk with room takes data", why));
        }
        Ok(())
    }

    /// What becomes of the room on a node's disk.
    pub(crate) fn room_lanes(&mut self, node: usize, actions: &[RoomAction], dropped: u64) {
        for action in actions {
            match action {
                RoomAction::Tell { before, level } => {
                    if before > level && *before == RoomLevel::Short {
                        self.coverage.meet(Met::RoomAgain);
                    }
                }
                RoomAction::Flush => {
                    self.coverage.meet(Met::FlushedForRoom);
                    let life = self.nodes[node].life;
                    self.after(1, Happening::Flush { node, life });
                }
            }
        }
        for _ in 0..dropped {
            self.coverage.meet(Met::EntriesDropped);
        }
    }

    /// Leaves a healed core with enough room to go on, and perhaps with none for data.
    pub(crate) fn leave_some_room(&mut self) {
        for node in self.core.clone() {
            if self.rooms.fill[node] == Fill::End {
                self.rooms.fill[node] = Fill::Short;
            }
        }
    }

    /// A healed core serves reads and deletions without room for data. Then it has room again.
    /// Returns how long that took, in nanoseconds.
    pub(crate) fn serve_without_room(&mut self) -> Result<u64, Broken> {
        if !self.rooms.fill_up {
            return Ok(0);
        }
        let began = self.now;
        let (writes, reads) = (self.clients.writes_done, self.clients.reads_done);
        self.until(SERVICE_NS + self.feeding_ns(), "a deletion and a read", |world| {
            if let Some((leader, _)) = world.healed_leader() {
                // Some of them free space.
                world.ask(leader, false)?;
                world.ask(leader, false)?;
                world.ask(leader, true)?;
            }
            Ok(world.clients.writes_done > writes && world.clients.reads_done > reads)
        })?;
        if self.core.iter().any(|node| self.rooms.fill[*node] == Fill::Short) {
            self.coverage.meet(Met::CoreWithoutRoom);
        }
        for node in self.core.clone() {
            self.rooms.fill[node] = Fill::Room;
        }
        // What was told before counts until there was room for a while.
        let steady = self.now.after(2 * ROOM_STEADY_NS);
        while self.turn(steady)? {}
        self.refuse_for_others()?;
        Ok(self.now.since(began))
    }
}
