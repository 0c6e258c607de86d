//! Snapshots (§5): logs are compacted behind what is applied, and whoever needs what is gone gets
//! the state by a stream that may arrive late, or break.
//!
//! The state itself is not modelled. It is applied at once and durable wherever the log begins
//! behind it, so that what the log has at its base tells all.

use std::sync::Arc;

use consensus::{Input, LogIndex, NodeId, Term};

use super::action::Stream;
use super::members::{id, place_of};
use super::world::{World, spend};

impl World {
    /// A node's state is durable: it compacts its log behind it.
    pub(super) fn compact(&mut self, at: usize) -> Result<bool, String> {
        let raft = &self.nodes[at].raft;
        let meta = raft.snapshot_meta(raft.applied());
        let Some(meta) = meta.filter(|_| self.has_more(at)) else {
            return Ok(false);
        };
        if spend(&mut self.budget.compactions).is_none() {
            return Ok(false);
        }
        self.oracle.is_named(&meta)?;
        self.step_with(at, Input::SnapshotTaken { meta })?;
        Ok(true)
    }

    /// Says whether a node has applied something that its log still holds.
    pub(super) fn has_more(&self, at: usize) -> bool {
        let raft = &self.nodes[at].raft;
        raft.applied() > raft.status().base.index
    }

    /// Begins to send a node's state, or tells it at once that it has none to send yet.
    pub(super) fn send_snapshot(
        &mut self,
        from: usize,
        to: NodeId,
        term: Term,
        at_least: LogIndex,
    ) -> Result<(), String> {
        let raft = &self.nodes[from].raft;
        let applied = raft.applied();
        match raft.snapshot_meta(applied).filter(|_| applied >= at_least) {
            Some(meta) => {
                self.oracle.is_named(&meta)?;
                let to = place_of(to);
                self.streams.push(Arc::new(Stream { from, to, term, meta }));
                Ok(())
            }
            None => self.step(from, Input::SnapshotSent { to, delivered: false }),
        }
    }

    /// A snapshot is durable at its receiver, which keeps one at a time; its sender hears of it.
    pub(super) fn arrive(&mut self, stream: &Stream) -> Result<bool, String> {
        if !self.is_awaited(stream) || self.end(stream).is_none() {
            return Ok(false);
        }
        let Stream { from, to, term, meta } = stream.clone();
        self.step(to, Input::SnapshotReceived { from: id(from), term, meta })?;
        self.step(from, Input::SnapshotSent { to: id(to), delivered: true })?;
        Ok(true)
    }

    pub(super) fn is_awaited(&self, stream: &Stream) -> bool {
        self.nodes[stream.to].raft.installing().is_none()
    }

    /// A stream breaks.
    pub(super) fn cut(&mut self, stream: &Stream) -> Result<bool, String> {
        if spend(&mut self.budget.drops).is_none() || self.end(stream).is_none() {
            return Ok(false);
        }
        self.step(stream.from, Input::SnapshotSent { to: id(stream.to), delivered: false })?;
        Ok(true)
    }

    /// A node has lost its power: no stream outlives either of its ends.
    pub(super) fn cut_all(&mut self, at: usize) -> Result<(), String> {
        self.streams.retain(|stream| stream.from != at);
        while let Some(place) = self.streams.iter().position(|stream| stream.to == at) {
            let stream = self.streams.remove(place);
            self.step(stream.from, Input::SnapshotSent { to: id(at), delivered: false })?;
        }
        Ok(())
    }

    fn end(&mut self, stream: &Stream) -> Option<()> {
        let place = self.streams.iter().position(|found| **found == *stream)?;
        self.streams.remove(place);
        Some(())
    }
}
