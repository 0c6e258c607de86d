//! Files and streams of snapshots (§5): streams that break, are late, arrive twice or come from a
//! leader that is none any more, and what the state machine does with what has arrived. What is
//! made, sent, received and deleted is decided by the replica.

use consensus::{Entry, EntryId, LogIndex, NodeId, RequestId, Term};
use replica::{Input, SnapshotAction, SnapshotNews, Transfer};

use crate::broken::Broken;
use crate::changes::CHANGE;
use crate::coverage::Met;
use crate::disk::Snapshot;
use crate::faults::MS;
use crate::node::{Late, Node, Task, host};
use crate::store::Store;
use crate::stream::Stream;
use crate::world::{Happening, STATE_BYTES, World};

impl World {
    /// An operator asks a node for a snapshot.
    pub(crate) fn take_snapshot(&mut self, node: usize) -> Result<(), Broken> {
        if self.nodes[node].paused {
            return Ok(());
        }
        self.step(node, Input::TakeSnapshot { request: RequestId::new(CHANGE) })
    }

    /// What is given up in a turn holds nothing any more, the writes of that turn included.
    pub(crate) fn forget_given_up(&mut self, node: usize, actions: &[SnapshotAction]) {
        for action in actions {
            if let SnapshotAction::GiveUp { number, to: _ } = action {
                self.nodes[node].sending.remove(number);
            }
        }
    }

    /// Does what the replica wants done about snapshots.
    pub(crate) fn snapshot(&mut self, at: usize, action: SnapshotAction) -> Result<(), Broken> {
        let life = self.nodes[at].life;
        match action {
            SnapshotAction::Flush => {
                let later = self.rng.between(1, 20) * MS;
                self.after(later, Happening::Flush { node: at, life });
            }
            SnapshotAction::Checkpoint => self.enqueue(at, Task::Checkpoint),
            SnapshotAction::Make(mut meta) => {
                meta.chain = self.nodes[at].disk.log.chain(meta.last.index);
                if meta.configuration.voters().is_joint() {
                    self.coverage.meet(Met::SnapshotInJoint);
                }
                self.nodes[at].making = Some(meta.last);
                let state = self.nodes[at].checkpoint.take().expect("it was asked for");
                let fails = !self.faults_over && self.rng.permille(self.profile.stream_breaks);
                let snapshot = (!fails).then(|| Box::new(Snapshot { meta, state }));
                let takes = self.rng.between(MS, self.profile.disk_ns.max(2 * MS));
                self.after(takes, Happening::Made { node: at, life, snapshot });
            }
            SnapshotAction::Send { number, to, term, last } => {
                return self.send_snapshot(at, (number, to), term, last);
            }
            // It is forgotten already; what has left this node may still arrive.
            SnapshotAction::GiveUp { .. } => self.coverage.meet(Met::TransferGivenUp),
            // What has left this node may still arrive; nobody waits for how it ends.
            SnapshotAction::StopSending => self.nodes[at].sending.clear(),
            SnapshotAction::Receive { offer } => {
                let stream = self.nodes[at].offers.remove(&offer).expect("it was offered");
                self.after(stream.takes_ns, Happening::Received(stream));
            }
            SnapshotAction::Decline { offer } => {
                self.coverage.meet(Met::SnapshotDeclined);
                let stream = self.nodes[at].offers.remove(&offer).expect("it was offered");
                self.tell_sender(&stream, Transfer::Broken);
            }
            SnapshotAction::Delete { last } => {
                self.coverage.meet(Met::SnapshotDeleted);
                let node = &mut self.nodes[at];
                if node.sending.values().any(|sent| *sent == last) {
                    let why = format!("node {} deletes the snapshot up to {last}", node.id);
                    return Err(Broken::new("a snapshot that is being sent stays", why));
                }
                node.disk.delete(last);
                return self.durable(at);
            }
        }
        Ok(())
    }

    /// A snapshot is a whole file, or could not be written.
    pub(crate) fn made(
        &mut self,
        at: usize,
        life: u32,
        snapshot: Option<Box<Snapshot>>,
    ) -> Result<(), Broken> {
        if self.nodes[at].life != life {
            return Ok(());
        }
        self.nodes[at].making = None;
        let last = snapshot.as_ref().map(|snapshot| snapshot.meta.last);
        self.coverage.meet(if last.is_some() { Met::SnapshotMade } else { Met::SnapshotFailed });
        if let Some(snapshot) = snapshot {
            self.nodes[at].disk.keep(*snapshot);
        }
        self.meet(at, Late::Ask(Input::Snapshot(SnapshotNews::Made { last })))
    }

    /// Begins to send a file, or tells that there is no way to its receiver.
    fn send_snapshot(
        &mut self,
        from: usize,
        (number, to): (u64, NodeId),
        term: Term,
        last: EntryId,
    ) -> Result<(), Broken> {
        let node = &mut self.nodes[from];
        let life = node.life;
        node.sending.insert(number, last);
        let Some(snapshot) = node.disk.file(last).cloned() else {
            let why = format!("node {} has none up to {last}", node.id);
            return Err(Broken::new("a snapshot that is sent is on the disk", why));
        };
        let sent = |end| Happening::Sent { node: from, life, number, to, end };
        let away = self.cut.contains(&(node.id, to)) && self.rng.permille(500);
        let place = self.nodes.iter().position(|node| node.id == to).filter(|_| !away);
        let Some(to) = place else {
            self.after(MS, sent(Transfer::NotBegun));
            return Ok(());
        };
        self.coverage.meet(Met::SnapshotSent);
        let takes = self.rng.between(MS, self.profile.snapshot_ns);
        let breaks = |world: &mut Self| {
            !world.is_safe(from, to) && world.rng.permille(world.profile.stream_breaks)
        };
        if breaks(self) {
            self.coverage.meet(Met::StreamBroken);
            self.after(takes, sent(Transfer::Broken));
            return Ok(());
        }
        let heard = !breaks(self);
        let to_life = self.nodes[to].life;
        let takes_ns = takes + self.rng.between(MS, self.profile.disk_ns.max(2 * MS));
        let from_life = life;
        let stream =
            Stream { from, from_life, to, to_life, number, term, snapshot, takes_ns, heard };
        let begins = self.rng.between(MS / 10, 10 * MS);
        if !self.faults_over && self.rng.permille(self.profile.duplicates) {
            self.coverage.meet(Met::StreamDoubled);
            let again = begins + self.rng.between(1, takes + self.profile.snapshot_ns);
            let stream = Stream { heard: false, ..stream.clone() };
            self.after(again, Happening::Arrives(Box::new(stream)));
        }
        self.after(begins, Happening::Arrives(Box::new(stream)));
        Ok(())
    }

    /// Says whether nothing of a stream arrives any more: its sender has died, or is cut off.
    fn has_ended(&mut self, stream: &Stream) -> bool {
        let (from, to) = (&self.nodes[stream.from], &self.nodes[stream.to]);
        let sender_died = from.life != stream.from_life;
        if sender_died {
            self.coverage.meet(Met::SenderDied);
        }
        sender_died || self.cut.contains(&(from.id, to.id))
    }

    /// The first byte of a snapshot arrives.
    pub(crate) fn arrives(&mut self, stream: Box<Stream>) -> Result<(), Broken> {
        let to = &self.nodes[stream.to];
        let receiver_died = to.life != stream.to_life || !to.is_up();
        if self.has_ended(&stream) || receiver_died {
            if receiver_died {
                self.coverage.meet(Met::ReceiverDied);
            }
            self.tell_sender(&stream, Transfer::Broken);
            return Ok(());
        }
        self.meet(stream.to, Late::Arrived(stream))
    }

    /// The replica decides whether a snapshot is taken.
    pub(crate) fn offered(&mut self, stream: Box<Stream>) -> Result<(), Broken> {
        let at = stream.to;
        self.offers += 1;
        let offer = self.offers;
        self.nodes[at].offers.insert(offer, stream);
        self.step(at, Input::Snapshot(SnapshotNews::Offered { offer }))
    }

    /// All of a snapshot is durable at its receiver, beside the log and the state; or that is all
    /// that ever comes of it.
    pub(crate) fn received(&mut self, stream: Box<Stream>) -> Result<(), Broken> {
        let at = stream.to;
        if self.nodes[at].life != stream.to_life {
            self.coverage.meet(Met::ReceiverDied);
            self.tell_sender(&stream, Transfer::Broken);
            return Ok(());
        }
        self.meet(at, Late::Received(stream))
    }

    pub(crate) fn receive_snapshot(&mut self, stream: &Stream) -> Result<(), Broken> {
        let Stream { from, to, term, snapshot, .. } = stream;
        let (from, to, term, meta) = (*from, *to, *term, snapshot.meta.clone());
        let leader = self.nodes[from].id;
        // Or its bytes are not what their sender said, or a disk does not take them.
        let fails = !self.is_safe(from, to) && self.rng.permille(self.profile.stream_breaks);
        if self.has_ended(stream) || fails {
            self.coverage.meet(Met::ReceiptFailed);
            let news = SnapshotNews::Received { from: leader, term, meta: None };
            self.step(to, Input::Snapshot(news))?;
            self.tell_sender(stream, Transfer::Broken);
            return Ok(());
        }
        self.coverage.meet(Met::SnapshotReceived);
        let node = &mut self.nodes[to];
        node.disk.keep(snapshot.clone());
        let own = node.replica.as_ref().map(|replica| replica.raft().term());
        if own.is_some_and(|own| own > term) {
            self.coverage.meet(Met::SnapshotOfOldLeader);
        }
        let news = SnapshotNews::Received { from: leader, term, meta: Some(meta) };
        self.step(to, Input::Snapshot(news))?;
        self.tell_sender(stream, Transfer::Delivered);
        Ok(())
    }

    /// Something that waited for a node to go on is lost with it: a stream breaks.
    pub(crate) fn lose(&mut self, late: &Late) {
        match late {
            Late::Arrived(stream) | Late::Received(stream) => {
                self.tell_sender(stream, Transfer::Broken);
            }
            Late::Message(..)
            | Late::Ask(_)
            | Late::Answer(_)
            | Late::DiskDone
            | Late::Read(_)
            | Late::Applied
            | Late::Due => {}
        }
    }

    fn tell_sender(&mut self, stream: &Stream, end: Transfer) {
        let end = if stream.heard { end } else { Transfer::Broken };
        let Stream { from, from_life, number, .. } = *stream;
        let to = self.nodes[stream.to].id;
        let delay = self.rng.between(MS / 10, 10 * MS);
        self.after(delay, Happening::Sent { node: from, life: from_life, number, to, end });
    }

    /// A snapshot on the disk takes the place of the state. It stays until the new state is
    /// durable, which is at once or a little later.
    fn install(&mut self, at: usize, last: EntryId) -> Result<(), Broken> {
        self.coverage.meet(Met::Installed);
        let node = &mut self.nodes[at];
        let Some(snapshot) = node.disk.file(last) else {
            let why = format!("node {} has none", node.id);
            return Err(Broken::new("the snapshot to be installed is on the disk", why));
        };
        if node.disk.log.base().index < last.index {
            let why = format!("node {} replaces its state first", node.id);
            return Err(Broken::new("the log begins behind a snapshot before it is used", why));
        }
        let state = snapshot.state.clone();
        let fresh = host(state.clone());
        node.host.with_store(|store| *store = Store::new(state)).expect("memory does not fail");
        if node.host.noted() != fresh.noted() {
            let (id, noted, wanted) = (node.id, node.host.noted(), fresh.noted());
            let why = format!("node {id} knows {noted:?} of a state that has {wanted:?}");
            return Err(Broken::new("an installed state is known as a whole", why));
        }
        let index = node.applied();
        if self.rng.permille(500) {
            self.flush(at);
        } else {
            let (life, later) = (self.nodes[at].life, self.rng.between(1, 500) * MS);
            self.after(later, Happening::Flush { node: at, life });
        }
        self.oracle.applied(&self.nodes[at], &[], &mut self.coverage)?;
        let life = self.nodes[at].life;
        self.view(at)?;
        if self.nodes[at].life != life {
            return Ok(());
        }
        self.effects(at, index.get() - 1)?;
        if self.nodes[at].life != life {
            return Ok(());
        }
        self.tell_alarms(at)?;
        if self.nodes[at].life != life {
            return Ok(());
        }
        self.step(at, Input::Applied { index, responses: Vec::new() })
    }

    /// Tells of the digests behind the entries after one.
    fn effects(&mut self, at: usize, after: u64) -> Result<(), Broken> {
        let host = &self.nodes[at].host;
        let (last, digests) = (host.applied().index, host.effects().after(LogIndex::new(after)));
        self.step(at, Input::Effects { last, digests })
    }

    /// There is a view of the present state.
    fn view(&mut self, at: usize) -> Result<(), Broken> {
        let node = &mut self.nodes[at];
        node.view = node.host.view();
        let applied = node.view.applied();
        self.step(at, Input::Viewed { applied })
    }

    /// The state is made durable, and kept at hand for a snapshot.
    fn checkpoint(&mut self, at: usize) -> Result<(), Broken> {
        let node = &mut self.nodes[at];
        let left = node.host.leftovers().expect("memory does not fail");
        if let Some(one) = left.first() {
            let why = format!("node {}: {one}", node.id);
            return Err(Broken::new("what is over leaves nothing behind (§6.3)", why));
        }
        let (index, last, life) = (node.persist(), node.host.applied(), node.life);
        node.checkpoint = Some(node.host.store().state());
        let fails = !self.faults_over && self.rng.permille(self.profile.stream_breaks / 4);
        self.step(at, Input::Flushed { index, state_bytes: STATE_BYTES })?;
        if self.nodes[at].life != life {
            return Ok(());
        }
        let last = (!fails).then_some(last);
        self.step(at, Input::Snapshot(SnapshotNews::Checkpointed { last }))
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
        if self.task_fails(at, &task) {
            return Ok(());
        }
        match task {
            Task::Install(last) => self.install(at, last),
            Task::View => self.view(at),
            Task::Checkpoint => self.checkpoint(at),
            Task::Apply(to, entries) => {
                let node = &self.nodes[at];
                let Some(entries) = whole(node, to, entries) else {
                    return self.overtaken(at, to);
                };
                self.oracle.applies(node, to)?;
                for entry in &entries {
                    self.oracle.is_committed(node.id, entry, entry.id.index)?;
                }
                let before = node.applied();
                let responses = self.nodes[at].host.apply(&entries);
                let responses = responses.map_err(|error| {
                    Broken::new("entries are applied in order", error.to_string())
                })?;
                self.oracle.applied(&self.nodes[at], &responses, &mut self.coverage)?;
                if self.rng.permille(self.profile.flushes) {
                    self.flush(at);
                }
                let life = self.nodes[at].life;
                if self.nodes[at].views {
                    self.view(at)?;
                }
                if self.nodes[at].life != life {
                    return Ok(());
                }
                self.effects(at, before.get())?;
                if self.nodes[at].life != life {
                    return Ok(());
                }
                self.tell_alarms(at)?;
                if self.nodes[at].life != life {
                    return Ok(());
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
        let why = format!(
            "node {} has applied {}, its log begins behind {}: it lacks what comes up to {to}",
            node.id,
            node.applied(),
            node.memory.base()
        );
        Err(Broken::new("what is to be applied is in the log", why))
    }
}

/// Returns what is to be applied up to `to`: what was at hand, and the rest from the log. What was
/// at hand may follow something that was not read in time.
fn whole(node: &Node, to: LogIndex, at_hand: Option<Vec<Entry>>) -> Option<Vec<Entry>> {
    let next = node.applied().next();
    let mut entries = at_hand.unwrap_or_default();
    if entries.first().is_some_and(|first| first.id.index != next) {
        return None;
    }
    let begin = entries.last().map_or(next, |last| last.id.index.next());
    if begin <= to {
        entries.extend_from_slice(node.memory.range(begin..to.next())?);
    }
    Some(entries)
}
