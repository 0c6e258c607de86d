//! What has gathered since the last drain.

use std::mem;

use super::durability::Promise;
use crate::vocabulary::actions::{Event, Outgoing, Reply};
use crate::vocabulary::entry::Entry;
use crate::vocabulary::ids::LogIndex;
use crate::vocabulary::input::SnapshotMeta;

/// The lanes, as they fill.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Outbox {
    /// Term or vote have changed.
    pub(super) hard_state: bool,
    pub(super) truncate_from: Option<LogIndex>,
    pub(super) append: Vec<Entry>,
    pub(super) compact_to: Option<SnapshotMeta>,
    pub(super) send: Vec<Outgoing>,
    /// What is to be said as soon as everything that stands now is durable.
    pub(super) promises: Vec<Promise>,
    pub(super) reply: Vec<Reply>,
    pub(super) event: Vec<Event>,
}

impl Outbox {
    /// Says whether the disk has something to do.
    pub(super) fn writes(&self) -> bool {
        self.hard_state
            || self.truncate_from.is_some()
            || !self.append.is_empty()
            || self.compact_to.is_some()
    }

    /// Cuts the log. Entries that no write has carried yet need not be cut on disk; older ones must
    /// be.
    pub(super) fn truncate(&mut self, from: LogIndex) {
        let unwritten = self.append.iter().position(|entry| entry.id.index >= from);
        self.append.truncate(unwritten.unwrap_or(self.append.len()));
        let lowest = self.truncate_from.map_or(from, |earlier| earlier.min(from));
        self.truncate_from = Some(lowest);
    }

    /// Drops all but answers: the disk has failed.
    pub(super) fn keep_replies(&mut self) {
        *self = Self { reply: mem::take(&mut self.reply), ..Self::default() };
    }
}
