//! Crashes: nodes lose their power, and start again from what their disks hold.

use consensus::{Config, Input as Raw, NodeId};
use replica::{Input, Limits};

use crate::broken::Broken;
use crate::coverage::Met;
use crate::disk::Lost;
use crate::faults::{MS, Profile};
use crate::node::{Late, Start};
use crate::world::{Happening, World};

/// A restart within less is quicker than any election.
const QUICK_NS: u64 = 150 * MS;

/// Of a thousand others, so many learn that a process has ended, within so long.
const MISSED: u64 = 700;
const MISSED_NS: u64 = 60 * MS;

impl World {
    pub(crate) fn crash(&mut self, node: usize) {
        let down = self.rng.between(0, self.profile.down_ns);
        self.crash_for(node, down);
    }

    pub(crate) fn crash_for(&mut self, node: usize, down_ns: u64) {
        if !self.nodes[node].is_up() {
            return;
        }
        self.coverage.meet(Met::Crash);
        if down_ns < QUICK_NS {
            self.coverage.meet(Met::QuickRestart);
        }
        let id = self.nodes[node].id;
        self.clients.forget(id);
        for late in std::mem::take(&mut self.nodes[node].backlog) {
            self.lose(&late);
        }
        match self.nodes[node].crash(&mut self.rng) {
            Lost::Nothing => {}
            Lost::Writes => self.coverage.meet(Met::WritesLost),
            Lost::Torn => self.coverage.meet(Met::WritesTorn),
            Lost::Survived => self.coverage.meet(Met::WritesSurvived),
        }
        let life = self.nodes[node].life;
        self.after(down_ns, Happening::Start { node, life });
        self.is_missed(id);
    }

    /// Others learn that a process has ended: soon, or when it runs again, or never, as whoever is
    /// cut off. To be told so of a process that runs changes nothing for the better or worse.
    fn is_missed(&mut self, peer: NodeId) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].id != peer && self.nodes[node].is_up() && self.rng.permille(MISSED)
            {
                let (life, after) = (self.nodes[node].life, self.rng.between(0, MISSED_NS));
                self.after(after, Happening::Gone { node, life, peer });
            }
        }
    }

    /// A node learns that a process has ended.
    pub(crate) fn misses(&mut self, node: usize, life: u32, peer: NodeId) -> Result<(), Broken> {
        self.coverage.meet(Met::Gone);
        self.if_alive(node, life, Late::Ask(Input::Raft(Raw::Gone { peer })))
    }

    /// Says whether a node dies at a point at which so many of a thousand do.
    pub(crate) fn strikes(&mut self, odds: u64) -> bool {
        odds > 0 && !self.faults_over && self.rng.permille(odds)
    }

    pub(crate) fn start(&mut self, node: usize) -> Result<(), Broken> {
        if self.nodes[node].is_up() || !self.is_looked_over(node)? {
            return Ok(());
        }
        let config = Config {
            freedom: self.profile.freedom,
            catch_up_max: self.profile.catch_up,
            lease_clock_error_ppm: self.profile.lease_ppm,
            ..self.habits.limits.config(self.rng.next())
        };
        let Profile { keep, feed, cache_bytes: cache_bytes_max, .. } = self.profile;
        let limits = Limits { cache_bytes_max, keep, feed, ..self.habits.limits.replica() };
        match self.nodes[node].start(self.now, config, limits)? {
            Start::Plain => {}
            Start::Installs => self.coverage.meet(Met::RestartInstalls),
            Start::DropsSnapshot => self.coverage.meet(Met::RestartDropsSnapshot),
        }
        self.oracle.reconfigured(&self.nodes[node])?;
        self.oracle.applied(&self.nodes[node], &[], &mut self.coverage)?;
        self.schedule_wake(node);
        Ok(())
    }

    /// What a log on a disk lacks must be in a durable state, at every moment.
    pub(crate) fn durable(&self, node: usize) -> Result<(), Broken> {
        let node = &self.nodes[node];
        if node.disk.is_covered() {
            return Ok(());
        }
        let (base, flushed) = (node.disk.log.base(), node.disk.flushed);
        let why = format!("node {}'s log begins behind {base}, its state at {flushed}", node.id);
        Err(Broken::new("what is compacted is in a durable state (§5.1)", why))
    }
}
