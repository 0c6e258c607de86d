//! Snapshots under way (§5): streams that break, are late, arrive twice or come from a leader that
//! is none any more; what a node does with one that has arrived; and its installation.

use consensus::{Entry, Input as Raw, LogIndex, NodeId, Term};
use replica::Input;

use crate::broken::Broken;
use crate::coverage::Met;
use crate::disk::Snapshot;
use crate::faults::MS;
use crate::node::{Late, Task, host};
use crate::stream::Stream;
use crate::world::{Happening, World};

impl World {
    /// Begins to send a node's state as it is now, or tells that it cannot be sent.
    pub(crate) fn send_snapshot(
        &mut self,
        from: usize,
        to: NodeId,
        term: Term,
        at_least: LogIndex,
    ) -> Result<(), Broken> {
        let Some(to) = self.nodes.iter().position(|node| node.id == to) else {
            return Ok(());
        };
        let node = &self.nodes[from];
        let (applied, life) = (node.host.applied(), node.life);
        let raft = node.replica.as_ref().expect("it was stepped").raft();
        let meta = raft.snapshot_meta(applied.index);
        // A leader whose own state waits to be replaced has nothing to send yet.
        let Some(meta) = meta.filter(|_| applied.index >= at_least) else {
            self.after(MS, Happening::Sent { node: from, life, to, delivered: false });
            return Ok(());
        };
        if meta.last != applied {
            let why = format!("node {} takes a snapshot at {applied} as {}", node.id, meta.last);
            return Err(Broken::new("a snapshot names its last entry (§5.1)", why));
        }
        self.coverage.meet(Met::SnapshotSent);
        if meta.configuration.voters().is_joint() {
            self.coverage.meet(Met::SnapshotInJoint);
        }
        let state = node.host.store().clone();
        let takes = self.rng.between(MS, self.profile.snapshot_ns);
        let broken = !self.is_safe(from, to) && self.rng.permille(self.profile.stream_breaks);
        if broken {
            self.coverage.meet(Met::StreamBroken);
            self.after(takes, Happening::Sent { node: from, life, to, delivered: false });
            return Ok(());
        }
        let heard = self.is_safe(from, to) || !self.rng.permille(self.profile.stream_breaks);
        let snapshot = Snapshot { meta, state };
        let to_life = self.nodes[to].life;
        let stream = Stream { from, from_life: life, to, to_life, term, snapshot, heard };
        if !self.faults_over && self.rng.permille(self.profile.duplicates) {
            self.coverage.meet(Met::StreamDoubled);
            let again = takes + self.rng.between(1, self.profile.snapshot_ns);
            let stream = Stream { heard: false, ..stream.clone() };
            self.after(again, Happening::Arrives(Box::new(stream)));
        }
        self.after(takes, Happening::Arrives(Box::new(stream)));
        Ok(())
    }

    /// The last byte of a snapshot arrives: it is written, unless another one waits already.
    pub(crate) fn arrives(&mut self, stream: Box<Stream>) -> Result<(), Broken> {
        let (from, to) = (&self.nodes[stream.from], &self.nodes[stream.to]);
        let sender_died = from.life != stream.from_life;
        let receiver_died = to.life != stream.to_life || !to.is_up();
        let cut = self.cut.contains(&(from.id, to.id));
        if sender_died {
            self.coverage.meet(Met::SenderDied);
            return Ok(());
        }
        if receiver_died || cut {
            if receiver_died {
                self.coverage.meet(Met::ReceiverDied);
            }
            self.tell_sender(&stream, false);
            return Ok(());
        }
        self.meet(stream.to, Late::Arrived(stream))
    }

    pub(crate) fn write_snapshot(&mut self, stream: Box<Stream>) {
        let to = &mut self.nodes[stream.to];
        if to.receiving || to.disk.snapshot.is_some() {
            self.tell_sender(&stream, false);
            return;
        }
        to.receiving = true;
        let takes = self.rng.between(MS, self.profile.disk_ns.max(2 * MS));
        self.after(takes, Happening::Received(stream));
    }

    /// A snapshot is durable at its receiver, beside the log and the state.
    pub(crate) fn received(&mut self, stream: Box<Stream>) -> Result<(), Broken> {
        let at = stream.to;
        if self.nodes[at].life != stream.to_life {
            self.coverage.meet(Met::ReceiverDied);
            self.tell_sender(&stream, false);
            return Ok(());
        }
        self.meet(at, Late::Received(stream))
    }

    pub(crate) fn offer_snapshot(&mut self, stream: &Stream) -> Result<(), Broken> {
        let Stream { to, term, snapshot, .. } = stream;
        let (to, term, meta) = (*to, *term, snapshot.meta.clone());
        self.coverage.meet(Met::SnapshotReceived);
        let node = &mut self.nodes[to];
        node.receiving = false;
        node.disk.snapshot = Some(snapshot.clone());
        let (own, life) = (node.replica.as_ref().map(|r| r.raft().term()), node.life);
        if own.is_some_and(|own| own > term) {
            self.coverage.meet(Met::SnapshotOfOldLeader);
        }
        let kept = node.memory.id(meta.last.index) == Some(meta.last);
        let from = self.nodes[stream.from].id;
        let input = Raw::SnapshotReceived { from, term, meta: meta.clone() };
        self.step(to, Input::Raft(input))?;
        let node = &mut self.nodes[to];
        if node.life == life {
            let installing = node.replica.as_ref().and_then(|r| r.raft().installing().cloned());
            let met = match installing {
                Some(wanted) if wanted == meta && kept => Met::SnapshotKeepsLog,
                Some(wanted) if wanted == meta => Met::SnapshotDropsLog,
                Some(_) | None => {
                    node.disk.snapshot = None;
                    Met::SnapshotUnwanted
                }
            };
            self.coverage.meet(met);
        }
        self.tell_sender(stream, true);
        Ok(())
    }

    /// Something that waited for a node to go on is lost with it: a stream breaks.
    pub(crate) fn lose(&mut self, late: &Late) {
        match late {
            Late::Arrived(stream) | Late::Received(stream) => self.tell_sender(stream, false),
            Late::Message(..) | Late::Ask(_) | Late::DiskDone | Late::Applied | Late::Due => {}
        }
    }

    fn tell_sender(&mut self, stream: &Stream, delivered: bool) {
        let delivered = delivered && stream.heard;
        let (node, life, to) = (stream.from, stream.from_life, stream.to);
        let delay = self.rng.between(MS / 10, 10 * MS);
        self.after(delay, Happening::Sent { node, life, to, delivered });
    }

    /// The snapshot on the disk takes the place of the state. It stays until the new state is
    /// durable, which is at once or a little later.
    pub(crate) fn install(&mut self, at: usize) -> Result<(), Broken> {
        self.coverage.meet(Met::Installed);
        let node = &mut self.nodes[at];
        let Some(snapshot) = node.disk.snapshot.clone() else {
            let why = format!("node {} has none", node.id);
            return Err(Broken::new("the snapshot to be installed is on the disk", why));
        };
        if !node.disk.log.base().index.ge(&snapshot.meta.last.index) {
            let why = format!("node {} replaces its state first", node.id);
            return Err(Broken::new("the log begins behind a snapshot before it is used", why));
        }
        node.host = host(snapshot.state);
        let index = node.applied();
        if self.rng.permille(500) {
            self.flush(at);
        } else {
            let (life, later) = (self.nodes[at].life, self.rng.between(1, 500) * MS);
            self.after(later, Happening::Flush { node: at, life });
        }
        self.oracle.applied(&self.nodes[at], &[], &mut self.coverage)?;
        self.step(at, Input::Applied { index, responses: Vec::new() })
    }

    /// Makes a node's state durable; the replica is told now or later.
    pub(crate) fn flush(&mut self, at: usize) {
        self.coverage.meet(Met::Flushed);
        let index = self.nodes[at].persist();
        let life = self.nodes[at].life;
        let late = self.rng.permille(200);
        let delay = if late { self.rng.between(1, 300) * MS } else { 1 };
        self.after(delay, Happening::Flushed { node: at, life, index });
    }

    /// Takes the task in front of the state machine.
    pub(crate) fn work(&mut self, at: usize) -> Result<(), Broken> {
        let Some(task) = self.nodes[at].tasks.pop_front() else {
            return Ok(());
        };
        if !self.nodes[at].tasks.is_empty() {
            self.schedule_apply(at);
        }
        match task {
            Task::Install => self.install(at),
            Task::Apply(to, entries) => {
                let node = &self.nodes[at];
                let range = node.applied().next()..to.next();
                let entries = entries.or_else(|| Some(node.memory.range(range)?.to_vec()));
                // What was read early may follow something that was not read in time.
                let follows = |entries: &Vec<Entry>| {
                    entries.first().is_some_and(|first| first.id.index == node.applied().next())
                };
                let Some(entries) = entries.filter(follows) else {
                    return self.overtaken(at, to);
                };
                self.oracle.applies(node, to)?;
                let responses = self.nodes[at].host.apply(&entries);
                let responses = responses.map_err(|error| {
                    Broken::new("entries are applied in order", error.to_string())
                })?;
                self.oracle.applied(&self.nodes[at], &responses, &mut self.coverage)?;
                if self.rng.permille(self.profile.flushes) {
                    self.flush(at);
                }
                self.step(at, Input::Applied { index: to, responses })
            }
        }
    }

    /// Entries are gone before they were read: a snapshot has come that covers them.
    fn overtaken(&mut self, at: usize, to: LogIndex) -> Result<(), Broken> {
        let node = &self.nodes[at];
        let raft = node.replica.as_ref().expect("its life goes on").raft();
        if raft.installing().is_some_and(|meta| meta.last.index >= to) {
            self.coverage.meet(Met::ApplyOvertaken);
            return Ok(());
        }
        let why = format!("node {} lacks what it shall apply up to {to}", node.id);
        Err(Broken::new("what is to be applied is in the log", why))
    }
}
