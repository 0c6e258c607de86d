//! How processes end by themselves: told to stop, or since a write or the state machine fails; and
//! silences, in which all nodes stand still for days.

use std::ops::RangeInclusive;

use consensus::{Entry, Input as Raw, LogIndex, NodeId};
use replica::Input;

use crate::broken::Broken;
use crate::coverage::Met;
use crate::faults::MS;
use crate::node::Task;
use crate::world::{Happening, World};

/// How long a leader that stops waits for its successor.
const HAND_OVER_NS: u64 = 1_000 * MS;

/// A process that fails goes on for so long, at most.
const GRACE_NS: u64 = 2_000 * MS;

/// A snapshot's installation fails so many times as often as another task of the state machine.
const INSTALLS_FAIL: u64 = 10;

impl World {
    /// A trouble of those that this seed has.
    pub(crate) fn trouble(&mut self) -> Result<(), Broken> {
        if self.faults_over {
            return Ok(());
        }
        let next = self.rng.wait(self.habits.trouble_ns);
        self.after(next, Happening::Trouble);
        if self.rng.permille(self.habits.silences) {
            self.fall_silent();
        }
        let node = match self.rng.permille(500) {
            true => self.leader,
            false => self.rng.index(self.nodes.len()),
        };
        if self.rng.permille(self.habits.stops) {
            return self.stop(node);
        }
        Ok(())
    }

    /// All hosts are suspended, and go on at the same time.
    fn fall_silent(&mut self) {
        let most = self.habits.silence_ns_max / MS;
        let ahead = self.rng.between(1, most) * MS;
        self.coverage.meet(Met::Silence);
        for node in 0..self.nodes.len() {
            self.nodes[node].jump(ahead);
            self.nodes[node].wake = None;
            self.schedule_wake(node);
        }
    }

    /// A process is told to stop: a leader hands over first.
    fn stop(&mut self, node: usize) -> Result<(), Broken> {
        let place = &self.nodes[node];
        let Some(replica) = place.replica.as_ref().filter(|_| !place.paused) else {
            return Ok(());
        };
        self.coverage.meet(Met::Stop);
        let own = place.id;
        let away = |id: NodeId| self.cut.contains(&(own, id));
        let successor = replica.successor(place.local(self.now), |id| !away(id));
        let successor = successor.filter(|_| replica.raft().leads());
        let Some(to) = successor else {
            self.ends_after(node, 0);
            return Ok(());
        };
        let to = self.nodes.iter().position(|node| node.id == to).expect("it is a node");
        let long = self.rng.between(0, HAND_OVER_NS);
        self.ends_after(node, long);
        self.hand_over(node, to)
    }

    /// A new leader gives leadership back at once to whom it has it from, so that somebody leads,
    /// loses and leads again while messages are under way.
    pub(crate) fn give_back(&mut self, node: usize) {
        let (life, to) = (self.nodes[node].life, self.previous_leader);
        if to != node && !self.faults_over && self.rng.permille(self.habits.gives_back) {
            let later = self.rng.between(MS, 12 * MS);
            self.after(later, Happening::GiveBack { node, life, to });
        }
    }

    /// It does so now.
    pub(crate) fn given_back(&mut self, node: usize, life: u32, to: usize) -> Result<(), Broken> {
        let place = &self.nodes[node];
        let leads = place.replica.as_ref().is_some_and(|replica| replica.raft().leads());
        if place.life != life || place.paused || !leads || self.faults_over {
            return Ok(());
        }
        self.coverage.meet(Met::LeadsAgain);
        self.hand_over(node, to)
    }

    /// A batch of writes is done, or has failed.
    pub(crate) fn disk_done(&mut self, node: usize) -> Result<(), Broken> {
        if self.nodes[node].watch.disk_failed {
            return Ok(());
        }
        let fails = !self.faults_over && self.rng.permille(self.habits.failing_writes);
        if let Some(write) = self.nodes[node].disk.under_way().filter(|_| fails) {
            self.coverage.meet(Met::WriteFailed);
            self.nodes[node].watch.disk_failed = true;
            self.ends_soon(node);
            return self.step(node, Input::Raft(Raw::WriteFailed { write }));
        }
        let Some((write, more)) = self.nodes[node].disk.done() else {
            return Ok(());
        };
        if more {
            self.schedule_disk(node);
        }
        self.durable(node)?;
        if self.strikes(self.habits.crash_written) {
            self.coverage.meet(Met::CrashWritten);
            self.crash(node);
            return Ok(());
        }
        self.step(node, Input::Raft(Raw::Persisted { write }))
    }

    /// Says whether the state machine fails at a task, after which its process ends.
    pub(crate) fn task_fails(&mut self, node: usize, task: &Task) -> bool {
        // Installations are rare, and have a step of their own that fails.
        let rarity = if matches!(task, Task::Install(_)) { INSTALLS_FAIL } else { 1 };
        let odds = self.habits.failing_tasks * rarity;
        let fails = !self.faults_over && self.rng.permille(odds);
        if fails {
            self.coverage.meet(match task {
                Task::Install(_) => Met::InstallFailed,
                Task::Apply(..) | Task::View | Task::Checkpoint => Met::ApplyFailed,
            });
            self.nodes[node].tasks.clear();
            self.nodes[node].watch.machine_failed = true;
            self.ends_soon(node);
        }
        fails
    }

    fn ends_soon(&mut self, node: usize) {
        let at_once = self.rng.permille(500);
        let grace = if at_once { 1 } else { self.rng.between(1, GRACE_NS) };
        self.ends_after(node, grace);
    }

    fn ends_after(&mut self, node: usize, nanos: u64) {
        let life = self.nodes[node].life;
        self.nodes[node].watch.ends = true;
        self.after(nanos, Happening::Ends { node, life });
    }

    /// A process ends: all that wait are told, and then it is gone.
    pub(crate) fn end(&mut self, node: usize, life: u32) -> Result<(), Broken> {
        if self.nodes[node].life != life || !self.nodes[node].is_up() {
            return Ok(());
        }
        if self.nodes[node].paused {
            self.after(10 * MS, Happening::Ends { node, life });
            return Ok(());
        }
        self.coverage.meet(Met::Ended);
        self.finish_turn(node)?;
        self.step_at_once(node, Input::Abandon)?;
        let place = &self.nodes[node];
        if place.life != life {
            return Ok(());
        }
        place.watch.nobody_waits(place.id)?;
        self.crash(node);
        Ok(())
    }

    /// Returns how long the state takes to be replaced, at most.
    pub(crate) fn install_ns(&self) -> u64 {
        self.profile.apply_ns.max(self.habits.install_ns)
    }

    /// Returns what of a range to be applied is in memory, as the daemon hands it to its state
    /// machine: all, some or nothing, by the room that there is.
    pub(crate) fn at_hand(
        &mut self,
        node: usize,
        range: &RangeInclusive<LogIndex>,
    ) -> Option<Vec<Entry>> {
        let room = match self.rng.index(4) {
            0 => return None,
            1 => self.rng.index(1_000),
            _ => usize::MAX,
        };
        let replica = self.nodes[node].replica.as_ref().expect("it was stepped");
        replica.entries(*range.start()..range.end().next(), room)
    }
}
